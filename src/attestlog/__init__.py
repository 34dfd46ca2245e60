"""attestlog: an append-only, hash-chained, signed log of what people and AI agents did.

Write:

    log = attestlog.create("audit", origin="example.com/agents")   # once; attestlog.open("audit") afterwards
    receipt = log.append(event_type="ACTION", action_type="deploy", actor_id="agent-7")

    async with await attestlog.open_async("audit") as log:         # the same in asyncio
        receipt = await log.append_async(event_type="ACTION", action_type="deploy", actor_id="agent-7")

`Entry` is what a `Log` stores, `EntryDraft` what a caller gives (`DraftMembers` are its members, for type
checkers), `Receipt` what `append` returns. A log is created with a `Policy` and `Settings`.

Write to a log that another process holds, `attestlog serve log`, with no key here:

    with attestlog.connect("unix:/run/attestlog/log.sock") as log: ...    # a `RemoteLog`

Act under the log's policy:

    with log.guard(action_type="deploy", actor_id="agent-7") as act: ...   # a `Guard` (`GuardMembers`);
                                                                           # also a decorator
    act = log.begin(action_type="deploy", actor_id="agent-7"); act.end()   # begun and ended in two calls
    with log.resume(request, approvals=[...]) as act: ...                  # (`ResumeMembers`): what waited
    log.guard(...).blocked_by()                                            # each `Reason`; nothing is written
    with attestlog.bind(session="s-1", trace_id="..."): ...                # stands in every act inside
    NumberedActor(log, "agent-7").append(...)                              # a verifier finds gaps
    snapshot_hash("page.html"); verify_snapshot("page.html", digest)       # what a rollback goes back to

Approve. `log.request(...)` makes an `ApprovalRequest` and `sign_approval` an `Approval`. `check_approvals`
raises for one that does not count; `approved_draft` is what to append. `format_request`, `parse_request`,
`format_approval` and `parse_approval` write and read their files. `modify_rule_payload` proposes a change of
the policy, `sign_action` proves who acts, `register_proof` adds a type of proof (its function is given a
`ProofClaim`), `explain` says why the derived members of an entry are what they are.

Read, without a key:

    for entry in attestlog.query_log("audit", event_type="VIOLATION", since="7d"): ...
    async for entry in attestlog.query_log_async("audit", actor_id="agent-7"): ...

`query_page` returns a `Page`. A `Filter`, or its members (`FilterMembers`), says which entries.

Verify. `verify` and what is called `judge_…` return a report, and raise nothing for what they find:

    report = attestlog.verify("audit")     # a `Report`: its `Verdict`, each `Finding`, and `ok`
    report.raise_for_verdict()             # raises unless the verdict is VERIFIED
    judge_published("https://…")           # the same of a published log
    judge_proof(proof, trust=[vkey])       # a `ProofReport`
    judge_chain("audit-2027")              # this log, and those that it continues

A log that ends goes on in a new one: `create(…, continues=carry_over("audit-2026", reason="…"))`; what
`carry_over` gives is a `Continues`.

What is called `verify_…` returns nothing, or raises what does not hold. A report has no truth value.

Prove, publish, and have others confirm:

    proof = attestlog.prove("audit", 7); attestlog.verify_proof(proof, trust=[vkey])
    prove_prefix("audit", old_note); publish("audit", "public")              # `Published`
    timestamp_checkpoint("audit", url)
    cosign_checkpoint("audit", parse_trust_policy(data))                     # a `TrustPolicy`

    with Publisher(log, "public"):                                           # as entries come, or, where
        receipt = log.append(..., wait="published")                          # another process publishes, a
        await log.published(receipt)                                         # `PublishedWatch`

Sign. A `Signer` holds a key and knows its `PublicKey`. `open_signer` opens one by its URI, `register_scheme`
adds URIs of your own, `public_key` makes a `PublicKey` of a key of the package cryptography. With
`consent_to_admission` the key of another host asks to sign the log, too: see `Log.admit_key`.

Every exception is an `AttestlogError`; `attestlog.errors` draws the tree. `attestlog.testing` is a test kit,
`attestlog.schemas` has JSON Schemas, `attestlog.haios` the names of the HAIOS schema. That is the whole API;
`attestlog._internal` is private and changes without notice.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from attestlog._internal.version import VERSION
from attestlog.errors import AttestlogError

if TYPE_CHECKING:
    from attestlog._internal.approving import (
        approved_draft,
        check_approvals,
        consent_to_admission,
        sign_action,
        sign_approval,
    )
    from attestlog._internal.core.approval import (
        Approval,
        ApprovalRequest,
        format_approval,
        format_request,
        parse_approval,
        parse_request,
    )
    from attestlog._internal.core.deriving import ProofClaim, explain
    from attestlog._internal.core.entry import (
        ActorType,
        DraftMembers,
        Entry,
        EntryDraft,
        EventCategory,
        EventType,
        ExecutionStatus,
    )
    from attestlog._internal.core.genesis import Continues, Settings
    from attestlog._internal.core.policy import Policy
    from attestlog._internal.core.policy_change import modify_rule_payload
    from attestlog._internal.core.receipt import Receipt
    from attestlog._internal.core.report import Finding, ProofReport, Report, Verdict
    from attestlog._internal.core.signature import PublicKey, public_key
    from attestlog._internal.core.trust import TrustPolicy, parse_trust_policy
    from attestlog._internal.guard import Guard, GuardMembers, NumberedActor, Reason, ResumeMembers, bind
    from attestlog._internal.log import Log
    from attestlog._internal.proof_types import register_proof
    from attestlog._internal.proving import prove, prove_prefix
    from attestlog._internal.publisher import PublishedWatch, Publisher
    from attestlog._internal.query import (
        Filter,
        FilterMembers,
        Page,
        query_log,
        query_log_async,
        query_page,
    )
    from attestlog._internal.remote import RemoteLog, connect
    from attestlog._internal.signers import Signer, open_signer, register_scheme
    from attestlog._internal.snapshots import snapshot_hash, verify_snapshot
    from attestlog._internal.storage.publishing import Published
    from attestlog._internal.storage.publishing import publish_log as publish
    from attestlog._internal.timestamping import timestamp_checkpoint
    from attestlog._internal.verifying import judge_log as verify
    from attestlog._internal.verifying import judge_proof, judge_published, verify_proof
    from attestlog._internal.verifying.chain import carry_over, judge_chain
    from attestlog._internal.witness.collecting import cosign_checkpoint

    create = Log.create
    open_async = Log.open_async
    open = Log.open  # noqa: A001 - attestlog.open is the name people look for

__version__ = VERSION

_HOMES: Final = {
    "ActorType": "core.entry",
    "Approval": "core.approval",
    "ApprovalRequest": "core.approval",
    "Continues": "core.genesis",
    "DraftMembers": "core.entry",
    "Entry": "core.entry",
    "EntryDraft": "core.entry",
    "EventCategory": "core.entry",
    "EventType": "core.entry",
    "ExecutionStatus": "core.entry",
    "Filter": "query",
    "FilterMembers": "query",
    "Finding": "core.report",
    "Guard": "guard",
    "GuardMembers": "guard",
    "Log": "log",
    "NumberedActor": "guard",
    "Page": "query",
    "Policy": "core.policy",
    "ProofClaim": "core.deriving",
    "ProofReport": "core.report",
    "PublicKey": "core.signature",
    "Published": "storage.publishing",
    "PublishedWatch": "publisher",
    "Publisher": "publisher",
    "Reason": "guard",
    "Receipt": "core.receipt",
    "RemoteLog": "remote",
    "Report": "core.report",
    "ResumeMembers": "guard",
    "Settings": "core.genesis",
    "Signer": "signers",
    "TrustPolicy": "core.trust",
    "Verdict": "core.report",
    "approved_draft": "approving",
    "bind": "guard",
    "carry_over": "verifying.chain",
    "check_approvals": "approving",
    "connect": "remote",
    "consent_to_admission": "approving",
    "cosign_checkpoint": "witness.collecting",
    "create": "log:Log.create",
    "explain": "core.deriving",
    "format_approval": "core.approval",
    "format_request": "core.approval",
    "judge_chain": "verifying.chain",
    "judge_proof": "verifying",
    "judge_published": "verifying",
    "modify_rule_payload": "core.policy_change",
    "open": "log:Log.open",
    "open_async": "log:Log.open_async",
    "open_signer": "signers",
    "parse_approval": "core.approval",
    "parse_request": "core.approval",
    "parse_trust_policy": "core.trust",
    "prove": "proving",
    "prove_prefix": "proving",
    "public_key": "core.signature",
    "publish": "storage.publishing:publish_log",
    "query_log": "query",
    "query_log_async": "query",
    "query_page": "query",
    "register_proof": "proof_types",
    "register_scheme": "signers",
    "sign_action": "approving",
    "sign_approval": "approving",
    "snapshot_hash": "snapshots",
    "timestamp_checkpoint": "timestamping",
    "verify": "verifying:judge_log",
    "verify_proof": "verifying",
    "verify_snapshot": "snapshots",
}
"""Where each name lives, and what it is called there. Loaded when first asked for: a verifier never loads the
writer, nor the reverse."""

_MODULES: Final = ("errors", "haios", "schemas", "testing")
"""The public modules, which are loaded the same way."""

__all__ = [
    "ActorType",
    "Approval",
    "ApprovalRequest",
    "AttestlogError",
    "Continues",
    "DraftMembers",
    "Entry",
    "EntryDraft",
    "EventCategory",
    "EventType",
    "ExecutionStatus",
    "Filter",
    "FilterMembers",
    "Finding",
    "Guard",
    "GuardMembers",
    "Log",
    "NumberedActor",
    "Page",
    "Policy",
    "ProofClaim",
    "ProofReport",
    "PublicKey",
    "Published",
    "PublishedWatch",
    "Publisher",
    "Reason",
    "Receipt",
    "RemoteLog",
    "Report",
    "ResumeMembers",
    "Settings",
    "Signer",
    "TrustPolicy",
    "Verdict",
    "__version__",
    "approved_draft",
    "bind",
    "carry_over",
    "check_approvals",
    "connect",
    "consent_to_admission",
    "cosign_checkpoint",
    "create",
    "explain",
    "format_approval",
    "format_request",
    "judge_chain",
    "judge_proof",
    "judge_published",
    "modify_rule_payload",
    "open",
    "open_async",
    "open_signer",
    "parse_approval",
    "parse_request",
    "parse_trust_policy",
    "prove",
    "prove_prefix",
    "public_key",
    "publish",
    "query_log",
    "query_log_async",
    "query_page",
    "register_proof",
    "register_scheme",
    "sign_action",
    "sign_approval",
    "snapshot_hash",
    "timestamp_checkpoint",
    "verify",
    "verify_proof",
    "verify_snapshot",
]


if not TYPE_CHECKING:  # where it is hidden, a misspelt name is an error

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home, _, path = _HOMES[name].partition(":")
        found = import_module(f"{__name__}._internal.{home}")
        for part in (path or name).split("."):
            found = getattr(found, part)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
