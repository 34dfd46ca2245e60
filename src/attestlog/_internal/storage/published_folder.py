"""A published folder, written: files that appear whole, never change, and are durable before they count.

    checkpoint        what is published; everything it needs is there and durable
    tile/…            see `core.tiles`
    .staging/         files not yet in their place; nothing reads them, the next run removes them

A file gets its name only when its bytes are durable, so one that is there is
whole. A file that is there already is compared byte for byte: another content
under its name is evidence of another history, and is never overwritten.

It knows nothing of logs, trees or signatures: what to publish, and that the
checkpoint comes last, is for `publishing`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Final, NoReturn

from attestlog._internal import disk
from attestlog._internal.core.note import NOTE_SIZE_MAX_BYTES
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.publishing_target import Listed
from attestlog.errors import BusyError, ConsistencyError

STAGING_DIR: Final = ".staging"

WINDOW_FILES: Final = 512
"""Files staged before all of them get their names: bounds what a crash makes to be done again, and memory."""

SYNC_THREADS: Final = 8
"""Files made durable at once: the disk then settles several in one turn."""


class PublishedFolder:
    """One folder, locked against other publishers while open. Use `open_folder`."""

    def __init__(self, root: Path, pool: ThreadPoolExecutor | None) -> None:
        self.root, self.where = root, str(root)
        self.written = self.found = 0
        """Files written, and found there already with the same bytes."""
        self._pool = pool
        self._staging = root / STAGING_DIR
        self._staged: list[tuple[Path, Path]] = []
        self._waiting: list[Future[None]] = []
        self._touched: set[Path] = set()
        self._durable: set[Path] = set()
        """Directories whose names are."""

    def checkpoint(self) -> bytes | None:
        """The published checkpoint; None where there is none yet. Raises StorageError."""
        path = self.root / layout.CHECKPOINT_FILE
        try:
            return disk.read_plain(path, NOTE_SIZE_MAX_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk.read_error(error, path) from None

    def add(self, name: str, data: bytes) -> None:
        """Have `data` under `name` once `settle` has returned.

        Raises ConsistencyError if there is a file of this name with another content, StorageError.
        """
        path = self.root / name
        try:
            if self._is_there(path, data):
                self.found += 1
                # The process that put it there may have been killed before its name was durable.
                self._touched.add(path.parent)
                return
            temporary = self._staging / str(len(self._staged))
            self._staged.append((temporary, path))
            if self._pool is None:
                disk.write_new(temporary, data)
            else:
                self._waiting.append(self._pool.submit(disk.write_new, temporary, data))
            if len(self._staged) >= WINDOW_FILES:
                self._name_staged()
        except OSError as error:
            raise disk.storage_error(error, path, "publishing") from None

    def settle(self) -> None:
        """Make everything added durable under its name. Raises StorageError."""
        try:
            self._name_staged()
            touched = self._touched | set(self._unnamed())
            for directory in sorted(touched, key=lambda path: -len(path.parts)):
                disk.fsync_directory(directory)
            self._durable |= touched
            self._touched.clear()
        except OSError as error:
            raise disk.storage_error(error, self.root, "publishing") from None

    def _unnamed(self) -> Iterator[Path]:
        """The directories above those with new files whose own names may not be durable yet."""
        for touched in self._touched:
            directory = touched
            while directory != self.root and directory not in self._durable:
                directory = directory.parent
                yield directory

    def replace_checkpoint(self, note: bytes) -> None:
        """Publish: from here on everybody sees what was added. Only after `settle`. Raises StorageError."""
        assert not self._staged, "a checkpoint is published when what it covers is durable"
        path = self.root / layout.CHECKPOINT_FILE
        try:
            # A crash in here leaves the old checkpoint or the new one; what either needs is there.
            disk.replace_file(path, note)
        except OSError as error:
            raise disk.storage_error(error, path, "publishing") from None

    def names(self) -> Iterator[Listed]:
        """Every tile and bundle there is. Raises StorageError."""
        try:
            for directory, _, names in os.walk(self.root / "tile", onerror=_raise):
                for name in names:
                    path = Path(directory, name)
                    yield Listed(path.relative_to(self.root).as_posix(), path.stat().st_mtime)
        except FileNotFoundError:
            return
        except OSError as error:
            raise disk.read_error(error, self.root) from None

    def remove(self, names: Sequence[str]) -> None:
        """Have no files of these names, nor a directory that this leaves empty. Raises StorageError."""
        paths = [self.root / name for name in names]
        try:
            # Not made durable: a file that a loss of power brings back is found by the next publisher.
            for path in paths:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise disk.storage_error(error, self.root, "removing from") from None
        for directory in {path.parent for path in paths}:
            with suppress(OSError):
                directory.rmdir()
                self._durable.discard(directory)

    def _is_there(self, path: Path, data: bytes) -> bool:
        try:
            found = disk.read_plain(path, len(data))
        except FileNotFoundError:
            return False
        if found != data:
            raise ConsistencyError(
                f"{path} was published with another content",
                path=str(path), expected=sha256(data).hexdigest(), found=sha256(found).hexdigest(),
            )  # fmt: skip
        return True

    def _name_staged(self) -> None:
        for writing in self._waiting:
            writing.result()
        for temporary, path in self._staged:
            if path.parent not in self._touched:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._touched.add(path.parent)
            # A crash between two of these leaves some files that no checkpoint needs yet, each of them whole.
            temporary.rename(path)
            self.written += 1
        self._staged.clear()
        self._waiting.clear()


def _raise(error: OSError) -> NoReturn:
    raise error


@contextmanager
def open_folder(root: Path, *, threads: int = SYNC_THREADS) -> Iterator[PublishedFolder]:
    """The folder, made if need be, and locked. `threads`: 0 does all in this one.

    Raises BusyError while another publisher has it, or another StorageError.
    """
    with ExitStack() as stack:
        try:
            disk.make_directories(root)
            lock = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, lock)
            if not disk.lock(lock):
                raise BusyError(f"another process is publishing to {root}", path=str(root))
            # A process that was forked meanwhile shares the lock, and would keep it.
            stack.callback(disk.unlock, lock)
            # What a killed run left here has no name yet and is nobody's.
            shutil.rmtree(root / STAGING_DIR, ignore_errors=True)
            (root / STAGING_DIR).mkdir()
        except OSError as error:
            raise disk.storage_error(error, root, "opening") from None
        stack.callback(shutil.rmtree, root / STAGING_DIR, ignore_errors=True)
        pool = stack.enter_context(ThreadPoolExecutor(threads)) if threads else None
        yield PublishedFolder(root, pool)
