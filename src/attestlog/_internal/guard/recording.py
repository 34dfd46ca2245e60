"""How an act ended, as members of a draft: its result, or what was raised."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any, Final

from attestlog._internal.core import canonical
from attestlog.errors import MalformedJSONError

MESSAGE_LENGTH_MAX: Final = 2_000
TRACEBACK_LENGTH_MAX: Final = 12_000
"""Characters kept of an exception: an entry without its payload has 65,535 bytes, four to a character."""

RESULT_SIZE_MAX_BYTES: Final = 32 << 10
"""A larger result would not fit the entry, and the act would have no outcome."""


ERROR, TIMEOUT, CANCELLED, DENIED, SUSPENDED, NOT_BEGUN = KINDS = (
    "error", "timeout", "cancelled", "denied", "suspended", "not_begun",
)  # fmt: skip
"""What `error_details.kind` can be, where the guard writes it: how an act ended that did not succeed."""


def error_members(error: BaseException) -> dict[str, Any]:
    """`error_details` of an exception. Secrets in it are redacted when the entry is made."""
    lines = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {
        "kind": kind_of(error),
        "type": type(error).__qualname__,
        "message": _plain(str(error))[:MESSAGE_LENGTH_MAX],
        "traceback": _plain(lines)[-TRACEBACK_LENGTH_MAX:],
    }


def kind_of(error: BaseException) -> str:
    """One of `KINDS`."""
    if isinstance(error, TimeoutError):
        return TIMEOUT
    return CANCELLED if isinstance(error, asyncio.CancelledError | KeyboardInterrupt) else ERROR


def result_members(result: Any) -> dict[str, Any] | None:
    """`result_data`: an object as it is, None as null, anything else JSON under `value`.

    Of what is not JSON, or too large, only its kind is recorded: the act has happened, and must have
    its outcome.
    """
    if result is None:
        return None
    try:
        size_bytes = len(canonical.encode(result, depth=3))
    except MalformedJSONError:
        return {"not_recorded": f"a value of type {type(result).__qualname__}, which is not JSON"}
    if size_bytes > RESULT_SIZE_MAX_BYTES:
        return {"not_recorded": f"a value of {size_bytes} bytes, at most {RESULT_SIZE_MAX_BYTES} are"}
    return result if isinstance(result, dict) else {"value": result}


def _plain(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
