"""Reading a log's directory as a stranger: what is there at one moment, cut into chunks of whole lines.

Only plain files are opened, never for writing, and nothing is read past the
sizes seen at that moment: what is appended afterwards belongs to the next
verification. It judges nothing.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES
from attestlog._internal.core.signature import BATCH_ENTRIES_MAX
from attestlog._internal.storage.files import layout
from attestlog.errors import NotFoundError, StorageError

LOCK_WAIT_S: Final = 5.0
"""How long to wait for a commit to end: most take milliseconds; a slow signer must not stop an audit."""

SMALL_FILE_SIZE_MAX_BYTES: Final = 2 << 20
"""log.toml and the checkpoint are a few hundred bytes; this is over the limit of any note."""

CHUNK_SIZE_MAX_BYTES: Final = 8 << 20
"""Handed to a worker at once: thousands of entries, so that edges cost little; memory stays flat."""

_CHUNK_SIZE_MIN_BYTES: Final = 256 << 10
_BLOCK_BYTES: Final = 256 << 10
_POLL_S: Final = 0.001
_WITHIN_BATCH: Final = re.compile(rb'"hsm_signature":"[0-9a-f]*:[1-9][0-9]*/')
"""An entry that is not the first of its batch. It need not be exact, only the same wherever it is asked."""

_LEVEL: Final = re.compile(r"[0-9]|[1-9][0-9]")


class Segment(Struct, frozen=True):
    """A segment file: its first sequence number, and its size when the snapshot was taken."""

    first: int
    path: str
    size_bytes: int
    inode: int = 0


class Snapshot(Struct):
    """What was there. `files`: name → contents, None where there is no such file."""

    segments: list[Segment]
    strays: list[str]
    tree: dict[int, int]
    """Tile level → bytes of its file."""
    files: dict[str, bytes | None]
    unreadable: list[tuple[str, str]]
    """(name, reason) of what is there and cannot be read."""
    waited_in_vain: bool = False


Line = tuple[int, bytes, int, bool]
"""Offset, the line without its line end, the offset after that, whether there is a line end.
A plain tuple, because one is made for every entry."""


class Chunk(Struct, frozen=True):
    """The lines of a segment that begin at bytes [start, stop); `end`: where the snapshot ends."""

    first: int
    path: str
    start: int
    stop: int
    end: int
    is_first: bool = False
    """Nothing is read before it."""
    inode: int = 0
    """Of the file when the snapshot was taken; 0: not known."""


def take_snapshot(root: Path) -> Snapshot:
    """What the directory holds at a commit boundary. Raises OSError if it cannot be listed."""
    snapshot = Snapshot([], [], {}, {}, [])
    with _between_commits(root) as agreed:
        snapshot.waited_in_vain = not agreed
        # Entries last: where the lock cannot be had, they can then only be ahead of the rest, never behind.
        for name in (layout.CHECKPOINT_FILE, layout.CONFIG_FILE):
            try:
                snapshot.files[name] = read_small_file(root / name)
            except FileNotFoundError:
                snapshot.files[name] = None
            except OSError as error:
                snapshot.unreadable.append((name, reason(error)))
        _list_tree(root, snapshot)
        _list_segments(root, snapshot)
    return snapshot


def reason(error: OSError) -> str:
    """Why, in words, without the path."""
    return error.strerror or str(error)


def read_small_file(path: Path) -> bytes:
    """Raises OSError, also for what is not a plain file."""
    with open_plain(path) as file:
        return file.read(SMALL_FILE_SIZE_MAX_BYTES)


Source = bytes | str | os.PathLike[str]
"""Something small: its bytes, or the path of its file."""


def read_source(source: Source, size_max: int = SMALL_FILE_SIZE_MAX_BYTES) -> bytes:
    """Up to one byte more than `size_max`. Raises NotFoundError or another StorageError."""
    if isinstance(source, bytes):
        return source
    path = Path(source)
    try:
        with open_plain(path) as file:
            return file.read(size_max + 1)
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}", path=str(path)) from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {reason(error)}", path=str(path)) from None


def open_plain(path: Path | str, buffering: int = _BLOCK_BYTES) -> BinaryIO:
    """Opens a regular file for reading; a pipe or device would hang or never end. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not a regular file")
    return open(descriptor, "rb", buffering=buffering)  # noqa: PTH123 - a descriptor, not a path


def first_line(segment: Segment) -> bytes:
    """The first line without its line end; empty if there is no whole one. Raises OSError."""
    with open_plain(segment.path) as file:
        line = file.readline(min(LINE_SIZE_MAX_BYTES + 1, segment.size_bytes))
    return line[:-1] if line.endswith(b"\n") else b""


def cut_chunks(segments: list[Segment], chunk_size_bytes: int, offset: int = 0) -> Iterator[Chunk]:
    """The chunks of these segments; of the first segment, from byte `offset` on."""
    for segment in segments:
        for start in range(offset, segment.size_bytes, chunk_size_bytes):
            stop = min(start + chunk_size_bytes, segment.size_bytes)
            yield Chunk(
                segment.first, segment.path, start, stop, segment.size_bytes, start == offset, segment.inode
            )
        offset = 0


