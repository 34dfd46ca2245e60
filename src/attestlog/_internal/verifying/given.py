"""Small files that the caller of a verifier gives: keys, policies, checkpoints, proofs. Plain files only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from attestlog._internal.disk import open_plain
from attestlog.errors import AttestlogError, NotFoundError, StorageError

GIVEN_SIZE_MAX_BYTES: Final = 2 << 20
"""Keys, policies and notes have a few hundred bytes; this is over the limit of any note."""

Given = bytes | str | os.PathLike[str]
"""Something small: its bytes, or the path of its file."""


def read_given(given: Given, size_max: int = GIVEN_SIZE_MAX_BYTES) -> bytes:
    """Up to one byte more than `size_max`. Raises NotFoundError or another StorageError."""
    if isinstance(given, bytes):
        return given
    path = Path(given)
    try:
        return read_small_file(path, size_max)
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}", path=str(path)) from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {reason(error)}", path=str(path)) from None


def read_small_file(path: Path, size_max: int = GIVEN_SIZE_MAX_BYTES) -> bytes:
    """Up to one byte more than `size_max`. Raises OSError, also for what is not a plain file."""
    with open_plain(path) as file:
        return file.read(size_max + 1)


def reason(error: OSError | AttestlogError) -> str:
    """Why, in words; of the operating system's complaints without the path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
