"""From a filter to entries: which index to walk, then page by page what it proposes, checked against the log.

Each plan walks one index in sequence number order, so that the first page
costs as much as it holds, however large the log. Which one is decided by
exact counts: the index keeps, for every actor, action and combination of the
small members, how many entries have it.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, Unpack

from attestlog._internal.core.entry import NAME_LENGTH_MAX, Entry
from attestlog._internal.query.filter import Filter, FilterMembers, Matcher, parse_filter
from attestlog._internal.query.index import Index, id_prefix
from attestlog._internal.storage.contract import LogSource
from attestlog._internal.storage.resolve import LogName
from attestlog.errors import QueryError

PAGE_ENTRIES_MAX: Final = 1_000
"""Entries a page holds at most: enough for a screen or an export loop, small enough for one reply."""

_FIRST_PAGE_ENTRIES: Final = 64
"""What a stream reads first, then twice as much each time: who stops early need not wait for a full page."""

PAGE_SIZE_MAX_BYTES: Final = 64 << 20
"""Bytes of entries a page holds at most, or one entry: bounds memory where payloads are large."""

_FEW: Final = 500
"""So few candidates are read from the log one by one rather than intersected with the words' index."""

_KEYS_MAX: Final = 200
"""Keys of one index walked side by side; for more (a glob that fits many names) all entries are walked."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of what a filter asks for."""

    entries: list[Entry]
    next_cursor: int | None
    """`Filter.cursor` of the page after this one; None when nothing more matches now."""


class Search:
    """A filter put to an index at one moment; pages on demand."""

    def __init__(self, index: Index, filter_: Filter, now_us: int) -> None:
        """Raises QueryError for what cannot be asked. The index should be caught up."""
        self._index, self._filter = index, filter_
        self._matcher = Matcher(filter_, now_us)

    def page(self, limit: int, cursor: int | None) -> Page:
        """Up to `limit` entries after `cursor`."""
        return self._index.snapshot(lambda: self._page(min(limit, PAGE_ENTRIES_MAX), cursor))

    def pages(self) -> Iterator[list[Entry]]:
        """Page after page, up to the filter's limit."""
        left, cursor, size = self._filter.limit, self._filter.cursor, _FIRST_PAGE_ENTRIES
        while left is None or left > 0:
            page = self.page(size if left is None else left, cursor)
            yield page.entries
            size = min(2 * size, PAGE_ENTRIES_MAX)
            if page.next_cursor is None:
                return
            cursor = page.next_cursor
            left = None if left is None else left - len(page.entries)

    def _page(self, limit: int, cursor: int | None) -> Page:
        found: list[Entry] = []
        size_bytes = 0
        for n in _Plan(self._index, self._matcher, cursor).numbers():
            if len(found) >= limit or size_bytes > PAGE_SIZE_MAX_BYTES:
                return Page(found, cursor)
            entry, searchable, entry_size_bytes = self._index.fetch(n)
            cursor = n
            if self._matcher.matches(entry, searchable):
                found.append(entry)
                size_bytes += entry_size_bytes
        return Page(found, None)


def query_page(
    log: LogName | LogSource,
    filter_: Filter | None = None,
    /,
    *,
    now_us: int | None = None,
    **members: Unpack[FilterMembers],
) -> Page:
    """One page of what the filter asks for; its `limit` and `cursor` say which. Arguments as `query_log`."""
    filter_, now_us = _asked(filter_, members), _now_us(now_us)
    with Index.open(log) as index:
        search = Search(index, filter_, now_us)
        index.catch_up()
        return search.page(filter_.limit or PAGE_ENTRIES_MAX, filter_.cursor)


