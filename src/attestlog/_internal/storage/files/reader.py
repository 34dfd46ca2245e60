"""A log's directory, read only: no key, no lock, nothing written, so read-only media will do.

A line counts once its line end is there; what follows the last line end may be
a writer at work or the mark of a crash, and is not an entry either way. The
reader finds and splits lines and decodes them. It verifies nothing: that is
the audit's work, and what is read here is only as good as the directory is.

A line is found by bisecting its segment on the sequence numbers that the lines
themselves state. Where they mislead (damage), lines are counted instead, so
that a damaged log is still read by position.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from msgspec import Struct

from attestlog._internal import disk
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES
from attestlog._internal.core.hashes import HASH_SIZE_BYTES
from attestlog._internal.core.note import NOTE_SIZE_MAX_BYTES
from attestlog._internal.storage.contract import LocatedLine, LogSource, PendingErasure, StoredTimestamp
from attestlog._internal.storage.files.beside import FileCursors, list_timestamps, read_timestamp
from attestlog._internal.storage.files.layout import (
    CHECKPOINT_FILE,
    ENTRIES_DIR,
    ERASING_FILE,
    list_segments,
    segment_name,
    tree_path,
)
from attestlog._internal.storage.files.snapshot import FileSnapshot, take_snapshot
from attestlog.errors import CorruptError, NoLogError, NotFoundError

_BLOCK_SIZE_BYTES: Final = 64 << 10
"""Searches read this much at a time, and bisecting stops at a range this small: some tens of entries."""

_BUFFER_SIZE_BYTES: Final = 128 << 10
"""Streaming reads this much at a time, and so does every step of a search."""


class FileSource(LogSource):
    """A log directory, seen from outside. Holds nothing open between calls."""

    def __init__(self, path: Path | str) -> None:
        """Raises NotFoundError or DeniedError unless `path` is a directory that holds entries."""
        self.root, self.where = Path(path), str(path)
        self.segments()

    def absolute(self) -> str:
        """See `LogSource.absolute`."""
        return str(self.root.absolute())

    def segments(self) -> list[tuple[int, Path]]:
        """(first sequence number, path) of each segment file."""
        try:
            return list_segments(self.root)
        except (FileNotFoundError, NotADirectoryError):
            reason = f"it has no {ENTRIES_DIR}/" if self.root.is_dir() else "there is no such directory"
            raise NoLogError(f"{self.root} is not a log: {reason}", path=str(self.root)) from None
        except OSError as error:
            raise disk.read_error(error, self.root / ENTRIES_DIR) from None

    def checkpoint(self) -> bytes | None:
        """See `LogSource.checkpoint`."""
        path = self.root / CHECKPOINT_FILE
        try:
            with path.open("rb") as file:
                return file.read(NOTE_SIZE_MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk.read_error(error, path) from None

    def hashes(self, level: int, start: int, stop: int) -> list[bytes]:
        """Stored tree hashes [start, stop) of a tile level. Raises CorruptError if they are not all there."""
        path, want = tree_path(self.root, level), (stop - start) * HASH_SIZE_BYTES
        data = b""
        with suppress(NotFoundError), _reading(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = os.pread(descriptor, want, start * HASH_SIZE_BYTES)
            finally:
                os.close(descriptor)
        if len(data) != want:
            raise CorruptError(f"{path} ends before hash {stop}", path=str(path), repair="tree")
        return [data[at : at + HASH_SIZE_BYTES] for at in range(0, want, HASH_SIZE_BYTES)]

    def durable_size(self) -> int:
        """See `LogSource`: leaf hashes are written after their entries are durable, never before."""
        path = tree_path(self.root, 0)
        try:
            return path.stat().st_size // HASH_SIZE_BYTES
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise disk.read_error(error, path) from None

    def timestamps(self) -> list[StoredTimestamp]:
        """See `LogSource.timestamps`."""
        return list_timestamps(self.root)

    def timestamp(self, name: str) -> bytes:
        """See `LogSource.timestamp`."""
        return read_timestamp(self.root, name)

    def pending_erasure(self) -> PendingErasure | None:
        """See `LogSource.pending_erasure`."""
        return read_pending(self.root)

    def snapshot(self) -> AbstractContextManager[FileSnapshot]:
        """See `LogSource.snapshot`."""
        return take_snapshot(self.root)

    def cursors(self) -> FileCursors:
        """See `LogSource.cursors`."""
        return FileCursors(self.root)

    def extents(self) -> dict[int, int]:
        """See `LogSource.extents`: the segment files. Erasing a payload makes one shorter."""
        found = {}
        for first, path in self.segments():
            with _reading(path):
                found[first] = path.stat().st_size
        return found

    def size(self) -> int:
        """See `LogSource.size`. Looks at the last two lines only, unless these contradict."""
        for first, path in reversed(self.segments()):
            with _opened(path) as file:
                if _last_line(file, path) is not None:
                    number = _number_before(file, path, first)
                    return first + _count(file, path) if number is None else number + 1
        return 0

    def lines(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `LogSource.lines`."""
        for line in self.located_lines(start, stop):
            yield line.data

    def line(self, sequence_number: int) -> bytes:
        """See `LogSource.line`."""
        for line in self.located_lines(sequence_number, sequence_number + 1):
            return line.data
        raise NotFoundError(
            f"no entry {sequence_number}: the log has {self.size()}",
            path=str(self.root), sequence_number=sequence_number,
        )  # fmt: skip

    def located_lines(self, start: int = 0, stop: int | None = None) -> Iterator[LocatedLine]:
        """The lines `start` up to `stop`, each with its place.

        Raises CorruptError at a missing segment, at a segment that is not as long as its successor's
        name says, and at a line that does not end within LINE_SIZE_MAX_BYTES.
        """
        if start < 0:
            raise ValueError(f"start is {start}, the first entry is 0")
        if stop is not None and stop <= start:
            return
        segments = self.segments()
        ends: list[int | None] = [first for first, _ in segments]
        number = start
        for (first, path), end in zip(segments, [*ends[1:], None], strict=False):
            if end is not None and end <= number:
                continue
            if first > number:
                raise CorruptError(
                    f"entry {number} is missing: {path.name} is the next segment",
                    path=str(path), sequence_number=number,
                )  # fmt: skip
            for line in self._segment_lines(first, path, number, end is None):
                if line.sequence_number == stop:
                    return
                yield line
                number = line.sequence_number + 1
            if end is not None and number != end:
                raise CorruptError(
                    f"{path.name} ends after entry {number - 1}, the next segment starts at {end}",
                    path=str(path), sequence_number=number,
                )  # fmt: skip

    def read_at(self, segment: int, offset: int, size_bytes: int) -> bytes:
        """The bytes at a place that `located_lines` gave before; fewer if the file has become shorter."""
        path = self.root / ENTRIES_DIR / segment_name(segment)
        with _reading(path):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return b""
            try:
                return os.pread(descriptor, size_bytes, offset)
            finally:
                os.close(descriptor)

    def _segment_lines(self, first: int, path: Path, start: int, is_last: bool) -> Iterator[LocatedLine]:
        with _opened(path) as file:
            offset = _find(file, path, first, start)
            if offset is None:
                return
            file.seek(offset)
            number = start
            while line := _read_line(file, path, number):
                if not line.endswith(b"\n"):
                    if is_last:
                        return
                    raise CorruptError(
                        f"{path.name} ends within entry {number}", path=str(path), sequence_number=number
                    )
                yield LocatedLine(number, first, offset, offset + len(line), line[:-1])
                offset += len(line)
                number += 1


