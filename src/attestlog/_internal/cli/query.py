"""`attestlog query`: the entries that match every filter."""
# ruff: noqa: ARG001 - the filters are read from the context, by the names of a Filter's members

from __future__ import annotations

from itertools import islice
from typing import Annotated, Final

import typer

from attestlog._internal.cli import filters
from attestlog._internal.cli.options import JsonOption, LogArgument, flag, text
from attestlog._internal.cli.output import Output, notice
from attestlog._internal.cli.verbs import UsageError, example, new_app

app = new_app()

TABLE_LIMIT: Final = 100
"""Entries that a table shows by default: what a person looks through."""


@app.command(epilog=example("attestlog query audit --event-type VIOLATION --since 7d --payload task_id=T-7"))
def query(
    context: typer.Context,
    log: LogArgument,
    *,
    event_type: filters.EventTypeOption = None,
    event_category: filters.EventCategoryOption = None,
    severity: filters.SeverityOption = None,
    severity_min: filters.SeverityMinOption = None,
    actor_type: filters.ActorTypeOption = None,
    actor_id: filters.ActorIdOption = None,
    action_type: filters.ActionTypeOption = None,
    execution_status: filters.ExecutionStatusOption = None,
    since: filters.SinceOption = None,
    until: filters.UntilOption = None,
    text: filters.TextOption = None,
    payload: filters.PayloadOption = None,
    actor_context: filters.ContextOption = None,
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
    from attestlog._internal.query import query_log

    form = "json" if as_json else form
    if form not in FORMATS or (limit is not None and limit < 1):
        raise UsageError("--format must be table, json or csv; --limit must be at least 1")
    limit = TABLE_LIMIT if limit is None and form == "table" else limit
    members = filters.members(context) | {"newest_first": not oldest_first}
    if cursor is not None:
        members["cursor"] = cursor
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
