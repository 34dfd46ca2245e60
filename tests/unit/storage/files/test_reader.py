"""The read-only view of a log's directory: positions, torn tails, damage, following."""

import os
import shutil
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from tests.support.logs import ORIGIN, GrowingLog, draft

from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES, Entry
from attestlog._internal.storage.files import segments
from attestlog._internal.storage.files.layout import ENTRIES_DIR
from attestlog._internal.storage.files.reader import FileSource
from attestlog.errors import CorruptError, DeniedError, MalformedEntryError, NotFoundError


@pytest.fixture
def log(tmp_path: Path) -> GrowingLog:
    """Three segments of ten, the last with three entries."""
    log = GrowingLog(tmp_path / "log", segment_entries=10)
    for number in range(1, 23):
        log.append(draft(number))
    return log


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that bisecting and searching backwards take many steps in a small file."""
    monkeypatch.setattr(segments, "SEARCH_BYTES", 100)
    monkeypatch.setattr(segments, "LOOK_BYTES", 50)


def numbers(entries: Any) -> list[int]:
    return [entry.sequence_number for entry in entries]


def test_everything_is_read_back(log: GrowingLog) -> None:
    reader = FileSource(log.root)
    assert list(reader.lines()) == log.stored_lines()
    assert numbers(reader.entries()) == list(range(23))
    assert reader.size() == 23
    assert reader.genesis().origin == ORIGIN
    assert reader.entry(22).entry_hash == log.head.entry_hash
    assert reader.line(22) == log.stored_lines()[22]


@pytest.mark.parametrize("start", [0, 1, 9, 10, 11, 19, 20, 22, 23, 24, 40])
@pytest.mark.parametrize("stop", [None, 0, 5, 10, 11, 20, 21, 23, 99])
def test_ranges(log: GrowingLog, start: int, stop: int | None) -> None:
    assert list(FileSource(log.root).lines(start, stop)) == log.stored_lines()[start:stop]


def test_every_entry_is_found_by_bisecting(log: GrowingLog, small_blocks: None) -> None:
    reader = FileSource(log.root)
    assert [reader.entry(number).sequence_number for number in range(23)] == list(range(23))
    for number in (23, 24, 30, 1_000_000):
        with pytest.raises(NotFoundError, match="the log has 23"):
            reader.entry(number)


def test_located_lines_can_be_read_again(log: GrowingLog) -> None:
    reader = FileSource(log.root)
    located = list(reader.located_lines(8, 13))
    assert [line.segment for line in located] == [0, 0, 10, 10, 10]
    assert [reader.read_at(line.segment, line.offset, len(line.data)) for line in located] == [
        line.data for line in located
    ]
    assert reader.read_at(20, 1 << 40, 10) == b""
    assert reader.read_at(30, 0, 10) == b""


def test_extents_are_the_segments(log: GrowingLog) -> None:
    assert FileSource(log.root).extents() == {
        first: log.path_of(first).stat().st_size for first in (0, 10, 20)
    }


def test_negative_start_is_the_callers_mistake(log: GrowingLog) -> None:
    with pytest.raises(ValueError, match="start is -1"):
        FileSource(log.root).entry(-1)


@pytest.mark.parametrize("torn", [b"{", b'{"sequence_number":23}', b"\x00" * 5000])
def test_torn_tail_is_no_entry(log: GrowingLog, small_blocks: None, torn: bytes) -> None:
    log.write_raw(torn)
    reader = FileSource(log.root)
    assert reader.size() == 23
    assert list(reader.lines()) == [line for line in log.stored_lines() if line != torn]
    assert numbers(reader.entries(21)) == [21, 22]
    with pytest.raises(NotFoundError):
        reader.entry(23)


def test_empty_last_segment_is_passed_over(log: GrowingLog) -> None:
    for number in range(23, 30):
        log.append(draft(number))
    log.write_raw(b"", 30)
    reader = FileSource(log.root)
    assert reader.size() == 30
    assert list(reader.lines()) == log.stored_lines()


def test_no_entry_yet(tmp_path: Path) -> None:
    (tmp_path / ENTRIES_DIR).mkdir()
    reader = FileSource(tmp_path)
    assert reader.size() == 0
    assert list(reader.lines()) == []
    with pytest.raises(NotFoundError):
        reader.genesis()


def test_strangers_beside_the_segments_are_ignored(log: GrowingLog) -> None:
    for name in ("torn-000000000020-1", "000000000030.jsonl~", "30.jsonl", "notes.txt"):
        (log.root / ENTRIES_DIR / name).write_bytes(b"x\n")
    assert FileSource(log.root).size() == 23


# Damage


def test_missing_log(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such directory"):
        FileSource(tmp_path / "nothing")
    with pytest.raises(NotFoundError, match="it has no entries/"):
        FileSource(tmp_path)
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(NotFoundError):
        FileSource(file)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_log_is_denied(log: GrowingLog) -> None:
    path = log.path_of(22)
    path.chmod(0)
    with pytest.raises(DeniedError):
        FileSource(log.root).size()
    path.chmod(0o600)


def test_refusals_of_the_operating_system_are_typed(log: GrowingLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied")

    reader = FileSource(log.root)
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DeniedError, match="may not be read"):
        list(reader.lines())


def test_missing_segment_is_named(log: GrowingLog) -> None:
    log.path_of(10).unlink()
    with pytest.raises(CorruptError, match="ends after entry 9, the next segment starts at 20") as caught:
        list(FileSource(log.root).lines())
    assert caught.value.sequence_number == 10


def test_missing_first_segment_is_named(log: GrowingLog) -> None:
    log.path_of(0).unlink()
    with pytest.raises(CorruptError, match="entry 0 is missing") as caught:
        list(FileSource(log.root).lines())
    assert caught.value.sequence_number == 0
    assert numbers(FileSource(log.root).entries(10)) == list(range(10, 23))


def test_short_segment_is_named(log: GrowingLog) -> None:
    path = log.path_of(10)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptError, match="ends within entry 19") as caught:
        list(FileSource(log.root).lines())
    assert caught.value.sequence_number == 19


def test_line_that_is_no_entry_is_named_and_read_past_as_a_line(log: GrowingLog, small_blocks: None) -> None:
    path = log.path_of(10)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:4], b"rubbish\n", *lines[5:]]))
    reader = FileSource(log.root)
    with pytest.raises(CorruptError, match="line 14 is not an entry") as caught:
        list(reader.entries())
    assert caught.value.sequence_number == 14
    assert list(reader.lines())[14] == b"rubbish"
    assert [reader.entry(number).sequence_number for number in (10, 13, 15, 19, 20)] == [10, 13, 15, 19, 20]


@pytest.mark.parametrize("stated", [0, 3, 8, 99, -5, 10**15])
@pytest.mark.parametrize("liar", [20, 21, 22])
def test_lines_that_lie_about_their_number_are_found_by_position(
    log: GrowingLog, small_blocks: None, stated: int, liar: int
) -> None:
    path = log.path_of(20)
    text = path.read_bytes().replace(b'"sequence_number":%d,' % liar, b'"sequence_number":%d,' % stated)
    path.write_bytes(text)
    reader, lines = FileSource(log.root), log.stored_lines()
    for number in range(23):
        assert list(reader.lines(number, number + 1)) == [lines[number]]
    assert list(reader.lines(23)) == []


def test_any_one_lie_within_a_full_segment(log: GrowingLog, small_blocks: None) -> None:
    path, reader, honest = log.path_of(10), FileSource(log.root), log.path_of(10).read_bytes()
    for liar in range(10, 20):
        for stated in range(9, 21):
            was, now = b'"sequence_number":%d,' % liar, b'"sequence_number":%d,' % stated
            path.write_bytes(honest.replace(was, now))
            lines = log.stored_lines()
            assert [next(reader.lines(number)) for number in range(10, 20)] == lines[10:20], (liar, stated)


@pytest.mark.parametrize("liar", [20, 21, 22])
@pytest.mark.parametrize("stated", [0, 19, 20, 21, 22, 23, 10**15])
def test_size_is_not_lied_about_by_one_line(log: GrowingLog, liar: int, stated: int) -> None:
    path = log.path_of(20)
    was, now = b'"sequence_number":%d,' % liar, b'"sequence_number":%d,' % stated
    path.write_bytes(path.read_bytes().replace(was, now))
    assert FileSource(log.root).size() == 23


def test_damaged_last_line_is_counted(log: GrowingLog) -> None:
    log.write_raw(b"rubbish\n")
    reader = FileSource(log.root)
    assert reader.size() == 24
    with pytest.raises(CorruptError):
        reader.entry(23)


def test_line_end_is_not_searched_for_ever(log: GrowingLog) -> None:
    with log.path_of(22).open("ab") as file:
        file.truncate(log.path_of(22).stat().st_size + LINE_SIZE_MAX_BYTES + 2)
    reader = FileSource(log.root)
    for search in (reader.size, lambda: reader.line(23), lambda: list(reader.lines(20))):
        with pytest.raises(CorruptError, match="a line of more than"):
            search()


def test_genesis_of_another_kind(log: GrowingLog) -> None:
    path = log.path_of(0)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[1:]))
    with pytest.raises(MalformedEntryError, match="want BOOT"):
        FileSource(log.root).genesis()


# Following


class Script(Event):
    """Instead of waiting, does the next step; stops after the last."""

    def __init__(self, *steps: Any) -> None:
        super().__init__()
        self.steps = list(steps)

    def wait(self, timeout: float | None = None) -> bool:
        if not self.steps:
            self.set()
            return True
        self.steps.pop(0)()
        return False


def test_follow_crosses_segments_and_waits_for_whole_lines(log: GrowingLog) -> None:
    for number in range(23, 29):
        log.append(draft(number))
    donor = GrowingLog(log.root.parent / "donor", segment_entries=10)
    for number in range(1, 36):
        donor.append(draft(number))
    line_29 = donor.stored_lines()[29]
    seen: list[int] = []
    script = Script(
        lambda: log.write_raw(line_29[:50], 29),
        lambda: log.write_raw(line_29[50:], 29),  # all but its line end
        lambda: seen.append(-1),
        lambda: log.write_raw(b"\n", 29),
        lambda: shutil.copy(donor.path_of(30), log.path_of(30)),
    )
    seen.extend(entry.sequence_number for entry in FileSource(log.root).follow(27, stopped=script))
    assert seen == [27, 28, -1, 29, 30, 31, 32, 33, 34, 35]


def test_follow_from_the_end_sees_only_what_is_new(log: GrowingLog) -> None:
    script = Script(lambda: None, lambda: log.append(draft(23), draft(24)))
    assert numbers(FileSource(log.root).follow(23, stopped=script)) == [23, 24]


def test_follow_stops_between_entries(log: GrowingLog) -> None:
    stopped = Event()
    seen: list[Entry] = []
    for entry in FileSource(log.root).follow(stopped=stopped):
        seen.append(entry)
        if len(seen) == 5:
            stopped.set()
    assert numbers(seen) == [0, 1, 2, 3, 4]


def test_follow_survives_a_replaced_segment(log: GrowingLog) -> None:
    """Erasing a payload replaces a segment by a shorter file."""
    path = log.path_of(20)

    def replace() -> None:
        new = path.with_suffix(".new")
        new.write_bytes(path.read_bytes().replace(b'{"number":20,"task_id":"T-20"}', b"null"))
        new.replace(path)
        log.append(draft(23))

    script = Script(replace)
    assert numbers(FileSource(log.root).follow(21, stopped=script)) == [21, 22, 23]


def test_follow_says_when_the_log_became_shorter(log: GrowingLog) -> None:
    script = Script(log.path_of(20).unlink)
    with pytest.raises(CorruptError, match="the log has 20 entries, 23 were read before"):
        list(FileSource(log.root).follow(stopped=script))
