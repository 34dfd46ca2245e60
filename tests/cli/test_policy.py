"""policy: shown, checked, set and modified, by the approvals that the current one requires."""

from pathlib import Path

import pytest
from tests.cli.approving import approved, policy_text, verdict
from tests.cli.running import ORIGIN, Run

from attestlog._internal.core.report import Verdict
from attestlog._internal.signers.file import open_file_signer


@pytest.fixture
def log(governed_log: Path) -> Path:
    return governed_log


def test_what_is_shown_is_read_again(run: Run, log: Path, tmp_path: Path) -> None:
    shown = run("policy", "show", log)
    assert (shown.code, shown.err) == (0, "")
    (tmp_path / "shown.toml").write_text(shown.out)
    checked = run("policy", "check", tmp_path / "shown.toml", "--json").object
    in_force = run("policy", "show", log, "--json").object
    assert checked["policy"] == {name: value for name, value in in_force.items() if name != "type"}
    assert (checked["rules"], checked["approvers"], checked["actors"]) == (2, 3, 0)
    assert run("policy", "check", tmp_path / "shown.toml").out == "a policy: 2 rules, 3 approvers, 0 actors\n"


def test_a_bad_policy_is_said_with_its_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("safety_floor = 7\n\n[rules.deploy]\nrequired_approvals = 2\n")
    for arguments in (
        ["policy", "check", file],
        ["init", tmp_path / "audit", "--origin", ORIGIN, "--policy", file],
    ):
        result = run(*arguments)
        assert result.code == 3
        assert (
            f"{file}: policy, line 4: rules.deploy.required_approvals: 2 approvals are asked for"
            in result.err
        )
    assert not (tmp_path / "audit").exists()
    assert run("policy", "check", tmp_path / "none.toml").code == 4


def test_the_policy_is_modified_by_three_approvals(run: Run, log: Path, keys: dict[str, Path]) -> None:
    change = ["policy", "modify", log, "safety_floor", "6.5", "--actor-id", "ana", "--proposal-id", "P-7"]
    refused = run(*change, "--json")
    assert (refused.code, refused.error["code"]) == (2, "verification.rule_change")
    assert "has not the quorum of the policy in force" in refused.error["message"]
    assert "0 of the 3 approvals" in refused.error["hint"]
    request = log.parent / "request.json"
    assert run(*change, "--request-approval", request).code == 0
    approvals = [approved(run, request, key, role) for role, key in keys.items()]
    files = [word for approval in approvals for word in ("--approval", str(approval))]
    assert run(*change, *files).code == 0
    assert run("policy", "show", log, "--json").object["safety_floor"] == 6.5
    assert verdict(run, log) == Verdict.VERIFIED
    stale = run(*change, *files, "--json")  # what was approved was a change from 7
    assert (stale.code, stale.error["reason"]) == (2, "approval.action_hash")


def test_a_whole_policy_is_set_by_three_approvals(run: Run, log: Path, keys: dict[str, Path]) -> None:
    file, request = log.parent / "policy.toml", log.parent / "request.json"
    file.write_text(file.read_text().replace("required_approvals = 3", "required_approvals = 2"))
    change = ["policy", "set", log, file, "--actor-id", "ana"]
    assert run(*change, "--request-approval", request).code == 0
    approvals = [approved(run, request, key, role) for role, key in keys.items()]
    appended = run("append", log, "--request", request, *[w for a in approvals for w in ("--approval", a)])
    assert appended.code == 0, appended.err
    assert run("policy", "show", log, "--json").object["rules"]["changes"]["required_approvals"] == 2
    assert verdict(run, log) == Verdict.VERIFIED


def test_a_policy_anybody_can_change_is_said_to_be_one(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "audit"
    assert run("init", log, "--origin", ORIGIN).code == 0
    result = run("policy", "show", log)
    assert result.code == 0
    assert "anyone who can append can change it" in result.err
    assert (
        run("policy", "modify", log, "safety_floor", "8", "--actor-id", "a", "--proposal-id", "P").code == 0
    )
    assert run("policy", "show", log, "--json").object["safety_floor"] == 8


def test_an_approver_with_the_key_of_the_log_is_told(run: Run, tmp_path: Path, keys: dict[str, Path]) -> None:
    public = {role: open_file_signer(f"file:{path}").public_key.pem for role, path in keys.items()}
    (tmp_path / "policy.toml").write_text(policy_text(public))
    log = tmp_path / "own"
    signer = f"file:{keys['auditor']}"
    made = run("init", log, "--origin", ORIGIN, "--policy", tmp_path / "policy.toml", "--signer", signer)
    assert made.code == 0
    assert "approver 'auditor' has the log's signing key" in run("policy", "show", log).err


def test_what_cannot_be_modified(run: Run, log: Path) -> None:
    for scope, value, said in (
        ("sandbox", "1", "is not a member of a policy"),
        ("safety_floor", "11", "expected `int` <= 10"),
        ("safety_floor", "x", "value: "),
    ):
        result = run("policy", "modify", log, scope, value, "--actor-id", "a", "--proposal-id", "P")
        assert (result.code, said in result.err) == (2, True), result.err
