"""Group commit: everyone who waits is committed together, and nobody waits for a timer.

Callers from any thread join one queue. Whoever finds nobody working takes the
turn: one lock, one plan, one signature, one write and one sync for all who are
in the queue by then. Whoever arrives meanwhile waits, and the first of those
takes the next turn. Futures, which have no thread waiting for them, are served
by a background thread.

It knows nothing of entries or files: `commit` is given by the log.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attestlog.core.batch import Prepared
from attestlog.errors import AttestlogError, ClosedError, UncertainCommitError

if TYPE_CHECKING:
    from concurrent.futures import Future

Result = TypeVar("Result")
Take = Callable[[int], list[Prepared]]
Commit = Callable[[Take], Sequence[Result]]
"""Commits what `take(room)` gives it (at most `room` entries), one result each, in order."""


class _Waiting(Generic[Result]):
    """One caller's entries (or one task) in the queue."""

    __slots__ = ("done", "error", "future", "has_turn", "prepared", "results", "task", "wake")

    def __init__(self, prepared: Sequence[Prepared], task: Callable[[], Any] | None = None) -> None:
        self.prepared = prepared
        self.task = task
        self.results: list[Result] = []
        self.error: BaseException | None = None
        self.done = False
        self.has_turn = False
        self.future: Future[Any] | None = None
        self.wake = threading.Lock()
        self.wake.acquire()


