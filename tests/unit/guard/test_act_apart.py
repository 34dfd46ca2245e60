"""Acts that begin and end in different calls or processes, fail without raising, or are only asked about."""

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.logs import create
from tests.support.people import governed

import attestlog
from attestlog._internal.core.approval import format_request
from attestlog._internal.core.entry import Entry
from attestlog._internal.guard.recording import KINDS
from attestlog._internal.log import Log
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import ActionBlockedError, SignerError
from attestlog.testing import FaultSigner, MemorySigner

SENDING: dict[str, Any] = {"action_type": "send", "actor_id": "robot-1", "action_payload": {"to": "ana"}}


def entries(log: Log) -> list[Entry]:
    return list(open_source(log.path).entries(1))


# --- begin and end ---


def test_an_act_begins_in_one_call_and_ends_in_another(log: Log) -> None:
    act = log.begin(**SENDING)
    assert [item.event_type for item in entries(log)] == ["DECISION"]
    act.end({"sent": 1})
    intent, outcome = entries(log)
    assert (outcome.execution_status, outcome.result_data) == ("SUCCESS", {"sent": 1})
    assert outcome.dependencies == [intent.entry_id]


def test_it_ends_with_what_was_raised(log: Log) -> None:
    log.begin(**SENDING).end(error=TimeoutError("too slow"))
    outcome = entries(log)[1]
    assert (outcome.execution_status, (outcome.error_details or {})["kind"]) == ("FAILED", "timeout")


def test_tasks_begin_and_end_as_well(log: Log) -> None:
    async def main() -> None:
        act = await log.begin_async(**SENDING)
        await act.end_async("done")

    asyncio.run(main())
    assert entries(log)[1].result_data == {"value": "done"}


def test_what_is_forbidden_does_not_begin(log: Log) -> None:
    with pytest.raises(ActionBlockedError):
        log.begin(**SENDING, conflicts_detected=["two"])


def test_another_process_ends_it_by_request_and_intent(tmp_path: Path) -> None:
    with create(tmp_path / "log") as log:
        act = log.begin(**SENDING)
        token = format_request(act.request)
    with Log.open(tmp_path / "log") as log:
        [found] = list(log.query(event_type="DECISION"))
        log.resume(token, intent=found).end({"sent": 1})
    intent, outcome = entries(log)
    assert outcome.dependencies == [intent.entry_id]
    assert outcome.action_hash == intent.action_hash
    assert attestlog.verify(tmp_path / "log").findings == []


def test_a_receipt_says_the_same(log: Log) -> None:
    act = log.begin(**SENDING)
    resumed = log.resume(act.request, intent=act.intent)
    with pytest.raises(ValueError, match="entered once"), resumed:
        raise AssertionError("it was entered before")
    resumed.end()
    assert [item.event_type for item in entries(log)] == ["DECISION", "ACTION"]


def test_an_intent_of_another_act_ends_nothing(log: Log) -> None:
    other = log.begin(**{**SENDING, "action_payload": {"to": "bo"}})
    request = log.guard(**SENDING).request
    with pytest.raises(ValueError, match="no intent of this act"):
        log.resume(request, intent=other.intent)
    with pytest.raises(ActionBlockedError) as blocked:
        log.begin(**SENDING, conflicts_detected=["two"])
    with pytest.raises(ValueError, match="or it was blocked"):
        log.resume(request, intent=blocked.value.intent)
    other.end()


# --- failing without raising ---


@pytest.mark.parametrize("kind", KINDS)
def test_an_act_fails_as_one_of_six_kinds(log: Log, kind: Any) -> None:
    with log.guard(**SENDING) as act:
        act.fail(kind, "the tool said so")
        act.result = {"partly": True}
    outcome = entries(log)[1]
    assert (outcome.execution_status, outcome.event_category) == ("FAILED", "ERROR")
    assert outcome.error_details == {"kind": kind, "message": "the tool said so"}
    assert outcome.result_data == {"partly": True}


def test_another_kind_is_refused_while_it_can_be_mended(log: Log) -> None:
    with log.guard(**SENDING) as act, pytest.raises(ValueError, match="one of error, timeout"):
        act.fail("broken", "no such kind")  # type: ignore[arg-type]
    assert entries(log)[1].execution_status == "SUCCESS"


def test_the_kind_stands_beside_what_is_raised_after_all(log: Log) -> None:
    with pytest.raises(KeyError), log.guard(**SENDING) as act:
        act.fail("suspended", "waits for a person")
        raise KeyError("interrupt")
    details = entries(log)[1].error_details or {}
    assert (details["kind"], details["type"], details["message"]) == (
        "suspended", "KeyError", "waits for a person",
    )  # fmt: skip


