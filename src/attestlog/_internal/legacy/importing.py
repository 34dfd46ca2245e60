"""Bringing a legacy log into a log: every line kept byte for byte inside an entry of its own.

Each line becomes one entry whose payload holds it, under the identity of the
legacy log (its first entry's hash) and its position there. A CHANGE entry
`attestlog.imported` closes the import: which file, its hash, the legacy head
hash and the verdict on it.

What was imported before is looked up in the entries themselves, never in an
index. So an import that broke off goes on where it stopped, one of a legacy
log that has grown brings the new lines, and one that would bring nothing new
is refused. A file that contradicts what was imported is refused too.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, Protocol

import msgspec
from msgspec import Struct

from attestlog._internal import disk
from attestlog._internal.core import canonical
from attestlog._internal.core.entry import PAYLOAD_SIZE_MAX_BYTES, EventCategory, EventType, parse_draft
from attestlog._internal.core.receipt import Receipt
from attestlog._internal.core.report import Progress, Report, Verdict
from attestlog._internal.core.reserved import IMPORTED, is_reserved
from attestlog._internal.legacy.judge import LineError, parse_line
from attestlog._internal.legacy.verify import (
    FileLine,
    file_lines,
    file_size,
    judge_file,
    open_legacy,
)
from attestlog._internal.storage.contract import LogSource
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import (
    BusyError,
    ConflictError,
    ExistsError,
    MalformedEntryError,
    MalformedJSONError,
    TooLargeError,
    VerificationError,
)

"""`action_type` of the closing entry."""

UNKNOWN_NAME: Final = "legacy:unknown"
"""`actor_id` or `action_type` where the line has none that fits."""

BATCH_LINES: Final = 256
BATCH_SIZE_BYTES: Final = 4 << 20
"""Lines handed to the log at a time, and their size: bounds memory."""

FINDINGS_RECORDED_MAX: Final = 20
"""Findings written out in the closing entry of a damaged log's import; all are counted there."""

CARRIED_MEMBERS: Final = (
    "event_type", "action_type", "actor_id", "event_category", "severity", "actor_type", "execution_status",
    "pillars_scores", "conflicts_detected",
)  # fmt: skip
"""Members taken over into the entry where their value fits. The others stay in the line: an id, a proof or
an approval of the legacy log means nothing in this one."""

CARRIED_SIZE_MAX_BYTES: Final = 4_096
"""A member larger than this stays in the line: an entry without its payload has a limit."""

_ESCAPED_FACTOR: Final = 6
"""A byte of a line is at most `\\u0000` once it is a JSON string."""

_HASH: Final = re.compile("[0-9a-f]{64}")

_PAYLOAD_REST_BYTES: Final = 4_096
"""What a payload holds beside the line."""


class ReceivingLog(Protocol):
    """What an import asks of a log."""

    @property
    def where(self) -> str:
        """The name to read it by."""

    def append_unredacted(self, drafts: Sequence[Mapping[str, Any]], /) -> Sequence[Receipt]:
        """Append in order, with nothing redacted."""

    def _append_own(self, draft: Mapping[str, Any], /) -> Receipt:
        """Append one that says what the log did."""


class ImportReceipt(Struct, frozen=True, kw_only=True):
    """What an import did."""

    report: Report
    """The verdict on the file, and its findings."""
    legacy_log: str
    """Identity of the legacy log: the `entry_hash` that its first entry states."""
    lines: int
    """Lines of the file that are now in the log."""
    appended: int
    """How many of them this import brought; the others an earlier one had."""
    sequence_number: int
    """Of the closing entry."""
    entry_hash: str
    """Of the closing entry."""


class _Source(NamedTuple):
    """The file as it is imported: so many bytes of it, no more."""

    file: BinaryIO
    path: Path
    size_bytes: int
    sha256: str

    def lines(self, sha256: hashlib._Hash | None = None) -> Iterator[tuple[FileLine, bytes]]:
        """The lines that are imported: all but blank ones and a torn last one."""
        for line in file_lines(self.file, self.size_bytes, sha256):
            if line.data.strip() and (line.complete or _is_whole(line.data)):
                yield line, line.data


