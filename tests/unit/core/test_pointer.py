"""Pointers: their one spelling, and the lists of changes that they lead to."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import Key, LogMaker, draft, seal

from attestlog._internal.core import pointer as pointers
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.pointer import Pointer, Pointers, is_later, parse_pointer, point_to
from attestlog._internal.core.rules import HoldsUnreadError, Rules, format_hold, release_of
from attestlog.errors import (
    HashMismatchError,
    MalformedEntryError,
    NotFoundError,
    RuleChangeError,
    VerificationError,
)

HASH = "0123456789abcdef" * 4


def hold(name: str = "case-7", **members: Any) -> dict[str, Any]:
    payload = {"name": name, "start": 0, "stop": None, "reason": "litigation"}
    action_type = "attestlog.place_legal_hold"
    return draft(0, event_type="CHANGE", action_type=action_type, action_payload=payload, **members)


def release(rules: Rules, name: str) -> dict[str, Any]:
    payload = format_hold(release_of(rules, name, "settled"))
    return draft(0, event_type="CHANGE", action_type="attestlog.release_legal_hold", action_payload=payload)


@pytest.fixture
def log(tmp_path: Path) -> LogMaker:
    """2 and 5 rotate, 3 and 6 place holds, 7 releases one; 4 is a rotation that failed."""
    made = LogMaker(tmp_path / "log")
    made.append(draft(1))
    made.rotate(Key(2))
    made.append(hold("one"))
    made.append(
        draft(4, event_type="CHANGE", action_type="attestlog.rotate_signing_key", execution_status="FAILED")
    )
    made.rotate(Key(3))
    made.append(hold("two"))
    made.append(release(made.rules, "one"))
    made.append(draft(8))
    return made


def fetching(log: LogMaker, read: list[int] | None = None) -> Callable[[int], bytes]:
    def fetch(number: int) -> bytes:
        if read is not None:
            read.append(number)
        return log.lines[number]

    return fetch


def start(log: LogMaker) -> Rules:
    return Rules.of(log.genesis)


def of_entry(log: LogMaker, number: int) -> Pointers:
    return Pointers.of(decode_line(log.lines[number]))


@pytest.mark.parametrize("number", [0, 7, 10, 2**53 - 1])
def test_a_pointer_is_read_as_it_is_written(number: int) -> None:
    assert str(parse_pointer(f"{number}:{HASH}")) == f"{number}:{HASH}"
    assert parse_pointer(f"{number}:{HASH}") == Pointer(number, HASH)


@pytest.mark.parametrize(
    "text",
    [
        "", "0", f"0{HASH}", f"00:{HASH}", f"+1:{HASH}", f"-1:{HASH}", f" 1:{HASH}", f"1:{HASH}\n",
        f"1: {HASH}", f"1:{HASH.upper()}", f"1:{HASH[:-1]}", f"1:{HASH}0", f"1.0:{HASH}", f"1_0:{HASH}",
        f"٣:{HASH}", f":{HASH}",
        f"{2**53}:{HASH}", f"99999999999999999:{HASH}", "x" * 1_000_000,
    ],
)  # fmt: skip
def test_another_spelling_is_no_pointer(text: str) -> None:
    with pytest.raises(MalformedEntryError) as caught:
        parse_pointer(text)
    assert len(caught.value.message) < 200


def test_a_pointer_names_the_entry_that_it_is_made_of(log: LogMaker) -> None:
    entry = decode_line(log.lines[5])
    assert parse_pointer(point_to(entry)) == (5, entry.entry_hash)


def test_the_longest_pointer_has_the_length_that_is_reserved() -> None:
    assert len(f"{2**53 - 1}:{HASH}") == pointers.POINTER_LENGTH_MAX


def test_entries_carry_the_pointers_of_the_last_changes_that_held(log: LogMaker) -> None:
    def text(number: int) -> str:
        return point_to(decode_line(log.lines[number]))

    found = [of_entry(log, number) for number in range(9)]
    assert found == [
        Pointers(), Pointers(text(0)), Pointers(text(0)), Pointers(text(2)), Pointers(text(2), text(3)),
        Pointers(text(2), text(3)), Pointers(text(5), text(3)), Pointers(text(5), text(6)),
        Pointers(text(5), text(7)),
    ]  # fmt: skip


# --- at once ---


def test_the_rules_at_each_entry_are_those_that_reading_all_gives(log: LogMaker) -> None:
    for number in range(1, 9):
        expected, _ = start(log).following(log.lines[1:number])
        found = start(log).at(of_entry(log, number), fetching(log))
        assert (found.key_ids, found.terms, found.holds) == (expected.key_ids, expected.terms, expected.holds)
        assert (found.pointers, found.start, found.policy) == (
            expected.pointers, expected.start, expected.policy,
        )  # fmt: skip


def test_rules_are_read_on_from_rules_that_are_known(log: LogMaker) -> None:
    known, _ = start(log).following(log.lines[1:5])
    read = list[int]()
    found = known.at(of_entry(log, 8), fetching(log, read))
    assert found == start(log).at(of_entry(log, 8), fetching(log))
    assert sorted(read) == [5, 6, 7]


def test_nothing_but_the_changes_is_fetched(log: LogMaker) -> None:
    read = list[int]()
    start(log).at(of_entry(log, 8), fetching(log, read))
    assert sorted(read) == [2, 3, 5, 6, 7]


def test_holds_are_not_fetched_before_they_are_asked_for(log: LogMaker) -> None:
    read = list[int]()
    rules = start(log).at(of_entry(log, 8), fetching(log, read), with_holds=False)
    assert sorted(read) == [2, 5]
    assert rules.pointers == of_entry(log, 8)
    with pytest.raises(HoldsUnreadError):
        _ = rules.holds
    assert list(start(log).at(of_entry(log, 8), fetching(log)).holds) == ["two"]


def test_where_there_never_was_a_hold_none_is_unread(log: LogMaker) -> None:
    assert start(log).at(of_entry(log, 3), fetching(log), with_holds=False).holds == {}


@pytest.mark.parametrize("kept_bytes", [0, 4_000, pointers.KEPT_SIZE_MAX_BYTES])
def test_a_list_too_long_to_be_kept_is_fetched_twice(
    log: LogMaker, monkeypatch: pytest.MonkeyPatch, kept_bytes: int
) -> None:
    monkeypatch.setattr(pointers, "KEPT_SIZE_MAX_BYTES", kept_bytes)
    read = list[int]()
    found = start(log).at(of_entry(log, 8), fetching(log, read))
    assert list(found.holds) == ["two"]
    assert set(read) == {2, 3, 5, 6, 7}
    assert len(read) == {0: 10, 4_000: 6}.get(kept_bytes, 5)


def test_a_change_that_cannot_be_fetched_is_named(log: LogMaker) -> None:
    def fetch(number: int) -> bytes:
        if number == 2:
            raise NotFoundError("entry 2 is elsewhere", sequence_number=2)
        return log.lines[number]

    with pytest.raises(NotFoundError, match="entry 2"):
        start(log).at(of_entry(log, 8), fetch)


def other_hash(log: LogMaker) -> Pointers:
    return of_entry(log, 8)._replace(rules=f"5:{HASH}")


def number_only(log: LogMaker) -> Pointers:
    """Another entry of the same number, valid in its place: what a number alone would take."""
    members = log.entry(5)
    members["actor_id"] = "thief"
    log.lines[5] = seal(members, Key(2))
    return of_entry(log, 8)


def another_entry(log: LogMaker) -> Pointers:
    return of_entry(log, 8)._replace(rules=point_to(decode_line(log.lines[1])))


def a_failed_one(log: LogMaker) -> Pointers:
    return of_entry(log, 8)._replace(rules=point_to(decode_line(log.lines[4])))


def one_of_the_other_list(log: LogMaker) -> Pointers:
    return of_entry(log, 8)._replace(rules=point_to(decode_line(log.lines[6])))


def the_first_rotation_left_out(log: LogMaker) -> Pointers:
    members = log.entry(5)
    members["environment"]["attestlog_rules"] = log.entry(1)["environment"]["attestlog_rules"]
    log.lines[5] = seal(members, Key(2))
    return of_entry(log, 8)._replace(rules=point_to(decode_line(log.lines[5])))


def of_another_genesis(log: LogMaker) -> Pointers:
    return Pointers(f"0:{HASH}")


def not_a_pointer(log: LogMaker) -> Pointers:
    return Pointers("5")


@pytest.mark.parametrize(
    "forge",
    [
        other_hash, number_only, another_entry, a_failed_one, one_of_the_other_list,
        the_first_rotation_left_out, of_another_genesis, not_a_pointer,
    ],
)  # fmt: skip
def test_a_list_that_is_not_the_logs_does_not_lead_to_rules(
    log: LogMaker, forge: Callable[[LogMaker], Pointers]
) -> None:
    wrong = forge(log)
    with pytest.raises((VerificationError, MalformedEntryError)):
        start(log).at(wrong, fetching(log))


def test_an_entry_of_right_number_and_another_hash_is_not_taken(log: LogMaker) -> None:
    wrong = number_only(log)
    with pytest.raises(HashMismatchError, match="entry 5"):
        start(log).at(wrong, fetching(log))


def test_the_list_of_holds_must_lead_back_as_well(log: LogMaker) -> None:
    for wrong in (f"7:{HASH}", f"3:{HASH}", point_to(decode_line(log.lines[5]))):
        with pytest.raises(VerificationError):
            start(log).at(of_entry(log, 8)._replace(holds=wrong), fetching(log))
    with pytest.raises(VerificationError, match="want one from 6"):  # rules do not go back
        start(log).at(of_entry(log, 8), fetching(log)).at(of_entry(log, 3), fetching(log))


def test_a_list_that_ends_before_the_rules_known_is_another(log: LogMaker) -> None:
    known = start(log).at(of_entry(log, 5), fetching(log))
    members = log.entry(6)
    del members["environment"]["attestlog_holds"]  # a first hold, where one was before
    log.lines[6] = seal(members, Key(3))
    wrong = of_entry(log, 7)._replace(holds=point_to(decode_line(log.lines[6])))
    with pytest.raises(VerificationError, match="ends before"):
        known.at(wrong, fetching(log))


def test_a_change_under_other_rules_than_it_names_does_not_hold(log: LogMaker) -> None:
    rules, _ = start(log).following(log.lines[1:3])
    members = json.loads(log.lines[5])
    for environment in ({}, {"attestlog_rules": f"0:{log.rules.genesis_hash}"}):
        line = seal({**members, "environment": environment}, Key(2))
        with pytest.raises(RuleChangeError, match="stands under other rules"):
            rules.after(decode_line(line))


@pytest.mark.parametrize(
    "stated, last, later",
    [
        (Pointers(f"5:{HASH}"), Pointers(f"2:{HASH}"), True),
        (Pointers(f"2:{HASH}", f"9:{HASH}"), Pointers(f"2:{HASH}"), True),
        (Pointers(f"2:{HASH}"), Pointers(f"2:{HASH}", f"9:{HASH}"), False),
        (Pointers(f"2:{HASH[::-1]}"), Pointers(f"2:{HASH}"), False),
        (Pointers(f"1:{HASH}"), Pointers(f"2:{HASH}"), False),
        (Pointers(f"10:{HASH}"), Pointers(f"9:{HASH}"), True),
        (Pointers("x"), Pointers(f"2:{HASH}"), False),
        (Pointers(), Pointers(f"2:{HASH}"), False),
    ],
)
def test_rules_do_not_go_back(stated: Pointers, last: Pointers, later: bool) -> None:
    assert is_later(stated, last) is later