def read_pending(root: Path) -> PendingErasure | None:
    """What is to be erased, if anything; a note that cannot be read says nothing."""
    try:
        return msgspec.json.decode((root / ERASING_FILE).read_bytes(), type=PendingErasure)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


class _Position(Struct):
    """All that finding a line needs to know of it; msgspec skips the rest unread."""

    sequence_number: int


_position_decoder: Final = msgspec.json.Decoder(_Position)


def _stated_number(line: bytes) -> int | None:
    """The sequence number a line states; None if it states none."""
    try:
        return _position_decoder.decode(line).sequence_number
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _find(file: BinaryIO, path: Path, first: int, number: int) -> int | None:
    """Offset at which the line of entry `number` starts, or will start; None if it lies further on."""
    if number == first:
        return 0
    low, low_number = _bisect(file, path, first, number)
    offset = _skip_lines(file, path, low, number - low_number)
    if offset is None and low == 0:
        return None
    if offset is not None and _is_between(file, path, first, offset, number):
        return offset
    return _skip_lines(file, path, 0, number - first)


def _is_between(file: BinaryIO, path: Path, first: int, offset: int, number: int) -> bool:
    """Whether the lines before and at `offset` state that it is the place of entry `number`."""
    file.seek(offset)
    line = _read_line(file, path, number)
    return _number_before(file, path, first, offset) == number - 1 and (
        not line.endswith(b"\n") or _stated_number(line) == number
    )


