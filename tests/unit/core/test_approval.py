"""Which approvals count, and for each that does not, the reason by its code."""

from pathlib import Path

import msgspec
import pytest
from tests.support.people import DATED, EXPIRES, PEOPLE, ROLES, Person, governed, members_of
from tests.support.shapes import CHANGE, ORIGIN, TIMESTAMP
from tests.support.ssh import sshsig

from attestlog._internal.core import canonical
from attestlog._internal.core.approval import (
    AHEAD_MAX_S,
    APPROVAL_SIZE_MAX_BYTES,
    REASONS,
    Approval,
    JudgedApproval,
    Request,
    format_approval,
    judge_approvals,
    message_of,
    missing_for_quorum,
    parse_approval,
    stored_form,
)
from attestlog._internal.core.entry import format_timestamp, parse_timestamp
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.core.policy import Policy, parse_policy
from attestlog.errors import MalformedApprovalError

ACTION_HASH = hex_hash(canonical.encode(CHANGE["action_payload"]))
REQUEST = Request(ORIGIN, CHANGE["action_type"], ACTION_HASH, CHANGE["actor_id"], TIMESTAMP)
POLICY = governed()
CREATOR, COMMUNITY, AUDITOR = PEOPLE
GOOD = CREATOR.approve(CHANGE, ORIGIN)


def judge(
    *approvals: dict[str, str], policy: Policy = POLICY, request: Request = REQUEST
) -> list[JudgedApproval]:
    return judge_approvals(policy, approvals, request)


def code(approval: dict[str, str], policy: Policy = POLICY, request: Request = REQUEST) -> str | None:
    (judged,) = judge(approval, policy=policy, request=request)
    assert judged.code is None or judged.code in REASONS
    return judged.code


def moved(timestamp: str, seconds: float) -> str:
    return format_timestamp(parse_timestamp(timestamp) + round(seconds * 1_000_000))


@pytest.mark.parametrize("algorithm", ["Ed25519", "ECDSA-P256-SHA256"])
def test_a_real_signature_of_an_approver_counts(algorithm: str) -> None:
    person = Person("creator", algorithm=algorithm)
    policy = parse_policy({"approvers": members_of(person)})
    (judged,) = judge(person.approve(CHANGE, ORIGIN), policy=policy)
    assert judged.counts
    assert judged.signer == "creator"


def test_a_signature_of_openssh_counts_in_its_namespace_by_that_key_only() -> None:
    terms = {"signer": "creator", "meaning": "approve", "timestamp": DATED, "expires": EXPIRES}
    message = message_of(REQUEST, **terms)

    def by_ssh(person: Person, namespace: str = "attestlog-approval", signed: bytes = message) -> str | None:
        signature = sshsig(person, namespace, signed)
        return code({**terms, "key_id": CREATOR.key_id, "algorithm": "SSHSIG", "signature": signature})

    assert by_ssh(CREATOR) is None
    assert by_ssh(AUDITOR) == "approval.signature"
    assert by_ssh(CREATOR, namespace="file") == "approval.signature"
    assert by_ssh(CREATOR, signed=message + b" ") == "approval.signature"


def test_it_is_bound_to_the_log_the_action_and_the_payload() -> None:
    assert code(CREATOR.approve(CHANGE, "example.com/another")) == "approval.signature"
    assert code(CREATOR.approve({**CHANGE, "action_type": "x"}, ORIGIN)) == "approval.signature"
    other = {**CHANGE, "action_payload": {**CHANGE["action_payload"], "new_value": 0}}
    assert code(CREATOR.approve(other, ORIGIN)) == "approval.signature"


@pytest.mark.parametrize("member", ["origin", "action_type", "action_hash"])
def test_one_that_says_what_it_is_bound_to_is_refused_for_that(member: str) -> None:
    bound = {"origin": ORIGIN, "action_type": CHANGE["action_type"], "action_hash": ACTION_HASH}
    assert code({**GOOD, **bound}) is None
    assert code({**GOOD, **bound, member: "0" * 64}) == f"approval.{member}"


