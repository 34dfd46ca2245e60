"""`attestlog adopt`: remember a log as it stands, on a machine that knows nothing of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.output import Output, hint
from attestlog._internal.cli.verbs import UsageError, example, new_app

if TYPE_CHECKING:
    from attestlog._internal.adopting import Standing

app = new_app()


@app.command(epilog=example("attestlog adopt audit", "attestlog adopt audit --yes"))
def adopt(
    log: options.LogArgument,
    *,
    yes: Annotated[bool, options.flag("Adopt it without asking.", "--yes")] = False,
    any_filesystem: options.AnyFilesystemOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Remember what a log has, so that nothing shorter or other is signed here afterwards.

    For a log that came from another machine, or whose memory was lost. An older copy looks like the log
    itself: compare what is shown with what you know of it, then say yes. Verify the log first.
    """
    from attestlog._internal.adopting import adopt_log, look_at
    from attestlog._internal.config import find_config
    from attestlog._internal.storage.resolve import open_source

    seen, out = look_at(log), Output(as_json)
    if out.as_json:
        out.emit("standing", seen._asdict())
    else:
        _show(out, seen)
    if not yes and not _agreed():
        raise UsageError("nothing was adopted: say yes, or give --yes")
    adopt_log(log, seen, any_filesystem=any_filesystem)
    if out.as_json:
        out.emit("adopted", {"origin": seen.origin, "genesis": seen.genesis, "size": seen.size})
    else:
        out.text(("adopted", "bold"))
    if find_config(open_source(log)) is None:
        hint("attestlog configure LOG says where its keys are on this machine")


def _show(out: Output, seen: Standing) -> None:
    out.text("origin          ", (seen.origin, "bold"))
    out.text(f"genesis         {seen.genesis}")
    out.text(
        "size            ", (f"{seen.size} entries", "bold"), f", {seen.checkpoint_size} in its checkpoint"
    )
    out.text(f"last entry      {seen.timestamp}  {seen.entry_hash}")
    for vkey in seen.vkeys:
        out.text(f"checkpoint key  {vkey}")


def _agreed() -> bool:
    """Asks the person at the terminal; without one nobody agrees."""
    if not sys.stdin.isatty():
        return False
    return typer.confirm("Is this all of the log, as you know it?", err=True)
