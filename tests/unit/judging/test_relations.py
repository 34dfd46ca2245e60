"""What entries say of others, gathered from pieces that follow each other."""

import pytest

from attestlog._internal.judging import relations as module
from attestlog._internal.judging.relations import Relations
from attestlog._internal.judging.scan import Scanned, State


def piece(*wanted: tuple[int, str], last_ids: tuple[str, ...] = ()) -> Scanned:
    scanned = Scanned(State())
    scanned.wanted.extend(wanted)
    scanned.last_ids = list(last_ids)
    return scanned


def test_what_is_looked_up_is_bounded_and_each_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WANTED_MAX", 2)
    gathered = Relations()
    assert list(gathered.add(piece((1, "a"), (2, "b"), (3, "a"), (4, "c"), (5, "d")))) == []
    found = list(gathered.settle_dependencies(lambda wanted: [set()]))
    assert [(item.code, item.sequence_number, item.found) for item in found] == [
        ("entry.dependency", 1, "a"), ("entry.dependency", 2, "b"), ("entry.dependencies_unread", None, 2),
    ]  # fmt: skip


def test_what_the_piece_before_ended_with_need_not_be_looked_up() -> None:
    gathered = Relations()
    assert list(gathered.add(piece(last_ids=("a",)))) == []
    assert list(gathered.add(piece((3, "a"), (4, "b"), last_ids=("b",)))) == []
    asked: list[frozenset[str]] = []

    def search(wanted: frozenset[str]) -> list[set[str]]:
        asked.append(wanted)
        return [set(wanted)]

    assert (list(gathered.settle_dependencies(search)), asked) == ([], [frozenset({"b"})])
