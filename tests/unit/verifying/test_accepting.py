"""The watch on a native core: what it is asked, and what happens when it accepts what it must not.

The core here is made up: it says of any line that it is right. The true one is tried in `tests/native`.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.native import BytesPiece, Gullible, rules_of

from attestlog._internal.core.report import Verdict
from attestlog._internal.native import loading
from attestlog._internal.native.selftest import line_with
from attestlog._internal.verifying.accepting import Accepting


@pytest.fixture(autouse=True)
def _left_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(loading.PURE, raising=False)
    before = list(loading._left_out)
    yield
    loading._left_out[:] = before


def accepted(line: bytes, core: Any, sampled: int = 1) -> tuple[bool, list[tuple[str, Verdict, Any]]]:
    """Whether the line was accepted, and what was found of the core."""
    accepting = Accepting(core, sampled)
    taken = accepting.scan((rules_of(), BytesPiece(line + b"\n")))
    return taken is not None, [(item.code, item.verdict, item.found) for item in accepting.disagreements()]


def test_what_both_accept_is_taken() -> None:
    assert accepted(line_with(), Gullible()) == (True, [])


@pytest.mark.parametrize("changes", [{"composite_score": b"8.5"}, {"environment": b"{}"}])
def test_a_core_that_accepts_what_it_must_not_is_left_out(changes: dict[str, bytes]) -> None:
    line = line_with(**changes)
    assert accepted(line, Gullible()) == (False, [("verifier.disagreement", Verdict.UNKNOWN, line.decode())])
    assert loading.core() is None
    assert "which the reference does not" in loading.loaded().what


def test_another_leaf_hash_is_a_disagreement() -> None:
    is_taken, found = accepted(line_with(), Gullible(leaf=bytes(32)))
    assert not is_taken
    assert [code for code, _, _ in found] == ["verifier.disagreement"]


def test_a_line_that_is_not_drawn_is_not_looked_at() -> None:
    assert accepted(line_with(composite_score=b"8.5"), Gullible(), sampled=1 << 60) == (True, [])


def test_one_that_disagreed_is_not_asked_again() -> None:
    accepting = Accepting(Gullible(), 1)  # type: ignore[arg-type]
    wrong, right = (BytesPiece(line + b"\n") for line in (line_with(composite_score=b"8.5"), line_with()))
    assert accepting.scan((rules_of(), wrong)) is None
    assert accepting.scan((rules_of(), right)) is None
