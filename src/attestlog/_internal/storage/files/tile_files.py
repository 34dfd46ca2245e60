"""Tiles out of a log's flat tree files, read only: tile (L, n) is bytes n·8192 … of `tree/L`.

What is read is only as good as the directory is; `core.tiles.TrustedTiles`
holds it against a checkpoint. `send` hands a tile to a socket or file inside
the kernel, for whoever serves tiles of a live log: its bytes never enter the
process. That is right for a tile that a client authenticates anyhow.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from attestlog._internal.core.hashes import HASH_SIZE_BYTES
from attestlog._internal.core.tiles import TILE_SIZE_BYTES, Tile
from attestlog._internal.storage.files.disk import read_error
from attestlog._internal.storage.files.layout import tree_path
from attestlog.errors import CorruptError, StorageError


class TileFiles:
    """The stored tree of one log, tile by tile. Opens each level once; close it, or use `with`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._descriptors: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, tile: Tile) -> bytes:
        """The tile's bytes. Raises CorruptError if the tree file is too short, or another StorageError."""
        want = tile.width * HASH_SIZE_BYTES
        try:
            data = os.pread(self._open(tile.level), want, tile.index * TILE_SIZE_BYTES)
        except OSError as error:
            raise self._error(tile, error) from None
        if len(data) != want:
            raise self._short(tile)
        return data

    def send(self, tile: Tile, out: int) -> None:
        """Write the tile to the descriptor `out`, without a copy in this process. Raises as `read`.

        What `out` fails with, such as a broken pipe, is OSError: it is not the log's.
        """
        offset, left = tile.index * TILE_SIZE_BYTES, tile.width * HASH_SIZE_BYTES
        try:
            source = self._open(tile.level)
            is_whole = os.fstat(source).st_size >= offset + left
        except OSError as error:
            raise self._error(tile, error) from None
        if not is_whole:
            # Found out before the first byte is sent: half a tile would be taken for a short one.
            raise self._short(tile)
        while left:
            sent = os.sendfile(out, source, offset, left)
            if not sent:
                raise self._short(tile)
            offset, left = offset + sent, left - sent

    def close(self) -> None:
        """Close the files. May be called twice."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def _open(self, level: int) -> int:
        if level not in self._descriptors:
            self._descriptors[level] = os.open(tree_path(self._root, level), os.O_RDONLY | os.O_CLOEXEC)
        return self._descriptors[level]

    def _short(self, tile: Tile) -> CorruptError:
        path = tree_path(self._root, tile.level)
        stop = tile.index * (TILE_SIZE_BYTES // HASH_SIZE_BYTES) + tile.width
        return CorruptError(f"{path} ends before hash {stop}", path=str(path), repair="tree")

    def _error(self, tile: Tile, error: OSError) -> StorageError:
        if isinstance(error, FileNotFoundError):
            return self._short(tile)
        return read_error(error, tree_path(self._root, tile.level), "reading")