class _Earlier(NamedTuple):
    """What earlier imports of the same legacy log brought."""

    lines: int
    closed_lines: int
    """Lines up to the last closing entry."""
    closed_at: int | None


def import_legacy(
    log: ReceivingLog,
    path: Path | str,
    progress: Progress | None = None,
    *,
    allow_damaged: bool = False,
    actor_id: str = "legacy:import",
) -> ImportReceipt:
    """Verify the legacy log in this file, append its lines that the log does not have yet, and close.

    `allow_damaged` imports one that is TAMPERED or INCOMPLETE as well, and records that. `progress`
    counts the file twice: verified, then imported. One import of a file runs at a time.

    Raises VerificationError (`report` says why), ExistsError if nothing of it is new, ConflictError if
    it contradicts what was imported or changes meanwhile, TooLargeError before anything is appended,
    and whatever appending raises; after that, the same import goes on where it stopped.
    """
    with open_legacy(path) as file:
        _lock(file, path)
        sha256, size_bytes = hashlib.sha256(), file_size(file)
        verifying = None if progress is None else lambda done, total: progress(done, 2 * total)
        report = judge_file(file, str(path), size_bytes, sha256=sha256, progress=verifying)
        _check_verdict(report, allow_damaged)
        source = _Source(file, Path(path), size_bytes, sha256.hexdigest())
        identity, lines = _identity(report), _count_lines(source)
        earlier = _compare(source, identity, log.where)
        if lines <= earlier.closed_lines:
            raise ExistsError(
                f"all {lines} lines of {path} were imported before, up to entry {earlier.closed_at}",
                path=str(path), sequence_number=earlier.closed_at, what="import",
            )  # fmt: skip
        _append_lines(log, source, identity, earlier.lines, progress)
        closing = log._append_own(_closing_draft(source, identity, lines, report, actor_id))
    return ImportReceipt(
        report=report,
        legacy_log=identity,
        lines=lines,
        appended=max(0, lines - earlier.lines),
        sequence_number=closing.sequence_number,
        entry_hash=closing.entry_hash,
    )


def export_legacy_lines(log: LogSource, legacy_log: str) -> Iterator[bytes]:
    """The imported lines of one legacy log, byte for byte and in order; without those erased since.

    Each followed by a line end, they are the file that was imported, blank lines and a torn tail apart.
    """
    position = 0
    for found in _imported(log, legacy_log):
        if found.position >= position:  # an entry that repeats a line is not of our making
            position = found.position + 1
            yield found.line


def _lock(file: BinaryIO, path: Path | str) -> None:
    """Two imports of one file at once would both append what neither had seen of the other."""
    try:
        is_ours = disk.lock(file.fileno())
    except OSError:
        return  # a file system without locks
    if not is_ours:
        raise BusyError(f"{path} is being imported by another process", path=str(path))


def _check_verdict(report: Report, allow_damaged: bool) -> None:
    if report.finding_counts.get("legacy.too_large"):
        raise TooLargeError(
            "a line is too long to be imported", member="legacy_line", size_bytes_max=PAYLOAD_SIZE_MAX_BYTES
        )
    tolerated = {Verdict.VERIFIED, *((Verdict.TAMPERED, Verdict.INCOMPLETE) if allow_damaged else ())}
    if report.verdict not in tolerated or not report.size:
        raise VerificationError(
            f"legacy log {report.subject} is {report.verdict}, want {Verdict.VERIFIED}",
            expected=str(Verdict.VERIFIED), found=str(report.verdict), report=report,
        )  # fmt: skip


