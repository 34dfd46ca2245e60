"""`attestlog stats`: figures of a log: a summary, then a table of days and one of actors."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from attestlog._internal.cli import options
from attestlog._internal.cli.opening import catch_up
from attestlog._internal.cli.output import Output, notice, print_table
from attestlog._internal.cli.verbs import example, new_app

if TYPE_CHECKING:
    from attestlog._internal.query.stats import Stats

app = new_app()

_COUNTS: Final = ("entries", "bytes", "violations")
_SCORES: Final = ("composite", "an_toan", "duong_dai", "tin_vao_so_lieu", "han_che_rui_ro")


@app.command(epilog=example("attestlog stats audit --since 30d"))
def stats(
    log: options.LogArgument,
    *,
    since: Annotated[
        str | None, options.text("Start: RFC 3339, or 45s, 30m, 2h, 7d, 1w ago.", metavar="TIME")
    ] = None,
    until: Annotated[str | None, options.text("End (exclusive), as --since.", metavar="TIME")] = None,
    top: Annotated[int, options.text("How many actors; default: 10.", metavar="N")] = 10,
    as_json: options.JsonOption = False,
) -> None:
    """Show rates, sizes, kinds of events, the pillars day by day, and the most active actors.

    The figures come from the index, which is derived from the log: they are not evidence.
    """
    from attestlog._internal.query.stats import stats as compute

    catch_up(log)
    found, out = compute(log, since=since, until=until, top=top), Output(as_json)
    if out.as_json:
        out.emit("stats", {**msgspec.to_builtins(found), **_rates(found)})
    else:
        _show(out, found)
    if found.unreadable:
        notice(f"{found.unreadable} lines are not entries: attestlog verify LOG shows why")


def _show(out: Output, found: Stats) -> None:
    for label, value in _summary(found):
        out.text(f"{label:<11} {value}")
    for title, rows in (("day", found.days), ("actor", found.top_actors)):
        out.text()
        print_table(
            out,
            [title, *_COUNTS, *_SCORES],
            [[row[0], *_figures(row[1:])] for row in map(msgspec.structs.astuple, rows)],
            right=[*_COUNTS, *_SCORES],
            shrinks=title,
        )


def _rates(found: Stats) -> dict[str, float | None]:
    """Averages over the time between the first and the last entry."""
    first, last = found.first_timestamp, found.last_timestamp
    span_s = (
        (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()
        if first and last
        else 0
    )
    return {
        "entries_per_hour": round(found.entries / span_s * 3600, 3) if span_s else None,
        "bytes_per_entry": round(found.size_bytes / found.entries, 1) if found.entries else None,
    }


def _summary(found: Stats) -> Iterator[tuple[str, str]]:
    averages = _rates(found)
    yield (
        "entries",
        f"{found.entries:,}"
        + (f", {averages['entries_per_hour']:,} an hour" if averages["entries_per_hour"] else ""),
    )
    yield (
        "size",
        f"{found.size_bytes:,} bytes"
        + (f", {averages['bytes_per_entry']:,} an entry" if found.entries else ""),
    )
    yield "from", found.first_timestamp or "–"
    yield "to", found.last_timestamp or "–"
    yield "violations", f"{found.violations:,}"
    kinds = {
        "types": found.by_event_type,
        "categories": found.by_event_category,
        "severity": found.by_severity,
        "status": found.by_execution_status,
        "actors": {"all": found.actor_count, **found.by_actor_type},
    }
    for label, counts in kinds.items():
        yield label, ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _figures(row: tuple[Any, ...]) -> list[str | None]:
    *counts, averages = row
    scores = msgspec.structs.astuple(averages)
    return [f"{count:,}" for count in counts] + [
        None if score is None else f"{score:.2f}" for score in scores
    ]
