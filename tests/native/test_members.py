"""Each of an entry's 40 members: what is nearly right is not accepted, with hashes that are the line's own.

A core that leaves one member's check out accepts one of these, and this test fails.
"""

import pytest
from tests.support.native import by_core, native_core, rules_of

from attestlog._internal.core.lines import whole_lines
from attestlog._internal.judging.scan import Scanned, State, follows, scan
from attestlog._internal.native.selftest import ALGORITHM, MEMBERS, line_with

STATE = State(12, "ef" * 32, "2026-01-01T00:00:00.000000Z")
"""What a plain entry follows."""

_ID = b'"0d9d1f2e-5a53-4d30-9c1b-6a1f0c2b7e11'
_HEX = b"5a" * 32
_TEXTS = (b"[1]", b"{}", b"null", b'["a",]', b'[ "a"]')
_OBJECTS = (
    b'{"a":"\\u000a"}',
    b'{"a":"\\u001F"}',
    b'{" ":1,"\\n":2}',
    b'{"a":{" ":1,"\\n":2}}',
    b"[]",
    b'""',
    b'{"b":1,"a":1}',
    b'{"a":1,"a":1}',
    b'{"a":1.0}',
    b'{"a":"\\u0041"}',
    b'{"a" :1}',
)
_FLAGS = (b"1", b"null", b'"true"', b"True")

NEARLY: dict[str, tuple[bytes, ...]] = {
    "action_hash": (b'"' + _HEX + b'"', b"null", b'""', b'"' + _HEX.upper() + b'"'),
    "action_payload": (
        *_OBJECTS,
        b'{"a":' + b"[" * 63 + b"]" * 63 + b"}",
        b'{"a":9007199254740992}',
        b'{"a":-0}',
    ),
    "action_type": (b'""', b'"' + b"x" * 257 + b'"', b"1", b'"\\u0041"', b'"\xff"'),
    "actor_context": _OBJECTS,
    "actor_id": (b'""', b'"' + "é".encode() * 257 + b'"', b"null", b'"a', b'"\x01"'),
    "actor_type": (b'"ROBOT"', b'"human"', b"null", b'""'),
    "attribution": (b'"alpha"', b'"alpha_prime_omega "', b"null"),
    "composite_score": (b"8.5", b"null", b"8.750", b"10.5", b"-1", b'"8.75"', b"true"),
    "conflicts_detected": (*_TEXTS, b'["a"]'),
    "dependencies": (*_TEXTS, b'["x"]', b"[" + _ID.upper() + b'"]', b"[" + _ID + b'0"]'),
    "entry_hash": (b'"' + _HEX + b'"', b"null", b'""'),
    "entry_id": (
        b'""',
        _ID + b'0"',
        _ID.replace(b"-4d", b"-5d") + b'"',
        _ID.replace(b"-9c", b"-7c") + b'"',
        b"1",
    ),
    "environment": (b"{}", b'{"a":1}', b'{"attestlog_rules":"7:' + b"ce" * 32 + b'"}', b"null"),
    "error_details": (b"[]", b'""', b'{"a":1.0}', b"false"),
    "event_category": (b'"FATAL"', b'"normal"', b"null"),
    "event_type": (b'"OTHER"', b'"action"', b"null", b'"BOOT "'),
    "execution_status": (b'"DONE"', b'"PENDING"', b"null", b'"success"'),
    "hsm_signature": (b'""', b'"0"', b'"AB"', b'"0g"', b'"00:0/1:"', b"null"),
    "k_state": (b"0", b"2", b"true", b"null", b"1.0"),
    "pillars_scores": (
        b"{}",
        b'{"an_toan":9}',
        b'{"duong_dai":8.5,"an_toan":9}',
        b'{"x":1}',
        b'{"an_toan":11}',
        b"[]",
    ),
    "prev_entry_hash": (b'"' + b"EF" * 32 + b'"', b'"ef"', b"null"),
    "proofs_valid": (b"false", *_FLAGS),
    "provided_proofs": (
        b'[{"type":"rollback","valid":true}]',
        b'[{"type":"x","valid":true}]',
        b'[{"type":"x"}]',
        b"[1]",
        b"{}",
        b'[{"valid":true}]',
        b'[{"type":"k1_state","valid":1}]',
    ),
    "quorum_met": (b"false", *_FLAGS),
    "received_approvals": (b"[{}]", b'[{"signer":1}]', b"{}", b"[1]", b"null"),
    "replicas": _TEXTS,
    "required_approvals": (b"1", b"-1", b"0.0", b"null", b"9007199254740992", b"00"),
    "required_proofs": (*_TEXTS, b'["rollback"]', b'["x"]'),
    "result_data": (b"[]", b'""', b'{"a":1.0}', b"false"),
    "rollback_available": _FLAGS,
    "rollback_executed": (b"true", *_FLAGS),
    "rollback_snapshot_hash": (b'"' + _HEX.upper() + b'"', b'"5a"', b'""', b"0", b'"' + _HEX + b'\\n"'),
    "safety_floor_met": (b"false", b"null", b"1", b'"true"'),
    "schema_version": (b'"1.0.1"', b'"1"', b"null"),
    "sequence_number": (b"-1", b"9007199254740992", b"12.0", b"012", b'"12"'),
    "severity": (b"11", b"-1", b"1.0", b"null", b"true"),
    "signature_algorithm": (b'"Ed25519"', b'""', b'"' + ALGORITHM.encode() + b'+BATCH"', b"null"),
    "signing_key_id": (b'"' + _HEX + b'"', b'""', b"null"),
    "system_state_snapshot": _OBJECTS,
    "timestamp": (
        MEMBERS["timestamp"] + b"}",
        MEMBERS["timestamp"] + b"} ",
        b'"2026-02-29T00:00:00.000000Z"',
        b'"2026-04-31T00:00:00.000000Z"',
        b'"2026-01-01T24:00:00.000000Z"',
        b'"2026-01-01T00:60:00.000000Z"',
        b'"2026-01-01T00:00:60.000000Z"',
        b'"2026-00-01T00:00:00.000000Z"',
        b'"2026-01-01T00:00:00.000000"',
        b'"2026-01-01T00:00:00Z"',
        b'"1900-02-29T00:00:00.000000Z"',
        b'"2026-01-01T00:00:00.000000Z\\n"',
        b"null",
    ),
}
"""Each is wrong in a plain entry: not of the member's type or range, or not what the rest of it leads to."""


