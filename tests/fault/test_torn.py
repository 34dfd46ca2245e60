"""Tails that were never acknowledged are set aside; tails that were are never touched."""

import itertools
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.support.logs import (
    checkpoint_file,
    contents,
    copied,
    create,
    cut_tree,
    draft,
    drafts,
    last_segment,
    torn_files,
    tree_file,
    unremembered,
)

from attestlog._internal import disk
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES, decode_line
from attestlog._internal.log import Log
from attestlog._internal.storage.files.layout import ENTRIES_DIR
from attestlog._internal.storage.files.store import FileStore
from attestlog.errors import CorruptError, StorageError
from attestlog.testing import check_log


class Crashed(NamedTuple):
    """A log whose process died after its last commit was in the file and before anything else knew."""

    path: Path
    committed: int
    """Entries that tree or checkpoint prove."""
    start: int
    """Offset of the last, unproven commit in the last segment."""

    @property
    def segment(self) -> Path:
        return last_segment(self.path)

    def tail(self) -> bytes:
        return self.segment.read_bytes()[self.start :]


def crashed(path: Path, *, last: int, batch: bool = True, segment_entries: int = 65_536) -> Crashed:
    """Two entries, a checkpoint, two more entries, and then a commit of `last` that nobody acknowledged."""
    log = create(path, batch=batch, segment_entries=segment_entries)
    log.append(draft(1))
    log.checkpoint()
    log.append_many(drafts([2, 3]))
    committed = log.head().size
    start = last_segment(path).stat().st_size
    before = last_segment(path)
    checkpoint = checkpoint_file(path).read_bytes()
    log.append_many(drafts(range(committed, committed + last)))
    log.close()
    checkpoint_file(path).write_bytes(checkpoint)
    cut_tree(path, committed)
    return Crashed(path, committed, start if last_segment(path) == before else 0)


def heal(path: Path) -> list[str]:
    """Open, append, close; what recovery said. Nothing is remembered of what the crash took."""
    unremembered(path)
    with Log.open(path) as log:
        said = log.recovered
        receipt = log.append(draft(99))
        log.append_many(drafts([100, 101]))
    check_log(path, [receipt])
    return said


def test_a_whole_commit_that_nobody_acknowledged_is_kept(tmp_path: Path) -> None:
    log = crashed(tmp_path / "log", last=3)
    assert heal(log.path) == []
    assert len(check_log(log.path)) == log.committed + 3 + 3


@pytest.mark.parametrize("last, step", [(1, 11), (3, 23)])  # at every byte: see the unit test of recovery
def test_a_commit_cut_at_every_byte_is_set_aside_whole(
    tmp_path: Path, last: int, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: None
    )  # a thousand times: the disk is not what is tested
    log = crashed(tmp_path / "log", last=last)
    whole, tail = log.segment.read_bytes(), log.tail()
    before = contents(log.path)
    for cut in range(1, len(tail), step):
        log.segment.write_bytes(whole[: log.start + cut])
        store = FileStore(log.path)
        with store.exclusive() as head:
            assert head.size == log.committed, cut
        store.close()
        (torn,) = torn_files(log.path)
        assert torn.read_bytes() == tail[:cut], cut
        (said,) = store.recovered
        assert said.startswith(f"{cut} bytes set aside in {torn}: ")
        assert log.segment.read_bytes() == whole[: log.start], cut
        torn.unlink()
    assert contents(log.path).keys() == before.keys()
    heal(log.path)


@pytest.mark.parametrize("cut", [1, 700, -1])
def test_a_log_goes_on_after_a_cut_commit(tmp_path: Path, cut: int) -> None:
    log = crashed(tmp_path / "log", last=2)
    os.truncate(log.segment, (log.start if cut > 0 else log.segment.stat().st_size) + cut)
    assert len(heal(log.path)) == 1
    assert len(check_log(log.path)) == log.committed + 3


def test_a_batch_cut_at_each_line_end_is_set_aside_whole(tmp_path: Path) -> None:
    log = crashed(tmp_path / "log", last=5)
    tail = log.tail()
    ends = [at + 1 for at, byte in enumerate(tail) if byte == 0x0A]
    for position, cut in enumerate(ends[:-1], start=1):
        path = copied(log.path, f"cut-{cut}")
        os.truncate(last_segment(path), log.start + cut)
        (said,) = heal(path)
        assert said.endswith(f"a batch of 5 entries stops {5 - position} before its end")
        assert torn_files(path)[0].read_bytes() == tail[:cut]
        assert len(check_log(path)) == log.committed + 3


