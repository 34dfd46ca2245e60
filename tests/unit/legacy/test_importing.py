"""Importing the minimal format: byte for byte, once, whatever breaks off in the middle."""

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.legacy import joined, legacy_lines, legacy_members, sealed
from tests.support.logs import GrowingLog, draft

from attestlog._internal.core.entry import ActorType, Entry, EventCategory, EventType, ExecutionStatus
from attestlog._internal.core.report import Verdict
from attestlog._internal.legacy import ImportReceipt, export_legacy_lines, import_legacy, judge_legacy
from attestlog._internal.legacy import importing as importing_module
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import BusyError, ConflictError, ExistsError, TooLargeError, VerificationError

VECTORS = os.environ.get("ATTESTLOG_VECTORS")


class CrashError(Exception):
    """The machine stops."""


class ImportingLog:
    """A log as an import sees it; crashes on request, with some of what it was given written."""

    def __init__(self, root: Path) -> None:
        self._log = GrowingLog(root, segment_entries=64)
        self.path, self.where = root, str(root)
        self.writes_left: int | None = None
        """Entries until the crash."""

    def append_unredacted(self, drafts: Sequence[Mapping[str, Any]], /) -> list[Any]:
        return [self.append(draft) for draft in drafts]

    def append(self, draft: Mapping[str, Any], /) -> Any:
        if self.writes_left is not None:
            if not self.writes_left:
                raise CrashError
            self.writes_left -= 1
        self._log.append(dict(draft))
        return SimpleNamespace(sequence_number=self._log.head.size - 1, entry_hash=self._log.head.entry_hash)

    _append_own = append

    @property
    def size(self) -> int:
        return self._log.head.size

    def entries(self) -> list[Entry]:
        return list(open_source(self.path).entries())


