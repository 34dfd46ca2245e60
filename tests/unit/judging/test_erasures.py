"""Erased payloads: counted when an entry accounts for them and the rules allow it, found when not."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from tests.support.audits import codes, verify
from tests.support.logs import LogMaker, draft, say_range_erased

from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.erasure import (
    Erasure,
    erase_line,
    format_erasure,
    parse_range_erasure,
    read_stored,
)
from attestlog._internal.core.lines import whole_lines
from attestlog._internal.core.policy import Policy, parse_policy
from attestlog._internal.core.report import Verdict
from attestlog._internal.core.reserved import KEPT
from attestlog._internal.core.rules import Rules
from attestlog._internal.judging.erasures import Erasures
from attestlog._internal.judging.scan import State, scan
from attestlog._internal.verifying import source, whole


@pytest.fixture
def log(tmp_path: Path) -> LogMaker:
    return made(tmp_path)


def made(tmp_path: Path, policy: Policy | None = None) -> LogMaker:
    """Genesis, then entries 1 to 4, each a second after the last."""
    log = LogMaker(tmp_path / "log", policy=policy)
    for number in range(1, 5):
        log.append(draft(number))
    return log


def change(action_type: str, payload: Any, **members: Any) -> dict[str, Any]:
    return draft(0, event_type="CHANGE", action_type=action_type, action_payload=payload, **members)


def say_erased(log: LogMaker, number: int, legal_basis: str | None = None, **changes: Any) -> None:
    """Append the entry that says so; the payload stays where it is."""
    erasure = Erasure.of(decode_line(log.lines[number]), "asked for by the person", legal_basis)
    log.append(change("attestlog.erase_payload", {**format_erasure(erasure), **changes}))


def erase(log: LogMaker, number: int, **changes: Any) -> None:
    say_erased(log, number, **changes)
    log.lines[number] = erase_line(log.lines[number])


def hold(log: LogMaker, start: int, stop: int | None, name: str = "case-7") -> None:
    payload = {"name": name, "start": start, "stop": stop, "reason": "litigation"}
    log.append(change("attestlog.place_legal_hold", payload))


def release(log: LogMaker, name: str = "case-7", **placed_by: Any) -> None:
    """Of the last hold of this name; `placed_by`: what to say of it instead."""
    entries = [log.entry(number) for number in range(len(log.lines))]
    last = next((e for e in reversed(entries) if (e["action_payload"] or {}).get("name") == name), entries[0])
    named = {member: last[member] for member in ("sequence_number", "entry_hash")} | placed_by
    payload = {"name": name, "placed_by": named, "reason": "settled"}
    log.append(change("attestlog.release_legal_hold", payload))


def found(log: LogMaker, tmp_path: Path) -> list[tuple[str, int | None]]:
    log.lay_out()
    return codes(verify(log, tmp_path, remember=False))


def test_an_erasure_that_is_accounted_for_is_counted(log: LogMaker, tmp_path: Path) -> None:
    erase(log, 2)
    erase(log, 4)
    log.lay_out()
    report = verify(log, tmp_path)
    assert (report.verdict, report.erased_payloads, codes(report)) == (Verdict.VERIFIED, 2, [])
    assert b'"action_payload":null' in log.lines[2]


def test_a_payload_that_is_gone_without_a_word(log: LogMaker, tmp_path: Path) -> None:
    log.lines[2] = erase_line(log.lines[2])
    assert found(log, tmp_path) == [("entry.payload_missing", 2)]


def test_a_payload_that_is_still_there(log: LogMaker, tmp_path: Path) -> None:
    say_erased(log, 2)
    log.lay_out()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("erasure.unfinished", 2)])
    assert report.erased_payloads == 0


def test_an_erasure_of_another_entry_accounts_for_nothing(log: LogMaker, tmp_path: Path) -> None:
    say_erased(log, 3)
    log.lines[2] = erase_line(log.lines[2])
    assert found(log, tmp_path) == [("entry.payload_missing", 2), ("erasure.unfinished", 3)]


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence_number": 5},  # itself
        {"sequence_number": 9},
        {"sequence_number": -1},
        {"sequence_number": True},
        {"reason": ""},
        {"entry_hash": "x"},
        {"more": 1},
    ],
)
def test_an_erasing_entry_that_says_nothing(log: LogMaker, tmp_path: Path, changes: Any) -> None:
    erase(log, 2, **changes)
    assert found(log, tmp_path) == [("erasure.malformed", 5), ("entry.payload_missing", 2)]


@pytest.mark.parametrize(
    "changes",
    [
        {"entry_hash": "0" * 64},
        {"action_type": "another"},
        {"timestamp": "2025-10-30T12:00:03.000000Z"},
    ],
)
def test_an_erasing_entry_that_describes_another(log: LogMaker, tmp_path: Path, changes: Any) -> None:
    erase(log, 2, **changes)
    assert found(log, tmp_path) == [("erasure.malformed", 5)]


@pytest.mark.parametrize(
    "start, stop, held", [(2, 3, True), (0, None, True), (3, None, False), (0, 2, False), (2, None, True)]
)
def test_an_erasure_under_hold_is_seen(
    log: LogMaker, tmp_path: Path, start: int, stop: int | None, held: bool
) -> None:
    hold(log, start, stop)
    erase(log, 2)
    assert found(log, tmp_path) == ([("erasure.held", 6)] if held else [])


def test_holds_are_those_where_the_erasure_stands(log: LogMaker, tmp_path: Path) -> None:
    erase(log, 1)  # before
    hold(log, 0, None)
    hold(log, 0, None, "case-8")
    release(log)
    erase(log, 2)  # under the second
    release(log, "case-8")
    erase(log, 3)  # after both
    assert found(log, tmp_path) == [("erasure.held", 9)]


def test_holds_that_do_not_hold(log: LogMaker, tmp_path: Path) -> None:
    hold(log, 3, 3)
    release(log)
    hold(log, 0, 1)
    hold(log, 0, None)  # of the same name
    assert found(log, tmp_path) == [("entry.change", 5), ("entry.change", 6), ("entry.change", 8)]


def test_payloads_that_verifiers_need_stay(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log")
    log.append(draft(1))
    hold(log, 100, None)
    erase(log, 1)  # entry 3
    erase(log, 2)
    erase(log, 3)
    refused = [number for code, number in found(log, tmp_path) if code == "erasure.refused"]
    assert refused == [4, 5]


def test_an_erased_change_does_not_hold_and_is_not_what_entries_after_it_name(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log")
    hold(log, 100, None)
    log.append(*map(draft, (2, 3)))
    erase(log, 1)
    assert found(log, tmp_path) == [
        ("entry.change", 1), ("erasure.refused", 4), ("entry.rules", 2)
    ]  # fmt: skip


@pytest.mark.parametrize("action_type", sorted(KEPT))
@pytest.mark.parametrize(
    "event_type, status", [("CHANGE", "FAILED"), ("CHANGE", "BLOCKED"), ("DECISION", "SUCCESS")]
)
def test_the_payload_of_a_mere_record_may_go(
    tmp_path: Path, action_type: str, event_type: str, status: str
) -> None:
    log = LogMaker(tmp_path / "log")
    log.append(draft(1, action_type=action_type, event_type=event_type, execution_status=status))
    erase(log, 1)
    assert found(log, tmp_path) == []


def erasure_policy(**erasure: Any) -> Policy:
    return parse_policy({"erasure": erasure})


@pytest.mark.parametrize(
    "erasure, legal_basis, allowed",
    [
        ({"action_types": ["execute_*"]}, None, True),
        ({"action_types": ["deploy"]}, None, False),
        ({"held": ["execute_autonomous_task"]}, None, False),
        ({"held": ["deploy"]}, None, True),
        ({"legal_bases": ["gdpr-17"]}, None, False),
        ({"legal_bases": ["gdpr-17"]}, "other", False),
        ({"legal_bases": ["gdpr-17"]}, "gdpr-17", True),
        ({"retain_days": 1}, None, False),
    ],
)
def test_an_erasure_against_the_policy_is_seen(
    tmp_path: Path, erasure: Any, legal_basis: str | None, allowed: bool
) -> None:
    log = made(tmp_path, erasure_policy(**erasure))
    erase(log, 2, legal_basis=legal_basis)
    assert found(log, tmp_path) == ([] if allowed else [("erasure.refused", 5)])


@pytest.mark.parametrize("seconds_short, allowed", [(0, True), (1, False)])
def test_payloads_are_kept_for_as_long_as_the_policy_says(
    tmp_path: Path, seconds_short: int, allowed: bool
) -> None:
    log = made(tmp_path, erasure_policy(retain_days=30))
    written_us = log.now_us - 3_000_000  # entry 2
    log.now_us = written_us + (30 * 86_400 - seconds_short) * 1_000_000
    erase(log, 2)
    assert found(log, tmp_path) == ([] if allowed else [("erasure.refused", 5)])


def test_an_erasure_without_the_approval_it_needs_is_seen(log: LogMaker, tmp_path: Path) -> None:
    erasure = Erasure.of(decode_line(log.lines[2]), "asked for", None)
    log.append(change("attestlog.erase_payload", format_erasure(erasure), required_approvals=1))
    log.lines[2] = erase_line(log.lines[2])
    assert found(log, tmp_path) == [("erasure.refused", 5)]


def test_an_erasure_that_a_rule_denies_is_seen(tmp_path: Path) -> None:
    rule = {"action_types": ["attestlog.erase*"], "actor_ids": ["agent-1"], "deny": True, "reason": "never"}
    log = made(tmp_path, parse_policy({"rules": {"no": rule}}))
    erase(log, 2)
    assert found(log, tmp_path) == [("entry.rule", 5), ("erasure.refused", 5)]


def test_quorum_forged_in_is_found(log: LogMaker, tmp_path: Path) -> None:
    erasure = Erasure.of(decode_line(log.lines[2]), "asked for", None)
    log.append(change("attestlog.erase_payload", format_erasure(erasure), required_approvals=1))
    log.lines[2] = erase_line(log.lines[2])
    log.reseal(5, quorum_met=True)
    assert found(log, tmp_path) == [("entry.derived", 5)]


def test_a_hold_forged_out_is_found(log: LogMaker, tmp_path: Path) -> None:
    """The key's holder rewrites the hold to end before the entry: who remembers the log sees it."""
    hold(log, 0, None)
    log.lay_out()
    assert verify(log, tmp_path).verdict == Verdict.VERIFIED
    erase(log, 2)
    log.reseal(5, action_payload={"name": "case-7", "start": 0, "stop": 1, "reason": "litigation"})
    log.lay_out()
    assert verify(log, tmp_path).verdict == Verdict.FORKED


