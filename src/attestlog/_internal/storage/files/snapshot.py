"""A log's directory at one moment, as it stands: keeps the `Snapshot` contract.

Only plain files are opened, never for writing, and nothing is read past the
sizes seen at that moment: what is appended afterwards belongs to the next
snapshot. It judges nothing. Raises OSError: nobody reads this but the verifier,
which reports it.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from attestlog._internal import disk
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES
from attestlog._internal.core.hashes import HASH_SIZE_BYTES
from attestlog._internal.core.lines import Line
from attestlog._internal.core.note import NOTE_SIZE_MAX_BYTES
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.files.packed import OpenSegment, open_segment
from attestlog.errors import MalformedSegmentError, MissingExtraError

LOCK_WAIT_S: Final = 5.0
"""How long to wait for a commit to end: most take milliseconds; a slow signer must not stop an audit."""

_NOT_READ: Final = 1
"""The size, in bytes, of a segment that could not be opened: it is asked for, and says why then."""

_LEVEL: Final = re.compile(r"[0-9]|[1-9][0-9]")


class FileSegment(Struct, frozen=True):
    """A segment file: its first sequence number, and where its lines ended when the snapshot was taken."""

    first: int
    path: str
    size: int
    inode: int = 0
    """When the snapshot was taken; 0: not known."""
    room_found: int = 0
    """Bytes of room in a plain file; a compressed one is only looked into when that is asked for."""

    @property
    def room(self) -> int:
        """See `RawSegment`. Bytes."""
        if not self.path.endswith(layout.PACKED_SUFFIX):
            return self.room_found
        try:
            with self._opened() as segment:
                return segment.size - segment.lines_end()
        except (OSError, MalformedSegmentError):
            return 0  # reading it will say what is wrong with it

    @property
    def unit(self) -> Literal["byte"]:
        """See `RawSegment`."""
        return "byte"

    @property
    def name(self) -> str:
        """The file's."""
        return self.path.rpartition("/")[2]

    def lines(self, start: int, stop: int) -> Iterator[Line]:
        """See `RawSegment`. Offsets are bytes."""
        with self._opened() as segment:
            offset = start
            for line in segment.lines(start, self.size, stop=stop):
                offset = line.stop
                if not line.is_complete and offset < self.size:
                    raise self._shorter()
                yield line
            if segment.size < stop:
                raise self._shorter()

    def read(self, start: int, stop: int) -> bytes:
        """See `RawSegment`."""
        with self._opened() as segment:
            data = segment.read(stop - start, start)
        if len(data) < stop - start:
            raise self._shorter()
        return data

    def offset_after(self, lines: int) -> int:
        """See `RawSegment`."""
        with self._opened() as segment:
            return segment.offset_after(lines, self.size)

    @contextmanager
    def _opened(self) -> Iterator[OpenSegment]:
        try:
            # A file that was replaced by an erasure: these offsets are stale.
            if self.inode and self.inode != os.stat(self.path).st_ino:  # noqa: PTH116
                raise OSError(f"{self.path} was replaced while it was verified: verify again")
            with open_segment(self.path) as segment:
                yield segment
        except MissingExtraError as error:
            raise OSError(str(error)) from None

    def _shorter(self) -> OSError:
        return OSError(f"{self.path} became shorter while it was read")

    def away(self) -> str | None:
        """See `RawSegment`: where a symbolic link leads at which there is nothing now."""
        url = layout.object_url(self.path)
        if url is not None:
            return url if self.size == _NOT_READ and self._is_out_of_reach() else None
        try:
            return os.readlink(self.path) if not os.path.exists(self.path) else None  # noqa: PTH110, PTH115
        except OSError:
            return None

    def _is_out_of_reach(self) -> bool:
        """Of an object that could not be read when the snapshot was taken; one that is damaged is within."""
        try:
            with self._opened():
                return True  # it came back meanwhile: how long it is, this snapshot does not know
        except MalformedSegmentError:
            return False
        except OSError:
            return True


