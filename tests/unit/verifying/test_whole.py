"""The whole-log verifier: logs as they should be, torn tails, what cannot be read, relations, a live log."""

import fcntl
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from tests.support.audits import codes, make, segmented, verify
from tests.support.logs import Key, LogMaker, draft, entry_id, seal
from tests.support.slow import slow_after

from attestlog._internal.core import canonical
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.core.report import Report, Verdict
from attestlog._internal.judging import relations as relations_module
from attestlog._internal.storage.files import snapshot as snapshot_module
from attestlog._internal.storage.files.reader import FileSource
from attestlog._internal.storage.files.snapshot import FileSnapshot
from attestlog._internal.verifier import verify as one_file
from attestlog._internal.verifying import FINDINGS, VERDICTS, judge_log

# --- a log as it should be ---


def test_a_good_log_is_verified(log: LogMaker, tmp_path: Path) -> None:
    report = verify(log, tmp_path)
    assert report.verdict == Verdict.VERIFIED
    assert report.findings == []
    assert report.size == report.checkpoint_size == 11
    assert report.remembered_size is None
    assert report.root == log.head.edge.root().hex()
    assert report.head_hash == log.head.entry_hash
    assert report.genesis_hash == log.entry(0)["entry_hash"]
    assert report.origin == log.origin
    assert report.signing_keys == [log.key.public.key_id]
    assert report.self_attested
    assert verify(log, tmp_path).remembered_size == 11


@pytest.mark.parametrize("algorithm", ["P-256", "Ed25519"])
def test_both_algorithms(tmp_path: Path, algorithm: str) -> None:
    log = make(tmp_path / "log", key=Key(7, algorithm))
    log.lay_out()
    assert verify(log, tmp_path).findings == []


def test_a_log_of_one_entry_is_verified(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log")
    log.lay_out()
    report = verify(log, tmp_path)
    assert (report.verdict, report.size, report.findings) == (Verdict.VERIFIED, 1, [])


def test_entries_over_several_segments(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log", segment_entries=3)
    for number in range(1, 9):
        log.append(draft(number))
    log.lay_out()
    assert len(list((log.root / "entries").iterdir())) == 3
    report = verify(log, tmp_path)
    assert (report.verdict, report.size, report.findings) == (Verdict.VERIFIED, 9, [])


def test_an_empty_last_segment_is_no_fault(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log", segment_entries=3)
    log.append(draft(1), draft(2))
    log.lay_out()
    log.segment(3).touch()
    assert verify(log, tmp_path).findings == []


def test_a_checkpoint_behind_the_entries_is_no_fault(tmp_path: Path) -> None:
    log = make(tmp_path / "log")
    log.lay_out(size=4)
    report = verify(log, tmp_path)
    assert (report.verdict, report.checkpoint_size, report.size) == (Verdict.VERIFIED, 4, 11)


def test_nothing_is_written_to_the_log(log: LogMaker, tmp_path: Path) -> None:
    def contents() -> dict[Path, tuple[bytes, int]]:
        files = [path for path in log.root.rglob("*") if path.is_file()]
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    before = contents()
    verify(log, tmp_path)
    assert contents() == before


def test_progress_ends_at_the_total(log: LogMaker, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    verify(log, tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert calls
    assert calls[-1][0] == calls[-1][1] == log.segment().stat().st_size


# --- torn tails ---


def unfinished(tmp_path: Path, acknowledged: int) -> LogMaker:
    """A log whose tree and checkpoint stop at `acknowledged` entries."""
    log = make(tmp_path / "log")
    log.lay_out(size=acknowledged, tree_size=acknowledged)
    return log


@pytest.mark.parametrize("every", slow_after(1, [97, 1]))
def test_a_torn_last_line_at_every_byte(tmp_path: Path, every: int) -> None:
    log = unfinished(tmp_path, 10)
    last = log.lines.pop() + b"\n"
    for count in range(1, len(last), every):
        log.write_entries(last[:count])
        report = verify(log, tmp_path, remember=False)
        assert report.verdict == Verdict.INCOMPLETE
        assert codes(report) == [("log.torn_tail", 10)]
        assert report.findings[0].found == count
        assert (report.size, report.checkpoint_size) == (10, 10)
        assert report.head_hash == log.entry(9)["entry_hash"]
        assert report.root is not None


def test_a_torn_last_line_that_was_acknowledged(log: LogMaker, tmp_path: Path) -> None:
    last = log.lines.pop()
    log.write_entries(last)
    report = verify(log, tmp_path)
    assert report.verdict == Verdict.TRUNCATED
    assert [code for code, _ in codes(report)] == ["log.torn_tail", "tree.longer", "checkpoint.ahead"]


@pytest.mark.parametrize("tail", [b"\n", b"\x00" * 4096, b"{}\n", b"garbage\nmore garbage\n", b"\r\n\r\n"])
def test_other_bytes_after_the_last_entry(log: LogMaker, tmp_path: Path, tail: bytes) -> None:
    log.write_entries(tail)
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.INCOMPLETE, [("log.torn_tail", 11)])
    assert report.findings[0].found == len(tail)
    assert report.size == 11


def test_a_damaged_last_line_that_was_acknowledged(log: LogMaker, tmp_path: Path) -> None:
    log.lines[10] = log.lines[10].replace(b'"action_type"', b'"action_tape"')
    log.write_entries()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.TAMPERED, [("entry.malformed", 10)])


def test_an_edited_last_line_is_no_torn_tail(tmp_path: Path) -> None:
    log = unfinished(tmp_path, 10)
    log.lines[10] = log.lines[10].replace(b"agent-1", b"agent-2")
    log.write_entries()
    log.write_tree(11)
    report = verify(log, tmp_path)
    assert report.verdict == Verdict.TAMPERED
    assert ("entry.entry_hash", 10) in codes(report)
    log.write_tree(10)  # nothing says that it was acknowledged: a power cut may have left it so
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.INCOMPLETE, [("log.unsettled", 10)])


@pytest.mark.parametrize("kept", range(1, 6))
def test_a_torn_batch(tmp_path: Path, kept: int) -> None:
    log = unfinished(tmp_path, 1)
    del log.lines[1 + kept :]
    log.write_entries()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.INCOMPLETE, [("log.torn_batch", 1)])
    assert (report.findings[0].expected, report.findings[0].found) == (6, kept)
    assert (report.size, report.head_hash) == (1, log.entry(0)["entry_hash"])


@pytest.mark.parametrize("kept", range(2, 6))
def test_a_torn_batch_with_an_entry_that_its_key_did_not_sign(tmp_path: Path, kept: int) -> None:
    log = unfinished(tmp_path, 1)
    del log.lines[1 + kept :]
    start, separator, path = log.entry(2)["hsm_signature"].rpartition(":")
    text = start + separator + ("0" if path[0] != "0" else "1") + path[1:]
    log.lines[2] = canonical.encode(log.entry(2) | {"hsm_signature": text})
    log.write_entries()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.INCOMPLETE, [("log.unsettled", 1)])
    log.write_tree(2)
    found = [("entry.signature", 2), ("log.cut_batch", 1)]
    assert codes(verify(log, tmp_path))[:2] == found


