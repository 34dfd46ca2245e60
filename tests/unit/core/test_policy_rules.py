"""Rules, approvers and actors of a policy: what it may say of them, and what is then asked of an entry."""

import base64
from typing import Any

import pytest
from tests.support.people import Person, members_of
from tests.support.ssh import fido_line

from attestlog._internal.core.canonical import encode
from attestlog._internal.core.policy import (
    APPROVAL_TERM_S,
    NO_DEMAND,
    POLICY_SIZE_MAX_BYTES,
    TYPES_REMEMBERED,
    Demand,
    Denial,
    fold,
    format_policy,
    parse_policy,
)
from attestlog.errors import MalformedPolicyError

ANA, BOB = Person("ana"), Person("bob", algorithm="ECDSA-P256-SHA256")
APPROVERS = members_of(ANA, BOB, ana="creator", bob="auditor")


def policy(**members: Any) -> Any:
    return parse_policy({"approvers": APPROVERS, **members})


def asked(proofs: tuple[str, ...], approvals: int, roles: tuple[str, ...]) -> Demand:
    """By rules that leave the term of approvals at its default."""
    return Demand(proofs, approvals, roles, expires_max_s=APPROVAL_TERM_S)


def test_a_fido_key_is_kept_as_its_line() -> None:
    given = policy(approvers={"ana": {"keys": [fido_line(ANA) + " ana@token"]}})
    assert given.approvers["ana"].keys == [fido_line(ANA)]
    assert list(given.approver_keys) == [ANA.key_id]
    assert parse_policy(format_policy(given)) == given


def test_all_rules_that_match_add_up() -> None:
    found = policy(rules={
        "deploys": {"action_types": ["deploy*"], "required_proofs": ["pillars"], "required_approvals": 1},
        "prod": {"action_types": ["*prod"], "required_proofs": ["ci", "pillars"], "roles": ["auditor"]},
        "changes": {"event_types": ["CHANGE"], "required_approvals": 2, "roles": ["creator"]},
    })  # fmt: skip
    assert found.demand("ACTION", "read", "robot-1") is not None
    assert found.demand("ACTION", "read", "robot-1") == NO_DEMAND
    assert found.demand("ACTION", "deploy", "robot-1") == asked(("pillars",), 1, ())
    assert found.demand("ACTION", "deploy_prod", "robot-1") == asked(("pillars", "ci"), 1, ("auditor",))
    assert found.demand("CHANGE", "deploy_prod", "robot-1") == asked(
        ("pillars", "ci"), 2, ("creator", "auditor")
    ), "in the order of the rules' names, wherever the policy came from"


def test_what_is_asked_of_erasing_one_payload_is_asked_of_a_range() -> None:
    found = policy(rules={
        "one": {"action_types": ["attestlog.erase_payload"], "required_approvals": 1, "roles": ["auditor"]},
        "many": {"action_types": ["attestlog.erase_payloads"], "required_proofs": ["ci"]},
    })  # fmt: skip
    assert found.demand("CHANGE", "attestlog.erase_payload", "dpo") == asked((), 1, ("auditor",))
    assert found.demand("CHANGE", "attestlog.erase_payloads", "dpo") == asked(("ci",), 1, ("auditor",))
    assert found.demand("CHANGE", "attestlog.erase_payloadx", "dpo") == NO_DEMAND


@pytest.mark.parametrize(
    "flags, open_",
    [([], False), ([True], True), ([False], False), ([True, False], False), ([True, True], True)],
)
def test_an_act_fails_open_only_if_every_rule_that_matches_says_so(flags: list[bool], open_: bool) -> None:
    rules = {str(number): {"action_types": ["x"], "fail_open": flag} for number, flag in enumerate(flags)}
    found = policy(rules=rules)
    assert found.demand("ACTION", "x", "robot-1").fails_open is open_
    assert found.demand("ACTION", "y", "robot-1").fails_open is False