def test_a_cut_commit_without_batches_keeps_its_whole_lines(tmp_path: Path) -> None:
    """Each entry is signed alone there, so each is its own batch."""
    log = crashed(tmp_path / "log", last=3, batch=False)
    tail = log.tail()
    first_line = tail.index(b"\n") + 1
    os.truncate(log.segment, log.start + first_line + 10)
    heal(log.path)
    assert torn_files(log.path)[0].read_bytes() == tail[first_line : first_line + 10]
    assert len(check_log(log.path)) == log.committed + 1 + 3


@pytest.mark.parametrize(
    "proof, cut",
    [
        *itertools.product(
            ["tree", "checkpoint", "both"], ["line", "batch", "line end", "whole batch", "most"]
        ),
        ("upper level", "most"),  # one hash of 256 entries says nothing of those after them
    ],
)
def test_what_is_proven_to_have_been_committed_is_never_set_aside(
    tmp_path: Path, proof: str, cut: str
) -> None:
    path = tmp_path / "log"
    log = create(path)
    log.append_many(drafts(range(1, 300)))
    start = last_segment(path).stat().st_size
    log.append_many(drafts(range(300, 303)))
    log.close()
    if proof == "tree":
        checkpoint_file(path).unlink()
    elif proof == "checkpoint":
        shutil.rmtree(path / "tree")
    elif proof == "upper level":
        checkpoint_file(path).unlink()
        tree_file(path, 0).unlink()
    size_bytes = last_segment(path).stat().st_size
    tail = last_segment(path).read_bytes()[start:]
    second_line = tail.index(b"\n") + 1
    stops = {
        "line": size_bytes - 1, "batch": start + second_line + 100, "line end": start + second_line,
        "whole batch": start, "most": last_segment(path).read_bytes().index(b"\n") + 1,
    }  # fmt: skip
    missing = {"line": 302, "batch": 301, "line end": 301, "whole batch": 300, "most": 1}[cut]
    os.truncate(last_segment(path), stops[cut])
    before = contents(path)
    with pytest.raises(CorruptError) as caught:
        FileStore(path)
    # A batch that misses its end is missing whole.
    assert caught.value.sequence_number in {missing, 300}
    assert caught.value.sequence_number <= missing
    assert caught.value.repair == "entries"
    assert contents(path) == before, "nothing is changed on the disk"


@pytest.mark.parametrize(
    "garbage", [b"\n", b"{}\n", b"garbage", b"\x00" * 5_000, b"\xff\xfe\n\n\nx", b'{"a":1}\n{"b"']
)
@pytest.mark.parametrize("closed", [True, False])
def test_garbage_after_the_last_line_is_set_aside(tmp_path: Path, garbage: bytes, closed: bool) -> None:
    path = tmp_path / "log"
    log = create(path)
    receipts = log.append_many(drafts(range(1, 4)))
    if closed:
        log.close()
    else:
        log._store.close()
    with last_segment(path).open("ab") as file:
        file.write(garbage)
    heal(path)
    assert torn_files(path)[0].read_bytes() == garbage
    check_log(path, receipts)


def test_garbage_longer_than_any_line_is_set_aside_to_the_last_byte(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path)
    log.append(draft(1))
    log.close()
    garbage = b"\x00" * (LINE_SIZE_MAX_BYTES + (9 << 20)) + b"\nthe end"
    with last_segment(path).open("ab") as file:
        file.write(garbage)
    heal(path)
    assert torn_files(path)[0].read_bytes() == garbage


def test_an_entry_behind_garbage_longer_than_any_line_is_not_thrown_away(tmp_path: Path) -> None:
    log = crashed(tmp_path / "log", last=1)
    line = log.tail()
    with log.segment.open("r+b") as file:
        file.truncate(log.start)
        file.seek(log.start)
        file.write(b"\x00" * (LINE_SIZE_MAX_BYTES + 100) + b"\n" + line)
    before = contents(log.path)
    with pytest.raises(CorruptError):
        FileStore(log.path)
    assert contents(log.path) == before


