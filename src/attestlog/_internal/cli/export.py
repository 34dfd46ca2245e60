"""`attestlog export`: entries as the exact lines of the log, or as CSV."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, TextIO

from attestlog._internal.cli import options, spreadsheet
from attestlog._internal.cli.output import Output, replacing
from attestlog._internal.cli.verbs import UsageError, example, new_app
from attestlog._internal.storage.contract import LogSource
from attestlog._internal.storage.resolve import open_source

app = new_app()


@app.command(epilog=example("attestlog export audit --format csv -o audit.csv"))
def export(
    log: options.LogArgument,
    *,
    form: Annotated[
        str, options.text("jsonl (the exact lines) or csv.", "--format", metavar="FORMAT")
    ] = "jsonl",
    output: Annotated[
        Path | None, options.text("Write here, whole or not at all.", "-o", "--output", metavar="FILE")
    ] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Write every entry out, as it is stored: as JSON lines byte for byte, or as CSV.

    In CSV every member is a column. Cells that a spreadsheet would take for a formula, and cells that
    start with an apostrophe, get one apostrophe in front.
    """
    if form not in _WRITERS:
        raise UsageError(f"--format is {form!r}, want jsonl or csv")
    if as_json and output is None:
        raise UsageError("--json describes an export to a file: name it with -o")
    source = open_source(log)
    if output is None:
        _WRITERS[form](source, sys.stdout)
        return
    with replacing(output) as file:
        size = _WRITERS[form](source, file)
    out = Output(as_json)
    if out.as_json:
        out.emit("export", {"path": str(output), "format": form, "size": size})
    else:
        out.text(f"{size} entries written to {output}")


def _write_lines(log: LogSource, file: TextIO) -> int:
    count = 0
    for line in log.lines():
        file.buffer.write(line + b"\n")
        count += 1
    return count


def _write_csv(log: LogSource, file: TextIO) -> int:
    spreadsheet.write_heading(file)
    count = 0
    for entry in log.entries():
        spreadsheet.write_entry(file, entry)
        count += 1
    return count


_WRITERS: Final[dict[str, Callable[[LogSource, TextIO], int]]] = {"jsonl": _write_lines, "csv": _write_csv}
