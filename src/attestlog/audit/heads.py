"""The heads that BOOT and SHUTDOWN entries saw, against the entries there are.

Most saw the entry right before them; of one further back the stored tree has
the hash, which was compared with the entries by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from attestlog.audit.findings import finding
from attestlog.core.entry import Entry
from attestlog.core.hashes import leaf_hash
from attestlog.core.heads import Claim, read_head
from attestlog.core.report import Finding
from attestlog.errors import MalformedEntryError

HEADS_MAX: Final = 100_000
"""Heads that are compared with entries further back: about 20 MB."""


def judge_head(entry: Entry, further_back: list[Claim]) -> Iterator[Finding]:
    """What is wrong with the head the entry saw; into `further_back` what can only be told later."""
    try:
        seen = read_head(entry)
    except MalformedEntryError as error:
        yield finding("entry.head", str(error), entry.sequence_number)
        return
    if seen is not None and seen.size < entry.sequence_number:
        further_back.append(seen)
    elif seen is not None and seen.entry_hash != entry.prev_entry_hash:
        yield _another(seen, entry.prev_entry_hash)


class Heads:
    """Gathers from each chunk; answers at the end."""

    def __init__(self) -> None:
        self._seen: list[Claim] = []
        self._more = 0

    def add(self, seen: Iterable[Claim]) -> None:
        """Take in what a chunk has."""
        for item in seen:
            if len(self._seen) < HEADS_MAX:
                self._seen.append(item)
            else:
                self._more += 1

    def settle(self, leaf: Callable[[int], bytes | None], start: int) -> Iterator[Finding]:
        """Compare. `leaf`: an entry's leaf hash, None where not known; `start`: the first entry read."""
        unread = self._more
        for seen in self._seen:
            if seen.size <= start:
                continue
            known = leaf(seen.size - 1)
            if known is None:
                unread += 1
            elif known != leaf_hash(bytes.fromhex(seen.entry_hash)):
                yield _another(seen, None)
        if unread:
            message = f"{unread} heads that were seen could not be compared"
            yield finding("entry.heads_unread", message, found=unread)


def _another(seen: Claim, expected: str | None) -> Finding:
    what = f"saw another entry {seen.size - 1} than there is"
    return finding("entry.head", what, seen.by, expected=expected, found=seen.entry_hash)
