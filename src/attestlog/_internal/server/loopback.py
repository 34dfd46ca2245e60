"""The explorer on loopback, for who opened it: by the standard library's server, so that it needs no extra.

GET /<secret>/…        see `explorer.answering`

Any user of this machine can connect to loopback, and a web page elsewhere can make a browser send requests
there under a name of its own. So the path begins with 128 random bits, and the Host header must
be loopback's. Read only: there is no method but GET.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl

from attestlog._internal.explorer.answering import (
    FILES,
    HEADERS,
    Answer,
    Explorer,
    packed_file,
)
from attestlog._internal.server.statuses import status
from attestlog.errors import AttestlogError, ForbiddenError, NotFoundError, StorageError

HOSTS: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""What the Host header may name, beside the port."""

CONNECTIONS_MAX: Final = 64
"""A browser opens six; each has a thread, and others on this machine can connect, too."""

IDLE_MAX_S: Final = 30.0
"""For a head to come, for an answer to be taken, and between two requests."""


def serve_explorer(explorer: Explorer, secret: str, port: int, started: Callable[[str], None]) -> None:
    """Serve on 127.0.0.1 until SIGINT or SIGTERM. `started` is told the address of the page.

    `port`: 0 for a free one. Raises StorageError where it cannot be had.
    """
    try:
        server = _Server(explorer, secret, port)
    except OSError as error:
        where = f"127.0.0.1:{port}"
        raise StorageError(f"cannot listen on {where}: {error.strerror or error}", address=where) from None
    with server:
        # `shutdown` waits for the loop to end, which is in this thread.
        before = {
            number: signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            started(f"http://127.0.0.1:{server.server_address[1]}/{secret}/")
            server.serve_forever(poll_interval=0.1)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a browser keeps its connections open

    def __init__(self, explorer: Explorer, secret: str, port: int) -> None:
        self.explorer, self.secret = explorer, secret
        self._places = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who hangs up, or is too slow, is nobody's error; anything else is ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = IDLE_MAX_S
    wbufsize = 64 << 10  # head and body at once
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer: what stands at the path, or a problem (RFC 9457)."""
        headers: dict[str, str] = {}
        try:
            answer, number = self._answer(headers), 200
        except AttestlogError as error:
            number = status(error)
            members = {"status": number, "code": error.code, "detail": error.message}
            answer = Answer(json.dumps(members).encode(), "application/problem+json")
        with suppress(OSError):
            self._send(number, answer, headers)

    def _answer(self, headers: dict[str, str]) -> Answer:
        host = self.headers.get("host", "").lower()
        if (host if host.endswith("]") else host.rpartition(":")[0] or host) not in HOSTS:
            raise ForbiddenError("the request names another host than this machine")
        path, _, query = self.path.partition("?")
        secret, _, name = path.lstrip("/").partition("/")
        if secret != self.server.secret:
            raise NotFoundError("there is nothing here")
        if name in {"", *FILES} and "gzip" in self.headers.get("accept-encoding", ""):
            name = name or "index.html"
            headers["content-encoding"] = "gzip"
            return Answer(packed_file(name), FILES[name])
        return self.server.explorer.answer(name, dict(parse_qsl(query)))

    def _send(self, number: int, answer: Answer, headers: dict[str, str]) -> None:
        self.send_response(number)
        sent = {"content-type": answer.media_type, "content-length": str(len(answer.body))}
        for name, value in (HEADERS | sent | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def version_string(self) -> str:
        """Not which Python this is."""
        return "attestlog"

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - its name
        """Paths hold the secret, and queries what somebody looks for."""
