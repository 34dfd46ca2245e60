"""Changes of the policy: which hold, by the quorum of the policy they replace, and what is then in force."""

from typing import Any

import pytest
from tests.support.people import PEOPLE, ROLES, Person, governed, members_of
from tests.support.shapes import CHANGE, ORIGIN, SNAPSHOT_HASH, line_of, read

from attestlog._internal.core.entry import Entry
from attestlog._internal.core.policy import Policy, format_policy, parse_policy
from attestlog._internal.core.policy_change import (
    changed_policy,
    modify_rule_payload,
    set_policy_payload,
    value_at,
)
from attestlog.errors import MalformedPolicyError, VerificationError

GUARDED = governed(
    rules={
        "policy": {
            "event_types": ["CHANGE"],
            "action_types": ["attestlog.set_policy", "attestlog.modify_policy_rule"],
            "required_approvals": 3, "roles": list(ROLES),
        }
    }
)  # fmt: skip
DANA = Person("dana@example.com")


def entry(action_type: str, payload: dict[str, Any], *people: Person, **members: Any) -> Entry:
    draft: dict[str, Any] = {"event_type": "CHANGE", "action_type": action_type, "actor_id": "maintainer"}
    draft |= {"action_payload": payload, **members}
    approvals = [person.approve(draft, ORIGIN) for person in people]
    return read(line_of(draft, received_approvals=approvals))


def modify(policy: Policy, scope: str, new: Any) -> Policy:
    payload = modify_rule_payload(policy, scope, new, proposal_id="P-1", change_description="why")
    return changed_policy(policy, entry("attestlog.modify_policy_rule", payload, *PEOPLE), ORIGIN)


def test_the_change_of_the_specification_with_three_approvals() -> None:
    payload = {**CHANGE["action_payload"], "scope": "safety_floor"}
    draft = {**CHANGE, "action_payload": payload}
    approvals = [person.approve(draft, ORIGIN) for person in PEOPLE]
    stored = read(line_of(draft, received_approvals=approvals))
    after = changed_policy(GUARDED, stored, ORIGIN)
    assert (GUARDED.safety_floor, after.safety_floor) == (7, 6.5)
    assert stored.rollback_snapshot_hash == SNAPSHOT_HASH


def test_a_whole_policy_takes_the_place_of_the_one_before() -> None:
    new = governed(safety_floor=9)
    stored = entry("attestlog.set_policy", set_policy_payload(new, proposal_id="P-2"), *PEOPLE)
    assert changed_policy(GUARDED, stored, ORIGIN) == new


@pytest.mark.parametrize(
    "people", [(), PEOPLE[:2], PEOPLE[:1] * 3, [*PEOPLE[:2], Person("auditor", number=2)]]
)
def test_without_the_quorum_of_the_policy_before_nothing_changes(people: tuple[Person, ...]) -> None:
    """Neither the new policy's quorum counts, nor what the entry says of its own."""
    for payload in (
        set_policy_payload(Policy()),
        set_policy_payload(governed(approvers=members_of(*dict.fromkeys(people)))),
    ):
        stored = entry("attestlog.set_policy", payload, *people, required_approvals=0)
        with pytest.raises(VerificationError, match="has not the quorum of the policy in force") as caught:
            changed_policy(GUARDED, stored, ORIGIN)
        assert "auditor" in caught.value.expected["roles"]


def test_each_refused_approval_is_told() -> None:
    stored = entry(
        "attestlog.set_policy", set_policy_payload(Policy()), PEOPLE[0], PEOPLE[0], Person("mallory")
    )
    with pytest.raises(VerificationError) as caught:
        changed_policy(GUARDED, stored, ORIGIN)
    assert caught.value.found == {
        "refused": [
            {"signer": "creator", "reason": "approval.duplicate"},
            {"signer": "mallory", "reason": "approval.unknown_signer"},
        ]
    }


def test_a_policy_that_asks_for_nothing_can_be_changed_by_whoever_appends() -> None:
    assert (
        changed_policy(Policy(), entry("attestlog.set_policy", set_policy_payload(GUARDED)), ORIGIN)
        == GUARDED
    )


