"""What a guard decorates: functions, coroutines, generators, methods; and what it records of a call."""

import asyncio
import functools
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import create

import attestlog
from attestlog._internal.log import Log
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import ActionBlockedError

happened: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_happened() -> None:
    happened.clear()


def guarded(log: Log, function: Callable[..., Any]) -> Callable[..., Any]:
    return log.guard(action_type="send", actor_id="robot-1")(function)


def shape(log: Log) -> list[tuple[str, str]]:
    return [(item.event_type, item.execution_status) for item in open_source(log.path).entries(1)]


def generate() -> Iterator[int]:
    happened.append("generate")
    yield 1


async def generate_async() -> AsyncIterator[int]:
    happened.append("generate")
    yield 1


async def send() -> dict[str, str]:
    happened.append("send")
    await asyncio.sleep(0)
    return {"sent": "yes"}


class Sender:
    async def __call__(self) -> dict[str, str]:
        return await send()

    async def send(self) -> dict[str, str]:
        return await send()


class Later:
    def __await__(self) -> Iterator[None]:
        yield


def outcomes(log: Log) -> list[Any]:
    return [item for item in open_source(log.path).entries(1) if item.event_type == "ACTION"]


@pytest.mark.parametrize("function", [generate, functools.partial(generate)])
def test_the_act_of_a_generator_is_its_iteration(log: Log, function: Callable[..., Any]) -> None:
    items = guarded(log, function)()
    assert (happened, shape(log)) == ([], []), "nobody has iterated"
    assert next(items) == 1
    assert (happened, shape(log)) == (["generate"], [("DECISION", "SUCCESS")])
    assert list(items) == []
    assert shape(log) == [("DECISION", "SUCCESS"), ("ACTION", "SUCCESS")]


def test_so_is_that_of_an_async_generator(log: Log) -> None:
    async def main() -> None:
        items = guarded(log, generate_async)()
        assert (happened, shape(log)) == ([], [])
        assert [item async for item in items] == [1]

    asyncio.run(main())
    assert shape(log) == [("DECISION", "SUCCESS"), ("ACTION", "SUCCESS")]


def test_what_is_sent_thrown_and_returned_goes_through(log: Log) -> None:
    def talk() -> Generator[Any, Any, str]:
        try:
            assert (yield "first") == "sent"
            yield "second"
        except KeyError:
            return "caught"
        return "never"

    items = guarded(log, talk)()
    assert [next(items), items.send("sent")] == ["first", "second"]
    with pytest.raises(StopIteration) as stopped:
        items.throw(KeyError("thrown"))
    assert stopped.value.value == "caught"
    assert outcomes(log)[0].result_data == {"value": "caught"}


def test_an_async_generator_is_sent_to_as_well(log: Log) -> None:
    async def talk() -> AsyncGenerator[Any, Any]:
        yield (yield "first")

    async def main() -> None:
        items = guarded(log, talk)()
        assert [await anext(items), await items.asend("sent")] == ["first", "sent"]
        with pytest.raises(StopAsyncIteration):
            await anext(items)

    asyncio.run(main())
    assert shape(log)[-1] == ("ACTION", "SUCCESS")


def test_a_generator_that_is_left_is_cancelled(tmp_path: Path) -> None:
    with create(tmp_path / "log") as log:
        items = guarded(log, generate)()
        next(items)
        items.close()

        async def main() -> None:
            items = guarded(log, generate_async)()
            await anext(items)
            await items.aclose()

        asyncio.run(main())
    found = [(item.execution_status, (item.error_details or {})["kind"]) for item in outcomes(log)]
    assert found == [("FAILED", "cancelled")] * 2
    assert attestlog.verify(tmp_path / "log").findings == []


def test_a_forbidden_generator_yields_nothing(log: Log) -> None:
    items = log.guard(action_type="send", actor_id="robot-1", conflicts_detected=["two"])(generate)()
    with pytest.raises(ActionBlockedError):
        next(items)
    assert happened == []


