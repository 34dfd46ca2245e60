"""A log in the memory of this process: a driver of the port for tests, and gone with the process.

    memory://NAME

It keeps every promise of the port but that entries survive anything. Nothing of
it is shared between processes: a forked child goes on with a copy.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Final, Literal

from msgspec import Struct

from attestlog._internal.core.batch import Head, Plan
from attestlog._internal.core.entry import Entry, decode_line, parse_timestamp
from attestlog._internal.core.erasure import erase_line, erasure_of, taken
from attestlog._internal.core.genesis import parse_genesis
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.lines import Line
from attestlog._internal.core.merkle import Grown, Span
from attestlog._internal.storage.contract import (
    UNFINISHED,
    Known,
    LogSource,
    NewLog,
    PendingErasure,
    StoredTimestamp,
    check_plan,
    room_in_segment,
)
from attestlog.errors import (
    BusyError,
    ClosedError,
    ConflictError,
    CorruptError,
    ExistsError,
    MalformedEntryError,
    MovedError,
    NoLogError,
    NotFoundError,
    VerificationError,
)

SCHEME: Final = "memory"


class MemoryLog:
    """What all stores and sources of one log share."""

    def __init__(self, where: str, new: NewLog) -> None:
        entry = decode_line(new.line)
        self.where = where
        self.genesis = parse_genesis(entry)
        self.lock = threading.Lock()
        self.lines = [new.line]
        self.hashes: dict[int, list[bytes]] = {0: [new.leaf]}
        edge = Span().extended([new.leaf])
        self.head = Head(1, entry.entry_hash, parse_timestamp(entry.timestamp), edge)
        self.checkpoint = new.checkpoint
        self.timestamps: dict[str, tuple[int, bytes]] = {}
        self.pending: PendingErasure | None = None
        self.erasures = 0
        self.moved_to: str | None = None
        self.cursors = MemoryCursors()

    def check_not_moved(self) -> None:
        """Raises MovedError."""
        if self.moved_to is not None:
            raise MovedError(f"{self.where} is not written here any more: moved to {self.moved_to}")

    def add(
        self, lines: Sequence[bytes], leaves: Sequence[bytes], grown: Sequence[Grown], head: Head
    ) -> None:
        """The lines after those there are, and their hashes. Under the lock."""
        self.lines += lines
        self.hashes[0] += leaves
        for level, index, node in grown:
            hashes = self.hashes.setdefault(level, [])
            hashes[index:] = [node]
        self.head = head


class MemorySource(LogSource):
    """A log in memory, for readers."""

    is_transient = True

    def __init__(self, log: MemoryLog) -> None:
        self.log, self.where = log, log.where

    def size(self) -> int:
        """See `LogSource`."""
        return len(self.log.lines)

    def durable_size(self) -> int:
        """See `LogSource`."""
        return len(self.log.hashes[0])

    def lines(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `LogSource`."""
        if start < 0:
            raise ValueError(f"start is {start}, the first entry is 0")
        return self._lines(start, stop)

    def _lines(self, start: int, stop: int | None) -> Iterator[bytes]:
        for number in itertools.count(start) if stop is None else range(start, stop):
            if number >= len(self.log.lines):
                return
            yield self.log.lines[number]

    def line(self, sequence_number: int) -> bytes:
        """See `LogSource`."""
        if sequence_number < 0:
            raise ValueError(f"start is {sequence_number}, the first entry is 0")
        try:
            return self.log.lines[sequence_number]
        except IndexError:
            raise NotFoundError(
                f"no entry {sequence_number}: the log has {self.size()}",
                path=self.where, sequence_number=sequence_number,
            ) from None  # fmt: skip

    def hashes(self, level: int, start: int, stop: int) -> list[bytes]:
        """See `LogSource`."""
        found = self.log.hashes.get(level, [])[start:stop]
        if len(found) != stop - start:
            raise CorruptError(
                f"tree level {level} of {self.where} ends before hash {stop}", path=self.where, repair="tree"
            )
        return found

    def checkpoint(self) -> bytes | None:
        """See `LogSource`."""
        return self.log.checkpoint

    def timestamps(self) -> list[StoredTimestamp]:
        """See `LogSource`."""
        return sorted(StoredTimestamp(size, name) for name, (size, _) in self.log.timestamps.items())

    def timestamp(self, name: str) -> bytes:
        """See `LogSource`."""
        try:
            return self.log.timestamps[name][1]
        except KeyError:
            raise NotFoundError(f"{self.where} has no time stamp {name}", path=self.where) from None

    def pending_erasure(self) -> PendingErasure | None:
        """See `LogSource`."""
        return self.log.pending

    @contextmanager
    def snapshot(self) -> Iterator[MemorySnapshot]:
        """See `LogSource`."""
        with self.log.lock:
            snapshot = MemorySnapshot(self.log)
        yield snapshot

    def epoch(self) -> str:
        """See `LogSource`."""
        return str(self.log.erasures)

    def moved_to(self) -> str | None:
        """See `LogSource`."""
        return self.log.moved_to

    def cursors(self) -> MemoryCursors:
        """See `LogSource`."""
        return self.log.cursors


