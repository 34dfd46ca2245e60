"""A log's directory, read only: no key, no lock, nothing written, so read-only media will do.

A line counts once its line end is there; what follows the last line end may be
room, a writer at work or the mark of a crash, and is not an entry in any case. The
reader finds and splits lines and decodes them. It verifies nothing: that is
the audit's work, and what is read here is only as good as the directory is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from attestlog._internal import disk
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES
from attestlog._internal.core.hashes import HASH_SIZE_BYTES
from attestlog._internal.core.lines import Line
from attestlog._internal.core.note import NOTE_SIZE_MAX_BYTES
from attestlog._internal.places import replicas_dir
from attestlog._internal.storage.contract import LocatedLine, LogSource, PendingErasure, StoredTimestamp
from attestlog._internal.storage.files.beside import FileCursors, list_timestamps, moved_to, read_timestamp
from attestlog._internal.storage.files.layout import (
    CHECKPOINT_FILE,
    ENTRIES_DIR,
    ERASING_FILE,
    list_segments,
    segment_path,
    tree_path,
)
from attestlog._internal.storage.files.packed import OpenSegment, open_segment
from attestlog._internal.storage.files.segments import EndlessLineError
from attestlog._internal.storage.files.snapshot import FileSnapshot, take_snapshot
from attestlog._internal.storage.files.tree import TreeFiles
from attestlog.errors import CorruptError, MalformedSegmentError, NoLogError, NotFoundError

PENDING_SIZE_MAX_BYTES: Final = 4_096
"""A number and a hash. The directory is other people's: what they put there is not read into memory whole."""


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
            return disk.read_plain(path, NOTE_SIZE_MAX_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk.read_error(error, path) from None

    def hashes(self, level: int, start: int, stop: int) -> list[bytes]:
        """See `LogSource.hashes`."""
        tree = TreeFiles(self.root)
        try:
            with _reading(tree_path(self.root, level)):
                return tree.read(level, start, stop)
        finally:
            tree.close()

    def durable_size(self) -> int:
        """See `LogSource`: leaf hashes are written after their entries are durable, never before."""
        path = tree_path(self.root, 0)
        try:
            with disk.open_plain(path, buffering=0) as file:
                return os.fstat(file.fileno()).st_size // HASH_SIZE_BYTES
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

    def moved_to(self) -> str | None:
        """See `LogSource.moved_to`."""
        return moved_to(self.root)

    def snapshot(self) -> AbstractContextManager[FileSnapshot]:
        """See `LogSource.snapshot`."""
        return take_snapshot(self.root)

    def cursors(self) -> FileCursors:
        """See `LogSource.cursors`."""
        return FileCursors(replicas_dir(self.entry(0).entry_hash))

    def extents(self) -> dict[int, int]:
        """See `LogSource.extents`: the segment files. Erasing a payload makes one shorter."""
        found, segments = {}, self.segments()
        for first, path in segments[:-1]:
            with _reading(path):
                if path.suffix == ".jsonl":
                    found[first] = path.stat().st_size
                    continue
            with _opened(path) as segment:
                found[first] = segment.size
        for first, path in segments[-1:]:
            with _opened(path) as segment:
                found[first] = segment.lines_end()
        return found

    def size(self) -> int:
        """See `LogSource.size`."""
        for first, path in reversed(self.segments()):
            with _opened(path) as segment:
                size = segment.count(first)
            if size is not None:
                return size
        return 0

    def lines(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `LogSource.lines`.

        Raises CorruptError at a missing segment, at a segment that is not as long as its successor's
        name says, and at a line that does not end within LINE_SIZE_MAX_BYTES.
        """
        for _, _, lines in self._runs(start, stop):
            for line in lines:
                yield line.data

    def line(self, sequence_number: int) -> bytes:
        """See `LogSource.line`."""
        for line in self.lines(sequence_number, sequence_number + 1):
            return line
        raise NotFoundError(
            f"no entry {sequence_number}: the log has {self.size()}",
            path=str(self.root), sequence_number=sequence_number,
        )  # fmt: skip

    def located_lines(self, start: int = 0, stop: int | None = None) -> Iterator[LocatedLine]:
        """See `LogSource.located_lines`. Raises as `lines`."""
        for first, begins, lines in self._runs(start, stop):
            for number, line in enumerate(lines, begins):
                yield LocatedLine(number, first, line.offset, line.stop, line.data)

    def read_at(self, segment: int, offset: int, size_bytes: int) -> bytes:
        """See `LogSource.read_at`."""
        try:
            with _opened(segment_path(self.root, segment)) as opened:
                return opened.read(size_bytes, offset)
        except NotFoundError:
            return b""

    def _runs(self, start: int, stop: int | None) -> Iterator[tuple[int, int, Iterator[Line]]]:
        """(first entry of the segment, number of the first line, lines) of each segment that is wanted."""
        if start < 0:
            raise ValueError(f"start is {start}, the first entry is 0")
        if stop is not None and stop <= start:
            return
        segments = self.segments()
        ends: list[int | None] = [first for first, _ in segments]
        for (first, path), end in zip(segments, [*ends[1:], None], strict=False):
            if end is not None and end <= start:
                continue
            if first > start:
                raise CorruptError(
                    f"entry {start} is missing: {path.name} is the next segment",
                    path=str(path), sequence_number=start,
                )  # fmt: skip
            is_wanted_whole = stop is None or (end is not None and stop > end)
            yield first, start, _wanted_lines(path, first, start, None if is_wanted_whole else stop, end)
            if not is_wanted_whole or end is None:
                return
            start = end


def _wanted_lines(path: Path, first: int, start: int, stop: int | None, end: int | None) -> Iterator[Line]:
    """The lines of a segment from entry `start` on, up to `stop` where that is given.

    `end`: where the next segment begins; None for the last, which ends where it ends.
    """
    number, wanted = start, None if stop is None else stop - start
    with _opened(path) as segment:
        offset, size_bytes = segment.find(first, start), segment.size
        if end is None:
            size_bytes = segment.lines_end()
        lines = segment.lines(size_bytes if offset is None else offset, size_bytes, few=wanted == 1)
        for line in islice(lines, wanted):
            if len(line.data) > LINE_SIZE_MAX_BYTES:
                raise EndlessLineError
            if not line.is_complete:
                if end is None:
                    return
                raise CorruptError(
                    f"{path.name} ends within entry {number}", path=str(path), sequence_number=number
                )
            yield line
            number += 1
    if end is not None and number != (end if stop is None else stop):
        raise CorruptError(
            f"{path.name} ends after entry {number - 1}, the next segment starts at {end}",
            path=str(path), sequence_number=number,
        )  # fmt: skip


@contextmanager
def _opened(path: Path) -> Iterator[OpenSegment]:
    """The segment in this file; what fails while it is read has our errors."""
    with _reading(path), open_segment(path) as segment:
        yield segment


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk.read_error(error, path) from None
    except MalformedSegmentError as error:
        raise CorruptError(f"{path.name} is damaged: {error}", path=str(path), repair="entries") from None
    except EndlessLineError:
        raise CorruptError(
            f"{path.name} has a line of more than {LINE_SIZE_MAX_BYTES} bytes", path=str(path)
        ) from None


def read_pending(root: Path) -> PendingErasure | None:
    """What is to be erased, if anything; a note that cannot be read says nothing."""
    try:
        data = disk.read_plain(root / ERASING_FILE, PENDING_SIZE_MAX_BYTES)
        return msgspec.json.decode(data, type=PendingErasure)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
