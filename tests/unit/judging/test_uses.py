"""One request, one act, as a verifier sees it: whatever pieces it reads, and wherever it begins."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.audits import codes, verify
from tests.support.logs import LogMaker, draft
from tests.support.people import Person, governed, request_id_of

from attestlog._internal.core.entry import format_timestamp
from attestlog._internal.core.policy import Policy, format_policy, parse_policy
from attestlog._internal.core.report import Report, Verdict
from attestlog._internal.core.uses import Use, Uses
from attestlog._internal.judging import uses as uses_module
from attestlog._internal.judging.uses import UsedRequests
from attestlog._internal.verifying import source as source_module
from attestlog._internal.verifying import whole as whole_module
from attestlog.errors import StorageError

ACT: dict[str, Any] = {"event_type": "ACTION", "action_type": "pay", "actor_id": "robot-1"}
POLICY = governed(rules={"pay": {"action_types": ["pay"], "required_approvals": 1}})
SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US


def made(tmp_path: Path, policy: Policy = POLICY, **options: Any) -> LogMaker:
    return LogMaker(tmp_path / "log", policy=policy, **options)


def approved(
    log: LogMaker, request: str = "one", *, dated_us: int | None = None, name: str = "auditor"
) -> dict[str, Any]:
    """The act with an approval, dated now unless said otherwise."""
    dated_us = log.now_us if dated_us is None else dated_us
    said = {"timestamp": format_timestamp(dated_us), "expires": format_timestamp(dated_us + DAY_US)}
    approval = Person(name).approve(ACT, log.log, request_id=request_id_of(request), **said)
    return {**ACT, "received_approvals": [approval]}


def look(log: LogMaker, tmp_path: Path, **options: Any) -> Report:
    log.lay_out()
    return verify(log, tmp_path, **{"remember": False, **options})


def test_a_further_use_is_found_where_it_stands(tmp_path: Path) -> None:
    log = made(tmp_path)
    act = approved(log)
    for number, entry in enumerate((act, draft(2), act, approved(log, "two")), 1):
        log.append(entry)
        assert log.entry(number)["quorum_met"] is True  # it depends on the entry alone
    report = look(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.TAMPERED, [("approval.used", 3)])
    assert report.findings[0].found == 1


def test_the_acts_of_a_guard_are_one_act(tmp_path: Path) -> None:
    log = made(tmp_path)
    act = approved(log)
    log.append({**act, "event_type": "DECISION", "actor_context": {"guard": "intent"}})
    intent = log.entry(1)["entry_id"]
    outcome = {**act, "actor_context": {"guard": "outcome"}, "dependencies": [intent]}
    log.append(outcome)
    assert (report := look(log, tmp_path)).verdict == Verdict.VERIFIED, report.findings
    log.append(outcome)
    assert ("approval.used", 3) in codes(look(log, tmp_path))


@pytest.mark.parametrize("is_ahead", [False, True])
@pytest.mark.parametrize("size", [1, 3_000, 6_000])
def test_pieces_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, *, is_ahead: bool
) -> None:
    """The first use in the last entry of one piece, the second in the first of the next."""
    monkeypatch.setattr(source_module, "piece_size", lambda *_: size)
    monkeypatch.setattr(whole_module, "PARALLEL_MIN_BYTES", 0 if is_ahead else 1 << 60)
    monkeypatch.setattr(
        whole_module, "map_ordered",
        lambda function, given, items, *_: (function(given, item) for item in items),
    )  # fmt: skip
    log = made(tmp_path)
    for number in range(1, 6):
        log.append(approved(log, f"request {number // 2}"))
    report = look(log, tmp_path, workers=2)
    assert codes(report) == [("approval.used", 3), ("approval.used", 5)]
    assert [found.found for found in report.findings] == [2, 4]


def remembered(log: LogMaker, tmp_path: Path) -> None:
    log.lay_out()
    assert verify(log, tmp_path).verdict == Verdict.VERIFIED


@pytest.mark.parametrize("start", [1, 2, 3, 4, 5])
def test_a_verifier_that_resumes_looks_back(tmp_path: Path, start: int) -> None:
    """Before, at and after the first use, which is entry 3."""
    log = made(tmp_path)
    log.append(draft(1))
    log.append(draft(2))
    act = approved(log)
    log.append(act)
    for number in range(4, 8):
        log.append(draft(number))
    remembered(log, tmp_path)
    log.append(act)
    log.append(draft(9))
    report = look(log, tmp_path, remember=True, start=start)
    assert codes(report) == [("approval.used", 8)]
    assert report.findings[0].found == 3


@pytest.mark.parametrize("less_us, found", [(0, True), (1, True), (-1, False)])
def test_it_looks_back_a_minute_further_than_the_date_of_the_approval(
    tmp_path: Path, less_us: int, *, found: bool
) -> None:
    """The clock of the approver was a minute ahead of the log's."""
    log = made(tmp_path)
    log.append(draft(1))
    act = approved(log, dated_us=log.now_us + 60 * SECOND_US - less_us)
    first = act if less_us >= 0 else approved(log)
    log.append(first)
    log.now_us += 100 * SECOND_US
    for number in range(3, 8):
        log.append(draft(number))
    remembered(log, tmp_path)
    log.append(act)
    assert codes(look(log, tmp_path, remember=True, start=5)) == ([("approval.used", 8)] if found else [])
    assert codes(look(log, tmp_path)) == ([("approval.used", 8)] if found else [])


