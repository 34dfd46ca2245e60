"""Policies for the command line: read from files, shown, and put in force."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attestlog._internal.cli.appending import append_one
from attestlog._internal.cli.drafts import read_json_option
from attestlog._internal.cli.opening import open_log
from attestlog._internal.cli.output import Output, hint, notice
from attestlog._internal.cli.requests import read_file, with_approvals, write_file
from attestlog._internal.cli.verbs import UsageError
from attestlog._internal.core.approval import format_request
from attestlog._internal.core.entry import EventCategory, EventType, parse_draft
from attestlog._internal.core.policy import Policy, format_policy
from attestlog._internal.core.policy_change import (
    MODIFY_RULE_ACTION_TYPE,
    POLICY_ACTION_TYPES,
    SET_POLICY_ACTION_TYPE,
    modify_rule_payload,
    set_policy_payload,
)
from attestlog._internal.core.policy_text import format_policy_text, parse_policy_text
from attestlog._internal.core.rules import Rules
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import MalformedPolicyError

Draft = dict[str, Any]


def read_policy(path: Path) -> Policy:
    """The policy in a TOML file. Raises MalformedPolicyError naming file, line and reason; StorageError."""
    try:
        return parse_policy_text(read_file(str(path)).decode("utf-8"))
    except UnicodeDecodeError:
        raise MalformedPolicyError(f"{path}: not UTF-8", member="") from None
    except MalformedPolicyError as error:
        raise MalformedPolicyError(f"{path}: {error}", **error.evidence()) from None


def show_policy(out: Output, log: str) -> None:
    """The policy in force, and what should be known of it."""
    rules = open_source(log).rules()
    policy = rules.policy
    out.emit("policy", format_policy(policy)) if out.as_json else out.raw(format_policy_text(policy).encode())
    warn_of(rules)


def warn_of(rules: Rules) -> None:
    """Say on stderr if whoever appends can change the policy, or approve."""
    policy = rules.policy
    for key_id in rules.keys.keys() & policy.approver_keys.keys():
        name = policy.approver_keys[key_id][0]
        notice(f"approver {name!r} has the log's signing key: whoever appends can approve")
    if not all(policy.demand(EventType.CHANGE, name).needs_approval for name in POLICY_ACTION_TYPES):
        notice("no rule asks for approval of every change of the policy: whoever appends can change it")
        hint('a rule for event_types ["CHANGE"], action_types ["set_policy", "modify_policy_rule"] does')


def describe_policy(policy: Policy) -> dict[str, Any]:
    """How much there is of it, and the whole."""
    return {
        "rules": len(policy.rules), "approvers": len(policy.approvers), "actors": len(policy.actors),
        "policy": format_policy(policy),
    }  # fmt: skip


def set_policy_draft(policy: Policy, actor_id: str, proposal_id: str, description: str) -> Draft:
    """The CHANGE that puts this policy in force."""
    more = {"proposal_id": proposal_id, "change_description": description}
    payload = set_policy_payload(policy, **{name: value for name, value in more.items() if value})
    return _change(SET_POLICY_ACTION_TYPE, payload, actor_id)


def modify_rule_draft(log: str, actor_id: str, scope: str, value: str, proposal: tuple[str, str]) -> Draft:
    """The CHANGE of one member of the policy in force. Raises UsageError if it makes no policy."""
    new, (proposal_id, description) = read_json_option("value", value), proposal
    policy = open_source(log).rules().policy
    try:
        payload = modify_rule_payload(
            policy, scope, new, proposal_id=proposal_id, change_description=description
        )
    except MalformedPolicyError as error:
        raise UsageError(str(error)) from None
    return _change(MODIFY_RULE_ACTION_TYPE, payload, actor_id)


def change_policy(
    out: Output, log: str, draft: Draft, approvals: Sequence[str], propose: Path | None
) -> None:
    """Append the change with these approvals; with `propose`, only write the request for them."""
    if propose is not None:
        from attestlog._internal.approving import propose as make_request

        write_file(propose, format_request(make_request(log, draft)))
        notice(f"request in {propose}: the same command with --approval in its place changes the policy")
        return
    with open_log(log) as opened:
        append_one(out, opened, with_approvals(opened, parse_draft(draft), approvals))
        warn_of(opened.rules)


def _change(action_type: str, payload: Draft, actor_id: str) -> Draft:
    return {
        "event_type": EventType.CHANGE, "event_category": EventCategory.CRITICAL, "action_type": action_type,
        "actor_id": actor_id, "action_payload": payload,
    }  # fmt: skip