def _identity(report: Report) -> str:
    """The hash that the first entry states, whatever else was done to the file; hashed if it is no hash."""
    stated = report.genesis_hash or ""
    return (
        stated if _HASH.fullmatch(stated) else hashlib.sha256(stated.encode("utf-8", "replace")).hexdigest()
    )


def _count_lines(source: _Source) -> int:
    """How many lines are to be imported. Raises TooLargeError if one cannot be."""
    count = 0
    for _, data in source.lines():
        count += 1
        if len(data) * _ESCAPED_FACTOR > PAYLOAD_SIZE_MAX_BYTES:
            size_bytes = len(msgspec.json.encode(_line_member(data))) + _PAYLOAD_REST_BYTES
            if size_bytes > PAYLOAD_SIZE_MAX_BYTES:
                raise TooLargeError(
                    f"line {count} makes a payload of {size_bytes} bytes,"
                    f" at most {PAYLOAD_SIZE_MAX_BYTES} fit",
                    member="legacy_line", size_bytes=size_bytes, size_bytes_max=PAYLOAD_SIZE_MAX_BYTES,
                )  # fmt: skip
    return count


def _compare(source: _Source, identity: str, log_path: str) -> _Earlier:
    """What of this legacy log is there. Raises ConflictError where it is not what the file says."""
    lines = closed_lines = 0
    closed_at = None
    mine = enumerate(data for _, data in source.lines())
    for found in _imported(open_source(log_path), identity):
        if found.position < 0:
            closed_lines, closed_at = max(closed_lines, found.lines), found.sequence_number
        elif found.position >= lines:
            lines = found.position + 1
            here = next((data for position, data in mine if position == found.position), None)
            if here not in (None, found.line):
                raise ConflictError(
                    f"line {lines} of {source.path} is not the one imported as entry {found.sequence_number}",
                    path=str(source.path), sequence_number=found.sequence_number,
                )  # fmt: skip
    return _Earlier(lines, closed_lines, closed_at)


class _Payload(Struct):
    legacy_log: str
    legacy_position: int = -1
    legacy_line: str | None = None
    legacy_line_base64: str | None = None
    lines: int = 0


class _ImportedEntry(Struct):
    action_payload: _Payload
    action_type: str
    event_type: str
    sequence_number: int


class _Imported(NamedTuple):
    """An entry of an earlier import."""

    sequence_number: int
    position: int
    """Of the line; -1 for a closing entry."""
    line: bytes
    lines: int
    """Of a closing entry: lines of the file it closed."""


_imported_decoder: Final = msgspec.json.Decoder(_ImportedEntry)


def _imported(log: LogSource, legacy_log: str) -> Iterator[_Imported]:
    """The entries in the log that imports of this legacy log made, in order."""
    mark = f'"legacy_log":"{legacy_log}"'.encode()
    for line in log.lines():
        if mark in line:
            # What is not of our making, and only holds the same words, is passed over.
            with contextlib.suppress(msgspec.DecodeError, ValueError):
                entry = _imported_decoder.decode(line)
                payload = entry.action_payload
                if payload.legacy_log != legacy_log:
                    continue
                if (entry.event_type, entry.action_type) == (EventType.CHANGE, IMPORTED):
                    yield _Imported(entry.sequence_number, -1, b"", payload.lines)
                elif payload.legacy_position >= 0 and payload.legacy_line is not None:
                    data = payload.legacy_line.encode()
                    yield _Imported(entry.sequence_number, payload.legacy_position, data, 0)
                elif payload.legacy_position >= 0 and payload.legacy_line_base64 is not None:
                    data = base64.b64decode(payload.legacy_line_base64, validate=True)
                    yield _Imported(entry.sequence_number, payload.legacy_position, data, 0)


