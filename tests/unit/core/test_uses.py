"""What is remembered of used requests, and for how long. Who uses what is in the vectors of approvals."""

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import LogMaker
from tests.support.people import EXPIRES, Person, governed, request_id_of
from tests.support.shapes import LOG, TIMESTAMP, entry_id

from attestlog._internal.core.approval import AHEAD_MAX_S, Request, judge_approvals
from attestlog._internal.core.entry import parse_draft, parse_timestamp
from attestlog._internal.core.policy import APPROVAL_TERM_MAX_S
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.uses import USES_MAX, Use, Uses, id_bytes, search_start, use_of, uses_in
from attestlog.errors import StorageError

SECOND_US = 1_000_000


def use(number: int, request: int, *, at: int, since: int = 0, until: int = 1 << 40, **more: Any) -> Use:
    return Use(number, bytes([number] * 16), request.to_bytes(16, "big"), at, since, until, **more)


def test_the_first_use_is_named_however_many_follow() -> None:
    uses = Uses()
    assert [uses.add(use(number, 7, at=number)) for number in (3, 4, 5)] == [None, 3, 3]
    assert [uses.find(use(6, request, at=6)) for request in (7, 8)] == [3, None]
    assert len(uses) == 1


def test_finding_remembers_nothing() -> None:
    uses = Uses()
    assert [uses.find(use(1, 7, at=1)), uses.find(use(2, 7, at=2)), len(uses)] == [None, None, 0]


def test_a_trial_leaves_what_is_remembered_as_it_is() -> None:
    uses = Uses()
    uses.add(use(1, 7, at=1, is_intent=True))
    trial = uses.trial()
    ending = use(2, 7, at=2, depends_on=(bytes([1] * 16),))
    assert [trial.add(ending), trial.add(ending), trial.add(use(3, 8, at=3))] == [None, 1, None]
    assert [uses.add(ending), uses.add(ending), uses.add(use(3, 8, at=3))] == [None, 1, None]


def test_memory_is_bounded_and_what_is_left_out_is_counted() -> None:
    uses = Uses(limit=3)
    for number in range(1, 6):
        assert uses.add(use(number, number, at=number)) is None
    assert (len(uses), uses.unread) == (3, 2)
    assert uses.add(use(6, 3, at=6)) == 3
    assert uses.add(use(7, 5, at=7)) is None  # it was left out
    assert uses.unread == 3


def test_what_cannot_count_any_more_makes_room() -> None:
    uses = Uses(limit=2)
    uses.add(use(1, 1, at=1, until=10))
    uses.add(use(2, 2, at=2, until=20))
    assert uses.add(use(3, 3, at=10, until=30)) is None
    assert uses.unread == 1  # at its last moment the first is still remembered
    assert uses.add(use(4, 4, at=11, until=31)) is None
    assert (len(uses), uses.unread) == (2, 1)
    assert [uses.find(use(5, request, at=12)) for request in (1, 2, 4)] == [None, 2, 4]
    uses.add(use(6, 6, at=21))
    assert (len(uses), uses.unread) == (2, 1)


def test_the_longest_time_of_several_uses_is_kept() -> None:
    uses = Uses()
    uses.add(use(1, 7, at=1, until=100))
    uses.add(use(2, 7, at=50, since=49, until=60))  # approved when it had been used: a use of its own
    assert uses.add(use(3, 7, at=90, until=95)) == 2
    assert uses.find(use(4, 7, at=101)) is None


def test_as_many_as_are_remembered_take_some_megabytes() -> None:
    uses = Uses()
    for number in range(2_000):
        uses.add(Use(number, bytes(16), number.to_bytes(16, "big"), number, 0, 1 << 50))
    states: Any = uses._states
    each = sum(sys.getsizeof(key) + sys.getsizeof(state) for key, state in states.items()) / len(uses)
    table = sys.getsizeof(states) / len(uses)
    assert (each + table) * USES_MAX < 60 << 20


def test_where_to_look_is_found_by_bisection() -> None:
    generator = random.Random(7)
    times = sorted(generator.choices(range(50), k=200))
    for since in range(-1, 52):
        asked: list[int] = []

        def timestamp(number: int, asked: list[int] = asked) -> int:
            asked.append(number)
            return times[number]

        found = search_start(len(times), timestamp, since)
        assert all(time < since for time in times[:found])
        assert all(time >= since for time in times[found:])
        assert len(asked) <= 9


def test_entries_that_cannot_be_read_are_the_oldest_unless_they_may_be_as_late() -> None:
    def only(readable: range) -> Callable[[int], int]:
        def timestamp(number: int) -> int:
            if number not in readable:
                raise StorageError("archived")
            return 10 * number

        return timestamp

    assert search_start(8, only(range(5, 8)), 60) == 6
    assert search_start(8, only(range(5, 8)), 71) == 8
    for unreadable in (4, 3):
        with pytest.raises(StorageError, match="archived"):
            search_start(unreadable + 1, only(range(unreadable)), 50)


def test_a_use_counts_as_further_up_to_the_last_moment_and_from_the_first() -> None:
    for at, until, since, further in (
        (10, 10, 0, True), (11, 10, 0, False), (10, 10, 5, True), (10, 10, 6, False),
    ):  # fmt: skip
        uses = Uses()
        uses.add(use(1, 1, at=5, until=until))
        assert uses.find(use(2, 1, at=at, since=since)) == (1 if further else None)


