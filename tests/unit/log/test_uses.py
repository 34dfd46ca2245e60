"""One request, one act, as the writer holds to it: in a batch, across processes, and when opened again."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import create
from tests.support.people import Person, governed, request_id_of

from attestlog._internal.core.entry import decode_line, format_timestamp
from attestlog._internal.core.erasure import Erasure
from attestlog._internal.core.policy import Policy
from attestlog._internal.core.policy_change import modify_rule_payload, set_policy_payload
from attestlog._internal.core.report import Verdict
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.uses import Uses
from attestlog._internal.log import Log
from attestlog._internal.log import uses as uses_module
from attestlog._internal.log.drafts import erasure_draft
from attestlog._internal.storage.files import layout
from attestlog._internal.verifying import judge_log
from attestlog.errors import ApprovalUsedError, RuleChangeError, SignerError, StorageError
from attestlog.testing import ManualClock, MemorySigner

PAY: dict[str, Any] = {"event_type": "ACTION", "action_type": "pay", "actor_id": "robot-1"}
NOTE: dict[str, Any] = {"event_type": "ACTION", "action_type": "note", "actor_id": "robot-1"}
POLICY = governed(rules={"pay": {"action_types": ["pay"], "required_approvals": 1}})
SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US


class World:
    """One log, its clock, and any number of processes that have it open."""

    def __init__(self, root: Path, undo: ExitStack, policy: Policy = POLICY) -> None:
        self.root, self.undo, self.clock = root, undo, ManualClock()
        self.log = undo.enter_context(create(root, policy=policy, clock=self.clock, segment_entries=4))

    def open(self) -> Log:
        return self.undo.enter_context(Log.open(self.root, clock=self.clock))

    def approved(
        self, draft: dict[str, Any] = PAY, request: str = "a request", *, dated_us: int | None = None,
        people: tuple[str, ...] = ("auditor",), **members: Any,
    ) -> dict[str, Any]:  # fmt: skip
        dated_us = self.clock() if dated_us is None else dated_us
        said = {
            "timestamp": format_timestamp(dated_us), "expires": format_timestamp(dated_us + DAY_US),
            "request_id": request_id_of(request),
        }  # fmt: skip
        approvals = [Person(name).approve(draft, self.log.rules.log, **said) for name in people]
        return {**draft, "received_approvals": approvals, **members}

    def wait(self, seconds: float = 1) -> None:
        self.clock.advance(seconds)

    def check(self) -> None:
        """A verifier finds nothing that the writer let pass."""
        report = judge_log(self.root, remember=False)
        assert (report.verdict, [found.code for found in report.findings]) == (Verdict.VERIFIED, [])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as undo:
        yield World(tmp_path / "log", undo)


def refused(log: Log, draft: dict[str, Any], used_by: int) -> ApprovalUsedError:
    size = log.head().size
    with pytest.raises(ApprovalUsedError, match=f"approved entry {used_by} already") as caught:
        log.append(draft)
    assert caught.value.used_by == used_by
    assert log.head().size == size
    return caught.value


def test_a_second_act_is_refused_and_names_the_first(world: World) -> None:
    act = world.approved()
    world.wait()
    assert world.log.append(act).entry.quorum_met
    error = refused(world.log, act, 1)
    assert error.request_id == act["received_approvals"][0]["request_id"]
    assert error.code == "governance.approval_used"
    world.log.append(world.approved(request="another"))
    refused(world.log, act, 1)
    world.check()


def test_another_approver_of_the_same_request_makes_no_second_act(world: World) -> None:
    first, second = world.approved(), world.approved(people=("creator",))
    world.wait()
    world.log.append(first)
    refused(world.log, second, 1)
    world.check()


def test_an_intent_and_its_outcome_are_one_act(world: World) -> None:
    intent = world.approved(actor_context={"guard": "intent"}) | {"event_type": "DECISION"}
    decided = world.log.append(intent)
    outcome = world.approved(actor_context={"guard": "outcome"}, dependencies=[decided.entry_id])
    world.log.append(outcome)
    refused(world.log, outcome, 1)
    refused(world.log, intent, 1)
    world.check()


def test_what_was_blocked_has_used_nothing_and_what_failed_has(world: World) -> None:
    act = world.approved()
    world.log.append({**act, "execution_status": "BLOCKED"})
    world.log.append({**act, "execution_status": "FAILED"})
    refused(world.log, act, 2)
    world.log.append({**act, "execution_status": "BLOCKED"})
    world.check()


def test_of_several_in_one_batch_the_first_acts_and_the_others_are_told(world: World) -> None:
    act, other = world.approved(), world.approved(request="another")
    futures = [world.log.submit(draft) for draft in (NOTE, act, act, other, NOTE, act)]
    outcomes = [future.exception() or future.result().sequence_number for future in futures]
    assert [outcomes[place] for place in (0, 1, 3, 4)] == [1, 2, 3, 4]
    for place in (2, 5):
        error = outcomes[place]
        assert isinstance(error, ApprovalUsedError)
        assert error.used_by == 2
    world.check()


def test_a_list_that_uses_one_request_twice_is_refused(world: World) -> None:
    act = world.approved()
    with pytest.raises(ApprovalUsedError):
        world.log.append_many([NOTE, act, act])
    assert world.log.head().size == 1
    world.log.append_many([NOTE, act, world.approved(request="another")])
    refused(world.log, act, 2)
    world.check()


def test_a_batch_that_fails_has_used_nothing(tmp_path: Path) -> None:
    with ExitStack() as undo:
        world = World(tmp_path / "log", undo)
        act = world.approved()
        good = world.log._writer._sign

        def fail(*_: object) -> Any:
            raise SignerError("away")

        world.log._writer._sign = fail  # type: ignore[assignment, method-assign]
        with pytest.raises(SignerError):
            world.log.append(act)
        world.log._writer._sign = good  # type: ignore[method-assign]
        world.log.append(act)
        refused(world.log, act, 2)  # entry 1 tells of the outage
        world.check()


def test_of_two_processes_the_first_acts(world: World) -> None:
    other = world.open()
    act = world.approved()
    world.wait()
    other.append(NOTE)
    other.append(act)
    refused(world.log, act, 2)
    world.log.append(world.approved(request="mine"))
    refused(other, world.approved(request="mine", dated_us=world.clock()), 3)
    world.check()


@pytest.mark.parametrize("between", [0, 1, 6])
def test_a_log_that_was_opened_again_reads_what_was_used_since_the_approval(
    world: World, between: int
) -> None:
    early = world.approved(request="early")
    world.wait(10)
    act = world.approved()
    world.wait()
    world.log.append(NOTE)
    world.log.append(act)
    for _ in range(between):
        world.wait()
        world.log.append(NOTE)
    world.log.close()
    again = world.open()
    refused(again, act, 2)
    assert again.append(early).entry.quorum_met
    refused(again, act, 2)
    refused(again, early, again.head().size - 1)
    world.check()


def test_entries_are_read_once_for_all_approvals_of_later_dates(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[int, int]] = []
    source = world.log._store.source
    lines = source.lines

    def counted(start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        assert stop is not None
        read.append((start, stop))
        return lines(start, stop)

    monkeypatch.setattr(source, "lines", counted)
    # Places are found by single entries, which are not what is counted.
    monkeypatch.setattr(source, "entry", lambda number: decode_line(next(lines(number, number + 1))))
    before = world.clock()
    world.wait(100)
    for _ in range(5):
        world.log.append(NOTE)
        world.wait(100)
    assert read == []
    world.log.append(world.approved(request="1"))  # dated after the last entry: nothing to read
    assert read == []
    world.log.append(world.approved(request="2", dated_us=world.clock() - 150 * SECOND_US))
    assert read == [(4, 7)]
    for number in range(3, 9):
        world.wait()
        world.log.append(world.approved(request=str(number)))
    assert read == [(4, 7)]
    other = world.open()
    other.append(world.approved(request="from another process"))
    world.log.append(NOTE)  # catching up reads, too, and is not what is counted
    read.clear()
    world.log.append(world.approved(request="3a", dated_us=world.clock() - 150 * SECOND_US))
    assert read == [(14, 16)]
    world.log.append(world.approved(request="4a", dated_us=before))
    assert read == [(14, 16), (0, 17)]
    world.check()


@pytest.mark.parametrize("ahead_us, is_used", [(60 * SECOND_US, True), (60 * SECOND_US + 1, False)])
def test_an_approval_may_be_dated_a_minute_after_its_use(
    world: World, ahead_us: int, *, is_used: bool
) -> None:
    used_us = world.clock()
    act = world.approved(dated_us=used_us + ahead_us)
    first = act if is_used else world.approved()
    world.log.append(first)
    world.wait(90)
    world.log.append(NOTE)
    world.log.close()
    again = world.open()
    if is_used:
        refused(again, act, 1)
    else:
        again.append(act)  # who approves a request again after it was used approves one more act
    world.check()


def test_more_requests_than_are_remembered_are_searched_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uses_module, "Uses", lambda: Uses(limit=2))
    acts = [world.approved(request=str(number)) for number in range(5)]
    world.log.close()
    log = world.open()
    for act in acts:
        log.append(act)
    for number, act in enumerate(acts, 1):
        refused(log, act, number)
    world.check()


def test_where_entries_cannot_be_read_it_is_refused(world: World, tmp_path: Path) -> None:
    """The segment in which the approval may have been used was archived, and is not where it was put."""
    old = world.approved(dated_us=world.clock() + 120 * SECOND_US)
    world.wait(120)
    for _ in range(9):
        world.log.append(NOTE)
        world.wait(120)
    world.log.close()
    segment = world.root / layout.ENTRIES_DIR / layout.segment_name(4)
    segment.rename(tmp_path / "away")
    segment.symlink_to(tmp_path / "elsewhere")
    log = world.open()
    size = log.head().size
    with pytest.raises(StorageError):
        log.append(old)
    assert log.head().size == size
    assert log.append(world.approved(request="new")).entry.quorum_met
    (tmp_path / "away").rename(tmp_path / "elsewhere")
    assert log.append(old).entry.quorum_met
    world.check()


# --- changes of the log itself ---


def change(action_type: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "event_type": "CHANGE", "action_type": action_type, "actor_id": "maintainer",
        "action_payload": payload,
    }  # fmt: skip


def floor(rules: Rules, value: float) -> dict[str, Any]:
    payload = modify_rule_payload(rules, "safety_floor", value, proposal_id="P", change_description="c")
    return change("attestlog.modify_policy_rule", payload)


def blank(log: Log) -> None:
    """Forget what was used, as a process would that knew nothing of it."""
    log._writer._used = uses_module.UsedRequests(log._store.source, log._writer.in_force)
    log._writer._used.read = lambda *_: None  # type: ignore[method-assign]


def test_an_old_policy_does_not_come_back_with_its_old_approvals(world: World) -> None:
    """B1: refused as a further use, and where that is not known, because it does not hold."""
    lax = world.approved(change("attestlog.set_policy", set_policy_payload(world.log.rules, POLICY)))
    world.log.append(lax)
    strict = world.approved(floor(world.log.rules, 9), "strict")
    world.log.append(strict)
    for draft, number in ((lax, 1), (strict, 2)):
        refused(world.log, draft, number)
    blank(world.log)
    for draft in (lax, strict):
        with pytest.raises(RuleChangeError, match="the policy in force was made by entry 2"):
            world.log.append(draft)
    assert world.log.rules.policy.safety_floor == 9
    world.check()


def test_a_rotation_or_a_hold_in_between_voids_no_approval(world: World) -> None:
    draft = world.approved(floor(world.log.rules, 9))
    world.log.rotate_key(MemorySigner())
    world.log.add_hold("case-7", reason="litigation", actor_id="counsel")
    assert world.log.append(draft).entry.quorum_met
    assert world.log.rules.policy.safety_floor == 9
    world.check()


def test_a_release_ends_the_hold_it_was_approved_for_and_no_other(world: World) -> None:
    world.log.add_hold("case-7", reason="litigation", actor_id="counsel")
    rules = world.log.rules
    placed = {"sequence_number": 1, "entry_hash": world.log._store.source.entry(1).entry_hash}
    assert rules.placed_by["case-7"].sequence_number == 1
    release = change("attestlog.release_legal_hold", {"name": "case-7", "placed_by": placed, "reason": "x"})
    world.log.append(release)
    world.log.add_hold("case-7", reason="again", actor_id="counsel")
    with pytest.raises(RuleChangeError, match="legal hold 'case-7' was placed by entry 3"):
        world.log.append(release)
    for spoilt in ({**placed, "sequence_number": 3}, {**placed, "entry_hash": "0" * 64}):
        payload = {**release["action_payload"], "placed_by": spoilt}
        with pytest.raises(RuleChangeError, match="was placed by entry 3"):
            world.log.append({**release, "action_payload": payload})
    world.log.release_hold("case-7", reason="settled", actor_id="counsel")
    assert world.log.rules.holds == {}
    with pytest.raises(RuleChangeError, match="no legal hold 'case-7' is in force"):
        world.log.release_hold("case-7", reason="settled", actor_id="counsel")
    world.check()


def test_a_hold_placed_again_with_its_old_approval_is_a_further_use(tmp_path: Path) -> None:
    with ExitStack() as undo:
        policy = governed(rules={"holds": {"action_types": ["attestlog.*"], "required_approvals": 1}})
        world = World(tmp_path / "log", undo, policy)
        payload = {"name": "case-7", "start": 0, "stop": None, "reason": "x"}
        hold = world.approved(change("attestlog.place_legal_hold", payload))
        world.log.append(hold)
        placed = world.log.rules.placed_by["case-7"]
        named = {"sequence_number": placed.sequence_number, "entry_hash": placed.entry_hash}
        release = change(
            "attestlog.release_legal_hold", {"name": "case-7", "placed_by": named, "reason": "x"}
        )
        world.log.append(world.approved(release, "release"))
        refused(world.log, hold, 1)
        blank(world.log)
        world.log.append(hold)  # it only keeps more
        report = judge_log(world.root, remember=False)
        assert [(found.code, found.sequence_number) for found in report.findings] == [("approval.used", 3)]


def test_an_erasure_uses_its_approval(tmp_path: Path) -> None:
    with ExitStack() as undo:
        policy = governed(rules={"e": {"action_types": ["attestlog.erase*"], "required_approvals": 1}})
        world = World(tmp_path / "log", undo, policy)
        world.log.append(NOTE)
        world.log.append({**NOTE, "action_payload": {"n": 2}})
        source = world.log._store.source
        draft = erasure_draft(Erasure.of(source.entry(1), "asked for", None), {"actor_id": "officer"})
        approvals = world.approved(draft)["received_approvals"]
        world.log.erase(1, reason="asked for", actor_id="officer", received_approvals=approvals)
        act = world.approved(NOTE)  # the same request id, for another act
        with pytest.raises(ApprovalUsedError):
            world.log.append({**act, "received_approvals": act["received_approvals"]})
        assert json.loads(source.line(1))["action_payload"] is None
        world.check()
