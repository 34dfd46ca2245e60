"""doctor: what it looks at, and when no log can be kept."""

import json
from pathlib import Path

import pytest
from tests.cli.running import Run


def test_doctor_shows_what_there_is(run: Run, tmp_path: Path, home: Path) -> None:
    result = run("doctor", tmp_path, "--json")
    assert result.code == 0
    found = result.object
    assert (found["type"], found["directory"]) == ("doctor", str(tmp_path))
    checks = found["checks"]
    assert set(checks) == {
        "attestlog", "python", "cryptography", "openssl", "native", "cores", "filesystem", "space", "fsync",
        "clock", "extras", "config", "keys", "state", "cache",
    }  # fmt: skip
    assert checks["fsync"]["median_s"] > 0
    assert checks["keys"]["path"] == str(home / "keys")
    assert checks["state"]["path"] == str(home / "state")
    assert list(tmp_path.iterdir()) == []
    text = run("doctor", tmp_path)
    assert [line.split()[0] for line in text.out.splitlines()] == list(checks)


def test_doctor_says_where_no_log_can_be_kept(run: Run, tmp_path: Path) -> None:
    result = run("doctor", tmp_path / "nowhere", "--json")
    assert result.code == 4
    states = {name: check["state"] for name, check in result.object["checks"].items()}
    assert (states["space"], states["fsync"], states["python"]) == ("bad", "bad", "good")


def test_doctor_refuses_network_file_systems_by_name(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("1 1 0:1 / / rw - nfs4 server:/export rw\n")
    monkeypatch.setattr("attestlog._internal.disk._MOUNTS", mounts)
    result = run("doctor", tmp_path, "--json")
    assert result.code == 4
    assert "nfs4" in json.dumps(result.object["checks"]["filesystem"])
