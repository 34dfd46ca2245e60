"""A guard as a decorator: each call of the function is an act of its own.

Plain functions, `async` ones, generators of both kinds, methods, and objects that are called. The act of a
generator begins when somebody asks for its first item, and ends with its last; of one that is left before its
end the outcome is FAILED, `cancelled`. What it yields is not recorded.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import aclosing
from types import AsyncGeneratorType, CoroutineType, GeneratorType, TracebackType
from typing import Any, Final, ParamSpec, Protocol, Self, TypeVar, cast

from attestlog._internal.guard.plain import cut_large, to_plain, type_name

P = ParamSpec("P")
R = TypeVar("R")


class Act(Protocol):
    """What a decorator asks of a guard."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def returned(self, value: Any, /) -> None:
        """Take what the function returned."""


MakeGuard = Callable[[tuple[Any, ...], dict[str, Any]], Act]
"""Makes the guard of one call, given its arguments."""

ARGUMENTS_SIZE_MAX_BYTES: Final = 32 << 10
"""Of arguments that are recorded, as of results: of larger ones hash, size and beginning."""

_UNFINISHED: Final = (CoroutineType, GeneratorType, AsyncGeneratorType)
"""What these are of has not run yet, or not to its end."""


def decorated(function: Callable[P, R], make: MakeGuard) -> Callable[P, R]:
    """The function with each of its calls guarded; it keeps its signature."""
    if inspect.isasyncgenfunction(function):
        return cast("Callable[P, R]", _async_generator(function, make))
    if inspect.isgeneratorfunction(function):
        return cast("Callable[P, R]", _generator(function, make))
    if inspect.iscoroutinefunction(function) or _is_called_async(function):
        return cast("Callable[P, R]", _coroutine(function, make))

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        with make(args, kwargs) as act:
            returned = function(*args, **kwargs)
            _take(act, returned)
        return returned

    return guarded


def arguments_payload(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What is recorded of a call where the caller does not say it: its arguments, by name.

    Without the object or class whose method it is: it is no argument, and may be anything.
    """
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except (TypeError, ValueError):  # the call will raise it, or nobody knows the names
        named: dict[str, Any] = {"positional": list(args), **kwargs}
    else:
        bound.apply_defaults()
        named = dict(bound.arguments)
        first = next(iter(named), "")
        if first in ("self", "cls"):
            del named[first]
    return {"arguments": cut_large(to_plain(named), ARGUMENTS_SIZE_MAX_BYTES, depth=3)} if named else {}


def _coroutine(function: Callable[..., Any], make: MakeGuard) -> Callable[..., Any]:
    @functools.wraps(function)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        async with make(args, kwargs) as act:
            returned = await cast("Callable[..., Awaitable[Any]]", function)(*args, **kwargs)
            _take(act, returned)
        return returned

    return guarded


def _generator(function: Callable[..., Any], make: MakeGuard) -> Callable[..., Any]:
    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with make(args, kwargs) as act:
            returned = yield from function(*args, **kwargs)
            _take(act, returned)
        return returned

    return guarded


def _async_generator(function: Callable[..., Any], make: MakeGuard) -> Callable[..., Any]:
    @functools.wraps(function)
    async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        async with make(args, kwargs), aclosing(function(*args, **kwargs)) as items:
            try:
                item = await anext(items)
                while True:
                    item = await items.asend((yield item))
            except StopAsyncIteration:
                pass

    return guarded


def _is_called_async(function: Callable[..., Any]) -> bool:
    """An object whose `__call__` is `async`."""
    call = inspect.getattr_static(type(function), "__call__", None)
    return inspect.iscoroutinefunction(call)


def _take(act: Act, returned: Any) -> None:
    """Take what the function returned for the result. Raises TypeError if the act is not over by then."""
    kind = type(returned)
    if issubclass(kind, _UNFINISHED) or inspect.getattr_static(kind, "__await__", None) is not None:
        if issubclass(kind, CoroutineType):
            returned.close()  # else the interpreter warns that nobody awaited it
        raise TypeError(
            f"the guarded function returned a value of type {type_name(returned)}: what it does is not "
            "over, and has no outcome to record. Guard an `async def` function that awaits it, or the "
            "loop that iterates"
        )
    act.returned(returned)
