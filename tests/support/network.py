"""A TCP proxy on loopback that does what networks do: refuse, cut in the middle, delay, say things twice."""

import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Network:
    """Stands before one address. Faults apply to connections made after they were set."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.is_partitioned = False
        """Connections are taken, and nothing ever comes back: as behind a dropped route."""
        self.is_refusing = False
        self.cut_after_bytes: int | None = None
        """The connection is reset once this many bytes went to the server."""
        self.cut_answer_after_bytes: int | None = None
        self.delay_s = 0.0
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._stopping = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def drop_all(self) -> None:
        """Reset every connection there is."""
        for connection in list(self._open):
            reset(connection)

    def close(self) -> None:
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_all()

    def _accept(self) -> None:
        while not self._stopping:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.is_refusing:
                reset(client)
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        if self.is_partitioned:
            return
        limits = (self.cut_after_bytes, self.cut_answer_after_bytes)
        try:
            server = socket.create_connection(self.target, timeout=60)
        except OSError:
            reset(client)
            return
        self._open.add(server)
        back = threading.Thread(target=self._pipe, args=(server, client, limits[1]), daemon=True)
        back.start()
        self._pipe(client, server, limits[0])
        back.join()
        client.close()
        server.close()

    def _pipe(self, source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        sent = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                time.sleep(self.delay_s * random.random())
                if limit is not None and sent + len(data) > limit:
                    sink.sendall(data[: limit - sent])
                    reset(source)
                    reset(sink)
                    return
                sink.sendall(data)
                sent += len(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def reset(connection: socket.socket) -> None:
    """Close so that the other side sees a reset."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextmanager
def proxied(url: str) -> Iterator[Network]:
    host, _, port = url.rpartition("://")[2].rpartition(":")
    network = Network((host, int(port)))
    try:
        yield network
    finally:
        network.close()
