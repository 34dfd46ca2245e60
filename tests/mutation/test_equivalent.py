"""What is not tried is there, and would be."""

from functools import cache

import pytest
from tests.mutation.run import Equivalent, equivalents, mutants

ROWS = equivalents()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.module}: {row.what}")
def test_a_change_that_is_not_tried_could_be(row: Equivalent) -> None:
    assert (row.text, row.what) in changes_of(row.module)


@cache
def changes_of(module: str) -> set[tuple[str, str]]:
    return {(item.text, item.what) for item in mutants(module)}


def test_there_are_some() -> None:
    assert len(ROWS) > 2
