"""`attestlog erase`: payloads are erased; a new entry records who erased them, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from attestlog._internal.cli import options
from attestlog._internal.cli.opening import open_log
from attestlog._internal.cli.options import argument, text
from attestlog._internal.cli.output import Output, notice
from attestlog._internal.cli.verbs import UsageError, example, new_app

if TYPE_CHECKING:
    from attestlog._internal.exporting.made import MadeExport
    from attestlog._internal.log.erasing import WantedPayloads

app = new_app()
_EXAMPLE = example(
    "attestlog erase audit 17 --reason 'asked for' --legal-basis 'GDPR 17(1)(a)' \\",
    "    --actor-id officer-1",
    "attestlog erase audit --older-than 90d --action-type 'chat.*' --reason retention \\",
    "    --actor-id officer-1",
)


@app.command(epilog=_EXAMPLE)
def erase(
    log: options.LogArgument,
    number: Annotated[
        int | None, argument("[N]", "Sequence number of the entry; or say which by options.")
    ] = None,
    *,
    reason: options.ReasonOption,
    actor_id: options.ActorOption,
    start: Annotated[int | None, text("First entry of a range.", "--start", metavar="N")] = None,
    stop: Annotated[int | None, text("The entry after the last of the range.", "--stop", metavar="M")] = None,
    older_than: Annotated[
        str | None, text("Entries from before this time: 90d, 2h, RFC 3339.", metavar="TIME")
    ] = None,
    action_type: Annotated[
        list[str] | None, text("Of a range, entries of this type; repeatable.", metavar="GLOB")
    ] = None,
    legal_basis: Annotated[str | None, text("Legal basis of the erasure.")] = None,
    approval: options.ApprovalOption = None,
    request_to: options.RequestApprovalOption = None,
    signer: options.SignerOption = None,
    any_filesystem: options.AnyFilesystemOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Replace payloads by null, and append an entry that records who erased them, and why.

    One entry, N; or all of a range whose action type matches, together or not at all. The entries, the
    chain, the tree and all signatures still verify. A legal hold forbids erasing; the policy may forbid it
    too. Copies in backups and in proofs that were handed out are not erased, nor are exports: those that
    this user made are named.
    """
    from attestlog._internal.log.erasing import WantedPayloads

    out = Output(as_json)
    is_range = not (start is None and stop is None and older_than is None and not action_type)
    if is_range is (number is not None):
        raise UsageError("give the number of an entry, or --action-type with --start, --stop or --older-than")
    if is_range and not action_type:
        raise UsageError("--action-type says which payloads of the range go: --action-type '*' for all")
    if older_than is not None and (approval or request_to):
        # What is approved is one range, and time goes on.
        raise UsageError("approvals are for --start and --stop, not for --older-than")
    wanted = WantedPayloads(
        action_types=action_type or [], reason=reason, legal_basis=legal_basis, start=start, stop=stop,
        before_us=None if older_than is None else _moment(older_than),
    )  # fmt: skip
    if request_to is not None:
        from attestlog._internal.cli.approval import request_approval

        request_approval(out, log, _draft(log, number, wanted, actor_id), request_to)
        return
    with open_log(log, signer=signer, any_filesystem=any_filesystem) as opened:
        members: dict[str, Any] = {"reason": reason, "actor_id": actor_id, "legal_basis": legal_basis}
        if approval:
            from attestlog._internal.cli.approval import with_approvals

            asked = with_approvals(opened, _draft(log, number, wanted, actor_id), approval)
            members["received_approvals"] = asked.received_approvals
        if number is not None:
            receipt = opened.erase(number, **members)
        else:
            receipt = opened.erase_many(
                wanted.action_types, start=start, stop=stop, older_than=older_than, **members
            )
    payload = receipt.entry.action_payload or {}
    erased = range(payload["start"], payload["stop"]) if number is None else range(number, number + 1)
    places = _not_reached(log, erased)
    _show(out, number, receipt.sequence_number, payload, places)


def _moment(older_than: str) -> int:
    from attestlog._internal.log.drafts import system_clock
    from attestlog._internal.query.filter import parse_moment

    return parse_moment(older_than, system_clock())


def _draft(log: str, number: int | None, wanted: WantedPayloads, actor_id: str) -> dict[str, Any]:
    """What would be appended."""
    from attestlog._internal.core.erasure import AnyErasure, Erasure
    from attestlog._internal.log.drafts import erasure_draft
    from attestlog._internal.log.erasing import plan_erasure
    from attestlog._internal.storage.resolve import open_source

    source = open_source(log)
    erasure: AnyErasure
    if number is not None:
        erasure = Erasure.of(source.entry(number), wanted.reason, wanted.legal_basis)
    else:
        erasure = plan_erasure(source, wanted, source.size())
    return erasure_draft(erasure, {"actor_id": actor_id})


def _not_reached(log: str, erased: range) -> list[MadeExport]:
    """Places that entries were exported to, as far as this user's state knows, and that may hold payloads."""
    from attestlog._internal.config import identity
    from attestlog._internal.exporting.made import exports_made
    from attestlog._internal.storage.resolve import open_source
    from attestlog.errors import AttestlogError

    try:
        found = exports_made(identity(open_source(log)).genesis)
    except AttestlogError as error:
        notice(f"which exports still hold what is erased could not be looked up: {error}")
        return []
    return [made for made in found if made.start < erased.stop and erased.start < made.stop]


def _show(
    out: Output, number: int | None, by: int, payload: dict[str, Any], places: list[MadeExport]
) -> None:
    if out.as_json:
        which = {"erased": number} if number is not None else {}
        named = ("start", "stop", "action_types", "count")
        stretch = {name: payload[name] for name in named if name in payload}
        exports = {"exports": msgspec.to_builtins(places)} if places else {}
        out.emit(
            "erasure", {**which, **stretch, "sequence_number": by, "reason": payload["reason"], **exports}
        )
    elif number is not None:
        out.text(f"the payload of entry {number} is erased; entry {by} records it")
    else:
        count, start, last = payload["count"], payload["start"], payload["stop"] - 1
        what = "payload is" if count == 1 else "payloads are"
        out.text(f"{count:,} {what} erased, of entries {start:,} to {last:,}; entry {by} records it")
    if not out.as_json:
        for made in places:
            where = "an export to standard output" if made.to == "-" else made.to
            out.text(f"  not reached: {where} ({made.form}, entries {made.start:,} to {made.stop - 1:,},"
                     f" last written {made.last_at})")  # fmt: skip
