"""The seven invariants, by the names that a VIOLATION gives, and those that an entry can break by itself."""

from __future__ import annotations

from typing import Final

from attestlog.core.entry import Entry, EntryDraft, EventType
from attestlog.errors import MalformedEntryError

INVARIANTS: Final = (
    "INVARIANT_1_APPEND_ONLY",
    "INVARIANT_2_SAFETY_FLOOR",
    "INVARIANT_3_K1_STATE",
    "INVARIANT_4_PROOFS",
    "INVARIANT_5_QUORUM",
    "INVARIANT_6_ROLLBACK",
    "INVARIANT_7_ATTRIBUTION",
)
"""Chain, sequence and tree; composite at the floor; no conflict; proofs; quorum; rollback; attribution."""

VIOLATED: Final = "violated_invariant"
"""The member of `error_details` in which a VIOLATION names the invariant."""


def broken_invariant(facts: Entry | EntryDraft) -> tuple[str, str] | None:
    """(member, why), for what contradicts itself in these facts, whatever the policy; None: nothing.

    A VIOLATION that names an invariant names one of the seven. An entry that executed a rollback names
    the snapshot it went back to.
    """
    if facts.rollback_executed and facts.rollback_snapshot_hash is None:
        return "rollback_snapshot_hash", "a rollback was executed, and no snapshot is named"
    if facts.event_type is EventType.VIOLATION and facts.error_details:
        named = facts.error_details.get(VIOLATED)
        if named is not None and named not in INVARIANTS:
            return f"error_details.{VIOLATED}", f"names none of the {len(INVARIANTS)} invariants"
    return None


def check_invariants(draft: EntryDraft) -> None:
    """Raises MalformedEntryError for a draft that contradicts itself."""
    broken = broken_invariant(draft)
    if broken is not None:
        member, reason = broken
        raise MalformedEntryError(f"draft: {member}: {reason}", member=member)
