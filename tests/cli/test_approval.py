"""Requesting approval, showing a request, signing by PEM and SSH keys, and what is refused."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.cli.approving import DEPLOY, approved, policy_text, proposed, verdict
from tests.cli.running import ORIGIN, Run
from tests.support.ssh import agent, make_key
from tests.support.tools import tool

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
    namesake = tmp_path / "folder" / "namesake"
    assert run("init", namesake, "--origin", ORIGIN).code == 0
    same_origin = proposed(run, namesake).rename(tmp_path / "same-origin.json")
    by_other = proposed(run, log, {**DEPLOY, "actor_id": "agent-8"}).rename(tmp_path / "by-other.json")
    decided = proposed(run, log, {**DEPLOY, "event_type": "CHANGE"}).rename(tmp_path / "decided.json")
    request = proposed(run, log)
    cases = [
        (request, approved(run, elsewhere, auditor, "auditor"), "approval.log"),
        (request, approved(run, same_origin, auditor, "auditor"), "approval.log"),
        (request, approved(run, by_other, auditor, "auditor"), "approval.actor"),
        (request, approved(run, decided, auditor, "auditor"), "approval.event_type"),
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
        (["--name", "auditor", "--expires", "31d"], "is more than 30 days from now"),
        (["--name", "auditor", "--expires", "4000w"], "is more than 30 days from now"),
        ([], "--name goes with --key"),
    ):
        result = run("approval", "sign", request, "--key", keys["auditor"], *arguments)
        assert (result.code, said in result.err) == (2, True), result.err


def sign_words(request: Path, key: Path) -> list[object]:
    return ["approval", "sign", request, "--key", key, "--name", "auditor"]


def test_signing_shows_what_is_signed_and_apart_what_is_not(
    run: Run, log: Path, keys: dict[str, Path], tmp_path: Path
) -> None:
    members = {
        **DEPLOY, "pillars_scores": {"an_toan": 9}, "system_state_snapshot": {"queue": 0},
        "conflicts_detected": ["x"], "provided_proofs": [{"type": "k1_state", "valid": False}],
    }  # fmt: skip
    request = proposed(run, log, members)
    asked = json.loads(request.read_bytes())
    words = [*sign_words(request, keys["auditor"]), "--expect", asked["action_hash"][:8], "--log", log]
    result = run(*words, "-o", tmp_path / "a.json")
    assert result.code == 0
    approval = json.loads((tmp_path / "a.json").read_bytes())
    signed, _, rest = result.err.partition("\nnot signed\n")
    for member in (
        "action_hash", "action_type", "actor_id", "event_type", "expires", "log", "meaning", "origin",
        "request_id", "signer", "timestamp",
    ):  # fmt: skip
        assert f"  {member:<15} {approval[member]}\n" in signed, member
    assert '"an_toan": 9' in signed
    assert '"commit": "372b274"' in signed
    for member in ("conflicts_detected", "provided_proofs", "system_state_snapshot"):
        assert member in rest
        assert member not in signed
    assert "compared" not in rest


def test_nothing_is_signed_unless_the_approver_names_what_they_looked_at(
    run: Run, shell: Run, log: Path, keys: dict[str, Path], tmp_path: Path
) -> None:
    request = proposed(run, log)
    action_hash, words = json.loads(request.read_bytes())["action_hash"], sign_words(request, keys["auditor"])
    for more, said in (
        ([], "nobody to ask"),
        (["--expect", action_hash[:7]], "nothing was signed"),
        (["--expect", "0" * 8], "nothing was signed"),
        (["--expect", action_hash + "0"], "nothing was signed"),
        (["--expect", ""], "nothing was signed"),
    ):
        result = run(*words, *more, "-o", tmp_path / "a.json")
        assert (result.code, said in result.err) == (2, True), result.err
        assert not (tmp_path / "a.json").exists()
    piped = shell("approval", "sign", "-", *words[3:], "--expect", action_hash, stdin=request.read_bytes())
    assert piped.code == 0
    assert json.loads(piped.out)["action_hash"] == action_hash
    assert "log and origin were not compared" in piped.err


def test_a_request_for_another_log_than_the_one_named_is_not_signed(
    run: Run, log: Path, keys: dict[str, Path], tmp_path: Path
) -> None:
    namesake = tmp_path / "namesake"
    assert run("init", namesake, "--origin", ORIGIN).code == 0
    request = proposed(run, log)
    expected = ["--expect", json.loads(request.read_bytes())["action_hash"]]
    refused = run(*sign_words(request, keys["auditor"]), *expected, "--log", namesake)
    assert (refused.code, refused.out) == (2, "")
    assert "the request is for" in refused.err
    gone = run(*sign_words(request, keys["auditor"]), *expected, "--log", tmp_path / "none")
    assert (gone.code, gone.out) == (4, "")


def test_nothing_in_a_request_can_look_like_another_line_of_it(
    run: Run, log: Path, keys: dict[str, Path]
) -> None:
    """Line separators of all kinds, terminal controls and characters that turn the direction of text."""
    nasty = "a\nb\u2028not signed\u2029c\x0bd\x85e\x1b[2J\u202egnp.exe\u2066\u200b"
    payload = {"text": nasty, nasty: 1}
    request = proposed(run, log, {**DEPLOY, "action_payload": payload, "conflicts_detected": [nasty]})
    for result in (
        run("approval", "show", request),
        run(*sign_words(request, keys["auditor"]), "--expect", "0" * 8),
    ):
        text = result.out or result.err
        assert text.isascii()
        lines = text.split("\n")
        assert all(line.isprintable() for line in lines)
        assert lines.count("not signed") == 1
        assert "\\u202egnp.exe" in text


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_the_message_is_signed_by_ssh_keygen_and_taken_in(kind: str, run: Run, tmp_path: Path) -> None:
    public = make_key(tmp_path / "id", kind)
    rules = '[rules.deploys]\naction_types = ["deploy*"]\nrequired_approvals = 1\n'
    (tmp_path / "policy.toml").write_text(policy_text({"ana": public}, rules))
    log, message = tmp_path / "audit", tmp_path / "ana.msg"
    assert run("init", log, "--origin", ORIGIN, "--policy", tmp_path / "policy.toml").code == 0
    request = proposed(run, log).rename(tmp_path / "first.json")
    expected = ["--expect", json.loads(request.read_bytes())["action_hash"][:8]]
    sign = ["approval", "sign", request, *expected]
    assert run(*sign, "--name", "ana", "--message", "-o", message).code == 0
    assert message.read_bytes().startswith(b'attestlog/approval/v2\n{"action_hash":')
    subprocess.run(
        [tool("ssh-keygen"), "-q", "-Y", "sign", "-n", "attestlog-approval", "-f", tmp_path / "id", message],
        check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    taken = run(*sign, "--signature", f"{message}.sig", "-o", tmp_path / "ana.json")
    assert taken.code == 0, taken.err
    appended = run("append", log, "--request", request, "--approval", tmp_path / "ana.json")
    assert appended.code == 0, appended.err
    assert open_source(log).entry(1).quorum_met
    assert verdict(run, log) == Verdict.VERIFIED

    other = proposed(run, log, {**DEPLOY, "action_payload": {"commit": "0"}})
    words = ["approval", "sign", other, "--expect", json.loads(other.read_bytes())["action_hash"], "--json"]
    wrong = run(*words, "--signature", f"{message}.sig")
    assert (wrong.code, wrong.error["code"]) == (3, "malformed.approval")
    message.write_bytes(message.read_bytes().replace(b'"approve"', b'"review"'))
    changed = run(*sign, "--json", "--signature", f"{message}.sig")
    assert (changed.code, changed.error["code"]) == (1, "verification.signature")


def test_one_way_to_sign_at_a_time(run: Run, log: Path, keys: dict[str, Path]) -> None:
    request = proposed(run, log)
    for arguments, said in (
        (["--name", "ana"], "want one of --key, --message and --signature"),
        (["--name", "ana", "--message", "--key", keys["auditor"]], "want one of"),
        (["--message"], "--name goes with --key or --message"),
        (["--name", "ana", "--signature", "x.sig"], "has the name in it"),
        (["--signature", "x"], "does not end in .sig"),
    ):
        result = run("approval", "sign", request, *arguments)
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
    second = proposed(run, log).rename(tmp_path / "second.json")
    with agent(tmp_path / "id") as environment:
        monkeypatch.setenv("SSH_AUTH_SOCK", environment["SSH_AUTH_SOCK"])
        (tmp_path / "id").unlink()
        by_agent = approved(run, second, tmp_path / "id.pub", "ana")
    request = proposed(run, log).rename(tmp_path / "request.json")
    for number, approval in enumerate((by_file, by_agent), 1):
        assert run("append", log, "--request", request, "--approval", approval).code == 0
        assert open_source(log).entry(number).quorum_met
        assert open_source(log).entry(number).received_approvals[0]["algorithm"] == "SSHSIG"
    expected = ["--expect", json.loads(request.read_bytes())["action_hash"]]
    gone = run(
        "approval", "sign", request, "--key", tmp_path / "id.pub", "--name", "ana", *expected, "--json"
    )
    assert (gone.code, gone.error["code"]) == (4, "signer")
    assert verdict(run, log) == Verdict.VERIFIED
