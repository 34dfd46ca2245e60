"""What this verifier saw before, one file for each origin.

Nothing else shows that a tail was cut off, or that the holder of the log's keys rewrote its history.

    <state directory>/<hex SHA-256 of the origin>.json

Kept are the log's own checkpoint as it was, and the size and root that were
verified, which may lie beyond it. It is written only after a good verdict,
atomically, and never goes backwards.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from attestlog._internal import disk
from attestlog._internal.core.checkpoint import SIZE_MAX, parse_checkpoint
from attestlog._internal.core.entry import Hex64
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.core.note import parse_vkey
from attestlog._internal.verifying.given import read_small_file
from attestlog.errors import MalformedError

LOCK_WAIT_S: Final = 5.0
"""Two verifications of one log may end at once; each holds the lock for a file's writing."""


class Memory(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is remembered of one log."""

    format_version: Literal[1] = 1
    origin: str
    genesis_hash: Hex64
    size: Annotated[int, Meta(ge=1, le=SIZE_MAX)]
    root: Hex64
    checkpoint: str
    """The log's signed checkpoint, as it was; it may be smaller than `size`."""
    checkpoint_size: Annotated[int, Meta(ge=0, le=SIZE_MAX)]
    checkpoint_keys: list[str] = []
    """vkeys of the log: by them its published checkpoints are known."""
    entries_verified: Annotated[int, Meta(ge=0, le=SIZE_MAX)] | None = None
    """How many entries were read and verified, not their hashes alone; None: all of `size`."""
    changes: list[str] | None = []
    """The lines among those that changed the rules in force, in order; None: more than are kept."""

    @property
    def resumable(self) -> int:
        """The entries that need not be read again."""
        return self.size if self.entries_verified is None else self.entries_verified

    def roots(self) -> list[tuple[int, str]]:
        """(size, hex root) of everything remembered, smallest first."""
        checkpoint = parse_checkpoint(self.checkpoint.rpartition("\n\n")[0] + "\n")
        return sorted({(self.size, self.root), (checkpoint.size, checkpoint.root.hex())})


class UnreadableMemoryError(Exception):
    """Something is remembered and cannot be read. That is never taken for nothing being remembered."""


def memory_path(state_dir: Path, origin: str) -> Path:
    """The file for this origin."""
    return state_dir / f"{hex_hash(origin.encode())}.json"


def recall(state_dir: Path, origin: str) -> Memory | None:
    """What is remembered of this origin; None if nothing is.

    Raises UnreadableMemoryError if there is something and it cannot be read,
    OSError if it cannot even be told whether there is.
    """
    path = memory_path(state_dir, origin)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        memory = msgspec.json.decode(read_small_file(path), type=Memory)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableMemoryError(f"{path}: {error}") from None
    if memory.origin != origin:
        raise UnreadableMemoryError(f"{path} is about {memory.origin!r}")
    try:
        for vkey in memory.checkpoint_keys:
            parse_vkey(vkey)
        memory.roots()
    except MalformedError as error:
        raise UnreadableMemoryError(f"{path}: {error}") from None
    return memory


def remember(state_dir: Path, memory: Memory) -> None:
    """Keep it, unless as much or more of the log is remembered already.

    Raises OSError if it cannot be kept, UnreadableMemoryError if what is there cannot be read.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _exclusive(state_dir):
        known = recall(state_dir, memory.origin)
        if known is not None and known.genesis_hash != memory.genesis_hash:
            raise UnreadableMemoryError("another log of this origin was remembered meanwhile")
        if known is None or _reach(known) < _reach(memory):
            # A crash in here leaves the old memory, or the new one.
            disk.replace_file(memory_path(state_dir, memory.origin), msgspec.json.encode(memory), 0o600)


def _reach(memory: Memory) -> tuple[int, int, int, int]:
    return memory.size, memory.checkpoint_size, memory.resumable, len(memory.checkpoint_keys)


@contextmanager
def _exclusive(state_dir: Path) -> Iterator[None]:
    descriptor = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not disk.lock(descriptor, timeout_s=LOCK_WAIT_S):
            raise OSError(f"{state_dir} stayed locked for {LOCK_WAIT_S:g} s")
        yield
    finally:
        os.close(descriptor)
