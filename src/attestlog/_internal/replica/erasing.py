"""Erasures reach the copy: an entry that says that a payload is erased erases it here too.

What the rules in force at that entry do not allow (a legal hold, a missing
quorum) never comes this far: the verifier refuses the entry. What could not be
done yet is done in the next turn, and until then `unerased` reports it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from attestlog._internal.core.entry import Entry, decode_line
from attestlog._internal.core.erasure import parse_erasure
from attestlog._internal.core.reserved import ERASE_PAYLOAD, erases
from attestlog._internal.storage.files.erasing import Pending, read_pending, write_pending
from attestlog._internal.storage.files.reader import LogReader
from attestlog.errors import MalformedError

_MARK: Final = f'"action_type":"{ERASE_PAYLOAD}"'.encode()


def line_erases(line: bytes) -> bool:
    """Whether a line is an entry that says that a payload is erased."""
    try:
        return _MARK in line and erases(decode_line(line))
    except MalformedError:
        return False


def note(root: Path, number: int, line: bytes) -> None:
    """Note durably what entry `number`, of this line, erases: the store does it, now or after a crash."""
    erased = _erased_number(decode_line(line))
    target = None if erased is None or erased >= number else LogReader(root).entry(erased)
    if target is not None:
        write_pending(
            root,
            Pending(sequence_number=target.sequence_number, entry_hash=target.entry_hash, erased_by=number),
        )


def unerased(root: Path) -> list[int]:
    """Sequence numbers of the payloads that the log says are erased, and that are still in this copy.

    Reads the entries that erase, and those that they name.
    """
    reader, found = LogReader(root), set[int]()
    pending = read_pending(root)
    if pending is not None and pending.erased_by < reader.size():
        found.add(pending.sequence_number)
    for line in reader.lines():
        number = _erased_number(decode_line(line)) if line_erases(line) else None
        if number is not None and reader.entry(number).action_payload is not None:
            found.add(number)
    return sorted(found)


def _erased_number(entry: Entry) -> int | None:
    try:
        number = parse_erasure(entry.action_payload).sequence_number
    except MalformedError:
        return None
    return number if number < entry.sequence_number else None
