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


ERASE = ("--reason", "too old", "--actor-id", "officer-1")


def test_a_range_is_erased_by_one_entry(run: Run, log: Path) -> None:
    result = run("erase", log, "--start", 1, "--stop", 4, "--action-type", "*", *ERASE)
    assert (result.code, result.out) == (
        0, "3 payloads are erased, of entries 1 to 3; entry 4 records it\n"
    )  # fmt: skip
    report = run("verify", log, "--json").objects[0]
    assert (report["verdict"], report["erased_payloads"]) == ("VERIFIED", 3)


def test_a_range_as_json(run: Run, log: Path) -> None:
    result = run("erase", log, "--older-than", "0s", "--action-type", "execute_*", *ERASE, "--json")
    assert result.objects == [
        {"type": "erasure", "start": 1, "stop": 4, "action_types": ["execute_*"], "count": 3,
         "sequence_number": 4, "reason": "too old"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments, code",
    [
        ((), 2), ((1, "--start", 1), 2), ((1, "--action-type", "*"), 2), (("--start", 1), 2),
        (("--stop", 2), 2), (("--older-than", "1d"), 2), (("--older-than", "1d", "--action-type", "*"), 2),
        (("--older-than", "soon", "--action-type", "*"), 2), (("--action-type", "*", "--start", 0), 2),
        (("--action-type", "deploy"), 2), (("--action-type", "*", "--start", 1, "--stop", 99), 4),
    ],
)  # fmt: skip
def test_what_no_range_is_is_refused(run: Run, log: Path, arguments: tuple[object, ...], code: int) -> None:
    before = segment(log).read_bytes()
    result = run("erase", log, *arguments, *ERASE)
    assert result.code == code, result.err
    assert segment(log).read_bytes() == before


def test_approval_is_asked_for_one_range(
    run: Run, governed_log: Path, keys: dict[str, Path], tmp_path: Path
) -> None:
    request, size = tmp_path / "request.json", open_source(governed_log).size()
    stretch = ("--action-type", "*", "--start", 1, "--request-approval", request)
    assert run("erase", governed_log, "--older-than", "1d", *stretch[:2], *stretch[4:], *ERASE).code == 2
    assert run("append", governed_log, "--event-type", "ACTION", "--action-type", "x", "--actor-id", "a",
        "--payload", "{}").code == 0  # fmt: skip
    assert run("erase", governed_log, *stretch, *ERASE).code == 0
    payload = json.loads(request.read_bytes())["draft"]["action_payload"]
    assert (payload["start"], payload["stop"], payload["count"]) == (1, 2, 1)
    assert open_source(governed_log).size() == size + 1
