"""Making a log: all of it or nothing, never over anything."""

import errno
import grp
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import contents, create, draft, drafts

from attestlog._internal import config, disk, last_signed
from attestlog._internal.core.genesis import SEGMENT_ENTRIES_MAX, Settings
from attestlog._internal.core.policy import Policy
from attestlog._internal.log import Log
from attestlog._internal.storage.contract import Group
from attestlog.errors import (
    AttestlogError,
    ExistsError,
    FilesystemError,
    MalformedConfigError,
    MalformedPolicyError,
    MalformedSignatureError,
    SignerError,
    StorageError,
)
from attestlog.testing import FaultSigner, MemorySigner, check_log


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_log_is_whole_and_nothing_else_is_there(tmp_path: Path) -> None:
    log = create(tmp_path / "log")
    assert left(tmp_path) == ["log"]
    assert left(tmp_path / "log") == ["checkpoint", "entries", "lock", "tree"]
    log.close()
    assert len(check_log(tmp_path / "log")) == 1


def modes(path: Path) -> dict[str, int]:
    """Of everything in the log, its directory included."""
    return {
        str(item.relative_to(path.parent)): stat.S_IMODE(item.stat().st_mode)
        for item in (path, *path.rglob("*"))
    }


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
@pytest.mark.parametrize(
    "may_write, expected",
    [(None, (0o700, 0o600, 0o600)), (True, (0o2770, 0o660, 0o660)), (False, (0o2750, 0o640, 0o600))],
)
def test_a_log_is_for_its_owner_and_whom_he_lets_in(
    tmp_path: Path, umask: int, may_write: bool | None, expected: tuple[int, int, int]
) -> None:
    """Under any umask, and so is what is made in it later."""
    of_folder, of_file, of_lock = expected
    group = None if may_write is None else Group(grp.getgrgid(os.getegid()).gr_name, may_write)
    before = os.umask(umask)
    try:
        log = create(tmp_path / "log", segment_entries=2, group=group)
        log.append_many(drafts(range(3)))
        log._store.add_timestamp(1, b"x")
        log.close()
    finally:
        os.umask(before)
    (tmp_path / "log" / "timestamps").rename(tmp_path / "log" / "seen")
    check_log(tmp_path / "log")
    found = modes(tmp_path / "log")
    assert found.pop("log/lock") == of_lock
    for name, mode in found.items():
        assert mode == (of_folder if (tmp_path / name).is_dir() else of_file), name


def test_a_group_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MalformedConfigError, match="there is no group 'no-such-group' here"):
        create(tmp_path / "log", group=Group("no-such-group", may_write=True))
    assert left(tmp_path) == []


def test_parents_are_made(tmp_path: Path) -> None:
    create(tmp_path / "a" / "b" / "log").close()
    check_log(tmp_path / "a" / "b" / "log")


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    create(tmp_path / "log").close()
    check_log(tmp_path / "log")


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    create(tmp_path / "log").close()
    before = contents(tmp_path / "log")
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("x")
    (tmp_path / "dangling").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    there = left(tmp_path)
    for name in ("log", "file", "folder", "dangling", "link"):
        with pytest.raises(ExistsError):
            create(tmp_path / name)
    assert left(tmp_path) == there
    assert contents(tmp_path / "log") == before


def test_taken_while_it_was_being_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.rename

    def raced(source: Any, target: Any) -> None:
        Path(target).mkdir()
        (Path(target) / "theirs").touch()
        real(source, target)

    monkeypatch.setattr(os, "rename", raced)
    with pytest.raises(ExistsError):
        create(tmp_path / "log")
    assert left(tmp_path) == ["log"]
    assert left(tmp_path / "log") == ["theirs"]


def test_made_from_many_threads_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (config, last_signed):
        monkeypatch.setattr(module, "LOCK_WAIT_S", 60.0)
    outcomes: list[Log | AttestlogError] = []
    gate = threading.Barrier(6)

    def work() -> None:
        gate.wait()
        try:
            outcomes.append(create(tmp_path / "log"))
        except AttestlogError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = [outcome for outcome in outcomes if isinstance(outcome, Log)]
    assert len(made) == 1
    assert all(isinstance(outcome, ExistsError) for outcome in outcomes if outcome is not made[0])
    made[0].append(draft(1))
    made[0].close()
    assert left(tmp_path) == ["log"]
    assert len(check_log(tmp_path / "log")) == 2


def test_the_name_of_a_new_log_that_is_not_durable_takes_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = disk.fsync_directory

    def fail(path: Path) -> None:
        if path == tmp_path:
            raise OSError(errno.EIO, "Input/output error")
        real(path)

    monkeypatch.setattr(disk, "fsync_directory", fail)
    with pytest.raises(StorageError):
        create(tmp_path / "log")
    assert left(tmp_path) == []


def test_refused_before_anything_is_made(tmp_path: Path) -> None:
    wrong: list[tuple[dict[str, Any], type[AttestlogError]]] = [
        ({"settings": Settings(segment_entries=0)}, MalformedConfigError),
        ({"settings": Settings(segment_entries=-1)}, MalformedConfigError),
        ({"settings": Settings(segment_entries=SEGMENT_ENTRIES_MAX + 1)}, MalformedConfigError),
        ({"settings": Settings(batch="yes")}, MalformedConfigError),  # type: ignore[arg-type]
        ({"policy": Policy(weights={"an_toan": 1})}, MalformedPolicyError),
        ({"policy": {"weights": {}}}, MalformedPolicyError),
        ({"origin": "with space"}, MalformedConfigError),
        ({"origin": ""}, MalformedConfigError),
        ({"algorithm": "RSA"}, MalformedSignatureError),
        ({"checkpoint_signer": MemorySigner()}, MalformedConfigError),
        ({"signer": "nosuch:key"}, MalformedConfigError),
    ]
    for options, error in wrong:
        with pytest.raises(error):
            Log.create(tmp_path / "log", **{"origin": "example.com/x", **options})
        assert not (tmp_path / "log").exists()
        assert left(tmp_path) == []


def test_the_largest_segments_and_the_smallest(tmp_path: Path) -> None:
    for entries in (1, SEGMENT_ENTRIES_MAX):
        path = tmp_path / str(entries)
        log = create(path, segment_entries=entries)
        log.append_many([draft(number) for number in range(1, 4)])
        log.close()
        with Log.open(path) as opened:
            assert opened.genesis.settings.segment_entries == entries
            opened.append(draft(4))
        assert len(check_log(path)) == 5
        assert len(left(path / "entries")) == (5 if entries == 1 else 1)


@pytest.mark.parametrize("role", ["signer", "checkpoint_signer"])
@pytest.mark.parametrize("answer", [b"", b"\x00" * 64, None])
def test_a_signer_at_fault_makes_no_log(tmp_path: Path, role: str, answer: Any) -> None:
    signer = FaultSigner(MemorySigner("Ed25519"))
    signer.answer = lambda message: answer
    with pytest.raises(SignerError):
        options: dict[str, Any] = {role: signer}
        create(tmp_path / "log", **options)
    assert left(tmp_path) == []


def test_a_network_file_system_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"40 22 0:35 / {tmp_path.resolve()} rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(disk, "_MOUNTS", mounts)
    with pytest.raises(FilesystemError):
        create(tmp_path / "log")
    assert left(tmp_path) == ["mountinfo"]
    create(tmp_path / "log", any_filesystem=True).close()
