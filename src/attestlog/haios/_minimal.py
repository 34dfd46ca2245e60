"""The minimal log: one file of JSON lines without signatures, written safely.

The format is `docs/spec/legacy.md`; reading, verifying and importing it is `attestlog.legacy`. This is not a
signed log: the format cannot show who wrote it, nor that its end was cut off.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from attestlog._internal import disk
from attestlog._internal.core.canonical import NESTING_DEPTH_MAX
from attestlog._internal.core.entry import PAYLOAD_SIZE_MAX_BYTES
from attestlog._internal.core.hashes import GENESIS_PREV_HASH
from attestlog._internal.core.report import Report, Verdict
from attestlog._internal.ids import new_entry_id
from attestlog._internal.legacy.judge import MEMBERS, SIGNED_MEMBER, LineError, legacy_hash, parse_line
from attestlog._internal.legacy.verify import LEGACY_LINE_SIZE_MAX_BYTES, file_size, judge_file, open_legacy
from attestlog.errors import (
    BusyError,
    ClosedError,
    CorruptError,
    LockLostError,
    MalformedEntryError,
    StorageError,
    TooLargeError,
    UncertainCommitError,
)

LOCK_TIMEOUT_S: Final = 30.0
"""Longer than a write and a flush should take; shorter than a caller's patience."""

IMPORT_REST_MAX_BYTES: Final = 8_192
"""What an import may write into a payload beside the line: a longer line could never be imported."""

_GIVEN_MEMBERS: Final = ("event_type", "action_type", "action_payload")
_ASSIGNED_MEMBERS: Final = frozenset(MEMBERS).difference(_GIVEN_MEMBERS) | {SIGNED_MEMBER}
"""What a caller may not give. With a signature, verifiers would take the line for another format."""

_LINE_START: Final = b'{"entry_id": "'
"""How every line begins. Torn bytes that are all there is must begin so, or be zeros that a crash left."""

_BLOCK_SIZE_BYTES: Final = 16 << 10
"""How much of the end of the file is read first: some tens of entries."""

_OPEN_TRIES: Final = 16
"""How often the file may be replaced between opening and locking it."""


class _Head(NamedTuple):
    """Where the next line goes, and what it must say."""

    size_bytes: int
    """Of the file."""
    is_ended: bool
    """Whether the file is empty or ends with a line end."""
    number: int
    """Of the next entry."""
    last_hash: str


