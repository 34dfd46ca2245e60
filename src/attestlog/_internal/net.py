"""Asking over HTTP: the one bounded client, for published logs, replicas, witnesses, time stamps and OpenBao.

The rules, for every caller and whatever the server does:

- `https:`, or `http:` to this machine. Plain `http:` goes elsewhere only where the caller says that it may,
  because no secret is sent and what comes back is signed.
- Four bounds: on connecting, on silence, on the whole time of one question, and on the answer's size. The
  third is why this stands on httpcore and not on a client above it: the timeouts of sockets bound silence
  only, so a server that drips bytes, of its head or of its body, would hold the caller for ever.
- The size is counted on the bytes as they come. No content coding is asked for, and none is accepted.
- No redirect is followed, no cookie kept, no proxy of the environment used: a token goes to the named host
  and to no other.
- Authorities of certificates: the CA file that is given; else SSL_CERT_FILE or SSL_CERT_DIR; else certifi's.

What this is not: it asks nothing twice, and of statuses it knows only which may pass. Looking up a host's
name is the system's, with the system's own time limits. What goes wrong is a NoAnswerError, which never
leaves the rooms above: each of them has an error of its own.
"""

from __future__ import annotations

import math
import os
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, auto
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

import certifi
import httpcore

from attestlog._internal.version import VERSION
from attestlog.errors import MalformedConfigError

LINE_MAX_BYTES: Final = 32 << 20
"""Of a stream: the longest line of a log is 17 MiB."""

KEEP_ALIVE_S: Final = 5.0
"""An idle connection is closed after it: as httpx, and well below what servers close theirs after."""

_RETRYABLE: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""A timeout, too early, too many requests, or a server or gateway that fails."""

_WRITE_SIZE_BYTES: Final = 64 << 10
"""Written at once: between two writes the clock is looked at."""

_PRINTABLE: Final = re.compile(r"[!-~]+")
"""A URL is ASCII (RFC 3986): other characters of a host are written xn--…, those of a path %…."""


class Limits(NamedTuple):
    """What one question may take, in seconds."""

    connect_s: float
    silence_s: float
    """Until the next byte is sent or comes."""
    total_s: float
    """From the question to the last byte of its answer."""


class Answer(NamedTuple):
    """`content` is whole where the status is an answer's (200), of another what can be read of it."""

    status: int
    content: bytes


class Why(Enum):
    """What kept the answer away."""

    UNREACHED = auto()
    """No connection, no whole answer on it, or silence."""
    SLOW = auto()
    """It took more than the total time."""
    TOO_LARGE = auto()
    ENCODED = auto()
    UNSENDABLE = auto()
    """The question has a header that HTTP does not allow."""


class NoAnswerError(Exception):
    """Reads as what the server did: `f"replica {url} {error}"`. Repeats nothing that was sent or came."""

    def __init__(self, why: Why, text: str, *, was_sent: bool = True) -> None:
        """`was_sent`: whether the server may have the question."""
        super().__init__(text)
        self.why, self.was_sent = why, was_sent

    @property
    def retryable(self) -> bool:
        """Whether waiting may help."""
        return self.why in {Why.UNREACHED, Why.SLOW}


