"""Members of `actor_context` that every act within a task or thread has: its session, its trace.

    with attestlog.bind(session="s-1", trace_id="…"):
        with log.guard(...): ...

They are kept in a context variable, so that tasks that are begun inside have them, and others do not. The
ids of OpenTelemetry's current span are taken over where an application uses its API: nothing loads it here.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

_bound: ContextVar[Mapping[str, Any]] = ContextVar("attestlog_bound", default={})  # noqa: B039 - never changed

_TRACE_DIGITS: Final = 32
_SPAN_DIGITS: Final = 16


@contextmanager
def bind(**context: Any) -> Generator[None]:
    """Give these members of `actor_context` to every act that is guarded inside, beside those bound outside.

    What an act is given itself comes first.
    """
    token = _bound.set({**_bound.get(), **context})
    try:
        yield
    finally:
        _bound.reset(token)


def bound_context() -> dict[str, Any]:
    """What an act that begins here has: the ids of the current span, and what is bound."""
    return {**_current_span(), **_bound.get()}


def _current_span() -> dict[str, str]:
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return {}
    try:
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        return {
            "trace_id": format(context.trace_id, f"0{_TRACE_DIGITS}x"),
            "span_id": format(context.span_id, f"0{_SPAN_DIGITS}x"),
        }
    except Exception:  # noqa: BLE001 - another project's code: an act is not lost for want of a trace
        return {}
