"""Lines of a log as a verifier reads them, and the pieces that a long log is read in.

A piece is some lines in a row that one process judges at one go. A batch must
not be cut, because its one signature is verified over all its entries: so a
piece takes the batches that *begin* in it, to their ends (`whole_batches`).
Every process decides that alike from the lines alone.

Where lines come from is not known here: a file, a cursor, a list in a test.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from msgspec import Struct

from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.signature import BATCH_ENTRIES_MAX, BATCH_SUFFIX, parse_signature
from attestlog.errors import MalformedEntryError, MalformedSignatureError

_WITHIN_BATCH: Final = re.compile(rb'"hsm_signature":"[0-9a-f]*:[1-9][0-9]*/')
"""An entry that is not the first of its batch. It need not be exact, only the same wherever it is asked."""


class Line(Struct, frozen=True, gc=False):
    """One line, as it stands. A struct without a garbage collector's header: one is made for every entry."""

    offset: int
    """Where it begins: bytes into its file, or whatever grows from line to line at its source."""
    data: bytes
    """Without the line end. Of a line longer than any may be, only the first bytes."""
    stop: int
    """The offset after it, line end included."""
    is_complete: bool = True
    """Whether it has a line end."""


class Block(Struct, frozen=True, gc=False):
    """The bytes of a piece, with some around it."""

    data: bytes
    """Read into memory of its own: what is judged is what was read, whatever happens to the file."""
    start: int
    stop: int
    """The piece is what begins in data[start:stop]. Unless `start` is 0, the byte before it is there."""
    is_end: bool
    """Whether nothing follows `data` in the segment."""


class Piece(Protocol):
    """Lines in a row that can be read at any time, and again. Picklable: a worker process reads its own."""

    @property
    def segment(self) -> int:
        """Sequence number that the segment these lines belong to begins with."""

    @property
    def begins_segment(self) -> bool:
        """Whether the segment's first line is in this piece."""

    @property
    def is_first(self) -> bool:
        """Whether nothing of the segment is read before it: the first line is then its own in any case."""

    @property
    def size_bytes(self) -> int:
        """How much it is, about; for progress."""

    @property
    def source(self) -> str:
        """What is read. What fails for one reason is reported once a source."""

    def lines(self) -> Iterator[Line]:
        """The lines that begin in the piece. Raises OSError or StorageError where they cannot be read."""

    def following(self) -> Iterator[Line]:
        """The lines of the segment after the piece, as far as there were any when the log was looked at."""

    def block(self, more: int) -> Block | None:
        """The piece's bytes and so many of those that follow; None where lines are not kept as bytes.

        Raises OSError, StorageError or MalformedSegmentError where they cannot be read.
        """

    def place(self, offset: int) -> str:
        """An offset of these lines, in words."""

    def archived(self) -> str | None:
        """Where the segment was put, if it cannot be reached there now; None if it is not archived."""


def whole_lines(lines: Iterable[bytes]) -> Iterator[Line]:
    """Lines at hand in memory, each without its line end, as if they stood in one file."""
    offset = 0
    for data in lines:
        stop = offset + len(data) + 1
        yield Line(offset, data, stop)
        offset = stop


def whole_batches(piece: Piece) -> Iterator[Line]:
    """The lines of the batches that begin in the piece.

    Where no batch begins for longer than a batch can be, lines belong to the piece that they would
    with its boundary that many lines later.
    """
    is_empty, is_ours, skipped = True, piece.is_first, 0
    for line in piece.lines():
        is_empty = False
        if not is_ours:
            is_ours = begins_batch(line) or skipped == BATCH_ENTRIES_MAX
            skipped += 1
        if is_ours:
            yield line
    if is_empty:  # within one endless line, perhaps: what follows is not looked for by each of its pieces
        return
    for past, line in enumerate(piece.following()):
        begins = begins_batch(line)
        if not is_ours:
            is_ours = begins or skipped == BATCH_ENTRIES_MAX
            skipped += 1
        if begins or past == BATCH_ENTRIES_MAX:
            return
        if is_ours:
            yield line


def begins_batch(line: Line) -> bool:
    """Whether no batch reaches across the place before this line, as far as the line tells."""
    return _WITHIN_BATCH.search(line.data) is None


def entry_number(line: Line) -> int | None:
    """The sequence number that a line states; None if it is not an entry."""
    try:
        return decode_line(line.data).sequence_number if line.is_complete else None
    except MalformedEntryError:
        return None


class LastBatch:
    """Where the last batch begins among lines that are added one by one, as far as the lines tell.

    Lines that are not entries are counted to the batch that they stand in, or that follows them: a power cut
    may have left them of it.
    """

    def __init__(self) -> None:
        self.offset: int | None = None
        """None while there is no line."""
        self.start: int | None = None
        """Sequence number of the batch's first entry, as its entries tell; None: none of them can."""
        self._is_complete = False

    def add(self, line: Line) -> None:
        """The next line."""
        try:
            if not line.is_complete:
                raise MalformedEntryError("the line does not end")
            entry = decode_line(line.data)
        except MalformedEntryError:
            self._add(line, self.start, is_last=False)
            return
        if not entry.signature_algorithm.endswith(BATCH_SUFFIX):
            self._begin(line, entry.sequence_number, is_last=True)
            return
        try:
            signature = parse_signature(entry.hsm_signature, entry.signature_algorithm)
        except MalformedSignatureError:
            self._add(line, self.start, is_last=False)
            return
        start = entry.sequence_number - signature.index
        self._add(line, start, is_last=signature.index + 1 == signature.size)

    def _add(self, line: Line, start: int | None, *, is_last: bool) -> None:
        if self._is_complete or self.offset is None or self.start not in (None, start):
            self._begin(line, start, is_last=is_last)
        else:
            self.start, self._is_complete = start, is_last

    def _begin(self, line: Line, start: int | None, *, is_last: bool) -> None:
        self.offset, self.start, self._is_complete = line.offset, start, is_last
