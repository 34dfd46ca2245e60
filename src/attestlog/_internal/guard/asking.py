"""Asking people: a request file in a directory, and the approvals that are put beside it.

What counts as an approval is judged where the entry is judged; here they are
only found. Files that are not approvals, or are for another request, are passed over.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

from attestlog._internal import disk
from attestlog._internal.core.approval import (
    APPROVAL_SIZE_MAX_BYTES,
    Approval,
    ApprovalRequest,
    format_request,
    parse_approval,
)
from attestlog._internal.core.hashes import hex_hash
from attestlog.errors import MalformedApprovalError, StorageError

POLL_S: Final = 0.25
"""How often the directory is looked into: soon enough for a person, idle enough to wait for days."""

SEEN_MAX: Final = 100_000
"""Files that are remembered, so as to be read once: some 10 MB. What else there is, is read at every look."""

FileId = tuple[int, int, int]
"""Of a file that was read: inode, bytes, and when it was last changed."""


def write_request(directory: Path, request: ApprovalRequest) -> Path:
    """Put the request into the directory, made if it is not there; the file. Raises StorageError.

    Its name has a hash of it, so that no other request can come to stand there under this name.
    """
    data = format_request(request)
    path = directory / f"{request.request_id}-{hex_hash(data)[:16]}.request.json"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: somebody may be looking.
        disk.replace_file(path, data, durable=False)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}", path=str(path)) from None
    return path


def find_approvals(directory: Path, request: ApprovalRequest, seen: set[FileId]) -> list[Approval]:
    """The approvals of this request that are in the directory, by file name. Raises StorageError.

    `seen`: what was looked at for this request before, and is passed over; it grows. However many files
    others put there, each is read once, and none of them hides an approval.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(directory))
    except OSError as error:
        raise StorageError(
            f"{directory} cannot be looked into: {error.strerror}", path=str(directory)
        ) from None
    found = []
    for name in names:
        with contextlib.suppress(OSError, MalformedApprovalError):
            status = (directory / name).stat()
            file = (status.st_ino, status.st_size, status.st_mtime_ns)
            if file in seen or status.st_size > APPROVAL_SIZE_MAX_BYTES or not stat.S_ISREG(status.st_mode):
                continue
            if len(seen) < SEEN_MAX:
                seen.add(file)
            approval = parse_approval(disk.read_plain(directory / name, APPROVAL_SIZE_MAX_BYTES))
            if _is_for(approval, request):
                found.append(approval)
    return found


def _is_for(approval: Approval, request: ApprovalRequest) -> bool:
    # The rest is judged where the entry is; one made for another act would be recorded for nothing.
    return (approval.request_id, approval.log, approval.action_hash) == (
        request.request_id, request.log, request.action_hash,
    )  # fmt: skip
