"""Reading segment files: lines with their offsets, forwards in blocks, or just the last one.

Positional reads only, so that readers and the committer can share a
descriptor. Raises OSError.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES

BLOCK_BYTES: Final = 4 << 20
"""Read at a time: large enough for the disk, small enough to forget."""

_TAIL_BYTES: Final = 64 << 10
"""First look for the last line: most entries are shorter."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a segment: where it starts, its bytes without line end, and whether it has one."""

    offset: int
    data: bytes
    complete: bool

    @property
    def stop(self) -> int:
        """Where the next line starts."""
        return self.offset + len(self.data) + self.complete


def segment_lines(descriptor: int, start: int, stop: int) -> Iterator[Line]:
    """The lines of bytes [start, stop); `start` must be where a line starts.

    The last can be incomplete, and what is longer than any line may be comes in incomplete pieces.
    """
    buffer, offset = b"", start
    while start < stop:
        block = os.pread(descriptor, min(BLOCK_BYTES, stop - start), start)
        if not block:
            break
        start += len(block)
        *whole, buffer = (buffer + block).split(b"\n")
        for data in whole:
            yield Line(offset, data, complete=True)
            offset += len(data) + 1
        if len(buffer) > LINE_SIZE_MAX_BYTES:
            yield Line(offset, buffer, complete=False)
            buffer, offset = b"", start
    if buffer:
        yield Line(offset, buffer, complete=False)


def last_line(descriptor: int, size_bytes: int) -> Line | None:
    """The last line of the first `size_bytes`; None when there is none or no line is that long."""
    wanted = _TAIL_BYTES
    while size_bytes:
        start = max(0, size_bytes - wanted)
        tail = os.pread(descriptor, size_bytes - start, start)
        complete = tail.endswith(b"\n")
        cut = tail.rfind(b"\n", 0, len(tail) - complete)
        if cut >= 0 or start == 0:
            return Line(start + cut + 1, tail[cut + 1 : len(tail) - complete], complete)
        if wanted > LINE_SIZE_MAX_BYTES:
            break
        wanted *= 8
    return None
