"""Whether a native core is used: of which formats it is, whether it passes its test, who leaves it out."""

import pytest
from tests.support.native import Gullible, rules_of

from attestlog._internal.core.lines import whole_lines
from attestlog._internal.judging.scan import scan
from attestlog._internal.native import loading
from attestlog._internal.native.selftest import BAD, complaint, line_with


def test_a_core_that_fails_its_test_is_not_used() -> None:
    found = loading._examine(Gullible())  # type: ignore[arg-type]
    assert found.core is None
    assert "failed its test" in found.what
    assert complaint(Gullible())


def test_one_of_other_formats_is_not_used() -> None:
    class Newer(Gullible):
        FORMAT = loading.FORMAT + 1

    found = loading._examine(Newer())  # type: ignore[arg-type]
    assert found.core is None
    assert f"of format {loading.FORMAT + 1}" in found.what


def test_the_environment_leaves_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(loading.PURE, "1")
    assert loading.loaded() == (None, "left out: ATTESTLOG_PURE=1", True)


def test_the_lines_that_must_not_be_accepted_are_wrong() -> None:
    for changes in BAD:
        told = scan(rules_of(), whole_lines([line_with(**changes)]))
        is_unread = told.assumed is None  # or it is of a batch, which ends before it is whole
        batch = told.state.batch is not None
        assert is_unread or batch or told.findings or told.wrong_pointers, changes
