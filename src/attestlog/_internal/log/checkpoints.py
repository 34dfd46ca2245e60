"""A checkpoint now and then: a log that is open for months is not without one until its segment is full.

One thread an open log, started with its first entry. It signs nothing where nothing is new, and nothing
depends on it: a checkpoint that cannot be signed is tried again, and `close` says what is wrong.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakMethod

from attestlog.errors import AttestlogError

CHECKPOINT_EVERY_S: Final = 60.0
"""How long an entry of an open log may stay without a checkpoint over it, by default: what a reader who
compares checkpoints cannot see yet is one minute's."""


class Checkpoints:
    """Makes a checkpoint of one log at the latest so many seconds after an entry."""

    def __init__(self, every_s: float | None, make: Callable[[], Any]) -> None:
        """`make`: a method of the log, which is not kept alive by it. None or 0 seconds: never."""
        self._every_s, self._make = every_s or 0.0, WeakMethod(make)
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_new = False

    def notify(self) -> None:
        """There are new entries. By one thread at a time."""
        self._is_new = True
        if self._thread is None and self._every_s > 0:
            self._thread = threading.Thread(target=self._run, name="attestlog-checkpoints", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Make none any more. Waits for nothing: the one that is being made is made."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(self._every_s):
            make = self._make()
            if make is None:
                return  # nobody has the log any more
            if self._is_new:
                self._is_new = False
                try:
                    make()
                except AttestlogError:
                    self._is_new = True
            del make
