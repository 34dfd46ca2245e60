"""`attestlog publish`: the log as static files that any web server can hand out."""

from __future__ import annotations

from typing import Annotated

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.progress import Bar
from attestlog._internal.cli.verbs import example, new_app
from attestlog._internal.cli.witnessing import cosign, kept_checkpoint

app = new_app()


@app.command(epilog=example("attestlog publish audit public", "attestlog verify public"))
def publish(
    log: options.LogArgument,
    folder: Annotated[
        str,
        typer.Argument(metavar="DIR", help="Where to, such as a web server's folder.", show_default=False),
    ],
    *,
    whole: Annotated[
        bool, options.flag("Look at every file again, and write what is missing.", "--whole")
    ] = False,
    witnesses: options.WitnessesOption = None,
    fail_open: options.FailOpenOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Lay out the log's latest checkpoint, tiles and entry bundles as static C2SP files; only what is new.

    Only hashes are published, never what an entry says. Needs no key. A file that is there already and
    differs is evidence of another history: it is left as it is, and nothing is published. With --witnesses,
    what the policy's quorum has not cosigned is not published either.
    """
    import msgspec

    from attestlog._internal.storage.publishing import publish_log

    if witnesses is not None:
        cosign(log, witnesses, previous=kept_checkpoint(folder), fail_open=fail_open)
    with Bar("publishing") as bar:
        done = publish_log(log, folder, whole=whole, progress=bar)
    out = Output(as_json)
    if out.as_json:
        out.emit("published", msgspec.to_builtins(done))
        return
    out.text(f"{done.origin} at {done.size:,} entries, {done.size - done.old_size:,} more than before")
    out.text(f"root   {done.root}")
    out.text(f"files  {done.written:,} new, {done.found:,} were there, in {done.path}")