@pytest.mark.parametrize("member", ["signer", "meaning", "timestamp", "expires"])
def test_each_thing_said_is_signed(member: str) -> None:
    changed = {"signer": "auditor", "meaning": "review", "timestamp": EXPIRES, "expires": TIMESTAMP}
    found = code({**GOOD, member: changed[member]})
    assert found == ("approval.unknown_key" if member == "signer" else "approval.signature")


def test_who_is_not_in_the_policy() -> None:
    assert code(Person("mallory").approve(CHANGE, ORIGIN)) == "approval.unknown_signer"
    assert code(Person("creator", number=2).approve(CHANGE, ORIGIN)) == "approval.unknown_key"
    assert code(AUDITOR.approve(CHANGE, ORIGIN, signer="creator")) == "approval.unknown_key"


def test_a_revoked_approver_from_that_moment_on() -> None:
    def revoked(at: str) -> Policy:
        people = members_of(CREATOR)
        people["creator"]["revoked"] = at
        return parse_policy({"approvers": people})

    assert code(GOOD, revoked(moved(TIMESTAMP, 0.000001))) is None
    assert code(GOOD, revoked(TIMESTAMP)) == "approval.revoked"
    assert code(GOOD, revoked("2020-01-01T00:00:00.000000Z")) == "approval.revoked"


def test_an_expired_one_at_its_last_moment_and_after() -> None:
    assert code(GOOD, request=REQUEST._replace(timestamp=EXPIRES)) is None
    assert code(GOOD, request=REQUEST._replace(timestamp=moved(EXPIRES, 0.000001))) == "approval.expired"


def test_the_clock_of_an_approver_may_be_a_minute_ahead() -> None:
    assert AHEAD_MAX_S == 60


def test_one_dated_after_the_entry() -> None:
    limit = moved(DATED, -AHEAD_MAX_S)
    assert code(GOOD, request=REQUEST._replace(timestamp=limit)) is None
    assert code(GOOD, request=REQUEST._replace(timestamp=moved(limit, -0.000001))) == "approval.future"


def test_the_actor_does_not_approve_their_own_request() -> None:
    assert code(GOOD, request=REQUEST._replace(actor_id="creator")) == "approval.self"
    assert code(GOOD, request=REQUEST._replace(actor_id=CREATOR.key_id)) == "approval.self"
    second = Person("creator", number=2)
    policy = parse_policy({
        "approvers": members_of(CREATOR, second),
        "actors": {"agent-7": {"keys": [second.public.pem]}},
    })  # fmt: skip
    assert code(GOOD, policy, REQUEST._replace(actor_id="agent-7")) == "approval.self"
    assert code(GOOD, policy, REQUEST._replace(actor_id=second.key_id)) == "approval.self"
    assert code(GOOD, policy, REQUEST._replace(actor_id="agent-8")) is None


def test_one_person_counts_once_whatever_key_they_use() -> None:
    second = Person("creator", number=2, algorithm="ECDSA-P256-SHA256")
    policy = parse_policy({"approvers": members_of(CREATOR, second)})
    found = judge(GOOD, second.approve(CHANGE, ORIGIN), GOOD, policy=policy)
    assert [item.code for item in found] == [None, "approval.duplicate", "approval.duplicate"]
    assert missing_for_quorum(policy, found, 2, ()) == {"approvals": {"have": 1, "need": 2}}


def test_a_review_is_no_approval_and_a_rejection_prevents_the_quorum() -> None:
    review = CREATOR.approve(CHANGE, ORIGIN, meaning="review")
    reject = AUDITOR.approve(CHANGE, ORIGIN, meaning="reject")
    assert (code(review), code(reject)) == ("approval.review", "approval.reject")
    reviewed = judge(review, GOOD)
    assert missing_for_quorum(POLICY, reviewed, 1, ()) == {}
    rejected = judge(GOOD, COMMUNITY.approve(CHANGE, ORIGIN), reject)
    assert missing_for_quorum(POLICY, rejected, 2, ()) == {"rejected_by": ["auditor"]}
    own = CREATOR.approve(CHANGE, ORIGIN, meaning="reject")
    assert code(own, request=REQUEST._replace(actor_id="creator")) == "approval.reject"


