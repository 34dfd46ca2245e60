"""Retention: which payloads are old enough to go, in ranges that leave out what must stay.

An erasure of many goes as a whole (`erasing`): one payload under a hold keeps all of its range. So what is
old is cut where a payload must stay, and at the ends of segments, which bounds how long writers wait for one.
What is planned decides nothing: each erasure is judged again when it is made, by the rules in force then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from attestlog._internal.core.entry import format_timestamp, parse_timestamp
from attestlog._internal.core.erasure import Limits, RangeErasure, Stored, taken
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.uses import search_start
from attestlog._internal.storage.contract import LogSource
from attestlog.errors import ErasureRefusedError, NotFoundError

RANGES_MAX: Final = 1_000
"""Of one run: each is an entry of the log. The next run goes on."""

_NO_HASH: Final = "0" * 64


class Due(Struct, frozen=True, kw_only=True):
    """Payloads that may go together."""

    start: int
    stop: int
    """One past the last of them."""
    count: int


class Retention(Struct, frozen=True, kw_only=True):
    """What is old enough in a log, and what becomes of it."""

    stop: int
    """The first entry that is too young."""
    due: list[Due]
    kept: dict[str, int]
    """Payloads that are old enough and stay, by why: `hold`, `policy`, `kept` (the log needs them)."""
    is_cut: bool
    """Whether there was more than one run does."""

    @property
    def count(self) -> int:
        """Payloads that go."""
        return sum(due.count for due in self.due)


def plan_retention(
    source: LogSource,
    rules: Rules,
    *,
    action_types: Sequence[str],
    before_us: int,
    now_us: int,
    legal_basis: str | None = None,
    start: int = 0,
) -> Retention:
    """What is to go of the entries from `start` on; reads those up to the first that is too young.

    `action_types`: globs. `before_us`: only entries from before this time, in microseconds since 1970.
    `rules`: those in force, with the legal holds. Raises MalformedEntryError, NotFoundError, StorageError.
    """
    size = source.size()
    if start > size:
        raise NotFoundError(f"no entry {start}: the log has {size}", path=source.where, sequence_number=start)
    stop = search_start(size, lambda number: parse_timestamp(source.entry(number).timestamp), before_us)
    wanted = RangeErasure(
        start=start, stop=max(stop, start + 1), action_types=list(action_types), count=1,
        last_entry_hash=_NO_HASH, reason="retention", legal_basis=legal_basis,
    )  # fmt: skip
    limits = Limits.of(rules, wanted, format_timestamp(now_us))
    segment = source.genesis().settings.segment_entries
    due: list[Due] = []
    kept: Counter[str] = Counter()
    last: Due | None = None
    for stored in _present(source, wanted, start, stop):
        number = stored.sequence_number
        try:
            limits.check_stored(stored)
        except ErasureRefusedError as error:
            kept[error.rule] += 1
            last = None
            continue
        if last is not None and number // segment == last.start // segment:
            due[-1] = last = msgspec.structs.replace(last, stop=number + 1, count=last.count + 1)
        elif len(due) == RANGES_MAX:
            return Retention(stop=number, due=due, kept=dict(kept), is_cut=True)
        else:
            last = Due(start=number, stop=number + 1, count=1)
            due.append(last)
    return Retention(stop=max(stop, start), due=due, kept=dict(kept), is_cut=False)


def _present(source: LogSource, wanted: RangeErasure, start: int, stop: int) -> Iterator[Stored]:
    if stop > start:
        for _, stored in taken(wanted, source.lines(start, stop)):
            if stored.has_payload:
                yield stored
