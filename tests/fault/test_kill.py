"""Writers killed at any moment: what they were promised is there, and nothing that nobody asked for."""

import os
import signal
import time
from pathlib import Path
from random import Random

import pytest
from tests.fault.processes import Promises, create_shared, in_order, start_writer
from tests.support.slow import slow_after
from tests.support.tally import tally

from attestlog._internal.log import Log

ROUNDS = int(os.environ.get("ATTESTLOG_FAULT_ROUNDS", "4"))
"""Kills for each kind of log and caller; a longer campaign sets more."""


@pytest.mark.parametrize("batch", [True, False], ids=["batches", "plain"])
@pytest.mark.parametrize("mode", slow_after(1, ["all", "many"]))
def test_killed_at_any_moment(tmp_path: Path, mode: str, batch: bool) -> None:
    path = tmp_path / "log"
    create_shared(path, batch=batch).close()
    promises, random = Promises(), Random(4_711)
    acknowledgements = 0
    for number in range(ROUNDS):
        writer = start_writer(path, f"w{number}", mode)
        assert writer.stdout is not None
        said = b""
        while b"ack" not in said:
            said += os.read(writer.stdout.fileno(), 65_536)
        time.sleep(random.uniform(0, 0.15))
        writer.send_signal(signal.SIGKILL)
        tally("writers killed with SIGKILL")
        rest, complaint = writer.communicate(timeout=300)
        assert (writer.returncode, complaint) == (-signal.SIGKILL, b"")
        acknowledgements += promises.read(said + rest)
        if number % 2:
            # Otherwise the next writer finds what this one left.
            with Log.open(path):
                pass
            promises.check(path)
    with Log.open(path) as log:
        promises.tried.add("last.0")
        log.append(event_type="ACTION", action_type="a", actor_id="b", action_payload={"name": "last.0"})
    entries = promises.check(path)
    assert acknowledgements >= ROUNDS
    if mode == "many":
        assert all(in_order(entries, f"w{number}") for number in range(ROUNDS))


@pytest.mark.parametrize("count, killed", slow_after(1, [(2, 0), (3, 1), (8, 1)]))
def test_processes_at_once(tmp_path: Path, count: int, killed: int) -> None:
    path = tmp_path / "log"
    create_shared(path).close()
    promises = Promises()
    rounds = 12 if count < 8 else 4
    writers = [
        start_writer(path, f"w{number}", "all", 0 if number < killed else rounds) for number in range(count)
    ]
    outputs = []
    for number, writer in enumerate(writers):
        if number < killed:
            assert writer.stdout is not None
            said = b""
            while said.count(b"ack") < 20:
                said += os.read(writer.stdout.fileno(), 65_536)
            writer.kill()
            tally("writers killed with SIGKILL")
            outputs.append(said + writer.communicate(timeout=300)[0])
    for writer in writers[killed:]:
        output, complaint = writer.communicate(timeout=300)
        assert (writer.returncode, complaint) == (0, b"")
        outputs.append(output)
    acknowledgements = sum(promises.read(output) for output in outputs)
    entries = promises.check(path)
    # 5 one by one, 17 together, 17 as futures, 18 by threads: that is one turn of all modes.
    assert acknowledgements >= (count - killed) * rounds // 4 * 57
    assert len(entries) >= 1 + acknowledgements
    assert len({entry.timestamp for entry in entries}) > 1
