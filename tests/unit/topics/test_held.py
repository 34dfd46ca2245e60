"""The verifiers and a checkpoint that the reader kept: the log must begin with what it covers."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.audits import codes
from tests.support.logs import ORIGIN, CheckpointKey, LogMaker, draft

from attestlog._internal.core.checkpoint import Checkpoint, sign_checkpoint
from attestlog._internal.core.merkle import Span
from attestlog._internal.core.report import Report, Verdict
from attestlog._internal.storage.publishing import publish_log
from attestlog._internal.verifying import judge_log, judge_published
from attestlog.errors import MalformedError, NotFoundError

KEY = CheckpointKey()


def kept(log: LogMaker, size: int, origin: str = ORIGIN, root: bytes | None = None) -> bytes:
    """A checkpoint of the log as it is, over its first entries."""
    root = Span().extended(log.leaves()[:size]).root() if root is None else root
    return sign_checkpoint(Checkpoint(origin, size, root), [(KEY.verifier, KEY.sign)])


@pytest.fixture
def log(tmp_path: Path) -> LogMaker:
    made = LogMaker(tmp_path / "log", segment_entries=4)
    for number in range(1, 11):
        made.append(draft(number))
    made.lay_out()
    return made


def judge_directory(log: LogMaker, held: bytes) -> Report:
    return judge_log(log.root, held=held, remember=False, workers=1)


def judge_folder(log: LogMaker, held: bytes) -> Report:
    public = log.root.with_name("public")
    publish_log(log.root, public)
    return judge_published(public, held=held, trust=[KEY.vkey], remember=False, full=True)


JUDGES = pytest.mark.parametrize("judge", [judge_directory, judge_folder])
Judge = Callable[[LogMaker, bytes], Report]


@JUDGES
@pytest.mark.parametrize("size", [0, 1, 4, 7, 11])
def test_a_log_that_continues_what_was_kept(log: LogMaker, judge: Judge, size: int) -> None:
    report = judge(log, kept(log, size))
    assert (report.verdict, report.held_size) == (Verdict.VERIFIED, size)
    assert report.trusted_by[-1] == f"the checkpoint held over {size} entries"
    assert not report.self_attested


@JUDGES
def test_a_history_rewritten_with_the_true_key(log: LogMaker, judge: Judge) -> None:
    held = kept(log, 7)
    log.reseal(5, action_payload={"task_id": "T-5", "number": 500})
    log.lay_out()
    report = judge(log, held)
    assert (report.verdict, report.held_size) == (Verdict.FORKED, None)
    assert "held.root" in report.finding_counts
    assert judge(log, kept(log, 5)).verdict == Verdict.VERIFIED


@JUDGES
def test_a_tail_cut_with_tree_and_checkpoint(log: LogMaker, judge: Judge) -> None:
    held = kept(log, 9)
    del log.lines[8:]
    log.lay_out()
    report = judge(log, held)
    assert (report.verdict, report.held_size) == (Verdict.TRUNCATED, None)
    assert "held.ahead" in report.finding_counts


@JUDGES
def test_another_logs_checkpoint(log: LogMaker, judge: Judge) -> None:
    report = judge(log, kept(log, 7, origin="example.com/other"))
    assert (report.verdict, report.held_size) == (Verdict.FORKED, None)
    assert "held.origin" in report.finding_counts


def test_what_is_not_read_is_not_held_against_the_log(log: LogMaker, tmp_path: Path) -> None:
    log.segment(4).unlink()
    log.segment(4).symlink_to(tmp_path / "gone")
    assert judge_directory(log, kept(log, 11)).verdict == Verdict.UNKNOWN
    wrong = kept(log, 6, root=bytes(32))
    report = judge_directory(log, wrong)
    assert report.verdict == Verdict.UNKNOWN
    assert "resume.tree" in report.finding_counts


def test_a_tail_cut_within_a_torn_line_is_no_mere_crash(log: LogMaker) -> None:
    held = kept(log, 11)
    del log.lines[10:]
    log.lay_out()
    log.write_entries(tail=b'{"action_hash":')
    report = judge_directory(log, held)
    assert (report.verdict, "held.ahead" in report.finding_counts) == (Verdict.TRUNCATED, True)
    assert codes(judge_directory(log, kept(log, 10))) == [("log.torn_tail", 10)]


def test_what_cannot_be_read_as_a_checkpoint(log: LogMaker, tmp_path: Path) -> None:
    with pytest.raises(MalformedError):
        judge_directory(log, b"no note")
    with pytest.raises(NotFoundError):
        judge_log(log.root, held=tmp_path / "none", remember=False)
