"""The guard: decide, act, record. What is forbidden does not happen, what happens has its outcome."""

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.audits import verdicts
from tests.support.logs import create
from tests.support.people import ROLES, Person, governed

from attestlog._internal.core.approval import (
    Approval,
    bindings,
    format_approval,
    format_request,
    parse_request,
)
from attestlog._internal.core.checkpoint import LogId
from attestlog._internal.core.entry import Entry
from attestlog._internal.core.genesis import Settings
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.core.policy import Policy
from attestlog._internal.core.policy_change import set_policy_payload
from attestlog._internal.core.report import Verdict
from attestlog._internal.core.reserved import SIGNER_OUTAGE
from attestlog._internal.guard import Guard, NumberedActor
from attestlog._internal.guard.asking import write_request
from attestlog._internal.guard.checking import Reason, reasons_against
from attestlog._internal.guard.recording import KINDS
from attestlog._internal.log import Log
from attestlog._internal.snapshots import snapshot_hash
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifying import judge_log
from attestlog.errors import (
    ActionBlockedError,
    ApprovalRefusedError,
    MalformedApprovalError,
    MalformedEntryError,
    SignerError,
)
from attestlog.testing import FaultSigner, ManualClock, MemorySigner, check_log

GOOD = {"an_toan": 9, "duong_dai": 8, "tin_vao_so_lieu": 8, "han_che_rui_ro": 9}
CLAIM = {"type": "pillars", "valid": True}
RULES = {"deploys": {"action_types": ["deploy"], "required_approvals": 3, "roles": list(ROLES)}}


SIGNER, CHECK_SIGNER = MemorySigner(), MemorySigner("Ed25519")


def made(tmp_path: Path, policy: Policy | None = None, **settings: Any) -> Log:
    return create(
        tmp_path / "log", policy=policy, settings=Settings(**settings), signer=SIGNER.uri,
        checkpoint_signer=CHECK_SIGNER.uri,
    )  # fmt: skip


def entries(log: Log) -> list[Entry]:
    """Those after the genesis entry, without what the log says of an outage by itself."""
    found = open_source(log.path).entries(1)
    return [entry for entry in found if entry.action_type != SIGNER_OUTAGE]


def shape(log: Log) -> list[tuple[str, str, str]]:
    return [(str(item.event_type), item.action_type, str(item.execution_status)) for item in entries(log)]


def guard(log: Log, **members: Any) -> Guard:
    given = {"action_type": "deploy", "actor_id": "agent-7", "action_payload": {"commit": "372b274"}}
    return log.guard(**{**given, **members})


# --- it happens ---


def test_intent_before_and_outcome_after(log: Log) -> None:
    with guard(log, pillars_scores=GOOD, actor_type="AUTONOMOUS_AGENT", actor_context={"role": "ops"}) as act:
        assert shape(log) == [("DECISION", "deploy", "SUCCESS")], "durable before the act"
        act.result = {"url": "https://example.com"}
    intent, outcome = entries(log)
    assert shape(log)[1] == ("ACTION", "deploy", "SUCCESS")
    assert outcome.dependencies == [intent.entry_id]
    assert outcome.result_data == {"url": "https://example.com"}
    assert outcome.action_hash == intent.action_hash
    assert intent.actor_context == {"role": "ops", "guard": "intent"}
    assert outcome.actor_context.pop("duration_us") >= 0
    assert outcome.actor_context == {"role": "ops", "guard": "outcome"}
    assert act.intent is not None
    assert act.outcome is not None
    assert [act.intent.sequence_number, act.outcome.sequence_number] == [1, 2]


@pytest.mark.parametrize(
    "result, recorded",
    [(None, None), ({"a": 1}, {"a": 1}), ([1], {"value": [1]}), ("x", {"value": "x"}), ({}, {})],
)
def test_results(log: Log, result: Any, recorded: Any) -> None:
    with guard(log) as act:
        act.result = result
    assert entries(log)[1].result_data == recorded


def test_a_result_that_is_not_json_is_made_so(log: Log) -> None:
    with guard(log) as act:
        act.result = {"a": {1, 2}, "b": object(), "c": float("nan")}
    recorded = {"a": [1, 2], "b": {"not_recorded": "a value of type object"}, "c": "NaN"}
    assert entries(log)[1].result_data == recorded


def test_of_a_large_result_hash_size_and_beginning_are_recorded(log: Log) -> None:
    with guard(log) as act:
        act.result = "x" * 33_000
    outcome = entries(log)[1]
    recorded = outcome.result_data or {}
    encoded = b'{"value":"' + b"x" * 33_000 + b'"}'
    assert (recorded["sha256"], recorded["size_bytes"]) == (hex_hash(encoded), len(encoded))
    assert recorded["beginning"] == encoded[:4_096].decode()
    assert outcome.execution_status == "SUCCESS"


