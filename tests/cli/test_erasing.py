"""erase and hold: a payload goes, unless a hold or the policy keeps it."""

import json
from pathlib import Path

import pytest
from tests.cli.running import Run, segment

from attestlog._internal.storage.files.reader import LogReader


def test_erase_says_which_entry_says_so(run: Run, log: Path) -> None:
    result = run("erase", log, 1, "--reason", "asked for", "--actor-id", "officer-1")
    assert (result.code, result.out) == (0, "the payload of entry 1 is erased; entry 4 records it\n")
    assert LogReader(log).entry(1).action_payload is None
    report = run("verify", log, "--json").objects[0]
    assert (report["verdict"], report["erased_payloads"]) == ("VERIFIED", 1)
    assert run("show", log, 1).code == 0
    assert "null" in run("export", log).out


def test_erase_as_json(run: Run, log: Path) -> None:
    result = run("erase", log, 2, "--reason", "asked for", "--actor-id", "officer-1", "--json")
    assert result.objects == [{"type": "erasure", "erased": 2, "sequence_number": 4, "reason": "asked for"}]


@pytest.mark.parametrize("number, code", [(0, 2), (99, 4), ("x", 2)])
def test_erase_refuses(run: Run, log: Path, number: object, code: int) -> None:
    before = segment(log).read_bytes()
    assert run("erase", log, number, "--reason", "asked for", "--actor-id", "officer-1").code == code
    assert segment(log).read_bytes() == before


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


@pytest.mark.parametrize("bounds", [("--start", "3", "--stop", "3"), ("--start", "-1")])
def test_a_hold_of_nothing_is_refused(run: Run, log: Path, bounds: tuple[str, ...]) -> None:
    result = run("hold", "add", log, "case-7", "--reason", "x", "--actor-id", "counsel", *bounds)
    assert result.code == 3
    assert LogReader(log).size() == 4


def test_a_request_is_only_written(run: Run, log: Path, tmp_path: Path) -> None:
    size = LogReader(log).size()
    for what, arguments in {
        "erase": ("erase", log, 1, "--reason", "x", "--actor-id", "y"),
        "hold": ("hold", "add", log, "case-7", "--reason", "x", "--actor-id", "y"),
    }.items():
        path = tmp_path / f"{what}.json"
        assert run(*arguments, "--request-approval", path).code == 0
        assert json.loads(path.read_bytes())["draft"]["actor_id"] == "y"
    assert LogReader(log).size() == size
