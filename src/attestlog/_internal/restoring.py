"""A lost log, from a replica: byte for byte, under the same identity, verified before it takes its place.

What stands where it goes is moved aside, never deleted. It is not restored over
a longer log, nor from a copy that is behind what is remembered or known of the
log, unless forced; and then it is evidence, and cannot be written: going on would
sign a second history, which replicas and witnesses refuse for good.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from attestlog._internal.config import (
    LogConfig,
    Signers,
    change_config,
    expect_state,
    identity,
    new_config,
    replace_config,
)
from attestlog._internal.core.cosignature import open_signed_checkpoint
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.erasure import line_erases
from attestlog._internal.core.genesis import Genesis, open_log_checkpoint, parse_genesis
from attestlog._internal.core.merkle import edge_at
from attestlog._internal.core.note import ED25519, format_vkey
from attestlog._internal.core.report import Progress, Report, Verdict
from attestlog._internal.last_signed import Names, Signed, find, make
from attestlog._internal.log.remembered import recall as remember
from attestlog._internal.places import state_dir
from attestlog._internal.replication.client import ReplicaClient
from attestlog._internal.storage.contract import LogSource
from attestlog._internal.storage.resolve import LogName, build_log, open_source, open_store
from attestlog._internal.verifying import judge_log
from attestlog._internal.verifying.memory import UnreadableMemoryError, recall
from attestlog.errors import (
    ConflictError,
    ExistsError,
    NotFoundError,
    RollbackError,
    StorageError,
    VerificationError,
)

if TYPE_CHECKING:
    from attestlog._internal.storage.files.creation import Building

BEHIND: Final = frozenset({Verdict.TRUNCATED})
"""Verdicts that say the copy is sound and too short: what forcing is for. All others are final."""

_PROGRESS_ENTRIES: Final = 1_024


class RestoreDemands(Struct, frozen=True, kw_only=True):
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
    """Shorter than what is remembered or known of the log, and forced: it cannot be written."""
    moved_to: str | None
    """Where what stood there before is now."""


def restore_log(
    name: LogName,
    client: ReplicaClient,
    signers: Signers | None,
    demands: RestoreDemands,
    progress: Progress = lambda _done, _total: None,
) -> Restored:
    """Put the replica's copy at `name`. `signers`: for its configuration; None: it stays as it is.

    Raises ExistsError for a longer log in its place, ConflictError for a copy that is behind,
    VerificationError for one that does not hold, ReplicationError, StorageError. What is there is then
    untouched.
    """
    held = client.held()
    if not held.size:
        raise NotFoundError(f"{client.url} holds nothing of the log", path=client.url)
    there = _size_there(name)
    if there > held.size and not demands.is_forced:
        raise ExistsError(
            f"the log at {name} has {there} entries, the replica holds {held.size}",
            path=str(name), size=there, what="longer_log",
        )  # fmt: skip
    with build_log(name) as made:
        genesis = _fetch(client, made, held.size, progress)
        note = None
        with contextlib.suppress(NotFoundError):
            note = client.checkpoint()
        made.finish(note)
        is_behind = _check(made.name, genesis, demands) or there > held.size
        copy = open_source(made.name)
        _remember(copy, genesis, demands, is_behind=is_behind)
        _configure(copy, str(Path(name).absolute()), signers)
        # A crash here leaves what is known of the log, and no log yet: it can be repeated.
        moved_to = made.put_in_place()
    return Restored(genesis.origin, held.size, is_behind, moved_to)


def _remember(copy: LogSource, genesis: Genesis, demands: RestoreDemands, *, is_behind: bool) -> None:
    """Where nothing says yet what was signed last of the log: the copy does, or what is known beyond it."""
    folder, which = demands.state_dir or state_dir(), identity(copy)
    kept = find(folder, which.genesis)
    if kept is not None:
        kept.close()
        return
    known = _signed_beyond(copy, genesis, demands, folder) if is_behind else _signed_in(copy, genesis)
    if known is not None:
        key = next(key for key in genesis.checkpoint_keys if key.kind == ED25519)
        make(folder, Names(which.origin, which.genesis, format_vkey(key)), known, None).close()


def _signed_in(copy: LogSource, genesis: Genesis) -> Signed | None:
    note = copy.checkpoint()
    if note is None:
        return None
    checkpoint = open_log_checkpoint(note, genesis)
    return Signed(checkpoint.size, checkpoint.root.hex())


def _signed_beyond(copy: LogSource, genesis: Genesis, demands: RestoreDemands, folder: Path) -> Signed | None:
    """The most that is known to have been in the log, if that is more than the copy has."""
    known = [open_signed_checkpoint(note, genesis.checkpoint_keys).checkpoint for note in demands.known]
    found = [Signed(checkpoint.size, checkpoint.root.hex()) for checkpoint in known]
    with contextlib.suppress(OSError, UnreadableMemoryError):
        memory = recall(folder, genesis.origin, identity(copy).genesis)
        found += [Signed(*prefix) for prefix in memory.roots()] if memory is not None else []
    return max((signed for signed in found if signed.size > copy.size()), default=None)


def _configure(copy: LogSource, path: str, signers: Signers | None) -> None:
    """Say who signs the log at `path`. Raises NoConfigError where nobody says it, StorageError."""
    if signers is None:
        change_config(copy, expect_state)
        return
    which, given = identity(copy), signers

    def with_them(there: LogConfig | None) -> LogConfig:
        return expect_state(new_config(which, path, given, there))

    replace_config(copy, with_them)


def _size_there(name: LogName) -> int:
    try:
        return open_source(name).size()
    except NotFoundError:
        return 0


def _fetch(client: ReplicaClient, made: Building, size: int, progress: Progress) -> Genesis:
    """The lines, as they are. Memory: one response at a time."""
    lines, number = _lines(client, size), 0
    first = next(lines, None)
    if first is None:
        raise StorageError(f"{client.url} sent 0 of {size} entries", path=client.url)
    genesis = _genesis(client, first)

    def counted() -> Iterator[bytes]:
        nonlocal number
        for line in chain([first], lines):
            yield line
            number += 1
            if number % _PROGRESS_ENTRIES == 0:
                progress(number, size)

    made.add_lines(counted(), genesis.settings.segment_entries)
    if number < size:
        raise StorageError(f"{client.url} sent {number} of {size} entries", path=client.url)
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


def _check(made: str, genesis: Genesis, demands: RestoreDemands) -> bool:
    """Whether the copy is behind what is remembered or known. Raises unless it may take the log's place."""
    report = judge_log(made, trust=demands.trust, state_dir=demands.state_dir)
    if any(finding.verdict not in {Verdict.VERIFIED, *BEHIND} for finding in report.findings):
        raise VerificationError(
            f"the replica's copy is {report.verdict}: {report.findings[0].message}", report=report
        )
    behind = _first_behind(report)
    _check_not_behind(behind, made, demands)  # before opening it: its checkpoint may cover more than it has
    _build_tree(made)
    if "erasure.unfinished" in report.finding_counts:
        _finish_erasures(made)
    for note in demands.known:
        behind = behind or _beyond(made, genesis, note)
    behind = behind or _behind_signed(made, demands)
    _check_not_behind(behind, made, demands)
    return bool(behind)