def test_an_outcome_too_large_is_recorded_without_its_result(log: Log) -> None:
    with guard(log, actor_context={"notes": "y" * 40_000}) as act:
        act.result = {"text": "x" * 30_000}
    assert list(entries(log)[1].result_data or {}) == ["not_recorded"]


def test_a_change_can_be_guarded_and_nothing_else(log: Log) -> None:
    with guard(log, event_type="CHANGE"):
        pass
    assert shape(log)[1] == ("CHANGE", "deploy", "SUCCESS")
    with pytest.raises(ValueError, match="ACTION or a CHANGE"):
        guard(log, event_type="BOOT")


def test_a_guard_is_entered_once(log: Log) -> None:
    act = guard(log)
    with act:
        pass
    with pytest.raises(ValueError, match="entered once"), act:
        pass
    assert len(entries(log)) == 2


@pytest.mark.parametrize(
    "members, member",
    [
        ({"pillars_scores": {"speed": 9}}, "pillars_scores"),
        ({"action_payload": ["no object"]}, "action_payload"),
        ({"action_payload": {"x": float("nan")}}, "action_payload.x"),
        ({"required_proofs": 1}, "required_proofs"),
        ({"approvals": [{"signer": "nobody"}]}, "received_approvals[0].signature"),
    ],
)
def test_what_is_wrong_with_the_draft_is_said_before_anything(
    log: Log, members: dict[str, Any], member: str
) -> None:
    with pytest.raises(MalformedEntryError) as caught, guard(log, **members):
        raise AssertionError("it must not be reached")
    assert caught.value.member == member
    assert entries(log) == []


