"""The whole-log verifier: each finding produced by real tampering, and what is no tampering left alone."""

import fcntl
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import CheckpointKey, Key, LogMaker, action, entry_id

from attestlog.audit import FINDINGS, VERDICTS, verify_log
from attestlog.audit import relations as relations_module
from attestlog.audit import remember as remember_module
from attestlog.audit import source as source_module
from attestlog.audit import verify as verify_module
from attestlog.core import canonical
from attestlog.core.checkpoint import Checkpoint, sign_checkpoint
from attestlog.core.entry import PAYLOAD_SIZE_MAX_BYTES
from attestlog.core.genesis import Settings
from attestlog.core.hashes import batch_message, hex_hash, leaf_hash
from attestlog.core.note import format_note, sign_note
from attestlog.core.report import Report, Verdict
from attestlog.errors import MalformedConfigError, NotFoundError, QueryError, StorageError

Tamper = Callable[[LogMaker, Path], None]


def make(root: Path, **options: Any) -> LogMaker:
    """11 entries: genesis, a batch of 6, one alone, a batch of 2, one alone."""
    log = LogMaker(root, **options)
    log.append(*map(action, range(1, 7)))
    log.append(action(7))
    log.append(action(8), action(9))
    log.append(action(10))
    return log


def verify(log: LogMaker, tmp_path: Path, **options: Any) -> Report:
    return verify_log(log.root, **{"state_dir": tmp_path / "state", **options})


@pytest.fixture
def log(tmp_path: Path) -> LogMaker:
    made = make(tmp_path / "log")
    made.lay_out()
    return made


def codes(report: Report) -> list[tuple[str, int | None]]:
    return [(found.code, found.sequence_number) for found in report.findings]


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
        log.append(action(number))
    log.lay_out()
    assert len(list((log.root / "entries").iterdir())) == 3
    report = verify(log, tmp_path)
    assert (report.verdict, report.size, report.findings) == (Verdict.VERIFIED, 9, [])


