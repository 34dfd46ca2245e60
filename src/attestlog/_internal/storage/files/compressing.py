"""Compressing a closed segment, in steps of which each can be the last before a crash.

1. The compressed segment is written beside the segment, under a name that nobody reads, and made durable.
2. It is unpacked, and compared with the segment byte for byte.
3. Under the log's lock it gets its name; a segment that was changed meanwhile stays as it is.
4. The uncompressed file is removed.

A crash before 3 leaves a file without meaning, which the next attempt overwrites. One between 3 and 4
leaves the segment twice: readers read the uncompressed one, and the next that opens the log for writing
compares both again and goes on with 4.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from typing import Final

from attestlog._internal import disk
from attestlog._internal.core.compression import FRAME_ENTRIES
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES
from attestlog._internal.storage.contract import LocatedLine
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.files.lock import Lock
from attestlog._internal.storage.files.packed import PackedSegment, Packing, open_segment
from attestlog.errors import ConflictError, CorruptError, MalformedSegmentError, NotFoundError

_SUFFIX: Final = "compressing"


def compress_segment(root: Path, first: int) -> Path:
    """Compress the segment that begins with this entry; the file it is in then.

    Raises NotFoundError if there is none, ConflictError for one that is not closed (the last one), is
    elsewhere, changes meanwhile or has entries too large for a frame, MissingExtraError, or another
    StorageError: it is as it was.
    """
    path = _closed_segment(root, first)
    if path.name.endswith(layout.PACKED_SUFFIX):
        return path
    target = path.with_name(layout.packed_name(first))
    temporary = target.with_name(f".{target.name}.{_SUFFIX}")
    try:
        before = path.stat()
        with ExitStack() as stack:
            # One name for all tries: what a crash left of one is overwritten by the next.
            with disk.replacing(target, before.st_mode & 0o777, suffix=_SUFFIX) as descriptor:
                os.fchmod(descriptor, before.st_mode & 0o777)
                _pack(path, descriptor)
                _compare(path, temporary)
                lock = Lock(root)
                stack.callback(lock.close)
                lock.acquire()
                now = path.stat()
                if (now.st_ino, now.st_size, now.st_mtime_ns) != (
                    before.st_ino, before.st_size, before.st_mtime_ns,
                ):  # fmt: skip
                    raise ConflictError(f"{path} changed while it was compressed", path=str(path))
            # A crash here leaves the segment twice.
            path.unlink()
            disk.fsync_directory(path.parent)
    except OSError as error:
        raise disk.storage_error(error, path, "compressing") from None
    return target


def finish_compressing(root: Path) -> None:
    """Remove what is there uncompressed of segments that are there twice. Under the log's lock.

    Raises CorruptError where the two differ, or the compressed one is a link or no file; MissingExtraError,
    OSError.
    """
    for first in layout.twice(root):
        path = root / layout.ENTRIES_DIR / layout.segment_name(first)
        packed = path.with_name(layout.packed_name(first))
        if not stat.S_ISREG(packed.lstat().st_mode):
            # Whatever a link leads to can go or change later, and nothing would be left of the segment.
            raise CorruptError(f"{packed} is not a file", path=str(packed), repair="entries")
        _compare(path, packed)
        path.unlink()
        disk.fsync_directory(path.parent)


def replace_packed_lines(path: Path, going: Iterator[tuple[LocatedLine, bytes]]) -> None:
    """Write the compressed segment again with other lines in the place of these, which are in order.

    Only the frames that hold them are packed anew; the others are copied as they stand. Raises OSError.
    """
    mode = path.stat().st_mode & 0o777
    with open_segment(path) as source, disk.replacing(path, mode, suffix="erasing") as target:
        assert isinstance(source, PackedSegment)
        os.fchmod(target, mode)
        packing, change = Packing(target), next(going, None)
        for frame in source.index.frames:
            stop = frame.start + frame.size
            if change is None or change[0].offset >= stop:
                packing.copy(source, frame)
                continue
            content, parts, done = b"".join(source.blocks(frame)), list[bytes](), 0
            while change is not None and change[0].offset < stop:
                (line, replacement), change = change, next(going, None)
                at = line.offset - frame.start
                parts += [content[done:at], replacement]
                done = at + len(line.data)
            packing.add(b"".join([*parts, content[done:]]))
        packing.finish()


def _closed_segment(root: Path, first: int) -> Path:
    segments = layout.list_segments(root)
    path = dict(segments).get(first)
    if path is None:
        raise NotFoundError(f"no segment begins with entry {first}", path=str(root), sequence_number=first)
    if first == segments[-1][0] or path.is_symlink():
        why = "it is archived" if path.is_symlink() else "it is the last one, to which the log is written"
        raise ConflictError(f"{path} is not compressed: {why}", path=str(path))
    return path


def _pack(path: Path, descriptor: int) -> None:
    packing = Packing(descriptor)
    lines: list[bytes] = []
    with open_segment(path) as segment:
        for line in segment.lines(0, segment.size):
            if not line.is_complete or len(line.data) > LINE_SIZE_MAX_BYTES:
                raise CorruptError(f"{path} has bytes that are no line", path=str(path), repair="entries")
            lines.append(line.data)
            if len(lines) == FRAME_ENTRIES:
                packing.add(b"\n".join([*lines, b""]))
                lines.clear()
    if lines:
        packing.add(b"\n".join([*lines, b""]))
    packing.finish()


def _compare(path: Path, packed: Path) -> None:
    """Raises CorruptError unless the compressed segment unpacks to exactly the other."""
    try:
        with disk.open_plain(packed, buffering=0) as file, open_segment(path) as plain:
            segment = PackedSegment(file.fileno())
            both = zip_longest(plain.lines(0, plain.size), segment.lines(0, segment.size))
            if plain.size == segment.size and all(one == other for one, other in both):
                return
    except MalformedSegmentError as error:
        raise CorruptError(f"{packed} is damaged: {error}", path=str(packed), repair="entries") from None
    raise CorruptError(f"{packed} is not {path.name}, compressed", path=str(packed), repair="entries")
