"""The embedded directory: what each file is called and what it is. No file is written here.

entries/000000000000.jsonl     one canonical entry a line; 65,536 entries a segment; the last may
                               end in room (spaces)
entries/torn-…                 bytes set aside by recovery, never read again
tree/0, tree/1 …               32-byte hashes of complete subtrees of 256^level leaves; derived
checkpoint                     the latest signed checkpoint
timestamps/<size>-<tag>.tsr    RFC 3161 responses over checkpoints
erasing                        an erasure under way, while there is one
lock                           flock: one committer at a time
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ENTRIES_DIR: Final = "entries"
TREE_DIR: Final = "tree"
CHECKPOINT_FILE: Final = "checkpoint"
TIMESTAMPS_DIR: Final = "timestamps"
ERASING_FILE: Final = "erasing"
LOCK_FILE: Final = "lock"
TORN_PREFIX: Final = "torn-"

_SEGMENT: Final = re.compile(r"([0-9]{12})\.jsonl")


def segment_name(first: int) -> str:
    """File name of the segment whose first entry has this sequence number."""
    return f"{first:012d}.jsonl"


def list_segments(root: Path) -> list[tuple[int, Path]]:
    """(first sequence number, path) of each segment file present, in order.

    Raises FileNotFoundError or PermissionError as the operating system does.
    """
    found = []
    for path in (root / ENTRIES_DIR).iterdir():
        match = _SEGMENT.fullmatch(path.name)
        if match:
            found.append((int(match[1]), path))
    return sorted(found)


def tree_path(root: Path, level: int) -> Path:
    """The flat file of stored hashes at this tile level."""
    return root / TREE_DIR / str(level)


def is_log(path: Path) -> bool:
    """Whether the directory looks like a log."""
    return (path / ENTRIES_DIR).is_dir()
