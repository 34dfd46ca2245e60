"""Publishing is cut off after every step, killed, made to fail: no checkpoint without what it needs.

Whatever is left, publishing again finishes it, refuses nothing of its own, and comes to the same files.
"""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
from tests.fault.simdisk import KEEPS, Disk, Mark
from tests.support.faults import FAULTS, Faults, injected
from tests.support.logs import LogMaker, drafts
from tests.support.published import check_published, published_files
from tests.support.slow import slow_after
from tests.support.tally import tally

from attestlog._internal import disk as storage_disk
from attestlog._internal.storage import published_folder
from attestlog._internal.storage.publishing import open_publishing, publish_log
from attestlog.errors import StorageError

SIZES = (3, 255, 258, 515)
ROUNDS = int(os.environ.get("ATTESTLOG_FAULT_ROUNDS", "4"))


class Grown:
    """One log as it stood at each size, and what publishing each in turn comes to."""

    def __init__(self, folder: Path) -> None:
        self.maker = LogMaker(folder / "maker")
        self.key = self.maker.checkpoint_key.verifier
        self.logs: list[Path] = []
        for size in SIZES:
            self.maker.append(*drafts(range(len(self.maker.lines), size)))
            self.maker.lay_out()
            self.logs.append(folder / f"log-{size}")
            shutil.copytree(self.maker.root, self.logs[-1])
        for log in self.logs:
            publish_log(log, folder / "public", threads=0)
        self.files = published_files(folder / "public")


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    return Grown(tmp_path_factory.mktemp("grown"))


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_folder, "WINDOW_FILES", 3)


def finish(grown: Grown, folder: Path) -> None:
    """Publish again from whatever is left."""
    for log, size in zip(grown.logs, SIZES, strict=True):
        there = check_published(folder, grown.key)
        if there is None or len(there) <= size:
            publish_log(log, folder, threads=0)
    files = published_files(folder)
    # Partial tiles of sizes that were passed over need not be there.
    assert set(files) <= set(grown.files)
    assert all(grown.files[name] == data for name, data in files.items())
    assert check_published(folder, grown.key) is not None
    assert files["checkpoint"] == grown.files["checkpoint"]


def life(grown: Grown, root: Path) -> Disk:
    disk = Disk(root)
    with disk.recording():
        for log, size in zip(grown.logs, SIZES, strict=True):
            publish_log(log, root / "public", threads=0)
            disk.mark(size)
    return disk


def one_life(grown: Grown, root: Path) -> Disk:
    """One publisher that goes on."""
    disk = Disk(root)
    with disk.recording(), open_publishing(root / "public", threads=0) as publishing:
        for log, size in zip(grown.logs, SIZES, strict=True):
            publishing.publish(log)
            disk.mark(size)
    return disk


def check_every_cut(grown: Grown, disk: Disk, state: Path, keep: str) -> None:
    promised = 0
    for count, step in enumerate(disk.steps, start=1):
        if isinstance(step, Mark):
            promised = step.what
        disk.lay_out(count, state, KEEPS[keep](count))
        tally("publishing: states finished from")
        there = check_published(state / "public", grown.key)
        assert len(there or ()) >= promised, f"a published checkpoint was lost at step {count}"
        finish(grown, state / "public")
        shutil.rmtree(state)


@pytest.mark.parametrize("keep", slow_after(2, KEEPS))
def test_the_power_goes_off(grown: Grown, tmp_path: Path, keep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").mkdir()
    disk = life(grown, tmp_path / "disk")
    assert len(disk.steps) > 100
    for call in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, call, lambda descriptor: None)
    check_every_cut(grown, disk, tmp_path / "state", keep)


def test_the_power_goes_off_while_one_publisher_goes_on(
    grown: Grown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    disk = one_life(grown, tmp_path / "disk")
    for call in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, call, lambda descriptor: None)
    check_every_cut(grown, disk, tmp_path / "state", "nothing")


@pytest.mark.parametrize("missing", ["files", "directories"])
def test_the_disk_sees_a_missing_sync(
    grown: Grown, tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: a publisher that forgets one sync is found out."""
    (tmp_path / "disk").mkdir()
    with monkeypatch.context() as patch:
        if missing == "directories":
            patch.setattr(storage_disk, "fsync_directory", lambda path: None)
        else:
            patch.setattr(storage_disk, "write_new", lambda path, data: path.write_bytes(data))
        disk = life(grown, tmp_path / "disk")
    for call in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, call, lambda descriptor: None)
    with pytest.raises((AssertionError, OSError)):
        check_every_cut(grown, disk, tmp_path / "state", "nothing")


@pytest.mark.parametrize("name, kind", [(name, kind) for name in FAULTS for kind in FAULTS[name]])
def test_a_call_that_fails(grown: Grown, tmp_path: Path, name: str, kind: str) -> None:
    """Every call publishing makes fails once: an error of ours, and a retry that finishes."""
    struck = 0
    for nth in range(1, 60):
        folder = tmp_path / f"public-{nth}"
        publish_log(grown.logs[0], folder, threads=0)
        faults = Faults(name, nth, kind)
        try:
            with injected(faults):
                publish_log(grown.logs[-1], folder, threads=0)
        except StorageError:
            assert faults.struck
            there = check_published(folder, grown.key)
            # The rename of the checkpoint may be done when making it durable fails.
            assert there is not None
            assert len(there) in {SIZES[0], SIZES[-1]}
        if not faults.struck:
            break
        struck += 1
        tally("publishing: calls failed")
        finish(grown, folder)
    else:
        pytest.fail("publishing makes more calls than were tried")
    assert struck or name in {"pwrite", "fdatasync", "ftruncate"}, "nothing of this name is ever called"


PUBLISHER = """
import sys
from attestlog._internal.storage import published
from attestlog._internal.storage.publishing import open_publishing, publish_log
published.WINDOW_FILES = 2
print("ready", flush=True)
publish_log(sys.argv[1], sys.argv[2])
"""


def test_killed_at_any_moment(grown: Grown, tmp_path: Path) -> None:
    random = Random(11)
    killed = 0
    for number in itertools.count():
        if number >= ROUNDS * 3 and killed:
            break
        assert number < 1_000, "they are all done before they are killed"
        folder = tmp_path / f"public-{number}"
        publish_log(grown.logs[0], folder)
        publisher = subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, str(grown.logs[-1]), str(folder)], stdout=subprocess.PIPE
        )
        assert publisher.stdout is not None
        assert publisher.stdout.readline() == b"ready\n"
        time.sleep(random.uniform(0, 0.03))
        publisher.send_signal(signal.SIGKILL)
        publisher.communicate(timeout=300)
        killed += publisher.returncode == -signal.SIGKILL
        tally("publishers killed with SIGKILL")
        there = check_published(folder, grown.key)
        assert there is not None
        assert len(there) in {SIZES[0], SIZES[-1]}
        finish(grown, folder)
