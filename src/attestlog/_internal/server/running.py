"""An app on a socket: TLS, limits on connections, and an end to those who are too slow.

uvicorn closes a connection that is idle between requests; it waits for ever
for the end of a request's head, and for a body that nobody reads any more.
`_ImpatientProtocol` does not.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from attestlog._internal.core.convert import read_number
from attestlog.errors import MalformedConfigError, StorageError

HEAD_TIME_MAX_S: Final = 10.0
"""From a connection's first byte, or its opening, to the end of a request's head."""

HEAD_SIZE_MAX_BYTES: Final = 16 << 10
"""A request line, a token and a few headers are far below; keeps heads from filling memory."""

CONNECTIONS_MAX: Final = 256
"""Each may hold a body of some megabytes; more writers than this share a reverse proxy."""

CONNECTIONS_PER_PEER_MAX: Final = 64
"""Of one address: a quarter, so that nobody takes them all. A proxy on another machine sends hundreds of
requests a second through so many. See `counted_peer` for who is not counted."""

IPV6_NETWORK_BITS: Final = 64
"""Of an IPv6 address: the rest is the host's own to choose, again for each connection."""

LINGER_MAX_S: Final = 2.0
"""Who was answered before the whole body came may still be sending: hanging up at once would take the
answer from them (the kernel resets such a connection), waiting for ever would let them trickle."""

SOCKET_MODE: Final = 0o666
"""Any user may connect: each request is judged by what the kernel says of who sends it."""

IDLE_MAX_S: Final = 30
"""A connection kept between two requests: replicas are spoken to several times a second, or not at all."""

STOPPING_MAX_S: Final = 10
"""How long requests under way may take once the server is asked to stop."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a server listens, and the certificate it shows, if it is to speak TLS."""

    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None


def parse_listen(text: str, *, certificate: Path | None = None, key: Path | None = None) -> Listen:
    """HOST:PORT, [IPv6]:PORT or PORT (then on loopback). Raises MalformedConfigError."""
    host, _, port = text.rpartition(":")
    number = read_number(port)
    if number is None or number > 65_535:
        raise MalformedConfigError(f"{text!r} is no HOST:PORT to listen on", member="listen")
    if (certificate is None) != (key is None):
        raise MalformedConfigError("TLS needs a certificate and its key", member="tls")
    return Listen(host.strip("[]") or "127.0.0.1", number, certificate, key)


def serve(
    app: Any,
    listen: Listen | None,
    *,
    started: Callable[[str], None] = lambda _url: None,
    stopping: Callable[[], None] = lambda: None,
    unix: Path | None = None,
    unix_mode: int = SOCKET_MODE,
) -> None:
    """Serve until SIGINT or SIGTERM, then let the requests under way end. `unix`: a socket to serve on, too.

    `started` is told the URL once connections are taken: of the address, else of the socket. `stopping` is
    called once the server is asked to stop.
    Raises StorageError where an address cannot be had, MalformedConfigError for a bad certificate.
    """
    with ExitStack() as undo:
        places: list[tuple[socket.socket, Listen]] = []
        url = ""
        if unix is not None:
            places.append((undo.enter_context(closing(_bind_unix(unix, unix_mode))), Listen()))
            undo.callback(unix.unlink, missing_ok=True)
            url = f"unix:{unix}"
        if listen is not None:
            listener = undo.enter_context(closing(_bind(listen)))
            places.append((listener, listen))
            url = _url(listener, listen)
        servers = [_Server(_config(app, where)) for _, where in places]
        asyncio.run(_serve_all(servers, [listener for listener, _ in places], lambda: started(url), stopping))


async def _serve_all(
    servers: list[_Server],
    listeners: list[socket.socket],
    started: Callable[[], None],
    stopping: Callable[[], None],
) -> None:
    def stop() -> None:
        for server in servers:
            # A second signal does not wait for requests any more.
            server.force_exit, server.should_exit = server.should_exit, True
        stopping()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        tasks = [
            asyncio.create_task(server.serve(sockets=[listener]))
            for server, listener in zip(servers, listeners, strict=True)
        ]
        for server in servers:
            await server.is_up.wait()
        started()
        await asyncio.gather(*tasks)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # `_serve_all` does; this would raise the signal again at the end

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()


