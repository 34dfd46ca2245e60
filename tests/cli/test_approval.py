"""Requesting approval, showing a request, signing by PEM and SSH keys, and what is refused."""

from pathlib import Path

import pytest
from tests.cli.approving import DEPLOY, approved, policy_text, proposed, verdict
from tests.cli.running import ORIGIN, Run
from tests.support.ssh import agent, make_key

from attestlog._internal.core.report import Verdict
from attestlog._internal.signers.file import open_file_signer
from attestlog._internal.storage.resolve import open_source


@pytest.fixture
def log(governed_log: Path) -> Path:
    return governed_log


def test_from_a_request_to_an_approved_entry(run: Run, log: Path, keys: dict[str, Path]) -> None:
    request = proposed(run, log)
    shown = run("approval", "show", request)
    assert "deploy_web" in shown.out
    assert '"commit": "372b274"' in shown.out
    approval = approved(run, request, keys["auditor"], "auditor")
    result = run("append", log, "--request", request, "--approval", approval, "--json")
    assert (result.code, result.object["sequence_number"]) == (0, 1)
    entry = open_source(log).entry(1)
    assert entry.quorum_met
    assert entry.action_payload == {"commit": "372b274"}
    assert [item["signer"] for item in entry.received_approvals] == ["auditor"]
    assert verdict(run, log) == Verdict.VERIFIED


def test_options_and_approvals_without_the_request(run: Run, log: Path, keys: dict[str, Path]) -> None:
    """The payload is what is signed: whoever gives the same again needs no request file."""
    approval = approved(run, proposed(run, log), keys["auditor"], "auditor")
    options = ["--event-type", "ACTION", "--action-type", "deploy_web", "--actor-id", "agent-7"]
    given = run("append", log, *options, "--payload", '{"commit": "372b274"}', "--approval", approval)
    assert given.code == 0
    assert open_source(log).entry(1).quorum_met
    other = run("append", log, *options, "--payload", '{"commit": "0"}', "--approval", approval, "--json")
    assert (other.code, other.error["reason"]) == (2, "approval.action_hash")


def test_without_approval_it_is_recorded_as_unapproved(run: Run, log: Path) -> None:
    assert run("append", log, "--request", proposed(run, log)).code == 0
    assert open_source(log).entry(1).quorum_met is False
    assert verdict(run, log) == Verdict.VERIFIED


def test_each_refusal_says_why_and_nothing_is_written(
    run: Run, log: Path, keys: dict[str, Path], tmp_path: Path
) -> None:
    request = proposed(run, log)
    own = proposed(run, log, {**DEPLOY, "actor_id": "auditor"}).rename(tmp_path / "own.json")
    request = proposed(run, log)
    other = proposed(run, log, {**DEPLOY, "action_type": "deploy_api"}).rename(tmp_path / "other.json")
    request = proposed(run, log)
    assert run("init", tmp_path / "another", "--origin", "example.com/another").code == 0
    elsewhere = proposed(run, tmp_path / "another").rename(tmp_path / "elsewhere.json")
    request = proposed(run, log)
    assert run("keys", "generate", tmp_path / "mallory.pem").code == 0
    auditor = keys["auditor"]
    cases = [
        (request, approved(run, elsewhere, auditor, "auditor"), "approval.origin"),
        (request, approved(run, other, auditor, "auditor"), "approval.action_type"),
        (request, approved(run, request, tmp_path / "mallory.pem", "mallory"), "approval.unknown_signer"),
        (request, approved(run, request, tmp_path / "mallory.pem", "auditor"), "approval.unknown_key"),
        (request, approved(run, request, auditor, "auditor", "--meaning", "reject"), "approval.reject"),
        (own, approved(run, own, auditor, "auditor"), "approval.self"),
    ]
    for asked, approval, reason in cases:
        result = run("append", log, "--request", asked, "--approval", approval, "--json")
        assert (result.code, result.error["reason"]) == (2, reason)
        assert result.error["code"] == "verification.approval"
    good = approved(run, request, auditor, "auditor")
    twice = run("append", log, "--request", request, "--approval", good, "--approval", good, "--json")
    assert twice.error["reason"] == "approval.duplicate"
    assert open_source(log).size() == 1


def test_an_expiry_that_is_over_and_a_name_that_is_missing(
    run: Run, log: Path, keys: dict[str, Path]
) -> None:
    request = proposed(run, log)
    for arguments, said in (
        (["--name", "auditor", "--expires", "2020-01-01T00:00:00Z"], "has passed already"),
        (["--name", "auditor", "--expires", "soon"], "is not a time"),
        (["--name", "auditor", "--expires", "0s"], "has passed already"),
        ([], "Missing option '--name'"),
    ):
        result = run("approval", "sign", request, "--key", keys["auditor"], *arguments)
        assert (result.code, said in result.err) == (2, True), result.err


def test_a_request_that_was_changed_is_no_request(run: Run, log: Path, keys: dict[str, Path]) -> None:
    request = proposed(run, log)
    request.write_bytes(request.read_bytes().replace(b"372b274", b"372b275"))
    result = run("approval", "sign", request, "--key", keys["auditor"], "--name", "auditor", "--json")
    assert (result.code, result.error["code"]) == (3, "malformed.approval")


def test_what_is_redacted_and_salted_is_what_is_approved(
    run: Run, tmp_path: Path, keys: dict[str, Path]
) -> None:

    public = {role: open_file_signer(f"file:{path}").public_key.pem for role, path in keys.items()}
    (tmp_path / "policy.toml").write_text(policy_text(public))
    log = tmp_path / "salted"
    made = run("init", log, "--origin", ORIGIN, "--policy", tmp_path / "policy.toml", "--erasable-payloads")
    assert made.code == 0
    request = proposed(run, log, {**DEPLOY, "action_payload": {"commit": "1", "password": "hunter2"}})
    assert b"hunter2" not in request.read_bytes()
    assert b"_salt" in request.read_bytes()
    approval = approved(run, request, keys["auditor"], "auditor")
    assert run("append", log, "--request", request, "--approval", approval).code == 0
    assert open_source(log).entry(1).quorum_met
    assert verdict(run, log) == Verdict.VERIFIED


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_approving_with_a_key_of_openssh(
    kind: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = make_key(tmp_path / "id", kind)
    rules = '[rules.deploys]\naction_types = ["deploy*"]\nrequired_approvals = 1\n'
    (tmp_path / "policy.toml").write_text(policy_text({"ana": public}, rules))
    log = tmp_path / "audit"
    assert run("init", log, "--origin", ORIGIN, "--policy", tmp_path / "policy.toml").code == 0
    request = proposed(run, log)
    by_file = approved(run, request, tmp_path / "id", "ana")
    with agent(tmp_path / "id") as environment:
        monkeypatch.setenv("SSH_AUTH_SOCK", environment["SSH_AUTH_SOCK"])
        (tmp_path / "id").unlink()
        by_agent = approved(run, request, tmp_path / "id.pub", "ana")
    for number, approval in enumerate((by_file, by_agent), 1):
        assert run("append", log, "--request", request, "--approval", approval).code == 0
        assert open_source(log).entry(number).quorum_met
        assert open_source(log).entry(number).received_approvals[0]["algorithm"] == "SSHSIG"
    gone = run("approval", "sign", request, "--key", tmp_path / "id.pub", "--name", "ana", "--json")
    assert (gone.code, gone.error["code"]) == (4, "signer")
    assert verdict(run, log) == Verdict.VERIFIED
