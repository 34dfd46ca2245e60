"""A log that cannot write says so, by type, and nothing is lost: lock, directory, rights, file system."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.logs import MINIMAL

import attestlog
from attestlog._internal import disk
from attestlog._internal.storage.files.store import FileStore
from attestlog.errors import (
    BusyError,
    ClockError,
    ClosedError,
    CorruptError,
    DeniedError,
    FilesystemError,
    LockLostError,
    NotFoundError,
)

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:35 / /srv rw - nfs4 server:/export rw
41 40 254:1 / /srv/local rw - xfs /dev/vdb rw
42 22 0:36 / /mnt/with\\040space rw - fuse.sshfs host: rw
malformed line
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    attestlog.create(tmp_path / "audit", origin="example.com/refusals").close()
    return tmp_path / "audit"


def assert_whole(path: Path, size: int) -> None:
    report = attestlog.verify(path, remember=False)
    assert (report.verdict, report.size) == (attestlog.Verdict.VERIFIED, size)


def test_a_lock_file_removed(path: Path) -> None:
    with attestlog.open(path) as log:
        log.append(MINIMAL)
        (path / "lock").unlink()
        with pytest.raises(LockLostError):
            log.append(MINIMAL)
        (path / "lock").touch()
        with pytest.raises(LockLostError):
            log.append(MINIMAL)
        with pytest.raises(LockLostError):
            log.close()
    assert_whole(path, 2)


def test_a_lock_held_by_another_for_too_long(path: Path) -> None:
    store = FileStore(path, lock_timeout_s=0.05)
    with (path / "lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BusyError), store.exclusive():
            pass
    with store.exclusive() as head:
        assert head.size == 1
    store.close()


def test_the_directory_removed_while_open(path: Path) -> None:
    log = attestlog.open(path)
    shutil.rmtree(path)
    with pytest.raises((NotFoundError, LockLostError)):
        log.append(MINIMAL)
    with pytest.raises((NotFoundError, LockLostError)):
        log.close()


def test_the_segment_written_anew_with_all_that_was_committed(path: Path) -> None:
    segment = path / "entries" / "000000000000.jsonl"
    with attestlog.open(path) as log:
        log.append(MINIMAL)
        copy = segment.with_name("copy")
        copy.write_bytes(segment.read_bytes())
        copy.replace(segment)  # as by another process that erases a payload
        log.append(MINIMAL)
    assert_whole(path, 3)


@pytest.mark.parametrize("harm", ["unlink", "replace", "cut"])
def test_the_segment_gone_or_another_while_open(path: Path, harm: str) -> None:
    segment = path / "entries" / "000000000000.jsonl"
    log = attestlog.open(path)
    log.append(MINIMAL)
    whole = segment.read_bytes()
    if harm == "cut":
        os.truncate(segment, len(whole) - 10)
    else:
        segment.unlink()
    if harm == "replace":
        segment.write_bytes(whole[: whole.index(b"\n") + 1])
    with pytest.raises(NotFoundError if harm == "unlink" else CorruptError):
        log.append(MINIMAL)
    with pytest.raises((NotFoundError, ClosedError, CorruptError)):
        log.append(MINIMAL)
    segment.write_bytes(whole)
    with contextlib.suppress(CorruptError):
        log.close()
    assert_whole(path, 2)


def test_no_directory_and_no_log(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for nothing in ("missing", "empty"):
        with pytest.raises(NotFoundError, match="is not a log"):
            attestlog.open(tmp_path / nothing)


def test_permissions(path: Path, tmp_path: Path) -> None:
    """As another user, because root may write everywhere."""
    if os.geteuid() != 0:
        (path / "lock").chmod(0o400)
        path.chmod(0o500)
        with pytest.raises(DeniedError):
            attestlog.open(path)
        return
    script = (
        f"import os, sys; sys.path[:0] = {sys.path!r}\n"
        "import attestlog._internal.log\n"
        "from attestlog.errors import DeniedError\n"
        "from attestlog._internal.storage.files.store import FileStore\n"
        "from pathlib import Path\n"
        "os.setuid(65534)\n"
        f"try: FileStore(Path({str(path)!r}))\n"
        "except DeniedError as error: print(error.code)\n"
    )
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "storage.denied\n", done.stderr
    assert_whole(path, 1)


@pytest.mark.parametrize(
    "where, kind",
    [
        ("/usr/x", "ext4"), ("/srv/audit", "nfs4"), ("/srv/local/audit", "xfs"), ("/srvx", "ext4"),
        ("/mnt/with space/audit", "fuse.sshfs"),
    ],
)  # fmt: skip
def test_file_systems_by_their_mounts(where: str, kind: str) -> None:
    assert disk.filesystem_of(Path(where), MOUNTS) == kind


def test_a_network_file_system_is_refused_by_name_unless_forced(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"40 22 0:35 / {tmp_path.resolve()} rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(disk, "_MOUNTS", mounts)
    with pytest.raises(FilesystemError, match="nfs4"):
        attestlog.open(path)
    with pytest.raises(FilesystemError, match="nfs4"):
        attestlog.create(tmp_path / "other", origin="example.com/other")
    assert not (tmp_path / "other").exists()
    with attestlog.open(path, any_filesystem=True) as log:
        log.append(MINIMAL)


def test_a_clock_stepped_back(path: Path) -> None:
    now = [2_000_000_000_000_000]
    with attestlog.open(path, clock=lambda: now[0]) as log:
        first = log.append(MINIMAL)
        now[0] -= 59_000_000
        assert log.append(MINIMAL).timestamp == first.timestamp
        now[0] -= 2_000_000
        with pytest.raises(ClockError):
            log.append(MINIMAL)
        now[0] += 3_000_000
        assert log.append(MINIMAL).timestamp == first.timestamp
    assert attestlog.verify(path, remember=False).size == 4
