"""`attestlog archive`: closed segments moved to cheaper storage, and brought back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.tables import print_table
from attestlog._internal.cli.verbs import UsageError, example, new_app

app = new_app()


@app.command(
    epilog=example("attestlog archive audit --to /mnt/cold --compress", "attestlog archive audit --restore")
)
def archive(
    log: options.LogArgument,
    *,
    to: Annotated[Path | None, options.text("Move closed segments to this folder.", metavar="DIR")] = None,
    keep: Annotated[int, typer.Option(min=2, help="Newest segments that stay.")] = 2,
    compress: Annotated[bool, options.flag("Compress them (gzip).", "--compress")] = False,
    restore: Annotated[bool, options.flag("Bring segments back.", "--restore")] = False,
    number: Annotated[
        list[int] | None,
        typer.Option("--entry", min=0, metavar="N", help="With --restore: only the segment of this entry."),
    ] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Move closed segments elsewhere, or bring them back; without options, say where each segment is.

    A link stays in the log. While it leads to the segment nothing changes; while it does not, `verify`
    says what was not there (exit 4), and reading, appending and proving go on with the rest.
    """
    from attestlog._internal.storage.files.archive import archive_segments, placed_segments, restore_segments

    if restore if to is not None else compress:
        raise UsageError("--to and --restore exclude each other, and --compress goes with --to")
    if number and not restore:
        raise UsageError("--entry goes with --restore")
    root = Path(log)
    if to is not None:
        archive_segments(root, to, keep=keep, compress=compress)
    elif restore:
        restore_segments(root, number)
    out, placed = Output(as_json), placed_segments(root)
    if out.as_json:
        for segment in placed:
            out.emit("segment", {"first": segment.first, "state": segment.state, "path": str(segment.path)})
        return
    rows = [(segment.first, str(segment.state), str(segment.path)) for segment in placed]
    print_table(out, ("first entry", "state", "path"), rows, right=("first entry",), shrinks="path")
