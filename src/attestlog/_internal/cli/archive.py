"""`attestlog archive`: closed segments moved to cheaper storage, and brought back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.output import Output, print_table
from attestlog._internal.cli.verbs import example, new_group

app = new_group("archive")

_ON_POSTGRES = "all entries stay in the database's tables"


@app.command(epilog=example("attestlog archive status audit"))
def status(log: options.LogArgument, *, as_json: options.JsonOption = False) -> None:
    """Show where each segment is."""
    _show(log, Output(as_json))


@app.command(epilog=example("attestlog archive move audit /mnt/cold --compress"))
def move(
    log: options.LogArgument,
    folder: Annotated[Path, options.argument("DIR", "Folder to move segments to.")],
    *,
    keep: Annotated[int, typer.Option(min=2, help="How many of the newest segments stay.", metavar="N")] = 2,
    compress: Annotated[bool, options.flag("Compress them (gzip).", "--compress")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Move closed segments to another folder.

    It then shows where each segment is. A link stays in the log. While it leads to the segment, nothing
    changes. While it does not, `verify` lists the segments that it could not read (exit code 4); reading,
    appending and proving work with the rest. Compressed segments must be brought back before they are read.
    """
    from attestlog._internal.storage.files.archive import archive_segments
    from attestlog._internal.storage.resolve import directory

    archive_segments(directory(log, _ON_POSTGRES), folder, keep=keep, compress=compress)
    _show(log, Output(as_json))


@app.command(
    epilog=example("attestlog archive restore audit", "attestlog archive restore audit --entry 70000")
)
def restore(
    log: options.LogArgument,
    *,
    number: Annotated[
        list[int] | None,
        typer.Option(
            "--entry", min=0, metavar="N", help="Only the segment that holds this entry; repeatable."
        ),
    ] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Bring archived segments back into the log.

    It then shows where each segment is.
    """
    from attestlog._internal.storage.files.archive import restore_segments
    from attestlog._internal.storage.resolve import directory

    restore_segments(directory(log, _ON_POSTGRES), number)
    _show(log, Output(as_json))


def _show(log: str, out: Output) -> None:
    from attestlog._internal.storage.files.archive import placed_segments
    from attestlog._internal.storage.resolve import directory

    placed = placed_segments(directory(log, _ON_POSTGRES))
    if out.as_json:
        for segment in placed:
            out.emit("segment", {"first": segment.first, "state": segment.state, "path": str(segment.path)})
        return
    rows = [(segment.first, str(segment.state), str(segment.path)) for segment in placed]
    print_table(out, ("first entry", "state", "path"), rows, right=("first entry",), shrinks="path")
