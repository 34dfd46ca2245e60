"""Erasures reach the copy: an entry that says that a payload is erased erases it here too.

What the rules in force at that entry do not allow (a legal hold, a missing
quorum) never comes this far: the verifier refuses the entry. What could not be
done yet is done in the next turn, and until then `unerased` reports it.
"""

from __future__ import annotations

from typing import Final

from attestlog._internal.core.entry import Entry, decode_line
from attestlog._internal.core.erasure import parse_erasure
from attestlog._internal.core.reserved import ERASE_PAYLOAD, erases
from attestlog._internal.storage.contract import LogSource, Store
from attestlog.errors import MalformedError

_MARK: Final = f'"action_type":"{ERASE_PAYLOAD}"'.encode()


def line_erases(line: bytes) -> bool:
    """Whether a line is an entry that says that a payload is erased."""
    try:
        return _MARK in line and erases(decode_line(line))
    except MalformedError:
        return False


def note(store: Store, number: int, line: bytes) -> None:
    """Note durably what entry `number`, of this line, erases: the store does it, now or after a crash."""
    erased = _erased_number(decode_line(line))
    target = None if erased is None or erased >= number else store.source.entry(erased)
    if target is not None:
        store.begin_erasure(target.sequence_number, target.entry_hash, number)


def unerased(copy: LogSource) -> list[int]:
    """Sequence numbers of the payloads that the log says are erased, and that are still in this copy.

    Reads the entries that erase, and those that they name.
    """
    found = set[int]()
    pending = copy.pending_erasure()
    if pending is not None and pending.erased_by < copy.size():
        found.add(pending.sequence_number)
    for line in copy.lines():
        number = _erased_number(decode_line(line)) if line_erases(line) else None
        if number is not None and copy.entry(number).action_payload is not None:
            found.add(number)
    return sorted(found)


def _erased_number(entry: Entry) -> int | None:
    try:
        number = parse_erasure(entry.action_payload).sequence_number
    except MalformedError:
        return None
    return number if number < entry.sequence_number else None
