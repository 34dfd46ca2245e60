"""The demo with replicas and witnesses: what each of them did, and that nothing is left running."""

import os
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import Run

REPLICAS = ["replica-1", "replica-2", "replica-3"]


def test_one_is_killed_one_cut_off_one_lies_and_the_log_survives(
    shell: Run, tmp_path: Path, home: Path
) -> None:
    pytest.importorskip("litestar", reason="needs the extra 'server'")
    result = shell("demo", "--replicas", "--json", TMPDIR=str(tmp_path), ATTESTLOG_HOME="")
    assert (result.code, result.err) == (0, "")
    assert not home.exists()
    told: dict[str, Any] = {step["step"]: step for step in result.object["steps"]}
    assert [item["size"] for item in told["record"]["replicas"][0]] == [4, 4, 4]
    killed, back = told["kill"]["replicas"]
    assert (killed[0]["state"], killed[0]["lag"], killed[1]["lag"]) == ("failing", 3, 0)
    assert [(item["state"], item["size"]) for item in back] == [("good", 7)] * 3
    assert (told["cut_off"]["have"], told["cut_off"]["need"]) == (2, 3)
    assert [item["size"] for item in told["cut_off"]["replicas"][-1]] == [8, 8, 8]
    assert told["lie"]["verdicts"] == ["TAMPERED"]
    assert "TAMPERED" in told["lie"]["refused"]
    assert told["rewrite"]["verdicts"] == ["VERIFIED"]  # by itself: this is why others hold copies
    assert set(told["rewrite"]["refused_by"]) == {*REPLICAS, "witness-1", "witness-2"}
    assert all(told["rewrite"]["refused_by"].values())
    assert told["rewrite"]["evidence"] == REPLICAS
    assert told["verify"]["verdicts"] == ["VERIFIED"]
    assert sorted(told["verify"]["cosigned_by"]) == [*REPLICAS, "witness-1", "witness-2"]
    assert (told["restore"]["size"], told["restore"]["is_same"]) == (8, True)
    assert told["restore"]["verdicts"] == ["VERIFIED"]
    assert left_running(str(result.object["folder"])) == []


def left_running(folder: str) -> list[int]:
    """Processes whose command names the demo's folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if folder.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found