@pytest.mark.parametrize(
    "scope, new",
    [
        ("safety_floor", 6.5),
        ("weights.an_toan", 3),
        ("rules.policy.required_approvals", 2),
        ("rules.deploys", {"action_types": ["deploy"], "required_approvals": 1}),
        ('approvers."dana@example.com"', {"roles": ["pilot"], "keys": [DANA.ssh]}),
        ("approvers.auditor.revoked", "2026-10-30T12:00:00.000000Z"),
        ("actors.agent-7", {"keys": [DANA.public.pem]}),
        ("redaction.enabled", False),
        ("redaction.custom_patterns.badge", "[A-Z]{3}-[0-9]{4}"),
        ("erasure.retain_days", 180),
    ],
)
def test_one_member_changes_and_back(scope: str, new: Any) -> None:
    before = value_at(GUARDED, scope)
    after = modify(GUARDED, scope, new)
    assert after != GUARDED
    assert format_policy(after) == format_policy(parse_policy(format_policy(after)))
    if not isinstance(new, dict):
        assert value_at(after, scope) == new
    assert modify(after, scope, before) == GUARDED


def test_an_approver_a_rule_calls_for_cannot_be_taken_away() -> None:
    with pytest.raises(MalformedPolicyError, match="3 approvals are asked for"):
        modify(GUARDED, "approvers.auditor", None)


@pytest.mark.parametrize(
    "scope",
    ["", ".", "safety", "sandbox", "safety_floor.x", "rules.none.roles", "weights.safety",
     "rules.policy.roles.0",
     'rules."policy"', "rules..policy", "approvers.dana@example.com"],
)  # fmt: skip
def test_what_is_no_member(scope: str) -> None:
    with pytest.raises(MalformedPolicyError) as caught:
        value_at(GUARDED, scope)
    assert caught.value.member == "scope"


def payload_of(**changes: Any) -> dict[str, Any]:
    payload = modify_rule_payload(GUARDED, "safety_floor", 6, proposal_id="P", change_description="c")
    return {**payload, **changes}


@pytest.mark.parametrize("old", [6.5, None, "7", [7], True])
def test_the_old_value_must_be_the_one_in_force(old: Any) -> None:
    with pytest.raises(VerificationError, match="safety_floor is not what old_value says"):
        changed_policy(
            GUARDED, entry("attestlog.modify_policy_rule", payload_of(old_value=old), *PEOPLE), ORIGIN
        )


def test_numbers_are_compared_by_value() -> None:
    stored = entry("attestlog.modify_policy_rule", payload_of(old_value=7.0), *PEOPLE)
    assert changed_policy(GUARDED, stored, ORIGIN).safety_floor == 6


@pytest.mark.parametrize(
    "payload",
    [
        {}, *({name: value for name, value in payload_of().items() if name != left} for left in payload_of()),
        payload_of(scope=7), payload_of(proposal_id=None), payload_of(change_description=["x"]),
        payload_of(new_value=11), payload_of(new_value=None), payload_of(scope="sandbox", old_value=None),
    ],
)  # fmt: skip
def test_what_is_no_change_of_a_rule(payload: dict[str, Any]) -> None:
    with pytest.raises(MalformedPolicyError):
        changed_policy(GUARDED, entry("attestlog.modify_policy_rule", payload, *PEOPLE), ORIGIN)


@pytest.mark.parametrize(
    "payload",
    [
        {}, {"policy": None}, {"policy": []}, {"policy": {}}, {"policy": {"safety_floor": 8}},
        {"policy": {**format_policy(GUARDED), "colour": "red"}},
        {"policy": {**format_policy(GUARDED), "actors": {"a": {"keys": [DANA.ssh]}}}},
    ],
)  # fmt: skip
def test_what_is_no_whole_policy(payload: dict[str, Any]) -> None:
    with pytest.raises(MalformedPolicyError):
        changed_policy(GUARDED, entry("attestlog.set_policy", payload, *PEOPLE), ORIGIN)
