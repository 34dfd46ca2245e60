"""`attestlog move`: a log to another place, a directory or PostgreSQL, where it goes on."""

from __future__ import annotations

from typing import Annotated

from attestlog._internal.cli import options
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import example, new_app

app = new_app()


@app.command(epilog=example("attestlog move audit 'postgresql://app@db.example.com/audit?log=acts'"))
def move(
    log: options.LogArgument,
    target: Annotated[str, options.argument("TARGET", "Directory or URL where there is no log yet.")],
    *,
    as_json: options.JsonOption = False,
) -> None:
    """Move a log, byte for byte, between a directory and PostgreSQL.

    Every entry is checked on the way, and nobody can append meanwhile. What is left behind can be read, and
    refuses to be written: it says where the log is now. If it is interrupted, run the same command again.
    """
    from attestlog._internal.configuring import move_log

    there, out = move_log(log, target), Output(as_json)
    members = {"path": there.absolute(), "origin": there.genesis().origin, "size": there.size()}
    if out.as_json:
        out.emit("moved", members)
    else:
        out.text("moved   ", (f"{members['size']} entries of {members['origin']}", "bold"))
        out.text(f"to      {members['path']}")
