"""How far a sink is, and what became of it: one small file a sink, in this user's state.

It is replaced durably after each batch that was delivered. Losing it costs a question: the sink then gets
everything again, or what `--from` says. It holds no entry, and is no evidence.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from attestlog._internal import disk, places
from attestlog.errors import BusyError, StorageError


class SinkCursor(Struct, kw_only=True):
    """One sink's state. Counts are of all runs together."""

    sink: str
    form: str
    start: int = 0
    """The first entry that it was to get."""
    size: int = 0
    """The next one: all before it were delivered, or left out by a filter."""
    entry_hash: str = ""
    """Of the entry before `size`: a log with another one there is another log."""
    delivered: int = 0
    """Entries; those sent again after a crash count again."""
    deliveries: int = 0
    """Batches."""
    retries: int = 0
    """Batches that were tried again."""
    failures: int = 0
    """Tries that failed."""
    rejected: int = 0
    shortened: int = 0
    error: str = ""
    """Why the last try failed; empty when all is well."""
    failing_since: str = ""
    is_lost: bool = False
    """Whether it has failed for so long that the log was to have an entry about it."""
    first_at: str = ""
    last_at: str = ""
    """When the last batch was delivered; RFC 3339."""

    @property
    def state(self) -> str:
        """`good`, `failing` or `lost`."""
        return "lost" if self.is_lost else "failing" if self.error else "good"


class SinkState:
    """The files of one sink of one log."""

    def __init__(self, genesis_hash: str, key: str) -> None:
        """`key`: what tells this sink from the log's others. Raises NoHomeError."""
        folder = places.exports_dir() / genesis_hash
        self._path = folder / f"{sha256(key.encode()).hexdigest()[:16]}.json"

    def load(self) -> SinkCursor | None:
        """None where there is none. Raises StorageError where there is one that cannot be read."""
        return _read(self._path)

    def save(self, cursor: SinkCursor) -> None:
        """Replace it, durably. Raises StorageError."""
        try:
            # A crash in here leaves the cursor before: the batch is delivered again.
            disk.replace_file(self._path, msgspec.json.encode(cursor), 0o600)
        except OSError as error:
            raise disk.storage_error(error, self._path, "writing") from None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only process that ships to this sink. Raises BusyError, StorageError."""
        lock = self._path.with_suffix(".lock")
        try:
            disk.make_directories(lock.parent, 0o700)
            descriptor = disk.open_made(lock, os.O_RDWR, 0o600)
        except OSError as error:
            raise disk.storage_error(error, lock, "writing") from None
        try:
            if not disk.lock(descriptor):
                raise BusyError("another process ships to this sink", path=str(lock))
            yield
        finally:
            os.close(descriptor)


def cursors_of(genesis_hash: str) -> list[SinkCursor]:
    """Of all sinks of the log that this user ships to, by name. Raises NoHomeError, StorageError."""
    folder = places.exports_dir() / genesis_hash
    found = [_read(path) for path in sorted(folder.glob("*.json"))]
    return sorted((cursor for cursor in found if cursor is not None), key=lambda cursor: cursor.sink)


_METRICS: Final[dict[str, tuple[str, str, Callable[[SinkCursor, int], int]]]] = {
    "attestlog_sink_next_entry": ("gauge", "The next entry to ship.", lambda item, _: item.size),
    "attestlog_sink_lag_entries": (
        "gauge", "Durable entries still to be shipped.", lambda item, size: max(0, size - item.size),
    ),
    "attestlog_sink_good": ("gauge", "1 unless it fails or is lost.", lambda item, _: item.state == "good"),
    "attestlog_sink_delivered_total": ("counter", "Entries delivered.", lambda item, _: item.delivered),
    "attestlog_sink_retries_total": ("counter", "Batches tried again.", lambda item, _: item.retries),
    "attestlog_sink_failures_total": ("counter", "Tries that failed.", lambda item, _: item.failures),
    "attestlog_sink_rejected_total": ("counter", "Entries refused for good.", lambda item, _: item.rejected),
}  # fmt: skip


def as_metrics(cursors: Sequence[SinkCursor], durable_size: int) -> str:
    """Prometheus text format 0.0.4."""
    lines = []
    for name, (kind, meaning, value) in _METRICS.items():
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
        for cursor in cursors:
            label = cursor.sink.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
            lines.append(f'{name}{{sink="{label}"}} {int(value(cursor, durable_size))}')
    return "\n".join([*lines, ""])


def now() -> str:
    """The time by this machine's clock; RFC 3339, seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def seconds_since(text: str) -> float:
    """How long ago that was, by this machine's clock."""
    return (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()


def _read(path: Path) -> SinkCursor | None:
    try:
        with disk.open_plain(path) as file:
            return msgspec.json.decode(file.read(), type=SinkCursor)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk.read_error(error, path) from None
    except msgspec.DecodeError as error:
        raise StorageError(f"{path} is damaged: {error}", path=str(path)) from None
