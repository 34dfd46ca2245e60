"""Governance: what the policy in force derives from an entry's facts.

The same function serves the log before it stores and the verifier years
later, on drafts and on entries alike. It judges nothing: an entry below the
safety floor is recorded as below it.

Not here yet: the approvals and rules of the policy. Until then no approval
counts, nor does an `actor_signature`; both are recorded as given.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET

from attestlog.core.entry import ATTRIBUTION, PILLARS, Entry, EntryDraft, Pillar
from attestlog.core.policy import Policy
from attestlog.errors import DerivedMemberError

COMPOSITE_DECIMALS: Final = 6
"""A composite score is rounded to this many decimals, half to even, so that every reader gets the same."""


class Derived(NamedTuple):
    """The derived members, as they must stand in the entry."""

    composite_score: int | float | None
    safety_floor_met: bool | None
    k_state: int
    proofs_valid: bool
    quorum_met: bool


def derive(policy: Policy, facts: Entry | EntryDraft) -> Derived:
    """The derived members under this policy."""
    composite = composite_score(policy, facts.pillars_scores) if facts.pillars_scores else None
    k_state = 0 if facts.conflicts_detected else 1
    floor_met = None if composite is None else _floor_met(policy, composite, facts.pillars_scores)
    proofs_valid = not (facts.required_proofs or facts.provided_proofs) or _proofs_valid(
        facts, floor_met, k_state
    )
    return Derived(composite, floor_met, k_state, proofs_valid, facts.required_approvals == 0)


def check_derived(derived: Derived, facts: Entry | EntryDraft) -> None:
    """Raises DerivedMemberError for the first stated member that contradicts the derivation."""
    for member, expected in zip(Derived._fields, derived, strict=True):
        found = getattr(facts, member)
        if found is not UNSET and (found != expected or (found is None) != (expected is None)):
            raise contradiction(member, expected, found)


def contradiction(member: str, expected: object, found: object) -> DerivedMemberError:
    """The error for a stated member that is not what it must be."""
    return DerivedMemberError(
        f"{member} is stated as {_json(found)}, derived as {_json(expected)}",
        member=member, expected=expected, found=found,
    )  # fmt: skip


def composite_score(policy: Policy, scores: dict[Pillar, Any]) -> int | float | None:
    """Σ weight·score ÷ Σ weight over the pillars given; null when nothing given has weight."""
    total = weights = 0.0
    for pillar in PILLARS:
        if pillar in scores:
            total += float(policy.weights[pillar]) * float(scores[pillar])
            weights += float(policy.weights[pillar])
    if not weights:
        return None
    composite = round(total / weights, COMPOSITE_DECIMALS)
    return int(composite) if composite.is_integer() else composite


def unverifiable_proofs(facts: Entry | EntryDraft) -> list[str]:
    """Types of proofs that claim to be valid and that nothing here can check: recorded, not counted."""
    return [
        str(proof["type"])
        for proof in facts.provided_proofs
        if proof["valid"] is True and proof["type"] not in CHECKED_PROOFS
    ]


CHECKED_PROOFS: Final = ("safety_floor", "pillars", "k1_state", "rollback", "attribution_intact")
"""Proof types that the entry itself proves or refutes; no key is needed."""


def _floor_met(policy: Policy, composite: float, scores: dict[Pillar, Any]) -> bool:
    lowest = min(scores.values()) if policy.floor_per_pillar else composite
    return bool(composite >= policy.safety_floor and lowest >= policy.safety_floor)


def _proofs_valid(facts: Entry | EntryDraft, floor_met: bool | None, k_state: int) -> bool:
    holds = {
        "safety_floor": floor_met is True,
        "pillars": len(facts.pillars_scores) == len(PILLARS),
        "k1_state": k_state == 1,
        "rollback": facts.rollback_available and facts.rollback_snapshot_hash is not None,
        "attribution_intact": facts.attribution in (ATTRIBUTION, UNSET),
    }
    claimed = {proof["type"] for proof in facts.provided_proofs if proof["valid"] is True}
    proven = {kind for kind in claimed if holds.get(kind, False)}
    refuted = {kind for kind in claimed if not holds.get(kind, True)}
    return not refuted and proven.issuperset(facts.required_proofs)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
