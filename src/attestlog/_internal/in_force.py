"""The rules in force at the end of a log, read at once: without reading what is before its checkpoint.

    rules = read_rules(source)                     # who may sign, the policy, the legal holds
    rules = follow_rules(rules, source, head, stop)  # what other processes wrote since

1. The last entry that the checkpoint covers is shown to be the log's by an inclusion proof.
2. Its pointers lead, entry by entry and hash by hash, back to the genesis entry.
3. The entries found that way change the rules in order (`Rules.after`).
4. From the checkpoint on every entry is judged, as a verifier would.

What a walk came to is kept in this user's cache (`rules_cache`): the next one ends where it meets the
pointers that were kept. Nothing else beside the entries is believed, and nothing in the log's place. What
cannot be read raises StorageError, which names the entry; what does not hold raises VerificationError. Whose
log it is, is for the caller to know: the genesis entry speaks for itself here.
Specified in docs/spec/rules.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NoReturn

from attestlog._internal.core.batch import Head
from attestlog._internal.core.checkpoint import Checkpoint
from attestlog._internal.core.entry import Entry, entry_hash, format_timestamp
from attestlog._internal.core.erasure import Limits, check_payloads, erasure_of
from attestlog._internal.core.genesis import Genesis, open_log_checkpoint, parse_genesis
from attestlog._internal.core.hashes import HASH_SIZE_BYTES, leaf_hash
from attestlog._internal.core.lines import whole_lines
from attestlog._internal.core.merkle import Span, prove_inclusion, verify_inclusion
from attestlog._internal.core.pointer import Pointers, read_changes
from attestlog._internal.core.policy_change import check_allowed
from attestlog._internal.core.reserved import erases, governs
from attestlog._internal.core.rules import HoldsUnreadError, Rules, check_is_signed
from attestlog._internal.judging.erasures import judge_erasure
from attestlog._internal.judging.scan import Scanned, State, check_sound, scan
from attestlog._internal.rules_cache import load_rules, save_rules
from attestlog._internal.storage.contract import Known, LogSource, PendingErasure
from attestlog.errors import (
    CorruptError,
    ErasureRefusedError,
    HashMismatchError,
    InclusionError,
    MalformedError,
    RuleChangeError,
    StorageError,
    VerificationError,
)

KEPT_AFTER: Final = 256
"""Entries that were fetched on one walk before what it came to is kept: a tenth of a second."""

NEAR_ENTRIES: Final = 64
"""Entries that are read at once where those that are asked for are no further apart."""

NEAR_ROW: Final = 8
"""So many in a row must have been that near: a few are looked up one by one, and nothing else is read."""

NEAR_SIZE_MAX_BYTES: Final = 4 << 20
"""Lines that are kept of one such reading."""


def read_rules(source: LogSource, *, size: int | None = None, with_holds: bool = True) -> Rules:
    """The rules for the entry after the first `size`, by default after all there are.

    Without `with_holds` the legal holds are not read, if there are any: see `Rules.at`.
    Raises VerificationError, MalformedError and StorageError.
    """
    first = source.entry(0)
    _check_hash(first, 0)
    genesis = parse_genesis(first)
    checkpoint = _checkpoint(source, genesis, size)
    if checkpoint is not None:
        try:
            bound = _bound_entry(source, checkpoint, checkpoint.size - 1)
        except (CorruptError, InclusionError) as error:
            if isinstance(error, CorruptError) and error.repair != "tree":
                raise
            # Without right stored hashes nothing short of all entries shows that one is the log's.
        else:
            rules = _rules_after(Rules.of(genesis), bound, source, with_holds=with_holds)
            start = State(checkpoint.size, bound.entry_hash, bound.timestamp)
            return _judge_on(rules, source, start, size)[0]
    rules, scanned = _judge_on(Rules.of(genesis), source, State(), size)
    if checkpoint is not None:
        _check_root(scanned, checkpoint)
    return rules


def follow_rules(rules: Rules, source: LogSource, head: Head, stop: int) -> Rules:
    """The rules after entry `stop` - 1, from those at `head`. Every entry between is judged."""
    start = State(head.size, head.entry_hash, format_timestamp(head.timestamp_us))
    return _judge_on(rules, source, start, stop)[0]


def read_holds(rules: Rules, source: LogSource) -> Rules:
    """The same rules with the legal holds, which are read if they were not."""
    if rules.read_holds is not None:
        return rules
    full = _walk(Rules.of(source.genesis()), rules.pointers, source, with_holds=True)
    # The very same policy: what was prepared under it needs no new preparation.
    return replace(full, policy=rules.policy)


class JudgesErasures(Known):
    """Lets an erasure that was interrupted go on, if the entry that says so stands and its rules allow it."""

    def check_erasure(self, log: LogSource, pending: PendingErasure) -> None:
        """See `Known.check_erasure`. Raises VerificationError, MalformedError and StorageError, too."""
        entry, rules = _judged_entry(log, pending.erased_by)
        if entry.entry_hash != pending.entry_hash or not erases(entry):
            _refuse(pending, "it erases nothing")
        claim, problem = judge_erasure(rules, entry)
        if claim is None or problem is not None:
            _refuse(pending, problem.message if problem is not None else "it cannot be read")
        erasure = erasure_of(entry)
        try:
            check_is_signed(rules, entry)
            check_allowed(rules.policy, entry, rules.log)
        except VerificationError as error:
            _refuse(pending, str(error))
        limits = Limits.of(rules, erasure, entry.timestamp)
        check_payloads(limits, erasure, log.lines(erasure.reach.start, erasure.reach.stop))


def _judged_entry(source: LogSource, number: int) -> tuple[Entry, Rules]:
    """An entry, shown to be the log's by the checkpoint or by all that an entry must be; its rules."""
    genesis = source.genesis()
    checkpoint = _checkpoint(source, genesis, None)
    if checkpoint is not None and number < checkpoint.size:
        entry = _bound_entry(source, checkpoint, number)
        return entry, Rules.of(genesis).at(Pointers.of(entry), source.line)
    rules, before = read_rules(source, size=number), source.entry(number - 1)
    start = State(number, before.entry_hash, before.timestamp)
    _judge_on(rules, source, start, number + 1)
    return source.entry(number), rules


