"""What a replica last answered, kept beside the log: `replicas/<id>.json`.

A cursor saves asking, and shows other processes and `replicas status` how far
a replica is. It is no evidence: losing it costs one question, and what it says
is never believed over what the replica answers. So it is replaced whole, and
not flushed.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from attestlog._internal.core.hashes import hex_hash

CURSORS_DIR: Final = "replicas"


class Cursor(Struct, kw_only=True, omit_defaults=True):
    """One replica's state, as this writer knows it."""

    url: str
    size: int = 0
    """Entries it holds durably."""
    cosigned_size: int = 0
    cosigned_at: str = ""
    error: str = ""
    """Why it was not reached, or refused; empty when all is well."""
    failing_since: str = ""
    is_lost: bool = False
    """Whether the log has an entry that says so."""
    is_refused: bool = False
    """Whether it holds another history, as an entry says: it is asked again now and then."""


def cursor_path(root: Path, url: str) -> Path:
    """Where the cursor of a replica is."""
    return root / CURSORS_DIR / f"{hex_hash(url.encode())[:16]}.json"


def load_cursor(root: Path, url: str) -> Cursor:
    """The cursor, or a fresh one where there is none that can be read."""
    try:
        cursor = msgspec.json.decode(cursor_path(root, url).read_bytes(), type=Cursor)
    except (OSError, msgspec.DecodeError):
        return Cursor(url=url)
    return cursor if cursor.url == url else Cursor(url=url)


def save_cursor(root: Path, cursor: Cursor) -> None:
    """Replace it; that this fails loses nothing."""
    path = cursor_path(root, cursor.url)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        temporary.write_bytes(msgspec.json.encode(cursor))
        temporary.replace(path)
