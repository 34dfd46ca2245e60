"""The five events that the HAIOS schema 1.0.0 prints as examples, as it prints them.

They are excerpts: none has the `actor_id` that the schema asks of every entry, so `schema_event` adds one.
"""

from typing import Any, Final

Event = dict[str, Any]

ACTION: Final[Event] = {
    "event_type": "ACTION",
    "event_category": "NORMAL",
    "action_type": "execute_autonomous_task",
    "action_payload": {
        "task_id": "task_12345",
        "task_description": "Fix YAML syntax in workflows",
        "files_modified": ["workflow1.yml", "workflow2.yml"],
        "lines_changed": 127,
        "risk_score": 2.5,
    },
    "pillars_scores": {"an_toan": 9.0, "duong_dai": 8.5, "tin_vao_so_lieu": 9.2, "han_che_rui_ro": 8.8},
    "execution_status": "SUCCESS",
}

DECISION: Final[Event] = {
    "event_type": "DECISION",
    "event_category": "WARNING",
    "action_type": "skip_social_preview_upload",
    "action_payload": {
        "decision": "Skip social preview upload",
        "reasoning": "GitHub browser issues, not critical for launch",
        "alternative_chosen": "Focus on description + topics (90% impact)",
        "impact_assessment": {"social_preview": 0.10, "description": 0.40, "topics": 0.50},
    },
    "pillars_scores": {"an_toan": 10.0, "duong_dai": 9.5, "tin_vao_so_lieu": 9.8, "han_che_rui_ro": 9.0},
    "execution_status": "SUCCESS",
}

VIOLATION: Final[Event] = {
    "event_type": "VIOLATION",
    "event_category": "ERROR",
    "action_type": "safety_floor_breach_attempt",
    "action_payload": {
        "attempted_action": "execute_untested_code",
        "safety_score": 6.2,
        "min_required": 7.0,
        "blocked": True,
    },
    "error_details": {
        "violation_type": "SAFETY_FLOOR_BREACH",
        "violated_invariant": "INVARIANT_2_SAFETY_FLOOR",
        "remediation": "Sandboxed + human approval required",
    },
    "execution_status": "BLOCKED",
}

CHANGE: Final[Event] = {
    "event_type": "CHANGE",
    "event_category": "CRITICAL",
    "action_type": "modify_policy_rule",
    "action_payload": {
        "proposal_id": "CP-2025-001",
        "change_description": "Adjust MIN_SAFETY_SCORE for experimental",
        "old_value": 7.0,
        "new_value": 6.5,
        "scope": "experimental_modules_only",
    },
    "required_approvals": 3,
    "received_approvals": [
        {"signer": "creator", "signature": "0x123...", "timestamp": "..."},
        {"signer": "community", "signature": "0x456...", "timestamp": "..."},
        {"signer": "auditor", "signature": "0x789...", "timestamp": "..."},
    ],
    "quorum_met": True,
    "provided_proofs": [
        {"type": "safety_floor", "valid": True, "hash": "0xabc..."},
        {"type": "rollback", "valid": True, "hash": "0xdef..."},
        {"type": "k1_state", "valid": True, "hash": "0x123..."},
        {"type": "pillars", "valid": True, "hash": "0x456..."},
    ],
    "execution_status": "SUCCESS",
}

BOOT: Final[Event] = {
    "event_type": "BOOT",
    "event_category": "NORMAL",
    "action_type": "system_initialization",
    "action_payload": {
        "boot_time": "2025-10-30T12:00:00Z",
        "version": "HAIOS-1.0.0",
        "attribution_verified": True,
        "invariants_loaded": 7,
        "initial_k_state": 1,
    },
    "provided_proofs": [{"type": "attribution_intact", "valid": True}],
    "execution_status": "SUCCESS",
}

PRINTED: Final = {event["event_type"]: event for event in (ACTION, DECISION, VIOLATION, CHANGE, BOOT)}


def schema_event(kind: str, **members: Any) -> Event:
    """An example, with an actor, and without a quorum that it only asserts: the log derives that itself."""
    printed = {name: value for name, value in PRINTED[kind].items() if name != "quorum_met"}
    return {"actor_id": "digital_organism_01", **printed, **members}
