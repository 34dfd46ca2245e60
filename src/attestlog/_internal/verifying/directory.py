"""The steps of verifying a log's directory, in order. The package says what is promised."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from attestlog._internal.core.batch import CLOCK_TOLERANCE_S
from attestlog._internal.core.checkpoint import Checkpoint
from attestlog._internal.core.entry import Entry, decode_line, entry_hash, format_timestamp
from attestlog._internal.core.genesis import Genesis, parse_genesis
from attestlog._internal.core.merkle import Span
from attestlog._internal.core.note import format_vkey
from attestlog._internal.core.report import Finding, Report, Verdict
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.signature import BATCH_SUFFIX
from attestlog._internal.core.trust import TrustPolicy
from attestlog._internal.judging.findings import finding
from attestlog._internal.judging.keys import find_doubtful, tell_terms, vouching_keys
from attestlog._internal.judging.relations import find_ids
from attestlog._internal.judging.scan import Scanned, State, scan_ahead
from attestlog._internal.judging.source import (
    Chunk,
    Snapshot,
    Source,
    chunk_size,
    cut_chunks,
    first_line,
    line_offset,
    reason,
    take_snapshot,
)
from attestlog._internal.proof_types import registered_proofs
from attestlog._internal.storage.files import layout
from attestlog._internal.verifying import memory as memories
from attestlog._internal.verifying.beside import (
    Segments,
    SignedCheckpoint,
    check_checkpoint,
    check_config,
    check_segments,
)
from attestlog._internal.verifying.conclude import (
    compare_checkpoint,
    compare_held,
    compare_memory,
    compare_tree,
)
from attestlog._internal.verifying.memory import Memory, UnreadableMemoryError
from attestlog._internal.verifying.stored import StoredTree
from attestlog._internal.verifying.timestamps import Stamps, latest, vouched_before_revocation
from attestlog._internal.verifying.trust import load_held, parse_trust
from attestlog._internal.verifying.walk import Walk
from attestlog._internal.verifying.witnessed import Policy, judge_witnesses, load_policy
from attestlog._internal.verifying.workers import available, map_ordered
from attestlog.errors import MalformedEntryError, QueryError

PARALLEL_MIN_BYTES: Final = 8 << 20
"""Below it, starting processes takes longer than they save."""

_SOUND: Final = (Verdict.VERIFIED, Verdict.INCOMPLETE)

Progress = Callable[[int, int], None]


def verify_log(
    path: str | Path,
    *,
    trust: Iterable[str | Path] = (),
    policy: Policy = None,
    held: Source | None = None,
    remember: bool = True,
    state_dir: str | Path | None = None,
    tsa_roots: Iterable[str | Path] = (),
    start: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
    on_finding: Callable[[Finding], None] | None = None,
) -> Report:
    """Verify the log in the directory `path`. What is found is in the report; none of it is raised.

    `trust`: keys or hashes of which one must vouch for the log (see `audit.trust`).
    `policy`: a C2SP tlog-policy: its logs are trusted as well, its quorum must have cosigned the checkpoint.
    `held`: a checkpoint of the log that the caller kept: the log must begin with what it covers.
    `remember`: compare with what earlier verifications remembered in `state_dir`
    (by default the user's), and remember this one; False leaves both alone.
    `tsa_roots`: files of PEM certificates: time stamps by authorities under these count.
    `start`: read entries from this one on only; those before must be remembered.
    `workers`: processes to use; by default one a processor, and none for a small log.
    `progress` is called with (bytes done, bytes in all).

    Raises QueryError if `start` cannot be asked for, and for `trust`, `policy` and `held` what `parse_trust`,
    `load_policy` and `load_held` raise.
    """
    begun = time.monotonic()
    if start < 0 or (start and not remember):
        raise QueryError(f"cannot start at entry {start} without what is remembered of those before")
    report = Report(subject=str(path))
    witnesses = load_policy(policy)
    options = _Options(
        [*parse_trust(trust), *(format_vkey(log.key) for log in witnesses.logs)],
        witnesses,
        load_held(held),
        start,
        available() if workers is None else workers,
        progress or (lambda _done, _total: None),
        Stamps(Path(path), tsa_roots),
    )
    with ExitStack() as stack:
        verification = _Verification(Path(path), report, options, on_finding, stack)
        if remember:
            verification.use_memory(state_dir)
        verification.run()
    report.duration_s = time.monotonic() - begun
    return report


class _Options(NamedTuple):
    trusted: list[str]
    policy: TrustPolicy
    held: Checkpoint | None
    start: int
    workers: int
    progress: Progress
    stamps: Stamps


class _Log(NamedTuple):
    """What entry 0 says, and the bytes to judge by it."""

    line: bytes
    entry: Entry
    genesis: Genesis
    genesis_hash: str
    snapshot: Snapshot
    segments: Segments
    stored: StoredTree


class _Verification:
    def __init__(
        self,
        path: Path,
        report: Report,
        options: _Options,
        on_finding: Callable[[Finding], None] | None,
        stack: ExitStack,
    ) -> None:
        self._path, self._report, self._options = path, report, options
        self._on_finding, self._stack = on_finding, stack
        self._state_dir: Path | None = None

    def use_memory(self, state_dir: str | Path | None) -> None:
        """Remember in this directory, or the user's own."""
        try:
            self._state_dir = Path(state_dir) if state_dir is not None else memories.default_state_dir()
        except RuntimeError as error:
            self._find("memory.not_saved", f"nowhere to remember: {error}")

    def run(self) -> None:
        """All of it."""
        snapshot = self._look()
        log = snapshot and self._read_genesis(snapshot)
        if not log:
            return
        if layout.CONFIG_FILE in log.snapshot.files:
            self._add_all(check_config(log.snapshot.files[layout.CONFIG_FILE], log.genesis))
        checkpoint = self._check_checkpoint(log)
        memory, is_comparable = self._recall(log)
        walk = self._begin(log, checkpoint, memory) if is_comparable or not self._options.start else None
        if walk is None:
            return
        start = walk.position
        self._read_entries(log, walk)
        self._conclude(log, walk, checkpoint, memory)
        self._check_trust(log, walk, checkpoint, start)
        self._remember(log, walk, checkpoint)

    # --- before the entries ---

    def _look(self) -> Snapshot | None:
        try:
            if not self._path.is_dir():
                os.stat(self._path)  # noqa: PTH116 - for its error
                self._find("log.not_a_log", f"{self._path} is not a directory")
                return None
        except FileNotFoundError:
            self._find("log.missing", f"there is nothing at {self._path}")
            return None
        except OSError as error:
            self._find("log.unreadable", f"{self._path} cannot be read: {reason(error)}")
            return None
        try:
            snapshot = take_snapshot(self._path)
        except (FileNotFoundError, NotADirectoryError):
            self._find("log.not_a_log", f"{self._path} has no directory {layout.ENTRIES_DIR}")
            return None
        except OSError as error:
            self._find("log.unreadable", f"{self._path} cannot be read: {reason(error)}")
            return None
        for name, why in snapshot.unreadable:
            self._find("log.unreadable", f"{name} cannot be read: {why}")
        if snapshot.waited_in_vain:
            self._find("log.busy", "the log stayed locked; it was looked at without waiting longer")
        return snapshot

    def _read_genesis(self, snapshot: Snapshot) -> _Log | None:
        segments = snapshot.segments
        try:
            line = first_line(segments[0]) if segments and segments[0].first == 0 else b""
            entry = decode_line(line)
            genesis = parse_genesis(entry)
            digest = entry_hash(entry)
        except (MalformedEntryError, RecursionError) as error:
            self._find("log.no_genesis", f"entry 0 is not a genesis entry: {error}")
            return None
        except OSError as error:
            self._find("log.unreadable", f"entries cannot be read: {reason(error)}", 0)
            return None
        if entry.signature_algorithm.endswith(BATCH_SUFFIX):
            self._find(
                "entry.batch", "the genesis entry is not signed alone", 0, found=entry.signature_algorithm
            )
        findings: list[Finding] = []
        checked = check_segments(snapshot, genesis.settings.segment_entries, findings)
        self._add_all(findings)
        stored = StoredTree(self._path, snapshot.tree, self._stack)
        self._report.origin, self._report.genesis_hash = genesis.origin, digest
        return _Log(line, entry, genesis, digest, snapshot, checked, stored)

    def _check_checkpoint(self, log: _Log) -> SignedCheckpoint | None:
        if layout.CHECKPOINT_FILE not in log.snapshot.files:
            return None
        findings: list[Finding] = []
        signed = check_checkpoint(log.snapshot.files[layout.CHECKPOINT_FILE], log.genesis, findings)
        if signed is not None:
            note = signed.text.encode()
            findings += judge_witnesses(note, log.genesis.checkpoint_keys, self._options.policy, self._report)
        self._add_all(findings)
        return signed

    def _recall(self, log: _Log) -> tuple[Memory | None, bool]:
        """What is remembered of this log; and whether that, be it nothing, is to be relied on."""
        if self._state_dir is None:
            return None, True
        try:
            memory = memories.recall(self._state_dir, log.genesis.origin)
        except UnreadableMemoryError as error:
            self._find("memory.unreadable", f"what is remembered cannot be read: {error}")
            return None, False
        except OSError as error:
            self._find("memory.not_saved", f"{self._state_dir} cannot be looked into: {reason(error)}")
            self._state_dir = None
            return None, True
        if memory is None:
            return None, True
        if memory.genesis_hash != log.genesis_hash:
            self._find(
                "memory.genesis", "another log of this origin is remembered", 0,
                expected=memory.genesis_hash, found=log.genesis_hash,
            )  # fmt: skip
            return None, False
        if check_checkpoint(memory.checkpoint.encode(), log.genesis, []) is None:
            self._find("memory.unreadable", "the remembered checkpoint is not signed by the log's key")
            return None, False
        return memory, True

    # --- the entries ---

    def _begin(self, log: _Log, checkpoint: SignedCheckpoint | None, memory: Memory | None) -> Walk | None:
        held = self._options.held
        sizes = {checkpoint and checkpoint.checkpoint.size, memory and memory.size, held and held.size}
        stops = {size for size in sizes if size}
        start, remembered = self._options.start, memory.resumable if memory is not None else 0
        if start > remembered:
            raise QueryError(f"cannot start at entry {start}: {remembered} entries are remembered")
        # The first entry read is a remembered one, so that what it links to is remembered with it.
        start = min(start, remembered - 1, *stops) if start else 0
        state, edge, rules, changes = State(), Span(), Rules.of(log.genesis), list[bytes]()
        if start:
            if memory is None or memory.changes is None:
                raise QueryError(f"cannot start at entry {start}: what changed the rules before is not kept")
            rules, changes = rules.following(map(str.encode, memory.changes), stop=start)
            stored_edge = log.stored.edge(start)
            if stored_edge is None:
                self._find("resume.tree", f"the stored tree does not reach to entry {start}", start)
                return None
            state, edge = State(position=start, previous=None), stored_edge
        return Walk(
            rules, state, edge,
            stops=stops | {size for size in self._options.stamps.sizes if size > start},
            stored=log.stored, gaps=log.segments.gaps, add=self._add, changes=changes,
            segment_entries=log.genesis.settings.segment_entries,
        )  # fmt: skip

    def _read_entries(self, log: _Log, walk: Walk) -> None:
        segment_entries = log.genesis.settings.segment_entries
        begin = walk.position
        segments = [item for item in log.segments.present if item.first + segment_entries > begin]
        offset = 0
        if segments and begin > segments[0].first:
            try:
                offset = line_offset(segments[0], begin - segments[0].first)
            except OSError as error:
                self._find("log.unreadable", f"entries cannot be read: {reason(error)}", begin)
                return
        total = sum(segment.size_bytes for segment in segments) - offset
        size = chunk_size(total, max(1, self._options.workers))
        chunks = list(cut_chunks(segments, size, offset))
        done = 0
        with closing(self._scan_ahead(walk, chunks, total)) as results:
            for chunk, ahead in zip(chunks, results, strict=True):
                walk.join(chunk, ahead)
                done += chunk.stop - chunk.start
                self._options.progress(done, total)
        self._relate(log, walk, chunks, total)

    def _scan_ahead(self, walk: Walk, chunks: list[Chunk], total: int) -> Generator[Scanned | None]:
        """What workers make of the chunks, in order; None for each that is to be scanned as it comes."""
        # What an application registered is known in this process only.
        if self._options.workers <= 1 or total < PARALLEL_MIN_BYTES or registered_proofs():
            yield from (None for _ in chunks)
            return

        def renew(item: tuple[Rules, Chunk]) -> tuple[Rules, Chunk]:
            return item if item[0] is walk.rules else (walk.rules, item[1])

        # Each with the rules known when it is handed out; where those changed before it, it is done again.
        items = ((walk.rules, chunk) for chunk in chunks)
        yield from map_ordered(scan_ahead, None, items, self._options.workers, renew)

    def _relate(self, log: _Log, walk: Walk, chunks: list[Chunk], total: int) -> None:
        def search(wanted: frozenset[str]) -> Iterator[set[str]]:
            if self._options.workers > 1 and total >= PARALLEL_MIN_BYTES:
                return map_ordered(find_ids, wanted, chunks, self._options.workers)
            return (find_ids(wanted, chunk) for chunk in chunks)

        relations = walk.relations
        if walk.is_whole:
            self._report.erased_payloads, findings = relations.erasures.settle(self._options.start)
            self._add_all(findings)
            self._add_all(relations.conduct.settle())
            self._add_all(relations.heads.settle(log.stored.leaf, self._options.start))
            # What stands before the start, or could not be read, may be what is depended on.
            if not self._options.start:
                self._add_all(relations.settle_dependencies(search))
        self._add_all(relations.unchecked_proofs())
        self._add_all(relations.unverified())

    # --- after the entries ---

    def _conclude(
        self, log: _Log, walk: Walk, checkpoint: SignedCheckpoint | None, memory: Memory | None
    ) -> None:
        signed = checkpoint.checkpoint.size if checkpoint is not None else 0
        remembered = max(memory.size if memory else 0, self._options.held.size if self._options.held else 0)
        last = log.segments.present[-1].first
        walk.finish(
            max(log.stored.size, signed, remembered), range(last, last + log.genesis.settings.segment_entries)
        )
        report = self._report
        report.size = walk.size if walk.edge is not None else walk.entries
        report.root = walk.edge.root().hex() if walk.edge is not None else None
        report.head_hash = walk.head_hash
        report.signing_keys = sorted(walk.key_ids)
        if walk.timestamp > format_timestamp(int((time.time() + CLOCK_TOLERANCE_S) * 1e6)):
            self._find("log.future", f"the last entry is dated {walk.timestamp}", found=walk.timestamp)
        self._add_all(compare_tree(log.stored, walk))
        if checkpoint is not None:
            self._add_all(compare_checkpoint(walk, checkpoint.checkpoint, memory, report))
        if memory is not None:
            self._add_all(compare_memory(walk, memory, report, is_resumed=self._options.start > 0))
        if self._options.held is not None:
            held, resumed = self._options.held, self._options.start > 0
            self._add_all(compare_held(walk, held, log.genesis.origin, report, is_resumed=resumed))
        stamps = self._options.stamps
        self._add_all(stamps.check(log.genesis.origin, walk.accounted, walk.roots.get))
        if stamp := latest(stamps.counting):
            report.timestamped_size, report.timestamped_at = stamp.size, stamp.time.isoformat()

    def _check_trust(self, log: _Log, walk: Walk, checkpoint: SignedCheckpoint | None, start: int) -> None:
        trusted, report = self._options.trusted, self._report
        vouching = {
            log.genesis_hash,
            *(checkpoint.signers if checkpoint is not None else ()),
            *vouching_keys(
                log.entry, log.genesis, log.genesis_hash, rules=walk.rules, signed=walk.key_ids, start=start
            ),
        }
        report.trusted_by = [item for item in trusted if item in vouching]
        if trusted and not report.trusted_by:
            # A key may have come in by a rotation that was not read.
            is_certain = walk.is_certain or all("+" in item for item in trusted)
            code, what = ("trust.mismatch", "this log") if is_certain else ("entry.unjudged", "what was read")
            self._find(
                code, f"none of the keys or hashes asked for vouches for {what}",
                expected=trusted, found=sorted(vouching),
            )  # fmt: skip
        if report.held_size is not None:
            report.trusted_by.append(f"the checkpoint held over {report.held_size} entries")
        self._add_all(tell_terms(walk.rules, report.trusted_by))
        is_cosigned = report.cosigned_by and "trust.quorum" not in report.finding_counts
        cosigned = report.checkpoint_size if is_cosigned else None
        stamped = vouched_before_revocation(walk.rules, walk.changes, self._options.stamps.counting)
        self._add_all(
            find_doubtful(
                walk.rules, report.size, remembered=max(report.remembered_size or 0, stamped),
                cosigned=cosigned or 0, trusted=report.trusted_by,
            )
        )  # fmt: skip

    def _remember(self, log: _Log, walk: Walk, checkpoint: SignedCheckpoint | None) -> None:
        if (
            self._state_dir is None
            or checkpoint is None
            or walk.edge is None
            or self._report.verdict not in _SOUND
        ):
            return
        memory = Memory(
            origin=log.genesis.origin,
            genesis_hash=log.genesis_hash,
            size=walk.size,
            root=walk.edge.root().hex(),
            checkpoint=checkpoint.text,
            checkpoint_size=checkpoint.checkpoint.size,
            checkpoint_keys=[format_vkey(key) for key in log.genesis.checkpoint_keys],
            changes=None if walk.changes is None else [line.decode() for line in walk.changes],
        )
        failure = memories.keep(self._state_dir, memory)
        if failure is not None:
            self._add(failure)

    def _find(
        self, code: str, message: str, number: int | None = None, *, expected: Any = None, found: Any = None
    ) -> None:
        self._add(finding(code, message, number, expected=expected, found=found))

    def _add_all(self, findings: Iterable[Finding]) -> None:
        for item in findings:
            self._add(item)

    def _add(self, item: Finding) -> None:
        self._report.add(item, self._on_finding)
