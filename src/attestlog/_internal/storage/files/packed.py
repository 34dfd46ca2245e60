"""Segments as files, compressed or not: what readers ask of both, and the codec.

`open_segment` gives one or the other by its name. The unpacked bytes are the
segment: offsets are of these. Nothing unpacks to more than the frame index
says, and nothing is read past the last line that a frame may have; memory is
one block and one line.

Raises OSError, MissingExtraError where the codec is not installed, and
MalformedSegmentError at a compressed file that is not what `core.compression`
asks for.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

from attestlog._internal import disk
from attestlog._internal.core.compression import (
    FOOTER_SIZE_BYTES,
    FRAME_ENTRIES,
    FRAME_HEADER_SIZE_MAX_BYTES,
    FRAME_SIZE_MAX_BYTES,
    WINDOW_SIZE_MAX_BYTES,
    Frame,
    check_frame,
    decode_index,
    encode_index,
    index_size,
)
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES
from attestlog._internal.core.lines import Line
from attestlog._internal.storage.files.layout import PACKED_SUFFIX, object_url
from attestlog._internal.storage.files.segments import (
    BLOCK_BYTES,
    LOOK_BYTES,
    ROOM_SIZE_MAX_BYTES,
    count_entries,
    find_line,
    last_line,
    line_start,
    lines_end,
    read_lines,
)
from attestlog.errors import ConflictError, MalformedSegmentError, MissingExtraError

COMPRESSION_LEVEL: Final = 9
"""Of zstd. Higher ones take minutes a segment and save a few percent."""


class OpenSegment(ABC):
    """One segment, open for reading. Use `open_segment`."""

    size: int
    """Bytes, unpacked."""

    @abstractmethod
    def lines_end(self) -> int:
        """Where its lines end: before its room, if it has room; a compressed one may not."""

    @abstractmethod
    def count(self, first: int) -> int | None:
        """How many entries a log has whose last segment this is; None if no line is complete."""

    @abstractmethod
    def find(self, first: int, number: int) -> int | None:
        """Where the line of entry `number` starts, or will start; None if it lies further on."""

    @abstractmethod
    def lines(self, start: int, end: int, *, stop: int | None = None, few: bool = False) -> Iterator[Line]:
        """The lines that begin in [start, stop), of a segment of `end` bytes: see `read_lines`.

        `start` need not begin a line: then the first is the one that begins after it.
        """

    @abstractmethod
    def read(self, size_bytes: int, offset: int) -> bytes:
        """As `os.pread`."""

    @abstractmethod
    def last_line(self) -> Line | None:
        """The last line; None if there is none."""

    def offset_after(self, lines: int, end: int) -> int:
        """Where the line after this many lines begins; the end if there are fewer."""
        offset = 0
        for line in islice(self.lines(0, end), lines):
            offset = line.stop
        return offset


class PlainSegment(OpenSegment):
    """A file of lines."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self.size = descriptor, os.fstat(descriptor).st_size

    def lines_end(self) -> int:
        """See `OpenSegment`."""
        return lines_end(self._descriptor, self.size)

    def count(self, first: int) -> int | None:
        """See `OpenSegment`."""
        return count_entries(self._descriptor, first)

    def find(self, first: int, number: int) -> int | None:
        """See `OpenSegment`."""
        return find_line(self._descriptor, first, number)

    def lines(self, start: int, end: int, *, stop: int | None = None, few: bool = False) -> Iterator[Line]:
        """See `OpenSegment`."""
        start = line_start(self._descriptor, start, end if stop is None else stop)
        block_bytes = LOOK_BYTES if few else None
        return read_lines(self._descriptor, start, end, stop=stop, block_bytes=block_bytes)

    def read(self, size_bytes: int, offset: int) -> bytes:
        """See `OpenSegment`."""
        return os.pread(self._descriptor, size_bytes, offset)

    def last_line(self) -> Line | None:
        """See `OpenSegment`."""
        return last_line(self._descriptor, self.size)


class Ranges(Protocol):
    """The bytes of a file that is elsewhere, read by ranges. Methods raise OSError."""

    @property
    def size(self) -> int:
        """Bytes in all."""

    def read(self, size_bytes: int, offset: int) -> bytes:
        """As `os.pread`."""

    def expect(self, size_bytes: int, offset: int) -> None:
        """All of these bytes will be read now."""