def query_log(
    log: LogName | LogSource,
    filter_: Filter | None = None,
    /,
    *,
    now_us: int | None = None,
    **members: Unpack[FilterMembers],
) -> Iterator[Entry]:
    """All that the filter asks for, up to its `limit`, in flat memory.

    Give a filter, or its members: `query_log("audit", event_type="VIOLATION", since="7d")`. `now_us`,
    microseconds since 1970, is what times like `7d` count from; the clock's if not given.
    Raises QueryError at once for what cannot be asked.
    """
    filter_, now_us = _asked(filter_, members), _now_us(now_us)
    Matcher(filter_, now_us)
    return _stream(log, filter_, now_us)


def query_log_async(
    log: LogName | LogSource,
    filter_: Filter | None = None,
    /,
    *,
    now_us: int | None = None,
    **members: Unpack[FilterMembers],
) -> AsyncIterator[Entry]:
    """`query_log` for asyncio, with `async for`: each page is read in a thread, while only the task waits."""
    filter_, now_us = _asked(filter_, members), _now_us(now_us)
    Matcher(filter_, now_us)
    return _stream_async(log, filter_, now_us)


def _stream(log: LogName | LogSource, filter_: Filter, now_us: int) -> Iterator[Entry]:
    with closing(_pages(log, filter_, now_us)) as pages:
        for page in pages:
            yield from page


async def _stream_async(log: LogName | LogSource, filter_: Filter, now_us: int) -> AsyncIterator[Entry]:
    import asyncio

    pages, lock = _pages(log, filter_, now_us), threading.Lock()

    def following() -> list[Entry] | None:
        with lock:
            return next(pages, None)

    def end() -> None:
        with lock:  # the thread of a task that was cancelled may still be reading
            pages.close()

    try:
        while (page := await asyncio.to_thread(following)) is not None:
            for entry in page:
                yield entry
    finally:
        await asyncio.shield(asyncio.to_thread(end))


def _pages(log: LogName | LogSource, filter_: Filter, now_us: int) -> Generator[list[Entry], None, None]:
    with Index.open(log) as index:
        search = Search(index, filter_, now_us)
        index.catch_up()
        yield from search.pages()


def _asked(filter_: Filter | None, members: Mapping[str, Any]) -> Filter:
    if filter_ is not None and members:
        raise QueryError("filter: give a filter or its members, not both")
    return filter_ or parse_filter(members)


def _now_us(given: int | None) -> int:
    return time.time_ns() // 1_000 if given is None else given


