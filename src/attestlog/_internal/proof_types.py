"""Types of proofs that an application checks by its own means, registered by name, process-wide.

    register_proof("ci_passed", lambda claim: claim.proof["run"] in green_runs)

A log then counts such proofs when it derives `proofs_valid`, and a verifier in
which the same type is registered checks them again. One that knows no such
type says so; it neither believes nor accuses.
"""

from __future__ import annotations

from typing import Final

from attestlog._internal.core.deriving import CHECKED_PROOFS, ProofVerifier, Verifiers

_verifiers: Final[dict[str, ProofVerifier]] = {}


def register_proof(kind: str, verifier: ProofVerifier) -> None:
    """Make proofs of this type count when `verifier(claim)` says that they hold.

    `claim` has the `proof` (the object of `provided_proofs`) and what it is claimed of: `origin`,
    `event_type`, `action_type`, `action_hash`, `actor_id`. The answer must be the same for the same
    claim whenever it is asked; an exception means that it could not tell. Raises ValueError for a
    type that attestlog checks itself.
    """
    if kind in CHECKED_PROOFS:
        raise ValueError(f"proofs of type {kind!r} are checked by attestlog itself")
    _verifiers[kind] = verifier


def unregister_proof(kind: str) -> None:
    """Forget what was registered for a type; nothing if nothing was."""
    _verifiers.pop(kind, None)


def registered_proofs() -> Verifiers:
    """What is registered now, by type."""
    return _verifiers
