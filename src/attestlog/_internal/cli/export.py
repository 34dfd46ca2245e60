"""`attestlog export`: entries as the exact lines of the log, or as CSV."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Final, TextIO

from attestlog._internal.cli import options
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import UsageError, example, new_app

if TYPE_CHECKING:
    from attestlog._internal.storage.contract import LogSource

app = new_app()

FORMATS: Final = ("jsonl", "csv")


@app.command(epilog=example("attestlog export audit --format csv -o audit.csv"))
def export(
    log: options.LogArgument,
    *,
    form: Annotated[
        str, options.text("jsonl (the exact lines) or csv; default: jsonl.", "--format", metavar="FORMAT")
    ] = "jsonl",
    output: options.OutputOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Write every entry, as the log stores it: as JSON lines, byte for byte, or as CSV.

    In CSV every member is a column. Cells that a spreadsheet would take for a formula, and cells that start
    with an apostrophe, get one apostrophe in front.
    """
    from attestlog._internal.cli.files import replacing
    from attestlog._internal.storage.resolve import open_source

    if form not in FORMATS:
        raise UsageError(f"--format is {form!r}, want jsonl or csv")
    if as_json and output is None:
        raise UsageError("--json describes an export to a file: add -o FILE")
    source = open_source(log)
    if output is None:
        _write(form, source, sys.stdout)
        return
    with replacing(output) as file:
        size = _write(form, source, file)
    out = Output(as_json)
    if out.as_json:
        out.emit("export", {"path": str(output), "format": form, "size": size})
    else:
        out.text(f"{size} entries written to {output}")


def _write(form: str, source: LogSource, file: TextIO) -> int:
    """How many entries were written."""
    from attestlog._internal.cli.entries import write_csv_entry, write_csv_heading

    count = 0
    if form == "csv":
        write_csv_heading(file)
        for entry in source.entries():
            write_csv_entry(file, entry)
            count += 1
    else:
        for line in source.lines():
            file.buffer.write(line + b"\n")
            count += 1
    return count