class PackedSegment(OpenSegment):
    """A compressed file of lines, open here or elsewhere."""

    def __init__(self, file: int | Ranges) -> None:
        self._zstd, self._file = codec(), file
        file_size = os.fstat(file).st_size if isinstance(file, int) else file.size
        footer = self._pread(FOOTER_SIZE_BYTES, max(0, file_size - FOOTER_SIZE_BYTES))
        size_bytes = min(index_size(footer), file_size)
        self.index = decode_index(self._pread(size_bytes, file_size - size_bytes), file_size)
        self.size = self.index.size

    def lines_end(self) -> int:
        """See `OpenSegment`. The last frame is unpacked."""
        last = self.last_line()
        return last.offset if last is not None and _is_room(last) else self.size

    def count(self, first: int) -> int | None:
        """See `OpenSegment`."""
        before = len(self.index.frames) - 1
        count = before * FRAME_ENTRIES + sum(line.is_complete for line in self._frame_lines(before))
        return first + count if count else None

    def find(self, first: int, number: int) -> int | None:
        """See `OpenSegment`. One frame is unpacked."""
        place, lines = divmod(number - first, FRAME_ENTRIES)
        if place >= len(self.index.frames):
            is_next = not lines and place == len(self.index.frames)
            return self.size if is_next and self.count(first) == number else None
        offset = self.index.starts[place]
        for line in islice(self._frame_lines(place), lines):
            lines -= line.is_complete
            offset = line.stop
        return None if lines else offset

    def lines(self, start: int, end: int, *, stop: int | None = None, few: bool = False) -> Iterator[Line]:  # noqa: ARG002
        """See `OpenSegment`."""
        stop = end if stop is None else stop
        for place in range(self.index.frame_at(start), len(self.index.frames)):
            if self.index.starts[place] >= stop:
                return
            for line in self._frame_lines(place):
                if line.offset >= min(stop, end) or _is_room(line):
                    return
                if line.offset >= start:
                    yield line

    def read(self, size_bytes: int, offset: int) -> bytes:
        """See `OpenSegment`."""
        found = bytearray()
        for place in range(self.index.frame_at(offset), len(self.index.frames)):
            at = self.index.starts[place]
            for block in self.blocks(self.index.frames[place]):
                found += block[max(0, offset - at) : max(0, offset + size_bytes - at)]
                at += len(block)
                if len(found) >= size_bytes:
                    return bytes(found)
        return bytes(found)

    def last_line(self) -> Line | None:
        """See `OpenSegment`."""
        return next(iter(deque(self._frame_lines(len(self.index.frames) - 1), maxlen=1)), None)

    def blocks(self, frame: Frame) -> Iterator[bytes]:
        """What the frame unpacks to: as much as the index says, neither more nor less."""
        if not isinstance(self._file, int):
            self._file.expect(frame.packed_size, frame.offset)
        check_frame(
            self._pread(min(FRAME_HEADER_SIZE_MAX_BYTES, frame.packed_size), frame.offset), frame.size
        )
        zstd = self._zstd
        window = {zstd.DecompressionParameter.window_log_max: WINDOW_SIZE_MAX_BYTES.bit_length() - 1}
        decompressor = zstd.ZstdDecompressor(options=window)
        offset, stop, found = frame.offset, frame.offset + frame.packed_size, 0
        while not decompressor.eof:
            data = b""
            if decompressor.needs_input:
                data = self._pread(min(BLOCK_BYTES, stop - offset), offset)
                offset += len(data)
                if not data:
                    raise MalformedSegmentError(f"the frame at byte {frame.offset} is longer than said")
            try:
                block = decompressor.decompress(data, max_length=BLOCK_BYTES)
            except zstd.ZstdError as error:
                raise MalformedSegmentError(
                    f"the frame at byte {frame.offset} does not unpack: {error}"
                ) from None
            found += len(block)
            if found > frame.size:
                break
            if block:
                yield block
        if found != frame.size or offset != stop or decompressor.unused_data:
            raise MalformedSegmentError(
                f"the frame at byte {frame.offset} is not {frame.packed_size} bytes for {frame.size}"
            )

    def raw(self, frame: Frame) -> Iterator[bytes]:
        """The frame as it stands."""
        for at in range(frame.offset, frame.offset + frame.packed_size, BLOCK_BYTES):
            yield self._pread(min(BLOCK_BYTES, frame.offset + frame.packed_size - at), at)

    def _frame_lines(self, place: int) -> Iterator[Line]:
        """The lines of a frame, as many as it must have; of the last, what stands behind them as well."""
        frame, is_last = self.index.frames[place], place == len(self.index.frames) - 1
        offset, count, rest = frame.start, 0, b""
        for block in self.blocks(frame):
            *whole, rest = (rest + block).split(b"\n")
            for data in whole:
                count += 1
                if count > FRAME_ENTRIES or len(data) >= LINE_SIZE_MAX_BYTES:
                    raise MalformedSegmentError(f"the frame at byte {frame.offset} has more than its lines")
                yield Line(offset, data, offset + len(data) + 1)
                offset += len(data) + 1
            if len(rest) > LINE_SIZE_MAX_BYTES:
                raise MalformedSegmentError(f"the frame at byte {frame.offset} has a line without end")
        if not is_last and (rest or count != FRAME_ENTRIES):
            raise MalformedSegmentError(
                f"the frame at byte {frame.offset} has {count} lines, want {FRAME_ENTRIES}"
            )
        if rest:
            yield Line(offset, rest, offset + len(rest), is_complete=False)

    def _pread(self, size_bytes: int, offset: int) -> bytes:
        if isinstance(self._file, int):
            return os.pread(self._file, size_bytes, offset)
        return self._file.read(size_bytes, offset)


