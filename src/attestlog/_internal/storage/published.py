"""A published log as a reader sees it: checkpoint, tiles and bundles, in a folder, a bucket or at a URL.

Nothing is verified here but sizes: `core.tiles.TrustedTiles` does the rest. A
partial file that is gone because the full one is there is read from that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from attestlog._internal import disk
from attestlog._internal.core.merkle import TILE_WIDTH
from attestlog._internal.core.note import NOTE_SIZE_MAX_BYTES
from attestlog._internal.core.tiles import BUNDLE_SIZE_BYTES, TILE_SIZE_BYTES, Bundle, Tile, format_path
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.resolve import is_object_url, is_url
from attestlog.errors import MalformedTileError, NotFoundError, StorageError

AHEAD: Final = 32
"""Files asked for before they are needed: hides the way to a server, and holds some 300 kB."""

READ_THREADS: Final = 8

Place = Tile | Bundle


class Source(Protocol):
    """Where the files are."""

    @property
    def may_lose(self) -> bool:
        """Whether a missing file says nothing of who published: the store may have lost it, or hide it."""

    def read(self, name: str, size_max_bytes: int) -> bytes:
        """One file. Raises NotFoundError, MalformedTileError if it is larger, StorageError."""

    def close(self) -> None:
        """Close what was opened."""


class FolderSource:
    """Files below a directory."""

    may_lose = False

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, name: str, size_max_bytes: int) -> bytes:
        """See `Source`."""
        path = self._root / name
        try:
            data = disk.read_plain(path, size_max_bytes)
        except OSError as error:
            raise disk.read_error(error, path) from None
        if len(data) > size_max_bytes:
            raise MalformedTileError(f"{path} is larger than {size_max_bytes} bytes", path=str(path))
        return data

    def close(self) -> None:
        """See `Source`."""


class PublishedReader:
    """Reads one published log. Use `open_published`."""

    def __init__(self, source: Source, pool: ThreadPoolExecutor) -> None:
        self._source, self._pool = source, pool
        self._ahead: dict[Place, Future[bytes]] = {}

    def checkpoint(self) -> bytes:
        """The published checkpoint, at most a byte over the size of any note. Raises as `Source.read`."""
        return self._source.read(layout.CHECKPOINT_FILE, NOTE_SIZE_MAX_BYTES)

    def read(self, place: Place) -> bytes:
        """A tile's or bundle's bytes, of the length its width calls for.

        Raises NotFoundError, MalformedTileError if it is of another length, StorageError.
        """
        ahead = self._ahead.get(place)
        return ahead.result() if ahead is not None else self._read(place)

    def each(self, groups: Iterable[tuple[Place, ...]]) -> Iterator[tuple[Place, ...]]:
        """Each group in order, its files asked for some time before."""
        waiting: deque[tuple[Place, ...]] = deque()
        groups = iter(groups)
        try:
            for group in groups:
                waiting.append(group)
                self._ahead |= {place: self._pool.submit(self._read, place) for place in group}
                if len(self._ahead) >= AHEAD:
                    yield from self._next(waiting)
            while waiting:
                yield from self._next(waiting)
        finally:
            for future in self._ahead.values():
                future.cancel()
            self._ahead.clear()

    def _next(self, waiting: deque[tuple[Place, ...]]) -> Iterator[tuple[Place, ...]]:
        group = waiting.popleft()
        yield group
        for place in group:
            del self._ahead[place]

    def _read(self, place: Place) -> bytes:
        full = TILE_SIZE_BYTES if isinstance(place, Tile) else BUNDLE_SIZE_BYTES
        want = full // TILE_WIDTH * place.width
        name = format_path(place)
        try:
            data = self._source.read(name, want)
        except NotFoundError as error:
            if place.width == TILE_WIDTH:
                raise self._missing(error) from None
            data = self._from_full(place, full, want)
        if len(data) != want:
            raise MalformedTileError(f"{name} has {len(data)} bytes, want {want}", path=name, expected=want)
        return data

    def _from_full(self, place: Place, full: int, want: int) -> bytes:
        """A partial file may be dropped once the full one is there."""
        whole = Tile(place.level, place.index) if isinstance(place, Tile) else Bundle(place.index)
        try:
            return self._source.read(format_path(whole), full)[:want]
        except NotFoundError as error:
            name = format_path(place)
            message = f"{name} is missing, and so is the full one"
            raise self._missing(NotFoundError(message, path=name)) from error

    def _missing(self, error: NotFoundError) -> StorageError:
        return StorageError(error.message, path=error.path) if self._source.may_lose else error


@contextmanager
def open_published(subject: str | Path) -> Iterator[PublishedReader]:
    """The published log at a URL or in a folder.

    Raises MalformedConfigError for a URL that is not to be read.
    """
    source = open_files(subject)
    pool = ThreadPoolExecutor(READ_THREADS)
    try:
        yield PublishedReader(source, pool)
    finally:
        pool.shutdown(cancel_futures=True)
        source.close()


def open_files(subject: str | Path) -> Source:
    """The files of what is published there, be it a URL. Raises MalformedConfigError, MissingExtraError."""
    if not is_url(subject):
        return FolderSource(Path(subject))
    if is_object_url(subject):
        from attestlog._internal.storage.objects.published import ObjectSource

        return ObjectSource(str(subject))
    from attestlog._internal.storage.http import HttpSource

    return HttpSource(str(subject))