def _append_lines(
    log: ReceivingLog, source: _Source, identity: str, start: int, progress: Progress | None
) -> None:
    """Append the lines from `start` on, some at a time. A crash leaves the first of them, in order."""
    sha256 = hashlib.sha256()
    drafts: list[dict[str, Any]] = []
    size_bytes = 0
    for position, (line, data) in enumerate(source.lines(sha256)):
        if position < start:
            continue
        drafts.append(_line_draft(identity, position, data))
        size_bytes += len(data)
        if len(drafts) >= BATCH_LINES or size_bytes >= BATCH_SIZE_BYTES:
            log.append_unredacted(drafts)
            drafts, size_bytes = [], 0
            if progress is not None:
                progress(source.size_bytes + line.stop, 2 * source.size_bytes)
    if sha256.hexdigest() != source.sha256:
        raise ConflictError(f"{source.path} changed while it was imported", path=str(source.path))
    if drafts:
        log.append_unredacted(drafts)
    if progress is not None:
        progress(2 * source.size_bytes, 2 * source.size_bytes)


def _line_draft(identity: str, position: int, data: bytes) -> dict[str, Any]:
    """The draft that carries one line."""
    try:
        members, _ = parse_line(data)
    except LineError:
        members = {}
    carried, replaced = _carried(members)
    payload = {"legacy_log": identity, "legacy_position": position, **_line_member(data)}
    for name in ("entry_hash", "entry_id", "sequence_number", "timestamp"):
        value = members.get(name)
        if type(value) in {str, int} and _fits(value):
            payload[f"legacy_{name}"] = value
    if replaced:
        payload["legacy_replaced"] = replaced
    return {**carried, "action_payload": payload}


def _line_member(data: bytes) -> dict[str, Any]:
    try:
        return {"legacy_line": data.decode("utf-8")}
    except UnicodeDecodeError:  # damaged: a JSON string cannot hold it
        return {"legacy_line_base64": base64.b64encode(data).decode()}


def _carried(members: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The members an entry takes over, and the names of those it had to say something else for."""
    # A CHANGE orders the log that holds it (a key, a policy), and so does a name of the log's; here it only
    # says what another log said.
    if members.get("event_type") == EventType.CHANGE or is_reserved(members.get("action_type")):
        members = {**members, "action_type": f"legacy:{members.get('action_type')}"}
    carried: dict[str, Any] = {
        "event_type": "ACTION", "action_type": UNKNOWN_NAME, "actor_id": UNKNOWN_NAME,
    }  # fmt: skip
    replaced: list[str] = []
    for name in CARRIED_MEMBERS:
        if name not in members:
            continue
        candidate = {**carried, name: members[name]}
        try:
            if not _fits(members[name]):
                raise MalformedEntryError(f"{name} does not fit")
            parse_draft(candidate)
        except MalformedEntryError:
            replaced.append(name)
        else:
            carried = candidate
    return carried, replaced


def _fits(value: Any) -> bool:
    """Whether canonical JSON can carry the value, in few bytes."""
    try:
        return len(canonical.encode(value)) <= CARRIED_SIZE_MAX_BYTES
    except MalformedJSONError:
        return False


def _closing_draft(
    source: _Source, identity: str, lines: int, report: Report, actor_id: str
) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "legacy_log": identity,
        "file_name": source.path.name.encode("utf-8", "backslashreplace").decode(),
        "file_sha256": source.sha256,
        "file_size_bytes": source.size_bytes,
        "lines": lines,
        "legacy_genesis_hash": report.genesis_hash,
        "legacy_head_hash": report.head_hash,
        "verdict": str(report.verdict),
        "finding_counts": report.finding_counts,
    }
    faults = [finding for finding in report.findings if finding.verdict != Verdict.VERIFIED]
    if faults:
        payload["findings"] = msgspec.to_builtins(faults[:FINDINGS_RECORDED_MAX])
    return {
        "event_type": EventType.CHANGE,
        "event_category": EventCategory.WARNING if faults else EventCategory.NORMAL,
        "action_type": IMPORTED,
        "actor_id": actor_id,
        "action_payload": payload,
    }


def _is_whole(data: bytes) -> bool:
    try:
        parse_line(data)
    except LineError:
        return False
    return True