def test_a_torn_batch_is_not_remembered_beyond_its_start(tmp_path: Path) -> None:
    log = unfinished(tmp_path, 1)
    del log.lines[4:]
    log.write_entries()
    assert verify(log, tmp_path).verdict == Verdict.INCOMPLETE
    other = LogMaker(log.root)
    other.append(draft(50))
    other.lay_out()
    report = verify(other, tmp_path)
    assert (report.verdict, report.remembered_size, report.findings) == (Verdict.VERIFIED, 1, [])


def test_a_torn_batch_with_a_torn_line(tmp_path: Path) -> None:
    log = unfinished(tmp_path, 1)
    rest = log.lines[4]
    del log.lines[4:]
    log.write_entries(rest[:50])
    report = verify(log, tmp_path)
    assert report.verdict == Verdict.INCOMPLETE
    assert codes(report) == [("log.torn_tail", 4), ("log.torn_batch", 1)]
    assert report.size == 1


@pytest.mark.parametrize("holes", [[1], [2], [6], [1, 2], [2, 4], [1, 3, 5], [3, 6]])
def test_a_torn_batch_with_holes(tmp_path: Path, holes: list[int]) -> None:
    """The pages of one write reach the disk in any order."""
    log = unfinished(tmp_path, 1)
    del log.lines[7:]
    for number in holes:
        log.lines[number] = bytes(len(log.lines[number]))
    log.write_entries()
    report = verify(log, tmp_path)
    assert report.verdict == Verdict.INCOMPLETE
    assert [code for code, _ in codes(report)] == ["log.torn_tail", "log.torn_batch"]
    assert (report.size, report.head_hash) == (1, log.entry(0)["entry_hash"])


def test_a_batch_with_a_hole_that_was_acknowledged(tmp_path: Path) -> None:
    log = unfinished(tmp_path, 7)
    del log.lines[7:]
    log.lines[3] = bytes(len(log.lines[3]))
    log.write_entries()
    report = verify(log, tmp_path)
    assert report.verdict == Verdict.TAMPERED
    assert codes(report)[0] == ("entry.malformed", 3)


def test_a_batch_with_a_hole_and_an_entry_after_it(tmp_path: Path) -> None:
    log = unfinished(tmp_path, 1)
    log.lines[3] = bytes(len(log.lines[3]))
    log.write_entries()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)[0]) == (Verdict.TAMPERED, ("entry.malformed", 3))
    assert report.finding_counts["entry.malformed"] == 1


