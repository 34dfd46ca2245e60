"""`attestlog hold`: legal holds, which forbid erasing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.options import text
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import example, new_app

app = new_app(help="Forbid erasing payloads until further notice.")
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the hold.", show_default=False)]
ReasonOption = Annotated[str, text("Why; it stands in the log.")]
ActorOption = Annotated[str, text("Who does it.", metavar="ID")]
ApprovalOption = Annotated[list[str] | None, text("From attestlog approve.", metavar="FILE")]
ProposeOption = Annotated[Path | None, text("Only write a request for it.", metavar="FILE")]


@app.command(
    epilog=example("attestlog hold add audit case-7 --start 100 --reason litigation --actor-id counsel")
)
def add(
    log: options.LogArgument,
    name: NameArgument,
    *,
    reason: ReasonOption,
    actor_id: ActorOption,
    start: Annotated[int, text("From this entry on.", metavar="N")] = 0,
    stop: Annotated[int | None, text("Up to this one; else without end.", metavar="N")] = None,
    approval: ApprovalOption = None,
    propose: ProposeOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Forbid erasing the payloads of these entries, those to come included, until the hold is released."""
    from attestlog._internal.cli.holds import change_hold
    from attestlog._internal.core.rules import Hold

    hold = Hold(name=name, start=start, stop=stop, reason=reason)
    change_hold(Output(as_json), log, hold, actor_id=actor_id, approvals=approval or [], propose=propose)


@app.command(epilog=example("attestlog hold release audit case-7 --reason settled --actor-id counsel"))
def release(
    log: options.LogArgument,
    name: NameArgument,
    *,
    reason: ReasonOption,
    actor_id: ActorOption,
    approval: ApprovalOption = None,
    propose: ProposeOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """End a hold."""
    from attestlog._internal.cli.holds import change_hold
    from attestlog._internal.core.rules import Release

    ended = Release(name=name, reason=reason)
    change_hold(Output(as_json), log, ended, actor_id=actor_id, approvals=approval or [], propose=propose)


@app.command("list", epilog=example("attestlog hold list audit"))
def list_holds(log: options.LogArgument, *, as_json: options.JsonOption = False) -> None:
    """List the holds in force."""
    from attestlog._internal.cli.holds import show_holds

    show_holds(Output(as_json), log)
