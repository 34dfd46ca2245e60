"""Evidence of a split view: what a log told this replica, twice and differently. Nothing here deletes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from attestlog._internal import disk
from attestlog.errors import CorruptError

EVIDENCE_DIR: Final = "evidence"
EVIDENCE_FILES_MAX: Final = 10_000
"""One is proof enough; a writer gone mad must not fill the disk that the copy is on."""

EVIDENCE_SIZE_MAX_BYTES: Final = 64 << 20
"""Two notes and two lines, each within its own limit, spelled as JSON in JSON."""


class SplitView(Struct, frozen=True, kw_only=True, tag_field="type", tag="split_view"):
    """Two statements about one log that cannot both be true."""

    origin: str
    seen_at: str
    """By this replica's clock."""
    reason: str
    size: int
    """Entries held when it came."""
    ours: str
    """The signed checkpoint that was taken before, with the log's signature."""
    theirs: str
    """The signed checkpoint that contradicts it; empty where only an entry does."""
    sequence_number: int | None = None
    """The entry at which they part, where it is known."""
    our_line: str | None = None
    their_line: str | None = None


def keep(directory: Path, split: SplitView) -> Path:
    """Store it durably, under the next number."""
    folder = directory / EVIDENCE_DIR
    data = msgspec.json.format(msgspec.json.encode(split), indent=2)
    try:
        disk.make_directories(folder)
        # After the highest there is, so that no name is ever used twice.
        number = 1 + max((int(path.stem) for path in folder.glob("[0-9]*.json")), default=0)
        path = folder / f"{min(number, EVIDENCE_FILES_MAX):05d}.json"
        if number <= EVIDENCE_FILES_MAX:
            disk.replace_file(path, data + b"\n")
    except OSError as error:
        raise disk.storage_error(error, folder, "writing") from None
    return path


def evidence(directory: Path) -> Iterator[tuple[Path, SplitView]]:
    """All that was kept, oldest first."""
    folder = directory / EVIDENCE_DIR
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            yield path, msgspec.json.decode(disk.read_plain(path, EVIDENCE_SIZE_MAX_BYTES), type=SplitView)
        except (OSError, msgspec.DecodeError) as error:
            raise CorruptError(f"{path} cannot be read: {error}", path=str(path)) from None
