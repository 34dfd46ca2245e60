"""Tests of witnesses open many of them, to see what is remembered: each is closed after its test."""

from collections.abc import Iterator

import pytest
from tests.support.closing import closed_at_the_end

from attestlog._internal.witness.state import WitnessState


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    with closed_at_the_end(WitnessState):
        yield
