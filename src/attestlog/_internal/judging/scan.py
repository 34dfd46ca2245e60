"""The judge of lines: a fold. Rules, lines and a state go in; findings, facts and the next state come out.

    scanned = scan(rules, lines, state)

Where the lines are cut into pieces changes nothing in what is found, and where
they come from is not known here: `walk` joins pieces of a directory, a replica
hands in a list. This module keeps these rules:

1. Bytes that are not an entry (too short, no line end, not JSON of an entry) are one *run* until an entry
   follows. That entry closes the run as damage, `entry.malformed`, unless it and all after it belong to a
   batch that began before the run: then a power cut may have torn that batch, and the run stays open.
2. An entry must have the sequence number that is due, else `entry.sequence`, and name the hash of the entry
   before, else `entry.chain`. The next entry is judged from where this one says it stands, so that one
   broken place is one or two findings.
3. After a run, and where `is_synced` is False because lines before could not be read, an entry is taken for
   what it says: neither its number nor its link is judged.
4. A timestamp must be a real one and not before the last, else `entry.timestamp`.
5. An entry must be in canonical form and within its limits, and its hashes must be those of its bytes. Links,
   signature and tree go by the entry_hash it *states*, so that a wrong one is found once. A payload that was
   erased is remembered, not a finding: only the whole log can say whether that was allowed.
6. Derived members must be what the policy in force derives (`governance`).
7. The key that an entry names must be in force and of the algorithm it names, and the signature must verify
   under it. Entries of one batch are verified together, once the batch ends or is left.
8. The positions in a batch must follow each other, else `entry.batch`. They are counted only for an entry
   that stands right after the one before (rule 2): a gap says nothing about a batch.
9. An entry that governs changes the rules for all entries after it, if it holds; if it does not, that is
   `entry.change` and the rules stay as they were. One that acts on the log by a name not known here may
   change rules of a newer version, `entry.newer`.
10. An entry must name these rules (`core.pointer`), else `entry.rules`: told once a wrong value. After lines
    that could not be read, and after an `entry.newer`, the rules are not known (`knows_rules`). They are
    known again at an entry whose pointers lead back to those known before. Until then only what does not rest
    on rules is judged, and the entries are counted, `entry.unjudged`.
11. What an entry says about others (dependencies, erasures, guarded acts, counters, heads it saw) is
    gathered, and judged when the log was read to its end (`relations`).
12. Without a state, the first entry says what the state before it must have been (`assumed`). Who knows the
    state compares (`follows`), or scans again. Lines that do not begin with an entry, and lines that may
    change the rules, have no result before the state is known.

Lines are read once, and memory stays flat.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from typing import Any, Final

from msgspec import Struct, field

from attestlog._internal.core import entry as entries
from attestlog._internal.core.entry import Entry, EventType
from attestlog._internal.core.hashes import GENESIS_PREV_HASH, batch_message, leaf_hash
from attestlog._internal.core.lines import Line, Piece, whole_batches
from attestlog._internal.core.merkle import inclusion_paths
from attestlog._internal.core.pointer import (
    HOLDS_MEMBER,
    RULES_MEMBER,
    Fetch,
    Pointers,
    is_later,
)
from attestlog._internal.core.report import Finding, Verdict
from attestlog._internal.core.reserved import erases, governs, is_newer
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.seen_head import HeadClaim
from attestlog._internal.core.signature import (
    BATCH_SUFFIX,
    PublicKey,
    parse_signature,
    signed_message,
    verify_entry_signature,
)
from attestlog._internal.core.uses import Use
from attestlog._internal.judging.conduct import Conduct, judge_head
from attestlog._internal.judging.erasures import AnyClaim, judge_erasure
from attestlog._internal.judging.findings import TEXT_LENGTH_MAX, finding
from attestlog._internal.judging.governance import judge_entry
from attestlog.errors import (
    MalformedEntryError,
    MalformedError,
    MalformedSegmentError,
    MalformedSignatureError,
    RuleChangeError,
    SignatureInvalidError,
    StorageError,
    TooLargeError,
    UnverifiedError,
    VerificationError,
)

NEIGHBOURS: Final = 1_024
"""Entry ids a piece hands to the next: what an entry depends on usually stands just before it."""

PROOF_TYPES_MAX: Final = 256
"""Unknown proof types told apart; a log that makes one up for each entry must not fill memory."""

WRONG_POINTERS_MAX: Final = 256
"""Wrong pointers told apart; the rest is counted."""

_SYSTEM_EVENTS: Final = (EventType.BOOT, EventType.SHUTDOWN)

LINE_SIZE_MIN_BYTES: Final = 64
"""A shorter line is not even decoded: eight million line ends must not take a minute."""

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_NO_HASH: Final = bytes(32)


class OpenBatch(Struct):
    """A batch being read. `index` is the position due next; the reader counts it up."""

    signature: str
    """Hex, as in `hsm_signature`."""
    size: int
    index: int
    start: int
    """Sequence number of its first entry."""

    def due(self) -> str:
        """How the `hsm_signature` of the entry due begins."""
        return f"{self.signature}:{self.index}/{self.size}:"


class Pending(Struct, frozen=True, gc=False):
    """An entry whose signature is verified with the rest of its batch. One is made for every entry."""

    ordinal: int
    """Its place among the entries scanned, by which findings are put in order."""
    number: int
    signature: str
    """`hsm_signature`, as it stands."""
    algorithm: str
    digest: bytes
    """The entry_hash it states, 32 bytes."""
    leaf: bytes
    key: PublicKey


def read_position(entry: Entry) -> OpenBatch | None:
    """Where a batch-signed entry says it stands; None if it cannot be read."""
    try:
        signature = parse_signature(entry.hsm_signature, entry.signature_algorithm)
    except MalformedSignatureError:
        return None
    start = max(0, entry.sequence_number - signature.index)
    return OpenBatch(signature.signature.hex(), signature.size, signature.index, start)


def settle(pending: list[Pending]) -> Iterator[tuple[int, Finding]]:
    """(ordinal, finding) for each of these entries of one batch whose signature does not hold."""
    if _whole_batch_holds(pending):
        return
    held: set[tuple[str, bytes, bytes]] = set()
    for item in pending:
        try:
            signature = parse_signature(item.signature, item.algorithm)
            message = signed_message(signature, item.digest)
            # Each distinct root's signature is verified once.
            if (item.key.key_id, signature.signature, message) not in held:
                item.key.verify(signature.signature, message)
                held.add((item.key.key_id, signature.signature, message))
        except MalformedSignatureError as error:
            text = item.signature[:80]
            yield item.ordinal, finding("entry.signature_form", str(error), item.number, found=text)
        except SignatureInvalidError as error:
            yield item.ordinal, finding("entry.signature", str(error), item.number)


def _whole_batch_holds(pending: list[Pending]) -> bool:
    """The quick way: the tree of a complete batch made once, and each entry's path compared with it.

    True only if every entry would verify by itself; False says nothing yet.
    """
    first, size = pending[0], len(pending)
    head, _, rest = first.signature.partition(":")
    if not rest.startswith(f"0/{size}:") or any(item.key is not first.key for item in pending):
        return False
    root, paths = inclusion_paths([item.leaf for item in pending])
    due = [f"{head}:{index}/{size}:{path.hex()}" for index, path in enumerate(paths)]
    if due != [item.signature for item in pending]:
        return False
    try:
        first.key.verify(parse_signature(first.signature, first.algorithm).signature, batch_message(root))
    except (MalformedSignatureError, SignatureInvalidError):
        return False
    return True


class Run(Struct):
    """Bytes in a row that are not entries, while it is undecided whether they are a torn tail or damage."""

    position: int
    """The sequence number due where they begin."""
    previous: str | None
    """entry_hash of the entry before."""
    place: str
    reason: str
    lines: int = 0
    """Those that have a line end."""
    size_bytes: int = 0
    batch_start: int | None = None
    """First entry of the batch that reaches across them, if all valid entries after them are of that one."""


class State(Struct):
    """All that the next line is judged by, beside the rules in force."""

    position: int = 0
    """Sequence number due next."""
    previous: str | None = GENESIS_PREV_HASH
    """entry_hash of the entry before; None: not known, so the link is not judged."""
    timestamp: str = ""
    """Of the entry before; empty before the first."""
    batch: OpenBatch | None = None
    run: Run | None = None
    is_synced: bool = True
    """False after what could not be read: the next entry is taken for what it says it is."""
    knows_rules: bool = True
    """False where keys or policy may have changed in what could not be read or judged (rule 10)."""

    @property
    def torn_batch_start(self) -> int | None:
        """First entry of the batch that is cut, if the log ends here."""
        if self.run is not None and self.run.batch_start is not None:
            return self.run.batch_start
        return None if self.batch is None else self.batch.start


WrongPointers = dict[tuple[str, str | None], tuple[int, int, str | None]]
"""(Member, what it is) → first sequence number, how many entries, what it must be in the first."""


class Scanned(Struct):
    """What some lines came to."""

    state: State
    """After the last of them."""
    assumed: State | None = None
    """The state before, as the first entry has it (rule 12); None if that cannot be told."""
    entries: int = 0
    findings: list[Finding] = field(default_factory=list)
    """In the order of the entries."""
    leaves: bytes = b""
    """Leaf hashes, n × 32 bytes, of the entries up to the first one that is out of its place."""
    is_contiguous: bool = True
    """Whether `leaves` has all the entries, which then follow on the state before."""
    before_batch: str | None = None
    """The entry_hash before the last batch that starts in these lines."""
    key_ids: dict[str, int] = field(default_factory=dict)
    """Keys that entries name as theirs, and that are in force → the last entry of each."""
    erased: range = range(0)
    """The stretch from the first entry whose payload is null to the last."""
    erasures: list[AnyClaim] = field(default_factory=list)
    conduct: Conduct = field(default_factory=Conduct)
    uses: list[Use] = field(default_factory=list)
    """Requests for approval that entries use."""
    first_timestamp: str | None = None
    """Of the first entry; None if there is none."""
    heads: list[HeadClaim] = field(default_factory=list)
    """What BOOT and SHUTDOWN entries saw, further back than the entry before."""
    unchecked_proofs: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Type → first sequence number, how many."""
    unverified: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Algorithm that the installed cryptography does not have → first sequence number, how many."""
    wanted: list[tuple[int, str]] = field(default_factory=list)
    """(sequence number, entry id it depends on or snapshot it went back to) not found in these lines."""
    last_ids: list[str] = field(default_factory=list)
    """Entry ids of the last `NEIGHBOURS` entries."""
    ids: bytes = b""
    """Entry ids, n × 16 bytes."""
    error: str | None = None
    """Why the lines could not be read to their end."""
    error_code: str = "log.unreadable"
    """Of the finding that says so."""
    rules: Rules | None = None
    """The rules after these lines, where they change them."""
    changes: list[bytes] = field(default_factory=list)
    """The lines that did."""
    has_fetched_rules: bool = False
    """Whether rules became known again by entries that are not among `changes`."""
    wrong_pointers: WrongPointers = field(default_factory=dict)
    unjudged: tuple[int, int] = (0, 0)
    """The first entry that stands under rules that are not known, and how many do."""


def scan(
    rules: Rules,
    lines: Iterable[Line],
    state: State | None = None,
    *,
    place: Callable[[int], str] = "byte {}".format,
    fetch: Fetch | None = None,
) -> Scanned:
    """Judge lines, from `state` or from what the first says the state must have been (rule 12).

    `rules`: those in force before the first line, or the last ones known. `place`: an offset of these lines,
    in words. `fetch`: other lines of the log, for what rule 10 says of rules that are not known.
    An OSError or StorageError of `lines` ends it: `error` says so, and what was judged by then counts.
    """
    scanner = Scanner(rules, state, place, fetch)
    error, code = None, "log.unreadable"
    try:
        for line in lines:
            if not scanner.add(line):
                return Scanned(State())
    except (OSError, StorageError, MalformedSegmentError) as problem:
        error = str(problem)
        code = "segment.malformed" if isinstance(problem, MalformedSegmentError) else code
    scanned = scanner.finish(error)
    scanned.error_code = code
    return scanned


def scan_piece(
    rules: Rules, piece: Piece, state: State | None = None, *, fetch: Fetch | None = None
) -> Scanned:
    """`scan` the batches that begin in a piece."""
    return scan(rules, whole_batches(piece), state, place=piece.place, fetch=fetch)


def scan_ahead(_: None, item: tuple[Rules, Piece]) -> Scanned:
    """`scan_piece` before the state is known, for a worker process."""
    return scan_piece(*item)


def follows(state: State, assumed: State) -> bool:
    """Whether what was scanned from `assumed` is what `scan` would give from `state`."""
    return (
        state.is_synced
        and state.knows_rules
        and state.run is None
        and state.position == assumed.position
        and state.previous == assumed.previous
        and state.batch == assumed.batch
        and state.timestamp <= assumed.timestamp
    )


class Scanner:
    """Judges line by line. Use `scan`."""

    def __init__(
        self, rules: Rules, state: State | None, place: Callable[[int], str], fetch: Fetch | None
    ) -> None:
        self._rules, self._place, self._fetch = rules, place, fetch
        self._unresolved: Pointers | None = None
        self._state, self._is_ahead = state, state is None
        self._result = Scanned(State())
        self._ordinal = 0
        self._findings: list[tuple[int, Finding]] = []
        self._leaves: list[bytes] = []
        self._ids: dict[str, None] = {}
        self._repeated: list[tuple[int, str]] = []
        """(place among the entries scanned, id) of each whose id one before it has."""
        self._pending: list[Pending] = []
        if state is not None:
            self._enter(state)

    def _enter(self, state: State) -> None:
        self._position, self._previous = state.position, state.previous
        self._timestamp, self._batch, self._run = state.timestamp, copy(state.batch), copy(state.run)
        self._is_synced, self._knows_rules = state.is_synced, state.knows_rules

    def add(self, line: Line) -> bool:
        """Judge one line. False if the state is not known, and the line does not say it (rule 12)."""
        data = line.data
        try:
            if len(data) < LINE_SIZE_MIN_BYTES:
                raise MalformedEntryError(f"a line of {len(data)} bytes is too short for an entry")
            if not line.is_complete:
                raise MalformedEntryError(f"the line stops after {len(data)} bytes")
            entry = entries.decode_line(data)
        except MalformedEntryError as error:
            if self._state is None:
                return False
            self._add_to_run(line, str(error))
            return True
        if self._state is None and not self._assume(entry):
            return False
        self._ordinal += 1
        if self._result.first_timestamp is None:
            self._result.first_timestamp = entry.timestamp
        is_next = self._check_link(entry)
        if entry.timestamp != self._timestamp:
            self._check_timestamp(entry)
        digest = self._check_content(entry, data)
        self._check_pointers(entry)
        self._check_said(entry)
        leaf = leaf_hash(digest)
        if self._result.is_contiguous:
            self._leaves.append(leaf)
        self._check_signature(entry, digest, leaf, is_next)
        if entry.dependencies or entry.rollback_executed or entry.event_type is EventType.CHANGE:
            self._remember_wanted(entry)
            self._check_erasure(entry)
            if is_newer(entry) or governs(entry):
                if self._is_ahead:
                    return False
                self._change_rules(entry, data)
        if entry.entry_id in self._ids:
            self._repeated.append((self._ordinal - 1, entry.entry_id))
        self._ids[entry.entry_id] = None
        self._position, self._previous = entry.sequence_number + 1, entry.entry_hash
        return True

    def finish(self, error: str | None) -> Scanned:
        """The result, with findings in the order of the entries."""
        result = self._result
        if self._state is None:  # there was no line
            result.error = error
            return result
        self._settle()
        self._findings.sort(key=lambda item: item[0])
        result.findings = [found for _, found in self._findings]
        result.assumed = self._state
        result.entries = self._ordinal
        result.leaves = b"".join(self._leaves)
        result.wanted = [item for item in result.wanted if item[1] not in self._ids]
        ids = list(self._ids)
        result.last_ids = ids[-NEIGHBOURS:]
        for place, repeated in self._repeated:
            ids.insert(place, repeated)
        result.ids = bytes.fromhex("".join(ids).replace("-", ""))
        result.error = error
        result.state = State(
            self._position, self._previous, self._timestamp, self._batch, self._run, self._is_synced,
            self._knows_rules,
        )  # fmt: skip
        return result

    def _assume(self, entry: Entry) -> bool:
        """Start from the state that this entry follows, going by what it says. False if it does not say."""
        batch = None
        if entry.signature_algorithm.endswith(BATCH_SUFFIX):
            batch = read_position(entry)
            if batch is None:
                return False
            batch = batch if batch.index else None
        self._state = State(entry.sequence_number, entry.prev_entry_hash, entry.timestamp, batch)
        self._enter(self._state)
        self._timestamp = ""  # so that the first one is judged as well
        return True

    def _find(
        self, code: str, message: str, entry: Entry, *, expected: Any = None, found: Any = None
    ) -> None:
        number = entry.sequence_number
        self._findings.append((self._ordinal, finding(code, message, number, expected=expected, found=found)))

    def _check_link(self, entry: Entry) -> bool:
        """Whether the entry is known to stand right after the one before (rules 2 and 3)."""
        number = entry.sequence_number
        is_next = number == self._position and self._previous in (entry.prev_entry_hash, None)
        if self._run is not None or not self._is_synced:
            if self._run is not None:
                self._close_run(self._run, entry)
            self._is_synced = True
            if not is_next:
                self._result.is_contiguous = False
            return is_next and self._previous is not None
        if is_next:
            return self._previous is not None
        if number != self._position:
            self._result.is_contiguous = False
            self._find(
                "entry.sequence", f"entry {number} stands where entry {self._position} is due", entry,
                expected=self._position, found=number,
            )  # fmt: skip
        else:
            self._find(
                "entry.chain", "prev_entry_hash is not the hash of the entry before", entry,
                expected=self._previous, found=entry.prev_entry_hash,
            )  # fmt: skip
        return False

    def _add_to_run(self, line: Line, why: str) -> None:
        if self._run is None:
            place = self._place(line.offset)
            self._run = Run(self._position, self._previous, place, why[:TEXT_LENGTH_MAX])
        self._run.lines += line.is_complete
        self._run.size_bytes += line.stop - line.offset

    def _close_run(self, run: Run, entry: Entry) -> None:
        """The first entry after a run: the run is damage, unless a batch reaches across it (rule 1)."""
        batch = read_position(entry) if entry.signature_algorithm.endswith(BATCH_SUFFIX) else None
        spans = batch is not None and batch.start <= run.position < entry.sequence_number
        if batch is not None and spans and run.batch_start in (None, batch.start):
            run.batch_start = batch.start
            return
        self._findings.append((self._ordinal, malformed_run(run)))
        self._run = None

    def _check_timestamp(self, entry: Entry) -> None:
        text = entry.timestamp
        try:
            entries.parse_timestamp(text)
        except MalformedEntryError as error:
            self._find("entry.timestamp", str(error), entry, found=text)
            return
        if text < self._timestamp:
            self._find(
                "entry.timestamp", f"timestamp {text} is earlier than the entry before", entry,
                expected=self._timestamp, found=text,
            )  # fmt: skip
        self._timestamp = text

    def _check_content(self, entry: Entry, text: bytes) -> bytes:
        """The digest that it goes by from here on, which is the one it states (rule 5)."""
        stated = entry.entry_hash
        try:
            entry_hash, action_hash = entries.canonical_hashes(entry, text)
        except TooLargeError as error:
            self._find(
                "entry.too_large", str(error), entry, expected=error.size_bytes_max, found=error.size_bytes
            )
            return _digest(stated)
        except (MalformedEntryError, RecursionError) as error:
            # Not canonical, so there is no one byte string to hash: its hashes are not judged.
            self._find("entry.canonical", str(error) or "entry is nested too deep", entry)
            return _digest(stated)
        if action_hash is None:
            self._add_erased(entry.sequence_number)
        elif action_hash != entry.action_hash:
            self._find(
                "entry.action_hash", "action_hash is not the hash of the payload", entry,
                expected=action_hash, found=entry.action_hash,
            )  # fmt: skip
        if entry_hash != stated:
            self._find(
                "entry.entry_hash", "entry_hash is not the hash of the entry", entry,
                expected=entry_hash, found=stated,
            )  # fmt: skip
            return _digest(stated)
        return bytes.fromhex(stated)

    def _add_erased(self, number: int) -> None:
        known = self._result.erased or range(number, number + 1)
        self._result.erased = range(min(known.start, number), max(known.stop, number + 1))

    def _check_pointers(self, entry: Entry) -> None:
        """That it names the rules it stands under (rule 10)."""
        if not self._knows_rules:
            self._learn_rules(entry)
            return
        due, environment = self._rules.pointers, entry.environment
        if entry.sequence_number == 0:
            due = Pointers()
        if environment.get(RULES_MEMBER) != due.rules or environment.get(HOLDS_MEMBER) != due.holds:
            self._compare_pointers(entry, due)

    def _compare_pointers(self, entry: Entry, due: Pointers) -> None:
        for member, expected, found in zip(
            (RULES_MEMBER, HOLDS_MEMBER), due, Pointers.of(entry), strict=True
        ):
            if found != expected:
                known = found if found is None else found[:TEXT_LENGTH_MAX]
                count_pointer(
                    self._result.wrong_pointers, (member, known), (entry.sequence_number, 1, expected)
                )

    def _learn_rules(self, entry: Entry) -> None:
        """The rules are known again if the pointers lead back to those known before."""
        stated, last = Pointers.of(entry), self._rules.pointers
        if stated == last:
            self._knows_rules = True
        elif stated != self._unresolved:
            if is_later(stated, last):
                self._fetch_rules(stated)
            else:  # whatever was not read: rules do not go back
                self._compare_pointers(entry, last)
            self._unresolved = stated
        if not self._knows_rules:
            first, count = self._result.unjudged
            self._result.unjudged = (first if count else entry.sequence_number, count + 1)

    def _fetch_rules(self, stated: Pointers) -> None:
        try:
            if self._fetch is not None:
                self._rules = self._rules.at(stated, self._fetch)
                self._knows_rules = self._result.has_fetched_rules = True
                self._result.rules = self._rules
        except (StorageError, VerificationError, MalformedError):
            pass  # what it leads to cannot be read either, or is not known here

    def _check_derived(self, entry: Entry) -> None:
        judged = judge_entry(self._rules.policy, self._rules.log, entry)
        for code, message, expected, found in judged.remarks:
            self._find(code, message, entry, expected=expected, found=found)
        if judged.use is not None:
            self._result.uses.append(judged.use)
        for kind in judged.unchecked:
            count_proof(self._result.unchecked_proofs, kind[:TEXT_LENGTH_MAX], entry.sequence_number, 1)

    def _check_said(self, entry: Entry) -> None:
        """What it says of itself, its actor and the log's head (rules 6 and 11)."""
        if self._knows_rules:
            self._check_derived(entry)
        if entry.actor_context:
            self._findings += [(self._ordinal, found) for found in self._result.conduct.add(entry)]
        if entry.event_type in _SYSTEM_EVENTS:
            self._findings += [(self._ordinal, found) for found in judge_head(entry, self._result.heads)]

    def _remember_wanted(self, entry: Entry) -> None:
        """What the entry says about others, which only the whole log can answer (rule 11)."""
        number, result = entry.sequence_number, self._result
        result.wanted.extend((number, wanted) for wanted in entry.dependencies if wanted not in self._ids)
        if entry.rollback_executed and entry.rollback_snapshot_hash:
            result.wanted.append((number, entry.rollback_snapshot_hash))

    def _check_erasure(self, entry: Entry) -> None:
        if erases(entry):
            claim, wrong = judge_erasure(self._rules if self._knows_rules else None, entry)
            if claim is not None:
                self._result.erasures.append(claim)
            if wrong is not None:
                self._findings.append((self._ordinal, wrong))

    def _change_rules(self, entry: Entry, line: bytes) -> None:
        if is_newer(entry):
            self._find("entry.newer", f"{entry.action_type[:80]!r} is not known here", entry)
            self._knows_rules = False
        if not self._knows_rules:
            return
        try:
            self._rules = self._rules.after(entry)
        except RuleChangeError as error:
            self._find("entry.change", str(error), entry, expected=error.expected, found=error.found)
            return
        self._result.rules = self._rules
        self._result.changes.append(line)
        for key in self._rules.keys.values():
            if key.key is None:  # nor can its consent to the rotation be verified
                count_proof(self._result.unverified, key.algorithm, entry.sequence_number, 1)

    def _check_signature(self, entry: Entry, digest: bytes, leaf: bytes, is_next: bool) -> None:
        number, algorithm = entry.sequence_number, entry.signature_algorithm
        key = self._rules.signing_key(entry.signing_key_id, algorithm)
        if key is None:
            self._find_no_key(entry)
        else:
            self._result.key_ids[entry.signing_key_id] = number
            if key.key is None:
                count_proof(self._result.unverified, key.algorithm, number, 1)
                key = None
        if algorithm.endswith(BATCH_SUFFIX):
            self._place_in_batch(entry, is_next)
            if key is not None:
                self._pending.append(
                    Pending(self._ordinal, number, entry.hsm_signature, algorithm, digest, leaf, key)
                )
            if self._batch is None:
                self._settle()
            return
        self._leave_batch(entry, is_next)
        if key is not None:
            try:
                verify_entry_signature(key, algorithm, entry.hsm_signature, digest.hex())
            except MalformedSignatureError as error:
                self._find("entry.signature_form", str(error), entry, found=entry.hsm_signature[:80])
            except SignatureInvalidError as error:
                self._find("entry.signature", str(error), entry)

    def _find_no_key(self, entry: Entry) -> None:
        if not self._knows_rules:
            return
        key = self._rules.keys.get(entry.signing_key_id)
        if key is None:
            self._find(
                "entry.signing_key", self._rules.retired(entry.signing_key_id), entry,
                expected=self._rules.key_ids, found=entry.signing_key_id,
            )  # fmt: skip
        else:
            self._find(
                "entry.algorithm", f"entry names {entry.signature_algorithm!r}, its key is {key.algorithm}",
                entry, expected=key.algorithm, found=entry.signature_algorithm,
            )  # fmt: skip

    def _place_in_batch(self, entry: Entry, is_next: bool) -> None:
        """Count it within its batch (rule 8); a signature that cannot be read counts as the one due."""
        batch = self._batch
        if batch is not None and is_next and entry.hsm_signature.startswith(batch.due()):
            self._count_in_batch(batch)
            return
        stated = read_position(entry)
        if is_next and stated is not None and (batch is not None or stated.index):
            expected = f"{batch.index}/{batch.size}" if batch is not None else f"0/{stated.size}"
            self._find(
                "entry.batch", f"entry is {stated.index}/{stated.size} of its batch, {expected} is due",
                entry, expected=expected, found=f"{stated.index}/{stated.size}",
            )  # fmt: skip
        if batch is not None and is_next and (stated is None or stated.signature == batch.signature):
            self._count_in_batch(batch)
            return
        self._settle()
        self._batch = stated
        if stated is not None:
            if is_next and not stated.index:
                self._result.before_batch = entry.prev_entry_hash
            self._count_in_batch(stated)

    def _count_in_batch(self, batch: OpenBatch) -> None:
        batch.index += 1
        if batch.index >= batch.size:
            self._batch = None

    def _leave_batch(self, entry: Entry, is_next: bool) -> None:
        batch = self._batch
        if batch is not None and is_next:
            self._find(
                "entry.batch", f"a batch of {batch.size} stops after {batch.index} entries", entry,
                expected=f"{batch.index}/{batch.size}", found=entry.signature_algorithm,
            )  # fmt: skip
        self._batch = None
        self._settle()

    def _settle(self) -> None:
        if self._pending:
            self._findings.extend(settle(self._pending))
            self._pending = []


