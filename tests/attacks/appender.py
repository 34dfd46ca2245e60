"""Somebody who may append, by the API of a log: an agent, a service with a token. No key, no files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.attacks.kit import (
    APPENDER,
    DETECTED,
    NOT_GUARANTEED,
    POLICY,
    PREVENTED,
    Ground,
    Left,
    attempt,
)
from tests.support.histories import Members
from tests.support.logs import Key, draft
from tests.support.people import PEOPLE, governed

from attestlog._internal.approving import consent_to_admission
from attestlog._internal.core.policy_change import set_policy_payload
from attestlog._internal.core.rotation import (
    Admission,
    Revocation,
    Rotation,
    admission_message,
    format_admission,
    format_revocation,
    format_rotation,
    rotation_message,
)
from attestlog._internal.core.rules import format_hold, release_of
from attestlog._internal.log import Log
from attestlog._internal.storage.resolve import open_source
from attestlog.testing import MemorySigner


def appends(ground: Ground, *drafts: Any, **options: Any) -> Log:
    """One after the other, to a new log that is open."""
    log = ground.live(**options)
    for one in drafts:
        log.append(one)
    return log


def approved(log: Log, act: Members, *numbers: int) -> Members:
    approvals = [PEOPLE[number].approve(act, log.rules.log) for number in numbers]
    return {**act, "received_approvals": approvals}


def change(name: str, payload: Members) -> Members:
    return draft(0, event_type="CHANGE", action_type=f"attestlog.{name}", action_payload=payload)


def tries(seen: str, **members: Any) -> Callable[[Callable[[Ground], None]], None]:
    """An attempt that is one draft, refused."""

    def add(function: Callable[[Ground], None]) -> None:
        def run(ground: Ground) -> None:
            appends(ground, draft(1, **members))

        run.__name__, run.__doc__ = function.__name__, function.__doc__
        attempt(APPENDER, PREVENTED, seen)(run)

    return add


# --- members that are the log's ---


@tries("MalformedEntryError", sequence_number=7)
def says_which_number_it_has(ground: Ground) -> None:
    """Members that the log fills in, in a draft."""


@tries("MalformedEntryError", environment={"attestlog_rules": "0:" + "0" * 64})
def says_which_rules_it_stands_under(ground: Ground) -> None:
    """A pointer to rules, in a draft."""


@tries("MalformedEntryError", event_type="ACTION", action_type="attestlog.set_policy")
def takes_a_name_of_the_logs(ground: Ground) -> None:
    """An action that is called as what governs the log."""


@tries("MalformedEntryError", action_type="Ａttestlog．set_policy")
def takes_a_name_that_looks_like_the_logs(ground: Ground) -> None:
    """The same name in full-width letters."""


@tries("MalformedEntryError", event_type="CHANGE", action_type="attestlog.restored")
def records_for_the_log(ground: Ground) -> None:
    """What only the log itself records."""


@tries("MalformedEntryError", event_type="CHANGE", action_type="attestlog.erase_payload")
def erases_by_an_append(ground: Ground) -> None:
    """An entry that says that a payload is erased, by another way than erasing."""


@tries("DerivedMemberError", quorum_met=True, action_type="pay")
def says_that_a_quorum_was_met(ground: Ground) -> None:
    """A derived member that does not follow."""


@tries("DerivedMemberError", pillars_scores={"an_toan": 1.0}, composite_score=9.9)
def says_a_better_score(ground: Ground) -> None:
    """A composite score that is not that of the scores."""


# --- smuggled in a draft ---


@tries("MalformedEntryError", action_payload={"x": "\ud800"})
def smuggles_a_lone_surrogate(ground: Ground) -> None:
    """Text that has no UTF-8."""


@tries("MalformedEntryError", action_payload={"x": float("nan")})
def smuggles_a_number_that_is_none(ground: Ground) -> None:
    """NaN, which JSON does not have."""


@tries("MalformedEntryError", action_payload={"x": 2**53})
def smuggles_a_number_that_readers_round(ground: Ground) -> None:
    """An integer that JavaScript reads as another."""


@tries("MalformedEntryError", severity=True)
def smuggles_a_truth_value_for_a_number(ground: Ground) -> None:
    """True, which Python takes for 1."""


@tries("MalformedEntryError", action_payload={1: "x"})
def smuggles_a_name_that_is_no_text(ground: Ground) -> None:
    """A name that another spelling would repeat."""


@tries("TooLargeError", action_payload={"x": "y" * (17 << 20)})
def sends_more_than_a_payload_may_have(ground: Ground) -> None:
    """17 MiB."""


@attempt(APPENDER, PREVENTED, "MalformedEntryError")
def nests_without_end(ground: Ground) -> None:
    """A payload that contains itself."""
    payload: dict[str, Any] = {}
    payload["again"] = payload
    appends(ground, draft(1, action_payload=payload))


@attempt(APPENDER, PREVENTED, "VERIFIED")
def ends_a_line_within_a_string(ground: Ground) -> Left:
    """A payload that holds a whole entry of its own, after a line end."""
    with ground.live() as log:
        first = log.append(draft(1))
        line = open_source(log.path).line(first.sequence_number).decode()
        log.append(draft(2, action_payload={"x": f"\n{line}\n"}))
        assert log.head().size == 3
    return Left(log.path)


# --- replayed, and without approval ---


@attempt(APPENDER, PREVENTED, "RuleChangeError")
def changes_the_policy_alone(ground: Ground) -> None:
    """Without the approvals that the policy in force asks for."""
    with ground.live() as log:
        log.append(change("set_policy", set_policy_payload(log.rules, governed())))


@attempt(APPENDER, PREVENTED, "RuleChangeError")
def changes_the_policy_by_one_of_two(ground: Ground) -> None:
    """With one approval, where two are asked for."""
    with ground.live() as log:
        log.append(approved(log, change("set_policy", set_policy_payload(log.rules, governed())), 0))


@attempt(APPENDER, PREVENTED, "ApprovalUsedError")
def brings_an_old_policy_back(ground: Ground) -> None:
    """Appends an old change of the policy again, with its old approvals."""
    with ground.live() as log:
        lax = approved(log, change("set_policy", set_policy_payload(log.rules, governed(rules=RULES))), 0, 1)
        log.append(lax)
        strict = governed(rules=RULES, safety_floor=9)
        log.append(approved(log, change("set_policy", set_policy_payload(log.rules, strict)), 0, 1))
        log.append(lax)


@attempt(APPENDER, PREVENTED, "ApprovalUsedError")
def ends_a_later_hold_by_an_old_release(ground: Ground) -> None:
    """Appends the release of a hold again, after a hold of the same name was placed anew."""
    with ground.live() as log:
        log.add_hold("case", reason="litigation", actor_id="officer")
        payload = format_hold(release_of(log_rules(log), "case", "settled"))
        release = approved(log, change("release_legal_hold", payload), 0, 1)
        log.append(release)
        log.add_hold("case", reason="litigation again", actor_id="officer")
        log.append(release)


@attempt(APPENDER, PREVENTED, "ApprovalUsedError")
def pays_twice_by_one_approval(ground: Ground) -> None:
    """The same payment again, with the approval that was used."""
    with ground.live() as log:
        payment = approved(log, draft(1, action_type="pay"), 0)
        log.append(payment)
        log.append(payment)


@attempt(APPENDER, PREVENTED, "ActionBlockedError")
def acts_without_approval_through_the_guard(ground: Ground) -> None:
    """A payment that nobody approved: the intent is recorded, and the act does not happen."""
    with ground.live() as log, log.guard(action_type="pay", actor_id="agent-1"):
        raise AssertionError("it happened")


@attempt(APPENDER, PREVENTED, "ActionBlockedError")
def does_what_is_denied(ground: Ground) -> None:
    """An act that the policy forbids whoever approves it."""
    with ground.live() as log, log.guard(action_type="wipe", actor_id="agent-1"):
        raise AssertionError("it happened")


@attempt(APPENDER, DETECTED, "VERIFIED entry.rule", "VERIFIED")
def records_a_payment_that_nobody_approved(ground: Ground) -> Left:
    """By the API, past the guard: what happened is recorded, and told as lacking its approval."""
    with appends(ground, draft(1, action_type="pay")) as log:
        pass
    return Left(log.path)


@attempt(APPENDER, DETECTED, "VERIFIED entry.approval", "VERIFIED")
def moves_an_approval_to_another_payment(ground: Ground) -> Left:
    """The approval of one payload, with another one: it does not count, and the entry says so."""
    with ground.live() as log:
        payment = approved(log, draft(1, action_type="pay"), 0)
        log.append({**payment, "action_payload": {"amount": 10**6}})
    return Left(log.path)


@attempt(APPENDER, DETECTED, "VERIFIED entry.approval", "VERIFIED")
def moves_an_approval_to_another_actor(ground: Ground) -> Left:
    """What was approved for agent-1, done by agent-9."""
    with ground.live() as log:
        log.append({**approved(log, draft(1, action_type="pay"), 0), "actor_id": "agent-9"})
    return Left(log.path)


@attempt(APPENDER, PREVENTED, "MalformedEntryError")
def rotates_to_a_key_of_their_own(ground: Ground) -> None:
    """A rotation, with the consent of the new key, appended like any draft: the log would sign it."""
    new = Key(9)
    with ground.live() as log:
        (old,) = log.rules.key_ids
        message = rotation_message(log.origin, old, new.public.key_id, 1)
        payload = format_rotation(Rotation(new.public, new.sign(message)))
        log.append(change("rotate_signing_key", payload))


@attempt(APPENDER, PREVENTED, "MalformedEntryError")
def admits_a_key_of_their_own(ground: Ground) -> None:
    """An admission of their key, where the policy asks for approvals of it."""
    with ground.live(policy=governed(rules={"keys": KEYS})) as log:
        log.append(own_key(log))


@attempt(APPENDER, PREVENTED, "MalformedEntryError")
def admits_a_key_of_their_own_where_nobody_is_asked(ground: Ground) -> None:
    """The same, where the policy asks nobody."""
    with ground.live(policy=governed()) as log:
        log.append(own_key(log))


@attempt(APPENDER, PREVENTED, "MalformedEntryError")
def revokes_the_key_of_another_host(ground: Ground) -> None:
    """A revocation of one of two keys, where the policy asks nobody."""
    second = MemorySigner()
    with ground.live(policy=governed()) as log:
        log.admit_key(consent_to_admission(log.path, second, label="second"))
        revocation = Revocation(
            key_id=second.public_key.key_id, last_trusted_sequence_number=1, reason="not needed"
        )
        log.append(change("revoke_signing_key", format_revocation(revocation)))


def own_key(log: Log) -> Members:
    """The admission of a key of the appender's."""
    new = Key(9)
    message = admission_message(log.origin, log.rules.genesis_hash, new.public.key_id)
    payload = format_admission(Admission(new.public, new.sign(message), "thief"))
    return change("admit_signing_key", payload)


