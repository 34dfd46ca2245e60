"""Acts without outcome, acts that were forbidden, counters with gaps, heads that were seen otherwise."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.audits import codes, verify
from tests.support.logs import LogMaker, draft, drafts, entry_id
from tests.support.people import Person, governed

from attestlog._internal.core.report import Verdict
from attestlog._internal.judging import conduct as conduct_module
from attestlog._internal.judging import conduct as heads_module

EMPTY = "0" * 64


@pytest.fixture
def log(tmp_path: Path) -> LogMaker:
    return LogMaker(tmp_path / "log")


def intent(number: int, **members: Any) -> dict[str, Any]:
    return draft(number, event_type="DECISION", actor_context={"guard": "intent"}, **members)


def outcome(number: int, *of: int, role: str = "outcome", **members: Any) -> dict[str, Any]:
    """Of the act that the last of these intents is of, unless `members` say otherwise."""
    wanted = [entry_id(item + 1) for item in of]  # entry n has the (n+1)-th id
    return draft(of[-1], actor_context={"guard": role}, dependencies=wanted, **members)


def counted(counter: Any, session: Any = "s", actor_id: str = "agent-1") -> dict[str, Any]:
    return draft(1, actor_context={"counter": counter, "session": session}, actor_id=actor_id)


def found(log: LogMaker, tmp_path: Path, **options: Any) -> list[tuple[str, int | None]]:
    log.lay_out()
    return codes(verify(log, tmp_path, remember=False, **options))


# --- guarded acts ---


def test_an_intent_with_an_outcome(log: LogMaker, tmp_path: Path) -> None:
    log.append(intent(1), intent(2), outcome(3, 1), outcome(4, 2, role="violation"))
    assert found(log, tmp_path) == []


def test_an_intent_without_one_is_a_notice(log: LogMaker, tmp_path: Path) -> None:
    log.append(intent(1), intent(2), draft(3), outcome(4, 1))
    log.append(draft(5, event_type="DECISION"))  # nobody's intent
    log.lay_out()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("guard.no_outcome", 2)])


def test_an_entry_that_only_depends_on_it_is_no_outcome(log: LogMaker, tmp_path: Path) -> None:
    log.append(intent(1), draft(2, dependencies=[entry_id(2)]))
    assert found(log, tmp_path) == [("guard.no_outcome", 1)]


FORBIDDEN = [
    {"pillars_scores": {"an_toan": 6.2}},
    {"conflicts_detected": ["x"]},
    {"required_proofs": ["pillars"]},
    {"required_approvals": 1},
]


@pytest.mark.parametrize("members", FORBIDDEN)
def test_acting_on_a_forbidden_intent_is_found(log: LogMaker, tmp_path: Path, members: Any) -> None:
    log.append(intent(1, **members), outcome(2, 1))
    assert found(log, tmp_path) == [("guard.forbidden", 2)]


@pytest.mark.parametrize("members", FORBIDDEN)
def test_acting_against_what_the_outcome_itself_shows_is_found(
    log: LogMaker, tmp_path: Path, members: Any
) -> None:
    log.append(intent(1), outcome(2, 1, **members))
    assert found(log, tmp_path) == [("guard.forbidden", 2)]


def test_rules_for_the_act_that_the_intent_was_not_asked_for(tmp_path: Path) -> None:
    rule = {"event_types": ["ACTION"], "action_types": ["execute_*"], "required_approvals": 1}
    log = LogMaker(tmp_path / "log", policy=governed(rules={"r": rule}))
    log.append(intent(1), outcome(2, 1))
    assert found(log, tmp_path) == [("entry.rule", 2), ("guard.forbidden", 2)]


@pytest.mark.parametrize("late, code", [(False, []), (True, [("entry.approval", 2), ("entry.rule", 2)])])
def test_approvals_that_expire_during_the_act_accuse_nobody(tmp_path: Path, late: bool, code: Any) -> None:
    rule = {"action_types": ["execute_*"], "required_approvals": 1}
    log = LogMaker(tmp_path / "log", policy=governed(rules={"r": rule}))
    payload = draft(1)["action_payload"]
    given = [Person("auditor").approve(draft(1), log.log)]
    log.append(intent(1, action_payload=payload, received_approvals=given))
    log.now_us += 90 * 86_400_000_000 if late else 0
    log.append(outcome(2, 1, action_payload=payload, received_approvals=given))
    assert found(log, tmp_path) == code


@pytest.mark.parametrize("members", FORBIDDEN)
def test_blocking_it_is_right(log: LogMaker, tmp_path: Path, members: Any) -> None:
    log.append(intent(1, **members), outcome(2, 1, role="violation"))
    assert found(log, tmp_path) == []


@pytest.mark.parametrize(
    "members, forged",
    [
        ({"pillars_scores": {"an_toan": 6.2}}, {"safety_floor_met": True}),
        ({"conflicts_detected": ["x"]}, {"k_state": 1}),
        ({"required_proofs": ["pillars"]}, {"proofs_valid": True}),
        ({"required_approvals": 1}, {"quorum_met": True}),
    ],
)
def test_a_forbidden_intent_forged_into_an_allowed_one_is_found(
    log: LogMaker, tmp_path: Path, members: Any, forged: Any
) -> None:
    log.append(intent(1, **members), outcome(2, 1))
    log.reseal(1, **forged)
    assert found(log, tmp_path) == [("entry.derived", 1)]


def test_an_outcome_forged_into_another_act_s_leaves_one_open(log: LogMaker, tmp_path: Path) -> None:
    log.append(intent(1), intent(2), outcome(3, 1), outcome(4, 2), batched=False)
    log.reseal(3, dependencies=[entry_id(3)])
    assert found(log, tmp_path) == [
        ("guard.outcome_differs", 3), ("guard.outcome_repeated", 4), ("guard.no_outcome", 1)
    ]  # fmt: skip


# --- records of a guard that contradict each other ---


def test_a_second_outcome_of_one_intent(log: LogMaker, tmp_path: Path) -> None:
    log.append(intent(1), outcome(2, 1), draft(3), outcome(4, 1, execution_status="FAILED"), outcome(5, 1))
    log.lay_out()
    report = verify(log, tmp_path)
    assert report.verdict == Verdict.VERIFIED  # the log is as it was written: its writer contradicts itself
    assert codes(report) == [("guard.outcome_repeated", 4), ("guard.outcome_repeated", 5)]
    assert [item.found for item in report.findings] == [2, 2]


@pytest.mark.parametrize(
    "changed", [{"action_payload": {"number": 9}}, {"action_type": "another"}, {"actor_id": "agent-2"}]
)
def test_an_outcome_of_another_payload_action_or_actor(log: LogMaker, tmp_path: Path, changed: Any) -> None:
    log.append(intent(1), outcome(2, 1, **changed))
    assert found(log, tmp_path) == [("guard.outcome_differs", 2)]


def test_an_outcome_that_depends_on_another_act_too(log: LogMaker, tmp_path: Path) -> None:
    """Whatever an act builds on may be named beside its own intent, and may have ended before."""
    log.append(intent(1), outcome(2, 1), intent(3), outcome(4, 1, 3), intent(5), intent(6), outcome(7, 5, 6))
    assert found(log, tmp_path) == []


def test_acting_on_an_intent_that_was_blocked(log: LogMaker, tmp_path: Path) -> None:
    log.append(intent(1, execution_status="BLOCKED"), outcome(2, 1))
    log.append(intent(3), outcome(4, 3, role="violation"), outcome(5, 3))
    log.append(intent(6, execution_status="BLOCKED"), outcome(7, 6, role="violation"))
    log.lay_out()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (
        Verdict.TAMPERED, [("guard.forbidden", 2), ("guard.forbidden", 5)]
    )  # fmt: skip


def test_blocked_after_it_was_done(log: LogMaker, tmp_path: Path) -> None:
    log.append(intent(1), outcome(2, 1), outcome(3, 1, role="violation"))
    assert found(log, tmp_path) == [("guard.outcome_repeated", 3)]


def test_an_outcome_before_its_intent_ends_nothing(log: LogMaker, tmp_path: Path) -> None:
    log.append(outcome(1, 2), intent(2))
    assert found(log, tmp_path) == [("guard.no_outcome", 2)]


@pytest.mark.parametrize("limit, code", [(2, []), (3, [("guard.outcome_repeated", 7)])])
def test_ended_acts_that_are_remembered_have_a_limit(
    log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, code: Any
) -> None:
    monkeypatch.setattr(conduct_module, "ENDED_MAX", limit)
    log.append(*(entry for number in (1, 3, 5) for entry in (intent(number), outcome(number + 1, number))))
    log.append(outcome(7, 1))
    assert found(log, tmp_path) == code


@pytest.mark.parametrize("size", [1, 4_000, 9_000])
def test_pieces_change_nothing_in_that(
    log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    log.append(intent(1), intent(2, execution_status="BLOCKED"), intent(3), batched=False)
    log.append(outcome(4, 1, 3), outcome(5, 1, 2), outcome(6, 3), outcome(7, 3), outcome(8, 1), batched=False)
    whole = found(log, tmp_path)
    assert {code for code, _ in whole} == {"guard.forbidden", "guard.outcome_repeated"}
    monkeypatch.setattr("attestlog._internal.verifying.source.piece_size", lambda *_: size)
    assert found(log, tmp_path) == whole


def test_workers_come_to_the_same(log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attestlog._internal.verifying.source.PIECE_SIZE_MIN_BYTES", 2_000)
    monkeypatch.setattr("attestlog._internal.verifying.whole.PARALLEL_MIN_BYTES", 1)
    log.append(intent(1), intent(2, conflicts_detected=["x"]), counted(1), batched=False)
    log.append(*drafts(range(4, 14)))
    log.append(outcome(14, 2), counted(3), boot(2, EMPTY), batched=False)
    assert found(log, tmp_path, workers=2) == [
        ("guard.forbidden", 14), ("actor.counter_gap", 15), ("guard.no_outcome", 1), ("entry.head", 16),
    ]  # fmt: skip


def test_acts_across_chunks(log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attestlog._internal.verifying.source.PIECE_SIZE_MIN_BYTES", 2_000)
    log.append(intent(1), intent(2, conflicts_detected=["x"]), intent(3), batched=False)
    for number in range(4, 14):
        log.append(draft(number))
    log.append(outcome(14, 1), outcome(15, 2), batched=False)
    assert found(log, tmp_path) == [("guard.forbidden", 15), ("guard.no_outcome", 3)]


@pytest.mark.parametrize("limit, more", [(3, 0), (2, 1)])
def test_open_intents_have_a_limit(
    log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, more: int
) -> None:
    monkeypatch.setattr(conduct_module, "INTENTS_MAX", limit)
    log.append(intent(1), intent(2), intent(3))
    expected = [("guard.no_outcome", number) for number in range(1, 4 - more)]
    assert found(log, tmp_path) == [*expected, *[("guard.intents_unread", None)] * more]


# --- counters ---


@pytest.mark.parametrize(
    "counters, expected",
    [
        ([1, 2, 3], []),
        ([2], [("actor.counter_gap", 1)]),
        ([1, 3, 4], [("actor.counter_gap", 2)]),
        ([1, 2, 2, 3], [("actor.counter_repeated", 3)]),
        ([1, 2, 1, 3], [("actor.counter_repeated", 3)]),
        ([1, 5, 2, 6], [("actor.counter_gap", 2), ("actor.counter_repeated", 3)]),
        ([0, 1], [("actor.counter_repeated", 1)]),
        ([1, True, "2", -1, None, 2.5, 2], []),
    ],
)
def test_counters(log: LogMaker, tmp_path: Path, counters: Any, expected: Any) -> None:
    for counter in counters:
        log.append(counted(counter))
    log.lay_out()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, expected)


def test_counters_across_chunks(log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attestlog._internal.verifying.source.PIECE_SIZE_MIN_BYTES", 1_500)
    for counter in (1, 5, 2, 6):
        log.append(counted(counter))
    assert found(log, tmp_path) == [("actor.counter_gap", 2), ("actor.counter_repeated", 3)]


def test_a_counter_forged_to_hide_a_gap_moves_it(log: LogMaker, tmp_path: Path) -> None:
    log.append(counted(1), counted(3), counted(4), batched=False)
    log.reseal(2, actor_context={"counter": 2, "session": "s"})
    assert found(log, tmp_path) == [("actor.counter_gap", 3)]


def test_each_session_of_each_actor_counts_by_itself(log: LogMaker, tmp_path: Path) -> None:
    log.append(counted(1), counted(1, "t"), counted(1, actor_id="agent-2"), counted(2), counted(2, "t"))
    log.append(counted(1, None), counted(2, 7))
    assert found(log, tmp_path) == []


def test_going_on_from_what_is_remembered_accuses_nobody(log: LogMaker, tmp_path: Path) -> None:
    log.append(*map(counted, range(1, 6)))
    log.lay_out()
    verify(log, tmp_path)
    log.append(counted(6), counted(8))
    log.lay_out()
    assert codes(verify(log, tmp_path, start=5)) == [("actor.counter_gap", 7)]


@pytest.mark.parametrize("limit, more", [(2, 0), (1, 1)])
def test_sessions_have_a_limit(
    log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, more: int
) -> None:
    monkeypatch.setattr(conduct_module, "COUNTERS_MAX", limit)
    log.append(counted(1), counted(1, "t"))
    assert found(log, tmp_path) == [("actor.counters_unread", None)] * more


# --- heads ---


def boot(size: int, entry_hash: str, event_type: str = "BOOT") -> dict[str, Any]:
    head = {"size": size, "entry_hash": entry_hash}
    return draft(1, event_type=event_type, system_state_snapshot={"log_head": head})


@pytest.mark.parametrize("event_type", ["BOOT", "SHUTDOWN"])
@pytest.mark.parametrize("back", [0, 2])
def test_a_head_that_was_seen(log: LogMaker, tmp_path: Path, event_type: str, back: int) -> None:
    log.append(draft(1), draft(2), draft(3))
    log.append(boot(4 - back, log.entry(3 - back)["entry_hash"], event_type))
    assert found(log, tmp_path) == []
    log.append(boot(4 - back, EMPTY, event_type))
    assert found(log, tmp_path) == [("entry.head", 5)]


def test_history_written_anew_before_it_is_seen_by_it(log: LogMaker, tmp_path: Path) -> None:
    """The holder of the key changes an entry and seals everything after it: the head seen still says so."""
    log.append(draft(1), draft(2))
    log.append(boot(3, log.entry(2)["entry_hash"]))
    log.append(boot(2, log.entry(1)["entry_hash"], "SHUTDOWN"))
    log.reseal(1, action_payload={"task_id": "another"})
    assert found(log, tmp_path) == [("entry.head", 3), ("entry.head", 4)]


@pytest.mark.parametrize(
    "head",
    [{"size": 9, "entry_hash": EMPTY}, {"size": 0, "entry_hash": EMPTY}, {"size": 1}, 7, {"size": "1"}],
)
def test_what_is_no_head(log: LogMaker, tmp_path: Path, head: Any) -> None:
    log.append(draft(1, event_type="BOOT", system_state_snapshot={"log_head": head}))
    assert found(log, tmp_path) == [("entry.head", 1)]


def test_an_action_may_say_what_it_likes(log: LogMaker, tmp_path: Path) -> None:
    log.append(draft(1, system_state_snapshot={"log_head": 7}))
    assert found(log, tmp_path) == []


def test_without_stored_leaves_heads_further_back_are_not_compared(log: LogMaker, tmp_path: Path) -> None:
    log.append(draft(1), draft(2))
    log.append(boot(2, EMPTY))
    log.lay_out()
    (log.root / "tree" / "0").unlink()
    report = verify(log, tmp_path)
    assert sorted(codes(report)) == [("entry.heads_unread", None), ("tree.stale", None)]


@pytest.mark.parametrize("limit, more", [(2, 0), (1, 1)])
def test_heads_have_a_limit(
    log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, more: int
) -> None:
    monkeypatch.setattr(heads_module, "HEADS_MAX", limit)
    log.append(draft(1))
    digest = log.entry(1)["entry_hash"]
    log.append(draft(2), boot(2, digest), boot(2, digest))
    assert found(log, tmp_path) == [("entry.heads_unread", None)] * more
