"""All replicas of one log, and those who wait until enough of them hold an entry."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final, NamedTuple

from attestlog._internal.config import ReplicaAt
from attestlog._internal.replication.sender import Sender, Work
from attestlog.errors import ReplicationError

CLOSING_MAX_S: Final = 2.0
"""How long closing a log waits for its last entries to be sent; the rest goes after the next opening."""

__all__ = ["Replicator", "Work"]


_CLOSED: Final = "before it was closed"


class _Promise(NamedTuple):
    size: int
    copies: int
    deadline: float
    """On the monotonic clock."""
    when: str
    """For its error: how long it was waited for, in words."""
    evidence: dict[str, Any]
    """For its error."""
    future: Future[int]


class Replicator:
    """Senders, one a replica, and promises of copies. Any thread may use it."""

    def __init__(
        self, replicas: Sequence[ReplicaAt], work: Work, *, make: Callable[..., Sender] = Sender
    ) -> None:
        self._changed = threading.Condition()
        """Guards the two below; notified when one of them changes."""
        self._promises: list[_Promise] = []
        self._is_closed = False
        self._watch: threading.Thread | None = None
        self._senders = [make(at, work, on_progress=self._settle) for at in replicas]
        for sender in self._senders:
            sender.start()

    def notify(self) -> None:
        """There are new entries."""
        for sender in self._senders:
            sender.notify()

    def copies(self, size: int) -> int:
        """How many replicas have confirmed, by a cosignature, that they hold `size` entries durably."""
        return sum(sender.confirmed >= size for sender in self._senders)

    def promise(self, size: int, copies: int, timeout_s: float, **evidence: Any) -> Future[int]:
        """A future of how many replicas confirmed `size` entries, done once there are `copies`.

        It fails with ReplicationError (with this evidence) after `timeout_s`, or when all is closed: it
        never stays open. Its callbacks run in a thread of this object, which must not wait in them for
        other promises. Raises ValueError if there are not as many replicas.
        """
        if not 1 <= copies <= len(self._senders):
            raise ValueError(f"{copies} copies are asked for, there are {len(self._senders)} replicas")
        deadline = time.monotonic() + timeout_s
        promise = _Promise(size, copies, deadline, f"in {timeout_s:g} s", evidence, Future())
        with self._changed:
            self._promises.append(promise)
        self._settle()
        with self._changed:
            if self._watch is None or self._is_closed:
                self._watch = threading.Thread(
                    target=self._fail_late, name="attestlog-confirmations", daemon=True
                )
                self._watch.start()
            self._changed.notify()
        self.notify()
        return promise.future

    def close(self, wait_s: float = CLOSING_MAX_S) -> None:
        """Stop sending. Promises that are open fail: nobody will keep them."""
        for sender in self._senders:
            sender.ask_to_stop(wait_s)
        for sender in self._senders:
            sender.join(wait_s)
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._watch is not None and self._watch is not threading.current_thread():
            self._watch.join()

    def _settle(self) -> None:
        """Keep the promises that enough replicas have kept by now."""
        kept: list[tuple[_Promise, int]] = []
        with self._changed:
            for promise in self._promises[:]:
                copies = self.copies(promise.size)
                if copies >= promise.copies or promise.future.done():
                    self._promises.remove(promise)
                    kept.append((promise, copies))
            self._set_awaited()
        for promise, copies in kept:
            if promise.future.set_running_or_notify_cancel():
                promise.future.set_result(copies)

    def _fail_late(self) -> None:
        """The thread that ends what nobody keeps: each promise in its time, and all of them on closing."""
        while True:
            with self._changed:
                now = time.monotonic()
                is_closed = self._is_closed
                late = [item for item in self._promises if is_closed or item.deadline <= now]
                self._promises = [item for item in self._promises if not is_closed and item.deadline > now]
                self._set_awaited()
                if not late and not is_closed:
                    self._changed.wait(min((item.deadline - now for item in self._promises), default=None))
            for promise in late:
                if promise.future.set_running_or_notify_cancel():
                    promise.future.set_exception(self._short(promise, _CLOSED if is_closed else promise.when))
            if is_closed:
                return

    def _short(self, promise: _Promise, when: str) -> ReplicationError:
        """What is known when copies did not come in time: the entry is in the log, and where else."""
        have = self.copies(promise.size)
        return ReplicationError(
            f"the entry is in the log; {have} of {promise.copies} copies were confirmed {when}",
            retryable=True, have=have, need=promise.copies,
            held={sender.at.url: sender.confirmed for sender in self._senders}, **promise.evidence,
        )  # fmt: skip

    def _set_awaited(self) -> None:
        for sender in self._senders:
            sender.is_awaited = bool(self._promises)
