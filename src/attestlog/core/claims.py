"""What an entry's `provided_proofs` claim, and which of those claims hold.

A proof here is one object of `provided_proofs`: a type, whether it claims to
be valid, and whatever its type calls for. Types that the entry itself proves
or refutes are checked here, `actor_signature` against the policy's keys; an
application registers what checks its own. A claim nobody can check is
recorded and does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from msgspec import UNSET

from attestlog.core.entry import ATTRIBUTION, PILLARS, Entry, EntryDraft
from attestlog.core.hashes import actor_message
from attestlog.core.policy import Policy
from attestlog.errors import MalformedError, SignatureInvalidError

CHECKED_PROOFS: Final = (
    "safety_floor", "pillars", "k1_state", "rollback", "attribution_intact", "actor_signature",
)  # fmt: skip
"""Types that are checked here; none of them can be registered anew."""

ACTOR_SIGNATURE: Final = "actor_signature"
_OF_THE_ENTRY: Final = frozenset(CHECKED_PROOFS) - {ACTOR_SIGNATURE}


class Claim(NamedTuple):
    """One proof that claims to be valid, and what it is claimed of."""

    proof: Mapping[str, Any]
    origin: str
    event_type: str
    action_type: str
    action_hash: str
    actor_id: str


ProofVerifier = Callable[[Claim], bool]
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
            claim = Claim(proof, origin, facts.event_type, facts.action_type, action_hash, facts.actor_id)
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


def _ask(verifier: ProofVerifier | None, claim: Claim) -> bool | None:
    if verifier is None:
        return None
    try:
        return bool(verifier(claim))
    except Exception:  # noqa: BLE001 - the application's code: that it failed says nothing of the claim
        return None


def _is_signed_by_actor(policy: Policy, claim: Claim) -> bool:
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
