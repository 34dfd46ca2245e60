"""A caller that is interrupted leaves at once; what became of its act is recorded all the same, once."""

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import create
from tests.support.people import governed

from attestlog._internal.core.entry import Entry
from attestlog._internal.core.policy import Policy
from attestlog._internal.log import Log
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifying import judge_log
from attestlog.errors import ClosedError, SignerError
from attestlog.testing import FaultSigner, MemorySigner, check_log

ACT: dict[str, Any] = {
    "action_type": "deploy",
    "actor_id": "agent-7",
    "action_payload": {"commit": "372b274"},
}


class Alarm(Exception):  # noqa: N818 - as applications raise it from their handlers
    pass


@pytest.fixture(params=[KeyboardInterrupt, Alarm])
def interrupt(request: pytest.FixtureRequest) -> Iterator[type[BaseException]]:
    """What a real signal raises in the main thread, once."""
    raised: list[bool] = []

    def handler(*_: object) -> None:
        if not raised:
            raised.append(True)
            raise request.param

    before = signal.signal(signal.SIGUSR1, handler)
    yield request.param
    signal.signal(signal.SIGUSR1, before)


def held(tmp_path: Path, policy: Policy | None = None) -> tuple[Log, FaultSigner]:
    """A log whose next signature waits for the gate."""
    signer = FaultSigner(MemorySigner())
    log = create(tmp_path / "log", signer=signer, policy=policy)
    hold(signer)
    return log, signer


def hold(signer: FaultSigner) -> None:
    signer.reached.clear()
    signer.gate.clear()


def once_signing(signer: FaultSigner, then: Callable[[], None]) -> threading.Thread:
    """Do it once an entry is being signed."""

    def wait() -> None:
        assert signer.reached.wait(60)
        then()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def interrupt_main() -> None:
    """Signal the main thread once it waits for a future, until it does so no more.

    A signal that comes right before the wait is heard only after it, as ever in Python.
    """
    while not main_waits():
        threading.Event().wait(0.001)
    while main_waits():
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        threading.Event().wait(0.02)


def main_waits() -> bool:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and frame.f_code is not Future.result.__code__:
        frame = frame.f_back
    return frame is not None


def closed(log: Log, signer: FaultSigner) -> list[Entry]:
    """Close the log while an entry is still being signed: what is owed is in it, and no finding."""
    opening = threading.Timer(0.05, signer.gate.set)
    opening.start()
    log.close()
    opening.join()
    check_log(log.path)
    assert judge_log(log.path, remember=False).findings == []
    return list(open_source(log.path).entries(1))


def ends(entries: list[Entry]) -> list[tuple[str, str, str | None]]:
    return [
        (item.event_type, item.execution_status, (item.error_details or {}).get("kind")) for item in entries
    ]


NEVER_BEGAN = [("DECISION", "SUCCESS", None), ("ACTION", "FAILED", "not_begun")]


# --- while the intent is recorded ---


def test_interrupted_while_the_intent_is_signed(tmp_path: Path, interrupt: type[BaseException]) -> None:
    log, signer = held(tmp_path)
    thread = once_signing(signer, interrupt_main)
    with pytest.raises(interrupt), log.guard(**ACT):
        raise AssertionError("it must not be reached")
    thread.join()
    assert not signer.gate.is_set(), "it left before the intent was signed"
    entries = closed(log, signer)
    assert ends(entries) == NEVER_BEGAN
    assert entries[1].dependencies == [entries[0].entry_id]
    assert (entries[1].error_details or {})["type"] == interrupt.__name__


def test_cancelled_while_the_intent_is_signed(tmp_path: Path) -> None:
    log, signer = held(tmp_path)

    async def act() -> None:
        async with log.guard(**ACT):
            raise AssertionError("it must not be reached")

    async def main() -> None:
        task = asyncio.create_task(act())
        assert await asyncio.to_thread(signer.reached.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())  # the loop is closed by the time the intent is signed
    assert ends(closed(log, signer)) == NEVER_BEGAN