@attempt(APPENDER, PREVENTED, "VERIFIED")
def says_that_a_change_of_the_policy_failed(ground: Ground) -> Left:
    """A record of a change that failed: it moves nothing."""
    with ground.live() as log:
        lax = change("set_policy", set_policy_payload(log.rules, governed()))
        log.append({**lax, "execution_status": "FAILED"})
        assert log.rules.policy == POLICY
    return Left(log.path)


# --- erasing ---


@attempt(APPENDER, PREVENTED, "ErasureRefusedError")
def erases_what_is_under_a_hold(ground: Ground) -> None:
    """One payload."""
    with ground.live() as log:
        log.append(draft(1))
        log.add_hold("case", reason="litigation", actor_id="officer")
        log.erase(1, reason="asked for", actor_id="agent-1")


@attempt(APPENDER, PREVENTED, "ErasureRefusedError")
def erases_a_range_that_reaches_into_a_hold(ground: Ground) -> None:
    """Many payloads, of which one is kept: none goes."""
    with ground.live() as log:
        log.append_many([draft(1), draft(2), draft(3)])
        log.add_hold("case", reason="litigation", actor_id="officer", start=2, stop=3)
        log.erase_many(["*"], reason="asked for", actor_id="agent-1")


@attempt(APPENDER, PREVENTED, "ErasureRefusedError")
def erases_the_genesis_entry(ground: Ground) -> None:
    """The payload that says what keys and which policy there are."""
    with ground.live() as log:
        log.erase(0, reason="asked for", actor_id="agent-1")


