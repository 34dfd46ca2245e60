"""Joins what was scanned, piece by piece, into one pass over the log; and judges how the log ends.

    for piece in pieces:
        findings = walk.join(piece, ahead)      # ahead: what a worker made of it, or None
    ending = walk.finish(...)

What can be said of an entry depends on what is known of those before it. That
is one of four states, `Known`, and these are its rules:

1. A piece that was scanned ahead counts only if it assumed the state that there is (`scan.follows`), and was
   scanned by the rules in force before it; else it is scanned again, here.
2. ALL: every entry so far was read, and each has the number of its place. Everything is judged.
3. DISORDERED: a number is not that of its place, which was a finding. Roots are not known from here on.
   Links, signatures, rules and the end are judged as before.
4. A segment that is missing, which was a finding, is also disorder. The first entry after it is taken for
   what it says (`State.is_synced`). Keys or policy may have changed in what is missing
   (`State.knows_rules`).
5. LOST: a piece could not be read, which was a finding. As after a missing segment; and what only a log read
   whole can show is not judged: where the last segment ends, whether a stored tree or checkpoint is longer
   than the entries, relations between entries.
6. ARCHIVED: a segment is elsewhere, and its stored hashes stand for it. As LOST, but roots are known, on the
   word of these hashes: a root that differs shows that something is wrong, not what.
7. Bytes after the last entry, and a batch that is not all there, were torn off by a power cut, unless
   something else says that more was durable (`acknowledged`). Torn, they are not part of the log; else they
   are damage.
8. A last batch that nothing says was durable, and whose bytes or signature do not hold, may be what a power
   cut left: pages of one write reach the disk in any order, and a signature may be checked while its lines
   are flushed. It is `log.unsettled`, and not part of the log: nothing of it counts.

Nothing is read here but what `Piece` and `StoredHashes` give.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from enum import Enum
from typing import IO, Final, NamedTuple

from attestlog._internal.core.hashes import HASH_SIZE_BYTES
from attestlog._internal.core.lines import Piece
from attestlog._internal.core.merkle import Grown, Span
from attestlog._internal.core.pointer import Fetch
from attestlog._internal.core.report import Finding
from attestlog._internal.core.rules import Rules
from attestlog._internal.judging.findings import finding
from attestlog._internal.judging.relations import Relations
from attestlog._internal.judging.scan import (
    Run,
    Scanned,
    State,
    WrongPointers,
    count_pointer,
    follows,
    malformed_run,
    scan_piece,
    tell_wrong_pointers,
)
from attestlog._internal.judging.stored import StoredTree

UNSETTLED: Final = frozenset({
    "entry.canonical", "entry.too_large", "entry.action_hash", "entry.entry_hash", "entry.signature_form",
    "entry.signature",
})  # fmt: skip
"""Bytes or signature of an entry do not hold (rule 8). What a key in force signed stays what it is."""

CHANGES_SIZE_MAX_BYTES: Final = 1 << 20
"""Of the lines kept that changed the rules: hundreds of keys and policies fit a verifier's memory file."""


class Known(Enum):
    """What is known of the entries so far. The rules of each state stand at the top of this module.

                        all read    roots
        ALL                yes       yes
        DISORDERED         yes       no
        ARCHIVED           no        yes
        LOST               no        no

    No transition gives back what was not known any more.
    """

    ALL = "all"
    DISORDERED = "disordered"
    ARCHIVED = "archived"
    LOST = "lost"

    @property
    def is_all_read(self) -> bool:
        """Whether every entry that is there could be read."""
        return self in {Known.ALL, Known.DISORDERED}

    @property
    def has_roots(self) -> bool:
        """Whether the tree is known: every leaf hash so far is in its place."""
        return self in {Known.ALL, Known.ARCHIVED}

    def after_disorder(self) -> Known:
        """A number was not that of its place, or a segment is missing."""
        return {Known.ALL: Known.DISORDERED, Known.ARCHIVED: Known.LOST}.get(self, self)

    def after_archived(self) -> Known:
        """A segment is elsewhere, and its stored hashes stand for it."""
        return Known.ARCHIVED if self.has_roots else Known.LOST


class Ending(NamedTuple):
    """What the log came to, read to its end."""

    size: int
    """Where the log proper ends: before what was never acknowledged."""
    accounted: int
    """Entries that are there, damaged ones included."""
    entries: int
    """Those that were read."""
    edge: Span | None
    """The tree at `size`; None where it is not known."""
    head_hash: str | None
    """entry_hash of the last entry; None where it is not known."""
    timestamp: str
    """The last entry's."""
    known: Known
    knows_rules: bool
    """Whether `rules` are those at the end: nothing that may have changed them was left out."""
    roots: Mapping[int, bytes]
    """The root at each stop that was reached with every number in its place."""
    rules: Rules
    changes: list[bytes] | None
    """The lines that made the rules; None: more than are kept."""
    key_ids: Mapping[str, int]
    """Keys that signed entries that were read → the last that each signed."""
    findings: list[Finding]


