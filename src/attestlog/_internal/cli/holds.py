"""Legal holds for the command line: added, released, listed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attestlog._internal.cli.opening import open_log
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.requests import propose_to, with_approvals
from attestlog._internal.core.entry import parse_draft
from attestlog._internal.core.rules import (
    HOLD_ACTION_TYPE,
    RELEASE_ACTION_TYPE,
    Hold,
    Release,
    format_hold,
    parse_hold,
    parse_release,
)
from attestlog._internal.log.erasing import change_draft
from attestlog._internal.storage.resolve import open_source


def change_hold(
    out: Output,
    log: str,
    change: Hold | Release,
    *,
    actor_id: str,
    approvals: Sequence[str],
    propose: Path | None,
) -> None:
    """Append the entry, or only write the request for it."""
    action_type = HOLD_ACTION_TYPE if isinstance(change, Hold) else RELEASE_ACTION_TYPE
    payload = format_hold(change)
    # Made from options, it has been checked by nobody.
    parse_hold(payload) if isinstance(change, Hold) else parse_release(payload)
    members = change_draft(action_type, payload, {"actor_id": actor_id})
    if propose is not None:
        propose_to(out, log, members, propose)
        return
    with open_log(log) as opened:
        draft = parse_draft(members)
        receipt = opened.append(with_approvals(opened, draft, approvals) if approvals else draft)
    facts = {"sequence_number": receipt.sequence_number, **payload}
    if isinstance(change, Release):
        out.emit("hold_release", facts) if out.as_json else out.text(f"{change.name} is released")
    else:
        out.emit("hold", facts) if out.as_json else out.text(_described(change))


def show_holds(out: Output, log: str) -> None:
    """Those in force, by name."""
    holds = open_source(log).rules().holds
    for name in sorted(holds):
        if out.as_json:
            out.emit("hold", format_hold(holds[name]))
        else:
            out.text(_described(holds[name]))
    if not holds and not out.as_json:
        out.text("no legal hold is in force")


def _described(hold: Hold) -> str:
    stop = "on" if hold.stop is None else f"to {hold.stop - 1}"
    return f"{hold.name}  entries {hold.start} {stop}  {hold.reason}"