def test_types_that_are_made_up_do_not_fill_memory() -> None:
    found = policy(rules={"all": {"required_proofs": ["pillars"]}})
    for number in range(TYPES_REMEMBERED + 10):
        assert found.demand("ACTION", f"x{number}", "robot-1") == Demand(("pillars",), 0, ())
    assert len(found._demands._known) == 10


def test_keys_of_openssh_are_kept_as_pem() -> None:
    given = policy(
        approvers={"ana": {"keys": [ANA.ssh + " ana@laptop"]}}, actors={"agent-7": {"keys": [BOB.ssh + "\n"]}}
    )
    assert given.approvers["ana"].keys == [ANA.public.pem]
    assert given.actors["agent-7"].keys == [BOB.public.pem]
    assert list(given.approver_keys) == [ANA.key_id]
    assert parse_policy(format_policy(given)) == given


def test_a_rule_may_be_for_some_actors_whatever_the_case_of_their_names() -> None:
    found = policy(rules={"robots": {"actor_ids": ["Robot-*", "?bot"], "required_proofs": ["ci"]}})
    for actor_id, is_meant in (
        ("robot-1", True), ("ROBOT-", True), ("xBoT", True), ("robot", False), ("a robot-1", False),
        ("\u0280obot-1", False), ("", False),
    ):  # fmt: skip
        assert bool(found.demand("ACTION", "x", actor_id).required_proofs) is is_meant
    both = policy(
        rules={"robots": {"actor_ids": ["robot-*"], "required_proofs": ["ci"]}, "all": {"roles": ["auditor"]}}
    )
    assert both.demand("ACTION", "x", "ana") == asked((), 0, ("auditor",))
    assert both.demand("ACTION", "x", "robot-1") == asked(("ci",), 0, ("auditor",))


def test_two_actors_are_not_taken_for_one_where_demands_are_remembered() -> None:
    found = policy(rules={"robots": {"actor_ids": ["b c"], "required_proofs": ["ci"]}})
    assert found.demand("ACTION", "x b", "c") == NO_DEMAND
    assert found.demand("ACTION", "x", "b c").required_proofs == ("ci",)
    assert found.demand("ACTION", "x b", "c") == NO_DEMAND


def test_a_rule_may_deny() -> None:
    found = policy(rules={
        "night": {"action_types": ["deploy"], "deny": True, "reason": "not at night"},
        "ever": {"action_types": ["d*"], "actor_ids": ["agent-7"], "deny": True, "reason": "never"},
        "all": {"required_approvals": 1, "fail_open": True},
    })  # fmt: skip
    assert found.demand("ACTION", "read", "agent-7").denials == ()
    assert found.demand("ACTION", "deploy", "ana").denials == (Denial("night", "not at night"),)
    both = found.demand("ACTION", "deploy", "Agent-7")
    assert both.denials == (Denial("ever", "never"), Denial("night", "not at night")), "by name"
    assert (both.required_approvals, both.fails_open) == (1, False)


