"""Files that the user names: read whole, and replaced whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from attestlog._internal import disk
from attestlog.errors import NotFoundError, StorageError

STDIN: Final = "-"


def read_file(path: str) -> bytes:
    """The bytes of a file, or of stdin for `-`. Raises NotFoundError or StorageError."""
    try:
        return sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"there is nothing at {path}", path=path) from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", path=path) from None


def write_file(path: Path, data: bytes) -> None:
    """Whole or not at all. Raises StorageError."""
    try:
        with replacing(path) as file:
            file.write(data.decode())
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}", path=str(path)) from None


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A file that becomes `path` once it is whole; a device or pipe is written to directly."""
    if path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    with (
        disk.replacing(path) as descriptor,
        open(descriptor, "w", encoding="utf-8", newline="", closefd=False) as file,
    ):
        yield file
