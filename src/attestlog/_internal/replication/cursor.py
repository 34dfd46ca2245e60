"""What a replica last answered, kept for one user.

A cursor saves asking, and shows other processes and `replica status` how far
a replica is. It is no evidence: losing it costs one question, and what it says
is never believed over what the replica answers. So it is replaced whole, and
not flushed.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from attestlog._internal.storage.contract import Cursors


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


def load_cursor(cursors: Cursors, url: str) -> Cursor:
    """The cursor, or a fresh one where there is none that can be read."""
    data = cursors.load(url)
    try:
        cursor = Cursor(url=url) if data is None else msgspec.json.decode(data, type=Cursor)
    except msgspec.DecodeError:
        return Cursor(url=url)
    return cursor if cursor.url == url else Cursor(url=url)


def save_cursor(cursors: Cursors, cursor: Cursor) -> None:
    """Replace it; that this fails loses nothing."""
    cursors.save(cursor.url, msgspec.json.encode(cursor))