class MemoryStore:
    """A log in memory, open for writing: keeps the `Store` contract."""

    def __init__(self, log: MemoryLog, lock_timeout_s: float) -> None:
        self.log, self.source, self.genesis = log, MemorySource(log), log.genesis
        self.recovered: list[str] = []
        self.is_released = False
        self._lock_timeout_s, self._is_closed = lock_timeout_s, False

    @contextmanager
    def exclusive(self) -> Iterator[Head]:
        """See `Store`."""
        if self._is_closed:
            raise ClosedError(f"log {self.log.where} is closed")
        self.log.check_not_moved()
        lock = self.log.lock
        if not lock.acquire(timeout=self._lock_timeout_s):
            raise BusyError(
                f"another has held the lock of {self.log.where} for {self._lock_timeout_s:g} s",
                path=self.log.where,
            )
        try:
            self.is_released = False
            self.finish_erasure()
            yield self.log.head
        finally:
            lock.release()

    def commit(self, plan: Plan, lines: Sequence[bytes]) -> None:
        """See `Store`."""
        check_plan(plan, lines, self.log.head, self.genesis.settings.segment_entries)
        self.log.add(lines, plan.leaves, plan.grown, plan.head)

    def room(self, size: int) -> int:
        """See `Store`."""
        return room_in_segment(size, self.genesis.settings.segment_entries)

    def hashes(self, level: int, start: int, stop: int) -> list[bytes]:
        """See `Store`."""
        return self.source.hashes(level, start, stop)

    def checkpoint(self) -> bytes | None:
        """See `Store`."""
        return self.log.checkpoint

    @property
    def is_certain(self) -> bool:
        """See `Store`."""
        return True

    def certain_head(self) -> Head:
        """See `Store`."""
        return self.log.head

    def replace_checkpoint(self, old: bytes | None, new: bytes) -> None:
        """See `Store`."""
        if self.log.checkpoint != old:
            raise ConflictError(
                f"the checkpoint of {self.log.where} is not the one it was", path=self.log.where
            )
        self.log.checkpoint = new

    def add_timestamp(self, size: int, response: bytes) -> str:
        """See `Store`."""
        name = f"{size}-{sha256(response).hexdigest()[:8]}"
        self.log.timestamps[name] = size, response
        return f"{self.log.where} {name}"

    def begin_erasure(self, entry: Entry) -> None:
        """See `Store`."""
        self.log.pending = PendingErasure(erased_by=entry.sequence_number, entry_hash=entry.entry_hash)

    def finish_erasure(self) -> None:
        """See `Store`."""
        pending, lines = self.log.pending, self.log.lines
        if pending is None:
            return
        if pending.erased_by < len(lines):
            entry = decode_line(lines[pending.erased_by])
            if entry.entry_hash == pending.entry_hash:
                erasure = erasure_of(entry)
                reach = erasure.reach
                for line, stored in taken(erasure, lines[reach.start : reach.stop]):
                    lines[stored.sequence_number] = self._erased(line, stored.sequence_number)
                self.log.erasures += 1
        self.log.pending = None

    def _erased(self, line: bytes, number: int) -> bytes:
        try:
            return erase_line(line)
        except (MalformedEntryError, VerificationError) as error:
            raise CorruptError(
                f"entry {number} cannot be erased: {error}",
                path=self.log.where, sequence_number=number, repair="entries",
            ) from None  # fmt: skip

    def rebuild_tree(self) -> None:
        """See `Store`."""
        grown: list[Grown] = []
        leaves = [leaf_hash(bytes.fromhex(decode_line(line).entry_hash)) for line in self.log.lines]
        if Span().extended(leaves, grown).root() != self.log.head.edge.root():
            raise CorruptError(f"{self.log.where}: the entries are not those committed", repair="entries")
        self.log.hashes = {0: leaves}
        self.log.add([], [], grown, self.log.head)

    def seal(self, where: str) -> None:
        """See `Store`."""
        self.log.moved_to = where

    def release(self) -> None:
        """See `Store`: a thread that held the lock is not in the child to release it."""
        self.log.lock, self.is_released = threading.Lock(), True

    def close(self) -> None:
        """See `Store`."""
        self._is_closed = True


class MemoryCursors:
    """Keeps the `Cursors` contract, among the threads of this process."""

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}
        self._locks: dict[str, threading.Lock] = {}

    def load(self, url: str) -> bytes | None:
        """See `Cursors`."""
        return self._data.get(url)

    def save(self, url: str, data: bytes) -> None:
        """See `Cursors`."""
        self._data[url] = data

    @contextmanager
    def alone(self, url: str) -> Iterator[bool]:
        """See `Cursors`."""
        lock = self._locks.setdefault(url, threading.Lock())
        is_alone = lock.acquire(blocking=False)
        try:
            yield is_alone
        finally:
            if is_alone:
                lock.release()


