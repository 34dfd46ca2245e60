"""Group commit: the queue in which callers wait, and the turns in which all of them are committed together.

Callers from any thread join one queue. Who finds nobody working takes the
turn: one lock, one plan, one signature, one write and one sync for all who are
in the queue by then. Who arrives meanwhile waits, and the first of those takes
the next turn. Nobody waits for a timer. Futures have no thread waiting for
them: a background thread hands them their results, and takes the turn when
nobody else is there.

What is done in a turn is one function, given when the queue is made: it takes
a group from the queue, commits it, and hands out the results (`Writer.commit`).
The queue calls it, and not the other way round, for one reason: a signal
handler may raise anywhere in a thread that waits or leads. So turns change
hands in steps between which none can run (it runs when a call returns, or a
loop goes round), everything before them can be done twice, and all of these
steps stand in this module. Loops have functions of their own: Python 3.12 and
3.13 do not run `finally`, nor leave `with`, where a signal handler raises as a
loop goes round (a defect of CPython's), and the lock would stay taken.
It knows nothing of logs, keys or files.
"""

from __future__ import annotations

import atexit
import contextlib
import copy
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from attestlog._internal.core.batch import Prepared
from attestlog.errors import AttestlogError, ClosedError, ReentrantError, UncertainCommitError

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

Result = TypeVar("Result")


class _Waiting(Generic[Result]):
    """One caller's entries (or one task) in the queue."""

    __slots__ = (
        "abandoned", "done", "error", "follower", "future", "has_turn", "loop", "prepared", "results", "task",
        "wake",
    )  # fmt: skip

    def __init__(self, prepared: Sequence[Prepared], task: Callable[[], Any] | None = None) -> None:
        self.prepared = prepared
        self.task = task
        self.results: list[Result] = []
        self.error: BaseException | None = None
        self.done = self.has_turn = self.abandoned = False
        self.future: Future[Any] | asyncio.Future[Any] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        """Where an asyncio future may be touched; None for one that any thread may."""
        self.wake = threading.Lock()
        """Released once for each time its thread has something to do: take the turn, or go home."""
        self.wake.acquire()
        self.follower: _Waiting[Any] | None = None
        """Whose thread this one's wakes on its way home."""

    def deliver(self) -> None:
        """Give the future its outcome; its callbacks run here, or soon in its loop."""
        assert self.future is not None
        if self.loop is not None and self.future.done():
            return  # its task was cancelled while the entry was committed
        if self.error is not None:
            self.future.set_exception(self.own_error())
        else:
            self.future.set_result(self.results[0])

    def own_error(self) -> BaseException:
        """One failure, many callers: each raises its own copy, so tracebacks do not pile up on one."""
        error = self.error
        assert error is not None
        if not isinstance(error, AttestlogError):
            return error
        own = copy.copy(error)
        if self.results:
            done, wanted = len(self.results), len(self.prepared)
            message = f"{error.message}; the first {done} of {wanted} entries are committed"
            own = error.with_evidence(message, committed=done)
        if isinstance(own, UncertainCommitError):
            # Before a caller appends one of these again, they must look whether it is there.
            own = own.with_evidence(entry_ids=[item.entry_id for item in self.prepared[len(self.results) :]])
        own.__cause__ = error.__cause__
        return own


class Share(Generic[Result]):
    """What one caller has in a group: all of its entries, or a piece of a long list."""

    __slots__ = ("_waiting", "prepared")

    def __init__(self, waiting: _Waiting[Result], prepared: Sequence[Prepared]) -> None:
        self._waiting, self.prepared = waiting, prepared


class Group(Generic[Result]):
    """Those who are committed together. Used by the thread that has the turn."""

    __slots__ = ("_committer", "is_open", "shares")

    def __init__(self, committer: Committer[Result]) -> None:
        self._committer = committer
        self.shares: list[Share[Result]] = []
        """In the order in which their entries are committed."""
        self.is_open = True
        """False once the results are handed out: what fails afterwards is not their failure."""

    @property
    def prepared(self) -> list[Prepared]:
        """The entries to commit, in order."""
        return [item for share in self.shares for item in share.prepared]

    def refuse(self, share: Share[Result], error: AttestlogError) -> None:
        """Its caller alone is told of this error. The group goes on without its entries."""
        self._committer._settle(share._waiting, error)
        self.shares.remove(share)

    def hand_out(self, results: Sequence[Result]) -> None:
        """Give each caller its results, one an entry, in order. What is left of a long list waits again."""
        at = 0
        unfinished = []
        for share in self.shares:
            waiting, count = share._waiting, len(share.prepared)
            waiting.results += results[at : at + count]
            at += count
            if len(waiting.results) < len(waiting.prepared):
                unfinished.append(waiting)
            else:
                self._committer._settle(waiting)
        if unfinished:
            self._committer._wait_again(unfinished)
        self.is_open = False


