"""A consistent copy of a log's directory, also while it is written: the evidence, byte for byte, and no more.

Of the moment between two commits, as a verifier sees it. No lock, no torn bytes, no room and no erasure
under way are copied. Archived segments are copied from where they are. Nothing is judged: a damaged log
gives the same damaged copy.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attestlog._internal import disk
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.files.beside import list_timestamps, read_timestamp
from attestlog._internal.storage.files.creation import check_free
from attestlog._internal.storage.files.segments import BLOCK_BYTES, lines_end
from attestlog._internal.storage.files.snapshot import FileSegment, take_snapshot
from attestlog.errors import StorageError

TRIES: Final = 3
"""An erasure that ends while its segment is copied replaces that: the copy is made once more."""


class _ReplacedError(OSError):
    """A segment is another file than at the moment that is copied."""


def copy_directory(source: Path, target: Path) -> None:
    """Copy the log at `source` to `target`, which must not exist or be an empty directory.

    Raises StorageError: then nothing is at `target`.
    """
    check_free(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{os.urandom(4).hex()}.new")
    try:
        disk.make_directories(target.parent)
        for left in reversed(range(TRIES)):
            try:
                _copy_into(temporary, source)
                break
            except _ReplacedError:
                if not left:
                    raise
                shutil.rmtree(temporary)
        temporary.rename(target)
        disk.fsync_directory(target.parent)
    except OSError as error:
        raise disk.storage_error(error, target, "copying to") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _copy_into(made: Path, source: Path) -> None:
    made.mkdir(layout.PRIVATE_MODE)
    for folder in (layout.TREE_DIR, layout.TIMESTAMPS_DIR, layout.ENTRIES_DIR):
        (made / folder).mkdir(layout.PRIVATE_MODE)
    for stamp in list_timestamps(source):
        path = made / layout.TIMESTAMPS_DIR / stamp.name
        disk.write_new(path, read_timestamp(source, stamp.name), private=True)
    with take_snapshot(source) as snapshot:
        for name, reason in snapshot.unreadable:
            raise StorageError(f"{source / name} cannot be copied: {reason}", path=str(source / name))
        if snapshot.checkpoint is not None:
            disk.write_new(made / layout.CHECKPOINT_FILE, snapshot.checkpoint, private=True)
        for level in snapshot.hash_bytes:
            with _new_file(layout.tree_path(made, level)) as descriptor:
                snapshot.copy_hashes(level, descriptor)
        for segment in snapshot.segments:
            target = made / layout.ENTRIES_DIR / segment.name
            _copy_lines(segment, target, is_last=segment is snapshot.segments[-1])
    for path in (*made.iterdir(), made):
        if path.is_dir():
            disk.fsync_directory(path)


def _copy_lines(segment: FileSegment, target: Path, *, is_last: bool) -> None:
    """Of the last segment whole lines only."""
    url = layout.object_url(segment.path)
    if url is not None:
        from attestlog._internal.storage.objects.archived import read_object

        with _new_file(target) as descriptor:
            disk.write_all(descriptor, read_object(url))
        return
    with disk.open_plain(segment.path, buffering=0) as file, _new_file(target) as descriptor:
        if segment.inode not in (0, os.fstat(file.fileno()).st_ino):
            raise _ReplacedError(
                errno.ESTALE, "an erasure replaced it meanwhile, again and again", segment.path
            )
        if segment.path.endswith(layout.PACKED_SUFFIX):
            stop = os.fstat(file.fileno()).st_size  # closed: its bytes stay as they are
        else:
            stop = _whole_lines(file.fileno(), segment.size) if is_last else segment.size
        disk.copy_range(file.fileno(), descriptor, 0, stop)


def _whole_lines(descriptor: int, size_bytes: int) -> int:
    """Where the last whole line ends: before room, and before what a crash left of a line."""
    stop = disk.data_end(descriptor, lines_end(descriptor, size_bytes))
    while stop:
        start = max(0, stop - BLOCK_BYTES)
        end = os.pread(descriptor, stop - start, start).rfind(b"\n")
        if end >= 0:
            return start + end + 1
        stop = start
    return 0


@contextmanager
def _new_file(path: Path) -> Iterator[int]:
    """For its owner alone, and durable at the end. Raises OSError."""
    descriptor = disk.open_made(path, os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        yield descriptor
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
