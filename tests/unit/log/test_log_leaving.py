"""Logs that nobody closes: dropped, or open when the program ends."""

import gc
import signal
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest
from tests.support.descriptors import open_below
from tests.support.logs import MINIMAL, create

import attestlog
from attestlog import Log, Receipt
from attestlog.errors import ReentrantError
from attestlog.testing import check_log

PATIENCE_S = 20
PROGRAM = """
import sys
import attestlog

log = attestlog.open(sys.argv[1])
futures = [log.submit(event_type="ACTION", action_type="note", actor_id=f"agent-{n}") for n in range(500)]
ENDING
"""


def test_logs_that_are_dropped_leave_no_descriptors_open(tmp_path: Path) -> None:
    create(tmp_path / "log").close()
    for _ in range(10):
        Log.open(tmp_path / "log").append(MINIMAL)
        gc.collect()
    assert open_below(tmp_path) == []
    assert attestlog.verify(tmp_path / "log").size == 11


def test_what_a_dropped_log_had_taken_is_committed(tmp_path: Path) -> None:
    create(tmp_path / "log").close()

    def submitted() -> list[Future[Receipt]]:
        log = Log.open(tmp_path / "log")
        return [log.submit(MINIMAL) for _ in range(50)]

    futures = submitted()
    gc.collect()
    receipts = [future.result(PATIENCE_S) for future in futures]
    assert check_log(tmp_path / "log", receipts)


@pytest.mark.parametrize("ending", ["", "sys.exit(0)", "raise SystemExit", "del log", "1 / 0"])
def test_a_program_that_ends_loses_nothing_of_what_it_submitted(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "log"
    attestlog.create(path, origin="example.com/made").close()
    program = PROGRAM.replace("ENDING", ending)
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)
    assert (done.returncode, "Warning" in done.stderr) == (1 if "/" in ending else 0, False), done.stderr
    report = attestlog.verify(path)
    assert (report.verdict, report.size) == ("VERIFIED", 501)


def test_one_that_cannot_be_closed_then_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log"
    attestlog.create(path, origin="example.com/made").close()
    ending = "futures[-1].result()\nimport shutil\nshutil.rmtree(sys.argv[1])"
    program = PROGRAM.replace("ENDING", ending)
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "RuntimeWarning: Log(" in done.stderr
    assert "was not closed at exit" in done.stderr


def test_a_signal_handler_that_appends_is_told_at_once(tmp_path: Path) -> None:
    """It may run anywhere: outside of an append it appends, within one it is told, and never waits."""
    outcomes: list[str] = []

    def handler(number: int, frame: object) -> None:
        try:
            log.append(MINIMAL)
            outcomes.append("appended")
        except ReentrantError:
            outcomes.append("told")

    with create(tmp_path / "log") as log:
        before = signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
        try:
            receipts = []
            while outcomes.count("told") < 5:
                receipts.append(log.append(MINIMAL))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        size = log.head().size
    assert size == 1 + len(receipts) + outcomes.count("appended")
    assert check_log(tmp_path / "log", receipts)
