"""The derived members: what the policy in force makes of an entry's facts.

The same function serves the log before it stores and the verifier years
later, on drafts and on entries alike. It judges nothing: an entry below the
safety floor is recorded as below it.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET

from attestlog.core.approval import Judged, Request, judge_approvals, missing_for_quorum
from attestlog.core.claims import NO_CLAIMS, NO_VERIFIERS, Claims, Verifiers, judge_claims
from attestlog.core.demand import Demand
from attestlog.core.entry import PILLARS, Entry, EntryDraft, Pillar
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


class Basis(NamedTuple):
    """What the derivation rests on, for whoever must say why."""

    derived: Derived
    demand: Demand
    claims: Claims
    required_proofs: frozenset[str]
    """Those of the entry and of the rules."""
    judged: list[Judged]
    """Each approval the entry carries."""
    missing: dict[str, Any]
    """What the quorum lacks: `approvals` (have, need), `roles`, `rejected_by`; empty when it is met."""


def derive(
    policy: Policy,
    facts: Entry | EntryDraft,
    origin: str,
    action_hash: str,
    timestamp: str,
    *,
    verifiers: Verifiers = NO_VERIFIERS,
) -> Derived:
    """The derived members under this policy.

    `timestamp`: the entry's own; for a draft, the moment at which it will be written, as text.
    `verifiers`: those that an application registered for its own types of proofs.
    """
    composite = composite_score(policy, facts.pillars_scores) if facts.pillars_scores else None
    k_state = 0 if facts.conflicts_detected else 1
    floor_met = None if composite is None else _floor_met(policy, composite, facts.pillars_scores)
    if not (policy.rules or facts.required_proofs or facts.provided_proofs or facts.required_approvals):
        return Derived(composite, floor_met, k_state, True, True)
    demand = policy.demand(facts.event_type, facts.action_type)
    proofs_valid = quorum_met = True
    if facts.required_proofs or facts.provided_proofs or demand.required_proofs:
        claims = judge_claims(
            policy, facts, origin, action_hash, floor_met=floor_met, k_state=k_state, verifiers=verifiers
        )
        proofs_valid = claims.satisfy(_required(facts, demand))
    if facts.required_approvals or demand.required_approvals or demand.roles:
        quorum_met = is_quorum_met(policy, facts, origin, action_hash, timestamp)
    return Derived(composite, floor_met, k_state, proofs_valid, quorum_met)


def needs_approval(policy: Policy, facts: Entry | EntryDraft) -> bool:
    """Whether the entry itself, or a rule, asks for anybody's."""
    return facts.required_approvals > 0 or (
        bool(policy.rules) and policy.demand(facts.event_type, facts.action_type).needs_approval
    )


def is_quorum_met(
    policy: Policy, facts: Entry | EntryDraft, origin: str, action_hash: str, timestamp: str
) -> bool:
    """`quorum_met` of an entry that needs approval, at this moment."""
    request = Request(origin, facts.action_type, action_hash, facts.actor_id, timestamp)
    judged = judge_approvals(policy, facts.received_approvals, request)
    return not _missing(policy, facts, policy.demand(facts.event_type, facts.action_type), judged)


def explain(
    policy: Policy,
    facts: Entry | EntryDraft,
    origin: str,
    action_hash: str,
    timestamp: str,
    *,
    verifiers: Verifiers = NO_VERIFIERS,
) -> Basis:
    """What `derive` derives, and why: for those who block, and for those who report."""
    derived = derive(policy, facts, origin, action_hash, timestamp, verifiers=verifiers)
    demand = policy.demand(facts.event_type, facts.action_type)
    floor_met, k_state = derived.safety_floor_met, derived.k_state
    claims = NO_CLAIMS
    if facts.provided_proofs:
        claims = judge_claims(
            policy, facts, origin, action_hash, floor_met=floor_met, k_state=k_state, verifiers=verifiers
        )
    request = Request(origin, facts.action_type, action_hash, facts.actor_id, timestamp)
    judged = judge_approvals(policy, facts.received_approvals, request)
    missing = {} if derived.quorum_met else _missing(policy, facts, demand, judged)
    return Basis(derived, demand, claims, _required(facts, demand), judged, missing)


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
            # Products of integers are exact here, so that it is the sum in doubles all the same.
            weight = policy.weights[pillar]
            total += weight * scores[pillar]
            weights += weight
    if not weights:
        return None
    composite = round(total / weights, COMPOSITE_DECIMALS)
    return int(composite) if composite.is_integer() else composite


def _floor_met(policy: Policy, composite: float, scores: dict[Pillar, Any]) -> bool:
    lowest = min(scores.values()) if policy.floor_per_pillar else composite
    return bool(composite >= policy.safety_floor and lowest >= policy.safety_floor)


def _required(facts: Entry | EntryDraft, demand: Demand) -> frozenset[str]:
    return frozenset((*facts.required_proofs, *demand.required_proofs))


def _missing(
    policy: Policy, facts: Entry | EntryDraft, demand: Demand, judged: list[Judged]
) -> dict[str, Any]:
    needed = max(facts.required_approvals, demand.required_approvals)
    return missing_for_quorum(policy, judged, needed, demand.roles)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
