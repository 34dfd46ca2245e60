"""The page for a published folder: static files beside `checkpoint` and `tile/`, for any web server.

    for name, data in published_files(): …      for a place that is no folder
    write_page(folder)

The folder holds no entries, and neither does the page: it checks checkpoint and tiles under the reader's key,
and the proofs, bundles and reports that are dropped on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attestlog._internal import disk
from attestlog._internal.explorer.report import STATIC

_MODULES: Final = ("verify.mjs", "bundle.mjs", "draw.mjs", "file.mjs", "published.mjs", "style.css")


def published_files() -> Iterator[tuple[str, bytes]]:
    """(name, content) of each file, the page itself last: who sees it finds what it needs."""
    for name in _MODULES:
        yield name, (STATIC / name).read_bytes()
    yield "index.html", (STATIC / "published.html").read_bytes()


def write_page(folder: Path) -> None:
    """Write the page into a published folder, each file whole. Raises OSError."""
    for name, data in published_files():
        with disk.replacing(folder / name) as descriptor, open(descriptor, "wb", closefd=False) as file:
            file.write(data)
