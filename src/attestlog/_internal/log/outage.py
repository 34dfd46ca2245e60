"""The time in which nothing could be signed, told by the log itself once it can be.

What cannot be signed cannot be written, so the failure becomes an entry after
the fact: first in the first batch that is signed again, durable with it or not
at all. It is remembered in this process only; a process that ends before its
device is back takes the knowledge with it.
"""

from __future__ import annotations

from typing import Any, Final

from attestlog._internal.core.entry import format_timestamp
from attestlog._internal.core.reserved import SIGNER_OUTAGE
from attestlog.errors import SignerError

MESSAGE_LENGTH_MAX: Final = 400
"""Characters of an error's message that are kept: it may come from a device's library."""


class Outage:
    """Nothing so far; `add` each failure, and `draft` tells of them all."""

    def __init__(self) -> None:
        self._first_us = self._last_us = self._refused = 0
        self._error: SignerError | None = None

    @property
    def has_been(self) -> bool:
        """Whether there is something to tell."""
        return self._error is not None

    def add(self, error: SignerError, refused_entries: int, now_us: int) -> None:
        """Another batch of so many entries could not be signed."""
        if self._error is None:
            self._first_us = now_us
        self._last_us, self._error = now_us, error
        self._refused += refused_entries

    def draft(self) -> dict[str, Any]:
        """The members of the entry that tells of it."""
        assert self._error is not None
        message = self._error.message
        if len(message) > MESSAGE_LENGTH_MAX:
            message = f"{message[:MESSAGE_LENGTH_MAX]}…"
        return {
            "event_type": "CHANGE",
            "event_category": "ERROR",
            "action_type": SIGNER_OUTAGE,
            "actor_id": "attestlog",
            "actor_type": "SYSTEM",
            "action_payload": {
                "error": self._error.code,
                "message": message,
                "first_failure": format_timestamp(self._first_us),
                "last_failure": format_timestamp(self._last_us),
                "refused_entries": self._refused,
            },
        }
