"""`attestlog prove`: a proof, as a file, of one entry or of a prefix of the log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from attestlog._internal.cli.options import JsonOption, LogArgument, OutputOption, argument, flag, text
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import UsageError, example, new_app
from attestlog._internal.core.convert import read_number

app = new_app()


@app.command(
    epilog=example(
        "attestlog prove audit 5 -o entry-5.tlog-proof",
        "attestlog prove audit --from old.note -o since.tlog-consistency",
    )
)
def prove(
    log: LogArgument,
    number: Annotated[int | None, argument("[N]", "Sequence number of the entry.")] = None,
    *,
    since: Annotated[
        str | None,
        text("Prove that these first entries are still a prefix.", "--from", metavar="SIZE|FILE"),
    ] = None,
    checkpoint: Annotated[
        Path | None, text("Checkpoint to prove against; default: the log's own.", metavar="FILE")
    ] = None,
    without_payload: Annotated[
        bool, flag("Leave out the payload; the proof then has only its hash.", "--without-payload")
    ] = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a proof that one entry is in the log, or (--from) that an earlier state of the log still is.

    The proof of an entry is a C2SP tlog-proof with the entry and the log's signed checkpoint in it.
    `attestlog verify` checks it anywhere, without the log. With --from, the proof is of the first SIZE
    entries, or of those of an earlier checkpoint in FILE. Nothing is signed, and nothing is written to the
    log.
    """
    from attestlog._internal import proving
    from attestlog._internal.cli.files import replacing

    if (number is None) == (since is None):
        raise UsageError("give the sequence number of an entry, or --from")
    note = None if checkpoint is None else checkpoint.read_bytes()
    if number is not None:
        proof = proving.prove(log, number, payload=not without_payload, checkpoint=note)
    else:
        proof = proving.prove_prefix(log, _old(str(since)), checkpoint=note)
    out = Output(as_json)
    if output is not None:
        with replacing(output) as file:
            file.write(proof.decode())
    if as_json:
        out.emit("proof", {"path": output and str(output), "proof": None if output else proof.decode()})
    elif output is None:
        out.raw(proof)


def _old(since: str) -> int | bytes:
    """A size, or the checkpoint in a file."""
    size = read_number(since)
    return Path(since).read_bytes() if size is None else size