@pytest.mark.parametrize("acknowledged", [2, 3, 4])
def test_a_batch_cut_that_was_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    log = unfinished(tmp_path, acknowledged)
    del log.lines[4:]
    log.write_entries()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)[0]) == (Verdict.TRUNCATED, ("log.cut_batch", 1))


# --- what is no log, and what cannot be read ---


def test_nothing_there(tmp_path: Path) -> None:
    report = judge_log(tmp_path / "none")
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, [("log.missing", None)])


def test_not_a_log(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file", tmp_path / "folder"):
        report = judge_log(path)
        assert (report.verdict, codes(report)) == (Verdict.MALFORMED, [("log.not_a_log", None)])


@pytest.mark.parametrize("data", [b"", b"\n", b"{}\n", b"garbage"])
def test_no_genesis(log: LogMaker, tmp_path: Path, data: bytes) -> None:
    log.segment().write_bytes(data)
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.MALFORMED, [("log.no_genesis", None)])


def test_a_later_format_is_unknown(log: LogMaker, tmp_path: Path) -> None:
    """Both verifiers: what they cannot judge is neither right nor wrong."""
    log.lines[0] = log.lines[0].replace(b'"format":1,', b'"format":2,')
    log.write_entries()
    changed = one_file.Report()
    one_file.verify(changed, log.root, None, one_file.parse_trust([]))
    assert changed.verdict == "TAMPERED"
    assert codes(verify(log, tmp_path)) == [("entry.action_hash", 0)]
    members = json.loads(log.lines[0])
    members["action_hash"] = hex_hash(canonical.encode(members["action_payload"]))
    log.lines[0] = seal(members, Key())
    log.write_entries()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, [("log.newer", 0)])
    found = one_file.Report()
    one_file.verify(found, log.root, None, one_file.parse_trust([]))
    assert found.verdict == "UNKNOWN"


def test_first_entry_gone(log: LogMaker, tmp_path: Path) -> None:
    del log.lines[0]
    log.write_entries()
    assert codes(verify(log, tmp_path)) == [("log.no_genesis", None)]


def test_first_segment_gone(tmp_path: Path) -> None:
    log = segmented(tmp_path)
    log.segment(0).unlink()
    assert codes(verify(log, tmp_path)) == [("log.no_genesis", None)]


def test_no_segment_at_all(log: LogMaker, tmp_path: Path) -> None:
    log.segment().unlink()
    assert codes(verify(log, tmp_path)) == [("log.no_genesis", None)]


def test_a_segment_that_is_no_file_is_unreadable(tmp_path: Path) -> None:
    log = segmented(tmp_path)
    log.segment(3).unlink()
    os.mkfifo(log.segment(3))
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, [("log.unreadable", 3)])
    assert report.root is None


def after_snapshot(monkeypatch: pytest.MonkeyPatch, happen: Callable[[], object]) -> None:
    """Something happens to the log right after the verifier looked at it."""
    take = FileSource.snapshot

    @contextmanager
    def take_and_go_on(source: FileSource) -> Iterator[FileSnapshot]:
        with take(source) as snapshot:
            happen()
            yield snapshot

    monkeypatch.setattr(FileSource, "snapshot", take_and_go_on)


def test_a_segment_that_vanishes_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = segmented(tmp_path)
    after_snapshot(monkeypatch, log.segment(6).unlink)
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, [("log.unreadable", 6)])


def test_a_segment_that_shrinks_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = segmented(tmp_path)
    after_snapshot(monkeypatch, lambda: os.truncate(log.segment(9), 100))
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, [("log.unreadable", 9)])


@pytest.mark.parametrize("name", ["checkpoint", "tree/0"])
def test_files_beside_that_cannot_be_read(log: LogMaker, tmp_path: Path, name: str) -> None:
    (log.root / name).unlink()
    os.mkfifo(log.root / name)
    report = verify(log, tmp_path)
    assert report.verdict == Verdict.UNKNOWN
    assert "log.unreadable" in {code for code, _ in codes(report)}


def test_entries_that_are_a_file(log: LogMaker, tmp_path: Path) -> None:
    shutil.rmtree(log.root / "entries")
    (log.root / "entries").touch()
    assert codes(verify(log, tmp_path)) == [("log.not_a_log", None)]


@pytest.mark.parametrize("tail", [b"", b"\n"])
def test_a_line_longer_than_any_may_be(tmp_path: Path, tail: bytes) -> None:
    """It is not read into memory whole, and what stands after it is found again."""
    log = make(tmp_path / "log")
    log.lay_out()
    giant = b"x" * (LINE_SIZE_MAX_BYTES + 1_000)
    log.lines.insert(7, giant)
    log.write_entries()
    assert codes(verify(log, tmp_path)) == [("entry.malformed", 7)]
    del log.lines[7]
    log.write_entries(giant + tail)
    report = verify(log, tmp_path)
    assert codes(report) == [("log.torn_tail", 11)]
    assert report.findings[0].found == len(giant + tail)