def test_an_empty_last_segment_is_no_fault(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log", segment_entries=3)
    log.append(action(1), action(2))
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


# --- tampering ---


def swap(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4], log.lines[5] = log.lines[5], log.lines[4]


def delete(log: LogMaker, tmp_path: Path) -> None:
    del log.lines[4]


def delete_first_of_batch(log: LogMaker, tmp_path: Path) -> None:
    del log.lines[8]


def repeat(log: LogMaker, tmp_path: Path) -> None:
    log.lines.insert(5, log.lines[2])


def edit_payload(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = log.lines[4].replace(b"T-4", b"T-x")


def edit_member(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = log.lines[4].replace(b"agent-1", b"agent-2")


def edit_and_rehash(log: LogMaker, tmp_path: Path) -> None:
    members = log.entry(4) | {"actor_id": "agent-2"}
    outside = ("action_payload", "entry_hash", "hsm_signature")
    covered = {name: value for name, value in members.items() if name not in outside}
    log.lines[4] = canonical.encode(members | {"entry_hash": hex_hash(canonical.encode(covered))})


def strip_signature(log: LogMaker, tmp_path: Path) -> None:
    log.lines[7] = canonical.encode(log.entry(7) | {"hsm_signature": ""})


def strip_batch_signature(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = canonical.encode(log.entry(4) | {"hsm_signature": ""})


def foreign_signature(log: LogMaker, tmp_path: Path) -> None:
    signature = Key(2).sign(bytes.fromhex(log.entry(7)["entry_hash"])).hex()
    log.lines[7] = canonical.encode(log.entry(7) | {"hsm_signature": signature})


def foreign_key(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, links=False, key=Key(2))


def other_algorithm(log: LogMaker, tmp_path: Path) -> None:
    log.lines[7] = canonical.encode(log.entry(7) | {"signature_algorithm": "Ed25519"})


def batch_index(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = re.sub(rb":3/6:", b":2/6:", log.lines[4])


def batch_size(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = re.sub(rb":3/6:", b":3/7:", log.lines[4])


def batch_path(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = re.sub(rb"(:3/6:)([0-9a-f]{64})", rb"\g<1>" + b"0" * 64, log.lines[4])


def batch_path_short(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = re.sub(rb"(:3/6:)([0-9a-f]{64})", rb"\g<1>", log.lines[4])


def batch_signature(log: LogMaker, tmp_path: Path) -> None:
    for number in range(1, 7):
        log.lines[number] = re.sub(rb'(hsm_signature":"[0-9a-f]{20})(..)', rb"\g<1>00", log.lines[number])


def null_payload(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = canonical.encode(log.entry(4) | {"action_payload": None})


def reorder_members(log: LogMaker, tmp_path: Path) -> None:
    members = log.entry(4)
    log.lines[4] = json.dumps(
        {"timestamp": members.pop("timestamp"), **members}, separators=(",", ":")
    ).encode()


def duplicate_member(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = log.lines[4].replace(b'"severity":1,', b'"severity":1,"severity":1,')


def white_space(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = log.lines[4].replace(b'"severity":1,', b'"severity": 1,')


def other_number(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = log.lines[4].replace(b'"number":4', b'"number":4.0')


def carriage_return(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] += b"\r"


def wrong_type(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(4, links=False, severity="1")


def wrong_range(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(4, links=False, severity=11)


def bad_proof(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(4, links=False, provided_proofs=[{"type": "rollback"}])


def unknown_member(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(4, links=False, extra=1)


def empty_line(log: LogMaker, tmp_path: Path) -> None:
    log.lines.insert(4, b"")


def garbage_lines(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4:4] = [b"garbage", b"\x00" * 100, b"{}"]


def garbage_for_an_entry(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = b"\x00" * len(log.lines[4])


def number_again(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(4, links=False, sequence_number=40)


def other_past(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(4, links=False, prev_entry_hash="0" * 64)


def back_in_time(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, timestamp="2025-10-30T11:00:00.000000Z")


def no_such_day(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, timestamp="2025-11-31T12:00:00.000000Z")


def wrong_score(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, composite_score=9.5, pillars_scores={"an_toan": 2})


def wrong_k_state(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, k_state=0)


def wrong_floor(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, safety_floor_met=True)


def wrong_proofs(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, required_proofs=["rollback"])


def wrong_quorum(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, required_approvals=2)


def too_large(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, actor_context={"notes": "n" * 70_000})


def payload_too_large(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, action_payload={"text": "t" * PAYLOAD_SIZE_MAX_BYTES})


def stop_batch(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(6)


MALFORMED = [("entry.malformed", 4)]
TAMPERING: list[tuple[Tamper, list[tuple[str, int]]]] = [
    (swap, [("entry.sequence", 5), ("entry.sequence", 4), ("entry.sequence", 6)]),
    (delete, [("entry.sequence", 5)]),
    (delete_first_of_batch, [("entry.sequence", 9)]),
    (repeat, [("entry.sequence", 2), ("entry.sequence", 5)]),
    (edit_payload, [("entry.action_hash", 4)]),
    (edit_member, [("entry.entry_hash", 4)]),
    (edit_and_rehash, [("entry.signature", 4), ("entry.chain", 5)]),
    (strip_signature, [("entry.signature_form", 7)]),
    (strip_batch_signature, [("entry.signature_form", 4)]),
    (foreign_signature, [("entry.signature", 7)]),
    (foreign_key, [("entry.signing_key", 7), ("entry.chain", 8)]),
    (other_algorithm, [("entry.entry_hash", 7), ("entry.algorithm", 7)]),
    (batch_index, [("entry.batch", 4), ("entry.signature", 4)]),
    (batch_size, [("entry.batch", 4)]),
    (batch_path, [("entry.signature", 4)]),
    (batch_path_short, [("entry.signature_form", 4)]),
    (batch_signature, [("entry.signature", number) for number in range(1, 7)]),
    (null_payload, [("entry.payload_missing", 4)]),
    (reorder_members, [("entry.canonical", 4)]),
    (duplicate_member, [("entry.canonical", 4)]),
    (white_space, [("entry.canonical", 4)]),
    (other_number, [("entry.canonical", 4)]),
    (carriage_return, [("entry.canonical", 4)]),
    (wrong_type, MALFORMED),
    (wrong_range, MALFORMED),
    (bad_proof, MALFORMED),
    (unknown_member, MALFORMED),
    (empty_line, MALFORMED),
    (garbage_lines, MALFORMED),
    (garbage_for_an_entry, MALFORMED),
    (number_again, [("entry.sequence", 40), ("entry.sequence", 5)]),
    (other_past, [("entry.chain", 4), ("entry.chain", 5)]),
    (back_in_time, [("entry.timestamp", 7)]),
    (no_such_day, [("entry.timestamp", 7)]),
    (wrong_score, [("entry.derived", 7), ("entry.derived", 7)]),
    (wrong_k_state, [("entry.derived", 7)]),
    (wrong_floor, [("entry.derived", 7)]),
    (wrong_proofs, [("entry.derived", 7)]),
    (wrong_quorum, [("entry.derived", 7)]),
    (too_large, [("entry.too_large", 7)]),
    (payload_too_large, [("entry.too_large", 7)]),
    (stop_batch, [("entry.batch", 6)]),
]


@pytest.mark.parametrize("tamper,expected", TAMPERING, ids=[tamper.__name__ for tamper, _ in TAMPERING])
def test_tampering_is_found_where_it_is(
    log: LogMaker, tmp_path: Path, tamper: Tamper, expected: list[tuple[str, int]]
) -> None:
    tamper(log, tmp_path)
    log.write_entries()
    report = verify(log, tmp_path)
    assert report.verdict == Verdict.TAMPERED
    about_entries = [item for item in codes(report) if item[0].startswith("entry.")]
    assert about_entries == expected
    # Beyond those, one may say that stored hashes and signed root are of other entries.
    rest = {code for code, _ in codes(report)} - {code for code, _ in expected}
    assert rest <= {"tree.stale", "checkpoint.root"}


def test_the_rewritten_log_of_a_key_holder_is_sound_by_itself(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, action_payload={"task_id": "another"})
    log.lay_out()
    assert verify(log, tmp_path).findings == []


def test_the_genesis_entry_must_be_signed_alone(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log")
    members = log.entry(0) | {"signature_algorithm": log.key.public.algorithm + "+BATCH"}
    outside = ("action_payload", "entry_hash", "hsm_signature")
    digest = hex_hash(canonical.encode({k: v for k, v in members.items() if k not in outside}))
    root = batch_message(leaf_hash(bytes.fromhex(digest)))
    log.lines[0] = canonical.encode(
        members | {"entry_hash": digest, "hsm_signature": log.key.sign(root).hex() + ":0/1:"}
    )
    log.lay_out()
    assert codes(verify(log, tmp_path)) == [("entry.batch", 0)]


def test_evidence_comes_with_a_finding(log: LogMaker, tmp_path: Path) -> None:
    delete(log, tmp_path)
    log.write_entries()
    finding = verify(log, tmp_path).findings[0]
    assert (finding.sequence_number, finding.expected, finding.found) == (5, 4, 5)


# --- segments, log.toml ---


def segmented(tmp_path: Path) -> LogMaker:
    log = LogMaker(tmp_path / "log", segment_entries=3)
    for number in range(1, 11):
        log.append(action(number))
    log.lay_out()
    return log


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


def test_log_toml_missing(log: LogMaker, tmp_path: Path) -> None:
    (log.root / "log.toml").unlink()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.TAMPERED, [("config.missing", None)])


@pytest.mark.parametrize("text", [b"", b"format_version = 2", b"\xff", b"a = [" * 10_000, b"origin = 1"])
def test_log_toml_malformed(log: LogMaker, tmp_path: Path, text: bytes) -> None:
    (log.root / "log.toml").write_bytes(text)
    assert codes(verify(log, tmp_path)) == [("config.malformed", None)]


def test_log_toml_with_another_origin(log: LogMaker, tmp_path: Path) -> None:
    log.write_config(origin="example.com/other")
    report = verify(log, tmp_path)
    assert codes(report) == [("config.origin", None)]
    assert (report.findings[0].expected, report.findings[0].found) == (log.origin, "example.com/other")


def test_log_toml_with_other_settings(log: LogMaker, tmp_path: Path) -> None:
    log.write_config(settings=Settings(batch=False))
    assert codes(verify(log, tmp_path)) == [("config.settings", None)]


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
    log.append(*map(action, range(600)))
    log.lay_out()
    assert verify(log, tmp_path).findings == []
    path = log.root / "tree" / "1"
    path.write_bytes(path.read_bytes()[:32] + bytes(32))
    report = verify(log, tmp_path)
    assert codes(report) == [("tree.stale", None)]
    assert report.findings[0].found == 1


# --- memory ---


def test_a_tail_cut_is_seen_by_who_remembers(log: LogMaker, tmp_path: Path) -> None:
    log.lay_out(size=4)
    verify(log, tmp_path)
    del log.lines[10:]
    log.lay_out(size=4)
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.TRUNCATED, [("memory.ahead", None)])
    assert (report.findings[0].expected, report.findings[0].found) == (11, 10)
    assert report.remembered_size is None


def test_a_history_rewritten_is_seen_by_who_remembers(log: LogMaker, tmp_path: Path) -> None:
    verify(log, tmp_path)
    log.append(action(20))
    log.reseal(7, action_payload={})
    log.lay_out()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.FORKED, [("memory.root", None)])


def test_another_log_of_the_same_origin_is_seen_by_who_remembers(log: LogMaker, tmp_path: Path) -> None:
    verify(log, tmp_path)
    other = make(tmp_path / "other", first_id=500)
    other.lay_out()
    report = verify(other, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.FORKED, [("memory.genesis", 0)])


def test_growth_is_no_fault_and_memory_follows(log: LogMaker, tmp_path: Path) -> None:
    for number in range(3):
        assert verify(log, tmp_path).findings == []
        log.append(action(number + 20))
        log.lay_out()
    report = verify(log, tmp_path)
    assert (report.remembered_size, report.size) == (13, 14)


def test_memory_does_not_go_backwards(log: LogMaker, tmp_path: Path) -> None:
    verify(log, tmp_path)
    path = next((tmp_path / "state").iterdir())
    before = path.read_bytes()
    log.lines.pop()
    log.lay_out()
    assert verify(log, tmp_path).verdict == Verdict.TRUNCATED
    assert path.read_bytes() == before


def test_a_log_with_a_fault_is_not_remembered(log: LogMaker, tmp_path: Path) -> None:
    edit_payload(log, tmp_path)
    log.write_entries()
    verify(log, tmp_path)
    assert not (tmp_path / "state").exists()


def test_without_remembering_nothing_is_read_or_written(log: LogMaker, tmp_path: Path) -> None:
    verify(log, tmp_path, remember=False)
    assert not (tmp_path / "state").exists()
    verify(log, tmp_path)
    log.lines.pop()
    log.lay_out()
    report = verify(log, tmp_path, remember=False)
    assert (report.verdict, report.remembered_size) == (Verdict.VERIFIED, None)


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"\xff", b'{"format_version":2}', b"x" * 100],
)
def test_memory_that_cannot_be_read_is_not_no_memory(log: LogMaker, tmp_path: Path, data: bytes) -> None:
    verify(log, tmp_path)
    path = next((tmp_path / "state").iterdir())
    path.write_bytes(data)
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, [("memory.unreadable", None)])
    assert path.read_bytes() == data


@pytest.mark.parametrize("member", ["origin", "checkpoint", "size"])
def test_memory_that_was_changed_is_not_believed(log: LogMaker, tmp_path: Path, member: str) -> None:
    verify(log, tmp_path)
    path = next((tmp_path / "state").iterdir())
    memory = json.loads(path.read_bytes())
    memory[member] = {"origin": "x", "checkpoint": memory["checkpoint"].replace("11", "12"), "size": 5}[
        member
    ]
    path.write_text(json.dumps(memory))
    assert verify(log, tmp_path).verdict in {Verdict.UNKNOWN, Verdict.FORKED}


def test_memory_that_is_a_directory_is_not_no_memory(log: LogMaker, tmp_path: Path) -> None:
    verify(log, tmp_path)
    path = next((tmp_path / "state").iterdir())
    path.unlink()
    path.mkdir()
    assert codes(verify(log, tmp_path)) == [("memory.unreadable", None)]


def test_a_state_directory_that_cannot_be_is_said(log: LogMaker, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    report = verify(log, tmp_path, state_dir=tmp_path / "file" / "state")
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("memory.not_saved", None)])


def test_a_state_directory_that_cannot_be_looked_into_is_said(
    log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(remember_module, "recall", denied)
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("memory.not_saved", None)])


def test_where_state_is_kept(log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{hex_hash(log.origin.encode())}.json"
    monkeypatch.delenv("ATTESTLOG_HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    verify_log(log.root)
    assert (tmp_path / "home" / ".local" / "state" / "attestlog" / name).is_file()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    verify_log(log.root)
    assert (tmp_path / "xdg" / "attestlog" / name).is_file()
    monkeypatch.setenv("ATTESTLOG_HOME", str(tmp_path / "own"))
    verify_log(log.root)
    assert (tmp_path / "own" / "state" / name).is_file()


def test_nowhere_to_remember_is_said(log: LogMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(remember_module, "default_state_dir", homeless)
    assert codes(verify_log(log.root)) == [("memory.not_saved", None)]


def test_memory_keeps_the_signed_checkpoint(log: LogMaker, tmp_path: Path) -> None:
    log.lay_out(size=7)
    verify(log, tmp_path)
    memory = json.loads(next((tmp_path / "state").iterdir()).read_bytes())
    assert memory["checkpoint"].encode() == (log.root / "checkpoint").read_bytes()
    assert (memory["checkpoint_size"], memory["size"]) == (7, 11)
    assert [path.name for path in (tmp_path / "state").iterdir()] == [f"{hex_hash(log.origin.encode())}.json"]


# --- trust ---


def test_each_kind_of_trust_vouches(log: LogMaker, tmp_path: Path) -> None:
    pem = tmp_path / "key.pem"
    pem.write_text(log.key.public.pem)
    key_id, vkey, digest = log.key.public.key_id, log.checkpoint_key.vkey, log.entry(0)["entry_hash"]
    for item, named in [
        (pem, key_id), (str(pem), key_id), (log.key.public.pem, key_id), (key_id, key_id), (vkey, vkey),
        (digest, digest),
    ]:  # fmt: skip
        report = verify(log, tmp_path, trust=[item])
        assert (report.verdict, report.trusted_by) == (Verdict.VERIFIED, [named])
        assert not report.self_attested


def test_one_that_vouches_suffices(log: LogMaker, tmp_path: Path) -> None:
    report = verify(log, tmp_path, trust=["0" * 64, log.key.public.key_id])
    assert (report.verdict, report.trusted_by) == (Verdict.VERIFIED, [log.key.public.key_id])


@pytest.mark.parametrize("item", ["0" * 64, CheckpointKey(2).vkey, Key(2).public.pem])
def test_a_log_that_is_not_by_the_key_asked_for(log: LogMaker, tmp_path: Path, item: str) -> None:
    report = verify(log, tmp_path, trust=[item])
    assert (report.verdict, codes(report)) == (Verdict.FORKED, [("trust.mismatch", None)])
    assert report.trusted_by == []
    assert not (tmp_path / "state").exists()


def test_a_key_that_is_named_and_did_not_sign_does_not_vouch(log: LogMaker, tmp_path: Path) -> None:
    members = log.entry(0)
    signature = Key(2).sign(bytes.fromhex(members["entry_hash"])).hex()
    log.lines[0] = canonical.encode(members | {"hsm_signature": signature})
    log.write_entries()
    report = verify(log, tmp_path, trust=[log.key.public.key_id])
    assert report.trusted_by == []
    assert codes(report) == [("entry.signature", 0), ("trust.mismatch", None)]


def test_a_checkpoint_key_whose_checkpoint_is_gone_does_not_vouch(log: LogMaker, tmp_path: Path) -> None:
    (log.root / "checkpoint").unlink()
    report = verify(log, tmp_path, trust=[log.checkpoint_key.vkey])
    assert [code for code, _ in codes(report)] == ["checkpoint.missing", "trust.mismatch"]


def test_trust_that_says_nothing_is_the_callers_mistake(log: LogMaker, tmp_path: Path) -> None:
    (tmp_path / "no-key").write_text("hello")
    with pytest.raises(MalformedConfigError):
        verify(log, tmp_path, trust=[tmp_path / "no-key"])
    with pytest.raises(MalformedConfigError):
        verify(log, tmp_path, trust=["-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
    with pytest.raises(NotFoundError):
        verify(log, tmp_path, trust=["nobody"])
    with pytest.raises(NotFoundError):
        verify(log, tmp_path, trust=["no\0body"])
    with pytest.raises(StorageError):
        verify(log, tmp_path, trust=[tmp_path])


# --- torn tails ---


def unfinished(tmp_path: Path, acknowledged: int) -> LogMaker:
    """A log whose tree and checkpoint stop at `acknowledged` entries."""
    log = make(tmp_path / "log")
    log.lay_out(size=acknowledged, tree_size=acknowledged)
    return log


def test_a_torn_last_line_at_every_byte(tmp_path: Path) -> None:
    log = unfinished(tmp_path, 10)
    last = log.lines.pop() + b"\n"
    for count in range(1, len(last)):
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
    report = verify(log, tmp_path)
    assert report.verdict == Verdict.TAMPERED
    assert ("entry.entry_hash", 10) in codes(report)


@pytest.mark.parametrize("kept", range(1, 6))
def test_a_torn_batch(tmp_path: Path, kept: int) -> None:
    log = unfinished(tmp_path, 1)
    del log.lines[1 + kept :]
    log.write_entries()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.INCOMPLETE, [("log.torn_batch", 1)])
    assert (report.findings[0].expected, report.findings[0].found) == (6, kept)
    assert (report.size, report.head_hash) == (1, log.entry(0)["entry_hash"])


def test_a_torn_batch_is_not_remembered_beyond_its_start(tmp_path: Path) -> None:
    log = unfinished(tmp_path, 1)
    del log.lines[4:]
    log.write_entries()
    assert verify(log, tmp_path).verdict == Verdict.INCOMPLETE
    other = LogMaker(log.root)
    other.append(action(50))
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
    report = verify_log(tmp_path / "none")
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, [("log.missing", None)])


def test_not_a_log(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file", tmp_path / "folder"):
        report = verify_log(path)
        assert (report.verdict, codes(report)) == (Verdict.MALFORMED, [("log.not_a_log", None)])


@pytest.mark.parametrize("data", [b"", b"\n", b"{}\n", b"garbage"])
def test_no_genesis(log: LogMaker, tmp_path: Path, data: bytes) -> None:
    log.segment().write_bytes(data)
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.MALFORMED, [("log.no_genesis", None)])


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


def test_a_segment_that_vanishes_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = segmented(tmp_path)
    take = source_module.take_snapshot

    def take_and_lose(root: Path) -> Any:
        snapshot = take(root)
        log.segment(6).unlink()
        return snapshot

    monkeypatch.setattr(verify_module, "take_snapshot", take_and_lose)
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, [("log.unreadable", 6)])


def test_a_segment_that_shrinks_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = segmented(tmp_path)
    take = source_module.take_snapshot

    def take_and_cut(root: Path) -> Any:
        snapshot = take(root)
        os.truncate(log.segment(9), 100)
        return snapshot

    monkeypatch.setattr(verify_module, "take_snapshot", take_and_cut)
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, [("log.unreadable", 9)])


@pytest.mark.parametrize("name", ["log.toml", "checkpoint", "tree/0"])
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


# --- relations between entries ---


def erased(tmp_path: Path, target: int) -> LogMaker:
    log = make(tmp_path / "log")
    log.append(
        action(
            11, event_type="CHANGE", action_type="erase_payload", action_payload={"sequence_number": target}
        )
    )
    log.append(action(12))
    log.lines[4] = canonical.encode(log.entry(4) | {"action_payload": None})
    log.lay_out()
    return log


def test_an_erased_payload_is_counted(tmp_path: Path) -> None:
    report = verify(erased(tmp_path, 4), tmp_path)
    assert (report.verdict, report.findings, report.erased_payloads) == (Verdict.VERIFIED, [], 1)


def test_an_erasure_of_another_entry_accounts_for_nothing(tmp_path: Path) -> None:
    report = verify(erased(tmp_path, 5), tmp_path)
    assert (codes(report), report.erased_payloads) == ([("entry.payload_missing", 4)], 0)


def test_an_erasure_must_come_later(tmp_path: Path) -> None:
    log = make(tmp_path / "log")
    log.append(
        action(11, event_type="CHANGE", action_type="erase_payload", action_payload={"sequence_number": 12})
    )
    log.append(action(12))
    log.lines[12] = canonical.encode(log.entry(12) | {"action_payload": None})
    log.lay_out()
    assert codes(verify(log, tmp_path)) == [("entry.payload_missing", 12)]


def test_dependencies_are_looked_for_in_the_whole_log(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log")
    log.append(action(1))
    log.append(action(2, dependencies=[entry_id(2), entry_id(4), entry_id(1), entry_id(9)]), action(3))
    log.lay_out()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("entry.dependency", 2)])
    assert report.findings[0].found == entry_id(9)


def test_dependencies_are_looked_for_within_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relations_module, "WANTED_MAX", 2)
    log = LogMaker(tmp_path / "log")
    log.append(action(1, dependencies=[entry_id(number) for number in range(7, 12)]))
    log.lay_out()
    report = verify(log, tmp_path)
    assert report.verdict == Verdict.VERIFIED
    assert report.finding_counts == {"entry.dependency": 2, "entry.dependencies_unread": 1}
    assert report.findings[-1].found == 3


def test_proofs_nothing_can_check_are_said_once_a_type(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log")
    for number in range(1, 4):
        log.append(
            action(number, provided_proofs=[{"type": "zk", "valid": True}, {"type": "x", "valid": False}])
        )
    log.lay_out()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("entry.proof_unchecked", 1)])
    assert "3 proofs" in report.findings[0].message


def test_an_entry_of_the_future_is_said(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log")
    log.now_us = int((time.time() + 3_600) * 1e6)
    log.append(action(1))
    log.lay_out()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("log.future", None)])


# --- a log that is being written ---


def test_a_commit_under_way_is_waited_for(log: LogMaker, tmp_path: Path) -> None:
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
    monkeypatch.setattr(source_module, "LOCK_WAIT_S", 0.01)
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
    take = source_module.take_snapshot

    def take_and_append(root: Path) -> Any:
        snapshot = take(root)
        log.append(action(20), action(21))
        log.lay_out()
        return snapshot

    monkeypatch.setattr(verify_module, "take_snapshot", take_and_append)
    report = verify(log, tmp_path)
    assert (report.verdict, report.size, report.findings) == (Verdict.VERIFIED, 11, [])


# --- resuming ---


@pytest.mark.parametrize("start", range(1, 12))
def test_resuming(log: LogMaker, tmp_path: Path, start: int) -> None:
    verify(log, tmp_path)
    log.append(action(20), action(21, dependencies=[entry_id(999)]))
    log.lay_out()
    report = verify(log, tmp_path, start=start)
    assert (report.verdict, report.findings) == (Verdict.VERIFIED, [])
    assert (report.size, report.remembered_size, report.checkpoint_size) == (13, 11, 13)
    assert report.root == log.head.edge.root().hex()


def test_resuming_does_not_read_what_is_before(tmp_path: Path) -> None:
    log = segmented(tmp_path)
    verify(log, tmp_path)
    log.segment(3).write_bytes(b"x" * 100)
    assert verify(log, tmp_path, start=7).findings == []
    assert verify(log, tmp_path, start=5).verdict != Verdict.VERIFIED


def test_resuming_sees_what_is_tampered_with_after(log: LogMaker, tmp_path: Path) -> None:
    verify(log, tmp_path)
    edit_payload(log, tmp_path)
    log.write_entries()
    assert codes(verify(log, tmp_path, start=3)) == [("entry.action_hash", 4)]
    log.reseal(4)
    log.write_entries()
    assert verify(log, tmp_path, start=3).verdict == Verdict.TAMPERED


def test_resuming_needs_a_stored_tree_that_leads_to_the_remembered_root(
    log: LogMaker, tmp_path: Path
) -> None:
    verify(log, tmp_path)
    path = log.root / "tree" / "0"
    whole = path.read_bytes()
    path.write_bytes(bytes(32) + whole[32:])
    report = verify(log, tmp_path, start=7)
    assert report.verdict == Verdict.TAMPERED  # the log's own checkpoint is not met either
    assert ("resume.tree", None) in codes(report)
    path.write_bytes(whole[:32])
    report = verify(log, tmp_path, start=7)
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, [("resume.tree", 7)])


def test_resuming_where_it_cannot_be_asked_for(log: LogMaker, tmp_path: Path) -> None:
    with pytest.raises(QueryError):
        verify(log, tmp_path, start=1)
    verify(log, tmp_path)
    with pytest.raises(QueryError):
        verify(log, tmp_path, start=12)
    with pytest.raises(QueryError):
        verify(log, tmp_path, start=-1)
    with pytest.raises(QueryError):
        verify(log, tmp_path, start=1, remember=False)


def test_resuming_with_memory_that_cannot_be_relied_on(log: LogMaker, tmp_path: Path) -> None:
    verify(log, tmp_path)
    next((tmp_path / "state").iterdir()).write_bytes(b"")
    report = verify(log, tmp_path, start=5)
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, [("memory.unreadable", None)])


# --- the table of codes ---


def test_every_code_is_asked_for_by_a_test_and_has_a_meaning() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    tested = set(re.findall(r'"([a-z]+\.[a-z_]+)"', source.partition("# --- the table of codes")[0]))
    assert set(FINDINGS) - tested == set()
    assert set(VERDICTS) == set(FINDINGS)  # `finding` looks a code up there, so that none is unlisted
    assert all(meaning and "\n" not in meaning for meaning in FINDINGS.values())
