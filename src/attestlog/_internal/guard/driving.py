"""Appending what the steps of a guard yield, while a thread waits, while a task waits, or while nobody does.

Steps are a generator: it yields a draft, and is given the receipt, or the error that the append raised. A
caller may be interrupted while it waits (KeyboardInterrupt, a cancelled task). The caller leaves at once. Its
entry is in the queue all the same, so the steps go on in the log's own thread, from one future's callback to
the next, and `close` of the log waits for them. What an act was, this module does not know.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from functools import partial
from typing import Any

from attestlog._internal.core.receipt import Receipt
from attestlog._internal.guard.contract import GuardedLog
from attestlog.errors import AttestlogError

Draft = dict[str, Any]
Steps = Generator[Draft, Receipt, None]
OnLeaving = Callable[[BaseException], None]
"""Called with what interrupts the caller, before the steps go on without it."""


def run(log: GuardedLog, steps: Steps, on_leaving: OnLeaving) -> None:
    """Run the steps to their end while this thread waits. Raises what they raise, and what interrupts it."""
    draft = _advance(steps)
    while draft is not None:
        draft = _advance(steps, _append(log, steps, draft, on_leaving))


async def run_async(log: GuardedLog, steps: Steps, on_leaving: OnLeaving) -> None:
    """`run` while only the task waits."""
    draft = _advance(steps)
    while draft is not None:
        draft = _advance(steps, await _append_async(log, steps, draft, on_leaving))


def run_alone(log: GuardedLog, steps: Steps) -> None:
    """Run the steps while nobody waits. What goes wrong is told to nobody."""
    ended: Future[None] = Future()
    log.owe(ended)
    _go_on(log, steps, ended, None)


def _advance(steps: Steps, answer: Receipt | AttestlogError | None = None) -> Draft | None:
    """The next draft; None: that was the last."""
    try:
        if isinstance(answer, AttestlogError):
            return steps.throw(answer)
        return next(steps) if answer is None else steps.send(answer)
    except StopIteration:
        return None


def _append(log: GuardedLog, steps: Steps, draft: Draft, on_leaving: OnLeaving) -> Receipt | AttestlogError:
    try:
        if threading.current_thread() is not threading.main_thread():
            # No signal handler raises here. It may also be the log's own thread, which runs callbacks of
            # futures: that one would wait for itself.
            return log.append(draft)
        future = log.submit(draft)
        try:
            return future.result()
        except BaseException as error:
            _leave(log, steps, future, error, on_leaving)
            raise
    except AttestlogError as error:
        return error


async def _append_async(
    log: GuardedLog, steps: Steps, draft: Draft, on_leaving: OnLeaving
) -> Receipt | AttestlogError:
    try:
        future = log.submit(draft)
        try:
            return await asyncio.wrap_future(future)
        except BaseException as error:
            _leave(log, steps, future, error, on_leaving)
            raise
    except AttestlogError as error:
        return error


def _leave(
    log: GuardedLog, steps: Steps, future: Future[Receipt], error: BaseException, on_leaving: OnLeaving
) -> None:
    """Let the steps go on alone, if it was an interruption and not the outcome of the append.

    Signal handlers raise what they like, so only the future tells the two apart.
    """
    if future.done() and future.exception() is error:
        return
    on_leaving(error)
    ended: Future[None] = Future()
    log.owe(ended)
    future.add_done_callback(partial(_go_on, log, steps, ended))


def _go_on(log: GuardedLog, steps: Steps, ended: Future[None], future: Future[Receipt] | None) -> None:
    """Take the steps up to the next append: in the log's own thread, or in the caller's as it leaves."""
    try:
        answer: Any = None if future is None else future.exception() or future.result()
        while (draft := _advance(steps, answer)) is not None:
            try:
                following = log.submit(draft)
            except AttestlogError as error:
                answer = error
                continue
            following.add_done_callback(partial(_go_on, log, steps, ended))
            return
    except BaseException:  # noqa: BLE001, S110 - the caller has left: nobody is there to be told
        pass
    ended.set_result(None)