class Walk:
    """Takes the pieces in order, each once."""

    def __init__(
        self,
        rules: Rules,
        state: State,
        edge: Span,
        *,
        stored: StoredTree,
        stops: Collection[int] = (),
        gaps: Collection[int] = (),
        changes: Collection[bytes] = (),
        segment_entries: int,
        fetch: Fetch | None = None,
        spill: Callable[[], IO[bytes]] | None = None,
    ) -> None:
        """From `state` on, under `rules` that the lines `changes` made, with the tree that `edge` is of.

        `stops`: sizes whose root is wanted. `gaps`: first entries of segments before which one is missing.
        `fetch`: see `scan`. `spill`: see `EntryIds`.
        """
        self.rules = rules
        """Those in force after the pieces joined so far."""
        self.relations = Relations(first=state.position, spill=spill)
        self.known = Known.ALL
        self._changes: list[bytes] | None = list(changes)
        self._state, self._edge = state, edge
        self._stops, self._stored, self._gaps = stops, stored, gaps
        self._segment_entries, self._fetch = segment_entries, fetch
        self._before_batch: tuple[Span, str | None] = (edge, None)
        self._unreadable: set[str] = set()
        self._misplaced: int | None = None
        """The last segment that does not begin with the entry due."""
        self._unjudged = (0, 0)
        """First of the entries under rules that are not known, and how many there are."""
        self._wrong_pointers: WrongPointers = {}
        self._entries = 0
        self._roots: dict[int, bytes] = {}
        self._key_ids: dict[str, int] = {}
        self._findings: list[Finding] = []

    @property
    def position(self) -> int:
        """The sequence number due next."""
        return self._state.position

    def join(self, piece: Piece, ahead: Scanned | None = None) -> list[Finding]:
        """Take the next piece. `ahead`: what a worker made of it, by `rules`, before its state was known."""
        if piece.begins_segment:
            self._enter_segment(piece.segment)
        if ahead is None or ahead.assumed is None or not follows(self._state, ahead.assumed):
            ahead = scan_piece(self.rules, piece, self._state, fetch=self._fetch)
        self._findings += ahead.findings
        self._findings += self.relations.add(ahead)
        self._entries += ahead.entries
        self._key_ids |= ahead.key_ids
        if ahead.rules is not None:
            self._change_rules(ahead.rules, None if ahead.has_fetched_rules else ahead.changes)
        self._count_rules(ahead)
        if self.known.has_roots:
            self._extend_tree(ahead.leaves, ahead.state, ahead.before_batch)
            if not ahead.is_contiguous:
                self.known = self.known.after_disorder()
        self._state = ahead.state
        if ahead.error is not None:
            self._skip_unreadable(piece, ahead.error, ahead.error_code)
        return self._take_findings()

    def join_last(self, piece: Piece) -> list[Finding]:
        """Take the last batch, none of which anything says was durable (rule 8)."""
        ahead = scan_piece(self.rules, piece, self._state, fetch=self._fetch)
        wrong = next((found for found in ahead.findings if found.code in UNSETTLED), None)
        if wrong is None:
            return self.join(piece, ahead)
        if piece.begins_segment:
            self._enter_segment(piece.segment)
        what = f"{ahead.entries} entries at the end were never acknowledged, and do not hold: {wrong.message}"
        return [finding("log.unsettled", what, self.position, found=wrong.code)]

    def finish(self, acknowledged: int, last_segment: range) -> Ending:
        """The log ends here.

        `acknowledged`: how many entries something else says were durable. `last_segment`: the entries that
        the last segment can hold.
        """
        state = self._state
        size = accounted = state.position
        self._findings += self._judge_last_segment(last_segment)
        if state.run is not None:
            size, accounted = self._judge_tail(state.run, acknowledged)
        start = state.torn_batch_start
        if start is not None:
            is_cut = acknowledged > start
            self._findings.append(self._torn_batch("log.cut_batch" if is_cut else "log.torn_batch", start))
            size, accounted = (size, accounted) if is_cut else (start, start)
        self._findings += tell_wrong_pointers(self._wrong_pointers)
        first, count = self._unjudged
        if count:
            what = f"{count} entries from entry {first} on stand under keys or policy that are not known: "
            what += "they changed in what could not be read"
            self._findings.append(finding("entry.unjudged", what, first, found=count))
        edge, head_hash = self._head_at(size)
        return Ending(
            size, accounted, self._entries, edge, head_hash, state.timestamp, self.known,
            state.knows_rules, self._roots, self.rules, self._changes, self._key_ids,
            self._take_findings(),
        )  # fmt: skip

    def _take_findings(self) -> list[Finding]:
        found, self._findings = self._findings, []
        return found

    def _count_rules(self, scanned: Scanned) -> None:
        for key, wrong in scanned.wrong_pointers.items():
            count_pointer(self._wrong_pointers, key, wrong)
        (first, count), (new, more) = self._unjudged, scanned.unjudged
        self._unjudged = (first if count else new, count + more)

    def _judge_last_segment(self, due: range) -> Iterator[Finding]:
        position = self._state.position
        can_tell = self._entries and self.known.is_all_read and self._state.run is None
        # That it begins too late was found when it began.
        if can_tell and not due.start <= position <= due.stop and self._misplaced != due.start:
            yield self._segment_length(due.start, due)

    def _judge_tail(self, run: Run, acknowledged: int) -> tuple[int, int]:
        """(size, entries accounted for) of a log with bytes after its last entry (rule 7)."""
        if acknowledged > (run.position if run.batch_start is None else run.batch_start) and run.lines:
            self._findings.append(malformed_run(run))
            return run.position, max(self._state.position, run.position + run.lines)
        what = f"{run.size_bytes} bytes after the last complete entry, at {run.place}: {run.reason}"
        self._findings.append(finding("log.torn_tail", what, run.position, expected=0, found=run.size_bytes))
        return run.position, run.position

    def _torn_batch(self, code: str, start: int) -> Finding:
        batch = self._state.batch
        return finding(
            code,
            f"the batch that starts at entry {start} is not all there",
            start,
            expected=batch.size if batch is not None else None,
            found=self._state.position - start,
        )

    def _head_at(self, size: int) -> tuple[Span | None, str | None]:
        """The tree and the last entry's hash at a size; None where they are not known."""
        state, run = self._state, self._state.run
        batch_edge, batch_head = self._before_batch
        if size == state.position and run is None and self._edge.stop == size:
            return self._edge, state.previous
        if batch_edge.stop == size and state.torn_batch_start == size:
            return batch_edge, batch_head
        if run is not None and run.position == self._edge.stop == size:
            return self._edge, run.previous
        return None, None

    def _change_rules(self, rules: Rules, changes: list[bytes] | None) -> None:
        self.rules = rules
        if changes is None:
            self._changes = None
        elif self._changes is not None:
            self._changes += changes
            if sum(map(len, self._changes)) > CHANGES_SIZE_MAX_BYTES:
                self._changes = None

    def _enter_segment(self, first: int) -> None:
        state = self._state
        if first in self._gaps:
            self.known = self.known.after_disorder()
            self._desynchronize()
        elif state.is_synced and state.run is None and state.previous is not None and state.position != first:
            self._misplaced = first
            self._findings.append(self._segment_length(first, range(first, first + 1)))

    def _segment_length(self, first: int, due: range) -> Finding:
        position = self._state.position
        what = f"entry {position} is due where segment {first} " + ("starts" if len(due) == 1 else "ends")
        limit = due.start if position < due.start or len(due) == 1 else due.stop
        return finding("segment.length", what, first, expected=limit, found=position)

    def _extend_tree(self, joined: bytes, state: State, before_batch: str | None = None) -> None:
        """Grow the tree by these leaf hashes, to `state`, and compare it with the stored one."""
        start = self._edge.stop
        leaves = [joined[i : i + HASH_SIZE_BYTES] for i in range(0, len(joined), HASH_SIZE_BYTES)]
        stop = start + len(leaves)
        batch, run = state.torn_batch_start, state.run
        grown: list[Grown] = []
        places = (*self._stops, batch, stop)
        for place in sorted({place for place in places if place is not None and start <= place <= stop}):
            self._edge = self._edge.extended(leaves[self._edge.stop - start : place - start], grown)
            if place in self._stops:
                self._roots[place] = self._edge.root()
            if place == batch:
                head = run.previous if run is not None and run.position == batch else before_batch
                self._before_batch = (self._edge, head)
        self._stored.compare_leaves(start, joined)
        self._stored.compare_grown(grown)

    def _skip_unreadable(self, piece: Piece, error: str, code: str) -> None:
        known = self.known
        self.known = Known.LOST
        self._desynchronize()
        target = piece.archived()
        if target is None:
            if piece.source not in self._unreadable:
                self._unreadable.add(piece.source)
                what = f"entries cannot be read: {error}"
                self._findings.append(finding(code, what, self._state.position))
            return
        first, stop = piece.segment, piece.segment + self._segment_entries
        leaves = self._stored.leaves(first, stop) if known.has_roots else b""
        what = f"entries {first} to {stop - 1} are not here, but in {target}"
        what += "; their stored hashes stand for them" if leaves else ""
        self._findings.append(finding("segment.absent", what, first, found=target))
        if leaves:
            self.known = known.after_archived()
            self._extend_tree(leaves, State(stop))
            self._state.position = stop

    def _desynchronize(self) -> None:
        """The next entry is taken for what it says it is, and what was used before it is not known."""
        self.relations.uses.lose()
        self._state.is_synced, self._state.previous, self._state.batch = False, None, None
        self._state.knows_rules = False