def test_many_line_ends_are_one_finding(log: LogMaker, tmp_path: Path) -> None:
    log.lines[5:5] = [b""] * 60_000
    log.write_entries()
    assert codes(verify(log, tmp_path)) == [("entry.malformed", 5)]


def test_evidence_is_short_however_long_a_member_is(log: LogMaker, tmp_path: Path) -> None:
    long = "x" * 30_000
    log.lines[7] = canonical.encode(log.entry(7) | {"signature_algorithm": long, "entry_hash": long})
    log.lines[9] = canonical.encode(log.entry(9) | {long: 1})
    log.write_entries()
    report = verify(log, tmp_path)
    assert {"entry.algorithm", "entry.entry_hash", "entry.malformed"} <= set(report.finding_counts)
    assert len(msgspec.json.encode(report)) < 10_000


# --- relations between entries ---


def test_dependencies_are_looked_for_in_the_whole_log(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log")
    log.append(draft(1))
    log.append(draft(2, dependencies=[entry_id(2), entry_id(4), entry_id(1), entry_id(9)]), draft(3))
    log.lay_out()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("entry.dependency", 2)])
    assert report.findings[0].found == entry_id(9)


def test_dependencies_are_looked_for_within_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relations_module, "WANTED_MAX", 2)
    log = LogMaker(tmp_path / "log")
    log.append(draft(1, dependencies=[entry_id(number) for number in range(7, 12)]))
    log.lay_out()
    report = verify(log, tmp_path)
    assert report.verdict == Verdict.VERIFIED
    assert report.finding_counts == {"entry.dependency": 2, "entry.dependencies_unread": 1}
    assert report.findings[-1].found == 3


def test_proofs_nothing_can_check_are_said_once_a_type(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log")
    for number in range(1, 4):
        log.append(
            draft(number, provided_proofs=[{"type": "zk", "valid": True}, {"type": "x", "valid": False}])
        )
    log.lay_out()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("entry.proof_unchecked", 1)])
    assert "3 proofs" in report.findings[0].message


def test_an_entry_of_the_future_is_said(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log")
    log.now_us = int((time.time() + 3_600) * 1e6)
    log.append(draft(1))
    log.lay_out()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("log.future", None)])


# --- a log that is being written ---


def test_a_commit_under_way_is_waited_for(
    log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_module, "LOCK_WAIT_S", 60.0)
    descriptor = os.open(log.root / "lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    whole = log.segment().read_bytes()
    log.segment().write_bytes(whole[:-100])
    arrived = threading.Event()
    report: list[Report] = []

    def run() -> None:
        arrived.set()
        report.append(verify(log, tmp_path))

    thread = threading.Thread(target=run)
    thread.start()
    arrived.wait()
    log.segment().write_bytes(whole)
    os.close(descriptor)
    thread.join()
    assert report[0].findings == []


def test_a_lock_that_is_never_let_go_is_said(
    log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_module, "LOCK_WAIT_S", 0.01)
    descriptor = os.open(log.root / "lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    report = verify(log, tmp_path)
    os.close(descriptor)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("log.busy", None)])


def test_a_log_without_a_lock_file_is_read(log: LogMaker, tmp_path: Path) -> None:
    (log.root / "lock").unlink()
    assert verify(log, tmp_path).findings == []


def test_what_is_appended_while_verifying_is_not_covered(
    log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def append() -> None:
        size = len(log.lines)
        log.append(draft(20), draft(21))
        # As a writer does it: to lay the log out anew would be another file, as after an erasure.
        with log.segment().open("ab") as file:
            file.writelines(line + b"\n" for line in log.lines[size:])
        log.write_tree()
        log.write_checkpoint()

    after_snapshot(monkeypatch, append)
    report = verify(log, tmp_path)
    assert (report.verdict, report.size, report.findings) == (Verdict.VERIFIED, 11, [])


# --- the table of codes ---


def test_every_code_is_asked_for_by_a_test_and_has_a_meaning() -> None:
    tested: set[str] = set()
    for path in Path(__file__).parents[1].rglob("test_*.py"):
        source = path.read_text(encoding="utf-8").partition("# --- the table of codes")[0]
        tested |= set(re.findall(r'"([a-z]+\.[a-z_]+)"', source))
    assert set(FINDINGS) - tested == set()
    assert set(VERDICTS) == set(FINDINGS)  # `finding` looks a code up there, so that none is unlisted
    assert all(meaning and "\n" not in meaning for meaning in FINDINGS.values())
