"""`attestlog policy`: show it, check a file, put a whole policy in force, change one member of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.options import LogArgument, argument, text
from attestlog._internal.cli.output import Output, hint, notice
from attestlog._internal.cli.verbs import UsageError, example, new_group

if TYPE_CHECKING:
    from attestlog._internal.core.policy import Policy
    from attestlog._internal.core.rules import Rules

app = new_group("policy")

FileArgument = Annotated[Path, argument("FILE.toml", "A policy file.")]
ProposalOption = Annotated[str, text("Id of the proposal.", "--proposal-id", metavar="ID")]
DescriptionOption = Annotated[str, text("What changes, and why.", "--description")]

Draft = dict[str, Any]


@app.command(epilog=example("attestlog policy show audit > policy.toml"))
def show(log: LogArgument, *, as_json: options.JsonOption = False) -> None:
    """Show the policy in force, as TOML to edit.

    With --json, it is shown as it stands in the log.
    """
    from attestlog._internal.core.policy import format_policy
    from attestlog._internal.core.policy_text import format_policy_text
    from attestlog._internal.in_force import read_rules
    from attestlog._internal.storage.resolve import open_source

    out, rules = Output(as_json), read_rules(open_source(log), with_holds=False)
    if as_json:
        out.emit("policy", format_policy(rules.policy))
    else:
        out.raw(format_policy_text(rules.policy).encode())
    warn_of(rules)


@app.command(epilog=example("attestlog policy check policy.toml"))
def check(file: FileArgument, *, as_json: options.JsonOption = False) -> None:
    """Check a policy file. An error names the line."""
    from attestlog._internal.core.policy import format_policy

    policy, out = read_policy(file), Output(as_json)
    counts = {
        "rules": len(policy.rules), "approvers": len(policy.approvers), "actors": len(policy.actors),
    }  # fmt: skip
    if as_json:
        out.emit("policy_check", {**counts, "policy": format_policy(policy)})
    else:
        out.text("a policy: ", ", ".join(f"{count} {name}" for name, count in counts.items()))


@app.command("set", epilog=example("attestlog policy set audit policy.toml --actor-id ana --approval b.json"))
def set_policy(
    log: LogArgument,
    file: FileArgument,
    *,
    actor_id: options.ActorOption,
    proposal_id: ProposalOption = "",
    description: DescriptionOption = "",
    approval: options.ApprovalOption = None,
    request_to: options.RequestApprovalOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Put a whole policy in force.

    It needs the approvals that the current policy requires.
    """
    from attestlog._internal.core.policy_change import set_policy_payload
    from attestlog._internal.core.reserved import SET_POLICY
    from attestlog._internal.in_force import read_rules
    from attestlog._internal.storage.resolve import open_source

    more = {"proposal_id": proposal_id, "change_description": description}
    given = {name: value for name, value in more.items() if value}
    payload = set_policy_payload(read_rules(open_source(log), with_holds=False), read_policy(file), **given)
    draft = _change_draft(SET_POLICY, payload, actor_id)
    _change(Output(as_json), log, draft, approval or [], request_to)


@app.command(epilog=example("attestlog policy modify audit safety_floor 6.5 --actor-id ana --proposal-id P7"))
def modify(
    log: LogArgument,
    scope: Annotated[str, typer.Argument(help="Path of a member, such as rules.deploy.roles.")],
    value: Annotated[str, argument("JSON|@FILE", "The new value; null removes the member.")],
    *,
    actor_id: options.ActorOption,
    proposal_id: ProposalOption,
    description: DescriptionOption = "",
    approval: options.ApprovalOption = None,
    request_to: options.RequestApprovalOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Change one member of the policy.

    It needs the approvals that the current policy requires.
    """
    from attestlog._internal.cli.drafts import read_json_option
    from attestlog._internal.core.policy_change import modify_rule_payload
    from attestlog._internal.core.reserved import MODIFY_POLICY_RULE
    from attestlog._internal.in_force import read_rules
    from attestlog._internal.storage.resolve import open_source
    from attestlog.errors import MalformedPolicyError

    new = read_json_option("value", value)
    rules = read_rules(open_source(log), with_holds=False)
    try:
        payload = modify_rule_payload(
            rules, scope, new, proposal_id=proposal_id, change_description=description
        )
    except MalformedPolicyError as error:
        raise UsageError(str(error)) from None
    draft = _change_draft(MODIFY_POLICY_RULE, payload, actor_id)
    _change(Output(as_json), log, draft, approval or [], request_to)


def read_policy(path: Path) -> Policy:
    """The policy in a TOML file. Raises MalformedPolicyError naming file, line and reason; StorageError."""
    from attestlog._internal.cli.files import read_file
    from attestlog._internal.core.policy_text import parse_policy_text
    from attestlog.errors import MalformedPolicyError

    try:
        return parse_policy_text(read_file(str(path)).decode("utf-8"))
    except UnicodeDecodeError:
        raise MalformedPolicyError(f"{path}: not UTF-8", member="") from None
    except MalformedPolicyError as error:
        raise error.with_evidence(f"{path}: {error}") from None


def warn_of(rules: Rules) -> None:
    """Say on stderr if the holder of the log's key can change the policy alone, or approve."""
    from attestlog._internal.core.entry import EventType
    from attestlog._internal.core.policy_change import POLICY_ACTION_TYPES

    policy = rules.policy
    for key_id in rules.keys.keys() & policy.approver_keys.keys():
        name = policy.approver_keys[key_id][0]
        notice(f"approver {name!r} has the log's signing key: anyone who can append can approve")
    # The rules for an actor that no glob but those for all actors matches: anyone may take such a name.
    demands = [policy.demand(EventType.CHANGE, name, "") for name in POLICY_ACTION_TYPES]
    if not all(demand.needs_approval or demand.denials for demand in demands):
        notice("no rule requires approval of every policy change: anyone who can append can change it")
        hint(
            'add a rule with event_types = ["CHANGE"], action_types = ["attestlog.*"] and required_approvals'
        )


def _change_draft(action_type: str, payload: Draft, actor_id: str) -> Draft:
    from attestlog._internal.core.entry import EventCategory, EventType

    return {
        "event_type": EventType.CHANGE, "event_category": EventCategory.CRITICAL, "action_type": action_type,
        "actor_id": actor_id, "action_payload": payload,
    }  # fmt: skip


def _change(out: Output, log: str, draft: Draft, approvals: Sequence[str], request_to: Path | None) -> None:
    """Append the change with these approvals; with `request_to`, only write the request for them."""
    from attestlog._internal.cli.append import append_one
    from attestlog._internal.cli.approval import request_approval, with_approvals
    from attestlog._internal.cli.opening import open_log
    from attestlog._internal.core.entry import parse_draft

    if request_to is not None:
        request_approval(out, log, draft, request_to)
        notice("once it is approved, run the same command with --approval instead of --request-approval")
        return
    with open_log(log) as opened:
        append_one(out, opened, with_approvals(opened, parse_draft(draft), approvals))
        warn_of(opened.rules)
