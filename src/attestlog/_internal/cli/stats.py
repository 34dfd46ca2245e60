"""`attestlog stats`: figures."""

from __future__ import annotations

from typing import Annotated

from attestlog._internal.cli import options
from attestlog._internal.cli.output import Output, notice
from attestlog._internal.cli.verbs import example, new_app

app = new_app()


@app.command(epilog=example("attestlog stats audit --since 30d"))
def stats(
    log: options.LogArgument,
    *,
    since: Annotated[
        str | None, options.text("From: RFC 3339, or 45s, 30m, 2h, 7d, 1w ago.", metavar="TIME")
    ] = None,
    until: Annotated[str | None, options.text("Before: as --since.", metavar="TIME")] = None,
    top: Annotated[int, options.text("So many actors.", metavar="N")] = 10,
    as_json: options.JsonOption = False,
) -> None:
    """Show rates, sizes, kinds of events, the pillars day by day, and who did most.

    The figures come from the index, which is derived from the log: a picture, not evidence.
    """
    import msgspec

    from attestlog._internal.cli.figures import rates, show_figures
    from attestlog._internal.cli.indexing import catch_up
    from attestlog._internal.query.stats import stats as compute

    catch_up(log)
    found, out = compute(log, since=since, until=until, top=top), Output(as_json)
    if out.as_json:
        out.emit("stats", {**msgspec.to_builtins(found), **rates(found)})
    else:
        show_figures(out, found)
    if found.unreadable:
        notice(f"{found.unreadable} lines are not entries: attestlog verify says why")
