"""The examples run, and what they leave behind is what they say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from examples import replicas
from examples.replicas import ReplicatedLog

from attestlog._internal.core.entry import Entry
from attestlog._internal.core.report import Verdict
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifying import judge_log
from attestlog.testing import check_log

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agent")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "governed_agent.py"), str(folder)],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "ATTESTLOG_HOME": str(folder / "home")},
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "VERIFIED 16 entries []"
    return folder


@pytest.fixture(scope="module")
def entries(folder: Path) -> list[Entry]:
    return check_log(folder / "audit")


def one(entries: list[Entry], event_type: str, action_type: str, status: str = "SUCCESS") -> Entry:
    found = [
        entry
        for entry in entries
        if (entry.event_type, entry.action_type, entry.execution_status) == (event_type, action_type, status)
    ]
    assert len(found) == 1
    return found[0]


def members(entry: Entry) -> set[str]:
    return set(entry.action_payload or {})


def test_it_is_verified_with_nothing_to_remark(folder: Path) -> None:
    report = judge_log(folder / "audit", remember=False)
    assert (report.verdict, report.findings) == (Verdict.VERIFIED, [])


def test_an_action_an_agent_took(entries: list[Entry]) -> None:
    entry = one(entries, "ACTION", "execute_autonomous_task")
    assert members(entry) == {"task_id", "description", "files_modified", "lines_changed", "risk_score"}
    assert (len(entry.pillars_scores), entry.safety_floor_met) == (4, True)


def test_a_decision_to_leave_something_undone(entries: list[Entry]) -> None:
    entry = one(entries, "DECISION", "skip_social_preview_upload")
    assert members(entry) == {"decision", "reasoning", "alternative_chosen", "impact_assessment"}
    assert entry.event_category == "WARNING"


def test_a_violation_that_was_blocked(entries: list[Entry]) -> None:
    entry = one(entries, "VIOLATION", "safety_floor_breach_attempt", "BLOCKED")
    payload, details = entry.action_payload or {}, entry.error_details or {}
    assert {"attempted_action", "safety_score", "min_required", "blocked"} <= members(entry)
    assert (payload["safety_score"] < payload["min_required"], payload["blocked"]) == (True, True)
    assert details["violation_type"] == "SAFETY_FLOOR_BREACH"
    assert details["violated_invariant"] == "INVARIANT_2_SAFETY_FLOOR"
    assert details["remediation"]
    one(entries, "VIOLATION", "quorum_breach_attempt", "BLOCKED")


def test_a_change_that_three_people_approved(entries: list[Entry]) -> None:
    entry = one(entries, "CHANGE", "attestlog.modify_policy_rule")
    assert members(entry) == {
        "proposal_id",
        "change_description",
        "old_value",
        "new_value",
        "scope",
        "replaces",
    }
    assert [approval["signer"] for approval in entry.received_approvals] == [
        "auditor",
        "community",
        "creator",
    ]
    assert set(entry.required_proofs) == {"safety_floor", "rollback", "k1_state", "pillars"}
    assert (entry.event_category, entry.quorum_met, entry.proofs_valid) == ("CRITICAL", True, True)


def test_a_system_that_started_and_stopped(entries: list[Entry]) -> None:
    boot = one(entries, "BOOT", "system_initialization")
    assert members(boot) == {
        "boot_time", "version", "attribution_verified", "invariants_loaded", "initial_k_state",
    }  # fmt: skip
    assert [proof["type"] for proof in boot.provided_proofs] == ["attribution_intact"]
    assert boot.proofs_valid
    shutdown = one(entries, "SHUTDOWN", "system_shutdown")
    assert shutdown.system_state_snapshot["log_head"]["size"] == shutdown.sequence_number


def test_the_risky_act_was_blocked_approved_done_and_rolled_back(folder: Path, entries: list[Entry]) -> None:
    acts = [entry for entry in entries if entry.action_type == "deploy_release"]
    assert [(str(entry.event_type), str(entry.execution_status)) for entry in acts] == [
        ("DECISION", "BLOCKED"), ("DECISION", "BLOCKED"), ("DECISION", "SUCCESS"), ("ACTION", "SUCCESS"),
        ("DECISION", "SUCCESS"), ("ACTION", "ROLLED_BACK"),
    ]  # fmt: skip
    assert [entry.quorum_met for entry in acts] == [False, False, True, True, True, True]
    assert acts[-1].rollback_executed
    assert (folder / "site" / "version").read_text() == "1.0"


def test_no_key_and_nothing_secret_is_in_the_log(folder: Path) -> None:
    stored = b"".join(open_source(folder / "audit").lines())
    assert b"PRIVATE KEY" not in stored


# --- replicas.py ---

REPLICAS = ["replica-1", "replica-2", "replica-3"]


def test_one_replica_is_killed_one_cut_off_one_lies_and_the_log_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("litestar", reason="needs the extra 'server'")
    monkeypatch.setenv("ATTESTLOG_HOME", str(tmp_path / "home of the user"))
    monkeypatch.setattr(
        replicas, "ACK_TIMEOUT_S", 5.0
    )  # two copies come in this time, on a busy machine, too
    monkeypatch.setattr(replicas, "WAIT_MAX_S", 180.0)
    shown = ReplicatedLog(tmp_path)
    shown.run()
    facts = shown.facts
    assert [item["size"] for item in facts["record"]["replicas"][0]] == [4, 4, 4]
    killed, back = facts["kill"]["replicas"]
    assert (killed[0]["state"], killed[0]["lag"], killed[1]["lag"]) == ("failing", 3, 0)
    assert [(item["state"], item["size"]) for item in back] == [("good", 7)] * 3
    assert (facts["cut_off"]["have"], facts["cut_off"]["need"]) == (2, 3)
    assert [item["size"] for item in facts["cut_off"]["replicas"][-1]] == [8, 8, 8]
    assert facts["lie"]["verdicts"] == ["TAMPERED"]
    assert "TAMPERED" in facts["lie"]["refused"]
    assert facts["rewrite"]["verdicts"] == ["VERIFIED"]  # by itself: this is why others hold copies
    assert set(facts["rewrite"]["refused_by"]) == {*REPLICAS, "witness-1", "witness-2"}
    assert all(facts["rewrite"]["refused_by"].values())
    assert facts["rewrite"]["evidence"] == ["witness-1", "witness-2"]
    assert facts["verify"]["verdicts"] == ["VERIFIED"]
    assert sorted(facts["verify"]["cosigned_by"]) == [*REPLICAS, "witness-1", "witness-2"]
    assert (facts["restore"]["size"], facts["restore"]["is_same"]) == (8, True)
    assert facts["restore"]["verdicts"] == ["VERIFIED"]
    assert not (tmp_path / "home of the user").exists()
    assert left_running(str(tmp_path)) == []


def left_running(folder: str) -> list[int]:
    """Processes whose command names the example's folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if folder.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found
