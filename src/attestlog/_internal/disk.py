"""Durable steps on a POSIX file system, and its locks: the one place that writes a file so that it stays.

Write means: loop until the kernel took every byte. Durable means fdatasync of
the file, and fsync of its directory after a create or rename. A failed fsync
is never repeated on the same descriptor: the kernel may have dropped the
pages and would report success.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

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

BLOCK_BYTES: Final = 256 << 10
"""Read at a time."""

_WAIT_MIN_S: Final = 0.000_05
_WAIT_MAX_S: Final = 0.000_2
"""Between tries at a lock: a commit takes about as long, and the one that waits is next."""

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


def read_error(error: OSError, path: Path | str) -> StorageError:
    """`storage_error` where nothing was to be written."""
    kind = _KINDS.get(error.errno, CorruptError if error.errno == errno.EIO else StorageError)
    how = "may not be read" if kind is DeniedError else "cannot be read"
    what = f"{how}: {error.strerror or error}"
    if isinstance(error, FileNotFoundError):
        is_link = Path(path).is_symlink()
        what = "is missing: it was archived, and is not where it was put" if is_link else "is missing"
    return kind(f"{path} {what}", path=str(path), errno=error.errno)


def open_plain(path: Path | str, buffering: int = BLOCK_BYTES) -> BinaryIO:
    """Opens a regular file for reading; a pipe or device would hang or never end. Raises OSError."""
    return open(plain_descriptor(path), "rb", buffering=buffering)


def read_plain(path: Path | str, size_max_bytes: int) -> bytes:
    """A regular file's bytes; one byte too many where it has more than it may have. Raises OSError."""
    with open_plain(path) as file:
        return file.read(size_max_bytes + 1)


def plain_descriptor(path: Path | str, flags: int = os.O_RDONLY) -> int:
    """`open_plain`, as a descriptor that the caller closes.

    To be written, a file must not be reached through a symbolic link: others may have put it there, and
    what it leads to would be overwritten.
    """
    if flags & (os.O_WRONLY | os.O_RDWR):
        flags |= os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP and flags & os.O_NOFOLLOW:
            raise OSError(errno.ELOOP, "it is a symbolic link, which is not written through") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return descriptor


def next_data(descriptor: int, offset: int, end: int) -> int:
    """The first byte from `offset` on that is in no hole of the file; `end` if that is not before it.

    A file can be made larger than any disk, and its holes are zeros that nobody could read to their end.
    The position of the descriptor stays. Raises OSError.
    """
    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        return min(os.lseek(descriptor, offset, os.SEEK_DATA), end)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return end
    finally:
        os.lseek(descriptor, position, os.SEEK_SET)


def data_end(descriptor: int, end: int) -> int:
    """Where the file's first `end` bytes stop being data: at the hole they end in, or at `end`.

    Raises OSError.
    """
    position, found = os.lseek(descriptor, 0, os.SEEK_CUR), 0
    try:
        while (start := next_data(descriptor, found, end)) < end:
            found = min(os.lseek(descriptor, start, os.SEEK_HOLE), end)
        return found
    finally:
        os.lseek(descriptor, position, os.SEEK_SET)


def copy_range(source: int, target: int, start: int, stop: int) -> None:
    """Write bytes [start, stop) of one file to the end of another, in which zeros become holes.

    Raises OSError, also where the file turns out to be shorter.
    """
    shift = os.fstat(target).st_size - start
    while start < stop:
        start = next_data(source, start, stop)
        block = os.pread(source, min(BLOCK_BYTES, stop - start), start)
        if not block:
            break
        if block.strip(b"\0"):
            pwrite_all(target, block, start + shift)
        start += len(block)
    if os.fstat(source).st_size < stop:  # what is behind a file's end looks like a hole
        raise OSError(errno.EIO, "it became shorter while it was copied")
    os.ftruncate(target, stop + shift)
    os.lseek(target, 0, os.SEEK_END)


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


def make_directories(path: Path, mode: int = 0o777) -> None:
    """Make the directory and those above it that are not there, durably. Raises OSError."""
    missing = [path] if not path.exists() else []
    while missing and not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for directory in reversed(missing):
        directory.mkdir(mode, exist_ok=True)
        fsync_directory(directory.parent)


def is_private(status: os.stat_result) -> bool:
    """Whether only this user can read the file; or, where it is root's, a group of this process.

    A container gets its secrets that way: root's, and readable for the group that its processes are in.
    """
    mode = stat.S_IMODE(status.st_mode)
    if not mode & 0o077:
        return True
    is_roots = status.st_uid == 0 != os.geteuid()
    return is_roots and not mode & 0o037 and status.st_gid in {os.getegid(), *os.getgroups()}


def open_made(path: Path, flags: int, mode: int) -> int:
    """Open a regular file for writing, or make it: with just this mode, under any umask.

    Raises OSError; FileExistsError with O_EXCL among the flags.
    """
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
        return plain_descriptor(path, flags)
    os.fchmod(descriptor, mode)
    return descriptor


def write_new(path: Path, data: bytes, *, private: bool = False) -> None:
    """A file that must not be there yet, with its bytes durable; its name is once its directory is synced.

    `private`: for its owner alone, from the first moment and under any umask.
    Raises OSError, FileExistsError among them; then nothing is left behind.
    """
    mode = 0o600 if private else 0o644
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        try:
            if private:
                os.fchmod(descriptor, mode)  # a strict umask takes even the owner's rights
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        # Half of it would be taken for all of it.
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def _open_new(path: Path, mode: int) -> int:
    """A new file in the place of what a crash, or somebody else, left there: nothing is written into that."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, mode)
    except FileExistsError:
        path.unlink()
        return os.open(path, flags, mode)


@contextmanager
def replacing(
    path: Path,
    mode: int = 0o644,
    *,
    durable: bool = True,
    suffix: str | None = None,
    exact: bool = False,
) -> Iterator[int]:
    """A descriptor to write to: what was written becomes `path` at the end, whole, or nothing does.

    Atomically and durably: old content or new, never a mixture. Not `durable`, a power cut may leave either
    of them, or the new one cut short. `suffix`: of the temporary file's name, where the next attempt, of
    whatever process, must overwrite what a crash left of this one. `exact`: the mode whatever the umask.
    Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.{suffix or f'{os.getpid()}.new'}")
    try:
        descriptor = _open_new(temporary, mode)
        try:
            if exact:
                os.fchmod(descriptor, mode)
            yield descriptor
            # A crash before the rename leaves the old file and a stray temporary one, which nothing reads.
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    # A crash here leaves the old file or the new one under the name, either of them whole.
    if durable:
        fsync_directory(path.parent)


def replace_file(
    path: Path, data: bytes, mode: int = 0o644, *, durable: bool = True, exact: bool = False
) -> None:
    """Make `path` hold `data`, as `replacing` does. Raises OSError."""
    with replacing(path, mode, durable=durable, exact=exact) as descriptor:
        write_all(descriptor, data)


def lock(descriptor: int, *, timeout_s: float = 0.0, shared: bool = False) -> bool:
    """Take the flock of an open file or directory; whether it could be had in time.

    Closing the descriptor, or the end of the process, releases it. Raises OSError where nothing can be
    locked.
    """
    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    deadline, wait_s = 0.0, _WAIT_MIN_S
    while True:
        try:
            fcntl.flock(descriptor, kind)
        except BlockingIOError:
            now = time.monotonic()
            deadline = deadline or now + timeout_s
            if now >= deadline:
                return False
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, _WAIT_MAX_S)
        else:
            return True


def unlock(descriptor: int) -> None:
    """Release the flock. Raises OSError."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


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
