"""The query index: derived from the entries, caught up by whoever reads, never authoritative.

It proposes; the log's own lines, read again and compared by hash, are what is
returned. So a wrong index can omit, and cannot invent. Before it is used it
must still fit the log: same genesis, every segment as long as when it was
indexed, the last indexed entry still where it was. Where it does not (another
log, a restored copy, an erased payload), it is emptied and made anew; erased
words go with it.

Catching up is one short transaction after the other, each of which starts at
what the file says is indexed: processes that catch up at once take turns, and
a crash loses at most the transaction in hand.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Self, TypeVar

import msgspec
from msgspec import Struct

from attestlog._internal.core.entry import (
    ActorType,
    Entry,
    EventCategory,
    EventType,
    ExecutionStatus,
    Name,
    Severity,
    TimestampText,
    UuidText,
    decode_line,
)
from attestlog._internal.query.database import (
    BrokenIndexError,
    IndexPlace,
    UnusablePlaceError,
    connect,
    create_tables,
    disown,
    index_places,
    is_ours,
    remove,
    transaction,
    translated,
)
from attestlog._internal.query.filter import Searchable, columns_of
from attestlog._internal.storage.contract import LocatedLine, LogSource
from attestlog._internal.storage.resolve import LogName, open_source
from attestlog.errors import CorruptError, MalformedEntryError, StorageError

CHUNK_ENTRIES: Final = 20_000
"""Entries one transaction indexes: about a second, which is how long other processes wait."""

CHUNK_SIZE_BYTES: Final = 64 << 20
"""Bytes of lines one transaction indexes: bounds memory where payloads are large."""

Result = TypeVar("Result")


class _Pillars(Struct):
    an_toan: float | None = None
    duong_dai: float | None = None
    tin_vao_so_lieu: float | None = None
    han_che_rui_ro: float | None = None


class IndexedLine(Searchable):
    """What the index keeps of a line; msgspec skips the rest."""

    action_type: Name
    actor_id: Name
    actor_type: ActorType
    composite_score: float | None
    entry_hash: str
    entry_id: UuidText
    event_category: EventCategory
    event_type: EventType
    execution_status: ExecutionStatus
    pillars_scores: _Pillars
    sequence_number: int
    severity: Severity
    timestamp: TimestampText

    @property
    def facet(self) -> tuple[str, str, int, str, str]:
        """The members with few values, which are indexed together."""
        return (
            str(self.event_type),
            str(self.event_category),
            self.severity,
            str(self.actor_type),
            str(self.execution_status),
        )


decode_indexed: Final = msgspec.json.Decoder(IndexedLine).decode


class Index:
    """An open index of one log. For one thread at a time: those that ask at once open one each."""

    def __init__(self, log: LogSource, genesis_hash: str, place: IndexPlace, path: str) -> None:
        """Use `open`."""
        self.log, self.genesis_hash, self.place, self.path = log, genesis_hash, place, path
        self.size = 0
        """Lines known to be indexed."""
        self._connection = connect(path)

    @classmethod
    def open(cls, name: LogName | LogSource) -> Index:
        """The index of the log, wherever one can be kept; not caught up yet.

        Raises NotFoundError if there is no log or it has no entry, CorruptError if entry 0 is damaged, or
        entries that were committed are not there.
        """
        log = open_source(name)
        log.check_complete()
        genesis_hash = log.entry(0).entry_hash
        for place, file in index_places(log, genesis_hash):
            with contextlib.suppress(UnusablePlaceError):
                return cls(log, genesis_hash, place, file)
        raise StorageError("SQLite cannot even open a database in memory", path=log.where)

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def catch_up(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Index what the log has gained; returns how many lines that was.

        `progress` is called with (lines indexed, lines in all). Raises CorruptError where lines are
        missing; a line that is there and is no entry is noted in `unreadable`.
        """
        added = 0
        while count := self._next_chunk():
            added += count
            if progress is not None:
                progress(self.size, self.log.size())
        return added

    def _next_chunk(self) -> int:
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(_StaleError):
                return self._repaired(self._index_chunk)
        raise StorageError(f"index {self.path} does not come to fit the log", path=self.path)

    def unreadable(self) -> list[int]:
        """Sequence numbers of lines that are not entries, and so can never be found; the first 1,000."""
        rows = self.read("SELECT n FROM unreadable ORDER BY n LIMIT 1000")
        return [n for (n,) in rows]

    def snapshot(self, work: Callable[[], Result]) -> Result:
        """`work`, seeing one state of the index that covers all that `catch_up` covered."""

        def within() -> Result:
            with transaction(self._connection, "DEFERRED"):
                # Another process may have begun to make the index anew since.
                if not self._fits() or self._indexed_size() < self.size:
                    raise _UnfitError
                return work()

        for _ in range(_ATTEMPTS):
            try:
                return self._repaired(within)
            except _UnfitError:
                pass
            except _StaleError:
                self._repaired(lambda: disown(self._connection))
            self.catch_up()
        raise StorageError(f"index {self.path} does not come to fit the log", path=self.path)

    def read(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        """One query."""
        return self._connection.execute(sql, parameters)

    def fetch(self, n: int) -> tuple[Entry, IndexedLine, int]:
        """Entry `n` as the log has it, what is searchable of it, and its size. Within `snapshot`."""
        row = self.read("SELECT offset, size_bytes, entry_hash FROM entries WHERE n = ?", (n,)).fetchone()
        line, indexed = self._reread(n, *row)
        try:
            return decode_line(line), indexed, len(line)
        except MalformedEntryError as error:
            raise CorruptError(
                f"line {n} is not an entry: {error}", path=self.log.where, sequence_number=n
            ) from None

    def _reread(self, n: int, offset: Any, size_bytes: Any, entry_hash: Any) -> tuple[bytes, IndexedLine]:
        """The indexed line, read from the log; raises if it is not there any more."""
        if (type(offset), type(size_bytes), type(entry_hash)) != (int, int, bytes) or min(
            offset, size_bytes
        ) < 0:
            raise BrokenIndexError("wrong types")
        (segment,) = self.read("SELECT max(first) FROM segments WHERE first <= ?", (n,)).fetchone()
        if type(segment) is not int:
            raise BrokenIndexError("no segment")
        line = self.log.read_at(segment, offset, size_bytes)
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            found = decode_indexed(line)
            if found.sequence_number == n and bytes.fromhex(found.entry_hash) == entry_hash:
                return line, found
        raise _StaleError

    def _index_chunk(self) -> int:
        """One transaction's worth; 0 when there is nothing left."""
        if self._is_current():
            return 0
        emptied = False
        with transaction(self._connection, "IMMEDIATE"):
            if not self._fits():
                create_tables(self._connection, self._identity)
                emptied = True
            start = self._indexed_size()
            chunk = _Chunk(self._connection, start)
            for line in self.log.located_lines(start):
                if not chunk.fits(line):
                    break
                chunk.add(line)
            chunk.write()
            self.size = start + chunk.size
        if emptied:
            self._forget_erased()
        return chunk.size

    def _is_current(self) -> bool:
        with transaction(self._connection, "DEFERRED"):
            if not self._fits():
                return False
            self.size = self._indexed_size()
        return self.size >= self.log.size()

    def _fits(self) -> bool:
        """Whether what is indexed is this log as it is now."""
        if not is_ours(self._connection):
            return False
        if self.read("SELECT genesis_hash FROM log").fetchall() != [(self._identity,)]:
            return False
        indexed = self.read("SELECT first, size_bytes FROM segments ORDER BY first").fetchall()
        sizes = self.log.extents()
        for first, size_bytes in indexed[:-1]:
            if sizes.get(first) != size_bytes:
                return False
        for first, size_bytes in indexed[-1:]:
            if sizes.get(first, -1) < size_bytes:
                return False
        last = self.read(
            "SELECT n, offset, size_bytes, entry_hash FROM entries ORDER BY n DESC LIMIT 1"
        ).fetchone()
        try:
            return last is None or bool(self._reread(*last))
        except _StaleError:
            return False

    @property
    def _identity(self) -> str:
        """Of what is indexed: this log, with lines as they stand now."""
        return self.genesis_hash + self.log.epoch()

    def _indexed_size(self) -> int:
        size = self.read("SELECT size FROM log").fetchone()[0]
        return int(size)

    def _forget_erased(self) -> None:
        """Return emptied pages, which may hold erased words, to the file system; another time if in use."""
        with contextlib.suppress(sqlite3.OperationalError):
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _repaired(self, work: Callable[[], Result]) -> Result:
        """`work`, once more with a new file if the one there is broken."""
        try:
            with translated(self.path):
                return work()
        except (BrokenIndexError, UnusablePlaceError) as error:
            self._connection.close()
            broken = isinstance(error, BrokenIndexError)
        try:
            if broken and self.path != ":memory:":
                remove(self.path)
            self._connection = connect(self.path)
            with translated(self.path):
                return work()
        except (BrokenIndexError, UnusablePlaceError) as error:
            raise StorageError(f"index {self.path} cannot be used: {error}", path=self.path) from None


class _StaleError(Exception):
    """The log's line is not what the index says stands there."""


class _UnfitError(Exception):
    """The index is not caught up with this log any more."""


_ATTEMPTS: Final = 3
"""Times a query is begun anew because the index changed under it."""


class _Chunk:
    """The lines of one transaction, gathered, then written."""

    def __init__(self, connection: sqlite3.Connection, start: int) -> None:
        self._connection, self._start = connection, start
        self.size = self._size_bytes = 0
        self._rows: list[tuple[LocatedLine, IndexedLine]] = []
        self._unreadable: list[tuple[int, str]] = []
        self._segments: dict[int, int] = {}

    def fits(self, line: LocatedLine) -> bool:
        """Whether there is room for one more."""
        return not self.size or (
            self.size < CHUNK_ENTRIES and self._size_bytes + len(line.data) <= CHUNK_SIZE_BYTES
        )

    def add(self, line: LocatedLine) -> None:
        """Take one more line in."""
        if not self.size:
            self._check_continues(line)
        self.size += 1
        self._size_bytes += len(line.data)
        self._segments[line.segment] = line.stop
        try:
            indexed = decode_indexed(line.data)
            if (
                indexed.sequence_number != line.sequence_number
                or len(bytes.fromhex(indexed.entry_hash)) != 32
            ):
                raise ValueError(f"it says it is entry {indexed.sequence_number}")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
            self._unreadable.append((line.sequence_number, str(error)[:200]))
        else:
            self._rows.append((line, indexed))

    def write(self) -> None:
        """Put all of it into the tables."""
        execute, executemany = self._connection.execute, self._connection.executemany
        facets = self._facet_ids(Counter(row.facet for _, row in self._rows))
        actors = self._name_ids("actors", Counter(row.actor_id for _, row in self._rows))
        actions = self._name_ids("actions", Counter(row.action_type for _, row in self._rows))
        executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    line.sequence_number, facets[row.facet], actors[row.actor_id], actions[row.action_type],
                    row.timestamp, line.offset, len(line.data), bytes.fromhex(row.entry_hash),
                    id_prefix(row.entry_id), row.composite_score, row.pillars_scores.an_toan,
                    row.pillars_scores.duong_dai, row.pillars_scores.tin_vao_so_lieu,
                    row.pillars_scores.han_che_rui_ro,
                )
                for line, row in self._rows
            ),
        )  # fmt: skip
        executemany(
            "INSERT INTO words (rowid, action_type, actor_id, payload, outcome, context)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            ((line.sequence_number, *columns_of(row)) for line, row in self._rows),
        )
        executemany("INSERT INTO unreadable VALUES (?, ?)", self._unreadable)
        executemany("INSERT OR REPLACE INTO segments VALUES (?, ?)", self._segments.items())
        execute("UPDATE log SET size = ?", (self._start + self.size,))

    def _check_continues(self, line: LocatedLine) -> None:
        """A segment that was replaced since it was compared must not be half indexed by its old offsets."""
        known = self._connection.execute("SELECT size_bytes FROM segments WHERE first = ?", (line.segment,))
        if any(size_bytes != line.offset for (size_bytes,) in known):
            raise _StaleError

    def _facet_ids(self, counts: Counter[tuple[str, str, int, str, str]]) -> dict[Any, int]:
        self._connection.executemany(
            "INSERT INTO facets VALUES (NULL, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (event_type, event_category, severity, actor_type, execution_status)"
            " DO UPDATE SET entries = entries + excluded.entries",
            ((*facet, count) for facet, count in counts.items()),
        )
        return {
            tuple(facet): number for number, *facet, _ in self._connection.execute("SELECT * FROM facets")
        }

    def _name_ids(self, table: str, counts: Counter[str]) -> dict[str, int]:
        insert = (
            f"INSERT INTO {table} VALUES (NULL, ?, ?)"  # noqa: S608 - a table of ours
            " ON CONFLICT (name) DO UPDATE SET entries = entries + excluded.entries"
        )
        self._connection.executemany(insert, counts.items())
        select = f"SELECT id FROM {table} WHERE name = ?"  # noqa: S608 - as above
        return {name: self._connection.execute(select, (name,)).fetchone()[0] for name in counts}


def id_prefix(entry_id: str) -> int:
    """The first 48 bits of an entry id: as good as unique, and small to index."""
    return int(entry_id[:8] + entry_id[9:13], 16)