class RefusedError(Exception):
    """A stream was asked for, and an answer of another status came."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer.status))
        self.answer = answer


def may_pass(status: int) -> bool:
    """Whether a status says that the same question may be answered later."""
    return status in _RETRYABLE


def parse_url(
    text: str,
    *,
    what: str = "the URL",
    member: str = "url",
    is_plain_allowed: bool = False,
    is_base: bool = True,
) -> SplitResult:
    """Of a server that may be asked. `is_base`: paths are put after it, so it has no query and no last slash.

    Raises MalformedConfigError for `member`, which calls the URL `what` and repeats its host at most: a
    password may stand in it.
    """
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
        host.encode("idna")  # no label is empty or has more than 63 bytes: name lookup would raise for them
    except ValueError:
        raise MalformedConfigError(f"{what} is not a URL", member=member) from None
    wrong = ""
    if not _PRINTABLE.fullmatch(text) or not host or parts.scheme not in {"https", "http"}:
        wrong = "is not of the form https://HOST[:PORT][/PATH]"
    elif "@" in parts.netloc:
        wrong = "holds a user name or password, want none"
    elif "#" in text or (is_base and "?" in text):
        wrong = "holds a query or fragment, want none"
    elif parts.scheme == "http" and not is_plain_allowed and not _is_loopback(host):
        wrong = f"would send to {host} in the clear, want https: (http: is for this machine only)"
    if wrong:
        raise MalformedConfigError(f"{what} {wrong}", member=member)
    return parts._replace(path=parts.path.rstrip("/")) if is_base else parts


def read_token(path: str, *, member: str = "token_file") -> str:
    """The bearer token that a file holds. Raises MalformedConfigError."""
    try:
        token = Path(path).expanduser().read_text(encoding="ascii").strip()
    except OSError as error:
        raise MalformedConfigError(f"token file {path!r} cannot be read: {error}", member=member) from None
    except ValueError:  # its text repeats a byte of the file
        token = ""
    if not token or not token.isprintable() or " " in token:
        raise MalformedConfigError(f"token file {path!r} holds no token", member=member)
    return token


def trusting(ca_file: str, *, what: str = "CA file", member: str = "ca_file") -> ssl.SSLContext:
    """Trusts the authorities of this PEM file, and no others. Raises MalformedConfigError."""
    try:
        return ssl.create_default_context(cafile=str(Path(ca_file).expanduser()))
    except OSError as error:
        raise MalformedConfigError(f"{what} {ca_file!r} cannot be read: {error}", member=member) from None


class Client:
    """Asks one server, over connections that it keeps. Threads may share it."""

    def __init__(
        self,
        url: SplitResult,
        limits: Limits,
        *,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        connections: int = 1,
        unix: str | None = None,
        answers: Container[int] = frozenset({200}),
    ) -> None:
        """`url`: of `parse_url`. `headers` go with every question. `unix`: a socket instead of its host.

        `answers`: statuses beside which the content is an answer, and must be whole.
        Raises MalformedConfigError.
        """
        self._url, self._limits, self._until = url, limits, _Until()
        self._answers = answers
        self._target = url.path + (f"?{url.query}" if url.query else "")
        self._headers = {
            "host": url.netloc,
            "user-agent": f"attestlog/{VERSION}",
            "accept-encoding": "identity",
            **(headers or {}),
        }
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls or (_default_tls() if url.scheme == "https" else None),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=KEEP_ALIVE_S,
            network_backend=_Network(self._until),
            uds=unix,
        )

    def ask(
        self,
        method: str,
        path: str,
        size_max_bytes: int,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        total_s: float | None = None,
    ) -> Answer:
        """What the server answers at `path` below the URL ("": at the URL itself).

        `total_s`: instead of what the limits say. Raises NoAnswerError.
        """
        total_s = self._limits.total_s if total_s is None else total_s
        connect_s, silence_s, _ = self._limits
        self._until.deadline = time.monotonic() + total_s
        url = self._at(path)
        timeouts = {"connect": connect_s, "read": silence_s, "write": silence_s, "pool": total_s}
        all_headers = list((self._headers | dict(headers or {})).items())
        try:
            with self._pool.stream(
                method, url, headers=all_headers, content=content, extensions={"timeout": timeouts}
            ) as response:
                return Answer(response.status, _content(response, size_max_bytes, self._answers))
        except httpcore.TimeoutException as error:
            is_connecting = isinstance(error, httpcore.ConnectTimeout | httpcore.PoolTimeout)
            if time.monotonic() >= self._until.deadline:
                text = f"did not answer within {total_s:g} s"
                raise NoAnswerError(Why.SLOW, text, was_sent=not is_connecting) from None
            silent = f"no connection in {connect_s:g} s" if is_connecting else f"silent for {silence_s:g} s"
            text = f"cannot be reached: {silent}"
            raise NoAnswerError(Why.UNREACHED, text, was_sent=not is_connecting) from None
        except httpcore.LocalProtocolError:
            raise NoAnswerError(Why.UNSENDABLE, "cannot be sent a header that HTTP does not allow") from None
        except httpcore.ProtocolError:
            text = "cannot be reached: what came is not HTTP, or is not a whole answer"
            raise NoAnswerError(Why.UNREACHED, text) from None
        except httpcore.NetworkError as error:
            text = f"cannot be reached: {str(error) or type(error).__name__}"
            was_sent = not isinstance(error, httpcore.ConnectError)
            raise NoAnswerError(Why.UNREACHED, text, was_sent=was_sent) from None

    def lines(self, path: str, *, headers: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """The lines of an answer that goes on for as long as the server sends some, without line ends.

        Bounded in silence and in the length of a line, and not in time. Raises NoAnswerError, RefusedError.
        """
        connect_s, silence_s, total_s = self._limits
        url = self._at(path)
        timeouts = {"connect": connect_s, "read": silence_s, "write": silence_s, "pool": total_s}
        all_headers = list((self._headers | dict(headers or {})).items())
        self._until.deadline = math.inf
        with (
            _no_answer(silence_s),
            self._pool.stream("GET", url, headers=all_headers, extensions={"timeout": timeouts}) as response,
        ):
            if response.status not in self._answers:
                raise RefusedError(Answer(response.status, _content(response, LINE_MAX_BYTES, self._answers)))
            left = b""
            for part in response.iter_stream():
                *whole, left = (left + part).split(b"\n")
                yield from whole
                if len(left) > LINE_MAX_BYTES:
                    raise NoAnswerError(Why.TOO_LARGE, f"sends a line of more than {LINE_MAX_BYTES} bytes")
                self._until.deadline = math.inf  # the thread may have asked something else meanwhile

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def _at(self, path: str) -> httpcore.URL:
        return httpcore.URL(
            scheme=self._url.scheme,
            host=self._url.hostname or "",
            port=self._url.port,
            target=f"{self._target}/{path}" if path else self._target or "/",
        )


@contextmanager
def _no_answer(silence_s: float) -> Iterator[None]:
    """httpcore's errors of a stream as ours."""
    try:
        yield
    except httpcore.TimeoutException:
        raise NoAnswerError(Why.UNREACHED, f"cannot be reached: silent for {silence_s:g} s") from None
    except httpcore.ProtocolError:
        text = "cannot be reached: what came is not HTTP, or is not a whole answer"
        raise NoAnswerError(Why.UNREACHED, text) from None
    except httpcore.NetworkError as error:
        text = f"cannot be reached: {str(error) or type(error).__name__}"
        raise NoAnswerError(Why.UNREACHED, text) from None


