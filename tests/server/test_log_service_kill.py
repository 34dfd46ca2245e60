"""A service that is killed at each step of a POST: the same key writes exactly one entry."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.server.dying_service import STEPS
from tests.support.repository import ROOT
from tests.support.services_of_logs import ACTION, ORIGIN, serving_log

import attestlog
from attestlog.errors import StorageError, UncertainCommitError

DYING = str(Path(__file__).with_name("dying_service.py"))
IS_LONG = int(os.environ.get("ATTESTLOG_FAULT_ROUNDS", "4")) > 4
TRIED = list(STEPS)[:: 1 if IS_LONG else 3]
"""All of them take minutes: `make faults`."""


@pytest.mark.slow
@pytest.mark.parametrize("drafts", [3])
@pytest.mark.parametrize("side", ["-", "+"])
@pytest.mark.parametrize("step", TRIED)
def test_one_entry_whatever_step_it_is_killed_at(
    tmp_path: Path, own_home: Path, step: str, side: str, drafts: int
) -> None:
    attestlog.create(tmp_path / "audit", origin=ORIGIN).close()
    log = attestlog.connect(f"unix:{tmp_path}/log.sock", timeout_s=2)
    with serving_log(tmp_path, DYING, str(tmp_path), step, side) as (_, process):
        # The connection broke: what became of it is not known, and cannot be found out while nobody is there.
        with pytest.raises(UncertainCommitError) as caught:
            log.append_many([ACTION] * drafts, idempotency_key="k")
        assert caught.value.idempotency_key == "k"
        assert process.wait(60) == -signal.SIGKILL
    log.close()
    with serving_log(tmp_path) as (place, process):
        again = attestlog.connect(place.socket)
        receipts = [again.append_many([ACTION] * drafts, idempotency_key="k") for _ in range(2)]
        assert receipts[0] == receipts[1]
        again.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    stored = [entry.environment.get("attestlog_key") for entry in attestlog.query_log(tmp_path / "audit")]
    assert stored == ["k"] * drafts + [None]
    report = attestlog.verify(tmp_path / "audit", remember=False)
    assert (report.ok, report.size) == (True, drafts + 1)
    assert (tmp_path / "audit" / "checkpoint").read_text().splitlines()[1] == str(drafts + 1)


def test_an_append_is_settled_by_the_service_that_is_started_again(tmp_path: Path, own_home: Path) -> None:
    attestlog.create(tmp_path / "audit", origin=ORIGIN).close()
    with attestlog.connect(f"unix:{tmp_path}/log.sock", timeout_s=60) as log:
        found: list[attestlog.Receipt] = []
        with serving_log(tmp_path, DYING, str(tmp_path), "written", "+") as (_, process):
            thread = threading.Thread(target=lambda: found.append(log.append(ACTION)))
            thread.start()
            assert process.wait(60) == -signal.SIGKILL
        with serving_log(tmp_path):
            thread.join()
        assert [receipt.sequence_number for receipt in found] == [1]


def test_an_act_does_not_begin_while_the_service_is_away(tmp_path: Path, own_home: Path) -> None:
    attestlog.create(tmp_path / "audit", origin=ORIGIN).close()
    log = attestlog.connect(f"unix:{tmp_path}/log.sock", timeout_s=60)
    done = []

    def act() -> None:
        with log.guard(action_type="deploy", actor_id="agent-7"):
            done.append(1)

    with pytest.raises(StorageError):
        act()
    with serving_log(tmp_path) as (_, process):
        act()
        process.kill()
        process.wait()
    log._asker._timeout_s = 1  # nobody will answer
    with pytest.raises(StorageError):
        act()
    assert done == [1]
    log.close()


CLIENT = """
import sys, attestlog
with attestlog.connect(sys.argv[1]) as log:
    print("ready", flush=True)
    sys.stdin.read()
    for number in range(20):
        log.action("work", actor_id=sys.argv[2], action_payload={"n": number})
"""


@pytest.mark.slow
def test_sixteen_processes_share_flushes(tmp_path: Path, own_home: Path) -> None:
    attestlog.create(tmp_path / "audit", origin=ORIGIN).close()
    with serving_log(tmp_path) as (place, _):
        clients = [
            subprocess.Popen(
                [sys.executable, "-c", CLIENT, place.socket, f"agent-{number}"],
                env=dict(os.environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for number in range(16)
        ]
        # They begin together, or each would be done before the next is up.
        for client in clients:
            assert client.stdout is not None
            assert client.stdout.readline() == b"ready\n"
        for client in clients:
            assert client.stdin is not None
            client.stdin.close()
        assert [client.wait(600) for client in clients] == [0] * 16
        for client in clients:
            assert client.stdout is not None
            client.stdout.close()
    entries = list(attestlog.query_log(tmp_path / "audit", newest_first=False))
    assert len(entries) == 1 + 16 * 20
    for number in range(16):
        own = [entry.action_payload for entry in entries if entry.actor_id == f"agent-{number}"]
        assert own == [{"n": count} for count in range(20)]
    # One flush a batch: of entries with one timestamp.
    assert len({entry.timestamp for entry in entries}) < len(entries)
    assert attestlog.verify(tmp_path / "audit", remember=False).ok


@pytest.mark.slow
def test_no_request_that_the_document_allows_is_a_server_error(tmp_path: Path, own_home: Path) -> None:
    fuzzer = ROOT / ".venv-services/bin/schemathesis"
    if not fuzzer.exists():
        assert "CI" not in os.environ, "schemathesis is not installed"
        pytest.skip("schemathesis is not installed: make services")
    attestlog.create(tmp_path / "audit", origin=ORIGIN).close()
    with serving_log(tmp_path) as (place, _):
        from attestlog._internal.server.tokens import Scope

        header = place.bearer("fuzzer", Scope.ADMIN)["Authorization"]
        done = subprocess.run(
            [fuzzer, "run", f"{place.url}/openapi.json", "-H", f"Authorization: {header}",
             "--exclude-path", "/v1/tail", "--checks", "not_a_server_error",
             "--max-examples", "30" if IS_LONG else "8",
             "--seed", "1", "--request-timeout", "20", "--no-color"],
            capture_output=True, text=True, check=False, timeout=900, cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + json.dumps(done.stderr[-500:])