@pytest.fixture
def log(tmp_path: Path) -> ImportingLog:
    return ImportingLog(tmp_path / "log")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A sound legacy log of 30 lines."""
    path = tmp_path / "audit.jsonl"
    path.write_bytes(joined(legacy_lines(30)))
    return path


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing_module, "BATCH_LINES", 8)


def exported(log: ImportingLog, receipt: ImportReceipt) -> list[bytes]:
    return list(export_legacy_lines(open_source(log.path), receipt.legacy_log))


def test_every_line_comes_back_byte_for_byte(log: ImportingLog, file: Path, tmp_path: Path) -> None:
    receipt = import_legacy(log, file)
    assert (receipt.lines, receipt.appended, receipt.report.verdict) == (30, 30, Verdict.VERIFIED)
    assert (receipt.sequence_number, log.size) == (31, 32)
    again = tmp_path / "again.jsonl"
    again.write_bytes(joined(exported(log, receipt)))
    assert again.read_bytes() == file.read_bytes()
    assert judge_legacy(again).verdict is Verdict.VERIFIED


@pytest.mark.skipif(not VECTORS, reason="ATTESTLOG_VECTORS names no folder of vectors")
@pytest.mark.parametrize("name", ["good-1", "good-25", "good-truncated-20-of-25-undetectable-alone"])
def test_good_vectors_come_back_byte_for_byte(log: ImportingLog, name: str) -> None:
    path = Path(VECTORS or "") / "legacy" / f"{name}.jsonl"
    assert joined(exported(log, import_legacy(log, path))) == path.read_bytes()


@pytest.mark.skipif(not VECTORS, reason="ATTESTLOG_VECTORS names no folder of vectors")
@pytest.mark.parametrize(
    "name",
    ["bad-deleted-10", "bad-edited-payload-7", "bad-genesis-prev-not-zero", "bad-swapped-3-4",
     "bad-rehashed-12-chain-broken-at-13", "bad-torn-last-line", "empty"],
)  # fmt: skip
def test_bad_vectors_are_refused(log: ImportingLog, name: str) -> None:
    with pytest.raises(VerificationError):
        import_legacy(log, Path(VECTORS or "") / "legacy" / f"{name}.jsonl")
    assert log.size == 1


def test_closing_entry_says_what_was_imported(log: ImportingLog, file: Path) -> None:
    receipt = import_legacy(log, file, actor_id="me")
    closing = log.entries()[-1]
    assert closing.entry_hash == receipt.entry_hash
    assert (closing.event_type, closing.action_type, closing.actor_id, closing.event_category) == (
        EventType.CHANGE, "attestlog.imported", "me", EventCategory.NORMAL,
    )  # fmt: skip
    lines = legacy_lines(30)
    assert closing.action_payload == {
        "legacy_log": json.loads(lines[0])["entry_hash"],
        "file_name": "audit.jsonl",
        "file_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "file_size_bytes": file.stat().st_size,
        "lines": 30,
        "legacy_genesis_hash": json.loads(lines[0])["entry_hash"],
        "legacy_head_hash": json.loads(lines[-1])["entry_hash"],
        "verdict": "VERIFIED",
        "finding_counts": {"legacy.tail": 1, "legacy.unsigned": 1},
    }


def test_progress_reaches_its_end(log: ImportingLog, file: Path) -> None:
    steps: list[tuple[int, int]] = []
    import_legacy(log, file, lambda done, total: steps.append((done, total)))
    size = file.stat().st_size
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert {total for _, total in steps} == {2 * size}
    assert steps[-1][0] == 2 * size


# What an entry takes over


def imported(log: ImportingLog, tmp_path: Path, **members: Any) -> Entry:
    """The entry of a legacy line with these members."""
    path = tmp_path / "one.jsonl"
    path.write_bytes(joined(legacy_lines(1, {0: members})))
    import_legacy(log, path)
    return log.entries()[1]


def test_members_are_carried_over(log: ImportingLog, tmp_path: Path) -> None:
    entry = imported(
        log, tmp_path, event_type="VIOLATION", event_category="ERROR", severity=9, actor_type="HUMAN",
        execution_status="BLOCKED", pillars_scores={"an_toan": 6.5}, conflicts_detected=["a"],
    )  # fmt: skip
    assert (entry.event_type, entry.event_category, entry.severity) == (
        EventType.VIOLATION, EventCategory.ERROR, 9,
    )  # fmt: skip
    assert (entry.action_type, entry.actor_id, entry.actor_type) == ("act_0", "organism-1", ActorType.HUMAN)
    assert (entry.execution_status, entry.composite_score) == (ExecutionStatus.BLOCKED, 6.5)
    assert (entry.k_state, entry.conflicts_detected) == (0, ["a"])
    payload = entry.action_payload or {}
    legacy = json.loads(payload["legacy_line"])
    assert {name: payload[f"legacy_{name}"] for name in ("entry_id", "timestamp", "sequence_number")} == {
        name: legacy[name] for name in ("entry_id", "timestamp", "sequence_number")
    }
    assert payload["legacy_entry_hash"] == legacy["entry_hash"] == payload["legacy_log"]
    assert payload["legacy_position"] == 0
    assert "legacy_replaced" not in payload


@pytest.mark.parametrize(
    "member, value, now",
    [
        ("event_type", "TELEPATHY", EventType.ACTION),
        ("event_type", "", EventType.ACTION),
        ("event_category", "BAD", EventCategory.NORMAL),
        ("severity", 11, 1),
        ("severity", 10**30, 1),
        ("actor_id", "", "legacy:unknown"),
        ("actor_id", 7, "legacy:unknown"),
        ("actor_id", "\ud800", "legacy:unknown"),
        ("actor_id", "x" * 257, "legacy:unknown"),
        ("action_type", "", "legacy:unknown"),
        ("actor_type", "ROBOT", ActorType.SYSTEM),
        ("execution_status", "PARTLY", ExecutionStatus.SUCCESS),
        ("pillars_scores", {"an_toan": 11}, {}),
        ("pillars_scores", {"an_toan": float("nan")}, {}),
        ("pillars_scores", {"speed": 1}, {}),
        ("conflicts_detected", ["x" * 5_000], []),
    ],
)
def test_values_that_do_not_fit_stay_in_the_line(
    log: ImportingLog, tmp_path: Path, member: str, value: object, now: object
) -> None:
    entry = imported(log, tmp_path, **{member: value})
    assert getattr(entry, member) == now
    payload = entry.action_payload or {}
    assert payload["legacy_replaced"] == [member]
    line = json.loads(payload["legacy_line"])
    assert line[member] == value or member == "pillars_scores"


def test_missing_actor(log: ImportingLog, tmp_path: Path) -> None:
    members = legacy_members(0, "0" * 64)
    del members["actor_id"]
    path = tmp_path / "one.jsonl"
    path.write_bytes(joined([sealed(members)]))
    import_legacy(log, path)
    entry = log.entries()[1]
    assert entry.actor_id == "legacy:unknown"
    assert "legacy_replaced" not in (entry.action_payload or {})


@pytest.mark.parametrize(
    "members",
    [
        {"event_type": "CHANGE", "action_type": "attestlog.modify_policy_rule"},
        {"event_type": "CHANGE", "action_type": "attestlog.rotate_signing_key"},
        {"event_type": "CHANGE", "action_type": "attestlog.imported"},
        {"event_type": "BOOT", "action_type": "attestlog.genesis"},
    ],
)
def test_what_would_be_an_order_to_this_log_is_none(
    log: ImportingLog, tmp_path: Path, members: dict[str, Any]
) -> None:
    entry = imported(log, tmp_path, **members)
    assert entry.event_type == members["event_type"]
    assert entry.action_type == f"legacy:{members['action_type']}"


def test_odd_json_is_kept_as_it_stands(log: ImportingLog, tmp_path: Path) -> None:
    payload = {"n": float("nan"), "big": 10**40, "s": "\ud800", "nul": "\0", "deep": [[[{}]]], "🛡": 1e22}
    path = tmp_path / "odd.jsonl"
    lines = legacy_lines(3, {1: {"action_payload": payload, "sequence_number": 1}})
    lines[2] = json.dumps(json.loads(lines[2]), ensure_ascii=False, separators=(" ,", ":\t")).encode() + b"\r"
    path.write_bytes(joined(lines))
    assert exported(log, import_legacy(log, path)) == lines


def test_legacy_sequence_number_too_large_for_json_is_left_out(log: ImportingLog, tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl"
    path.write_bytes(joined(legacy_lines(2, {1: {"sequence_number": 10**30}})))
    receipt = import_legacy(log, path, allow_damaged=True)
    assert "legacy_sequence_number" not in (log.entries()[2].action_payload or {})
    assert joined(exported(log, receipt)) == path.read_bytes()


# Damaged files


def test_damaged_log_is_refused_and_says_why(log: ImportingLog, file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"act_7", b"act_x"))
    with pytest.raises(VerificationError, match="is TAMPERED, want VERIFIED") as caught:
        import_legacy(log, file)
    assert [f.sequence_number for f in caught.value.report.findings if f.code == "legacy.hash"] == [7]
    assert log.size == 1


def test_damaged_log_is_imported_on_request_with_the_verdict(log: ImportingLog, file: Path) -> None:
    lines = legacy_lines(30)
    lines[7] = lines[7].replace(b"act_7", b"act_x")
    lines[9] = b"\xff\xfe not text"
    lines[11] = b"not json"
    lines[13] = b'{"a": 1}'
    file.write_bytes(joined(lines) + b'{"torn')
    receipt = import_legacy(log, file, allow_damaged=True)
    assert exported(log, receipt) == lines  # the torn tail is no line
    closing = log.entries()[-1]
    payload = closing.action_payload or {}
    assert closing.event_category is EventCategory.WARNING
    assert payload["verdict"] == "TAMPERED"
    assert payload["finding_counts"]["legacy.line"] == 2
    assert [(f["code"], f["sequence_number"]) for f in payload["findings"]] == [
        ("legacy.hash", 7), ("legacy.line", 9), ("legacy.line", 11), ("legacy.member", 13),
        ("legacy.torn", 30),
    ]  # fmt: skip
    assert log.entries()[10].actor_id == "legacy:unknown"


@pytest.mark.parametrize("data", [b"", b"\n", b"not a log\n", b'{"a": 1}\n'])
def test_what_is_no_legacy_log_is_never_imported(log: ImportingLog, file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with pytest.raises(VerificationError):
        import_legacy(log, file, allow_damaged=True)
    assert log.size == 1


def test_findings_recorded_are_bounded(log: ImportingLog, file: Path) -> None:
    file.write_bytes(joined([line.replace(b"act_", b"ACT_") for line in legacy_lines(30)]))
    import_legacy(log, file, allow_damaged=True)
    payload = log.entries()[-1].action_payload or {}
    assert len(payload["findings"]) == importing_module.FINDINGS_RECORDED_MAX
    assert payload["finding_counts"]["legacy.hash"] == 30


def test_line_too_long_is_refused_before_anything_is_written(
    log: ImportingLog, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing_module, "PAYLOAD_SIZE_MAX_BYTES", 20_000)
    quotes = {"action_payload": {"q": '"' * 4_000}}
    file.write_bytes(joined(legacy_lines(20, {15: quotes})))
    with pytest.raises(TooLargeError, match="line 16 makes a payload of") as caught:
        import_legacy(log, file)
    assert caught.value.size_bytes > 20_000
    assert log.size == 1


def test_line_not_judged_is_not_imported(
    log: ImportingLog, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attestlog._internal.legacy.verify.LEGACY_LINE_SIZE_MAX_BYTES", 400)
    file.write_bytes(joined(legacy_lines(5, {3: {"note": "x" * 400}})))
    with pytest.raises(TooLargeError):
        import_legacy(log, file, allow_damaged=True)
    assert log.size == 1


# Once, and once only


def test_second_import_is_refused(log: ImportingLog, file: Path) -> None:
    import_legacy(log, file)
    size = log.size
    with pytest.raises(ExistsError, match=r"all 30 lines of .* were imported before, up to entry 31"):
        import_legacy(log, file)
    copy = file.with_name("copy.jsonl")
    copy.write_bytes(file.read_bytes())
    with pytest.raises(ExistsError):
        import_legacy(log, copy)
    assert log.size == size


@pytest.mark.parametrize("crash_after", range(32))
def test_crash_leaves_no_duplicates_after_a_second_try(
    log: ImportingLog, file: Path, crash_after: int
) -> None:
    log.writes_left = crash_after
    if crash_after < 31:
        with pytest.raises(CrashError):
            import_legacy(log, file)
        log.writes_left = None
        log.append(draft(1))  # others write meanwhile
        receipt = import_legacy(log, file)
        assert receipt.appended == 30 - min(crash_after, 30)
        assert log.size == 1 + 30 + 1 + 1
    else:
        receipt = import_legacy(log, file)
    assert receipt.lines == 30
    assert joined(exported(log, receipt)) == file.read_bytes()
    positions = [(entry.action_payload or {}).get("legacy_position") for entry in log.entries()]
    assert [n for n in positions if n is not None] == list(range(30))
    with pytest.raises(ExistsError):
        import_legacy(log, file)


def test_repeated_crashes(log: ImportingLog, file: Path) -> None:
    for _ in range(6):
        log.writes_left = 5
        with pytest.raises(CrashError):
            import_legacy(log, file)
    log.writes_left = 1
    receipt = import_legacy(log, file)
    assert receipt.appended == 0
    assert joined(exported(log, receipt)) == file.read_bytes()


def test_grown_file_brings_its_new_lines(log: ImportingLog, file: Path) -> None:
    lines = legacy_lines(45)
    import_legacy(log, file)
    file.write_bytes(joined(lines))
    receipt = import_legacy(log, file)
    assert (receipt.lines, receipt.appended) == (45, 15)
    assert exported(log, receipt) == lines


def test_earlier_shorter_copy_brings_nothing(log: ImportingLog, file: Path) -> None:
    import_legacy(log, file)
    file.write_bytes(joined(legacy_lines(10)))
    with pytest.raises(ExistsError):
        import_legacy(log, file)


def test_file_that_contradicts_what_was_imported_is_refused(log: ImportingLog, file: Path) -> None:
    import_legacy(log, file)
    size = log.size
    file.write_bytes(joined(legacy_lines(40, {12: {"actor_id": "somebody-else"}})))
    with pytest.raises(ConflictError, match=r"line 13 .* is not the one imported as entry 13"):
        import_legacy(log, file)
    assert log.size == size


def test_two_legacy_logs_live_side_by_side(log: ImportingLog, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    lines = legacy_lines(12, {0: {"actor_id": "other"}})
    other.write_bytes(joined(lines))
    first, second = import_legacy(log, file), import_legacy(log, other)
    assert first.legacy_log != second.legacy_log
    assert exported(log, second) == lines
    assert joined(exported(log, first)) == file.read_bytes()


def test_entries_that_only_hold_the_same_words_are_no_import(log: ImportingLog, file: Path) -> None:
    identity = json.loads(legacy_lines(1)[0])["entry_hash"]
    for payload in (
        {"legacy_log": identity},
        {"legacy_log": identity, "legacy_position": "x"},
        {"legacy_log": identity, "legacy_position": 3},
        {"legacy_log": identity, "legacy_position": 3, "legacy_line_base64": "%%%"},
        {"inner": {"legacy_log": identity, "legacy_position": 3, "legacy_line": "x"}},
        {"text": f'"legacy_log":"{identity}"'},
    ):
        log.append(draft(1, action_payload=payload))
    receipt = import_legacy(log, file)
    assert receipt.appended == 30
    assert joined(exported(log, receipt)) == file.read_bytes()


def test_entry_that_repeats_an_imported_line_is_not_exported(log: ImportingLog, file: Path) -> None:
    receipt = import_legacy(log, file)
    log.append(draft(1, action_payload=log.entries()[5].action_payload))
    assert joined(exported(log, receipt)) == file.read_bytes()
    file.write_bytes(joined(legacy_lines(33)))
    assert import_legacy(log, file).appended == 3
    assert joined(exported(log, receipt)) == file.read_bytes()


def test_erased_line_does_not_come_back(log: ImportingLog, file: Path) -> None:
    log.writes_left = 20
    with pytest.raises(CrashError):
        import_legacy(log, file)
    log.writes_left = None
    segment = log.path / "entries" / "000000000000.jsonl"
    stored = segment.read_bytes().splitlines(keepends=True)
    start, stop = stored[5].index(b'"action_payload":') + 17, stored[5].index(b',"action_type"')
    stored[5] = stored[5][:start] + b"null" + stored[5][stop:]
    segment.write_bytes(b"".join(stored))
    receipt = import_legacy(log, file)
    assert receipt.appended == 10
    lines = legacy_lines(30)
    assert exported(log, receipt) == lines[:4] + lines[5:]


def test_file_that_changes_while_it_is_imported_is_not_closed(log: ImportingLog, file: Path) -> None:
    before = joined(legacy_lines(30, {3: {"note": "x" * 2_000_000}}))  # more than is read at a time
    file.write_bytes(before)

    def change(done: int, total: int) -> None:
        if done == total // 2:  # verified, and nothing of it imported yet
            file.write_bytes(before.replace(b"act_29", b"act_xx"))

    with pytest.raises(ConflictError, match="changed while it was imported"):
        import_legacy(log, file, change)
    assert all(entry.action_type != "attestlog.imported" for entry in log.entries())


def test_one_import_of_a_file_at_a_time(log: ImportingLog, file: Path) -> None:
    with file.open("rb") as held:
        fcntl.flock(held.fileno(), fcntl.LOCK_EX)
        with pytest.raises(BusyError):
            import_legacy(log, file)
    assert import_legacy(log, file).appended == 30


def test_file_name_that_is_no_text(log: ImportingLog, file: Path) -> None:
    odd = file.rename(file.with_name(os.fsdecode(b"od\xff.jsonl")))
    import_legacy(log, odd)
    assert (log.entries()[-1].action_payload or {})["file_name"] == "od\\udcff.jsonl"
