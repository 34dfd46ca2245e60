"""What each token may send a minute, in entries and bytes: buckets of a minute's worth, filled evenly."""

from __future__ import annotations

import time
from collections.abc import Callable

from attestlog._internal.server.tokens import Token
from attestlog.errors import RateLimitError

MINUTE_S = 60.0


class Rates:
    """The buckets of one server, in memory: a restart fills them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}
        self.refused = 0

    def take(self, token: Token, entries: int, size_bytes: int) -> None:
        """Raises RateLimitError, and takes nothing, where the token has not so much left."""
        wanted = [
            ("entries", entries, token.entries_per_minute), ("bytes", size_bytes, token.bytes_per_minute),
        ]  # fmt: skip
        now, taken = self._clock(), {}
        for what, amount, limit in wanted:
            if limit is None:
                continue
            level, at = self._buckets.get((token.name, what), (float(limit), now))
            level = min(float(limit), level + (now - at) * limit / MINUTE_S)
            # More at once than a minute's worth passes when the bucket is full: else it never would.
            if level < min(amount, limit):
                self.refused += 1
                wait_s = (min(amount, limit) - level) * MINUTE_S / limit
                raise RateLimitError(
                    f"{token.name!r} may send {limit} {what} a minute, and has sent them", retryable=True,
                    retry_after_s=round(wait_s, 1),
                )  # fmt: skip
            taken[token.name, what] = (level - amount, now)
        self._buckets |= taken