def _content(response: httpcore.Response, size_max_bytes: int, answers: Container[int]) -> bytes:
    """Beside a status that is no answer's no page is too large or encoded: the status says more than it."""
    is_answer, data = response.status in answers, bytearray()
    for name, value in response.headers:
        if name.lower() == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}:
            if is_answer:
                raise NoAnswerError(Why.ENCODED, "answers in an encoded form that was not asked for")
            return b""
    for part in response.iter_stream():
        data += part
        if len(data) > size_max_bytes:
            if is_answer:
                raise NoAnswerError(Why.TOO_LARGE, f"answers more than {size_max_bytes} bytes")
            del data[size_max_bytes:]
            break
    return bytes(data)


def _default_tls() -> ssl.SSLContext:
    file = os.environ.get("SSL_CERT_FILE")
    folder = None if file else os.environ.get("SSL_CERT_DIR")
    try:
        return ssl.create_default_context(cafile=file or (None if folder else certifi.where()), capath=folder)
    except OSError as error:
        raise MalformedConfigError(
            f"SSL_CERT_FILE {file!r} cannot be read: {error}", member="SSL_CERT_FILE"
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


# --- the clock, looked at before every byte that is sent or waited for ---


class _Until(threading.local):
    """When the question of this thread must be answered: the thread that asks also reads and writes."""

    deadline = math.inf

    def bound(self, timeout_s: float | None) -> float:
        """What is left for a call that may take `timeout_s` by itself. Raises ReadTimeout if nothing is."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left if timeout_s is None else min(left, timeout_s)


class _Network(httpcore.NetworkBackend):
    def __init__(self, until: _Until) -> None:
        self._until, self._plain = until, httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = self._until.bound(timeout)
        stream = self._plain.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream, self._until)

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002 - httpcore's
    ) -> httpcore.NetworkStream:
        return _Stream(_UnixStream(path, self._until.bound(timeout)), self._until)


class _UnixStream(httpcore.NetworkStream):
    """httpcore's own leaves the socket open where it cannot connect."""

    def __init__(self, path: str, timeout: float | None) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            kind = httpcore.ConnectTimeout if isinstance(error, TimeoutError) else httpcore.ConnectError
            raise kind(error.strerror or str(error)) from None

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self._socket.settimeout(timeout)
            return self._socket.recv(max_bytes)
        except OSError as error:
            kind = httpcore.ReadTimeout if isinstance(error, TimeoutError) else httpcore.ReadError
            raise kind(error.strerror or str(error)) from None

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            self._socket.settimeout(timeout)
            self._socket.sendall(buffer)
        except OSError as error:
            kind = httpcore.WriteTimeout if isinstance(error, TimeoutError) else httpcore.WriteError
            raise kind(error.strerror or str(error)) from None

    def close(self) -> None:
        self._socket.close()

    def get_extra_info(self, info: str) -> object:
        """httpcore asks whether an idle connection was closed at the other end."""
        if info == "is_readable":
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            return bool(poll.poll(0))
        return None


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, until: _Until) -> None:
        self._stream, self._until = stream, until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._until.bound(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _WRITE_SIZE_BYTES):
            part = buffer[start : start + _WRITE_SIZE_BYTES]
            self._stream.write(part, self._until.bound(timeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            stream = self._stream.start_tls(ssl_context, server_hostname, self._until.bound(timeout))
        except BaseException:
            self.close()  # nobody else would: httpcore knows the connection only from here on
            raise
        return _Stream(stream, self._until)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
