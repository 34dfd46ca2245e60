"""The head that a BOOT or SHUTDOWN entry saw: how many entries the log had, and the hash of the last.

It stands in `system_state_snapshot` as `log_head`. Signed with the entry, it
is a remembered head inside the log itself: who rewrites entries before it must
rewrite it, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from attestlog._internal.core.batch import Head
from attestlog._internal.core.convert import read_complaint
from attestlog._internal.core.entry import Count, Entry, EventType, Hex64, OptionalMembers
from attestlog.errors import MalformedEntryError

MEMBER: Final = "log_head"


class SeenHead(Struct, frozen=True, forbid_unknown_fields=True):
    """What `log_head` says."""

    size: Count
    entry_hash: Hex64


class HeadClaim(NamedTuple):
    """That entry `size - 1` has this hash, says entry `by`."""

    by: int
    size: int
    entry_hash: str


def seen_head(size: int, entry_hash: str) -> dict[str, Any]:
    """The member, for a head of this size."""
    return {MEMBER: {"size": size, "entry_hash": entry_hash}}


def with_head(members: OptionalMembers, head: Head) -> OptionalMembers:
    """Members of a BOOT or SHUTDOWN that saw this head; what they say of it themselves stays."""
    snapshot: Any = members.get("system_state_snapshot", {})
    if not isinstance(snapshot, Mapping):
        return members  # appending it says what is wrong with it
    return {**members, "system_state_snapshot": {**seen_head(head.size, head.entry_hash), **snapshot}}


def read_head(entry: Entry) -> HeadClaim | None:
    """What the entry says it saw; None if it says nothing.

    Raises MalformedEntryError for what is no head, or none that could be seen from there.
    """
    if entry.event_type not in (EventType.BOOT, EventType.SHUTDOWN):
        return None
    stated = entry.system_state_snapshot.get(MEMBER)
    if stated is None:
        return None
    path = f"system_state_snapshot.{MEMBER}"
    try:
        head = msgspec.convert(stated, SeenHead)
    except msgspec.ValidationError as error:
        member, reason = read_complaint(str(error))
        raise MalformedEntryError(f"{path}: {member}: {reason}", member=path) from None
    number = entry.sequence_number
    if not 1 <= head.size <= number:
        raise MalformedEntryError(
            f"{path}: a log of {head.size} entries, seen by entry {number}", member=path
        )
    return HeadClaim(number, head.size, head.entry_hash)
