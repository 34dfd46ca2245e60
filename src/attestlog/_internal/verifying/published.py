"""The verifier of a published log: checkpoint, tiles and entry bundles, in a folder or at a URL.

    report = judge_published("https://example.com/log", trust=[vkey])

It trusts no server. Nothing it reads is used before it led to the root of a
checkpoint that the log's key signed. It compares two things with what was seen
before: the published tree must still begin with the remembered one, and must
not have become shorter. The contents of entries are not published, so it says
nothing of them; `judge_log` does.

A file that cannot be read ends it as UNKNOWN; one that is missing, or is not
what the checkpoint calls for, is a finding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from attestlog._internal.core.checkpoint import Checkpoint, parse_checkpoint
from attestlog._internal.core.cosignature import check_every_type, open_signed_checkpoint
from attestlog._internal.core.merkle import TILE_WIDTH, prove_root
from attestlog._internal.core.note import format_vkey, parse_note, parse_vkey
from attestlog._internal.core.report import Finding, Progress, Report, Verdict
from attestlog._internal.core.tiles import (
    Bundle,
    Tile,
    TrustedTiles,
    decode_bundle,
    plan_tiles,
    tile_width,
    verify_bundle,
)
from attestlog._internal.judging.findings import finding
from attestlog._internal.storage.published import Place, PublishedReader, open_published
from attestlog._internal.storage.resolve import is_url
from attestlog._internal.verifying.given import Given
from attestlog._internal.verifying.memory import Memory
from attestlog._internal.verifying.session import (
    AnyTrustPolicy,
    Session,
    another_log,
    compare_age,
    held_of_another,
    judge_age,
    not_compared,
    replaced_log,
)
from attestlog.errors import (
    AttestlogError,
    HashMismatchError,
    MalformedCheckpointError,
    MalformedNoteError,
    MalformedTileError,
    NotFoundError,
    SignatureInvalidError,
    StorageError,
    TrustError,
)

BAD_TILES_MAX: Final = 1_000
"""Tiles missing or wrong, after which no more are read: a size that was made up has no end."""


def judge_published(
    subject: str | Path,
    *,
    trust: Iterable[str | Path] = (),
    trust_policy: AnyTrustPolicy = None,
    held: Given | None = None,
    remember: bool = True,
    state_dir: str | Path | None = None,
    full: bool = False,
    max_age_s: float | None = None,
    progress: Progress | None = None,
    on_finding: Callable[[Finding], None] | None = None,
) -> Report:
    """Judge the published log in a folder or at a URL. What is found is in the report, and is not raised.

    `trust`: verifier keys of the log, or its genesis hash. A log that was verified before is known by the
    keys that were remembered then. Without either, who signed it is not known, and the verdict is UNKNOWN.
    `held`: a checkpoint of the log that the caller kept: what is published must begin with what it covers.
    `trust_policy`: a C2SP tlog-policy: its logs are trusted too, and its quorum must have cosigned.
    `full`: read every tile and entry bundle, not only what the checkpoint and the memory need.
    `max_age_s`: how long ago, in seconds, the last cosignature may be at most.
    `remember`, `state_dir`, `on_finding`: as for `judge_log`. `progress`: (entries done, entries in all).

    Raises MalformedConfigError for a URL that is neither https: nor on this machine, and for `trust`,
    `trust_policy` and `held` what `Session` raises.
    """
    begun = time.monotonic()
    report = Report(subject=str(subject), format="published")
    session = Session(
        partial(report.add, on_finding=on_finding), trust=trust, trust_policy=trust_policy, held=held
    )
    with open_published(subject) as reader:
        if remember:
            session.use_memory(state_dir)
        _Verification(reader, report, session).run(
            full=full, max_age_s=max_age_s, progress=progress or (lambda _done, _total: None)
        )
    report.duration_s = time.monotonic() - begun
    return report


class _UnreadableError(Exception):
    """A file cannot be read: nothing more is asked for."""


class _Verification:
    def __init__(self, reader: PublishedReader, report: Report, session: Session) -> None:
        self._reader, self._report, self._session = reader, report, session
        self._find = session.find
        self._signers: list[str] = []
        """vkeys that signed the checkpoint, among those known."""
        self._is_signed = False
        subject = report.subject
        self._place = subject if is_url(subject) else str(Path(subject).absolute())
        self._seen: Memory | None = None
        """What was remembered under the log's name."""

    def run(self, *, full: bool, max_age_s: float | None, progress: Progress) -> None:
        """All of it."""
        note = self._read_checkpoint()
        checkpoint = self._parse(note) if note is not None else None
        if note is None or checkpoint is None:
            return
        memory = next(iter(self._session.recall_signers(parse_note(note), checkpoint.origin)), None)
        self._seen = memory
        self._check_signatures(note, checkpoint, memory)
        tiles = TrustedTiles(checkpoint.size, checkpoint.root, self._reader.read)
        try:
            if not self._check_edge(tiles):
                return
            genesis_hash = self._check_ends(tiles)
            if memory is not None and genesis_hash not in {None, memory.genesis_hash}:
                memory, _ = self._session.recall(checkpoint.origin, genesis_hash)
                self._seen = memory
            if genesis_hash is not None:
                self._session.compare_place(self._place, checkpoint.origin, genesis_hash)
            if memory is not None:
                memory = self._compare(checkpoint, tiles, memory)
            if self._session.held is not None:
                self._compare_held(checkpoint, tiles, self._session.held)
            # A size that no known key signed is not worth reading for.
            if full and self._is_signed:
                self._check_all(tiles, progress)
        except _UnreadableError:
            return
        if not full or not self._is_signed:
            self._find("published.partly_read", "not every tile and entry bundle was read")
        self._check_trust()
        self._session.add_all(judge_age(self._report, max_age_s))
        if genesis_hash is not None:
            self._remember(checkpoint, note, genesis_hash, memory)

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
        """Who of those whose keys are known signed it: keys asked for, and keys remembered."""
        asked = [parse_vkey(item) for item in self._session.trusted if "+" in item]
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
        self._session.judge_witnesses(note, keys, self._report)
        signers = [line.key for line in signed.signatures]
        self._signers = [format_vkey(key) for key in signers]
        self._session.credit(self._report, self._signers)
        # A key that was given signed it: what is remembered, and nobody vouched for, may be another log's.
        is_another = not set(remembered).intersection(signers) and memory and not memory.trusted_by
        try:
            check_every_type(signers, [] if is_another else remembered)
        except TrustError as error:
            self._find("checkpoint.signature", str(error))
            return
        self._is_signed = True
        self._report.checkpoint_size = checkpoint.size

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

    def _compare(self, checkpoint: Checkpoint, tiles: TrustedTiles, memory: Memory) -> Memory | None:
        """Whether what is published still begins with what is remembered; what is, of this log."""
        genesis_hash = self._report.genesis_hash
        if genesis_hash is not None and memory.genesis_hash != genesis_hash:
            is_replaced = self._vouched(genesis_hash) and not memory.trusted_by
            self._session.add((replaced_log if is_replaced else another_log)(memory, genesis_hash))
            return None
        self._session.add_all(compare_age(checkpoint, memory))
        # What is remembered may lie beyond the last checkpoint, and so beyond what can be published yet.
        for size, root in memory.roots():
            if size <= checkpoint.size:
                self._compare_root(tiles, size, root)
        return memory

    def _vouched(self, genesis_hash: str) -> list[str]:
        """What the caller gave that vouches for the log."""
        return [item for item in self._session.trusted if item in {*self._signers, genesis_hash}]

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
            self._session.add(held_of_another(held, checkpoint.origin))
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
        hashes = [report.genesis_hash] if report.genesis_hash is not None else []
        # If something else is wrong, such as an unknown signer, that is why none vouches.
        is_vouched = self._session.credit(report, [*self._signers, *hashes])
        if not is_vouched and report.verdict == Verdict.VERIFIED:
            what = "none of the keys or hashes asked for vouches for this log"
            self._find("trust.mismatch", what, expected=self._session.trusted, found=report.genesis_hash)

    def _remember(self, checkpoint: Checkpoint, note: bytes, genesis_hash: str, known: Memory | None) -> None:
        if not self._is_signed or self._report.verdict != Verdict.VERIFIED:
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
            trusted_by=self._vouched(genesis_hash),
            changes=known.changes if known is not None else [],
        )
        compare = partial(self._compare_meanwhile, checkpoint, genesis_hash)
        self._session.remember(memory, self._place, self._seen, compare)

    def _compare_meanwhile(
        self, checkpoint: Checkpoint, genesis_hash: str, known: Memory
    ) -> Iterator[Finding]:
        """Findings about what another verification remembered under the log's name while this one ran."""
        if known.genesis_hash != genesis_hash:
            yield another_log(known, genesis_hash)
            return
        tiles = TrustedTiles(checkpoint.size, checkpoint.root, self._reader.read)
        for size, root in known.roots():
            try:
                if size > checkpoint.size:
                    yield not_compared(known)
                elif prove_root(size, tiles.hashes).hex() != root:
                    what = f"the root of the first {size} entries is not the one remembered meanwhile"
                    yield finding("memory.root", what, expected=root)
            except (AttestlogError, OSError):
                yield not_compared(known)


def _groups(size: int) -> Iterator[tuple[Place, ...]]:
    """Each tile, with the bundle of its entries where it is of level 0."""
    for tile in plan_tiles(0, size):
        yield (tile, Bundle(tile.index, tile.width)) if tile.level == 0 else (tile,)
