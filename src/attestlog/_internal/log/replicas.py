"""An open log's replicas: told that there are new entries, and waited for where that was asked for.

A log without replicas does nothing here. Threads start with the first entry or
question, so that a log opened to look at it, or forked away from, has none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final
from weakref import WeakMethod

from attestlog._internal.config import ReplicaAt
from attestlog._internal.core.receipt import Receipt
from attestlog.errors import AttestlogError, ClosedError, MalformedConfigError, ReplicationError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from attestlog._internal.replication import Replicator, Work

ACK_TIMEOUT_S: Final = 10.0
"""How long an append waits for copies by default: several tries at a replica that answers slowly."""


class Replicas:
    """Who holds copies of the log, and how many of them an append waits for. Any thread may use it."""

    def __init__(
        self, replicas: Sequence[ReplicaAt], needed: int = 0, timeout_s: float = ACK_TIMEOUT_S
    ) -> None:
        """Raises MalformedConfigError if more copies are asked for than there are replicas."""
        if not 0 <= needed <= len(replicas):
            raise MalformedConfigError(
                f"ack_replicas is {needed}, the log has {len(replicas)} replicas", member="ack_replicas"
            )
        self._replicas, self._needed, self._timeout_s = list(replicas), needed, timeout_s
        self._mutex = threading.Lock()
        self._replicator: Replicator | None = None
        self._is_closed = False
        self.urls = [at.url for at in replicas]
        """URLs of the replicas, recorded in each entry."""
        self.work: Callable[[], Work] | None = None
        """What senders need of the log; until it is there, nothing is sent."""

    def notify(self) -> None:
        """There are new entries: wake the senders."""
        replicator = self._running()
        if replicator is not None:
            replicator.notify()

    def confirmation(self, receipts: list[Receipt]) -> Future[int] | None:
        """A future that is done once enough replicas hold these entries; None if nobody asked for that.

        It fails with ReplicationError (`receipts` in it) after the log's `ack_timeout_s`, or when the log
        is closed; raises that itself where the log is closed already. It cannot stay open: `append`,
        `submit` and `append_async` all wait for it.
        """
        if not self._needed or not receipts:
            return None
        replicator = self._running()
        if replicator is None:
            raise ReplicationError(
                f"the entry is in the log; 0 of {self._needed} copies were confirmed before it was closed",
                retryable=True, have=0, need=self._needed, held={}, receipts=receipts,
            )  # fmt: skip
        size = receipts[-1].sequence_number + 1
        return replicator.promise(size, self._needed, self._timeout_s, receipts=receipts)

    def confirmed(
        self, appended: Future[Receipt], call_soon: Callable[[Callable[[], None]], None]
    ) -> Future[Receipt]:
        """The same outcome as this future, once enough replicas have confirmed the entry too.

        `call_soon`: runs a function in the thread that may run the future's callbacks. Senders may not: a
        callback that appends would wait for the sender that it keeps.
        """
        if not self._needed:
            return appended
        from concurrent.futures import Future

        both: Future[Receipt] = Future()
        both.set_running_or_notify_cancel()

        def settle(receipt: Receipt, error: BaseException | None) -> None:
            both.set_result(receipt) if error is None else both.set_exception(error)

        def begin(done: Future[Receipt]) -> None:
            try:
                receipt = done.result()
                confirmation = self.confirmation([receipt])
            except BaseException as error:  # noqa: BLE001 - it is the future's outcome
                both.set_exception(error)
                return
            if confirmation is None:
                both.set_result(receipt)
                return
            confirmation.add_done_callback(lambda done: call_soon(lambda: settle(receipt, done.exception())))

        appended.add_done_callback(begin)
        return both

    def sync(self) -> Iterator[tuple[str, AttestlogError | None]]:
        """Send each replica all there is, now: its URL, and why it lacks something, if it does."""
        if not self._replicas or self.work is None:
            return
        from attestlog._internal.replication.sender import Sender

        for at in self._replicas:
            try:
                Sender(at, self.work()).run_once()
            except AttestlogError as error:
                yield at.url, error
            else:
                yield at.url, None

    def follow_fork(self) -> None:
        """In a forked child there are no threads: they start again with its first entry."""
        self._mutex, self._replicator = threading.Lock(), None

    def close(self) -> None:
        """Send what is left if that goes quickly, and stop. Open confirmations fail."""
        with self._mutex:
            replicator, self._is_closed = self._replicator, True
        if replicator is not None:
            replicator.close()

    def _running(self) -> Replicator | None:
        if not self._replicas:
            return None
        with self._mutex:
            if self._replicator is None and self.work is not None and not self._is_closed:
                from attestlog._internal.replication import Replicator

                self._replicator = Replicator(self._replicas, self.work())
            return self._replicator


def called(work: WeakMethod[Callable[[], Work]]) -> Work:
    """What the method of a log returns. Raises ClosedError once nobody has the log any more."""
    method = work()
    if method is None:
        raise ClosedError("nobody has the log any more")
    return method()
