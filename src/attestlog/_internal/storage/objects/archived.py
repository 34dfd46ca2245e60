"""A segment that is in a bucket, read by ranges: an entry costs the object's size, its index and one frame.

A link in the log's directory names the object. Whoever can write there can name another one: what is read
is judged as anything else in a segment is, and the store learns that it was asked. Raises OSError, because
those who read segments report that.
"""

from __future__ import annotations

import errno
import re
from typing import Final

from attestlog._internal.storage.objects.bucket import Bucket, open_bucket
from attestlog.errors import AttestlogError, MissingExtraError, NotFoundError

REQUEST_TIME_MAX_S: Final = 300
"""For one answer, of some megabytes."""

TAIL_BYTES: Final = 64 << 10
"""Read first: the frame index of most segments, in one go."""

AHEAD_BYTES: Final = 4 << 20
"""Read at a time where frame follows on frame: bounds memory, and the requests of reading everything."""

OBJECT_SIZE_MAX_BYTES: Final = 4 << 30
"""Of a segment: 65,536 lines of 64 kB, uncompressed."""

_OBJECT: Final = re.compile(r"(.+)/([0-9]{12}-[0-9a-f]{16}\.jsonl\.zst)")


class ObjectRanges:
    """One object, of which nothing is kept but the range read last. Not for several threads at once."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket, self._name = bucket, name
        with _OSErrors(bucket.place(name)):
            self.size = bucket.size(name)
        self._start, self._data = 0, b""
        self._load(max(0, self.size - TAIL_BYTES), self.size)

    def read(self, size_bytes: int, offset: int) -> bytes:
        """See `Ranges`."""
        stop = min(offset + size_bytes, self.size)
        if not self._has(offset, stop):
            self._load(offset, stop)
        return self._data[offset - self._start : stop - self._start]

    def expect(self, size_bytes: int, offset: int) -> None:
        """See `Ranges`."""
        stop = min(offset + size_bytes, self.size)
        if not self._has(offset, stop):
            is_next = bool(self._data) and self._start <= offset <= self._start + len(self._data)
            self._load(offset, max(stop, min(offset + AHEAD_BYTES, self.size)) if is_next else stop)

    def _has(self, start: int, stop: int) -> bool:
        return self._start <= start and stop <= self._start + len(self._data)

    def _load(self, start: int, stop: int) -> None:
        if start < stop:
            with _OSErrors(self._bucket.place(self._name)):
                self._start, self._data = start, self._bucket.read_range(self._name, start, stop)


def open_object(url: str) -> ObjectRanges:
    """The object that a link names. Raises FileNotFoundError where it is not there, OSError."""
    bucket, name = _place(url)
    return ObjectRanges(bucket, name)


def read_object(url: str) -> bytes:
    """All of it. Raises as `open_object`."""
    bucket, name = _place(url)
    with _OSErrors(url):
        return bucket.read(name, OBJECT_SIZE_MAX_BYTES).data


def split_object_url(url: str) -> tuple[str, str] | None:
    """(bucket and prefix, name) of an object that `archiving` made; None for anything else."""
    match = _OBJECT.fullmatch(url)
    return None if match is None else (match[1], match[2])


def _place(url: str) -> tuple[Bucket, str]:
    parts = split_object_url(url)
    if parts is None:
        raise OSError(errno.EINVAL, "is no object of an archive", url)
    with _OSErrors(url):
        return open_bucket(parts[0], request_time_max_s=REQUEST_TIME_MAX_S), parts[1]


class _OSErrors:
    """Our errors as the operating system's."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, NotFoundError):
            raise FileNotFoundError(errno.ENOENT, "is missing from the bucket", self._place) from None
        if isinstance(error, AttestlogError) and not isinstance(error, MissingExtraError):
            raise OSError(errno.EREMOTEIO, error.message, self._place) from None
