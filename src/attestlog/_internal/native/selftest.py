"""Lines that a native core must accept, and lines that it must not: tried each time it is loaded.

Each line is one entry whose hashes are those of its bytes, so that nothing but the member in question can
give it away. Signatures are not looked at: they are Python's to verify.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

KEY_ID: Final = "ab" * 32
RULES: Final = "7:" + "cd" * 32
ALGORITHM: Final = "ECDSA-P256-SHA256"

MEMBERS: Final[dict[str, bytes]] = {
    "action_hash": b"",
    "action_payload": b'{"amount":3.5,"to":"example"}',
    "action_type": b'"invoice.pay"',
    "actor_context": b"{}",
    "actor_id": b'"agent-1"',
    "actor_type": b'"AUTONOMOUS_AGENT"',
    "attribution": b'"alpha_prime_omega"',
    "composite_score": b"8.75",
    "conflicts_detected": b"[]",
    "dependencies": b"[]",
    "entry_hash": b"",
    "entry_id": b'"0d9d1f2e-5a53-4d30-9c1b-6a1f0c2b7e11"',
    "environment": b'{"attestlog":"0.1.0","attestlog_rules":"' + RULES.encode() + b'"}',
    "error_details": b"null",
    "event_category": b'"NORMAL"',
    "event_type": b'"ACTION"',
    "execution_status": b'"SUCCESS"',
    "hsm_signature": b'"00"',
    "k_state": b"1",
    "pillars_scores": b'{"an_toan":9,"duong_dai":8.5}',
    "prev_entry_hash": b'"' + b"ef" * 32 + b'"',
    "proofs_valid": b"true",
    "provided_proofs": b"[]",
    "quorum_met": b"true",
    "received_approvals": b"[]",
    "replicas": b"[]",
    "required_approvals": b"0",
    "required_proofs": b"[]",
    "result_data": b"null",
    "rollback_available": b"false",
    "rollback_executed": b"false",
    "rollback_snapshot_hash": b"null",
    "safety_floor_met": b"true",
    "schema_version": b'"1.0.0"',
    "sequence_number": b"12",
    "severity": b"1",
    "signature_algorithm": b'"' + ALGORITHM.encode() + b'"',
    "signing_key_id": b'"' + KEY_ID.encode() + b'"',
    "system_state_snapshot": b"{}",
    "timestamp": b'"2026-02-28T23:59:59.000001Z"',
}
"""Of a plain entry, each as it is spelled; its hashes are filled in."""

_NOT_HASHED: Final = frozenset({"action_payload", "entry_hash", "hsm_signature"})


def seal(members: dict[str, bytes]) -> bytes:
    """The line of these members, in this order. Hashes that are empty are made from the bytes."""
    told = dict(members)
    told["action_hash"] = told["action_hash"] or _quoted_hash(told["action_payload"])
    hashed = [item for item in told.items() if item[0] not in _NOT_HASHED]
    told["entry_hash"] = told["entry_hash"] or _quoted_hash(_joined(hashed))
    return _joined(list(told.items()))


def line_with(**changes: bytes) -> bytes:
    """A plain entry's line with some members spelled otherwise."""
    return seal({**MEMBERS, **changes})


def _joined(members: list[tuple[str, bytes]]) -> bytes:
    return b"{" + b",".join(b'"%b":%b' % (name.encode(), value) for name, value in members) + b"}"


def _quoted_hash(data: bytes) -> bytes:
    return b'"' + sha256(data).hexdigest().encode() + b'"'


_DEEP: Final = 62
"""Containers within a payload that are one too many with the payload, which is at level 2, and the entry."""

GOOD: Final[tuple[dict[str, bytes], ...]] = (
    {},
    {"action_payload": '{"z":"\\u0001\\n","é":[1e+21,1e-7,-3,{}],"\U0001f600":1,"\ue000":2}'.encode()},
    {"action_payload": b'{"a":' + b"[" * _DEEP + b"]" * _DEEP + b"}"},
    {"action_payload": b"null", "action_hash": b'"' + b"0" * 64 + b'"'},
    {"action_payload": b'{"n":[9007199254740991,-9007199254740991]}'},
    {"action_type": ('"' + "é" * 256 + '"').encode()},
    {"composite_score": b"null", "pillars_scores": b"{}", "safety_floor_met": b"null"},
    {"composite_score": b"2", "pillars_scores": b'{"an_toan":2}', "safety_floor_met": b"false"},
    {"conflicts_detected": b'["a"]', "k_state": b"0"},
    {"timestamp": b'"2024-02-29T00:00:00.000000Z"'},
    {"dependencies": b'["1d9d1f2e-5a53-4d30-8c1b-6a1f0c2b7e11"]'},
    {"provided_proofs": b'[{"type":"k1_state","valid":true}]', "required_proofs": b'["k1_state"]'},
    {"actor_context": b'{"counter":3,"guard":"intent","session":"s"}', "event_type": b'"DECISION"'},
    {"rollback_executed": b"true", "rollback_snapshot_hash": b'"' + b"a" * 64 + b'"'},
)  # fmt: skip
"""All of it can be told without Python."""

