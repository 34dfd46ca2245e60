"""One committer at a time: the lock among threads' descriptors and processes, lost, held, interrupted."""

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from attestlog._internal import disk
from attestlog._internal.storage.files import lock as module
from attestlog._internal.storage.files.lock import Lock
from attestlog.errors import BusyError, LockLostError, NotFoundError, StorageError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "entries").mkdir()
    (tmp_path / "lock").touch()
    return tmp_path


@pytest.fixture
def lock(root: Path) -> Iterator[Lock]:
    lock = Lock(root, timeout_s=0.05)
    yield lock
    lock.close()


def is_free(root: Path) -> bool:
    """Whether another could take both, lock and turnstile."""
    for path in (root / "lock", root / "entries"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
    return True


def test_taken_and_given_back(root: Path, lock: Lock) -> None:
    for _ in range(3):
        lock.acquire()
        assert not is_free(root)
        lock.release()
        assert is_free(root)


def test_a_second_one_waits_and_gives_up(root: Path, lock: Lock) -> None:
    other = Lock(root)
    other.acquire()
    with pytest.raises(BusyError, match=r"for 0\.05 s") as caught:
        lock.acquire()
    assert caught.value.path == str(root / "lock")
    other.release()
    assert is_free(root), "nothing of the failed attempt is held"
    lock.acquire()
    lock.release()
    other.close()


def test_who_only_stands_in_the_turnstile_keeps_nobody_out(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of the directory can lock it, and needs no permission to write for that."""
    standing = os.open(root / "entries", os.O_RDONLY)
    fcntl.flock(standing, fcntl.LOCK_EX)
    waited: list[float] = []
    real = disk.lock

    def locking(descriptor: int, *, timeout_s: float = 0.0, shared: bool = False) -> bool:
        waited.append(timeout_s)
        return real(descriptor, timeout_s=min(timeout_s, 0.01), shared=shared)

    monkeypatch.setattr(disk, "lock", locking)
    lock = Lock(root, timeout_s=60)
    for _ in range(3):
        lock.acquire()
        assert not is_free(root)
        lock.release()
    assert waited[::2] == [module.TURNSTILE_WAIT_MAX_S, 0, 0], "it is waited for once"
    os.close(standing)
    lock.acquire()
    lock.release()
    lock.acquire()
    assert waited[-2] == module.TURNSTILE_WAIT_MAX_S, "and again once it was free"
    lock.close()


def test_whoever_waits_comes_before_whoever_has_just_had_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the turnstile, a process that appends in a loop would starve all others."""
    # However slow the machine is, nobody gives up waiting in the turnstile.
    monkeypatch.setattr(module, "TURNSTILE_WAIT_MAX_S", 60.0)
    greedy, waiting = Lock(root, timeout_s=120), Lock(root, timeout_s=120)
    greedy.acquire()
    turns: list[str] = []

    def wait() -> None:
        waiting.acquire()
        turns.append("waiting")
        waiting.release()

    thread = threading.Thread(target=wait)
    thread.start()
    deadline = time.monotonic() + 60
    descriptor = os.open(root / "entries", os.O_RDONLY)
    while True:  # until it stands in the turnstile
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            break
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        assert time.monotonic() < deadline
    os.close(descriptor)
    greedy.release()
    greedy.acquire()
    turns.append("greedy")
    greedy.release()
    thread.join(60)
    assert turns == ["waiting", "greedy"]
    greedy.close()
    waiting.close()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_lock_file_that_is_gone_or_another(root: Path, lock: Lock, replaced: bool) -> None:
    lock.acquire()
    lock.release()
    (root / "lock").rename(root / "old")
    if replaced:
        (root / "lock").touch()
    with pytest.raises(LockLostError):
        lock.acquire()
    (root / "lock").unlink(missing_ok=True)
    (root / "old").rename(root / "lock")
    assert is_free(root)
    lock.acquire()


def test_no_lock_file(root: Path, lock: Lock) -> None:
    (root / "lock").unlink()
    with pytest.raises(NotFoundError):
        lock.acquire()
    (root / "lock").touch()
    lock.acquire()


@pytest.mark.parametrize("nth", range(1, 4))
def test_interrupted_just_after_a_step_nothing_stays_held(
    root: Path, lock: Lock, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler raises when the call that took the lock returns."""
    real, calls = fcntl.flock, []

    def interrupted(descriptor: int, operation: int) -> None:
        real(descriptor, operation)
        calls.append(operation)
        if len(calls) == nth:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", interrupted)
        with pytest.raises(KeyboardInterrupt):
            lock.acquire()
    assert is_free(root)


def test_a_file_system_that_does_not_lock(lock: Lock, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fcntl.flock

    def unsupported(descriptor: int, operation: int) -> None:
        if operation & fcntl.LOCK_EX:
            raise OSError(errno.ENOLCK, "No locks available")
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.raises(StorageError, match=r"locking .* failed: No locks available"):
        lock.acquire()


def test_closed_and_taken_again(root: Path, lock: Lock) -> None:
    lock.acquire()
    lock.close()
    lock.close()
    lock.release()
    assert is_free(root)
    lock.acquire()
    assert not is_free(root)
