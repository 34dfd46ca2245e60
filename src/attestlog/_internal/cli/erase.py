"""`attestlog erase`: one payload is erased; a new entry records who erased it, and why."""

from __future__ import annotations

from typing import Annotated, Any

from attestlog._internal.cli import options
from attestlog._internal.cli.opening import open_log
from attestlog._internal.cli.options import argument, text
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
    number: Annotated[int, argument("N", "Sequence number of the entry.")],
    *,
    reason: options.ReasonOption,
    actor_id: options.ActorOption,
    legal_basis: Annotated[str | None, text("Legal basis of the erasure.")] = None,
    approval: options.ApprovalOption = None,
    request_to: options.RequestApprovalOption = None,
    signer: options.SignerOption = None,
    any_filesystem: options.AnyFilesystemOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Replace one entry's payload by null, and append an entry that records who erased it, and why.

    The entry, the chain, the tree and all signatures still verify. A legal hold forbids erasing; the policy
    may forbid it too. Copies in backups and in proofs that were handed out are not erased.
    """
    from attestlog._internal.cli.approval import request_approval, with_approvals
    from attestlog._internal.log.drafts import erasure_draft
    from attestlog._internal.storage.resolve import open_source

    out = Output(as_json)

    def draft() -> dict[str, Any]:
        return erasure_draft(open_source(log).entry(number), reason, legal_basis, {"actor_id": actor_id})

    if request_to is not None:
        request_approval(out, log, draft(), request_to)
        return
    with open_log(log, signer=signer, any_filesystem=any_filesystem) as opened:
        given = with_approvals(opened, draft(), approval).received_approvals if approval else []
        receipt = opened.erase(
            number, reason=reason, actor_id=actor_id, legal_basis=legal_basis, received_approvals=given
        )
    if out.as_json:
        out.emit("erasure", {"erased": number, "sequence_number": receipt.sequence_number, "reason": reason})
        return
    out.text(f"the payload of entry {number} is erased; entry {receipt.sequence_number} records it")
