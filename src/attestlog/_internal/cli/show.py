"""`attestlog show`: one entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from attestlog._internal.cli import options
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import UsageError, example, new_app

if TYPE_CHECKING:
    from attestlog._internal.core.entry import Entry

app = new_app()


@app.command(epilog=example("attestlog show audit 5"))
def show(
    log: options.LogArgument,
    which: Annotated[str, options.argument("N|ENTRY_ID", "Sequence number, or entry_id.")],
    as_json: options.JsonOption = False,
) -> None:
    """Show one entry as the log stores it. It is not verified; `attestlog verify` does that."""
    from attestlog._internal.cli.entries import emit_entry, show_entry
    from attestlog._internal.core.convert import read_number
    from attestlog._internal.storage.resolve import open_source

    number = read_number(which)
    if number is None and which.isdigit():
        raise UsageError(f"{which[:40]!r} is not a sequence number")
    source = open_source(log)
    entry = _by_id(log, which) if number is None else source.entry(number)
    # No verification, but a file of another log must not pass for an answer.
    source.check_own(entry, entry.sequence_number if number is None else number)
    out = Output(as_json)
    (emit_entry if out.as_json else show_entry)(out, entry)


def _by_id(log: str, which: str) -> Entry:
    from attestlog._internal.query import query_log
    from attestlog.errors import NotFoundError

    for entry in query_log(log, entry_id=which.lower(), limit=1):
        return entry
    raise NotFoundError(f"{log} has no entry {which}", path=log, sequence_number=None)
