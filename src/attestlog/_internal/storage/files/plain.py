"""Plain files read without trust in whoever made them: no pipe, no device, no more bytes than expected.

For verifiers, who read what strangers hand them. What the log's own writer
reads of its own directory is read by `disk` and `reader`.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

from attestlog.errors import NotFoundError, StorageError

SMALL_FILE_SIZE_MAX_BYTES: Final = 2 << 20
"""log.toml and the checkpoint are a few hundred bytes; this is over the limit of any note."""

BLOCK_BYTES: Final = 256 << 10
"""Read at a time."""

Source = bytes | str | os.PathLike[str]
"""Something small: its bytes, or the path of its file."""


def open_plain(path: Path | str, buffering: int = BLOCK_BYTES) -> BinaryIO:
    """Opens a regular file for reading; a pipe or device would hang or never end. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not a regular file")
    return open(descriptor, "rb", buffering=buffering)  # noqa: PTH123 - a descriptor, not a path


def plain_status(path: Path) -> os.stat_result:
    """The status of a regular file, links followed. Raises OSError, also for anything else."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is not a regular file")
    return status


def read_small_file(path: Path) -> bytes:
    """Raises OSError, also for what is not a plain file."""
    with open_plain(path) as file:
        return file.read(SMALL_FILE_SIZE_MAX_BYTES)


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


def reason(error: OSError | StorageError) -> str:
    """Why, in words; of the operating system's complaints without the path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
