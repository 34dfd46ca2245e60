"""Erased payloads and the entries that say so: each must have the other, and the rules must allow it.

An entry that erases stands after those that it is about. So a pass over the log gathers two things: what is
claimed, and in which stretches of the log a payload is missing. Both are then held against each other in a
second look at these stretches, and at those that are claimed (`look`), for which all claims are known: each
line is judged by itself, in whatever order, by whatever process.

Memory is bounded: 32 bytes for each payload that is erased alone, and one object for each range. Of what
is erased by a range nothing is kept, however much it is.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from msgspec import Struct, field

from attestlog._internal.core.entry import Entry, canonical_hashes, decode_line
from attestlog._internal.core.erasure import (
    TYPES_REMEMBERED_MAX,
    Erasure,
    Limits,
    RangeErasure,
    Stored,
    check_erasure,
    erasure_of,
    fingerprint,
    read_stored,
)
from attestlog._internal.core.lines import Line, Piece
from attestlog._internal.core.report import Finding
from attestlog._internal.core.reserved import is_kept
from attestlog._internal.core.rules import Rules
from attestlog._internal.judging.findings import finding
from attestlog.errors import ErasureRefusedError, MalformedEntryError, StorageError, TooLargeError

_FINGERPRINT_BYTES: Final = 16


class ErasureClaim(NamedTuple):
    """Entry `by` says that the payload of entry `target` is erased."""

    target: int
    fingerprint: bytes
    """Of the target, as `by` describes it."""
    by: int


class RangeClaim(NamedTuple):
    """Entry `by` says that payloads of a range are erased."""

    erasure: RangeErasure
    by: int
    limits: Limits | None
    """What the rules keep that it stands under; None: they are not known."""


AnyClaim = ErasureClaim | RangeClaim


def judge_erasure(rules: Rules | None, entry: Entry) -> tuple[AnyClaim | None, Finding | None]:
    """What an entry that erases claims, if it can be read, and what is wrong with it by itself.

    `rules`: those it stands under; None: not known.
    """
    number = entry.sequence_number
    try:
        erasure = erasure_of(entry)
    except MalformedEntryError as error:
        return None, finding("erasure.malformed", str(error), number, found=error.evidence().get("found"))
    if isinstance(erasure, Erasure):
        claim = ErasureClaim(erasure.sequence_number, erasure.fingerprint, number)
        return claim, None if rules is None else _judge_one(rules, entry, erasure)
    limits = None if rules is None else Limits.of(rules, erasure, entry.timestamp)
    what = f"the payloads of entries {erasure.start} to {erasure.stop - 1}"
    return RangeClaim(erasure, number, limits), None if rules is None else _judge_permission(
        rules, entry, what
    )


def _judge_one(rules: Rules, entry: Entry, erasure: Erasure) -> Finding | None:
    try:
        check_erasure(rules, erasure, entry.timestamp)
    except ErasureRefusedError as error:
        return _refused(error, entry.sequence_number)
    return _judge_permission(rules, entry, f"the payload of entry {erasure.sequence_number}")


def _judge_permission(rules: Rules, entry: Entry, what: str) -> Finding | None:
    number = entry.sequence_number
    for denial in rules.policy.demand(entry.event_type, entry.action_type, entry.actor_id).denials:
        message = f"erased {what}, which rule {denial.rule!r} denies"
        return finding("erasure.refused", message, number, found=denial.rule)
    for member in ("quorum_met", "proofs_valid"):
        if not getattr(entry, member):
            message = f"erased {what} although {member} is false"
            return finding("erasure.refused", message, number, expected=True, found=False)
    return None


def _refused(error: ErasureRefusedError, by: int) -> Finding:
    code = "erasure.held" if error.rule == "hold" else "erasure.refused"
    return finding(code, str(error), by, found=error.sequence_number)


class Singles:
    """Payloads that are erased one by one: which entry is claimed by which, compactly, and to be pickled."""

    def __init__(self, targets: array[int], by: array[int], fingerprints: bytes) -> None:
        order = sorted(range(len(targets)), key=lambda place: (targets[place], by[place]))
        self.targets = array("Q", (targets[place] for place in order))
        self._by = array("Q", (by[place] for place in order))
        self._fingerprints = b"".join(_part(fingerprints, place) for place in order)

    def reach(self, numbers: range) -> bool:
        """Whether a payload of these entries is claimed."""
        place = bisect_left(self.targets, numbers.start)
        return place < len(self.targets) and self.targets[place] < numbers.stop

    def of(self, number: int) -> Iterator[tuple[int, bytes]]:
        """(entry that says so, the fingerprint it gives) for this entry, the earliest first."""
        start = bisect_left(self.targets, number)
        for place in range(start, bisect_right(self.targets, number, start)):
            yield self._by[place], _part(self._fingerprints, place)


class Wanted(NamedTuple):
    """All that lines are held against, for this process or another."""

    singles: Singles
    ranges: list[RangeClaim]
    start: int
    """Entries before it were not read."""


class Tally(Struct):
    """What was found of one range, in some lines."""

    unclaimed: int = 0
    """Payloads in it that no earlier entry erases."""
    matching: int = 0
    """All of the range whose action type it names."""
    unfinished: int = 0
    """Those that are still there."""
    first_unfinished: int = 0
    refused: dict[str, Finding] = field(default_factory=dict)
    """By code: the first payload that the rules keep."""
    is_last_wrong: bool = False
    """Whether the last entry of the range is another one than it says."""

    def add(self, later: Tally) -> None:
        """Those of lines that come after these."""
        if not self.unfinished:
            self.first_unfinished = later.first_unfinished
        self.unclaimed += later.unclaimed
        self.matching += later.matching
        self.unfinished += later.unfinished
        self.refused = later.refused | self.refused
        self.is_last_wrong |= later.is_last_wrong


class Looked(Struct):
    """What a look at some lines found."""

    accounted: int = 0
    """Payloads that are gone, and an entry says why."""
    findings: list[Finding] = field(default_factory=list)
    tallies: dict[int, Tally] = field(default_factory=dict)
    """By the place of a range among those wanted."""
    error: str | None = None
    """Why the lines could not be read to their end, a second time."""


def look_in_piece(wanted: Wanted, piece: Piece) -> Looked:
    """`look` at the lines of a piece."""
    return look(wanted, piece.lines())


def look(wanted: Wanted, lines: Iterable[Line]) -> Looked:
    """Hold lines against all that is claimed."""
    looking = _Look(wanted)
    error = None
    try:
        for line in lines:
            looking.add(line.data)
    except (OSError, StorageError) as problem:
        error = str(problem)
    return looking.finish(error)


def _is_spelled_right(line: bytes) -> bool:
    try:
        canonical_hashes(decode_line(line), line)
    except (MalformedEntryError, TooLargeError, RecursionError):
        return False
    return True


class _Look:
    def __init__(self, wanted: Wanted) -> None:
        self._singles, self._ranges, self._start = wanted
        self._found = Looked()
        self._at = range(0)
        """Entries for which `_active` has the ranges that reach over them."""
        self._active: list[int] = []
        self._ends: dict[int, list[int]] = {}
        """By their last entries."""
        for place, claim in enumerate(self._ranges):
            self._ends.setdefault(claim.erasure.stop - 1, []).append(place)
        self._types: dict[str, tuple[list[int], list[int]]] = {}
        """Of these entries, by action type: the ranges that match, and how many entries there were."""

    def add(self, line: bytes) -> None:
        """One line. What is no entry in its one spelling was a finding, and says nothing here."""
        try:
            stored = read_stored(line)
        except MalformedEntryError:
            return
        number = stored.sequence_number
        matching, count = self._matching(number, stored.action_type)
        singles = list(self._singles.of(number))
        ends = self._ends.get(number, [])
        if (stored.has_payload and not (singles or matching or ends)) or not _is_spelled_right(line):
            return
        count[0] += 1
        for place in ends:
            if not self._ranges[place].erasure.describes(stored):
                self._tally(place).is_last_wrong = True
        if stored.has_payload:
            self._add_unfinished(number, singles, matching)
        elif not singles and not matching:
            what = "the payload is null and no entry that erases says why"
            self._find("entry.payload_missing", what, number)
        else:
            self._add_erased(stored, singles)
        by = min((by for by, _ in singles), default=None)
        if matching and (by is None or self._ranges[matching[0]].by < by):
            self._judge(matching[0], stored)

    def finish(self, error: str | None) -> Looked:
        """All of it."""
        self._count_matching()
        self._found.error = error
        return self._found

    def _add_unfinished(self, number: int, singles: list[tuple[int, bytes]], matching: list[int]) -> None:
        if number < self._start:
            return
        for by, _ in singles[:1]:
            what = f"entry {by} says that the payload of entry {number} is erased, and it is there"
            self._find("erasure.unfinished", what, number, found=by)
        for place in matching[:1]:
            tally = self._tally(place)
            tally.first_unfinished = tally.first_unfinished if tally.unfinished else number
            tally.unfinished += 1

    def _add_erased(self, stored: Stored, singles: list[tuple[int, bytes]]) -> None:
        number = stored.sequence_number
        self._found.accounted += 1
        for by, described in singles:
            if is_kept(stored):
                what = f"erased the payload of entry {number}, which the log cannot do without"
                self._find("erasure.refused", what, by, found=number)
            if described != fingerprint(stored):
                what = f"says that the payload of entry {number} is erased, and describes another entry"
                self._find("erasure.malformed", what, by, found=number)

    def _judge(self, place: int, stored: Stored) -> None:
        """By the rules of the first that erases it: to those after it there was no payload to go."""
        claim, tally = self._ranges[place], self._tally(place)
        tally.unclaimed += 1
        if claim.limits is None:
            return
        try:
            claim.limits.check_stored(stored)
        except ErasureRefusedError as error:
            refused = _refused(error, claim.by)
            tally.refused.setdefault(refused.code, refused)

    def _matching(self, number: int, action_type: str) -> tuple[list[int], list[int]]:
        """The ranges that take the payload of this entry, the earliest first; and where to count it."""
        if number not in self._at:
            self._move_to(number)
        if not self._active:
            return [], [0]
        known = self._types.get(action_type)
        if known is None:
            if len(self._types) >= TYPES_REMEMBERED_MAX:
                self._count_matching()
            matching = [place for place in self._active if self._ranges[place].erasure.names(action_type)]
            known = self._types[action_type] = (matching, [0])
        return known

    def _move_to(self, number: int) -> None:
        self._count_matching()
        reaches = [claim.erasure.reach for claim in self._ranges]
        edges = {edge for reach in reaches for edge in (reach.start, reach.stop)}
        start = max((edge for edge in edges if edge <= number), default=0)
        stop = min((edge for edge in edges if edge > number), default=number + (1 << 53))
        self._at = range(start, stop)
        self._active = [place for place, reach in enumerate(reaches) if number in reach]

    def _count_matching(self) -> None:
        for matching, (count,) in self._types.values():
            for place in matching:
                self._tally(place).matching += count
        self._types.clear()

    def _tally(self, place: int) -> Tally:
        return self._found.tallies.setdefault(place, Tally())

    def _find(self, code: str, message: str, number: int, *, found: int | None = None) -> None:
        self._found.findings.append(finding(code, message, number, found=found))


class Erasures:
    """Gathers where payloads are missing and what is claimed of them; answers at the end."""

    def __init__(self) -> None:
        self.accounted = 0
        """Once it is settled: payloads that are gone, and an entry says why."""
        self._missing: list[range] = []
        self._ranges: list[RangeClaim] = []
        self._targets, self._by, self._fingerprints = array("Q"), array("Q"), bytearray()

    def add(self, missing: range, claims: Iterable[AnyClaim]) -> None:
        """Gather. `missing`: the stretch of the log, from the first payload that is null to the last."""
        if missing:
            last = self._missing[-1] if self._missing else missing
            if self._missing and last.start <= missing.start <= last.stop:
                self._missing[-1] = range(last.start, max(last.stop, missing.stop))
            else:
                self._missing.append(missing)
        for claim in claims:
            if isinstance(claim, RangeClaim):
                self._ranges.append(claim)
            else:
                self._targets.append(claim.target)
                self._by.append(claim.by)
                self._fingerprints += claim.fingerprint

    def settle(
        self,
        search: Callable[[Wanted, Callable[[range], bool]], Iterable[Looked]],
        start: int = 0,
    ) -> Iterator[Finding]:
        """A finding for each payload or entry that does not fit.

        `search` looks at lines, of which those may be left out whose numbers are in a range of which the
        function that it is given says False. `start`: entries before it were not read.
        """
        if not (self._missing or self._ranges or self._targets):
            return
        singles = Singles(self._targets, self._by, bytes(self._fingerprints))
        tallies: dict[int, Tally] = {}

        def concerns(numbers: range) -> bool:
            stretches = (*self._missing, *(claim.erasure.reach for claim in self._ranges))
            return singles.reach(numbers) or any(_overlap(numbers, stretch) for stretch in stretches)

        for looked in search(Wanted(singles, self._ranges, start), concerns):
            if looked.error is not None:
                # They were read before: perhaps a payload was erased meanwhile, and its segment written anew.
                yield finding("log.unreadable", f"entries cannot be read again: {looked.error}")
                return
            self.accounted += looked.accounted
            yield from looked.findings
            for place, tally in looked.tallies.items():
                tallies.setdefault(place, Tally()).add(tally)
        for place, claim in enumerate(self._ranges):
            yield from _settle_range(claim, tallies.get(place, Tally()), start)


def _settle_range(claim: RangeClaim, tally: Tally, start: int) -> Iterator[Finding]:
    erasure, by = claim.erasure, claim.by
    stretch = f"entries {erasure.start} to {erasure.stop - 1}"
    yield from tally.refused.values()
    if tally.is_last_wrong:
        what = f"says that payloads of {stretch} are erased, and names another last entry"
        yield finding("erasure.malformed", what, by, found=erasure.stop - 1)
    if erasure.start >= start and not tally.unclaimed <= erasure.count <= tally.matching:
        what = f"says that {erasure.count} payloads of {stretch} are erased, {tally.unclaimed} were to go"
        yield finding("erasure.malformed", what, by, expected=tally.unclaimed, found=erasure.count)
    if tally.unfinished:
        what = f"entry {by} says that payloads of {stretch} are erased, and {tally.unfinished} are there"
        yield finding("erasure.unfinished", what, tally.first_unfinished, found=by)


def _overlap(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop


def _part(fingerprints: bytes, place: int) -> bytes:
    return fingerprints[place * _FINGERPRINT_BYTES : (place + 1) * _FINGERPRINT_BYTES]