def test_arguments_and_results_are_recorded(log: Log) -> None:
    class Robot:
        @log.guard(action_type="send", actor_id="robot-1")
        def send(self, to: str, *parts: int, loud: bool = False, **more: Any) -> list[int]:
            return [*parts]

    assert Robot().send("ana", 1, 2, when=date(2026, 11, 30)) == [1, 2]
    [outcome] = outcomes(log)
    assert outcome.action_payload == {
        "arguments": {"to": "ana", "parts": [1, 2], "loud": False, "more": {"when": "2026-11-30"}}
    }
    assert outcome.result_data == {"value": [1, 2]}


def test_secrets_among_them_are_redacted(log: Log) -> None:
    @log.guard(action_type="send", actor_id="robot-1")
    def send(password: str) -> None: ...

    send("hunter2-hunter2")
    assert "hunter2" not in str(list(open_source(log.path).entries(1)))


def test_unless_it_is_told_not_to(log: Log) -> None:
    @log.guard(action_type="send", actor_id="robot-1", record_arguments=False, record_result=False)
    def send(to: str) -> str:
        return to

    send("ana")
    assert (outcomes(log)[0].action_payload, outcomes(log)[0].result_data) == ({}, None)


def test_large_arguments_are_recorded_by_hash_size_and_beginning(log: Log) -> None:
    @log.guard(action_type="send", actor_id="robot-1", record_result=False)
    def send(text: str) -> str:
        return text

    send("x" * 40_000)
    recorded = (outcomes(log)[0].action_payload or {})["arguments"]
    assert (recorded["size_bytes"], recorded["beginning"][:10]) == (40_011, '{"text":"x')


def test_a_call_that_does_not_fit_is_recorded_and_fails(log: Log) -> None:
    @log.guard(action_type="send", actor_id="robot-1")
    def send(to: str) -> None: ...

    with pytest.raises(TypeError, match="unexpected keyword"):
        send("ana", loud=True)  # type: ignore[call-arg]
    assert outcomes(log)[0].action_payload == {"arguments": {"positional": ["ana"], "loud": True}}


@pytest.mark.parametrize("function", [send, functools.partial(send), Sender(), Sender().send])
def test_whatever_is_async_is_awaited_before_its_outcome(log: Log, function: Callable[..., Any]) -> None:
    waiting = guarded(
        log, functools.update_wrapper(function, send) if isinstance(function, Sender) else function
    )
    waiting = waiting()
    assert shape(log) == []
    assert asyncio.run(waiting) == {"sent": "yes"}
    assert shape(log) == [("DECISION", "SUCCESS"), ("ACTION", "SUCCESS")]
    assert list(open_source(log.path).entries(1))[1].result_data == {"sent": "yes"}


@pytest.mark.parametrize("make", [send, generate, generate_async, Later])
def test_a_function_that_returns_what_has_not_run_is_refused(log: Log, make: Callable[..., Any]) -> None:
    def wrapped() -> Any:
        return make()

    call = guarded(log, wrapped)
    with warnings.catch_warnings(), pytest.raises(TypeError, match="what it does is not over"):
        warnings.simplefilter("error")
        call()
    assert happened == []
    assert shape(log) == [("DECISION", "SUCCESS"), ("ACTION", "FAILED")]


def test_so_is_an_async_function_that_returns_it(log: Log) -> None:
    async def wrapped() -> Any:
        return generate()

    with pytest.raises(TypeError, match="type generator: what it does is not over"):
        asyncio.run(guarded(log, wrapped)())
    assert (happened, shape(log)) == ([], [("DECISION", "SUCCESS"), ("ACTION", "FAILED")])


def test_a_future_is_refused_too(log: Log) -> None:
    async def main() -> None:
        call = guarded(log, lambda: asyncio.ensure_future(asyncio.sleep(0)))
        with pytest.raises(TypeError, match="type Task"):
            call()

    asyncio.run(main())
    assert shape(log) == [("DECISION", "SUCCESS"), ("ACTION", "FAILED")]


def test_around_the_loop_the_record_follows_the_last_item(log: Log) -> None:
    with log.guard(action_type="send", actor_id="robot-1"):
        for _ in generate():
            assert shape(log) == [("DECISION", "SUCCESS")]
    assert shape(log) == [("DECISION", "SUCCESS"), ("ACTION", "SUCCESS")]
