"""Whether the policy in force forbids an act, and which invariants it would break."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from attestlog._internal.core.deriving import Basis, explain
from attestlog._internal.core.entry import EntryDraft, EventType, parse_draft
from attestlog._internal.core.policy import Policy
from attestlog._internal.proof_types import registered_proofs


class Reason(NamedTuple):
    """One invariant that the act would break."""

    invariant: str
    violation_type: str
    message: str
    evidence: dict[str, Any]


ATTEMPTS: Final = {
    "INVARIANT_2_SAFETY_FLOOR": "safety_floor_breach_attempt",
    "INVARIANT_3_K1_STATE": "k1_state_breach_attempt",
    "INVARIANT_4_PROOFS": "proofs_breach_attempt",
    "INVARIANT_5_QUORUM": "quorum_breach_attempt",
}
"""`action_type` of the VIOLATION, by the first invariant it names."""

REMEDIES: Final = {
    "INVARIANT_2_SAFETY_FLOOR": "make it safer, and score it anew",
    "INVARIANT_3_K1_STATE": "resolve the conflicts that were detected",
    "INVARIANT_4_PROOFS": "provide the proofs that are asked for",
    "INVARIANT_5_QUORUM": "have it approved by those whom the policy names",
}


def reasons_against(
    policy: Policy, members: Mapping[str, Any], origin: str, action_hash: str, timestamp: str
) -> list[Reason]:
    """Why an act with these members of a draft must not happen; empty: it may.

    Asked both of the intent and of the act, since rules may speak of either.
    """
    found: dict[str, Reason] = {}
    act = parse_draft(members)
    for draft in (msgspec.structs.replace(act, event_type=EventType.DECISION), act):
        basis = explain(policy, draft, origin, action_hash, timestamp, verifiers=registered_proofs())
        for reason in _reasons(policy, draft, basis):
            found.setdefault(reason.invariant, reason)
    return [found[name] for name in sorted(found)]


def violation_members(members: Mapping[str, Any], action_hash: str, reasons: list[Reason]) -> dict[str, Any]:
    """The VIOLATION that is written instead of the act."""
    first = reasons[0]
    payload: dict[str, Any] = {
        "attempted_action": members["action_type"],
        "action_hash": action_hash,
        "blocked": True,
        "reasons": [
            {"invariant": reason.invariant, "reason": reason.message, **reason.evidence} for reason in reasons
        ],
    }
    for reason in reasons:
        if "safety_score" in reason.evidence:
            payload |= reason.evidence
    kept = ("actor_id", "actor_type", "actor_context", "pillars_scores", "conflicts_detected")
    return {
        **{name: members[name] for name in kept if name in members},
        "event_type": EventType.VIOLATION,
        "event_category": "ERROR",
        "action_type": ATTEMPTS[first.invariant],
        "action_payload": payload,
        "execution_status": "BLOCKED",
        "error_details": {
            "violation_type": first.violation_type,
            "violated_invariant": first.invariant,
            "message": "; ".join(reason.message for reason in reasons),
            "remediation": "; ".join(REMEDIES[reason.invariant] for reason in reasons),
        },
    }


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
            "INVARIANT_5_QUORUM", "QUORUM_MISSING", "approvals that are asked for are missing",
            {"missing_approvals": basis.missing, "refused": refused},
        )  # fmt: skip
