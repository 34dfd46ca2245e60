"""A day of an agent under a policy that is enforced: `python examples/governed_agent.py [FOLDER]`.

The agent boots, does its work, leaves something undone, and is stopped: first because what it is about to do
is too risky, then because nobody has approved it. Three people, each with a key of their own, approve; it
deploys; the next deployment fails halfway and is rolled back. The policy is changed by those who may. All of
it is in one log, every entry is signed, and at the end a verifier that trusts nobody derives all of it again.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Unpack

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

import attestlog
from attestlog import (
    Guard,
    GuardMembers,
    Log,
    format_approval,
    modify_rule_payload,
    parse_request,
    sign_approval,
    snapshot_hash,
)
from attestlog.errors import ActionBlockedError

ORIGIN = "example.com/agents"
AGENT = "digital_organism_01"
ROLES = ("creator", "community", "auditor")
PROOFS = ("safety_floor", "rollback", "k1_state", "pillars")
CLAIMED = [{"type": proof, "valid": True} for proof in PROOFS]
GOOD = {"an_toan": 9, "duong_dai": 8.5, "tin_vao_so_lieu": 9, "han_che_rui_ro": 8}


def make_people(folder: Path) -> dict[str, dict[str, object]]:
    """Three approvers, each with a key in a file that only they hold; what the policy says of them."""
    approvers: dict[str, dict[str, object]] = {}
    folder.mkdir(mode=0o700)
    for role in ROLES:
        key = Ed25519PrivateKey.generate()
        path = folder / f"{role}.pem"
        path.touch(mode=0o600)
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        approvers[role] = {"roles": [role], "keys": [public]}
    return approvers


def make_policy(approvers: dict[str, dict[str, object]]) -> dict[str, object]:
    """Deployments and changes of the policy need all three, and all four pillars."""
    return {
        "approvers": approvers,
        "rules": {
            "deployments": {
                "event_types": ["ACTION"], "action_types": ["deploy_*"], "required_approvals": 3,
                "roles": list(ROLES), "required_proofs": ["safety_floor", "pillars", "rollback"],
            },
            "policy": {
                "event_types": ["CHANGE"], "action_types": ["*_policy*"], "required_approvals": 3,
                "roles": list(ROLES),
            },
        },
    }  # fmt: skip


def people_approve(keys: Path, path: Path) -> None:
    """What three people do, each at a desk of their own: read the request, sign it, put it beside.

    Elsewhere they do it while the agent waits; here the request is answered before the act is entered.
    """
    request = parse_request(path.read_bytes())
    for role in ROLES:
        approval = sign_approval(request, str(keys / f"{role}.pem"), name=role)
        path.with_name(f"{role}.approval.json").write_bytes(format_approval(approval))


def ordinary_work(log: Log) -> None:
    """What needs no approval: an action, and a decision to leave something undone."""
    task = {
        "task_id": "TASK-042", "description": "refactor the scheduler", "files_modified": ["plan.py"],
        "lines_changed": 118, "risk_score": 2.5,
    }  # fmt: skip
    with log.guard(
        action_type="execute_autonomous_task", actor_id=AGENT, actor_type="AUTONOMOUS_AGENT",
        action_payload=task, pillars_scores=GOOD,
    ) as act:  # fmt: skip
        act.result = {"tests_passed": 214, "tests_failed": 0}
    log.decision(
        "skip_social_preview_upload", actor_id=AGENT, actor_type="AUTONOMOUS_AGENT", event_category="WARNING",
        action_payload={
            "decision": "skip the upload", "reasoning": "needs a manual step in a browser",
            "alternative_chosen": "documented for a later release", "impact_assessment": "low",
        },
    )  # fmt: skip


def deployment(log: Log, site: Path, version: str, **more: Unpack[GuardMembers]) -> Guard:
    """The same risky act every time; `more` says what is at hand for it."""

    def roll_back(_act: Guard) -> None:
        (site / "version").write_text("1.0")

    members: GuardMembers = {
        "action_payload": {"version": version, "where": "production"}, "actor_type": "AUTONOMOUS_AGENT",
        "pillars_scores": GOOD, "provided_proofs": CLAIMED, "snapshot": site, "rollback": roll_back,
    }  # fmt: skip
    members.update(more)
    return log.guard(action_type="deploy_release", actor_id=AGENT, **members)


def try_to_deploy(log: Log, site: Path) -> None:
    """Stopped twice: below the safety floor, and without approval. The site is not touched."""
    risky: GuardMembers = {"pillars_scores": {**GOOD, "an_toan": 1, "han_che_rui_ro": 4}}
    attempts: tuple[GuardMembers, ...] = (risky, {})
    for more in attempts:
        try:
            with deployment(log, site, "2.0", **more):
                (site / "version").write_text("2.0")
        except ActionBlockedError as blocked:
            print(f"entry {blocked.receipt.sequence_number}: {blocked}")
    assert (site / "version").read_text() == "1.0"


def deploy(log: Log, site: Path, keys: Path, folder: Path) -> None:
    """Approved and done; then approved, broken halfway, and rolled back."""
    act = deployment(log, site, "1.1", ask=folder / "approvals-1")
    people_approve(keys, act.propose())
    with act:
        (site / "version").write_text("1.1")
    (site / "version").write_text("1.0")  # for the next one

    act = deployment(log, site, "1.2", ask=folder / "approvals-2")
    people_approve(keys, act.propose())
    try:
        with act:
            (site / "version").write_text("1.2, half of")
            raise RuntimeError("the disk is full")
    except RuntimeError as error:
        print(f"entry {act.outcome.sequence_number if act.outcome else '?'}: {error}; rolled back")
    assert (site / "version").read_text() == "1.0"


def change_the_policy(log: Log, keys: Path, folder: Path) -> None:
    """By the quorum of the policy it replaces: three signatures, and all the proofs there are."""
    payload = modify_rule_payload(
        log.rules, "safety_floor", 6.5,
        proposal_id="PROP-7", change_description="lower the floor for the sandbox",
    )  # fmt: skip
    act = log.guard(
        event_type="CHANGE", event_category="CRITICAL", action_type="attestlog.modify_policy_rule",
        actor_id="council_of_three", actor_type="HUMAN", action_payload=payload, pillars_scores=GOOD,
        required_proofs=list(PROOFS), provided_proofs=CLAIMED, rollback_available=True,
        rollback_snapshot_hash=snapshot_hash(b"safety_floor = 7.0"), ask=folder / "approvals-3",
    )  # fmt: skip
    people_approve(keys, act.propose())
    with act:
        pass
    print(f"the safety floor is {log.rules.policy.safety_floor} from here on")


def main(folder: Path) -> None:
    """All of it, in this folder."""
    keys, site, path = folder / "keys", folder / "site", folder / "audit"
    site.mkdir()
    (site / "version").write_text("1.0")
    policy = make_policy(make_people(keys))
    with attestlog.create(
        path, origin=ORIGIN, policy=policy,
        signer=f"file:{keys}/entry.pem", checkpoint_signer=f"file:{keys}/checkpoint.pem",
    ) as log:  # fmt: skip
        log.boot(
            "system_initialization", actor_id="haios_core",
            action_payload={
                "boot_time": "2025-10-30T12:00:00.000000Z", "version": "1.0.0", "attribution_verified": True,
                "invariants_loaded": 7, "initial_k_state": 1,
            },
            required_proofs=["attribution_intact"],
            provided_proofs=[{"type": "attribution_intact", "valid": True}],
        )  # fmt: skip
        ordinary_work(log)
        try_to_deploy(log, site)
        deploy(log, site, keys, folder)
        change_the_policy(log, keys, folder)
        log.shutdown("system_shutdown", actor_id="haios_core", action_payload={"reason": "end of day"})

    report = attestlog.verify(path, remember=False)
    print(report.verdict, f"{report.size} entries", [finding.code for finding in report.findings])


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="governed-agent-")))
