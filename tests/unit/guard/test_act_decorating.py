"""What a guard decorates: functions whose act is over when they return. Anything else is refused."""

import asyncio
import functools
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from attestlog._internal.log import Log
from attestlog._internal.storage.resolve import open_source

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


@pytest.mark.parametrize(
    "function", [generate, generate_async, functools.partial(generate), functools.partial(generate_async)]
)
def test_a_generator_function_is_refused_when_it_is_decorated(log: Log, function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="generator function cannot be guarded"):
        guarded(log, function)
    assert (happened, shape(log)) == ([], [])


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
