"""Erasing through the log: one payload goes, an entry says so, everything else is as it was."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.logs import Key, LogMaker, create, draft, drafts, last_segment, say_range_erased
from tests.support.people import governed

from attestlog._internal.core.entry import Entry, decode_line
from attestlog._internal.core.erasure import Erasure, format_erasure
from attestlog._internal.core.genesis import Settings
from attestlog._internal.core.note import format_vkey
from attestlog._internal.core.policy import parse_policy
from attestlog._internal.core.report import Verdict
from attestlog._internal.core.reserved import ERASE_PAYLOAD
from attestlog._internal.in_force import JudgesErasures
from attestlog._internal.log import Log
from attestlog._internal.places import index_dir
from attestlog._internal.query import query_log
from attestlog._internal.storage.contract import PendingErasure
from attestlog._internal.storage.files import erasing
from attestlog._internal.storage.files.layout import ERASING_FILE
from attestlog._internal.storage.files.reader import FileSource
from attestlog._internal.storage.files.store import FileStore
from attestlog._internal.storage.resolve import open_source, open_store
from attestlog._internal.verifying import judge_log, judge_proof
from attestlog.errors import (
    CorruptError,
    ErasureRefusedError,
    MalformedEntryError,
    NotFoundError,
    QueryError,
    RuleChangeError,
    StorageError,
)
from attestlog.testing import ManualClock, check_log


@pytest.fixture
def log(tmp_path: Path) -> Log:
    log = create(tmp_path / "log", segment_entries=4)
    log.append_many([draft(number, action_payload={"word": f"secret{number}"}) for number in range(1, 7)])
    return log


def erase(log: Log, number: int, **members: Any) -> Any:
    return log.erase(number, reason="asked for by the person", actor_id="officer-1", **members)


def entry(log: Log, number: int) -> Entry:
    return open_source(log.path).entry(number)


def everywhere(log: Log) -> bytes:
    return b"".join(path.read_bytes() for path in log.path.rglob("*") if path.is_file())


@pytest.mark.parametrize("number", [1, 3, 4, 6])
def test_one_payload_goes_and_everything_else_stays(log: Log, number: int) -> None:
    before = entry(log, number)
    checkpoint = log.checkpoint()
    receipt = erase(log, number, legal_basis="GDPR 17(1)(a)")
    after = entry(log, number)
    assert after.action_payload is None
    assert [getattr(after, name) for name in Entry.__struct_fields__ if name != "action_payload"] == [
        getattr(before, name) for name in Entry.__struct_fields__ if name != "action_payload"
    ]
    assert receipt.entry.action_payload == {
        "sequence_number": number, "entry_hash": before.entry_hash, "action_type": before.action_type,
        "timestamp": before.timestamp, "reason": "asked for by the person", "legal_basis": "GDPR 17(1)(a)",
    }  # fmt: skip
    assert f"secret{number}".encode() not in everywhere(log)
    log.append(draft(9))
    log.close()
    check_log(log.path, [receipt])
    report = judge_log(log.path, remember=False)
    assert (report.verdict, report.erased_payloads) == (Verdict.VERIFIED, 1)
    assert checkpoint
    assert not (log.path / ERASING_FILE).exists()


def test_the_first_and_the_governing_entries_keep_their_payloads(log: Log) -> None:
    hold = log.add_hold("case-7", reason="litigation", actor_id="officer-1", start=5)
    erased = erase(log, 1)
    for number in (0, hold.sequence_number, erased.sequence_number):
        with pytest.raises(ErasureRefusedError):
            erase(log, number)
    size = log.head().size
    assert size == 9
    assert entry(log, hold.sequence_number).action_payload is not None


def test_a_payload_is_erased_once(log: Log) -> None:
    erase(log, 2)
    with pytest.raises(ErasureRefusedError, match="erased already"):
        erase(log, 2)
    with pytest.raises(NotFoundError):
        erase(log, 99)
    assert log.head().size == 8


def test_a_hold_forbids_it_until_it_is_released(log: Log) -> None:
    log.add_hold("case-7", reason="litigation", actor_id="officer-1", start=2, stop=4)
    with pytest.raises(ErasureRefusedError, match="legal hold: case-7") as caught:
        erase(log, 3)
    assert (caught.value.rule, caught.value.holds) == ("hold", ["case-7"])
    assert not (log.path / ERASING_FILE).exists()
    erase(log, 4)
    with pytest.raises(RuleChangeError, match="in force already"):
        log.add_hold("case-7", reason="again", actor_id="officer-1")
    with pytest.raises(RuleChangeError, match="no legal hold"):
        log.release_hold("case-8", reason="x", actor_id="officer-1")
    log.release_hold("case-7", reason="settled", actor_id="officer-1")
    erase(log, 3)
    log.close()
    check_log(log.path)


def test_a_hold_of_another_process_is_known_and_so_it_is_after_opening(log: Log) -> None:
    with Log.open(log.path, clock=ManualClock()) as other:
        other.add_hold("case-7", reason="litigation", actor_id="officer-1")
    with pytest.raises(ErasureRefusedError):
        erase(log, 1)
    log.close()
    with Log.open(log.path, clock=ManualClock()) as again:
        assert list(again.holds) == ["case-7"]
        with pytest.raises(ErasureRefusedError):
            erase(again, 1)


@pytest.mark.parametrize(
    "erasure, members, allowed",
    [
        ({"action_types": ["other"]}, {}, False),
        ({"held": ["execute_*"]}, {}, False),
        ({"legal_bases": ["a"]}, {"legal_basis": "b"}, False),
        ({"legal_bases": ["a"]}, {"legal_basis": "a"}, True),
        ({"retain_days": 1}, {}, False),
    ],
)
def test_the_policy_decides(tmp_path: Path, erasure: Any, members: Any, allowed: bool) -> None:
    log = create(tmp_path / "log", policy=parse_policy({"erasure": erasure}))
    log.append(draft(1))
    if allowed:
        erase(log, 1, **members)
    else:
        with pytest.raises(ErasureRefusedError) as caught:
            erase(log, 1, **members)
        assert caught.value.rule == "policy"
    log.close()
    check_log(log.path)


def test_without_the_approvals_that_are_asked_for_it_stays(log: Log) -> None:
    with pytest.raises(ErasureRefusedError, match="quorum_met is false") as caught:
        erase(log, 1, required_approvals=1)
    assert caught.value.rule == "approval"
    assert entry(log, 1).action_payload is not None
    with pytest.raises(RuleChangeError, match="has not the quorum of the policy in force"):
        log.add_hold("case-7", reason="x", actor_id="officer-1", required_approvals=1)


def test_what_a_rule_denies_stays(tmp_path: Path) -> None:
    rule = {"action_types": ["attestlog.erase*"], "actor_ids": ["Officer-*"], "deny": True, "reason": "never"}
    log = create(tmp_path / "log", policy=parse_policy({"rules": {"no": rule}}))
    log.append(draft(1))
    with pytest.raises(ErasureRefusedError, match="rule 'no' denies it: never") as caught:
        erase(log, 1)
    assert caught.value.rule == "deny"
    log.erase(1, reason="asked for", actor_id="ana")
    log.close()
    check_log(log.path)


def test_salted_payloads_go_whole(tmp_path: Path) -> None:
    settings = Settings(erasable_payloads=True)
    log = create(tmp_path / "log", settings=settings)
    salt = (log.append(draft(1)).entry.action_payload or {})["_salt"]
    receipt = erase(log, 1)
    assert "_salt" not in (receipt.entry.action_payload or {})
    assert salt.encode() not in everywhere(log)
    log.close()
    check_log(log.path)


@pytest.mark.parametrize("number", [1, 5])
def test_another_process_goes_on_in_the_new_file(log: Log, number: int) -> None:
    other = Log.open(log.path, clock=ManualClock())
    other.append(draft(7, action_payload={"word": "secret7"}))
    erase(log, number)
    receipts = [other.append(draft(8)), log.append(draft(9)), other.append(draft(10))]
    erase(other, 7)
    receipts += [log.append(draft(11)), other.append(draft(12)), *log.append_many(drafts(range(13, 20)))]
    receipts += other.append_many(drafts(range(20, 26)))
    log.close()
    other.close()
    check_log(log.path, receipts)


def test_a_file_put_in_its_place_is_not_taken_for_an_erasure(log: Log) -> None:
    """An older copy, without what was committed since."""
    segment = last_segment(log.path)
    older = segment.read_bytes()
    log.append(draft(7))
    copy = segment.with_name("copy")
    copy.write_bytes(older)
    copy.replace(segment)
    with pytest.raises(CorruptError):
        log.append(draft(8))


def test_the_index_forgets_the_words(log: Log) -> None:
    assert len(list(query_log(log.path, text="secret5"))) == 1
    words = index_dir(open_source(log.path).entry(0).entry_hash)
    assert any(words.iterdir())
    erase(log, 5)
    assert not words.exists()
    assert b"secret5" not in everywhere(log)
    assert list(query_log(log.path, text="secret5")) == []
    assert [found.sequence_number for found in query_log(log.path, text="secret6")] == [6]
    assert b"secret5" not in everywhere(log)


def test_a_proof_of_an_erased_entry_holds_without_its_payload(log: Log) -> None:
    erase(log, 2)
    report = judge_proof(log.prove(2), trust=[format_vkey(log.genesis.checkpoint_keys[0])])
    assert (report.verdict, report.sequence_number, report.has_payload) == (Verdict.VERIFIED, 2, False)
    assert b"secret2" not in log.prove(2)


def test_a_reader_that_streams_is_not_disturbed(log: Log) -> None:
    lines = open_source(log.path).lines()
    first = [next(lines), next(lines)]
    erase(log, 3)
    assert len(first) + len(list(lines)) >= 7


def test_the_entry_alone_cannot_be_appended(log: Log) -> None:
    payload = erase(log, 1).entry.action_payload
    members = {"event_type": "CHANGE", "action_type": "attestlog.erase_payload", "actor_id": "x"}
    for append in (log.append, log.submit, lambda given: log.append_many([given])):
        with pytest.raises(MalformedEntryError, match="by the log alone"):
            append({**members, "action_payload": payload})
    log.append({**members, "event_type": "DECISION"})  # of another kind: it erases nothing


# --- `erasing` stands beside the entries: it only goes on with what they say ---


def kept_log(path: Path, covered: int) -> LogMaker:
    """A log with an entry that says that entry 1's payload is erased, and which no rule allows."""
    made = LogMaker(path, policy=parse_policy({"erasure": {"retain_days": 30}}))
    made.append(draft(1, action_payload={"word": "secret1"}))
    made.append(draft(2))
    target = decode_line(made.lines[1])
    payload = format_erasure(Erasure.of(target, "asked for", None))
    members = draft(3, event_type="CHANGE", action_type=ERASE_PAYLOAD, action_payload=payload)
    made.append(members, batched=False)
    made.lay_out(size=covered, tree_size=covered)
    erasing.write_pending(path, decode_line(made.lines[3]))
    return made


