"""Cases of which some run every time and the others where slow tests run: in CI, by `make test-all`."""

from collections.abc import Iterable
from typing import Any

import pytest

SLOW = pytest.mark.slow


def slow_after(count: int, cases: Iterable[Any]) -> list[Any]:
    """The cases of a parametrised test: the first `count` as they are, the others marked slow."""
    return [case if number < count else _slow(case) for number, case in enumerate(cases)]


def _slow(case: Any) -> Any:
    return pytest.param(*case, marks=SLOW) if isinstance(case, tuple) else pytest.param(case, marks=SLOW)
