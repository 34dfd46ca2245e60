"""A log is verified wherever it is kept: what a driver gives is cut into pieces, and judged the same."""

import pickle
from pathlib import Path

import pytest
from tests.support.logs import LogMaker, draft, drafts

from attestlog._internal.core.batch import Head
from attestlog._internal.core.merkle import Grown, Span
from attestlog._internal.core.report import Report, Verdict
from attestlog._internal.storage.contract import NewLog
from attestlog._internal.storage.files.reader import FileSource
from attestlog._internal.storage.memory import MemoryLog, MemorySource
from attestlog._internal.verifying import judge_log, source
from attestlog._internal.verifying.source import cut_pieces

SIZE = 40


@pytest.fixture
def log(tmp_path: Path) -> LogMaker:
    made = LogMaker(tmp_path / "log", segment_entries=16)
    for first in range(1, SIZE, 3):
        made.append(*drafts(range(first, first + 3)))
    return made


def in_memory(log: LogMaker) -> MemorySource:
    """The same log, kept by the driver of the process's memory."""
    log.lay_out()
    note = (log.root / "checkpoint").read_bytes()
    leaves, grown = log.leaves(), list[Grown]()
    edge = Span().extended(leaves, grown)
    kept = MemoryLog("memory://log", NewLog(log.lines[0], leaves[0], note))
    kept.add(log.lines[1:], leaves[1:], grown, Head(edge.stop, "", 0, edge))
    return MemorySource(kept)


def compared(report: Report) -> tuple[object, ...]:
    """All but what depends on the place."""
    found = [(item.code, item.sequence_number, item.expected, item.found) for item in report.findings]
    return report.verdict, report.size, report.root, report.head_hash, found


def test_a_log_in_memory_is_verified_as_its_directory_is(log: LogMaker) -> None:
    kept = in_memory(log)
    there, here = judge_log(log.root, remember=False), judge_log(kept, remember=False)
    assert there.verdict == Verdict.VERIFIED
    assert compared(here) == compared(there)
    assert here.subject == "memory://log"


@pytest.mark.parametrize("size_bytes", [1_024, 4_096, 1 << 30])
def test_damage_is_found_in_memory_as_in_its_directory(
    log: LogMaker, monkeypatch: pytest.MonkeyPatch, size_bytes: int
) -> None:
    log.lines[20] = log.lines[20].replace(b"agent-1", b"agent-2")
    kept = in_memory(log)
    log.lines[9] = b"\x00" * len(log.lines[9])
    kept.log.lines[9] = log.lines[9]
    log.write_entries()
    monkeypatch.setattr(source, "piece_size", lambda *_: size_bytes)
    there, here = judge_log(log.root, remember=False), judge_log(kept, remember=False)
    assert compared(here) == compared(there)
    assert {found.code for found in here.findings} >= {"entry.malformed", "entry.entry_hash"}
    messages = [found.message for found in here.findings if found.code == "entry.malformed"]
    assert "memory://log from 0 line 9" in messages[0]


def test_pieces_cover_every_line_once_and_can_be_sent_to_another_process(log: LogMaker) -> None:
    log.append(draft(99))
    log.lay_out()
    with FileSource(log.root).snapshot() as snapshot:
        pieces = pickle.loads(pickle.dumps(cut_pieces(snapshot.segments, 0, 2)))  # noqa: S301 - made right here
    assert [line.data for piece in pieces for line in piece.lines()] == log.lines
    assert [piece.segment for piece in pieces if piece.begins_segment] == [0, 16, 32]
    with FileSource(log.root).snapshot() as snapshot:
        later = cut_pieces(snapshot.segments[1:], 5, 2)
    assert [line.data for piece in later for line in piece.lines()] == log.lines[21:]
    assert (later[0].is_first, later[0].begins_segment) == (True, False)
