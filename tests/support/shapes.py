"""The six event shapes as a user would write them, and the short way from drafts to the lines of a log.

Keys are made from fixed bytes: they guard nothing, and every run signs with the same ones.
"""

from __future__ import annotations

import functools
from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from tests.support.people import ROLES, Person, governed

from attestlog._internal.core.batch import Head, Plan, Prepared, plan_batch, prepare
from attestlog._internal.core.checkpoint import LogId
from attestlog._internal.core.curves import to_low_s
from attestlog._internal.core.entry import Entry, check_canonical, decode_line, parse_draft
from attestlog._internal.core.pointer import Pointers
from attestlog._internal.core.policy import Policy
from attestlog._internal.core.signature import PublicKey, public_key

ORIGIN = "example.com/agents"
LOG = LogId(ORIGIN, sha256(b"the genesis entry").hexdigest())
"""A log of which there are only parts."""
NOW_US = 1_761_825_600_000_000  # 2025-10-30T12:00:00Z
TIMESTAMP = "2025-10-30T12:00:00.000000Z"
SNAPSHOT_HASH = sha256(b"the state before").hexdigest()
POINTERS = Pointers(f"0:{sha256(b'the genesis entry').hexdigest()}")
LONGEST_POINTERS = Pointers(*(f"{2**53 - 1}:{'f' * 64}" for _ in range(2)))
ENVIRONMENT = {"os": "Linux 6.1", "runtime": "CPython 3.11"}

Shape = dict[str, Any]

ACTION: Shape = {
    "event_type": "ACTION",
    "action_type": "execute_autonomous_task",
    "actor_type": "AUTONOMOUS_AGENT",
    "actor_id": "digital_organism_01",
    "actor_context": {"role": "builder", "session": "s-17", "permissions": ["write"]},
    "action_payload": {
        "task_id": "task-2025-10-30-001",
        "description": "Soft launch: ghi chú phát hành",
        "files_modified": ["RELEASE_NOTES.md", "README.md"],
        "lines_changed": 412,
        "risk_score": 0.15,
    },
    "pillars_scores": {"an_toan": 8.5, "duong_dai": 9.0, "tin_vao_so_lieu": 7.5, "han_che_rui_ro": 8},
    "execution_status": "SUCCESS",
    "result_data": {"commit": "372b274", "elapsed_s": 12.0},
}

DECISION: Shape = {
    "event_type": "DECISION",
    "event_category": "WARNING",
    "action_type": "skip_social_preview_upload",
    "actor_type": "AUTONOMOUS_AGENT",
    "actor_id": "digital_organism_01",
    "action_payload": {
        "decision": "skip",
        "reasoning": "no credentials for the upload, and the release does not depend on it",
        "alternative_chosen": "manual upload later",
        "impact_assessment": "LOW",
    },
}

VIOLATION: Shape = {
    "event_type": "VIOLATION",
    "event_category": "ERROR",
    "severity": 8,
    "action_type": "safety_floor_breach_attempt",
    "actor_type": "AUTONOMOUS_AGENT",
    "actor_id": "digital_organism_02",
    "action_payload": {
        "attempted_action": "deploy_without_review",
        "safety_score": 6.2,
        "min_required": 7.0,
        "blocked": True,
    },
    "pillars_scores": {"an_toan": 6.2},
    "execution_status": "BLOCKED",
    "error_details": {
        "violation_type": "SAFETY_FLOOR_BREACH",
        "violated_invariant": "INVARIANT_2_SAFETY_FLOOR",
        "remediation": "raise the safety score to 7.0, or ask for approval",
    },
}

BOOT: Shape = {
    "event_type": "BOOT",
    "action_type": "system_initialization",
    "actor_id": "system",
    "action_payload": {
        "boot_time": TIMESTAMP,
        "version": "1.0.0",
        "attribution_verified": True,
        "invariants_loaded": 7,
        "initial_k_state": 1,
    },
    "required_proofs": ["attribution_intact"],
    "provided_proofs": [{"type": "attribution_intact", "valid": True}],
}