class Turn(Generic[Result]):
    """One turn of the queue: those who are taken in it are told what became of their entries."""

    __slots__ = ("_committer", "groups", "task")

    def __init__(self, committer: Committer[Result]) -> None:
        self._committer = committer
        self.groups: list[Group[Result]] = []
        self.task: _Waiting[Any] | None = None

    def take(self, room: int) -> Group[Result]:
        """The callers who wait by now, with at most `room` entries; it may be empty.

        Each is a whole caller while it fits; a longer list goes in pieces. A group is handed out, or fails
        with what the turn raises.
        """
        group: Group[Result] = Group(self._committer)
        self.groups.append(group)
        with self._committer._mutex:
            self._fill(group, min(room, self._committer._batch_entries_max))
        return group

    def _fill(self, group: Group[Result], room: int) -> None:
        queue, size_left, taken = self._committer._queue, self._committer._batch_size_bytes, 0
        while queue and queue[0].task is None and taken < room and size_left > 0:
            waiting = queue[0]
            if waiting.done:
                queue.popleft()  # see `Committer._drop_done`
                continue
            start = len(waiting.results)
            if taken and len(waiting.prepared) - start > room - taken:
                break
            stop, size_left = _fit(waiting.prepared, start, room - taken, size_left, not taken)
            if stop == start:
                break
            # It may stand in the group and in the queue, but never in neither: then nobody would wake it.
            group.shares.append(Share(waiting, waiting.prepared[start:stop]))
            queue.popleft()
            taken += stop - start


def _fit(
    prepared: Sequence[Prepared], start: int, room: int, size_left: int, is_first: bool
) -> tuple[int, int]:
    """(where to stop, size left): how many of these from `start` on go into a batch.

    What stands alone goes into an empty batch only, and closes it.
    """
    stop = start
    while stop < min(len(prepared), start + room) and size_left > 0:
        if prepared[stop].stands_alone:
            return (stop + 1, 0) if is_first and stop == start else (stop, 0)
        size_left -= prepared[stop].size_bytes
        stop += 1
    return stop, size_left


def _deliver_all(group: Sequence[_Waiting[Any]]) -> None:
    for waiting in group:
        # What a future's callback raises must not keep the others from their outcome.
        with contextlib.suppress(BaseException):
            waiting.deliver()


_leaving: Final[set[threading.Thread]] = set()
"""Threads that empty the queue of a log that nobody has any more."""


def _wait_for_leaving() -> None:
    """The program ends: a daemon thread would be stopped in the middle of its work."""
    for thread in list(_leaving):
        thread.join()


atexit.register(_wait_for_leaving)


class _Here(threading.local):
    """Whether this thread waits in the queue or has the turn.

    What it calls meanwhile (a signal handler, a finalizer, a signer that writes to the log) and that appends
    would wait for itself, holding the log's lock.
    """

    is_inside = False


def _reentrant() -> ReentrantError:
    return ReentrantError("this thread is at work in this log already, and would wait for itself")


def _still_waiting(unfinished: Sequence[_Waiting[Any]]) -> list[_Waiting[Any]]:
    return [waiting for waiting in unfinished if not waiting.abandoned]


