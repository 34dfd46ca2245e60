"""`attestlog import`: a legacy JSON-lines log into a log."""

from __future__ import annotations

from typing import Annotated

import msgspec

from attestlog._internal.cli import options
from attestlog._internal.cli.opening import open_log
from attestlog._internal.cli.output import Bar, Output
from attestlog._internal.cli.verbs import example, new_app

app = new_app()


@app.command("import", epilog=example("attestlog import audit haios_audit.jsonl"))
def import_(
    log: options.LogArgument,
    file: Annotated[str, options.argument("FILE.jsonl", "The legacy log.")],
    *,
    allow_damaged: Annotated[
        bool, options.flag("Import the file even if it does not verify.", "--allow-damaged")
    ] = False,
    actor_id: Annotated[
        str, options.text("Name or id of the person who imports it.", metavar="ID")
    ] = "legacy:import",
    signer: options.SignerOption = None,
    checkpoint_signer: options.CheckpointSignerOption = None,
    any_filesystem: options.AnyFilesystemOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Verify a legacy log and import it: each line, byte for byte, in an entry of its own.

    Lines that were imported before are skipped. So you can run an interrupted import again, and import the
    new lines of a file that has grown.
    """
    from attestlog._internal.legacy import import_legacy

    with (
        open_log(
            log, signer=signer, checkpoint_signer=checkpoint_signer, any_filesystem=any_filesystem
        ) as opened,
        Bar("importing") as bar,
    ):
        receipt = import_legacy(opened, file, bar, allow_damaged=allow_damaged, actor_id=actor_id)
    out = Output(as_json)
    if out.as_json:
        out.emit("import", msgspec.to_builtins(receipt))
        return
    out.text(f"{receipt.report.verdict}  {file}: {receipt.lines} lines, {receipt.appended} of them new here")
    out.text(f"legacy log  {receipt.legacy_log}")
    out.text(f"closed by   entry {receipt.sequence_number}, {receipt.entry_hash}")
