"""Which lines of a log belong to which piece: each to one, and no batch to two."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestlog._internal.core import lines as lines_module
from attestlog._internal.core.lines import Line, begins_batch, whole_batches, whole_lines


@dataclass(frozen=True)
class PartOfList:
    """The lines that begin at offsets [start, stop)."""

    all: list[Line]
    start: int
    stop: int
    segment: int = 0
    source: str = "a list"
    asked: bool = True

    @property
    def is_first(self) -> bool:
        return self.start == 0

    begins_segment = is_first

    @property
    def size_bytes(self) -> int:
        return self.stop - self.start

    def lines(self) -> Iterator[Line]:
        return (line for line in self.all if self.start <= line.offset < self.stop)

    def following(self) -> Iterator[Line]:
        assert self.asked, "nothing begins here, so nothing after it is looked at"
        return (line for line in self.all if line.offset >= self.stop)

    def block(self, more: int) -> None:
        return None

    def place(self, offset: int) -> str:
        return str(offset)

    def archived(self) -> str | None:
        return None


def line(index: int, size: int) -> bytes:
    return b'{"hsm_signature":"30aa:%d/%d:","sequence_number":1}' % (index, size)


BATCHES = st.lists(st.integers(1, 6), min_size=1, max_size=12)


@given(batches=BATCHES, cuts=st.lists(st.integers(0, 3_000), max_size=6))
def test_every_batch_belongs_whole_to_one_piece(batches: list[int], cuts: list[int]) -> None:
    given_lines = list(whole_lines(line(index, size) for size in batches for index in range(size)))
    edges = sorted({0, *cuts, given_lines[-1].stop})
    parts = [list(whole_batches(PartOfList(given_lines, *edge))) for edge in pairwise(edges)]
    assert [item for part in parts for item in part] == given_lines
    assert all(begins_batch(part[0]) for part in parts if part)


def test_where_no_batch_begins_for_too_long_lines_are_cut_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines_module, "BATCH_ENTRIES_MAX", 3)
    given_lines = list(whole_lines([line(0, 9), *(line(index, 9) for index in range(1, 20))]))
    middle = given_lines[6].offset
    first = list(whole_batches(PartOfList(given_lines, 0, middle)))
    second = list(whole_batches(PartOfList(given_lines, middle, given_lines[-1].stop)))
    assert first + second == given_lines
    assert len(first) == 6 + 3


def test_a_piece_in_which_nothing_begins_reads_no_further() -> None:
    """Else an endless line would be read to its end by each of the pieces that it spans."""
    given_lines = list(whole_lines([line(0, 1), b"x" * 1_000, line(0, 1)]))
    inside = given_lines[1].offset + 100
    assert list(whole_batches(PartOfList(given_lines, inside, inside + 100, asked=False))) == []


def test_lines_of_a_list_are_whole_and_follow_each_other() -> None:
    assert list(whole_lines([b"ab", b"", b"c"])) == [Line(0, b"ab", 3), Line(3, b"", 4), Line(4, b"c", 6)]
