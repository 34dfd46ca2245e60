"""Time stamps beside a log: `timestamps/<size>-<tag>.tsr`, one RFC 3161 response a file, never changed.

Each is over the text of the log's checkpoint at that size, which anybody can
write again from the entries: so no checkpoint needs to be kept with it. Nothing
is verified here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from attestlog._internal.storage.contract import TIMESTAMP_SIZE_MAX_BYTES
from attestlog._internal.storage.files.layout import TIMESTAMPS_DIR

__all__ = ["TIMESTAMPS_DIR", "TIMESTAMP_SIZE_MAX_BYTES", "list_timestamps"]

_NAME: Final = re.compile(r"([0-9]{12,19})-[0-9a-f]{8}\.tsr")


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
