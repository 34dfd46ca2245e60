"""`attestlog checkpoint`: the signed head."""

from __future__ import annotations

from typing import Annotated, Any

from attestlog._internal.cli import options
from attestlog._internal.cli.cosigning import cosign, kept_checkpoint
from attestlog._internal.cli.opening import open_log
from attestlog._internal.cli.output import Output, notice
from attestlog._internal.cli.verbs import example, new_app

app = new_app()


@app.command(epilog=example("attestlog checkpoint audit > head.note"))
def checkpoint(
    log: options.LogArgument,
    *,
    checkpoint_signer: options.CheckpointSignerOption = None,
    timestamp: Annotated[
        str | None, options.text("RFC 3161 authority that time-stamps it.", metavar="URL")
    ] = None,
    any_filesystem: options.AnyFilesystemOption = False,
    witnesses: options.WitnessesOption = None,
    fail_open: options.FailOpenOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Sign the log's head, unless it is signed already, and print the checkpoint, a C2SP signed note.

    With a kept checkpoint you can prove later that the log was cut or rewritten. With --witnesses, the
    witnesses of a trust policy cosign it, and it is printed only if their quorum is reached. With
    --timestamp, an authority that sees only a hash states that it existed by then; the stamp is kept beside
    it.
    """
    from attestlog._internal.core.genesis import open_log_checkpoint

    previous = kept_checkpoint(log) if witnesses is not None else None
    with open_log(log, checkpoint_signer=checkpoint_signer, any_filesystem=any_filesystem) as opened:
        note = opened.checkpoint()
        signed = open_log_checkpoint(note, opened.genesis)
    more: dict[str, Any] = {}
    if witnesses is not None:
        done = cosign(log, witnesses, previous=previous, fail_open=fail_open)
        note, signed = done.note, done.checkpoint
        more["witnesses"] = list(done.witnesses)
    if timestamp is not None:
        more["timestamp"] = _stamp(log, timestamp)
    out = Output(as_json)
    if out.as_json:
        members = {"origin": signed.origin, "size": signed.size, "root": signed.root.hex()}
        out.emit("checkpoint", {**members, "note": note.decode(), **more})
    else:
        out.raw(note)


def _stamp(log: str, url: str) -> dict[str, str]:
    from attestlog._internal.timestamping import timestamp_checkpoint

    stamp = timestamp_checkpoint(log, url)
    notice(f"stamped at {stamp.time.isoformat()}: {stamp.path}")
    return {"path": stamp.path, "time": stamp.time.isoformat()}