def test_names_are_compared_without_the_case_of_ascii_letters_only() -> None:
    assert fold("Ana-7") == fold("aNA-7") == "ana-7"
    assert fold("\u00c4NA") == "\u00c4na"
    assert fold("\u212a") == "\u212a"  # the Kelvin sign, of which Unicode makes a k


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"rules": []}, "rules", "expected `object`"),
    ({"rules": {"": {}}}, 'rules.""', "a name of 0 characters"),
    ({"rules": {"n" * 257: {}}}, "rules." + "n" * 80, "a name of 257 characters"),
    ({"rules": {"a": {"event_types": ["change"]}}}, "rules.a.event_types", "'change' matches no event type"),
    ({"rules": {"a": {"event_types": []}}}, "rules.a.event_types", "names no type"),
    ({"rules": {"a": {"action_types": []}}}, "rules.a.action_types", "names no type"),
    ({"rules": {"a": {"actor_ids": []}}}, "rules.a.actor_ids", "names no actor"),
    ({"rules": {"a": {"actor_ids": ["\u00e4*"]}}}, "rules.a.actor_ids", "is not a glob of printable ASCII"),
    ({"rules": {"a": {"actor_ids": ["\n"]}}}, "rules.a.actor_ids", "is not a glob of printable ASCII"),
    ({"rules": {"a": {"expires_max_s": 0}}}, "rules.a.expires_max_s", "expected `int` >= 1"),
    ({"rules": {"a": {"expires_max_s": 2_592_001}}}, "rules.a.expires_max_s", "expected `int` <= 2592000"),
    ({"rules": {"a": {"deny": True}}}, "rules.a.reason", "is missing"),
    ({"rules": {"a": {"deny": True, "reason": " "}}}, "rules.a.reason", "is missing"),
    ({"rules": {"a": {"reason": "x"}}}, "rules.a.reason", "denies nothing"),
    ({"rules": {"a": {"deny": True, "reason": "x" * 1_001}}}, "rules.a.reason", "expected `str` of length"),
    (
        {"rules": {"a": {"deny": True, "reason": "x", "required_approvals": 1}}},
        "rules.a.required_approvals", "by a rule that denies",
    ),
    (
        {"rules": {"a": {"deny": True, "reason": "x", "fail_open": True}}},
        "rules.a.fail_open", "by a rule that denies",
    ),
    ({"approvers": {"ana b": {"keys": [ANA.ssh]}}}, 'approvers."ana b"', "printable ASCII without spaces"),
    ({"approvers": {"an\u00e1": {"keys": [ANA.ssh]}}}, 'approvers."an\u00e1"', "printable ASCII"),
    ({"approvers": {"ana\u200b": {"keys": [ANA.ssh]}}}, 'approvers."ana\u200b"', "printable ASCII"),
    ({"actors": {"agent 7": {"keys": [ANA.ssh]}}}, 'actors."agent 7"', "printable ASCII"),
    (
        {"approvers": {"ana": {"keys": [ANA.ssh]}, "Ana": {"keys": [BOB.ssh]}}},
        "approvers.ana", "differs from 'Ana' in case only",
    ),
    (
        {"approvers": {"ana": {"keys": [ANA.ssh]}}, "actors": {"ANA": {"keys": [BOB.ssh]}}},
        "actors.ANA", "differs from 'ana' in case only",
    ),
    (
        {"approvers": {"ana": {"keys": [ANA.ssh]}, "bob": {"keys": [BOB.ssh, fido_line(ANA)]}}},
        "approvers.bob.keys", "has the key of approver 'ana'",
    ),
    ({"approvers": {"ana": {"keys": [ANA.ssh, fido_line(ANA)]}}}, "approvers.ana.keys", "key 2 stands twice"),
    ({"actors": {"ana": {"keys": [fido_line(ANA)]}}}, "actors.ana.keys", "key 1: a FIDO key signs approvals"),
    ({"rules": {"a": {"required_approvals": -1}}}, "rules.a.required_approvals", "expected `int` >= 0"),
    ({"rules": {"a": {"required_approvals": 3}}}, "rules.a.required_approvals", "3 approvals are asked for"),
    ({"rules": {"a": {"roles": ["pilot"]}}}, "rules.a.roles", "no approver has role 'pilot'"),
    ({"rules": {"a": {"roles": [""]}}}, "rules.a.roles[0]", "expected `str` of length >= 1"),
    ({"rules": {"a": {"required_proofs": "pillars"}}}, "rules.a.required_proofs", "expected `array`"),
    ({"rules": {"a.b": {"colour": 1}}}, 'rules."a.b".colour', "is not a member of a policy"),
    ({"rules": {"a": {"fail_open": 1}}}, "rules.a.fail_open", "expected `bool`"),
    ({"approvers": {"ana": {}}}, "approvers.ana.keys", "is missing"),
    ({"approvers": {"ana": {"keys": []}}}, "approvers.ana.keys", "length >= 1"),
    ({"approvers": {"ana": {"keys": ["x"]}}}, "approvers.ana.keys", "key 1: not a public key of OpenSSH"),
    ({"approvers": {"ana": {"keys": ["-----BEGIN X"]}}}, "approvers.ana.keys", "key 1: not a public key in"),
    ({"approvers": {"ana": {"keys": [ANA.ssh, ANA.public.pem]}}}, "approvers.ana.keys", "key 2 stands twice"),
    (
        {"approvers": {"ana": {"keys": [ANA.ssh]}, "bob": {"keys": [BOB.ssh, ANA.ssh]}}},
        "approvers.bob.keys", "has the key of approver 'ana'",
    ),
    (
        {"approvers": {"ana": {"keys": [ANA.ssh], "revoked": "2025-02-30T00:00:00.000000Z"}}},
        "approvers.ana.revoked", "is not a timestamp",
    ),
    ({"approvers": {"ana": {"keys": [ANA.ssh], "revoked": True}}}, "approvers.ana.revoked", "expected `str"),
    ({"actors": {"a@b": {"keys": 7}}}, 'actors."a@b".keys', "expected `array`"),
    ({"redaction": {"patterns": ["phone"]}}, "redaction.patterns[0]", "invalid enum value"),
    ({"redaction": {"custom_patterns": {"x": 1}}}, "redaction.custom_patterns[...]", "expected `str`"),
    ({"erasure": {"retain_days": 36_501}}, "erasure.retain_days", "expected `int` <= 36500"),
    ({"erasure": {"held": "*"}}, "erasure.held", "expected `array`"),
]  # fmt: skip


