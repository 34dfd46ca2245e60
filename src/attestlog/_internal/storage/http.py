"""Files of a published log over HTTP(S): bounded in size and time, and never more than what was asked for.

Whoever hands out the files is not trusted with anything: what they hold is
checked by whoever reads them. What this must rule out is a server that keeps
the reader waiting, or fills its memory. "There is no such file" (404, 410) and
"could not be read" stay apart.
"""

from __future__ import annotations

import time
from ipaddress import ip_address
from typing import Final

import httpx

from attestlog._internal.version import VERSION
from attestlog.errors import MalformedConfigError, MalformedTileError, NotFoundError, StorageError

CONNECT_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = 20.0
"""Of silence; a server that is only slow is waited for."""

RESPONSE_TIME_MAX_S: Final = 60.0
"""For one file of a few kilobytes, however slowly it drips."""

TRIES: Final = 3
"""Of each file, before a failure that may pass is taken for one."""

RETRY_DELAY_S: Final = 1.0
"""After the first try, and twice that after the second."""

CONNECTIONS: Final = 8
"""At once, to one server."""

_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_ABSENT: Final = frozenset({404, 410})


class HttpSource:
    """The files below a URL. Threads may share it."""

    def __init__(self, url: str) -> None:
        """Raises MalformedConfigError unless `url` is https:, or http: to this very machine."""
        self.url = _checked(url)
        self._client = httpx.Client(
            timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=CONNECTIONS),
            # Compressed answers are not asked for: what they unpack to would have no bound.
            headers={"accept-encoding": "identity", "user-agent": f"attestlog/{VERSION}"},
            follow_redirects=False,
        )

    def read(self, name: str, size_max_bytes: int) -> bytes:
        """One file. Raises NotFoundError, MalformedTileError if it is larger, StorageError."""
        for left in reversed(range(TRIES)):
            try:
                return self._read_once(name, size_max_bytes)
            except StorageError as error:
                if not left or not error.retryable:
                    raise
                time.sleep(RETRY_DELAY_S * (TRIES - left))
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _read_once(self, name: str, size_max_bytes: int) -> bytes:
        url = self.url + name
        deadline = time.monotonic() + RESPONSE_TIME_MAX_S
        data = bytearray()
        try:
            with self._client.stream("GET", url) as response:
                _check_answer(response, url)
                for part in response.iter_raw():
                    data += part
                    if len(data) > size_max_bytes:
                        raise MalformedTileError(
                            f"{url} is larger than {size_max_bytes} bytes", path=url, expected=size_max_bytes
                        )
                    if time.monotonic() > deadline:
                        raise StorageError(
                            f"{url} was not read within {RESPONSE_TIME_MAX_S:g} s", path=url, retryable=False
                        )
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise StorageError(f"{url} cannot be read: {reason}", path=url, retryable=True) from None
        return bytes(data)


def _check_answer(response: httpx.Response, url: str) -> None:
    status = response.status_code
    if status in _ABSENT:
        raise NotFoundError(f"{url} is missing: the server answered {status}", path=url, status=status)
    if status != 200:
        raise StorageError(
            f"{url} cannot be read: the server answered {status}",
            path=url, status=status, retryable=status in _PASSING,
        )  # fmt: skip
    encoding = response.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise StorageError(
            f"{url} cannot be read: the answer is encoded as {encoding[:40]!r}, which was not asked for",
            path=url, retryable=False,
        )  # fmt: skip


def _checked(text: str) -> str:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise MalformedConfigError(f"not a URL: {error}", member="url") from None
    is_secure = url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.host))
    if not is_secure or not url.host or url.query or url.fragment or url.userinfo:
        # A user's password may stand in it: only the host is repeated.
        raise MalformedConfigError(
            f"the URL of {url.host!r} is not plain https: (or http: to this machine)",
            member="url",
        )
    return str(url).rstrip("/") + "/"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
