"""Erasures cut short: by SIGKILL at each step, by the power at each step. They are whole, or never were."""

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fault import simdisk
from tests.fault.simdisk import Disk, Keep
from tests.support.logs import create, draft, remembering, unremembered
from tests.support.slow import slow_after
from tests.support.stepping import erase, erase_many, killed_at
from tests.support.tally import tally

from attestlog._internal import places
from attestlog._internal.core.erasure import erasure_of
from attestlog._internal.core.report import Verdict
from attestlog._internal.core.reserved import erases
from attestlog._internal.log import Log
from attestlog._internal.storage.files.layout import ERASING_FILE
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifying import judge_log
from attestlog.errors import NotFoundError
from attestlog.testing import ManualClock, check_log

KEEPS: dict[str, Callable[[int], Keep]] = {
    "killed": lambda at: simdisk.everything,
    "nothing": lambda at: simdisk.nothing,
    "halves": lambda at: simdisk.first_half,
    "chance": simdisk.chance,
}


def secret(number: int) -> str:
    return f"secret{number:04d}"


def is_whole(path: Path, number: int) -> bool:
    """After recovery: whether entry `number` is erased. It is so exactly if an entry says so."""
    entries = check_log(path)
    said = {number for entry in entries if erases(entry) for number in erasure_of(entry).reach}
    gone = {entry.sequence_number for entry in entries if entry.action_payload is None}
    assert gone == said
    report = judge_log(path, remember=False)
    assert (report.verdict, report.findings, report.erased_payloads) == (Verdict.VERIFIED, [], len(gone))
    assert not (path / ERASING_FILE).exists()
    for erased in gone:
        for file in path.rglob("*"):
            assert not file.is_file() or secret(erased).encode() not in file.read_bytes(), file
    return number in gone


@pytest.mark.slow
def test_killed_at_each_step_of_an_erasure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    number = 5
    made = tmp_path / "made"
    signer, checkpoint_signer = f"file:{tmp_path / 'entry.pem'}", f"file:{tmp_path / 'checkpoint.pem'}"
    with create(
        made, segment_entries=4, clock=None, signer=signer, checkpoint_signer=checkpoint_signer
    ) as log:
        log.append_many([draft(at, action_payload={"word": secret(at)}) for at in range(1, 7)])
    outcomes, kept = set(), places.state_dir()
    step = 0
    for step in itertools.count():
        path = tmp_path / f"log-{step}"
        shutil.copytree(made, path)
        remembering(monkeypatch, kept, tmp_path / f"state-{step}")
        was_killed, said = killed_at(step, erase, path, number)
        tally("erasures killed with SIGKILL")
        was_said = open_source(path).size() == 8
        was_gone = open_source(path).entry(number).action_payload is None
        assert was_said or not was_gone, "nothing goes before it is said"
        with Log.open(path) as log:
            log.append(draft(9))
        assert is_whole(path, number) == was_said
        outcomes.add((was_said, was_gone))
        shutil.rmtree(path)
        if not was_killed:
            assert said == ["erased"]
            break
    assert outcomes == {(False, False), (True, False), (True, True)}
    assert step > 20


@pytest.mark.slow
def test_killed_at_each_step_of_an_erasure_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three segments, the last of which is being written."""
    made = tmp_path / "made"
    signer, checkpoint_signer = f"file:{tmp_path / 'entry.pem'}", f"file:{tmp_path / 'checkpoint.pem'}"
    with create(
        made, segment_entries=4, clock=None, signer=signer, checkpoint_signer=checkpoint_signer
    ) as log:
        log.append_many([draft(at, action_payload={"word": secret(at)}) for at in range(1, 10)])
    outcomes, kept = set(), places.state_dir()
    step = 0
    for step in itertools.count():
        path = tmp_path / f"log-{step}"
        shutil.copytree(made, path)
        remembering(monkeypatch, kept, tmp_path / f"state-{step}")
        was_killed, said = killed_at(step, erase_many, path, 2, 10)
        tally("erasures of many killed with SIGKILL")
        source = open_source(path)
        was_said = source.size() == 11
        gone = sum(source.entry(number).action_payload is None for number in range(2, 10))
        assert was_said or not gone, "nothing goes before it is said"
        with Log.open(path) as log:
            log.append(draft(99))
        assert [is_whole(path, number) for number in range(1, 11)] == [
            was_said and 2 <= number < 10 for number in range(1, 11)
        ]
        outcomes.add((was_said, gone))
        shutil.rmtree(path)
        if not was_killed:
            assert said == ["erased"]
            break
    assert outcomes == {(False, 0), (True, 0), (True, 2), (True, 6), (True, 8)}
    assert step > 30


def life(root: Path) -> Disk:
    """Two writers and four erasures: in a full segment, in the last one, by the other writer, of a range."""
    disk = Disk(root)
    with disk.recording():
        first = create(root / "log", segment_entries=4)
        second = Log.open(root / "log", clock=ManualClock())
        for at in range(1, 7):
            first.append(draft(at, action_payload={"word": secret(at)}))
        first.erase(2, reason="asked for", actor_id="officer-1")
        disk.mark(2)
        second.append(draft(8, action_payload={"word": secret(8)}))
        second.erase(5, reason="asked for", actor_id="officer-1")
        disk.mark(5)
        first.append(draft(10, action_payload={"word": secret(10)}))
        first.erase(8, reason="asked for", actor_id="officer-1")
        disk.mark(8)
        second.append(draft(12, action_payload={"word": secret(12)}))
        second.erase_many(["execute_*"], start=3, stop=5, reason="too old", actor_id="officer-1")
        disk.mark(3)
        first.close()
        second._store.close()  # killed: no checkpoint
    return disk


@pytest.mark.parametrize("keep", slow_after(1, KEEPS))
def test_the_power_goes_off(tmp_path: Path, keep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").mkdir()
    disk = life(tmp_path / "disk")
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)
    erased: set[int] = set()
    finished = 0
    for count, step in enumerate(disk.steps, start=1):
        if isinstance(step, simdisk.Mark):
            erased.add(step.what)
        state = tmp_path / "state"
        disk.lay_out(count, state, KEEPS[keep](count))
        tally("power cuts in erasures: states recovered from")
        try:
            pending = (state / "log" / ERASING_FILE).exists()
            Log.open(unremembered(state / "log"))._store.close()
            finished += pending
        except NotFoundError:
            shutil.rmtree(state)
            continue
        for number in (2, 3, 5, 8):
            assert is_whole(state / "log", number) or number not in erased, f"after step {count}"
        with Log.open(state / "log") as log:
            log.append(draft(99))
        shutil.rmtree(state)
    assert erased == {2, 3, 5, 8}
    assert finished > 3
