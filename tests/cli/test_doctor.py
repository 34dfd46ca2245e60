"""doctor: what it looks at, and when no log can be kept."""

import json
from pathlib import Path

import pytest
from tests.cli.running import Run
from tests.support.services_of_logs import ORIGIN, served_log

import attestlog
from attestlog._internal.server.tokens import Scope


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


def test_doctor_checks_a_running_service(run: Run, tmp_path: Path, home: Path) -> None:
    attestlog.create(tmp_path / "audit", origin=ORIGIN).close()
    with served_log(tmp_path) as place:
        told = run("doctor", place.socket, "--json")
        assert told.code == 0, told.out
        checks = told.object["checks"]
        assert list(checks) == ["service", "append", "log", "clock"]
        assert checks["log"]["value"] == ORIGIN
        assert {check["state"] for check in checks.values()} <= {"good", "note"}
        # Without a token it still says whether the service can append.
        assert list(run("doctor", place.url, "--json").object["checks"]) == ["service", "append", "log"]
        (tmp_path / "token").write_text(place.tokens.mint("operator", [Scope.READ], ORIGIN))
        asked = run("doctor", place.url, "--token-file", tmp_path / "token", "--json")
        assert list(asked.object["checks"]) == ["service", "append", "log", "clock"]
        assert place.service is not None
        place.service.logs[0].free_bytes_min = 1 << 62
        full = run("doctor", place.socket, "--json")
        assert (full.code, full.object["checks"]["append"]["state"]) == (4, "bad")
    away = run("doctor", place.socket, "--json")
    assert (away.code, away.object["checks"]["service"]["state"]) == (4, "bad")
