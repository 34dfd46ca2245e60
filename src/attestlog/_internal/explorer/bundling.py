"""A bundle made from a log: the entries chosen, their paths, and the entries that keys and policy rest on.

Reads only: no key and no lock. Entries that the stored checkpoint does not cover yet have no path to it; how
many of those chosen were left out is told. What is stored may be damaged: what does not lead to the
checkpoint's root is not packed.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field

from attestlog._internal.core.bundle import TIMESTAMPS_MAX, Header, Item, Stamp, format_header, format_item
from attestlog._internal.core.checkpoint import Checkpoint, parse_checkpoint
from attestlog._internal.core.entry import Entry
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.merkle import prove_inclusion, verify_inclusion
from attestlog._internal.core.note import parse_note
from attestlog._internal.core.pointer import Pointers, read_changes
from attestlog._internal.exporting.choosing import Choice
from attestlog._internal.exporting.contract import Exported
from attestlog._internal.storage.contract import LogSource
from attestlog.errors import CorruptError, InclusionError, NotFoundError, VerificationError


@dataclass
class Bundling:
    """One bundle being made. The counts grow as `lines` are read."""

    source: LogSource
    choice: Choice
    entries: int = 0
    """How many of those chosen are in it."""
    uncovered: int = 0
    """How many were left out, because the checkpoint does not cover them."""
    numbers: list[int] = field(default_factory=list)
    """First and last of those in it."""

    def lines(self) -> Iterator[bytes]:
        """The lines of the bundle. Raises NotFoundError, CorruptError and other StorageErrors."""
        note = self.source.stored_checkpoint()
        checkpoint = parse_checkpoint(parse_note(note).text)
        yield format_header(Header(checkpoint=note.decode(), timestamps=list(self._stamps(checkpoint.size))))
        end = self.choice.end(self.source)
        last = Pointers(f"0:{self.source.entry(0).entry_hash}")
        rules = {0: self.source.line(0)}
        for item in self.choice.entries(self.source, end):
            number = item.entry.sequence_number
            if number >= checkpoint.size:
                self.uncovered += 1
                continue
            before = self.numbers[-1] if self.numbers else 0
            found = self._changes(last, item.entry, checkpoint.size)
            # The entry before may itself have changed them: it is there already.
            rules |= {change: line for change, line in found.items() if change > before}
            last = last if number == 0 else Pointers.of(item.entry)
            rules.pop(number, None)
            yield from self._items(rules, checkpoint)
            rules = {}
            yield self._item(number, item.line, checkpoint)
            self._count(item)
        yield from self._items(rules, checkpoint)

    def _count(self, item: Exported) -> None:
        self.entries += 1
        self.numbers = [*self.numbers[:1], item.entry.sequence_number]

    def _changes(self, last: Pointers, entry: Entry, size: int) -> dict[int, bytes]:
        """The lines of the entries that changed keys or policy since the entry before."""
        stated = Pointers.of(entry)
        if entry.sequence_number == 0 or stated.rules in (None, last.rules):
            return {}
        start, stop = Pointers(last.rules), Pointers(stated.rules)
        try:
            found = [change.sequence_number for change in read_changes(start, stop, self.source.line)]
        except VerificationError as error:
            raise CorruptError(
                f"the rules of entry {entry.sequence_number} cannot be followed: {error}",
                path=self.source.where, sequence_number=entry.sequence_number,
            ) from None  # fmt: skip
        return {number: self.source.line(number) for number in found if number < size}

    def _items(self, rules: dict[int, bytes], checkpoint: Checkpoint) -> Iterator[bytes]:
        for number, line in sorted(rules.items()):
            yield self._item(number, line, checkpoint, is_asked=False)

    def _item(self, number: int, line: bytes, checkpoint: Checkpoint, *, is_asked: bool = True) -> bytes:
        path = prove_inclusion(number, checkpoint.size, self.source.hashes)
        try:
            leaf = leaf_hash(bytes.fromhex(self.source.entry(number).entry_hash))
            verify_inclusion(leaf, number, checkpoint.size, path, checkpoint.root)
        except (InclusionError, ValueError) as error:
            raise CorruptError(
                f"nothing can be proved from what is stored: {error}",
                path=self.source.where, sequence_number=number, repair="tree",
            ) from None  # fmt: skip
        return format_item(Item(line, path, is_asked))

    def _stamps(self, size: int) -> Iterator[Stamp]:
        """The latest time stamps that the checkpoint's size covers, the smallest size first."""
        stamps = [stamp for stamp in self.source.timestamps() if stamp.size <= size][-TIMESTAMPS_MAX:]
        for stamp in stamps:
            yield Stamp(response=b64encode(self.source.timestamp(stamp.name)).decode(), size=stamp.size)


def check_found(bundling: Bundling) -> None:
    """Raises NotFoundError where there is nothing in it."""
    if not bundling.entries:
        left = (
            f"; {bundling.uncovered} match, and no checkpoint covers them yet" if bundling.uncovered else ""
        )
        raise NotFoundError(f"no entry matches{left}", path=bundling.source.where)
