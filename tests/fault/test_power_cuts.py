"""The power goes off after every step of a log's life, and any part of what was not synced is lost.

Acknowledged is a subset of recovered is a subset of submitted, in order; recovery can be repeated;
what stands afterwards verifies.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fault.simdisk import KEEPS, Disk, Keep, Mark
from tests.support.logs import create, draft, drafts, last_segment, torn_files
from tests.support.slow import slow_after
from tests.support.tally import tally

from attestlog._internal import disk as storage_disk
from attestlog._internal.log import Log
from attestlog._internal.storage.files.store import FileStore
from attestlog._internal.storage.files.tree import TreeFiles
from attestlog.errors import NotFoundError
from attestlog.testing import ManualClock, MemorySigner, check_log

STATE = "remembered"
"""Beside the log: what is remembered of it is on the disk that loses its power."""


def life(root: Path, *, batch: bool) -> Disk:
    """A log of segments of four: made, written, checkpointed, closed, opened and written again."""
    disk = Disk(root)
    with disk.recording():
        log = create(root / "log", state=root / STATE, segment_entries=4, batch=batch)
        disk.mark([])

        def append(*numbers: int) -> None:
            # Without batches every entry is one of its own; in one call several reach the disk at once.
            for some in [list(numbers)] if batch else [[number] for number in numbers]:
                disk.mark(some)
                disk.mark(log.append_many(drafts(some)))

        append(1)
        append(2, 3, 4, 5, 6)
        log.checkpoint()
        append(7)
        append(8, 9, 10)
        log.close()
        log = Log.open(root / "log", state=root / STATE)
        append(11)
        log._store.close()  # killed: no checkpoint
    return disk


@pytest.mark.parametrize(
    "keep, batch",
    slow_after(
        2, [*((keep, True) for keep in KEEPS), ("killed", False), ("nothing", False), ("pages", False)]
    ),
)
def test_the_power_goes_off(tmp_path: Path, keep: str, batch: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").mkdir()
    disk = life(tmp_path / "disk", batch=batch)
    assert len(disk.steps) > 90
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)
    check_every_cut(disk, tmp_path / "state", KEEPS[keep])


def life_of_two(root: Path) -> Disk:
    """Two writers take turns on one log, over segments of four; the first is killed, the second goes on."""
    disk = Disk(root)
    with disk.recording():
        first = create(root / "log", state=root / STATE, segment_entries=4)
        disk.mark([])
        second = Log.open(root / "log", state=root / STATE, clock=ManualClock())
        number = 0
        for log, count in [(first, 1), (second, 2), (first, 3), (second, 1), (first, 1), (second, 4)]:
            numbers = list(range(number + 1, number + count + 1))
            number += count
            disk.mark(numbers)
            disk.mark(log.append_many(drafts(numbers)))
        second.checkpoint()
        disk.mark([number + 1])
        disk.mark([first.append(draft(number + 1))])
        first._store.close()  # killed: no checkpoint
        disk.mark([number + 2])
        disk.mark([second.append(draft(number + 2))])
        second.close()
    return disk


@pytest.mark.parametrize("keep", slow_after(1, KEEPS))
def test_the_power_goes_off_under_two_writers(
    tmp_path: Path, keep: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    disk = life_of_two(tmp_path / "disk")
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)
    check_every_cut(disk, tmp_path / "state", KEEPS[keep])


def life_of_rotations(root: Path) -> Disk:
    """Keys that rotate within a segment of four, at its end and after a checkpoint; opened again between."""
    disk = Disk(root)
    with disk.recording():
        log = create(root / "log", state=root / STATE, segment_entries=4)
        disk.mark([])
        for number in range(1, 5):
            disk.mark([number])
            disk.mark([log.append(draft(number))])
            if number in {1, 2, 3}:
                disk.mark([None])
                disk.mark([log.rotate_key(MemorySigner("Ed25519"))])
            if number == 2:
                log.close()
                log = Log.open(root / "log", state=root / STATE, clock=ManualClock())
        log._store.close()  # killed: no checkpoint
    return disk


@pytest.mark.parametrize("keep", slow_after(1, ["killed", "nothing", "names", "halves", "chance-0"]))
def test_the_power_goes_off_while_keys_rotate(
    tmp_path: Path, keep: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    # The configuration, which names the signers, is on the disk that loses its power.
    monkeypatch.setenv("ATTESTLOG_CONFIG", str(tmp_path / "disk" / "config"))
    disk = life_of_rotations(tmp_path / "disk")
    monkeypatch.setenv("ATTESTLOG_CONFIG", str(tmp_path / "state" / "config"))
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)
    check_every_cut(disk, tmp_path / "state", KEEPS[keep])


@pytest.mark.slow
@pytest.mark.parametrize("first, second", [("killed", "nothing"), ("halves", "nothing"), ("pages", "halves")])
def test_the_power_goes_off_again_in_recovery(
    tmp_path: Path, first: str, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From each state a cut left, recovery is cut after each of its own steps: it goes on from there."""
    (tmp_path / "disk").mkdir()
    disk = life(tmp_path / "disk", batch=True)
    real = {"fsync": os.fsync, "fdatasync": os.fdatasync}
    again, state = tmp_path / "again", tmp_path / "state"
    set_aside = 0
    for count in range(1, len(disk.steps) + 1):
        disk.lay_out(count, again, KEEPS[first](count))
        recovery = Disk(again).adopt()
        known = len(recovery.steps)
        segment, before = last_bytes(again / "log")
        with recovery.recording():
            try:
                log = Log.open(again / "log", state=again / STATE)
            except NotFoundError:
                shutil.rmtree(again)
                continue
            set_aside += len(log.recovered)
            log._store.close()
        expected = recover(again / "log")
        for cut in range(known, len(recovery.steps) + 1):
            recovery.lay_out(cut, state, KEEPS[second](cut))
            tally("power cuts in recovery: states recovered from")
            for name in real:
                monkeypatch.setattr(os, name, lambda descriptor: None)
            recovered = recover(state / "log")
            for name, call in real.items():
                monkeypatch.setattr(os, name, call)
            assert recovered == expected, f"cut after step {cut - known} of the recovery from step {count}"
            torn = [file.read_bytes() for file in torn_files(state / "log")]
            kept = (state / "log" / segment).read_bytes() if before else b""
            wholes = [kept[: len(before)], *(kept[: len(before) - len(some)] + some for some in torn)]
            assert before in wholes, "what was torn is neither in the segment nor set aside"
            shutil.rmtree(state)
        shutil.rmtree(again)
    assert set_aside or first == "killed"


