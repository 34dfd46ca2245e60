"""`attestlog retain`: payloads that are older than the policy keeps them are erased, from a timer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.opening import open_log
from attestlog._internal.cli.options import flag, text
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import UsageError, example, new_app

if TYPE_CHECKING:
    from attestlog._internal.core.policy import ErasureRules
    from attestlog._internal.log.retaining import Due, Retention

app = new_app()
_EXAMPLE = example(
    "attestlog retain audit --dry-run",
    "attestlog retain audit --older-than 90d --action-type 'chat.*' --reason retention \\",
    "    --actor-id retention-timer",
)
_WHY = {
    "hold": "under legal hold", "policy": "kept by the policy", "kept": "needed by the log",
}  # fmt: skip


@app.command(epilog=_EXAMPLE)
def retain(
    log: options.LogArgument,
    *,
    older_than: Annotated[
        str | None,
        text("Entries from before this time: 90d, RFC 3339; default: the policy's.", metavar="TIME"),
    ] = None,
    action_type: Annotated[
        list[str] | None,
        text("Only entries of this type; repeatable; default: the policy's.", metavar="GLOB"),
    ] = None,
    start: Annotated[int, typer.Option(min=0, help="First entry to look at.", metavar="N")] = 0,
    reason: Annotated[str, text("Why; the log keeps this text.", "--reason")] = "retention",
    actor_id: Annotated[
        str, text("Name or id of who does this; default: retention.", "--actor-id", metavar="ID")
    ] = "retention",
    legal_basis: Annotated[str | None, text("Legal basis of the erasure.")] = None,
    dry_run: Annotated[bool, flag("Show what would go; change nothing.", "--dry-run")] = False,
    signer: options.SignerOption = None,
    any_filesystem: options.AnyFilesystemOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Erase the payloads that are older than they are to be kept, and nothing under a legal hold.

    Without options it is what the policy says: action_types and retain_days of its [erasure]. Payloads that
    must stay are left out, and counted. Each range that goes is recorded by an entry of its own; where
    nothing is due, nothing is written. For a timer.
    """
    from attestlog._internal.in_force import read_rules
    from attestlog._internal.log.drafts import system_clock
    from attestlog._internal.log.retaining import plan_retention
    from attestlog._internal.query.filter import parse_moment
    from attestlog._internal.storage.resolve import open_source

    out, source = Output(as_json), open_source(log)
    rules, now_us = read_rules(source), system_clock()
    keeps = rules.policy.erasure
    plan = plan_retention(
        source, rules, action_types=action_type or keeps.action_types, start=start, now_us=now_us,
        before_us=parse_moment(older_than or _kept(keeps), now_us), legal_basis=legal_basis,
    )  # fmt: skip
    if dry_run or not plan.due:
        for due in plan.due:
            _show(out, due, None)
        _end(out, plan, dry_run=dry_run)
        return
    members: dict[str, Any] = {"reason": reason, "actor_id": actor_id, "legal_basis": legal_basis}
    with open_log(log, signer=signer, any_filesystem=any_filesystem) as opened:
        for due in plan.due:
            # A hold that was placed meanwhile refuses this range, and ends the run.
            receipt = opened.erase_many(
                action_type or keeps.action_types, start=due.start, stop=due.stop, **members
            )
            _show(out, due, receipt.sequence_number)
    _end(out, plan, dry_run=False)


def _kept(keeps: ErasureRules) -> str:
    if not keeps.retain_days:
        raise UsageError("the policy names no retain_days: --older-than says what is too old")
    return f"{keeps.retain_days}d"


def _show(out: Output, due: Due, by: int | None) -> None:
    if out.as_json:
        out.emit("retained", {**msgspec.to_builtins(due), "sequence_number": by})
        return
    what = "1 payload" if due.count == 1 else f"{due.count:,} payloads"
    told = "would go" if by is None else f"erased; entry {by} records it"
    out.text(f"{what} of entries {due.start:,} to {due.stop - 1:,}: {told}")


def _end(out: Output, plan: Retention, *, dry_run: bool) -> None:
    if out.as_json:
        out.emit(
            "retention",
            {
                "stop": plan.stop,
                "count": plan.count,
                "kept": plan.kept,
                "is_cut": plan.is_cut,
                "dry_run": dry_run,
            },
        )
        return
    if not plan.due:
        out.text("nothing is due")
    for why, count in sorted(plan.kept.items()):
        out.text(f"{count:,} stay: {_WHY.get(why, why)}")
    if plan.is_cut:
        out.text("there is more: run it again")
