"""Room in an open segment: spaces behind the last line feed are nothing to readers; writers cut them."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest
from tests.support.logs import (
    ORIGIN,
    LogMaker,
    add_room,
    contents,
    copied,
    create,
    draft,
    drafts,
    last_segment,
    torn_files,
    unremembered,
)
from tests.support.replicas import new_replica

from attestlog._internal.core.genesis import Settings
from attestlog._internal.core.replication import Shipment, log_id
from attestlog._internal.in_force import read_rules
from attestlog._internal.legacy.verify import judge_legacy
from attestlog._internal.log import Log
from attestlog._internal.proving import prove
from attestlog._internal.query import query_log
from attestlog._internal.query.index import Index
from attestlog._internal.storage.files.archive import archive_segments
from attestlog._internal.storage.files.reader import FileSource
from attestlog._internal.storage.files.segments import ROOM_SIZE_MAX_BYTES
from attestlog._internal.storage.files.store import FileStore
from attestlog._internal.storage.publishing import publish_log
from attestlog._internal.verifier import verify as one_file
from attestlog._internal.verifying import judge_log
from attestlog.errors import DeniedError, RollbackError, StorageError
from attestlog.testing import ManualClock, check_log

SIZES = [0, 1, 4_096, ROOM_SIZE_MAX_BYTES, ROOM_SIZE_MAX_BYTES + 1]
IS_ROOM = SIZES[:-1]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A log of 7 entries in segments of four, closed."""
    with create(tmp_path / "log", segment_entries=4) as log:
        log.append_many(drafts(range(1, 4)))
        log.append_many(drafts(range(4, 7)))
    return tmp_path / "log"


def codes(root: Path) -> set[str]:
    return {finding.code for finding in judge_log(root, remember=False, workers=1).findings}


def verdict(root: Path) -> str:
    report = one_file.Report()
    one_file.verify(report, root, None, one_file.parse_trust([]))
    full = judge_log(root, remember=False, workers=1).verdict
    assert report.verdict == full, report.facts
    return report.verdict


# --- readers ---


@pytest.mark.parametrize("size_bytes", SIZES)
def test_both_verifiers(root: Path, size_bytes: int) -> None:
    add_room(root, size_bytes)
    assert verdict(root) == ("VERIFIED" if size_bytes in IS_ROOM else "INCOMPLETE")
    assert codes(root) == (set() if size_bytes in IS_ROOM else {"log.torn_tail"})


@pytest.mark.parametrize("size_bytes", SIZES)
def test_readers_see_the_same_entries(root: Path, tmp_path: Path, size_bytes: int) -> None:
    before, extents = list(FileSource(root).lines()), dict(FileSource(root).extents())
    add_room(root, size_bytes)
    there = contents(root)
    source = FileSource(root)
    assert (source.size(), list(source.lines())) == (7, before)
    assert [source.line(number) for number in range(7)] == before
    assert [located.data for located in source.located_lines(2)] == before[2:]
    assert (dict(source.extents()) == extents) == (size_bytes in IS_ROOM)
    assert read_rules(source).genesis_hash == source.entry(0).entry_hash
    assert prove(root, 5).startswith(b"c2sp.org/tlog-proof")
    assert publish_log(root, tmp_path / "public").size == 7
    assert [entry.sequence_number for entry in query_log(root, newest_first=False)] == list(range(7))
    assert contents(root) == there


def test_room_of_an_empty_segment(root: Path) -> None:
    with Log.open(root) as log:
        log.append(draft(7))
    (root / "entries" / "000000000008.jsonl").write_bytes(b" " * 100)
    assert (FileSource(root).size(), verdict(root)) == (8, "VERIFIED")
    with Log.open(root) as log:
        assert (log.recovered, log.append(draft(8)).sequence_number) == ([], 8)
    check_log(root, [])


def test_following_goes_on_as_entries_are_written_into_room(tmp_path: Path) -> None:
    made = LogMaker(tmp_path / "log")
    made.append(draft(1))
    made.lay_out()
    segment, seen, stopped = made.segment(), [], Event()
    size = segment.stat().st_size
    add_room(tmp_path / "log", 64 << 10)
    for entry in FileSource(tmp_path / "log").follow(poll_s=0, stopped=stopped):
        seen.append(entry.sequence_number)
        if len(seen) == 2:
            made.append(draft(2))
            with segment.open("r+b") as file:
                file.seek(size)
                file.write(made.lines[2] + b"\n")
        if len(seen) == 3:
            stopped.set()
    assert seen == [0, 1, 2]


def test_an_index_stays_while_room_comes_and_goes(root: Path) -> None:
    """Its mark is where the lines end: room is no reason to make it anew."""
    segment = last_segment(root)
    size_bytes = segment.stat().st_size
    add_room(root)
    with Index.open(root) as index:
        assert index.catch_up() == 7
        os.truncate(segment, size_bytes)
        assert index.catch_up() == 0
        add_room(root, 10)
        assert index.catch_up() == 0
    with Log.open(root) as log:
        log.append_many(drafts(range(7, 12)))
    with Index.open(root) as index:
        assert index.catch_up() == 5