def test_what_was_erased_before_the_start_is_not_asked_for_again(log: LogMaker, tmp_path: Path) -> None:
    log.lay_out()
    verify(log, tmp_path)
    erase(log, 1)
    log.append(draft(9))
    log.lay_out()
    report = verify(log, tmp_path, start=4)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [])


def test_a_segment_written_anew_while_it_is_verified_is_no_tampering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "PIECE_SIZE_MIN_BYTES", 4_096)
    log = LogMaker(tmp_path / "log")
    for number in range(1, 30):
        log.append(draft(number))
    log.lay_out()

    def replace(done: int, total: int) -> None:
        segment = log.segment()
        other = segment.with_name(".other")
        other.write_bytes(segment.read_bytes()[: total - 400])
        other.replace(segment)

    report = verify(log, tmp_path, progress=replace, remember=False)
    assert report.verdict == Verdict.UNKNOWN
    assert [code for code, _ in codes(report)] == ["log.unreadable"]
    assert "was replaced" in report.findings[0].message


# --- of many ---


def erase_range(log: LogMaker, start: int, stop: int, *types: str, **members: Any) -> None:
    say_range_erased(log, start, stop, types or ("execute_*",), **members)
    wanted = parse_range_erasure({
        "start": start, "stop": stop, "action_types": list(types or ("execute_*",)), "count": 1,
        "last_entry_hash": "0" * 64, "reason": "x", "legal_basis": None,
    })  # fmt: skip
    for number in range(start, stop):
        if wanted.takes(read_stored(log.lines[number])):
            log.lines[number] = erase_line(log.lines[number])


