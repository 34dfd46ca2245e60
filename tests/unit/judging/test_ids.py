"""Ids that are used twice: by both verifiers, in memory and spilled, by one process and by several."""

import random
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support.audits import codes, verify
from tests.support.logs import LogMaker, draft, entry_id

from attestlog._internal.judging import ids as module
from attestlog._internal.judging.ids import EntryIds
from attestlog._internal.verifier import verify as one_file
from attestlog._internal.verifying import source, whole

REPEATED, UNREAD = "entry.id_repeated", "entry.ids_unread"


def log_of(root: Path, ids: Sequence[int], **options: Any) -> LogMaker:
    """Entries 1… with these ids; entry 0 has id 1."""
    log = LogMaker(root, **options)
    for number in ids:
        log.ids = number - 1
        log.append(draft(number))
    log.lay_out()
    return log


def said_by_one_file(root: Path) -> tuple[str, list[tuple[str, int | None]]]:
    report = one_file.Report()
    one_file.verify(report, root, None, one_file.parse_trust([]))
    return report.verdict, report.found


def given(ids: Iterable[int], *, first: int = 0) -> EntryIds:
    known = EntryIds(first, whole._temporary_file)
    for number in ids:
        known.add(uuid.UUID(entry_id(number)).bytes, 1)
    return known


def found(known: EntryIds) -> list[tuple[str, int | None, Any]]:
    result = [(item.code, item.sequence_number, item.found) for item in known.settle()]
    known.close()
    return result


@pytest.mark.parametrize(
    "ids, first",
    [([2, 3, 4, 5], None), ([2, 3, 2, 4], 3), ([1, 2], 1), ([2, 3, 4, 4], 4), ([2, 2, 2, 2, 3], 2)],
)
@pytest.mark.parametrize("kept", [1, 100])
def test_both_verifiers_notice_an_id_that_is_used_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids: list[int], first: int | None, kept: int
) -> None:
    monkeypatch.setattr(module, "KEPT_MAX", kept)
    monkeypatch.setattr(one_file.EntryIds, "kept_max", kept)
    log = log_of(tmp_path / "log", ids, segment_entries=3)
    due = [] if first is None else [(REPEATED, first)]
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == ("VERIFIED", due)
    assert said_by_one_file(log.root) == ("VERIFIED", due)


def test_pieces_that_other_processes_scan_are_compared_with_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "PARALLEL_MIN_BYTES", 1)
    monkeypatch.setattr(source, "PIECE_SIZE_MIN_BYTES", 1)
    log = log_of(tmp_path / "log", [2, 3, 4, 5, 6, 7, 3], segment_entries=2)
    assert codes(verify(log, tmp_path, workers=2)) == [(REPEATED, 7)]


def test_a_verification_that_starts_later_compares_what_it_reads(tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", range(2, 9))
    assert codes(verify(log, tmp_path)) == []
    for number in (3, 20, 20):  # 3: of an entry that is not read again
        log.ids = number - 1
        log.append(draft(number))
    log.lay_out()
    assert codes(verify(log, tmp_path, start=8)) == [(REPEATED, 10)]
    assert codes(verify(log, tmp_path)) == [(REPEATED, 8)]


def test_where_numbers_are_out_of_place_ids_are_not_judged(tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", range(2, 6))
    log.lines.insert(3, log.lines[2])
    log.lay_out()
    assert REPEATED not in verify(log, tmp_path).finding_counts
    assert REPEATED not in [code for code, _ in said_by_one_file(log.root)[1]]


def test_the_finding_tells_the_first_and_how_many() -> None:
    (told,) = given([1, 2, 1, 3, 2]).settle()
    assert (told.sequence_number, told.found) == (2, entry_id(1))
    assert "2 entries" in told.message


@pytest.mark.parametrize("seed", range(5))
def test_what_is_compared_is_the_same_in_memory_and_in_parts(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    ids = [chance.randrange(2_000) for _ in range(300)]
    first = next(number for number, item in enumerate(ids) if item in ids[:number])
    due = [(REPEATED, first + 7, entry_id(ids[first]))]
    assert found(given(ids, first=7)) == due
    monkeypatch.setattr(module, "KEPT_MAX", 16)
    assert found(given(ids, first=7)) == due


def test_what_is_kept_in_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_MAX", 10)
    known = given([])
    for number in range(100):
        known.add(uuid.UUID(entry_id(number)).bytes, 1)
        assert len(known._kept) <= 10 * module.ID_SIZE_BYTES
    assert found(known) == []


def test_beyond_the_limit_it_is_said_that_nothing_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDS_MAX", 4)
    monkeypatch.setattr(one_file.EntryIds, "ids_max", 4)
    log = log_of(tmp_path / "log", [2, 2, 3, 3, 3])
    assert (REPEATED, 2) in codes(verify(log, tmp_path))
    verdict, noticed = said_by_one_file(log.root)
    assert (verdict, [code for code, _ in noticed]) == ("VERIFIED", [REPEATED, UNREAD])


@pytest.mark.parametrize("step", ["open", "write"])
def test_no_room_for_a_temporary_file_is_said_and_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def refuse(**_: Any) -> Any:
        if step == "write":
            return Path("/dev/full").open("r+b", buffering=0)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole, "_temporary_file", refuse)
    monkeypatch.setattr(one_file, "TemporaryFile", refuse)
    monkeypatch.setattr(module, "KEPT_MAX", 2)
    monkeypatch.setattr(one_file.EntryIds, "kept_max", 2)
    log = log_of(tmp_path / "log", range(2, 9))
    report = verify(log, tmp_path)
    assert (report.verdict, [code for code, _ in codes(report)]) == ("VERIFIED", [UNREAD])
    verdict, noticed = said_by_one_file(log.root)
    assert (verdict, [code for code, _ in noticed]) == ("VERIFIED", [UNREAD])


def test_without_a_file_it_is_said_what_was_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_MAX", 2)
    known = EntryIds()
    known.add(b"".join(uuid.UUID(entry_id(number)).bytes for number in (1, 2, 3)), 3)
    assert found(known) == [(UNREAD, 0, None)]


def test_ids_that_were_not_given_are_said_to_be_not_compared() -> None:
    known = given([1, 2])
    known.add(b"", 3)
    known.add(uuid.UUID(entry_id(1)).bytes, 1)
    assert found(known) == [(UNREAD, 2, None)]
