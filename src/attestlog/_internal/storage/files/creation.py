"""Making a log directory, new or from its lines: all of it or nothing.

Everything is written into a sibling directory, made durable and renamed. A
crash before the rename leaves a hidden `.…new` or `.…restored` directory, which
is not a log.
"""

from __future__ import annotations

import grp
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from attestlog._internal import disk
from attestlog._internal.core.batch import Head
from attestlog._internal.storage.contract import UNFINISHED, Group, Known, LogSource, NewLog
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.files.beside import add_timestamp
from attestlog._internal.storage.files.reader import FileSource
from attestlog._internal.storage.files.store import FileStore
from attestlog.errors import CorruptError, ExistsError, MalformedConfigError


class FileDriver:
    """See `storage.resolve.Driver`. A name is a path."""

    is_transient = False

    def check_free(self, name: str, *, any_filesystem: bool) -> None:
        """See `Driver`."""
        root = Path(name).absolute()
        check_free(root)
        if not any_filesystem:
            disk.check_filesystem(root)

    def create(self, name: str, new: NewLog) -> None:
        """See `Driver`."""
        create_directory(Path(name).absolute(), new)

    @contextmanager
    def copying(self, name: str) -> Iterator[FileCopying]:
        """See `Driver`."""
        root = Path(name).absolute()
        check_free(root)
        with building(root) as made:
            yield FileCopying(made)

    def open_copy(self, name: str) -> None:
        """See `Driver`."""
        root = Path(name).absolute()
        try:
            (root / layout.MOVED_FILE).unlink(missing_ok=True)
            disk.fsync_directory(root)
        except OSError as error:
            raise disk.storage_error(error, root, "opening") from None

    def drop_copy(self, name: str) -> None:
        """See `Driver`."""
        root = Path(name).absolute()
        gone = root.with_name(f".{root.name}.{os.getpid()}-{os.urandom(4).hex()}.gone")
        try:
            # A crash after this leaves a hidden directory, which is not the log's any more.
            root.rename(gone)
            disk.fsync_directory(root.parent)
        except OSError as error:
            raise disk.storage_error(error, root, "removing") from None
        shutil.rmtree(gone, ignore_errors=True)

    def open_source(self, name: str) -> FileSource:
        """See `Driver`."""
        return FileSource(name)

    def open_store(
        self, name: str, *, lock_timeout_s: float, any_filesystem: bool, known: Known
    ) -> FileStore:
        """See `Driver`."""
        return FileStore(
            Path(name).absolute(), lock_timeout_s=lock_timeout_s, any_filesystem=any_filesystem, known=known
        )


def create_directory(root: Path, new: NewLog) -> None:
    """A log of one entry at `root`, which must not exist or be an empty directory.

    Raises ExistsError or another StorageError; then nothing is left behind.
    """
    check_free(root)
    group_id = None if new.group is None else _group_id(new.group.name)
    made = temporary = root.with_name(f".{root.name}.{os.getpid()}-{os.urandom(4).hex()}.new")
    try:
        disk.make_directories(root.parent)
        _make_directories(temporary, _mode(new.group), group_id)
        files = {
            layout.LOCK_FILE: b"",
            f"{layout.ENTRIES_DIR}/{layout.segment_name(0)}": new.line + b"\n",
            f"{layout.TREE_DIR}/0": new.leaf,
        }
        if new.checkpoint is not None:
            files[layout.CHECKPOINT_FILE] = new.checkpoint
        for name, data in files.items():
            disk.replace_file(temporary / name, data, layout.file_mode(temporary, name), exact=True)
        disk.fsync_directory(temporary)
        temporary.rename(root)
        made = root
        disk.fsync_directory(root.parent)
    except OSError as error:
        shutil.rmtree(made, ignore_errors=True)
        raise disk.storage_error(error, root, "creating") from None


def _make_directories(root: Path, mode: int, group_id: int | None) -> None:
    """Those of a new log. Files then follow them."""
    for directory in (root, root / layout.ENTRIES_DIR, root / layout.TREE_DIR):
        directory.mkdir(layout.PRIVATE_MODE)
        if group_id is not None:
            os.chown(directory, -1, group_id)
        directory.chmod(mode)  # after its group: a change of that takes setgid away


def _mode(group: Group | None) -> int:
    """Of a new log's directories: for its owner alone, unless a group is let in."""
    if group is None:
        return layout.PRIVATE_MODE
    return layout.WRITERS_MODE if group.may_write else layout.READERS_MODE