def test_payloads_of_a_range_are_accounted_for_and_counted(log: LogMaker, tmp_path: Path) -> None:
    erase_range(log, 2, 4)
    erase(log, 4)
    log.lay_out()
    report = verify(log, tmp_path)
    assert (report.verdict, report.erased_payloads, codes(report)) == (Verdict.VERIFIED, 3, [])


@pytest.mark.parametrize("pattern, gone", [("execute_*", 2), ("deploy?", 1), ("*e*", 3), ("deploy1", 1)])
def test_only_payloads_of_the_types_named_go(tmp_path: Path, pattern: str, gone: int) -> None:
    log = LogMaker(tmp_path / "log")
    log.append(draft(1), draft(2, action_type="deploy1"), draft(3))
    erase_range(log, 1, 4, pattern)
    log.lay_out()
    report = verify(log, tmp_path, remember=False)
    assert (report.verdict, report.erased_payloads) == (Verdict.VERIFIED, gone)


def test_a_missing_payload_outside_the_range_or_of_another_type(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log")
    log.append(draft(1), draft(2, action_type="deploy"), draft(3), draft(4))
    erase_range(log, 1, 4)
    log.lines[2], log.lines[4] = erase_line(log.lines[2]), erase_line(log.lines[4])
    assert found(log, tmp_path) == [("entry.payload_missing", 2), ("entry.payload_missing", 4)]


def test_payloads_of_a_range_that_are_still_there(log: LogMaker, tmp_path: Path) -> None:
    say_range_erased(log, 1, 5)
    log.lines[2] = erase_line(log.lines[2])
    log.lay_out()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("erasure.unfinished", 1)])
    assert "3 are there" in report.findings[0].message


