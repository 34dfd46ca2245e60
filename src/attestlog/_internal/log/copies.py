"""An open log's replicas: told that there is more, and waited for where that was asked.

Without replicas all of this is nothing. Threads start with the first entry or
question, so that a log opened to look at it, or forked away from, has none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from attestlog._internal.config import ReplicaAt
from attestlog._internal.core.receipt import Receipt
from attestlog.errors import AttestlogError, MalformedConfigError, ReplicationError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from attestlog._internal.replication import Replicator, Work

ACK_TIMEOUT_S: Final = 10.0
"""How long `append` waits for copies by default: several tries at a replica that answers slowly."""


class Copies:
    """Who holds copies of the log, and how many copies an append waits for."""

    def __init__(
        self, replicas: Sequence[ReplicaAt], work: Callable[[], Work] | None, needed: int, timeout_s: float
    ) -> None:
        """Raises MalformedConfigError if more copies are asked for than there are replicas."""
        if not 0 <= needed <= len(replicas):
            raise MalformedConfigError(
                f"ack_replicas is {needed}, the log has {len(replicas)} replicas", member="ack_replicas"
            )
        self._replicas, self._work = list(replicas), work
        self._needed, self._timeout_s = needed, timeout_s
        self._mutex = threading.Lock()
        self._replicator: Replicator | None = None
        self.urls = [at.url for at in replicas]
        """What every entry records."""

    def notify(self) -> None:
        """There are new entries."""
        replicator = self._running()
        if replicator is not None:
            replicator.notify()

    def wait(self, receipts: list[Receipt]) -> None:
        """Until enough replicas hold these entries. Raises ReplicationError; `receipts` are in it."""
        replicator = self._running() if self._needed and receipts else None
        if replicator is None:
            return
        try:
            replicator.wait(receipts[-1].sequence_number + 1, self._needed, self._timeout_s)
        except ReplicationError as error:
            raise error.with_evidence(receipts=receipts) from None

    async def wait_async(self, receipt: Receipt) -> None:
        """`wait` for a task."""
        replicator = self._running() if self._needed else None
        if replicator is None:
            return
        import asyncio

        promise = replicator.promise(receipt.sequence_number + 1, self._needed)
        try:
            await asyncio.wait_for(asyncio.wrap_future(promise), self._timeout_s)
        except TimeoutError:
            error = replicator.short(receipt.sequence_number + 1, self._needed, self._timeout_s)
            raise error.with_evidence(receipts=[receipt]) from None

    def then(self, future: Future[Receipt]) -> Future[Receipt]:
        """A future that is done once the entry is held by enough replicas as well. It waits without end."""
        replicator = self._running() if self._needed else None
        if replicator is None:
            return future
        from concurrent.futures import Future

        both: Future[Receipt] = Future()
        both.set_running_or_notify_cancel()

        def copied(promise: Future[int], receipt: Receipt) -> None:
            error = promise.exception()
            if isinstance(error, ReplicationError):
                error = error.with_evidence(receipts=[receipt])
            both.set_exception(error) if error is not None else both.set_result(receipt)

        def appended(done: Future[Receipt]) -> None:
            error = done.exception()
            if error is not None:
                both.set_exception(error)
                return
            receipt = done.result()
            promise = replicator.promise(receipt.sequence_number + 1, self._needed)
            promise.add_done_callback(lambda promise: copied(promise, receipt))

        future.add_done_callback(appended)
        return both

    def sync(self) -> Iterator[tuple[str, AttestlogError | None]]:
        """Send each replica all there is, now: its URL, and why it lacks something, if it does."""
        if not self._replicas or self._work is None:
            return
        from attestlog._internal.replication.sender import Sender

        for at in self._replicas:
            try:
                Sender(at, self._work()).run_once()
            except AttestlogError as error:
                yield at.url, error
            else:
                yield at.url, None

    def follow_fork(self) -> None:
        """In a forked child there are no threads: they start again with its first entry."""
        self._mutex, self._replicator = threading.Lock(), None

    def close(self) -> None:
        """Send what is left if that goes quickly, and stop."""
        with self._mutex:
            replicator, self._replicator, self._work = self._replicator, None, None
        if replicator is not None:
            replicator.close()

    def _running(self) -> Replicator | None:
        if not self._replicas:
            return None
        with self._mutex:
            if self._replicator is None and self._work is not None:
                from attestlog._internal.replication import Replicator

                self._replicator = Replicator(self._replicas, self._work())
            return self._replicator
