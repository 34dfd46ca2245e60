"""Whether the policy in force forbids an act, and which invariants it would break."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from attestlog._internal.core.deriving import Basis, explain
from attestlog._internal.core.entry import GUARD, INTENT, EntryDraft, EventType, parse_draft
from attestlog._internal.core.policy import Policy
from attestlog._internal.core.rules import Rules
from attestlog._internal.guard.recording import DENIED
from attestlog._internal.proof_types import registered_proofs
from attestlog.errors import ApprovalUsedError


class Reason(NamedTuple):
    """Why an act must not happen: an invariant that it would break, or a rule that denies it."""

    invariant: str | None
    """None: a rule denies it."""
    violation_type: str
    message: str
    evidence: dict[str, Any]

    @property
    def is_approval(self) -> bool:
        """Whether only approvals are missing: people can still give them."""
        return self.invariant == QUORUM


QUORUM: Final = "INVARIANT_5_QUORUM"

ATTEMPTS: Final = {
    "INVARIANT_2_SAFETY_FLOOR": "safety_floor_breach_attempt",
    "INVARIANT_3_K1_STATE": "k1_state_breach_attempt",
    "INVARIANT_4_PROOFS": "proofs_breach_attempt",
    QUORUM: "quorum_breach_attempt",
    None: "rule_denied_attempt",
}
"""`action_type` of the VIOLATION, by the first invariant it names."""

REMEDIES: Final = {
    "INVARIANT_2_SAFETY_FLOOR": "make it safer, and score it again",
    "INVARIANT_3_K1_STATE": "resolve the conflicts that were detected",
    "INVARIANT_4_PROOFS": "provide the proofs that are asked for",
    QUORUM: "have it approved by those whom the policy names",
    None: "do something that no rule denies, or have the policy changed",
}


def reasons_against(
    rules: Rules, members: Mapping[str, Any], action_hash: str, timestamp: str
) -> list[Reason]:
    """Why an act with these members of a draft must not happen; empty: it may.

    Asked both of the intent and of the act, since rules may speak of either. Where a rule denies the act,
    that is the reason, whatever else it lacks.
    """
    found: dict[str, Reason] = {}
    denied: dict[str, Reason] = {}
    act = parse_draft(members)
    # Approvals of the act count for a decision only as its intent.
    intent = msgspec.structs.replace(act, event_type=EventType.DECISION, actor_context={GUARD: INTENT})
    for draft in (intent, act):
        basis = explain(rules.policy, draft, rules.log, action_hash, timestamp, verifiers=registered_proofs())
        for denial in basis.demand.denials:
            evidence = {"rule": denial.rule, "rule_reason": denial.reason}
            message = f"rule {denial.rule!r} denies it: {denial.reason}"
            denied.setdefault(denial.rule, Reason(None, RULE_DENIED, message, evidence))
        for reason in _reasons(rules.policy, draft, basis):
            found.setdefault(str(reason.invariant), reason)
    return list(denied.values()) or [found[name] for name in sorted(found)]


RULE_DENIED: Final = "RULE_DENIED"


def reason_of_use(error: ApprovalUsedError) -> Reason:
    """That the approvals of the act had been used for another already."""
    evidence = {"request_id": error.request_id, "used_by": error.used_by}
    return Reason(QUORUM, "APPROVAL_USED", error.message, evidence)


def violation_members(members: Mapping[str, Any], action_hash: str, reasons: list[Reason]) -> dict[str, Any]:
    """The VIOLATION that is written instead of the act."""
    first = reasons[0]
    payload: dict[str, Any] = {
        "attempted_action": members["action_type"],
        "action_hash": action_hash,
        "blocked": True,
        "reasons": [_described(reason) for reason in reasons],
    }
    for reason in reasons:
        if "safety_score" in reason.evidence:
            payload |= reason.evidence
    named: dict[str, Any] = {"violated_invariant": first.invariant}
    if first.invariant is None:
        named = {"rule": first.evidence["rule"], "reason": first.evidence["rule_reason"]}
    kept = ("actor_id", "actor_type", "actor_context", "pillars_scores", "conflicts_detected")
    return {
        **{name: members[name] for name in kept if name in members},
        "event_type": EventType.VIOLATION,
        "event_category": "ERROR",
        "action_type": ATTEMPTS[first.invariant],
        "action_payload": payload,
        "execution_status": "BLOCKED",
        "error_details": {
            "kind": DENIED,
            "violation_type": first.violation_type,
            **named,
            "message": "; ".join(reason.message for reason in reasons),
            "remediation": "; ".join(dict.fromkeys(REMEDIES[reason.invariant] for reason in reasons)),
        },
    }


def _described(reason: Reason) -> dict[str, Any]:
    named = {} if reason.invariant is None else {"invariant": reason.invariant}
    return {**named, "reason": reason.message, **reason.evidence}


def _reasons(policy: Policy, draft: EntryDraft, basis: Basis) -> Iterator[Reason]:
    derived = basis.derived
    if derived.safety_floor_met is False:
        score, floor = derived.composite_score, policy.safety_floor
        yield Reason(
            "INVARIANT_2_SAFETY_FLOOR", "SAFETY_FLOOR_BREACH",
            f"composite score {score}, or one of the pillars, is below the floor of {floor}",
            {"safety_score": score, "min_required": floor},
        )  # fmt: skip
    if derived.k_state != 1:
        yield Reason(
            "INVARIANT_3_K1_STATE", "K1_STATE_BREACH", f"{len(draft.conflicts_detected)} conflicts detected",
            {"conflicts": list(draft.conflicts_detected)},
        )  # fmt: skip
    if not derived.proofs_valid:
        claims = basis.claims
        lacking = sorted(basis.required_proofs - claims.proven)
        refuted, unchecked = sorted(claims.refuted), sorted(set(claims.unchecked))
        yield Reason(
            "INVARIANT_4_PROOFS", "PROOFS_MISSING",
            f"proofs that do not hold or are missing: {', '.join(sorted({*lacking, *refuted}))}",
            {"missing": lacking, "refuted": refuted, "unchecked": unchecked},
        )  # fmt: skip
    if not derived.quorum_met:
        refused = [item.message for item in basis.judged if not item.counts]
        yield Reason(
            QUORUM, "QUORUM_MISSING", "approvals that are asked for are missing",
            {"missing_approvals": basis.missing, "refused": refused},
        )  # fmt: skip