class Peer(NamedTuple):
    """The process at the other end of a Unix socket, as the kernel knows it."""

    pid: int
    uid: int
    gid: int


def _peer(transport: Any) -> Peer | None:
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family != socket.AF_UNIX:
        return None
    packed = struct.Struct("3i")
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, packed.size)
    return Peer(*packed.unpack(told))


def counted_peer(host: str) -> str | None:
    """By what the connections of this address are counted; None for this machine.

    A proxy in front of the server is mostly on this machine, and all its callers come from there.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            network = ipaddress.IPv6Network((int(address), IPV6_NETWORK_BITS), strict=False)
            return None if address.is_loopback else str(network)
        address = address.ipv4_mapped
    return None if address.is_loopback else str(address)


class _ImpatientProtocol(H11Protocol):
    """One timer a connection: for a head to be complete, or for the rest of a body that nobody reads."""

    _timer: asyncio.TimerHandle | None = None
    _counted: str | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._counted = None if self.client is None else counted_peer(self.client[0])
        if self._counted is not None and self._is_one_too_many(self._counted):
            # Not a word: an answer would be one more thing to hold for who takes too much.
            transport.close()
            return
        peer = _peer(transport)
        if peer is not None:
            self.app_state = {**self.app_state, "peer": peer}
        self._hang_up_in(HEAD_TIME_MAX_S)

    def data_received(self, data: bytes) -> None:
        if self._timer is None and self.conn.their_state is h11.IDLE:
            self._hang_up_in(HEAD_TIME_MAX_S)
        answered = self.conn.our_state is h11.DONE
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE and not answered:
            self._let_be()
        elif answered and self.conn.our_state is h11.IDLE:
            self._let_be()  # the rest of the body came after all: between two requests now

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._hang_up_in(LINGER_MAX_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._let_be()
        super().connection_lost(exc)

    def _is_one_too_many(self, counted: str) -> bool:
        others = (other for other in self.connections if isinstance(other, _ImpatientProtocol))
        of_peer: int = sum(other._counted == counted for other in others)
        return of_peer > CONNECTIONS_PER_PEER_MAX

    def _hang_up_in(self, seconds: float) -> None:
        self._let_be()
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _let_be(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _url(listener: socket.socket, listen: Listen) -> str:
    scheme = "https" if listen.certificate is not None else "http"
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _bind_unix(path: Path, mode: int = SOCKET_MODE) -> socket.socket:
    """Whoever `mode` and the directory let may connect; what they may do, the app decides.

    A socket that a killed server left is taken away, one that is served is not. Raises StorageError.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
                    raise OSError(errno.EADDRINUSE, "another server is there")
            path.unlink()
        listener.bind(str(path))
        path.chmod(mode)
        listener.listen(CONNECTIONS_MAX)
    except OSError as error:
        listener.close()
        raise StorageError(f"cannot listen on {path}: {error.strerror or error}", address=str(path)) from None
    return listener


def _bind(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        listener = socket.create_server((listen.host, listen.port), family=family, backlog=CONNECTIONS_MAX)
        # Connections inherit it. Without, the second piece of each answer waits for the first's delayed
        # acknowledgement: 40 ms a request. (asyncio sets it only on sockets that name their protocol.)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        where = f"{listen.host}:{listen.port}"
        raise StorageError(f"cannot listen on {where}: {error.strerror or error}", address=where) from None
    return listener


def _config(app: Any, listen: Listen) -> uvicorn.Config:
    config = uvicorn.Config(
        app, http=_ImpatientProtocol, ws="none", lifespan="off", log_config=None, access_log=False,
        server_header=False, limit_concurrency=CONNECTIONS_MAX, timeout_keep_alive=IDLE_MAX_S,
        timeout_graceful_shutdown=STOPPING_MAX_S, h11_max_incomplete_event_size=HEAD_SIZE_MAX_BYTES,
        ssl_certfile=listen.certificate, ssl_keyfile=listen.key,
    )  # fmt: skip
    try:
        config.load()
    except OSError as error:
        raise MalformedConfigError(f"certificate or key cannot be used: {error}", member="tls") from None
    return config