def test_an_act_is_judged_once_if_nothing_changes_meanwhile(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []

    def counted(*facts: Any) -> list[Reason]:
        judged.append(facts[-1])
        return reasons_against(*facts)

    monkeypatch.setattr("attestlog._internal.guard.act.reasons_against", counted)
    with guard(log):
        pass
    assert len(judged) == 1


def test_a_policy_that_another_process_changed_meanwhile_counts(tmp_path: Path) -> None:
    path, policy, people = tmp_path / "log", governed(), [Person(role) for role in ROLES]
    with made(tmp_path, policy) as log, Log.open(path, clock=ManualClock()) as other:
        payload = set_policy_payload(log.rules, governed(safety_floor=9.5))
        change: dict[str, Any] = {
            "event_type": "CHANGE", "action_type": "attestlog.set_policy", "actor_id": "maintainer",
            "action_payload": payload,
        }  # fmt: skip
        other.append({**change, "received_approvals": [who.approve(change, log.rules.log) for who in people]})
        with pytest.raises(ActionBlockedError), guard(log, pillars_scores=GOOD):
            raise AssertionError("it must not be reached")
        assert shape(log)[1:] == [
            ("DECISION", "deploy", "SUCCESS"), ("VIOLATION", "safety_floor_breach_attempt", "BLOCKED")
        ]  # fmt: skip
    check_log(path)


# --- it fails ---


def test_what_the_act_raises_is_recorded_and_raised_again(log: Log) -> None:
    with pytest.raises(KeyError, match="nothing"), guard(log):
        raise KeyError("nothing here")
    outcome = entries(log)[1]
    details = outcome.error_details or {}
    assert (outcome.execution_status, details["type"]) == ("FAILED", "KeyError")
    assert details["message"] == "'nothing here'"
    assert "test_guard.py" in details["traceback"]


def test_secrets_in_a_traceback_are_redacted(log: Log, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ghp_"), guard(log, action_payload={"password": "hunter2"}):
        raise ValueError("token ghp_" + "a1" * 18)
    stored = b"".join(open_source(log.path).lines())
    assert b"ghp_" + b"a1" * 18 not in stored
    assert b"hunter2" not in stored
    intent, outcome = entries(log)
    assert intent.action_hash == outcome.action_hash, "redacted once, so it is the same payload"


def test_a_lone_surrogate_and_a_long_message_do_not_cost_the_outcome(log: Log) -> None:
    with pytest.raises(ValueError), guard(log):
        raise ValueError("\udc80" + "x" * 100_000)
    assert len((entries(log)[1].error_details or {})["message"]) == 2_000


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_an_outcome_too(log: Log, kind: type[BaseException]) -> None:
    with pytest.raises(kind), guard(log):
        raise kind
    assert shape(log)[1] == ("ACTION", "deploy", "FAILED")


def test_rolled_back(log: Log, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "page").write_text("old")
    before = snapshot_hash(site)
    with (
        pytest.raises(RuntimeError),
        guard(log, snapshot=site, rollback=lambda act: (site / "page").write_text("old")),
    ):
        (site / "page").write_text("half")
        raise RuntimeError("disk on fire")
    intent, outcome = entries(log)
    assert (outcome.execution_status, outcome.rollback_executed) == ("ROLLED_BACK", True)
    assert outcome.rollback_snapshot_hash == intent.rollback_snapshot_hash == before
    assert intent.rollback_available
    assert not intent.rollback_executed


@pytest.mark.parametrize("how", ["raises", "restores something else"])
def test_a_rollback_that_fails(log: Log, tmp_path: Path, how: str) -> None:
    page = tmp_path / "page"
    page.write_text("old")

    def rollback(act: Guard) -> None:
        if how == "raises":
            raise OSError("no copy")
        page.write_text("older")

    with pytest.raises(RuntimeError), guard(log, snapshot=page, rollback=rollback):
        page.write_text("half")
        raise RuntimeError
    outcome = entries(log)[1]
    assert (outcome.execution_status, outcome.rollback_executed) == ("FAILED", False)
    assert "rollback_error" in (outcome.error_details or {})


def test_a_rollback_needs_something_to_go_back_to(log: Log) -> None:
    with pytest.raises(TypeError, match="needs a snapshot"):
        guard(log, rollback=lambda act: None)


# --- it is blocked ---


@pytest.mark.parametrize(
    "members, invariant, action_type",
    [
        ({"pillars_scores": {"an_toan": 6.2}}, "INVARIANT_2_SAFETY_FLOOR", "safety_floor_breach_attempt"),
        ({"conflicts_detected": ["a", "b"]}, "INVARIANT_3_K1_STATE", "k1_state_breach_attempt"),
        ({"required_proofs": ["pillars"]}, "INVARIANT_4_PROOFS", "proofs_breach_attempt"),
        ({"provided_proofs": [CLAIM]}, "INVARIANT_4_PROOFS", "proofs_breach_attempt"),
        ({"required_approvals": 1}, "INVARIANT_5_QUORUM", "quorum_breach_attempt"),
    ],
)  # fmt: skip
def test_what_the_policy_forbids_does_not_happen(
    log: Log, members: Any, invariant: str, action_type: str
) -> None:
    with pytest.raises(ActionBlockedError) as caught, guard(log, **members):
        raise AssertionError("it must not be reached")
    intent, violation = entries(log)
    assert shape(log) == [("DECISION", "deploy", "BLOCKED"), ("VIOLATION", action_type, "BLOCKED")]
    assert violation.dependencies == [intent.entry_id]
    assert (violation.error_details or {})["violated_invariant"] == invariant
    assert caught.value.receipt.sequence_number == 2
    assert [reason["invariant"] for reason in caught.value.reasons] == [invariant]


def test_every_reason_is_said(log: Log) -> None:
    with (
        pytest.raises(ActionBlockedError) as caught,
        guard(log, pillars_scores={"an_toan": 1}, conflicts_detected=["x"], required_approvals=1),
    ):
        pass
    payload = entries(log)[1].action_payload or {}
    assert (payload["safety_score"], payload["min_required"], payload["blocked"]) == (1, 7, True)
    assert [reason["invariant"][10:11] for reason in payload["reasons"]] == ["2", "3", "5"]
    assert len(caught.value.reasons) == 3


def test_the_rules_for_the_act_count_for_its_intent(tmp_path: Path) -> None:
    policy = governed(rules={"r": {"event_types": ["ACTION"], "required_proofs": ["pillars"]}})
    log = made(tmp_path, policy)
    with pytest.raises(ActionBlockedError), guard(log):
        pass
    proof = [{"type": "pillars", "valid": True}]
    with guard(log, pillars_scores=GOOD, provided_proofs=proof):
        pass
    assert [entry.required_proofs for entry in entries(log)] == [["pillars"], [], ["pillars"], ["pillars"]]
    log.close()
    check_log(log.path)


# --- people are asked ---


def approve(act: Guard, person: str, directory: Path | None = None, **said: str) -> bytes:
    """As a person would: sign what the request asks, and put it beside the request."""
    request = act.request
    log = LogId(request.origin, request.log)
    stored = Person(person).approve(request.draft, log, **{"request_id": request.request_id, **said})
    data = format_approval(msgspec.convert({**stored, **bindings(request)}, Approval))
    if directory is not None:
        (directory / f"{person}.json").write_bytes(data)
    return data


@pytest.mark.parametrize("salted", [False, True])
def test_approvals_handed_in(tmp_path: Path, salted: bool) -> None:
    log = made(tmp_path, governed(rules=RULES), erasable_payloads=salted)
    act = guard(log)
    for person in ROLES:
        act.add_approval(approve(act, person))
    with act:
        pass
    intent, outcome = entries(log)
    assert intent.quorum_met
    assert outcome.quorum_met
    assert len(outcome.received_approvals) == 3
    log.close()
    check_log(log.path)


@pytest.mark.parametrize("missing", ROLES)
def test_a_role_that_is_missing_blocks(tmp_path: Path, missing: str) -> None:
    log = made(tmp_path, governed(rules=RULES))
    act = guard(log)
    for person in ROLES:
        if person != missing:
            act.add_approval(approve(act, person))
    with pytest.raises(ActionBlockedError), act:
        pass
    reasons = (entries(log)[1].action_payload or {})["reasons"]
    assert reasons[0]["missing_approvals"]["roles"] == [missing]


def test_a_blocked_attempt_leaves_nothing_to_remark(tmp_path: Path) -> None:
    """Rules that speak of every type of event speak of the intent, too: it did not succeed."""
    log = made(tmp_path, governed(rules=RULES))
    with pytest.raises(ActionBlockedError), guard(log):
        pass
    log.close()
    assert judge_log(log.path, remember=False).findings == []


def test_an_approval_of_another_payload_does_not_count(tmp_path: Path) -> None:
    log = made(tmp_path, governed(rules=RULES))
    other = guard(log, action_payload={"commit": "other"})
    act = guard(log, approvals=[approve(other, person) for person in ROLES])
    with pytest.raises(ActionBlockedError) as caught, act:
        pass
    assert "approval" in caught.value.reasons[0]["evidence"]["refused"][0]


def test_no_number_of_files_hides_an_approval(tmp_path: Path) -> None:
    log, room = made(tmp_path, governed(rules=RULES)), tmp_path / "approvals"
    act = guard(log, ask=room, ask_timeout_s=0)
    room.mkdir()
    for number in range(10_500):
        (room / f"{number:05d}.json").touch()
    os.mkfifo(room / "pipe.json")
    (room / "zero.json").symlink_to("/dev/zero")
    for person in ROLES:
        approve(act, person, room)
    with act:
        assert act.intent is not None


def test_a_request_is_not_written_through_a_link(tmp_path: Path) -> None:
    """Where others may write, too: the request stands there, and what they named is unchanged."""
    log, room, kept = made(tmp_path, governed(rules=RULES)), tmp_path / "approvals", tmp_path / "kept"
    request = guard(log).request
    kept.write_text("somebody's")
    path = write_request(room, request)
    written = path.read_bytes()
    path.unlink()
    for name in (path.name, f".{path.name}.{os.getpid()}.new"):
        (room / name).symlink_to(kept)
    assert write_request(room, request) == path
    assert (path.is_symlink(), path.read_bytes(), kept.read_text()) == (False, written, "somebody's")
    log.close()


def test_the_agent_waits_for_people(tmp_path: Path) -> None:
    log, room = made(tmp_path, governed(rules=RULES)), tmp_path / "approvals"
    act = guard(log, ask=room)
    people = threading.Thread(target=lambda: [approve(act, person, room) for person in ROLES])

    def start() -> None:
        while not list(room.glob("*.request.json")):
            time.sleep(0.01)
        (room / "noise.json").write_text("{}")
        people.start()

    starter = threading.Thread(target=start)
    starter.start()
    with act:
        assert act.intent is not None
    starter.join()
    people.join()
    assert shape(log) == [("DECISION", "deploy", "SUCCESS"), ("ACTION", "deploy", "SUCCESS")]
    log.close()
    check_log(log.path)


def test_nobody_answers(tmp_path: Path) -> None:
    log = made(tmp_path, governed(rules=RULES))
    with pytest.raises(ActionBlockedError), guard(log, ask=tmp_path / "room", ask_timeout_s=0):
        pass
    assert [row[0] for row in shape(log)] == ["DECISION", "VIOLATION"]


def test_a_task_waits_for_people(tmp_path: Path) -> None:
    log, room = made(tmp_path, governed(rules=RULES)), tmp_path / "approvals"

    async def main() -> None:
        act = guard(log, ask=room)
        waiting = asyncio.ensure_future(act.approved(60))
        while not room.exists() or not list(room.glob("*.request.json")):  # noqa: ASYNC110 - files tell nobody
            await asyncio.sleep(0.01)
        for person in ROLES:
            approve(act, person, room)
        await waiting
        async with act:
            act.result = {"done": True}

    asyncio.run(main())
    assert [row[0] for row in shape(log)] == ["DECISION", "ACTION"]


# --- one request, one act ---


def sound(log: Log) -> None:
    """What the guard recorded is nothing that a verifier remarks on."""
    log.close()
    check_log(log.path)
    assert judge_log(log.path, remember=False).findings == []


def approvals_of(act: Guard) -> list[bytes]:
    return [approve(act, person) for person in ROLES]


def test_approvals_that_were_used_before_are_not_used_again(tmp_path: Path) -> None:
    log = made(tmp_path, governed(rules=RULES))
    first = guard(log)
    given = approvals_of(first)
    with guard(log, approvals=given):
        pass
    with (
        pytest.raises(ActionBlockedError, match="approved entry 1 already") as caught,
        guard(log, approvals=given),
    ):
        raise AssertionError("it must not be reached")
    intent, violation = entries(log)[2:]
    assert (intent.execution_status, intent.received_approvals, intent.quorum_met) == ("BLOCKED", [], False)
    request_id = first.request.request_id
    details = {"kind": "denied", "request_id": request_id, "used_by": 1}
    assert (intent.error_details or {}).items() >= details.items()
    assert violation.action_type == "quorum_breach_attempt"
    assert violation.dependencies == [intent.entry_id]
    assert violation.received_approvals == []
    reasons = (violation.action_payload or {})["reasons"]
    assert (reasons[0]["used_by"], reasons[0]["request_id"]) == (1, request_id)
    assert (violation.error_details or {})["violated_invariant"] == "INVARIANT_5_QUORUM"
    assert [reason["violation_type"] for reason in caught.value.reasons] == [
        "APPROVAL_USED",
        "QUORUM_MISSING",
    ]
    sound(log)


def test_so_it_is_where_nobody_asked_for_them(tmp_path: Path) -> None:
    """An act that comes with approvals rests on them: spent ones are a sign that something is wrong."""
    log = made(tmp_path, governed())
    given = approvals_of(guard(log))
    with guard(log, approvals=given):
        pass
    with pytest.raises(ActionBlockedError) as caught, guard(log, approvals=given):
        raise AssertionError("it must not be reached")
    assert [reason["violation_type"] for reason in caught.value.reasons] == ["APPROVAL_USED"]
    assert [str(entry.execution_status) for entry in entries(log)] == ["SUCCESS"] * 2 + ["BLOCKED"] * 2
    sound(log)


@pytest.mark.parametrize("rollback", [None, lambda _: None])
def test_an_act_that_failed_has_used_its_approvals(tmp_path: Path, rollback: Any) -> None:
    log = made(tmp_path, governed(rules=RULES))
    options: dict[str, Any] = {"rollback": rollback, "snapshot": b"x"} if rollback else {}
    given = approvals_of(guard(log))
    with pytest.raises(ValueError, match="boom"), guard(log, approvals=given, **options):
        raise ValueError("boom")
    assert entries(log)[1].execution_status == ("ROLLED_BACK" if rollback else "FAILED")
    with pytest.raises(ActionBlockedError), guard(log, approvals=given, **options):
        raise AssertionError("it must not be reached")
    again = guard(log, **options)
    for approval in approvals_of(again):
        again.add_approval(approval)
    with again:
        pass
    sound(log)


def test_an_act_that_was_blocked_has_not(tmp_path: Path) -> None:
    log = made(tmp_path, governed(rules=RULES))
    asked = guard(log)
    given = approvals_of(asked)
    with pytest.raises(ActionBlockedError), guard(log, approvals=given[:2]):
        raise AssertionError("it must not be reached")
    with guard(log, approvals=given):
        pass
    sound(log)


def test_of_two_acts_with_one_approval_one_happens(tmp_path: Path) -> None:
    log = made(tmp_path, governed(rules=RULES))
    given, done = approvals_of(guard(log)), []

    async def act(number: int) -> None:
        async with guard(log, approvals=given):
            done.append(number)

    async def main() -> list[Any]:
        return await asyncio.gather(*(act(number) for number in range(4)), return_exceptions=True)

    outcomes = asyncio.run(main())
    assert len(done) == 1
    assert sum(isinstance(outcome, ActionBlockedError) for outcome in outcomes) == 3
    sound(log)


def test_each_call_of_a_decorated_function_is_an_act(tmp_path: Path) -> None:
    log = made(tmp_path, governed(rules=RULES))
    calls: list[None] = []
    decorated = guard(log, approvals=approvals_of(guard(log)))(lambda: calls.append(None))
    decorated()
    with pytest.raises(ActionBlockedError):
        decorated()
    assert len(calls) == 1
    sound(log)


def test_an_outcome_is_recorded_without_what_another_entry_used_meanwhile(tmp_path: Path) -> None:
    log = made(tmp_path, governed())
    with guard(log) as act:
        given = approvals_of(act)
        with guard(log, approvals=given):
            pass
        for approval in given:
            act.add_approval(approval)
    outcome = entries(log)[3]
    assert (outcome.dependencies, outcome.received_approvals) == ([entries(log)[0].entry_id], [])
    sound(log)


def test_each_act_asks_in_a_file_of_its_own(tmp_path: Path) -> None:
    log, room = made(tmp_path, governed(rules=RULES)), tmp_path / "room"
    first, second = guard(log, ask=room), guard(log, ask=room)
    assert first.propose() != second.propose()
    for person in ROLES:
        approve(first, person, room)
    with pytest.raises(ActionBlockedError):
        second.wait_approved(0)
    with first:
        pass
    sound(log)


# --- rules that deny ---


def test_what_a_rule_denies_does_not_happen_whatever_it_comes_with(tmp_path: Path) -> None:
    rules = {
        **RULES,
        "robots": {
            "action_types": ["dep*"], "actor_ids": ["Agent-*"], "deny": True, "reason": "people deploy",
        },
    }  # fmt: skip
    log = made(tmp_path, governed(rules=rules))
    low: dict[str, Any] = {"pillars_scores": {"an_toan": 1}}
    given = approvals_of(guard(log, **low))
    with (
        pytest.raises(ActionBlockedError, match="people deploy") as caught,
        guard(log, approvals=given, **low),
    ):
        raise AssertionError("it must not be reached")
    intent, violation = entries(log)
    assert intent.execution_status == violation.execution_status == "BLOCKED"
    assert violation.action_type == "rule_denied_attempt"
    details = violation.error_details or {}
    assert (details["violation_type"], details["rule"], details["reason"]) == (
        "RULE_DENIED", "robots", "people deploy"
    )  # fmt: skip
    assert details["kind"] == "denied"
    assert "violated_invariant" not in details
    assert (violation.action_payload or {})["reasons"] == [
        {"reason": "rule 'robots' denies it: people deploy", "rule": "robots", "rule_reason": "people deploy"}
    ]
    assert [reason["invariant"] for reason in caught.value.reasons] == [None]
    people = guard(log, actor_id="ana")
    for approval in approvals_of(people):
        people.add_approval(approval)
    with people:
        pass
    sound(log)


def test_nobody_is_asked_to_approve_what_a_rule_denies(tmp_path: Path) -> None:
    rules = {**RULES, "no": {"action_types": ["deploy"], "deny": True, "reason": "never"}}
    log, room = made(tmp_path, governed(rules=rules)), tmp_path / "room"
    with pytest.raises(ActionBlockedError, match="never"), guard(log, ask=room):
        raise AssertionError("it must not be reached")
    assert not room.exists()


# --- how it ended ---


@pytest.mark.parametrize(
    "error, kind",
    [
        (ValueError("x"), "error"), (TimeoutError("x"), "timeout"), (asyncio.CancelledError(), "cancelled"),
        (KeyboardInterrupt(), "cancelled"), (SystemExit(), "error"),
    ],
)  # fmt: skip
def test_the_kind_of_a_failure(log: Log, error: BaseException, kind: str) -> None:
    with pytest.raises(type(error)), guard(log):
        raise error
    assert (entries(log)[1].error_details or {})["kind"] == kind
    assert kind in KINDS


# --- decorator and async ---


def test_a_decorated_function(log: Log) -> None:
    @guard(log, action_payload=lambda commit, *, to: {"commit": commit, "to": to})
    def deploy(commit: str, *, to: str) -> dict[str, str]:
        if to == "nowhere":
            raise ValueError(to)
        return {"at": to}

    assert deploy("1", to="here") == {"at": "here"}
    with pytest.raises(ValueError):
        deploy("2", to="nowhere")
    assert deploy.__name__ == "deploy"
    assert [row[::2] for row in shape(log)] == [
        ("DECISION", "SUCCESS"), ("ACTION", "SUCCESS"), ("DECISION", "SUCCESS"), ("ACTION", "FAILED"),
    ]  # fmt: skip
    assert [entry.action_payload for entry in entries(log)[1::2]] == [
        {"commit": "1", "to": "here"}, {"commit": "2", "to": "nowhere"},
    ]  # fmt: skip
    assert entries(log)[1].result_data == {"at": "here"}


def test_an_async_function_and_an_async_rollback(log: Log, tmp_path: Path) -> None:
    page = tmp_path / "page"
    page.write_text("old")

    async def rollback(act: Guard) -> None:
        await asyncio.sleep(0)
        page.write_text("old")

    @guard(log, snapshot=page, rollback=rollback)
    async def deploy(fails: bool) -> None:
        page.write_text("new")
        await asyncio.sleep(0)
        if fails:
            raise ValueError("no")

    async def main() -> None:
        with pytest.raises(ValueError):
            await deploy(True)
        async with guard(log) as act:
            act.result = 1
        with pytest.raises(ActionBlockedError):
            async with guard(log, conflicts_detected=["x"]):
                pass

    asyncio.run(main())
    assert [row[::2] for row in shape(log)] == [
        ("DECISION", "SUCCESS"), ("ACTION", "ROLLED_BACK"), ("DECISION", "SUCCESS"), ("ACTION", "SUCCESS"),
        ("DECISION", "BLOCKED"), ("VIOLATION", "BLOCKED"),
    ]  # fmt: skip


def test_a_cancelled_task_is_an_outcome(log: Log) -> None:
    async def cancel() -> None:
        acting = asyncio.Event()

        async def main() -> None:
            async with guard(log):
                acting.set()
                await asyncio.sleep(60)

        task = asyncio.ensure_future(main())
        await acting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert shape(log)[1] == ("ACTION", "deploy", "FAILED")


# --- the log cannot write ---


def broken(tmp_path: Path, policy: Policy | None = None) -> tuple[Log, FaultSigner]:
    signer = FaultSigner(MemorySigner())
    return create(tmp_path / "log", signer=signer, policy=policy), signer


def refuse(message: bytes) -> bytes:
    raise SignerError("the device is gone", retryable=True)


def test_it_fails_closed(tmp_path: Path) -> None:
    log, signer = broken(tmp_path)
    signer.answer = refuse
    with pytest.raises(SignerError), guard(log):
        raise AssertionError("it must not be reached")
    signer.answer = None
    with guard(log):
        pass
    assert len(entries(log)) == 2


OPEN = {"open": {"action_types": ["deploy"], "fail_open": True}}


def test_it_fails_open_where_the_policy_says_so_and_that_is_recorded(tmp_path: Path) -> None:
    log, signer = broken(tmp_path, governed(rules=OPEN))
    signer.answer = refuse
    with guard(log) as act:
        assert act.intent is None
        signer.answer = None  # it comes back
    intent, outcome = entries(log)
    assert (intent.event_type, intent.execution_status) == ("DECISION", "FAILED")
    assert (intent.error_details or {})["failed_open"] is True
    assert "device is gone" in (intent.error_details or {})["message"]
    assert outcome.dependencies == [intent.entry_id]
    log.close()
    check_log(log.path)


def test_it_fails_open_even_where_nothing_can_be_recorded(tmp_path: Path) -> None:
    log, signer = broken(tmp_path, governed(rules=OPEN))
    signer.answer = refuse
    happened = []
    with guard(log):
        happened.append(1)
    assert happened == [1]
    assert entries(log) == []


def test_failing_open_does_not_open_what_is_forbidden(tmp_path: Path) -> None:
    log, signer = broken(tmp_path, governed(rules=OPEN))
    signer.answer = refuse
    with (
        pytest.raises(ActionBlockedError, match="could not be recorded"),
        guard(log, conflicts_detected=["x"]),
    ):
        raise AssertionError("it must not be reached")


def test_an_outcome_that_cannot_be_recorded_is_said(tmp_path: Path) -> None:
    log, signer = broken(tmp_path)
    with pytest.raises(SignerError), guard(log):
        signer.answer = refuse
    signer.answer = None
    with pytest.raises(ValueError) as caught, guard(log):
        signer.answer = refuse
        raise ValueError("first")
    assert "outcome could not be recorded" in caught.value.__notes__[0]


# --- numbering ---


def test_a_numbered_actor(log: Log) -> None:
    actor = NumberedActor(log, "agent-7")
    actor.append(event_type="ACTION", action_type="a", actor_context={"role": "r"})
    threads = [threading.Thread(target=actor.heartbeat) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(MalformedEntryError):
        actor.append(event_type="NOTHING", action_type="a")  # type: ignore[arg-type]
    actor.heartbeat(load=0.5)
    contexts = [entry.actor_context for entry in entries(log)]
    assert [context["counter"] for context in contexts] == list(range(1, 23))
    assert {context["session"] for context in contexts} == {actor.session}
    assert contexts[0]["role"] == "r"
    assert judge_log(log.path, remember=False).verdict == Verdict.VERIFIED


# --- an act that waited elsewhere ---


def asked(tmp_path: Path, **members: Any) -> tuple[Log, bytes, list[bytes]]:
    """A log that salts, the file of a request, and the approvals of it. Who asked is gone."""
    log = made(tmp_path, governed(rules=RULES), erasable_payloads=True)
    act = guard(log, pillars_scores=GOOD, actor_context={"session": "s-17"}, **members)
    approvals = [approve(act, person) for person in ROLES]
    return log, format_request(act.request), approvals


@pytest.mark.parametrize("opened_again", [False, True])
def test_an_act_goes_on_from_its_request(tmp_path: Path, opened_again: bool) -> None:
    log, file, approvals = asked(tmp_path, action_payload={"commit": "372b274", "mail": "a@example.com"})
    assert log.head().size == 1, "asking writes nothing"
    if opened_again:
        log.close()
        log = Log.open(log.path, signer=SIGNER.uri, checkpoint_signer=CHECK_SIGNER.uri, clock=ManualClock())
    request = parse_request(file)
    with log.resume(file, approvals=approvals) as act:
        assert act.request == request
        act.result = {"url": "https://example.com"}
    intent, outcome = entries(log)
    for entry in (intent, outcome):
        assert entry.quorum_met
        assert entry.action_hash == request.action_hash
        assert entry.action_payload == request.draft["action_payload"]
        assert entry.pillars_scores == GOOD
        assert entry.actor_context["session"] == "s-17"
    assert set(intent.action_payload or {}) == {"_salt", "commit", "mail"}
    assert outcome.dependencies == [intent.entry_id]
    with pytest.raises(ActionBlockedError), log.resume(file, approvals=approvals):
        raise AssertionError("one request, one act")
    log.close()
    assert verdicts(log.path) == ("VERIFIED", "VERIFIED")


def test_what_asked_a_log_can_go_on_as_a_guarded_act(tmp_path: Path) -> None:
    log = made(tmp_path, governed(rules=RULES))
    request = log.request(event_type="ACTION", action_type="deploy", actor_id="agent-7")
    act = log.resume(request, ask=tmp_path / "room", ask_timeout_s=30)
    (tmp_path / "room").mkdir()
    for person in ROLES:
        approve(act, person, tmp_path / "room")
    with act:
        pass
    assert [entry.quorum_met for entry in entries(log)] == [True, True]


def test_without_signatures_it_stays_blocked_and_its_request_unused(tmp_path: Path) -> None:
    log, file, approvals = asked(tmp_path)
    with pytest.raises(ActionBlockedError), log.resume(file, approvals=approvals[:2]):
        pass
    with log.resume(file, approvals=approvals):
        pass
    assert [row[2] for row in shape(log)] == ["BLOCKED", "BLOCKED", "SUCCESS", "SUCCESS"]


def test_a_request_that_was_changed_or_is_of_another_log_goes_on_nowhere(tmp_path: Path) -> None:
    log, file, approvals = asked(tmp_path)
    request = parse_request(file)
    with pytest.raises(MalformedApprovalError, match="action_hash"):
        log.resume(file.replace(b"372b274", b"372b275"), approvals=approvals)
    for changes in ({"log": "0" * 64}, {"origin": "example.com/other"}):
        with pytest.raises(ApprovalRefusedError) as refused:
            log.resume(msgspec.structs.replace(request, **changes), approvals=approvals)
        assert refused.value.reason == "approval.log"
    other_scores = msgspec.structs.replace(request, draft={**request.draft, "pillars_scores": {"an_toan": 9}})
    with pytest.raises(ActionBlockedError), log.resume(other_scores, approvals=approvals):
        pass
    with pytest.raises(ValueError, match="an ACTION or a CHANGE"):
        log.resume(log.request(event_type="BOOT", action_type="x", actor_id="a"))
    with pytest.raises(TypeError, match="good for one act"):
        log.resume(file, approvals=approvals)(print)()


def test_a_payload_that_the_log_would_redact_by_now_is_asked_for_again(tmp_path: Path) -> None:
    log, file, approvals = asked(tmp_path)
    stricter = governed(rules=RULES, redaction={"fields": ["commit"]})
    change = {
        "event_type": "CHANGE", "action_type": "attestlog.set_policy", "actor_id": "maintainer",
        "action_payload": set_policy_payload(log.rules, stricter),
    }  # fmt: skip
    log.append(change)
    with pytest.raises(ApprovalRefusedError, match="ask again"), log.resume(file, approvals=approvals):
        pass
    assert log.head().size == 2
