"""Changes of the policy: what makes one hold, and the policy after it.

    set_policy            payload {policy, …}: the whole of it, in the one spelling a log keeps
    modify_policy_rule    payload {proposal_id, change_description, scope, old_value, new_value, …}:
                          one member, named by its path (`safety_floor`, `rules.deploy.roles`)

Both name in `replaces` the entry that made the policy in force (the last change of the policy that held, else
the genesis entry), by number and hash. It is part of what people approve, so an old change with its old
approvals does not hold again. It is not the last governing entry: a rotation or a legal hold between asking
and committing voids no approvals.

A change needs the quorum of the policy it replaces, judged anew from the
approvals in the entry: what the entry says of its quorum counts for nothing.
`old_value` is the value in force, so that nobody approves a change of
something else; null stands for what is not there, and as `new_value` takes a
rule, an approver, an actor or a pattern away.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from msgspec import to_builtins

from attestlog._internal.core import canonical
from attestlog._internal.core.checkpoint import LogId
from attestlog._internal.core.convert import parse_path
from attestlog._internal.core.deriving import explain
from attestlog._internal.core.entry import Entry, EntryDraft, EntryRef
from attestlog._internal.core.policy import Policy, format_policy, parse_policy
from attestlog._internal.core.reserved import MODIFY_POLICY_RULE, SET_POLICY
from attestlog.errors import MalformedPolicyError, VerificationError

POLICY_ACTION_TYPES: Final = (SET_POLICY, MODIFY_POLICY_RULE)

_REMOVABLE: Final = (("rules",), ("approvers",), ("actors",), ("redaction", "custom_patterns"))
"""Where members have names of the log's own, and may come and go."""

Members = dict[str, Any]


class InForce(Protocol):
    """The rules in force, as far as a change of the policy is concerned: `log.rules`."""

    @property
    def policy(self) -> Policy:
        """The policy."""

    @property
    def policy_by(self) -> EntryRef:
        """The entry that made it."""


def set_policy_payload(rules: InForce, policy: Policy, **more: Any) -> Members:
    """The payload of an `attestlog.set_policy` entry that puts `policy` in the place of the one in force.

    `more`: whatever else is to be known of the proposal.
    """
    return {"policy": format_policy(policy), "replaces": to_builtins(rules.policy_by), **more}


def modify_rule_payload(
    rules: InForce, scope: str, new_value: Any, *, proposal_id: str, change_description: str
) -> Members:
    """The payload of an `attestlog.modify_policy_rule` entry that changes one member of the policy in force.

    `rules`: those in force, such as `log.rules`.

    Raises MalformedPolicyError if there is no such member, or the policy would be none.
    """
    payload = {
        "proposal_id": proposal_id, "change_description": change_description, "scope": scope,
        "old_value": value_at(rules.policy, scope), "new_value": new_value,
        "replaces": to_builtins(rules.policy_by),
    }  # fmt: skip
    _modified(rules.policy, payload)
    return payload


def proposed_patterns(draft: EntryDraft) -> dict[str, str]:
    """The custom patterns of the policy that the draft would put in force, as far as it states them.

    Who writes refuses those that cannot be run; a verifier reads no patterns.
    """
    payload: Any = draft.action_payload
    if draft.action_type not in {SET_POLICY, MODIFY_POLICY_RULE} or not isinstance(payload, dict):
        return {}
    found: Any = payload
    if draft.action_type == SET_POLICY:
        path = ["policy", "redaction", "custom_patterns"]
    else:
        scope, value = str(payload.get("scope")), payload.get("new_value")
        head, _, name = scope.partition(f"{_PATTERNS_SCOPE}.")
        if not head and name:
            return {name: value} if isinstance(value, str) else {}
        path = {"redaction": ["new_value", "custom_patterns"], _PATTERNS_SCOPE: ["new_value"]}.get(scope, [])
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    patterns = found if path and isinstance(found, dict) else {}
    return {name: source for name, source in patterns.items() if isinstance(source, str)}


_PATTERNS_SCOPE: Final = "redaction.custom_patterns"


def value_at(policy: Policy, scope: str) -> Any:
    """The value of the member at this path, None for one that is not there. Raises MalformedPolicyError."""
    value: Any = format_policy(policy)
    for place, name in enumerate(path := parse_path(scope)):
        if not isinstance(value, dict) or (name not in value and path[:place] not in _REMOVABLE):
            raise MalformedPolicyError(f"policy: {scope}: is not a member of a policy", member="scope")
        value = value.get(name)
    return value


def changed_policy(policy: Policy, entry: Entry, log: LogId, made_by: EntryRef) -> Policy:
    """The policy in force after this entry, which stands under `policy`; `made_by`: the entry that made that.

    Raises VerificationError without the quorum, or if `replaces` or `old_value` is not what is in force,
    MalformedPolicyError if the payload is malformed or the new policy would be.
    """
    check_allowed(policy, entry, log)
    payload = entry.action_payload or {}
    check_named("replaces", payload.get("replaces"), made_by, "the policy in force was made by entry")
    if entry.action_type == SET_POLICY:
        return _whole(payload)
    return _modified(policy, payload)


def check_allowed(policy: Policy, entry: Entry, log: LogId) -> None:
    """Raises VerificationError for an entry that a rule denies, or that has not the quorum.

    The evidence has what is missing, and why each approval does not count.
    """
    basis = explain(policy, entry, log, entry.action_hash, entry.timestamp)
    for denial in basis.demand.denials:
        raise VerificationError(f"rule {denial.rule!r} denies it: {denial.reason}", found=denial.rule)
    if basis.derived.quorum_met:
        return
    refused = [{"signer": item.signer, "reason": item.code} for item in basis.judged if not item.counts]
    raise VerificationError(
        "it has not the quorum of the policy in force", expected=basis.missing, found={"refused": refused}
    )


def check_named(member: str, stated: Any, expected: EntryRef, what: str) -> None:
    """Raises VerificationError unless the member of a payload names this entry, by number and hash."""
    wanted = to_builtins(expected)
    if type(stated) is not dict or stated != wanted or type(stated.get("sequence_number")) is not int:
        raise VerificationError(f"{member}: {what} {expected.sequence_number}", expected=wanted, found=stated)


def _whole(payload: Members) -> Policy:
    given = payload.get("policy")
    policy = parse_policy(given)
    if format_policy(policy) != given:
        raise MalformedPolicyError(
            "policy: is not whole, every default written out, with keys as PEM", member="policy"
        )
    return policy


def _modified(policy: Policy, payload: Members) -> Policy:
    for name in ("proposal_id", "change_description", "scope", "old_value", "new_value"):
        if name not in payload:
            raise MalformedPolicyError(f"policy change: {name}: is missing", member=name)
    for name in ("proposal_id", "change_description", "scope"):
        if not isinstance(payload[name], str):
            raise MalformedPolicyError(f"policy change: {name}: is not a string", member=name)
    scope, old, new = payload["scope"], payload["old_value"], payload["new_value"]
    current = value_at(policy, scope)
    if canonical.encode(current) != canonical.encode(old):
        raise VerificationError(f"{scope} is not what old_value says", expected=current, found=old)
    *parents, name = parse_path(scope)
    members = format_policy(policy)
    parent: Any = members
    for step in parents:
        parent = parent[step]
    if new is None and tuple(parents) in _REMOVABLE:
        parent.pop(name, None)
    else:
        parent[name] = new
    return parse_policy(members)
