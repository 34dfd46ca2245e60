"""Closed segments kept elsewhere: moved to a folder of cheaper storage, compressed or not, and brought back.

In place of the segment stands a symbolic link to where it was put. While that
can be reached, nothing changes for anybody who reads; while it cannot (not
mounted, compressed, taken away), reading and verifying say that it is not
here, and what is there is still read, verified and appended to. Nothing is
replaced before what replaces it has been read back and found to hold exactly
the entries that the stored tree has.

It is not a backup, and it deletes nothing but the original of what it moved.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from attestlog._internal import disk
from attestlog._internal.core.checkpoint import parse_checkpoint
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.note import parse_note
from attestlog._internal.core.reserved import may_govern
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.files.lock import Lock
from attestlog._internal.storage.files.packed import PackedSegment, open_segment
from attestlog._internal.storage.files.reader import FileSource
from attestlog._internal.storage.files.recovery import read_entry
from attestlog._internal.storage.files.segments import BLOCK_BYTES
from attestlog._internal.storage.files.tree import TreeFiles
from attestlog.errors import (
    AttestlogError,
    ConflictError,
    CorruptError,
    MalformedError,
    MalformedSegmentError,
    NotFoundError,
    StorageError,
)

KEEP_MIN: Final = 2
"""Newest segments that stay: opening for writing reads the last, and the end of the one before."""

COMPRESSED_SUFFIX: Final = ".gz"
_COMPRESSION_LEVEL: Final = 6


class State(StrEnum):
    """Where a segment is."""

    HERE = "here"
    MOVED = "moved"
    """Elsewhere, and read from there."""
    COMPRESSED = "compressed"
    """Elsewhere, and to be brought back before it can be read."""
    BUCKET = "bucket"
    """In a bucket, and read from there: `storage.objects`."""
    ABSENT = "absent"
    """Not where it was put, or that cannot be reached."""


class Placed(NamedTuple):
    """A segment, and where it is."""

    first: int
    state: State
    path: Path | str
    """The file that holds it, or should; of an object its URL."""


def placed_segments(root: Path) -> list[Placed]:
    """Every segment of the log, in order. Raises NotFoundError if there is no log."""
    return [_placed(first, path) for first, path in FileSource(root).segments()]


def archive_segments(
    root: Path, target: Path, *, keep: int = KEEP_MIN, compress: bool = False
) -> list[Placed]:
    """Move to the folder `target` every segment that is here, but the first and the newest `keep`.

    The first stays because it names the log's keys and rules, and so does each that may change them:
    readers need them to judge the rest. What was moved before stays where it is.
    Raises ConflictError for one that the checkpoint does not cover, CorruptError for one that is not what
    the stored tree has, NotFoundError without a log or `target`, or another StorageError: what was moved
    by then is moved, everything else is as it was.
    """
    target = target.absolute()
    if not target.is_dir():
        raise NotFoundError(f"{target} is not a directory", path=str(target))
    return [
        _move(root, segment, end, target, compress=compress)
        for segment, end in movable_segments(root, keep=keep)
    ]


def movable_segments(root: Path, *, keep: int) -> Iterator[tuple[Placed, int]]:
    """The segments that may be moved, and where each ends. Raises as `archive_segments`."""
    segments = placed_segments(root)
    stop = max(1, len(segments) - max(keep, KEEP_MIN))
    ends = [following.first for following in segments[1:]]
    for segment, end in zip(segments[1:stop], ends[1:], strict=False):
        if segment.state is State.HERE and not _governs(Path(segment.path)):
            _check_covered(root, end)
            yield segment, end


def restore_segments(root: Path, numbers: list[int] | None = None) -> list[Placed]:
    """Bring back the segments that hold these entries, or all; what is elsewhere is copied, not removed.

    Those in buckets are for `storage.objects.archiving`.
    Raises NotFoundError for one that is not where it was put, CorruptError for one that is not what the
    stored tree has, or another StorageError.
    """
    return [
        _restore(root, segment, end)
        for segment, end in segments_away(root, numbers)
        if segment.state is not State.BUCKET
    ]


def segments_away(root: Path, numbers: list[int] | None) -> Iterator[tuple[Placed, int]]:
    """The segments that are not here, of these entries or all, and where each ends."""
    segments = placed_segments(root)
    ends = [following.first for following in segments[1:]]
    for segment, end in zip(segments, ends, strict=False):
        wanted = numbers is None or any(segment.first <= number < end for number in numbers)
        if wanted and segment.state is not State.HERE:
            yield segment, end


def _placed(first: int, path: Path) -> Placed:
    if not path.is_symlink():
        return Placed(first, State.HERE, path)
    url = layout.object_url(path)
    if url is not None:
        return Placed(first, State.BUCKET, url)
    target = Path(os.path.join(path.parent, path.readlink()))  # noqa: PTH118 - a link may be absolute
    if target.is_file():
        return Placed(first, State.MOVED, target)
    compressed = _compressed(target)
    return (
        Placed(first, State.COMPRESSED, compressed)
        if compressed.is_file()
        else Placed(first, State.ABSENT, target)
    )


def _governs(path: Path) -> bool:
    with errors(path), open_segment(path) as segment:
        return any(may_govern(line.data) for line in segment.lines(0, segment.size))


def _compressed(path: Path) -> Path:
    return path.with_name(path.name + COMPRESSED_SUFFIX)


def _move(root: Path, segment: Placed, end: int, target: Path, *, compress: bool) -> Placed:
    path = Path(segment.path)
    place = target / path.name
    compress = compress and not place.name.endswith(layout.PACKED_SUFFIX)
    copy = _compressed(place) if compress else place
    before = path.stat()
    with errors(copy):
        # A crash up to here leaves the log as it was, and perhaps a copy that the next attempt overwrites.
        _write(copy, path, compress=compress)
    check_copy(root, copy, segment.first, end)
    link = path.with_name(f".{path.name}.link")
    with errors(path), locked(root):
        now = path.stat()
        if (now.st_ino, now.st_size, now.st_mtime_ns) != (before.st_ino, before.st_size, before.st_mtime_ns):
            raise ConflictError(f"{path} changed while it was copied", path=str(path))
        link.unlink(missing_ok=True)
        link.symlink_to(place)
        # The copy is durable and checked: whichever of the two a crash leaves under the name, it is whole.
        link.replace(path)
        disk.fsync_directory(path.parent)
    return _placed(segment.first, path)


def _restore(root: Path, segment: Placed, end: int) -> Placed:
    path = layout.segment_path(root, segment.first)
    if segment.state is State.ABSENT:
        raise NotFoundError(
            f"segment {path.name} is not at {segment.path}, nor compressed beside it",
            path=str(segment.path), sequence_number=segment.first,
        )  # fmt: skip
    copy = path.with_name(f".{path.name}.restored")
    with errors(copy):
        _write(copy, Path(segment.path), compress=False)
    try:
        check_copy(root, copy, segment.first, end)
        with errors(path), locked(root):
            copy.replace(path)
            disk.fsync_directory(path.parent)
    finally:
        copy.unlink(missing_ok=True)
    return _placed(segment.first, path)


def _check_covered(root: Path, end: int) -> None:
    """A checkpoint stands for what is moved, so that its end can never be in question."""
    try:
        note = parse_note(FileSource(root).checkpoint() or b"")
        covered = parse_checkpoint(note.text).size
    except (StorageError, MalformedError):
        covered = 0
    if covered < end:
        raise ConflictError(
            f"the checkpoint covers {covered} entries, the segment ends at {end}", expected=end, found=covered
        )


def check_copy(root: Path, path: Path, first: int, end: int) -> None:
    """Raises CorruptError unless the file holds the entries [first, end) of the stored tree, and no more."""
    with errors(path), closing(_lines(path)) as lines:
        check_lines(root, lines, first, end, str(path))


def check_lines(root: Path, lines: Iterable[bytes], first: int, end: int, where: str) -> None:
    """Raises CorruptError unless these lines, with their ends, are [first, end) of the stored tree."""
    tree = TreeFiles(root)
    number = first
    try:
        leaves = tree.read(0, first, end)
        for line in lines:
            if not line.endswith(b"\n") or number >= end or _leaf(line[:-1]) != leaves[number - first]:
                break
            number += 1
        else:
            if number == end:
                return
    finally:
        tree.close()
    raise CorruptError(
        f"{where}: line {number - first} is not entry {number} as the stored tree has it",
        path=where, sequence_number=number,
    )  # fmt: skip


def _leaf(line: bytes) -> bytes | None:
    """The leaf hash of an entry whose hashes hold; None for anything else."""
    try:
        return leaf_hash(bytes.fromhex(read_entry(line).entry_hash))
    except AttestlogError:
        return None


def _write(copy: Path, source: Path, *, compress: bool) -> None:
    """Write `copy`, durably, in the place of what there may be. Raises OSError."""
    with (
        _reading(source) as reading,
        disk.replacing(copy) as descriptor,
        open(descriptor, "wb", closefd=False) as raw,
    ):
        writing: BinaryIO | gzip.GzipFile = raw
        if compress:
            # Neither name nor time in it: the same segment is the same file.
            writing = gzip.GzipFile("", "wb", _COMPRESSION_LEVEL, raw, mtime=0)
        while block := reading.read(BLOCK_BYTES):
            writing.write(block)
        if writing is not raw:
            writing.close()


def _lines(path: Path) -> Generator[bytes]:
    """The lines of a segment's file, whichever it is, with their line ends."""
    if path.name.endswith((layout.PACKED_SUFFIX, f"{layout.PACKED_SUFFIX}.restored")):
        with disk.open_plain(path, buffering=0) as file:
            segment = PackedSegment(file.fileno())
            if segment.lines_end() != segment.size:
                yield b" "
            for line in segment.lines(0, segment.size):
                yield line.data + b"\n" * line.is_complete
        return
    with _reading(path) as whole:
        while text := whole.readline(LINE_SIZE_MAX_BYTES + 1):
            yield text


@contextmanager
def _reading(path: Path) -> Iterator[BinaryIO | gzip.GzipFile]:
    with disk.open_plain(path) as plain:
        yield gzip.GzipFile(fileobj=plain) if path.suffix == COMPRESSED_SUFFIX else plain


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Nobody else changes the log meanwhile."""
    lock = Lock(root)
    try:
        lock.acquire()
        yield
    finally:
        lock.release()
        lock.close()


@contextmanager
def errors(path: Path) -> Iterator[None]:
    """What fails while this file is moved has our errors."""
    try:
        yield
    except (gzip.BadGzipFile, zlib.error, EOFError, MalformedSegmentError) as error:
        raise CorruptError(f"{path} cannot be decompressed: {error}", path=str(path)) from None
    except OSError as error:
        raise disk.storage_error(error, path, "archiving") from None