def _number_before(file: BinaryIO, path: Path, first: int, stop: int | None = None) -> int | None:
    """Number that the last complete line (before `stop`) states, unless the line before it contradicts."""
    last = _last_line(file, path, stop)
    if last is None:
        return None
    number = _stated_number(last[1])
    previous = _last_line(file, path, last[0])
    before = first - 1 if previous is None else _stated_number(previous[1])
    return number if number is not None and before == number - 1 else None


def _bisect(file: BinaryIO, path: Path, first: int, number: int) -> tuple[int, int]:
    """(offset, sequence number) of a line not past entry `number`; close to it if the lines are in order."""
    low, low_number = 0, first
    high = os.fstat(file.fileno()).st_size
    while high - low > _BLOCK_SIZE_BYTES:
        middle = (low + high) // 2
        file.seek(middle)
        offset = middle + len(_read_line(file, path, number))
        if offset >= high:
            high = middle
            continue
        line = _read_line(file, path, number)
        stated = _stated_number(line) if line.endswith(b"\n") else None
        if stated is None:
            return (0, first) if line.endswith(b"\n") else (low, low_number)
        if stated <= number:
            low, low_number = offset, stated
        else:
            high = middle
    return low, low_number


def _skip_lines(file: BinaryIO, path: Path, offset: int, count: int) -> int | None:
    """Offset after `count` complete lines from `offset`; None if there are fewer."""
    file.seek(offset)
    for _ in range(count):
        line = _read_line(file, path, None)
        if not line.endswith(b"\n"):
            return None
        offset += len(line)
    return offset if count >= 0 else None


def _count(file: BinaryIO, path: Path) -> int:
    """Complete lines in a segment."""
    file.seek(0)
    count = 0
    while _read_line(file, path, None).endswith(b"\n"):
        count += 1
    return count


def _read_line(file: BinaryIO, path: Path, number: int | None) -> bytes:
    line = file.readline(LINE_SIZE_MAX_BYTES + 1)
    if len(line) > LINE_SIZE_MAX_BYTES and not line.endswith(b"\n"):
        raise _endless(path, number)
    return line


def _last_line(file: BinaryIO, path: Path, stop: int | None = None) -> tuple[int, bytes] | None:
    """(offset, line without its end) of the last complete line, before `stop` where that is given."""
    end = _line_end_before(file, path, os.fstat(file.fileno()).st_size if stop is None else stop)
    if end < 0:
        return None
    start = _line_end_before(file, path, end) + 1
    return start, os.pread(file.fileno(), end - start, start)


def _line_end_before(file: BinaryIO, path: Path, stop: int) -> int:
    """Offset of the last line end before `stop`; -1 if there is none."""
    floor = max(0, stop - LINE_SIZE_MAX_BYTES - 1)
    while stop > floor:
        start = max(floor, stop - _BLOCK_SIZE_BYTES)
        found = os.pread(file.fileno(), stop - start, start).rfind(b"\n")
        if found >= 0:
            return start + found
        stop = start
    if floor:
        raise _endless(path, None)
    return -1


def _endless(path: Path, number: int | None) -> CorruptError:
    return CorruptError(
        f"{path.name} has a line of more than {LINE_SIZE_MAX_BYTES} bytes",
        path=str(path),
        sequence_number=number,
    )


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    with _reading(path), path.open("rb", buffering=_BUFFER_SIZE_BYTES) as file:
        yield file


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk.read_error(error, path) from None


LogReader = FileSource
