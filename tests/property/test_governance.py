"""Whatever policy and draft: log and verifier derive the same, and approvals count as a model says."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.people import EXPIRES, ROLES, Person, members_of
from tests.support.shapes import LOG, NOW_US, ORIGIN, TIMESTAMP, ed25519_key, planned, prepared, read, sign

from attestlog._internal.core.deriving import derive, explain
from attestlog._internal.core.entry import parse_draft
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.core.policy import format_policy, parse_policy
from attestlog._internal.core.policy_text import format_policy_text, parse_policy_text

PEOPLE = [Person(role, number) for role in ROLES for number in (1, 2)]
STRANGER = Person("mallory")
ACTIONS = ("deploy", "deploy_web", "read")
EARLY, LATE = "2025-10-30T11:30:00.000000Z", "2025-10-30T12:30:00.000000Z"

rules = st.dictionaries(
    st.sampled_from(["a", "b", "c d"]),
    st.fixed_dictionaries({
        "event_types": st.sampled_from([["*"], ["ACTION"], ["CHANGE", "BOOT"]]),
        "action_types": st.sampled_from([["*"], ["deploy*"], ["read"], ["?eploy"]]),
        "required_proofs": st.lists(st.sampled_from(["k1_state", "pillars", "ci"]), max_size=2),
        "required_approvals": st.integers(0, 3),
        "roles": st.lists(st.sampled_from(ROLES), max_size=2),
    }),
    max_size=3,
)  # fmt: skip
people = st.fixed_dictionaries({role: st.sampled_from([None, EARLY, LATE]) for role in ROLES})
approvals = st.lists(
    st.tuples(
        st.sampled_from([*PEOPLE, STRANGER]),
        st.sampled_from(["approve", "approve", "approve", "review", "reject"]),
        st.sampled_from([EXPIRES, EARLY]),
        st.sampled_from([ORIGIN, ORIGIN, ORIGIN, "example.com/another"]),
    ),
    max_size=5,
)


def policy_of(rules: dict[str, Any], revoked: dict[str, str | None]) -> dict[str, Any]:
    approvers = members_of(*PEOPLE)
    for name, moment in revoked.items():
        approvers[name]["revoked"] = moment
    return {"rules": rules, "approvers": approvers}


@given(
    rules=rules, revoked=people, signed=approvals, action=st.sampled_from(ACTIONS),
    actor=st.sampled_from(["agent-7", "auditor", PEOPLE[0].key_id]), required=st.integers(0, 3),
    event=st.sampled_from(["ACTION", "CHANGE"]),
)  # fmt: skip
@settings(max_examples=150)
def test_the_log_the_verifier_and_a_model_agree(
    *, rules: dict[str, Any], revoked: dict[str, str | None], signed: list[tuple[Person, str, str, str]],
    action: str, actor: str, required: int, event: str,
) -> None:  # fmt: skip
    policy = parse_policy(policy_of(rules, revoked))
    draft = {"event_type": event, "action_type": action, "actor_id": actor, "required_approvals": required}
    draft |= {"action_payload": {"number": 7}, "provided_proofs": [{"type": "k1_state", "valid": True}]}
    received = [
        person.approve(draft, LOG._replace(origin=origin), meaning=meaning, expires=expires)
        for person, meaning, expires, origin in signed
    ]
    asked = {**draft, "received_approvals": received}
    item = prepared(asked, policy=policy, log=LOG, now_us=NOW_US)
    plan = planned([item], ed25519_key())
    entry = read(plan.seal([sign(ed25519_key(), message) for message in plan.messages])[0])
    derived = derive(policy, entry, LOG, entry.action_hash, entry.timestamp)
    assert (derived.quorum_met, derived.proofs_valid) == (entry.quorum_met, entry.proofs_valid)
    by_draft = derive(policy, parse_draft(asked), LOG, hex_hash(b'{"number":7}'), TIMESTAMP)
    assert by_draft == derived
    assert derived.quorum_met is model(rules, revoked, signed, draft)
    basis = explain(policy, entry, LOG, entry.action_hash, entry.timestamp)
    assert basis.derived == derived
    assert bool(basis.missing) is not derived.quorum_met


def model(
    rules: dict[str, Any], revoked: dict[str, str | None], signed: list[tuple[Person, str, str, str]],
    draft: dict[str, Any],
) -> bool:  # fmt: skip
    """`quorum_met`, written down once more, with sets."""
    globs = {"*": ACTIONS, "deploy*": ACTIONS[:2], "read": ACTIONS[2:], "?eploy": ACTIONS[:1]}
    events = {"*": ("ACTION", "CHANGE"), "ACTION": ("ACTION",), "CHANGE": ("CHANGE",), "BOOT": ()}
    matching = [
        rule
        for rule in rules.values()
        if any(draft["event_type"] in events[glob] for glob in rule["event_types"])
        and any(draft["action_type"] in globs[glob] for glob in rule["action_types"])
    ]
    needed = max([draft["required_approvals"], *(rule["required_approvals"] for rule in matching)])
    roles = {role for rule in matching for role in rule["roles"]}
    if not needed and not roles:
        return True
    speaking = [
        (person.name, meaning)
        for person, meaning, expires, origin in signed
        if person is not STRANGER
        and origin == ORIGIN
        and expires == EXPIRES
        and revoked[person.name] != EARLY
    ]
    if any(meaning == "reject" for _, meaning in speaking):
        return False
    actor = "creator" if draft["actor_id"] == PEOPLE[0].key_id else draft["actor_id"]
    approved = {name for name, meaning in speaking if meaning == "approve" and name != actor}
    return len(approved) >= needed and approved >= roles


@given(rules=rules, revoked=people)
@settings(max_examples=60)
def test_a_policy_is_the_same_from_the_log_and_from_a_file(
    rules: dict[str, Any], revoked: dict[str, str | None]
) -> None:
    policy = parse_policy(policy_of(rules, revoked))
    assert parse_policy(format_policy(policy)) == policy
    assert parse_policy_text(format_policy_text(policy)) == policy
