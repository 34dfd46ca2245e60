"""The examples that the HAIOS schema prints are a user's own words: appended, derived truly, verified."""

from pathlib import Path

import pytest
from tests.support.audits import verdicts
from tests.support.logs import create
from tests.support.schema_events import CHANGE, PRINTED, schema_event

from attestlog._internal.core.approval import Request, judge_approvals
from attestlog.errors import DerivedMemberError, MalformedEntryError


def test_all_five_are_appended_and_verify(tmp_path: Path) -> None:
    with create(tmp_path / "log") as log:
        before = log.rules
        stored = {kind: log.append(schema_event(kind)).entry for kind in PRINTED}
        assert log.rules == before  # `modify_policy_rule` is a user's word: it changes nothing here
    for kind, entry in stored.items():
        stated = schema_event(kind)
        assert {name: getattr(entry, name) for name in stated} == stated
    derived = {
        name: (e.composite_score, e.safety_floor_met, e.k_state, e.proofs_valid, e.quorum_met)
        for name, e in stored.items()
    }
    assert derived == {
        "ACTION": (8.875, True, 1, True, True),
        "DECISION": (9.575, True, 1, True, True),
        "VIOLATION": (None, None, 1, True, True),
        "CHANGE": (None, None, 1, False, False),  # its proofs claim scores and a snapshot that it has not
        "BOOT": (None, None, 1, True, True),
    }
    assert verdicts(tmp_path / "log") == ("VERIFIED", "VERIFIED")


def test_three_approvals_that_nobody_can_check_are_no_quorum(tmp_path: Path) -> None:
    with create(tmp_path / "log") as log:
        entry = log.append(schema_event("CHANGE")).entry
        asked = Request.of(entry, log.rules.log, entry.action_hash, entry.timestamp)
        judged = judge_approvals(log.rules.policy, entry.received_approvals, asked)
    assert [(item.signer, item.code) for item in judged] == [
        (signer, "approval.malformed") for signer in ("creator", "community", "auditor")
    ]
    assert (entry.required_approvals, entry.quorum_met) == (3, False)
    assert entry.received_approvals == CHANGE["received_approvals"]


def test_what_the_print_leaves_out_and_what_it_only_asserts_is_named(tmp_path: Path) -> None:
    with create(tmp_path / "log") as log:
        with pytest.raises(MalformedEntryError, match="actor_id"):
            log.append(PRINTED["ACTION"])
        with pytest.raises(DerivedMemberError, match="quorum_met"):
            log.append(schema_event("CHANGE", quorum_met=True))
        assert log.head().size == 1
        log.append(schema_event("CHANGE", quorum_met=False))
