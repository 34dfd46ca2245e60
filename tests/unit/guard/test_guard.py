"""The guard: decide, act, record. What is forbidden does not happen, what happens has its outcome."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import create
from tests.support.people import ROLES, Person, governed

from attestlog._internal.core.approval import Approval, format_approval
from attestlog._internal.core.entry import Entry
from attestlog._internal.core.genesis import Settings
from attestlog._internal.core.policy import Policy
from attestlog._internal.core.policy_change import set_policy_payload
from attestlog._internal.core.report import Verdict
from attestlog._internal.core.reserved import SIGNER_OUTAGE
from attestlog._internal.guard import Guard, NumberedActor
from attestlog._internal.guard.checking import Reason, reasons_against
from attestlog._internal.log import Log
from attestlog._internal.snapshots import snapshot_hash
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifying import judge_log
from attestlog.errors import ActionBlockedError, MalformedEntryError, SignerError
from attestlog.testing import FaultSigner, ManualClock, MemorySigner, check_log

GOOD = {"an_toan": 9, "duong_dai": 8, "tin_vao_so_lieu": 8, "han_che_rui_ro": 9}
CLAIM = {"type": "pillars", "valid": True}
RULES = {"deploys": {"action_types": ["deploy"], "required_approvals": 3, "roles": list(ROLES)}}


def made(tmp_path: Path, policy: Policy | None = None, **settings: Any) -> Log:
    return create(tmp_path / "log", policy=policy, settings=Settings(**settings))


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
    assert (intent.actor_context, outcome.actor_context) == (
        {"role": "ops", "guard": "intent"}, {"role": "ops", "guard": "outcome"},
    )  # fmt: skip
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


@pytest.mark.parametrize("result", [object(), {1: 2}, float("nan"), "x" * 33_000, {"a": {1, 2}}])
def test_a_result_that_cannot_be_recorded_does_not_cost_the_outcome(log: Log, result: Any) -> None:
    with guard(log) as act:
        act.result = result
    outcome = entries(log)[1]
    assert list(outcome.result_data or {}) == ["not_recorded"]
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
        payload = set_policy_payload(governed(safety_floor=9.5))
        change: dict[str, Any] = {
            "event_type": "CHANGE", "action_type": "attestlog.set_policy", "actor_id": "maintainer",
            "action_payload": payload,
        }  # fmt: skip
        other.append({**change, "received_approvals": [who.approve(change, log.origin) for who in people]})
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
    stored = Person(person).approve(request.draft, request.origin, **said)
    bound = {"origin": request.origin, "action_type": "deploy", "action_hash": request.action_hash}
    data = format_approval(Approval(**stored, **bound))
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
