"""The embedded store: one directory, segment files of lines, flat files of hashes.

It knows bytes, offsets and heads; entries are made elsewhere. See `layout` for
the directory, `recovery` for what a crash can leave, `lock` for who may write.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from attestlog._internal import disk
from attestlog._internal.core.batch import Head, Plan
from attestlog._internal.core.checkpoint import Checkpoint
from attestlog._internal.core.entry import Entry, decode_line
from attestlog._internal.core.genesis import Genesis, parse_genesis
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.merkle import Grown
from attestlog._internal.storage.contract import LOCK_TIMEOUT_S, Known, check_plan, room_in_segment
from attestlog._internal.storage.files import erasing, layout, recovery
from attestlog._internal.storage.files.beside import add_timestamp, check_not_moved
from attestlog._internal.storage.files.compressing import finish_compressing
from attestlog._internal.storage.files.lock import Lock
from attestlog._internal.storage.files.reader import FileSource, read_pending
from attestlog._internal.storage.files.recovery import Tail, read_forward
from attestlog._internal.storage.files.segments import BLOCK_BYTES, lines_end, read_lines, spaces_start
from attestlog._internal.storage.files.tree import TreeFiles
from attestlog.errors import (
    ClosedError,
    ConflictError,
    CorruptError,
    ErasureRefusedError,
    NoLogError,
    StorageError,
    UncertainCommitError,
)


class FileStore:
    """A log directory open for writing; keeps the `Store` contract."""

    def __init__(
        self,
        root: Path,
        *,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
        any_filesystem: bool = False,
        known: Known | None = None,
    ) -> None:
        """Open and heal, as far as `known` lets it. Raises StorageError or MalformedEntryError."""
        self.root, self._known = root, known or Known()
        self.recovered: list[str] = []
        """What opening or committing had to set aside, in words."""
        self._moved = str(root / layout.MOVED_FILE)
        self._descriptor, self._path = -1, root
        self._identity = (0, 0)
        """Device and inode of the open segment, which never change."""
        self._first = self._offset = 0
        self._is_cut = False
        """Whether the segment was seen, in this turn, to end at the offset."""
        self._head = Head()
        self._unwritten: list[tuple[int, list[bytes], list[Grown]]] = []
        """Tree hashes that follow durable entries and could not be written yet."""
        self._stopped: str | None = None
        self._begun = ""
        """Hash of the erasing entry that was judged and begun here: others are judged before a byte goes."""
        try:
            is_log = layout.is_log(root)
        except OSError as error:
            raise disk.read_error(error, root) from None
        if not is_log:
            raise NoLogError(f"{root} is not a log", path=str(root))
        check_not_moved(root)
        if not any_filesystem:
            disk.check_filesystem(root)
        self.source = FileSource(root)
        self.genesis: Genesis = parse_genesis(decode_line(next(self.source.lines(0, 1), b"")))
        self._segment_entries = self.genesis.settings.segment_entries
        self._tree = TreeFiles(root, writable=True)
        self._lock = Lock(root, lock_timeout_s)
        try:
            with self.exclusive():
                pass
        except BaseException:
            self.close()
            raise

    @property
    def is_released(self) -> bool:
        """See `Store.is_released`."""
        return self._descriptor < 0

    def exclusive(self) -> _Exclusive:
        """See `Store.exclusive`."""
        if self._stopped is not None:
            raise ClosedError(self._stopped)
        return _Exclusive(self)

    def room(self, size: int) -> int:
        """See `Store.room`."""
        return room_in_segment(size, self._segment_entries)

    def commit(self, plan: Plan, lines: Sequence[bytes]) -> None:
        """See `Store.commit`."""
        check_plan(plan, lines, self._head, self._segment_entries)
        before = self._head.size
        if before == self._first + self._segment_entries:
            self._next_segment()
        if not self._is_cut:
            self._cut_room()
        data = b"\n".join([*lines, b""])
        stop = self._offset + len(data)
        self._write(data)
        self._sync()
        # A crash here leaves the entries durable and the tree behind: opening completes it from them.
        # So does the next turn, if a signal handler raises between here and the new head.
        self._unwritten.append((before, plan.leaves, plan.grown))
        self._offset, self._head = stop, plan.head
        self._write_tree()

    def hashes(self, level: int, start: int, stop: int) -> list[bytes]:
        """See `Store.hashes`."""
        try:
            return self._tree.read(level, start, stop)
        except OSError as error:
            raise disk.read_error(error, layout.tree_path(self.root, level)) from None

    def checkpoint(self) -> bytes | None:
        """See `Store.checkpoint`."""
        return self.source.checkpoint()

    @property
    def is_certain(self) -> bool:
        """See `Store.is_certain`: what was taken in was made durable."""
        return True

    def certain_head(self) -> Head:
        """See `Store`."""
        return self._head

    def replace_checkpoint(self, old: bytes | None, new: bytes) -> None:
        """See `Store.replace_checkpoint`."""
        path = self.root / layout.CHECKPOINT_FILE
        if self.checkpoint() != old:
            raise ConflictError(f"{path} is not the checkpoint it was", path=str(path))
        self._flush_tree()
        if self._tree.edge(self._head.size).root() != self._head.edge.root():
            raise CorruptError(
                f"the tree in {self.root} is not that of its {self._head.size} entries",
                path=str(self.root), repair="tree",
            )  # fmt: skip
        try:
            # Tree first: a checkpoint vouches that opening may trust the tree up to its size.
            self._tree.sync()
        except OSError as error:
            self._stop(f"the tree could not be made durable: {error.strerror}")
            raise disk.storage_error(error, self.root / layout.TREE_DIR, "syncing") from None
        try:
            disk.replace_file(path, new, layout.file_mode(self.root), exact=True)
        except OSError as error:
            raise disk.storage_error(error, path, "writing") from None

    def add_timestamp(self, size: int, response: bytes) -> str:
        """See `Store.add_timestamp`."""
        return str(add_timestamp(self.root, size, response))

    def begin_erasure(self, entry: Entry) -> None:
        """See `Store.begin_erasure`."""
        erasing.write_pending(self.root, entry)
        self._begun = entry.entry_hash

    def finish_erasure(self) -> None:
        """See `Store.finish_erasure`."""
        pending = read_pending(self.root)
        if pending is None:
            return
        known = None if pending.entry_hash == self._begun else self._known
        try:
            erasing.finish(self.root, pending, self._head.size, known)
        finally:
            if self._size_unless_replaced() is None:
                self._open_segment(self._first, self._path)
                self._offset = os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """See `Store.close`."""
        if self._stopped is None and self._descriptor >= 0:
            self._leave_no_room()
        self._stopped = self._stopped or f"log {self.root} is closed"
        self.release()

    def seal(self, where: str) -> None:
        """See `Store.seal`: every turn looks for the file."""
        path = self.root / layout.MOVED_FILE
        try:
            disk.replace_file(path, f"{where}\n".encode(), layout.file_mode(self.root), exact=True)
        except OSError as error:
            raise disk.storage_error(error, path, "writing") from None

    def release(self) -> None:
        """See `Store.release`: the descriptors a child inherits share its parent's lock."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1
        self._unwritten.clear()
        self._tree.close()
        self._lock.close()

    # --- the commit's steps ---

    def _write(self, data: bytes) -> None:
        try:
            disk.write_all(self._descriptor, data)
        except BaseException as error:
            # A crash here leaves part of a batch: torn, set aside by the next opening.
            self._take_back(error)
            if isinstance(error, OSError):
                raise disk.storage_error(error, self._path, "writing") from None
            raise

    def _take_back(self, cause: BaseException) -> None:
        """Cut what a failed write left, so that the batch is not half there."""
        try:
            os.ftruncate(self._descriptor, self._offset)
        except OSError as error:
            raise self._stop(f"{self._path} could not be cut back after {cause}: {error.strerror}") from None

    def _sync(self) -> None:
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            # The kernel may have dropped the pages: nobody can say what is on the disk, and asking
            # again would be answered with success.
            raise self._stop(f"{self._path} could not be made durable: {error.strerror}") from error

    def _stop(self, reason: str) -> UncertainCommitError:
        self._stopped = f"the log stopped because {reason}; reopen it to go on"
        return UncertainCommitError(f"outcome unknown: {reason}", path=str(self._path))

    def _write_tree(self) -> None:
        """The tree follows the entries. That it cannot be written takes nothing back: it is tried again."""
        while self._unwritten:
            start, leaves, grown = self._unwritten[0]
            try:
                self._tree.write(start, leaves, grown)
            except OSError:
                return
            self._unwritten.pop(0)

    def _flush_tree(self) -> None:
        self._write_tree()
        if self._unwritten:
            raise StorageError(f"the tree in {self.root} cannot be written", path=str(self.root))

    def _cut_room(self, *, durable: bool = False) -> None:
        """Cut the room behind the last line: what is written next goes to the end of the file.

        `durable`: before anything that makes the segment one that may not have room.
        """
        size_bytes = os.fstat(self._descriptor).st_size
        if size_bytes == self._offset:
            return
        if lines_end(self._descriptor, size_bytes) != self._offset:
            # Only its first byte was looked at; these bytes are the rest of what was never committed.
            self._adopt(self._read_tail(size_bytes), size_bytes)
            return
        try:
            # A crash after this leaves the segment with less room, or none.
            os.ftruncate(self._descriptor, self._offset)
            if durable:
                os.fsync(self._descriptor)
        except OSError as error:
            raise disk.storage_error(error, self._path, "cutting the room of") from None

    def _leave_no_room(self) -> None:
        """Cut it under the lock. Whoever has the lock now, or opens the log next, does it instead."""
        with contextlib.suppress(OSError, StorageError):
            if os.fstat(self._descriptor).st_size == self._offset:
                return
            lock = Lock(self.root, timeout_s=0.0)
            try:
                lock.acquire()
                if self._size_unless_replaced() is not None:
                    size_bytes = os.fstat(self._descriptor).st_size
                    end = lines_end(self._descriptor, size_bytes)
                    if end < size_bytes:
                        os.ftruncate(self._descriptor, end)
            finally:
                lock.close()

    def _next_segment(self) -> None:
        self._cut_room(durable=True)
        first = self._first + self._segment_entries
        path = self.root / layout.ENTRIES_DIR / layout.segment_name(first)
        flags = os.O_EXCL | os.O_RDWR | os.O_APPEND
        try:
            descriptor = disk.open_made(path, flags, layout.file_mode(self.root))
            try:
                # A crash here leaves an empty segment, in which the log goes on.
                disk.fsync_directory(path.parent)
            except BaseException:
                os.close(descriptor)
                path.unlink()  # the next attempt makes it again, and syncs it again
                raise
        except OSError as error:
            raise disk.storage_error(error, path, "creating") from None
        os.close(self._descriptor)
        self._take_segment(descriptor, path, first)

    # --- finding the head ---

    def _enter(self) -> None:
        """Bring the head up to date, having the lock."""
        self._is_cut = False
        try:
            size_bytes = self._size_unless_replaced() if self._descriptor >= 0 else None
            if size_bytes is not None:
                before = self._offset
                if size_bytes == before and self._head.size != self._first + self._segment_entries:
                    self._is_cut = True
                    return
                self._catch_up(size_bytes)
                if self._offset != before:
                    self._go_on_erasing()
                return
            try:
                self._locate_again()
            except BaseException:
                self.release()
                raise
            self._go_on_erasing()
        except OSError as error:
            raise disk.read_error(error, self._path) from None

    def _size_unless_replaced(self) -> int | None:
        """Bytes in the current segment; None where a process that erased a payload replaced it."""
        there = os.stat(self._path)  # noqa: PTH116 - in every commit: a call less
        return there.st_size if (there.st_dev, there.st_ino) == self._identity else None

    def _locate_again(self) -> None:
        """`_locate`; what was committed here before must still be there."""
        before, self._head = self._head, Head()
        self._unwritten.clear()  # the tree is completed from the entries
        self._locate()
        if before.size > self._head.size or (
            before.size and self.hashes(0, before.size - 1, before.size) != [_leaf(before)]
        ):
            self._stopped = f"{self._path} was replaced behind the log's back"
            raise CorruptError(
                f"{self._path} is another file, without entry {before.size - 1} that was committed",
                path=str(self._path), sequence_number=before.size - 1, repair="entries",
            )  # fmt: skip

    def _go_on_erasing(self) -> None:
        """Finish an erasure that a crash interrupted. That it cannot be done holds nobody up."""
        try:
            self.finish_erasure()
        except (StorageError, ErasureRefusedError) as error:
            self.recovered.append(f"an erasure could not be finished: {error}")

    def _locate(self) -> None:
        """Find the head from the last segment, the tree and the checkpoint; read forward what they lack."""
        finish_compressing(self.root)
        segments = recovery.contiguous_segments(self.root, self._segment_entries)
        self._open_segment(*segments[-1])
        checkpoint = self._parsed_checkpoint()
        head = recovery.head_at_checkpoint(self._descriptor, self._first, self._tree, checkpoint)
        if head is not None and head.size <= self._first + self._segment_entries:
            self._head = head
            self._offset = lines_end(self._descriptor, os.fstat(self._descriptor).st_size)
            return
        # The process that made the segment may have died before its name was durable.
        disk.fsync_directory(self._path.parent)
        size_bytes = lines_end(self._descriptor, self._segment_size())
        self._adopt(self._confirmed_tail(segments, checkpoint, size_bytes), size_bytes)

    def _confirmed_tail(
        self, segments: list[recovery.Segment], checkpoint: Checkpoint | None, size_bytes: int
    ) -> Tail:
        """What the last segment holds. Nothing is written before it is known to be what was committed."""
        # What the tree says is known to be durable only as far as the checkpoint.
        vouched = self._first == 0 or (checkpoint is not None and checkpoint.size >= self._first)
        head = recovery.head_before(segments, self._tree) if vouched else None
        if head is not None:
            self._head = head
            tail = self._read_tail(size_bytes)
            self._check_covered(tail, checkpoint)
            if recovery.leads_to(checkpoint, head, tail):
                return tail
        full = (segments[:-1], self._segment_entries, checkpoint)
        self._head = recovery.head_by_entries(*full, None)
        tail = self._read_tail(size_bytes)
        self._check_covered(tail, checkpoint)
        if not recovery.leads_to(checkpoint, self._head, tail):
            raise recovery.contradicted(checkpoint, self.root)
        recovery.head_by_entries(*full, self._tree)
        return tail

    def _catch_up(self, size_bytes: int) -> None:
        """Read what stands behind the head: other processes' entries, or a crash's remains."""
        while True:
            if size_bytes < self._offset:
                size_bytes = self._segment_size()  # says what is wrong
            if size_bytes > self._offset and os.pread(self._descriptor, 1, self._offset) != b" ":
                size_bytes = lines_end(self._descriptor, size_bytes)
                self._adopt(self._read_tail(size_bytes), size_bytes)
            following = self._first + self._segment_entries
            if self._head.size != following:
                return
            path = self.root / layout.ENTRIES_DIR / layout.segment_name(following)
            if not path.exists():
                return
            disk.fsync_directory(path.parent)
            self._open_segment(following, path)
            size_bytes = self._segment_size()

    def _read_tail(self, size_bytes: int) -> Tail:
        lines = read_lines(self._descriptor, self._offset, size_bytes)
        try:
            return read_forward(lines, self._head, self._offset, self._tree.size(), self._is_signed)
        except CorruptError as error:
            place = error.path or str(self._path)
            raise error.with_evidence(f"{self._path}: {error}", path=place) from None

    def _adopt(self, tail: Tail, size_bytes: int) -> None:
        if tail.torn is not None:
            self._check_covered(tail, self._parsed_checkpoint())
            self._set_aside(tail, size_bytes)
        self._make_durable(tail)
        self._unwritten.append((self._head.size, tail.leaves, tail.grown))
        self._offset, self._head = tail.stop, tail.head
        self._write_tree()

    def _make_durable(self, tail: Tail) -> None:
        """What a process left in the kernel's memory only must be durable before anything is built on it.

        It is written over itself first. If it was a failed sync that ended the process, the kernel
        holds pages that never reached the disk, and takes them for clean.
        """
        start = tail.proven
        if start == tail.stop:
            return
        descriptor = disk.plain_descriptor(self._path, os.O_WRONLY)
        try:
            while start < tail.stop:
                block = os.pread(self._descriptor, min(BLOCK_BYTES, tail.stop - start), start)
                disk.pwrite_all(descriptor, block, start)
                start += len(block)
        except OSError as error:
            raise disk.storage_error(error, self._path, "writing") from None
        finally:
            os.close(descriptor)
        self._sync()

    def _set_aside(self, tail: Tail, size_bytes: int) -> None:
        """Move torn bytes out of the segment, never out of existence."""
        # Spaces at its end were room that was not written to.
        stop = spaces_start(self._descriptor, size_bytes, tail.stop)
        size_bytes = stop if stop > tail.stop else size_bytes
        torn = disk.free_name(self._path.with_name(f"{layout.TORN_PREFIX}{self._path.stem}-{tail.stop}"))
        try:
            try:
                copy = disk.open_made(torn, os.O_EXCL | os.O_WRONLY, layout.file_mode(self.root))
                try:
                    disk.copy_range(self._descriptor, copy, tail.stop, size_bytes)
                    os.fsync(copy)
                finally:
                    os.close(copy)
                disk.fsync_directory(torn.parent)
            except OSError:
                with contextlib.suppress(OSError):
                    torn.unlink()
                raise
            # A crash here leaves the bytes in both places; they are set aside once more.
            os.ftruncate(self._descriptor, tail.stop)
        except OSError as error:
            raise disk.storage_error(error, torn, "setting aside") from None
        self.recovered.append(f"{size_bytes - tail.stop} bytes set aside in {torn}: {tail.torn}")

    def _is_signed(self, start: int, link: recovery.Link) -> bool:
        """See `recovery.IsSigned`; true for what was committed: damage to it is not set aside."""
        if start == 0 or start < self._covered(self._parsed_checkpoint()):
            return True
        return recovery.is_signed(self.genesis, self.source.line, start, link)

    def _covered(self, checkpoint: Checkpoint | None) -> int:
        """How many entries were committed for certain: tree, checkpoint and `known` say so."""
        in_checkpoint = checkpoint.size if checkpoint else 0
        return max(in_checkpoint, self._tree.covered(), self._known.acknowledged())

    def _check_covered(self, tail: Tail, checkpoint: Checkpoint | None) -> None:
        """Raises CorruptError if something of what was committed is gone."""
        covered = self._covered(checkpoint)
        if tail.head.size >= covered:
            return
        reason = f"is damaged: {tail.torn}" if tail.torn else "is missing: the tail was cut"
        raise CorruptError(
            f"{self._path}: entry {tail.head.size} of {covered} committed {reason}",
            path=str(self._path), sequence_number=tail.head.size, repair="entries",
        )  # fmt: skip

    def rebuild_tree(self) -> None:
        """See `Store.rebuild_tree`: every level."""
        segments = recovery.contiguous_segments(self.root, self._segment_entries)
        try:
            full = (segments[:-1], self._segment_entries, self._parsed_checkpoint())
            head = recovery.head_by_entries(*full, self._tree)
            lines = read_lines(self._descriptor, 0, self._offset)
            tail = read_forward(lines, head, 0, self._head.size)
        except OSError as error:
            raise disk.read_error(error, self.root) from None
        self._unwritten = [(head.size, tail.leaves, tail.grown)]
        self._flush_tree()

    # --- small readings ---

    def _open_segment(self, first: int, path: Path) -> None:
        if path.name.endswith(layout.PACKED_SUFFIX):
            raise CorruptError(
                f"{path} is compressed, and is the last segment: there is none to write to",
                path=str(path), sequence_number=first, repair="entries",
            )  # fmt: skip
        try:
            descriptor = disk.plain_descriptor(path, os.O_RDWR | os.O_APPEND)
        except OSError as error:
            raise disk.storage_error(error, path, "opening") from None
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._take_segment(descriptor, path, first)

    def _take_segment(self, descriptor: int, path: Path, first: int) -> None:
        self._descriptor, self._path, self._first, self._offset = descriptor, path, first, 0
        held = os.fstat(descriptor)
        self._identity, self._is_cut = (held.st_dev, held.st_ino), False

    def _segment_size(self) -> int:
        """Bytes in the current segment, which must still be the file that was opened, and no shorter."""
        try:
            there = os.stat(self._path)  # noqa: PTH116 - in every commit: a call less
        except OSError as error:
            raise disk.storage_error(error, self._path, "looking at") from None
        if (there.st_dev, there.st_ino) != self._identity or there.st_size < self._offset:
            self._stopped = f"{self._path} was replaced or cut behind the log's back"
            raise CorruptError(
                f"{self._path} has {there.st_size} bytes, {self._offset} were committed, or is another file",
                path=str(self._path), repair="entries",
            )  # fmt: skip
        return there.st_size

    def _parsed_checkpoint(self) -> Checkpoint | None:
        """The stored checkpoint, verified: it is evidence. Raises CorruptError if it is not this log's."""
        return recovery.open_stored_checkpoint(self.root, self.checkpoint(), self.genesis)


class _Exclusive:
    """A turn: see `Store.exclusive`. A class: a generator's `with` costs every commit twice as much."""

    __slots__ = ("_store",)

    def __init__(self, store: FileStore) -> None:
        self._store = store

    def __enter__(self) -> Head:
        store = self._store
        try:
            store._lock.acquire()
            if os.access(store._moved, os.F_OK, follow_symlinks=False):
                check_not_moved(store.root)
            store._enter()
        except BaseException:
            store._lock.release()
            raise
        return store._head

    def __exit__(self, *_: object) -> None:
        self._store._lock.release()


def _leaf(head: Head) -> bytes:
    return leaf_hash(bytes.fromhex(head.entry_hash))
