"""Erasing payloads from segments, in steps of which each can be the last before a crash.

1. `erasing` names the entry that will say so: its place and its hash.
2. That entry (erase_payload, erase_payloads) is committed, as any other.
3. Each segment that holds such a payload is written again without it, and renamed over the old one.
4. This user's query indexes of the log are removed: they may hold the payloads' words.
5. `erasing` is removed.

A crash before 2 leaves a note that means nothing, and is removed. After 2 the
erasure is a fact of the log: the next process that opens it, or finds what the
crashed one wrote, goes on with 3; segments that were written again have nothing left to go.
The note may have been put there by anybody. So it says nothing of its own: before a byte goes,
that process judges the entry again, by the rules where it stands (`Known.check_erasure`). All of it is done
under the log's lock.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import msgspec

from attestlog._internal import disk
from attestlog._internal.core.entry import Entry
from attestlog._internal.core.erasure import (
    AnyErasure,
    Stored,
    erase_line,
    erasure_of,
    taken,
)
from attestlog._internal.places import index_dir
from attestlog._internal.storage.contract import Known, LocatedLine, PendingErasure
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.files.compressing import replace_packed_lines
from attestlog._internal.storage.files.reader import FileSource
from attestlog._internal.storage.files.segments import BLOCK_BYTES, lines_end
from attestlog.errors import (
    AttestlogError,
    CorruptError,
    ErasureRefusedError,
    MalformedEntryError,
    MalformedError,
    NoHomeError,
    NotFoundError,
    StorageError,
    VerificationError,
)


class _Segment(NamedTuple):
    """A segment, and which of its entries the erasure is about."""

    path: Path
    numbers: range


def write_pending(root: Path, entry: Entry) -> None:
    """Step 1. Raises StorageError, or ErasureRefusedError for a payload whose segment is archived."""
    erasure = erasure_of(entry)
    for segment in _reached(root, erasure):
        if segment.path.is_symlink():
            for _, stored in _payloads(root, segment, erasure):
                # The payload would be gone from here, and still be there.
                raise ErasureRefusedError(
                    f"the payload of entry {stored.sequence_number} stays: its segment is archived",
                    sequence_number=stored.sequence_number, rule="archived",
                )  # fmt: skip
    path = root / layout.ERASING_FILE
    pending = PendingErasure(erased_by=entry.sequence_number, entry_hash=entry.entry_hash)
    try:
        disk.replace_file(path, msgspec.json.encode(pending) + b"\n", layout.file_mode(root), exact=True)
    except OSError as error:
        raise disk.storage_error(error, path, "writing") from None


def finish(root: Path, pending: PendingErasure, size: int, known: Known | None) -> None:
    """Steps 3 to 5, if the log of `size` entries has the entry that says so.

    `known` judges it; None: this process judged it when it began.
    Raises StorageError: then it can be tried again. ErasureRefusedError: it never can, and is forgotten.
    """
    try:
        entry = _saying(root, pending, size)
        if entry is not None:
            if known is not None:
                _check(root, pending, known)
            erasure = erasure_of(entry)
            for segment in _reached(root, erasure):
                _erase(root, segment, erasure)
            _forget_words(root)
        _forget(root)
    except OSError as error:
        raise disk.storage_error(error, root, "erasing in") from None


def _forget(root: Path) -> None:
    (root / layout.ERASING_FILE).unlink(missing_ok=True)
    # A crash here may bring `erasing` back: all it asks for is found done, or refused once more.
    disk.fsync_directory(root)


def _check(root: Path, pending: PendingErasure, known: Known) -> None:
    try:
        known.check_erasure(FileSource(root), pending)
    except ErasureRefusedError:
        _forget(root)
        raise
    except (MalformedError, VerificationError) as error:
        raise CorruptError(
            f"entry {pending.erased_by} does not erase: {error}",
            path=str(root), sequence_number=pending.erased_by, repair="entries",
        ) from None  # fmt: skip


def _forget_words(root: Path) -> None:
    """What cannot be removed stops no erasure: an index that does not fit the log is made again when used."""
    with contextlib.suppress(NoHomeError):
        shutil.rmtree(index_dir(FileSource(root).entry(0).entry_hash), ignore_errors=True)


def _saying(root: Path, pending: PendingErasure, size: int) -> Entry | None:
    """The erasing entry, if it is there, where it was meant to be."""
    if pending.erased_by >= size:
        return None
    try:
        entry = FileSource(root).entry(pending.erased_by)
    except NotFoundError:
        return None
    return entry if entry.entry_hash == pending.entry_hash else None


def _reached(root: Path, erasure: AnyErasure) -> Iterator[_Segment]:
    """The segments with entries that the erasure is about."""
    segments, reach = layout.list_segments(root), erasure.reach
    ends = [*(first for first, _ in segments[1:]), reach.stop]
    for (first, path), end in zip(segments, ends, strict=False):
        numbers = range(max(first, reach.start), min(end, reach.stop))
        if numbers:
            yield _Segment(path, numbers)


def _payloads(root: Path, segment: _Segment, erasure: AnyErasure) -> Iterator[tuple[LocatedLine, Stored]]:
    """Those that are there and go, in order. Raises StorageError."""
    at: list[LocatedLine] = []

    def passing() -> Iterator[bytes]:
        for line in FileSource(root).located_lines(segment.numbers.start, segment.numbers.stop):
            at[:] = [line]
            yield line.data

    try:
        for _, stored in taken(erasure, passing()):
            if stored.has_payload:
                yield at[0], stored
    except MalformedError as error:
        raise _damaged(segment.path, f"entry {at[0].sequence_number}", error) from None


def _erase(root: Path, segment: _Segment, erasure: AnyErasure) -> None:
    """Write the segment again without these payloads, if it has any. Raises OSError, StorageError."""
    payloads = _payloads(root, segment, erasure)
    first = next(payloads, None)
    if first is None:
        return
    going = (
        (line, _erased(segment.path, line.data, erasure, stored)) for line, stored in chain([first], payloads)
    )
    if segment.path.name.endswith(layout.PACKED_SUFFIX):
        replace_packed_lines(segment.path, going)
    else:
        _replace_lines(segment.path, going)


def _replace_lines(path: Path, going: Iterator[tuple[LocatedLine, bytes]]) -> None:
    """Write the segment again with other lines in the place of these, and without room. Raises OSError."""
    source = disk.plain_descriptor(path)
    try:
        mode, done = os.fstat(source).st_mode & 0o777, 0
        # One name for all tries: what a crash left of one, payload and all, is overwritten by the next.
        with disk.replacing(path, mode, suffix="erasing") as target:
            os.fchmod(target, mode)
            for line, replacement in going:
                _copy(source, target, done, line.offset)
                disk.write_all(target, replacement)
                done = line.offset + len(line.data)
            _copy(source, target, done, lines_end(source, os.fstat(source).st_size))
    finally:
        os.close(source)


def _erased(path: Path, line: bytes, erasure: AnyErasure, stored: Stored) -> bytes:
    what = f"entry {stored.sequence_number}"
    if not erasure.describes(stored):
        raise _damaged(path, what, MalformedEntryError("it is not the one described"))
    try:
        return erase_line(line)
    except (MalformedError, VerificationError) as error:
        raise _damaged(path, what, error) from None


def _damaged(path: Path, what: str, error: AttestlogError) -> CorruptError:
    return CorruptError(f"{what} cannot be erased: {error}", path=str(path), repair="entries")


def _copy(source: int, target: int, start: int, stop: int) -> None:
    while start < stop:
        block = os.pread(source, min(BLOCK_BYTES, stop - start), start)
        if not block:
            raise StorageError("the segment became shorter while it was copied")
        disk.write_all(target, block)
        start += len(block)
