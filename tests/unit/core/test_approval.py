"""Which approvals count, and for each that does not, the reason by its code."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.people import DATED, EXPIRES, PEOPLE, ROLES, Person, governed, members_of, request_id_of
from tests.support.shapes import CHANGE, LOG, TIMESTAMP
from tests.support.ssh import fido_line, fido_sshsig, sshsig

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
from attestlog._internal.core.entry import Pillar, format_timestamp, parse_draft, parse_timestamp
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.core.policy import APPROVAL_TERM_MAX_S, Policy, parse_policy
from attestlog.errors import MalformedApprovalError

ACTION_HASH = hex_hash(canonical.encode(CHANGE["action_payload"]))
REQUEST = Request.of(parse_draft(CHANGE), LOG, ACTION_HASH, TIMESTAMP)
POLICY = governed()
CREATOR, COMMUNITY, AUDITOR = PEOPLE
GOOD = CREATOR.approve(CHANGE, LOG)
TERMS = ("signer", "meaning", "timestamp", "expires", "event_type", "request_id")
BOUND: dict[str, str] = {
    "log": LOG.genesis, "origin": LOG.origin, "action_type": CHANGE["action_type"],
    "action_hash": ACTION_HASH, "actor_id": CHANGE["actor_id"],
}  # fmt: skip
SCORES: dict[Pillar, float] = CHANGE["pillars_scores"]


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
    (judged,) = judge(person.approve(CHANGE, LOG), policy=policy)
    assert judged.counts
    assert judged.signer == "creator"


def test_a_signature_of_openssh_counts_in_its_namespace_by_that_key_only() -> None:
    terms = {name: GOOD[name] for name in TERMS}
    message = message_of(REQUEST, **terms)

    def by_ssh(person: Person, namespace: str = "attestlog-approval", signed: bytes = message) -> str | None:
        signature = sshsig(person, namespace, signed)
        return code({**terms, "key_id": CREATOR.key_id, "algorithm": "SSHSIG", "signature": signature})

    assert by_ssh(CREATOR) is None
    assert by_ssh(AUDITOR) == "approval.signature"
    assert by_ssh(CREATOR, namespace="file") == "approval.signature"
    assert by_ssh(CREATOR, signed=message + b" ") == "approval.signature"


@pytest.mark.parametrize("algorithm", ["Ed25519", "ECDSA-P256-SHA256"])
def test_a_fido_key_approves_with_a_touch_for_its_application(algorithm: str) -> None:
    ana = Person("ana", algorithm=algorithm)
    terms = {name: ana.approve(CHANGE, LOG)[name] for name in TERMS}
    message = message_of(REQUEST, **terms)

    def by(signature: str, line: str, algorithm: str = "SSHSIG") -> str | None:
        approval = {**terms, "key_id": ana.key_id, "algorithm": algorithm, "signature": signature}
        return code(approval, parse_policy({"approvers": {"ana": {"keys": [line]}}}))

    def touched(**options: Any) -> str:
        return fido_sshsig(ana, "attestlog-approval", message, **options)

    line, named = fido_line(ana), fido_line(ana, "ssh:approvals")
    assert by(touched(), line) is None
    assert by(touched(application="ssh:approvals"), named) is None
    for signature, policy_line in (
        (touched(application="ssh:approvals"), line),
        (touched(), named),
        (touched(signed_for="ssh:approvals"), line),
        (touched(flags=0), line),
        (touched(flags=4), line),
        (fido_sshsig(ana, "file", message), line),
        (fido_sshsig(ana, "attestlog-approval", message + b" "), line),
        # The same key, not in an authenticator: nobody need have touched anything.
        (sshsig(ana, "attestlog-approval", message), line),
        (touched(), ana.ssh),
        (touched(), ana.public.pem),
    ):
        assert by(signature, policy_line) == "approval.signature"
    assert by(ana.sign(message).hex(), line, algorithm) == "approval.signature"
    assert by(ana.sign(message).hex(), ana.ssh, algorithm) is None


def test_it_is_bound_to_the_log_the_actor_the_action_the_payload_and_the_scores() -> None:
    assert code(CREATOR.approve(CHANGE, LOG._replace(origin="example.com/another"))) == "approval.signature"
    assert code(CREATOR.approve(CHANGE, LOG._replace(genesis="0" * 64))) == "approval.signature"
    payload = {**CHANGE["action_payload"], "new_value": 0}
    others: list[dict[str, Any]] = [
        {"action_type": "x"}, {"actor_id": "another"}, {"pillars_scores": {}}, {"action_payload": payload},
        {"pillars_scores": {**SCORES, "an_toan": 8.5}},
    ]  # fmt: skip
    for changed in others:
        request_id = GOOD["request_id"]
        assert (
            code(CREATOR.approve({**CHANGE, **changed}, LOG, request_id=request_id)) == "approval.signature"
        )


def test_exactly_twelve_members_are_signed() -> None:
    message = message_of(REQUEST, **{name: GOOD[name] for name in TERMS})
    prefix, _, said = message.partition(b"\n")
    assert prefix == b"attestlog/approval/v2"
    assert canonical.decode(said) == {
        **BOUND, "pillars_scores": SCORES, **{name: GOOD[name] for name in TERMS}
    }  # fmt: skip
    assert len(canonical.decode(said)) == 12


@pytest.mark.parametrize("member", sorted(BOUND))
def test_one_that_says_what_it_is_bound_to_is_refused_for_that(member: str) -> None:
    assert code({**GOOD, **BOUND}) is None
    reason = {"actor_id": "actor"}.get(member, member)
    assert code({**GOOD, **BOUND, member: "0" * 64}) == f"approval.{reason}"


def test_the_first_reason_in_their_order_is_given() -> None:
    """Log, event type, actor, term, origin, action type, payload: each is looked at before the next."""
    wrong = {
        "log": "0" * 64, "event_type": "ACTION", "actor_id": "x", "expires": "2020-01-01T00:00:00.000000Z",
        "origin": "x", "action_type": "x", "action_hash": "x", "signer": "mallory",
    }  # fmt: skip
    codes = []
    while wrong:
        codes.append(code({**GOOD, **BOUND, **wrong}))
        wrong.pop(next(iter(wrong)))
    assert codes == [
        "approval.log", "approval.event_type", "approval.actor", "approval.term", "approval.origin",
        "approval.action_type", "approval.action_hash", "approval.unknown_signer",
    ]  # fmt: skip
    order = list(REASONS)
    assert order[:8] == ["approval.malformed", *codes[:-1]]
    assert order[-1] == "approval.request"


@pytest.mark.parametrize("member", ["signer", "meaning", "timestamp", "expires", "request_id"])
def test_each_thing_said_is_signed(member: str) -> None:
    changed = {
        "signer": "auditor", "meaning": "review", "timestamp": moved(DATED, 1), "expires": TIMESTAMP,
        "request_id": request_id_of("another"),
    }  # fmt: skip
    found = code({**GOOD, member: changed[member]})
    assert found == ("approval.unknown_key" if member == "signer" else "approval.signature")


def test_the_event_type_is_signed_and_is_the_entrys() -> None:
    assert code({**GOOD, "event_type": "ACTION"}) == "approval.event_type"
    action = REQUEST._replace(event_type="ACTION")
    assert code({**GOOD, "event_type": "ACTION"}, request=action) == "approval.signature"
    assert code(GOOD, request=action) == "approval.event_type"


def test_it_counts_for_a_guards_intent_too() -> None:
    def intent(**members: Any) -> Request:
        draft = parse_draft({**CHANGE, "event_type": "DECISION", **members})
        return Request.of(draft, LOG, ACTION_HASH, TIMESTAMP)

    guarded = {"guard": "intent"}
    assert code(GOOD, request=intent(actor_context=guarded)) is None
    assert code(GOOD, request=intent()) == "approval.event_type"
    assert code(GOOD, request=intent(actor_context={"guard": "outcome"})) == "approval.event_type"
    assert code(GOOD, request=intent(actor_context=guarded, event_type="ACTION")) == "approval.event_type"
    decided = CREATOR.approve({**CHANGE, "event_type": "DECISION"}, LOG)
    assert code(decided, request=intent()) is None


def test_the_longest_and_the_shortest_term() -> None:
    unruled = governed()
    for expires, expected in (
        (moved(DATED, APPROVAL_TERM_MAX_S), None),
        (moved(DATED, APPROVAL_TERM_MAX_S + 0.000001), "approval.term"),
        (moved(DATED, -0.000001), "approval.term"),
    ):
        assert code(CREATOR.approve(CHANGE, LOG, expires=expires), policy=unruled) == expected
    at_once = CREATOR.approve(CHANGE, LOG, expires=DATED)
    assert code(at_once, request=REQUEST._replace(timestamp=DATED)) is None


def test_a_rule_that_asks_for_approval_says_how_long_one_counts() -> None:
    def ruled(*rules: dict[str, Any]) -> Policy:
        asked = {"required_approvals": 1}
        return governed(rules={str(number): {**asked, **rule} for number, rule in enumerate(rules)})

    def lasting(seconds: float) -> dict[str, str]:
        return CREATOR.approve(CHANGE, LOG, expires=moved(DATED, seconds))

    for policy, seconds in (
        (ruled({}), 86_400),
        (ruled({"expires_max_s": 7_200}), 7_200),
        (ruled({"expires_max_s": 172_800}, {"expires_max_s": 7_200}), 7_200),
        (ruled({"expires_max_s": 7_200, "actor_ids": ["another"]}), APPROVAL_TERM_MAX_S),
        (ruled({"expires_max_s": 7_200, "required_approvals": 0}), APPROVAL_TERM_MAX_S),
        (ruled({"expires_max_s": 7_200, "required_approvals": 0, "roles": ["creator"]}), 7_200),
    ):
        assert code(lasting(seconds), policy) is None
        assert code(lasting(seconds + 0.000001), policy) == "approval.term"
    # The intent stands under the rules for the act, although they do not match a DECISION.
    of_changes = ruled({"expires_max_s": 7_200, "event_types": ["CHANGE"]})
    intent = REQUEST._replace(event_type="DECISION", is_intent=True)
    assert code(lasting(7_200), of_changes, intent) is None
    assert code(lasting(7_201), of_changes, intent) == "approval.term"


def test_approvals_of_two_requests_count_for_neither() -> None:
    other = {"request_id": request_id_of("another")}
    second = COMMUNITY.approve(CHANGE, LOG, **other)
    assert [item.code for item in judge(GOOD, second)] == ["approval.request"] * 2
    review = AUDITOR.approve(CHANGE, LOG, meaning="review", **other)
    assert [item.code for item in judge(GOOD, review)] == ["approval.request", "approval.review"]
    assert [item.code for item in judge(review, GOOD, second)] == [
        "approval.review", "approval.request", "approval.request"
    ]  # fmt: skip
    # What does not count for another reason is not asked for its request.
    for harmless in (
        CREATOR.approve(CHANGE, LOG, meaning="reject", **other),
        Person("mallory").approve(CHANGE, LOG, **other),
        CREATOR.approve(CHANGE, LOG, expires=DATED, **other),
    ):  # fmt: skip
        assert [item.counts for item in judge(GOOD, harmless)] == [True, False]


def test_who_is_not_in_the_policy() -> None:
    assert code(Person("mallory").approve(CHANGE, LOG)) == "approval.unknown_signer"
    assert code(Person("creator", number=2).approve(CHANGE, LOG)) == "approval.unknown_key"
    assert code(AUDITOR.approve(CHANGE, LOG, signer="creator")) == "approval.unknown_key"


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
    def by(actor_id: str, policy: Policy = POLICY) -> str | None:
        approval = CREATOR.approve({**CHANGE, "actor_id": actor_id}, LOG)
        return code(approval, policy, REQUEST._replace(actor_id=actor_id))

    assert by("creator") == by(CREATOR.key_id) == "approval.self"
    assert by("Creator") == by("CREATOR") == by(CREATOR.key_id.upper()) == "approval.self"
    assert by("creat\u043er") is None  # another letter, whatever it looks like
    assert by("\u212areator") is None  # the Kelvin sign, of which Unicode makes a k
    second = Person("creator", number=2)
    policy = parse_policy({
        "approvers": members_of(CREATOR, second),
        "actors": {"agent-7": {"keys": [second.public.pem]}},
    })  # fmt: skip
    for actor_id in ("agent-7", "AGENT-7", second.key_id):
        assert by(actor_id, policy) == "approval.self"
    assert by("agent-8", policy) is None


def test_one_person_counts_once_whatever_key_they_use() -> None:
    second = Person("creator", number=2, algorithm="ECDSA-P256-SHA256")
    policy = parse_policy({"approvers": members_of(CREATOR, second)})
    found = judge(GOOD, second.approve(CHANGE, LOG), GOOD, policy=policy)
    assert [item.code for item in found] == [None, "approval.duplicate", "approval.duplicate"]
    assert missing_for_quorum(policy, found, 2, ()) == {"approvals": {"have": 1, "need": 2}}


def test_a_review_is_no_approval_and_a_rejection_prevents_the_quorum() -> None:
    review = CREATOR.approve(CHANGE, LOG, meaning="review")
    reject = AUDITOR.approve(CHANGE, LOG, meaning="reject")
    assert (code(review), code(reject)) == ("approval.review", "approval.reject")
    reviewed = judge(review, GOOD)
    assert missing_for_quorum(POLICY, reviewed, 1, ()) == {}
    rejected = judge(GOOD, COMMUNITY.approve(CHANGE, LOG), reject)
    assert missing_for_quorum(POLICY, rejected, 2, ()) == {"rejected_by": ["auditor"]}
    own = CREATOR.approve(CHANGE, LOG, meaning="reject")
    assert code(own) == "approval.reject"
    own = CREATOR.approve({**CHANGE, "actor_id": "creator"}, LOG, meaning="reject")
    assert code(own, request=REQUEST._replace(actor_id="creator")) == "approval.reject"


def test_a_rejection_by_who_may_not_speak_prevents_nothing() -> None:
    forged = {**GOOD, "meaning": "reject"}
    stranger = Person("mallory").approve(CHANGE, LOG, meaning="reject")
    late = AUDITOR.approve(CHANGE, LOG, meaning="reject", expires=DATED)
    found = judge(COMMUNITY.approve(CHANGE, LOG), forged, stranger, late)
    assert [item.code for item in found] == [
        None, "approval.signature", "approval.unknown_signer", "approval.expired"
    ]  # fmt: skip
    assert missing_for_quorum(POLICY, found, 1, ()) == {}


def test_every_role_must_be_there() -> None:
    two = judge(GOOD, COMMUNITY.approve(CHANGE, LOG))
    assert missing_for_quorum(POLICY, two, 2, ROLES) == {"roles": ["auditor"]}
    three = judge(GOOD, COMMUNITY.approve(CHANGE, LOG), AUDITOR.approve(CHANGE, LOG))
    assert missing_for_quorum(POLICY, three, 3, ROLES) == {}


@pytest.mark.parametrize(
    "member, value",
    [
        ("meaning", "Approve"), ("meaning", ""), ("timestamp", "2025-10-30"), ("expires", "never"),
        ("expires", "2025-02-31T00:00:00.000000Z"), ("colour", "red"), ("colour", "\ud800"),
        ("\ud800", "red"), ("event_type", "action"), ("event_type", ""), ("request_id", ""),
        ("request_id", GOOD["request_id"].upper()), ("request_id", GOOD["request_id"].replace("-4", "-1", 1)),
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
    return msgspec.convert({**GOOD, **BOUND, "pillars_scores": SCORES, **members}, Approval)


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
        canonical.encode({**GOOD, **BOUND}) + b"\n",
        format_approval(approval()).replace(b'"an_toan":8', b'"an_toan":8.0'),
        format_approval(approval()).replace(b'"an_toan":8', b'"safety":8'),
        format_approval(approval()).replace(GOOD["request_id"].encode(), GOOD["request_id"].upper().encode()),
        format_approval(approval(event_type="act")), format_approval(approval(expires="never")),
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
    assert len(REASONS) == 19
    assert all(f'"{reason}"' in source for reason in REASONS.keys() - bound)
