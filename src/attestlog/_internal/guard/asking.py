"""Asking people: a request file in a directory, and the approvals that are put beside it.

What counts as an approval is judged where the entry is judged; here they are
only found. Files that are not approvals, or are for another request, are passed over.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attestlog._internal import disk
from attestlog._internal.core.approval import (
    APPROVAL_SIZE_MAX_BYTES,
    Approval,
    ApprovalRequest,
    format_request,
    parse_approval,
)
from attestlog.errors import MalformedApprovalError, StorageError

POLL_S: Final = 0.25
"""How often the directory is looked into: soon enough for a person, idle enough to wait for days."""

FILES_MAX: Final = 10_000
"""Files of the directory that are looked at: a quorum is a handful, and each is read at every look."""


def write_request(directory: Path, request: ApprovalRequest) -> Path:
    """Put the request into the directory, made if it is not there; the file. Raises StorageError."""
    path = directory / f"{request.action_hash[:16]}.request.json"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: somebody may be looking.
        disk.replace_file(path, format_request(request), durable=False)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}", path=str(path)) from None
    return path


def find_approvals(directory: Path, request: ApprovalRequest) -> list[Approval]:
    """The approvals of this request that are in the directory, by file name. Raises StorageError."""
    found = []
    try:
        names = sorted(entry.name for entry in os.scandir(directory) if entry.is_file())[:FILES_MAX]
    except OSError as error:
        raise StorageError(
            f"{directory} cannot be looked into: {error.strerror}", path=str(directory)
        ) from None
    for name in names:
        with contextlib.suppress(OSError, MalformedApprovalError):
            with (directory / name).open("rb") as file:
                approval = parse_approval(file.read(APPROVAL_SIZE_MAX_BYTES + 1))
            if _is_for(approval, request):
                found.append(approval)
    return found


def _is_for(approval: Approval, request: ApprovalRequest) -> bool:
    asked: Mapping[str, Any] = request.draft
    return (approval.origin, approval.action_type, approval.action_hash) == (
        request.origin, asked["action_type"], request.action_hash,
    )  # fmt: skip