@pytest.mark.parametrize("members, path, reason", BAD, ids=[f"{path}: {reason}" for _, path, reason in BAD])
def test_a_bad_policy_is_refused_with_the_path_and_the_reason(
    members: dict[str, Any], path: str, reason: str
) -> None:
    with pytest.raises(MalformedPolicyError) as caught:
        policy(**members)
    assert caught.value.member == path
    assert reason in str(caught.value)
    assert str(caught.value).startswith(f"policy: {path}: ")


def test_a_revoked_approver_is_still_an_approver() -> None:
    """Or nobody could be revoked whom a rule calls for."""
    people = {**APPROVERS, "bob": {**APPROVERS["bob"], "revoked": "2025-10-30T12:00:00.000000Z"}}
    found = policy(approvers=people, rules={"a": {"required_approvals": 2, "roles": ["auditor"]}})
    assert found.approvers["bob"].revoked == "2025-10-30T12:00:00.000000Z"


def test_a_policy_at_its_size_limit_and_one_past_it() -> None:
    def sized(size: int) -> dict[str, Any]:
        members: dict[str, Any] = {"erasure": {"held": [""]}}
        members["erasure"]["held"] = ["x" * (size - len(encode(members)))]
        return members

    assert parse_policy(sized(POLICY_SIZE_MAX_BYTES)).erasure.held[0].startswith("x")
    with pytest.raises(MalformedPolicyError, match="at most 1048576"):
        parse_policy(sized(POLICY_SIZE_MAX_BYTES + 1))


def test_a_number_or_a_role_alone_needs_approval() -> None:
    assert not NO_DEMAND.needs_approval
    assert Demand(required_approvals=1).needs_approval
    assert Demand(roles=("auditor",)).needs_approval
    assert not Demand(required_proofs=("pillars",)).needs_approval


def test_a_key_that_not_every_reader_can_check_is_nobodys() -> None:
    """ML-DSA-44: SubjectPublicKeyInfo of 1,312 bytes, written out, since not every `cryptography` has it."""
    spki = bytes.fromhex("30820532300b06096086480165030403110382052100") + bytes(1312)
    body = base64.b64encode(spki).decode()
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    pem = f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"
    for table in ("approvers", "actors"):
        with pytest.raises(MalformedPolicyError, match="key 1: key is ML-DSA-44, want P-256 or Ed25519"):
            parse_policy({table: {"ana": {"keys": [pem]}}})