SHUTDOWN: Shape = {
    "event_type": "SHUTDOWN",
    "action_type": "system_shutdown",
    "actor_id": "system",
    "action_payload": {"reason": "maintenance", "uptime_s": 86_400, "entries_written": 1_024},
    "system_state_snapshot": {"queue": 0, "load": [0.1, 0.25, 1e-7]},
}

_PROPOSAL: Shape = {
    "proposal_id": "prop-7",
    "change_description": "lower the safety floor",
    "old_value": 7.0,
    "new_value": 6.5,
    "scope": "safety_floor",
}


def change_for(log: LogId) -> Shape:
    """The first change of the policy of this log, with the approvals of three people."""
    replaces = {"sequence_number": 0, "entry_hash": log.genesis}
    change = {**_CHANGE, "action_payload": {**_PROPOSAL, "replaces": replaces}}
    return {**change, "received_approvals": [Person(role).approve(change, log) for role in ROLES]}


_CHANGE: Shape = {
    "event_type": "CHANGE",
    "event_category": "CRITICAL",
    "action_type": "attestlog.modify_policy_rule",
    "actor_type": "HUMAN",
    "actor_id": "maintainer",
    "action_payload": _PROPOSAL,
    "required_proofs": ["safety_floor", "rollback", "k1_state", "pillars"],
    "provided_proofs": [
        {"type": kind, "valid": True, "hash": SNAPSHOT_HASH}
        for kind in ("safety_floor", "rollback", "k1_state", "pillars")
    ],
    "pillars_scores": {"an_toan": 8, "duong_dai": 8, "tin_vao_so_lieu": 8, "han_che_rui_ro": 7.5},
    "required_approvals": 3,
    "rollback_available": True,
    "rollback_snapshot_hash": SNAPSHOT_HASH,
}
CHANGE: Shape = change_for(LOG)

GOVERNED: Final = governed(
    rules={
        "policy": {
            "event_types": ["CHANGE"],
            "action_types": ["attestlog.set_policy", "attestlog.modify_policy_rule"],
            "required_approvals": 3,
            "roles": list(ROLES),
        }
    }
)
"""A policy under which the CHANGE holds."""

SHAPES: dict[str, Shape] = {
    shape["event_type"]: shape for shape in (ACTION, DECISION, VIOLATION, CHANGE, BOOT, SHUTDOWN)
}


@functools.cache
def p256_key(name: str = "entry") -> EllipticCurvePrivateKey:
    return derive_private_key(int.from_bytes(sha256(name.encode()).digest()) >> 1, SECP256R1())


@functools.cache
def ed25519_key(name: str = "entry") -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest())


PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey


def sign(key: PrivateKey, message: bytes) -> bytes:
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(message)
    return to_low_s(key.sign(message, ECDSA(SHA256())))


def entry_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


def prepared(shape: Shape, number: int = 0, policy: Policy | None = None, **options: Any) -> Prepared:
    options = {"entry_id": entry_id(number), "environment": ENVIRONMENT, **options}
    return prepare(parse_draft(shape), policy or Policy(), **options)


def planned(items: list[Prepared], key: PrivateKey, head: Head | None = None, **options: Any) -> Plan:
    public: PublicKey = public_key(key.public_key())
    options = {"batched": True, "pointers": POINTERS, **options}
    now_us = options.pop("now_us", NOW_US)
    return plan_batch(
        head or Head(), items, now_us, algorithm=public.algorithm, key_id=public.key_id, **options
    )


def sealed(shapes: list[Shape], key: PrivateKey | None = None, **options: Any) -> list[bytes]:
    """The lines of these drafts, one batch."""
    key = key or p256_key()
    plan = planned([prepared(shape, number) for number, shape in enumerate(shapes)], key, **options)
    return plan.seal([sign(key, message) for message in plan.messages])


def line_of(shape: Shape | None = None, **members: Any) -> bytes:
    """The line of one draft, signed alone."""
    return sealed([{**(shape or BOOT), **members}], batched=False)[0]


def read(line: bytes) -> Entry:
    """The entry of a line that must be in its one spelling."""
    entry = decode_line(line)
    check_canonical(entry, line)
    return entry
