"""Requests for approval and the approvals that came for them: files of a service, as those of `ask=DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from uuid import UUID

from attestlog._internal import disk
from attestlog._internal.core.approval import Approval, ApprovalRequest, format_approval, parse_request
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.guard.asking import find_approvals, write_request
from attestlog.errors import ApprovalRefusedError, BusyError, ExistsError, NotFoundError, StorageError

REQUESTS_MAX: Final = 10_000
"""Requests that are kept of one log: each has up to some tens of kB. An operator takes old ones away."""

APPROVALS_MAX: Final = 100
"""Approvals that are kept of one request: no quorum asks for more people."""


class Asked:
    """Of one service: a directory a log, and one in it a request."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "requests"

    def ask(self, request: ApprovalRequest) -> None:
        """Keep a request. Raises ExistsError for another one of this id, BusyError, StorageError."""
        folder = self._folder(request.log, request.request_id)
        if not folder.exists() and len(self.ids(request.log)) >= REQUESTS_MAX:
            raise BusyError(f"{REQUESTS_MAX} requests wait already", retryable=False)
        if folder.exists() and self.request(request.log, request.request_id) != request:
            raise ExistsError("another request has this id", what="request")
        write_request(folder, request)

    def ids(self, genesis: str) -> list[str]:
        """Of the requests for this log."""
        folder = self._directory / genesis
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []

    def latest(self, genesis: str, most: int) -> list[str]:
        """Of the requests for this log that were left or answered last, so many at most."""
        folder = self._directory / genesis
        found = (
            [(entry.stat().st_mtime_ns, entry.name) for entry in folder.iterdir()] if folder.is_dir() else []
        )
        return [name for _, name in sorted(found, reverse=True)[:most]]

    def request(self, genesis: str, request_id: str) -> ApprovalRequest:
        """Raises NotFoundError."""
        for path in self._folder(genesis, request_id).glob("*.request.json"):
            return parse_request(disk.read_plain(path, LINE_SIZE_MAX_BYTES + 1))
        raise NotFoundError("there is no request of this id")

    def approve(self, genesis: str, request_id: str, approval: Approval) -> None:
        """Keep an approval. Raises ApprovalRefusedError for one of another request, NotFoundError."""
        request = self.request(genesis, request_id)
        if (approval.request_id, approval.log, approval.action_hash) != (
            request.request_id, request.log, request.action_hash,
        ):  # fmt: skip
            raise ApprovalRefusedError("the approval is for another request", reason="approval.request")
        folder = self._folder(genesis, request_id)
        if len(list(folder.glob("*.approval.json"))) >= APPROVALS_MAX:
            raise BusyError(f"{APPROVALS_MAX} approvals of this request are kept already", retryable=False)
        data = format_approval(approval)
        path = folder / f"{hex_hash(data)[:32]}.approval.json"
        try:
            disk.replace_file(path, data)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}", path=str(path)) from None

    def approvals(self, genesis: str, request_id: str) -> list[Approval]:
        """Those that came for a request. Raises NotFoundError, StorageError."""
        return find_approvals(self._folder(genesis, request_id), self.request(genesis, request_id), set())

    def _folder(self, genesis: str, request_id: str) -> Path:
        try:
            name = str(UUID(request_id))
        except ValueError:
            name = ""
        if name != request_id:  # a path of its own would be one, too
            raise NotFoundError("there is no request of this id")
        return self._directory / genesis / name
