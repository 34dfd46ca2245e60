"""A lost log, from a replica: byte for byte, under the same identity, verified before it takes its place.

What stands where it goes is moved aside, never deleted. It is not restored over
a longer log, nor from a copy that is behind what is remembered or known of the
log, unless forced; and then the log itself says so, in its next entry.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

from attestlog._internal.core.cosignature import open_signed_checkpoint
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.genesis import Genesis, parse_genesis
from attestlog._internal.core.merkle import edge_at
from attestlog._internal.core.report import Report, Verdict
from attestlog._internal.replication.client import ReplicaClient
from attestlog._internal.storage.files import disk, layout
from attestlog._internal.storage.files.reader import LogReader
from attestlog._internal.storage.files.store import FileStore
from attestlog._internal.verifying import verify_log
from attestlog.errors import ConflictError, ExistsError, NotFoundError, StorageError, VerificationError

BEHIND: Final = frozenset({Verdict.TRUNCATED})
"""Verdicts that say the copy is sound and too short: what forcing is for. All others are final."""

_PROGRESS_ENTRIES: Final = 1_024

Progress = Callable[[int, int], None]


class Demands(Struct, frozen=True, kw_only=True):
    """What the copy has to meet before it takes the log's place."""

    trust: list[str | Path] = []
    """Keys or hashes of which one must vouch for it, as for `verify`."""
    known: list[bytes] = []
    """Checkpoints of the log that must be in it."""
    is_forced: bool = False
    """Whether it may be shorter than what is there, remembered or known."""
    state_dir: Path | None = None
    """Where earlier verifications remembered; None: the user's own."""


class Restored(Struct, frozen=True):
    """What restoring came to."""

    origin: str
    size: int
    is_behind: bool
    """Shorter than what is remembered or known of the log, and forced."""
    moved_to: str | None
    """Where what stood there before is now."""


def restore_log(
    root: Path,
    client: ReplicaClient,
    signers: layout.Signers,
    demands: Demands,
    progress: Progress = lambda _done, _total: None,
) -> Restored:
    """Put the replica's copy at `root`.

    Raises ExistsError for a longer log in its place, ConflictError for a copy that is behind,
    VerificationError for one that does not hold, ReplicationError, StorageError. `root` is then untouched.
    """
    held = client.held()
    if not held.size:
        raise NotFoundError(f"{client.url} holds nothing of the log", path=client.url)
    there = _size_there(root)
    if there > held.size and not demands.is_forced:
        raise ExistsError(
            f"the log at {root} has {there} entries, the replica holds {held.size}",
            path=str(root),
            size=there,
        )
    made = root.with_name(f".{root.name}.{os.getpid()}.restored")
    try:
        genesis = _fetch(client, made, held.size, progress)
        config = layout.LogConfig(origin=genesis.origin, settings=genesis.settings, signers=signers)
        with contextlib.suppress(NotFoundError):
            disk.replace_file(made / layout.CHECKPOINT_FILE, client.checkpoint())
        disk.replace_file(made / layout.CONFIG_FILE, layout.format_config(config).encode())
        disk.replace_file(made / layout.LOCK_FILE, b"")
        is_behind = _check(made, genesis, demands)
        moved_to = _put_in_place(made, root)
    except OSError as error:
        raise disk.storage_error(error, made, "restoring") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return Restored(genesis.origin, held.size, is_behind or there > held.size, moved_to)


def _size_there(root: Path) -> int:
    return LogReader(root).size() if layout.is_log(root) else 0


