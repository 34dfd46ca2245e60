"""hold: added, listed, released."""

import json
from pathlib import Path

import pytest
from tests.cli.running import Run

from attestlog._internal.storage.resolve import open_source


def test_a_hold_is_added_listed_and_released(run: Run, log: Path) -> None:
    assert run("hold", "list", log).out == "no legal hold is in force\n"
    who = ("--reason", "litigation", "--actor-id", "counsel")
    assert run("hold", "add", log, "case-7", *who, "--start", 1, "--stop", 3).out == (
        "case-7  entries 1 to 2  litigation\n"
    )
    assert run("hold", "add", log, "case-7", *who).code == 2
    listed = run("hold", "list", log, "--json").objects
    assert listed == [{"type": "hold", "name": "case-7", "start": 1, "stop": 3, "reason": "litigation"}]
    refused = run("erase", log, 2, "--reason", "asked for", "--actor-id", "officer-1")
    assert refused.code == 2
    assert "legal hold: case-7" in refused.err
    assert "attestlog hold list" in refused.err
    assert run("hold", "release", log, "case-7", *who).out == "case-7 is released\n"
    assert run("erase", log, 2, "--reason", "asked for", "--actor-id", "officer-1").code == 0
    assert run("verify", log).code == 0


@pytest.mark.parametrize("bounds, code", [(("--start", "3", "--stop", "3"), 3), (("--start", "-1"), 2)])
def test_a_hold_of_nothing_is_refused(run: Run, log: Path, bounds: tuple[str, ...], code: int) -> None:
    result = run("hold", "add", log, "case-7", "--reason", "x", "--actor-id", "counsel", *bounds)
    assert result.code == code
    assert open_source(log).size() == 4


def test_a_request_is_only_written(run: Run, log: Path, tmp_path: Path) -> None:
    path, size = tmp_path / "request.json", open_source(log).size()
    hold = ("hold", "add", log, "case-7", "--reason", "x", "--actor-id", "y")
    assert run(*hold, "--request-approval", path, "--json").object["path"] == str(path)
    assert json.loads(path.read_bytes())["draft"]["actor_id"] == "y"
    assert open_source(log).size() == size
