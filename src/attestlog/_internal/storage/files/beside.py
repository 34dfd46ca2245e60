"""What is kept beside the entries: time stamps; and, in the state directory, how far each replica is.

Nothing is verified here.

`timestamps/<size>-<tag>.tsr` is one RFC 3161 response, never changed. Each is
over the text of the log's checkpoint at that size, which anybody can write
again from the entries: so no checkpoint needs to be kept with it.
What a replica last answered is in `replicas/<genesis hash>/<id>.json` of the state directory: derived, not
flushed.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

from attestlog._internal import disk
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.storage.contract import TIMESTAMP_SIZE_MAX_BYTES, UNFINISHED, StoredTimestamp
from attestlog._internal.storage.files import layout
from attestlog.errors import MovedError

MOVED_SIZE_MAX_BYTES: Final = 1_024
"""A path or a URL. More is not shown."""

CURSOR_SIZE_MAX_BYTES: Final = 1 << 20
"""What a replica answered: a checkpoint and some numbers. What is longer is cut, and then is none."""

_TIMESTAMP: Final = re.compile(r"([0-9]{12,19})-[0-9a-f]{8}\.tsr")


def add_timestamp(root: Path, size: int, response: bytes) -> Path:
    """Keep a response over the checkpoint at `size`, durably. Raises StorageError."""
    name = f"{size:012d}-{sha256(response).hexdigest()[:8]}.tsr"
    path = root / layout.TIMESTAMPS_DIR / name
    try:
        layout.make_directory(root, path.parent)
        disk.fsync_directory(root)
        # A crash in here leaves the whole file or none.
        disk.replace_file(path, response, layout.file_mode(root), exact=True)
    except OSError as error:
        raise disk.storage_error(error, path, "writing") from None
    return path


def list_timestamps(root: Path) -> list[StoredTimestamp]:
    """See `LogSource.timestamps`."""
    folder, found = root / layout.TIMESTAMPS_DIR, []
    try:
        for path in folder.iterdir():
            match = _TIMESTAMP.fullmatch(path.name)
            if match:
                found.append(StoredTimestamp(int(match[1]), path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise disk.read_error(error, folder) from None
    return sorted(found)


def read_timestamp(root: Path, name: str) -> bytes:
    """See `LogSource.timestamp`."""
    path = root / layout.TIMESTAMPS_DIR / name
    try:
        return disk.read_plain(path, TIMESTAMP_SIZE_MAX_BYTES)
    except OSError as error:
        raise disk.read_error(error, path) from None


def moved_to(root: Path) -> str | None:
    """What a file says of where the log is written now. Raises StorageError."""
    path = root / layout.MOVED_FILE
    try:
        with disk.open_plain(path) as file:
            text = file.read(MOVED_SIZE_MAX_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk.read_error(error, path) from None
    # Others can have written it: no line ends, no characters that a terminal obeys.
    return "".join(character if character.isprintable() else "?" for character in text.strip())


def check_not_moved(root: Path) -> None:
    """Raises MovedError where a file says that the log is written elsewhere now. All it can do is stop."""
    where = moved_to(root)
    if where is None:
        return
    if where.startswith(UNFINISHED):
        raise MovedError(f"the log in {root} is not moved here yet: {where}", path=str(root))
    raise MovedError(f"the log in {root} is not written here any more: moved to {where}", path=str(root))


class FileCursors:
    """Keeps the `Cursors` contract."""

    def __init__(self, folder: Path) -> None:
        """`folder`: this log's, in the state directory."""
        self._folder = folder

    def load(self, url: str) -> bytes | None:
        """See `Cursors`."""
        try:
            return disk.read_plain(self._path(url), CURSOR_SIZE_MAX_BYTES)
        except OSError:
            return None

    def save(self, url: str, data: bytes) -> None:
        """See `Cursors`."""
        path = self._path(url)
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            disk.replace_file(path, data, 0o600, durable=False)

    @contextmanager
    def alone(self, url: str) -> Iterator[bool]:
        """See `Cursors`."""
        path = self._path(url).with_suffix(".lock")
        descriptor = -1
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = disk.open_made(path, os.O_RDWR, 0o600)
            is_alone = disk.lock(descriptor)
        except OSError:
            is_alone = False
        try:
            yield is_alone
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _path(self, url: str) -> Path:
        return self._folder / f"{hex_hash(url.encode())[:16]}.json"
