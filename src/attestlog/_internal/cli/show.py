"""`attestlog show`: one entry."""

from __future__ import annotations

from typing import Annotated

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.entries import emit_entry, show_entry
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import UsageError, example, new_app
from attestlog._internal.core.entry import Entry
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import NotFoundError

app = new_app()


@app.command(epilog=example("attestlog show audit 5"))
def show(
    log: options.LogArgument,
    which: Annotated[str, typer.Argument(metavar="N|ENTRY_ID", help="Sequence number, or entry_id.")],
    as_json: options.JsonOption = False,
) -> None:
    """Show one entry as it is stored. It is not verified here: attestlog verify does that."""
    entry = _by_number(log, which) if which.isascii() and which.isdigit() else _by_id(log, which)
    out = Output(as_json)
    (emit_entry if out.as_json else show_entry)(out, entry)


def _by_number(log: str, which: str) -> Entry:
    # A number beyond any log's would overflow the reader's arithmetic, not be missing from the log.
    if len(which) > 16:
        raise UsageError(f"{which} is not a sequence number")
    return open_source(log).entry(int(which))


def _by_id(log: str, which: str) -> Entry:
    from attestlog._internal.query import query_log

    for entry in query_log(log, entry_id=which.lower(), limit=1):
        return entry
    raise NotFoundError(f"{log} has no entry {which}", path=log, sequence_number=None)
