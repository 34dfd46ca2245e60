"""The derived members: what the policy in force makes of an entry's facts.

The same function serves the log before it stores and the verifier years
later, on drafts and on entries alike. It judges nothing: an entry below the
safety floor is recorded as below it.

What an entry's `provided_proofs` claim, and which of those claims hold.

A proof here is one object of `provided_proofs`: a type, whether it claims to
be valid, and whatever its type calls for. Types that the entry itself proves
or refutes are checked here, `actor_signature` against the policy's keys; an
application registers what checks its own. A claim nobody can check is
recorded and does not count.

The seven invariants, by the names that a VIOLATION gives, and those that an entry can break by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET

from attestlog._internal.core.approval import JudgedApproval, Request, judge_approvals, missing_for_quorum
from attestlog._internal.core.approval import with_low_s as approval_with_low_s
from attestlog._internal.core.checkpoint import LogId
from attestlog._internal.core.curves import to_low_s
from attestlog._internal.core.entry import ATTRIBUTION, PILLARS, Entry, EntryDraft, EventType, Object, Pillar
from attestlog._internal.core.hashes import actor_message
from attestlog._internal.core.policy import Demand, Policy
from attestlog.errors import DerivedMemberError, MalformedEntryError, MalformedError, SignatureInvalidError

CHECKED_PROOFS: Final = (
    "safety_floor", "pillars", "k1_state", "rollback", "attribution_intact", "actor_signature",
)  # fmt: skip
"""Types that are checked here; none of them can be registered anew."""

ACTOR_SIGNATURE: Final = "actor_signature"
_OF_THE_ENTRY: Final = frozenset(CHECKED_PROOFS) - {ACTOR_SIGNATURE}


class ProofClaim(NamedTuple):
    """One proof that claims to be valid, and what it is claimed of."""

    proof: Mapping[str, Any]
    origin: str
    event_type: str
    action_type: str
    action_hash: str
    actor_id: str


ProofVerifier = Callable[[ProofClaim], bool]
"""Whether a claim holds. The same for the same claim, always: a verifier asks again years later.

What it raises says that it could not tell; the claim then does not count, and is said to be unchecked.
"""

Verifiers = Mapping[str, ProofVerifier]
NO_VERIFIERS: Final[Verifiers] = {}


class Claims(NamedTuple):
    """The types claimed to be valid, by what became of the claim."""

    proven: frozenset[str] = frozenset()
    refuted: frozenset[str] = frozenset()
    unchecked: tuple[str, ...] = ()
    """In the order they stand, one for each proof."""

    def satisfy(self, required: frozenset[str]) -> bool:
        """What `proofs_valid` must be: all that is required proven, nothing refuted."""
        return not self.refuted and self.proven >= required

    def may_satisfy(self, required: frozenset[str]) -> bool:
        """Whether it could be so, if what is unchecked holds."""
        return not self.refuted and self.proven.union(self.unchecked) >= required


NO_CLAIMS: Final = Claims()


def judge_claims(
    policy: Policy,
    facts: Entry | EntryDraft,
    origin: str,
    action_hash: str,
    *,
    floor_met: bool | None,
    k_state: int,
    verifiers: Verifiers = NO_VERIFIERS,
) -> Claims:
    """What became of each claim. `verifiers`: the application's own, by type."""
    proven: set[str] = set()
    refuted: set[str] = set()
    unchecked: list[str] = []
    for proof in facts.provided_proofs:
        kind: str = proof["type"]
        if proof["valid"] is not True:
            continue
        holds: bool | None
        if kind in _OF_THE_ENTRY:
            holds = _holds(kind, facts, floor_met, k_state)
        else:
            claim = ProofClaim(
                proof, origin, facts.event_type, facts.action_type, action_hash, facts.actor_id
            )
            is_ours = kind == ACTOR_SIGNATURE
            holds = _is_signed_by_actor(policy, claim) if is_ours else _ask(verifiers.get(kind), claim)
        if holds is None:
            unchecked.append(kind)
        else:
            (proven if holds else refuted).add(kind)
    return Claims(frozenset(proven), frozenset(refuted), tuple(unchecked))


def _holds(kind: str, facts: Entry | EntryDraft, floor_met: bool | None, k_state: int) -> bool:
    if kind == "safety_floor":
        return floor_met is True
    if kind == "pillars":
        return len(facts.pillars_scores) == len(PILLARS)
    if kind == "k1_state":
        return k_state == 1
    if kind == "rollback":
        return facts.rollback_available and facts.rollback_snapshot_hash is not None
    return facts.attribution in (ATTRIBUTION, UNSET)


def _ask(verifier: ProofVerifier | None, claim: ProofClaim) -> bool | None:
    if verifier is None:
        return None
    try:
        return bool(verifier(claim))
    except Exception:  # noqa: BLE001 - the application's code: that it failed says nothing of the claim
        return None


def _is_signed_by_actor(policy: Policy, claim: ProofClaim) -> bool:
    """Members `key_id` and `signature` (hex); the key is one the policy in force registers for the actor."""
    key_id, signature = claim.proof.get("key_id"), claim.proof.get("signature")
    key = policy.actor_keys.get(claim.actor_id, {}).get(key_id) if isinstance(key_id, str) else None
    if key is None or not isinstance(signature, str):
        return False
    try:
        data, digest = bytes.fromhex(signature), bytes.fromhex(claim.action_hash)
        if data.hex() != signature:
            return False
        key.verify(data, actor_message(claim.origin, digest))
    except (ValueError, MalformedError, SignatureInvalidError):
        return False
    return True


