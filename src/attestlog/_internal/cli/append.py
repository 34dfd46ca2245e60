"""`attestlog append`: one entry from options, or many from JSON lines."""
# ruff: noqa: ARG001 - the options that are members are read from the context, by the members' names

from __future__ import annotations

from typing import Annotated

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.appending import append_lines, append_one
from attestlog._internal.cli.drafts import draft_from_options, members_given
from attestlog._internal.cli.opening import open_log
from attestlog._internal.cli.options import choice, flag, json, text
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.requests import read_request, with_approvals
from attestlog._internal.cli.verbs import UsageError, example, new_app
from attestlog._internal.core.entry import ActorType, EventCategory, EventType, ExecutionStatus

app = new_app()
_EXAMPLE = example(
    "attestlog append audit --event-type ACTION --action-type deploy --actor-id agent-7 \\",
    '    --actor-type AUTONOMOUS_AGENT --payload \'{"commit": "372b274"}\'',
    "jq -c . drafts.json | attestlog append audit -",
)


@app.command(epilog=_EXAMPLE)
def append(
    context: typer.Context,
    log: options.LogArgument,
    drafts: Annotated[
        str | None, typer.Argument(metavar="[-|FILE]", help="Drafts, one JSON object a line.")
    ] = None,
    *,
    event_type: Annotated[EventType | None, choice(EventType, "What happened.")] = None,
    action_type: Annotated[str | None, text("What was attempted or executed.")] = None,
    actor_id: Annotated[str | None, text("Who: an identity hash or public-key hash.")] = None,
    actor_type: Annotated[ActorType | None, choice(ActorType, "[SYSTEM]")] = None,
    event_category: Annotated[EventCategory | None, choice(EventCategory, "[NORMAL]")] = None,
    severity: Annotated[int | None, text("0 to 10 [by category: 1, 4, 7, 10].", metavar="N")] = None,
    execution_status: Annotated[ExecutionStatus | None, choice(ExecutionStatus, "[SUCCESS]")] = None,
    action_payload: Annotated[str | None, json("Full details.", "--payload", "--action-payload")] = None,
    actor_context: Annotated[str | None, json("Role, permissions, session, trace ids.")] = None,
    system_state_snapshot: Annotated[str | None, json("Relevant state at the time.")] = None,
    environment: Annotated[str | None, json("Added to what the log fills in itself.")] = None,
    pillars_scores: Annotated[str | None, json('Such as {"an_toan": 9}; 0 to 10 each.')] = None,
    result_data: Annotated[str | None, json("Output.")] = None,
    error_details: Annotated[str | None, json("If it failed or was blocked.")] = None,
    provided_proofs: Annotated[str | None, json("List of objects with type and valid.")] = None,
    required_proofs: Annotated[list[str] | None, text("Proof type needed.", "--required-proof")] = None,
    received_approvals: Annotated[str | None, json("List of signed approvals.")] = None,
    required_approvals: Annotated[int | None, text("Approvals needed [0].", metavar="N")] = None,
    dependencies: Annotated[list[str] | None, text("A related entry's id.", "--dependency")] = None,
    conflicts_detected: Annotated[list[str] | None, text("A conflict (K = 0).", "--conflict")] = None,
    rollback_available: Annotated[bool, flag("It can be undone.", "--rollback-available")] = False,
    rollback_snapshot_hash: Annotated[str | None, text("SHA-256 of what to go back to.")] = None,
    rollback_executed: Annotated[bool, flag("This undoes something.", "--rollback-executed")] = False,
    request: Annotated[str | None, text("Append what was asked for with propose.", metavar="FILE")] = None,
    approval: Annotated[list[str] | None, text("A file of attestlog approve.", metavar="FILE")] = None,
    signer: options.SignerOption = None,
    checkpoint_signer: options.CheckpointSignerOption = None,
    any_filesystem: options.AnyFilesystemOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Append one entry from options, or every draft of JSON lines; a receipt means it is durable.

    Lines from a pipe are committed together as they come. At a line that is no draft appending stops;
    stderr says how many entries were appended before it.
    """
    out = Output(as_json)
    given = [bool(members_given(context.params)), drafts is not None, request is not None]
    if sum(given) > 1 or (drafts is not None and approval):
        raise UsageError("options describe an entry, or drafts or a request are read: want one or the other")
    asked = read_request(request) if request else None
    draft = None if drafts is not None or asked else draft_from_options(context.params)
    with open_log(
        log, signer=signer, checkpoint_signer=checkpoint_signer, any_filesystem=any_filesystem
    ) as opened:
        if drafts is not None:
            append_lines(out, opened, drafts)
        elif asked is not None:
            append_one(out, opened, with_approvals(opened, asked, approval or []))
        elif draft is not None:
            append_one(out, opened, with_approvals(opened, draft, approval) if approval else draft)