class Committer(Generic[Result]):
    """The queue of one log in one process. Any thread may call its public methods."""

    def __init__(
        self, commit: Callable[[Turn[Result]], None], batch_entries_max: int, batch_size_bytes: int
    ) -> None:
        """`commit`: called in each turn that is not a task's; commits the groups that it takes."""
        self._commit = commit
        self._batch_entries_max = batch_entries_max
        self._batch_size_bytes = batch_size_bytes
        self._mutex = threading.Lock()
        self._queue: deque[_Waiting[Any]] = deque()
        self._threads: deque[_Waiting[Any]] = deque()
        """Those of the queue that have a thread waiting. Those that are done or gone are dropped when met."""
        self._here = _Here()
        self._busy = False
        self._closed = False
        self._closing: _Waiting[Any] | None = None
        self._background: threading.Thread | None = None
        self._background_has_turn = False
        self._background_jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._undelivered: list[_Waiting[Any]] = []
        """Settled in this turn, with a future that does not know yet."""
        self._settled: list[_Waiting[Any]] = []
        """Settled in this turn, with a thread that still waits."""

    def append(self, prepared: Sequence[Prepared]) -> list[Result]:
        """Commit these, waiting until they are durable.

        Raises what the commit raised; `committed` says how many of a long list were committed before.
        UncertainCommitError may also mean that the thread which committed for all was interrupted.
        """
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
        future: Future[Result] = Future()
        future.set_running_or_notify_cancel()
        waiting.future = future
        self._enter_for_future(waiting)
        return future

    async def append_async(self, prepared: Prepared) -> Result:
        """Commit this while only the task waits. Cancelled, the entry may be committed all the same."""
        import asyncio

        waiting: _Waiting[Result] = _Waiting((prepared,))
        waiting.loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = waiting.loop.create_future()
        waiting.future = future
        self._enter_for_future(waiting)
        return await future

    def call_soon(self, function: Callable[[], None]) -> None:
        """Run this in the background thread, where callbacks of futures run. After `submit` only."""
        self._background_jobs.put(function)

    def is_own_thread(self) -> bool:
        """Whether this is the thread in which callbacks of futures run."""
        return threading.current_thread() is self._background

    def close(self, last: Callable[[], Any]) -> None:
        """Refuse everything from now on, let the queue empty, run `last`. Raises what `last` raises.

        Interrupted before `last` was run, it is as if it had not been called.
        """
        waiting: _Waiting[Any] = _Waiting((), last)
        try:
            self._wait(waiting, closing=True)
        finally:
            if waiting.done and self._background is not None:
                self._background_jobs.put(None)
                if self._background is not threading.current_thread():
                    self._background.join()

    def leave(self, last: Callable[[], Any]) -> None:
        """Nobody has the log any more: once the queue is empty, run `last`. For a finalizer.

        It runs in any thread, between any two instructions, and so takes no lock and waits for nothing.
        """
        if self._background is None:
            last()  # who appended has returned, and no future waits
        else:
            _leaving.add(self._background)
            self._background_jobs.put(partial(self._end, last))

    def _end(self, last: Callable[[], Any]) -> None:
        self.close(last)
        _leaving.discard(threading.current_thread())

    def renewed(self) -> Committer[Result]:
        """The same, empty and idle: for a forked child, where the threads that wait and lead are not."""
        fresh = Committer(self._commit, self._batch_entries_max, self._batch_size_bytes)
        fresh._closed = self._closed
        return fresh

    # --- turns ---

    def _enter(self, waiting: _Waiting[Any]) -> None:
        if self._closed:
            raise ClosedError("the log is closed")
        self._queue.append(waiting)

    def _enter_for_future(self, waiting: _Waiting[Any]) -> None:
        here = self._here
        if here.is_inside:
            raise _reentrant()
        here.is_inside = True
        try:
            with self._mutex:
                self._start_background()
                self._enter(waiting)
                if not self._busy:
                    self._busy = self._background_has_turn = True
                    self._background_jobs.put(self._take_background_turn)
        finally:
            here.is_inside = False

    def _wait(self, waiting: _Waiting[Any], *, closing: bool = False) -> None:
        here = self._here
        if here.is_inside:
            raise _reentrant()
        here.is_inside = True  # no call stands between this and `try`
        try:
            self._wait_inside(waiting, closing=closing)
        finally:
            here.is_inside = False

    def _wait_inside(self, waiting: _Waiting[Any], *, closing: bool) -> None:
        try:
            with self._mutex:
                self._enter(waiting)
                self._threads.append(waiting)
                if closing:
                    self._closed, self._closing = True, waiting
                if not self._busy:
                    self._busy = waiting.has_turn = True
                elif self._background_has_turn and threading.current_thread() is self._background:
                    # A future's callback: this thread has the turn already, and would wait for itself.
                    self._background_has_turn, waiting.has_turn = False, True
            while True:
                if waiting.has_turn:
                    self._take_turn(waiting)
                else:
                    waiting.wake.acquire()
                if waiting.done:
                    break
        except BaseException:
            self._abandon(waiting)
            raise
        if waiting.follower is not None:
            waiting.follower.wake.release()
        if waiting.error is not None:
            raise waiting.own_error()

    def _abandon(self, waiting: _Waiting[Any]) -> None:
        """Its thread was interrupted: it must neither stay in the queue nor keep the turn."""
        with self._mutex:
            waiting.abandoned = True
            if waiting in self._queue:
                self._queue.remove(waiting)
            if waiting is self._closing and not waiting.done:
                self._closed, self._closing = False, None
            if waiting.follower is not None:
                waiting.follower.wake.release()
        if waiting.has_turn:
            self._pass_turn(waiting)

    def _take_turn(self, holder: _Waiting[Any] | None) -> None:
        turn: Turn[Result] = Turn(self)
        try:
            self._serve(turn)
        except BaseException as error:
            self._fail(turn, error)
            if holder is not None and not isinstance(error, Exception):
                raise
        finally:
            try:
                self._deliver()
            finally:
                self._pass_turn(holder)

    def _serve(self, turn: Turn[Result]) -> None:
        with self._mutex:
            self._drop_done()
            if self._queue and self._queue[0] is self._closing:
                # Nothing enters any more, but pieces of long lists come back: closing is last.
                self._queue.rotate(-1)
            first = self._queue[0] if self._queue else None
            if first is not None and first.task is not None:
                turn.task = first
                self._queue.popleft()
        if first is None:
            return
        if first.task is not None:
            first.results.append(first.task())
            self._settle(first)
            return
        self._commit(turn)
        for group in turn.groups:
            if group.is_open and group.shares:
                raise RuntimeError("a group was taken from the queue, and its results were not handed out")

    def _drop_done(self) -> None:
        """From the front of the queue: a turn was interrupted before these, settled already, had left it."""
        while self._queue and self._queue[0].done:
            self._queue.popleft()

    def _wait_again(self, unfinished: Sequence[_Waiting[Any]]) -> None:
        with self._mutex:
            # To the back: others get their turn between the pieces of a long list.
            self._queue.extend(_still_waiting(unfinished))

    def _fail(self, turn: Turn[Result], error: BaseException) -> None:
        """Everyone in the batch learns of it; if there was no batch yet, everyone who waits for one."""
        served = [share._waiting for group in turn.groups if group.is_open for share in group.shares]
        if turn.task is not None:
            served.append(turn.task)
        if isinstance(error, Exception):
            if not served and all(group.is_open for group in turn.groups):
                with self._mutex:
                    self._move_waiting(served)
        else:
            # Interrupted after the batch was taken. The store finds out what became of it in the next
            # turn, as it would by opening; those who wait cannot.
            error = UncertainCommitError(
                f"outcome unknown: the commit was interrupted by {type(error).__name__}"
            )
        for waiting in served:
            self._settle(waiting, error)

    def _move_waiting(self, served: list[_Waiting[Any]]) -> None:
        while self._queue and self._queue[0].task is None:
            served.append(self._queue[0])
            self._queue.popleft()

    def _settle(self, waiting: _Waiting[Any], error: BaseException | None = None) -> None:
        if waiting.done:
            return
        waiting.error = error
        waiting.done = True
        if waiting.future is not None:
            self._undelivered.append(waiting)
        elif not waiting.has_turn:
            self._settled.append(waiting)

    def _deliver(self) -> None:
        """Hand the futures of this turn their outcomes: one call a loop, however many tasks wait in it.

        Waking a loop costs a system call. What a callback does is not this thread's affair, so futures of
        no loop are handed over by the background thread.
        """
        loops: dict[asyncio.AbstractEventLoop | None, list[_Waiting[Any]]] = {}
        for waiting in self._undelivered:
            loops.setdefault(waiting.loop, []).append(waiting)
        for loop, group in loops.items():
            if loop is None:
                self._background_jobs.put(partial(_deliver_all, group))
            else:
                # A loop that was closed meanwhile has nobody waiting.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(_deliver_all, group)
        self._undelivered.clear()

    def _pass_turn(self, holder: _Waiting[Any] | None) -> None:
        """To the first thread that waits; else, for futures, to the background thread."""
        with self._mutex:
            self._wake_settled()
            following = self._first_thread()
            # From here on no call stands before the one that wakes the next.
            if holder is None:
                self._background_has_turn = False
            else:
                holder.has_turn = False
            if following is not None:
                following.has_turn = True
                if following is not holder:
                    following.wake.release()
            elif self._queue:
                self._background_has_turn = True
                self._background_jobs.put(self._take_background_turn)
            else:
                self._busy = False

    def _first_thread(self) -> _Waiting[Any] | None:
        while self._threads and (self._threads[0].done or self._threads[0].abandoned):
            self._threads.popleft()
        return self._threads[0] if self._threads else None

    def _wake_settled(self) -> None:
        """Send the threads of this turn home, each waking the next: nobody leaves without being woken.

        Woken all at once they would only wake to wait for the interpreter's lock, and switching
        between threads is most of what an entry costs its caller.
        """
        going = [waiting for waiting in self._settled if not waiting.abandoned]
        for waiting, follower in pairwise(going):
            waiting.follower = follower
        # As above: what stands between clearing the list and waking its first is no call.
        self._settled = []
        if going:
            going[0].wake.release()

    # --- the background thread, for futures ---

    def _start_background(self) -> None:
        if self._background is None and not self._closed:
            background = threading.Thread(target=self._serve_futures, name="attestlog-committer", daemon=True)
            background.start()
            self._background = background

    def _serve_futures(self) -> None:
        for job in iter(self._background_jobs.get, None):
            # Whatever a job raises: all other futures depend on this thread.
            with contextlib.suppress(BaseException):
                job()

    def _take_background_turn(self) -> None:
        # A callback of this thread may have taken the turn over.
        if self._background_has_turn:
            self._here.is_inside = True
            try:
                self._take_turn(None)
            finally:
                self._here.is_inside = False
