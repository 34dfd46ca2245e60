"""A web server for a folder on this machine, which can be told to misbehave at a path."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

DRIPS_MAX = 6_000
"""A minute of them: a client that waits to their end fails its test by what it then says, not by hanging."""

Answer = Callable[[BaseHTTPRequestHandler], None]


class Site:
    """What is served, what was asked for, and what to answer otherwise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.asked: list[str] = []
        self.answers: dict[str, Answer] = {}
        """By path; `*` for every path."""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.removeprefix("/")
        self.asked.append(path)
        other = self.answers.get(path) or self.answers.get("*")
        if other is not None:
            other(handler)
            return
        file = self.folder / path
        if file.is_file():
            reply(handler, 200, file.read_bytes())
        else:
            reply(handler, 404, b"no such file")


def reply(handler: BaseHTTPRequestHandler, status: int, data: bytes, **headers: str) -> None:
    """An ordinary answer."""
    handler.send_response(status)
    handler.send_header("content-length", str(len(data)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(data)


def drip_head(handler: BaseHTTPRequestHandler) -> None:
    """An answer whose head does not end: a byte at a time, so that it is never silent for long."""
    _drip(handler, b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")


def drip_body(handler: BaseHTTPRequestHandler) -> None:
    """An answer whose body does not end, a byte at a time."""
    _drip(handler, b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n", b"x")


def _drip(handler: BaseHTTPRequestHandler, begins: bytes, goes_on: bytes) -> None:
    handler.rfile.read(int(handler.headers.get("content-length", 0)))
    handler.close_connection = True
    handler.wfile.write(begins)
    for number in range(DRIPS_MAX):
        at = number % len(goes_on)
        handler.wfile.write(goes_on[at : at + 1])
        time.sleep(0.01)


@contextmanager
def refusing() -> Iterator[str]:
    """A URL that refuses connections: its port is held, so that nobody else comes to listen there."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def served(folder: Path, tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    """The folder at `site.url`."""
    site = Site(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            try:
                site.answer(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        do_POST = do_GET  # noqa: N815 - the name that http.server calls

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that goes away is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    site.url = f"http://127.0.0.1:{server.server_address[1]}/"
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        site.url = site.url.replace("http:", "https:")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
