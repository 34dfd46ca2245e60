"""Pointers: each entry names the entries that made the rules it stands under.

    environment.attestlog_rules   the last entry before it that changed keys or policy, and held; at first
                                  the genesis entry
    environment.attestlog_holds   the last legal hold or release before it that held; absent before the first

Each is `<number>:<entry_hash>`, in one spelling. A governing entry carries the pointers of the rules it was
made under, so the entries that a pointer leads to are a list: from the last change back to the genesis entry,
each named by the hash of the next. Whoever has an entry can fetch the rules it stands under, and nobody can
leave one of them out or put another in its place.

`Rules.after` moves the pointers; this module knows their form and follows the lists. The entry 0 has none.
Specified in docs/spec/rules.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from heapq import merge
from operator import attrgetter
from typing import Final, NamedTuple

from attestlog._internal.core.canonical import INTEGER_MAX
from attestlog._internal.core.entry import Entry, decode_line, entry_hash
from attestlog.errors import HashMismatchError, MalformedEntryError, VerificationError

RULES_MEMBER: Final = "attestlog_rules"
HOLDS_MEMBER: Final = "attestlog_holds"
"""Members of `environment`, in canonical order: HOLDS_MEMBER stands before RULES_MEMBER."""

POINTER_LENGTH_MAX: Final = len(f"{INTEGER_MAX}:") + 64
"""Characters of a pointer with the longest number."""

KEPT_SIZE_MAX_BYTES: Final = 64 << 20
"""Lines of a list that are kept while it is followed back: some 30,000. More are fetched a second time."""

POINTER_PATTERN: Final = "(0|[1-9][0-9]{0,15}):([0-9a-f]{64})"

_POINTER: Final = re.compile(POINTER_PATTERN)

Fetch = Callable[[int], bytes]
"""Gives the line of an entry, by its number. Raises StorageError where it cannot be had."""


class Pointer(NamedTuple):
    """One entry and no other, as another entry names it."""

    sequence_number: int
    entry_hash: str

    def __str__(self) -> str:
        return f"{self.sequence_number}:{self.entry_hash}"


class Pointers(NamedTuple):
    """The pointers of an entry as they are spelled; None: it has no such member."""

    rules: str | None = None
    holds: str | None = None

    @classmethod
    def of(cls, entry: Entry) -> Pointers:
        """Those that the entry states, right or wrong."""
        return cls(entry.environment.get(RULES_MEMBER), entry.environment.get(HOLDS_MEMBER))


def point_to(entry: Entry) -> str:
    """The pointer to an entry, as the entry states itself."""
    return f"{entry.sequence_number}:{entry.entry_hash}"


def parse_pointer(text: str) -> Pointer:
    """Raises MalformedEntryError unless it is `<number>:<hash>`, without leading zeros, in lower case."""
    match = _POINTER.fullmatch(text)
    if match is None or int(match[1]) > INTEGER_MAX:
        raise MalformedEntryError(f"{text[:100]!r} is not a pointer to an entry", member="environment")
    return Pointer(int(match[1]), match[2])


def is_later(stated: Pointers, last: Pointers) -> bool:
    """Whether pointers may be those of an entry that stands after one with the pointers `last`."""
    pairs = zip(stated, last, strict=True)
    try:
        return all(
            one == two
            or (one is not None and parse_pointer(one)[0] > (-1 if two is None else parse_pointer(two)[0]))
            for one, two in pairs
        )
    except MalformedEntryError:
        return False


def read_changes(start: Pointers, stop: Pointers, fetch: Fetch) -> Iterator[Entry]:
    """The entries that lead from the rules under `start` to those under `stop`, in order.

    They are found from the pointers of `stop`, each in one `fetch`; each is what its pointer names, by its
    recomputed hash. Whether they hold is for `Rules.after` to say. Raises VerificationError where the list
    does not lead back to `start`, MalformedEntryError, and what `fetch` raises.
    """
    lists = [
        _follow(getattr(start, member), getattr(stop, member), name, fetch)
        for member, name in (("rules", RULES_MEMBER), ("holds", HOLDS_MEMBER))
    ]
    return merge(*lists, key=attrgetter("sequence_number"))


def _follow(start: str | None, stop: str | None, member: str, fetch: Fetch) -> Iterator[Entry]:
    """The entries of one list after `start` up to `stop`, in order."""
    found: list[tuple[Pointer, bytes | None]] = []
    limit, room = -1 if start is None else parse_pointer(start).sequence_number, KEPT_SIZE_MAX_BYTES
    while stop != start:
        if stop is None:
            raise VerificationError(f"the list of {member} ends before it leads to {start}", expected=start)
        pointer = parse_pointer(stop)
        last = found[-1][0].sequence_number if found else pointer.sequence_number + 1
        if not limit < pointer.sequence_number < last:
            raise VerificationError(
                f"{member} names entry {pointer.sequence_number}, want one from {limit + 1} to {last - 1}",
                expected=start, found=stop,
            )  # fmt: skip
        line = fetch(pointer.sequence_number)
        room -= len(line)
        found.append((pointer, line if room >= 0 else None))
        stop = _read(pointer, line).environment.get(member)
    while found:
        pointer, kept = found.pop()
        yield _read(pointer, fetch(pointer.sequence_number)) if kept is None else decode_line(kept)


def _read(pointer: Pointer, line: bytes) -> Entry:
    """The entry that the pointer names. Raises HashMismatchError for another one, MalformedEntryError."""
    entry = decode_line(line)
    found = entry_hash(entry)
    if (entry.sequence_number, found, entry.entry_hash) != (*pointer, pointer.entry_hash):
        raise HashMismatchError(
            f"entry {pointer.sequence_number} is not the one that pointers name",
            expected=pointer.entry_hash, found=found,
        )  # fmt: skip
    return entry
