"""Log directories as a driver of the port."""

from __future__ import annotations

from pathlib import Path

from attestlog._internal import disk
from attestlog._internal.storage.contract import NewLog
from attestlog._internal.storage.files import creation
from attestlog._internal.storage.files.reader import FileSource
from attestlog._internal.storage.files.store import FileStore


class FileDriver:
    """See `storage.resolve.Driver`. A name is a path."""

    def check_free(self, name: str, *, any_filesystem: bool) -> None:
        """See `Driver`."""
        root = Path(name).absolute()
        creation.check_free(root)
        if not any_filesystem:
            disk.check_filesystem(root)

    def create(self, name: str, new: NewLog) -> None:
        """See `Driver`."""
        creation.create_directory(Path(name).absolute(), new)

    def open_source(self, name: str) -> FileSource:
        """See `Driver`."""
        return FileSource(name)

    def open_store(self, name: str, *, lock_timeout_s: float, any_filesystem: bool) -> FileStore:
        """See `Driver`."""
        return FileStore(Path(name).absolute(), lock_timeout_s=lock_timeout_s, any_filesystem=any_filesystem)
