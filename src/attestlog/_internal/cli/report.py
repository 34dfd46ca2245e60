"""`attestlog report`: what was done, by whom, as one HTML file that checks itself."""
# ruff: noqa: ARG001 - the filters are read from the context, by the names of a Filter's members

from __future__ import annotations

from typing import Final

import typer

from attestlog._internal.cli import filters, options
from attestlog._internal.cli.bundle import (
    LimitOption,
    OutputOption,
    StartOption,
    StopOption,
    choose,
    facts,
    tell,
)
from attestlog._internal.cli.output import Output, notice
from attestlog._internal.cli.verbs import example, new_app

app = new_app()

ENTRIES_MAX: Final = 1_000
"""Entries in a report unless --limit says otherwise: what a browser draws within a second or two."""


@app.command(epilog=example("attestlog report audit --since 30d -o report.html"))
def report(
    context: typer.Context,
    log: options.LogArgument,
    *,
    output: OutputOption,
    start: StartOption = 0,
    stop: StopOption = None,
    limit: LimitOption = None,
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
    as_json: options.JsonOption = False,
) -> None:
    """Write the entries that match every filter as one HTML file for people, oldest first.

    The file holds entries, proofs and the verifier. A browser checks it, opened from disk, under the key that
    the reader pastes; `attestlog verify FILE --trust KEY` checks it without running it. Without --limit it
    has the first 1,000 entries that match. Entries that no checkpoint covers yet are left out.
    """
    from attestlog._internal import disk
    from attestlog._internal.explorer.bundling import check_found
    from attestlog._internal.explorer.report import format_report

    bundling = choose(context, log, start, stop, ENTRIES_MAX if limit is None else limit)
    made = b"".join(bundling.lines())
    check_found(bundling)
    with disk.replacing(output) as descriptor, open(descriptor, "wb", closefd=False) as file:
        file.write(format_report(made))
    if limit is None and bundling.entries + bundling.uncovered == ENTRIES_MAX:
        notice(f"the report has the first {ENTRIES_MAX:,} entries: --limit or filters choose others")
    out = Output(as_json)
    if as_json:
        out.emit("html_report", facts(bundling, output))
    tell(out, "report", bundling, output)
