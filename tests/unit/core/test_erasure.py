"""What an erasing entry says, which payloads go by it, and what the rules keep."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import LogMaker, draft, say_range_erased

from attestlog._internal.core.entry import decode_line, format_timestamp
from attestlog._internal.core.erasure import (
    ACTION_TYPES_MAX,
    Erasure,
    Limits,
    RangeErasure,
    check_erasable,
    check_erasure,
    check_payloads,
    describe,
    erase_line,
    erasure_of,
    fingerprint,
    format_erasure,
    line_erases,
    parse_erasure,
    parse_range_erasure,
    plan_range,
    read_stored,
    taken,
)
from attestlog._internal.core.genesis import parse_genesis
from attestlog._internal.core.policy import ErasureRules
from attestlog._internal.core.rules import Hold, Rules
from attestlog.errors import ErasureRefusedError, HashMismatchError, MalformedEntryError

DAY_US = 86_400_000_000
NOW_US = 1_800_000_000_000_000
"""After all entries of the log."""
ALL = ("*",)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> LogMaker:
    """Entries 1 to 5; 2 and 4 are payments."""
    made = LogMaker(tmp_path_factory.mktemp("erasure") / "log")
    for number in range(1, 6):
        made.append(draft(number, action_type="pay" if number % 2 == 0 else "execute_task"))
    return made


def limits(
    policy: ErasureRules | None = None, *holds: Hold, basis: str | None = None, now_us: int = NOW_US
) -> Limits:
    return Limits(policy or ErasureRules(), holds, basis, format_timestamp(now_us))


def refused(check: Callable[[], object]) -> dict[str, Any]:
    with pytest.raises(ErasureRefusedError) as caught:
        check()
    return caught.value.evidence()


def range_payload(**changes: Any) -> dict[str, Any]:
    return {
        "start": 1, "stop": 4, "action_types": ["pay"], "count": 1, "last_entry_hash": "0" * 64,
        "reason": "too old", "legal_basis": None,
    } | changes  # fmt: skip


# --- what it says ---


def test_of_one_entry(log: LogMaker) -> None:
    entry = decode_line(log.lines[2])
    erasure = Erasure.of(entry, "asked for", "GDPR 17")
    assert parse_erasure(format_erasure(erasure)) == erasure
    assert parse_erasure({**format_erasure(erasure), "_salt": "0" * 32}) == erasure
    assert (erasure.reach, describe(erasure)) == (range(2, 3), "the payload of entry 2")
    assert [erasure.takes(read_stored(line)) for line in log.lines[1:4]] == [False, True, False]
    assert [erasure.describes(read_stored(line)) for line in log.lines[1:4]] == [False, True, False]
    assert erasure.fingerprint == fingerprint(entry)
    assert len(erasure.fingerprint) == 16


def test_of_a_range(log: LogMaker) -> None:
    erasure = plan_range(log.lines[1:5], 1, 5, action_types=["p*"], reason="too old", legal_basis=None)
    last = decode_line(log.lines[4])
    assert erasure == parse_range_erasure(
        range_payload(stop=5, action_types=["p*"], count=2, last_entry_hash=last.entry_hash)
    )
    assert parse_range_erasure(format_erasure(erasure)) == erasure
    assert (erasure.reach, describe(erasure)) == (range(1, 5), "every such payload of entries 1 to 4")
    stored = [read_stored(line) for line in log.lines]
    assert [erasure.takes(item) for item in stored] == [False, False, True, False, True, False]
    assert all(erasure.describes(item) for item in stored)
    other = parse_range_erasure(range_payload(stop=5, count=2))
    assert [other.describes(item) for item in stored] == [True, True, True, True, False, True]


@pytest.mark.parametrize(
    "changes, member",
    [
        ({"stop": 1}, "stop"),
        ({"stop": 0}, "stop"),
        ({"count": 0}, "count"),
        ({"count": 4}, "count"),
        ({"start": -1}, "start"),
        ({"action_types": []}, "action_types"),
        ({"action_types": ["pay"] * (ACTION_TYPES_MAX + 1)}, "action_types"),
        ({"last_entry_hash": "0" * 63}, "last_entry_hash"),
        ({"reason": ""}, "reason"),
        ({"other": 1}, "other"),
    ],
)
def test_ranges_that_do_not_fit(changes: dict[str, Any], member: str) -> None:
    with pytest.raises(MalformedEntryError, match=member):
        parse_range_erasure(range_payload(**changes))


def test_the_most_that_fits() -> None:
    whole = parse_range_erasure(range_payload(count=3, action_types=["pay"] * ACTION_TYPES_MAX))
    assert (whole.count, len(whole.action_types)) == (3, ACTION_TYPES_MAX)
    assert ACTION_TYPES_MAX == 64, "a log that was written with one more is refused by every reader"


@pytest.mark.parametrize("payload", [None, [], "erase", {}, {"sequence_number": 1}])
def test_payloads_that_are_none(payload: Any) -> None:
    for parse in (parse_erasure, parse_range_erasure):
        with pytest.raises(MalformedEntryError):
            parse(payload)


def test_an_entry_that_erases_is_about_earlier_ones(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log")
    log.append(draft(1), draft(2))
    say_range_erased(log, 1, 3)
    line = log.lines[3]
    entry = line_erases(line)
    assert entry is not None
    assert entry == decode_line(line)
    erasure = erasure_of(entry)
    assert isinstance(erasure, RangeErasure)
    assert erasure.reach == range(1, 3)
    say_range_erased(log, 1, 3, changes={"stop": 5})
    with pytest.raises(
        MalformedEntryError, match="payload of entry 4 is erased, which is no earlier"
    ) as caught:
        erasure_of(decode_line(log.lines[4]))
    assert caught.value.evidence()["found"] == 4
    assert line_erases(log.lines[1]) is None
    assert line_erases(line[:-1]) is None


# --- which go ---


def test_what_is_taken_and_what_every_line_is_asked(log: LogMaker) -> None:
    erasure = parse_range_erasure(range_payload(stop=5, count=2))
    seen: list[int] = []
    found = taken(erasure, log.lines, lambda stored: seen.append(stored.sequence_number))
    assert [stored.sequence_number for _, stored in found] == [2, 4]
    assert seen == [0, 1, 2, 3, 4, 5]
    shorter = parse_range_erasure(range_payload(stop=4, count=1))
    assert [stored.sequence_number for _, stored in taken(shorter, log.lines)] == [2]


def plan(lines: Sequence[bytes], start: int | None, stop: int, *action_types: str) -> RangeErasure:
    return plan_range(lines, start, stop, action_types=action_types, reason="too old", legal_basis=None)


def test_a_range_begins_with_the_first_that_goes(log: LogMaker) -> None:
    assert plan(log.lines[:5], None, 5, "pay").reach == range(2, 5)
    assert plan(log.lines[1:5], 1, 5, "pay").reach == range(1, 5)


@pytest.mark.parametrize("start, stop, first", [(None, 5, 0), (3, 5, 3), (None, 0, 0)])
def test_where_nothing_is_to_go(log: LogMaker, start: int | None, stop: int, first: int) -> None:
    evidence = refused(lambda: plan(log.lines[start:stop], start, stop, "refund"))
    assert (evidence["rule"], evidence["sequence_number"]) == ("none", first)


def test_a_line_without_its_payload(log: LogMaker) -> None:
    line = log.lines[2]
    erased = erase_line(line)
    assert erase_line(erased) == erased
    entry, before = decode_line(erased), decode_line(line)
    assert (entry.action_payload, entry.entry_hash) == (None, before.entry_hash)
    assert not read_stored(erased).has_payload
    assert read_stored(line).has_payload


def test_lines_that_are_evidence_stay(log: LogMaker) -> None:
    line = log.lines[2]
    action_hash = decode_line(line).action_hash.encode()
    with pytest.raises(HashMismatchError, match="action_hash"):
        erase_line(line.replace(action_hash, b"0" * 64))
    with pytest.raises(MalformedEntryError):
        erase_line(line + b" ")
    for garbage in (b"", b"{}", b"[]", b"\xff", line[:100]):
        with pytest.raises(MalformedEntryError):
            read_stored(garbage)


# --- what the rules keep ---


def test_a_hold_keeps_what_it_covers() -> None:
    hold = Hold(name="case", start=3, stop=5, reason="litigation")
    held = limits(None, hold, Hold(name="other", start=4, stop=None, reason="litigation"))
    moment = format_timestamp(NOW_US)
    held.check(2, "pay", moment)
    assert refused(lambda: held.check(3, "pay", moment))["holds"] == ["case"]
    assert refused(lambda: held.check(4, "pay", moment))["holds"] == ["case", "other"]
    assert refused(lambda: held.check(5, "pay", moment)) == {
        "sequence_number": 5, "rule": "hold", "holds": ["other"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "start, stop, is_held", [(0, 3, False), (0, 4, True), (5, None, False), (4, None, True), (3, 4, True)]
)
def test_only_the_holds_within_reach_are_asked(
    log: LogMaker, start: int, stop: int | None, is_held: bool
) -> None:
    genesis = Rules.of(parse_genesis(decode_line(log.lines[0])))
    erasure = parse_range_erasure(range_payload(start=3, stop=5))
    hold = Hold(name="case", start=start, stop=stop, reason="litigation")
    found = Limits.of(replace(genesis, read_holds={"case": hold}), erasure, format_timestamp(NOW_US))
    assert bool(found._holds) is is_held


def test_a_policy_keeps_types() -> None:
    moment = format_timestamp(NOW_US)
    policy = limits(ErasureRules(action_types=["pay", "log_*"], held=["log_in"]))
    for _ in range(2):  # the second time from memory
        policy.check(1, "pay", moment)
        policy.check(1, "log_out", moment)
        assert refused(lambda: policy.check(1, "log_in", moment))["rule"] == "policy"
        assert refused(lambda: policy.check(1, "deploy", moment))["rule"] == "policy"


def test_a_policy_asks_for_a_legal_basis() -> None:
    policy, moment = ErasureRules(legal_bases=["GDPR 17", "contract"]), format_timestamp(NOW_US)
    limits(policy, basis="contract").check(1, "pay", moment)
    for basis in (None, "other"):
        with pytest.raises(ErasureRefusedError, match=f"GDPR 17, contract, got {basis or 'none'}"):
            limits(policy, basis=basis).check(1, "pay", moment)


def test_a_policy_keeps_what_is_not_old_enough() -> None:
    policy = ErasureRules(retain_days=30)
    old_enough = limits(policy)
    for _ in range(2):
        old_enough.check(1, "pay", format_timestamp(NOW_US - 30 * DAY_US))
    with pytest.raises(ErasureRefusedError, match="is 30 days old, is kept for 30"):
        old_enough.check(1, "pay", format_timestamp(NOW_US - 30 * DAY_US + 1))
    with pytest.raises(ErasureRefusedError, match="is of no known age"):
        old_enough.check(1, "pay", "yesterday")


def test_what_the_log_cannot_do_without(log: LogMaker) -> None:
    assert refused(lambda: check_erasable(decode_line(log.lines[0])))["rule"] == "kept"
    check_erasable(decode_line(log.lines[1]))


def test_by_the_rules_of_a_log(log: LogMaker) -> None:
    rules = Rules.of(parse_genesis(decode_line(log.lines[0])))
    check_erasure(rules, Erasure.of(decode_line(log.lines[2]), "asked for", None), format_timestamp(NOW_US))


def test_how_many_go_and_who_stops_it(log: LogMaker) -> None:
    erasure = plan_range(log.lines[1:5], 1, 5, action_types=["pay"], reason="too old", legal_basis=None)
    lines = list(log.lines[1:5])
    assert check_payloads(limits(), erasure, lines) == 2
    assert check_payloads(limits(), erasure, [lines[0], erase_line(lines[1]), *lines[2:]]) == 1
    hold = Hold(name="case", start=4, stop=5, reason="litigation")
    assert refused(lambda: check_payloads(limits(None, hold), erasure, lines))["sequence_number"] == 4
    other = parse_range_erasure(format_erasure(erasure) | {"last_entry_hash": "0" * 64})
    assert refused(lambda: check_payloads(limits(), other, lines))["rule"] == "described"
    genesis = plan_range(log.lines[:1], 0, 1, action_types=ALL, reason="too old", legal_basis=None)
    assert refused(lambda: check_payloads(limits(), genesis, log.lines[:1]))["rule"] == "kept"
