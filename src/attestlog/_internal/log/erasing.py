"""The drafts of erasures and legal holds, and what is asked before a payload goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attestlog._internal.core.batch import Prepared
from attestlog._internal.core.entry import Entry, EventType, Object, format_timestamp
from attestlog._internal.core.erasure import Erasure, check_erasable, check_erasure, format_erasure, parse_erasure
from attestlog._internal.core.receipt import Receipt
from attestlog._internal.core.reserved import ERASE_PAYLOAD
from attestlog._internal.core.rules import Rules
from attestlog.errors import ErasureRefusedError, StorageError


def change_draft(action_type: str, payload: Object, members: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a CHANGE entry with this payload."""
    return {**members, "event_type": "CHANGE", "action_type": action_type, "action_payload": payload}


def erasure_draft(
    target: Entry, reason: str, legal_basis: str | None, members: Mapping[str, Any]
) -> dict[str, Any]:
    """The draft of the entry that says that the payload of `target` is erased."""
    payload = format_erasure(Erasure.of(target, reason, legal_basis))
    return change_draft(ERASE_PAYLOAD, payload, {"event_category": "WARNING", **members})


def refuse_bare_erasure(prepared: Prepared) -> None:
    """Raises ErasureRefusedError for the entry of an erasure that was not asked for as one.

    Appended by itself it would say that a payload is gone which is there, past holds and policy.
    """
    draft = prepared.draft
    if draft.event_type is EventType.CHANGE and draft.action_type == ERASE_PAYLOAD:
        raise ErasureRefusedError(f"{ERASE_PAYLOAD} is appended by erasing alone", rule="append")


def check_prepared(rules: Rules, target: Entry, prepared: Prepared, now_us: int) -> None:
    """Raises ErasureRefusedError unless the payload of `target` may go, by this entry, now."""
    number = target.sequence_number
    erasure = parse_erasure(prepared.draft.action_payload)
    if target.action_payload is None:
        raise ErasureRefusedError(
            f"the payload of entry {number} is erased already", sequence_number=number, rule="erased"
        )
    if not erasure.describes(target):
        raise ErasureRefusedError(
            f"entry {number} is not the one described", sequence_number=number, rule="described"
        )
    check_erasable(target)
    check_erasure(rules, erasure, format_timestamp(now_us))
    for member in ("quorum_met", "proofs_valid"):
        if not getattr(prepared, member):
            raise ErasureRefusedError(
                f"the payload of entry {number} stays: {member} is false, and the policy asks for it",
                sequence_number=number, rule="approval",
            )  # fmt: skip


def unfinished(target: Entry, receipt: Receipt, cause: StorageError) -> StorageError:
    """The error when the log says already that a payload is erased, and it could not be."""
    return StorageError(
        f"entry {receipt.sequence_number} says that the payload of entry {target.sequence_number} is erased, "
        f"and it is not yet: {cause.message}",
        sequence_number=target.sequence_number, erased_by=receipt.sequence_number,
    )  # fmt: skip
