"""Rules that were read are kept in the user's cache: when they are used, and when they are left alone."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import Key, LogMaker, draft

from attestlog._internal import in_force, rules_cache
from attestlog._internal.core.policy import parse_policy
from attestlog._internal.core.policy_change import set_policy_payload
from attestlog._internal.core.rules import Rules
from attestlog._internal.in_force import read_holds, read_rules
from attestlog._internal.places import rules_dir
from attestlog._internal.storage.files.reader import FileSource
from attestlog.errors import HashMismatchError

CHANGES = [2, 3, 4, 5, 6]


def change(name: str, payload: Any) -> dict[str, Any]:
    return draft(0, event_type="CHANGE", action_type=f"attestlog.{name}", action_payload=payload)


def set_floor(log: LogMaker, floor: int) -> None:
    log.append(change("set_policy", set_policy_payload(log.rules, parse_policy({"safety_floor": floor}))))


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LogMaker:
    """2 rotates, 3 to 5 set a policy, 6 places a hold; the checkpoint covers all 8 entries."""
    monkeypatch.setattr(in_force, "KEPT_AFTER", 1)
    made = LogMaker(tmp_path / "log", segment_entries=4)
    made.append(draft(1))
    made.rotate(Key(2))
    for floor in (1, 2, 3):
        set_floor(made, floor)
    hold = {"name": "case-7", "start": 0, "stop": None, "reason": "litigation"}
    made.append(change("place_legal_hold", hold))
    made.append(draft(7))
    made.lay_out()
    return made


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the changes that were looked up, one by one."""
    numbers: list[int] = []
    real = FileSource.line

    def line(self: FileSource, number: int) -> bytes:
        if number in CHANGES:
            numbers.append(number)
        return real(self, number)

    monkeypatch.setattr(FileSource, "line", line)
    return numbers


def kept(log: LogMaker, *, with_holds: bool = True) -> Path:
    return rules_dir() / f"{log.log.genesis}{'-holds' if with_holds else ''}.json"


def rewrite(path: Path, **members: Any) -> None:
    path.write_bytes(json.dumps({**json.loads(path.read_bytes()), **members}).encode())


def test_the_second_time_no_change_is_looked_up(log: LogMaker, fetched: list[int]) -> None:
    first = read_rules(FileSource(log.root))
    assert sorted(fetched) == CHANGES
    fetched.clear()
    assert read_rules(FileSource(log.root)) == first
    assert fetched == []


def test_it_goes_on_where_it_was(log: LogMaker, fetched: list[int]) -> None:
    read_rules(FileSource(log.root))
    set_floor(log, 4)
    log.append(draft(9))
    log.lay_out()
    fetched.clear()
    rules = read_rules(FileSource(log.root))
    assert (rules.policy.safety_floor, fetched) == (4.0, [])
    kept(log).unlink()
    assert read_rules(FileSource(log.root)) == rules
    assert sorted(fetched) == CHANGES


def test_it_is_for_this_user_alone_and_no_part_of_the_log(log: LogMaker) -> None:
    before = sorted(log.root.rglob("*"))
    read_rules(FileSource(log.root))
    assert sorted(log.root.rglob("*")) == before
    assert (kept(log).stat().st_mode & 0o777, kept(log).parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_rules_without_holds_are_not_taken_for_rules_with_them(log: LogMaker, fetched: list[int]) -> None:
    rules = read_rules(FileSource(log.root), with_holds=False)
    assert sorted(fetched) == CHANGES[:-1]
    fetched.clear()
    assert read_rules(FileSource(log.root), with_holds=False) == rules
    assert fetched == []
    kept(log, with_holds=False).rename(kept(log))
    full = read_holds(rules, FileSource(log.root))
    assert (list(full.holds), sorted(fetched)) == (["case-7"], CHANGES)


def other_hash(log: LogMaker) -> None:
    rewrite(kept(log), pointers=[f"5:{'0' * 64}", None], policy={"safety_floor": 0})


def other_number(log: LogMaker) -> None:
    number, digest = json.loads(kept(log).read_bytes())["pointers"][0].split(":")
    rewrite(kept(log), pointers=[f"{int(number) + 1}:{digest}", None], policy={"safety_floor": 0})


def of_a_later_place(log: LogMaker) -> None:
    """As after a whole older copy of the log was put in its place."""
    longer = LogMaker(log.root.with_name("longer"), segment_entries=4)
    longer.lines, longer.head, longer.rules, longer.key = [*log.lines], log.head, log.rules, log.key
    longer.now_us, longer.log, longer.ids = log.now_us, log.log, log.ids
    set_floor(longer, 0)
    longer.append(draft(9))
    longer.lay_out()
    assert read_rules(FileSource(longer.root)).policy.safety_floor == 0


def writable_by_others(log: LogMaker) -> None:
    rewrite(kept(log), policy={"safety_floor": 0})
    kept(log).chmod(0o666)


def no_file(log: LogMaker) -> None:
    kept(log).unlink()
    os.mkfifo(kept(log))


def cut_short(log: LogMaker) -> None:
    kept(log).write_bytes(kept(log).read_bytes()[:-1])


def of_another_version(log: LogMaker) -> None:
    rewrite(kept(log), format="attestlog/rules/v1 0.0.1", policy={"safety_floor": 0})


def of_another_log(log: LogMaker) -> None:
    rewrite(kept(log), genesis_hash="0" * 64, policy={"safety_floor": 0})


def no_policy(log: LogMaker) -> None:
    rewrite(kept(log), policy={"safety_floor": 99})


def too_large(log: LogMaker) -> None:
    kept(log).write_bytes(b" " * rules_cache.STATE_SIZE_MAX_BYTES + kept(log).read_bytes())


@pytest.mark.parametrize(
    "spoil",
    [
        other_hash, other_number, of_a_later_place, writable_by_others, no_file, cut_short,
        of_another_version, of_another_log, no_policy, too_large,
    ],
)  # fmt: skip
def test_what_is_not_met_on_the_way_or_not_ours_is_not_used(
    log: LogMaker, fetched: list[int], spoil: Callable[[LogMaker], None]
) -> None:
    first = read_rules(FileSource(log.root))
    spoil(log)
    fetched.clear()
    assert read_rules(FileSource(log.root)) == first
    assert set(fetched) == set(CHANGES)


def test_a_log_that_is_wrong_is_wrong_with_a_cache_too(log: LogMaker) -> None:
    read_rules(FileSource(log.root))
    set_floor(log, 0)
    set_floor(log, 1)
    log.lay_out()
    log.reseal(8, links=False, action_payload=set_policy_payload(log.rules, parse_policy({})))
    log.write_entries()
    with pytest.raises(HashMismatchError):
        read_rules(FileSource(log.root))


def test_without_a_cache_all_is_looked_up(
    log: LogMaker, fetched: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("ATTESTLOG_CACHE", str(tmp_path / "file"))
    rules: list[Rules] = [read_rules(FileSource(log.root)) for _ in range(2)]
    assert rules[0] == rules[1]
    assert len(fetched) == 2 * len(CHANGES)
