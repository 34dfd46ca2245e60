"""What the native core accepted, as `scan` would have it; and the watch on the core.

The core says that lines are exactly right, from the state that their first one follows. It leaves to Python:

1. Signatures: it gives the message of each, made from the lines, and they are verified here.
2. Entries of which something is for Python to say (approvals, system events, erasures, whatever differs from
   what the policy derives): they are judged here, by the scanner's own rules.
3. What it says of guarded acts and counters: gathered here as `Conduct` does.
4. What the policy's rules ask of entries of a type: it asks once a type.

Where it says nothing, or anything here does not fit, the whole piece is for `scan_piece`.

Of every thousand lines it accepted, one drawn at random is judged by the reference as well. If that finds
what the core passed over, the core is left out from then on, and the verdict is UNKNOWN: see `disagreements`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from random import Random
from threading import Lock
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from attestlog._internal.core.deriving import CHECKED_PROOFS
from attestlog._internal.core.entry import PILLARS, decode_line
from attestlog._internal.core.lines import Block, Line, Piece, whole_batches
from attestlog._internal.core.policy import Policy
from attestlog._internal.core.report import Finding
from attestlog._internal.core.reserved import governs, is_newer
from attestlog._internal.core.rules import Rules
from attestlog._internal.judging.conduct import ActEnd, Intent
from attestlog._internal.judging.findings import finding
from attestlog._internal.judging.relations import ids_in
from attestlog._internal.judging.scan import Scanned, Scanner, State, scan
from attestlog._internal.native import loading
from attestlog.errors import AttestlogError

SAMPLED: Final = 1_000
"""Of so many lines that the core accepted, one is given to Python as well."""

MORE_BYTES: Final = 256 << 10
"""Read behind a piece at first, to find where its last batch ends; then as much as it took last."""

MORE_MAX_BYTES: Final = 64 << 20
"""A batch that goes on for longer than this is for Python."""

LINE_KEPT_BYTES: Final = 4_096
"""Of a line on which core and reference disagree, in the finding."""

_PROOF_BITS: Final = {kind: 1 << place for place, kind in enumerate(CHECKED_PROOFS[:5])}
"""Of the types that an entry itself proves, as the core counts them."""


class _Lines(NamedTuple):
    """Whole lines, each with its line end: data[start:stop]."""

    data: bytes
    start: int
    stop: int


class Accepting:
    """One verification's use of the core. Its pieces may be given to several threads."""

    def __init__(self, core: loading.Core, sampled: int = SAMPLED) -> None:
        """`sampled`: one of so many lines is given to Python as well."""
        self._core, self._sampled = core, sampled
        self._random, self._lock = Random(), Lock()  # noqa: S311 - no secret: that nobody foresees it is enough
        self._more = MORE_BYTES
        self._judge: tuple[Rules, loading.Judge] | None = None
        self._disagreements: list[Finding] = []

    def scan(self, item: tuple[Rules, Piece]) -> Scanned | None:
        """As `scan_ahead`; None: Python must judge the piece."""
        rules, piece = item
        if self._disagreements:
            return None
        try:
            lines = self._lines(piece)
            judge = self._judge_of(rules)
            found = None if lines is None else judge.scan(*lines)
            if lines is None or found is None:
                return None
            taken = _Taking(rules, judge, lines, found)
            scanned = taken.finish()
        except (OSError, AttestlogError, ValueError, RecursionError):
            return None  # what is wrong is said when Python judges the piece
        if scanned is not None and not self._agrees(rules, lines, found, scanned):
            return None
        return scanned

    def find_ids(self, wanted: frozenset[str], piece: Piece) -> set[str]:
        """Which of these ids and snapshots are in the piece, as far as the core sees: it may miss some."""
        try:
            block = piece.block(0)
            if block is None:
                return set()
            start, data = _first_line(block.data, block.start), block.data
            spans = self._core.candidates(data[start : block.stop], [item.encode() for item in wanted])
            return set(ids_in(wanted, (_whole_line(data, start + begin) for begin, _ in spans)))
        except (OSError, AttestlogError):
            return set()

    def disagreements(self) -> list[Finding]:
        """What the reference found in lines that the core had accepted."""
        return list(self._disagreements)

    def _judge_of(self, rules: Rules) -> loading.Judge:
        known = self._judge
        if known is None or known[0] is not rules:
            known = self._judge = (rules, _make_judge(self._core, rules))
        return known[1]

    def _lines(self, piece: Piece) -> _Lines | None:
        """The lines of `whole_batches`, in one piece; None if the core is not to have them."""
        more = self._more
        while True:
            block = piece.block(more)
            if block is None:
                data = b"".join(line.data + b"\n" for line in whole_batches(piece))
                return _Lines(data, 0, len(data))
            start = block.start if piece.is_first else self._edge(block, block.start)
            stop = self._edge(block, block.stop)
            if start is None or (stop is None and (block.is_end or more > MORE_MAX_BYTES)):
                return None
            if stop is not None:
                self._more = max(MORE_BYTES, stop - block.stop + MORE_BYTES)
                return _Lines(block.data, start, stop) if start < stop else None
            more *= 4

    def _edge(self, block: Block, offset: int) -> int | None:
        """Where the first batch begins from there on; None if that is not in the block."""
        found = self._core.edge(block.data, _first_line(block.data, offset))
        if found == -1:
            raise ValueError("no batch begins within as many lines as one may have")
        return len(block.data) if found is None and block.is_end else found

    def _agrees(self, rules: Rules, lines: _Lines, found: dict[str, Any], scanned: Scanned) -> bool:
        """Give some lines to the reference, each with the one before it. False if it says otherwise."""
        count, rest = divmod(scanned.entries, self._sampled)
        count += self._random.randrange(self._sampled) < rest
        starts = found["starts"]
        for _ in range(count):
            ordinal = self._random.randrange(scanned.entries)
            first = max(0, ordinal - 1)
            begins = [struct.unpack_from("<I", starts, 4 * place)[0] for place in range(first, ordinal + 1)]
            pair = [_whole_line(lines.data, lines.start + begin) for begin in begins]
            leaves = scanned.leaves[32 * first : 32 * (ordinal + 1)]
            if not _is_the_same(rules, pair, leaves, scanned.findings):
                self._disagree(pair[-1], found["first"][0] + ordinal)
                return False
        return True

    def _disagree(self, line: bytes, number: int) -> None:
        what = "the native core accepted what the reference does not: verify again with --reference"
        text = line[:LINE_KEPT_BYTES].decode("utf-8", "backslashreplace")
        with self._lock:
            told = finding("verifier.disagreement", what, number)
            self._disagreements.append(replace(told, found=text))  # `finding` would cut it
        loading.leave_out(f"it accepted entry {number} of a log, which the reference does not")