def _behind_signed(made: str, demands: RestoreDemands) -> str:
    """Why it lacks what this machine signed itself; empty if it has that. Raises RollbackError for others."""
    copy = open_source(made)
    remembered = remember(identity(copy), None, demands.state_dir)
    store = open_store(made)
    try:
        remembered.compare_before(copy)
        with store.exclusive() as head:
            remembered.compare_signed(store, head)
    except RollbackError as error:
        if error.found is not None:
            raise
        return error.message
    finally:
        store.close()
        remembered.close()
    return ""


def _check_not_behind(behind: str, made: str, demands: RestoreDemands) -> None:
    if behind and not demands.is_forced:
        raise ConflictError(f"the replica's copy is behind: {behind}", path=made)


def _first_behind(report: Report) -> str:
    return next((finding.message for finding in report.findings if finding.verdict in BEHIND), "")


def _build_tree(made: str) -> None:
    """Opening makes the tree from the entries."""
    open_store(made).close()


def _finish_erasures(made: str) -> None:
    """What the log says is erased, the replica still held: so it is erased here. The copy was verified."""
    store = open_store(made)
    with closing(store), store.exclusive():
        for entry in filter(None, map(line_erases, store.source.lines())):
            store.begin_erasure(entry)
            store.finish_erasure()


def _beyond(made: str, genesis: Genesis, note: bytes) -> str:
    """Why a known checkpoint is not covered; empty if it is. Raises VerificationError if it contradicts."""
    checkpoint = open_signed_checkpoint(note, genesis.checkpoint_keys).checkpoint
    copy = open_source(made)
    if checkpoint.size > copy.size():
        return f"a known checkpoint covers {checkpoint.size} entries, it has {copy.size()}"
    if edge_at(checkpoint.size, copy.hashes).root() != checkpoint.root:
        raise VerificationError(
            f"a known checkpoint signs another root of the first {checkpoint.size} entries",
            expected=checkpoint.root.hex(),
        )
    return ""
