"""`attestlog bundle`: some entries with all that it takes to check them, in one file."""
# ruff: noqa: ARG001 - the filters are read from the context, by the names of a Filter's members

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attestlog._internal.cli import filters, options
from attestlog._internal.cli.output import Output, notice
from attestlog._internal.cli.verbs import example, new_app

if TYPE_CHECKING:
    from attestlog._internal.explorer.bundling import Bundling
    from attestlog._internal.storage.contract import LogSource

app = new_app()

OutputOption = Annotated[Path, options.text("File to write.", "--output", "-o", metavar="FILE")]
StartOption = Annotated[int, options.text("First entry; default: 0.", "--start", metavar="N")]
StopOption = Annotated[
    int | None, options.text("Entry to stop before; default: the end.", "--stop", metavar="N")
]
LimitOption = Annotated[int | None, options.text("Most entries to write.", "--limit", metavar="N")]


@app.command(epilog=example("attestlog bundle audit --since 7d --actor-id agent-7 -o agent-7.bundle"))
def bundle(
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
    """Write entries that match every filter to one file, with proofs, keys, checkpoint and time stamps.

    `attestlog verify FILE --trust KEY` checks the file anywhere, without the log. Entries that the log's
    checkpoint does not cover yet are left out: `attestlog checkpoint LOG` signs a new one.
    """
    from attestlog._internal import disk

    bundling = choose(context, log, start, stop, limit)
    with disk.replacing(output) as descriptor, open(descriptor, "wb", closefd=False) as file:
        file.writelines(bundling.lines())
        _check(bundling)
    out = Output(as_json)
    if as_json:
        out.emit("bundle", facts(bundling, output))
    tell(out, "bundle", bundling, output)


def choose(context: typer.Context, log: str, start: int, stop: int | None, limit: int | None) -> Bundling:
    """What the options choose of a log."""
    import time

    from attestlog._internal.explorer.bundling import Bundling
    from attestlog._internal.exporting.choosing import Choice
    from attestlog._internal.query.filter import parse_filter
    from attestlog._internal.storage.resolve import open_source

    members = filters.members(context) | {"newest_first": False}
    if limit is not None:
        members["limit"] = limit
    choice = Choice(parse_filter(members), time.time_ns() // 1_000, start=start, stop=stop)
    return Bundling(open_source(log), choice)


def _check(bundling: Bundling) -> None:
    from attestlog._internal.explorer.bundling import check_found

    check_found(bundling)


def facts(bundling: Bundling, output: Path) -> dict[str, Any]:
    """What was written, for programs."""
    return {"path": str(output), "size": bundling.entries, "uncovered": bundling.uncovered}


def tell(out: Output, kind: str, bundling: Bundling, output: Path) -> None:
    """What was written, for people; and note it as an export, so that `erase` names where payloads went."""
    if not out.as_json:
        out.text(f"{bundling.entries} entries written to {output}")
    if bundling.uncovered:
        notice(
            f"{bundling.uncovered} entries were left out: no checkpoint covers them yet, attestlog checkpoint"
            " signs one"
        )
    first, last = bundling.numbers[0], bundling.numbers[-1]
    note(bundling.source, kind, output, start=first, stop=last + 1, entries=bundling.entries)


def note(source: LogSource, kind: str, output: Path, *, start: int, stop: int, entries: int) -> None:
    """Note where entries went, so that `erase` names it."""
    from attestlog._internal.config import identity
    from attestlog._internal.exporting.made import note_export
    from attestlog.errors import AttestlogError

    try:
        genesis, to = identity(source).genesis, str(output.absolute())
        note_export(genesis, to=to, form=kind, start=start, stop=stop, entries=entries)
    except AttestlogError as error:
        notice(f"attestlog erase will not name this file, because it could not be noted: {error}")
