"""`attestlog policy`: show it, check a file, set it, modify one member of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.options import LogArgument, text
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import example, new_app

app = new_app(help="Show or change a log's policy.")
FileArgument = Annotated[Path, typer.Argument(metavar="FILE.toml", help="A policy.", show_default=False)]
ActorOption = Annotated[str, text("Who changes it.", "--actor-id", metavar="ID")]
IdOption = Annotated[str, text("Names the proposal.", "--proposal-id", metavar="ID")]
WhyOption = Annotated[str, text("What changes, and why.", "--description", metavar="TEXT")]
ApprovalOption = Annotated[list[str] | None, text("From attestlog approve.", "--approval", metavar="FILE")]
ProposeOption = Annotated[Path | None, text("Only write a request for it.", "--propose", metavar="FILE")]


@app.command(epilog=example("attestlog policy show audit > policy.toml"))
def show(log: LogArgument, *, as_json: options.JsonOption = False) -> None:
    """Show the policy in force, as TOML to be edited, or with --json as it stands in the log."""
    from attestlog._internal.cli.policies import show_policy

    show_policy(Output(as_json), log)


@app.command(epilog=example("attestlog policy check policy.toml"))
def check(file: FileArgument, *, as_json: options.JsonOption = False) -> None:
    """Read a policy file; what is wrong with it is said with its line."""
    from attestlog._internal.cli.policies import describe_policy, read_policy

    described = describe_policy(read_policy(file))
    out = Output(as_json)
    if out.as_json:
        out.emit("policy_check", described)
    else:
        out.text(
            "a policy: ", ", ".join(f"{described[name]} {name}" for name in ("rules", "approvers", "actors"))
        )


@app.command("set", epilog=example("attestlog policy set audit policy.toml --actor-id ana --approval b.json"))
def set_policy(
    log: LogArgument,
    file: FileArgument,
    *,
    actor_id: ActorOption,
    proposal_id: IdOption = "",
    description: WhyOption = "",
    approval: ApprovalOption = None,
    propose: ProposeOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Put a whole policy in force, by the quorum of the one it replaces."""
    from attestlog._internal.cli.policies import change_policy, read_policy, set_policy_draft

    draft = set_policy_draft(read_policy(file), actor_id, proposal_id, description)
    change_policy(Output(as_json), log, draft, approval or [], propose)


@app.command(epilog=example("attestlog policy modify audit safety_floor 6.5 --actor-id ana --proposal-id P7"))
def modify(
    log: LogArgument,
    scope: Annotated[str, typer.Argument(help="Path of a member: rules.deploy.roles.")],
    value: Annotated[str, typer.Argument(metavar="JSON|@FILE", help="The new value; null takes it away.")],
    *,
    actor_id: ActorOption,
    proposal_id: IdOption,
    description: WhyOption = "",
    approval: ApprovalOption = None,
    propose: ProposeOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Change one member of the policy, by the quorum of the one in force."""
    from attestlog._internal.cli.policies import change_policy, modify_rule_draft

    draft = modify_rule_draft(log, actor_id, scope, value, (proposal_id, description))
    change_policy(Output(as_json), log, draft, approval or [], propose)
