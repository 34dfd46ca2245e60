"""Asking, approving and signing from Python: what it returns, and how it fails."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import create
from tests.support.people import governed
from tests.support.ssh import make_key

from attestlog._internal.approving import approved_draft, check_approvals, propose, sign_action, sign_approval
from attestlog._internal.core.approval import make_request
from attestlog._internal.core.policy import format_policy, parse_policy
from attestlog._internal.core.report import Verdict
from attestlog._internal.signers.file import save_key
from attestlog._internal.signers.private_keys import make_key as make_pem
from attestlog._internal.verifying import judge_log
from attestlog.errors import ApprovalRefusedError, KeyFileError, NotFoundError, SignerError
from attestlog.testing import ManualClock, MemorySigner

DRAFT: dict[str, Any] = {
    "event_type": "ACTION", "action_type": "deploy", "actor_id": "agent-7", "action_payload": {"commit": "1"},
}  # fmt: skip
REQUEST = make_request(DRAFT, "example.com/agents")


def approvers(**signers: MemorySigner) -> Any:
    people = {name: {"roles": [name], "keys": [signer.public_key.pem]} for name, signer in signers.items()}
    rules = {"all": {"required_approvals": 1}}
    return parse_policy({"approvers": people, "rules": rules})


def test_a_log_that_is_open_and_one_that_is_only_read_ask_the_same(tmp_path: Path) -> None:
    with create(tmp_path / "log", policy=governed()) as log:
        assert log.request(DRAFT) == log.request(**DRAFT) == propose(tmp_path / "log", DRAFT)
        assert log.request({**DRAFT, "received_approvals": []}) == log.request(DRAFT)
        assert log.head().size == 1


def test_approved_by_a_signer_its_uri_and_a_file(tmp_path: Path) -> None:
    signer, clock = MemorySigner("Ed25519"), ManualClock()
    path = tmp_path / "bob.pem"
    saved = save_key(make_pem("ECDSA-P256-SHA256"), path, None)
    people = {"ana": [signer.public_key.pem], "bob": [saved.public_key.pem]}
    policy = parse_policy({
        "approvers": {name: {"keys": keys} for name, keys in people.items()},
        "rules": {"all": {"required_approvals": 2}},
    })  # fmt: skip
    with create(tmp_path / "log", policy=policy, clock=clock) as log:
        request = log.request(DRAFT)
        for first, second in ((signer, str(path)), (signer.uri, saved.uri)):
            approvals = [
                sign_approval(request, first, name="ana", now_us=clock()),
                sign_approval(request, second, name="bob", now_us=clock()),
            ]
            check_approvals(policy, request, approvals, clock())
            assert log.append(approved_draft(request, approvals)).entry.quorum_met
    assert judge_log(tmp_path / "log", remember=False).verdict == Verdict.VERIFIED


def test_the_first_that_does_not_count_is_refused_and_a_review_is_not() -> None:
    signer, other = MemorySigner("Ed25519"), MemorySigner("Ed25519")
    policy, now_us = approvers(ana=signer), ManualClock()()
    good = sign_approval(REQUEST, signer, name="ana", now_us=now_us)
    review = sign_approval(REQUEST, signer, name="ana", meaning="review", now_us=now_us)
    check_approvals(policy, REQUEST, [review, good], now_us)
    forged = sign_approval(REQUEST, other, name="ana", now_us=now_us)
    with pytest.raises(ApprovalRefusedError, match="'ana' does not count: its key is not one") as caught:
        check_approvals(policy, REQUEST, [good, forged], now_us)
    assert (caught.value.reason, caught.value.signer) == ("approval.unknown_key", "ana")
    week_us = 7 * 86_400 * 1_000_000
    check_approvals(policy, REQUEST, [good], now_us + week_us)
    with pytest.raises(ApprovalRefusedError) as caught:
        check_approvals(policy, REQUEST, [good], now_us + week_us + 1)
    assert caught.value.reason == "approval.expired"


def test_a_revoked_approver_and_an_approval_of_tomorrow_are_refused() -> None:
    signer, now_us = MemorySigner("Ed25519"), ManualClock()()
    good = sign_approval(REQUEST, signer, name="ana", now_us=now_us)
    members = format_policy(approvers(ana=signer))
    members["approvers"]["ana"]["revoked"] = good.timestamp
    for policy, moment_us, reason in (
        (parse_policy(members), now_us, "approval.revoked"),
        (approvers(ana=signer), now_us - 60_000_001, "approval.future"),
    ):
        with pytest.raises(ApprovalRefusedError) as caught:
            check_approvals(policy, REQUEST, [good], moment_us)
        assert caught.value.reason == reason
    check_approvals(approvers(ana=signer), REQUEST, [good], now_us - 60_000_000)


def test_an_actor_signs_the_action_with_the_registered_key(tmp_path: Path) -> None:
    agent = MemorySigner("ECDSA-P256-SHA256")
    policy = parse_policy({"actors": {"agent-7": {"keys": [agent.public_key.pem]}}})
    with create(tmp_path / "log", policy=policy) as log:
        proof = sign_action(log.request(DRAFT), agent)
        asked = {**DRAFT, "required_proofs": ["actor_signature"], "provided_proofs": [proof]}
        assert log.append(asked).entry.proofs_valid
        assert not log.append({**asked, "action_payload": {"commit": "2"}}).entry.proofs_valid
    assert judge_log(tmp_path / "log", remember=False).verdict == Verdict.VERIFIED


def test_keys_that_are_not_there_or_do_not_sign(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no key at"):
        sign_approval(REQUEST, str(tmp_path / "none.pem"), name="ana")
    (tmp_path / "text.pem").write_text("hello")
    with pytest.raises(KeyFileError):
        sign_approval(REQUEST, str(tmp_path / "text.pem"), name="ana")
    with pytest.raises(SignerError):
        sign_approval(REQUEST, str(tmp_path), name="ana")


def test_a_key_of_openssh_that_cannot_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    make_key(tmp_path / "id", "ed25519")
    with pytest.raises(SignerError, match="signs approvals only"):
        sign_action(REQUEST, str(tmp_path / "id"))
    (tmp_path / "id").unlink()
    with pytest.raises(SignerError, match="ssh-keygen did not sign"):
        sign_approval(REQUEST, str(tmp_path / "id.pub"), name="ana")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SignerError, match="there is no ssh-keygen"):
        sign_approval(REQUEST, str(tmp_path / "id.pub"), name="ana")


def test_a_device_that_answers_wrongly_makes_no_approval() -> None:
    class Lying(MemorySigner):
        def sign(self, message: bytes) -> bytes:
            return super().sign(message + b"x")

    with pytest.raises(SignerError):
        sign_approval(REQUEST, Lying("Ed25519"), name="ana")
