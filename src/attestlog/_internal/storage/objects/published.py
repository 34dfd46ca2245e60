"""A published log in a bucket: written as `published_folder` writes one, and read.

    checkpoint        what is published; everything it needs is there
    tile/…            see `core.tiles`

An object that a store has confirmed is durable. Publishers take turns by nothing but the
checkpoint: it is swapped only if it is the one that was read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from attestlog._internal.core.note import NOTE_SIZE_MAX_BYTES
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.objects.bucket import Bucket, Found, open_bucket
from attestlog._internal.storage.publishing_target import Listed
from attestlog.errors import NotFoundError

WINDOW_OBJECTS: Final = 512
"""Objects asked for before their answers are looked at: bounds memory, about 4 MB."""

CONNECTIONS: Final = 16
"""At once, to one store."""

CHECKPOINT_ATTRIBUTES: Final = {
    "Content-Type": "text/plain; charset=utf-8", "Cache-Control": "max-age=1",
}  # fmt: skip
"""As a bucket that is a public web site must answer: see C2SP tlog-tiles."""

TILE_ATTRIBUTES: Final = {
    "Content-Type": "application/octet-stream", "Cache-Control": "max-age=31536000, immutable",
}  # fmt: skip


class PublishedBucket:
    """One published log, to be written. Use `open_published_bucket`."""

    def __init__(self, bucket: Bucket, pool: ThreadPoolExecutor) -> None:
        self.where = bucket.url
        self.written = self.found = 0
        """Objects written, and found there already with the same bytes."""
        self._bucket, self._pool = bucket, pool
        self._waiting: list[Future[bool]] = []
        self._checkpoint: Found | None = None

    def checkpoint(self) -> bytes | None:
        """The published checkpoint; None where there is none yet. Raises StorageError."""
        if self._checkpoint is None:
            try:
                self._checkpoint = self._bucket.read(layout.CHECKPOINT_FILE, NOTE_SIZE_MAX_BYTES)
            except NotFoundError:
                return None
        return self._checkpoint.data

    def add(self, name: str, data: bytes) -> None:
        """Have `data` under `name` once `settle` has returned.

        Raises ConsistencyError if there is an object of this name with another content, StorageError.
        """
        self._waiting.append(self._pool.submit(self._bucket.create, name, data, TILE_ATTRIBUTES))
        if len(self._waiting) >= WINDOW_OBJECTS:
            self.settle()

    def settle(self) -> None:
        """Have everything added under its name. Raises as `add`."""
        waiting, self._waiting = self._waiting, []
        try:
            for made in waiting:
                # A kill between two of these leaves objects that no checkpoint needs yet, each of them whole.
                if made.result():
                    self.written += 1
                else:
                    self.found += 1
        finally:
            for made in waiting:
                made.cancel()

    def replace_checkpoint(self, note: bytes) -> None:
        """Publish: from here on everybody sees what was added. Only after `settle`.

        Raises ConflictError if another publisher was faster, StorageError.
        """
        assert not self._waiting, "a checkpoint is published when what it covers is there"
        old, self._checkpoint = self._checkpoint, None
        self._checkpoint = self._bucket.swap(layout.CHECKPOINT_FILE, old, note, CHECKPOINT_ATTRIBUTES)

    def names(self) -> Iterator[Listed]:
        """Every tile and bundle there is. Raises StorageError."""
        return self._bucket.names("tile")

    def remove(self, names: Sequence[str]) -> None:
        """Have no objects of these names. Raises StorageError."""
        self._bucket.delete(names)


class ObjectSource:
    """The files of a published log in a bucket, for reading. Threads may share it."""

    may_lose = True

    def __init__(self, url: str) -> None:
        """Raises MalformedConfigError, MissingExtraError."""
        self._bucket = open_bucket(url)

    def read(self, name: str, size_max_bytes: int) -> bytes:
        """One file. Raises NotFoundError, MalformedTileError if it is larger, StorageError."""
        return self._bucket.read(name, size_max_bytes).data

    def close(self) -> None:
        """Nothing is open."""


@contextmanager
def open_published_bucket(url: str) -> Iterator[PublishedBucket]:
    """The published log at a URL, there already or not.

    Raises MalformedConfigError, MissingExtraError; StorageError for a store that ignores conditions.
    """
    bucket = open_bucket(url)
    bucket.check_conditions()
    with ThreadPoolExecutor(CONNECTIONS, "attestlog-publish") as pool:
        yield PublishedBucket(bucket, pool)