def _refuse(pending: PendingErasure, reason: str) -> NoReturn:
    raise ErasureRefusedError(
        f"entry {pending.erased_by} is not gone on with: {reason}",
        sequence_number=pending.erased_by, rule="again",
    )  # fmt: skip


def changes_of_rules(rules: Rules, source: LogSource) -> Iterator[Entry]:
    """The entries that changed keys and policy, from the genesis entry's to these. Raises as `read_rules`."""
    return read_changes(Pointers(f"0:{rules.genesis_hash}"), Pointers(rules.pointers.rules), source.line)


def _checkpoint(source: LogSource, genesis: Genesis, size: int | None) -> Checkpoint | None:
    note = source.checkpoint()
    if note is None:
        return None
    checkpoint = open_log_checkpoint(note, genesis)
    there = source.size() if size is None else size
    if checkpoint.size > there:
        raise VerificationError(
            f"the checkpoint covers {checkpoint.size} entries, {there} are there",
            expected=checkpoint.size, found=there,
        )  # fmt: skip
    return checkpoint if checkpoint.size else None


def _bound_entry(source: LogSource, checkpoint: Checkpoint, number: int) -> Entry:
    """An entry that the checkpoint covers, shown to be so."""
    entry = source.entry(number)
    _check_hash(entry, number)
    path = prove_inclusion(number, checkpoint.size, source.hashes)
    leaf = leaf_hash(bytes.fromhex(entry.entry_hash))
    verify_inclusion(leaf, number, checkpoint.size, path, checkpoint.root)
    return entry


def _rules_after(rules: Rules, entry: Entry, source: LogSource, *, with_holds: bool) -> Rules:
    """The rules after this entry, from those at the genesis."""
    if entry.sequence_number == 0:
        return rules
    rules = _walk(rules, Pointers.of(entry), source, with_holds=with_holds)
    if governs(entry):
        # One that does not hold leaves the rules as they are; verifiers report it.
        with contextlib.suppress(RuleChangeError):
            try:
                return rules.after(entry)
            except HoldsUnreadError:
                return read_holds(rules, source).after(entry)
    return rules


