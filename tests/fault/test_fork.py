"""A process that forks while its log is open: parent and children go on with it, each in its own right."""

import fcntl
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import checkpoint_file, create, draft, drafts

from attestlog._internal.log import Log
from attestlog._internal.storage.files.store import FileStore
from attestlog.errors import ClosedError
from attestlog.testing import FaultSigner, MemorySigner, check_log

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

PATIENCE_S = 120

Acknowledged = tuple[int, str]


def in_child(work: Callable[[], Any]) -> Callable[[], Any]:
    """Fork and do it there; what is returned waits for what it came to."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE_S)  # a hang ends, as a failure
        try:
            outcome = work()
        except BaseException as error:  # noqa: BLE001  the outcome is what the test looks at
            outcome = error
        os.write(sending, pickle.dumps(outcome))
        os._exit(0)
    os.close(sending)

    def join() -> Any:
        with os.fdopen(receiving, "rb") as file:
            data = file.read()
        _, status = os.waitpid(child, 0)
        assert status == 0, f"the child ended with status {status}"
        outcome = pickle.loads(data)  # noqa: S301  written by our own child
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return join


def append(log: Log, start: int, count: int) -> list[Acknowledged]:
    receipts = [log.append(draft(number)) for number in range(start, start + count)]
    receipts += log.append_many(drafts(range(start + count, start + 2 * count)))
    receipts += [log.submit(draft(start + 2 * count)).result(PATIENCE_S)]
    return [(receipt.sequence_number, receipt.entry_hash) for receipt in receipts]


def check_numbers(path: Path, acknowledged: list[Acknowledged]) -> None:
    entries = check_log(path, acknowledged)
    numbers = [(entry.action_payload or {}).get("number") for entry in entries[1:]]
    assert len(numbers) == len(set(numbers)) == len(acknowledged)


@pytest.mark.parametrize("used", [False, True], ids=["before its first future", "with a background thread"])
def test_parent_and_children_append(tmp_path: Path, used: bool) -> None:
    path = tmp_path / "log"
    log = create(path, segment_entries=20)
    acknowledged = append(log, 1, 3) if used else []
    children = [in_child(lambda at=at: append(log, at * 100, 5)) for at in range(1, 4)]  # type: ignore[misc]
    acknowledged += append(log, 5_000, 10)
    for join in children:
        acknowledged += join()
    acknowledged += append(log, 6_000, 2)
    log.close()
    check_numbers(path, acknowledged)


def _append_by_itself(log: Log, start: int, results: Any) -> None:
    results.put(append(log, start, 4))


def test_multiprocessing_by_fork(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path)
    acknowledged = append(log, 1, 3)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    processes = [context.Process(target=_append_by_itself, args=(log, at * 100, results)) for at in (1, 2)]
    for process in processes:
        process.start()
    acknowledged += append(log, 5_000, 4)
    for process in processes:
        acknowledged += results.get()
        process.join(PATIENCE_S)
        assert process.exitcode == 0
    log.close()
    check_numbers(path, acknowledged)


def test_a_grandchild(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path)
    acknowledged = append(log, 1, 2)

    def child() -> list[Acknowledged]:
        mine = append(log, 100, 2)
        return [*mine, *in_child(lambda: append(log, 200, 2))(), *append(log, 300, 2)]

    acknowledged += in_child(child)()
    log.close()
    check_numbers(path, acknowledged)


def test_a_child_whose_threads_all_start_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path)

    def child() -> list[Acknowledged]:
        acknowledged: list[Acknowledged] = []
        gate = threading.Barrier(8)

        def work(at: int) -> None:
            gate.wait()
            acknowledged.extend(append(log, at * 100, 3))

        threads = [threading.Thread(target=work, args=(at,)) for at in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return acknowledged

    acknowledged = in_child(child)()
    acknowledged += append(log, 5_000, 2)
    log.close()
    check_numbers(path, acknowledged)


def test_fork_while_another_thread_commits(tmp_path: Path) -> None:
    path = tmp_path / "log"
    signer = FaultSigner(MemorySigner())
    log = create(path, signer=signer)
    acknowledged = append(log, 1, 1)
    signer.reached.clear()
    signer.gate.clear()
    futures = [log.submit(draft(number)) for number in (50, 51, 52)]
    assert signer.reached.wait(PATIENCE_S)

    def child() -> list[Acknowledged]:
        signer.gate.set()
        return append(log, 100, 3)

    join = in_child(child)  # it has to wait for its parent's commit
    time.sleep(0.05)
    signer.gate.set()
    acknowledged += [
        (future.result(PATIENCE_S).sequence_number, future.result().entry_hash) for future in futures
    ]
    acknowledged += join()
    log.close()
    check_numbers(path, acknowledged)


def test_a_child_that_never_uses_the_log_says_nothing_about_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path)
    acknowledged = append(log, 1, 1)
    before = checkpoint_file(path).read_bytes()
    in_child(log.close)()
    assert checkpoint_file(path).read_bytes() == before
    acknowledged += append(log, 100, 1)
    log.close()
    check_numbers(path, acknowledged)


def test_a_child_that_closes_closes_for_itself(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path)

    def child() -> list[Acknowledged]:
        acknowledged = append(log, 1, 1)
        log.close()
        with pytest.raises(ClosedError):
            log.append(draft(0))
        return acknowledged

    acknowledged = in_child(child)()
    assert b"\n4\n" in checkpoint_file(path).read_bytes()
    acknowledged += append(log, 100, 1)
    log.close()
    check_numbers(path, acknowledged)


def test_a_closed_log_is_closed_in_a_child(tmp_path: Path) -> None:
    log = create(tmp_path / "log")
    log.close()

    def child() -> None:
        log.append(draft(1))

    with pytest.raises(ClosedError):
        in_child(child)()


def test_an_idle_child_does_not_keep_its_dead_parents_lock(tmp_path: Path) -> None:
    """A lock belongs to the open file, and a forked child has that open too."""
    path = tmp_path / "log"
    create(path, signer=f"file:{tmp_path}/k.pem", checkpoint_signer=f"file:{tmp_path}/c.pem").close()
    script = f"""
import os, threading, time
from attestlog._internal.log import Log
from attestlog._internal.signers import open_signer
from attestlog.testing import FaultSigner
signer = FaultSigner(open_signer("file:{tmp_path}/k.pem"))
log = Log.open({str(path)!r}, signer=signer)
signer.gate.clear()
members = dict(event_type="ACTION", action_type="a", actor_id="b")
threading.Thread(target=log.append, args=(members,), daemon=True).start()
signer.reached.wait()
child = os.fork()
if child == 0:
    time.sleep({PATIENCE_S})
    os._exit(0)
print(child, flush=True)
time.sleep({PATIENCE_S})
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            with (path / "lock").open() as lock, pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            parent.kill()
            parent.wait(PATIENCE_S)
            FileStore(path, lock_timeout_s=60).close()
        finally:
            os.kill(child, signal.SIGKILL)
