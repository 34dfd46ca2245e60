"""`attestlog hold`: legal holds, which forbid erasing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from attestlog._internal.cli import options
from attestlog._internal.cli.options import argument, text
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import example, new_group

if TYPE_CHECKING:
    from attestlog._internal.core.rules import Hold, Release

app = new_group("hold")

NameArgument = Annotated[str, argument("NAME", "Name of the hold.")]


@app.command(
    epilog=example("attestlog hold add audit case-7 --start 100 --reason litigation --actor-id counsel")
)
def add(
    log: options.LogArgument,
    name: NameArgument,
    *,
    reason: options.ReasonOption,
    actor_id: options.ActorOption,
    start: Annotated[int, text("First entry under the hold; default: 0.", metavar="N")] = 0,
    stop: Annotated[int | None, text("First entry after the hold; default: none.", metavar="N")] = None,
    approval: options.ApprovalOption = None,
    request_to: options.RequestApprovalOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Forbid erasing the payloads of some entries.

    Without --stop, the hold covers future entries too. It ends when it is released.
    """
    from attestlog._internal.core.rules import Hold

    hold = Hold(name=name, start=start, stop=stop, reason=reason)
    _change(Output(as_json), log, hold, actor_id=actor_id, approvals=approval or [], request_to=request_to)


@app.command(epilog=example("attestlog hold release audit case-7 --reason settled --actor-id counsel"))
def release(
    log: options.LogArgument,
    name: NameArgument,
    *,
    reason: options.ReasonOption,
    actor_id: options.ActorOption,
    approval: options.ApprovalOption = None,
    request_to: options.RequestApprovalOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """End a hold."""
    from attestlog._internal.core.rules import release_of
    from attestlog._internal.in_force import read_rules
    from attestlog._internal.storage.resolve import open_source

    ended = release_of(read_rules(open_source(log)), name, reason)
    _change(Output(as_json), log, ended, actor_id=actor_id, approvals=approval or [], request_to=request_to)


@app.command("list", epilog=example("attestlog hold list audit"))
def list_holds(log: options.LogArgument, *, as_json: options.JsonOption = False) -> None:
    """List the holds in force."""
    from attestlog._internal.core.rules import format_hold
    from attestlog._internal.in_force import read_rules
    from attestlog._internal.storage.resolve import open_source

    out, holds = Output(as_json), read_rules(open_source(log)).holds
    for name in sorted(holds):
        if out.as_json:
            out.emit("hold", format_hold(holds[name]))
        else:
            out.text(_described(holds[name]))
    if not holds and not out.as_json:
        out.text("no legal hold is in force")


def _change(
    out: Output,
    log: str,
    change: Hold | Release,
    *,
    actor_id: str,
    approvals: Sequence[str],
    request_to: Path | None,
) -> None:
    """Append the entry; with `request_to`, only write the request for its approval."""
    from attestlog._internal.cli.approval import request_approval, with_approvals
    from attestlog._internal.cli.opening import open_log
    from attestlog._internal.core.entry import parse_draft
    from attestlog._internal.core.reserved import PLACE_LEGAL_HOLD, RELEASE_LEGAL_HOLD
    from attestlog._internal.core.rules import (
        Release,
        format_hold,
        parse_hold,
        parse_release,
    )
    from attestlog._internal.log.drafts import change_draft

    releases, payload = isinstance(change, Release), format_hold(change)
    (parse_release if releases else parse_hold)(payload)  # structs built from options bypass validation
    action_type = RELEASE_LEGAL_HOLD if releases else PLACE_LEGAL_HOLD
    members = change_draft(action_type, payload, {"actor_id": actor_id})
    if request_to is not None:
        request_approval(out, log, members, request_to)
        return
    with open_log(log) as opened:
        draft = parse_draft(members)
        receipt = opened.append(with_approvals(opened, draft, approvals) if approvals else draft)
    if out.as_json:
        facts = {"sequence_number": receipt.sequence_number, **payload}
        out.emit("hold_release", facts) if releases else out.emit("hold", facts)
    else:
        out.text(f"{change.name} is released" if isinstance(change, Release) else _described(change))


def _described(hold: Hold) -> str:
    stop = "on" if hold.stop is None else f"to {hold.stop - 1}"
    return f"{hold.name}  entries {hold.start} {stop}  {hold.reason}"
