"""Eight processes on one log, to which everything happens at once: what each was promised holds.

SIGKILL, SIGSTOP and SIGCONT, signals whose handlers append, forks, steps of the clock, no room. Nothing is
asserted of how fast or how often: only that every acknowledged entry is there once, that nothing is there
that was refused, and what both verifiers say. `make chaos` does it for ten minutes.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from tests.fault.processes import create_shared
from tests.support.audits import verdicts
from tests.support.tally import tally

from attestlog._internal.core.report import Verdict
from attestlog._internal.log import Log
from attestlog._internal.verifying import judge_log
from attestlog.testing import check_log

WRITERS = 8
SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
SEED = os.environ.get("CHAOS_SEED", "14")
PROGRAM = Path(__file__).with_name("chaos_writer.py")
PATIENCE_S = 120
"""For what was stopped and goes on: a hang, not slowness, takes longer."""


class Chaos:
    """The processes, and what they said."""

    def __init__(self, path: Path, random: Random) -> None:
        self.path, self.random, self.stop = path, random, path.with_name("stop")
        self.tried: set[str] = set()
        self.refused: set[str] = set()
        self.unknown: set[str] = set()
        self.acknowledged: dict[str, tuple[int, str]] = {}
        self.complaints: list[str] = []
        self._lock = threading.Lock()
        self._readers: list[threading.Thread] = []
        self._ready: set[int] = set()
        """Processes that have the log open: before that, nothing happens to them."""
        self._count = 0
        self.running = [self.start() for _ in range(WRITERS)]
        self.stopped: set[int] = set()

    def start(self) -> "subprocess.Popen[bytes]":
        self._count += 1
        name = f"w{self._count}"
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(self.path), name, f"{SEED} {name}", str(self.stop)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        for read in (self._hear, self._hear_complaints):
            reader = threading.Thread(target=read, args=(process,))
            reader.start()
            self._readers.append(reader)
        return process

    def _hear(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                if line.endswith(b"\n"):
                    self._take(process, line.decode().split())

    def _take(self, process: "subprocess.Popen[bytes]", words: list[str]) -> None:
        with self._lock:
            match words:
                case ["ready"]:
                    self._ready.add(process.pid)
                case ["try", name]:
                    self.tried.add(name)
                case ["ack", number, digest, name]:
                    self.acknowledged[name] = int(number), digest
                case ["refused", name]:
                    self.refused.add(name)
                case ["unknown", name]:
                    self.unknown.add(name)

    def _hear_complaints(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stderr is not None
        with process.stderr:
            said = process.stderr.read().decode(errors="replace")
        if said:
            with self._lock:
                self.complaints.append(said)

    # --- what happens to them ---

    def strike(self) -> None:
        at = self.random.randrange(WRITERS)
        process = self.running[at]
        if process.pid not in self._ready:
            return
        match self.random.choice(["kill", "stop", "signal", "signal", "go on", "go on"]):
            case "kill":
                process.kill()
                process.wait()
                self.stopped.discard(process.pid)
                self._ready.discard(process.pid)
                self.running[at] = self.start()
                tally("processes of a crowd killed")
            case "stop" if len(self.stopped) < WRITERS // 2:
                process.send_signal(signal.SIGSTOP)
                self.stopped.add(process.pid)
                tally("processes of a crowd stopped")
            case "signal":
                process.send_signal(signal.SIGUSR1)
                tally("signals whose handler appends")
            case _:
                self.go_on()

    def go_on(self) -> None:
        for process in self.running:
            if process.pid in self.stopped:
                process.send_signal(signal.SIGCONT)
        self.stopped.clear()

    def end(self) -> None:
        """All of them, and everything they said."""
        self.stop.touch()
        self.go_on()
        for process in self.running:
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.complaints.append("it hung")
                process.kill()
                process.wait()
        for reader in self._readers:
            reader.join(PATIENCE_S)


@pytest.fixture
def chaos(tmp_path: Path) -> Iterator[Chaos]:
    create_shared(tmp_path / "log").close()
    made = Chaos(tmp_path / "log", Random(SEED))
    yield made
    made.end()


@pytest.mark.slow
def test_everything_at_once(chaos: Chaos) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline or not chaos.acknowledged:
        assert time.monotonic() < deadline + PATIENCE_S, chaos.complaints
        chaos.strike()
        time.sleep(chaos.random.uniform(0, 0.2))
        if chaos.random.random() < 0.01:
            report = judge_log(chaos.path, remember=False, workers=1)
            assert report.verdict in {Verdict.VERIFIED, Verdict.INCOMPLETE}, report.findings[:3]
    chaos.end()
    assert chaos.complaints == []
    with Log.open(chaos.path) as log:
        log.append(event_type="ACTION", action_type="task", actor_id="last", action_payload={"name": "last"})
    assert verdicts(chaos.path) == ("VERIFIED", "VERIFIED")
    entries = check_log(chaos.path, chaos.acknowledged.values())
    numbers: dict[str, int] = {}
    for entry in entries[1:]:
        name = str((entry.action_payload or {}).get("name"))
        assert name not in numbers, f"{name} is there twice"
        numbers[name] = entry.sequence_number
    assert {name: number for name, (number, _) in chaos.acknowledged.items()}.items() <= numbers.items()
    assert numbers.keys() <= chaos.tried | {"last"}
    assert numbers.keys() & chaos.refused == set()
    tally("entries acknowledged in a crowd", len(chaos.acknowledged))
    tally("outcomes in a crowd that were said to be unknown", len(chaos.unknown))