def _digest(stated: str) -> bytes:
    return bytes.fromhex(stated) if _HASH.fullmatch(stated) else _NO_HASH


def malformed_run(run: Run) -> Finding:
    """The finding for bytes among entries that are not an entry."""
    what = f"{run.size_bytes} bytes at {run.place} are not an entry: {run.reason}"
    return finding("entry.malformed", what, run.position, found=run.reason)


def count_proof(counts: dict[str, tuple[int, int]], kind: str, first: int, count: int) -> None:
    """Add to the tally of a proof type, while there is room for types."""
    known = counts.get(kind)
    if known is not None:
        counts[kind] = (known[0], known[1] + count)
    elif len(counts) < PROOF_TYPES_MAX:
        counts[kind] = (first, count)


def count_pointer(
    counts: WrongPointers, key: tuple[str, str | None], wrong: tuple[int, int, str | None]
) -> None:
    """Add to the tally of wrong pointers; those that there is no room for are one."""
    if key not in counts and len(counts) >= WRONG_POINTERS_MAX:
        key = ("", None)
    known = counts.get(key)
    counts[key] = wrong if known is None else (known[0], known[1] + wrong[1], known[2])


def tell_wrong_pointers(counts: WrongPointers) -> Iterator[Finding]:
    """A finding for each wrong value: where it is first, and how often."""
    for (member, found), (first, count, expected) in sorted(counts.items(), key=lambda item: item[1][0]):
        stated = "is missing" if found is None else f"is {found[:80]}"
        what = f"{member} {stated}" if member else "many more pointers are wrong"
        what += f" in {count} entries from this one on" if count > 1 else ""
        yield finding("entry.rules", what, first, expected=expected, found=found)


UNKNOWN_PROOFS: Final = "entry.proofs_unknown"
"""Proofs of types that only the writer's application checks: no reason to refuse what it says."""


def check_sound(scanned: Scanned) -> None:
    """Raises VerificationError with the first finding, if there is one that is not a notice.

    UnverifiedError where all are of what is not known here, such as an entry of a newer version.
    """
    found = [*scanned.findings, *tell_wrong_pointers(scanned.wrong_pointers)]
    faults = [item for item in found if item.verdict != Verdict.VERIFIED and item.code != UNKNOWN_PROOFS]
    if faults:
        first = min(faults, key=lambda item: item.sequence_number or 0)
        is_known = any(item.verdict != Verdict.UNKNOWN for item in faults)
        raise (VerificationError if is_known else UnverifiedError)(
            f"entry {first.sequence_number}: {first.message}",
            sequence_number=first.sequence_number, finding=first.code, findings=len(faults),
        )  # fmt: skip
