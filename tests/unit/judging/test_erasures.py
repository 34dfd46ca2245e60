"""Erased payloads: counted when an entry accounts for them and the rules allow it, found when not."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.audits import codes, verify
from tests.support.logs import LogMaker, draft

from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.erasure import Erasure, erase_line, format_erasure
from attestlog._internal.core.policy import Policy, parse_policy
from attestlog._internal.core.report import Verdict
from attestlog._internal.core.reserved import KEPT
from attestlog._internal.verifying import source


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