def test_a_replica_gets_lines_without_room(root: Path, tmp_path: Path) -> None:
    add_room(root)
    source = FileSource(root)
    replica = new_replica(tmp_path / "replica")
    note = source.stored_checkpoint()
    replica.take(log_id(ORIGIN), Shipment(0, list(source.lines()), note))
    kept = list((tmp_path / "replica").rglob("*.jsonl"))
    assert kept
    assert not any(path.read_bytes().endswith(b" ") for path in kept)


def test_a_legacy_file_may_end_in_spaces(tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    path.write_bytes(b" " * 4_096)
    assert judge_legacy(path).verdict != "TAMPERED"


# --- what is not room ---


@pytest.mark.parametrize("tail", [b"\0" * 4_096, b"  \0  ", b" " * 4_096 + b"x", b"\t\t\t", b"{   "])
def test_anything_else_at_the_end_is_torn_as_before(root: Path, tail: bytes) -> None:
    segment = last_segment(root)
    before = segment.read_bytes()
    segment.write_bytes(before + tail)
    assert (verdict(root), codes(root)) == ("INCOMPLETE", {"log.torn_tail"})
    with Log.open(root) as log:
        assert len(log.recovered) == 1
        log.append(draft(7))
    assert [path.read_bytes() for path in torn_files(root)] == [tail.rstrip(b" ")]
    check_log(root, [])


def test_a_line_of_spaces_is_not_room(root: Path) -> None:
    segment = last_segment(root)
    segment.write_bytes(segment.read_bytes() + b" " * 4_096 + b"\n" + b" " * 100)
    assert (verdict(root), codes(root)) == ("INCOMPLETE", {"log.torn_tail"})
    with Log.open(root) as log:
        assert len(log.recovered) == 1


@pytest.mark.parametrize("text", [b" " * 4_096 + b"\n", b"\0" * 4_096, b" "])
def test_room_hides_nothing_among_entries(root: Path, text: bytes) -> None:
    """Spaces, or zeros that punching a hole leaves, before an entry are damage."""
    segment = last_segment(root)
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(lines[0] + text + b"".join(lines[1:]) + b" " * 100)
    assert verdict(root) == "TAMPERED"


def test_zeros_within_what_was_acknowledged_are_damage(root: Path) -> None:
    segment = last_segment(root)
    data = bytearray(segment.read_bytes())
    data[-200:] = bytes(200)
    segment.write_bytes(data + b" " * 4_096)
    assert verdict(root) != "VERIFIED"
    with pytest.raises(StorageError, match="damaged"):
        FileStore(root)
    with pytest.raises(RollbackError):
        Log.open(root)


def test_room_in_a_segment_that_is_not_the_last(root: Path) -> None:
    log = Log.open(root)
    log.append(draft(7))
    log._store.close()
    first = root / "entries" / "000000000000.jsonl"
    first.write_bytes(first.read_bytes() + b" " * 10)
    report = judge_log(root, remember=False, workers=1)
    assert (verdict(root), codes(root)) == ("TAMPERED", {"segment.length"})
    assert report.findings[0].found == 10
    with pytest.raises(StorageError, match="does not end with entry 3"):
        Log.open(root)


def test_room_in_an_archive(tmp_path: Path) -> None:
    with create(tmp_path / "log", segment_entries=4) as log:
        for number in range(1, 18):
            log.append(draft(number))
    (tmp_path / "cold").mkdir()
    (moved, *_) = archive_segments(tmp_path / "log", tmp_path / "cold")
    Path(moved.path).write_bytes(Path(moved.path).read_bytes() + b" ")
    assert (verdict(tmp_path / "log"), codes(tmp_path / "log")) == ("TAMPERED", {"segment.length"})


# --- writers ---


@pytest.mark.parametrize("size_bytes", IS_ROOM)
def test_a_writer_goes_on_where_the_lines_end(root: Path, size_bytes: int) -> None:
    segment = add_room(root, size_bytes)
    before = segment.read_bytes().rstrip(b" ")
    with Log.open(root) as log:
        assert (log.recovered, log.append(draft(7)).sequence_number) == ([], 7)
        assert segment.read_bytes().startswith(before + b"{")
        assert segment.read_bytes().endswith(b"}\n")
        log.append(draft(8))
    assert not torn_files(root)
    assert b" \n" not in segment.read_bytes()
    assert len(check_log(root, [])) == 9


def test_room_is_cut_on_closing(root: Path) -> None:
    """Also by a writer that wrote nothing, and never without the lock."""
    segment = add_room(root)
    log = Log.open(root)
    log.head()
    assert segment.read_bytes().endswith(b" ")
    log.close()
    assert not segment.read_bytes().endswith(b" ")


def test_room_is_not_cut_without_the_lock(root: Path) -> None:
    segment = add_room(root)
    store, other = FileStore(root), FileStore(root)
    with other.exclusive():
        store.close()
        assert segment.read_bytes().endswith(b" ")
    other.close()
    assert not segment.read_bytes().endswith(b" ")


def test_two_writers_of_which_one_closes(root: Path) -> None:
    first, second = Log.open(root, clock=ManualClock()), Log.open(root, clock=ManualClock())
    segment = add_room(root)
    first.append(draft(7))  # fills the segment
    add_room(root, 100)
    assert second.append(draft(8)).sequence_number == 8
    assert segment.read_bytes().endswith(b"}\n")
    add_room(root, 4_096)
    second.close()
    assert first.append(draft(9)).sequence_number == 9
    add_room(root, 10)
    first.close()
    assert [path.read_bytes()[-2:] for path in sorted((root / "entries").iterdir())] == [b"}\n"] * 3
    assert len(check_log(root, [])) == 10


def test_the_room_of_a_full_segment_is_cut_durably_before_the_next_is_made(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log.open(root)
    log.append(draft(7))
    segment = add_room(root)
    steps: list[str] = []
    opened = os.open

    def noted_open(path: str, flags: int, *rest: int) -> int:
        if flags & os.O_CREAT and str(path).endswith(".jsonl"):
            steps.append("create")
        return opened(path, flags, *rest)

    def noted(name: str, call: Callable[..., None]) -> Callable[..., None]:
        def and_noted(*arguments: int) -> None:
            steps.append(name)
            call(*arguments)

        return and_noted

    monkeypatch.setattr(os, "ftruncate", noted("cut", os.ftruncate))
    monkeypatch.setattr(os, "fsync", noted("sync", os.fsync))
    monkeypatch.setattr(os, "open", noted_open)
    log.append(draft(8))
    assert steps[steps.index("cut") :][:3] == ["cut", "sync", "create"]
    assert segment.read_bytes().endswith(b"}\n")
    log.close()
    check_log(root, [])


def test_an_erasure_leaves_no_room(tmp_path: Path) -> None:
    root = tmp_path / "log"
    with create(root, settings=Settings(erasable_payloads=True)) as log:
        log.append_many(drafts(range(1, 4)))
        segment = add_room(root)
        log.erase(2, reason="asked for", actor_id="officer-1")
        assert segment.read_bytes().endswith(b"}\n")
        add_room(root)
        log.append(draft(4))
    check_log(root, [])


def test_something_behind_room_is_set_aside_before_anything_is_written(root: Path) -> None:
    """A writer looks at one byte to see whether another wrote; it cuts only what is spaces to the end."""
    log = Log.open(root)
    segment = last_segment(root)
    before = segment.read_bytes()
    segment.write_bytes(before + b" " * 100 + b"x" * 10)
    receipt = log.append(draft(7))
    assert receipt.sequence_number == 7
    assert [path.read_bytes() for path in torn_files(root)] == [b" " * 100 + b"x" * 10]
    assert segment.read_bytes() == before + receipt.line + b"\n"
    log.close()
    check_log(root, [receipt])


def test_room_cut_at_every_byte(tmp_path: Path) -> None:
    """A crash while it is cut, or while a commit is written into it, leaves what can be gone on with."""
    with create(tmp_path / "log") as log:
        log.append(draft(1))
        log._store.close()
        segment = last_segment(tmp_path / "log")
        before = segment.read_bytes()
        other = copied(tmp_path / "log", "other")
    with Log.open(tmp_path / "log") as log:
        log.append_many(drafts([2, 3]))
        log._store.close()
    added = segment.read_bytes()[len(before) :]
    for stop in [*range(0, len(added), 61), len(added) - 1, len(added)]:
        segment = last_segment(other)
        segment.write_bytes(before + added[:stop] + b" " * (len(added) + 300 - stop))
        assert verdict(other) == ("VERIFIED" if stop in {0, len(added)} else "INCOMPLETE")
    unremembered(other)
    for stop in range(0, 300, 3):
        segment.write_bytes(before + b" " * stop)
        assert FileSource(other).size() == 2
        if stop % 50 == 0:
            with Log.open(other) as log:
                assert log.recovered == []
            segment.write_bytes(before)


def test_room_that_may_not_be_cut(root: Path) -> None:
    """`chattr +a`: nothing is written behind the room, where no reader would look for it."""
    segment = add_room(root)
    before = segment.read_bytes()
    with _append_only(segment):
        log = Log.open(root)
        with pytest.raises(DeniedError, match="cutting the room"):
            log.append(draft(7))
        log.close()
        assert segment.read_bytes() == before
        assert verdict(root) == "VERIFIED"
    with Log.open(root) as log:
        assert log.append(draft(7)).sequence_number == 7


def test_without_room_an_append_only_segment_is_written_to(root: Path) -> None:
    with _append_only(last_segment(root)), Log.open(root) as log:
        assert log.append(draft(7)).sequence_number == 7
    check_log(root, [])


@contextlib.contextmanager
def _append_only(path: Path) -> Iterator[None]:
    if subprocess.run(["chattr", "+a", path], check=False, capture_output=True).returncode:
        pytest.skip("chattr +a is not to be had here: it takes root, and a file system that has it")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-a", path], check=True)
