"""One committer at a time, among all threads and processes of a host.

`flock` on the log's `lock` file. Before it, everyone passes a turnstile (flock
on the entries directory), held only while waiting for the lock: a process that
has just released the lock cannot take it again before one that is waiting.
It is for fairness only. Who may read the directory can hold it, too, so nobody
waits there for long: without it, the next turn is whose comes first.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

from attestlog._internal import disk
from attestlog._internal.storage.contract import LOCK_TIMEOUT_S
from attestlog._internal.storage.files.layout import ENTRIES_DIR, LOCK_FILE, file_mode
from attestlog.errors import BusyError, LockLostError

TURNSTILE_WAIT_MAX_S: Final = 5.0
"""Longer than one that waits for the lock needs to get it, where commits take what they usually do."""


class Lock:
    """The log's lock, not held. `acquire` and `release` are for one thread at a time."""

    def __init__(self, root: Path, timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self._path = root / LOCK_FILE
        self._timeout_s = timeout_s
        self._descriptor = self._turnstile = -1
        self._identity = (0, 0)
        """Device and inode of the open file, which never change."""
        self._turnstile_wait_s = min(TURNSTILE_WAIT_MAX_S, timeout_s / 2)

    def acquire(self) -> None:
        """Raises BusyError after the timeout, LockLostError if the file was removed or replaced."""
        deadline = time.monotonic() + self._timeout_s
        try:
            self._open()
            self._pass_turnstile()
            self._take(self._descriptor, deadline)
            _unlock(self._turnstile)
            self._check_identity()
        except BaseException as error:
            # Interrupted just after taking one, it would be held for as long as this process lives.
            _unlock(self._turnstile)
            _unlock(self._descriptor)
            if isinstance(error, OSError):
                raise disk.storage_error(error, self._path, "locking") from None
            raise

    def release(self) -> None:
        """Let the next one in."""
        _unlock(self._descriptor)

    def close(self) -> None:
        """Close the descriptors, which also releases. `acquire` opens them again."""
        for descriptor in (self._descriptor, self._turnstile):
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        self._descriptor = self._turnstile = -1

    def _open(self) -> None:
        if self._descriptor < 0:
            self._descriptor = disk.plain_descriptor(self._path, os.O_RDWR)
            held = os.fstat(self._descriptor)
            self._identity = (held.st_dev, held.st_ino)
        if self._turnstile < 0:
            turnstile = self._path.with_name(ENTRIES_DIR)
            self._turnstile = os.open(turnstile, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def _pass_turnstile(self) -> None:
        """Wait for those who came before, but not for one that only stands there, and not twice."""
        was_passed = disk.lock(self._turnstile, timeout_s=self._turnstile_wait_s)
        self._turnstile_wait_s = min(TURNSTILE_WAIT_MAX_S, self._timeout_s / 2) if was_passed else 0.0

    def _take(self, descriptor: int, deadline: float) -> None:
        if not disk.lock(descriptor, timeout_s=deadline - time.monotonic()):
            raise BusyError(
                f"another process has held {self._path} for {self._timeout_s:g} s", path=str(self._path)
            )

    def _check_identity(self) -> None:
        try:
            there = os.stat(self._path)  # noqa: PTH116 - in every commit: a call less
        except OSError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != self._identity:
            raise LockLostError(
                f"{self._path} was removed or replaced: another writer may hold the new one",
                path=str(self._path),
            )


def make_lock(root: Path) -> None:
    """The file, where there is none: in a copy that is to be written. Raises StorageError."""
    path = root / LOCK_FILE
    try:
        os.close(disk.open_made(path, os.O_RDWR, file_mode(root, LOCK_FILE)))
        disk.fsync_directory(root)
    except OSError as error:
        raise disk.storage_error(error, path, "making") from None


def _unlock(descriptor: int) -> None:
    if descriptor >= 0:
        disk.unlock(descriptor)