def test_cancelled_though_the_intent_stands_already(tmp_path: Path) -> None:
    """The task is cancelled after the entry was committed, and before it was woken."""
    log, signer = held(tmp_path)

    async def act() -> None:
        async with log.guard(**ACT):
            raise AssertionError("it must not be reached")

    async def main() -> None:
        task = asyncio.create_task(act())
        while not signer.reached.is_set():  # noqa: ASYNC110 - the signer is in a thread
            await asyncio.sleep(0)
        signer.gate.set()
        while log.head().size < 2:  # this task keeps the loop, so the other cannot be woken
            pass
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ends(closed(log, signer)) == NEVER_BEGAN


def test_cancelled_while_a_blocked_intent_is_signed(tmp_path: Path) -> None:
    log, signer = held(tmp_path)

    async def act() -> None:
        async with log.guard(**ACT, conflicts_detected=["x"]):
            raise AssertionError("it must not be reached")

    async def main() -> None:
        task = asyncio.create_task(act())
        assert await asyncio.to_thread(signer.reached.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ends(closed(log, signer)) == [
        ("DECISION", "BLOCKED", None), ("VIOLATION", "BLOCKED", "denied")
    ]  # fmt: skip


def test_an_intent_that_cannot_be_signed_has_no_outcome(
    tmp_path: Path, interrupt: type[BaseException]
) -> None:
    policy = governed(rules={"open": {"action_types": ["deploy"], "fail_open": True}})
    log, signer = held(tmp_path, policy)

    def refuse(message: bytes) -> bytes:
        raise SignerError("the device is gone", retryable=True)

    signer.answer = refuse
    thread = once_signing(signer, interrupt_main)
    with pytest.raises(interrupt), log.guard(**ACT):
        raise AssertionError("it must not be reached")
    thread.join()
    signer.gate.set()
    with suppress(SignerError):
        log.close()
    assert list(open_source(log.path).entries(1)) == []


def test_what_stands_in_the_way_between_intent_and_act(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the rules once more, after the intent stands, may fail or be interrupted."""
    log, signer = held(tmp_path)
    signer.gate.set()
    act = log.guard(**ACT)
    judge = act._reasons

    def interrupted(timestamp: str) -> Any:
        if act.intent is not None:
            raise KeyboardInterrupt
        return judge(timestamp)

    monkeypatch.setattr(act, "_reasons", interrupted)
    with pytest.raises(KeyboardInterrupt), act:
        raise AssertionError("it must not be reached")
    assert ends(closed(log, signer)) == NEVER_BEGAN


# --- while the outcome is recorded ---


@pytest.mark.parametrize("fails", [False, True])
def test_interrupted_while_the_outcome_is_signed(
    tmp_path: Path, interrupt: type[BaseException], fails: bool
) -> None:
    log, signer = held(tmp_path)
    signer.gate.set()
    with pytest.raises(ValueError if fails else interrupt) as caught, log.guard(**ACT):
        hold(signer)
        thread = once_signing(signer, interrupt_main)
        if fails:
            raise ValueError("the act's own")
    thread.join()
    assert not fails or interrupt.__name__ in caught.value.__notes__[0]
    assert ends(closed(log, signer))[1:] == [
        ("ACTION", "FAILED", "error") if fails else ("ACTION", "SUCCESS", None)
    ]


def test_cancelled_twice(tmp_path: Path) -> None:
    """During the act, and again while its outcome is signed."""
    log, signer = held(tmp_path)
    signer.gate.set()

    async def act() -> None:
        async with log.guard(**ACT):
            hold(signer)
            await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(act())
        while signer.gate.is_set():  # noqa: ASYNC110 - the gate is a thread's
            await asyncio.sleep(0)
        task.cancel()
        assert await asyncio.to_thread(signer.reached.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ends(closed(log, signer))[1:] == [("ACTION", "FAILED", "cancelled")]


def test_interrupted_before_the_outcome_is_in_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, signer = held(tmp_path)
    signer.gate.set()
    submit, drafts = log.submit, []

    def interrupted(draft: Any) -> Any:
        drafts.append(draft)
        if len(drafts) == 2:
            raise KeyboardInterrupt
        return submit(draft)

    monkeypatch.setattr(log, "submit", interrupted)
    with pytest.raises(ValueError, match="own"), log.guard(**ACT):
        raise ValueError("the act's own")
    monkeypatch.undo()
    assert ends(closed(log, signer))[1:] == [("ACTION", "FAILED", "error")]


# --- a rollback that is interrupted ---


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupted_rollback(tmp_path: Path, kind: type[BaseException]) -> None:
    log, signer = held(tmp_path)
    signer.gate.set()

    def rollback(act: object) -> None:
        raise kind

    with (
        pytest.raises(ValueError, match="own") as caught,
        log.guard(**ACT, snapshot=b"before", rollback=rollback),
    ):
        raise ValueError("the act's own")
    assert f"{kind.__name__} interrupted the rollback" in caught.value.__notes__[0]
    outcome = closed(log, signer)[1]
    assert (outcome.execution_status, outcome.rollback_executed) == ("FAILED", False)
    assert (outcome.error_details or {})["rollback_error"]["type"] == kind.__name__


def test_a_cancelled_rollback(tmp_path: Path) -> None:
    log, signer = held(tmp_path)
    signer.gate.set()
    undoing = threading.Event()

    async def rollback(act: object) -> None:
        undoing.set()
        await asyncio.sleep(60)

    async def act() -> None:
        async with log.guard(**ACT, snapshot=b"before", rollback=rollback):
            raise ValueError("the act's own")

    async def main() -> None:
        task = asyncio.create_task(act())
        while not undoing.is_set():  # noqa: ASYNC110 - the next step of the loop sets it
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(ValueError, match="own"):
            await task

    asyncio.run(main())
    outcome = closed(log, signer)[1]
    assert (outcome.error_details or {})["rollback_error"]["kind"] == "cancelled"


def test_an_async_rollback_is_not_taken_for_done_where_nobody_awaits_it(tmp_path: Path) -> None:
    log, signer = held(tmp_path)
    signer.gate.set()

    async def rollback(act: object) -> None:
        raise AssertionError("it must not be reached")

    with pytest.raises(ValueError, match="own"), log.guard(**ACT, snapshot=b"before", rollback=rollback):
        raise ValueError("the act's own")
    outcome = closed(log, signer)[1]
    assert outcome.execution_status == "FAILED"
    assert "async with" in (outcome.error_details or {})["rollback_error"]["message"]


# --- threads ---


def test_a_guard_in_a_future_s_callback(tmp_path: Path) -> None:
    """Callbacks run in the log's own thread, which must not wait for itself."""
    log, signer = held(tmp_path)
    signer.gate.set()
    done = threading.Event()

    def callback(_: object) -> None:
        with log.guard(**ACT):
            pass
        done.set()

    log.submit(event_type="ACTION", action_type="first", actor_id="agent-7").add_done_callback(callback)
    assert done.wait(60)
    assert [item.action_type for item in closed(log, signer)] == ["first", "deploy", "deploy"]


def test_many_tasks_cancelled_at_any_moment(tmp_path: Path) -> None:
    """Each intent has one outcome, wherever the cancellation met it."""
    log, signer = held(tmp_path)
    signer.gate.set()

    async def act(number: int) -> None:
        async with log.guard(**{**ACT, "action_payload": {"number": number}}):
            await asyncio.sleep(0)

    async def main() -> None:
        for delay in range(25):
            tasks = [asyncio.create_task(act(number)) for number in range(4)]
            for _ in range(delay):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    entries = closed(log, signer)
    intents = [item.entry_id for item in entries if item.event_type == "DECISION"]
    assert sorted(intents) == sorted(item.dependencies[0] for item in entries if item.event_type == "ACTION")


def test_a_log_that_is_closed_meanwhile_refuses(tmp_path: Path) -> None:
    log, signer = held(tmp_path)
    signer.gate.set()
    with pytest.raises(ClosedError), log.guard(**ACT):
        log.close()
    with pytest.raises(ClosedError), log.guard(**ACT):
        raise AssertionError("it must not be reached")
