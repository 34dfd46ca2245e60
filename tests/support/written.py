"""Making logs to be hurt: keys in memory, a clock that stands still, drafts with a number."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attestlog._internal.core.genesis import Settings
from attestlog._internal.log import Log
from attestlog._internal.storage.files.layout import (
    CHECKPOINT_FILE,
    ENTRIES_DIR,
    LOCK_FILE,
    TREE_DIR,
    list_segments,
)
from attestlog.testing import ManualClock, MemorySigner

ORIGIN = "example.com/fault"


def create(path: Path, *, segment_entries: int = 65_536, batch: bool = True, **options: Any) -> Log:
    """A new log; its signers are found again by `attestlog.open` within this process."""
    options.setdefault("signer", MemorySigner())
    options.setdefault("checkpoint_signer", MemorySigner("Ed25519"))
    options.setdefault("clock", ManualClock())
    options.setdefault("settings", Settings(segment_entries=segment_entries, batch=batch))
    return Log.create(path, origin=ORIGIN, **options)


def draft(number: int, **members: Any) -> dict[str, Any]:
    """A draft that says its number."""
    return {
        "event_type": "ACTION",
        "action_type": "execute_autonomous_task",
        "actor_id": "agent-1",
        "action_payload": {"number": number},
        **members,
    }


def drafts(numbers: Iterable[int]) -> list[dict[str, Any]]:
    return [draft(number) for number in numbers]


def contents(path: Path) -> dict[str, bytes]:
    """Every file of the log but the lock: to show that nothing was changed."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != LOCK_FILE
    }


def copied(path: Path, name: str) -> Path:
    """A copy beside it."""
    target = path.with_name(name)
    shutil.copytree(path, target)
    return target


def last_segment(path: Path) -> Path:
    return list_segments(path)[-1][1]


def torn_files(path: Path) -> list[Path]:
    return sorted((path / ENTRIES_DIR).glob("torn-*"))


def checkpoint_file(path: Path) -> Path:
    return path / CHECKPOINT_FILE


def tree_file(path: Path, level: int = 0) -> Path:
    return path / TREE_DIR / str(level)


def cut_tree(path: Path, size: int) -> None:
    """As if the last entries' hashes had not been stored yet: what a crash between two steps leaves."""
    for file in (path / TREE_DIR).iterdir():
        with file.open("r+b") as opened:
            opened.truncate((size >> (8 * int(file.name))) * 32)
