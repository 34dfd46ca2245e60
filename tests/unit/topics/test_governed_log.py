"""The policy of an open log: set and modified by its quorum, in force for every process from then on."""

import threading
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import create
from tests.support.people import PEOPLE, ROLES, Person, governed
from tests.support.shapes import CHANGE, GOVERNED, SHAPES

from attestlog._internal.core.policy import Policy
from attestlog._internal.core.policy_change import modify_rule_payload, set_policy_payload
from attestlog._internal.core.report import Verdict
from attestlog._internal.log import Log
from attestlog._internal.verifying import judge_log
from attestlog.errors import DerivedMemberError, RuleChangeError
from attestlog.testing import ManualClock, check_log

LOW = {"event_type": "ACTION", "action_type": "x", "actor_id": "a", "pillars_scores": {"an_toan": 6.7}}


def approved(log: Log, draft: dict[str, Any], *people: Person) -> dict[str, Any]:
    return {**draft, "received_approvals": [person.approve(draft, log.origin) for person in people]}


def change(action_type: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "event_type": "CHANGE",
        "action_type": action_type,
        "actor_id": "maintainer",
        "action_payload": payload,
    }


def floor(policy: Policy, value: float) -> dict[str, Any]:
    payload = modify_rule_payload(policy, "safety_floor", value, proposal_id="P", change_description="c")
    return change("attestlog.modify_policy_rule", payload)


def open_log(path: Path) -> Log:
    return create(path, policy=GOVERNED, clock=ManualClock())


def test_all_six_shapes_as_users_write_them(tmp_path: Path) -> None:
    """BOOT, ACTION, DECISION, VIOLATION, CHANGE and SHUTDOWN, under real keys, in one log."""
    with open_log(tmp_path / "log") as log:
        stored = {}
        for name in ("BOOT", "ACTION", "DECISION", "VIOLATION", "CHANGE", "SHUTDOWN"):
            shape = {**SHAPES[name], "received_approvals": []}
            people = PEOPLE if name == "CHANGE" else ()
            stored[name] = log.append(approved(log, shape, *people)).entry
    derived = {
        name: (e.composite_score, e.safety_floor_met, e.k_state, e.proofs_valid, e.quorum_met)
        for name, e in stored.items()
    }
    assert derived == {
        "BOOT": (None, None, 1, True, True),
        "ACTION": (8.25, True, 1, True, True),
        "DECISION": (None, None, 1, True, True),
        "VIOLATION": (6.2, False, 1, True, True),
        "CHANGE": (7.875, True, 1, True, True),
        "SHUTDOWN": (None, None, 1, True, True),
    }
    assert stored["VIOLATION"].error_details == SHAPES["VIOLATION"]["error_details"]
    assert stored["CHANGE"].severity == 10
    assert [item["signer"] for item in stored["CHANGE"].received_approvals] == list(ROLES)
    report = judge_log(tmp_path / "log", remember=False)
    assert (report.verdict, report.findings) == (Verdict.VERIFIED, [])


def test_the_change_of_the_specification(tmp_path: Path) -> None:
    with open_log(tmp_path / "log") as log:
        before = log.append(LOW)
        change = log.append(approved(log, {**CHANGE, "received_approvals": []}, *PEOPLE))
        after = log.append(LOW)
    assert [receipt.entry.safety_floor_met for receipt in (before, after)] == [False, True]
    assert change.entry.quorum_met
    check_log(tmp_path / "log", [before, change, after])
    assert judge_log(tmp_path / "log", remember=False).verdict == Verdict.VERIFIED


@pytest.mark.parametrize("people", [(), PEOPLE[:2], PEOPLE[:1] * 3])
def test_a_change_without_the_quorum_is_not_written(people: tuple[Person, ...], tmp_path: Path) -> None:
    with open_log(tmp_path / "log") as log:
        for draft in (floor(GOVERNED, 0), change("attestlog.set_policy", set_policy_payload(Policy()))):
            with pytest.raises(RuleChangeError, match="has not the quorum of the policy in force"):
                log.append(approved(log, draft, *people))
        assert log.head().size == 1
        blocked = log.append({**approved(log, floor(GOVERNED, 0), *people), "execution_status": "BLOCKED"})
        assert log.rules.policy == GOVERNED
        assert blocked.entry.quorum_met is False
    assert judge_log(tmp_path / "log", remember=False).verdict == Verdict.VERIFIED


def test_the_policy_in_force_survives_reopening_and_reaches_other_processes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open_log(path) as log, Log.open(path, clock=ManualClock()) as other:
        other.append(LOW)
        log.append(
            approved(
                log, change("attestlog.set_policy", set_policy_payload(governed(safety_floor=6))), *PEOPLE
            )
        )
        assert other.append(LOW).entry.safety_floor_met is True
        assert other.rules.policy.rules == {}
    with Log.open(path, clock=ManualClock()) as log:
        assert log.rules.policy.safety_floor == 6
        assert log.append(LOW).entry.safety_floor_met is True
    assert judge_log(path, remember=False).verdict == Verdict.VERIFIED


def test_what_was_stated_under_the_old_policy_is_refused_and_nobody_else_is(tmp_path: Path) -> None:
    """Drafts prepared before a change and committed after it are derived again, each by itself."""
    path = tmp_path / "log"
    with open_log(path) as log, Log.open(path, clock=ManualClock()) as other:
        log.append(approved(log, floor(GOVERNED, 6), *PEOPLE))
        stated = {**LOW, "safety_floor_met": False}  # as the policy was that `other` still knows
        futures = [other.submit(draft) for draft in (LOW, stated, LOW)]
        with pytest.raises(DerivedMemberError):
            futures[1].result()
        assert [futures[number].result().entry.safety_floor_met for number in (0, 2)] == [True, True]
    assert judge_log(path, remember=False).verdict == Verdict.VERIFIED


def test_many_threads_while_the_policy_changes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open_log(path) as log:
        threads = [threading.Thread(target=lambda: [log.append(LOW) for _ in range(20)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        policy = GOVERNED
        for value in (6, 8, 6.5):
            log.append(approved(log, floor(policy, value), *PEOPLE))
            policy = log.rules.policy
        for thread in threads:
            thread.join()
    report = judge_log(path, remember=False)
    assert (report.verdict, report.size) == (Verdict.VERIFIED, 84)


def test_an_approval_that_expires_is_judged_when_the_entry_is_written(tmp_path: Path) -> None:
    clock = ManualClock()
    with create(tmp_path / "log", policy=GOVERNED, clock=clock) as log:
        clock.advance(365 * 86_400)
        with pytest.raises(RuleChangeError):
            log.append(approved(log, floor(GOVERNED, 6), *PEOPLE))