@attempt(APPENDER, PREVENTED, "ErasureRefusedError")
def erases_what_the_policy_keeps(ground: Ground) -> None:
    """Where the policy lets nothing be erased."""
    with ground.live(policy=governed(erasure={"held": ["execute_*"]})) as log:
        log.append(draft(1))
        log.erase(1, reason="asked for", actor_id="agent-1")


# --- what an appender can do ---


@attempt(APPENDER, NOT_GUARANTEED, "VERIFIED")
def says_to_be_somebody_else(ground: Ground) -> Left:
    """Any name of an actor: unless a proof of that actor is asked for, or a token is bound to one."""
    with appends(ground, draft(1, actor_id="somebody-else")) as log:
        pass
    return Left(log.path)


@attempt(APPENDER, DETECTED, "VERIFIED entry.dependency", "VERIFIED")
def depends_on_an_entry_that_there_is_not(ground: Ground) -> Left:
    """A dependency that names no entry: a notice."""
    with appends(ground, draft(1, dependencies=["00000000-0000-4000-8000-000000000009"])) as log:
        pass
    return Left(log.path)


@attempt(APPENDER, DETECTED, "VERIFIED actor.counter_gap", "VERIFIED")
def leaves_a_number_out(ground: Ground) -> Left:
    """A numbered actor that sends its third entry, and not its second."""
    counted = {"session": "s-1"}
    with appends(
        ground, *(draft(number, actor_context={**counted, "counter": number}) for number in (1, 3))
    ) as log:
        pass
    return Left(log.path)


