"""`attestlog erase`: one payload goes; an entry says so, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.opening import open_log
from attestlog._internal.cli.options import text
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import example, new_app

app = new_app()
_EXAMPLE = example(
    "attestlog erase audit 17 --reason 'asked for' --legal-basis 'GDPR 17(1)(a)' \\",
    "    --actor-id officer-1",
)


@app.command(epilog=_EXAMPLE)
def erase(
    log: options.LogArgument,
    number: Annotated[
        int, typer.Argument(metavar="N", help="Sequence number of the entry.", show_default=False)
    ],
    *,
    reason: Annotated[str, text("Why; it stands in the log.")],
    actor_id: Annotated[str, text("Who erases it.", metavar="ID")],
    legal_basis: Annotated[str | None, text("On which legal basis.")] = None,
    approval: Annotated[list[str] | None, text("From attestlog approve.", metavar="FILE")] = None,
    propose: Annotated[Path | None, text("Only write a request for it.", metavar="FILE")] = None,
    signer: options.SignerOption = None,
    any_filesystem: options.AnyFilesystemOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Replace one entry's payload by null, and append the entry that says so, and why.

    The entry, the chain, the tree and all signatures still verify. A legal hold forbids it, and the policy
    may. What is in backups and in proofs that were handed out stays.
    """
    from attestlog._internal.cli.requests import propose_to, with_approvals
    from attestlog._internal.log.erasing import erasure_draft
    from attestlog._internal.storage.resolve import open_source

    out = Output(as_json)

    def draft() -> dict[str, Any]:
        return erasure_draft(open_source(log).entry(number), reason, legal_basis, {"actor_id": actor_id})

    if propose is not None:
        propose_to(out, log, draft(), propose)
        return
    with open_log(log, signer=signer, any_filesystem=any_filesystem) as opened:
        given = with_approvals(opened, draft(), approval).received_approvals if approval else []
        receipt = opened.erase(
            number, reason=reason, actor_id=actor_id, legal_basis=legal_basis, received_approvals=given
        )
    if out.as_json:
        out.emit("erasure", {"erased": number, "sequence_number": receipt.sequence_number, "reason": reason})
        return
    out.text(f"the payload of entry {number} is erased; entry {receipt.sequence_number} says so")
