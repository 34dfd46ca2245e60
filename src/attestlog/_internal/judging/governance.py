"""One entry against the policy in force: what is derived, and which of its proofs and approvals count.

What this process cannot check, because an entry rests on a type of proof that
is not registered here, is reported as unknown: it is neither right nor wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Final, NamedTuple

from attestlog._internal.core.approval import Request
from attestlog._internal.core.checkpoint import LogId
from attestlog._internal.core.deriving import (
    CHECKED_PROOFS,
    Basis,
    Derived,
    broken_invariant,
    derive,
    explain,
)
from attestlog._internal.core.entry import Entry, EventType, ExecutionStatus
from attestlog._internal.core.policy import Policy
from attestlog._internal.core.uses import Use, use_of
from attestlog._internal.proof_types import registered_proofs

APPROVALS_REPORTED_MAX: Final = 20
"""Refused approvals told one by one of an entry; a hostile one carries hundreds."""


class Remark(NamedTuple):
    """A finding without its place, which is the entry's."""

    code: str
    message: str
    expected: Any = None
    found: Any = None


_stated_members: Final = attrgetter(*Derived._fields)
_BOTH_MET: Final = (True, True)
"""`proofs_valid` and `quorum_met`, the last of the derived members."""
_DONE: Final = (EventType.ACTION, EventType.CHANGE)
"""Entries that say something was done. A DECISION does not: it may have been blocked afterwards."""
_CHECKED: Final = frozenset(CHECKED_PROOFS)


class JudgedEntry(NamedTuple):
    """What an entry comes to."""

    remarks: Sequence[Remark] = ()
    """What is wrong with it."""
    unchecked: Sequence[str] = ()
    """The type of each of its proofs that cannot be checked here."""
    use: Use | None = None
    """The request for approval that it uses."""


_NOTHING: Final = JudgedEntry()


def judge_entry(policy: Policy, log: LogId, entry: Entry) -> JudgedEntry:
    """The entry by itself, under the policy in force."""
    derived = derive(policy, entry, log, entry.action_hash, entry.timestamp)
    # Nearly every entry needs no more than this.
    if (
        derived == _stated_members(entry)
        and derived[3:] == _BOTH_MET
        and not entry.received_approvals
        and not (policy.rules and policy.demand(entry.event_type, entry.action_type, entry.actor_id).denials)
    ):
        if not (entry.provided_proofs or entry.rollback_executed or entry.error_details):
            return _NOTHING
        if all(proof["type"] in _CHECKED for proof in entry.provided_proofs):
            return JudgedEntry(list(_invariants(entry)))
    basis = explain(policy, entry, log, entry.action_hash, entry.timestamp, verifiers=registered_proofs())
    parts = _disagreements(basis, entry), _approvals(basis), _broken_rules(basis, entry), _invariants(entry)
    use = None
    if basis.judged:
        use = use_of(
            policy, entry, Request.of(entry, log, entry.action_hash, entry.timestamp), basis.judged,
            sequence_number=entry.sequence_number, entry_id=entry.entry_id,
        )  # fmt: skip
    return JudgedEntry(list(chain.from_iterable(parts)), basis.claims.unchecked, use)


def _invariants(entry: Entry) -> Iterator[Remark]:
    broken = broken_invariant(entry)
    if broken is not None:
        yield Remark("entry.invariant", ": ".join(broken), found=broken[0])


def _disagreements(basis: Basis, entry: Entry) -> Iterator[Remark]:
    stated = _stated_members(entry)
    for member, expected, found in zip(Derived._fields, basis.derived, stated, strict=True):
        if expected == found:
            continue
        if member == "proofs_valid" and _may_hold(basis, entry.proofs_valid):
            kinds = sorted(set(basis.claims.unchecked))
            yield Remark(
                "entry.proofs_unknown",
                f"proofs_valid is {str(found).lower()}, which rests on proofs that cannot be checked here",
                expected={member: expected, "types": kinds}, found={member: found},
            )  # fmt: skip
            continue
        why = {"missing": basis.missing} if member == "quorum_met" and basis.missing else {}
        yield Remark(
            "entry.derived", f"{member} is not what the policy derives",
            expected={member: expected, **why}, found={member: found},
        )  # fmt: skip


def _broken_rules(basis: Basis, entry: Entry) -> Iterator[Remark]:
    """What was done against a rule. The log records it truly, so it is a notice: somebody should know."""
    demand, lacks = basis.demand, dict[str, Any]()
    if demand.needs_approval and not (basis.derived.quorum_met or entry.quorum_met):
        lacks["quorum"] = basis.missing
    if demand.required_proofs and not (basis.derived.proofs_valid or entry.proofs_valid):
        lacks["proofs"] = sorted(basis.required_proofs - basis.claims.proven)
    if entry.event_type not in _DONE or entry.execution_status is not ExecutionStatus.SUCCESS:
        return
    for denial in demand.denials:
        what = f"done although rule {denial.rule!r} denies it: {denial.reason}"
        yield Remark("entry.rule", what, found=denial.rule)
    if lacks:
        what = " and ".join(lacks)
        yield Remark("entry.rule", f"done without the {what} that a rule of the policy asks for", found=lacks)


def _may_hold(basis: Basis, stated: bool) -> bool:
    """Whether a writer that could check what is unchecked here may have derived this."""
    if not basis.claims.unchecked:
        return False
    return basis.claims.may_satisfy(basis.required_proofs) if stated else True


def _approvals(basis: Basis) -> Iterator[Remark]:
    refused = [item for item in basis.judged if item.code not in (None, "approval.review")]
    for item in refused[:APPROVALS_REPORTED_MAX]:
        yield Remark("entry.approval", item.message, found=item.code)
    if len(refused) > APPROVALS_REPORTED_MAX:
        more = len(refused) - APPROVALS_REPORTED_MAX
        yield Remark("entry.approval", f"{more} more approvals do not count", found=more)
