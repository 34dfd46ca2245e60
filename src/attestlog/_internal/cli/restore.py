"""`attestlog restore`: a lost log, from a replica."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from attestlog._internal.cli import options
from attestlog._internal.cli.opening import open_log
from attestlog._internal.cli.options import flag, text
from attestlog._internal.cli.output import Bar, Output, notice
from attestlog._internal.cli.verbs import UsageError, example, new_app

if TYPE_CHECKING:
    from attestlog._internal.config import Signers
    from attestlog._internal.log import Receipt
    from attestlog._internal.restoring import Restored

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
    url: Annotated[str, text("Base URL of the replica.", "--from", metavar="URL")],
    origin: Annotated[str, text("The log's name.", metavar="NAME")],
    token_file: Annotated[Path, text("File with a token of scope read.", metavar="FILE")],
    ca_file: Annotated[Path | None, text("Certificate authority of the replica.", metavar="FILE")] = None,
    trust: Annotated[
        list[str] | None,
        text("A key or genesis hash from elsewhere that must vouch for it; repeatable.", metavar="KEY"),
    ] = None,
    checkpoint: Annotated[
        list[Path] | None,
        text("A checkpoint that you kept: the copy must contain it; repeatable.", metavar="FILE"),
    ] = None,
    force: Annotated[
        bool, flag("Restore even if the copy is shorter than the log was known to be.", "--force")
    ] = False,
    signer: options.SignerOption = None,
    checkpoint_signer: options.CheckpointSignerOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Verify a replica's copy and put it, byte for byte, in the log's place.

    A log that stands there is moved aside. Its configuration names the signers, unless you do. An entry then
    records that the log was restored, and from where. A copy that lacks entries, and is forced, is evidence
    only: nothing can be appended to it.
    """
    from attestlog._internal.config import ReplicaAt
    from attestlog._internal.replication.client import ReplicaClient
    from attestlog._internal.restoring import RestoreDemands, restore_log
    from attestlog._internal.storage.resolve import directory

    root = directory(log, "restore into a directory, then attestlog move DIRECTORY URL").absolute()
    signers = _signers_of(root, origin, signer, checkpoint_signer)
    known = [path.read_bytes() for path in checkpoint or []]
    at = ReplicaAt(url=url, vkey="", token_file=str(token_file), ca_file=str(ca_file or ""))
    client = ReplicaClient(at, origin)
    try:
        demands = RestoreDemands(trust=list(trust or []), known=known, is_forced=force)
        with Bar("restoring") as bar:
            restored = restore_log(root, client, signers, demands, bar)
    finally:
        client.close()
    if restored.moved_to:
        notice(f"the log that stood there is now in {restored.moved_to}")
    receipt = None if restored.is_behind else _record(root, url, restored)
    out = Output(as_json)
    if out.as_json:
        members = {
            "path": str(root), "origin": restored.origin, "size": restored.size, "forced": restored.is_behind,
            "moved_to": restored.moved_to, "sequence_number": receipt and receipt.sequence_number,
        }  # fmt: skip
        out.emit("restored", members)
    else:
        out.text("restored   ", (f"{restored.size} entries of {restored.origin}", "bold"))
        if receipt is not None:
            out.text(f"recorded   in entry {receipt.sequence_number}")
    if receipt is None:
        notice("it lacks entries that the log is known to have had: it is evidence, and cannot be written")


def _signers_of(root: Path, origin: str, entry: str | None, checkpoint: str | None) -> Signers | None:
    """The given signers, completed by the configuration of a log of this origin; None: as it has them.

    Raises UsageError if nobody names them.
    """
    from attestlog._internal.config import Signers, configs

    if entry is not None and checkpoint is not None:
        return Signers(entry=entry, checkpoint=checkpoint)
    there = [config for config in configs() if config.origin == origin]
    if not there:
        raise UsageError(
            f"no configuration of {origin} names the signers: give --signer and --checkpoint-signer"
        )
    if entry is None and checkpoint is None:
        return None
    signers = min(there, key=lambda config: config.path != str(root)).signers
    return Signers(entry=entry or signers.entry, checkpoint=checkpoint or signers.checkpoint)


def _record(root: Path, url: str, restored: Restored) -> Receipt:
    """Append the entry that says so."""
    from attestlog._internal.core.reserved import RESTORED

    with open_log(str(root)) as log:
        return log._append_own({
            "event_type": "CHANGE", "action_type": RESTORED, "actor_id": "attestlog", "actor_type": "SYSTEM",
            "event_category": "WARNING", "action_payload": {"source": url, "size": restored.size},
        })  # fmt: skip
