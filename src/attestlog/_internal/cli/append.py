"""`attestlog append`: one entry from options, or many from JSON lines."""
# ruff: noqa: ARG001 - the options that are members are read from the context, by the members' names

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.opening import open_log
from attestlog._internal.cli.options import choice, flag, json, text
from attestlog._internal.cli.output import Output, notice
from attestlog._internal.cli.verbs import UsageError, example, new_app
from attestlog._internal.core.entry import ActorType, EntryDraft, EventCategory, EventType, ExecutionStatus

if TYPE_CHECKING:
    from attestlog._internal.core.approval import ApprovalRequest
    from attestlog._internal.log import Log, Receipt

REDACTED_SHOWN: Final = 5
"""Redacted members that a note on stderr names; with --json all are named."""

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
        str | None, options.argument("[-|FILE]", "Drafts: a file of JSON objects, one a line.")
    ] = None,
    *,
    event_type: Annotated[EventType | None, choice(EventType, "What kind of event.")] = None,
    action_type: Annotated[str | None, text("What was attempted or done.")] = None,
    actor_id: Annotated[str | None, text("Name or id of the person or agent.", metavar="ID")] = None,
    actor_type: Annotated[ActorType | None, choice(ActorType, "Default: SYSTEM.")] = None,
    event_category: Annotated[EventCategory | None, choice(EventCategory, "Default: NORMAL.")] = None,
    severity: Annotated[int | None, text("0 to 10; default by category: 1, 4, 7, 10.", metavar="N")] = None,
    execution_status: Annotated[ExecutionStatus | None, choice(ExecutionStatus, "Default: SUCCESS.")] = None,
    action_payload: Annotated[
        str | None, json("Full details of the action.", "--payload", "--action-payload")
    ] = None,
    actor_context: Annotated[str | None, json("Role, permissions, session, trace ids.")] = None,
    system_state_snapshot: Annotated[str | None, json("Relevant state at the time.")] = None,
    environment: Annotated[str | None, json("Added to what the log records itself.")] = None,
    pillars_scores: Annotated[str | None, json('Scores from 0 to 10, such as {"an_toan": 9}.')] = None,
    result_data: Annotated[str | None, json("What the action returned.")] = None,
    error_details: Annotated[str | None, json("Why it failed or was blocked.")] = None,
    provided_proofs: Annotated[str | None, json("List of objects with type and valid.")] = None,
    required_proofs: Annotated[
        list[str] | None, text("A proof type that is needed; repeatable.", "--required-proof")
    ] = None,
    received_approvals: Annotated[str | None, json("List of signed approvals.")] = None,
    required_approvals: Annotated[int | None, text("Approvals needed; default: 0.", metavar="N")] = None,
    dependencies: Annotated[
        list[str] | None, text("entry_id of a related entry; repeatable.", "--dependency", metavar="ID")
    ] = None,
    conflicts_detected: Annotated[
        list[str] | None, text("A conflict, which makes K = 0; repeatable.", "--conflict")
    ] = None,
    rollback_available: Annotated[bool, flag("The action can be undone.", "--rollback-available")] = False,
    rollback_snapshot_hash: Annotated[
        str | None, text("SHA-256 of the snapshot to roll back to.", metavar="HEX")
    ] = None,
    rollback_executed: Annotated[bool, flag("This action undoes another.", "--rollback-executed")] = False,
    request: Annotated[
        str | None, text("Append what `attestlog approval request` wrote.", metavar="FILE")
    ] = None,
    approval: options.ApprovalOption = None,
    signer: options.SignerOption = None,
    checkpoint_signer: options.CheckpointSignerOption = None,
    any_filesystem: options.AnyFilesystemOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Append one entry given by options, or each draft of a file of JSON lines.

    A receipt is printed for each entry once it is durable. Lines from a pipe are committed together as they
    come. Appending stops at the first line that is not a draft; stderr says how many entries were appended.
    """
    from attestlog._internal.cli.approval import with_approvals

    out, entry = Output(as_json), _entry_given(context, drafts, request, approval)
    with open_log(
        log, signer=signer, checkpoint_signer=checkpoint_signer, any_filesystem=any_filesystem
    ) as opened:
        if entry is None:
            append_lines(out, opened, str(drafts))
        elif isinstance(entry, EntryDraft) and not approval:
            append_one(out, opened, entry)
        else:
            append_one(out, opened, with_approvals(opened, entry, approval or []))


def _entry_given(
    context: typer.Context, drafts: str | None, request: str | None, approval: list[str] | None
) -> ApprovalRequest | EntryDraft | None:
    """What the request or the options describe; None for a file of drafts. Raises UsageError."""
    from attestlog._internal.cli.approval import read_request
    from attestlog._internal.cli.drafts import draft_from_options, members_given

    given = [bool(members_given(context.params)), drafts is not None, request is not None]
    if sum(given) > 1 or (drafts is not None and approval):
        raise UsageError("use one of: options such as --event-type, a file of drafts, --request")
    if drafts is not None:
        return None
    return read_request(request) if request is not None else draft_from_options(context.params)


def append_one(out: Output, log: Log, draft: EntryDraft) -> None:
    """Append it and print its receipt. Raises UsageError for a draft that the log refuses."""
    from attestlog._internal.cli.drafts import REFUSALS

    try:
        receipt = log.append(draft)
    except REFUSALS as error:
        raise UsageError(str(error)) from None
    _print(out, [receipt])


def append_lines(out: Output, log: Log, source: str) -> None:
    """Append the drafts of a file, or of stdin for `-`, and print their receipts as they become durable."""
    from attestlog._internal.cli.drafts import REFUSALS, decode_chunk, find_refused, read_chunks

    appended = 0
    try:
        for chunk in read_chunks(source):
            drafts, wrong = decode_chunk(chunk)
            try:
                receipts = log.append_many(drafts)
            except REFUSALS as error:
                # Nothing of the chunk is written. What stands before the line at fault is good, and goes in.
                good, wrong = find_refused(error, log, chunk, drafts)
                receipts = log.append_many(drafts[:good])
            appended += len(receipts)
            _print(out, receipts)
            if wrong is not None:
                raise wrong
    except BaseException:
        notice(f"{appended} entries were appended before this")
        raise


def _print(out: Output, receipts: Iterable[Receipt]) -> None:
    for receipt in receipts:
        if out.as_json:
            out.emit("receipt", describe_receipt(receipt))
        else:
            out.text(f"{receipt.sequence_number}  {receipt.entry_id}  {receipt.entry_hash}")
        redacted = [f"{item.member} ({item.kind})" for item in receipt.redacted[:REDACTED_SHOWN]]
        if redacted and not out.as_json:
            more = ", …" if len(receipt.redacted) > REDACTED_SHOWN else ""
            notice(f"entry {receipt.sequence_number}: redacted: {', '.join(redacted)}{more}")
    out.flush()


def describe_receipt(receipt: Receipt) -> dict[str, Any]:
    """The members of a receipt, for JSON."""
    described: dict[str, Any] = {
        name: getattr(receipt, name) for name in ("sequence_number", "entry_id", "entry_hash", "timestamp")
    }
    return described | {"redacted": [item._asdict() for item in receipt.redacted]}
