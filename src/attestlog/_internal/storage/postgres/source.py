"""A log on PostgreSQL, read only: statements of one page each, no lock, no transaction that lasts.

Nothing is verified here. A line counts by its row's number, whatever it says of itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal

from msgspec import Struct

from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES
from attestlog._internal.core.hashes import HASH_SIZE_BYTES, leaf_hash
from attestlog._internal.core.lines import Line
from attestlog._internal.core.note import NOTE_SIZE_MAX_BYTES
from attestlog._internal.places import replicas_dir
from attestlog._internal.storage.contract import (
    TIMESTAMP_SIZE_MAX_BYTES,
    LogSource,
    PendingErasure,
    StoredTimestamp,
)
from attestlog._internal.storage.files.beside import FileCursors
from attestlog._internal.storage.postgres.connection import LogReader, Reader, reader_for
from attestlog._internal.storage.postgres.url import Url
from attestlog.errors import CorruptError, NoLogError, NotFoundError, StorageError

PAGE_LINES: Final = 1_024
"""Lines asked for at once: some 2 MB of ordinary ones."""

PAGE_SIZE_MAX_BYTES: Final = 4 << 20
"""A page ends with the line that reaches this: memory stays flat, whatever the lines are."""

HASH_PAGE: Final = 65_536
"""Hashes asked for at once."""

_PAGE: Final = """
select seq, line from (
  select seq, substr(line, 1, %s) as line,
         sum(octet_length(line)) over (order by seq) - octet_length(line) as before
    from (select seq, line from attestlog.entry
           where log_id = %s and seq >= %s and seq < %s order by seq limit %s) page
) sized where before < %s order by seq
"""


class PostgresSource(LogSource):
    """A log on PostgreSQL, for readers. Threads of a process share one connection."""

    def __init__(self, url: Url, reader: Reader | None = None) -> None:
        """Raises NoLogError or another StorageError. `reader`: by default the session of this process."""
        self.url, self.where = url, url.text
        self._session = reader or LogReader(url)
        rows = self._session.rows("select log_id from attestlog.log where name = %s", (url.log,))
        if not rows:
            raise NoLogError(f"{url.text} is not a log: the database has none of this name", url=url.text)
        self.log_id: int = rows[0][0]

    def size(self) -> int:
        """See `LogSource`."""
        return int(self._one("select size from attestlog.head where log_id = %s"))

    def durable_size(self) -> int:
        """See `LogSource`. Another transaction's rows are seen once its commit is done, and not before."""
        return self.size()

    def lines(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `LogSource`."""
        if start < 0:
            raise ValueError(f"start is {start}, the first entry is 0")
        return self._lines(start, stop)

    def _lines(self, start: int, stop: int | None) -> Iterator[bytes]:
        position = start
        while stop is None or position < stop:
            end = position + PAGE_LINES if stop is None else min(stop, position + PAGE_LINES)
            page = read_page(self._session, self.log_id, position, end)
            if not page and self.size() > position:
                # Committed between the two questions, or gone.
                page = read_page(self._session, self.log_id, position, end)
                if not page:
                    raise self._missing(position)
            for number, line in page:
                if number != position:
                    raise self._missing(position)
                yield line
                position += 1
            if not page:
                return

    def line(self, sequence_number: int) -> bytes:
        """See `LogSource`."""
        if sequence_number < 0:
            raise ValueError(f"start is {sequence_number}, the first entry is 0")
        for _, line in read_page(self._session, self.log_id, sequence_number, sequence_number + 1):
            return line
        if sequence_number < (size := self.size()):
            raise self._missing(sequence_number)
        raise NotFoundError(
            f"no entry {sequence_number}: the log has {size}",
            path=self.where,
            sequence_number=sequence_number,
        )

    def hashes(self, level: int, start: int, stop: int) -> list[bytes]:
        """See `LogSource`."""
        found = read_hashes(self._session, self.log_id, level, start, stop)
        if len(found) != stop - start:
            raise CorruptError(
                f"tree level {level} of {self.where} ends before hash {stop}", path=self.where, repair="tree"
            )
        return found

    def checkpoint(self) -> bytes | None:
        """See `LogSource`."""
        rows = self._rows(
            "select substr(note, 1, %s) from attestlog.checkpoint where log_id = %s", NOTE_SIZE_MAX_BYTES + 1
        )
        return bytes(rows[0][0]) if rows else None

    def timestamps(self) -> list[StoredTimestamp]:
        """See `LogSource`."""
        rows = self._rows("select size, tag from attestlog.timestamp where log_id = %s order by size, tag")
        return [StoredTimestamp(size, tag) for size, tag in rows]

    def timestamp(self, name: str) -> bytes:
        """See `LogSource`."""
        rows = self._session.rows(
            "select substr(response, 1, %s) from attestlog.timestamp where log_id = %s and tag = %s",
            (TIMESTAMP_SIZE_MAX_BYTES + 1, self.log_id, name),
        )
        if not rows:
            raise NotFoundError(f"{self.where} has no time stamp {name}", path=self.where)
        return bytes(rows[0][0])

    def pending_erasure(self) -> PendingErasure | None:
        """See `LogSource`. Entry and erasure are one transaction: none is ever under way."""
        return None

    @contextmanager
    def snapshot(self) -> Iterator[PostgresSnapshot]:
        """See `LogSource`."""
        try:
            snapshot = PostgresSnapshot(self)
        except StorageError as error:
            raise OSError(error.message) from None
        yield snapshot

    def epoch(self) -> str:
        """See `LogSource`."""
        return str(self._one("select erased from attestlog.head where log_id = %s"))

    def cursors(self) -> FileCursors:
        """See `LogSource`. They are this machine's: one host sends a log to its replicas."""
        return FileCursors(replicas_dir(self.entry(0).entry_hash))

    def moved_to(self) -> str | None:
        """Where the log is written instead, if it was sealed."""
        found = self._one("select moved_to from attestlog.head where log_id = %s")
        return None if found is None else str(found)

    def _rows(self, statement: str, *before: Any) -> list[tuple[Any, ...]]:
        """`before`: parameters before the log's id, which is the last."""
        return self._session.rows(statement, (*before, self.log_id))

    def _one(self, statement: str) -> Any:
        rows = self._rows(statement)
        if not rows:
            raise CorruptError(f"{self.where} has no head", path=self.where, repair="entries")
        return rows[0][0]

    def _missing(self, number: int) -> CorruptError:
        return CorruptError(
            f"entry {number} of {self.where} is missing",
            path=self.where,
            sequence_number=number,
            repair="entries",
        )


def read_page(connection: Reader, log_id: int, start: int, stop: int) -> list[tuple[int, bytes]]:
    """(number, line) of the first rows in [start, stop), at least one if there is any."""
    rows = connection.rows(
        _PAGE, (LINE_SIZE_MAX_BYTES + 1, log_id, start, stop, PAGE_LINES, PAGE_SIZE_MAX_BYTES)
    )
    return [(number, bytes(line)) for number, line in rows]


def read_hashes(connection: Reader, log_id: int, level: int, start: int, stop: int) -> list[bytes]:
    """Stored hashes from `start` on, up to `stop` or the first that is not there."""
    found: list[bytes] = []
    while start < stop:
        end = min(stop, start + HASH_PAGE)
        if level == 0:
            statement = (
                "select seq, entry_hash from attestlog.entry"
                " where log_id = %s and seq >= %s and seq < %s order by seq"
            )
            rows = connection.rows(statement, (log_id, start, end))
        else:
            statement = (
                "select idx, hash from attestlog.node"
                " where log_id = %s and level = %s and idx >= %s and idx < %s order by idx"
            )
            rows = connection.rows(statement, (log_id, level, start, end))
        for number, digest in rows:
            if number != start:
                return found
            found.append(leaf_hash(bytes(digest)) if level == 0 else bytes(digest))
            start += 1
        if start != end:
            return found
    return found


class PostgresSegment(Struct, frozen=True):
    """Some lines of a snapshot; keeps the `RawSegment` contract. Offsets count rows from its first."""

    where: str
    log_id: int
    first: int
    name: str
    size: int
    erased: int
    """Of the snapshot: once it is another, lines are not what they were."""

    @property
    def unit(self) -> Literal["line"]:
        """See `RawSegment`."""
        return "line"

    @property
    def room(self) -> int:
        """See `RawSegment`."""
        return 0

    def lines(self, start: int, stop: int) -> Iterator[Line]:
        """See `RawSegment`."""
        stop, offset = min(stop, self.size), start
        while offset < stop:
            page = self._page(self.first + offset, self.first + stop)
            if not page:
                return
            for number, data in page:
                offset = number - self.first
                yield Line(offset, data, offset + 1)
            offset += 1

    def _page(self, start: int, stop: int) -> list[tuple[int, bytes]]:
        try:
            connection = reader_for(self.where)
            page = read_page(connection, self.log_id, start, stop)
            statement = "select erased from attestlog.head where log_id = %s"
            erased = connection.rows(statement, (self.log_id,))
        except StorageError as error:
            raise OSError(error.message) from None
        if erased != [(self.erased,)]:
            raise OSError("a payload was erased while the log was read")
        return page

    def offset_after(self, lines: int) -> int:
        """See `RawSegment`."""
        return min(lines, self.size)

    def away(self) -> str | None:
        """See `RawSegment`."""
        return None


class PostgresSnapshot:
    """Keeps the `Snapshot` contract.

    Rows are only ever added, payloads apart: so the numbers of one statement are a snapshot, and no
    transaction has to stay open for it.
    """

    def __init__(self, source: PostgresSource) -> None:
        self._source = source
        (size, self._erased, note), *_ = source._rows(
            "select (select coalesce(max(seq) + 1, 0) from attestlog.entry e where e.log_id = h.log_id),"
            " erased,"
            " (select substr(note, 1, %s) from attestlog.checkpoint c where c.log_id = h.log_id)"
            " from attestlog.head h where log_id = %s",
            NOTE_SIZE_MAX_BYTES + 1,
        ) or [(0, 0, None)]
        nodes = source._rows(
            "select level, max(idx) + 1 from attestlog.node where log_id = %s group by level"
        )
        self.checkpoint = None if note is None else bytes(note)
        self.strays: Sequence[str] = []
        self.twice: Sequence[str] = []
        self.unreadable: Sequence[tuple[str, str]] = []
        self.is_between_commits = True
        # A commit since the first statement may have completed more subtrees than the entries lead to.
        complete = {level: min(count, size >> (8 * level)) for level, count in nodes}
        self.hash_bytes: Mapping[int, int] = {
            level: HASH_SIZE_BYTES * count for level, count in {0: size, **complete}.items() if count
        }
        width = source.genesis().settings.segment_entries
        self.segments = [
            PostgresSegment(
                source.where,
                source.log_id,
                first,
                self.segment_name(first),
                min(width, size - first),
                self._erased,
            )
            for first in range(0, size, width)
        ]

    def segment_name(self, first: int) -> str:
        """See `Snapshot`."""
        return f"{self._source.where} from {first}"

    def hashes(self, level: int, start: int, count: int) -> bytes:
        """See `Snapshot`."""
        there = self.hash_bytes.get(level, 0) // HASH_SIZE_BYTES
        try:
            found = read_hashes(
                self._source._session, self._source.log_id, level, start, min(start + count, there)
            )
        except StorageError as error:
            raise OSError(error.message) from None
        return b"".join(found)