def last_bytes(path: Path) -> tuple[Path, bytes]:
    """The last segment, and what is in it."""
    try:
        segment = last_segment(path)
    except (FileNotFoundError, IndexError, NotFoundError):
        return Path(), b""
    return segment.relative_to(path), segment.read_bytes()


@pytest.mark.parametrize("missing", ["fdatasync", "fsync_directory", "order"])
def test_the_disk_sees_a_missing_sync(tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: a store that forgets one sync is found out."""
    (tmp_path / "disk").mkdir()
    with monkeypatch.context() as patch:
        if missing == "fdatasync":
            patch.setattr(FileStore, "_sync", lambda store: None)
        elif missing == "fsync_directory":
            patch.setattr(storage_disk, "fsync_directory", lambda path: None)
        else:
            patch.setattr(TreeFiles, "sync", lambda tree: None)
            patch.setattr(FileStore, "_sync", lambda store: None)
        disk = life(tmp_path / "disk", batch=True)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)
    with pytest.raises(AssertionError):
        check_every_cut(disk, tmp_path / "state", KEEPS["nothing"])


def check_every_cut(disk: Disk, target: Path, keep: Callable[[int], Keep]) -> None:
    acknowledged: list[tuple[int, str]] = []
    submitted: list[int | None] = []
    """A rotation says no number."""
    is_made = False
    for count, step in enumerate(disk.steps, start=1):
        if isinstance(step, Mark):
            is_made = True
            for item in step.what:
                if item is None or isinstance(item, int):
                    submitted.append(item)
                else:
                    acknowledged.append((item.sequence_number, item.entry_hash))
        disk.lay_out(count, target, keep(count))
        tally("power cuts: states recovered from")
        try:
            recovered = recover(target / "log")
        except NotFoundError:
            assert not is_made, f"gone after step {count}"
            recovered = []
        except Exception as error:
            raise AssertionError(f"after step {count} of {len(disk.steps)}: {error}") from error
        for number, digest in acknowledged:
            assert number < len(recovered), f"entry {number} is lost after step {count}"
            assert recovered[number][0] == digest, f"entry {number} is altered after step {count}"
        numbers = [number for _, number in recovered[1:]]
        assert numbers == submitted[: len(numbers)], f"not what was submitted after step {count}"
        shutil.rmtree(target)


def recover(path: Path) -> list[tuple[str, Any]]:
    """Open twice, append once; (entry_hash, number) of each entry that was there before."""
    Log.open(path, state=path.parent / STATE)._store.close()
    with Log.open(path, state=path.parent / STATE) as log:
        assert log.recovered == [], "recovery leaves nothing to recover"
        receipt = log.append(draft(99))
    entries = check_log(path, [receipt])
    return [(entry.entry_hash, (entry.action_payload or {}).get("number")) for entry in entries[:-1]]
