"""`attestlog query`: the entries that match every filter."""
# ruff: noqa: ARG001 - the filters are read from the context, by the names of a Filter's members

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any, Final

import typer

from attestlog._internal.cli.options import JsonOption, LogArgument, choice, flag, text
from attestlog._internal.cli.output import Output, notice
from attestlog._internal.cli.verbs import UsageError, example, new_app
from attestlog._internal.core.entry import ActorType, EventCategory, EventType, ExecutionStatus

app = new_app()

TABLE_LIMIT: Final = 100
"""Entries that a table shows by default: what a person looks through."""

FILTERS: Final = (
    "event_type", "event_category", "severity", "severity_min", "actor_type", "actor_id", "action_type",
    "execution_status", "since", "until", "text", "cursor",
)  # fmt: skip


@app.command(epilog=example("attestlog query audit --event-type VIOLATION --since 7d --payload task_id=T-7"))
def query(
    context: typer.Context,
    log: LogArgument,
    *,
    event_type: Annotated[EventType | None, choice(EventType, "What kind of event.")] = None,
    event_category: Annotated[EventCategory | None, choice(EventCategory, "How serious.")] = None,
    severity: Annotated[int | None, text("Severity exactly N.", metavar="N")] = None,
    severity_min: Annotated[int | None, text("Severity N or more.", metavar="N")] = None,
    actor_type: Annotated[ActorType | None, choice(ActorType, "What kind of actor.")] = None,
    actor_id: Annotated[str | None, text("Name or id of the actor.", metavar="ID")] = None,
    action_type: Annotated[
        str | None, text("The action; * matches any characters, ? one.", metavar="GLOB")
    ] = None,
    execution_status: Annotated[ExecutionStatus | None, choice(ExecutionStatus, "How it ended.")] = None,
    since: Annotated[
        str | None, text("Start: RFC 3339, or 45s, 30m, 2h, 7d, 1w ago.", metavar="TIME")
    ] = None,
    until: Annotated[str | None, text("End (exclusive), as --since.", metavar="TIME")] = None,
    text: Annotated[str | None, text("Words in names, payload, result or error.", metavar="WORDS")] = None,
    payload: Annotated[
        list[str] | None, text("Value of a payload member; repeatable.", metavar="PATH=VALUE")
    ] = None,
    limit: Annotated[int | None, text("Most entries to show; default: 100 in a table.", metavar="N")] = None,
    cursor: Annotated[int | None, text("Continue after this entry, in the same order.", metavar="N")] = None,
    oldest_first: Annotated[bool, flag("Oldest first; default: newest first.", "--oldest-first")] = False,
    form: Annotated[str, text("table, json or csv; default: table.", "--format", metavar="FORMAT")] = "table",
    as_json: JsonOption = False,
) -> None:
    """Find entries that match every filter. They are shown as the log stores them, not verified.

    If there are more than --limit, stderr says how to continue; with JSON, a last object of type page does.
    """
    from attestlog._internal.cli.entries import FORMATS, print_entries
    from attestlog._internal.cli.opening import catch_up
    from attestlog._internal.query import parse_condition, query_log

    form = "json" if as_json else form
    if form not in FORMATS or (limit is not None and limit < 1):
        raise UsageError("--format must be table, json or csv; --limit must be at least 1")
    limit = TABLE_LIMIT if limit is None and form == "table" else limit
    members: dict[str, Any] = {name: value for name in FILTERS if (value := context.params[name]) is not None}
    conditions = dict(map(parse_condition, payload or []))
    if len(conditions) < len(payload or []):
        raise UsageError("--payload is given twice for one member: no entry has both values")
    members |= {"newest_first": not oldest_first, "payload": conditions}
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
        notice(f"there are more entries: --cursor {last} shows the next ones")
