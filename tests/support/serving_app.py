"""A real server in a thread of its own, on loopback, and ended with the test."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from attestlog._internal.server import running
from attestlog._internal.server.running import Listen


@contextmanager
def served(app: Any, listen: Listen | None = None) -> Iterator[str]:
    """The URL at which `app` is served as `running.serve` would, without its signal handlers."""
    listen = listen or Listen()
    listener = running._bind(listen)
    server = uvicorn.Server(running._config(app, listen))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    scheme = "https" if listen.certificate else "http"
    try:
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()
        assert not thread.is_alive()


def connect(url: str, context: ssl.SSLContext | None = None) -> socket.socket:
    host, _, port = url.rpartition("://")[2].rpartition(":")
    plain = socket.create_connection((host, int(port)), timeout=60)
    return plain if context is None else context.wrap_socket(plain, server_hostname=host)
