"""`attestlog publish`: the log as static files that any web server can hand out."""

from __future__ import annotations

from typing import Annotated

import msgspec

from attestlog._internal.cli import options
from attestlog._internal.cli.cosigning import cosign, kept_checkpoint
from attestlog._internal.cli.output import Bar, Output
from attestlog._internal.cli.verbs import example, new_app

app = new_app()


@app.command(epilog=example("attestlog publish audit public", "attestlog verify public"))
def publish(
    log: options.LogArgument,
    folder: Annotated[str, options.argument("DIR", "Folder to write to, such as a web server's.")],
    *,
    whole: Annotated[
        bool, options.flag("Check every file again, and write what is missing.", "--whole")
    ] = False,
    witnesses: options.WitnessesOption = None,
    fail_open: options.FailOpenOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Write the log's latest checkpoint, tiles and entry bundles as static C2SP files; only what is new.

    Only hashes are published, never the content of entries. No key is needed. If a file is there already and
    differs, that is evidence of another history: it is left as it is, and nothing is published. With
    --witnesses, nothing is published until the quorum of the trust policy has cosigned it.
    """
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