def _group_id(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise MalformedConfigError(f"there is no group {name!r} here", member="group") from None


def check_free(root: Path) -> None:
    """Raises ExistsError if there is something at `root` already, even a link to an empty directory."""
    try:
        taken = root.is_symlink() or (root.exists() and (not root.is_dir() or any(root.iterdir())))
    except OSError as error:
        raise disk.read_error(error, root) from None
    if taken:
        raise ExistsError(f"{root} exists already", path=str(root), what="log")


class Building:
    """A log directory under way, from lines that are there already. Use `building`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.name = str(root.with_name(f".{root.name}.{os.getpid()}.restored"))
        """Of the directory under way: a log to open, once `finish` was called."""
        self._made = Path(self.name)

    def add_lines(self, lines: Iterable[bytes], segment_entries: int) -> None:
        """The log's lines, from the first to the last. Memory: one of them. Raises StorageError."""
        segment: BinaryIO | None = None
        try:
            self._made.parent.mkdir(parents=True, exist_ok=True)
            there = self._root.stat() if layout.is_log(self._root) else None
            if there is None:
                _make_directories(self._made, layout.PRIVATE_MODE, None)
            else:
                # Those who were let in to the log that stood there are let in to this one.
                _make_directories(self._made, stat.S_IMODE(there.st_mode), there.st_gid)
            mode = layout.file_mode(self._made, layout.ENTRIES_DIR)
            try:
                for number, line in enumerate(lines):
                    if number % segment_entries == 0:
                        _close(segment)
                        path = self._made / layout.ENTRIES_DIR / layout.segment_name(number)
                        segment = _new_file(path, mode)
                    assert segment is not None
                    segment.write(line + b"\n")
            finally:
                _close(segment)
            disk.fsync_directory(self._made / layout.ENTRIES_DIR)
        except OSError as error:
            raise disk.storage_error(error, self._made, "restoring") from None

    def finish(self, checkpoint: bytes | None) -> None:
        """What a log has beside its lines; opening it for writing makes the tree. Raises StorageError."""
        files = {layout.LOCK_FILE: b""}
        if checkpoint is not None:
            files[layout.CHECKPOINT_FILE] = checkpoint
        try:
            for name, data in files.items():
                disk.replace_file(self._made / name, data, layout.file_mode(self._made, name), exact=True)
        except OSError as error:
            raise disk.storage_error(error, self._made, "restoring") from None

    def put_in_place(self) -> str | None:
        """Give it its name; where what stood there is now. Raises StorageError: then that is still there."""
        moved_to = None
        try:
            disk.fsync_directory(self._made)
            if self._root.exists():
                moved_to = self._root.with_name(f"{self._root.name}.replaced-{os.getpid()}")
                # A crash after this leaves no log at the root, and both beside it, whole: it can be repeated.
                self._root.rename(moved_to)
            try:
                self._made.rename(self._root)
            except OSError:
                if moved_to is not None:
                    moved_to.rename(self._root)
                raise
            disk.fsync_directory(self._root.parent)
        except OSError as error:
            raise disk.storage_error(error, self._made, "restoring") from None
        return str(moved_to) if moved_to is not None else None


class FileCopying:
    """A log directory that is being made of another log: keeps the `Copying` contract."""

    def __init__(self, made: Building) -> None:
        self._made = made

    def add_lines(self, lines: Iterable[bytes], segment_entries: int) -> None:
        """See `Copying`."""
        self._made.add_lines(lines, segment_entries)

    def finish(self, head: Head, source: LogSource) -> None:
        """See `Copying`."""
        root = Path(self._made.name)
        self._made.finish(source.checkpoint())
        for stamp in source.timestamps():
            add_timestamp(root, stamp.size, source.timestamp(stamp.name))
        store = FileStore(root, any_filesystem=True)  # makes the tree
        try:
            with store.exclusive() as found:
                if found.edge.root() != head.edge.root():
                    raise CorruptError(f"{root} is not what was copied", path=str(root))
                store.seal(f"{UNFINISHED}{source.absolute()}")
        finally:
            store.close()
        # A crash before this leaves nothing at the target, after it the whole log, sealed.
        self._made.put_in_place()


@contextmanager
def building(root: Path) -> Iterator[Building]:
    """A log directory to be put at `root`; what was not put there is removed at the end."""
    made = Building(root)
    try:
        yield made
    finally:
        shutil.rmtree(made.name, ignore_errors=True)


def _new_file(path: Path, mode: int) -> BinaryIO:
    return os.fdopen(disk.open_made(path, os.O_WRONLY | os.O_EXCL, mode), "wb")


def _close(segment: BinaryIO | None) -> None:
    if segment is not None:
        with segment:
            segment.flush()
            os.fsync(segment.fileno())
