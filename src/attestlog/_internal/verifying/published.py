"""The verifier of a published log: checkpoint, tiles and entry bundles, in a folder or at a URL.

    report = verify_published("https://example.com/log", trust=[vkey])

It trusts no server. Nothing it reads is used before it led to the root of a
checkpoint that the log's key signed. What it holds against what was seen
before are two things: that the published tree still begins with the remembered
one, and that it did not become shorter. Entries' contents are not published,
so it says nothing of them; `verify_log` does.

"Could not be read" ends it as UNKNOWN; a file that is missing, or is not what
the checkpoint calls for, is a finding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from attestlog._internal.core.checkpoint import Checkpoint, parse_checkpoint
from attestlog._internal.core.cosignature import check_every_type, open_signed_checkpoint
from attestlog._internal.core.merkle import TILE_WIDTH, prove_root
from attestlog._internal.core.note import VerifierKey, format_vkey, parse_note, parse_vkey
from attestlog._internal.core.report import Finding, Report, Verdict
from attestlog._internal.core.tiles import (
    Bundle,
    Tile,
    TrustedTiles,
    decode_bundle,
    plan_tiles,
    tile_width,
    verify_bundle,
)
from attestlog._internal.core.trust import TrustPolicy
from attestlog._internal.judging.findings import finding
from attestlog._internal.judging.source import Source, reason
from attestlog._internal.storage.published import Place, PublishedReader, open_published
from attestlog._internal.verifying import memory as memories
from attestlog._internal.verifying.memory import Memory, UnreadableMemoryError
from attestlog._internal.verifying.trust import load_held, parse_trust
from attestlog._internal.verifying.witnessed import Policy, judge_witnesses, load_policy
from attestlog.errors import (
    HashMismatchError,
    MalformedCheckpointError,
    MalformedNoteError,
    MalformedTileError,
    NotFoundError,
    SignatureInvalidError,
    StorageError,
    TrustError,
)

Progress = Callable[[int, int], None]

BAD_TILES_MAX: Final = 1_000
"""Tiles missing or wrong before the rest is not asked for: a size that was made up has no end."""


def verify_published(
    subject: str | Path,
    *,
    trust: Iterable[str | Path] = (),
    policy: Policy = None,
    held: Source | None = None,
    remember: bool = True,
    state_dir: str | Path | None = None,
    full: bool = False,
    progress: Progress | None = None,
    on_finding: Callable[[Finding], None] | None = None,
) -> Report:
    """Verify the published log in a folder or at a URL. What is found is in the report; none of it is raised.

    `trust`: verifier keys of the log, or its genesis hash. A log that was verified before is known by the
    keys that were remembered then; without either nobody can say who signed it, and the verdict is UNKNOWN.
    `held`: a checkpoint of the log that the caller kept: what is published must begin with what it covers.
    `policy`: a C2SP tlog-policy: its logs are trusted as well, its quorum must have cosigned the checkpoint.
    `full`: read every tile and entry bundle, not only what the checkpoint and the memory need.
    `remember`, `state_dir`, `on_finding`: as for `verify_log`. `progress`: (entries done, entries in all).

    Raises MalformedConfigError for a URL that is neither https: nor on this machine, and for `trust` what
    `parse_trust` raises.
    """
    begun = time.monotonic()
    report = Report(subject=str(subject), format="published")
    witnesses = load_policy(policy)
    trusted = [*parse_trust(trust), *(format_vkey(log.key) for log in witnesses.logs)]
    with open_published(subject) as reader:
        verification = _Verification(reader, report, trusted, witnesses, on_finding, held=load_held(held))
        if remember:
            verification.use_memory(state_dir)
        verification.run(full=full, progress=progress or (lambda _done, _total: None))
    report.duration_s = time.monotonic() - begun
    return report


class _UnreadableError(Exception):
    """It could not be looked at: nothing more is asked for."""


class _Verification:
    def __init__(
        self,
        reader: PublishedReader,
        report: Report,
        trusted: list[str],
        policy: TrustPolicy,
        on_finding: Callable[[Finding], None] | None,
        *,
        held: Checkpoint | None,
    ) -> None:
        self._reader, self._report, self._trusted, self._policy = reader, report, trusted, policy
        self._held, self._on_finding = held, on_finding
        self._state_dir: Path | None = None
        self._is_signed = False

    def use_memory(self, state_dir: str | Path | None) -> None:
        """Remember in this directory, or the user's own."""
        try:
            self._state_dir = Path(state_dir) if state_dir is not None else memories.default_state_dir()
        except RuntimeError as error:
            self._find("memory.not_saved", f"nowhere to remember: {error}")

    def run(self, *, full: bool, progress: Progress) -> None:
        """All of it."""
        note = self._read_checkpoint()
        checkpoint = self._parse(note) if note is not None else None
        if note is None or checkpoint is None:
            return
        memory, is_comparable = self._recall(checkpoint.origin)
        self._check_signatures(note, checkpoint, memory)
        tiles = TrustedTiles(checkpoint.size, checkpoint.root, self._reader.read)
        try:
            if not self._check_edge(tiles):
                return
            genesis_hash = self._check_ends(tiles)
            if memory is not None:
                self._compare(checkpoint, tiles, memory)
            if self._held is not None:
                self._compare_held(checkpoint, tiles, self._held)
            # A size that nobody is known to have signed is not worth reading for.
            if full and self._is_signed:
                self._check_all(tiles, progress)
        except _UnreadableError:
            return
        if not full or not self._is_signed:
            self._find("published.partly_read", "not every tile and entry bundle was read")
        self._check_trust()
        if is_comparable and genesis_hash is not None:
            self._remember(checkpoint, note, genesis_hash, memory)

    # --- the checkpoint ---

    def _read_checkpoint(self) -> bytes | None:
        try:
            return self._reader.checkpoint()
        except NotFoundError as error:
            self._find("log.missing", f"no log is published there: {error}")
        except MalformedTileError as error:
            self._find("published.not_a_log", str(error))
        except StorageError as error:
            self._find("log.unreadable", str(error))
        return None

    def _parse(self, note: bytes) -> Checkpoint | None:
        try:
            checkpoint = parse_checkpoint(parse_note(note).text)
        except (MalformedNoteError, MalformedCheckpointError) as error:
            self._find("published.not_a_log", f"checkpoint: {error}")
            return None
        report = self._report
        report.origin, report.size = checkpoint.origin, checkpoint.size
        report.root = checkpoint.root.hex()
        return checkpoint

    def _check_signatures(self, note: bytes, checkpoint: Checkpoint, memory: Memory | None) -> None:
        """Whether keys that are known signed it: those asked for, and those remembered."""
        asked = [parse_vkey(item) for item in self._trusted if "+" in item]
        remembered = [parse_vkey(item) for item in memory.checkpoint_keys] if memory is not None else []
        keys = [key for key in dict.fromkeys([*asked, *remembered]) if key.name == checkpoint.origin]
        if not keys:
            code = "trust.mismatch" if asked else "published.key_unknown"
            what = (
                f"no verifier key of {checkpoint.origin} is known: who signed its checkpoint cannot be told"
            )
            self._find(code, what, expected=[format_vkey(key) for key in asked] or None)
            return
        try:
            signed = open_signed_checkpoint(note, keys)
        except SignatureInvalidError as error:
            self._find("checkpoint.signature", f"checkpoint: {error}")
            return
        except TrustError as error:
            code = "trust.mismatch" if asked else "checkpoint.signature"
            self._find(code, f"checkpoint: {error}", expected=[format_vkey(key) for key in keys])
            return
        for found in judge_witnesses(note, keys, self._policy, self._report):
            self._report.add(found, self._on_finding)
        signers = {line.key for line in signed.signatures}
        self._report.trusted_by = [item for item in self._trusted if _named(item, signers)]
        try:
            check_every_type(list(signers), remembered)
        except TrustError as error:
            self._find("checkpoint.signature", str(error))
            return
        self._is_signed = True
        self._report.checkpoint_size = checkpoint.size

    # --- the tree ---

    def _check_edge(self, tiles: TrustedTiles) -> bool:
        return any(True for _ in self._tried(tiles.edge, "published.tile"))

    def _check_ends(self, tiles: TrustedTiles) -> str | None:
        """The genesis hash and the head's: the first and the last entry's."""
        if not tiles.size:
            return None
        first = self._bundle(tiles, 0)
        last = self._bundle(tiles, (tiles.size - 1) // TILE_WIDTH)
        self._report.genesis_hash = first[0].hex() if first else None
        self._report.head_hash = last[-1].hex() if last else None
        return self._report.genesis_hash

    def _check_all(self, tiles: TrustedTiles, progress: Progress) -> None:
        """Every tile and bundle, from the top, so that what hangs on a bad tile is not reported too."""
        bad: set[tuple[int, int]] = set()
        for group in self._reader.each(_groups(tiles.size)):
            tile = group[0]
            assert isinstance(tile, Tile)
            if (tile.level + 1, tile.index // TILE_WIDTH) in bad:
                bad.add((tile.level, tile.index))
            if len(bad) > BAD_TILES_MAX:
                self._find("published.partly_read", f"{len(bad)} tiles are bad: the rest was not asked for")
                return
            if (tile.level, tile.index) in bad:
                continue
            found = list(self._tried(lambda tile=tile: tiles.tile(tile.level, tile.index), "published.tile"))  # type: ignore[misc]
            if not found:
                bad.add((tile.level, tile.index))
            elif tile.level == 0:
                self._bundle(tiles, tile.index)
                progress(tile.index * TILE_WIDTH + tile.width, tiles.size)

    def _bundle(self, tiles: TrustedTiles, index: int) -> list[bytes] | None:
        """The entry_hashes of one bundle, each held against its leaf; None if they are not to be had."""

        def read() -> list[bytes]:
            leaves = tiles.tile(0, index)
            place = Bundle(index, tile_width(0, index, tiles.size))
            entry_hashes = decode_bundle(self._reader.read(place), place.width)
            verify_bundle(entry_hashes, leaves, index * TILE_WIDTH)
            return entry_hashes

        return next(self._tried(read, "published.bundle"), None)

    def _tried(self, read: Callable[[], Any], code: str) -> Iterator[Any]:
        """What it returns; nothing where it is found wrong or missing. Raises _UnreadableError."""
        try:
            yield read()
        except HashMismatchError as error:
            self._find(code, str(error), error.sequence_number, expected=error.expected, found=error.found)
        except MalformedTileError as error:
            self._find(code, str(error), expected=error.expected, found=error.found)
        except NotFoundError as error:
            self._find("published.missing", str(error))
        except StorageError as error:
            self._find("log.unreadable", str(error))
            raise _UnreadableError from error

    # --- memory and trust ---

    def _recall(self, origin: str) -> tuple[Memory | None, bool]:
        """What is remembered of this origin; and whether that, be it nothing, is to be relied on."""
        if self._state_dir is None:
            return None, False
        try:
            return memories.recall(self._state_dir, origin), True
        except UnreadableMemoryError as error:
            self._find("memory.unreadable", f"what is remembered cannot be read: {error}")
        except OSError as error:
            self._find("memory.not_saved", f"{self._state_dir} cannot be looked into: {reason(error)}")
        return None, False

    def _compare(self, checkpoint: Checkpoint, tiles: TrustedTiles, memory: Memory) -> None:
        """Whether what is published still begins with what is remembered."""
        genesis_hash = self._report.genesis_hash
        if genesis_hash is not None and memory.genesis_hash != genesis_hash:
            what = "another log of this origin is remembered"
            self._find("memory.genesis", what, 0, expected=memory.genesis_hash, found=genesis_hash)
            return
        if checkpoint.size < memory.checkpoint_size:
            what = (
                f"checkpoint over {checkpoint.size} entries, one over {memory.checkpoint_size} is remembered"
            )
            self._find("checkpoint.older", what, expected=memory.checkpoint_size, found=checkpoint.size)
        # What is remembered may lie beyond the last checkpoint, and so beyond what can be published yet.
        for size, root in memory.roots():
            if size <= checkpoint.size:
                self._compare_root(tiles, size, root)

    def _compare_root(self, tiles: TrustedTiles, size: int, root: str) -> None:
        for proved in self._tried(lambda: prove_root(size, tiles.hashes), "published.tile"):
            if proved.hex() == root:
                self._report.remembered_size = max(size, self._report.remembered_size or 0)
            else:
                what = f"the root of the first {size} entries is not the one remembered"
                self._find("memory.root", what, expected=root, found=proved.hex())

    def _compare_held(self, checkpoint: Checkpoint, tiles: TrustedTiles, held: Checkpoint) -> None:
        """Whether what is published begins with what the caller's checkpoint covers."""
        if held.origin != checkpoint.origin:
            what = f"the checkpoint held is of {held.origin}"
            self._find("held.origin", what, expected=held.origin, found=checkpoint.origin)
            return
        if held.size > checkpoint.size:
            what = f"the checkpoint held covers {held.size} entries, {checkpoint.size} are published"
            self._find("held.ahead", what, expected=held.size, found=checkpoint.size)
            return
        for proved in self._tried(lambda: prove_root(held.size, tiles.hashes), "published.tile"):
            if proved == held.root:
                self._report.held_size = held.size
            else:
                what = f"the root of the first {held.size} entries is not the one of the checkpoint held"
                self._find("held.root", what, expected=held.root.hex(), found=proved.hex())

    def _check_trust(self) -> None:
        report = self._report
        report.trusted_by += [item for item in self._trusted if item == report.genesis_hash]
        if self._trusted and not report.trusted_by and report.verdict == Verdict.VERIFIED:
            what = "none of the keys or hashes asked for vouches for this log"
            self._find("trust.mismatch", what, expected=self._trusted, found=report.genesis_hash)
        if report.held_size is not None:
            report.trusted_by.append(f"the checkpoint held over {report.held_size} entries")

    def _remember(self, checkpoint: Checkpoint, note: bytes, genesis_hash: str, known: Memory | None) -> None:
        if self._state_dir is None or not self._is_signed or self._report.verdict != Verdict.VERIFIED:
            return
        keys = [item for item in self._report.trusted_by if "+" in item]
        memory = Memory(
            origin=checkpoint.origin,
            genesis_hash=genesis_hash,
            size=checkpoint.size,
            root=checkpoint.root.hex(),
            checkpoint=note.decode(),
            checkpoint_size=checkpoint.size,
            checkpoint_keys=list(dict.fromkeys([*(known.checkpoint_keys if known else ()), *keys])),
            entries_verified=known.resumable if known is not None else 0,
            changes=known.changes if known is not None else [],
        )
        failure = memories.keep(self._state_dir, memory)
        if failure is not None:
            self._report.add(failure, self._on_finding)

    def _find(
        self, code: str, message: str, number: int | None = None, *, expected: Any = None, found: Any = None
    ) -> None:
        self._report.add(finding(code, message, number, expected=expected, found=found), self._on_finding)


def _groups(size: int) -> Iterator[tuple[Place, ...]]:
    """Each tile, with the bundle of its entries where it is of level 0."""
    for tile in plan_tiles(0, size):
        yield (tile, Bundle(tile.index, tile.width)) if tile.level == 0 else (tile,)


def _named(item: str, keys: Iterable[VerifierKey]) -> bool:
    return any(format_vkey(key) == item for key in keys)
