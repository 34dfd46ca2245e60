"""Verifying a legacy log as it lies in its file, in one pass and flat memory."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from attestlog._internal.core.entry import PAYLOAD_SIZE_MAX_BYTES
from attestlog._internal.core.report import Finding, Progress, Report, Verdict
from attestlog._internal.legacy.judge import Judge, LineError, is_legacy_line, parse_line
from attestlog.errors import DeniedError, NotFoundError, StorageError

LEGACY_LINE_SIZE_MAX_BYTES: Final = PAYLOAD_SIZE_MAX_BYTES
"""Longer lines are not judged: they could not be imported either, and bound what is held in memory."""

FIRST_LINES: Final = 8
"""Lines looked at to tell whether a file is a legacy log: the first ones may be the damaged ones."""

_PROGRESS_LINES: Final = 1_024
"""Lines between two reports of progress."""


class FileLine(NamedTuple):
    """One line of the file, without its line end."""

    data: bytes
    """Cut after LEGACY_LINE_SIZE_MAX_BYTES + 1 bytes."""
    complete: bool
    """Whether it has a line end."""
    stop: int
    """Where the next line starts."""


def is_legacy(path: Path | str) -> bool:
    """Whether the file is a legacy log, sound or damaged: one of its first lines is of the format.

    An empty file is one by its name only, `.jsonl`. Raises NotFoundError or DeniedError.
    """
    if Path(path).is_dir():
        return False
    with open_legacy(path) as file:
        if not file_size(file):
            return Path(path).suffix == ".jsonl"
        for count, line in enumerate(file_lines(file, file_size(file))):
            if is_legacy_line(line.data):
                return True
            if count + 1 >= FIRST_LINES:
                break
    return False


def judge_legacy(
    path: Path | str,
    progress: Progress | None = None,
    on_finding: Callable[[Finding], None] | None = None,
) -> Report:
    """Verify a legacy log. What it finds is in the report; raises only if the file cannot be read.

    `on_finding` hears each finding as it is made.
    """
    with open_legacy(path) as file:
        return judge_file(file, str(path), file_size(file), progress=progress, on_finding=on_finding)


def judge_file(
    file: BinaryIO,
    subject: str,
    size_bytes: int,
    *,
    sha256: hashlib._Hash | None = None,
    progress: Progress | None = None,
    on_finding: Callable[[Finding], None] | None = None,
) -> Report:
    """`judge_legacy` of the first `size_bytes` of an open file; `sha256` takes in those bytes."""
    started = time.monotonic()
    report, judge = Report(subject=subject, format="legacy"), Judge()
    count = 0
    for count, line in enumerate(file_lines(file, size_bytes, sha256), 1):
        for finding in _findings(judge, line, count):
            report.add(finding, on_finding)
        if progress is not None and count % _PROGRESS_LINES == 0:
            progress(line.stop, size_bytes)
    if progress is not None:
        progress(size_bytes, size_bytes)
    report.size, report.genesis_hash, report.head_hash = judge.size, judge.genesis_hash, judge.head_hash
    for finding in _closing(judge.size, count):
        report.add(finding, on_finding)
    report.duration_s = time.monotonic() - started
    return report


def _findings(judge: Judge, line: FileLine, number: int) -> Iterator[Finding]:
    if len(line.data) > LEGACY_LINE_SIZE_MAX_BYTES:
        judge.pass_over()
        yield Finding(
            code="legacy.too_large", verdict=Verdict.UNKNOWN, sequence_number=number - 1,
            message=f"line {number} is longer than {LEGACY_LINE_SIZE_MAX_BYTES} bytes and was not judged",
        )  # fmt: skip
    elif line.complete or not line.data.strip():
        yield from judge.take(line.data)
    elif _is_torn(line.data):
        yield Finding(
            code="legacy.torn", verdict=Verdict.INCOMPLETE, sequence_number=number - 1,
            message=f"line {number} is torn: the file ends within it, after {len(line.data)} bytes",
        )  # fmt: skip
    else:
        yield Finding(
            code="legacy.no_line_end", verdict=Verdict.VERIFIED, sequence_number=number - 1,
            message=f"line {number}, the last one, has no line end; it is whole otherwise",
        )  # fmt: skip
        yield from judge.take(line.data)


def _is_torn(data: bytes) -> bool:
    try:
        parse_line(data)
    except LineError:
        return True
    return False


def _closing(size: int, lines: int) -> Iterator[Finding]:
    """What the lines taken together say, and what no line can say."""
    if not lines:
        yield Finding(
            code="legacy.empty", verdict=Verdict.UNKNOWN,
            message="the file is empty: there is nothing to verify, and nothing shows that there never was",
        )  # fmt: skip
    elif not size:
        yield Finding(
            code="legacy.format", verdict=Verdict.MALFORMED,
            message="the file is not a legacy log: it has no line that is an entry",
        )  # fmt: skip
    else:
        yield Finding(
            code="legacy.tail", verdict=Verdict.VERIFIED, sequence_number=size - 1,
            message="entries cut off after the last one would not show: the format has no checkpoint",
        )  # fmt: skip
        yield Finding(
            code="legacy.unsigned", verdict=Verdict.VERIFIED,
            message="a file rewritten whole would not show: the format has no signatures",
        )  # fmt: skip


def file_lines(file: BinaryIO, size_bytes: int, sha256: hashlib._Hash | None = None) -> Iterator[FileLine]:
    """The lines of the first `size_bytes` from the start, in bounded memory; `sha256` takes in all bytes."""
    file.seek(0)
    stop = 0
    while stop < size_bytes:
        data = file.readline(min(LEGACY_LINE_SIZE_MAX_BYTES + 2, size_bytes - stop))
        if not data:
            return
        rest, complete = data, data.endswith(b"\n")
        while rest:
            stop += len(rest)
            if sha256 is not None:
                sha256.update(rest)
            complete = rest.endswith(b"\n")
            rest = b"" if complete else file.readline(min(1 << 20, size_bytes - stop))
        yield FileLine(data.removesuffix(b"\n")[: LEGACY_LINE_SIZE_MAX_BYTES + 1], complete, stop)


@contextmanager
def open_legacy(path: Path | str) -> Iterator[BinaryIO]:
    """The file, open for reading. Raises NotFoundError, DeniedError or StorageError, also while in use."""
    try:
        with Path(path).open("rb", buffering=1 << 20) as file:
            yield file
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist", path=str(path)) from None
    except PermissionError as error:
        raise DeniedError(f"{path} may not be read: {error.strerror}", path=str(path)) from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", path=str(path)) from None


def file_size(file: BinaryIO) -> int:
    """Bytes in the file now: what is appended while it is read is left for the next time."""
    return os.fstat(file.fileno()).st_size
