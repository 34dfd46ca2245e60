"""Durable steps on a POSIX file system, each with its typed error.

Write means: loop until the kernel took every byte. Durable means fdatasync of
the file, and fsync of its directory after a create or rename. A failed fsync
is never repeated on the same descriptor: the kernel may have dropped the
pages and would report success.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

from attestlog.errors import (
    CorruptError,
    DeniedError,
    ExistsError,
    FilesystemError,
    FullError,
    NotFoundError,
    StorageError,
    WriteFailedError,
)

NETWORK_FILESYSTEMS: Final = frozenset(
    "9p afs beegfs ceph cifs coda davfs fuse.ceph fuse.gcsfuse fuse.glusterfs fuse.rclone fuse.s3fs "
    "fuse.sshfs gfs2 glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 orangefs pvfs2 smb2 smb3 smbfs "
    "virtiofs".split()
)
"""flock or fsync on these promises less than the log does: refused unless forced."""

_MOUNTS: Final = Path("/proc/self/mountinfo")
_ESCAPES: Final = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


_KINDS: Final[dict[int | None, type[StorageError]]] = {
    errno.ENOENT: NotFoundError, errno.ENOTDIR: NotFoundError, errno.EEXIST: ExistsError,
    errno.ENOTEMPTY: ExistsError, errno.EACCES: DeniedError, errno.EPERM: DeniedError,
    errno.EROFS: DeniedError, errno.ENOSPC: FullError, errno.EDQUOT: FullError, errno.EFBIG: FullError,
    errno.ESTALE: CorruptError,
}  # fmt: skip


def storage_error(error: OSError, path: Path | str, doing: str) -> StorageError:
    """The operating system's complaint as one of ours. For failures after which nothing is half-written."""
    kind = _KINDS.get(error.errno, WriteFailedError)
    return kind(f"{doing} {path} failed: {error.strerror}", path=str(path), errno=error.errno)


def read_error(error: OSError, path: Path | str, doing: str) -> StorageError:
    """`storage_error` where nothing was to be written."""
    kind = _KINDS.get(error.errno, CorruptError if error.errno == errno.EIO else StorageError)
    return kind(f"{doing} {path} failed: {error.strerror}", path=str(path), errno=error.errno)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte, however short the kernel's single writes are. Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.write(descriptor, view)
        if written == 0:
            raise OSError(errno.EIO, "write took no bytes")
        view = view[written:]


def pwrite_all(descriptor: int, data: bytes, offset: int) -> None:
    """`write_all` at an offset."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        if written == 0:
            raise OSError(errno.EIO, "write took no bytes")
        view = view[written:]
        offset += written


def fsync_directory(path: Path) -> None:
    """Make creations and renames in the directory durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(path: Path) -> None:
    """Make the directory and those above it that are not there, durably. Raises OSError."""
    missing = [path] if not path.exists() else []
    while missing and not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        fsync_directory(directory.parent)


def replace_file(path: Path, data: bytes, mode: int = 0o644, *, durable: bool = True) -> None:
    """Atomically and durably make `path` hold `data`: old content or new, never a mixture. Raises OSError.

    Not `durable`, a power cut may leave either of them, or the new one cut short.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, mode)
        try:
            write_all(descriptor, data)
            # A crash before the rename leaves the old file and a stray .new, which nothing reads.
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        fsync_directory(path.parent)


def free_name(path: Path) -> Path:
    """`path`, or with the first number that is free: what was set aside before is never overwritten."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}.{number}")
    return candidate


def filesystem_of(path: Path, mountinfo: str) -> str:
    """The file system type that `path` is on, by the text of /proc/self/mountinfo; empty if unknown."""
    best, kind = "", ""
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        columns = fields.split(" ")
        if len(columns) < 5 or not rest:
            continue
        point = columns[4]
        for escape, character in _ESCAPES.items():
            point = point.replace(escape, character)
        # The last of equally long mount points shadows the earlier ones.
        if path.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, rest.split(" ")[0]
    return kind


def check_filesystem(path: Path) -> None:
    """Raises FilesystemError, by name, on a network file system."""
    try:
        mountinfo = _MOUNTS.read_text(errors="replace")
    except OSError:
        return  # no /proc: not Linux, or a bare container; nothing can be said
    kind = filesystem_of(path.resolve(), mountinfo)
    if kind in NETWORK_FILESYSTEMS:
        raise FilesystemError(
            f"{path} is on {kind}, where locks and durability are not what the log promises",
            path=str(path), filesystem=kind,
        )  # fmt: skip