def test_a_rejection_by_who_may_not_speak_prevents_nothing() -> None:
    forged = {**GOOD, "meaning": "reject"}
    stranger = Person("mallory").approve(CHANGE, ORIGIN, meaning="reject")
    late = AUDITOR.approve(CHANGE, ORIGIN, meaning="reject", expires=DATED)
    found = judge(COMMUNITY.approve(CHANGE, ORIGIN), forged, stranger, late)
    assert [item.code for item in found] == [
        None, "approval.signature", "approval.unknown_signer", "approval.expired"
    ]  # fmt: skip
    assert missing_for_quorum(POLICY, found, 1, ()) == {}


def test_every_role_must_be_there() -> None:
    two = judge(GOOD, COMMUNITY.approve(CHANGE, ORIGIN))
    assert missing_for_quorum(POLICY, two, 2, ROLES) == {"roles": ["auditor"]}
    three = judge(GOOD, COMMUNITY.approve(CHANGE, ORIGIN), AUDITOR.approve(CHANGE, ORIGIN))
    assert missing_for_quorum(POLICY, three, 3, ROLES) == {}


@pytest.mark.parametrize(
    "member, value",
    [
        ("meaning", "Approve"), ("meaning", ""), ("timestamp", "2025-10-30"), ("expires", "never"),
        ("expires", "2025-02-31T00:00:00.000000Z"), ("colour", "red"), ("colour", "\ud800"),
        ("\ud800", "red"),
    ],
)  # fmt: skip
def test_what_is_no_approval_is_recorded_and_refused(member: str, value: str) -> None:
    assert code({**GOOD, member: value}) == "approval.malformed"


@pytest.mark.parametrize("member", sorted(GOOD))
def test_each_member_is_needed(member: str) -> None:
    assert code({name: value for name, value in GOOD.items() if name != member}) == "approval.malformed"


@pytest.mark.parametrize(
    "change",
    [
        {"signature": ""}, {"signature": "zz"}, {"signature": GOOD["signature"].upper()},
        {"signature": GOOD["signature"][:-2]}, {"signature": "00" * 64},
        {"signature": " " + GOOD["signature"]},
        {"algorithm": "ECDSA-P256-SHA256"}, {"algorithm": "SSHSIG"}, {"algorithm": ""},
        {"key_id": "0" * 64}, {"key_id": GOOD["key_id"].upper()}, {"signer": ""},
    ],
)  # fmt: skip
def test_a_spoilt_approval_never_counts(change: dict[str, str]) -> None:
    assert code({**GOOD, **change}) in {
        "approval.signature", "approval.unknown_key", "approval.unknown_signer"
    }  # fmt: skip


def approval(**members: str) -> Approval:
    bound = {"origin": ORIGIN, "action_type": CHANGE["action_type"], "action_hash": ACTION_HASH}
    return msgspec.convert({**GOOD, **bound, **members}, Approval)


def test_an_approval_file_comes_back() -> None:
    data = format_approval(approval())
    assert parse_approval(data) == approval()
    assert stored_form(parse_approval(data)) == GOOD
    assert judge_approvals(POLICY, [approval()], REQUEST)[0].counts


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"[]", b"null\n", b"\xff", format_approval(approval())[:-1],
        format_approval(approval()) + b"\n",
        format_approval(approval()).replace(b'":"', b'": "', 1), canonical.encode(GOOD) + b"\n",
        format_approval(approval()).replace(b'"approve"', b"7"),
        format_approval(approval()).replace(b'{"action_hash"', b'{"aa":"","action_hash"'),
    ],
)  # fmt: skip
def test_what_is_no_approval_file(data: bytes) -> None:
    with pytest.raises(MalformedApprovalError):
        parse_approval(data)


def test_an_approval_file_at_its_size_limit_and_one_past_it() -> None:
    spare = APPROVAL_SIZE_MAX_BYTES - len(format_approval(approval(signature="")))
    largest = format_approval(approval(signature="0" * spare))
    assert len(largest) == APPROVAL_SIZE_MAX_BYTES
    assert parse_approval(largest).signature == "0" * spare
    with pytest.raises(MalformedApprovalError, match="at most 8192"):
        parse_approval(format_approval(approval(signature="0" * (spare + 1))))


def test_every_reason_is_given_by_some_approval() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    bound = {"approval.origin", "approval.action_type", "approval.action_hash"}
    assert all(f'"{reason}"' in source for reason in REASONS.keys() - bound)
