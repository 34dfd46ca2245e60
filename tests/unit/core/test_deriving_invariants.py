"""What an entry cannot say of itself: a rollback to nowhere, an invariant that there is not."""

from typing import Any

import pytest
from tests.support.shapes import SNAPSHOT_HASH, VIOLATION, line_of, read

from attestlog._internal.core.deriving import INVARIANTS, broken_invariant
from attestlog.errors import MalformedEntryError


def violation(name: Any) -> dict[str, Any]:
    return {**VIOLATION, "error_details": {"violation_type": "X", "violated_invariant": name}}


@pytest.mark.parametrize("name", INVARIANTS)
def test_a_violation_names_one_of_the_seven(name: str) -> None:
    assert broken_invariant(read(line_of(violation(name)))) is None


@pytest.mark.parametrize(
    "name", ["INVARIANT_8_X", "INVARIANT_2", "", "invariant_2_safety_floor", 2, ["x"], {}]
)
def test_a_violation_of_anything_else_is_refused(name: Any) -> None:
    with pytest.raises(MalformedEntryError, match="names none of the 7 invariants") as caught:
        line_of(violation(name))
    assert caught.value.member == "error_details.violated_invariant"


def test_it_need_not_name_one_and_other_entries_may_say_what_they_like() -> None:
    line_of({**VIOLATION, "error_details": {"violation_type": "X"}})
    line_of({**VIOLATION, "error_details": None})
    line_of({**violation("MY_OWN"), "event_type": "ACTION"})


def test_a_rollback_that_was_executed_names_its_snapshot() -> None:
    action = {"event_type": "ACTION", "action_type": "x", "actor_id": "a", "rollback_executed": True}
    with pytest.raises(MalformedEntryError, match="no snapshot is named") as caught:
        line_of(action)
    assert caught.value.member == "rollback_snapshot_hash"
    assert broken_invariant(read(line_of(action, rollback_snapshot_hash=SNAPSHOT_HASH))) is None
