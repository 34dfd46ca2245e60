"""Figures about a log, computed from its index: good for a picture, not for evidence."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any, Final

from msgspec import Struct

from attestlog._internal.core.entry import PILLARS
from attestlog._internal.query.filter import Filter
from attestlog._internal.query.index import Index
from attestlog._internal.query.search import positions
from attestlog._internal.storage.contract import LogSource
from attestlog._internal.storage.resolve import LogName

TOP_ACTORS: Final = 10
"""Actors that are listed unless more are asked for."""

TOP_ACTORS_MAX: Final = 10_000
"""Actors that are listed at most: bounds the reply where every entry has an actor of its own."""

_FIGURES: Final = ", ".join([
    "count(*)", "sum(size_bytes + 1)",
    "sum(facet IN (SELECT id FROM facets WHERE event_type = 'VIOLATION'))",
    "avg(composite)", *(f"avg({pillar})" for pillar in PILLARS),
])  # fmt: skip


class Averages(Struct, frozen=True):
    """Mean scores over the entries that have them; None where none has."""

    composite: float | None
    an_toan: float | None
    duong_dai: float | None
    tin_vao_so_lieu: float | None
    han_che_rui_ro: float | None


class Day(Struct, frozen=True):
    """One day, UTC, that has entries."""

    day: str
    entries: int
    size_bytes: int
    violations: int
    averages: Averages


class ActorStats(Struct, frozen=True):
    """One actor."""

    actor_id: str
    entries: int
    size_bytes: int
    violations: int
    averages: Averages


class Stats(Struct, frozen=True, kw_only=True):
    """Figures over the entries of a span of time, or all."""

    entries: int
    size_bytes: int
    """Of their lines, with line ends."""
    first_timestamp: str | None
    last_timestamp: str | None
    violations: int
    by_event_type: dict[str, int]
    by_event_category: dict[str, int]
    by_severity: dict[str, int]
    by_actor_type: dict[str, int]
    by_execution_status: dict[str, int]
    averages: Averages
    days: list[Day]
    """Oldest first."""
    actor_count: int
    top_actors: list[ActorStats]
    """Those with most entries, most first."""
    unreadable: int
    """Lines of the whole log that are not entries: verify it."""


def stats(
    log: LogName | LogSource,
    *,
    since: str | None = None,
    until: str | None = None,
    top: int = TOP_ACTORS,
    now_us: int | None = None,
) -> Stats:
    """Figures about the log in this directory. Times as in `Filter`. Raises QueryError for a bad one."""
    span = Filter(since=since, until=until)
    now_us = time.time_ns() // 1_000 if now_us is None else now_us
    with Index.open(log) as index:
        index.catch_up()
        return index_stats(index, span, now_us, top)


def index_stats(index: Index, span: Filter, now_us: int, top: int = TOP_ACTORS) -> Stats:
    """Figures over what is within `since` and `until` of the filter, from an index that is caught up."""
    top = min(max(top, 0), TOP_ACTORS_MAX)
    return index.snapshot(lambda: _stats(index, *positions(index, span, now_us), top))


def _stats(index: Index, low: int, high: int, top: int) -> Stats:
    span = (low, high)
    first, last, entries, size_bytes, violations, *averages = _read(
        index, span, "min(timestamp), max(timestamp)"
    )[0]
    days = _read(index, span, "substr(timestamp, 1, 10)", "GROUP BY 1 ORDER BY 1")
    actors = _read(
        index,
        span,
        "(SELECT name FROM actors WHERE id = actor)",
        f"GROUP BY actor ORDER BY 2 DESC, 1 LIMIT {top:d}",
    )
    actor_count = index.read(
        "SELECT count(DISTINCT actor) FROM entries WHERE n >= ? AND n < ?", span
    ).fetchone()
    unreadable = index.read("SELECT count(*) FROM unreadable").fetchone()
    counts = _facet_counts(index, span)
    return Stats(
        entries=entries,
        size_bytes=size_bytes or 0,
        first_timestamp=first,
        last_timestamp=last,
        violations=violations or 0,
        by_event_type=counts["event_type"],
        by_event_category=counts["event_category"],
        by_severity=counts["severity"],
        by_actor_type=counts["actor_type"],
        by_execution_status=counts["execution_status"],
        averages=Averages(*averages),
        days=[Day(key, *_figures(row)) for key, *row in days],
        actor_count=actor_count[0],
        top_actors=[ActorStats(key, *_figures(row)) for key, *row in actors],
        unreadable=unreadable[0],
    )


def _figures(row: list[Any]) -> tuple[int, int, int, Averages]:
    entries, size_bytes, violations, *scores = row
    return entries, size_bytes, violations, Averages(*scores)


def _read(index: Index, span: tuple[int, int], key: str, grouping: str = "") -> list[Any]:
    """Rows of the key's columns, then the figures."""
    select = f"SELECT {key}, {_FIGURES} FROM entries WHERE n >= ? AND n < ? {grouping}"  # noqa: S608 - ours
    return index.read(select, span).fetchall()


def _facet_counts(index: Index, span: tuple[int, int]) -> dict[str, dict[str, int]]:
    names = ("event_type", "event_category", "severity", "actor_type", "execution_status")
    counts: dict[str, dict[str, int]] = {name: defaultdict(int) for name in names}
    rows = index.read(
        "SELECT event_type, event_category, severity, actor_type, execution_status, total FROM facets JOIN"
        " (SELECT facet, count(*) AS total FROM entries INDEXED BY by_facet"
        " WHERE n >= ? AND n < ? GROUP BY facet) ON facet = id",
        span,
    )
    for *values, total in rows:
        for name, value in zip(names, values, strict=True):
            counts[name][str(value)] += total
    return {name: dict(values) for name, values in counts.items()}
