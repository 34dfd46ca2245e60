"""`attestlog query`: the entries that fit."""
# ruff: noqa: ARG001 - the filters are read from the context, by the names of a Filter's members

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any, Final

import typer

from attestlog._internal.cli.entries import FORMATS, print_entries
from attestlog._internal.cli.options import JsonOption, LogArgument, choice, flag, text
from attestlog._internal.cli.output import Output, notice
from attestlog._internal.cli.verbs import UsageError, example, new_app
from attestlog._internal.core.entry import ActorType, EventCategory, EventType, ExecutionStatus

app = new_app()

TABLE_LIMIT: Final = 100
"""Entries a table shows unless told otherwise: what a person looks through."""


FILTERS: Final = (
    "event_type", "event_category", "severity", "severity_min", "actor_type", "actor_id", "action_type",
    "execution_status", "since", "until", "text", "cursor",
)  # fmt: skip


@app.command(epilog=example("attestlog query audit --event-type VIOLATION --since 7d --payload task_id=T-7"))
def query(
    context: typer.Context,
    log: LogArgument,
    *,
    event_type: Annotated[EventType | None, choice(EventType, "What happened.")] = None,
    event_category: Annotated[EventCategory | None, choice(EventCategory, "How much it matters.")] = None,
    severity: Annotated[int | None, text("Exactly this.", metavar="N")] = None,
    severity_min: Annotated[int | None, text("This or more.", metavar="N")] = None,
    actor_type: Annotated[ActorType | None, choice(ActorType, "What kind of actor.")] = None,
    actor_id: Annotated[str | None, text("Who.")] = None,
    action_type: Annotated[str | None, text("What; * is any characters, ? one.", metavar="GLOB")] = None,
    execution_status: Annotated[ExecutionStatus | None, choice(ExecutionStatus, "How it ended.")] = None,
    since: Annotated[str | None, text("From: RFC 3339, or 45s, 30m, 2h, 7d, 1w ago.", metavar="TIME")] = None,
    until: Annotated[str | None, text("Before: as --since.", metavar="TIME")] = None,
    text: Annotated[str | None, text("Words in names, payload, result or error.", metavar="WORDS")] = None,
    payload: Annotated[list[str] | None, text("A payload member's value.", metavar="PATH=VALUE")] = None,
    limit: Annotated[int | None, text("At most so many; a table has 100 if not told.", metavar="N")] = None,
    cursor: Annotated[int | None, text("Go on after this entry, in the same order.", metavar="N")] = None,
    oldest_first: Annotated[bool, flag("Newest first otherwise.", "--oldest-first")] = False,
    form: Annotated[str, text("table, json or csv.", "--format", metavar="FORMAT")] = "table",
    as_json: JsonOption = False,
) -> None:
    """Find entries; every filter given must hold. They are read from the log as stored, not verified.

    Where there are more than --limit, stderr (with JSON a last object, of type page) says how to go on.
    """
    from attestlog._internal.cli.indexing import catch_up
    from attestlog._internal.query import parse_condition, query_log

    form = "json" if as_json else form
    if form not in FORMATS or (limit is not None and limit < 1):
        raise UsageError("--format is table, json or csv; --limit is at least 1")
    limit = TABLE_LIMIT if limit is None and form == "table" else limit
    members: dict[str, Any] = {name: value for name in FILTERS if (value := context.params[name]) is not None}
    members |= {"newest_first": not oldest_first, "payload": dict(map(parse_condition, payload or []))}
    if limit is not None:
        members["limit"] = limit + 1  # one more than is shown tells whether there are more
    catch_up(log)
    found = query_log(log, **members)
    last = print_entries(form, islice(found, limit))
    if next(found, None) is None:
        return
    if form == "json":
        Output(as_json=True).emit("page", {"next_cursor": last})
    else:
        notice(f"there are more: --cursor {last} goes on")
