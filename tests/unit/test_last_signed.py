"""What was signed last, as a file: durable in its place, never lowered, never taken for none."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from attestlog._internal.last_signed import (
    FOLDER,
    LastSigned,
    Names,
    Signed,
    find,
    forget,
    list_signed,
    make,
)
from attestlog.errors import ExistsError, StateError, StorageError

GENESIS, OTHER = "a" * 64, "b" * 64
NAMES = Names("example.com/log", GENESIS, "example.com/log+00000000+AWtleQ==")
FIRST, HEAD = Signed(1, "1" * 64), Signed(1, "e" * 64)
HEAD_OFFSET, SLOT_OFFSETS = 6 * 512, (4 * 512, 5 * 512)


@pytest.fixture
def kept(tmp_path: Path) -> LastSigned:
    return make(tmp_path, NAMES, FIRST, HEAD)


def again(folder: Path) -> LastSigned:
    found = find(folder, GENESIS)
    assert found is not None
    return found


def spoil(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset + 20] ^= 1
    path.write_bytes(data)


def test_it_is_read_as_it_was_written(tmp_path: Path, kept: LastSigned) -> None:
    for size in range(2, 7):
        kept.commit(Signed(2 * size - 1, f"{size:064x}"))
        kept.sign(2 * size, bytes([size]) * 32, Signed(2 * size, f"{size + 1:064x}"))
        found = again(tmp_path)
        assert (found.names, found.checkpoint) == (NAMES, Signed(2 * size, f"{size:02x}" * 32))
        assert found.head == Signed(2 * size, f"{size + 1:064x}")
        assert (found.path.stat().st_size, found.path.stat().st_mode & 0o777) == (7 * 512, 0o600)


def test_the_head_is_never_lowered(tmp_path: Path, kept: LastSigned) -> None:
    kept.commit(Signed(9, "9" * 64))
    kept.commit(Signed(8, "8" * 64))
    kept.commit(Signed(9, "7" * 64))
    assert again(tmp_path).head == Signed(9, "9" * 64)
    assert again(tmp_path).acknowledged == 9


def test_a_torn_head_counts_as_the_last_checkpoint(tmp_path: Path, kept: LastSigned) -> None:
    kept.sign(5, bytes(32), Signed(5, "5" * 64))
    kept.commit(Signed(9, "9" * 64))
    spoil(kept.path, HEAD_OFFSET)
    found = again(tmp_path)
    assert (found.head, found.acknowledged) == (None, 5)
    found.commit(Signed(6, "6" * 64))
    assert again(tmp_path).acknowledged == 6


def test_a_torn_checkpoint_leaves_the_one_before(tmp_path: Path, kept: LastSigned) -> None:
    kept.sign(5, bytes(32), Signed(5, "5" * 64))
    kept.sign(7, bytes(32), Signed(7, "7" * 64))
    spoil(kept.path, SLOT_OFFSETS[0])  # where the third was written
    found = again(tmp_path)
    assert found.checkpoint == Signed(5, "0" * 64)
    assert found.acknowledged == 7, "the head was written with it"
    spoil(kept.path, SLOT_OFFSETS[1])
    with pytest.raises(StateError, match="no checkpoint"):
        find(tmp_path, GENESIS)


def test_two_processes_write_to_one_file(tmp_path: Path, kept: LastSigned) -> None:
    other = again(tmp_path)
    other.sign(5, bytes(32), Signed(5, "5" * 64))
    kept.reread()
    assert kept.acknowledged == 5
    kept.sign(6, bytes(32), Signed(6, "6" * 64))
    other.reread()
    assert other.checkpoint.size == other.acknowledged == 6


def test_a_checkpoint_is_durable_before_sign_returns(
    kept: LastSigned, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: calls.append("sync"))
    kept.commit(Signed(2, "2" * 64))
    assert calls == []
    kept.sign(2, bytes(32), Signed(2, "2" * 64))
    assert calls == ["sync"]


def test_what_could_not_be_flushed_is_written_again(
    tmp_path: Path, kept: LastSigned, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(StorageError):
            kept.sign(5, bytes(32), Signed(5, "5" * 64))
    written: list[int] = []
    real = os.pwrite

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        written.append(offset)
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    kept.sign(5, bytes(32), Signed(5, "5" * 64))
    assert len(written) == 2, "the kernel may have taken the pages for clean"
    assert again(tmp_path).acknowledged == 5


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def foreign(path: Path) -> None:
    os.chown(path, 65534, -1)


HARM: dict[str, Callable[[Path], object]] = {
    "is a link": link,
    "is not a regular file": fifo,
    "belongs to another user": foreign,
    "others can write it": lambda path: path.chmod(0o602),
    "mode 0660": lambda path: path.chmod(0o660),
    "does not begin": lambda path: path.write_bytes(b""),
    "has no checkpoint": lambda path: path.write_bytes(path.read_bytes()[: 4 * 512]),
    "is of the log": lambda path: path.rename(path.with_name(OTHER)),
}


@pytest.mark.parametrize("reason", HARM)
def test_what_cannot_be_used_is_not_taken_for_none(tmp_path: Path, kept: LastSigned, reason: str) -> None:
    if reason == "belongs to another user" and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    HARM[reason](kept.path)
    with pytest.raises(StateError, match=reason):
        find(tmp_path, OTHER if reason == "is of the log" else GENESIS)
    (found,) = list_signed(tmp_path)
    assert isinstance(found, StateError)
    with pytest.raises((ExistsError, StateError)):
        make(tmp_path, NAMES._replace(genesis="c" * 64), FIRST, HEAD, is_new_log=True)


def test_none(tmp_path: Path) -> None:
    assert find(tmp_path, GENESIS) is None
    assert list(list_signed(tmp_path)) == []
    assert not forget(tmp_path, GENESIS)
    assert not forget(tmp_path, "../x")


def test_a_new_log_has_a_name_or_a_key_of_its_own(tmp_path: Path, kept: LastSigned) -> None:
    new = NAMES._replace(genesis=OTHER)
    with pytest.raises(ExistsError, match="there already"):
        make(tmp_path, NAMES, FIRST, HEAD)
    with pytest.raises(ExistsError, match=f"whose genesis hash is {GENESIS}"):
        make(tmp_path, new, FIRST, HEAD, is_new_log=True)
    assert find(tmp_path, OTHER) is None
    make(tmp_path, new._replace(origin="example.com/other"), FIRST, HEAD, is_new_log=True)
    make(tmp_path, new._replace(genesis="c" * 64, key="another"), FIRST, HEAD, is_new_log=True)
    assert len(list(list_signed(tmp_path))) == 3
    assert forget(tmp_path, GENESIS)
    assert len(list(list_signed(tmp_path))) == 2


def test_a_file_of_another_log_in_its_place_says_nothing(tmp_path: Path, kept: LastSigned) -> None:
    """Records are bound to their log, so blocks cannot be exchanged."""
    other = make(tmp_path, NAMES._replace(genesis=OTHER, key="k"), Signed(9, "9" * 64), None)
    mixed = kept.path.read_bytes()[: 4 * 512] + other.path.read_bytes()[4 * 512 :]
    kept.path.write_bytes(mixed)
    with pytest.raises(StateError, match="no checkpoint"):
        find(tmp_path, GENESIS)


def test_the_folder_is_private(tmp_path: Path, kept: LastSigned) -> None:
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700