class MemorySegment(Struct, frozen=True):
    """Lines as they stood: keeps the `RawSegment` contract."""

    first: int
    name: str
    data: tuple[bytes, ...]

    @property
    def unit(self) -> Literal["line"]:
        """See `RawSegment`."""
        return "line"

    @property
    def size(self) -> int:
        """See `RawSegment`."""
        return len(self.data)

    @property
    def room(self) -> int:
        """See `RawSegment`."""
        return 0

    def lines(self, start: int, stop: int) -> Iterator[Line]:
        """See `RawSegment`."""
        for offset in range(start, min(stop, len(self.data))):
            yield Line(offset, self.data[offset], offset + 1)

    def offset_after(self, lines: int) -> int:
        """See `RawSegment`."""
        return min(lines, len(self.data))

    def away(self) -> str | None:
        """See `RawSegment`."""
        return None


class MemorySnapshot:
    """Keeps the `Snapshot` contract."""

    def __init__(self, log: MemoryLog) -> None:
        self._where = log.where
        width = log.genesis.settings.segment_entries
        self.segments = [
            MemorySegment(first, self.segment_name(first), tuple(log.lines[first : first + width]))
            for first in range(0, len(log.lines), width)
        ]
        self.strays: list[str] = []
        self.twice: list[str] = []
        self.checkpoint = log.checkpoint
        self.unreadable: list[tuple[str, str]] = []
        self.is_between_commits = True
        self._hashes = {level: b"".join(hashes) for level, hashes in log.hashes.items()}
        self.hash_bytes = {level: len(data) for level, data in self._hashes.items()}

    def segment_name(self, first: int) -> str:
        """See `Snapshot`."""
        return f"{self._where} from {first}"

    def hashes(self, level: int, start: int, count: int) -> bytes:
        """See `Snapshot`."""
        return self._hashes.get(level, b"")[32 * start : 32 * (start + count)]


class MemoryCopying:
    """Keeps the `Copying` contract."""

    def __init__(self, logs: dict[str, MemoryLog], name: str) -> None:
        self._logs, self._name = logs, name
        self._lines: list[bytes] = []

    def add_lines(self, lines: Iterable[bytes], segment_entries: int) -> None:  # noqa: ARG002
        """See `Copying`."""
        self._lines += lines

    def finish(self, head: Head, source: LogSource) -> None:
        """See `Copying`."""
        leaves = [leaf_hash(bytes.fromhex(decode_line(line).entry_hash)) for line in self._lines]
        grown: list[Grown] = []
        Span().extended(leaves, grown)
        log = MemoryLog(self._name, NewLog(self._lines[0], leaves[0], source.checkpoint()))
        log.add(self._lines[1:], leaves[1:], grown, head)
        log.timestamps = {
            stamp.name: (stamp.size, source.timestamp(stamp.name)) for stamp in source.timestamps()
        }
        log.moved_to = f"{UNFINISHED}{source.absolute()}"
        self._logs[self._name] = log


class MemoryDriver:
    """See `storage.resolve.Driver`. Names are `memory://NAME`."""

    is_transient = True

    def __init__(self) -> None:
        self._logs: dict[str, MemoryLog] = {}

    def check_free(self, name: str, *, any_filesystem: bool) -> None:  # noqa: ARG002 - there is no file system
        """See `Driver`."""
        if name in self._logs:
            raise ExistsError(f"{name} exists already", path=name)

    def create(self, name: str, new: NewLog) -> None:
        """See `Driver`."""
        self.check_free(name, any_filesystem=True)
        self._logs[name] = MemoryLog(name, new)

    @contextmanager
    def copying(self, name: str) -> Iterator[MemoryCopying]:
        """See `Driver`."""
        self.check_free(name, any_filesystem=True)
        yield MemoryCopying(self._logs, name)

    def open_copy(self, name: str) -> None:
        """See `Driver`."""
        self._find(name).moved_to = None

    def drop_copy(self, name: str) -> None:
        """See `Driver`."""
        self.forget(name)

    def open_source(self, name: str) -> MemorySource:
        """See `Driver`."""
        return MemorySource(self._find(name))

    def open_store(
        self,
        name: str,
        *,
        lock_timeout_s: float,
        any_filesystem: bool,  # noqa: ARG002
        known: Known,  # noqa: ARG002
    ) -> MemoryStore:
        """See `Driver`. Nobody but this process can have changed it: there is nothing to know better."""
        self._find(name).check_not_moved()
        return MemoryStore(self._find(name), lock_timeout_s)

    def forget(self, name: str) -> None:
        """Let its memory be used for something else."""
        self._logs.pop(name, None)

    def _find(self, name: str) -> MemoryLog:
        try:
            return self._logs[name]
        except KeyError:
            raise NoLogError(f"{name} is not a log of this process", path=name) from None
