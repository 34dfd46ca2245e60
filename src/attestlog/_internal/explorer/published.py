"""The page for a published folder: static files beside `checkpoint` and `tile/`, for any web server.

    write_page(folder)                                   checks checkpoint and tiles, and files dropped on it
    write_entries(source, folder, size); write_page(folder, with_entries=True)       shows the entries as well

    lines/000000000000.jsonl, lines/000000010000.jsonl, …     ENTRIES_A_FILE stored lines each, all of them in
                                                               the published checkpoint
    entries.json                                               {"entries_a_file": …, "size": …}

Publishing puts hashes in the folder, and nothing of what entries say: that the entries are there as well is
asked for by name. Nothing here is believed by the page: what it shows as checked leads to the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from attestlog._internal import disk
from attestlog._internal.core.report import Progress
from attestlog._internal.explorer.answering import FILES, page_file
from attestlog._internal.explorer.report import STATIC
from attestlog._internal.storage.contract import LogSource
from attestlog.errors import MalformedError, StorageError

ENTRIES_A_FILE: Final = 10_000
"""Entries that a browser loads and looks through at once: some 10 MB."""

LINES_DIR: Final = "lines"
DESCRIPTION: Final = "entries.json"
_DESCRIPTION_SIZE_MAX_BYTES: Final = 1_000

_TREE_FILES: Final = ("verify.mjs", "bundle.mjs", "draw.mjs", "file.mjs", "published.mjs", "style.css")
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'"
)
"""In the page itself: whose web server it is, sets no header of ours."""


class _Description(msgspec.Struct):
    entries_a_file: int
    size: int


def page_files(*, with_entries: bool = False) -> Iterator[tuple[str, bytes]]:
    """(name, content) of each file, the page itself last: who sees it finds what it needs."""
    if not with_entries:
        for name in _TREE_FILES:
            yield name, (STATIC / name).read_bytes()
        yield "index.html", (STATIC / "published.html").read_bytes()
        return
    for name in (*FILES, "folder.mjs"):
        if name != "index.html":
            yield name, (STATIC / name).read_bytes()
    page = page_file("index.html").decode()
    page = page.replace('<html lang="en">', '<html lang="en" data-source="folder">', 1)
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield "index.html", page.replace("<title>", f"{policy}\n<title>", 1).encode()


def write_page(folder: Path, *, with_entries: bool = False) -> None:
    """Write the page into a published folder, each file whole. Raises StorageError."""
    for name, data in page_files(with_entries=with_entries):
        _replace(folder / name, [data])


def write_entries(
    source: LogSource,
    folder: Path,
    size: int,
    *,
    whole: bool = False,
    progress: Progress = lambda _done, _total: None,
) -> int:
    """Write the lines of the first `size` entries; how many files were written. Raises StorageError.

    Only files that are not complete yet are written, unless all are wanted (`whole`): what was erased since
    then is gone from the folder only after that.
    """
    held = 0 if whole else _held(folder)
    start = min(held, size) // ENTRIES_A_FILE * ENTRIES_A_FILE
    lines, written = source.lines(start, size), 0
    for first in range(start, size, ENTRIES_A_FILE):
        taken = islice(lines, min(ENTRIES_A_FILE, size - first))
        _replace(folder / LINES_DIR / f"{first:012d}.jsonl", (line + b"\n" for line in taken))
        written += 1
        progress(min(first + ENTRIES_A_FILE, size) - start, size - start)
    # A crash before this leaves files that are longer than it says: what is past `size` is not read.
    _replace(folder / DESCRIPTION, [msgspec.json.encode(_Description(ENTRIES_A_FILE, size))])
    return written


def _held(folder: Path) -> int:
    """The size that is described, or 0: then all is written."""
    try:
        data = disk.read_plain(folder / DESCRIPTION, _DESCRIPTION_SIZE_MAX_BYTES)
        described = msgspec.json.decode(data, type=_Description)
    except (OSError, MalformedError, StorageError, msgspec.DecodeError):
        return 0
    return described.size if described.entries_a_file == ENTRIES_A_FILE else 0


def _replace(path: Path, parts: Iterator[bytes] | list[bytes]) -> None:
    """The file, whole: a crash leaves the one before."""
    try:
        path.parent.mkdir(exist_ok=True)
        with disk.replacing(path) as descriptor, open(descriptor, "wb", closefd=False) as file:
            file.writelines(parts)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}", path=str(path)) from None