@pytest.mark.parametrize(
    "changes",
    [
        {"stop": 6}, {"start": 4}, {"start": 5}, {"start": -1}, {"start": True}, {"count": 0}, {"count": 4},
        {"action_types": []}, {"action_types": ["x"] * 65}, {"action_types": [""]}, {"action_types": "*"},
        {"reason": ""}, {"last_entry_hash": "x"}, {"legal_basis": ""}, {"sequence_number": 2},
    ],
)  # fmt: skip
def test_an_entry_that_erases_a_range_and_says_nothing(log: LogMaker, tmp_path: Path, changes: Any) -> None:
    say_range_erased(log, 1, 4, changes=changes)
    log.lines[2] = erase_line(log.lines[2])
    assert found(log, tmp_path) == [("erasure.malformed", 5), ("entry.payload_missing", 2)]


def test_another_last_entry_than_the_range_has(log: LogMaker, tmp_path: Path) -> None:
    erase_range(log, 1, 4, changes={"last_entry_hash": log.entry(4)["entry_hash"]})
    assert found(log, tmp_path) == [("erasure.malformed", 5)]


@pytest.mark.parametrize("count", [2, 4])
def test_another_count_than_the_range_has(log: LogMaker, tmp_path: Path, count: int) -> None:
    erase_range(log, 1, 5, "execute_*", changes={"count": count})
    expected = [] if count == 4 else [("erasure.malformed", 5)]
    assert found(log, tmp_path) == expected


def test_a_payload_that_went_without_a_word_is_not_excused_by_a_range(log: LogMaker, tmp_path: Path) -> None:
    log.lines[3] = erase_line(log.lines[3])
    erase_range(log, 1, 5)  # counts three
    assert found(log, tmp_path) == [("erasure.malformed", 5)]


def test_what_was_erased_before_is_not_counted_again(log: LogMaker, tmp_path: Path) -> None:
    erase(log, 3)
    erase_range(log, 2, 4)  # counts one
    erase_range(log, 1, 5)  # counts two
    assert [log.entry(n)["action_payload"]["count"] for n in (6, 7)] == [1, 2]
    assert found(log, tmp_path) == []


def test_what_a_copy_brought_back_may_be_counted_again(log: LogMaker, tmp_path: Path) -> None:
    """An erasure that did not reach a copy, from which the log was restored: the next finds it there."""
    say_range_erased(log, 2, 3)
    erase_range(log, 1, 4)
    assert log.entry(6)["action_payload"]["count"] == 3
    assert found(log, tmp_path) == []


@pytest.mark.parametrize(
    "start, stop, held", [(3, 4, True), (0, None, True), (5, None, False), (0, 2, False), (4, 5, False)]
)
def test_a_range_under_hold_is_seen(
    log: LogMaker, tmp_path: Path, start: int, stop: int | None, held: bool
) -> None:
    hold(log, start, stop)
    erase_range(log, 2, 4)
    assert found(log, tmp_path) == ([("erasure.held", 6)] if held else [])


