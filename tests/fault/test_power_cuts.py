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
from tests.fault import simdisk
from tests.fault.logs import create, draft, drafts
from tests.fault.simdisk import Disk, Keep, Mark

from attestlog.errors import NotFoundError
from attestlog.log import Log
from attestlog.storage import disk as storage_disk
from attestlog.storage.files import FileStore
from attestlog.storage.tree import TreeFiles
from attestlog.testing import check_log

SEEDS = int(os.environ.get("ATTESTLOG_FAULT_SEEDS", "1"))
"""Random subsets tried at each step; a longer campaign sets more."""

KEEPS: dict[str, Callable[[int], Keep]] = {
    "killed": lambda at: simdisk.everything,
    "nothing": lambda at: simdisk.nothing,
    "names": lambda at: simdisk.names_only,
    "zeros": lambda at: simdisk.zeros,
    "halves": lambda at: simdisk.first_half,
    "pages": lambda at: simdisk.later_pages,
    **{f"chance-{seed}": lambda at, seed=seed: simdisk.chance(seed * 10_000 + at) for seed in range(SEEDS)},  # type: ignore[misc]
}


def life(root: Path, *, batch: bool) -> Disk:
    """A log of segments of four: made, written, checkpointed, closed, opened and written again."""
    disk = Disk(root)
    with disk.recording():
        log = create(root / "log", segment_entries=4, batch=batch)
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
        log = Log.open(root / "log")
        append(11)
        log._store.close()  # killed: no checkpoint
    return disk


@pytest.mark.parametrize(
    "keep, batch",
    [*((keep, True) for keep in KEEPS), ("killed", False), ("nothing", False), ("pages", False)],
)
def test_the_power_goes_off(tmp_path: Path, keep: str, batch: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").mkdir()
    disk = life(tmp_path / "disk", batch=batch)
    assert len(disk.steps) > 90
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)
    check_every_cut(disk, tmp_path / "state", KEEPS[keep])


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
    submitted: list[int] = []
    is_made = False
    for count, step in enumerate(disk.steps, start=1):
        if isinstance(step, Mark):
            is_made = True
            for item in step.what:
                if isinstance(item, int):
                    submitted.append(item)
                else:
                    acknowledged.append((item.sequence_number, item.entry_hash))
        disk.lay_out(count, target, keep(count))
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
    Log.open(path)._store.close()
    with Log.open(path) as log:
        assert log.recovered == [], "recovery leaves nothing to recover"
        receipt = log.append(draft(99))
    entries = check_log(path, [receipt])
    return [(entry.entry_hash, (entry.action_payload or {}).get("number")) for entry in entries[:-1]]
