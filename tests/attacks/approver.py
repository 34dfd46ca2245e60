"""Somebody who holds an approver's key, and approves what they should not, or as they should not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.attacks.kit import APPROVER, DETECTED, NOT_GUARANTEED, PREVENTED, Ground, Left, attempt
from tests.support.curves import SMALL_ORDER, pem_of, respelled
from tests.support.histories import Members
from tests.support.logs import draft
from tests.support.people import PEOPLE, Person, governed, members_of

from attestlog._internal.core.checkpoint import LogId
from attestlog._internal.core.policy import parse_policy
from attestlog._internal.log import Log

PAY: Members = draft(1, action_type="pay")
TWO: Mapping[str, Any] = {"pay": {"action_types": ["pay"], "required_approvals": 2}}
CREATOR, COMMUNITY, AUDITOR = PEOPLE


def guarded(log: Log, *approvals: Members, **members: Any) -> None:
    """The payment through the guard, with these approvals: it must not happen."""
    with log, log.guard(**{**ACT, **members}, approvals=list(approvals)):
        raise AssertionError("it happened")


ACT: Members = {name: PAY[name] for name in ("action_type", "actor_id", "action_payload")}


@attempt(APPROVER, PREVENTED, "ActionBlockedError approval.duplicate")
def approves_twice(ground: Ground) -> None:
    """One person, where two are asked for."""
    log = ground.live(policy=governed(rules=TWO))
    guarded(log, *[CREATOR.approve(PAY, log.rules.log)] * 2)


@attempt(APPROVER, PREVENTED, "ActionBlockedError approval.duplicate")
def approves_with_two_keys(ground: Ground) -> None:
    """One person with two keys, where two persons are asked for."""
    second = Person("creator", 2)
    policy = parse_policy({"approvers": members_of(*PEOPLE, second), "rules": TWO})
    log = ground.live(policy=policy)
    guarded(log, CREATOR.approve(PAY, log.rules.log), second.approve(PAY, log.rules.log))


@attempt(APPROVER, PREVENTED, "ActionBlockedError approval.self")
def approves_what_they_do_themselves(ground: Ground) -> None:
    """The actor is the approver."""
    log, act = ground.live(), {**PAY, "actor_id": "creator"}
    guarded(log, CREATOR.approve(act, log.rules.log), actor_id="creator")


@attempt(APPROVER, PREVENTED, "ActionBlockedError approval.self")
def approves_under_another_spelling_of_their_name(ground: Ground) -> None:
    """`Creator` acts, `creator` approves."""
    log, act = ground.live(), {**PAY, "actor_id": "Creator"}
    guarded(log, CREATOR.approve(act, log.rules.log), actor_id="Creator")


@attempt(APPROVER, PREVENTED, "ActionBlockedError approval.term")
def approves_for_a_year(ground: Ground) -> None:
    """For longer than the policy lets an approval count."""
    log = ground.live()
    guarded(log, CREATOR.approve(PAY, log.rules.log, expires="2026-10-31T11:00:00.000000Z"))


@attempt(APPROVER, PREVENTED, "ActionBlockedError approval.future")
def approves_in_advance(ground: Ground) -> None:
    """Dated an hour after the act."""
    log = ground.live()
    guarded(log, CREATOR.approve(PAY, log.rules.log, timestamp="2025-10-30T13:30:00.000000Z"))


@attempt(APPROVER, PREVENTED, "ActionBlockedError approval.expired")
def uses_an_approval_that_expired(ground: Ground) -> None:
    """It was good until a minute ago."""
    log = ground.live()
    guarded(log, CREATOR.approve(PAY, log.rules.log, expires="2025-10-30T11:59:00.000000Z"))


@attempt(APPROVER, PREVENTED, "ActionBlockedError approval.signature")
def takes_an_approval_to_another_log(ground: Ground) -> None:
    """Made for another log of the same origin."""
    log = ground.live()
    guarded(log, CREATOR.approve(PAY, LogId(log.origin, "0" * 64)))


@attempt(APPROVER, PREVENTED, "ActionBlockedError approval.signature")
def turns_a_review_into_an_approval(ground: Ground) -> None:
    """What was signed as a review, handed in as an approval."""
    log = ground.live()
    guarded(log, {**CREATOR.approve(PAY, log.rules.log, meaning="review"), "meaning": "approve"})


@attempt(APPROVER, PREVENTED, "ActionBlockedError approval.reject")
def hands_a_rejection_in_beside_an_approval(ground: Ground) -> None:
    """One rejects, and another one approves: the rejection prevents it."""
    log = ground.live()
    rejection = COMMUNITY.approve(PAY, log.rules.log, meaning="reject")
    guarded(log, CREATOR.approve(PAY, log.rules.log), rejection)


@attempt(APPROVER, PREVENTED, "ActionBlockedError approval.request")
def mixes_two_requests(ground: Ground) -> None:
    """Two approvals, each of another request for the same act."""
    log = ground.live(policy=governed(rules=TWO))
    other = "00000000-0000-4000-8000-000000000009"
    guarded(log, CREATOR.approve(PAY, log.rules.log), AUDITOR.approve(PAY, log.rules.log, request_id=other))


@attempt(APPROVER, PREVENTED, "ActionBlockedError approval.unknown_key")
def signs_as_somebody_else(ground: Ground) -> None:
    """The auditor signs for the creator."""
    log = ground.live()
    guarded(log, AUDITOR.approve(PAY, log.rules.log, signer="creator"))


@attempt(APPROVER, PREVENTED, "ActionBlockedError approval.revoked")
def was_revoked_before(ground: Ground) -> None:
    """An approver whom the policy revoked, with an approval dated after that."""
    members = members_of(*PEOPLE)
    members["creator"]["revoked"] = "2025-10-30T10:00:00.000000Z"
    log = ground.live(policy=parse_policy({"approvers": members, "rules": {"pay": {
        "action_types": ["pay"], "required_approvals": 1}}}))  # fmt: skip
    guarded(log, CREATOR.approve(PAY, log.rules.log))


@attempt(APPROVER, PREVENTED, "MalformedPolicyError", "")
def has_a_key_of_small_order(ground: Ground) -> None:
    """A key under which anybody can approve, in a policy."""
    parse_policy({"approvers": {"creator": {"roles": ["creator"], "keys": [pem_of(SMALL_ORDER[0])]}}})


@attempt(APPROVER, PREVENTED, "MalformedPolicyError", "")
def is_two_approvers_by_case(ground: Ground) -> None:
    """`creator` and `Creator` in one policy: one person would be two."""
    parse_policy({"approvers": members_of(CREATOR, Person("Creator"), Creator="creator")})


@attempt(APPROVER, DETECTED, "TAMPERED entry.derived", "VERIFIED")
def respells_a_signature(ground: Ground) -> Left:
    """An approval by a P-256 key with n - s for s, put into the log by who holds its key."""
    from tests.attacks.kit import Story, entries_of
    from tests.support.histories import rebuild

    person = Person("creator", 3, "P-256")
    made = Story(policy=parse_policy({"approvers": members_of(person), "rules": {
        "pay": {"action_types": ["pay"], "required_approvals": 1}}}))  # fmt: skip
    act = draft(8, action_type="pay")
    made.append({**act, "received_approvals": [person.approve(act, made.log)]})
    entries = entries_of(made)
    (approval,) = entries[8]["received_approvals"]
    approval["signature"] = respelled(bytes.fromhex(approval["signature"])).hex()
    return Left(made.files(rebuild(made, entries)))


@attempt(APPROVER, NOT_GUARANTEED, "VERIFIED", "VERIFIED")
def approves_what_they_should_not(ground: Ground) -> Left:
    """An approval by the right person of the wrong thing."""
    with ground.live() as log:
        log.append({**PAY, "received_approvals": [CREATOR.approve(PAY, log.rules.log)]})
    return Left(log.path)


@attempt(APPROVER, NOT_GUARANTEED, "VERIFIED", "VERIFIED")
def has_a_rejection_left_out(ground: Ground) -> Left:
    """A rejection counts only where it is handed in: who asked for approval may keep it back."""
    with ground.live() as log:
        COMMUNITY.approve(PAY, log.rules.log, meaning="reject")
        log.append({**PAY, "received_approvals": [CREATOR.approve(PAY, log.rules.log)]})
    return Left(log.path)