def with_low_s(policy: Policy, draft: EntryDraft, log: LogId, action_hash: str) -> EntryDraft:
    """The draft with the low s of people's P-256 signatures that verify under this policy.

    The one conversion the log makes: else whoever hands a signature on could respell the entry. What does
    not verify stays as it is: it is recorded, and does not count.
    """
    changed: dict[str, Any] = {}
    request = Request.of(draft, log, action_hash, "")
    approvals = [approval_with_low_s(policy, item, request) for item in draft.received_approvals]
    if approvals != draft.received_approvals:
        changed["received_approvals"] = approvals
    proofs = [
        _proof_with_low_s(policy, draft, proof, log.origin, action_hash) for proof in draft.provided_proofs
    ]
    if proofs != draft.provided_proofs:
        changed["provided_proofs"] = proofs
    return msgspec.structs.replace(draft, **changed) if changed else draft


def _proof_with_low_s(
    policy: Policy, draft: EntryDraft, proof: Object, origin: str, action_hash: str
) -> Object:
    signature = proof.get("signature")
    if proof.get("type") != ACTOR_SIGNATURE or not isinstance(signature, str):
        return proof
    try:
        respelled = {**proof, "signature": to_low_s(bytes.fromhex(signature)).hex()}
    except ValueError:
        return proof
    claim = ProofClaim(respelled, origin, draft.event_type, draft.action_type, action_hash, draft.actor_id)
    return respelled if _is_signed_by_actor(policy, claim) else proof


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
    judged: list[JudgedApproval]
    """Each approval the entry carries."""
    missing: dict[str, Any]
    """What the quorum lacks: `approvals` (have, need), `roles`, `rejected_by`; empty when it is met."""


def derive(
    policy: Policy,
    facts: Entry | EntryDraft,
    log: LogId,
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
    demand = policy.demand(facts.event_type, facts.action_type, facts.actor_id)
    proofs_valid = quorum_met = True
    if facts.required_proofs or facts.provided_proofs or demand.required_proofs:
        claims = judge_claims(
            policy, facts, log.origin, action_hash, floor_met=floor_met, k_state=k_state, verifiers=verifiers
        )
        proofs_valid = claims.satisfy(_required(facts, demand))
    if facts.required_approvals or demand.required_approvals or demand.roles:
        quorum_met = is_quorum_met(policy, facts, log, action_hash, timestamp)
    return Derived(composite, floor_met, k_state, proofs_valid, quorum_met)


def needs_approval(policy: Policy, facts: Entry | EntryDraft) -> bool:
    """Whether the entry itself, or a rule, asks for anybody's."""
    return facts.required_approvals > 0 or (
        bool(policy.rules)
        and policy.demand(facts.event_type, facts.action_type, facts.actor_id).needs_approval
    )


def is_quorum_met(
    policy: Policy, facts: Entry | EntryDraft, log: LogId, action_hash: str, timestamp: str
) -> bool:
    """`quorum_met` of an entry that needs approval, at this moment."""
    request = Request.of(facts, log, action_hash, timestamp)
    judged = judge_approvals(policy, facts.received_approvals, request)
    return not _missing(
        policy, facts, policy.demand(facts.event_type, facts.action_type, facts.actor_id), judged
    )


def explain(
    policy: Policy,
    facts: Entry | EntryDraft,
    log: LogId,
    action_hash: str,
    timestamp: str,
    *,
    verifiers: Verifiers = NO_VERIFIERS,
) -> Basis:
    """What `derive` derives, and why: for those who block, and for those who report."""
    derived = derive(policy, facts, log, action_hash, timestamp, verifiers=verifiers)
    demand = policy.demand(facts.event_type, facts.action_type, facts.actor_id)
    floor_met, k_state = derived.safety_floor_met, derived.k_state
    claims = NO_CLAIMS
    if facts.provided_proofs:
        claims = judge_claims(
            policy, facts, log.origin, action_hash, floor_met=floor_met, k_state=k_state, verifiers=verifiers
        )
    request = Request.of(facts, log, action_hash, timestamp)
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
    policy: Policy, facts: Entry | EntryDraft, demand: Demand, judged: list[JudgedApproval]
) -> dict[str, Any]:
    needed = max(facts.required_approvals, demand.required_approvals)
    return missing_for_quorum(policy, judged, needed, demand.roles)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


INVARIANTS: Final = (
    "INVARIANT_1_APPEND_ONLY",
    "INVARIANT_2_SAFETY_FLOOR",
    "INVARIANT_3_K1_STATE",
    "INVARIANT_4_PROOFS",
    "INVARIANT_5_QUORUM",
    "INVARIANT_6_ROLLBACK",
    "INVARIANT_7_ATTRIBUTION",
)
"""Chain, sequence and tree; composite at the floor; no conflict; proofs; quorum; rollback; attribution."""

VIOLATED: Final = "violated_invariant"
"""The member of `error_details` in which a VIOLATION names the invariant."""


def broken_invariant(facts: Entry | EntryDraft) -> tuple[str, str] | None:
    """(member, why), for what contradicts itself in these facts, whatever the policy; None: nothing.

    A VIOLATION that names an invariant names one of the seven. An entry that executed a rollback names
    the snapshot it went back to.
    """
    if facts.rollback_executed and facts.rollback_snapshot_hash is None:
        return "rollback_snapshot_hash", "a rollback was executed, and no snapshot is named"
    if facts.event_type is EventType.VIOLATION and facts.error_details:
        named = facts.error_details.get(VIOLATED)
        if named is not None and named not in INVARIANTS:
            return f"error_details.{VIOLATED}", f"names none of the {len(INVARIANTS)} invariants"
    return None


def check_invariants(draft: EntryDraft) -> None:
    """Raises MalformedEntryError for a draft that contradicts itself."""
    broken = broken_invariant(draft)
    if broken is not None:
        member, reason = broken
        raise MalformedEntryError(f"draft: {member}: {reason}", member=member)
