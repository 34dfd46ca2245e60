"""show: one entry, as it is stored."""

from pathlib import Path

import pytest
from tests.cli.running import Run, as_objects, stored

from attestlog._internal.core.entry import Entry
from attestlog._internal.storage.resolve import open_source


def test_show_by_number_and_by_id_gives_the_entry(run: Run, log: Path) -> None:
    entry = stored(log)[2]
    for which in ("2", entry["entry_id"], str(entry["entry_id"]).upper()):
        assert run("show", log, which, "--json").objects == as_objects([entry])


def test_show_shows_every_member_once(run: Run, log: Path) -> None:
    result = run("show", log, 1)
    assert (result.code, result.err) == (0, "")
    entry = open_source(log).entry(1)
    in_place = {"sequence_number", "timestamp", "entry_id", "event_type", "event_category", "severity"}
    for name in Entry.__struct_fields__:
        assert result.out.count(f"\n  {name} ") == (name not in in_place)
    assert result.out.startswith(
        f"entry 1  {entry.timestamp}  {entry.entry_id}\nACTION  NORMAL  severity 1\n"
    )
    assert entry.hsm_signature in result.out


@pytest.mark.parametrize("which", ["4", "99999999", "0b7f9a05-7a0c-4f4d-9d0a-6f1ad2f0a1ce"])
def test_show_says_when_there_is_no_such_entry(run: Run, log: Path, which: str) -> None:
    result = run("show", log, which)
    assert (result.code, result.out) == (4, "")
    assert "hint" not in result.err


@pytest.mark.parametrize("which", ["9" * 30, "9" * 16, "not-an-id", "-1", "²", "٥", "05", "1_1", " 1"])
def test_show_refuses_what_is_neither_number_nor_id(run: Run, log: Path, which: str) -> None:
    assert run("show", log, "--", which).code == 2
