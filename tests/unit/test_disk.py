"""Durable steps: short writes, calls that fail, names and errors."""

import errno
import os
import stat
from pathlib import Path

import pytest

from attestlog._internal import disk
from attestlog.errors import (
    CorruptError,
    DeniedError,
    ExistsError,
    FullError,
    NotFoundError,
    StorageError,
    WriteFailedError,
)


@pytest.mark.parametrize(
    "number, writing, reading",
    [
        ("ENOSPC", FullError, FullError), ("EDQUOT", FullError, FullError), ("EFBIG", FullError, FullError),
        ("ENOENT", NotFoundError, NotFoundError), ("ENOTDIR", NotFoundError, NotFoundError),
        ("EEXIST", ExistsError, ExistsError), ("ENOTEMPTY", ExistsError, ExistsError),
        ("EACCES", DeniedError, DeniedError), ("EPERM", DeniedError, DeniedError),
        ("EROFS", DeniedError, DeniedError), ("ESTALE", CorruptError, CorruptError),
        ("EIO", WriteFailedError, CorruptError), ("EMFILE", WriteFailedError, StorageError),
    ],
)  # fmt: skip
def test_what_the_system_says_in_our_words(
    number: str, writing: type[StorageError], reading: type[StorageError]
) -> None:
    code = getattr(errno, number)
    error = OSError(code, os.strerror(code))
    said = "is missing" if number == "ENOENT" else f"be read: {os.strerror(code)}"
    for made, kind, end in (
        (disk.storage_error(error, "place", "writing"), writing, f"place failed: {os.strerror(code)}"),
        (disk.read_error(error, "place"), reading, said),
    ):
        assert type(made) is kind
        assert str(made).endswith(end)
        assert (made.path, made.errno) == ("place", code)


@pytest.mark.parametrize("most", [1, 3, 1_000])
def test_short_writes_are_gone_on_with(tmp_path: Path, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    real_write, real_pwrite = os.write, os.pwrite
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:most]))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real_pwrite(fd, data[:most], offset))
    disk.write_all(descriptor, b"0123456789")
    disk.pwrite_all(descriptor, b"abcdef", 2)
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b"01abcdef89"


@pytest.mark.parametrize("call", ["write", "pwrite"])
def test_a_write_that_takes_nothing_is_no_endless_loop(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, call, lambda *arguments: 0)
    with pytest.raises(OSError, match="took no bytes"):
        disk.write_all(1, b"x") if call == "write" else disk.pwrite_all(1, b"x", 0)


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_replacement_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    disk.replace_file(path, b"old")

    def fail(*arguments: object, **options: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="Input/output error"):
            disk.replace_file(path, b"new")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("file", b"old")]
    disk.replace_file(path, b"new")
    assert path.read_bytes() == b"new"


def test_directories_are_made_and_their_names_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(disk, "fsync_directory", synced.append)
    disk.make_directories(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    disk.make_directories(tmp_path / "a" / "b" / "c")
    assert len(synced) == 3


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:35 / /srv rw - autofs systemd-1 rw
41 22 0:36 / /srv rw - nfs4 server:/export rw
42 22 0:37 / /with\\040space rw master:3 propagate_from:1 - fuse.sshfs host: rw
43 22 0:38 / /tab\\011and\\134back rw - cifs //host/share rw
"""


@pytest.mark.parametrize(
    "where, kind",
    [
        ("/", "ext4"), ("/srv", "nfs4"), ("/srv/deep/down", "nfs4"), ("/srvs", "ext4"),
        ("/with space/log", "fuse.sshfs"), ("/tab\tand\\back/log", "cifs"),
    ],
)  # fmt: skip
def test_the_mount_that_counts_is_the_longest_and_the_last(where: str, kind: str) -> None:
    assert disk.filesystem_of(Path(where), MOUNTS) == kind


@pytest.mark.parametrize("mounts", ["", "\n", "1 2 3", "40 22 0:35 / / rw", "no - thing"])
def test_mounts_that_cannot_be_read_say_nothing(mounts: str) -> None:
    assert disk.filesystem_of(Path("/x"), mounts) == ""


def test_without_a_list_of_mounts_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_MOUNTS", tmp_path / "missing")
    disk.check_filesystem(tmp_path)


def test_only_plain_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"plain")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "link").symlink_to("plain")
    assert disk.read_plain(tmp_path / "plain", 4) == b"plain"
    assert disk.read_plain(tmp_path / "link", 100) == b"plain"
    for name in ("pipe", "device", "folder"):
        for flags in (os.O_RDONLY, os.O_RDWR):
            with pytest.raises(OSError, match=r"not a regular file|directory|symbolic link"):
                disk.plain_descriptor(tmp_path / name, flags)


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(b"somebody's")
    (tmp_path / "link").symlink_to(kept)
    for flags in (os.O_RDWR, os.O_WRONLY | os.O_APPEND):
        with pytest.raises(OSError, match="symbolic link"):
            disk.open_made(tmp_path / "link", flags, 0o600)
    # Where the temporary file will be, somebody put a link.
    (tmp_path / f".made.{os.getpid()}.new").symlink_to(kept)
    disk.replace_file(tmp_path / "made", b"made")
    assert ((tmp_path / "made").read_bytes(), kept.read_bytes()) == (b"made", b"somebody's")
    assert not (tmp_path / "made").is_symlink()


def test_holes_stay_holes(tmp_path: Path) -> None:
    size = 1 << 32
    with (tmp_path / "source").open("w+b") as source, (tmp_path / "target").open("w+b") as target:
        source.write(b"left out, begins")
        source.seek(size // 2)
        source.write(b"middle")
        source.flush()
        os.ftruncate(source.fileno(), size)
        disk.copy_range(source.fileno(), target.fileno(), 10, size)
        status = os.fstat(target.fileno())
        assert status.st_size == size - 10
        assert status.st_blocks * 512 < 1 << 20
        assert os.pread(target.fileno(), 6, 0) == b"begins"
        assert os.pread(target.fileno(), 6, size // 2 - 10) == b"middle"
        assert size // 2 < disk.data_end(source.fileno(), size) < size
        assert disk.data_end(source.fileno(), 5) == 5
        os.ftruncate(source.fileno(), 100)
        with pytest.raises(OSError, match="shorter"):
            disk.copy_range(source.fileno(), target.fileno(), 0, 200)


@pytest.mark.parametrize(
    "mode, owner, group, user, is_private",
    [
        (0o600, 7, 7, 7, True), (0o400, 7, 7, 7, True), (0o440, 7, 7, 7, False), (0o640, 0, 0, 0, False),
        # A container's secrets: root's, readable for a group that the process is in.
        (0o440, 0, 50, 7, True), (0o640, 0, 50, 7, True), (0o440, 0, 7, 7, True), (0o440, 0, 51, 7, False),
        (0o460, 0, 50, 7, False), (0o450, 0, 50, 7, False), (0o444, 0, 50, 7, False),
        (0o441, 0, 50, 7, False), (0o440, 8, 50, 7, False),
    ],
)  # fmt: skip
def test_whose_secrets_are_private(
    mode: int, owner: int, group: int, user: int, *, is_private: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "getegid", lambda: 7)
    monkeypatch.setattr(os, "getgroups", lambda: [50])
    status = os.stat_result((stat.S_IFREG | mode, 0, 0, 1, owner, group, 0, 0, 0, 0))
    assert disk.is_private(status) is is_private
