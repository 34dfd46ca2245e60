"""import: a legacy JSON-lines log into a log."""

from pathlib import Path

import pytest
from tests.cli.running import VECTORS, Run

from attestlog._internal.storage.resolve import open_source


@pytest.mark.skipif(not VECTORS, reason="ATTESTLOG_VECTORS does not name the folder of vectors")
def test_importing_a_legacy_log(run: Run, log: Path) -> None:
    folder = Path(VECTORS or "") / "legacy"
    good = folder / "good-25.jsonl"
    imported = run("import", log, good, "--actor-id", "me", "--json").object
    assert (imported["type"], imported["lines"], imported["appended"]) == ("import", 25, 25)
    assert imported["sequence_number"] == 29
    assert open_source(log).entry(29).actor_id == "me"
    again = run("import", log, good)
    assert (again.code, again.out) == (2, "")
    refused = run("import", log, folder / "bad-swapped-3-4.jsonl")
    assert (refused.code, refused.out) == (1, "")
    assert "--allow-damaged" in refused.err
    torn = run("import", log, folder / "bad-torn-last-line.jsonl", "--json")
    assert (torn.code, torn.error["report"]["verdict"]) == (6, "INCOMPLETE")
    assert run("verify", log).code == 0


@pytest.mark.skipif(not VECTORS, reason="ATTESTLOG_VECTORS does not name the folder of vectors")
def test_importing_a_damaged_legacy_log_says_so(run: Run, log: Path) -> None:
    damaged = Path(VECTORS or "") / "legacy" / "bad-edited-payload-7.jsonl"
    result = run("import", log, damaged, "--allow-damaged")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"TAMPERED  {damaged}: 25 lines, 25 of them new here\n")
    assert run("verify", log).code == 0


def test_importing_what_is_not_there(run: Run, log: Path) -> None:
    result = run("import", log, "nowhere.jsonl")
    assert (result.code, result.out) == (4, "")
    assert "nowhere.jsonl" in result.err
