"""What this verifier saw before, one file for each log.

Nothing else shows that a tail was cut off, or that the holder of the log's keys rewrote its history.

    <state directory>/<hex SHA-256 of the origin>.json
    <state directory>/<hex SHA-256 of the origin>-<genesis hash>.json   where the origin is an example's

A log is known by its origin: another genesis entry under it is a fork. Names reserved for examples
are everybody's, so a log under one is known by its origin and genesis entry together.

    <state directory>/places/<hex SHA-256 of the place>.json    which log was first verified at a path or URL
Kept are the log's own checkpoint as it was, and the size and root that were
verified, which may lie beyond it. It is written only after a good verdict,
atomically, and never goes backwards.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from attestlog._internal import disk
from attestlog._internal.core.checkpoint import SIZE_MAX, is_example, parse_checkpoint
from attestlog._internal.core.entry import Hex64
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.core.note import Note, parse_vkey
from attestlog._internal.verifying.given import read_small_file
from attestlog.errors import MalformedError

TRUSTED_KEPT_MAX: Final = 100
"""Keys and hashes kept of those that vouched for a log: nobody gives more, and one is enough."""

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
    trusted_by: list[str] = []
    """The keys and hashes, given by a caller, that vouched for the log; empty: it was SELF-ATTESTED."""
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


class Place(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which log was verified at a path or URL."""

    format_version: Literal[1] = 1
    place: str
    origin: str
    genesis_hash: Hex64


class UnreadableMemoryError(Exception):
    """Something is remembered and cannot be read. That is never taken for nothing being remembered."""


def memory_path(state_dir: Path, origin: str, genesis_hash: str) -> Path:
    """The file for the log of this origin that begins with this entry."""
    which = f"-{genesis_hash}" if is_example(origin) else ""
    return state_dir / f"{hex_hash(origin.encode())}{which}.json"


def is_taken(state_dir: Path, origin: str) -> bool:
    """Whether a new log of this origin would be FORKED, because another is remembered. Raises OSError."""
    return not is_example(origin) and any(_paths(state_dir, origin))


def recall(state_dir: Path, origin: str, genesis_hash: str) -> Memory | None:
    """What is remembered that this log must be compared with; None if nothing is.

    It may be of another log of the origin, unless the origin is an example's.
    Raises UnreadableMemoryError if there is something and it cannot be read,
    OSError if it cannot even be told whether there is.
    """
    return _read(memory_path(state_dir, origin, genesis_hash), origin)


def recall_all(state_dir: Path, origin: str) -> list[Memory]:
    """What is remembered of this origin: of one log at most, unless the origin is an example's.

    Raises as `recall`.
    """
    known = (_read(path, origin) for path in _paths(state_dir, origin))
    return [memory for memory in known if memory is not None]


def signers_among(known: Iterable[Memory], note: Note) -> list[Memory]:
    """Those of logs one of whose keys the note names among its signers; the signatures are not looked at."""
    named = {(line.name, line.key_id) for line in note.signatures}
    return [
        memory
        for memory in known
        if any((key.name, key.key_id) in named for key in map(parse_vkey, memory.checkpoint_keys))
    ]


def recall_place(state_dir: Path, place: str) -> Place | None:
    """Which log was verified there; None where none is remembered. Raises as `recall`."""
    path = _place_path(state_dir, place)
    try:
        return msgspec.json.decode(read_small_file(path), type=Place)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableMemoryError(f"{path}: {error}") from None


def remember_place(state_dir: Path, place: Place, *, replaces: bool) -> None:
    """Keep it, unless a log is remembered there whose place this one is not to take. Raises OSError."""
    path = _place_path(state_dir, place.place)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _exclusive(state_dir):
        if replaces or not path.exists():
            disk.replace_file(path, msgspec.json.encode(place), 0o600)


def _place_path(state_dir: Path, place: str) -> Path:
    return state_dir / "places" / f"{hex_hash(os.fsencode(place))}.json"


def _places_of(state_dir: Path, origin: str) -> Iterator[Path]:
    for path in (state_dir / "places").glob("*.json"):
        with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
            if msgspec.json.decode(read_small_file(path), type=Place).origin == origin:
                yield path


def _paths(state_dir: Path, origin: str) -> list[Path]:
    """The files there are of this origin."""
    if is_example(origin):
        return sorted(state_dir.glob(memory_path(state_dir, origin, "*").name))
    path = memory_path(state_dir, origin, "")
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [path]


def _read(path: Path, origin: str) -> Memory | None:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        memory = msgspec.json.decode(read_small_file(path), type=Memory)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableMemoryError(f"{path}: {error}") from None
    if memory.origin != origin or path != memory_path(path.parent, origin, memory.genesis_hash):
        raise UnreadableMemoryError(f"{path} is about {memory.origin!r}, {memory.genesis_hash}")
    try:
        for vkey in memory.checkpoint_keys:
            parse_vkey(vkey)
        memory.roots()
    except MalformedError as error:
        raise UnreadableMemoryError(f"{path}: {error}") from None
    return memory


def list_memories(state_dir: Path) -> Iterator[Memory | UnreadableMemoryError]:
    """All that is remembered, by file name; what cannot be read as the reason why. Raises OSError."""
    for path in sorted(state_dir.glob("*.json")):
        try:
            memory = msgspec.json.decode(read_small_file(path), type=Memory)
            is_named = path == memory_path(state_dir, memory.origin, memory.genesis_hash)
            known = _read(path, memory.origin) if is_named else None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            yield UnreadableMemoryError(f"{path}: {error}")
        except UnreadableMemoryError as error:
            yield error
        else:
            yield known if known is not None else UnreadableMemoryError(f"{path} is not named by its origin")


def forget(state_dir: Path, origin: str) -> bool:
    """Remember nothing of this origin, readable or not; whether there was something. Raises OSError."""
    if not _paths(state_dir, origin):
        return False
    with _exclusive(state_dir):
        for path in [*_paths(state_dir, origin), *_places_of(state_dir, origin)]:
            path.unlink(missing_ok=True)
        disk.fsync_directory(state_dir)
    return True


def remember(state_dir: Path, memory: Memory, seen: Memory | None) -> Memory | None:
    """Keep it, unless as much or more of the log is remembered already.

    `seen`: what was recalled, and compared with. If something else is remembered by now, nothing is kept, and
    that is returned: it has to be compared first.
    Raises OSError if it cannot be kept, UnreadableMemoryError if what is there cannot be read.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _exclusive(state_dir):
        known = recall(state_dir, memory.origin, memory.genesis_hash)
        if known is not None and known != seen:
            return known
        if known is not None and known.genesis_hash == memory.genesis_hash:
            trusted_by = list(dict.fromkeys([*known.trusted_by, *memory.trusted_by]))[:TRUSTED_KEPT_MAX]
            further = memory if _reach(known) < _reach(memory) else known
            memory = msgspec.structs.replace(further, trusted_by=trusted_by)
        if memory != known:
            # A crash in here leaves the old memory, or the new one.
            path = memory_path(state_dir, memory.origin, memory.genesis_hash)
            disk.replace_file(path, msgspec.json.encode(memory), 0o600)
    return None


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
