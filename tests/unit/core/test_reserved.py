"""Names of the log's own: when an entry acts, what drafts may not be called, what they may not state."""

from itertools import product

import pytest

from attestlog._internal.core.entry import EntryDraft, EventType, ExecutionStatus, parse_draft
from attestlog._internal.core.reserved import (
    ERASING,
    GENESIS,
    GOVERNING,
    KEPT,
    KNOWN,
    OF_KEYS,
    OF_THE_LOG,
    SET_POLICY,
    acts,
    check_reserved,
    erases,
    governs,
    is_newer,
)
from attestlog._internal.core.rules import _HANDLERS
from attestlog._internal.verifier.verify import ACTING
from attestlog._internal.verifier.verify import acts as acts_in_the_other_verifier
from attestlog.errors import MalformedEntryError

ACTS = (EventType.CHANGE, ExecutionStatus.SUCCESS)


def draft(
    action_type: str,
    event_type: EventType = EventType.CHANGE,
    status: ExecutionStatus = ACTS[1],
    **more: object,
) -> EntryDraft:
    return parse_draft({
        "event_type": event_type, "action_type": action_type, "execution_status": status,
        "actor_id": "a", **more,
    })  # fmt: skip


@pytest.mark.parametrize("name", [*sorted(KNOWN), "attestlog.unknown", GENESIS, "modify_policy_rule"])
def test_an_entry_acts_only_as_a_change_that_succeeded(name: str) -> None:
    """Every name × event type × status, in both verifiers."""
    for kind, status in product(EventType, ExecutionStatus):
        entry = draft(name, kind, status)
        expected = name.startswith("attestlog.") and (kind, status) == ACTS
        assert acts(entry) is expected
        stated = {"event_type": str(kind), "execution_status": str(status), "action_type": name}
        assert acts_in_the_other_verifier(stated) is expected
        assert governs(entry) is (expected and name in GOVERNING)
        assert erases(entry) is (expected and name in ERASING)


def test_newer_is_what_acts_by_a_name_that_is_not_known() -> None:
    unknown = "attestlog.set_colour"
    assert is_newer(draft(unknown))
    assert not is_newer(draft(unknown, status=ExecutionStatus.FAILED))
    assert not is_newer(draft(unknown, EventType.DECISION))
    assert not any(is_newer(draft(name)) for name in KNOWN)
    assert not is_newer(draft("deploy"))


def test_both_verifiers_know_the_same_names() -> None:
    assert ACTING == KNOWN
    assert set(_HANDLERS) <= GOVERNING
    assert GOVERNING.isdisjoint(OF_THE_LOG)
    assert {GENESIS, *ERASING, *GOVERNING} <= KEPT
    assert {name for name in GOVERNING if name.endswith("_signing_key")} == OF_KEYS


@pytest.mark.parametrize(
    "name",
    [
        "attestlog.unknown", "attestlog.", "Attestlog.set_policy", "ATTESTLOG.SET_POLICY",
        "\uff41ttestlog.set_policy", "attestlog\uff0eset_policy",
        "atte\u017ftlog.set_policy", GENESIS,
    ],
)  # fmt: skip
def test_names_that_look_like_the_log_s_own_are_refused(name: str) -> None:
    for kind in EventType:
        with pytest.raises(MalformedEntryError, match="belongs to the log") as caught:
            check_reserved(draft(name, kind))
        assert caught.value.evidence()["member"] == "action_type"


@pytest.mark.parametrize("name", ["deploy", "attestlog", "attestlogs.x", "my.attestlog.x", "set_policy", "ſ"])
def test_every_other_name_is_the_user_s(name: str) -> None:
    for kind in EventType:
        check_reserved(draft(name, kind))


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_which_events_may_have_a_name_of_the_log(name: str) -> None:
    for kind in (EventType.ACTION, EventType.BOOT, EventType.SHUTDOWN):
        with pytest.raises(MalformedEntryError, match="is a change of the log itself"):
            check_reserved(draft(name, kind))
    for kind, status in product((EventType.DECISION, EventType.VIOLATION), ExecutionStatus):
        check_reserved(draft(name, kind, status))  # a guard's intent, and its refusal
    for status in ExecutionStatus:
        if name in OF_THE_LOG:
            with pytest.raises(MalformedEntryError, match="is appended by the log alone"):
                check_reserved(draft(name, status=status))
        elif name in OF_KEYS and status is ExecutionStatus.SUCCESS:
            with pytest.raises(MalformedEntryError, match="only where keys are managed"):
                check_reserved(draft(name, status=status))
        else:
            check_reserved(draft(name, status=status))
        check_reserved(draft(name, status=status), by_log=True)


@pytest.mark.parametrize("member", ["attestlog", "attestlog_", "attestlog_rules", "attestlog_anything"])
def test_what_the_log_asserts_is_not_a_caller_s_to_state(member: str) -> None:
    with pytest.raises(MalformedEntryError, match="filled in by the log") as caught:
        check_reserved(draft("deploy", environment={"os": "x", member: "right or wrong"}))
    assert caught.value.evidence()["member"] == f"environment.{member}"


@pytest.mark.parametrize("member", ["attest", "attestlogs", "Attestlog", "my_attestlog_rules"])
def test_other_members_of_environment_are_the_caller_s(member: str) -> None:
    check_reserved(draft(SET_POLICY, environment={member: "x"}))
