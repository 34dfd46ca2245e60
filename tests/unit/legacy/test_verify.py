"""Verifying the minimal format: the vectors, what Python's json does, damage, hostile files."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.legacy import hash_of, joined, legacy_lines, legacy_members, sealed
from tests.support.logs import LogMaker

from attestlog._internal.core.report import Finding, Report, Verdict
from attestlog._internal.legacy import is_legacy, judge_legacy
from attestlog._internal.legacy import verify as verify_module
from attestlog._internal.legacy.judge import LineError, legacy_hash, parse_line
from attestlog.errors import DeniedError, NotFoundError, StorageError

VECTORS = os.environ.get("ATTESTLOG_VECTORS")
FAULTS = {Verdict.TAMPERED, Verdict.INCOMPLETE, Verdict.UNKNOWN, Verdict.MALFORMED}


def faults(report: Report) -> list[tuple[str, int | None]]:
    return [(f.code, f.sequence_number) for f in report.findings if f.verdict in FAULTS]


def judged(tmp_path: Path, data: bytes) -> Report:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(data)
    return judge_legacy(path)


# The vectors

EXPECTED: dict[str, tuple[Verdict, int, list[tuple[str, int | None]]]] = {
    "good-1.jsonl": (Verdict.VERIFIED, 1, []),
    "good-25.jsonl": (Verdict.VERIFIED, 25, []),
    "good-truncated-20-of-25-undetectable-alone.jsonl": (Verdict.VERIFIED, 20, []),
    "empty.jsonl": (Verdict.UNKNOWN, 0, [("legacy.empty", None)]),
    "bad-deleted-10.jsonl": (Verdict.TAMPERED, 24, [("legacy.sequence", 10), ("legacy.chain", 10)]),
    "bad-edited-payload-7.jsonl": (Verdict.TAMPERED, 25, [("legacy.hash", 7)]),
    "bad-genesis-prev-not-zero.jsonl": (Verdict.TAMPERED, 1, [("legacy.chain", 0)]),
    "bad-rehashed-12-chain-broken-at-13.jsonl": (Verdict.TAMPERED, 25, [("legacy.chain", 13)]),
    "bad-swapped-3-4.jsonl": (
        Verdict.TAMPERED,
        25,
        [(code, at) for at in (3, 4, 5) for code in ("legacy.sequence", "legacy.chain")],
    ),
    "bad-torn-last-line.jsonl": (Verdict.INCOMPLETE, 24, [("legacy.torn", 24)]),
}


@pytest.mark.skipif(not VECTORS, reason="ATTESTLOG_VECTORS names no folder of vectors")
def test_vectors() -> None:
    folder = Path(VECTORS or "") / "legacy"
    judgements = {}
    for path in sorted(folder.glob("*.jsonl")):
        report = judge_legacy(path)
        judgements[path.name] = (report.verdict, report.size, faults(report))
        assert is_legacy(path)
        assert report.format == "legacy"
    assert judgements == EXPECTED


# A sound log


def test_sound_log(tmp_path: Path) -> None:
    lines = legacy_lines(30)
    report = judged(tmp_path, joined(lines))
    assert (report.verdict, report.size, faults(report)) == (Verdict.VERIFIED, 30, [])
    assert report.head_hash == json.loads(lines[-1])["entry_hash"]
    assert report.genesis_hash == json.loads(lines[0])["entry_hash"]
    assert report.self_attested
    # What could not be ruled out is said.
    assert report.finding_counts == {"legacy.tail": 1, "legacy.unsigned": 1}


def test_progress_counts_bytes_and_findings_are_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_module, "_PROGRESS_LINES", 4)
    path = tmp_path / "audit.jsonl"
    path.write_bytes(joined([*legacy_lines(10), b"{}"]))
    steps: list[tuple[int, int]] = []
    heard: list[Finding] = []
    report = judge_legacy(path, lambda done, total: steps.append((done, total)), heard.append)
    size = path.stat().st_size
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert len(steps) == 3
    assert steps[-1] == (size, size)
    assert heard == report.findings


# Python's json is the format


@pytest.mark.parametrize(
    "text",
    [
        '{"a": NaN, "b": Infinity, "c": -Infinity}',
        '{"big": 123456789012345678901234567890, "neg": -0, "zero": -0.0}',
        '{"f": 1.10, "g": 1e400, "h": 1E5, "i": 1e-7, "j": 0.1e1, "k": 100000000000000000000000.0}',
        '{"dup": 1, "x": 2, "dup": 3}',
        r'{"s": "\ud83d\udee1 \ud800 \u00e0 \/ \b"}',
        '{"s": "an toàn ✓ 🛡", "ключ": 1}',
        '{"b": 1, "a": {"d": 1, "c": [{"z": 1, "y": 2}]}}',
        ' {"space" :\t[ ] } \r',
        '{"del": "\x7f", "line": "\u2028"}',
    ],
)
def test_hash_is_of_what_pythons_json_prints(tmp_path: Path, text: str) -> None:
    payload = json.loads(text)
    members = legacy_members(0, "0" * 64, action_payload=payload)
    rest = json.dumps({name: value for name, value in members.items() if name != "action_payload"})
    line = f'{{"action_payload": {text}, "entry_hash": "{hash_of(members)}", {rest[1:]}'.encode()
    assert judged(tmp_path, line + b"\n").verdict is Verdict.VERIFIED


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_any_members_hash_as_the_first_writer_hashed_them(members: dict[str, Any]) -> None:
    members.pop("entry_hash", None)
    line = sealed(members)
    found, repeated = parse_line(line)
    assert legacy_hash(found) == found["entry_hash"]
    assert repeated == []


def test_repeated_member_is_a_notice(tmp_path: Path) -> None:
    (line,) = legacy_lines(1)
    line = b'{"action_type": "shown to a hasty reader", ' + line[1:]
    report = judged(tmp_path, line + b"\n")
    assert report.verdict is Verdict.VERIFIED
    assert report.finding_counts["legacy.duplicate_member"] == 1


# Damage


def edited(lines: list[bytes], number: int, **changes: Any) -> list[bytes]:
    members = {**json.loads(lines[number]), **changes}
    return [*lines[:number], json.dumps(members).encode(), *lines[number + 1 :]]


@pytest.mark.parametrize("number", [0, 5, 9])
@pytest.mark.parametrize(
    "member, value, codes",
    [
        ("action_payload", {"number": -1}, ["legacy.hash"]),
        ("actor_id", "someone", ["legacy.hash"]),
        ("extra", 1, ["legacy.hash"]),
        ("entry_id", 7, ["legacy.member", "legacy.hash"]),
        ("sequence_number", True, ["legacy.member", "legacy.sequence", "legacy.hash"]),
        ("sequence_number", "5", ["legacy.member", "legacy.sequence", "legacy.hash"]),
        ("prev_entry_hash", "f" * 64, ["legacy.chain", "legacy.hash"]),
        ("prev_entry_hash", None, ["legacy.member", "legacy.chain", "legacy.hash"]),
        ("entry_hash", None, ["legacy.member", "legacy.hash"]),
    ],
)
def test_every_edit_is_found(
    tmp_path: Path, number: int, member: str, value: object, codes: list[str]
) -> None:
    report = judged(tmp_path, joined(edited(legacy_lines(10), number, **{member: value})))
    assert report.verdict is Verdict.TAMPERED
    assert faults(report) == [(code, number) for code in codes]


def test_restated_entry_hash_breaks_the_chain(tmp_path: Path) -> None:
    report = judged(tmp_path, joined(edited(legacy_lines(10), 4, entry_hash="0" * 64)))
    assert faults(report) == [("legacy.hash", 4), ("legacy.chain", 5)]


def test_evidence_is_shown_and_short(tmp_path: Path) -> None:
    report = judged(tmp_path, joined(edited(legacy_lines(3), 1, entry_hash="x\ud800" * 500)))
    (finding,) = [f for f in report.findings if f.code == "legacy.hash"]
    assert finding.expected == hash_of(json.loads(legacy_lines(3)[1]))
    assert finding.found.startswith("x\\ud800x")
    assert len(finding.found) <= 80 * 6


@pytest.mark.parametrize(
    "rubbish",
    [b"rubbish", b"{", b"[]", b"7", b'"x"', b"null", b"\xff\xfe", b'{"a": "\xff"}', b"\x00", b"{}{}",
     b"[" * 100_000, b'{"a":' * 100_000, b"1" * 10_000, b'\xef\xbb\xbf{"a": 1}'],
    ids=lambda value: value[:12].hex(),
)  # fmt: skip
def test_line_that_is_no_entry_is_one_finding(tmp_path: Path, rubbish: bytes) -> None:
    lines = legacy_lines(10)
    report = judged(tmp_path, joined([*lines[:4], rubbish, *lines[5:]]))
    assert (report.verdict, report.size, faults(report)) == (Verdict.TAMPERED, 9, [("legacy.line", 4)])


def test_line_without_the_members_is_one_finding(tmp_path: Path) -> None:
    lines = legacy_lines(10)
    report = judged(tmp_path, joined([*lines[:4], b'{"a": 1}', *lines[5:]]))
    assert (report.verdict, report.size, faults(report)) == (Verdict.TAMPERED, 9, [("legacy.member", 4)])


def test_number_beyond_pythons_own_limit_is_a_finding(tmp_path: Path) -> None:
    lines = legacy_lines(3)
    report = judged(tmp_path, joined([lines[0], lines[1][:-1] + b', "n": ' + b"9" * 5_000 + b"}", lines[2]]))
    assert faults(report) == [("legacy.line", 1)]


def test_inserted_line_is_found(tmp_path: Path) -> None:
    lines = legacy_lines(10)
    report = judged(tmp_path, joined([*lines[:4], sealed(legacy_members(4, "a" * 64)), *lines[4:]]))
    assert report.verdict is Verdict.TAMPERED
    assert {at for _, at in faults(report)} == {4, 5}


# Ends of lines, ends of files


def test_torn_tail(tmp_path: Path) -> None:
    lines = legacy_lines(5)
    for cut in (1, 10, len(lines[4]) - 1):
        report = judged(tmp_path, joined(lines[:4]) + lines[4][:cut])
        assert (report.verdict, report.size) == (Verdict.INCOMPLETE, 4)
        assert faults(report) == [("legacy.torn", 4)]


def test_torn_tail_does_not_hide_tampering(tmp_path: Path) -> None:
    lines = edited(legacy_lines(5), 2, actor_id="x")
    report = judged(tmp_path, joined(lines[:4]) + lines[4][:20])
    assert report.verdict is Verdict.TAMPERED
    assert ("legacy.torn", 4) in faults(report)


def test_torn_first_line_is_no_log(tmp_path: Path) -> None:
    report = judged(tmp_path, legacy_lines(1)[0][:50])
    assert report.verdict is Verdict.MALFORMED


def test_whole_last_line_without_its_end_counts(tmp_path: Path) -> None:
    report = judged(tmp_path, joined(legacy_lines(5))[:-1])
    assert (report.verdict, report.size) == (Verdict.VERIFIED, 5)
    assert report.finding_counts["legacy.no_line_end"] == 1
    edited_last = joined(edited(legacy_lines(5), 4, actor_id="x"))[:-1]
    assert judged(tmp_path, edited_last).verdict is Verdict.TAMPERED


def test_blank_lines_and_carriage_returns(tmp_path: Path) -> None:
    lines = legacy_lines(5)
    data = joined([*lines[:2], b"", b" \r", *lines[2:], b""])
    report = judged(tmp_path, data)
    assert (report.verdict, report.size) == (Verdict.VERIFIED, 5)
    assert report.finding_counts["legacy.blank_line"] == 3
    assert judged(tmp_path, b"".join(line + b"\r\n" for line in lines)).verdict is Verdict.VERIFIED


@pytest.mark.parametrize("data", [b"x", b"{}\n", b"\x00" * 5_000, b"\n\n", b'{"a": 1}\n' * 20, b"[1]"])
def test_file_that_is_no_legacy_log(tmp_path: Path, data: bytes) -> None:
    assert judged(tmp_path, data).verdict is Verdict.MALFORMED
    assert not is_legacy(tmp_path / "audit.jsonl")


def test_line_over_the_limit_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "LEGACY_LINE_SIZE_MAX_BYTES", 1_000)
    lines = legacy_lines(4, {1: {"note": "x" * 2_000_000}})
    report = judged(tmp_path, joined(lines))
    assert (report.verdict, report.size) == (Verdict.UNKNOWN, 3)
    assert faults(report) == [("legacy.too_large", 1)]
    at_limit = legacy_lines(4, {1: {"note": ""}})
    room = 1_000 - len(at_limit[1])
    for over, verdict in ((0, Verdict.VERIFIED), (1, Verdict.UNKNOWN)):
        report = judged(tmp_path, joined(legacy_lines(4, {1: {"note": "x" * (room + over)}})))
        assert report.verdict is verdict


def test_only_what_was_there_at_the_start_is_judged(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    lines = legacy_lines(8)
    path.write_bytes(joined(lines[:5]))
    with verify_module.open_legacy(path) as file:
        size = verify_module.file_size(file)
        with path.open("ab") as writer:
            writer.write(joined(lines[5:]) + b"half a li")
        sha256 = hashlib.sha256()
        report = verify_module.judge_file(file, "x", size, sha256=sha256)
    assert (report.verdict, report.size) == (Verdict.VERIFIED, 5)
    assert sha256.hexdigest() == hashlib.sha256(joined(lines[:5])).hexdigest()


def test_nothing_past_the_start_size_is_taken_of_a_line_over_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_module, "LEGACY_LINE_SIZE_MAX_BYTES", 1_000)
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"x" * 9_000)
    sha256 = hashlib.sha256()
    with verify_module.open_legacy(path) as file:
        (line,) = verify_module.file_lines(file, 5_000, sha256)
    assert (len(line.data), line.complete, line.stop) == (1_001, False, 5_000)
    assert sha256.hexdigest() == hashlib.sha256(b"x" * 5_000).hexdigest()


# Telling what a file is


def test_is_legacy(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    lines = legacy_lines(3)
    for data, answer in (
        (joined(lines), True),
        (lines[0], True),
        (joined([b"rubbish", *lines]), True),
        (joined([b"rubbish"] * verify_module.FIRST_LINES + lines), False),
        (joined(edited(lines, 0, entry_hash="wrong")), True),
        (b"", True),
    ):
        path.write_bytes(data)
        assert is_legacy(path) is answer
    assert not is_legacy(tmp_path)
    (tmp_path / "empty").touch()
    assert not is_legacy(tmp_path / "empty")


def test_a_segment_of_the_full_format_is_not_legacy(tmp_path: Path) -> None:
    log = LogMaker(tmp_path)
    path = tmp_path / "segment.jsonl"
    path.write_bytes(joined(log.lines))
    assert not is_legacy(path)
    assert judge_legacy(path).verdict is Verdict.MALFORMED


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for ask in (is_legacy, judge_legacy):
        with pytest.raises(NotFoundError):
            ask(tmp_path / "none.jsonl")
    with pytest.raises(StorageError):
        judge_legacy(tmp_path)
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"x")

    def refuse(self: Path, *arguments: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DeniedError):
        judge_legacy(path)


def test_nesting_is_a_typed_failure() -> None:
    deep: Any = 0
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(LineError, match="nested too deep"):
        legacy_hash({"a": deep})
