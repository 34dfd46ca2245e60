"""archive: where segments are, moved and brought back."""

from pathlib import Path

import pytest
from tests.cli.running import ORIGIN, Run
from tests.support.logs import draft

from attestlog._internal.core.genesis import Settings
from attestlog._internal.log import Log


@pytest.fixture
def cold(tmp_path: Path, home: Path) -> Path:
    """A log of several segments, and beside it a folder for what is to be archived."""
    with Log.create(tmp_path / "audit", origin=ORIGIN, settings=Settings(segment_entries=4)) as log:
        log.append_many([draft(number) for number in range(20)])
    (tmp_path / "cold").mkdir()
    return tmp_path / "cold"


def test_archive_verify_and_restore(run: Run, cold: Path) -> None:
    log = cold.with_name("audit")
    moved = run("archive", "move", log, cold, "--keep", 3, "--compress", "--json")
    assert moved.code == 0
    kept, gone = "here", "compressed"
    assert [item["state"] for item in moved.objects] == [kept, gone, gone, kept, kept, kept]
    assert moved.objects[1]["path"] == str(cold / "000000000004.jsonl.gz")
    shown = run("archive", "status", log)
    assert shown.out.splitlines()[0].split() == ["first", "entry", "state", "path"]
    assert len(shown.out.splitlines()) == 7
    verdict = run("verify", log)
    assert verdict.code == 4
    assert "entries 4 to 7 are not here" in verdict.out
    assert "archive restore LOG" in verdict.err
    assert run("show", log, 5).code == 4
    repair = run("repair", log, "--yes")
    assert (repair.code, repair.out.partition(";")[0]) == (4, "Archived segments are not here")
    assert "archive restore LOG" in repair.err
    assert run("archive", "restore", log, "--entry", 5, "--json").objects[1]["state"] == kept
    assert run("archive", "restore", log).code == 0
    assert run("verify", log).code == 0


def test_at_least_two_segments_stay(run: Run, cold: Path) -> None:
    assert run("archive", "move", cold.with_name("audit"), cold, "--keep", 1).code == 2
    assert list(cold.iterdir()) == []


def test_a_segment_that_is_nowhere(run: Run, cold: Path) -> None:
    log = cold.with_name("audit")
    run("archive", "move", log, cold)
    for path in cold.iterdir():
        path.unlink()
    assert "absent" in run("archive", "status", log).out
    failed = run("archive", "restore", log, "--json")
    assert (failed.code, failed.error["sequence_number"]) == (4, 4)
