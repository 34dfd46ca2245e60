"""Requests and approvals for the command line: read, written, shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attestlog._internal.cli.output import Output, replacing
from attestlog._internal.cli.verbs import UsageError
from attestlog._internal.core import canonical
from attestlog._internal.core.approval import (
    Approval,
    ApprovalRequest,
    approved_draft,
    format_request,
    parse_approval,
    parse_request,
)
from attestlog._internal.core.entry import EntryDraft, parse_draft
from attestlog.errors import MalformedEntryError, MalformedJSONError, NotFoundError, StorageError

if TYPE_CHECKING:
    from attestlog._internal.log import Log

STDIN: Final = "-"


def read_file(path: str) -> bytes:
    """The bytes of a file, or of stdin for `-`. Raises StorageError."""
    try:
        return sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"there is nothing at {path}", path=path) from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", path=path) from None


def write_file(path: Path, data: bytes) -> None:
    """Whole or not at all. Raises StorageError."""
    try:
        with replacing(path) as file:
            file.write(data.decode())
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}", path=str(path)) from None


def read_draft(path: str) -> EntryDraft:
    """The draft in a JSON file. Raises UsageError if it is none."""
    try:
        members = canonical.decode(read_file(path))
        if not isinstance(members, dict):
            raise MalformedEntryError(f"draft: expected an object, got {type(members).__name__}")
        return parse_draft(members)
    except (MalformedJSONError, MalformedEntryError) as error:
        raise UsageError(f"{path}: {error}") from None


def read_request(path: str) -> ApprovalRequest:
    """Raises MalformedApprovalError, StorageError."""
    return parse_request(read_file(path))


def read_approvals(paths: Iterable[str]) -> list[Approval]:
    """Raises MalformedApprovalError, StorageError."""
    return [parse_approval(read_file(path)) for path in paths]


def with_approvals(
    log: Log, draft: EntryDraft | Mapping[str, Any] | ApprovalRequest, paths: Iterable[str]
) -> EntryDraft:
    """The draft with the approvals in these files. Raises ApprovalRefusedError for one that will not do."""
    from attestlog._internal.approving import check_approvals

    request = draft if isinstance(draft, ApprovalRequest) else log.request(draft)
    approvals = read_approvals(paths)
    check_approvals(log.rules.policy, request, approvals)
    return approved_draft(request, approvals)


def propose_to(out: Output, log: str, draft: EntryDraft | Mapping[str, Any], path: Path) -> None:
    """Write a request for approval of what would be appended, and say so."""
    from attestlog._internal.approving import propose

    request = propose(log, draft)
    write_file(path, format_request(request))
    if out.as_json:
        out.emit("request", {"path": str(path), **describe_request(request)})
        return
    out.text("request for ", (request.draft["action_type"], "bold"), f" in {path}")
    out.text(f"action hash  {request.action_hash}")


def describe_request(request: ApprovalRequest) -> dict[str, Any]:
    """What a request says, for JSON."""
    return {"origin": request.origin, "action_hash": request.action_hash, "draft": request.draft}


def show_request(out: Output, request: ApprovalRequest) -> None:
    """All of it, for who is to decide: what is signed is the payload, whole."""
    draft = request.draft
    out.text((f"{draft['event_type']} {draft['action_type']}", "bold"), f"  by {draft['actor_id']}")
    out.text(f"log          {request.origin}")
    out.text(f"action hash  {request.action_hash}")
    for name, value in draft.items():
        if name not in ("event_type", "action_type", "actor_id"):
            out.text()
            out.text((name, "bold"))
            for line in json.dumps(value, indent=2, ensure_ascii=False).splitlines():
                out.text(f"  {line}")