def _is_room(line: Line) -> bool:
    return not line.is_complete and len(line.data) <= ROOM_SIZE_MAX_BYTES and not line.data.strip(b" ")


@contextmanager
def open_segment(path: Path | str) -> Iterator[OpenSegment]:
    """The segment in this file, which is compressed or not by its name, or in the object it leads to."""
    url = object_url(path)
    if url is not None:
        from attestlog._internal.storage.objects.archived import open_object

        yield PackedSegment(open_object(url))
        return
    with disk.open_plain(path, buffering=0) as file:
        is_packed = str(path).endswith(PACKED_SUFFIX)
        yield PackedSegment(file.fileno()) if is_packed else PlainSegment(file.fileno())


def codec() -> Any:
    """zstd: the standard library's, or `backports.zstd`. Raises MissingExtraError."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    raise MissingExtraError("compressed segments need Python 3.14 or backports.zstd", extra="zstd")


class Packing:
    """Writes a compressed segment to a descriptor, frame by frame."""

    def __init__(self, descriptor: int) -> None:
        self._zstd, self._descriptor = codec(), descriptor
        self._sizes: list[tuple[int, int]] = []

    def add(self, content: bytes) -> None:
        """The next frame, of the lines of FRAME_ENTRIES entries, or the rest. Raises ConflictError."""
        if len(content) > FRAME_SIZE_MAX_BYTES:
            raise ConflictError(
                f"{FRAME_ENTRIES} entries have {len(content)} bytes, a frame {FRAME_SIZE_MAX_BYTES} at most",
                expected=FRAME_SIZE_MAX_BYTES, found=len(content),
            )  # fmt: skip
        parameter = self._zstd.CompressionParameter
        options = {
            parameter.compression_level: COMPRESSION_LEVEL, parameter.content_size_flag: 1,
            parameter.checksum_flag: 1, parameter.dict_id_flag: 0,
            parameter.window_log: WINDOW_SIZE_MAX_BYTES.bit_length() - 1,
        }  # fmt: skip
        packed = self._zstd.compress(content, options=options)
        disk.write_all(self._descriptor, packed)
        self._sizes.append((len(packed), len(content)))

    def copy(self, segment: PackedSegment, frame: Frame) -> None:
        """The next frame, from another file, as it stands there."""
        for block in segment.raw(frame):
            disk.write_all(self._descriptor, block)
        self._sizes.append((frame.packed_size, frame.size))

    def finish(self) -> None:
        """Write the frame index."""
        disk.write_all(self._descriptor, encode_index(self._sizes))