@pytest.mark.parametrize("start", [3, 4])
def test_what_is_searched_is_judged_by_the_rules_in_force_there(tmp_path: Path, start: int) -> None:
    """An approver who came in between: what was signed in their name before used nothing."""
    policy = governed(rules={"pay": {"action_types": ["pay"], "required_approvals": 1}})
    members = format_policy(policy)
    auditor = members["approvers"].pop("auditor")
    log = made(tmp_path, parse_policy(members))
    act = approved(log)
    log.append(act)
    assert log.entry(1)["quorum_met"] is False
    replaces = {"sequence_number": 0, "entry_hash": log.log.genesis}
    log.append({
        "event_type": "CHANGE", "action_type": "attestlog.modify_policy_rule", "actor_id": "ana",
        "action_payload": {
            "scope": "approvers.auditor", "old_value": None, "new_value": auditor, "replaces": replaces,
            "proposal_id": "P", "change_description": "c",
        },
    })  # fmt: skip
    log.policy = policy
    for number in range(3, 6):
        log.append(draft(number))
    remembered(log, tmp_path)
    log.append(act)
    assert [code for code, _ in codes(look(log, tmp_path, remember=True, start=start))] == []
    log.append(act)
    assert ("approval.used", 7) in codes(look(log, tmp_path, remember=True, start=start))


def test_an_outcome_whose_intent_was_not_read(tmp_path: Path) -> None:
    log = made(tmp_path)
    act = approved(log)
    log.append({**act, "event_type": "DECISION", "actor_context": {"guard": "intent"}})
    for number in range(2, 6):
        log.append(draft(number))
    remembered(log, tmp_path)
    log.append({**act, "actor_context": {"guard": "outcome"}, "dependencies": [log.entry(1)["entry_id"]]})
    assert codes(look(log, tmp_path, remember=True, start=4)) == []
    log.append({**act, "actor_context": {"guard": "outcome"}, "dependencies": [log.entry(2)["entry_id"]]})
    assert codes(look(log, tmp_path, remember=True, start=4)) == [("approval.used", 7)]


def test_where_what_stands_before_cannot_be_read_it_is_unknown(tmp_path: Path) -> None:
    """A segment that was archived, and is not where it was put."""
    log = made(tmp_path, segment_entries=4)
    for number in range(1, 9):
        log.append(draft(number))
    remembered(log, tmp_path)
    log.append(approved(log, "one", dated_us=log.now_us + 59 * SECOND_US))  # entry 8 is not earlier
    log.lay_out()
    log.segment(4).unlink()
    log.segment(4).symlink_to(tmp_path / "elsewhere")
    assert verify(log, tmp_path, start=8).verdict == Verdict.VERIFIED
    log.append(approved(log, "two", dated_us=log.now_us + 57 * SECOND_US))
    log.lay_out()
    log.segment(4).unlink()
    log.segment(4).symlink_to(tmp_path / "elsewhere")
    report = verify(log, tmp_path, start=8)
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, [("approvals.unread", None)])


def test_after_entries_that_could_not_be_read_it_is_unknown(tmp_path: Path) -> None:
    log = made(tmp_path, segment_entries=4)
    act = approved(log)
    log.append(act)
    for number in range(2, 9):
        log.append(draft(number))
    lost_until = log.now_us - SECOND_US
    log.append(approved(log, "two", dated_us=log.now_us - SECOND_US))
    log.append(approved(log, "three", dated_us=lost_until + 60 * SECOND_US))
    log.append(act)
    log.lay_out()
    log.segment(4).unlink()
    report = verify(log, tmp_path, remember=False)
    found = [item for item in report.findings if item.code.startswith("approval")]
    # The rules are known again by their pointer: the act at the end is seen to use its request a second time.
    assert [(item.code, item.found) for item in found] == [("approval.used", 1), ("approvals.unread", 1)]
    assert report.verdict == Verdict.TAMPERED  # a segment is missing, too


def test_more_than_are_remembered_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses_module, "Uses", lambda: Uses(limit=2))
    log = made(tmp_path)
    for number in range(3):
        log.append(approved(log, f"request {number}"))
    report = look(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, [("approvals.unread", None)])
    assert report.findings[0].found == 1


def of(number: int, *, since: int) -> Use:
    return Use(number, bytes(16), number.to_bytes(16, "big"), 100 + number, since, 1 << 40)


def test_what_waits_for_the_search_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses_module, "USES_MAX", 2)
    known = UsedRequests(is_whole=False)
    assert list(known.add([of(number, since=99) for number in range(4)], 100)) == []
    asked: list[tuple[int, frozenset[bytes]]] = []

    def search(since_us: int, wanted: frozenset[bytes]) -> list[Use]:
        asked.append((since_us, wanted))
        return []

    (found,) = known.settle(search)
    assert (found.code, found.found) == ("approvals.unread", 2)
    assert asked == [(99, frozenset(number.to_bytes(16, "big") for number in range(2)))]


def test_nothing_is_searched_where_nothing_can_be_there() -> None:
    def search(since_us: int, wanted: frozenset[bytes]) -> list[Use]:
        raise AssertionError("not asked")

    whole, resumed = UsedRequests(is_whole=True), UsedRequests(is_whole=False)
    assert list(whole.add([of(1, since=0)], 100)) == []
    assert list(resumed.add([], None)) == []
    assert list(resumed.add([of(1, since=100)], 100)) == []
    assert [*whole.settle(search), *resumed.settle(search)] == []


def test_a_search_that_fails_leaves_it_unknown() -> None:
    def search(since_us: int, wanted: frozenset[bytes]) -> list[Use]:
        raise StorageError("gone")

    known = UsedRequests(is_whole=False)
    assert list(known.add([of(1, since=99), of(2, since=100)], 100)) == []
    (found,) = known.settle(search)
    assert (found.code, found.found) == ("approvals.unread", 1)
