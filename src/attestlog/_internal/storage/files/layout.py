"""The embedded directory: what each file is called and what it is. No file is written here.

entries/000000000000.jsonl     one canonical entry a line; 65,536 entries a segment; the last may
                               end in room (spaces)
entries/000000000000.jsonl.zst the same, compressed: a segment that is closed
entries/000000000000.jsonl.zst a link whose target is the URL of an object: the segment is in a bucket
entries/torn-…                 bytes set aside by recovery, never read again
tree/0, tree/1 …               32-byte hashes of complete subtrees of 256^level leaves; derived
checkpoint                     the latest signed checkpoint
timestamps/<size>-<tag>.tsr    RFC 3161 responses over checkpoints
erasing                        an erasure under way, while there is one
lock                           flock: one committer at a time
moved                          where the log is now: it is not written here any more

A new log is for its owner alone, or for a group too. Whatever is made in it later has the mode that its
directory says.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

ENTRIES_DIR: Final = "entries"
TREE_DIR: Final = "tree"
CHECKPOINT_FILE: Final = "checkpoint"
TIMESTAMPS_DIR: Final = "timestamps"
ERASING_FILE: Final = "erasing"
LOCK_FILE: Final = "lock"
MOVED_FILE: Final = "moved"
TORN_PREFIX: Final = "torn-"

PRIVATE_MODE: Final = 0o700
WRITERS_MODE: Final = 0o2770
"""Of directories whose group may write: setgid, so that what one of them makes is the group's."""
READERS_MODE: Final = 0o2750

PACKED_SUFFIX: Final = ".jsonl.zst"

_OBJECT: Final = re.compile(r"(?:s3|gs|az)://")
_SEGMENT: Final = re.compile(r"([0-9]{12})\.jsonl(?:\.zst)?")


def segment_name(first: int) -> str:
    """File name of the segment whose first entry has this sequence number."""
    return f"{first:012d}.jsonl"


def packed_name(first: int) -> str:
    """File name of that segment when it is compressed."""
    return f"{first:012d}{PACKED_SUFFIX}"


def list_segments(root: Path) -> list[tuple[int, Path]]:
    """(first sequence number, path) of each segment file present, in order.

    Of a segment that is there compressed and uncompressed, the uncompressed one: see `twice`.
    Raises FileNotFoundError or PermissionError as the operating system does.
    """
    found: dict[int, Path] = {}
    for path in (root / ENTRIES_DIR).iterdir():
        match = _SEGMENT.fullmatch(path.name)
        if match and (int(match[1]) not in found or path.suffix == ".jsonl"):
            found[int(match[1])] = path
    return sorted(found.items())


def twice(root: Path) -> list[int]:
    """First numbers of the segments that are there twice: compressing them was cut short."""
    names = {path.name for path in (root / ENTRIES_DIR).iterdir()}
    firsts = {int(match[1]) for match in map(_SEGMENT.fullmatch, names) if match}
    return sorted(first for first in firsts if {segment_name(first), packed_name(first)} <= names)


def segment_path(root: Path, first: int) -> Path:
    """The file of the segment that begins with this entry, compressed or not."""
    packed = root / ENTRIES_DIR / packed_name(first)
    plain = root / ENTRIES_DIR / segment_name(first)
    return packed if not os.path.lexists(plain) and os.path.lexists(packed) else plain


def object_url(path: Path | str) -> str | None:
    """The URL of the object that holds this segment, where a link says so; None for any other file."""
    try:
        target = os.readlink(path)  # noqa: PTH115 - a Path would spell the URL with one slash
    except OSError:
        return None
    return target if _OBJECT.match(target) else None


def is_object_url(text: str) -> bool:
    """Whether it is the URL of a bucket, or of what is in one."""
    return _OBJECT.match(text.lower()) is not None


def tree_path(root: Path, level: int) -> Path:
    """The flat file of stored hashes at this tile level."""
    return root / TREE_DIR / str(level)


def file_mode(root: Path, name: str = "") -> int:
    """Of a new file in the log: its directory's, without the right to enter.

    The lock is for those alone who may write: whoever can read a file can lock it, and hold up all writers.
    """
    mode = stat.S_IMODE(root.stat().st_mode) & 0o666
    if name == LOCK_FILE:
        mode = 0o660 if mode & stat.S_IWGRP else 0o600
    return mode


def make_directory(root: Path, path: Path) -> None:
    """A directory in the log, with the log's mode; durable once `root` is synced. Raises OSError."""
    if not path.exists():
        path.mkdir(PRIVATE_MODE, exist_ok=True)
        path.chmod(stat.S_IMODE(root.stat().st_mode))


def is_log(path: Path) -> bool:
    """Whether the directory looks like a log."""
    return (path / ENTRIES_DIR).is_dir()