def _fetch(client: ReplicaClient, made: Path, size: int, progress: Progress) -> Genesis:
    """The lines, into segment files. Memory: one response at a time."""
    (made / layout.ENTRIES_DIR).mkdir(parents=True)
    (made / layout.TREE_DIR).mkdir()
    genesis, number, segment = None, 0, None
    try:
        for line in _lines(client, size):
            genesis = genesis or _genesis(client, line)
            if number % genesis.settings.segment_entries == 0:
                _close(segment)
                segment = (made / layout.ENTRIES_DIR / layout.segment_name(number)).open("xb")
            assert segment is not None
            segment.write(line + b"\n")
            number += 1
            if number % _PROGRESS_ENTRIES == 0:
                progress(number, size)
    finally:
        _close(segment)
    if genesis is None or number < size:
        raise StorageError(f"{client.url} sent {number} of {size} entries", path=client.url)
    disk.fsync_directory(made / layout.ENTRIES_DIR)
    progress(number, size)
    return genesis


def _genesis(client: ReplicaClient, line: bytes) -> Genesis:
    """Another log, whole and sound, would pass every check that looks at the copy alone."""
    genesis = parse_genesis(decode_line(line))
    if genesis.origin != client.origin:
        raise VerificationError(
            f"{client.url} sent the log {genesis.origin!r}, want {client.origin!r}",
            expected=client.origin, found=genesis.origin,
        )  # fmt: skip
    return genesis


def _lines(client: ReplicaClient, size: int) -> Iterator[bytes]:
    number = 0
    while number < size:
        lines = client.lines(number)[: size - number]
        if not lines:
            return
        yield from lines
        number += len(lines)


def _close(segment: BinaryIO | None) -> None:
    if segment is not None:
        with segment:
            segment.flush()
            os.fsync(segment.fileno())


def _check(made: Path, genesis: Genesis, demands: Demands) -> bool:
    """Whether the copy is behind what is remembered or known. Raises unless it may take the log's place."""
    report = verify_log(made, trust=demands.trust, state_dir=demands.state_dir)
    if any(finding.verdict not in {Verdict.VERIFIED, *BEHIND} for finding in report.findings):
        raise VerificationError(
            f"the replica's copy is {report.verdict}: {report.findings[0].message}", report=report
        )
    behind = _first_behind(report)
    _check_not_behind(behind, made, demands)  # before opening it: its checkpoint may cover more than it has
    _build_tree(made)
    for note in demands.known:
        behind = behind or _beyond(made, genesis, note)
    _check_not_behind(behind, made, demands)
    return bool(behind)


def _check_not_behind(behind: str, made: Path, demands: Demands) -> None:
    if behind and not demands.is_forced:
        raise ConflictError(f"the replica's copy is behind: {behind}", path=str(made))


def _first_behind(report: Report) -> str:
    return next((finding.message for finding in report.findings if finding.verdict in BEHIND), "")


def _build_tree(made: Path) -> None:
    """Opening makes the tree from the entries."""
    store = FileStore(made)
    try:
        with store.exclusive():
            pass
    finally:
        store.close()


def _beyond(made: Path, genesis: Genesis, note: bytes) -> str:
    """Why a known checkpoint is not covered; empty if it is. Raises VerificationError if it contradicts."""
    checkpoint = open_signed_checkpoint(note, genesis.checkpoint_keys).checkpoint
    size = LogReader(made).size()
    if checkpoint.size > size:
        return f"a known checkpoint covers {checkpoint.size} entries, it has {size}"
    store = FileStore(made)
    try:
        root = edge_at(checkpoint.size, store.hashes).root()
    finally:
        store.close()
    if root != checkpoint.root:
        raise VerificationError(
            f"a known checkpoint signs another root of the first {checkpoint.size} entries",
            expected=checkpoint.root.hex(),
        )
    return ""


def _put_in_place(made: Path, root: Path) -> str | None:
    disk.fsync_directory(made)
    moved_to = None
    if root.exists():
        moved_to = root.with_name(f"{root.name}.replaced-{os.getpid()}")
        # A crash after this leaves no log at `root`, and both beside it, whole: restoring can be repeated.
        root.rename(moved_to)
    try:
        made.rename(root)
    except OSError:
        if moved_to is not None:
            moved_to.rename(root)
        raise
    disk.fsync_directory(root.parent)
    return str(moved_to) if moved_to is not None else None
