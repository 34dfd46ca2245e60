"""Bringing the query index up to the log before it is asked, with a progress bar where that takes long."""

from __future__ import annotations

from attestlog._internal.cli.progress import Bar
from attestlog._internal.query import Index, Place


def catch_up(log: str) -> None:
    """Index what is new. An index that cannot be kept is made by the query itself."""
    with Index.open(log) as index, Bar("indexing") as bar:
        if index.place != Place.MEMORY:
            index.catch_up(bar)
