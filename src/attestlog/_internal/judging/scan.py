"""Batch signatures while scanning: where an entry stands in its batch, and one check for a whole batch.

One pass over lines: a State before, findings, leaves and a State after.

The log is a fold of its lines over a State, so where the lines are cut into
chunks changes nothing. A chunk can be scanned before the State it starts from
is known: the first line then says what that State must have been (`assumed`),
and whoever joins the chunks compares it with what it was, or scans again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy
from typing import Any, Final

from msgspec import Struct, field

from attestlog._internal.core import entry as entries
from attestlog._internal.core.entry import Entry, EventType
from attestlog._internal.core.erasure import is_erasure
from attestlog._internal.core.hashes import GENESIS_PREV_HASH, batch_message, leaf_hash
from attestlog._internal.core.merkle import inclusion_paths
from attestlog._internal.core.report import Finding
from attestlog._internal.core.rules import Rules, governs
from attestlog._internal.core.seen_head import Claim
from attestlog._internal.core.signature import (
    BATCH_SUFFIX,
    PublicKey,
    parse_signature,
    signed_message,
    verify_entry_signature,
)
from attestlog._internal.judging.conduct import Conduct, judge_head
from attestlog._internal.judging.erasures import Gone, Said, gone, judge_erasure
from attestlog._internal.judging.findings import TEXT_LENGTH_MAX, finding
from attestlog._internal.judging.governance import judge_entry
from attestlog._internal.judging.source import Chunk, Line, read_whole_batches
from attestlog.errors import (
    MalformedEntryError,
    MalformedSignatureError,
    RuleChangeError,
    SignatureInvalidError,
    TooLargeError,
)


class OpenBatch(Struct):
    """A batch, and the position within it that is due next, which whoever reads it counts on."""

    signature: str
    """Hex, as in `hsm_signature`."""
    size: int
    index: int
    start: int
    """Sequence number of its first entry."""

    def due(self) -> str:
        """How the `hsm_signature` of the entry due begins."""
        return f"{self.signature}:{self.index}/{self.size}:"


Pending = tuple[int, int, str, str, bytes, bytes, PublicKey]
"""An entry to be verified with the rest of its batch: ordinal, sequence number, `hsm_signature`,
`signature_algorithm`, digest, leaf hash, key. A plain tuple, because one is made for every entry."""


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
    for ordinal, number, text, algorithm, digest, _, key in pending:
        try:
            signature = parse_signature(text, algorithm)
            message = signed_message(signature, digest)
            # Each distinct root's signature is verified once.
            if (key.key_id, signature.signature, message) not in held:
                key.verify(signature.signature, message)
                held.add((key.key_id, signature.signature, message))
        except MalformedSignatureError as error:
            yield ordinal, finding("entry.signature_form", str(error), number, found=text[:80])
        except SignatureInvalidError as error:
            yield ordinal, finding("entry.signature", str(error), number)


def _whole_batch_holds(pending: list[Pending]) -> bool:
    """The quick way: the tree of a complete batch made once, and each entry's path compared with it.

    True only if every entry would verify by itself; False says nothing yet.
    """
    _, _, texts, algorithms, _, leaves, keys = zip(*pending, strict=True)
    head, _, rest = texts[0].partition(":")
    size = len(pending)
    if not rest.startswith(f"0/{size}:") or any(key is not keys[0] for key in keys):
        return False
    root, paths = inclusion_paths(leaves)
    due = [f"{head}:{index}/{size}:{path.hex()}" for index, path in enumerate(paths)]
    if due != list(texts):
        return False
    try:
        keys[0].verify(parse_signature(texts[0], algorithms[0]).signature, batch_message(root))
    except (MalformedSignatureError, SignatureInvalidError):
        return False
    return True


NEIGHBOURS: Final = 1_024
"""Entry ids a chunk hands to the next: what an entry depends on usually stands just before it."""

PROOF_TYPES_MAX: Final = 256
"""Unknown proof types told apart; a log that makes up one an entry must not fill memory."""

_SYSTEM_EVENTS: Final = (EventType.BOOT, EventType.SHUTDOWN)

LINE_SIZE_MIN_BYTES: Final = 64
"""A line that is shorter is not even decoded: eight million line ends must not take a minute."""

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_NO_HASH: Final = bytes(32)


class Run(Struct):
    """Bytes in a row that are not entries, while it is open whether they are a torn tail or damage."""

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
    """Where the batch starts that reaches across them, when all valid entries after them are of that one."""


class State(Struct):
    """All that the next line is judged by."""

    position: int = 0
    """Sequence number due next."""
    previous: str | None = GENESIS_PREV_HASH
    """entry_hash of the entry before; None: not known, so the link is not judged."""
    timestamp: str = ""
    batch: OpenBatch | None = None
    run: Run | None = None
    is_synced: bool = True
    """False after what could not be read: the next entry is taken for what it says it is."""

    @property
    def torn_batch_start(self) -> int | None:
        """Where the batch starts that is not all there, if the log ends here."""
        if self.run is not None and self.run.batch_start is not None:
            return self.run.batch_start
        return None if self.batch is None else self.batch.start


class Scanned(Struct):
    """What a chunk came to."""

    state: State
    assumed: State | None = None
    """The State before, as the first line has it; None when that cannot be told."""
    entries: int = 0
    findings: list[Finding] = field(default_factory=list)
    leaves: bytes = b""
    """Leaf hashes, as far as the entries follow each other."""
    is_contiguous: bool = True
    """Whether the leaves are all its entries, and follow on the State before."""
    before_batch: str | None = None
    """The entry_hash before the last batch that starts in this chunk."""
    key_ids: set[str] = field(default_factory=set)
    erased: list[Gone] = field(default_factory=list)
    """Entries without their payload."""
    erasures: list[Said] = field(default_factory=list)
    """What erase_payload entries say."""
    conduct: Conduct = field(default_factory=Conduct)
    heads: list[Claim] = field(default_factory=list)
    """What BOOT and SHUTDOWN entries saw, further back than the entry before."""
    unchecked_proofs: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Type → first sequence number, how many."""
    unverified: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Algorithm that the installed cryptography does not have → first sequence number, how many."""
    wanted: list[tuple[int, str]] = field(default_factory=list)
    """(sequence number, entry id it depends on or snapshot it went back to) not found in the chunk."""
    last_ids: list[str] = field(default_factory=list)
    error: str | None = None
    """Why the chunk could not be read to its end."""
    rules: Rules | None = None
    """The rules after the chunk, where it changes them."""
    changes: list[bytes] = field(default_factory=list)
    """The lines that did."""


def scan(rules: Rules, chunk: Chunk, state: State | None = None) -> Scanned:
    """Scan one chunk, from `state` or from what its first line says the state must have been.

    `rules`: those in force where it begins. A chunk that would change them is not scanned before its
    state is known: its scan then says nothing.
    """
    scanner = _Scanner(rules, chunk, state)
    error = None
    try:
        for line in read_whole_batches(chunk):
            if not scanner.add(line):
                return Scanned(State())
    except OSError as problem:
        error = str(problem)
    return scanner.finish(error)


def scan_ahead(_: None, item: tuple[Rules, Chunk]) -> Scanned:
    """`scan` before the state is known, for a worker process."""
    return scan(*item)


def follows(state: State, assumed: State) -> bool:
    """Whether a chunk scanned from `assumed` is the one to be had from `state`."""
    return (
        state.is_synced
        and state.run is None
        and state.position == assumed.position
        and state.previous == assumed.previous
        and state.batch == assumed.batch
        and state.timestamp <= assumed.timestamp
    )


class _Scanner:
    def __init__(self, rules: Rules, chunk: Chunk, state: State | None) -> None:
        self._rules, self._chunk = rules, chunk
        self._state, self._is_ahead = state, state is None
        self._result = Scanned(State())
        self._ordinal = 0
        self._findings: list[tuple[int, Finding]] = []
        self._leaves: list[bytes] = []
        self._ids: dict[str, None] = {}
        self._pending: list[Pending] = []
        if state is not None:
            self._enter(state)

    def _enter(self, state: State) -> None:
        self._position, self._previous = state.position, state.previous
        self._timestamp, self._batch, self._run = state.timestamp, copy(state.batch), copy(state.run)
        self._is_synced = state.is_synced

    def add(self, line: Line) -> bool:
        """Judge one line. False when what it is to be judged by is not known, and it does not say so."""
        _, data, _, is_complete = line
        try:
            if len(data) < LINE_SIZE_MIN_BYTES:
                raise MalformedEntryError(f"a line of {len(data)} bytes is too short for an entry")
            if not is_complete:
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
        is_next = self._check_link(entry)
        if entry.timestamp != self._timestamp:
            self._check_timestamp(entry)
        digest = self._check_content(entry, data)
        self._check_derived(entry)
        if entry.actor_context:
            self._findings += [(self._ordinal, found) for found in self._result.conduct.see(entry)]
        if entry.event_type in _SYSTEM_EVENTS:
            self._findings += [(self._ordinal, found) for found in judge_head(entry, self._result.heads)]
        leaf = leaf_hash(digest)
        if self._result.is_contiguous:
            self._leaves.append(leaf)
        self._check_signature(entry, digest, leaf, is_next)
        if entry.dependencies or entry.rollback_executed or entry.event_type is EventType.CHANGE:
            self._remember_relations(entry)
            if governs(entry):
                if self._is_ahead:
                    return False
                self._change_rules(entry, data)
        self._ids[entry.entry_id] = None
        self._position, self._previous = entry.sequence_number + 1, entry.entry_hash
        return True

    def finish(self, error: str | None) -> Scanned:
        """The result, with findings in the order of the entries."""
        result = self._result
        if self._state is None:  # no line begins in the chunk
            result.error = error
            return result
        self._settle()
        self._findings.sort(key=lambda item: item[0])
        result.findings = [found for _, found in self._findings]
        result.assumed = self._state
        result.entries = self._ordinal
        result.leaves = b"".join(self._leaves)
        result.wanted = [item for item in result.wanted if item[1] not in self._ids]
        result.last_ids = list(self._ids)[-NEIGHBOURS:]
        result.error = error
        result.state = State(
            self._position, self._previous, self._timestamp, self._batch, self._run, self._is_synced
        )
        return result

    def _assume(self, entry: Entry) -> bool:
        """Start from the state that this entry follows on, if it is what it says."""
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

    # --- links ---

    def _check_link(self, entry: Entry) -> bool:
        """Whether the entry stands right after the one before; if not, the next is due after this one."""
        number = entry.sequence_number
        is_next = number == self._position and self._previous in (entry.prev_entry_hash, None)
        if self._run is not None or not self._is_synced:
            if self._run is not None:
                self._close_run(self._run, entry)
            self._is_synced = True
            if not is_next:
                self._result.is_contiguous = False
            return is_next
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
        offset, _, after, is_complete = line
        if self._run is None:
            place = f"{self._chunk.path.rpartition('/')[2]} byte {offset}"
            self._run = Run(self._position, self._previous, place, why[:TEXT_LENGTH_MAX])
        self._run.lines += is_complete
        self._run.size_bytes += after - offset

    def _close_run(self, run: Run, entry: Entry) -> None:
        """An entry after bytes that are none: damage, unless all that follows is of a batch torn there."""
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

    # --- the entry by itself ---

    def _check_content(self, entry: Entry, text: bytes) -> bytes:
        """The digest it goes by from here on: the one it states, so that a wrong one is found once."""
        stated = entry.entry_hash
        try:
            entry_hash, action_hash = entries.canonical_hashes(entry, text)
        except TooLargeError as error:
            self._find(
                "entry.too_large", str(error), entry, expected=error.size_bytes_max, found=error.size_bytes
            )
            return _digest(stated)
        except (MalformedEntryError, RecursionError) as error:
            # Its hashes are not judged: of which spelling would they be?
            self._find("entry.canonical", str(error) or "entry is nested too deep", entry)
            return _digest(stated)
        if action_hash is None:
            self._result.erased.append(gone(entry))
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

    def _check_derived(self, entry: Entry) -> None:
        said, unchecked = judge_entry(self._rules.policy, self._rules.log, entry)
        for code, message, expected, found in said:
            self._find(code, message, entry, expected=expected, found=found)
        for kind in unchecked:
            count_proof(self._result.unchecked_proofs, kind[:TEXT_LENGTH_MAX], entry.sequence_number, 1)

    def _remember_relations(self, entry: Entry) -> None:
        """What the entry says about others, which only the whole log can answer."""
        number, result = entry.sequence_number, self._result
        result.wanted.extend((number, wanted) for wanted in entry.dependencies if wanted not in self._ids)
        if entry.rollback_executed and entry.rollback_snapshot_hash:
            result.wanted.append((number, entry.rollback_snapshot_hash))
        if is_erasure(entry):
            said, wrong = judge_erasure(self._rules, entry)
            if said is not None:
                result.erasures.append(said)
            if wrong is not None:
                self._findings.append((self._ordinal, wrong))

    def _change_rules(self, entry: Entry, line: bytes) -> None:
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

    # --- signatures ---

    def _check_signature(self, entry: Entry, digest: bytes, leaf: bytes, is_next: bool) -> None:
        number, algorithm = entry.sequence_number, entry.signature_algorithm
        key = self._rules.signing_key(entry.signing_key_id, algorithm)
        if key is None:
            self._find_no_key(entry)
        else:
            self._result.key_ids.add(entry.signing_key_id)
            if key.key is None:
                count_proof(self._result.unverified, key.algorithm, number, 1)
                key = None
        if algorithm.endswith(BATCH_SUFFIX):
            self._place_in_batch(entry, is_next)
            if key is not None:
                self._pending.append(
                    (self._ordinal, number, entry.hsm_signature, algorithm, digest, leaf, key)
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
        """Keep count within the batch; a signature that cannot be read counts as the one due."""
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
    """The finding for bytes among entries that are no entry."""
    what = f"{run.size_bytes} bytes at {run.place} are not an entry: {run.reason}"
    return finding("entry.malformed", what, run.position, found=run.reason)


def count_proof(counts: dict[str, tuple[int, int]], kind: str, first: int, count: int) -> None:
    """Add to the tally of a proof type, while there is room for types."""
    known = counts.get(kind)
    if known is not None:
        counts[kind] = (known[0], known[1] + count)
    elif len(counts) < PROOF_TYPES_MAX:
        counts[kind] = (first, count)
