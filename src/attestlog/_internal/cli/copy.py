"""`attestlog copy`: a consistent copy of a log, also while it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from attestlog._internal.cli import options
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import example, new_app

app = new_app()


@app.command(epilog=example("attestlog copy audit /backup/audit-2026-11-30"))
def copy(
    log: options.LogArgument,
    target: Annotated[Path, options.argument("DEST", "Directory to make, which must not exist yet.")],
    *,
    as_json: options.JsonOption = False,
) -> None:
    """Copy a log's evidence, byte for byte, also while others write to it.

    The copy verifies as the log does, and is for its owner alone. It has no lock, no torn bytes and no room;
    archived segments are in it. Only a log in a directory can be copied.
    """
    from attestlog._internal.storage.resolve import copy_log, open_source

    copy_log(log, target)
    made, out = open_source(target), Output(as_json)
    members = {"path": made.absolute(), "origin": made.genesis().origin, "size": made.size()}
    if out.as_json:
        out.emit("copy", members)
    else:
        out.text("copied  ", (f"{members['size']} entries of {members['origin']}", "bold"))
        out.text(f"to      {members['path']}")
