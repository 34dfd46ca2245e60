"""The verifier of a whole log: its entries, and everything beside them that must agree. Steps in order.

Where the log is kept is behind the port (`storage.contract`); how lines are
judged is in `judging`. Here the entries, read to their end, are held against
the genesis entry, the stored tree, the log's checkpoint, what is remembered,
the checkpoint held, time stamps, and whom the caller trusts. The package says
what is promised.

Where the log contradicts its own checkpoint it is TAMPERED: something in it
does not hold. FORKED is for what contradicts evidence from outside the log.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NamedTuple

import msgspec

from attestlog._internal.core.batch import CLOCK_TOLERANCE_S
from attestlog._internal.core.checkpoint import Checkpoint
from attestlog._internal.core.cosignature import check_every_type, open_signed_checkpoint
from attestlog._internal.core.entry import (
    Entry,
    canonical_hashes,
    decode_line,
    entry_hash,
    format_timestamp,
    parse_timestamp,
)
from attestlog._internal.core.genesis import Genesis, parse_genesis
from attestlog._internal.core.hashes import EMPTY_ROOT
from attestlog._internal.core.lines import Piece
from attestlog._internal.core.merkle import Span, prove_consistency, verify_consistency
from attestlog._internal.core.note import format_vkey
from attestlog._internal.core.report import Finding, Progress, Report, Verdict
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.signature import BATCH_SUFFIX
from attestlog._internal.core.uses import Use, search_start, uses_in
from attestlog._internal.judging.erasures import Looked, Wanted, look_in_piece
from attestlog._internal.judging.findings import finding
from attestlog._internal.judging.keys import find_doubtful, tell_terms, vouching_keys
from attestlog._internal.judging.relations import find_ids
from attestlog._internal.judging.scan import Scanned, State, scan_ahead
from attestlog._internal.judging.stored import StoredTree
from attestlog._internal.judging.walk import Ending, Known, Walk
from attestlog._internal.proof_types import registered_proofs
from attestlog._internal.storage.contract import LogSource, RawSegment, Snapshot, StoredTimestamp
from attestlog._internal.storage.resolve import LogName, anything_at, open_source
from attestlog._internal.verifying.accepting import open_accepting
from attestlog._internal.verifying.given import Given, reason
from attestlog._internal.verifying.memory import Memory
from attestlog._internal.verifying.session import (
    HELD_WORDS,
    AnyTrustPolicy,
    HeldIs,
    Session,
    another_log,
    compare_age,
    held_of_another,
    judge_age,
    not_compared,
    replaced_log,
)
from attestlog._internal.verifying.source import cut_last_batch, cut_pieces
from attestlog._internal.verifying.timestamps import (
    Stamp,
    judge_stamps,
    latest,
    load_authorities,
    stamp_sizes,
    vouched_before_revocation,
)
from attestlog._internal.verifying.workers import available, map_in_threads, map_ordered
from attestlog.errors import (
    AttestlogError,
    MalformedCheckpointError,
    MalformedEntryError,
    MalformedNoteError,
    MalformedSegmentError,
    MissingExtraError,
    NewerFormatError,
    NotFoundError,
    QueryError,
    SignatureInvalidError,
    StorageError,
    TooLargeError,
    TrustError,
)

if TYPE_CHECKING:
    from rfc3161_client import Verifier

PARALLEL_MIN_BYTES: Final = 8 << 20
"""Below it, starting processes takes longer than they save."""

_SOUND: Final = (Verdict.VERIFIED, Verdict.INCOMPLETE)


def judge_log(
    log: LogName | LogSource,
    *,
    trust: Iterable[str | Path] = (),
    trust_policy: AnyTrustPolicy = None,
    held: Given | Checkpoint | None = None,
    remember: bool = True,
    state_dir: str | Path | None = None,
    tsa_roots: Iterable[str | Path] = (),
    start: int = 0,
    workers: int | None = None,
    max_age_s: float | None = None,
    progress: Progress | None = None,
    on_finding: Callable[[Finding], None] | None = None,
) -> Report:
    """Judge a log, by its name or a source of it. What is found is in the report, and is not raised.

    `trust`: keys or hashes of which one must vouch for the log (see `session`).
    `trust_policy`: a C2SP tlog-policy: its logs are trusted too, and its quorum must have cosigned.
    `held`: a checkpoint of the log that the caller kept: the log must begin with what it covers. A
    `Checkpoint` says the same of what a later log continues.
    `remember`: compare with what earlier verifications remembered in `state_dir`
    (by default the user's), and remember this one; False leaves both alone.
    `tsa_roots`: files of PEM certificates: time stamps by authorities under these count.
    `start`: read entries from this one on only; those before must be remembered.
    `workers`: processes to use; by default one for each processor, and no further one for a small log.
    `max_age_s`: how long ago, in seconds, the last entry, a cosignature or a time stamp may be at most.
    `progress` is called with (bytes done, bytes in all).

    Raises QueryError if `start` cannot be asked for, MalformedConfigError for a URL that no log can be read
    from, and for `trust`, `trust_policy`, `held` and `tsa_roots` what `Session` and `load_authorities` raise.
    """
    begun = time.monotonic()
    if start < 0 or (start and not remember):
        raise QueryError(f"cannot start at entry {start} without what is remembered of those before")
    report = Report(subject=log.where if isinstance(log, LogSource) else str(log))
    session = Session(
        partial(report.add, on_finding=on_finding), trust=trust, trust_policy=trust_policy, held=held
    )
    options = Options(
        start,
        available() if workers is None else workers,
        progress or (lambda _done, _total: None),
        load_authorities(tsa_roots),
        max_age_s,
    )
    if remember:
        session.use_memory(state_dir)
    with ExitStack() as stack:
        seen = _look(log, session, stack)
        if seen is not None:
            _Verification(seen, report, session, options).run()
    report.duration_s = time.monotonic() - begun
    return report


class Options(NamedTuple):
    """How a log is to be read."""

    start: int
    workers: int
    progress: Progress
    authorities: Verifier | None
    """Of time stamps."""
    max_age_s: float | None = None


class _Seen(NamedTuple):
    """What there is of a log, at one moment."""

    source: LogSource
    stamps: list[StoredTimestamp]
    snapshot: Snapshot


def _look(log: LogName | LogSource, session: Session, stack: ExitStack) -> _Seen | None:
    try:
        source = open_source(log)
        # Before the rest: a stamp made meanwhile would be of a checkpoint that is not read.
        stamps = _list_stamps(source, session)
        return _Seen(source, stamps, stack.enter_context(source.snapshot()))
    except NotFoundError as error:
        is_there = isinstance(log, LogSource) or anything_at(log)
        session.find("log.not_a_log" if is_there else "log.missing", str(error))
    except (OSError, StorageError) as error:
        what = reason(error)  # a URL is long, and a finding is not: it is said once
        session.find("log.unreadable", what if str(log) in what else f"{log} cannot be read: {what}")
    return None


def _list_stamps(source: LogSource, session: Session) -> list[StoredTimestamp]:
    try:
        return source.timestamps()
    except StorageError as error:
        session.find("log.unreadable", str(error))
        return []


class _Log(NamedTuple):
    """What entry 0 says, and what to read by it."""

    entry: Entry
    genesis: Genesis
    genesis_hash: str
    segments: Segments
    stored: StoredTree


class _Verification:
    def __init__(self, seen: _Seen, report: Report, session: Session, options: Options) -> None:
        self._source, self._all_stamps, self._snapshot = seen
        self._report, self._session, self._options = report, session, options
        self._find, self._add_all = session.find, session.add_all
        self._native = open_accepting()
        self._stamps: list[Stamp] = []
        self._begun_at = 0
        self._place = "" if self._source.is_transient else self._source.absolute()
        self._seen: Memory | None = None
        """What was remembered under the log's name, be it of another log."""
        self._vouched: list[str] = []
        """What the caller gave, without a checkpoint held, and vouches."""
        self._changes: tuple[bytes, ...] = ()
        """The lines that made the rules at the first entry read."""

    def run(self) -> None:
        """All of it."""
        for name, why in self._snapshot.unreadable:
            self._find("log.unreadable", f"{name} cannot be read: {why}")
        if not self._snapshot.is_between_commits:
            self._find("log.busy", "the log was busy; it was verified without waiting for the writer")
        log = self._read_genesis()
        if log is None:
            return
        checkpoint = self._check_checkpoint(log)
        self._session.compare_place(self._place, log.genesis.origin, log.genesis_hash)
        self._seen, is_reliable = self._session.recall(log.genesis.origin, log.genesis_hash)
        memory, is_reliable = self._usable(log) if is_reliable else (None, False)
        walk = self._begin(log, checkpoint, memory) if is_reliable or not self._options.start else None
        if walk is None:
            return
        self._begun_at = start = walk.position
        acknowledged = self._acknowledged(log, checkpoint, memory)
        with closing(walk.relations.ids):
            self._read_entries(log, walk, acknowledged)
        ending = self._finish(log, walk, acknowledged)
        self._conclude(log, ending, checkpoint, memory)
        self._check_trust(log, ending, checkpoint, start)
        self._judge_other(log)
        self._remember(log, ending, checkpoint)

    def _find_newer(self, entry: Entry, line: bytes, error: NewerFormatError) -> None:
        """A digit that somebody changed is not a newer format: the entry's hashes are not of it."""
        try:
            digest, action_hash = canonical_hashes(entry, line)
        except TooLargeError as problem:
            self._find("entry.too_large", str(problem), 0)
            return
        except (MalformedEntryError, RecursionError) as problem:
            self._find("entry.canonical", str(problem) or "entry is nested too deep", 0)
            return
        if action_hash != entry.action_hash:
            self._find("entry.action_hash", "action_hash is not the hash of the payload", 0)
        elif digest != entry.entry_hash:
            self._find("entry.entry_hash", "entry_hash is not the hash of the entry", 0)
        else:
            self._find("log.newer", str(error), 0, expected=error.expected, found=error.found)

    def _read_genesis(self) -> _Log | None:
        try:
            line = self._first_line()
        except (OSError, StorageError, MalformedSegmentError) as error:
            code = "segment.malformed" if isinstance(error, MalformedSegmentError) else "log.unreadable"
            self._find(code, f"entries cannot be read: {reason(error)}", 0)
            return None
        try:
            entry = decode_line(line)
        except MalformedEntryError as error:
            self._find("log.no_genesis", f"entry 0 is not a genesis entry: {error}")
            return None
        try:
            genesis = parse_genesis(entry)
            digest = entry_hash(entry)
        except NewerFormatError as error:
            self._find_newer(entry, line, error)
            return None
        except (MalformedEntryError, RecursionError) as error:
            self._find("log.no_genesis", f"entry 0 is not a genesis entry: {error}")
            return None
        if entry.signature_algorithm.endswith(BATCH_SUFFIX):
            self._find(
                "entry.batch", "the genesis entry is not signed alone", 0, found=entry.signature_algorithm
            )
        findings: list[Finding] = []
        segments = check_segments(self._snapshot, genesis.settings.segment_entries, findings)
        self._add_all(findings)
        self._report.origin, self._report.genesis_hash = genesis.origin, digest
        if genesis.continues is not None:
            self._report.continues = msgspec.to_builtins(genesis.continues)
        return _Log(entry, genesis, digest, segments, StoredTree(self._snapshot))

    def _first_line(self) -> bytes:
        """Entry 0's; empty if there is no whole one. Raises OSError or StorageError."""
        first = next(iter(self._snapshot.segments), None)
        if first is None or first.first:
            return b""
        line = next(first.lines(0, first.size), None)
        return line.data if line is not None and line.is_complete else b""

    def _check_checkpoint(self, log: _Log) -> LogCheckpoint | None:
        if "checkpoint" in dict(self._snapshot.unreadable):
            return None
        findings: list[Finding] = []
        signed = check_checkpoint(self._snapshot.checkpoint, log.genesis, findings)
        self._add_all(findings)
        if signed is not None:
            note = signed.text.encode()
            self._session.judge_witnesses(note, log.genesis.checkpoint_keys, self._report)
        return signed

    def _usable(self, log: _Log) -> tuple[Memory | None, bool]:
        """What is remembered of this log; and whether that, be it nothing, is to be relied on."""
        memory = self._seen
        if memory is None:
            return None, True
        if memory.genesis_hash != log.genesis_hash:
            if not self._may_replace(memory):
                self._session.add(another_log(memory, log.genesis_hash))
            return None, False
        if check_checkpoint(memory.checkpoint.encode(), log.genesis, []) is None:
            self._find("memory.unreadable", "the remembered checkpoint is not signed by the log's key")
            return None, False
        return memory, True

    def _may_replace(self, memory: Memory) -> bool:
        """Whether another log of the origin may be the true one: nobody vouched for the one remembered."""
        return not memory.trusted_by and bool(self._session.trusted) and not self._options.start

    def _judge_other(self, log: _Log) -> None:
        """Where another log of the origin is remembered: a key that was given decides which is meant."""
        memory = self._seen
        if memory is None or memory.genesis_hash == log.genesis_hash or not self._may_replace(memory):
            return
        if not self._vouched:
            self._session.add(another_log(memory, log.genesis_hash))
            return
        self._session.add(replaced_log(memory, log.genesis_hash))

    def _begin(self, log: _Log, checkpoint: LogCheckpoint | None, memory: Memory | None) -> Walk | None:
        held = self._session.held
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
        self._changes = tuple(changes)
        return Walk(
            rules, state, edge,
            stored=log.stored,
            stops=stops | {size for size in stamp_sizes(self._all_stamps) if size > start},
            gaps=log.segments.gaps,
            changes=changes,
            segment_entries=log.genesis.settings.segment_entries,
            fetch=self._source.line,
            spill=_temporary_file,
        )  # fmt: skip

    def _acknowledged(self, log: _Log, checkpoint: LogCheckpoint | None, memory: Memory | None) -> int:
        """How many entries something beside the entries says were durable."""
        held = self._session.held
        return max(
            log.stored.size,
            checkpoint.checkpoint.size if checkpoint is not None else 0,
            memory.size if memory is not None else 0,
            held.size if held is not None else 0,
        )

    def _read_entries(self, log: _Log, walk: Walk, acknowledged: int) -> None:
        width, begin = log.genesis.settings.segment_entries, walk.position
        segments = [segment for segment in log.segments.present if segment.first + width > begin]
        skip = max(0, begin - segments[0].first) if segments else 0
        try:
            pieces = cut_pieces(segments, skip, self._options.workers)
        except (OSError, StorageError, MalformedSegmentError) as error:
            self._find("log.unreadable", f"entries cannot be read: {reason(error)}", begin)
            return
        # That the end cannot be read is found, and said, when it is read.
        last = None
        with contextlib.suppress(OSError, StorageError, MalformedSegmentError):
            pieces, last = cut_last_batch(pieces, acknowledged)
        total = sum(piece.size_bytes for piece in pieces)
        done = 0
        with closing(self._scan_ahead(walk, pieces, total)) as results:
            for piece, ahead in zip(pieces, results, strict=True):
                self._add_all(walk.join(piece, ahead))
                done += piece.size_bytes
                self._options.progress(done, total)
        if last is not None:
            self._add_all(walk.join_last(last))
        if self._native is not None:
            self._add_all(self._native.disagreements())
        self._relate(log, walk, pieces if last is None else [*pieces, last], total)

    def _scan_ahead(self, walk: Walk, pieces: Sequence[Piece], total: int) -> Generator[Scanned | None]:
        """What workers make of the pieces, in order; None for each that is to be scanned as it comes."""
        workers = self._options.workers
        # What an application registered is known in this process only, and perhaps not safe in threads.
        is_alone = workers <= 1 or total < PARALLEL_MIN_BYTES or bool(registered_proofs())
        if is_alone and self._native is not None:
            yield from (self._native.scan((walk.rules, piece)) for piece in pieces)
            return
        if is_alone or (self._native is None and self._source.is_transient):
            yield from (None for _ in pieces)
            return

        def renew(item: tuple[Rules, Piece]) -> tuple[Rules, Piece]:
            return item if item[0] is walk.rules else (walk.rules, item[1])

        # Each with the rules known when it is handed out; where those changed before it, it is done again.
        items = ((walk.rules, piece) for piece in pieces)
        if self._native is not None:
            yield from map_in_threads(self._native.scan, items, workers, renew)
        else:
            yield from map_ordered(scan_ahead, None, items, workers, renew)

    def _is_shared(self, total: int) -> bool:
        """Whether to start other processes for so many bytes. They cannot read what is in this one."""
        return self._options.workers > 1 and total >= PARALLEL_MIN_BYTES and not self._source.is_transient

    def _relate(self, log: _Log, walk: Walk, pieces: Sequence[Piece], total: int) -> None:
        def search(wanted: frozenset[str]) -> Iterator[set[str]]:
            if self._native is not None:
                for piece in pieces:
                    found = self._native.find_ids(wanted, piece)
                    wanted -= found
                    yield found
            if wanted:
                yield from search_all(wanted)

        def search_all(wanted: frozenset[str]) -> Iterator[set[str]]:
            if self._is_shared(total):
                return map_ordered(find_ids, wanted, pieces, self._options.workers)
            return (find_ids(wanted, piece) for piece in pieces)

        def look_again(wanted: Wanted, concerns: Callable[[range], bool]) -> Iterator[Looked]:
            width = log.genesis.settings.segment_entries
            # Where numbers are out of their places or segments, so may those be that are looked for.
            is_in_order = walk.known.has_roots and "segment.length" not in self._report.finding_counts
            is_in_order &= not pieces or walk.position <= pieces[-1].segment + width
            needed = [
                piece
                for piece in pieces
                if not is_in_order or concerns(range(piece.segment, piece.segment + width))
            ]
            if self._is_shared(sum(piece.size_bytes for piece in needed)):
                return map_ordered(look_in_piece, wanted, needed, self._options.workers)
            return (look_in_piece(wanted, piece) for piece in needed)

        relations = walk.relations
        # Where an entry stands twice, or one is missing, that was found.
        if walk.known is Known.ALL:
            self._add_all(relations.ids.settle())
        if walk.known.is_all_read:
            self._add_all(relations.erasures.settle(look_again, self._options.start))
            self._report.erased_payloads = relations.erasures.accounted
            self._add_all(relations.conduct.settle())
            self._add_all(relations.heads.settle(log.stored.leaf, self._options.start))
            # What stands before the start, or could not be read, may be what is depended on.
            if not self._options.start:
                self._add_all(relations.settle_dependencies(search))
        self._add_all(relations.uses.settle(partial(self._search_uses, log)))
        self._add_all(relations.unchecked_proofs())
        self._add_all(relations.unverified())

    def _search_uses(self, log: _Log, since_us: int, wanted: frozenset[bytes]) -> Iterator[Use]:
        """The uses of these requests before the first entry read, from this time on.

        Raises StorageError, MalformedEntryError where the entries cannot be read.
        """
        source, start = self._source, self._begun_at
        first = search_start(start, lambda number: parse_timestamp(source.entry(number).timestamp), since_us)
        rules, _ = Rules.of(log.genesis).following(self._changes, stop=first)
        return uses_in(rules, source.lines(first, start), wanted)

    def _finish(self, log: _Log, walk: Walk, acknowledged: int) -> Ending:
        last = log.segments.present[-1].first
        ending = walk.finish(acknowledged, range(last, last + log.genesis.settings.segment_entries))
        self._add_all(ending.findings)
        report = self._report
        report.size = ending.size if ending.edge is not None else ending.entries
        report.root = ending.edge.root().hex() if ending.edge is not None else None
        report.head_hash = ending.head_hash
        report.signing_keys = sorted(ending.key_ids)
        return ending

    def _conclude(
        self, log: _Log, ending: Ending, checkpoint: LogCheckpoint | None, memory: Memory | None
    ) -> None:
        report, held, is_resumed = self._report, self._session.held, self._options.start > 0
        if ending.timestamp > format_timestamp(int((time.time() + CLOCK_TOLERANCE_S) * 1e6)):
            self._find("log.future", f"the last entry is dated {ending.timestamp}", found=ending.timestamp)
        self._add_all(compare_tree(log.stored, ending))
        for level, why in log.stored.unreadable.items():
            self._find("log.unreadable", f"tree/{level} cannot be read: {why}")
        if checkpoint is not None:
            self._add_all(compare_checkpoint(ending, checkpoint.checkpoint, memory, report))
        if memory is not None:
            self._add_all(compare_memory(ending, memory, report, is_resumed=is_resumed))
        if held is not None:
            origin, held_is = log.genesis.origin, self._session.held_is
            self._add_all(compare_held(ending, held, origin, report, held_is, is_resumed=is_resumed))
        self._stamps, findings = judge_stamps(
            self._source, self._all_stamps, self._options.authorities,
            origin=log.genesis.origin, size=ending.accounted, root_at=ending.roots.get,
        )  # fmt: skip
        self._add_all(findings)
        if stamp := latest(self._stamps):
            report.timestamped_size, report.timestamped_at = stamp.size, stamp.time.isoformat()
        self._add_all(judge_age(report, self._options.max_age_s, _seconds(ending.timestamp)))

    def _check_trust(self, log: _Log, ending: Ending, checkpoint: LogCheckpoint | None, start: int) -> None:
        report, rules = self._report, ending.rules
        vouching = {
            log.genesis_hash,
            *(checkpoint.signers if checkpoint is not None else ()),
            *vouching_keys(
                log.entry, log.genesis, log.genesis_hash, rules=rules, signed=ending.key_ids, start=start
            ),
        }
        if not self._session.credit(report, vouching):
            trusted = self._session.trusted
            # A key may have come in by a rotation that was not read.
            is_certain = ending.knows_rules or all("+" in item for item in trusted)
            code, what = ("trust.mismatch", "this log") if is_certain else ("entry.unjudged", "what was read")
            self._find(
                code, f"none of the keys or hashes asked for vouches for {what}",
                expected=trusted, found=sorted(vouching),
            )  # fmt: skip
        self._vouched = [item for item in report.trusted_by if item in vouching]
        self._add_all(tell_terms(rules, report.trusted_by))
        is_cosigned = report.cosigned_by and "trust.quorum" not in report.finding_counts
        cosigned = report.checkpoint_size if is_cosigned else None
        stamped = vouched_before_revocation(rules, ending.changes, self._stamps)
        self._add_all(
            find_doubtful(
                rules, report.size, remembered=max(report.remembered_size or 0, stamped),
                cosigned=cosigned or 0, trusted=report.trusted_by,
                signed=ending.key_ids if ending.known.is_all_read and not start else None,
            )
        )  # fmt: skip

    def _remember(self, log: _Log, ending: Ending, checkpoint: LogCheckpoint | None) -> None:
        if checkpoint is None or ending.edge is None or self._report.verdict not in _SOUND:
            return
        memory = Memory(
            origin=log.genesis.origin,
            genesis_hash=log.genesis_hash,
            size=ending.size,
            root=ending.edge.root().hex(),
            checkpoint=checkpoint.text,
            checkpoint_size=checkpoint.checkpoint.size,
            checkpoint_keys=[format_vkey(key) for key in log.genesis.checkpoint_keys],
            trusted_by=self._vouched,
            changes=None if ending.changes is None else [line.decode() for line in ending.changes],
        )
        compare = partial(compare_meanwhile, self._source, memory, self._report)
        self._session.remember(memory, self._place, self._seen, compare)


def _temporary_file() -> IO[bytes]:
    from tempfile import TemporaryFile  # few logs need one

    return TemporaryFile(buffering=0)


def _seconds(timestamp: str) -> float | None:
    """Since 1970; None for what is no date, which was a finding."""
    try:
        return parse_timestamp(timestamp) / 1e6
    except MalformedEntryError:
        return None


class Segments(NamedTuple):
    """The segments to read, and the first numbers of those before which one is missing."""

    present: list[RawSegment]
    gaps: set[int]


def check_segments(snapshot: Snapshot, segment_entries: int, findings: list[Finding]) -> Segments:
    """Which segments are the log's; `findings` receives what is missing or has no place."""
    strays = list(snapshot.strays)
    present: list[RawSegment] = []
    gaps: set[int] = set()
    for segment in snapshot.segments:
        if segment.first % segment_entries:
            strays.append(segment.name)
            continue
        due = present[-1].first + segment_entries if present else 0
        if segment.first != due:
            gaps.add(segment.first)
            name = snapshot.segment_name(due)
            last = snapshot.segment_name(segment.first - segment_entries)
            what = f"{name} is missing" if name == last else f"{name} to {last} are missing"
            findings.append(finding("segment.missing", what, due, expected=due, found=segment.first))
        present.append(segment)
    for segment in present[:-1]:
        if segment.room:
            what = (
                f"{segment.name} ends in {segment.room} bytes of room, which only the last segment may have"
            )
            findings.append(finding("segment.length", what, segment.first, expected=0, found=segment.room))
    what = "{} stands beside its segment, which is not compressed: compressing it was cut short"
    findings.extend(finding("segment.twice", what.format(name), found=name) for name in snapshot.twice)
    what = "{} is not one of this log's segments"
    findings.extend(finding("segment.stray", what.format(name), found=name) for name in strays)
    return Segments(present, gaps)


class LogCheckpoint(NamedTuple):
    """A checkpoint that one of the log's checkpoint keys signed."""

    checkpoint: Checkpoint
    text: str
    """The note, as it is."""
    signers: list[str]
    """vkeys of those that signed."""


def check_checkpoint(data: bytes | None, genesis: Genesis, findings: list[Finding]) -> LogCheckpoint | None:
    """The checkpoint, if the log's key signed it; else `findings` receives why not."""
    if data is None:
        findings.append(finding("checkpoint.missing", "the log has no checkpoint"))
        return None
    try:
        signed = open_signed_checkpoint(data, genesis.checkpoint_keys)
        check_every_type([line.key for line in signed.signatures], genesis.checkpoint_keys)
    except (SignatureInvalidError, TrustError) as error:
        what = f"checkpoint: {error}"
        findings.append(finding("checkpoint.signature", what, expected=error.expected, found=error.found))
        return None
    except (MalformedNoteError, MalformedCheckpointError) as error:
        findings.append(finding("checkpoint.malformed", f"checkpoint: {error}"))
        return None
    except MissingExtraError as error:
        findings.append(finding("checkpoint.unsupported", f"checkpoint: {error}"))
        return None
    checkpoint = signed.checkpoint
    if checkpoint.origin != genesis.origin:
        what = "the checkpoint is of another origin"
        findings.append(finding("checkpoint.origin", what, expected=genesis.origin, found=checkpoint.origin))
        return None
    signers = [format_vkey(line.key) for line in signed.signatures]
    return LogCheckpoint(checkpoint, data.decode(), signers)


def compare_tree(stored: StoredTree, ending: Ending) -> Iterator[Finding]:
    """Findings about the stored tree."""
    if ending.known.is_all_read:
        longer = stored.longer(ending.accounted)
        if longer is not None:
            yield longer
        else:
            yield from stored.stale(ending.size)


def compare_checkpoint(
    ending: Ending, checkpoint: Checkpoint, memory: Memory | None, report: Report
) -> Iterator[Finding]:
    """Findings about the log's own checkpoint; when it holds, its size goes into the report."""
    is_all_read = ending.known.is_all_read
    if memory is not None:
        yield from compare_age(checkpoint, memory)
    if checkpoint.size > ending.accounted and is_all_read:
        what = f"the checkpoint covers {checkpoint.size} entries, {ending.accounted} are there"
        yield finding("checkpoint.ahead", what, expected=checkpoint.size, found=ending.accounted)
    elif _differs(ending, checkpoint.size, checkpoint.root.hex(), report):
        what = f"the root of the first {checkpoint.size} entries is not the one the checkpoint signs"
        found = ending.roots.get(checkpoint.size, b"").hex()
        # Where stored hashes stand for entries that were not read, they may be what is wrong.
        code = "checkpoint.root" if is_all_read else "resume.tree"
        yield finding(code, what, expected=checkpoint.root.hex(), found=found)
    elif checkpoint.size in ending.roots:
        report.checkpoint_size = checkpoint.size


def compare_memory(ending: Ending, memory: Memory, report: Report, *, is_resumed: bool) -> Iterator[Finding]:
    """Findings about what is remembered; when it is still a prefix, its size goes into the report."""
    found = ending.roots.get(memory.size, b"").hex()
    is_all_read = ending.known.is_all_read
    if memory.size > ending.accounted and is_all_read:
        what = f"{memory.size} entries are remembered, {ending.accounted} are there"
        yield finding("memory.ahead", what, expected=memory.size, found=ending.accounted)
    elif not _differs(ending, memory.size, memory.root, report):
        report.remembered_size = memory.size if found else None
    elif is_resumed or not is_all_read:
        what = f"the stored tree and the entries read do not lead to the root remembered at {memory.size}"
        yield finding("resume.tree", what, expected=memory.root, found=found)
    else:
        what = f"the root of the first {memory.size} entries is not the one remembered"
        yield finding("memory.root", what, expected=memory.root, found=found)


def compare_meanwhile(source: LogSource, own: Memory, report: Report, known: Memory) -> Iterator[Finding]:
    """Findings about what another verification remembered under this log's name while this one ran.

    `own`: what this one would remember. The other may have seen more of a log that grows, so it is held
    against the log as it is now; by proofs, since the stored hashes of now were not judged.
    """
    if known.genesis_hash != own.genesis_hash:
        yield another_log(known, own.genesis_hash)
        return
    for size, root in known.roots():
        there = source.size() if size > own.size else own.size
        if there < size:
            what = f"{size} entries are remembered, {there} are there"
            yield finding("memory.ahead", what, expected=size, found=there)
        elif not _is_one_history(source, (size, root), (own.size, own.root)):
            # Where stored hashes are wrong, or the log was not read so far, they may be what differs.
            if size <= own.size and "tree.stale" not in report.finding_counts:
                what = f"the root of the first {size} entries is not the one remembered meanwhile"
                yield finding("memory.root", what, expected=root)
            else:
                yield not_compared(known)


def _is_one_history(source: LogSource, *prefixes: tuple[int, str]) -> bool:
    (old, old_root), (size, root) = sorted(prefixes)
    if old in {0, size}:
        return old == 0 or old_root == root
    try:
        proof = prove_consistency(old, size, source.hashes)
        verify_consistency(old, size, proof, bytes.fromhex(old_root), bytes.fromhex(root))
    except (OSError, AttestlogError):
        return False
    return True


def compare_held(
    ending: Ending, held: Checkpoint, origin: str, report: Report, held_is: HeldIs, *, is_resumed: bool
) -> Iterator[Finding]:
    """Findings about what the log must begin with; its size goes into the report when it holds."""
    what_held = HELD_WORDS[held_is]
    found = ending.roots.get(held.size, EMPTY_ROOT if held.size == 0 else b"")
    is_all_read = ending.known.is_all_read
    if held.origin != origin:
        yield held_of_another(held, origin, held_is)
    elif held.size > ending.accounted and is_all_read:
        what = f"{what_held} covers {held.size} entries, {ending.accounted} are there"
        yield finding(f"{held_is}.ahead", what, expected=held.size, found=ending.accounted)
    elif found == held.root:
        report.held_size = held.size
    elif found and is_all_read and not is_resumed:
        what = f"the root of the first {held.size} entries is not the one of {what_held}"
        yield finding(f"{held_is}.root", what, expected=held.root.hex(), found=found.hex())
    else:
        what = f"the stored tree and the entries read do not lead to the root held at {held.size}"
        yield finding("resume.tree", what, expected=held.root.hex(), found=found.hex())


def _differs(ending: Ending, size: int, root: str, report: Report) -> bool:
    """Whether the root at `size` is another. Where a gap hides that, the gap was a finding."""
    if size in ending.roots:
        return ending.roots[size].hex() != root
    return report.verdict in {Verdict.VERIFIED, Verdict.INCOMPLETE}
