"""Rules, approvers and actors of a policy: what it may say of them, and what is then asked of an entry."""

import base64
from typing import Any

import pytest
from tests.support.people import Person, members_of

from attestlog._internal.core.canonical import encode
from attestlog._internal.core.policy import (
    NO_DEMAND,
    POLICY_SIZE_MAX_BYTES,
    TYPES_REMEMBERED,
    Demand,
    format_policy,
    parse_policy,
)
from attestlog.errors import MalformedPolicyError

ANA, BOB = Person("ana"), Person("bob", algorithm="ECDSA-P256-SHA256")
APPROVERS = members_of(ANA, BOB, ana="creator", bob="auditor")


def policy(**members: Any) -> Any:
    return parse_policy({"approvers": APPROVERS, **members})


def test_all_rules_that_match_add_up() -> None:
    found = policy(rules={
        "deploys": {"action_types": ["deploy*"], "required_proofs": ["pillars"], "required_approvals": 1},
        "prod": {"action_types": ["*prod"], "required_proofs": ["ci", "pillars"], "roles": ["auditor"]},
        "changes": {"event_types": ["CHANGE"], "required_approvals": 2, "roles": ["creator"]},
    })  # fmt: skip
    assert found.demand("ACTION", "read") is not None
    assert found.demand("ACTION", "read") == NO_DEMAND
    assert found.demand("ACTION", "deploy") == Demand(("pillars",), 1, ())
    assert found.demand("ACTION", "deploy_prod") == Demand(("pillars", "ci"), 1, ("auditor",))
    assert found.demand("CHANGE", "deploy_prod") == Demand(("pillars", "ci"), 2, ("auditor", "creator"))


@pytest.mark.parametrize(
    "flags, open_",
    [([], False), ([True], True), ([False], False), ([True, False], False), ([True, True], True)],
)
def test_an_act_fails_open_only_if_every_rule_that_matches_says_so(flags: list[bool], open_: bool) -> None:
    rules = {str(number): {"action_types": ["x"], "fail_open": flag} for number, flag in enumerate(flags)}
    found = policy(rules=rules)
    assert found.demand("ACTION", "x").fails_open is open_
    assert found.demand("ACTION", "y").fails_open is False


def test_types_that_are_made_up_do_not_fill_memory() -> None:
    found = policy(rules={"all": {"required_proofs": ["pillars"]}})
    for number in range(TYPES_REMEMBERED + 10):
        assert found.demand("ACTION", f"x{number}") == Demand(("pillars",), 0, ())
    assert len(found._demands._known) == 10


def test_keys_of_openssh_are_kept_as_pem() -> None:
    given = policy(
        approvers={"ana": {"keys": [ANA.ssh + " ana@laptop"]}}, actors={"agent-7": {"keys": [BOB.ssh + "\n"]}}
    )
    assert given.approvers["ana"].keys == [ANA.public.pem]
    assert given.actors["agent-7"].keys == [BOB.public.pem]
    assert list(given.approver_keys) == [ANA.key_id]
    assert parse_policy(format_policy(given)) == given


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"rules": []}, "rules", "expected `object`"),
    ({"rules": {"": {}}}, 'rules.""', "a name of 0 characters"),
    ({"rules": {"n" * 257: {}}}, "rules." + "n" * 80, "a name of 257 characters"),
    ({"rules": {"a": {"event_types": ["change"]}}}, "rules.a.event_types", "'change' matches no event type"),
    ({"rules": {"a": {"event_types": []}}}, "rules.a.event_types", "names no type"),
    ({"rules": {"a": {"action_types": []}}}, "rules.a.action_types", "names no type"),
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
    ({"redaction": {"custom_patterns": {"x": "("}}}, "redaction.custom_patterns.x", "not a regular"),
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