def test_a_hold_of_another_type_s_payload_within_the_range_keeps_nothing(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log")
    log.append(draft(1), draft(2, action_type="deploy"), draft(3))
    hold(log, 2, 3)
    erase_range(log, 1, 4)
    assert found(log, tmp_path) == []


def test_a_hold_placed_after_a_payload_went_says_nothing_of_a_later_range(
    log: LogMaker, tmp_path: Path
) -> None:
    erase(log, 2)
    hold(log, 2, 3)
    erase_range(log, 1, 4)
    assert found(log, tmp_path) == []


def test_a_range_with_payloads_that_verifiers_need_is_seen(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log")
    log.append(draft(1))
    hold(log, 100, None)
    log.append(draft(2))
    say_range_erased(log, 0, 4, ("*",), changes={"count": 4})
    assert found(log, tmp_path) == [("erasure.refused", 4), ("erasure.unfinished", 0)]


@pytest.mark.parametrize(
    "erasure, legal_basis, allowed",
    [
        ({"action_types": ["execute_*"]}, None, True),
        ({"action_types": ["deploy"]}, None, False),
        ({"held": ["execute_autonomous_task"]}, None, False),
        ({"legal_bases": ["gdpr-17"]}, "other", False),
        ({"legal_bases": ["gdpr-17"]}, "gdpr-17", True),
        ({"retain_days": 1}, None, False),
    ],
)
def test_a_range_against_the_policy_is_seen(
    tmp_path: Path, erasure: Any, legal_basis: str | None, allowed: bool
) -> None:
    log = made(tmp_path, erasure_policy(**erasure))
    erase_range(log, 1, 3, changes={"legal_basis": legal_basis})
    assert found(log, tmp_path) == ([] if allowed else [("erasure.refused", 5)])


@pytest.mark.parametrize("seconds_short, allowed", [(0, True), (1, False)])
def test_the_youngest_of_a_range_must_be_old_enough(
    tmp_path: Path, seconds_short: int, allowed: bool
) -> None:
    log = made(tmp_path, erasure_policy(retain_days=30))
    written_us = log.now_us - 2_000_000  # entry 3, the last of the range
    log.now_us = written_us + (30 * 86_400 - seconds_short) * 1_000_000
    erase_range(log, 1, 4)
    assert found(log, tmp_path) == ([] if allowed else [("erasure.refused", 5)])
    assert allowed or "entry 3" in verify(log, tmp_path, remember=False).findings[0].message


@pytest.mark.parametrize("name", ["attestlog.erase*", "attestlog.erase_payload"])
def test_a_range_that_a_rule_denies_or_nobody_approved_is_seen(tmp_path: Path, name: str) -> None:
    rule = {"action_types": [name], "actor_ids": ["agent-1"], "deny": True, "reason": "never"}
    log = made(tmp_path, parse_policy({"rules": {"no": rule}}))
    erase_range(log, 1, 3)
    assert found(log, tmp_path) == [("entry.rule", 5), ("erasure.refused", 5)]


def test_a_range_is_judged_where_the_rest_of_it_was_read(log: LogMaker, tmp_path: Path) -> None:
    log.lay_out()
    verify(log, tmp_path)
    erase_range(log, 1, 5)
    log.append(draft(9))
    log.lay_out()
    report = verify(log, tmp_path, start=4)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [])


def test_a_record_of_an_erasure_accounts_for_nothing(log: LogMaker, tmp_path: Path) -> None:
    say_range_erased(log, 1, 3)
    payload = log.entry(5)["action_payload"]
    log.lines.pop()
    again = made(tmp_path / "again")
    again.append(draft(0, event_type="CHANGE", action_type="attestlog.erase_payloads",
        execution_status="FAILED", action_payload=payload))  # fmt: skip
    again.lines[1] = erase_line(again.lines[1])
    assert found(again, tmp_path) == [("entry.payload_missing", 1)]


@pytest.mark.parametrize("workers", [1, 2])
def test_pieces_by_several_processes_come_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(source, "PIECE_SIZE_MIN_BYTES", 4_096)
    monkeypatch.setattr(whole, "PARALLEL_MIN_BYTES", 1)
    log = LogMaker(tmp_path / "log", segment_entries=16)
    log.append(*(draft(n, action_type=f"execute_{n % 3}") for n in range(1, 60)))
    erase_range(log, 5, 20, "execute_1")
    erase_range(log, 10, 50, "execute_1", "execute_2")
    erase(log, 3)
    log.lines[30] = erase_line(log.lines[30])  # of another type
    say_range_erased(log, 1, 40, ("execute_0",))
    log.lay_out()
    report = verify(log, tmp_path, remember=False, workers=workers)
    # Entry 30 went without a word: entry 63 does not count it.
    assert codes(report) == [("erasure.malformed", 63), ("erasure.unfinished", 6)]
    of_ranges = [n for n in range(60) if (n % 3 == 1 and 5 <= n < 50) or (n % 3 == 2 and 10 <= n < 50)]
    assert report.erased_payloads == len([*of_ranges, 3, 30])


def test_memory_does_not_grow_with_what_a_range_erases(tmp_path: Path) -> None:
    sizes = []
    for count in (40, 400):
        log = LogMaker(tmp_path / str(count))
        log.append(*map(draft, range(1, count + 1)))
        erase_range(log, 1, count + 1)
        scanned = scan(Rules.of(log.genesis), whole_lines(log.lines), State())
        erasures = Erasures()
        erasures.add(scanned.erased, scanned.erasures)
        sizes.append(len(pickle.dumps(erasures)))
    assert abs(sizes[0] - sizes[1]) < 64
