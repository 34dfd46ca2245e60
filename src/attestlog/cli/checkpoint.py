"""`attestlog checkpoint`: the signed head."""

from __future__ import annotations

from attestlog.cli import options
from attestlog.cli.opening import open_log
from attestlog.cli.output import Output
from attestlog.cli.verbs import example, new_app

app = new_app()


@app.command(epilog=example("attestlog checkpoint audit > head.note"))
def checkpoint(
    log: options.LogArgument,
    checkpoint_signer: options.CheckpointSignerOption = None,
    any_filesystem: options.AnyFilesystemOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Sign the log's head (unless it is signed already) and print the checkpoint, a C2SP signed note.

    Whoever keeps it can prove later that the log was cut or rewritten.
    """
    from attestlog.core.cosignature import open_log_checkpoint

    with open_log(log, checkpoint_signer=checkpoint_signer, any_filesystem=any_filesystem) as opened:
        note = opened.checkpoint()
        signed = open_log_checkpoint(note, opened.genesis.checkpoint_keys)
    out = Output(as_json)
    if out.as_json:
        members = {
            "origin": signed.origin,
            "size": signed.size,
            "root": signed.root.hex(),
            "note": note.decode(),
        }
        out.emit("checkpoint", members)
    else:
        out.raw(note)
