"""Erasing a payload from a segment, in steps of which each can be the last before a crash.

1. `erasing` names the entry, and the place of the entry that will say so.
2. That entry (erase_payload) is committed, as any other.
3. The segment is written again without the payload, and renamed over the old one.
4. This user's query indexes of the log are removed: they may hold the payload's words.
5. `erasing` is removed.

A crash before 2 leaves a note that means nothing, and is removed. After 2 the
erasure is a fact of the log: the next process that opens it, or finds what the
crashed one wrote, goes on with 3. Whether a payload may be erased is decided by the entries and
the rules there (`Known.check_erasure`), never by `erasing`. All of it is done under the log's lock.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import msgspec

from attestlog._internal import disk
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.erasure import erase_line, says_erased
from attestlog._internal.places import index_dir
from attestlog._internal.storage.contract import Known, LocatedLine, PendingErasure
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.files.compressing import replace_packed_line
from attestlog._internal.storage.files.reader import FileSource
from attestlog._internal.storage.files.segments import BLOCK_BYTES, lines_end
from attestlog.errors import (
    CorruptError,
    ErasureRefusedError,
    MalformedEntryError,
    MalformedError,
    NoHomeError,
    StorageError,
    VerificationError,
)


def write_pending(root: Path, pending: PendingErasure) -> None:
    """Step 1. Raises StorageError, or ErasureRefusedError for an entry whose segment is archived."""
    line = stored_line(root, pending.sequence_number)
    if line is not None and layout.segment_path(root, line.segment).is_symlink():
        # The payload would be gone from here, and still be there.
        raise ErasureRefusedError(
            f"the payload of entry {pending.sequence_number} stays: its segment is archived",
            sequence_number=pending.sequence_number, rule="archived",
        )  # fmt: skip
    path = root / layout.ERASING_FILE
    try:
        disk.replace_file(path, msgspec.json.encode(pending) + b"\n", layout.file_mode(root), exact=True)
    except OSError as error:
        raise disk.storage_error(error, path, "writing") from None


def finish(root: Path, pending: PendingErasure, size: int, known: Known) -> Path | None:
    """Steps 3 to 5, if the log of `size` entries has the entry that says so; the segment that was replaced.

    `erasing` stands beside the entries: anyone who can write there can have written it. So it only lets go
    on what the entry says, if the rules there allow it.
    Raises StorageError: then it can be tried again. ErasureRefusedError: it never can.
    """
    path = None
    try:
        if _is_said(root, pending, size):
            _check(root, pending, known)
            path = _erase(root, pending)
            _forget_words(root)
        (root / layout.ERASING_FILE).unlink(missing_ok=True)
        # A crash here may bring `erasing` back: all it asks for is found done.
        disk.fsync_directory(root)
    except OSError as error:
        raise disk.storage_error(error, root, "erasing in") from None
    return path


def _check(root: Path, pending: PendingErasure, known: Known) -> None:
    try:
        known.check_erasure(FileSource(root), pending)
    except ErasureRefusedError:
        # A crash in here leaves the file: it is refused once more.
        (root / layout.ERASING_FILE).unlink(missing_ok=True)
        disk.fsync_directory(root)
        raise
    except (MalformedError, VerificationError) as error:
        raise CorruptError(
            f"entry {pending.sequence_number} is not erased: {error}",
            path=str(root), sequence_number=pending.erased_by, repair="entries",
        ) from None  # fmt: skip


def _forget_words(root: Path) -> None:
    """What cannot be removed stops no erasure: an index that does not fit the log is made again when used."""
    with contextlib.suppress(NoHomeError):
        shutil.rmtree(index_dir(FileSource(root).entry(0).entry_hash), ignore_errors=True)


def stored_line(root: Path, sequence_number: int) -> LocatedLine | None:
    """One line and its place. Raises StorageError."""
    return next(FileSource(root).located_lines(sequence_number, sequence_number + 1), None)


def _is_said(root: Path, pending: PendingErasure, size: int) -> bool:
    """Whether the erasing entry is there, where it was meant to be."""
    line = stored_line(root, pending.erased_by) if pending.erased_by < size else None
    return line is not None and says_erased(line.data, pending.sequence_number, pending.entry_hash)


def _erase(root: Path, pending: PendingErasure) -> Path | None:
    number = pending.sequence_number
    line = stored_line(root, number)
    try:
        if line is None or decode_line(line.data).entry_hash != pending.entry_hash:
            raise MalformedEntryError("it is not there")
        erased = erase_line(line.data)
    except (MalformedEntryError, VerificationError) as error:
        raise CorruptError(
            f"entry {number} cannot be erased: {error}",
            path=str(root), sequence_number=number, repair="entries",
        ) from None  # fmt: skip
    if erased == line.data:
        return None
    path = layout.segment_path(root, line.segment)
    if path.name.endswith(layout.PACKED_SUFFIX):
        replace_packed_line(path, line, erased)
    else:
        _replace_line(path, line, erased)
    return path


def _replace_line(path: Path, line: LocatedLine, replacement: bytes) -> None:
    """Write the segment again with this line in the other's place, and without room. Raises OSError."""
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        mode = os.fstat(source).st_mode & 0o777
        # One name for all tries: what a crash left of one, payload and all, is overwritten by the next.
        with disk.replacing(path, mode, suffix="erasing") as target:
            os.fchmod(target, mode)
            _copy(source, target, 0, line.offset)
            disk.write_all(target, replacement)
            stop = lines_end(source, os.fstat(source).st_size)
            _copy(source, target, line.offset + len(line.data), stop)
    finally:
        os.close(source)


def _copy(source: int, target: int, start: int, stop: int) -> None:
    while start < stop:
        block = os.pread(source, min(BLOCK_BYTES, stop - start), start)
        if not block:
            raise StorageError("the segment became shorter while it was copied")
        disk.write_all(target, block)
        start += len(block)
