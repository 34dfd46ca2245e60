"""erase: a payload is erased, unless a hold or the policy forbids it."""

import json
from pathlib import Path

import pytest
from tests.cli.running import Run, segment

from attestlog._internal.storage.resolve import open_source


def test_erase_says_which_entry_says_so(run: Run, log: Path) -> None:
    result = run("erase", log, 1, "--reason", "asked for", "--actor-id", "officer-1")
    assert (result.code, result.out) == (0, "the payload of entry 1 is erased; entry 4 records it\n")
    assert open_source(log).entry(1).action_payload is None
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


def test_a_request_is_only_written(run: Run, log: Path, tmp_path: Path) -> None:
    path, size = tmp_path / "request.json", open_source(log).size()
    erase = ("erase", log, 1, "--reason", "x", "--actor-id", "y")
    assert run(*erase, "--request-approval", path).code == 0
    assert json.loads(path.read_bytes())["draft"]["actor_id"] == "y"
    assert open_source(log).size() == size