def test_what_may_still_count_at_this_moment_is_not_forgotten() -> None:
    uses = Uses(limit=2)
    uses.add(use(1, 1, at=5, until=10))
    uses.add(use(2, 2, at=6, until=10))
    uses.add(use(3, 3, at=10))
    assert (len(uses), uses.unread) == (2, 1)
    assert uses.find(use(4, 1, at=10)) == 1
    uses.add(use(5, 3, at=11))
    assert (len(uses), uses.unread) == (1, 1)


def test_a_use_spans_from_the_date_of_its_approvals_to_the_longest_term() -> None:
    policy = governed(rules={"r": {"required_approvals": 1, "expires_max_s": 86_400}})
    draft = {"event_type": "ACTION", "action_type": "x", "actor_id": "a"}
    early = Person("creator").approve(
        draft, LOG, timestamp="2025-10-30T10:00:00.000000Z", expires="2025-10-31T10:00:00.000000Z"
    )
    late = Person("auditor").approve(draft, LOG)
    asked = {**draft, "received_approvals": [late, early]}

    def used(members: dict[str, Any], rules: Any = policy, **changes: Any) -> Use | None:
        facts = parse_draft({**members, **changes})
        request = Request.of(
            facts, LOG, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", TIMESTAMP
        )
        judged = judge_approvals(rules, facts.received_approvals, request)
        return use_of(rules, facts, request, judged, sequence_number=9, entry_id=entry_id(9))

    found = used(asked)
    assert found is not None
    now_us = parse_timestamp(TIMESTAMP)
    assert found[:4] == (9, id_bytes(entry_id(9)), id_bytes(early["request_id"]), now_us)
    assert found.since_us == parse_timestamp(early["timestamp"]) - AHEAD_MAX_S * SECOND_US
    assert found.until_us == now_us + (AHEAD_MAX_S + 86_400) * SECOND_US
    unruled = used(asked, governed())
    assert unruled is not None
    assert unruled.until_us == now_us + (AHEAD_MAX_S + APPROVAL_TERM_MAX_S) * SECOND_US
    assert used(asked, execution_status="BLOCKED") is None
    assert used(asked, received_approvals=[]) is None
    assert used(asked, received_approvals=[{**late, "signature": "00"}]) is None


def test_uses_are_found_in_lines_by_the_rules_in_force_there(tmp_path: Path) -> None:
    """What is revoked later changes nothing, nor does a payload that looks like an approval."""
    policy = governed()
    log = LogMaker(tmp_path, policy=policy)
    draft = {"event_type": "ACTION", "action_type": "x", "actor_id": "a"}

    def approved(request: str, **said: str) -> dict[str, Any]:
        approval = Person("auditor").approve(draft, log.log, request_id=request_id_of(request), **said)
        return {**draft, "received_approvals": [approval]}

    log.append(approved("one"))
    log.append(draft | {"action_payload": {"request_id": request_id_of("one")}})
    revoked = {"scope": "approvers.auditor.revoked", "old_value": None, "new_value": EXPIRES}
    payload = {"proposal_id": "P", "change_description": "c", **revoked}
    replaces = {"sequence_number": 0, "entry_hash": log.log.genesis}
    log.append({
        "event_type": "CHANGE", "action_type": "attestlog.modify_policy_rule", "actor_id": "a",
        "action_payload": {**payload, "new_value": TIMESTAMP, "replaces": replaces},
    })  # fmt: skip
    log.append(approved("two"))
    log.append({**approved("three"), "execution_status": "BLOCKED"})
    rules = Rules.of(log.genesis)
    lines = [*log.lines[:2], b"no entry " + b'"request_id":"', *log.lines[2:]]
    assert [(found.sequence_number, found.request_id) for found in uses_in(rules, lines)] == [
        (1, id_bytes(request_id_of("one")))
    ]
    # The same lines under rules that are not those in force there.
    assert [found.sequence_number for found in uses_in(rules, log.lines[4:])] == [4]
    wanted = {id_bytes(request_id_of("two"))}
    assert list(uses_in(rules, lines, wanted)) == []


@pytest.mark.parametrize("changed", ["timestamp", "line"])
def test_a_line_that_is_no_entry_uses_nothing(tmp_path: Path, changed: str) -> None:
    log = LogMaker(tmp_path, policy=governed())
    draft = {"event_type": "ACTION", "action_type": "x", "actor_id": "a"}
    log.append({**draft, "received_approvals": [Person("auditor").approve(draft, log.log)]})
    line = log.lines[1]
    if changed == "timestamp":
        line = line.replace(b'"timestamp":"2025-10-30T12', b'"timestamp":"2025-10-30T25')
    else:
        line = line[:-1]
    assert line != log.lines[1]
    rules = Rules.of(log.genesis)
    assert len(list(uses_in(rules, [log.lines[1]]))) == 1
    assert list(uses_in(rules, [line])) == []


def test_a_thousand_callers_of_one_batch_are_one_trial_after_another() -> None:
    """Each is tried upon what those before it used, at the same cost, and kept if it was no further use."""
    known = Uses()
    batch = known.trial()
    for number in range(2_000):
        trial = batch.trial()
        use = Use(number, bytes(16), number.to_bytes(16, "big"), 10**15, 10**15, 2 * 10**15)
        assert trial.add(use) is None
        batch.keep(trial)
    again = Use(2_000, bytes(16), (7).to_bytes(16, "big"), 10**15, 10**15, 2 * 10**15)
    assert batch.trial().find(again) == 7
    assert known.find(again) is None
    assert len(known) == 0