def test_what_failed_so_is_rolled_back(log: Log) -> None:
    undone: list[str] = []
    members = {**SENDING, "snapshot": b"before", "rollback": lambda _: undone.append("undone")}
    with log.guard(**members) as act:
        act.fail("error", "the tool said so")
    outcome = entries(log)[1]
    assert (undone, outcome.execution_status, outcome.rollback_executed) == (["undone"], "ROLLED_BACK", True)


# --- durations ---


def test_every_outcome_says_how_long_the_act_took(log: Log) -> None:
    with log.guard(**SENDING):
        pass
    log.begin(**SENDING).end()
    act = log.begin(**SENDING)
    log.resume(act.request, intent=act.intent).end()
    durations = [item.actor_context["duration_us"] for item in entries(log) if item.event_type == "ACTION"]
    assert len(durations) == 3
    assert all(type(item) is int and item >= 0 for item in durations)


# --- asking only ---


def test_what_would_block_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    policy = governed(rules={"sends": {"action_types": ["publish"], "required_approvals": 1}})
    with create(tmp_path / "log", policy=policy) as log:
        act = log.guard(**{**SENDING, "action_type": "publish"})
        reasons = act.blocked_by()
        assert [reason.is_approval for reason in reasons] == [True]
        assert entries(log) == []
        conflicted = log.guard(**SENDING, conflicts_detected=["two"])
        assert [reason.is_approval for reason in conflicted.blocked_by()] == [False]
        assert log.guard(**SENDING).blocked_by() == []
        assert entries(log) == []


def test_an_act_that_was_asked_about_is_entered_as_any_other(log: Log) -> None:
    act = log.guard(**SENDING)
    assert act.blocked_by() == []
    with act:
        pass
    assert len(entries(log)) == 2


# --- what it depends on, and where it belongs ---


def test_receipts_and_entries_are_what_it_depends_on(log: Log) -> None:
    first = log.append(event_type="ACTION", action_type="read", actor_id="robot-1")
    with log.guard(**SENDING, dependencies=[first, first.entry, first.entry_id]):
        pass
    assert entries(log)[1].dependencies == [first.entry_id] * 3


def test_what_is_bound_stands_in_every_act_inside(log: Log) -> None:
    async def send(name: str) -> None:
        with attestlog.bind(task=name):
            await asyncio.sleep(0)
            async with log.guard(**SENDING, actor_context={"trace_id": "its own"}):
                await asyncio.sleep(0)

    async def main() -> None:
        with attestlog.bind(session="s-1", trace_id="t-1"):
            await asyncio.gather(send("a"), send("b"))

    asyncio.run(main())
    with log.guard(**SENDING):
        pass
    found = [item.actor_context for item in entries(log) if item.event_type == "ACTION"]
    for context in found:
        del context["duration_us"], context["guard"]
    inside = [{"session": "s-1", "trace_id": "its own", "task": name} for name in "ab"]
    assert sorted(found, key=lambda item: item.get("task", "z")) == [*inside, {}]


def test_the_ids_of_the_current_span_are_taken_over(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    context = SimpleNamespace(trace_id=0xABC, span_id=0xDEF, is_valid=True)
    span = SimpleNamespace(get_span_context=lambda: context)
    api = SimpleNamespace(get_current_span=lambda: span)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", api)
    with log.guard(**SENDING):
        pass
    found = entries(log)[0].actor_context
    assert (found["trace_id"], found["span_id"]) == ("0" * 29 + "abc", "0" * 13 + "def")
    context.is_valid = False
    with log.guard(**SENDING):
        pass
    assert "trace_id" not in entries(log)[2].actor_context


def test_an_api_that_is_not_what_it_seems_costs_nothing(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    for broken in (object(), type("Api", (), {"get_current_span": None})()):
        monkeypatch.setitem(sys.modules, "opentelemetry.trace", broken)
        with log.guard(**SENDING):
            pass
    assert all("trace_id" not in item.actor_context for item in entries(log))


# --- a log that cannot write ---


def test_where_the_log_cannot_write_nothing_begins(tmp_path: Path) -> None:
    def refuse(message: bytes) -> bytes:
        raise SignerError("the device is gone", retryable=True)

    signer = FaultSigner(MemorySigner())
    with create(tmp_path / "log", signer=signer) as log:
        signer.answer = refuse
        with pytest.raises(SignerError):
            log.begin(**SENDING)
        signer.answer = None
    assert all(item.event_type != "DECISION" for item in entries(log))
