"""Closed segments kept in a bucket, each in one object, and brought back.

    s3://BUCKET/PREFIX/<genesis, 16 digits>/000000065536-<hash, 16 digits>.jsonl.zst

1. The segment is compressed where it is (`files.compressing`).
2. Its object is created under a name that says what is in it; one that is there already is compared byte for
   byte.
3. The object is read back, and each of its entries held against the stored tree.
4. Under the log's lock a link to the object takes the segment's place.

A kill before 4 leaves the log as it was, and perhaps an object that the next attempt finds and goes on with.
Which segments go, and which must stay, is as for folders (`files.archive`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

from attestlog._internal import disk
from attestlog._internal.storage.files import archive, layout
from attestlog._internal.storage.files.compressing import compress_segment
from attestlog._internal.storage.files.packed import PackedSegment
from attestlog._internal.storage.files.reader import FileSource
from attestlog._internal.storage.objects.archived import (
    OBJECT_SIZE_MAX_BYTES,
    REQUEST_TIME_MAX_S,
    ObjectRanges,
    read_object,
    split_object_url,
)
from attestlog._internal.storage.objects.bucket import Bucket, open_bucket
from attestlog.errors import ConflictError

ATTRIBUTES: Final = {"Content-Type": "application/zstd"}

_OLD_SUFFIX: Final = ".archived"
"""Of a link beside the segment, hidden: an object that is to be removed."""


def archive_to_bucket(root: Path, url: str, *, keep: int = archive.KEEP_MIN) -> list[archive.Placed]:
    """Move to a bucket every segment that is here, but the first, the newest `keep` and those that govern.

    Raises as `archive.archive_segments`, StorageError for a store that ignores conditions, ConsistencyError
    where an object of the same name has another content, MalformedConfigError, MissingExtraError: what was
    moved by then is moved, everything else is as it was.
    """
    bucket = open_bucket(f"{url.rstrip('/')}/{_own_part(root)}", request_time_max_s=REQUEST_TIME_MAX_S)
    bucket.check_conditions()
    return [_move(root, bucket, segment, end) for segment, end in archive.movable_segments(root, keep=keep)]


def restore_from_buckets(
    root: Path, numbers: list[int] | None = None, *, remove: bool = False
) -> list[archive.Placed]:
    """Bring back the segments that hold these entries, or all; with `remove`, delete their objects then.

    Raises as `archive.restore_segments`, and ConflictError.
    """
    restored = []
    for segment, end in archive.segments_away(root, numbers):
        if segment.state is archive.State.BUCKET:
            _restore(root, segment, end, remove=remove)
            path = layout.segment_path(root, segment.first)
            restored.append(archive.Placed(segment.first, archive.State.HERE, path))
    if remove:
        remove_old(root)
    return restored


def _restore(root: Path, segment: archive.Placed, end: int, *, remove: bool) -> None:
    url = str(segment.path)
    path = layout.segment_path(root, segment.first)
    copy = path.with_name(f".{path.name}.restored")
    with (
        archive.errors(path),
        disk.replacing(copy, layout.file_mode(root), suffix="partial", exact=True) as descriptor,
    ):
        disk.write_all(descriptor, read_object(url))
    try:
        archive.check_copy(root, copy, segment.first, end)
        with archive.errors(path), archive.locked(root):
            if layout.object_url(path) != url:
                raise ConflictError(f"{path} changed while it was brought back", path=str(path))
            if remove:
                _replace_link(_old_link(path), url)
                disk.fsync_directory(path.parent)
            # A crash here leaves two links to the object: the segment is still read from there.
            copy.replace(path)
            disk.fsync_directory(path.parent)
    finally:
        copy.unlink(missing_ok=True)


def remove_old(root: Path) -> list[int]:
    """Delete the objects of segments that were brought back for good; of which. Raises StorageError."""
    removed = []
    for link in sorted((root / layout.ENTRIES_DIR).glob(f".*{_OLD_SUFFIX}")):
        parts = split_object_url(layout.object_url(link) or "")
        first = link.name.removeprefix(".").partition(".")[0]
        with archive.errors(link), archive.locked(root):
            if parts is not None and layout.object_url(layout.segment_path(root, int(first))) is None:
                _remove_others(open_bucket(parts[0]), first, "")
                removed.append(int(first))
            # A crash before this: they are deleted once more.
            link.unlink()
            disk.fsync_directory(link.parent)
    return removed


def _own_part(root: Path) -> str:
    """The log's own part of a bucket: many may be archived there."""
    return FileSource(root).entry(0).entry_hash[:16]


def _move(root: Path, bucket: Bucket, segment: archive.Placed, end: int) -> archive.Placed:
    path = compress_segment(root, segment.first)
    with archive.errors(path):
        before = path.stat()
        data = disk.read_plain(path, OBJECT_SIZE_MAX_BYTES)
    first = f"{segment.first:012d}"
    name = f"{first}-{sha256(data).hexdigest()[:16]}{layout.PACKED_SUFFIX}"
    # A kill after this leaves an object that no link leads to; the next attempt finds it, and goes on.
    bucket.create(name, data, ATTRIBUTES)
    del data
    url = bucket.place(name)
    with archive.errors(path):
        archive.check_lines(root, _lines(bucket, name), segment.first, end, url)
    with archive.errors(path), archive.locked(root):
        now = path.stat()
        if (now.st_ino, now.st_size, now.st_mtime_ns) != (before.st_ino, before.st_size, before.st_mtime_ns):
            # An erasure was faster: the object has what is erased.
            bucket.delete([name])
            raise ConflictError(f"{path} changed while it was copied", path=str(path))
        # The object is there and checked: whichever of the two a crash leaves under the name, it is whole.
        _replace_link(path, url)
        disk.fsync_directory(path.parent)
        # What an attempt that was killed left here may hold payloads that were erased since. Under the lock:
        # later, another one may have put an object there that a link leads to.
        _remove_others(bucket, first, name)
    return archive.Placed(segment.first, archive.State.BUCKET, url)


def _remove_others(bucket: Bucket, first: str, kept: str) -> None:
    """Delete every object of this segment but one."""
    names = [one.name for one in bucket.names("") if one.name.startswith(f"{first}-") and one.name != kept]
    if names:
        bucket.delete(names)


def _lines(bucket: Bucket, name: str) -> Iterator[bytes]:
    packed = PackedSegment(ObjectRanges(bucket, name))
    for line in packed.lines(0, packed.size):
        yield line.data + b"\n" * line.is_complete


def _old_link(path: Path) -> Path:
    return path.with_name(f".{path.name}{_OLD_SUFFIX}")


def _replace_link(path: Path, url: str) -> None:
    link = path.with_name(f".{path.name.lstrip('.')}.link")
    link.unlink(missing_ok=True)
    os.symlink(url, link)  # noqa: PTH211 - a Path would spell the URL with one slash
    link.replace(path)
