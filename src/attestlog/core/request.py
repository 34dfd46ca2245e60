"""A request for approval, as a file: the whole draft that will be appended, and the log it is for.

    request = make_request(draft_members, origin)     # the caller salted it, where the log salts
    data = format_request(request)                    # give this file to those who approve
    request = parse_request(data)                     # they see what they sign: the payload is in it

What is signed is bound to `action_hash`, which `parse_request` computes anew
from the payload: a file whose hash is not its payload's is no request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, ValidationError, convert, to_builtins

from attestlog.core import canonical
from attestlog.core.approval import Approval, Request, stored_form
from attestlog.core.checkpoint import check_origin
from attestlog.core.converting import read_complaint
from attestlog.core.entry import LINE_SIZE_MAX_BYTES, EntryDraft, parse_draft
from attestlog.core.hashes import hex_hash
from attestlog.errors import (
    MalformedApprovalError,
    MalformedConfigError,
    MalformedEntryError,
    MalformedJSONError,
)

REQUEST_FORMAT: Final = "attestlog/request/v1"


class ApprovalRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people are asked to approve."""

    format: str = REQUEST_FORMAT
    origin: str
    action_hash: str
    draft: dict[str, Any]
    """Members of a draft, without approvals."""


def make_request(members: Mapping[str, Any] | EntryDraft, origin: str) -> ApprovalRequest:
    """Ask for approval of this draft. Raises MalformedEntryError if it is none.

    Approvals it has already are left out: they come with the entry.
    """
    draft = parse_draft(members)
    plain: dict[str, Any] = _stated(draft) if isinstance(members, EntryDraft) else dict(members)
    plain.pop("received_approvals", None)
    return ApprovalRequest(origin=origin, action_hash=_action_hash(draft), draft=plain)


def parse_request(data: bytes) -> ApprovalRequest:
    """The request in a file. Raises MalformedApprovalError unless it is one, in its one spelling."""
    if len(data) > LINE_SIZE_MAX_BYTES:
        raise MalformedApprovalError(
            f"request has {len(data)} bytes, at most {LINE_SIZE_MAX_BYTES} are read", member=""
        )
    try:
        request = convert(canonical.decode(data), ApprovalRequest)
        check_origin(request.origin)
        draft = parse_draft(request.draft)
        action_hash = _action_hash(draft)
        spelled = format_request(request)
    except ValidationError as error:
        member, reason = read_complaint(str(error))
        message = f"request: {member}: {reason}" if member else f"request: {reason}"
        raise MalformedApprovalError(message, member=member) from None
    except (MalformedJSONError, MalformedEntryError, MalformedConfigError) as error:
        raise MalformedApprovalError(f"request: {error}", member="") from None
    if request.format != REQUEST_FORMAT:
        raise MalformedApprovalError(
            f"request is of format {request.format[:40]!r}, want {REQUEST_FORMAT!r}", member="format"
        )
    if action_hash != request.action_hash:
        raise MalformedApprovalError(
            "request: action_hash is not the hash of its payload", member="action_hash",
            expected=action_hash, found=request.action_hash,
        )  # fmt: skip
    if draft.received_approvals or spelled != data:
        raise MalformedApprovalError("request is not in its one spelling", member="")
    return request


def format_request(request: ApprovalRequest) -> bytes:
    """The file of a request: canonical JSON and a line end. Raises MalformedJSONError."""
    return canonical.encode(to_builtins(request)) + b"\n"


def asked_at(request: ApprovalRequest, timestamp: str) -> Request:
    """What approvals are judged for, at this moment."""
    draft = request.draft
    return Request(request.origin, draft["action_type"], request.action_hash, draft["actor_id"], timestamp)


def approved_draft(request: ApprovalRequest, approvals: list[Approval]) -> EntryDraft:
    """The draft to append, with these approvals."""
    return parse_draft({**request.draft, "received_approvals": [stored_form(item) for item in approvals]})


def _stated(draft: EntryDraft) -> dict[str, Any]:
    """The members that are not as they are when left out."""
    bare = EntryDraft(event_type=draft.event_type, action_type=draft.action_type, actor_id=draft.actor_id)
    needed = ("event_type", "action_type", "actor_id")
    members: dict[str, Any] = to_builtins(draft)
    return {
        name: value
        for name, value in members.items()
        if name in needed or getattr(draft, name) != getattr(bare, name)
    }


def _action_hash(draft: EntryDraft) -> str:
    return hex_hash(canonical.encode(draft.action_payload, depth=2))
