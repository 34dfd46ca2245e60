"""The entries of a log in pieces, cut from a snapshot of the place where it is kept.

`storage.contract` says what a `Snapshot` and its segments are, and what each
driver promises. A piece is some lines of one segment: small enough that several
processes share the work, and picklable, so that each reads its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from attestlog._internal.core.lines import Block, LastBatch, Line, entry_number
from attestlog._internal.storage.contract import RawSegment

PIECE_SIZE_MAX_BYTES: Final = 8 << 20
"""Handed to a worker at once: thousands of entries, so that edges cost little; memory stays flat."""

PIECE_SIZE_MIN_BYTES: Final = 256 << 10
"""Below it, handing a piece over takes longer than reading it."""

END_SIZE_BYTES: Final = 64 << 10
"""Looked at to see what the last entry of a segment is: some tens of entries."""

LINE_SIZE_BYTES: Final = 1_024
"""What a line is taken for where a driver counts lines: it only decides how many a piece has."""


class SegmentPiece(Struct, frozen=True):
    """A `core.lines.Piece`: the lines of a segment that begin at offsets [start, stop)."""

    raw: Any
    """The RawSegment, of whatever class its driver gives it."""
    start: int
    stop: int
    is_first: bool
    end: int | None = None
    """Where the lines end that are in pieces, if that is before the segment's end."""

    @property
    def segment(self) -> int:
        """See `Piece`."""
        first: int = self.raw.first
        return first

    @property
    def begins_segment(self) -> bool:
        """See `Piece`."""
        return self.start == 0

    @property
    def size_bytes(self) -> int:
        """See `Piece`."""
        return (self.stop - self.start) * _bytes_each(self.raw)

    @property
    def source(self) -> str:
        """See `Piece`."""
        name: str = self.raw.name
        return name

    def lines(self) -> Iterator[Line]:
        """See `Piece`."""
        lines: Iterator[Line] = self.raw.lines(self.start, self.stop)
        return lines

    def following(self) -> Iterator[Line]:
        """See `Piece`."""
        lines: Iterator[Line] = self.raw.lines(self.stop, self.raw.size if self.end is None else self.end)
        return lines

    def block(self, more: int) -> Block | None:
        """See `Piece`."""
        read = getattr(self.raw, "read", None)
        if read is None:
            return None
        end = self.raw.size if self.end is None else self.end
        begin, after = max(0, self.start - 1), min(self.stop + more, end)
        return Block(read(begin, after), self.start - begin, self.stop - begin, after == end)

    def place(self, offset: int) -> str:
        """See `Piece`."""
        return f"{self.source} {self.raw.unit} {offset}"

    def archived(self) -> str | None:
        """See `Piece`."""
        away: str | None = self.raw.away()
        return away


def cut_pieces(segments: Sequence[RawSegment], skip: int, workers: int) -> list[SegmentPiece]:
    """The lines of these segments, in pieces that keep so many workers busy.

    Of the first segment, without its first `skip` lines. Raises OSError or StorageError.
    """
    offset = segments[0].offset_after(skip) if segments and skip else 0
    total = sum(segment.size * _bytes_each(segment) for segment in segments)
    size_bytes = piece_size(total - offset, max(1, workers))
    pieces = []
    for segment in segments:
        size = max(1, size_bytes // _bytes_each(segment))
        # An empty segment is a piece as well: its place among the others is judged.
        for start in range(offset, segment.size, size) if segment.size else (0,):
            stop = min(start + size, segment.size)
            pieces.append(SegmentPiece(segment, start, stop, start == offset))
        offset = 0
    return pieces


def cut_last_batch(
    pieces: Sequence[SegmentPiece], acknowledged: int
) -> tuple[list[SegmentPiece], SegmentPiece | None]:
    """The pieces without the last batch of the log, and that, if all of it is beyond what was acknowledged.

    Only lines beyond that are looked at. Raises OSError or StorageError.
    """
    if not pieces:
        return [], None
    raw: RawSegment = pieces[-1].raw
    if _is_acknowledged(raw, acknowledged):
        return list(pieces), None
    offset = raw.offset_after(max(0, acknowledged - raw.first))
    last = LastBatch()
    for line in raw.lines(offset, raw.size):
        last.add(line)
    start = last.offset
    if start is None or (last.start is not None and last.start < acknowledged):
        return list(pieces), None
    kept = []
    for piece in pieces:
        if piece.raw is not raw:
            kept.append(piece)
        elif piece.start < start:
            kept.append(replace(piece, stop=min(piece.stop, start), end=start))
    return kept, SegmentPiece(raw, start, raw.size, is_first=True)


def _is_acknowledged(raw: RawSegment, acknowledged: int) -> bool:
    """Whether the segment's last line is an entry below that: the usual case, known by a look at its end."""
    number = None
    for line in raw.lines(max(0, raw.size - END_SIZE_BYTES // _bytes_each(raw)), raw.size):
        number = entry_number(line)
    return number is not None and number < acknowledged


def piece_size(total_bytes: int, workers: int) -> int:
    """Small enough that no worker is left waiting at the end."""
    return max(PIECE_SIZE_MIN_BYTES, min(PIECE_SIZE_MAX_BYTES, total_bytes // (workers * 8)))


def _bytes_each(segment: RawSegment) -> int:
    """How many bytes one step of an offset is, about."""
    return 1 if segment.unit == "byte" else LINE_SIZE_BYTES