class Committer(Generic[Result]):
    """The queue of one log in one process."""

    def __init__(self, commit: Commit[Result], batch_entries_max: int, batch_size_bytes: int) -> None:
        self._commit = commit
        self._batch_entries_max = batch_entries_max
        self._batch_size_bytes = batch_size_bytes
        self._mutex = threading.Lock()
        self._queue: deque[_Waiting[Result]] = deque()
        self._busy = False
        self._closed = False
        self._background: threading.Thread | None = None
        self._background_turn = threading.Semaphore(0)

    def append(self, prepared: Sequence[Prepared]) -> list[Result]:
        """Commit these, waiting until they are durable. Raises what the commit raised."""
        waiting: _Waiting[Result] = _Waiting(prepared)
        self._wait(waiting)
        return waiting.results

    def run(self, task: Callable[[], Any]) -> Any:
        """Run `task` as a turn of its own, after everything that is in the queue now."""
        waiting: _Waiting[Any] = _Waiting((), task)
        self._wait(waiting)
        return waiting.results[0]

    def submit(self, prepared: Prepared) -> Future[Result]:
        """Commit this without waiting for it."""
        from concurrent.futures import Future

        waiting: _Waiting[Result] = _Waiting((prepared,))
        waiting.future = Future()
        waiting.future.set_running_or_notify_cancel()
        with self._mutex:
            self._enter(waiting)
            self._start_background()
            turn_is_free, self._busy = not self._busy, True
        if turn_is_free:
            self._background_turn.release()
        return waiting.future

    def close(self, last: Callable[[], Any]) -> None:
        """Let the queue empty, run `last`, refuse everything afterwards."""
        try:
            self.run(last)
        finally:
            with self._mutex:
                self._closed = True
            if self._background is not None:
                self._background_turn.release()
                self._background.join()

    # --- turns ---

    def _enter(self, waiting: _Waiting[Any]) -> None:
        if self._closed:
            raise ClosedError("the log is closed")
        self._queue.append(waiting)

    def _wait(self, waiting: _Waiting[Any]) -> None:
        with self._mutex:
            self._enter(waiting)
            if not self._busy:
                self._busy = waiting.has_turn = True
        try:
            if not waiting.has_turn:
                waiting.wake.acquire()
            while not waiting.done:
                if waiting.has_turn:
                    self._take_turn(waiting)
                if not waiting.done:
                    waiting.wake.acquire()
        except BaseException:
            self._abandon(waiting)
            raise
        if waiting.error is not None:
            # One failure, many callers: each raises its own copy, so tracebacks do not pile up on one.
            error = waiting.error
            raise copy.copy(error) if isinstance(error, AttestlogError) else error

    def _abandon(self, waiting: _Waiting[Any]) -> None:
        """Its thread was interrupted: it must neither stay in the queue nor keep the turn."""
        with self._mutex:
            if waiting in self._queue:
                self._queue.remove(waiting)
        if waiting.has_turn:
            self._pass_turn(waiting)

    def _take_turn(self, holder: _Waiting[Any] | None) -> None:
        served: list[tuple[_Waiting[Any], int]] = []
        try:
            self._serve(served)
        except BaseException as error:
            self._fail(served, error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._pass_turn(holder)

    def _serve(self, served: list[tuple[_Waiting[Any], int]]) -> None:
        with self._mutex:
            task = self._queue[0].task if self._queue else None
            if task is not None:
                served.append((self._queue.popleft(), 0))
        if task is not None:
            served[0][0].results.append(task())
            self._resolve(served[0][0])
        elif self._queue:
            results = self._commit(lambda room: self._take(room, served))
            self._hand_out(served, results)

    def _take(self, room: int, served: list[tuple[_Waiting[Any], int]]) -> list[Prepared]:
        """Fill a batch from the queue: whole callers while they fit, a longer list in pieces."""
        room = min(room, self._batch_entries_max)
        batch: list[Prepared] = []
        size_bytes = 0
        with self._mutex:
            while self._queue and self._queue[0].task is None and len(batch) < room:
                if size_bytes > self._batch_size_bytes:
                    break
                waiting = self._queue[0]
                at = len(waiting.results)
                wanted = len(waiting.prepared) - at
                if batch and wanted > room - len(batch):
                    break
                count = min(wanted, room - len(batch))
                piece = waiting.prepared[at : at + count]
                batch += piece
                size_bytes += sum(item.size_bytes for item in piece)
                served.append((waiting, count))
                self._queue.popleft()
        return batch

    def _hand_out(self, served: list[tuple[_Waiting[Any], int]], results: Sequence[Any]) -> None:
        at = 0
        unfinished = []
        for waiting, count in served:
            waiting.results += results[at : at + count]
            at += count
            if len(waiting.results) < len(waiting.prepared):
                unfinished.append(waiting)
            else:
                self._resolve(waiting)
        if unfinished:
            with self._mutex:
                # To the back: others get their turn between the pieces of a long list.
                self._queue.extend(unfinished)

    def _fail(self, served: list[tuple[_Waiting[Any], int]], error: BaseException) -> None:
        """Everyone in the batch learns of it; if there was no batch yet, everyone in the queue does."""
        if isinstance(error, Exception):
            with self._mutex:
                if not served:
                    served.extend((waiting, 0) for waiting in self._queue)
                    self._queue.clear()
        else:
            error = UncertainCommitError(
                f"outcome unknown: the commit was interrupted by {type(error).__name__}"
            )
        for waiting, _ in served:
            waiting.error = error
            self._resolve(waiting)

    def _resolve(self, waiting: _Waiting[Any]) -> None:
        waiting.done = True
        if waiting.future is None:
            waiting.wake.release()
        elif waiting.error is not None:
            waiting.future.set_exception(waiting.error)
        else:
            waiting.future.set_result(waiting.results[0])

    def _pass_turn(self, holder: _Waiting[Any] | None) -> None:
        with self._mutex:
            if holder is not None:
                holder.has_turn = False
            following = self._queue[0] if self._queue else None
            if following is None:
                self._busy = False
            elif following.future is None:
                following.has_turn = True
        if following is None:
            return
        if following.future is None:
            following.wake.release()
        else:
            self._background_turn.release()

    # --- the background thread, for futures ---

    def _start_background(self) -> None:
        if self._background is None:
            self._background = threading.Thread(
                target=self._serve_futures, name="attestlog-committer", daemon=True
            )
            self._background.start()

    def _serve_futures(self) -> None:
        while True:
            self._background_turn.acquire()
            if self._closed and not self._queue:
                return
            self._take_turn(None)
