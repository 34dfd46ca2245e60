"""How an act ended, as members of a draft: its result, or what was raised."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Callable
from typing import Any, Final, Literal

from attestlog._internal.guard.plain import cut_large, to_plain, type_name

MESSAGE_LENGTH_MAX: Final = 2_000
TRACEBACK_LENGTH_MAX: Final = 12_000
"""Characters kept of an exception: an entry without its payload has 65,535 bytes, four to a character."""

RESULT_SIZE_MAX_BYTES: Final = 32 << 10
"""A larger result would not fit the entry, and the act would have no outcome."""


ERROR, TIMEOUT, CANCELLED, DENIED, SUSPENDED, NOT_BEGUN = KINDS = (
    "error", "timeout", "cancelled", "denied", "suspended", "not_begun",
)  # fmt: skip
Kind = Literal["error", "timeout", "cancelled", "denied", "suspended", "not_begun"]
"""What `error_details.kind` can be, where the guard writes it: how an act ended that did not succeed."""


def error_members(error: BaseException) -> dict[str, Any]:
    """`error_details` of an exception. Secrets in it are redacted when the entry is made.

    An exception is the application's code: its `__str__`, its notes and its causes may raise. What cannot be
    read is recorded as such.
    """
    lines = _text(lambda: _traceback(error))
    if lines is None:
        lines = _text(lambda: "".join(traceback.format_tb(_TRACEBACK_OF(error))))
    return {
        "kind": kind_of(error),
        "type": type_name(error),
        "message": message_of(error)[:MESSAGE_LENGTH_MAX],
        "traceback": "" if lines is None else lines[-TRACEBACK_LENGTH_MAX:],
    }


def message_of(error: BaseException) -> str:
    """Its text, or that it has none."""
    text = _text(lambda: str(error))
    return "not recorded: its text cannot be read" if text is None else text


def kind_of(error: BaseException) -> str:
    """One of `KINDS`. By its type: `isinstance` would ask the exception for its `__class__`."""
    kind = type(error)
    if issubclass(kind, TimeoutError):
        return TIMEOUT
    return (
        CANCELLED if issubclass(kind, asyncio.CancelledError | KeyboardInterrupt | GeneratorExit) else ERROR
    )


def add_note(error: BaseException, note: str) -> None:
    """Say it beside the exception, if the exception can be said anything."""
    # `__notes__` may be anything, and the class may have an `add_note` of its own.
    with contextlib.suppress(BaseException):
        BaseException.add_note(error, note)


def failure_members(kind: str, message: str) -> dict[str, Any]:
    """`error_details` of an act that failed without an exception."""
    return {"kind": kind, "message": (_text(lambda: message) or "")[:MESSAGE_LENGTH_MAX]}


def not_begun_members(error: BaseException) -> dict[str, Any]:
    """`error_details` of an act that was decided, and whose caller was interrupted before it began."""
    what = "the caller was interrupted while the intent was recorded; the act was not begun"
    return {"kind": NOT_BEGUN, "type": type_name(error), "message": what}


def result_members(result: Any) -> dict[str, Any] | None:
    """`result_data`: an object as it is, None as null, anything else under `value`; as JSON (`to_plain`).

    Of what is too large hash, size and beginning are recorded, of what cannot be read only its kind: the act
    has happened, and must have its outcome.
    """
    if result is None:
        return None
    try:
        plain = to_plain(result)
        members = plain if isinstance(plain, dict) else {"value": plain}
        cut: dict[str, Any] = cut_large(members, RESULT_SIZE_MAX_BYTES, depth=2)
    except BaseException as error:  # noqa: BLE001 - the application's code, as that of exceptions
        return {"not_recorded": f"a value of type {type_name(result)}: reading it raised {type_name(error)}"}
    return cut


_TRACEBACK_OF: Final[Callable[[BaseException], Any]] = BaseException.__dict__["__traceback__"].__get__
"""The traceback as the interpreter keeps it, whatever the exception's class calls so."""


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, _TRACEBACK_OF(error)))


def _text(read: Callable[[], str]) -> str | None:
    """A text that the application's code may make, fit for an entry; None if reading it raises anything.

    Interruptions too: what they interrupt here is the record of an act that has ended already.
    """
    try:
        # Not the text's own method: it may be of a subclass of `str`.
        return str.encode(read(), "utf-8", "backslashreplace").decode()
    except BaseException:  # noqa: BLE001
        return None
