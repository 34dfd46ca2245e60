"""All replicas of one log, and those who wait until enough of them hold an entry."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final

from attestlog._internal.config import ReplicaAt
from attestlog._internal.replication.sender import Sender, Work
from attestlog.errors import ReplicationError

CLOSING_MAX_S: Final = 2.0
"""How long closing a log waits for its last entries to be sent; the rest goes after the next opening."""

ACK_TIMEOUT_S: Final = 10.0
"""How long `append` waits for copies by default: several tries at a replica that answers slowly."""

__all__ = ["ACK_TIMEOUT_S", "Replicator", "Work"]


class Replicator:
    """Senders, one a replica, and promises of copies. Any thread may use it."""

    def __init__(
        self, replicas: Sequence[ReplicaAt], work: Work, *, make: Callable[..., Sender] = Sender
    ) -> None:
        self._mutex = threading.Lock()
        self._promises: list[tuple[int, int, Future[int]]] = []
        self._senders = [make(at, work, on_progress=self._settle) for at in replicas]
        for sender in self._senders:
            sender.start()

    def notify(self) -> None:
        """There are new entries."""
        for sender in self._senders:
            sender.notify()

    def copies(self, size: int) -> int:
        """How many replicas hold at least `size` entries durably, as far as is known."""
        return sum(sender.held >= size for sender in self._senders)

    def promise(self, size: int, copies: int) -> Future[int]:
        """A future, done once `copies` replicas hold `size` entries. Raises ValueError for too many."""
        if not 1 <= copies <= len(self._senders):
            raise ValueError(f"{copies} copies are asked for, there are {len(self._senders)} replicas")
        future: Future[int] = Future()
        with self._mutex:
            self._promises.append((size, copies, future))
            self._set_awaited()
        self._settle()
        self.notify()
        return future

    def wait(self, size: int, copies: int, timeout_s: float) -> None:
        """Return once `copies` replicas hold `size` entries. Raises ReplicationError after `timeout_s`."""
        future = self.promise(size, copies)
        try:
            future.result(timeout_s)
        except TimeoutError:
            self._drop(future)
            raise self.short(size, copies, timeout_s) from None

    def short(self, size: int, copies: int, timeout_s: float) -> ReplicationError:
        """What is known when copies did not come in time: the entry is in the log, and where else."""
        have = self.copies(size)
        return ReplicationError(
            f"the entry is in the log; {have} of {copies} copies were confirmed in {timeout_s:g} s",
            retryable=True, have=have, need=copies,
            held={sender.at.url: sender.held for sender in self._senders},
        )  # fmt: skip

    def close(self, wait_s: float = CLOSING_MAX_S) -> None:
        """Stop sending. Promises that are open fail: nobody will keep them."""
        for sender in self._senders:
            sender.ask_to_stop(wait_s)
        for sender in self._senders:
            sender.join(wait_s)
        with self._mutex:
            promises, self._promises = self._promises, []
        for size, copies, future in promises:
            if future.set_running_or_notify_cancel():
                future.set_exception(self.short(size, copies, 0))

    def _settle(self) -> None:
        done: list[tuple[Future[int], int]] = []
        with self._mutex:
            for size, copies, future in self._promises[:]:
                held = self.copies(size)
                if held >= copies or future.done():
                    self._promises.remove((size, copies, future))
                    done.append((future, held))
            self._set_awaited()
        for future, held in done:
            if future.set_running_or_notify_cancel():
                future.set_result(held)

    def _drop(self, future: Future[int]) -> None:
        with self._mutex:
            self._promises = [item for item in self._promises if item[2] is not future]
            self._set_awaited()

    def _set_awaited(self) -> None:
        for sender in self._senders:
            sender.is_awaited = bool(self._promises)