class _Plan:
    """How to walk the index for one page. Made and used within one snapshot."""

    def __init__(self, index: Index, matcher: Matcher, cursor: int | None) -> None:
        self._index, self._matcher, self._asked = index, matcher, matcher.filter
        self._newest_first = self._asked.newest_first
        self._low, self._high = _range(index, matcher, cursor)
        self._conditions: list[str] = []
        self._parameters: list[Any] = []
        self._ways: list[tuple[int, str, list[int]]] = [(2 * (self._high - self._low), "", [])]
        """(entries to walk, column of the index, its keys); the whole range counts twice, being wide."""
        self._possible = self._low < self._high and self._facets() and self._actor() and self._actions()

    def numbers(self) -> Iterator[int]:
        """The candidates, in order."""
        if not self._possible:
            return iter(())
        if self._asked.entry_id is not None:
            return self._walk("n FROM entries WHERE id_prefix = ?", [id_prefix(self._asked.entry_id)])
        count, column, keys = min(self._ways)
        words = self._words()
        if words and count > _FEW:
            source = "n FROM words CROSS JOIN entries ON n = words.rowid WHERE words MATCH ?"
            if not self._conditions:
                source = "words.rowid AS n FROM words WHERE words MATCH ?"
            return self._walk(source, [words], "words.rowid")
        if not column:
            return self._walk("n FROM entries WHERE 1", [])
        walks = [
            self._walk(f"n FROM entries INDEXED BY by_{column} WHERE {column} = ?", [key]) for key in keys
        ]
        return heapq.merge(*walks, reverse=self._newest_first)

    def _walk(self, source: str, parameters: list[Any], number: str = "n") -> Iterator[int]:
        conditions = [*self._conditions, f"{number} >= ? AND {number} < ?"]
        order = "DESC" if self._newest_first else "ASC"
        sql = f"SELECT {source} AND {' AND '.join(conditions)} ORDER BY {number} {order}"
        rows = self._index.read(sql, [*parameters, *self._parameters, self._low, self._high])
        return (n for (n,) in rows)

    def _facets(self) -> bool:
        """Narrow to the combinations of small members that fit. False: none does."""
        wanted = {
            f"{name} = ?": getattr(self._asked, name)
            for name in ("event_type", "event_category", "severity", "actor_type", "execution_status")
        }
        wanted["severity >= ?"] = self._asked.severity_min
        given = {condition: value for condition, value in wanted.items() if value is not None}
        if not given:
            return True
        select = f"SELECT id, entries FROM facets WHERE {' AND '.join(given)}"  # noqa: S608 - names of ours
        return self._narrow("facet", self._index.read(select, list(given.values())).fetchall())

    def _actor(self) -> bool:
        if self._asked.actor_id is None:
            return True
        rows = self._index.read("SELECT id, entries FROM actors WHERE name = ?", (self._asked.actor_id,))
        return self._narrow("actor", rows.fetchall())

    def _actions(self) -> bool:
        glob = self._matcher.glob
        if glob is None:
            return True
        if glob.is_literal:
            rows = self._index.read("SELECT id, entries FROM actions WHERE name = ?", (glob.prefix,))
            return self._narrow("action", rows.fetchall())
        names = self._index.read(
            "SELECT id, entries, name FROM actions WHERE name >= ? AND name <= ?",
            (glob.prefix, glob.prefix + "\U0010ffff" * NAME_LENGTH_MAX),
        )
        return self._narrow("action", [(key, count) for key, count, name in names if glob.matches(name)])

    def _narrow(self, column: str, counts: list[tuple[int, int]]) -> bool:
        keys = [key for key, _ in counts]
        if len(keys) <= _KEYS_MAX:
            self._ways.append((sum(count for _, count in counts), column, keys))
            self._conditions.append(f"{column} IN ({', '.join('?' * len(keys))})")
            self._parameters += keys
        return bool(keys)

    def _words(self) -> str:
        """The question to the words' index; empty if there is none. Every term is quoted, and only words."""
        matcher = self._matcher
        terms = [f"- context : {_quoted(phrase)}" for phrase in matcher.phrases]
        for column, conditions in (("payload", matcher.payload), ("context", matcher.context)):
            terms += [f"{column} : {_quoted(item.phrase)}" for item in conditions if item.phrase]
        return " AND ".join(terms)


def _quoted(phrase: list[str]) -> str:
    return f'"{" ".join(phrase)}"'


def positions(index: Index, span: Filter, now_us: int) -> tuple[int, int]:
    """[first, stop) of the sequence numbers within the filter's times. Within a snapshot."""
    return _range(index, Matcher(span, now_us), None)


def _range(index: Index, matcher: Matcher, cursor: int | None) -> tuple[int, int]:
    """Sequence numbers that cursor and times leave: timestamps never decrease along a log."""
    low, high = 0, index.size
    if cursor is not None and matcher.filter.newest_first:
        high = min(high, cursor)
    elif cursor is not None:
        low = cursor + 1
    if matcher.since is not None:
        low = max(low, _first_at(index, matcher.since))
    if matcher.until is not None:
        high = min(high, _first_at(index, matcher.until))
    return low, high


def _first_at(index: Index, timestamp: str) -> int:
    """The first entry that is not before this time."""
    low, high = 0, index.size
    while low < high:
        middle = (low + high) // 2
        select = "SELECT n, timestamp FROM entries WHERE n >= ? ORDER BY n LIMIT 1"
        row = index.read(select, (middle,)).fetchone()
        if row is not None and row[1] < timestamp:
            low = row[0] + 1
        else:
            high = middle
    return low
