"""A policy as TOML: what is written is read again, and what is wrong is said with its line."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.people import Person, members_of

from attestlog._internal.core.policy import Policy, format_policy, parse_policy
from attestlog._internal.core.policy_text import (
    POLICY_TEXT_SIZE_MAX_BYTES,
    format_policy_text,
    parse_policy_text,
)
from attestlog.errors import MalformedPolicyError

ANA, BOB = Person("ana"), Person("bob@example.com", algorithm="ECDSA-P256-SHA256")
TEXT = f'''# The policy of the team
safety_floor = 7.5
floor_per_pillar = true

[weights]
an_toan = 2
duong_dai = 1
tin_vao_so_lieu = 1
han_che_rui_ro = 1

[rules.deploys]
event_types = ["ACTION", "DECISION"]
action_types = [
    "deploy*",  # everything that reaches users
    "rollout",
]
required_proofs = ["safety_floor", "pillars"]
required_approvals = 1
roles = ["creator"]

[approvers.ana]
roles = ["creator"]
keys = ["{ANA.ssh} ana@laptop"]

[approvers."bob@example.com"]
roles = ["auditor"]
revoked = 2026-01-01T01:00:00+01:00
keys = ["""
{BOB.public.pem}"""]

[actors]
"agent-7" = {{ keys = ["{ANA.ssh}"] }}

[redaction]
fields = ["password"]
custom_patterns.badge = "[A-Z]{{3}}-[0-9]{{4}}"
'''


def lines(text: str) -> dict[str, int]:
    return {line: number for number, line in enumerate(text.split("\n"), 1)}


def test_a_policy_as_a_person_writes_it() -> None:
    policy = parse_policy_text(TEXT)
    assert policy.safety_floor == 7.5
    assert policy.rules["deploys"].action_types == ["deploy*", "rollout"]
    assert policy.approvers["ana"].keys == [ANA.public.pem]
    assert policy.approvers["bob@example.com"].keys == [BOB.public.pem]
    assert policy.approvers["bob@example.com"].revoked == "2026-01-01T00:00:00.000000Z"
    assert policy.actors["agent-7"].keys == [ANA.public.pem]
    assert policy.redaction.custom_patterns == {"badge": "[A-Z]{3}-[0-9]{4}"}
    assert policy.redaction.enabled


def test_what_is_written_is_read_again() -> None:
    for policy in (
        Policy(),
        parse_policy_text(TEXT),
        parse_policy({"weights": format_policy(Policy())["weights"]}),
    ):
        assert parse_policy_text(format_policy_text(policy)) == policy
    assert parse_policy_text("") == Policy()


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


persons = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12)


@example(person='~."', name="\x7f", role="\x7f", pattern="\x7f", revoked=True)
@given(person=persons, name=texts, role=texts, pattern=texts, revoked=st.booleans())
@settings(max_examples=60)
def test_names_of_any_kind_are_read_again(
    person: str, name: str, role: str, pattern: str, *, revoked: bool
) -> None:
    people = {person: {**members_of(ANA)["ana"], "roles": [role]}}
    people[person]["revoked"] = "2026-01-01T00:00:00.000001Z" if revoked else None
    policy = parse_policy({
        "approvers": people,
        "rules": {name: {"action_types": [pattern], "roles": [role], "required_proofs": [name],
                         "actor_ids": [person, "*?\\\\ a"], "expires_max_s": 60},
                  "no": {"deny": True, "reason": name + "."}},
        "actors": {person: {"keys": [BOB.ssh]}},
        "redaction": {"fields": [pattern], "custom_patterns": {name: "x"}},
        "erasure": {"held": [pattern, name], "legal_bases": [role]},
    })  # fmt: skip
    assert parse_policy_text(format_policy_text(policy)) == policy


BOBS = 'approvers."bob@example.com"'


def replaced(old: str, new: str) -> str:
    assert TEXT.count(old) == 1
    return TEXT.replace(old, new)


@pytest.mark.parametrize(
    "text, line, member, reason",
    [
        (replaced("safety_floor = 7.5", "safety_floor = 75"), 2, "safety_floor", "expected `int` <= 10"),
        (replaced("safety_floor = 7.5", "safety_flor = 7.5"), 2, "safety_flor", "is not a member"),
        (replaced("an_toan = 2", "an_toan = -2"), 5, "weights", "expected"),
        (replaced("an_toan = 2\n", ""), 5, "weights", "must be given for"),
        (replaced('"rollout",\n', "7,\n"), 13, "rules.deploys.action_types[1]", "expected `str`, got `int`"),
        (replaced('"ACTION", ', '"ACT", '), 12, "rules.deploys.event_types", "'ACT' matches no event type"),
        (replaced("required_approvals = 1", "required_approvals = 9"), 18, "rules.deploys.required_approvals",
         "9 approvals are asked for, the policy has 2 approvers"),
        (replaced('roles = ["creator"]\n\n', 'roles = ["pilot"]\n\n'), 19,
         "rules.deploys.roles", "no approver has"),
        (replaced(ANA.ssh + " ana", "ssh-rsa AAAA ana"), 23, "approvers.ana.keys", "key 1: not a public key"),
        (replaced(f'keys = ["{ANA.ssh} ana@laptop"]\n', ""), 21, "approvers.ana.keys", "is missing"),
        (replaced("2026-01-01T01:00:00+01:00", "2026-01-01"), 27, f"{BOBS}.revoked", "expected"),
        (replaced("2026-01-01T01:00:00+01:00", "2026-01-01T01:00:00"), 27, f"{BOBS}.revoked", "expected"),
        (replaced("BEGIN PUBLIC", "BEGIN SECRET"), 28, f"{BOBS}.keys", "key 1: not a public key"),
        (replaced("-[0-9]{4}", "-["), 40, "redaction.custom_patterns.badge", "not a pattern"),
        (replaced('{ keys = ["', '{ key = ["'), 36, "actors.agent-7.key", "is not a member"),
        (TEXT + "[rules.x]\nroles = 3\n", 42, "rules.x.roles", "expected `array`, got `int`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(text: str, line: int, member: str, reason: str) -> None:
    with pytest.raises(MalformedPolicyError) as caught:
        parse_policy_text(text)
    error = caught.value
    assert (error.line, error.member.partition("[")[0]) == (line, member.partition("[")[0])
    assert reason in error.message
    assert error.message.startswith(f"policy, line {line}: ")


@pytest.mark.parametrize(
    "text, line",
    [
        ("safety_floor = ", 1), ("a = 1\nb = \n", 2), ("a = 1\na = 2\n", 2), ("[weights]\n\n[weights]\n", 3),
        ("a = 1\n" + ".".join("k" * 65) + " = 1\n", 2), ('[x]\na = {"k"' + '."k"' * 64 + " = 1}", 2),
        ('a = """\nx\n', 3), ("a = [1,\n2\n", 3), ("=", 1), ("\x00", 1), ("a = " + "[" * 5_000, 1),
    ],
)  # fmt: skip
def test_what_is_no_toml_is_said_with_its_line(text: str, line: int) -> None:
    with pytest.raises(MalformedPolicyError, match=r"^policy, line \d+: not TOML: \S") as caught:
        parse_policy_text(text)
    assert caught.value.line is not None
    assert abs(caught.value.line - line) <= 1


def test_a_number_of_any_length_is_malformed() -> None:
    with pytest.raises(MalformedPolicyError):
        parse_policy_text(f"safety_floor = {'9' * 4_301}\n")


def test_a_whole_that_is_wrong_has_no_line() -> None:
    with pytest.raises(MalformedPolicyError) as caught:
        parse_policy_text("\n".join(f'actors."{"n" * 200}{n}".keys = ["{ANA.ssh}"]' for n in range(5_000)))
    assert "line" not in caught.value.evidence()
    assert "at most 1048576" in caught.value.message


def test_a_file_at_its_size_limit_and_one_past_it() -> None:
    assert parse_policy_text("#" * POLICY_TEXT_SIZE_MAX_BYTES) == Policy()
    with pytest.raises(MalformedPolicyError, match="at most 2097152"):
        parse_policy_text("#" * (POLICY_TEXT_SIZE_MAX_BYTES + 1))
