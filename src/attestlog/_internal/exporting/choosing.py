"""Which entries are exported: a query's filter, over the log's own lines, in the log's order.

It reads the log and no index: an export leaves nothing behind, and gives the lines as they are. Entries
before `since` are not read, because timestamps never go back along a log. A payload that an entry says is
erased, and that a crash left in the log, is erased in what is read here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.erasure import AnyErasure, erase_line, erasure_of, read_stored
from attestlog._internal.core.reserved import erases
from attestlog._internal.exporting.contract import Exported
from attestlog._internal.query.filter import Filter, Matcher, Searchable
from attestlog._internal.storage.contract import LogSource
from attestlog.errors import CorruptError, HashMismatchError, MalformedEntryError, QueryError

ALL: Final = Filter(newest_first=False)
"""Every entry."""

_searchable: Final = msgspec.json.Decoder(Searchable)


class Choice:
    """Entries of one log: numbers from `start` up to `stop`, and among them those that a filter asks for."""

    def __init__(self, filter_: Filter, now_us: int, *, start: int = 0, stop: int | None = None) -> None:
        """Raises QueryError for what cannot be asked."""
        if start < 0 or (stop is not None and stop < start):
            raise QueryError(f"entries {start} up to {stop} are not a range", member="start")
        self._matcher = Matcher(filter_, now_us)
        self.filter, self.start, self.stop = filter_, start, stop
        asked = msgspec.structs.asdict(msgspec.structs.replace(filter_, limit=None, newest_first=False))
        self.is_range = asked == msgspec.structs.asdict(ALL)
        """Whether it is all entries of the range: then none needs to be decoded to be chosen."""

    def matches(self, item: Exported) -> bool:
        """Whether the filter asks for this entry; its number and the limit are not looked at."""
        return self._matcher.matches(item.entry, self._columns(item.line))

    def lines(self, log: LogSource, stop: int) -> Iterator[bytes]:
        """The lines of a range, not decoded, up to the limit. `is_range` must hold."""
        assert self.is_range
        limit = self.filter.limit
        stop = stop if limit is None else min(stop, self.start + limit)
        yield from (line for _, line in _lines(log, self.start, stop))

    def entries(self, log: LogSource, stop: int) -> Iterator[Exported]:
        """The entries chosen, up to the limit, of those before `stop`. Raises CorruptError, StorageError."""
        left = self.filter.limit
        until = self._matcher.until
        for item in read(log, self._first(log, stop), stop):
            if left == 0 or (until is not None and item.entry.timestamp >= until):
                return
            if self.matches(item):
                left = None if left is None else left - 1
                yield item

    def end(self, log: LogSource) -> int:
        """Where the range ends in the log as it is now. Raises CorruptError where its end was cut off."""
        log.check_complete()
        size = log.size()
        return size if self.stop is None else min(size, self.stop)

    def _columns(self, line: bytes) -> Any:
        return _searchable.decode(line) if self._matcher.phrases else None

    def _first(self, log: LogSource, stop: int) -> int:
        """The first entry of the range that is not before `since`, by bisection."""
        low, high, since = self.start, max(self.start, stop), self._matcher.since
        while since is not None and low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if log.entry(middle).timestamp < since else (low, middle)
        return low


def read(log: LogSource, start: int, stop: int) -> Iterator[Exported]:
    """Each line with its entry. Raises CorruptError at a line that is no entry."""
    for number, line in _lines(log, start, stop):
        try:
            entry = decode_line(line)
        except MalformedEntryError as error:
            raise CorruptError(
                f"line {number} is not an entry: {error}", path=log.where, sequence_number=number
            ) from None
        yield Exported(line, entry)


def _lines(log: LogSource, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """Each line with its number, without a payload that is to be erased and is still there."""
    erasure = _unfinished(log)
    for number, line in enumerate(log.lines(start, max(start, stop)), start):
        yield number, line if erasure is None or number not in erasure.reach else _erased(erasure, line)


def _unfinished(log: LogSource) -> AnyErasure | None:
    """An erasure that an entry of the log states and that is not done yet."""
    pending = log.pending_erasure()
    if pending is None or pending.erased_by >= log.size():
        return None
    entry = log.entry(pending.erased_by)
    if entry.entry_hash != pending.entry_hash or not erases(entry):
        return None
    return erasure_of(entry)


def _erased(erasure: AnyErasure, line: bytes) -> bytes:
    try:
        return erase_line(line) if erasure.takes(read_stored(line)) else line
    except (MalformedEntryError, HashMismatchError):
        return line  # damaged: which entry it is cannot be told
