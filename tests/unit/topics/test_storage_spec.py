"""What docs/spec says a log's directory must do, from outside: each test is one of its MUSTs."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import MINIMAL
from tests.support.shapes import p256_key, sign

from attestlog._internal import disk
from attestlog._internal.core.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from attestlog._internal.core.genesis import Settings
from attestlog._internal.core.merkle import Span
from attestlog._internal.core.signature import PublicKey, public_key
from attestlog._internal.log import Log
from attestlog._internal.storage.files.layout import list_segments
from attestlog._internal.storage.files.store import FileStore
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import (
    AttestlogError,
    ConsistencyError,
    CorruptError,
    FilesystemError,
    FullError,
    NotFoundError,
    RollbackError,
    SignerError,
    UncertainCommitError,
)


class Make:
    """Makes and opens one log in a temporary directory, with key files of its own."""

    def __init__(self, folder: Path, keys: dict[str, str]) -> None:
        self.root = folder / "log"
        self.keys: Any = keys

    def log(self, segment_entries: int = 65_536, entries: int = 0) -> Log:
        settings = Settings(segment_entries=segment_entries)
        log = Log.create(self.root, origin="example.com/agents", settings=settings, **self.keys)
        if entries:
            log.append_many([MINIMAL] * entries)
        return log

    def open(self) -> Log:
        return Log.open(self.root, **self.keys)

    @property
    def segment(self) -> Path:
        return list_segments(self.root)[-1][1]


@pytest.fixture
def make(tmp_path: Path, keys: dict[str, str]) -> Make:
    return Make(tmp_path, keys)


def test_a_batch_does_not_cross_into_the_next_segment(make: Make) -> None:
    with make.log(segment_entries=4, entries=9) as log:
        assert log.head().size == 10
    lines = [path.read_bytes().splitlines() for _, path in list_segments(make.root)]
    assert [len(group) for group in lines] == [4, 4, 2]
    places = [entry.hsm_signature.split(":")[1] for entry in open_source(make.root).entries(1)]
    assert places == ["0/3", "1/3", "2/3", "0/4", "1/4", "2/4", "3/4", "0/2", "1/2"]


def test_a_tree_longer_than_the_entries_is_refused(make: Make) -> None:
    make.log(entries=3).close()
    cut = b"".join(make.segment.read_bytes().splitlines(keepends=True)[:2])
    make.segment.write_bytes(cut)
    with pytest.raises(CorruptError, match="tail was cut"):
        FileStore(make.root)
    (make.root / "checkpoint").unlink()  # not even without the checkpoint
    with pytest.raises(CorruptError, match="tail was cut"):
        FileStore(make.root)
    with pytest.raises(RollbackError, match=r"4 entries of .*, the log has 2"):
        make.open()
    assert make.segment.read_bytes() == cut


@pytest.mark.parametrize("damage", ["missing", "short", "wrong"])
def test_a_tree_missing_or_short_is_made_again(make: Make, damage: str) -> None:
    make.log(entries=300).close()
    path = make.root / "tree" / "0"
    good = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(good[:-64] if damage == "short" else good[:-32] + bytes(32))
    with make.open() as log:
        assert log.append(MINIMAL).sequence_number == 301
    assert path.read_bytes()[: len(good)] == good


def test_a_write_that_fails_is_taken_back(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with make.log(entries=2) as log:
        before = make.segment.read_bytes()

        def half(descriptor: int, data: bytes) -> None:
            os.write(descriptor, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "no space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(disk, "write_all", half)
            with pytest.raises(FullError):
                log.append(MINIMAL)
        assert make.segment.read_bytes() == before
        assert log.append(MINIMAL).sequence_number == 3  # and it goes on where it was


def test_a_sync_that_fails_stops_the_writer(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    log = make.log(entries=2)
    checkpoint = log.checkpoint()
    calls = []

    def fail(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(errno.EIO, "input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(UncertainCommitError):
            log.append(MINIMAL)
        with pytest.raises(AttestlogError):
            log.append(MINIMAL)
        with pytest.raises(AttestlogError):
            log.checkpoint()
    assert len(calls) == 1  # never asked again on that descriptor
    assert (make.root / "checkpoint").read_bytes() == checkpoint  # and vouched for by nothing
    log.close()
    with make.open() as again:
        assert again.append(MINIMAL).sequence_number in {3, 4}


def test_replacing_a_file_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint"
    disk.replace_file(path, b"old")
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(descriptor: int) -> None:
        events.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def note_replace(self: Path, target: Any) -> Path:
        events.append("rename")
        assert path.read_bytes() == b"old"
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    disk.replace_file(path, b"new")
    assert events == ["file", "rename", "directory"]
    assert path.read_bytes() == b"new"

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="input/output"):
        disk.replace_file(path, b"newer")
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [b"new"]


@pytest.mark.parametrize("torn", [b"{", b'{"action_hash":"', b"\x00" * 4096, b"not an entry\n"])
def test_torn_bytes_are_set_aside_and_kept(make: Make, torn: bytes) -> None:
    make.log(entries=2).close()
    size = make.segment.stat().st_size
    with make.segment.open("ab") as file:
        file.write(torn)
    with make.open() as log:
        assert len(log.recovered) == 1
        assert log.head().size == 3
    assert make.segment.stat().st_size == size
    kept = list((make.root / "entries").glob("torn-*"))
    assert [path.name for path in kept] == [f"torn-000000000000-{size}"]
    assert kept[0].read_bytes() == torn


def test_damage_among_the_entries_is_refused(make: Make) -> None:
    make.log(entries=5).close()
    lines = make.segment.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"severity":1', b'"severity":2')
    damaged = b"".join(lines) + b"{}\n"
    make.segment.write_bytes(damaged)
    (make.root / "tree" / "0").unlink()
    with pytest.raises(CorruptError):
        make.open()
    assert make.segment.read_bytes() == damaged


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_network_file_systems_are_refused_by_name(
    make: Make, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.log().close()
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 0:1 / / rw - ext4 root rw\n2 1 0:2 / {tmp_path} rw - {kind} server:/x rw\n")
    monkeypatch.setattr(disk, "_MOUNTS", mounts)
    with pytest.raises(FilesystemError, match=kind) as caught:
        make.open()
    assert caught.value.filesystem == kind
    Log.open(make.root, any_filesystem=True, **make.keys).close()


def test_a_log_that_cannot_be_made_is_not_there(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, data: bytes, mode: int = 0o644, **_: Any) -> None:
        if path.name == "checkpoint":
            raise OSError(errno.ENOSPC, "no space left on device")
        path.write_bytes(data)

    monkeypatch.setenv("ATTESTLOG_CONFIG", str(make.root.parent / "config"))
    with monkeypatch.context() as patch:
        patch.setattr(disk, "replace_file", fail)
        with pytest.raises(FullError):
            make.log()
    left = [path.name for path in make.root.parent.iterdir() if path.is_dir()]
    assert set(left) <= {"config", "keys"}
    assert list((make.root.parent / "config" / "logs").iterdir()) == []
    make.log().close()


def test_opening_never_creates(make: Make) -> None:
    before = sorted(make.root.parent.rglob("*"))
    with pytest.raises(NotFoundError):
        make.open()
    make.root.mkdir()
    with pytest.raises(NotFoundError):
        make.open()
    assert [path for path in make.root.parent.rglob("*") if path != make.root] == before


def test_a_checkpoint_that_is_no_prefix_stops_the_next_one(make: Make) -> None:
    with make.log(entries=2) as log:
        good = log.checkpoint()
        vkey, signer = log.genesis.checkpoint_keys[0], log._writer.holders[0][0]
        root = Span().extended([bytes(32)] * 3).root()
        other = sign_checkpoint(Checkpoint("example.com/agents", 3, root), [(vkey, signer.sign)])
        (make.root / "checkpoint").write_bytes(other)
        log.append(MINIMAL)
        with pytest.raises(ConsistencyError):
            log.checkpoint()
        assert (make.root / "checkpoint").read_bytes() == other
        (make.root / "checkpoint").write_bytes(good)


def test_a_checkpoint_covers_what_is_durable(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fdatasync, replace = os.fdatasync, disk.replace_file

    def note_sync(descriptor: int) -> None:
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        order.append(target.parent.name)
        fdatasync(descriptor)

    def note_replace(path: Path, data: bytes, *mode: int, **options: Any) -> None:
        order.append(path.name)
        replace(path, data, *mode, **options)

    with make.log() as log:
        monkeypatch.setattr(os, "fdatasync", note_sync)
        monkeypatch.setattr(disk, "replace_file", note_replace)
        log.append(MINIMAL)
        note = log.checkpoint()
        assert order == ["entries", "signed", "checkpoint"]
        assert open_checkpoint(note, log.genesis.checkpoint_keys).size == 2


class LyingSigner:
    """Has the key, and signs something else."""

    uri = "lying:"

    def __init__(self, *, lies: bool) -> None:
        self.lies = lies

    @property
    def public_key(self) -> PublicKey:
        return public_key(p256_key().public_key())

    def sign(self, message: bytes) -> bytes:
        return sign(p256_key(), message + b"?" if self.lies else message)

    def close(self) -> None:
        """Nothing to let go of."""


def test_what_a_signer_returns_is_verified_before_it_is_stored(make: Make) -> None:
    signer = LyingSigner(lies=False)
    make.keys["signer"] = signer
    with make.log(entries=1) as log:
        before = make.segment.read_bytes()
        signer.lies = True
        with pytest.raises(SignerError, match="does not verify"):
            log.append_many([MINIMAL, MINIMAL])
        assert make.segment.read_bytes() == before
        signer.lies = False
        assert log.append(MINIMAL).sequence_number == 3  # 2 tells of the refusal