def open_accepting() -> Accepting | None:
    """With the core, if it is used."""
    core = loading.core()
    return None if core is None else Accepting(core)


def _is_the_same(rules: Rules, pair: Sequence[bytes], leaves: bytes, findings: Sequence[Finding]) -> bool:
    told = scan(rules, [Line(place, data, place + 1) for place, data in enumerate(pair)])
    return (
        told.assumed is not None
        and told.leaves == leaves
        and not told.wrong_pointers
        and told.rules is None
        and all(found in findings for found in told.findings)
    )


def _make_judge(core: loading.Core, rules: Rules) -> loading.Judge:
    policy, pointers = rules.policy, rules.pointers
    return core.Judge(
        [(key_id, key.algorithm) for key_id, key in rules.keys.items() if key.key is not None],
        [float(policy.weights[pillar]) for pillar in PILLARS],
        float(policy.safety_floor),
        policy.floor_per_pillar,
        (pointers.rules or "", pointers.holds),
        bool(policy.rules),
        any("*" not in rule.actor_ids for rule in policy.rules.values()),
    )


class _Taking(Scanner):
    """Takes up what the core says of some lines. None of what it does differs from what a scanner does."""

    def __init__(self, rules: Rules, judge: loading.Judge, lines: _Lines, found: dict[str, Any]) -> None:
        number, previous, timestamp = found["first"]
        super().__init__(rules, State(number, previous, timestamp), "byte {}".format, None)
        self._core_judge, self._lines, self._found = judge, lines, found
        self._first_number: int = number

    def finish(self, error: str | None = None) -> Scanned | None:  # type: ignore[override]
        """The result; None if Python must judge it all."""
        found = self._found
        if not self._are_signed() or not self._take_events():
            return None
        number, previous, timestamp = found["last"]
        result, keys = self._result, self._keys()
        result.findings = [item for _, item in self._findings]
        result.assumed, result.state = self._state, State(number + 1, previous, timestamp)
        result.entries, result.leaves, result.error = found["entries"], found["leaves"], error
        result.before_batch = found["before_batch"]
        result.key_ids = {
            key_id: last for key_id, last in zip(keys, found["keys"], strict=True) if last is not None
        }
        if found["erased"] is not None:
            result.erased = range(found["erased"][0], found["erased"][1] + 1)
        result.wanted, result.ids, result.last_ids = found["wanted"], found["ids"], found["last_ids"]
        result.first_timestamp = found["first"][2]
        return result

    def _keys(self) -> list[str]:
        return [key_id for key_id, key in self._rules.keys.items() if key.key is not None]

    def _are_signed(self) -> bool:
        keys = self._keys()
        for place, signature, message in self._found["signatures"]:
            try:
                self._rules.keys[keys[place]].verify(signature, message)
            except (AttestlogError, ValueError):
                return False
        return True

    def _take_events(self) -> bool:
        """False if an entry changes the rules."""
        for event in self._events():
            self._ordinal = event[0]
            number = self._first_number + self._ordinal
            match event[1:]:
                case ("judge",):
                    if not self._judge_entry():
                        return False
                case ("intent", entry_id, is_forbidden, act):
                    self._result.conduct.acts.append(Intent(number, entry_id, is_forbidden, act))
                case ("end", depends_on, has_acted, act):
                    self._result.conduct.acts.append(ActEnd(number, depends_on, has_acted, act))
                case (_, session, counter):
                    found = self._result.conduct.count(session, number, counter)
                    self._findings += [(self._ordinal, item) for item in found]
        return True

    def _judge_entry(self) -> bool:
        entry = decode_line(self._line())
        if is_newer(entry) or governs(entry):
            return False
        self._check_said(entry)
        self._check_erasure(entry)
        return True

    def _line(self) -> bytes:
        (begin,) = struct.unpack_from("<I", self._found["starts"], 4 * self._ordinal)
        return _whole_line(self._lines.data, self._lines.start + begin)

    def _events(self) -> Iterable[tuple[Any, ...]]:
        """In order, with those entries whose type turns out to call for Python."""
        events: list[tuple[Any, ...]] = self._found["events"]
        for_python: set[int] = set()
        for key, names, ordinals in self._found["questions"]:
            proofs = _demanded(self._rules.policy, *map(_decoded, names))
            self._core_judge.learn(key, proofs)
            if proofs != 0:  # the core took it for nothing
                for_python.update(ordinals)
        if not for_python:
            return events
        kept = [event for event in events if event[0] not in for_python]
        return sorted([*kept, *((ordinal, "judge") for ordinal in for_python)], key=lambda event: event[0])


def _demanded(policy: Policy, event_type: str, action_type: str, actor_id: str) -> int | None:
    """The proofs that rules ask of such an entry, a bit each; None if they ask for more than that."""
    demand = policy.demand(event_type, action_type, actor_id)
    if demand.required_approvals or demand.roles or demand.denials:
        return None
    bits = [_PROOF_BITS.get(kind, 0) for kind in demand.required_proofs]
    return sum(set(bits)) if all(bits) else None


def _decoded(spelled: str) -> str:
    text: str = msgspec.json.decode(f'"{spelled}"', type=str)
    return text


def _first_line(data: bytes, offset: int) -> int:
    """The first offset from this one on at which a line begins; the end if none does."""
    if offset == 0:
        return 0
    return data.find(b"\n", offset - 1) + 1 or len(data)


def _whole_line(data: bytes, begin: int) -> bytes:
    stop = data.find(b"\n", begin)
    return data[begin:] if stop == -1 else data[begin:stop]
