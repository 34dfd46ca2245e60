"""A TCP proxy on loopback that plays outages: it refuses, hangs, answers in drops, or is there again."""

import contextlib
import itertools
import os
import socket
import threading
import time
from types import TracebackType
from typing import Self

PORTS_FROM, PORTS_EACH, WORKERS_MAX = 16_000, 1_000, 16  # all below 32768
_asked = itertools.count()


class Proxy:
    """Forwards 127.0.0.1:port to `target`, also on loopback, while `mode` is "forward".

    down: nobody listens. hang: takes a request and never answers. drip: answers one byte at a time, for ever.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.mode = "forward"
        self.connections = 0
        self._sockets: set[socket.socket] = set()
        self._listener = listening(free_port())  # it is down for a while, and then there again
        self.port: int = self._listener.getsockname()[1]
        self._accepting()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def down(self) -> None:
        self.mode = "down"
        # shutdown wakes the thread in accept; close alone would leave the port listening until it returns
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut()

    def up(self) -> None:
        self._listener = listening(self.port)
        self.mode = "forward"
        self._accepting()

    def become(self, mode: str) -> None:
        """From now on, for connections that are open as well: they are cut."""
        self.mode = mode
        self._cut()

    def _cut(self) -> None:
        for connection in list(self._sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accepting(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._sockets.add(client)
        with client, contextlib.suppress(OSError):
            if self.mode == "forward":
                with socket.create_connection(("127.0.0.1", self.target), timeout=5) as server:
                    server.settimeout(None)
                    self._sockets.add(server)
                    back = threading.Thread(target=pump, args=(server, client), daemon=True)
                    back.start()
                    pump(client, server)
                    back.join()
                    self._sockets.discard(server)
            elif self.mode == "drip":
                client.recv(65_536)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
                while True:
                    client.sendall(b" ")
                    time.sleep(0.05)
            else:
                while client.recv(65_536):
                    pass
        self._sockets.discard(client)


def pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def listening(port: int = 0) -> socket.socket:
    return socket.create_server(("127.0.0.1", port), backlog=64)


def free_port() -> int:
    """A port that is free now, and that no other worker and no outgoing connection takes meanwhile.

    The kernel hands out ports from 32768 on by itself. These lie below, a thousand for each worker.
    """
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS_MAX
    while True:
        # Another run, in another terminal, begins elsewhere.
        port = PORTS_FROM + PORTS_EACH * number + (os.getpid() + next(_asked)) % PORTS_EACH
        with contextlib.suppress(OSError), listening(port):
            return port