def chunk_size(total_bytes: int, workers: int) -> int:
    """Small enough that no worker is left waiting at the end."""
    return max(_CHUNK_SIZE_MIN_BYTES, min(CHUNK_SIZE_MAX_BYTES, total_bytes // (workers * 8)))


def read_whole_batches(chunk: Chunk) -> Iterator[Line]:
    """As `read_lines`, but a batch belongs to the chunk that its first entry begins in.

    A batch is then verified at one go. Where no batch begins for longer than one can be,
    lines belong to the chunk that they would with the boundary that many lines later.
    """
    is_ours, skipped, past = chunk.is_first, 0, 0
    for line in read_lines(chunk, chunk.end):
        if is_ours and line[0] < chunk.stop:
            yield line
            continue
        match = _WITHIN_BATCH.search(line[1])
        if not is_ours:
            is_ours = match is None or skipped == BATCH_ENTRIES_MAX
            skipped += 1
        if line[0] >= chunk.stop:
            if match is None or past == BATCH_ENTRIES_MAX:
                return
            past += 1
        if is_ours:
            yield line


def read_lines(chunk: Chunk, stop: int) -> Iterator[Line]:
    """Each line that begins in the chunk, or after it and before `stop`.

    Of what is longer than any line may be, only the first bytes are given.
    Raises OSError, also when the file has become shorter than it was.
    """
    with open_plain(chunk.path) as file:
        if chunk.inode not in (0, os.fstat(file.fileno()).st_ino):
            # Its offsets are of a file that is there no more: somebody erased a payload.
            raise OSError(f"{chunk.path} was written anew while it was verified: verify again")
        offset = chunk.start
        if offset:
            offset = _after_line_end(file, offset - 1, chunk.stop)
            if offset >= chunk.stop:
                # No line begins in the chunk, or one does right after it: that is the next chunk's.
                return
        file.seek(offset)
        while offset < stop:
            limit = min(LINE_SIZE_MAX_BYTES + 1, chunk.end - offset)
            data = file.readline(limit)
            after = offset + len(data)
            if data[-1:] == b"\n":
                yield offset, data[:-1], after, True
            elif len(data) < limit:
                raise OSError(f"{chunk.path} became shorter while it was read")
            else:
                after = _after_line_end(file, after, chunk.end)
                file.seek(after)
                yield offset, data, after, after < chunk.end
            offset = after


def led_away(path: str) -> str | None:
    """Where a symbolic link leads at which there is nothing now; None for anything else."""
    try:
        return os.readlink(path) if not os.path.exists(path) else None  # noqa: PTH110, PTH115 - a plain path
    except OSError:
        return None


def line_offset(segment: Segment, lines: int) -> int:
    """Where the line after this many lines starts; the segment's end if there are fewer. Raises OSError."""
    offset = 0
    with open_plain(segment.path) as file:
        while lines and offset < segment.size_bytes:
            block = _read(file, offset, segment.size_bytes)
            if block.count(b"\n") < lines:
                lines -= block.count(b"\n")
                offset += len(block)
                continue
            place = -1
            for _ in range(lines):
                place = block.index(b"\n", place + 1)
            return offset + place + 1
    return offset


def _after_line_end(file: BinaryIO, offset: int, limit: int) -> int:
    """The offset after the next line end, or `limit` if there is none before it."""
    while offset < limit:
        block = _read(file, offset, limit)
        place = block.find(b"\n")
        if place >= 0:
            return offset + place + 1
        offset += len(block)
    return limit


def _read(file: BinaryIO, offset: int, limit: int) -> bytes:
    block = os.pread(file.fileno(), min(_BLOCK_BYTES, limit - offset), offset)
    if not block:
        raise OSError(f"{file.name} became shorter while it was read")
    return block


def _list_tree(root: Path, snapshot: Snapshot) -> None:
    try:
        for path in (root / layout.TREE_DIR).iterdir():
            if _LEVEL.fullmatch(path.name):
                snapshot.tree[int(path.name)] = _plain_status(path).st_size
    except FileNotFoundError:
        pass
    except OSError as error:
        snapshot.unreadable.append((layout.TREE_DIR, reason(error)))


def _list_segments(root: Path, snapshot: Snapshot) -> None:
    known = dict(layout.list_segments(root))
    names = {path.name for path in known.values()}
    for path in sorted((root / layout.ENTRIES_DIR).iterdir()):
        if (
            path.suffix == ".jsonl"
            and path.name not in names
            and not path.name.startswith(layout.TORN_PREFIX)
        ):
            snapshot.strays.append(path.name)
    for first, path in sorted(known.items()):
        try:
            status = _plain_status(path)
        except OSError:
            snapshot.segments.append(Segment(first, str(path), 1))  # reading it will say why it cannot be
        else:
            snapshot.segments.append(Segment(first, str(path), status.st_size, status.st_ino))


def _plain_status(path: Path) -> os.stat_result:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is not a regular file")
    return status


@contextmanager
def _between_commits(root: Path) -> Iterator[bool]:
    """Between commits. Yields whether that could be had in time; True where nothing can lock."""
    with ExitStack() as stack:
        yield _wait_for_commit(root, stack)


def _wait_for_commit(root: Path, stack: ExitStack) -> bool:
    deadline = time.monotonic() + LOCK_WAIT_S
    try:
        turnstile = _descriptor(root / layout.ENTRIES_DIR, stack)
        lock = _descriptor(root / layout.LOCK_FILE, stack)
        # Writers pass the turnstile before each lock: standing in it, one waits for one commit only.
        agreed = take_lock(turnstile, fcntl.LOCK_EX, deadline) and take_lock(lock, fcntl.LOCK_SH, deadline)
        fcntl.flock(turnstile, fcntl.LOCK_UN)
    except OSError:
        return True
    return agreed


def _descriptor(path: Path, stack: ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    stack.callback(os.close, descriptor)
    return descriptor


def take_lock(descriptor: int, kind: int, deadline: float) -> bool:
    """Whether the flock was taken before the deadline (time.monotonic). Raises OSError where none can be."""
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        else:
            return True
