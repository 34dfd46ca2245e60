"""`attestlog import`: a legacy JSON-lines log into a log."""

from __future__ import annotations

from typing import Annotated

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.opening import open_log
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.progress import Bar
from attestlog._internal.cli.verbs import example, new_app

app = new_app()


@app.command("import", epilog=example("attestlog import audit haios_audit.jsonl"))
def import_(
    log: options.LogArgument,
    file: Annotated[str, typer.Argument(metavar="FILE.jsonl", help="The legacy log.", show_default=False)],
    *,
    allow_damaged: Annotated[bool, options.flag("Even if it does not verify.", "--allow-damaged")] = False,
    actor_id: Annotated[str, options.text("Who imports it.")] = "legacy:import",
    signer: options.SignerOption = None,
    checkpoint_signer: options.CheckpointSignerOption = None,
    any_filesystem: options.AnyFilesystemOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Verify a legacy log and bring it in: each line, byte for byte, in an entry of its own.

    What was imported before is not imported again: an import that broke off goes on, a log that has grown
    brings its new lines.
    """
    import msgspec

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
