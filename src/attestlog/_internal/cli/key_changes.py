"""`attestlog keys rotate` and `attestlog keys revoke`: entries that change which keys count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.opening import open_log
from attestlog._internal.cli.output import Output

if TYPE_CHECKING:
    from attestlog._internal.log import Receipt

ActorOption = Annotated[str | None, options.text("Who does it; else the key.", metavar="ID")]


def rotate(
    log: options.LogArgument,
    *,
    to: Annotated[
        str | None, options.text("The new signer; file:PATH is made if not there.", metavar="URI")
    ] = None,
    algorithm: Annotated[
        str | None, options.text("Of a new key file; else as before.", metavar="NAME")
    ] = None,
    signer: options.SignerOption = None,
    actor_id: ActorOption = None,
    any_filesystem: options.AnyFilesystemOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Go over to another signing key. The old one signs the change, the new one its consent.

    From the next entry on only the new key counts, and log.toml names it. Without --to, a key file is
    made where keys are kept. Once it is done, destroy the old key.
    """
    with open_log(log, signer=signer, any_filesystem=any_filesystem) as opened:
        (old, *_) = opened.rules.key_ids
        receipt = opened.rotate_key(to, algorithm=algorithm, **_actor(actor_id))
        (key,) = opened.rules.keys.values()
    facts = {"old_key_id": old, "key_id": key.key_id, "algorithm": key.algorithm, "public_key": key.pem}
    out, members = Output(as_json), {"sequence_number": receipt.sequence_number, **facts}
    out.emit("rotation", members) if out.as_json else _show(out, receipt, facts)


def revoke(
    log: options.LogArgument,
    key_id: Annotated[
        str, typer.Argument(metavar="KEY_ID", help="As keys list shows it.", show_default=False)
    ],
    *,
    last_trusted: Annotated[int, options.text("What it signed after entry N is not trusted.", metavar="N")],
    reason: Annotated[str, options.text("Why; it stands in the log.")],
    signer: options.SignerOption = None,
    actor_id: ActorOption = None,
    any_filesystem: options.AnyFilesystemOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Say in the log that a key is not to be trusted, from an entry of the past on.

    Rotate first: the key in force cannot be revoked. Verifiers then doubt what it signed after entry N,
    unless they remember it from before.
    """
    with open_log(log, signer=signer, any_filesystem=any_filesystem) as opened:
        receipt = opened.revoke_key(key_id, reason=reason, last_trusted=last_trusted, **_actor(actor_id))
    facts = {"key_id": key_id, "last_trusted": last_trusted, "reason": reason}
    out, members = Output(as_json), {"sequence_number": receipt.sequence_number, **facts}
    out.emit("revocation", members) if out.as_json else _show(out, receipt, facts)


def _actor(actor_id: str | None) -> dict[str, Any]:
    return {"actor_id": actor_id, "actor_type": "HUMAN"} if actor_id is not None else {}


def _show(out: Output, receipt: Receipt, facts: dict[str, Any]) -> None:
    out.text(f"{receipt.sequence_number}  {receipt.entry_hash}")
    for name, value in facts.items():
        if name != "public_key":
            out.text(f"{name.replace('_', ' '):<13} {value}")
