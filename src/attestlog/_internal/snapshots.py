"""Hash bytes, a file or a file tree into `rollback_snapshot_hash`, and check one against it later.

    before = snapshot_hash(Path("site"))
    ...
    verify_snapshot(Path("site"), before)       # raises HashMismatchError unless it is as it was

The format is `core.snapshot`'s and docs/spec/snapshot.md's. Files are streamed,
links are never followed, and whatever changes while it is hashed is an error,
not a hash. It makes no copy: what to go back to is the caller's to keep.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Final

from attestlog._internal.core.snapshot import ROOT, Kind, Node, TreeHasher
from attestlog.errors import AttestlogError, HashMismatchError, SnapshotError

BLOCK_BYTES: Final = 1 << 20
"""Read at a time: large enough for the disk, small enough to forget."""

DEPTH_MAX: Final = 200
"""Directories within directories: each is one open descriptor, and a process usually has 1,024."""

_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def snapshot_hash(state: bytes | str | os.PathLike[str]) -> str:
    """Hex SHA-256 of bytes, of the file at a path, or of the manifest of the tree at a path.

    The path itself may be a link; links within the tree are hashed as links.
    Raises SnapshotError if it cannot be read, is neither file nor directory, changed meanwhile, or is
    nested deeper than DEPTH_MAX.
    """
    if isinstance(state, bytes):
        return sha256(state).hexdigest()
    path = Path(state)
    try:
        if path.is_dir():
            hasher = TreeHasher()
            for node in _walk(path):
                hasher.add(node)
            return hasher.hexdigest()
        descriptor = os.open(path.resolve(), _FILE_FLAGS)
        try:
            return _read_file(descriptor, str(path))[1]
        finally:
            os.close(descriptor)
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else str(path)
        raise SnapshotError(f"no snapshot of {path}: {error.strerror} ({where})", path=str(path)) from None


def verify_snapshot(state: bytes | str | os.PathLike[str], expected: str) -> None:
    """Raises HashMismatchError unless bytes, file or tree hash to `expected`; SnapshotError as above."""
    found = snapshot_hash(state)
    if found != expected:
        what = f"{len(state)} bytes" if isinstance(state, bytes) else os.fspath(state)
        raise HashMismatchError(
            f"the snapshot hash of {what} is {found}, want {expected}", expected=expected, found=found
        )


def _walk(root: Path) -> Iterator[Node]:
    """Every node below, parents first and siblings by their bytes. Everything is opened by its parent."""
    with ExitStack() as stack:
        levels = [_Directory(os.open(root.resolve(), _DIRECTORY_FLAGS), b"", stack)]
        yield Node(Kind.DIRECTORY, ROOT, levels[0].mode)
        while levels:
            directory = levels[-1]
            name = directory.next_name()
            if name is None:
                directory.close()
                levels.pop()
                continue
            path = directory.path + name
            status = os.lstat(name, dir_fd=directory.descriptor)
            if not stat.S_ISDIR(status.st_mode):
                yield _leaf(directory, name, path, status)
                continue
            if len(levels) == DEPTH_MAX:
                raise SnapshotError(
                    f"{os.fsdecode(path)} is nested deeper than {DEPTH_MAX} directories", path=str(root)
                )
            inner = os.open(name, _DIRECTORY_FLAGS, dir_fd=directory.descriptor)
            levels.append(_Directory(inner, path + b"/", stack))
            yield Node(Kind.DIRECTORY, path, levels[-1].mode)


class _Directory:
    """One open directory, and the names in it that are still to come."""

    def __init__(self, descriptor: int, path: bytes, stack: ExitStack) -> None:
        self.descriptor, self.path = descriptor, path
        self._open = True
        stack.callback(self._let_go)
        status = os.fstat(descriptor)
        self.mode = stat.S_IMODE(status.st_mode)
        self._before = _identity(status)
        self._names = sorted(map(os.fsencode, os.listdir(descriptor)), reverse=True)

    def next_name(self) -> bytes | None:
        return self._names.pop() if self._names else None

    def close(self) -> None:
        """Raises SnapshotError if names came or went since it was listed."""
        _check_unchanged(self._before, os.fstat(self.descriptor), self.path or ROOT)
        self._let_go()

    def _let_go(self) -> None:
        if self._open:
            self._open = False
            os.close(self.descriptor)


def _leaf(directory: _Directory, name: bytes, path: bytes, status: os.stat_result) -> Node:
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(name, dir_fd=directory.descriptor)
        return Node(Kind.LINK, path, 0, len(target), sha256(target).hexdigest())
    if not stat.S_ISREG(status.st_mode):
        raise SnapshotError(
            f"{os.fsdecode(path)} is neither file, directory nor link", path=os.fsdecode(path)
        )
    descriptor = os.open(name, _FILE_FLAGS, dir_fd=directory.descriptor)
    try:
        size_bytes, content_hash, mode = _read_file(descriptor, os.fsdecode(path))
    finally:
        os.close(descriptor)
    return Node(Kind.FILE, path, mode, size_bytes, content_hash)


def _read_file(descriptor: int, path: str) -> tuple[int, str, int]:
    """(size, hash, mode) of an open file, which must be the same before and after."""
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        raise SnapshotError(f"{path} is neither file nor directory", path=path)
    digest, size_bytes = sha256(), 0
    while block := os.read(descriptor, BLOCK_BYTES):
        digest.update(block)
        size_bytes += len(block)
    _check_unchanged(_identity(before), os.fstat(descriptor), os.fsencode(path))
    if size_bytes != before.st_size:
        raise _changed(path)
    return size_bytes, digest.hexdigest(), stat.S_IMODE(before.st_mode)


_Identity = tuple[int, int, int, int]


def _identity(status: os.stat_result) -> _Identity:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode


def _check_unchanged(before: _Identity, after: os.stat_result, path: bytes) -> None:
    if _identity(after) != before:
        raise _changed(os.fsdecode(path.rstrip(b"/")))


def _changed(path: str) -> AttestlogError:
    return SnapshotError(f"{path} changed while it was hashed", path=path)
