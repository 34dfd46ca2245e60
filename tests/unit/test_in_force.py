"""The rules in force at the end of a log, read at once: what is read for it, and what is not believed."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.audits import codes, verify
from tests.support.logs import Key, LogMaker, draft, drafts

from attestlog._internal import in_force
from attestlog._internal.core import pointer
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.pointer import point_to
from attestlog._internal.core.policy import parse_policy
from attestlog._internal.core.policy_change import set_policy_payload
from attestlog._internal.core.rules import HoldsUnreadError
from attestlog._internal.in_force import changes_of_rules, follow_rules, read_holds, read_rules
from attestlog._internal.storage.files.layout import tree_path
from attestlog._internal.storage.files.reader import FileSource
from attestlog.errors import AttestlogError, NotFoundError, StorageError, UnverifiedError, VerificationError

OLD, NEW, THIEF = Key(1), Key(2), Key(9)
LAX = parse_policy({"safety_floor": 0})


def change(name: str, payload: Any) -> dict[str, Any]:
    return draft(0, event_type="CHANGE", action_type=f"attestlog.{name}", action_payload=payload)


def hold(name: str) -> dict[str, Any]:
    return change("place_legal_hold", {"name": name, "start": 0, "stop": None, "reason": "litigation"})


@pytest.fixture
def log(tmp_path: Path) -> LogMaker:
    """Segments of 4: 2 rotates, 5 sets a policy, 7 places a hold; the checkpoint covers all 12 entries."""
    made = LogMaker(tmp_path / "log", key=OLD, segment_entries=4)
    made.append(draft(1))
    made.rotate(NEW)
    made.append(draft(3))
    made.append(draft(4))
    made.append(change("set_policy", set_policy_payload(made.rules, LAX)))
    made.append(draft(6))
    made.append(hold("case-7"))
    for number in range(8, 12):
        made.append(draft(number))
    made.lay_out()
    return made


def read(log: LogMaker, **options: Any) -> tuple[list[str], float, list[str]]:
    rules = read_rules(FileSource(log.root), **options)
    return rules.key_ids, rules.policy.safety_floor, list(rules.holds)


IN_FORCE = ([NEW.public.key_id], 0.0, ["case-7"])


def test_the_rules_at_the_end(log: LogMaker) -> None:
    assert read(log) == IN_FORCE
    rules = read_rules(FileSource(log.root))
    assert [entry.sequence_number for entry in changes_of_rules(rules, FileSource(log.root))] == [2, 5]


@pytest.mark.parametrize("covered", range(1, 13))
def test_wherever_the_checkpoint_ends(log: LogMaker, covered: int) -> None:
    log.write_checkpoint(covered)
    assert read(log) == IN_FORCE


@pytest.mark.parametrize("size", range(1, 13))
def test_after_any_number_of_entries(log: LogMaker, size: int) -> None:
    log.write_checkpoint(1)
    expected, _ = read_rules(FileSource(log.root), size=1).following(log.lines[1:size])
    found = read_rules(FileSource(log.root), size=size)
    assert (found.pointers, found.terms, found.holds) == (expected.pointers, expected.terms, expected.holds)


def test_only_the_changes_and_what_the_checkpoint_does_not_cover_is_read(
    log: LogMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers, spans = list[int](), list[int]()
    real_line, real_lines = FileSource.line, FileSource.lines

    def line(self: FileSource, number: int) -> bytes:
        numbers.append(number)
        return real_line(self, number)

    def lines(self: FileSource, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        if stop is None:  # else it is one line
            spans.append(start)
        return real_lines(self, start, stop)

    monkeypatch.setattr(FileSource, "line", line)
    monkeypatch.setattr(FileSource, "lines", lines)
    log.write_checkpoint(10)
    assert read(log) == IN_FORCE
    assert (sorted(numbers), spans) == ([0, 2, 5, 7, 9], [10])


def test_holds_are_read_only_when_asked_for(log: LogMaker) -> None:
    rules = read_rules(FileSource(log.root), with_holds=False)
    with pytest.raises(HoldsUnreadError):
        _ = rules.holds
    full = read_holds(rules, FileSource(log.root))
    assert list(full.holds) == ["case-7"]
    assert full.policy is rules.policy
    assert read_holds(full, FileSource(log.root)) is full


def test_holds_that_entries_after_the_checkpoint_need_are_read(log: LogMaker) -> None:
    log.append(hold("case-8"))
    log.write_entries()
    assert list(read_rules(FileSource(log.root), with_holds=False).holds) == ["case-7", "case-8"]


@pytest.mark.parametrize("level", [0, 1])
def test_without_the_stored_hashes_all_is_read(tmp_path: Path, level: int) -> None:
    log = LogMaker(tmp_path / "log", key=OLD)
    log.append(*drafts(range(1, 300)))
    log.rotate(NEW)
    log.append(draft(1))
    log.lay_out()
    tree_path(log.root, level).write_bytes(bytes(len(tree_path(log.root, level).read_bytes())))
    assert read_rules(FileSource(log.root)).key_ids == [NEW.public.key_id]
    shutil.rmtree(log.root / "tree")
    assert read_rules(FileSource(log.root)).key_ids == [NEW.public.key_id]


def test_without_a_checkpoint_all_is_read(log: LogMaker) -> None:
    (log.root / "checkpoint").unlink()
    assert read(log) == IN_FORCE


def test_the_way_does_not_end_at_a_rotation(tmp_path: Path) -> None:
    """What was changed before the last rotations is in force all the same."""
    made = LogMaker(tmp_path / "rotated", key=OLD)
    made.append(change("set_policy", set_policy_payload(made.rules, LAX)))
    made.rotate(NEW)
    made.rotate(Key(3))
    made.append(draft(4))
    made.lay_out()
    rules = read_rules(FileSource(made.root))
    assert (rules.policy.safety_floor, rules.key_ids) == (0.0, [Key(3).public.key_id])
    assert list(rules.terms) == [key.public.key_id for key in (OLD, NEW, Key(3))]


@pytest.fixture
def often_changed(tmp_path: Path) -> LogMaker:
    """1 to 40 set a policy, with another entry after each, but for 21 to 30."""
    made = LogMaker(tmp_path / "often", segment_entries=16)
    for number in range(1, 41):
        made.append(change("set_policy", set_policy_payload(made.rules, parse_policy({"safety_floor": 3}))))
        if not 20 < number <= 30:
            made.append(draft(number))
    made.lay_out()
    return made


def test_changes_that_are_near_one_another_are_read_together(
    often_changed: LogMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_force, "NEAR_ENTRIES", 12)
    found = read_rules(FileSource(often_changed.root))
    looked_up: list[int] = []
    real = FileSource.line

    def line(self: FileSource, number: int) -> bytes:
        looked_up.append(number)
        return real(self, number)

    monkeypatch.setattr(FileSource, "line", line)
    assert read_rules(FileSource(often_changed.root)) == found
    assert found.pointers == often_changed.rules.pointers
    assert len(looked_up) < 15, "eight in a row, before it is known that they are near"
    looked_up.clear()
    monkeypatch.setattr(in_force, "NEAR_SIZE_MAX_BYTES", 0)
    assert read_rules(FileSource(often_changed.root)) == found
    assert len(looked_up) > 40, "lines that are too long are looked up one by one"
    monkeypatch.undo()
    monkeypatch.setattr(pointer, "KEPT_SIZE_MAX_BYTES", 20_000)  # the others are fetched a second time
    assert read_rules(FileSource(often_changed.root)) == found


def test_a_change_that_cannot_be_read_is_missed_where_many_are_read_too(often_changed: LogMaker) -> None:
    assert read_rules(FileSource(often_changed.root)).pointers == often_changed.rules.pointers
    often_changed.segment(16).unlink()
    with pytest.raises(StorageError):
        read_rules(FileSource(often_changed.root))


# --- what is not believed ---


def other_change_of_that_number(log: LogMaker) -> None:
    """Another policy entry in the place of 5, which the retired key could sign when it was in force."""
    log.reseal(5, links=False, key=NEW, action_payload=set_policy_payload(log.rules, parse_policy({})))
    log.write_entries()


def last_entry_names_older_rules(log: LogMaker) -> None:
    pointer = {"attestlog_rules": point_to(decode_line(log.lines[0]))}
    log.reseal(11, key=NEW, environment=pointer)
    log.write_entries()


def entry_after_the_checkpoint_names_older_rules(log: LogMaker) -> None:
    log.reseal(11, key=NEW, environment={"attestlog_rules": point_to(decode_line(log.lines[2]))})
    log.write_entries()
    log.write_checkpoint(11)
    log.write_tree()


def entry_after_the_checkpoint_by_a_thief(log: LogMaker) -> None:
    log.reseal(11, key=THIEF)
    log.write_entries()
    log.write_checkpoint(11)


def entry_after_the_checkpoint_edited(log: LogMaker) -> None:
    log.lines[11] = log.lines[11].replace(b'"number":11', b'"number":12')
    log.write_entries()
    log.write_checkpoint(11)


def tail_cut(log: LogMaker) -> None:
    del log.lines[10:]
    log.write_entries()


def tail_cut_with_the_tree(log: LogMaker) -> None:
    del log.lines[10:]
    log.write_entries()
    shutil.rmtree(log.root / "tree")


def genesis_edited(log: LogMaker) -> None:
    log.lines[0] = log.lines[0].replace(b'"actor_type":"SYSTEM"', b'"actor_type":"HUMAN"')
    log.write_entries()


@pytest.mark.parametrize(
    "forge",
    [
        other_change_of_that_number, last_entry_names_older_rules,
        entry_after_the_checkpoint_names_older_rules,
        entry_after_the_checkpoint_by_a_thief, entry_after_the_checkpoint_edited, tail_cut,
        tail_cut_with_the_tree, genesis_edited,
    ],
)  # fmt: skip
def test_what_does_not_hold_gives_no_rules(log: LogMaker, forge: Callable[[LogMaker], None]) -> None:
    forge(log)
    with pytest.raises(AttestlogError) as caught:
        read(log)
    assert not isinstance(caught.value, NotFoundError)


def test_a_change_that_is_elsewhere_is_named(log: LogMaker) -> None:
    log.segment(4).rename(log.root / "away")
    log.segment(4).symlink_to(log.root / "gone")
    with pytest.raises(StorageError) as caught:
        read(log)
    assert not isinstance(caught.value, VerificationError)


def test_an_entry_of_a_newer_attestlog_is_not_passed_over(log: LogMaker) -> None:
    log.append(change("set_colour", {"colour": "red"}))
    log.write_entries()
    with pytest.raises(UnverifiedError, match="set_colour"):
        read(log)


def test_a_bound_change_that_does_not_hold_leaves_the_rules(log: LogMaker, tmp_path: Path) -> None:
    log.append(change("set_policy", {"policy": {"safety_floor": 99}}))
    log.lay_out()
    assert ("entry.change", 12) in codes(verify(log, tmp_path))
    assert read(log) == IN_FORCE


def test_the_last_covered_entry_may_be_a_change_itself(log: LogMaker) -> None:
    for number in (3, 6, 8):
        log.write_checkpoint(number)
        assert read(log) == IN_FORCE


def test_rules_are_followed_on(log: LogMaker) -> None:
    source = FileSource(log.root)
    known, head = read_rules(source), log.head
    log.append(*drafts(range(3)))
    log.rotate(Key(5))
    log.write_entries()
    assert follow_rules(known, source, head, 16).key_ids == [Key(5).public.key_id]
    with pytest.raises(StorageError, match="entry 16 of 17"):
        follow_rules(known, source, head, 17)
