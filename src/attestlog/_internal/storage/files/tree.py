"""The stored tree: one flat file a tile level, 32 bytes a complete subtree, derived from the entries.

Written after the entries of the same commit are durable and never ahead of
them, so a hash in here is evidence that its entry was committed. Not fsynced
until a checkpoint needs it; what a crash loses is written again from the
entries.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from attestlog._internal.core.hashes import HASH_SIZE_BYTES
from attestlog._internal.core.merkle import TILE_HEIGHT, Grown, Span, edge_at
from attestlog._internal.disk import fsync_directory, open_made, plain_descriptor, pwrite_all
from attestlog._internal.storage.files.layout import TREE_DIR, file_mode, make_directory, tree_path
from attestlog.errors import CorruptError


class TreeFiles:
    """Reads and writes `tree/<level>`. Raises OSError; the store gives it a type."""

    def __init__(self, root: Path, *, writable: bool = False) -> None:
        """`writable`: for the store. Readers must do with read-only media."""
        self._root, self._access = root, os.O_RDWR if writable else os.O_RDONLY
        self._descriptors: dict[int, int] = {}
        self._fresh = False

    def size(self, level: int = 0) -> int:
        """Whole hashes at this level; 0 without a file."""
        try:
            return os.fstat(self._open(level, create=False)).st_size // HASH_SIZE_BYTES
        except FileNotFoundError:
            return 0

    def read(self, level: int, start: int, stop: int) -> list[bytes]:
        """Stored hashes [start, stop). Raises CorruptError if they are not all there."""
        want = (stop - start) * HASH_SIZE_BYTES
        try:
            data = os.pread(self._open(level, create=False), want, start * HASH_SIZE_BYTES)
        except FileNotFoundError:
            data = b""
        if len(data) != want:
            path = tree_path(self._root, level)
            raise CorruptError(f"{path} ends before hash {stop}", path=str(path), repair="tree")
        return [data[at : at + HASH_SIZE_BYTES] for at in range(0, want, HASH_SIZE_BYTES)]

    def edge(self, size: int) -> Span:
        """The right edge of the tree at `size`. Raises CorruptError if a hash is missing."""
        return edge_at(size, self.read)

    def write(self, start: int, leaves: Sequence[bytes], grown: Sequence[Grown]) -> None:
        """Store leaf hashes from index `start` on, and the newly complete hashes of the levels above."""
        if leaves:
            pwrite_all(self._open(0, create=True), b"".join(leaves), start * HASH_SIZE_BYTES)
        for level, index, node in grown:
            pwrite_all(self._open(level, create=True), node, index * HASH_SIZE_BYTES)

    def covered(self) -> int:
        """The entries that the stored hashes, at whatever level, are evidence of."""
        try:
            names = [path.name for path in (self._root / TREE_DIR).iterdir()]
        except FileNotFoundError:
            return 0
        levels = [int(name) for name in names if name.isascii() and name.isdigit()]
        return max((self.size(level) << (TILE_HEIGHT * level) for level in levels), default=0)

    def sync(self) -> None:
        """Make every level durable."""
        for descriptor in self._descriptors.values():
            os.fsync(descriptor)
        if self._fresh:
            fsync_directory(self._root / TREE_DIR)
            fsync_directory(self._root)
            self._fresh = False

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._descriptors.values():
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._descriptors.clear()

    def _open(self, level: int, *, create: bool) -> int:
        if level not in self._descriptors:
            path = tree_path(self._root, level)
            if create and not path.exists():
                make_directory(self._root, path.parent)
                self._fresh = True
                self._descriptors[level] = open_made(path, self._access, file_mode(self._root))
            else:
                self._descriptors[level] = plain_descriptor(path, self._access)
        return self._descriptors[level]
