"""Waiting until a published checkpoint covers an entry, and those who say that one does.

A log publishes nothing itself: an `attestlog.Publisher`, or one who watches what another process publishes,
tells the log's `Publication` how far it is. Those who wait are told so, or after their time that it is not
so, or that it is not known. Whatever comes of it, their entries are in the log.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from attestlog._internal.core.receipt import Receipt
from attestlog.errors import AttestlogError, PublicationError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from attestlog._internal.replication import Work

Wait = Literal["durable", "published"]
"""What an append waits for: that its entry is durable, or that a published checkpoint covers it, too."""

PUBLISHED_TIMEOUT_S: Final = 30.0
"""How long to wait for publication by default: some tries at a store, and one round of slow witnesses."""


class _Promise(NamedTuple):
    size: int
    """What the published checkpoint must cover. Promises are kept in this order."""
    place: int
    """Of those of one size, who came first."""
    deadline: float
    """On the monotonic clock."""
    timeout_s: float
    receipts: Sequence[Receipt]
    future: Future[bytes]


class Publication:
    """How far one log is published, as far as is known here, and who waits for it. Any thread may use it."""

    def __init__(self, work: Callable[[], Work]) -> None:
        self.work = work
        """What those who publish need of the log. Raises ClosedError once nobody has it any more."""
        self._changed = threading.Condition()
        """Guards all below; notified when somebody begins to wait, and on closing."""
        self._promises: list[_Promise] = []
        """A heap."""
        self._count = 0
        self._begun: Callable[[], None] | None = None
        self._ended: Callable[[], None] | None = None
        self._note, self._size = b"", 0
        self._unsure: AttestlogError | None = None
        self._failed: PublicationError | None = None
        self._watch: threading.Thread | None = None
        self._is_closed = False

    # --- for whoever publishes ---

    def begin(self, begun: Callable[[], None], ended: Callable[[], None]) -> None:
        """From now on somebody publishes, or watches. One at a time: raises PublicationError.

        `begun` is called when somebody begins to wait, `ended` when the log is about to be closed.
        """
        with self._changed:
            if self._begun is not None:
                raise PublicationError("this log is published from here already")
            self._begun, self._ended, self._failed, self._unsure = begun, ended, None, None

    def end(self) -> None:
        """Nobody publishes any more: those who wait are told."""
        with self._changed:
            self._begun = self._ended = None
            error = self._failed or PublicationError("the entry is in the log; publishing has ended")
            late, self._promises = self._promises, []
        _fail(late, error)

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits."""
        return bool(self._promises)

    def reached(self, size: int, note: bytes) -> None:
        """A published checkpoint covers `size` entries: this note."""
        with self._changed:
            self._size, self._note, self._unsure = size, note, None
            kept = []
            while self._promises and self._promises[0].size <= size:
                kept.append(heapq.heappop(self._promises))
        for promise in kept:
            if promise.future.set_running_or_notify_cancel():
                promise.future.set_result(note)

    def missed(self, error: AttestlogError) -> None:
        """A try came to nothing, or nobody knows to what. It will be tried again."""
        with self._changed:
            self._unsure = error

    def failed(self, error: AttestlogError) -> None:
        """It is not tried again: whoever waits, or will, is told why."""
        with self._changed:
            message = f"the entry is in the log; it is not published: {error.message}"
            self._failed = PublicationError(message, published_size=self._size, failure=error.code)
            late, self._promises = self._promises, []
        _fail(late, self._failed)

    # --- for those who wait ---

    def check(self, wait: Wait) -> None:
        """Before anything is written: raises PublicationError if nobody publishes, ValueError."""
        if wait == "durable":
            return
        if wait != "published":
            raise ValueError(f"wait is {wait!r}, want 'durable' or 'published'")
        if self._failed is not None:
            raise self._failed.with_evidence(f"nothing was written: {self._failed.message}")
        if self._begun is None or self._is_closed:
            raise PublicationError("nothing was written: nobody publishes this log from here")

    def promise(self, receipts: Sequence[Receipt], timeout_s: float) -> Future[bytes]:
        """A future of the published checkpoint that covers these entries.

        It fails with PublicationError after `timeout_s`, or when publishing ends: it never stays open. Its
        callbacks run in a thread of this object or of the publisher's, which must not wait in them.
        """
        from concurrent.futures import Future

        size = max(receipt.sequence_number for receipt in receipts) + 1
        future: Future[bytes] = Future()
        error: PublicationError | None = None
        with self._changed:
            if self._note and size <= self._size:
                future.set_result(self._note)
                return future
            begun = self._begun
            if self._failed is not None or begun is None or self._is_closed:
                error = self._failed or PublicationError(
                    "the entry is in the log; nobody publishes it from here"
                )
            else:
                deadline = time.monotonic() + timeout_s
                promise = _Promise(size, self._count, deadline, timeout_s, list(receipts), future)
                self._count += 1
                heapq.heappush(self._promises, promise)
                self._start_watch()
                self._changed.notify()
        if error is not None:
            future.set_exception(error.with_evidence(receipts=list(receipts)))
        elif begun is not None:
            begun()
        return future

    def close(self) -> None:
        """The log is about to be closed. Whoever publishes does it a last time, if that goes quickly."""
        ended = self._ended
        if ended is not None:
            ended()
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._watch is not None and self._watch is not threading.current_thread():
            self._watch.join()

    def _start_watch(self) -> None:
        if self._watch is None:
            self._watch = threading.Thread(target=self._fail_late, name="attestlog-published", daemon=True)
            self._watch.start()

    def _fail_late(self) -> None:
        """The thread that ends what comes too late: each promise in its time, and all of them on closing."""
        while True:
            with self._changed:
                now, is_closed = time.monotonic(), self._is_closed
                late = [item for item in self._promises if is_closed or item.deadline <= now]
                if late:
                    self._promises = [item for item in self._promises if item not in late]
                    heapq.heapify(self._promises)
                elif not is_closed:
                    self._changed.wait(min((item.deadline - now for item in self._promises), default=None))
                    continue
                unsure, size = self._unsure, self._size
            for promise in late:
                _fail([promise], _late(promise, size, unsure, is_closed=is_closed))
            if is_closed:
                return


