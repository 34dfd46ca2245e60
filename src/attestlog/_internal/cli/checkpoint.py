"""`attestlog checkpoint`: the signed head."""

from __future__ import annotations

from typing import Annotated, Any

from attestlog._internal.cli import options
from attestlog._internal.cli.opening import open_log
from attestlog._internal.cli.output import Output, notice
from attestlog._internal.cli.verbs import example, new_app
from attestlog._internal.cli.witnessing import cosign, kept_checkpoint

app = new_app()


@app.command(epilog=example("attestlog checkpoint audit > head.note"))
def checkpoint(
    log: options.LogArgument,
    *,
    checkpoint_signer: options.CheckpointSignerOption = None,
    timestamp: Annotated[
        str | None, options.text("RFC 3161 authority that is to stamp it.", "--timestamp", metavar="URL")
    ] = None,
    any_filesystem: options.AnyFilesystemOption = False,
    witnesses: options.WitnessesOption = None,
    fail_open: options.FailOpenOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Sign the log's head (unless it is signed already) and print the checkpoint, a C2SP signed note.

    Whoever keeps it can prove later that the log was cut or rewritten. With --witnesses others vouch for
    that: they cosign it, and it is printed only if the policy's quorum did. A time stamp, kept
    beside it, says when it was there at the latest; the authority sees a hash only.
    """
    from attestlog._internal.core.cosignature import open_log_checkpoint

    previous = kept_checkpoint(log) if witnesses is not None else None
    with open_log(log, checkpoint_signer=checkpoint_signer, any_filesystem=any_filesystem) as opened:
        note = opened.checkpoint()
        signed = open_log_checkpoint(note, opened.genesis.checkpoint_keys)
    done = None
    if witnesses is not None:
        done = cosign(log, witnesses, previous=previous, fail_open=fail_open)
        note, signed = done.note, done.checkpoint
    stamped: dict[str, Any] = {}
    if timestamp is not None:
        from attestlog._internal.timestamping import timestamp_checkpoint

        stamp = timestamp_checkpoint(log, timestamp)
        stamped = {"timestamp": {"path": stamp.path, "time": stamp.time.isoformat()}}
        notice(f"stamped at {stamp.time.isoformat()}: {stamp.path}")
    out = Output(as_json)
    if out.as_json:
        members: dict[str, object] = {
            "origin": signed.origin,
            "size": signed.size,
            "root": signed.root.hex(),
            "note": note.decode(),
            **stamped,
        }
        if done is not None:
            members["witnesses"] = list(done.witnesses)
        out.emit("checkpoint", members)
    else:
        out.raw(note)
