"""What happens in the demo: one afternoon of an agent and of those who watch it."""

from __future__ import annotations

from typing import Any, Final

AGENT: Final = {"actor_id": "digital_organism_01", "actor_type": "AUTONOMOUS_AGENT"}

EVENTS: Final[tuple[dict[str, Any], ...]] = (
    {
        "event_type": "BOOT",
        "action_type": "system_initialization",
        "actor_id": "haios_core",
        "action_payload": {"version": "1.0.0", "invariants_loaded": 7, "initial_k_state": 1},
        "required_proofs": ["attribution_intact"],
        "provided_proofs": [{"type": "attribution_intact", "valid": True}],
    },
    {
        "event_type": "ACTION",
        "action_type": "execute_autonomous_task",
        **AGENT,
        "action_payload": {
            "task_id": "TASK-042", "description": "refactor the scheduler", "files_modified": ["plan.py"],
            "lines_changed": 118, "risk_score": 2.5,
        },
        "pillars_scores": {"an_toan": 9, "duong_dai": 8.5, "tin_vao_so_lieu": 9, "han_che_rui_ro": 8},
        "result_data": {"tests_passed": 214, "tests_failed": 0},
    },
    {
        "event_type": "ACTION",
        "action_type": "disable_monitoring",
        **AGENT,
        "action_payload": {"reason": "it reports too much"},
        "pillars_scores": {"an_toan": 6.2},
    },
    {
        "event_type": "DECISION",
        "event_category": "WARNING",
        "action_type": "skip_social_preview_upload",
        **AGENT,
        "action_payload": {
            "decision": "skip the upload", "reasoning": "needs a manual step in a browser",
            "alternative_chosen": "documented for a later release", "impact_assessment": "low",
        },
    },
    {
        "event_type": "CHANGE",
        "event_category": "CRITICAL",
        "action_type": "attestlog.modify_policy_rule",
        "actor_id": "council_of_three",
        "actor_type": "HUMAN",
        "action_payload": {
            "proposal_id": "PROP-7", "change_description": "lower the floor", "old_value": 7,
            "new_value": 6.5, "scope": "safety_floor",
        },
        "pillars_scores": {"an_toan": 8, "duong_dai": 8, "tin_vao_so_lieu": 9, "han_che_rui_ro": 8},
        "required_proofs": ["safety_floor", "rollback", "k1_state", "pillars"],
        "provided_proofs": [
            {"type": proof, "valid": True} for proof in ("safety_floor", "rollback", "k1_state", "pillars")
        ],
        "rollback_available": True,
        "rollback_snapshot_hash": "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
    },
    {
        "event_type": "SHUTDOWN",
        "action_type": "system_shutdown",
        "actor_id": "haios_core",
        "action_payload": {"reason": "end of day", "final_k_state": 1},
    },
)  # fmt: skip

VIOLATION_NUMBER: Final = 5
"""Sequence number of the VIOLATION: the entry that somebody would like to read otherwise."""
BYTE_BEFORE, BYTE_AFTER = b'"safety_score":6.2', b'"safety_score":7.2'
"""The one byte that makes a breach of the floor look like none."""

SEEN_NUMBER: Final = 3
"""Last entry of the copy that an attacker has kept: the VIOLATION is not in it yet."""

CHECK_LINES: Final = (
    "digest = sha256(canonical(covered)).digest()",
    "key = load_pem_public_key(genesis_key)",
    "key.verify(signature, digest, ECDSA(SHA256()))",
)
CHECK_SCRIPT: Final = '''\
"""Does entry {number} prove itself? Asks Python and cryptography only; attestlog need not be there."""
import json
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key


def canonical(value):
    """RFC 8785 for values as simple as these: ASCII names, short numbers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


with open("{segment}", encoding="utf-8") as file:
    lines = file.read().splitlines()
genesis, entry = json.loads(lines[0]), json.loads(lines[{number}])
genesis_key = genesis["action_payload"]["entry_keys"][0]["public_key"].encode()
signature = bytes.fromhex(entry["hsm_signature"])
covered = {{
    name: value
    for name, value in entry.items()
    if name not in ("action_payload", "entry_hash", "hsm_signature")
}}
assert entry["action_hash"] == sha256(canonical(entry["action_payload"])).hexdigest()

{body}
print("holds")
'''
"""A file the demo leaves behind, to be read and run from the demo's folder."""
