"""`attestlog tail`: the last entries, and new ones as they come."""

from __future__ import annotations

from typing import Annotated

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.verbs import example, new_app

app = new_app()


@app.command(epilog=example("attestlog tail audit -n 20 -f"))
def tail(
    log: options.LogArgument,
    *,
    count: Annotated[int, typer.Option("-n", "--count", min=0, help="How many entries.", metavar="N")] = 10,
    follow: Annotated[
        bool, options.flag("Show new entries as they come, until Ctrl-C.", "-f", "--follow")
    ] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Show the last entries as the log stores them; with -f, also each new entry once it is committed."""
    from attestlog._internal.cli.entries import print_entries
    from attestlog._internal.storage.resolve import open_source

    source = open_source(log)
    source.check_complete()
    start = max(0, source.size() - count)
    entries = source.follow(start) if follow else source.entries(start)
    print_entries("json" if as_json else "table", entries, at_once=follow)