@pytest.mark.parametrize(
    "covered, known, is_forgotten",
    [(4, JudgesErasures(), True), (2, JudgesErasures(), False), (4, None, False)],
)
def test_what_the_rules_forbid_is_not_gone_on_with(
    tmp_path: Path, covered: int, known: JudgesErasures | None, is_forgotten: bool
) -> None:
    """Refused for good, it is forgotten; where it cannot be judged, or the entry is wrong, it is kept."""
    made = kept_log(tmp_path / "log", covered)
    before = made.segment().read_bytes()
    store = FileStore(made.root, known=known)
    store.close()
    assert made.segment().read_bytes() == before
    assert len(store.recovered) == 1
    assert (made.root / ERASING_FILE).exists() != is_forgotten


@pytest.mark.parametrize("size", [1, 5])
def test_what_they_allow_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Whether the checkpoint covers the entry that says so, or not yet."""
    log = create(tmp_path / "log")
    log.append(draft(1, action_payload={"word": "secret1"}))
    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "finish_erasure", lambda store: None)
        log.erase(1, reason="asked for", actor_id="officer-1")
        if size > 1:
            log.checkpoint()
        log._store.close()
        assert (log.path / ERASING_FILE).exists()
    store = FileStore(log.path, known=JudgesErasures())
    store.close()
    assert store.recovered == []
    assert open_source(log.path).entry(1).action_payload is None
    check_log(log.path)


# --- what stops it halfway ---


def test_a_disk_that_is_full_leaves_it_to_the_next_opening(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(erasing, "_copy", full)
        with pytest.raises(StorageError, match="is not yet") as caught:
            erase(log, 2)
        assert caught.value.erased_by == 7
        log.append(draft(9))
        assert [item.code for item in judge_log(log.path, remember=False).findings] == ["erasure.unfinished"]
    log.close()
    with Log.open(log.path, clock=ManualClock()) as again:
        assert entry(again, 2).action_payload is None
        assert again.recovered == []
    check_log(log.path)


def test_what_was_begun_and_not_said_is_forgotten(log: Log) -> None:
    (log.path / ERASING_FILE).write_bytes(
        msgspec.json.encode(PendingErasure(erased_by=7, entry_hash=entry(log, 2).entry_hash))
    )
    log.append(draft(9))  # stands where the erasing entry was to stand
    log.close()
    with Log.open(log.path, clock=ManualClock()) as again:
        assert entry(again, 2).action_payload is not None
        assert not (again.path / ERASING_FILE).exists()


@pytest.mark.parametrize("note", [b"", b"{}", b"\xff", b'{"sequence_number":2}', b"[" * 2_000])
def test_a_note_that_cannot_be_read_is_none(log: Log, note: bytes) -> None:
    (log.path / ERASING_FILE).write_bytes(note)
    log.close()
    with Log.open(log.path, clock=ManualClock()) as again:
        again.append(draft(9))
        erase(again, 1)
    check_log(log.path)


def test_a_damaged_entry_is_not_erased(log: Log) -> None:
    segment = log.path / "entries" / "000000000000.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b"secret2", b"secretX"))
    with pytest.raises(StorageError) as caught:
        erase(log, 2)
    assert "is not the hash" in caught.value.message
    assert b"secretX" in segment.read_bytes(), "it is evidence"


# --- many ---


def erase_many(log: Log, *types: str, **members: Any) -> Any:
    return log.erase_many(types or ["execute_*"], reason="too old", actor_id="officer-1", **members)


def erased(log: Log) -> list[int]:
    return [
        entry.sequence_number for entry in open_source(log.path).entries() if entry.action_payload is None
    ]


def test_payloads_of_a_range_go_and_everything_else_stays(log: Log) -> None:
    before = list(open_source(log.path).entries())
    receipt = erase_many(log, start=2, stop=6, legal_basis="GDPR 5(1)(e)")
    assert receipt.entry.action_type == "attestlog.erase_payloads"
    assert receipt.entry.action_payload == {
        "start": 2, "stop": 6, "action_types": ["execute_*"], "count": 4,
        "last_entry_hash": before[5].entry_hash, "reason": "too old", "legal_basis": "GDPR 5(1)(e)",
    }  # fmt: skip
    assert erased(log) == [2, 3, 4, 5]
    assert [entry.entry_hash for entry in open_source(log.path).entries(0, 7)] == [
        entry.entry_hash for entry in before
    ]
    assert not any(f"secret{number}".encode() in everywhere(log) for number in range(2, 6))
    log.append(draft(9))
    log.close()
    check_log(log.path, [receipt])
    report = judge_log(log.path, remember=False)
    assert (report.verdict, report.findings, report.erased_payloads) == (Verdict.VERIFIED, [], 4)


def test_the_range_begins_with_the_first_payload_that_goes(log: Log) -> None:
    erase(log, 1)
    receipt = erase_many(log, stop=5)
    assert (receipt.entry.action_payload or {})["start"] == 2
    assert (receipt.entry.action_payload or {})["count"] == 3
    assert erased(log) == [1, 2, 3, 4]


def test_only_what_is_older_goes(log: Log) -> None:
    clock = ManualClock(log.now_us() + 90 * 86_400_000_000)
    with Log.open(log.path, clock=clock) as other:
        other.append(draft(7))
        erase_many(other, older_than="89d")
        assert erased(other) == [1, 2, 3, 4, 5, 6]
        with pytest.raises(ErasureRefusedError, match="no payload of such a type is there") as caught:
            erase_many(other, older_than="1000d")
    assert caught.value.rule == "none"


@pytest.mark.parametrize(
    "members, error",
    [
        ({"start": 3, "stop": 3}, MalformedEntryError), ({"stop": 99}, NotFoundError),
        ({"start": -1, "stop": 3}, MalformedEntryError), ({"start": 1, "stop": 2, "types": ["deploy"]},
        ErasureRefusedError), ({"older_than": "long ago"}, QueryError),
    ],
)  # fmt: skip
def test_a_range_of_nothing_is_refused(log: Log, members: dict[str, Any], error: type[Exception]) -> None:
    types = members.pop("types", ["execute_*"])
    with pytest.raises(error):
        erase_many(log, *types, **members)
    assert log.head().size == 7
    assert not (log.path / ERASING_FILE).exists()


def test_one_payload_that_must_stay_keeps_all(log: Log) -> None:
    hold = log.add_hold("case-7", reason="litigation", actor_id="officer-1", start=4, stop=5)
    with pytest.raises(ErasureRefusedError, match="entry 4 is under legal hold: case-7") as caught:
        erase_many(log, start=2, stop=7)
    assert (caught.value.rule, caught.value.sequence_number) == ("hold", 4)
    with pytest.raises(
        ErasureRefusedError, match=f"entry {hold.sequence_number} .*cannot do without"
    ) as caught:
        erase_many(log, "*", start=5)
    assert caught.value.rule == "kept"
    assert erased(log) == []
    assert log.head().size == 8
    erase_many(log, start=5, stop=8)
    assert erased(log) == [5, 6]


def test_the_youngest_of_a_range_decides(tmp_path: Path) -> None:
    clock = ManualClock()
    log = create(tmp_path / "log", clock=clock, policy=parse_policy({"erasure": {"retain_days": 30}}))
    log.append(draft(1))
    clock.advance(86_400)
    log.append(draft(2))
    clock.advance(30 * 86_400 - 1)
    with pytest.raises(ErasureRefusedError, match="entry 2 is 30 days old, is kept for 30") as caught:
        erase_many(log, stop=3)
    assert caught.value.rule == "policy"
    clock.advance(2)
    erase_many(log, stop=3)
    log.close()
    check_log(log.path)


@pytest.mark.parametrize("name", ["attestlog.erase_*", "attestlog.erase_payload"])
def test_a_rule_for_erasures_asks_for_approval_of_a_range_too(tmp_path: Path, name: str) -> None:
    policy = governed(rules={"e": {"action_types": [name], "required_approvals": 1}})
    log = create(tmp_path / "log", policy=policy)
    log.append(draft(1))
    with pytest.raises(ErasureRefusedError, match="quorum_met is false") as caught:
        erase_many(log)
    assert caught.value.rule == "approval"
    log.close()
    check_log(log.path)


def test_a_damaged_entry_keeps_its_range_whole(log: Log) -> None:
    segment = log.path / "entries" / "000000000000.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b"secret2", b"secretX"))
    with pytest.raises(CorruptError, match="is not the hash"):
        erase_many(log, start=1, stop=7)
    assert log.head().size == 7
    assert b"secretX" in segment.read_bytes(), "it is evidence"


def test_two_writers_erase_ranges_and_go_on(log: Log) -> None:
    with Log.open(log.path, clock=ManualClock()) as other:
        other.append(draft(7, action_payload={"word": "secret7"}))
        erase_many(log, start=3, stop=8)
        receipts = [other.append(draft(8)), log.append(draft(9))]
        erase_many(other, start=2, stop=11)
        receipts += [log.append(draft(12)), other.append(draft(13))]
    log.close()
    check_log(log.path, receipts)
    report = judge_log(log.path, remember=False)
    assert (report.verdict, report.findings, report.erased_payloads) == (Verdict.VERIFIED, [], 8)


def test_a_range_that_was_cut_short_is_finished_by_the_next_opening(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = erasing._erase

    def full(root: Path, segment: Any, erasure: Any) -> None:
        if segment.numbers.start >= 4:
            raise OSError(28, "No space left on device")
        replace(root, segment, erasure)

    with monkeypatch.context() as patch:
        patch.setattr(erasing, "_erase", full)
        with pytest.raises(StorageError, match="is not yet") as caught:
            erase_many(log, start=2, stop=7)
        assert (caught.value.erased_by, caught.value.sequence_number) == (7, 2)
        assert erased(log) == [2, 3]
        (found,) = judge_log(log.path, remember=False).findings
        assert (found.code, found.sequence_number, found.found) == ("erasure.unfinished", 4, 7)
    log.close()
    with Log.open(log.path, clock=ManualClock()) as again:
        assert erased(again) == [2, 3, 4, 5, 6]
        assert again.recovered == []
    check_log(log.path)


# --- a note that somebody else put there ---


def begin(path: Path, line: bytes) -> None:
    """Say that the entry of this line erases something, as an erasure that a crash interrupted would."""
    said = decode_line(line)
    note = PendingErasure(erased_by=said.sequence_number, entry_hash=said.entry_hash)
    (path / ERASING_FILE).write_bytes(msgspec.json.encode(note))


def refused(made: LogMaker, saying: int) -> list[str]:
    """What opening says of a log with a note that entry `saying` erases; nothing goes."""
    made.lay_out()
    begin(made.root, made.lines[saying])
    store = open_store(made.root, known=JudgesErasures())
    store.close()
    assert [line.data for line in FileSource(made.root).located_lines()] == made.lines
    assert not (made.root / ERASING_FILE).exists()
    return list(store.recovered)


@pytest.fixture
def made(tmp_path: Path) -> LogMaker:
    log = LogMaker(tmp_path / "made", segment_entries=4)
    for number in range(1, 6):
        log.append(draft(number))
    return log


def say_erased(log: LogMaker, number: int, **changes: Any) -> None:
    erasure = Erasure.of(decode_line(log.lines[number]), "asked for", None)
    payload = format_erasure(erasure) | changes
    log.append(draft(0, event_type="CHANGE", action_type="attestlog.erase_payload", action_payload=payload))


@pytest.mark.parametrize("many", [False, True])
def test_a_begun_erasure_is_finished_by_what_its_entry_says(made: LogMaker, many: bool) -> None:
    say_range_erased(made, 2, 6) if many else say_erased(made, 2)
    made.lay_out()
    begin(made.root, made.lines[6])
    open_store(made.root, known=JudgesErasures()).close()
    gone = [n for n, line in enumerate(FileSource(made.root).lines()) if b'"action_payload":null' in line]
    assert gone == ([2, 3, 4, 5] if many else [2])
    report = judge_log(made.root, remember=False)
    assert (report.verdict, report.findings) == (Verdict.VERIFIED, [])


@pytest.mark.parametrize("many", [False, True])
def test_what_a_hold_forbids_is_not_finished(made: LogMaker, many: bool) -> None:
    hold = {"name": "case-7", "start": 3, "stop": 4, "reason": "litigation"}
    made.append(draft(0, event_type="CHANGE", action_type="attestlog.place_legal_hold", action_payload=hold))
    say_range_erased(made, 2, 6) if many else say_erased(made, 3)
    (said,) = refused(made, 7)
    assert "is under legal hold: case-7" in said


@pytest.mark.parametrize("many", [False, True])
def test_what_the_policy_keeps_is_not_finished(tmp_path: Path, many: bool) -> None:
    made = LogMaker(tmp_path / "made", policy=parse_policy({"erasure": {"retain_days": 1}}))
    made.append(draft(1), draft(2))
    say_range_erased(made, 1, 3) if many else say_erased(made, 1)
    (said,) = refused(made, 3)
    assert "is kept for 1" in said


@pytest.mark.parametrize("claims_quorum", [False, True])
def test_what_nobody_approved_is_not_finished(tmp_path: Path, claims_quorum: bool) -> None:
    policy = governed(rules={"e": {"action_types": ["attestlog.erase*"], "required_approvals": 1}})
    made = LogMaker(tmp_path / "made", policy=policy)
    made.append(draft(1))
    say_erased(made, 1)
    made.reseal(2, quorum_met=claims_quorum)
    (said,) = refused(made, 2)
    assert ("has not the quorum" if claims_quorum else "quorum_met is false") in said


@pytest.mark.parametrize("changes", [{"entry_hash": "0" * 64}, {"action_type": "x"}, {"sequence_number": 4}])
def test_an_entry_that_describes_another_is_not_finished(made: LogMaker, changes: Any) -> None:
    say_erased(made, 2, **changes)
    (said,) = refused(made, 6)
    assert "is not the one described" in said


def test_a_range_with_another_last_entry_is_not_finished(made: LogMaker) -> None:
    say_range_erased(made, 2, 6, changes={"last_entry_hash": "0" * 64})
    (said,) = refused(made, 6)
    assert "is not the one described" in said


def test_an_entry_that_no_key_of_the_log_signed_is_not_finished(made: LogMaker) -> None:
    say_erased(made, 2)
    made.reseal(6, key=Key(9))
    (said,) = refused(made, 6)
    assert "not signed by a key in force" in said


def test_an_entry_that_does_not_erase_erases_nothing(made: LogMaker) -> None:
    payload = format_erasure(Erasure.of(decode_line(made.lines[2]), "asked for", None))
    for status, event_type in (("FAILED", "CHANGE"), ("BLOCKED", "CHANGE"), ("SUCCESS", "DECISION")):
        made.append(draft(0, event_type=event_type, action_type="attestlog.erase_payload",
            execution_status=status, action_payload=payload))  # fmt: skip
    for number in (5, 6, 7, 8):
        (said,) = refused(made, number)
        assert "erases nothing" in said


def test_payloads_that_the_log_needs_are_not_finished(made: LogMaker) -> None:
    say_erased(made, 0)
    (said,) = refused(made, 6)
    assert "cannot do without" in said
