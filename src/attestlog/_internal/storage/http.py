"""Files of a published log over HTTP(S): bounded in size and time, and never more than what was asked for.

The server is trusted with nothing: readers check what the files hold. What this
must rule out is a server that keeps
the reader waiting, or fills its memory. "There is no such file" (404, 410) and
"could not be read" stay apart.
"""

from __future__ import annotations

import time
from typing import Final

from attestlog._internal.net import Client, Limits, NoAnswerError, Why, may_pass, parse_url
from attestlog.errors import MalformedTileError, NotFoundError, StorageError

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

_ABSENT: Final = frozenset({404, 410})


class HttpSource:
    """The files below a URL. Threads may share it."""

    may_lose = True

    def __init__(self, url: str) -> None:
        """Raises MalformedConfigError unless `url` is https:, or http: to this very machine."""
        self._client = Client(
            parse_url(url),
            Limits(CONNECT_TIMEOUT_S, READ_TIMEOUT_S, RESPONSE_TIME_MAX_S),
            connections=CONNECTIONS,
        )
        self.url = url.rstrip("/") + "/"

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
        try:
            status, content = self._client.ask("GET", name, size_max_bytes)
        except NoAnswerError as error:
            if error.why is Why.TOO_LARGE:
                raise MalformedTileError(
                    f"{url} is larger than {size_max_bytes} bytes", path=url, expected=size_max_bytes
                ) from None
            # One that took all its time is not asked again: the reader would wait for three times as long.
            raise StorageError(
                f"{url} cannot be read: the server {error}", path=url, retryable=error.why is Why.UNREACHED
            ) from None
        if status in _ABSENT:
            raise NotFoundError(f"{url} is missing: the server answered {status}", path=url, status=status)
        if status != 200:
            raise StorageError(
                f"{url} cannot be read: the server answered {status}",
                path=url, status=status, retryable=may_pass(status),
            )  # fmt: skip
        return content
