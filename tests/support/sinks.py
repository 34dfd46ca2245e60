"""Receivers that tests ship to: over HTTP, and syslog over TLS. Each keeps what it got."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import create_connection, create_server

from tests.support.tls import authority


@dataclass
class Got:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Got], tuple[int, bytes]]


@dataclass
class Receiver:
    """An HTTP server. `answer` says what it says to a request."""

    answer: Answer = lambda _: (200, b"")
    got: list[Got] = field(default_factory=list)
    port: int = 0


@contextmanager
def receiving(answer: Answer = lambda _: (200, b"")) -> Iterator[Receiver]:
    """A receiver on this machine, while the context lasts."""
    receiver = Receiver(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got = Got(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            receiver.got.append(got)
            status, text = receiver.answer(got)
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Collector:
    """A syslog server. It resets the first connections, as many as `resets` says, and reads the others."""

    port: int
    ca_file: str
    streams: list[bytes] = field(default_factory=list)
    resets: int = 0

    def messages(self) -> list[bytes]:
        """The messages, octet counts taken off."""
        found = []
        for stream in self.streams:
            left = stream
            while left:
                count, _, rest = left.partition(b" ")
                found.append(rest[: int(count)])
                left = rest[int(count) :]
        return found


@contextmanager
def collecting(directory: Path, *, resets: int = 0) -> Iterator[Collector]:
    """A collector on this machine. `resets`: how many connections it breaks before it takes one."""
    directory.mkdir()
    ca, certificate, key = authority(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = create_server(("127.0.0.1", 0))
    collector = Collector(server.getsockname()[1], str(ca), resets=resets)
    stopping = threading.Event()

    def serve() -> None:
        while True:
            plain, _ = server.accept()
            if stopping.is_set():
                plain.close()
                return
            plain.settimeout(60)
            if collector.resets > 0:
                collector.resets -= 1
                plain.recv(10)
                plain.close()  # with bytes unread: a reset
                continue
            try:
                with context.wrap_socket(plain, server_side=True) as connection:
                    data = b""
                    while part := connection.recv(65_536):
                        data += part
                    collector.streams.append(data)
                    connection.unwrap()
            except OSError:
                continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield collector
    finally:
        stopping.set()
        create_connection(("127.0.0.1", collector.port)).close()
        thread.join()
        server.close()