def _late(
    promise: _Promise, size: int, unsure: AttestlogError | None, *, is_closed: bool
) -> PublicationError:
    when = "before it was closed" if is_closed else f"in {promise.timeout_s:g} s"
    if unsure is not None:
        # The last try may have published it, and its answer be lost.
        what = f"whether it is published is not known {when}: {unsure.message}"
        return PublicationError(
            f"the entry is in the log; {what}", retryable=True, published_size=None, failure=unsure.code
        )
    what = f"no published checkpoint covered it {when}, the last covers {size}"
    return PublicationError(f"the entry is in the log; {what}", retryable=True, published_size=size)


def _fail(promises: Sequence[_Promise], error: PublicationError) -> None:
    for promise in promises:
        if promise.future.set_running_or_notify_cancel():
            promise.future.set_exception(error.with_evidence(receipts=list(promise.receipts)))


class Waits:
    """What a log offers to those who wait for publication."""

    publication: Publication
    """Used by those who publish this log."""

    async def published(self, receipt: Receipt, *, timeout_s: float = PUBLISHED_TIMEOUT_S) -> bytes:
        """The published checkpoint that covers this entry, as soon as there is one; only the task waits.

        Cosigned, where the publisher asks for a quorum of witnesses. Raises PublicationError after
        `timeout_s`, or if nobody publishes: the entry is in the log all the same, and may be published later.
        """
        import asyncio

        return await asyncio.wrap_future(self.publication.promise([receipt], timeout_s))

    def wait_published(self, receipt: Receipt, *, timeout_s: float = PUBLISHED_TIMEOUT_S) -> bytes:
        """`published` for threads: this one waits."""
        return self.publication.promise([receipt], timeout_s).result()

    def _awaited(self, receipts: list[Receipt], wait: Wait) -> list[Receipt]:
        if wait == "published" and receipts:
            self.publication.promise(receipts, PUBLISHED_TIMEOUT_S).result()
        return receipts

    def _publication_of(
        self, appended: Future[Receipt], wait: Wait, call_soon: Callable[[Callable[[], None]], None]
    ) -> Future[Receipt]:
        """The same outcome as this future, once what `wait` asks for is so, too.

        `call_soon`: runs a function in the thread that may run the future's callbacks.
        """
        if wait == "durable":
            return appended
        from concurrent.futures import Future

        both: Future[Receipt] = Future()
        both.set_running_or_notify_cancel()

        def settle(receipt: Receipt, error: BaseException | None) -> None:
            both.set_result(receipt) if error is None else both.set_exception(error)

        def begin(done: Future[Receipt]) -> None:
            error = done.exception()
            if error is not None:
                both.set_exception(error)
                return
            receipt = done.result()
            promise = self.publication.promise([receipt], PUBLISHED_TIMEOUT_S)
            promise.add_done_callback(lambda done: call_soon(lambda: settle(receipt, done.exception())))

        appended.add_done_callback(begin)
        return both
