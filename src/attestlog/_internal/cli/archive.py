"""`attestlog archive`: closed segments moved to cheaper storage, and brought back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.output import Output, print_table
from attestlog._internal.cli.verbs import UsageError, example, new_group

app = new_group("archive")

_ON_POSTGRES = "all entries stay in the database's tables"


@app.command(epilog=example("attestlog archive status audit"))
def status(log: options.LogArgument, *, as_json: options.JsonOption = False) -> None:
    """Show where each segment is."""
    _show(log, Output(as_json))


@app.command(
    epilog=example(
        "attestlog archive move audit /mnt/cold --compress",
        "attestlog archive move audit s3://example-cold/logs",
    )
)
def move(
    log: options.LogArgument,
    place: Annotated[str, options.argument("DIR|URL", "Folder to move segments to; or s3://BUCKET/PREFIX.")],
    *,
    keep: Annotated[int, typer.Option(min=2, help="How many of the newest segments stay.", metavar="N")] = 2,
    compress: Annotated[bool, options.flag("Compress them (gzip).", "--compress")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Move closed segments to another folder, or to a bucket.

    It then shows where each segment is. A link stays in the log. While it leads to the segment, nothing
    changes. While it does not, `verify` lists the segments that it could not read (exit code 4); reading,
    appending and proving work with the rest. Segments compressed with --compress must be brought back before
    they are read. In a bucket they are always compressed (zstd), and read from there, an entry at a time.
    """
    from attestlog._internal.storage.files.archive import archive_segments
    from attestlog._internal.storage.resolve import directory, is_url

    root = directory(log, _ON_POSTGRES)
    if not is_url(place):
        archive_segments(root, Path(place), keep=keep, compress=compress)
    else:
        if compress:
            raise UsageError("--compress is for folders: in a bucket segments are always compressed")
        from attestlog._internal.storage.objects.archiving import archive_to_bucket

        archive_to_bucket(root, place, keep=keep)
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
    remove: Annotated[
        bool, options.flag("Delete them from the bucket afterwards; for erasing payloads.", "--remove")
    ] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Bring archived segments back into the log.

    It then shows where each segment is.
    """
    from attestlog._internal.storage.files.archive import State, placed_segments, restore_segments
    from attestlog._internal.storage.resolve import directory

    root = directory(log, _ON_POSTGRES)
    restore_segments(root, number)
    if remove or any(segment.state is State.BUCKET for segment in placed_segments(root)):
        from attestlog._internal.storage.objects.archiving import restore_from_buckets

        restore_from_buckets(root, number, remove=remove)
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