def test_every_member_has_some() -> None:
    assert set(NEARLY) == set(MEMBERS)


@pytest.mark.parametrize("name", NEARLY)
def test_what_is_nearly_right_is_not_accepted(name: str) -> None:
    core, rules = native_core(), rules_of()
    for value in NEARLY[name]:
        line = line_with(**{name: value})
        told = scan(rules, whole_lines([line]), STATE)
        assert is_wrong(told), (name, value)  # else it is no near miss
        taken = by_core(core, rules, [line])
        # What the core leaves to Python as a whole entry is found there.
        says_so = taken is not None and (
            (
                told.state.run is None
                and (taken.findings, taken.unchecked_proofs) == (told.findings, told.unchecked_proofs)
            )
            or not follows(STATE, taken.assumed or STATE)
        )
        assert taken is None or says_so, (name, value)


def test_members_stand_in_their_order_and_once() -> None:
    core, rules, line = native_core(), rules_of(), line_with()
    assert by_core(core, rules, [line]) is not None
    for name, value in MEMBERS.items():
        member = b'"%b":%b' % (name.encode(), value)
        if not value or name in {"action_payload", "hsm_signature"}:
            continue
        for other in (b"", member + b"," + member, member.replace(b'":', b'" :')):
            assert by_core(core, rules, [line.replace(member, other, 1)]) is None, (name, other)


def is_wrong(told: Scanned) -> bool:
    """Whether the reference takes exception to the line, in whatever way."""
    is_entry = told.state.run is None
    return not is_entry or bool(told.findings or told.wrong_pointers or told.unchecked_proofs)