class FileSnapshot:
    """What was there. Use `take_snapshot`."""

    def __init__(self) -> None:
        self.segments: list[FileSegment] = []
        self.strays: list[str] = []
        self.twice: list[str] = []
        self.checkpoint: bytes | None = None
        self.unreadable: list[tuple[str, str]] = []
        self.is_between_commits = True
        self.hash_bytes: dict[int, int] = {}
        self._levels: dict[int, int] = {}

    def segment_name(self, first: int) -> str:
        """See `Snapshot`."""
        return layout.segment_name(first)

    def hashes(self, level: int, start: int, count: int) -> bytes:
        """See `Snapshot`."""
        descriptor = self._levels.get(level)
        if descriptor is None:
            return b""
        offset = start * HASH_SIZE_BYTES
        size_bytes = min(count * HASH_SIZE_BYTES, self.hash_bytes[level] - offset)
        return os.pread(descriptor, max(0, size_bytes), offset)

    def copy_hashes(self, level: int, target: int) -> None:
        """Write all that is stored of a level to a file. Raises OSError."""
        disk.copy_range(self._levels[level], target, 0, self.hash_bytes[level])

    def look(self, root: Path, stack: ExitStack) -> None:
        """Take it all in; entries last: without the lock they can then be ahead of the rest, never behind."""
        self._read_checkpoint(root)
        self._list_tree(root, stack)
        self._list_segments(root)

    def _read_checkpoint(self, root: Path) -> None:
        try:
            self.checkpoint = disk.read_plain(root / layout.CHECKPOINT_FILE, NOTE_SIZE_MAX_BYTES)
        except FileNotFoundError:
            pass
        except OSError as error:
            self.unreadable.append((layout.CHECKPOINT_FILE, _reason(error)))

    def _list_tree(self, root: Path, stack: ExitStack) -> None:
        try:
            for path in (root / layout.TREE_DIR).iterdir():
                if _LEVEL.fullmatch(path.name):
                    self.hash_bytes[int(path.name)] = _plain_status(path).st_size
        except FileNotFoundError:
            pass
        except OSError as error:
            self.unreadable.append((layout.TREE_DIR, _reason(error)))
        for level in self.hash_bytes:
            try:
                file = stack.enter_context(disk.open_plain(layout.tree_path(root, level), buffering=0))
                self._levels[level] = file.fileno()
            except OSError as error:
                self.unreadable.append((f"{layout.TREE_DIR}/{level}", _reason(error)))

    def _list_segments(self, root: Path) -> None:
        known = dict(layout.list_segments(root))
        self.twice = [layout.packed_name(first) for first in layout.twice(root)]
        names = {*self.twice, *(path.name for path in known.values())}
        for path in sorted((root / layout.ENTRIES_DIR).iterdir()):
            if (
                (path.suffix == ".jsonl" or path.name.endswith(layout.PACKED_SUFFIX))
                and path.name not in names
                and not path.name.startswith(layout.TORN_PREFIX)
            ):
                self.strays.append(path.name)
        for first, path in sorted(known.items()):
            try:
                # What is in a bucket is not a file: its name says what it holds, and never changes.
                inode = 0 if layout.object_url(path) is not None else path.stat().st_ino
                with open_segment(path) as segment:
                    size = segment.size
                    end = segment.lines_end() if path.suffix == ".jsonl" else size
                    whole = _without_hole(path, end) if path.suffix == ".jsonl" else end
            except (OSError, MissingExtraError, MalformedSegmentError):
                self.segments.append(FileSegment(first, str(path), _NOT_READ))  # reading it says why
            else:
                self.segments.append(FileSegment(first, str(path), whole, inode, size - end))


def _without_hole(path: Path, end: int) -> int:
    """Where its bytes end; of a hole at the end, as much as no line can have: nobody could read all of it."""
    with disk.open_plain(path, buffering=0) as file:
        return min(end, disk.data_end(file.fileno(), end) + LINE_SIZE_MAX_BYTES + 2)


@contextmanager
def take_snapshot(root: Path) -> Iterator[FileSnapshot]:
    """What the directory holds between two commits. Raises OSError if it cannot be listed."""
    with ExitStack() as stack:
        snapshot = FileSnapshot()
        with _between_commits(root) as agreed:
            snapshot.is_between_commits = agreed
            snapshot.look(root, stack)
        yield snapshot


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


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
        turnstile = os.open(root / layout.ENTRIES_DIR, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, turnstile)
        lock = disk.plain_descriptor(root / layout.LOCK_FILE)
        stack.callback(os.close, lock)
        # Writers pass the turnstile before each lock: standing in it, one waits for one commit only.
        agreed = disk.lock(turnstile, timeout_s=LOCK_WAIT_S) and disk.lock(
            lock, timeout_s=deadline - time.monotonic(), shared=True
        )
        disk.unlock(turnstile)
    except OSError:
        return True
    return agreed
