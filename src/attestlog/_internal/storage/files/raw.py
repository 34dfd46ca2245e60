"""A log's directory as a stranger reads it: what is there at one moment, judged by nobody.

`verifying.source` says what a verifier asks of it. Only plain files are opened,
never for writing, and nothing is read past the sizes seen at that moment: what
is appended afterwards belongs to the next verification.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES
from attestlog._internal.core.genesis import Settings
from attestlog._internal.core.hashes import HASH_SIZE_BYTES
from attestlog._internal.core.lines import Line
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.files.lock import take_lock
from attestlog._internal.storage.files.plain import (
    BLOCK_BYTES,
    open_plain,
    plain_status,
    read_small_file,
    reason,
)
from attestlog._internal.storage.files.timestamps import (
    TIMESTAMP_SIZE_MAX_BYTES,
    TIMESTAMPS_DIR,
    list_timestamps,
)
from attestlog.errors import MalformedConfigError, MalformedError, NotFoundError, StorageError

LOCK_WAIT_S: Final = 5.0
"""How long to wait for a commit to end: most take milliseconds; a slow signer must not stop an audit."""

PIECE_SIZE_MAX_BYTES: Final = 8 << 20
"""Handed to a worker at once: thousands of entries, so that edges cost little; memory stays flat."""

PIECE_SIZE_MIN_BYTES: Final = 256 << 10
"""Below it, handing a piece over takes longer than reading it."""

_LEVEL: Final = re.compile(r"[0-9]|[1-9][0-9]")


class RawSegment(Struct, frozen=True):
    """A segment file: its first sequence number, and its size when the log was looked at."""

    first: int
    path: str
    size_bytes: int
    inode: int = 0

    @property
    def name(self) -> str:
        """Of the file."""
        return self.path.rpartition("/")[2]


class FilePiece(Struct, frozen=True):
    """A `core.lines.Piece`: the lines of a segment file that begin at bytes [start, stop)."""

    segment: int
    path: str
    start: int
    stop: int
    end: int
    """Where the file ended when the log was looked at."""
    is_first: bool = False
    inode: int = 0
    """Of the file when the log was looked at; 0: not known."""

    @property
    def begins_segment(self) -> bool:
        """See `Piece`."""
        return self.start == 0

    @property
    def size_bytes(self) -> int:
        """See `Piece`."""
        return self.stop - self.start

    @property
    def source(self) -> str:
        """See `Piece`."""
        return self.path

    def place(self, offset: int) -> str:
        """See `Piece`."""
        return f"{self.path.rpartition('/')[2]} byte {offset}"

    def archived(self) -> str | None:
        """Where a symbolic link leads at which there is nothing now; None for anything else."""
        try:
            return os.readlink(self.path) if not os.path.exists(self.path) else None  # noqa: PTH110, PTH115 - a plain path
        except OSError:
            return None

    def lines(self) -> Iterator[Line]:
        """See `Piece`. Raises OSError, also when the file has become shorter than it was."""
        with open_plain(self.path) as file:
            if self.inode not in (0, os.fstat(file.fileno()).st_ino):
                # An erasure replaced the file: these offsets are of the old one.
                raise OSError(f"{self.path} was written anew while it was verified: verify again")
            offset = self.start
            if offset:
                offset = _after_line_end(file, offset - 1, self.stop)
                if offset >= self.stop:
                    # No line begins in the piece, or one does right after it: that is the next piece's.
                    return
                file.seek(offset)
            while offset < self.end:
                limit = min(LINE_SIZE_MAX_BYTES + 1, self.end - offset)
                data = file.readline(limit)
                after = offset + len(data)
                if data[-1:] == b"\n":
                    yield Line(offset, data[:-1], after)
                elif len(data) < limit:
                    raise OSError(f"{self.path} became shorter while it was read")
                else:
                    after = _after_line_end(file, after, self.end)
                    file.seek(after)
                    yield Line(offset, data, after, after < self.end)
                offset = after


class TreeHashes:
    """The files of the stored tree, as long as they were when the log was looked at."""

    def __init__(self, root: Path, sizes: dict[int, int]) -> None:
        self.sizes = sizes
        """Level → bytes."""
        self.unreadable: list[tuple[str, str]] = []
        """(name, reason)"""
        self._files: dict[int, BinaryIO] = {}
        for level in sizes:
            try:
                self._files[level] = open_plain(layout.tree_path(root, level), buffering=0)
            except OSError as error:
                self.unreadable.append((f"{layout.TREE_DIR}/{level}", reason(error)))

    def read(self, level: int, start: int, stop: int) -> bytes:
        """Hashes [start, stop) of a level, joined; fewer where there are fewer, or they cannot be read."""
        file = self._files.get(level)
        if file is None:
            return b""
        offset = start * HASH_SIZE_BYTES
        size_bytes = min(stop * HASH_SIZE_BYTES, self.sizes[level]) - offset
        try:
            return os.pread(file.fileno(), max(0, size_bytes), offset)
        except OSError as error:
            self.unreadable.append((f"{layout.TREE_DIR}/{level}", reason(error)))
            self._files.pop(level).close()
            return b""

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()


class StampFile(Struct, frozen=True):
    """One time stamp, not read yet."""

    size: int
    path: Path

    @property
    def name(self) -> str:
        """Of the file."""
        return self.path.name

    def read(self) -> bytes:
        """At most one byte over the limit. Raises OSError."""
        with open_plain(self.path) as file:
            return file.read(TIMESTAMP_SIZE_MAX_BYTES + 1)


class RawDirectory:
    """A log's directory at one moment. Use `open_raw`, and close it."""

    def __init__(self, root: Path) -> None:
        """Raises OSError if the directory cannot be listed."""
        self.root = root
        self.segments: list[RawSegment] = []
        self.strays: list[str] = []
        """Names among the segments that no segment has."""
        self.checkpoint: bytes | None = None
        self.unreadable: list[tuple[str, str]] = []
        """(name, reason) of what is there and cannot be read."""
        self._config: bytes | None = None
        sizes: dict[int, int] = {}
        # Before the rest: a stamp made meanwhile would be of a checkpoint that is not read.
        self.stamps = self._list_stamps()
        with _between_commits(root) as agreed:
            self.is_between_commits = agreed
            # Entries last: where the lock cannot be had, they can only be ahead of the rest, never behind.
            self.checkpoint = self._read_beside(layout.CHECKPOINT_FILE)
            self._config = self._read_beside(layout.CONFIG_FILE)
            self._list_tree(sizes)
            self._list_segments()
        self.hashes = TreeHashes(root, sizes)

    def first_line(self) -> bytes:
        """Entry 0's, without its line end; empty if there is no whole one. Raises OSError."""
        if not self.segments or self.segments[0].first:
            return b""
        with open_plain(self.segments[0].path) as file:
            line = file.readline(min(LINE_SIZE_MAX_BYTES + 1, self.segments[0].size_bytes))
        return line[:-1] if line.endswith(b"\n") else b""

    def config(self) -> tuple[str, Settings] | None:
        """Origin and settings, as log.toml has them; None if it cannot be read, which `unreadable` says.

        Raises NotFoundError if there is none, MalformedConfigError.
        """
        if layout.CONFIG_FILE in dict(self.unreadable):
            return None
        if self._config is None:
            raise NotFoundError(f"{layout.CONFIG_FILE} is missing", path=str(self.root / layout.CONFIG_FILE))
        try:
            config = layout.parse_config(self._config.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise MalformedConfigError(str(error)) from None
        return config.origin, config.settings

    def segment_name(self, first: int) -> str:
        """What the segment is called that begins with this entry."""
        return layout.segment_name(first)

    def pieces(self, firsts: Sequence[int], skip: int, workers: int) -> list[FilePiece]:
        """The segments that begin with these entries, in pieces; of the first without its first lines.

        Raises OSError if the lines to skip cannot be read.
        """
        segments = [segment for segment in self.segments if segment.first in firsts]
        offset = _line_offset(segments[0], skip) if segments and skip else 0
        total = sum(segment.size_bytes for segment in segments) - offset
        return list(cut(segments, piece_size(total, max(1, workers)), offset))

    def close(self) -> None:
        """Close the files."""
        self.hashes.close()

    def _list_stamps(self) -> list[StampFile]:
        try:
            return [StampFile(size, path) for size, path in list_timestamps(self.root)]
        except OSError as error:
            self.unreadable.append((TIMESTAMPS_DIR, reason(error)))
            return []

    def _read_beside(self, name: str) -> bytes | None:
        try:
            return read_small_file(self.root / name)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.unreadable.append((name, reason(error)))
            return None

    def _list_tree(self, sizes: dict[int, int]) -> None:
        try:
            for path in (self.root / layout.TREE_DIR).iterdir():
                if _LEVEL.fullmatch(path.name):
                    sizes[int(path.name)] = plain_status(path).st_size
        except FileNotFoundError:
            pass
        except OSError as error:
            self.unreadable.append((layout.TREE_DIR, reason(error)))

    def _list_segments(self) -> None:
        known = dict(layout.list_segments(self.root))
        names = {path.name for path in known.values()}
        for path in sorted((self.root / layout.ENTRIES_DIR).iterdir()):
            if (
                path.suffix == ".jsonl"
                and path.name not in names
                and not path.name.startswith(layout.TORN_PREFIX)
            ):
                self.strays.append(path.name)
        for first, path in sorted(known.items()):
            try:
                status = plain_status(path)
            except OSError:
                self.segments.append(RawSegment(first, str(path), 1))  # reading it will say why it cannot be
            else:
                self.segments.append(RawSegment(first, str(path), status.st_size, status.st_ino))


def open_raw(root: Path) -> RawDirectory:
    """Look at the log in a directory, between two commits.

    Raises NotFoundError if there is nothing, MalformedError if it is not the directory of a log, StorageError
    if it cannot be read.
    """
    try:
        if not root.is_dir():
            os.stat(root)  # noqa: PTH116 - for its error
            raise MalformedError(f"{root} is not a directory")
    except FileNotFoundError:
        raise NotFoundError(f"there is nothing at {root}", path=str(root)) from None
    except OSError as error:
        raise StorageError(f"{root} cannot be read: {reason(error)}", path=str(root)) from None
    try:
        return RawDirectory(root)
    except (FileNotFoundError, NotADirectoryError):
        raise MalformedError(f"{root} has no directory {layout.ENTRIES_DIR}") from None
    except OSError as error:
        raise StorageError(f"{root} cannot be read: {reason(error)}", path=str(root)) from None


def cut(segments: Sequence[RawSegment], size_bytes: int, offset: int = 0) -> Iterator[FilePiece]:
    """The pieces of these segments; of the first segment, from byte `offset` on."""
    for segment in segments:
        for start in range(offset, segment.size_bytes, size_bytes):
            stop = min(start + size_bytes, segment.size_bytes)
            yield FilePiece(
                segment.first, segment.path, start, stop, segment.size_bytes, start == offset, segment.inode
            )
        offset = 0


def piece_size(total_bytes: int, workers: int) -> int:
    """Small enough that no worker is left waiting at the end."""
    return max(PIECE_SIZE_MIN_BYTES, min(PIECE_SIZE_MAX_BYTES, total_bytes // (workers * 8)))


def _line_offset(segment: RawSegment, lines: int) -> int:
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
    block = os.pread(file.fileno(), min(BLOCK_BYTES, limit - offset), offset)
    if not block:
        raise OSError(f"{file.name} became shorter while it was read")
    return block


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
