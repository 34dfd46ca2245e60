"""Legal holds: payloads that must not be erased, until the hold is released.

    add_legal_hold       name, start, stop (or null: without end), reason
    release_legal_hold   name, reason

Both are CHANGE entries that govern: which holds are in force at an entry is
part of the `rules` there, so an erasure is judged by the holds where it stands.
The document is docs/spec/erasure.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from attestlog.core.converting import convert_payload, malformed_payload
from attestlog.core.entry import Count, Name, Object
from attestlog.core.rotation import REASON_LENGTH_MAX

HOLD_ACTION_TYPE: Final = "add_legal_hold"
RELEASE_ACTION_TYPE: Final = "release_legal_hold"

HOLDS_MAX: Final = 1_000
"""Holds in force at once: every reader of the log keeps them, and every erasure is compared with each."""

Reason = Annotated[str, Meta(min_length=1, max_length=REASON_LENGTH_MAX)]


class Hold(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The payloads of entries `start` up to `stop` stay, those not written yet included."""

    name: Name
    start: Count
    stop: Count | None
    reason: Reason

    def covers(self, sequence_number: int) -> bool:
        """Whether this entry's payload is held."""
        return self.start <= sequence_number and (self.stop is None or sequence_number < self.stop)


class Release(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The payload of `release_legal_hold`."""

    name: Name
    reason: Reason


def format_hold(hold: Hold | Release) -> Object:
    """The payload."""
    members: Object = msgspec.to_builtins(hold)
    return members


def parse_hold(payload: Any) -> Hold:
    """Raises MalformedEntryError unless it has exactly these members and holds something."""
    hold = convert_payload(payload, Hold)
    if hold.stop is not None and hold.stop <= hold.start:
        malformed_payload(f"{hold.stop} is not after the start, {hold.start}", "stop")
    return hold


def parse_release(payload: Any) -> Release:
    """Raises MalformedEntryError unless it has exactly these members."""
    return convert_payload(payload, Release)


def held_by(holds: Iterable[Hold], sequence_number: int) -> list[str]:
    """Names of the holds on this entry's payload."""
    return [hold.name for hold in holds if hold.covers(sequence_number)]