@pytest.mark.parametrize("hole", [(0, 4_096), (100, 300), (2_000, 6_000), (0, 1)])
def test_holes_in_an_unacknowledged_batch_are_no_damage(tmp_path: Path, hole: tuple[int, int]) -> None:
    """The pages of one write reach the disk in any order."""
    log = crashed(tmp_path / "log", last=12)
    tail = bytearray(log.tail())
    assert len(tail) > 12_000
    tail[hole[0] : hole[1]] = bytes(hole[1] - hole[0])
    with log.segment.open("r+b") as file:
        file.seek(log.start)
        file.write(tail)
    heal(log.path)
    assert torn_files(log.path)[0].read_bytes() == tail
    assert len(check_log(log.path)) == log.committed + 3


def test_a_hole_with_a_later_commit_behind_it_is_damage(tmp_path: Path) -> None:
    log = crashed(tmp_path / "log", last=12)
    with Log.open(log.path) as opened:
        opened.append(draft(50))
    cut_tree(log.path, log.committed)
    checkpoint_file(log.path).unlink()
    with log.segment.open("r+b") as file:
        file.seek(log.start + 2_000)
        file.write(bytes(100))
    before = contents(log.path)
    with pytest.raises(CorruptError) as caught:
        FileStore(log.path)
    assert caught.value.sequence_number is not None
    assert log.committed < caught.value.sequence_number < log.committed + 12
    assert contents(log.path) == before


@pytest.mark.parametrize("number", [0, 1, 5, 9, 10, 11, 19])
@pytest.mark.parametrize("tree", [True, False])
def test_damage_in_the_middle_refuses_and_names_the_entry(tmp_path: Path, number: int, tree: bool) -> None:
    path = tmp_path / "log"
    log = create(path)
    for n in range(1, 20):
        log.append(draft(n))
    log._store.close()  # no checkpoint covers more than the genesis entry
    if not tree:
        shutil.rmtree(path / "tree")
    lines = last_segment(path).read_bytes().splitlines(keepends=True)
    position = sum(map(len, lines[:number])) + 40
    with last_segment(path).open("r+b") as file:
        file.seek(position)
        file.write(b"\x00\x01\x02")
    before = contents(path)
    if number == 0:
        with pytest.raises(Exception, match="entry") as broken:
            FileStore(path)
        assert broken.type.__module__ == "attestlog.errors"
    elif number == 19 and not tree:
        heal(path)  # nothing proves that the last line was ever acknowledged
        assert torn_files(path)[0].read_bytes() == before["entries/000000000000.jsonl"][position - 40 :]
        return
    else:
        with pytest.raises(CorruptError) as caught:
            FileStore(path)
        assert caught.value.sequence_number == number
    assert contents(path) == before


@pytest.mark.parametrize("number", [3, 9])
def test_a_line_that_was_removed_is_damage_even_before_the_last(tmp_path: Path, number: int) -> None:
    path = tmp_path / "log"
    log = create(path)
    for n in range(1, 11):
        log.append(draft(n))
    log._store.close()
    shutil.rmtree(path / "tree")
    lines = last_segment(path).read_bytes().splitlines(keepends=True)
    last_segment(path).write_bytes(b"".join(lines[:number] + lines[number + 1 :]))
    before = contents(path)
    with pytest.raises(CorruptError) as caught:
        FileStore(path)
    assert caught.value.sequence_number == number
    assert contents(path) == before


# --- recovery that is itself interrupted ---


class Killed(BaseException):
    """Stands for the power going off: nothing after it happens."""


def test_recovery_interrupted_between_copy_and_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = crashed(tmp_path / "log", last=3)
    os.truncate(log.segment, log.segment.stat().st_size - 7)
    tail = log.tail()

    def killed(descriptor: int, size_bytes: int) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", killed)
        with pytest.raises(Killed):
            FileStore(log.path)
    assert [file.read_bytes() for file in torn_files(log.path)] == [tail]
    heal(log.path)
    assert [file.read_bytes() for file in torn_files(log.path)] == [tail, tail]
    assert len(check_log(log.path)) == log.committed + 3


def test_what_was_set_aside_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path)
    log.append(draft(1))
    log.close()
    size_bytes = last_segment(path).stat().st_size
    kept = []
    for number in range(4):
        garbage = b"garbage %d" % number
        with last_segment(path).open("ab") as file:
            file.write(garbage)
        Log.open(path).close()
        kept.append(garbage)
        assert last_segment(path).stat().st_size == size_bytes
        assert sorted(file.read_bytes() for file in torn_files(path)) == kept
    check_log(path)


