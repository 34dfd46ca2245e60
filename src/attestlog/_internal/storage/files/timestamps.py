"""Time stamps beside a log: `timestamps/<size>-<tag>.tsr`, one RFC 3161 response a file, never changed.

Each is over the text of the log's checkpoint at that size, which anybody can
write again from the entries: so no checkpoint needs to be kept with it. Nothing
is verified here.
"""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from typing import Final

from attestlog._internal.storage.files import disk

TIMESTAMPS_DIR: Final = "timestamps"

TIMESTAMP_SIZE_MAX_BYTES: Final = 256 << 10
"""A response with its certificates has a few thousand bytes."""

_NAME: Final = re.compile(r"([0-9]{12,19})-[0-9a-f]{8}\.tsr")


def add_timestamp(root: Path, size: int, response: bytes) -> Path:
    """Keep a response over the checkpoint at `size`, durably. Raises StorageError."""
    name = f"{size:012d}-{sha256(response).hexdigest()[:8]}.tsr"
    path = root / TIMESTAMPS_DIR / name
    try:
        disk.make_directories(path.parent)
        # A crash in here leaves the whole file or none.
        disk.replace_file(path, response)
    except OSError as error:
        raise disk.storage_error(error, path, "writing") from None
    return path


def list_timestamps(root: Path) -> list[tuple[int, Path]]:
    """(size, path) of each, the smallest size first. Raises OSError."""
    found = []
    try:
        for path in (root / TIMESTAMPS_DIR).iterdir():
            match = _NAME.fullmatch(path.name)
            if match:
                found.append((int(match[1]), path))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(found)
