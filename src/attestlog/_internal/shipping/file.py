"""A file that entries are appended to, one record a line: what other agents pick up from a disk.

A batch is there when it is flushed. After a crash its last line may be cut short: the next batch begins on a
new line, and the batch comes again whole. Rotating the file is the user's; it is opened for each batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from attestlog._internal import disk
from attestlog._internal.exporting import cloudevents, ocsf, otlp
from attestlog._internal.shipping.contract import Batch, Delivered
from attestlog.errors import SinkError


def _jsonl(batch: Batch) -> bytes:
    return b"".join(item.line + b"\n" for item in batch.items)


def _ocsf(batch: Batch) -> bytes:
    return b"".join(ocsf.record(item, batch.about) + b"\n" for item in batch.items)


def _cloudevents(batch: Batch) -> bytes:
    return b"".join(cloudevents.record(item, batch.about) + b"\n" for item in batch.items)


def _otlp(batch: Batch) -> bytes:
    return otlp.request(batch.items, batch.about) + b"\n"


LINES: Final[dict[str, Callable[[Batch], bytes]]] = {
    "jsonl": _jsonl, "ocsf": _ocsf, "cloudevents": _cloudevents, "otlp": _otlp,
}  # fmt: skip
"""By form: what makes the lines of a batch."""


class FileSink:
    """One file."""

    def __init__(self, path: Path, form: str) -> None:
        self.name, self.form, self._path = f"file:{path}", form, path

    def deliver(self, batch: Batch) -> Delivered:
        """See `Sink.deliver`."""
        data = LINES[self.form](batch)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            is_new = not self._path.exists()
            descriptor = os.open(self._path, flags, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    data = b"\n" + data
                disk.write_all(descriptor, data)
                # A crash before this may leave some of the batch; the cursor is behind it, so it comes again.
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                disk.fsync_directory(self._path.parent)
        except OSError as error:
            raise SinkError(f"{self.name}: {error.strerror}", retryable=True) from None
        return Delivered()

    def close(self) -> None:
        """See `Sink.close`."""
