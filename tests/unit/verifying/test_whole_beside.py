"""The whole-log verifier: segment names, the checkpoint, the stored tree."""

import shutil
from pathlib import Path

import pytest
from tests.support.audits import codes, segmented, verify
from tests.support.logs import CheckpointKey, LogMaker, drafts

from attestlog._internal.core.checkpoint import Checkpoint, sign_checkpoint
from attestlog._internal.core.note import format_note, sign_note
from attestlog._internal.core.report import Verdict

# --- segments ---


def test_a_missing_segment(tmp_path: Path) -> None:
    log = segmented(tmp_path)
    log.segment(3).unlink()
    report = verify(log, tmp_path)
    assert report.verdict == Verdict.TAMPERED
    assert codes(report) == [("segment.missing", 3)]
    assert report.size == 8


def test_two_missing_segments_are_one_finding(tmp_path: Path) -> None:
    log = segmented(tmp_path)
    log.segment(3).unlink()
    log.segment(6).unlink()
    assert codes(verify(log, tmp_path)) == [("segment.missing", 3)]


@pytest.mark.parametrize("name", ["000000000004.jsonl", "0.jsonl", "000000000003 (copy).jsonl"])
def test_a_stray_segment(tmp_path: Path, name: str) -> None:
    log = segmented(tmp_path)
    shutil.copy(log.segment(3), log.root / "entries" / name)
    report = verify(log, tmp_path)
    assert codes(report) == [("segment.stray", None)]
    assert report.findings[0].found == name


def test_what_recovery_set_aside_is_no_stray(tmp_path: Path) -> None:
    log = segmented(tmp_path)
    (log.root / "entries" / "torn-000000000009-1.jsonl").write_bytes(b"x")
    assert verify(log, tmp_path).findings == []


def test_an_entry_moved_to_the_next_segment(tmp_path: Path) -> None:
    log = segmented(tmp_path)
    first = log.segment(0).read_bytes().splitlines(keepends=True)
    log.segment(3).write_bytes(first.pop() + log.segment(3).read_bytes())
    log.segment(0).write_bytes(b"".join(first))
    assert codes(verify(log, tmp_path)) == [("segment.length", 3)]


def test_a_last_segment_that_holds_too_many(tmp_path: Path) -> None:
    log = segmented(tmp_path)
    log.segment(6).write_bytes(log.segment(6).read_bytes() + log.segment(9).read_bytes())
    log.segment(9).unlink()
    report = verify(log, tmp_path)
    assert codes(report) == [("segment.length", 6)]
    assert (report.findings[0].expected, report.findings[0].found) == (9, 11)


def test_a_last_segment_that_begins_too_late(tmp_path: Path) -> None:
    log = segmented(tmp_path)
    log.segment(9).write_bytes(b"")
    log.segment(12).touch()
    log.write_tree(9)
    log.write_checkpoint(9)
    assert codes(verify(log, tmp_path)) == [("segment.length", 12)]


def test_a_file_of_no_meaning_changes_no_verdict(log: LogMaker, tmp_path: Path) -> None:
    for name in ("log.toml", "index.db", "replicas"):
        (log.root / name).write_bytes(b"\xff")
    assert verify(log, tmp_path).findings == []


# --- checkpoint ---


def test_checkpoint_removed(log: LogMaker, tmp_path: Path) -> None:
    (log.root / "checkpoint").unlink()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.TAMPERED, [("checkpoint.missing", None)])
    assert report.checkpoint_size is None


@pytest.mark.parametrize("data", [b"", b"x", b"\xff" * 10, b"x" * (3 << 20)])
def test_checkpoint_malformed(log: LogMaker, tmp_path: Path, data: bytes) -> None:
    (log.root / "checkpoint").write_bytes(data)
    assert codes(verify(log, tmp_path)) == [("checkpoint.malformed", None)]


def test_a_signed_note_that_is_no_checkpoint(log: LogMaker, tmp_path: Path) -> None:
    key = log.checkpoint_key
    text = "hello\n"
    (log.root / "checkpoint").write_bytes(format_note(text, [sign_note(text, key.verifier, key.sign)]))
    assert codes(verify(log, tmp_path)) == [("checkpoint.malformed", None)]


def test_checkpoint_by_a_foreign_key(log: LogMaker, tmp_path: Path) -> None:
    log.write_checkpoint(key=CheckpointKey(2))
    assert codes(verify(log, tmp_path)) == [("checkpoint.signature", None)]


def test_checkpoint_with_a_bad_signature(log: LogMaker, tmp_path: Path) -> None:
    note = (log.root / "checkpoint").read_bytes()
    (log.root / "checkpoint").write_bytes(note.replace(b"\n11\n", b"\n10\n"))
    assert codes(verify(log, tmp_path)) == [("checkpoint.signature", None)]


def test_checkpoint_of_another_origin(log: LogMaker, tmp_path: Path) -> None:
    key = log.checkpoint_key
    checkpoint = Checkpoint("example.com/other", 11, log.head.edge.root())
    (log.root / "checkpoint").write_bytes(sign_checkpoint(checkpoint, [(key.verifier, key.sign)]))
    assert codes(verify(log, tmp_path)) == [("checkpoint.origin", None)]


def test_checkpoint_ahead_of_the_entries(log: LogMaker, tmp_path: Path) -> None:
    del log.lines[10:]
    log.write_entries()
    log.write_tree()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.TRUNCATED, [("checkpoint.ahead", None)])
    assert (report.findings[0].expected, report.findings[0].found) == (11, 10)


def test_checkpoint_over_another_history(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, action_payload={})
    log.write_entries()
    log.write_tree()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.TAMPERED, [("checkpoint.root", None)])


def test_checkpoint_rolled_back_is_seen_by_who_remembers(log: LogMaker, tmp_path: Path) -> None:
    verify(log, tmp_path)
    log.write_checkpoint(5)
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.TRUNCATED, [("checkpoint.older", None)])
    assert (report.findings[0].expected, report.findings[0].found) == (11, 5)


# --- the stored tree ---


def test_tree_missing_short_or_wrong_is_a_notice(log: LogMaker, tmp_path: Path) -> None:
    path = log.root / "tree" / "0"
    whole = path.read_bytes()
    for data in (whole[:-32], whole[:-1], whole[:64] + bytes(32) + whole[96:], b""):
        path.write_bytes(data)
        report = verify(log, tmp_path)
        assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("tree.stale", None)])
    shutil.rmtree(log.root / "tree")
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("tree.stale", None)])


@pytest.mark.parametrize("extra", [b"x", b"x" * 32, b"x" * 320])
def test_tree_longer_than_the_entries(log: LogMaker, tmp_path: Path, extra: bytes) -> None:
    path = log.root / "tree" / "0"
    path.write_bytes(path.read_bytes() + extra)
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.TRUNCATED, [("tree.longer", None)])


def test_a_tree_level_that_cannot_be(log: LogMaker, tmp_path: Path) -> None:
    (log.root / "tree" / "1").write_bytes(bytes(32))
    assert codes(verify(log, tmp_path)) == [("tree.longer", None)]


def test_higher_levels_are_compared(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log")
    log.append(*drafts(range(600)))
    log.lay_out()
    assert verify(log, tmp_path).findings == []
    path = log.root / "tree" / "1"
    path.write_bytes(path.read_bytes()[:32] + bytes(32))
    report = verify(log, tmp_path)
    assert codes(report) == [("tree.stale", None)]
    assert report.findings[0].found == 1
