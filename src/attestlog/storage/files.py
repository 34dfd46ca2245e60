"""The embedded store: one directory, segment files of lines, flat files of hashes.

It knows bytes, offsets and heads; entries are made elsewhere. See `layout` for
the directory, `recovery` for what a crash can leave, `lock` for who may write.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from attestlog.core import entry as entries
from attestlog.core.batch import Head, Plan
from attestlog.core.checkpoint import Checkpoint, parse_checkpoint
from attestlog.core.genesis import Genesis, parse_genesis
from attestlog.core.hashes import leaf_hash
from attestlog.core.merkle import Grown
from attestlog.core.note import parse_note
from attestlog.errors import (
    AttestlogError,
    ClosedError,
    ConflictError,
    CorruptError,
    NotFoundError,
    StorageError,
    UncertainCommitError,
)
from attestlog.storage import disk, layout
from attestlog.storage.lock import LOCK_TIMEOUT_S, Lock
from attestlog.storage.recovery import Tail, read_forward
from attestlog.storage.segments import last_line, segment_lines
from attestlog.storage.tree import TreeFiles


class FileStore:
    """A log directory open for writing; keeps the `Store` contract."""

    def __init__(
        self, root: Path, *, lock_timeout_s: float = LOCK_TIMEOUT_S, any_filesystem: bool = False
    ) -> None:
        """Open and heal. Raises StorageError, MalformedConfigError or MalformedEntryError."""
        self.root = root
        self._reopen = partial(FileStore, root, lock_timeout_s=lock_timeout_s, any_filesystem=any_filesystem)
        self.recovered: list[str] = []
        """What opening or committing had to set aside, in words."""
        self._descriptor, self._path = -1, root
        self._first = self._offset = 0
        self._head = Head()
        self._unwritten: list[tuple[int, list[bytes], list[Grown]]] = []
        """Tree hashes that follow durable entries and could not be written yet."""
        self._stopped: str | None = None
        if not layout.is_log(root):
            raise NotFoundError(f"{root} is not a log", path=str(root))
        if not any_filesystem:
            disk.check_filesystem(root)
        self.config = layout.parse_config(self._read_text(root / layout.CONFIG_FILE))
        self.genesis: Genesis = parse_genesis(entries.decode_line(self._first_line()))
        self._segment_entries = self.genesis.settings.segment_entries
        self._tree = TreeFiles(root)
        self._lock = Lock(root, lock_timeout_s)
        try:
            self._lock.acquire()
            try:
                self._locate()
            finally:
                self._lock.release()
        except BaseException:
            self.close()
            raise

    @property
    def signers(self) -> layout.Signers:
        """Signer URIs from log.toml."""
        return self.config.signers

    @contextmanager
    def exclusive(self) -> Iterator[Head]:
        """See `Store.exclusive`."""
        if self._stopped is not None:
            raise ClosedError(self._stopped)
        self._lock.acquire()
        try:
            self._catch_up()
            yield self._head
        finally:
            if self._descriptor >= 0:
                self._lock.release()

    def room(self, size: int) -> int:
        """Entries left in the segment that entry `size` goes into."""
        return self._segment_entries - size % self._segment_entries

    def commit(self, plan: Plan, lines: Sequence[bytes]) -> None:
        """See `Store.commit`."""
        before = plan.head.size - len(lines)
        if before != self._head.size or len(lines) > self.room(before):
            raise ConflictError(
                f"batch starts at {before}, the log is at {self._head.size}",
                expected=before,
                found=self._head.size,
            )
        if before == self._first + self._segment_entries:
            self._next_segment()
        data = b"\n".join([*lines, b""])
        self._write(data)
        self._sync()
        # A crash here leaves the entries durable and the tree behind: opening completes it from them.
        self._offset += len(data)
        self._head = plan.head
        self._unwritten.append((before, plan.leaves, plan.grown))
        self._write_tree()

    def hashes(self, level: int, start: int, stop: int) -> list[bytes]:
        """See `Store.hashes`."""
        return self._tree.read(level, start, stop)

    def reopened(self) -> FileStore:
        """The same log opened anew, for a forked child: descriptors it inherited share its parent's lock."""
        self.close()
        return self._reopen()

    def checkpoint(self) -> bytes | None:
        """See `Store.checkpoint`."""
        path = self.root / layout.CHECKPOINT_FILE
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk.storage_error(error, path, "reading") from None

    def replace_checkpoint(self, old: bytes | None, new: bytes) -> None:
        """See `Store.replace_checkpoint`."""
        path = self.root / layout.CHECKPOINT_FILE
        if self.checkpoint() != old:
            raise ConflictError(f"{path} is not the checkpoint it was", path=str(path))
        self._write_tree()
        if self._unwritten:
            raise StorageError(f"the tree in {self.root} cannot be written", path=str(self.root))
        try:
            # Tree first: a checkpoint vouches that opening may trust the tree up to its size.
            self._tree.sync()
            disk.replace_file(path, new)
        except OSError as error:
            raise disk.storage_error(error, path, "writing") from None

    def close(self) -> None:
        """See `Store.close`."""
        self._stopped = self._stopped or f"log {self.root} is closed"
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        for part in (getattr(self, "_tree", None), getattr(self, "_lock", None)):
            if part is not None:
                part.close()

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
        except BaseException as error:
            # The kernel may have dropped the pages: nobody can say what is on the disk, and asking
            # again would be answered with success.
            raise self._stop(f"{self._path} could not be made durable: {error}") from error

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

    def _next_segment(self) -> None:
        first = self._first + self._segment_entries
        path = self.root / layout.ENTRIES_DIR / layout.segment_name(first)
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o644)
            # A crash here leaves an empty segment, in which the log goes on.
            disk.fsync_directory(path.parent)
        except OSError as error:
            raise disk.storage_error(error, path, "creating") from None
        os.close(self._descriptor)
        self._descriptor, self._path, self._first, self._offset = descriptor, path, first, 0

    # --- finding the head ---

    def _locate(self) -> None:
        """Find the head from the last segment, the tree and the checkpoint; read forward what they lack."""
        segments = self._segments()
        first, path = segments[-1]
        self._open_segment(first, path)
        checkpoint = self._parsed_checkpoint()
        if not self._jump(checkpoint):
            self._head = self._head_before(segments)
            self._catch_up()
        self._check_against(checkpoint)

    def _jump(self, checkpoint: Checkpoint | None) -> bool:
        """After a clean close the checkpoint covers every entry: nothing needs to be read again."""
        if checkpoint is None or not self._first < checkpoint.size <= self._first + self._segment_entries:
            return False
        size_bytes = os.fstat(self._descriptor).st_size
        line = last_line(self._descriptor, size_bytes)
        if line is None or not line.complete or self._tree.size() != checkpoint.size:
            return False
        try:
            entry = entries.decode_line(line.data)
            edge = self._tree.edge(checkpoint.size)
            leaf = self._tree.read(0, checkpoint.size - 1, checkpoint.size)[0]
        except AttestlogError:
            return False
        whole = entry.sequence_number == checkpoint.size - 1 and edge.root() == checkpoint.root
        if not whole or leaf != leaf_hash(bytes.fromhex(entry.entry_hash)):
            return False
        timestamp_us = entries.parse_timestamp(entry.timestamp)
        self._head = Head(checkpoint.size, entry.entry_hash, timestamp_us, edge)
        self._offset = size_bytes
        return True

    def _head_before(self, segments: list[tuple[int, Path]]) -> Head:
        """The head at the start of the last segment."""
        first = segments[-1][0]
        if first == 0:
            return Head()
        path = segments[-2][1]
        try:
            with path.open("rb") as file:
                line = last_line(file.fileno(), os.fstat(file.fileno()).st_size)
            entry = entries.decode_line(line.data if line and line.complete else b"")
            edge = self._tree.edge(first)
        except CorruptError:
            return self._rebuild_tree(segments[:-1])
        except (OSError, AttestlogError) as error:
            raise CorruptError(f"{path} does not end with an entry: {error}", path=str(path)) from None
        if entry.sequence_number != first - 1:
            raise CorruptError(
                f"{path} ends with entry {entry.sequence_number}, want {first - 1}", path=str(path)
            )
        return Head(first, entry.entry_hash, entries.parse_timestamp(entry.timestamp), edge)

    def _catch_up(self) -> None:
        """Take in what stands behind the head: other processes' entries, or a crash's remains."""
        while True:
            size_bytes = self._segment_size()
            if size_bytes > self._offset:
                self._absorb(size_bytes)
            following = self._first + self._segment_entries
            path = self.root / layout.ENTRIES_DIR / layout.segment_name(following)
            if self._head.size != following or not path.exists():
                return
            self._open_segment(following, path)

    def _absorb(self, size_bytes: int) -> None:
        trusted_size = self._tree.size()
        lines = segment_lines(self._descriptor, self._offset, size_bytes)
        try:
            tail = read_forward(lines, self._head, self._offset, trusted_size)
        except CorruptError as error:
            raise CorruptError(
                f"{self._path}: {error}", **{"path": str(self._path), **error.evidence()}
            ) from None
        if tail.torn is not None:
            self._set_aside(tail, size_bytes)
        # A process that was killed left its entries in the kernel's memory only: durable before anything
        # is built on them.
        self._sync()
        self._unwritten.append((self._head.size, tail.leaves, tail.grown))
        self._offset, self._head = tail.stop, tail.head
        self._write_tree()

    def _set_aside(self, tail: Tail, size_bytes: int) -> None:
        """Move torn bytes out of the segment, never out of existence."""
        checkpoint = self._parsed_checkpoint()
        covered = max(self._tree.size(), checkpoint.size if checkpoint else 0)
        if tail.head.size < covered:
            raise CorruptError(
                f"{self._path}: entry {tail.head.size} of {covered} committed is damaged: {tail.torn}",
                path=str(self._path), sequence_number=tail.head.size, repair="entries",
            )  # fmt: skip
        torn = free_name(self._path.with_name(f"{layout.TORN_PREFIX}{self._path.stem}-{tail.stop}"))
        try:
            with torn.open("xb") as copy:
                for line in segment_lines(self._descriptor, tail.stop, size_bytes):
                    copy.write(line.data + b"\n" * line.complete)
                copy.flush()
                os.fsync(copy.fileno())
            disk.fsync_directory(torn.parent)
            # A crash here leaves the bytes in both places; they are set aside once more.
            os.ftruncate(self._descriptor, tail.stop)
        except OSError as error:
            raise disk.storage_error(error, torn, "setting aside") from None
        self.recovered.append(f"{size_bytes - tail.stop} bytes set aside in {torn}: {tail.torn}")

    def _check_against(self, checkpoint: Checkpoint | None) -> None:
        """No checkpoint and no stored hash may be ahead of or beside the entries. Raises CorruptError."""
        covered = max(checkpoint.size if checkpoint else 0, self._tree.size())
        if covered > self._head.size or self._tree.excess(self._head.size):
            raise CorruptError(
                f"{self.root} has {self._head.size} entries and had {covered}: its tail was cut",
                path=str(self.root), sequence_number=self._head.size, repair="entries",
            )  # fmt: skip
        if checkpoint is None or self._root_is(checkpoint):
            return
        self.rebuild_tree()
        if not self._root_is(checkpoint):
            raise CorruptError(
                f"{self.root}: the tree at size {checkpoint.size} is not the one its checkpoint signed",
                path=str(self.root), repair="entries",
            )  # fmt: skip

    def _root_is(self, checkpoint: Checkpoint) -> bool:
        try:
            return self._tree.edge(checkpoint.size).root() == checkpoint.root
        except CorruptError:
            return False

    def rebuild_tree(self) -> None:
        """Make every level of the tree again from the entries, up to the head."""
        self._unwritten.clear()
        self._head = self._rebuild_tree(self._segments())

    def _rebuild_tree(self, segments: list[tuple[int, Path]]) -> Head:
        head = Head()
        for first, path in segments:
            with path.open("rb") as file:
                size_bytes = self._offset if first == self._first else os.fstat(file.fileno()).st_size
                lines = segment_lines(file.fileno(), 0, size_bytes)
                tail = read_forward(lines, head, 0, trusted_size=first + self._segment_entries)
            self._tree.write(first, tail.leaves, tail.grown)
            head = tail.head
        return head

    # --- small readings ---

    def _segments(self) -> list[tuple[int, Path]]:
        """The segment files, contiguous from 0. Raises CorruptError naming what is missing."""
        try:
            segments = layout.list_segments(self.root)
        except OSError as error:
            raise disk.storage_error(error, self.root / layout.ENTRIES_DIR, "listing") from None
        for position, (first, path) in enumerate(segments):
            if first != position * self._segment_entries:
                missing = layout.segment_name(position * self._segment_entries)
                raise CorruptError(
                    f"segment {missing} is missing before {path.name}", path=str(path), repair="entries"
                )
        return segments

    def _open_segment(self, first: int, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise disk.storage_error(error, path, "opening") from None
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._path, self._first, self._offset = descriptor, path, first, 0

    def _segment_size(self) -> int:
        """Bytes in the current segment, which must still be the file that was opened, and no shorter."""
        held = os.fstat(self._descriptor)
        try:
            there = self._path.stat()
        except OSError as error:
            raise disk.storage_error(error, self._path, "looking at") from None
        if (there.st_dev, there.st_ino) != (held.st_dev, held.st_ino) or held.st_size < self._offset:
            self._stopped = f"{self._path} was replaced or cut behind the log's back"
            raise CorruptError(
                f"{self._path} has {there.st_size} bytes, {self._offset} were committed, or is another file",
                path=str(self._path), repair="entries",
            )  # fmt: skip
        return held.st_size

    def _parsed_checkpoint(self) -> Checkpoint | None:
        data = self.checkpoint()
        if data is None:
            return None
        try:
            checkpoint = parse_checkpoint(parse_note(data).text)
        except AttestlogError as error:
            path = self.root / layout.CHECKPOINT_FILE
            raise CorruptError(f"{path} is damaged: {error}", path=str(path), repair="checkpoint") from None
        return checkpoint

    def _first_line(self) -> bytes:
        path = self.root / layout.ENTRIES_DIR / layout.segment_name(0)
        try:
            with path.open("rb") as file:
                return file.readline(entries.LINE_SIZE_MAX_BYTES).removesuffix(b"\n")
        except OSError as error:
            raise disk.storage_error(error, path, "reading") from None

    def _read_text(self, path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            raise disk.storage_error(error, path, "reading") from None
        except UnicodeDecodeError as error:
            raise CorruptError(
                f"{path} is not UTF-8: byte {error.start}", path=str(path), repair="config"
            ) from None


def free_name(path: Path) -> Path:
    """`path`, or with the first number that is free: what was set aside before is never overwritten."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}.{number}")
    return candidate
