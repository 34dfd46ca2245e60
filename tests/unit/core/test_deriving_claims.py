"""Proofs an entry provides: actors' signatures, types an application registers, and what nobody can check."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.logs import parsed
from tests.support.people import Person
from tests.support.shapes import LOG, ORIGIN, TIMESTAMP, line_of, read

from attestlog._internal.core.deriving import (
    CHECKED_PROOFS,
    ProofClaim,
    ProofVerifier,
    derive,
    explain,
)
from attestlog._internal.core.entry import EntryDraft
from attestlog._internal.core.hashes import actor_message, hex_hash
from attestlog._internal.core.policy import Policy, parse_policy
from attestlog._internal.proof_types import register_proof, registered_proofs, unregister_proof

ACTION_HASH = hex_hash(b"{}")
AGENT = Person("agent-7")
OTHER = Person("agent-8", algorithm="ECDSA-P256-SHA256")
POLICY = parse_policy({
    "actors": {"agent-7": {"keys": [AGENT.public.pem]}, "agent-8": {"keys": [OTHER.ssh]}}
})  # fmt: skip


def signed(
    person: Person, origin: str = ORIGIN, action_hash: str = ACTION_HASH, **changes: Any
) -> dict[str, Any]:
    signature = person.sign(actor_message(origin, bytes.fromhex(action_hash))).hex()
    return {
        "type": "actor_signature", "valid": True, "key_id": person.key_id, "signature": signature, **changes
    }  # fmt: skip


def proving(*proofs: dict[str, Any], **members: Any) -> EntryDraft:
    return parsed(provided_proofs=list(proofs), **members)


def valid(facts: EntryDraft, policy: Policy = POLICY, **verifiers: ProofVerifier) -> bool:
    return derive(policy, facts, LOG, ACTION_HASH, TIMESTAMP, verifiers=verifiers).proofs_valid


@pytest.mark.parametrize("person", [AGENT, OTHER], ids=lambda person: str(person.algorithm))
def test_an_actors_registered_key_signs_the_action(person: Person) -> None:
    facts = proving(signed(person), actor_id=person.name, required_proofs=["actor_signature"])
    assert valid(facts)
    assert not valid(facts, Policy())


def test_no_other_signature_will_do() -> None:
    good = signed(AGENT)
    for bad in (
        signed(AGENT, origin="example.com/another"),
        signed(AGENT, action_hash="0" * 64),
        signed(Person("agent-7", number=2)),
        signed(OTHER),
        signed(AGENT, key_id=OTHER.key_id),
        {**good, "signature": good["signature"].upper()},
        {**good, "signature": good["signature"][:-1]},
        {**good, "signature": ""},
        {**good, "signature": 7},
        {**good, "key_id": None},
        {**good, "key_id": ["x"]},
        {"type": "actor_signature", "valid": True},
    ):
        assert not valid(proving(bad)), bad
        assert valid(proving({**bad, "valid": False}))
    assert not valid(proving(good, actor_id="agent-8"))
    assert not valid(proving(good, {**good, "signature": "00"}))  # each that is claimed must hold


def test_a_registered_type_is_asked_and_believed() -> None:
    asked: list[ProofClaim] = []

    def passed(claim: ProofClaim) -> bool:
        asked.append(claim)
        return bool(claim.proof["run"] == 7)

    good = {"type": "ci", "valid": True, "run": 7}
    assert valid(proving(good, required_proofs=["ci"]), ci=passed)
    assert asked == [ProofClaim(good, ORIGIN, "ACTION", "deploy", ACTION_HASH, "agent-7")]
    assert not valid(proving({**good, "run": 8}), ci=passed)
    assert valid(proving({**good, "run": 8, "valid": False}), ci=passed)
    assert not valid(proving(good, {**good, "run": 8}, required_proofs=["ci"]), ci=passed)


def test_a_type_that_cannot_be_checked_does_not_count_and_is_said() -> None:
    def broken(claim: ProofClaim) -> bool:
        raise OSError("no network")

    proof = {"type": "ci", "valid": True}
    several: list[dict[str, ProofVerifier]] = [{}, {"ci": broken}]
    for verifiers in several:
        facts = proving(proof, proof, required_proofs=["ci"])
        basis = explain(POLICY, facts, LOG, ACTION_HASH, TIMESTAMP, verifiers=verifiers)
        assert not basis.derived.proofs_valid
        assert basis.claims.unchecked == ("ci", "ci")
        assert basis.claims.may_satisfy(basis.required_proofs)
        assert valid(proving(proof), POLICY, **verifiers)


def test_rules_add_to_the_proofs_an_entry_asks_for() -> None:
    rule = {
        "event_types": ["ACTION"],
        "action_types": ["deploy*"],
        "required_proofs": ["pillars", "k1_state"],
    }
    policy = parse_policy({"rules": {"deploys": rule}})
    k1 = {"type": "k1_state", "valid": True}
    pillars = {"type": "pillars", "valid": True}
    scores = dict.fromkeys(("an_toan", "duong_dai", "tin_vao_so_lieu", "han_che_rui_ro"), 8)
    assert not valid(proving(action_type="deploy"), policy)
    assert not valid(proving(k1, action_type="deploy_all"), policy)
    assert valid(proving(k1, pillars, action_type="deploy_all", pillars_scores=scores), policy)
    assert valid(proving(action_type="undeploy"), policy)


@pytest.fixture
def ci() -> Iterator[None]:
    register_proof("ci", lambda claim: claim.proof.get("run") == 7)
    yield
    unregister_proof("ci")


def test_the_registry(ci: None) -> None:
    assert "ci" in registered_proofs()
    for kind in CHECKED_PROOFS:
        with pytest.raises(ValueError, match="checked by attestlog itself"):
            register_proof(kind, lambda claim: True)
    unregister_proof("never registered")


def test_an_entry_derives_what_its_draft_derived() -> None:
    facts = {"event_type": "ACTION", "action_type": "x", "actor_id": "agent-7"}
    proofs = [signed(AGENT), {"type": "k1_state", "valid": True}]
    members = {"required_proofs": ["actor_signature"], "provided_proofs": proofs}
    entry = read(line_of(facts, **members))
    assert entry.proofs_valid is False  # by a policy that registers nobody
    derived = derive(POLICY, entry, LOG, entry.action_hash, entry.timestamp)
    assert derived == derive(
        POLICY, proving(*proofs, required_proofs=["actor_signature"]), LOG, ACTION_HASH, ""
    )
    assert derived.proofs_valid
