"""Governance forged by whoever holds the log's own key: every hash and signature true, and still found.

Each test writes an honest log, changes one stored value, hashes and signs everything after it again, and
lets the verifier look.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.audits import codes, verify
from tests.support.logs import LogMaker, draft
from tests.support.people import DATED, EXPIRES, ROLES, Person, governed, request_id_of
from tests.support.shapes import CHANGE, GOVERNED, change_for

from attestlog._internal.core.policy import format_policy, parse_policy
from attestlog._internal.core.report import Report, Verdict
from attestlog._internal.judging.governance import APPROVALS_REPORTED_MAX
from attestlog._internal.proof_types import register_proof, unregister_proof

SCORES = {"an_toan": 8, "duong_dai": 7, "tin_vao_so_lieu": 9, "han_che_rui_ro": 8}
PROOFS = [{"type": kind, "valid": True} for kind in ("pillars", "k1_state", "safety_floor")]
RULES = {
    "changes": {
        "event_types": ["CHANGE"], "action_types": ["modify_*"], "required_approvals": 3,
        "roles": list(ROLES),
    },
    "deploys": {"action_types": ["deploy"], "required_proofs": ["pillars", "k1_state"], "roles": ["auditor"]},
}  # fmt: skip
TIMESTAMP_30_DAYS_ON = "2025-11-29T12:00:00.000000Z"
PEOPLE = {name: Person(name) for name in ROLES}
AUDITED = draft(2, action_type="deploy", pillars_scores=SCORES, provided_proofs=PROOFS)
LOG = LogMaker(Path("nowhere"), policy=governed(rules=RULES)).log
"""Every log with this policy has the same genesis entry."""
APPROVED = PEOPLE["auditor"].approve(AUDITED, LOG)


def proposal(*approvals: dict[str, str]) -> dict[str, Any]:
    """The CHANGE of the specification, as a user would write it, with these approvals."""
    return {**CHANGE, "action_type": "modify_limit", "received_approvals": list(approvals)}


def approvals(request: str = "a request") -> list[dict[str, str]]:
    """Of all three; each request is good for one entry."""
    request_id = request_id_of(request)
    return [person.approve(proposal(), LOG, request_id=request_id) for person in PEOPLE.values()]


APPROVALS = approvals()


@pytest.fixture
def log(tmp_path: Path) -> LogMaker:
    """1: scored, below the floor. 2: a deploy, approved. 3: a change, approved by three. 4: one without."""
    made = LogMaker(tmp_path / "log", policy=governed(rules=RULES))
    made.append(draft(1, pillars_scores={"an_toan": 6.2}, conflicts_detected=["x"]), batched=False)
    made.append({**AUDITED, "received_approvals": [APPROVED]}, batched=False)
    made.append(proposal(*APPROVALS), batched=False)
    made.append(proposal(*approvals("another")[:2]), batched=False)
    made.append(draft(5), batched=False)
    return made


def look(log: LogMaker, tmp_path: Path) -> Report:
    """Everything that is said of it."""
    log.lay_out()
    return verify(log, tmp_path, remember=False)


def judged(log: LogMaker, tmp_path: Path) -> Report:
    """What is said of it but `entry.rule`, which the honest log has already."""
    report = look(log, tmp_path)
    report.findings = [found for found in report.findings if found.code != "entry.rule"]
    return report


def test_the_honest_log(log: LogMaker, tmp_path: Path) -> None:
    report = look(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("entry.rule", 4)])
    assert report.findings[0].found == {"quorum": {"approvals": {"have": 2, "need": 3}, "roles": ["auditor"]}}
    assert [log.entry(number)["quorum_met"] for number in range(6)] == [True, True, True, True, False, True]
    assert log.entry(2)["proofs_valid"] is True
    assert log.entry(1)["safety_floor_met"] is False


@pytest.mark.parametrize(
    "number, member, forged",
    [
        (1, "composite_score", 7.2),
        (1, "composite_score", None),
        (1, "safety_floor_met", True),
        (1, "safety_floor_met", None),
        (1, "k_state", 1),
        (2, "composite_score", 9),
        (2, "proofs_valid", False),
        (2, "quorum_met", False),
        (3, "quorum_met", False),
        (4, "quorum_met", True),
        (5, "safety_floor_met", True),
        (5, "k_state", 0),
        (5, "quorum_met", False),
        (5, "proofs_valid", False),
    ],
)
def test_a_forged_derived_member(
    number: int, member: str, forged: Any, log: LogMaker, tmp_path: Path
) -> None:
    honest = log.entry(number)[member]
    log.reseal(number, **{member: forged})
    report = judged(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.TAMPERED, [("entry.derived", number)])
    (found,) = report.findings
    assert found.found == {member: forged}
    assert found.expected[member] == honest


def test_both_the_scores_and_what_follows_must_be_forged_and_then_the_rule_is_broken(
    log: LogMaker, tmp_path: Path
) -> None:
    """Facts can be forged by the key's holder; what follows from them, and from others' keys, cannot."""
    log.reseal(2, provided_proofs=[], proofs_valid=True)
    assert codes(judged(log, tmp_path)) == [("entry.derived", 2)]


@pytest.mark.parametrize(
    "name, value",
    [("required_approvals", 0), ("event_category", "NORMAL"), ("required_proofs", [])],
)
def test_what_the_entry_itself_asks_for_can_go_and_the_rules_stay(
    name: str, value: Any, log: LogMaker, tmp_path: Path
) -> None:
    log.reseal(4, quorum_met=True, **{name: value})
    assert codes(judged(log, tmp_path)) == [("entry.derived", 4)]


def test_an_action_renamed_to_go_under_another_rule(log: LogMaker, tmp_path: Path) -> None:
    """The approvals were for another action: nothing is left of them."""
    log.reseal(3, action_type="modify_other")
    report = judged(log, tmp_path)
    assert codes(report) == [("entry.derived", 3), *[("entry.approval", 3)] * 3]
    assert {found.found for found in report.findings[1:]} == {"approval.signature"}
    assert report.findings[0].expected == {
        "quorum_met": False,
        "missing": {"approvals": {"have": 0, "need": 3}, "roles": list(ROLES)},
    }


def spoilt(**said: str) -> dict[str, str]:
    said = {"request_id": APPROVALS[0]["request_id"], **said}
    return PEOPLE["auditor"].approve(proposal(), LOG, **said)


@pytest.mark.parametrize(
    "approval, reason",
    [
        (PEOPLE["auditor"].approve(proposal(), LOG._replace(origin="another")), "approval.signature"),
        (PEOPLE["auditor"].approve(proposal(), LOG._replace(genesis="0" * 64)), "approval.signature"),
        (PEOPLE["auditor"].approve({**proposal(), "action_payload": {}}, LOG), "approval.signature"),
        (PEOPLE["auditor"].approve({**proposal(), "actor_id": "x"}, LOG), "approval.signature"),
        (PEOPLE["auditor"].approve({**proposal(), "pillars_scores": {}}, LOG), "approval.signature"),
        ({**spoilt(), "log": "0" * 64}, "approval.log"),
        (spoilt(event_type="ACTION"), "approval.event_type"),
        ({**spoilt(), "actor_id": "x"}, "approval.actor"),
        (spoilt(expires=TIMESTAMP_30_DAYS_ON), "approval.term"),
        ({**spoilt(), "origin": "example.com/another"}, "approval.origin"),
        ({**spoilt(), "action_type": "x"}, "approval.action_type"),
        ({**spoilt(), "action_hash": "0" * 64}, "approval.action_hash"),
        (
            Person("mallory").approve(proposal(), LOG, request_id=APPROVALS[0]["request_id"]),
            "approval.unknown_signer",
        ),
        (
            Person("auditor", number=2).approve(proposal(), LOG, request_id=APPROVALS[0]["request_id"]),
            "approval.unknown_key",
        ),
        (spoilt(expires=DATED), "approval.expired"),
        (spoilt(timestamp=EXPIRES), "approval.future"),
        (
            PEOPLE["creator"].approve(proposal(), LOG, request_id=APPROVALS[0]["request_id"]),
            "approval.duplicate",
        ),
        (spoilt(meaning="reject"), "approval.reject"),
        ({**spoilt(), "meaning": "approved"}, "approval.malformed"),
    ],
)
def test_an_approval_that_does_not_count(
    approval: dict[str, str], reason: str, log: LogMaker, tmp_path: Path
) -> None:
    log.reseal(3, received_approvals=[*APPROVALS[:2], approval])
    report = judged(log, tmp_path)
    assert codes(report) == [("entry.derived", 3), ("entry.approval", 3)]
    assert report.findings[1].found == reason
    assert report.findings[0].expected["quorum_met"] is False


def test_a_review_is_no_approval(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(3, received_approvals=[*APPROVALS[:2], spoilt(meaning="review")])
    assert codes(judged(log, tmp_path)) == [("entry.derived", 3)]


def test_an_actor_who_approves_their_own_request(log: LogMaker, tmp_path: Path) -> None:
    own = {**proposal(), "actor_id": PEOPLE["auditor"].key_id}
    approved = [person.approve(own, LOG) for person in PEOPLE.values()]
    log.reseal(3, actor_id=own["actor_id"], received_approvals=approved)
    report = judged(log, tmp_path)
    assert codes(report) == [("entry.derived", 3), ("entry.approval", 3)]
    assert report.findings[1].found == "approval.self"


def test_an_approver_who_was_revoked(tmp_path: Path) -> None:
    policy = governed(rules=RULES)
    members = format_policy(policy)
    members["approvers"]["auditor"]["revoked"] = DATED
    log = LogMaker(tmp_path / "log", policy=parse_policy(members))
    log.append(proposal(*(person.approve(proposal(), log.log) for person in PEOPLE.values())))
    assert log.entry(1)["quorum_met"] is False
    log.reseal(1, quorum_met=True)
    report = judged(log, tmp_path)
    assert codes(report) == [("entry.derived", 1), ("entry.approval", 1)]
    assert report.findings[1].found == "approval.revoked"
    assert report.findings[0].expected["missing"]["roles"] == ["auditor"]


def test_a_refused_approval_that_was_never_counted_is_a_notice(log: LogMaker, tmp_path: Path) -> None:
    log.append(proposal(*approvals("again"), Person("mallory").approve(proposal(), LOG)))
    assert log.entry(6)["quorum_met"] is True
    report = judged(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("entry.approval", 6)])


def test_hundreds_of_refused_approvals_are_told_in_short(log: LogMaker, tmp_path: Path) -> None:
    many = [Person("mallory").approve(proposal(), LOG, request_id=APPROVALS[0]["request_id"])] * (
        APPROVALS_REPORTED_MAX + 1
    )
    log.append({**draft(6), "received_approvals": many[:-1]}, batched=False)
    log.append({**draft(7), "received_approvals": many}, batched=False)
    report = judged(log, tmp_path)
    assert codes(report) == [("entry.approval", 6)] * 20 + [("entry.approval", 7)] * 21
    assert report.findings[-1].found == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"rollback_executed": True},
        {"event_type": "VIOLATION", "error_details": {"violated_invariant": "INVARIANT_8_NONE"}},
    ],
)
def test_an_entry_that_breaks_an_invariant(changes: dict[str, Any], log: LogMaker, tmp_path: Path) -> None:
    log.reseal(5, **changes)
    report = judged(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.TAMPERED, [("entry.invariant", 5)])


# --- types of proofs that this process may not know ---


@pytest.fixture
def ci() -> Iterator[None]:
    register_proof("ci", lambda claim: claim.proof.get("run") == 7)
    yield
    unregister_proof("ci")


def with_ci(log: LogMaker, run: int, **members: Any) -> None:
    log.append({**draft(6), "provided_proofs": [{"type": "ci", "valid": True, "run": run}], **members})


def test_a_claim_that_rests_on_an_unknown_type_is_unknown_and_no_tampering(
    log: LogMaker, tmp_path: Path
) -> None:
    with_ci(log, 7, required_proofs=["ci"])
    honest = judged(log, tmp_path)
    assert (honest.verdict, codes(honest)) == (Verdict.VERIFIED, [("entry.proof_unchecked", 6)])
    log.reseal(6, proofs_valid=True)
    report = judged(log, tmp_path)
    assert report.verdict == Verdict.UNKNOWN
    assert codes(report) == [("entry.proofs_unknown", 6), ("entry.proof_unchecked", 6)]


def test_where_the_type_is_registered_it_is_judged(log: LogMaker, tmp_path: Path, ci: None) -> None:
    with_ci(log, 7, required_proofs=["ci"])
    assert codes(judged(log, tmp_path)) == [("entry.derived", 6)]  # written where it was not registered
    log.reseal(6, proofs_valid=True)
    assert codes(judged(log, tmp_path)) == []
    log.reseal(6, provided_proofs=[{"type": "ci", "valid": True, "run": 8}])
    assert codes(judged(log, tmp_path)) == [("entry.derived", 6)]


def test_an_unknown_type_excuses_nothing_else(log: LogMaker, tmp_path: Path) -> None:
    with_ci(log, 7, required_proofs=["ci", "rollback"])
    log.reseal(6, proofs_valid=True)
    assert codes(judged(log, tmp_path)) == [("entry.derived", 6), ("entry.proof_unchecked", 6)]
    refuted = {"type": "rollback", "valid": True}
    log.reseal(6, required_proofs=["ci"], provided_proofs=[refuted, {"type": "ci", "valid": True}])
    assert codes(judged(log, tmp_path)) == [("entry.derived", 6), ("entry.proof_unchecked", 6)]


# --- changes of the policy ---


def governed_log(tmp_path: Path) -> LogMaker:
    """1: without scores. 2: the floor is lowered by three. 3: below the old floor, above the new one."""
    made = LogMaker(tmp_path / "log", policy=GOVERNED)
    made.append(draft(1), batched=False)
    made.append(change_for(made.log), batched=False)
    made.policy = parse_policy({**format_policy(GOVERNED), "safety_floor": 6.5})
    made.append(draft(3, pillars_scores={"an_toan": 6.7}), batched=False)
    return made


def test_each_entry_is_judged_by_the_policy_in_force_there(tmp_path: Path) -> None:
    log = governed_log(tmp_path)
    assert log.entry(3)["safety_floor_met"] is True
    report = judged(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [])


def test_an_entry_judged_by_the_policy_that_came_later(tmp_path: Path) -> None:
    log = governed_log(tmp_path)
    log.reseal(1, pillars_scores={"an_toan": 6.7}, composite_score=6.7, safety_floor_met=True)
    assert codes(judged(log, tmp_path)) == [("entry.derived", 1)]


UNDER_THE_OLD = [("entry.derived", 3), ("entry.rules", 3)]
"""Entry 3 stands under the policy from before, as the change in entry 2 does not hold."""


def test_a_policy_changed_without_its_quorum_stays_as_it_was(tmp_path: Path) -> None:
    log = governed_log(tmp_path)
    log.reseal(2, received_approvals=log.entry(2)["received_approvals"][:2], quorum_met=True)
    report = judged(log, tmp_path)
    assert report.verdict == Verdict.TAMPERED
    assert codes(report) == [("entry.derived", 2), ("entry.change", 2), *UNDER_THE_OLD]
    log.reseal(2, quorum_met=False)  # as honest as it may be, it must not call itself a success
    assert codes(judged(log, tmp_path)) == [("entry.change", 2), *UNDER_THE_OLD]


def test_a_change_that_was_blocked_is_a_record_and_changes_nothing(tmp_path: Path) -> None:
    log = governed_log(tmp_path)
    log.reseal(2, execution_status="BLOCKED", received_approvals=[], quorum_met=False)
    assert codes(judged(log, tmp_path)) == UNDER_THE_OLD


def test_approvals_moved_to_another_value(tmp_path: Path) -> None:
    log = governed_log(tmp_path)
    payload = {**log.entry(2)["action_payload"], "new_value": 0}
    log.reseal(2, action_payload=payload)
    report = judged(log, tmp_path)
    assert [code for code, _ in codes(report)] == [
        "entry.derived", *["entry.approval"] * 3, "entry.change", "entry.derived", "entry.rules"
    ]  # fmt: skip


# --- rules that were not kept ---


def test_what_was_done_without_the_proofs_a_rule_asks_for(log: LogMaker, tmp_path: Path) -> None:
    again = PEOPLE["auditor"].approve(AUDITED, LOG, request_id=request_id_of("again"))
    log.append({**AUDITED, "provided_proofs": [], "received_approvals": [again]}, batched=False)
    log.append({**AUDITED, "provided_proofs": [], "execution_status": "BLOCKED"}, batched=False)
    log.append(proposal(), batched=False)
    log.append({**AUDITED, "event_type": "DECISION"}, batched=False)  # intended, not done
    report = look(log, tmp_path)
    assert (report.verdict, codes(report)) == (
        Verdict.VERIFIED, [("entry.rule", 4), ("entry.rule", 6), ("entry.rule", 8)]
    )  # fmt: skip
    assert report.findings[1].found == {"proofs": ["k1_state", "pillars"]}


def test_what_was_done_although_a_rule_denies_it(tmp_path: Path) -> None:
    rule = {"action_types": ["deploy"], "actor_ids": ["AGENT-*"], "deny": True, "reason": "people deploy"}
    log = LogMaker(tmp_path / "log", policy=governed(rules={"robots": rule}))
    for number, members in enumerate((
        {}, {"actor_id": "ana"}, {"execution_status": "BLOCKED"}, {"event_type": "DECISION"},
        {"event_type": "CHANGE"}, {"action_type": "read"},
    ), 1):  # fmt: skip
        log.append(draft(number, **{"action_type": "deploy", **members}))
    report = look(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("entry.rule", 1), ("entry.rule", 5)])
    assert report.findings[0].found == "robots"
    assert "people deploy" in report.findings[0].message


# --- rollbacks ---


def test_a_rollback_to_a_snapshot_that_an_entry_took_and_to_one_that_none_did(
    log: LogMaker, tmp_path: Path
) -> None:
    taken = {"rollback_available": True, "rollback_snapshot_hash": "a" * 64}
    back = {"rollback_executed": True, "execution_status": "ROLLED_BACK"}
    log.append(draft(6, **taken), batched=False)
    log.append(draft(7, **back, rollback_snapshot_hash="a" * 64), batched=False)
    log.append(draft(8, **back, rollback_snapshot_hash="b" * 64), batched=False)
    report = judged(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("entry.snapshot", 8)])
    assert report.findings[-1].found == "b" * 64