def _walk(start: Rules, pointers: Pointers, source: LogSource, *, with_holds: bool) -> Rules:
    """The rules of entries with these pointers, from those at the genesis, or from those that were kept."""
    fetch = _Lines(source)
    kept = None if source.is_transient else load_rules(start, with_holds=with_holds)
    if kept is not None:
        # Where they are not met on the way, or it cannot be walked, the whole way says what is the matter.
        with contextlib.suppress(StorageError, VerificationError, MalformedError):
            start = kept.at(pointers, fetch, with_holds=with_holds)
    rules = start if start.pointers == pointers else start.at(pointers, fetch, with_holds=with_holds)
    if fetch.count >= KEPT_AFTER and not source.is_transient:
        save_rules(rules, with_holds=with_holds)
    return rules


class _Lines:
    """Lines by number; where they turn out to be near one another, many are read at once."""

    def __init__(self, source: LogSource) -> None:
        self._source = source
        self._last, self._row = -NEAR_ENTRIES, 0
        self._near: dict[int, bytes] = {}
        self.count = 0
        """How many were asked for."""

    def __call__(self, number: int) -> bytes:
        """The line of this entry. Raises as `LogSource.line`."""
        self.count += 1
        step, self._last = number - self._last, number
        self._row = self._row + 1 if abs(step) < NEAR_ENTRIES else 0
        if number not in self._near and self._row >= NEAR_ROW:
            first = number if step > 0 else number - NEAR_ENTRIES
            self._read(max(first, 0), first + NEAR_ENTRIES + 1)
        line = self._near.get(number)
        return self._source.line(number) if line is None else line

    def _read(self, start: int, stop: int) -> None:
        """Those from `start` on, as far as they can be read and are not too long."""
        self._near, size_bytes = {}, 0
        with contextlib.suppress(StorageError):  # whether it matters is seen when one of them is asked for
            for number, line in enumerate(self._source.lines(start, stop), start):
                size_bytes += len(line)
                if size_bytes > NEAR_SIZE_MAX_BYTES:
                    break
                self._near[number] = line


def _judge_on(rules: Rules, source: LogSource, start: State, stop: int | None) -> tuple[Rules, Scanned]:
    """The rules after the entries from `start` on, each of which must be sound."""
    problems: list[StorageError] = []

    def lines() -> Iterator[bytes]:
        try:
            yield from source.lines(start.position, stop)
        except StorageError as error:
            problems.append(error)
            raise

    def judge() -> Scanned:
        return scan(rules, whole_lines(lines()), start)

    try:
        scanned = judge()
    except HoldsUnreadError:
        rules = read_holds(rules, source)
        scanned = judge()
    if problems:
        raise problems[-1]
    check_sound(scanned)
    if stop is not None and scanned.state.position != stop:
        raise CorruptError(
            f"{source.where}: entry {scanned.state.position} of {stop} cannot be read",
            path=source.where, sequence_number=scanned.state.position,
        )  # fmt: skip
    return scanned.rules or rules, scanned


def _check_hash(entry: Entry, number: int) -> None:
    found = entry_hash(entry)
    if (entry.sequence_number, entry.entry_hash) != (number, found):
        raise HashMismatchError(
            f"entry {number} is not what its hash is of", expected=found, found=entry.entry_hash,
            sequence_number=number,
        )  # fmt: skip


def _check_root(scanned: Scanned, checkpoint: Checkpoint) -> None:
    leaves = [
        scanned.leaves[at : at + HASH_SIZE_BYTES]
        for at in range(0, checkpoint.size * HASH_SIZE_BYTES, HASH_SIZE_BYTES)
    ]
    root = Span().extended(leaves).root()
    if root != checkpoint.root:
        raise VerificationError(
            f"the first {checkpoint.size} entries are not those that the checkpoint covers",
            expected=checkpoint.root.hex(), found=root.hex(),
        )  # fmt: skip