@attempt(APPENDER, DETECTED, "VERIFIED guard.outcome_repeated", "VERIFIED")
def says_a_second_outcome(ground: Ground) -> Left:
    """An outcome of FAILED after the one of success."""
    with ground.live() as log:
        with log.guard(action_type="call", actor_id="agent-1", action_payload={"a": 1}) as act:
            pass
        (intent,) = [entry for entry in log.query() if (entry.actor_context or {}).get("guard") == "intent"]
        again = {"actor_context": {"guard": "outcome"}, "dependencies": [intent.entry_id]}
        log.append(draft(1, action_type="call", action_payload={"a": 1}, execution_status="FAILED", **again))
        assert act is not None
    return Left(log.path)


@attempt(APPENDER, PREVENTED, "VERIFIED")
def writes_a_secret_under_another_name(ground: Ground) -> Left:
    """Usual spellings of names of secrets: what is recognised is in no file of the log."""
    secret = "kX9vQ2mZ7wL4tR8p"
    names = ("clientSecret", "x-api-key", "AWS_SECRET_ACCESS_KEY", "db_password")
    with appends(ground, draft(1, action_payload=dict.fromkeys(names, secret))) as log:
        pass
    assert not any(secret.encode() in path.read_bytes() for path in log.path.rglob("*") if path.is_file())
    return Left(log.path)


@attempt(APPENDER, NOT_GUARANTEED, "VERIFIED")
def writes_a_secret_in_disguise(ground: Ground) -> Left:
    """A secret spelled backwards under an everyday name: nothing can recognise it."""
    with appends(ground, draft(1, action_payload={"note": "p8Rt4Lw7Zm2Qv9Xk"})) as log:
        pass
    return Left(log.path)


KEYS: dict[str, Any] = {"action_types": ["attestlog.*_signing_key"], "required_approvals": 1}
RULES: dict[str, Any] = {
    "changes": {"action_types": ["attestlog.*policy*"], "required_approvals": 2},
}


def log_rules(log: Log) -> Any:
    """The rules in force, with the holds."""
    from attestlog._internal.in_force import read_rules

    return read_rules(open_source(log.path))