class MinimalAttestationLog:
    """The schema's log without keys: a JSON-lines file. Threads and processes of one host may share it.

    Nothing is open between calls. `log_file` is made by the first `append`.
    """

    def __init__(self, log_file: str | os.PathLike[str] = "haios_audit.jsonl") -> None:
        self.log_file = Path(log_file)
        self.recovered: list[str] = []
        """What `append` had to set aside after a crash, in words."""
        self._checked = False
        self._failed = False

    def __repr__(self) -> str:
        return f"MinimalAttestationLog({str(self.log_file)!r})"

    def append(self, event_type: str, action_type: str, action_payload: Any, **kwargs: Any) -> dict[str, Any]:
        """Append one entry. When this returns it is durable; the entry is returned as it is in the file.

        `kwargs`: further members, such as `actor_id`. Values are what JSON holds; names within them become
        strings. Only the end of the file is read. What a crash left there of a line is moved to a file
        beside it, `<log_file>.torn-…`, and named in `recovered`.

        Raises MalformedEntryError or TooLargeError for what cannot be written. StorageError: FullError,
        DeniedError, BusyError, CorruptError (the last line is no entry, so nothing may follow it) …; nothing
        was written. UncertainCommitError: nobody can know; make a new object to go on.
        """
        given = _parse_given(
            {
                "event_type": event_type,
                "action_type": action_type,
                "action_payload": action_payload,
                **kwargs,
            }
        )
        if self._failed:
            raise ClosedError(f"{self.log_file} failed before: make a new object to go on")
        with self._locked() as descriptor:
            head = self._head(descriptor)
            entry, line = _seal(given, head)
            self._write(descriptor, line, head)
        return entry

    def verify(self) -> bool:
        """Whether attestlog's verifier finds the file VERIFIED. `report` says what is wrong, and where.

        False for an empty file, too. Raises as `report`.
        """
        return self.report().verdict is Verdict.VERIFIED

    def report(self) -> Report:
        """The verifier's report, with every finding. Reads the whole file, in flat memory; writes nothing.

        Raises NotFoundError if there is no file, DeniedError or another StorageError if it cannot be read.
        """
        with open_legacy(self.log_file) as file:
            # Between two writes, so that no line is seen half-written; an import holds the lock for longer.
            is_locked = disk.lock(file.fileno(), timeout_s=LOCK_TIMEOUT_S, shared=True)
            size_bytes = file_size(file)
            if is_locked:
                disk.unlock(file.fileno())
            return judge_file(file, str(self.log_file), size_bytes)

    # --- within ---

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The file, open and locked: one writer at a time."""
        try:
            descriptor = self._open_locked()
        except OSError as error:
            raise disk.storage_error(error, self.log_file, "opening") from None
        try:
            yield descriptor
        except OSError as error:
            raise disk.read_error(error, self.log_file) from None
        finally:
            os.close(descriptor)  # which also unlocks

    def _open_locked(self) -> int:
        if not self._checked:
            disk.check_filesystem(self.log_file)
            self._checked = True
        for _ in range(_OPEN_TRIES):
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = os.open(self.log_file, flags, 0o644)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise StorageError(f"{self.log_file} is not a regular file", path=str(self.log_file))
                if not disk.lock(descriptor, timeout_s=LOCK_TIMEOUT_S):
                    raise BusyError(
                        f"another process has held {self.log_file} for {LOCK_TIMEOUT_S:g} s",
                        path=str(self.log_file),
                    )
                if _is_at(descriptor, self.log_file):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        raise LockLostError(f"{self.log_file} is replaced again and again", path=str(self.log_file))

    def _head(self, descriptor: int) -> _Head:
        """Where the file ends, once torn bytes are set aside. Raises CorruptError."""
        size_bytes = os.fstat(descriptor).st_size
        start, line, rest = self._last_line(descriptor, size_bytes)
        if not line or b"\n" in rest or _is_whole(line):
            return self._head_at(size_bytes, start, line, rest)
        if not start and line.strip(b"\0") and not line.startswith(_LINE_START[: len(line)]):
            raise self._corrupt(start, "is not an entry")
        # Before anything is cut: what stands before it must be of this format, and not any other file.
        head = self._head_at(start, *self._last_line(descriptor, start))
        self._set_aside(descriptor, start, size_bytes)
        return head

    def _head_at(self, size_bytes: int, start: int, line: bytes, rest: bytes) -> _Head:
        """The head of so many bytes, of which this is the last line. Raises CorruptError."""
        is_ended = (rest or line or b"\n").endswith(b"\n")
        if not line:
            return _Head(size_bytes, is_ended, 0, GENESIS_PREV_HASH)
        try:
            members, _ = parse_line(line)
            computed = legacy_hash(members)
        except LineError as error:
            raise self._corrupt(start, f"is not an entry: {error}") from None
        number, stated = members.get("sequence_number"), members.get("entry_hash")
        if type(number) is not int or SIGNED_MEMBER in members:
            raise self._corrupt(start, "is not an entry of the minimal format")
        if stated != computed:
            raise self._corrupt(start, "does not hash to its entry_hash", expected=computed, found=stated)
        return _Head(size_bytes, is_ended, number + 1, computed)

    def _last_line(self, descriptor: int, size_bytes: int) -> tuple[int, bytes, bytes]:
        """(offset, the last line that is not blank, what follows it). Reads no more than it must."""
        wanted = _BLOCK_SIZE_BYTES
        while True:
            start = max(0, size_bytes - wanted)
            data = os.pread(descriptor, size_bytes - start, start)
            line = data.rstrip()
            begin = line.rfind(b"\n") + 1
            if begin or not start:
                return start + begin, line[begin:], data[len(line) :]
            if wanted > 2 * LEGACY_LINE_SIZE_MAX_BYTES:
                raise self._corrupt(start, f"has more than {LEGACY_LINE_SIZE_MAX_BYTES} bytes")
            wanted *= 4

    def _set_aside(self, descriptor: int, start: int, size_bytes: int) -> None:
        """Move a line that was cut short out of the file, never out of existence."""
        data = os.pread(descriptor, size_bytes - start, start)
        name = f"{self.log_file.name}.torn-{start}-{sha256(data).hexdigest()[:16]}"
        torn = self.log_file.with_name(name)
        try:
            disk.replace_file(torn, data)
            # A crash here leaves the bytes in both places; they are set aside once more, under this name.
            os.ftruncate(descriptor, start)
        except OSError as error:
            raise disk.storage_error(error, torn, "setting aside") from None
        self.recovered.append(f"{len(data)} bytes set aside in {torn}: a line that was cut short")

    def _write(self, descriptor: int, line: bytes, head: _Head) -> None:
        """One line, durable. A crash before the end leaves it torn or whole, and nobody was told of it."""
        try:
            disk.write_all(descriptor, line if head.is_ended else b"\n" + line)
        except BaseException as error:
            self._take_back(descriptor, head, error)
            if isinstance(error, OSError):
                raise disk.storage_error(error, self.log_file, "writing") from None
            raise
        try:
            os.fsync(descriptor)
            if not head.size_bytes:
                disk.fsync_directory(self.log_file.absolute().parent)
        except OSError as error:
            # The kernel may have dropped the pages: asking again would be answered with success.
            raise self._stop(f"{self.log_file} could not be made durable: {error.strerror}") from error

    def _take_back(self, descriptor: int, head: _Head, cause: BaseException) -> None:
        try:
            os.ftruncate(descriptor, head.size_bytes)
        except OSError as error:
            raise self._stop(
                f"{self.log_file} could not be cut back after {cause}: {error.strerror}"
            ) from None

    def _stop(self, reason: str) -> UncertainCommitError:
        self._failed = True
        return UncertainCommitError(f"outcome unknown: {reason}", path=str(self.log_file))

    def _corrupt(self, offset: int, what: str, **evidence: Any) -> CorruptError:
        return CorruptError(
            f"{self.log_file}: the last line, at byte {offset}, {what}; nothing may follow it",
            path=str(self.log_file), **evidence,
        )  # fmt: skip


def _parse_given(members: dict[str, Any]) -> dict[str, Any]:
    """What the caller says, as it will be read again. Raises MalformedEntryError."""
    for name in ("event_type", "action_type"):
        if not isinstance(members[name], str):
            kind = type(members[name]).__name__
            raise MalformedEntryError(f"entry: {name}: expected str, got {kind}", member=name)
    for name in members:
        if name in _ASSIGNED_MEMBERS:
            raise MalformedEntryError(f"entry: {name}: is assigned by the log", member=name)
    try:
        # Names that are numbers sort otherwise than as the text they become: what is hashed is the text.
        parsed, repeated = parse_line(json.dumps(members).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise MalformedEntryError(f"entry: {error}", member="") from None
    if _is_deeper(parsed, NESTING_DEPTH_MAX):
        raise MalformedEntryError(f"entry: nested deeper than {NESTING_DEPTH_MAX} levels", member="")
    if repeated:
        raise MalformedEntryError(
            f"entry: {repeated[0]!r} is there twice once names are text", member=repeated[0]
        )
    return parsed


def _is_deeper(value: Any, depth: int) -> bool:
    """Whether there are more containers within containers: Python's json reads few more than it writes."""
    level = [value]
    for _ in range(depth + 1):
        inner = [
            item.values() if isinstance(item, dict) else item
            for item in level
            if isinstance(item, dict | list)
        ]
        level = list(chain.from_iterable(inner))
        if not inner:
            return False
    return True


def _seal(given: dict[str, Any], head: _Head) -> tuple[dict[str, Any], bytes]:
    """The entry and its line, in the schema's order of members. Raises TooLargeError."""
    entry = {
        "entry_id": new_entry_id(),
        "timestamp": datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds"),
        "sequence_number": head.number,
        **{name: given[name] for name in _GIVEN_MEMBERS},
        "prev_entry_hash": head.last_hash,
        **given,
    }
    entry["entry_hash"] = legacy_hash(entry)
    line = json.dumps(entry)
    size_bytes = len(msgspec.json.encode(line)) + IMPORT_REST_MAX_BYTES
    if size_bytes > PAYLOAD_SIZE_MAX_BYTES:
        raise TooLargeError(
            f"entry makes {size_bytes} bytes when it is imported, at most {PAYLOAD_SIZE_MAX_BYTES} fit",
            member="", size_bytes=size_bytes, size_bytes_max=PAYLOAD_SIZE_MAX_BYTES,
        )  # fmt: skip
    return entry, line.encode() + b"\n"


def _is_whole(line: bytes) -> bool:
    try:
        parse_line(line)
    except LineError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether this open file is still the one at `path`: it may be replaced before it is locked."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
