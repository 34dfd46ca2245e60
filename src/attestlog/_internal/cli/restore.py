"""`attestlog restore`: a lost log, from a replica."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from attestlog._internal.cli import options
from attestlog._internal.cli.output import Output, notice
from attestlog._internal.cli.progress import Bar
from attestlog._internal.cli.verbs import example, new_app

app = new_app()


@app.command(
    epilog=example(
        "attestlog restore audit --from https://r1.example.com --origin example.com/agents \\",
        "    --token-file reader.token --signer file:entry.pem --checkpoint-signer file:checkpoint.pem",
    )
)
def restore(
    log: options.LogArgument,
    *,
    url: Annotated[str, options.text("The replica.", "--from", metavar="URL")],
    origin: Annotated[str, options.text("The log's name.", metavar="NAME")],
    token_file: Annotated[Path, options.text("A file with a token of scope read.", metavar="FILE")],
    ca_file: Annotated[Path | None, options.text("Its certificate's authority.", metavar="FILE")] = None,
    trust: Annotated[
        list[str] | None, options.text("Key or genesis hash that must vouch for it.", metavar="KEY")
    ] = None,
    checkpoint: Annotated[
        list[Path] | None, options.text("A checkpoint of the log that must be in it.", metavar="FILE")
    ] = None,
    force: Annotated[
        bool, options.flag("Even if it is shorter than what is there or known.", "--force")
    ] = False,
    signer: options.SignerOption = None,
    checkpoint_signer: options.CheckpointSignerOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Put a replica's copy in the log's place, byte for byte, after verifying it, and go on.

    What stands there is moved aside. Without signers, those of the log.toml that stands there are used.
    The log records that it was restored, from where, and whether it was forced.
    """
    from attestlog._internal.cli.restoring import record, signers_of
    from attestlog._internal.config import ReplicaAt
    from attestlog._internal.replication.client import ReplicaClient
    from attestlog._internal.restoring import Demands, restore_log

    root = Path(log).absolute()
    signers = signers_of(root, signer, checkpoint_signer)
    known = [path.read_bytes() for path in checkpoint or []]
    at = ReplicaAt(url=url, vkey="", token_file=str(token_file), ca_file=str(ca_file or ""))
    client = ReplicaClient(at, origin)
    try:
        demands = Demands(trust=list(trust or []), known=known, is_forced=force)
        with Bar("restoring") as bar:
            restored = restore_log(root, client, signers, demands, bar)
    finally:
        client.close()
    if restored.moved_to:
        notice(f"what was there is in {restored.moved_to}")
    receipt = record(root, url, restored)
    out = Output(as_json)
    if out.as_json:
        members = {
            "path": str(root), "origin": restored.origin, "size": restored.size, "forced": restored.is_behind,
            "moved_to": restored.moved_to, "sequence_number": receipt.sequence_number,
        }  # fmt: skip
        out.emit("restored", members)
    else:
        out.text("restored   ", (f"{restored.size} entries of {restored.origin}", "bold"))
        out.text(f"recorded   in entry {receipt.sequence_number}")