FOR_PYTHON: Final[tuple[dict[str, bytes], ...]] = (
    {"composite_score": b"8.5"},
    {"safety_floor_met": b"false"},
    {"k_state": b"0"},
    {"proofs_valid": b"false"},
    {"quorum_met": b"false"},
    {"received_approvals": b'[{"signer":"a"}]'},
    {"required_approvals": b"1"},
    {"required_proofs": b'["rollback"]'},
    {"provided_proofs": b'[{"type":"rollback","valid":true}]'},
    {"provided_proofs": b'[{"type":"seen","valid":true}]'},
    {"event_type": b'"BOOT"'},
    {"event_type": b'"CHANGE"', "action_type": b'"attestlog.new"'},
    {"event_type": b'"VIOLATION"', "error_details": b'{"violated_invariant":"X"}'},
    {"rollback_executed": b"true"},
)
"""Entries in one spelling that Python judges, too."""

BAD: Final[tuple[dict[str, bytes], ...]] = (
    {"action_hash": b'"' + b"0" * 64 + b'"'},
    {"entry_hash": b'"' + b"0" * 64 + b'"'},
    {"action_payload": b'{"b":1,"a":1}'},
    {"action_payload": b'{"a":1,"a":1}'},
    {"action_payload": '{"\ue000":2,"\U0001f600":1}'.encode()},
    {"action_payload": b'{"a":1.0}'},
    {"action_payload": b'{"a":-0}'},
    {"action_payload": b'{"a":9007199254740992}'},
    {"action_payload": b'{"a":"\\u0041"}'},
    {"action_payload": b'{"a":"\xed\xa0\x80"}'},
    {"action_payload": b'{"a": 1}'},
    {"action_payload": b'{"a":' + b"[" * (_DEEP + 1) + b"]" * (_DEEP + 1) + b"}"},
    {"action_type": b'""'},
    {"actor_id": ('"' + "é" * 257 + '"').encode()},
    {"actor_type": b'"ROBOT"'},
    {"attribution": b'"alpha"'},
    {"composite_score": b"10.5"},
    {"dependencies": b'["x"]'},
    {"environment": b'{"attestlog_rules":"8:' + b"cd" * 32 + b'"}'},
    {"environment": b"{}"},
    {"event_type": b'"OTHER"'},
    {"execution_status": b'"DONE"'},
    {"pillars_scores": b'{"duong_dai":8.5,"an_toan":9}'},
    {"pillars_scores": b'{"an_toan":11}'},
    {"rollback_snapshot_hash": b'"' + b"A" * 64 + b'"'},
    {"schema_version": b'"1.0.1"'},
    {"sequence_number": b"-1"},
    {"severity": b"11"},
    {"signature_algorithm": b'"Ed25519"'},
    {"signature_algorithm": b'"' + ALGORITHM.encode() + b'+BATCH"', "hsm_signature": b'"00:0/2:"'},
    {"signing_key_id": b'"' + b"ac" * 32 + b'"'},
    {"system_state_snapshot": b"[]"},
    {"timestamp": b'"2026-02-29T00:00:00.000000Z"'},
)  # fmt: skip
"""Lines that are not right, or perhaps not."""


def judge_for_test(core: Any) -> Any:
    """A judge of the rules that these lines stand under."""
    return core.Judge([(KEY_ID, ALGORITHM)], [1.0] * 4, 7.0, False, (RULES, None), False, False)


def complaint(core: Any) -> str:
    """What the core gets wrong; empty if nothing."""
    judge = judge_for_test(core)

    def scan(*lines: bytes) -> Any:
        data = b"".join(line + b"\n" for line in lines)
        return judge.scan(data, 0, len(data))

    for changes in GOOD:
        found = scan(line_with(**changes))
        if found is None or any(event[1] == "judge" for event in found["events"]):
            return f"it does not accept {_named(changes)}"
    for changes in FOR_PYTHON:
        found = scan(line_with(**changes))
        if found is None or [event[1] for event in found["events"]] != ["judge"]:
            return f"it does not leave {_named(changes)} to Python"
    for changes in BAD:
        if scan(line_with(**changes)) is not None:
            return f"it accepts {_named(changes)}"
    first = line_with()
    found = scan(first)
    linked: dict[str, bytes] = {
        "prev_entry_hash": b'"' + found["last"][1].encode() + b'"',
        "sequence_number": b"13",
    }
    if scan(first, line_with(**linked)) is None:
        return "it does not accept two entries in a row"
    for name in linked:
        if scan(first, line_with(**{**linked, name: MEMBERS[name]})) is not None:
            return f"it accepts an entry out of its place by {name}"
    if scan(first, line_with(**linked, timestamp=b'"2026-02-28T23:59:59.000000Z"')) is not None:
        return "it accepts an entry earlier than the one before"
    return ""


def _named(changes: dict[str, bytes]) -> str:
    return ", ".join(f"{name} {value[:40]!r}" for name, value in changes.items()) or "a plain entry"
