"""One thread that makes all calls of a device's driver, so that a call that hangs holds up no caller.

Drivers know no timeout, and many no threads: all their calls are made here, one after another. Whoever
waits for one waits no longer than the timeout; a call that hangs goes on hanging here, and while it does
everybody else is told so at once. When it comes back, so does the device.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")


class HungError(Exception):
    """The driver has not come back from a call. Never leaves this room."""


class Worker:
    """The thread of one driver, started when it is first needed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._mutex = threading.Lock()
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._late: Future[Any] | None = None
        """A call whose caller has given up on it while it was being made."""

    @property
    def is_hung(self) -> bool:
        """Whether a call that somebody has given up on is still being made."""
        late = self._late
        return late is not None and not late.done()

    def call(self, work: Callable[[], Result], timeout_s: float, *, is_owed: bool = False) -> Result:
        """What `work` returns or raises. Raises HungError after the timeout, or at once while one hangs.

        What nobody waits for any more is not begun, unless it `is_owed`: then it is done some time.
        """
        if self.is_hung:
            if is_owed:
                self._jobs.put((Future(), work))
            raise HungError
        future: Future[Result] = Future()
        with self._mutex:
            if self._thread is None:
                # A daemon: a device that never comes back must not keep the process from ending.
                self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
                self._thread.start()
        self._jobs.put((future, work))
        try:
            return future.result(timeout_s)
        except TimeoutError:
            if future.done():  # raised by the work, or it came in this moment
                return future.result()
            # Which cannot be cancelled any more is being made, even if it was begun only in this moment.
            if future.running() if is_owed else not future.cancel():
                self._late = future
            raise HungError from None
        except BaseException:
            future.cancel()  # interrupted: what was not begun need not be
            raise

    def _serve(self) -> None:
        while True:
            future, work = self._jobs.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it belongs to who waits for it
                future.set_exception(error)
            else:
                future.set_result(result)
            del future, work  # or the last call would keep what it held alive until the next