def test_a_tail_that_cannot_be_set_aside_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = crashed(tmp_path / "log", last=1)
    os.truncate(log.segment, log.start + 50)
    before = contents(log.path)
    real = os.fsync

    def failing(descriptor: int) -> None:
        if "torn-" in Path(f"/proc/self/fd/{descriptor}").readlink().name:
            raise OSError(5, "Input/output error")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(StorageError, match="setting aside"):
            FileStore(log.path)
    assert contents(log.path) == before, "no half copy is left either"
    heal(log.path)
    assert len(torn_files(log.path)) == 1


def test_a_torn_tail_in_a_later_segment(tmp_path: Path) -> None:
    log = crashed(tmp_path / "log", last=3, segment_entries=4)
    assert (log.committed, log.start) == (4, 0)
    os.truncate(log.segment, 100)
    heal(log.path)
    assert torn_files(log.path)[0].name == "torn-000000000004-0"
    assert len(check_log(log.path)) == 4 + 3


def test_an_empty_new_segment_is_gone_on_in(tmp_path: Path) -> None:
    log = crashed(tmp_path / "log", last=3, segment_entries=4)
    os.truncate(log.segment, 0)
    assert heal(log.path) == []
    assert len(check_log(log.path)) == 4 + 3


def test_stray_new_files_are_harmless(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path)
    receipt = log.append(draft(1))
    log.close()
    for place in (path, path / ENTRIES_DIR, path / "tree"):
        (place / ".checkpoint.4711.new").write_bytes(b"half a check")
    (path / ENTRIES_DIR / "000000000000.jsonl.bak").write_bytes(b"x")
    heal(path)
    check_log(path, [receipt])


def test_a_live_writer_sets_aside_what_another_process_left(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path)
    log.append(draft(1))
    with last_segment(path).open("ab") as file:
        file.write(b'{"half":')
    receipt = log.append(draft(2))
    assert len(log.recovered) == 1
    log.close()
    assert torn_files(path)[0].read_bytes() == b'{"half":'
    check_log(path, [receipt])


def test_unproven_entries_are_written_anew_before_they_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed sync the kernel takes pages for clean that never reached the disk."""
    log = crashed(tmp_path / "log", last=3)
    tail = log.tail()
    steps: list[tuple[str, int, bytes]] = []
    real_pwrite, real_sync = disk.pwrite_all, os.fdatasync

    def pwrite(descriptor: int, data: bytes, offset: int) -> None:
        steps.append(("write", offset, data))
        real_pwrite(descriptor, data, offset)

    def fdatasync(descriptor: int) -> None:
        steps.append(("sync", 0, b""))
        real_sync(descriptor)

    monkeypatch.setattr(disk, "pwrite_all", pwrite)
    monkeypatch.setattr(os, "fdatasync", fdatasync)
    Log.open(log.path)._store.close()
    assert steps[:2] == [("write", log.start, tail), ("sync", 0, b"")]


def test_a_line_is_what_its_writer_signed(tmp_path: Path) -> None:
    """An unproven last line that was altered and still parses is torn, not taken in."""
    log = crashed(tmp_path / "log", last=1)
    line = log.tail()
    altered = line.replace(b'"number":4', b'"number":5')
    assert altered != line
    assert decode_line(altered.rstrip()) != decode_line(line.rstrip())
    with log.segment.open("r+b") as file:
        file.seek(log.start)
        file.write(altered)
    heal(log.path)
    assert torn_files(log.path)[0].read_bytes() == altered


def test_a_hole_at_the_end_takes_no_room_when_it_is_set_aside(tmp_path: Path) -> None:
    """A segment that was made larger than its disk: its zeros were never written, and never are."""
    path = tmp_path / "log"
    with create(path) as log:
        receipts = log.append_many(drafts(range(3)))
    segment = last_segment(path)
    size_bytes, hole_bytes = segment.stat().st_size, 4 << 30
    os.truncate(segment, size_bytes + hole_bytes)
    if segment.stat().st_blocks * 512 >= hole_bytes:
        pytest.skip("this file system has no holes")
    heal(path)
    assert segment.stat().st_size < 1 << 20
    (torn,) = torn_files(path)
    assert torn.stat().st_blocks * 512 <= 1 << 20
    check_log(path, receipts)
