"""Joins scanned chunks into one pass over the log: state, tree, what they found, and how the log ends."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from attestlog._internal.core.hashes import HASH_SIZE_BYTES
from attestlog._internal.core.merkle import Grown, Span
from attestlog._internal.core.report import Finding
from attestlog._internal.core.rules import Rules
from attestlog._internal.judging.findings import finding
from attestlog._internal.judging.relations import Relations
from attestlog._internal.judging.scan import Scanned, State, follows, malformed_run, scan
from attestlog._internal.judging.source import Chunk, led_away
from attestlog._internal.verifying.memory import CHANGES_SIZE_MAX_BYTES
from attestlog._internal.verifying.stored import StoredTree

_BY_RULES: Final = frozenset({"entry.signing_key", "entry.derived", "entry.change"})
"""What other rules than those that are known might not find."""


class Walk:
    """Takes the chunks in order. `stops`: sizes whose root is wanted; `changes`: what made `rules`."""

    def __init__(
        self,
        rules: Rules,
        state: State,
        edge: Span,
        *,
        stops: Collection[int],
        stored: StoredTree,
        gaps: Collection[int],
        add: Callable[[Finding], None],
        changes: list[bytes],
        segment_entries: int,
    ) -> None:
        self.rules = rules
        """Those in force after the chunks joined so far."""
        self.changes: list[bytes] | None = changes
        """The lines that made them; None: more than are remembered."""
        self._state, self._edge = state, edge
        self._stops, self._stored, self._gaps, self._add = stops, stored, gaps, add
        self._segment_entries = segment_entries
        self._is_contiguous = True
        self._is_from_first = state.position == 0
        self._before_batch: tuple[Span, str | None] = (edge, None)
        self._unreadable: set[str] = set()
        self.is_certain = True
        """Whether the rules are known: what was not read may have changed them."""
        self._unjudged: list[int] = []
        """First of the entries that the rules known find fault with, and how many faults there are."""
        self.is_whole = True
        """Whether all could be read."""
        self.entries = 0
        self.roots: dict[int, bytes] = {}
        """Root at each stop that was reached with every number in its place."""
        self.key_ids: set[str] = set()
        self.relations = Relations()
        # What `finish` decides:
        self.size = 0
        """Where the log proper ends: before what was never acknowledged."""
        self.accounted = 0
        """Entries that are there, damaged ones included."""
        self.edge: Span | None = None
        """The tree at `size`; None after a gap."""
        self.head_hash: str | None = None

    @property
    def position(self) -> int:
        """The sequence number due next."""
        return self._state.position

    @property
    def timestamp(self) -> str:
        """The last entry's."""
        return self._state.timestamp

    def join(self, chunk: Chunk, ahead: Scanned | None) -> None:
        """Take the next chunk; `ahead`: what a worker made of it, by `rules`, before its state was known."""
        if chunk.start == 0:
            self._enter_segment(chunk.first)
        if ahead is None or ahead.assumed is None or not follows(self._state, ahead.assumed):
            ahead = scan(self.rules, chunk, self._state)
        for found in ahead.findings:
            self._say(found)
        self.entries += ahead.entries
        self.key_ids |= ahead.key_ids
        for found in self.relations.add(ahead, is_whole=self._is_from_first):
            self._add(found)
        if ahead.rules is not None:
            self._change_rules(ahead.rules, ahead.changes)
        if self._is_contiguous:
            self._grow(ahead)
        self._state = ahead.state
        if ahead.error is not None:
            self._lose(chunk, ahead.error)

    def _say(self, found: Finding) -> None:
        if self.is_certain or found.code not in _BY_RULES:
            self._add(found)
        elif self._unjudged:
            self._unjudged[1] += 1
        else:
            self._unjudged = [found.sequence_number or 0, 1]

    def finish(self, acknowledged: int, last_segment: range) -> None:
        """The log ends here. `acknowledged`: how many entries something else says were durable."""
        state, run = self._state, self._state.run
        start = state.torn_batch_start
        if (
            self.entries
            and self.is_whole
            and run is None
            and not last_segment.start <= state.position <= last_segment.stop
        ):
            self._segment_length(last_segment.start, last_segment)
        self.size = self.accounted = state.position
        if run is not None:
            self.size = self.accounted = run.position
            if acknowledged > (run.position if run.batch_start is None else run.batch_start) and run.lines:
                self._add(malformed_run(run))
                self.accounted = max(state.position, run.position + run.lines)
            else:
                what = f"{run.size_bytes} bytes after the last complete entry, at {run.place}: {run.reason}"
                self._add(finding("log.torn_tail", what, run.position, expected=0, found=run.size_bytes))
        if start is not None:
            is_cut = acknowledged > start
            self._add(self._torn_batch("log.cut_batch" if is_cut else "log.torn_batch", start))
            self.size = self.size if is_cut else start
            self.accounted = self.accounted if is_cut else start
        if self._unjudged:
            first, count = self._unjudged
            what = f"{count} times from entry {first} on, keys or policy are not those known so far"
            what += ": they may have changed in what was not read"
            self._add(finding("entry.unjudged", what, first, found=count))
        self._settle_head()

    def _torn_batch(self, code: str, start: int) -> Finding:
        there = self._state.position - start
        batch = self._state.batch
        size = batch.size if batch is not None else None
        return finding(
            code,
            f"the batch that starts at entry {start} is not all there",
            start,
            expected=size,
            found=there,
        )

    def _settle_head(self) -> None:
        batch_edge, batch_head = self._before_batch
        run = self._state.run
        if self.size == self._state.position and run is None and self._edge.stop == self.size:
            self.edge, self.head_hash = self._edge, self._state.previous
        elif batch_edge.stop == self.size and self._state.torn_batch_start == self.size:
            self.edge, self.head_hash = batch_edge, batch_head
        elif run is not None and run.position == self._edge.stop == self.size:
            self.edge, self.head_hash = self._edge, run.previous

    def _change_rules(self, rules: Rules, changes: list[bytes]) -> None:
        self.rules = rules
        if self.changes is not None:
            self.changes += changes
            if sum(map(len, self.changes)) > CHANGES_SIZE_MAX_BYTES:
                self.changes = None

    def _enter_segment(self, first: int) -> None:
        state = self._state
        if first in self._gaps:
            self._desynchronize()
        elif state.is_synced and state.run is None and state.previous is not None and state.position != first:
            self._segment_length(first, range(first, first + 1))

    def _segment_length(self, first: int, due: range) -> None:
        position = self._state.position
        what = f"entry {position} is due where segment {first} " + ("starts" if len(due) == 1 else "ends")
        limit = due.start if position < due.start or len(due) == 1 else due.stop
        self._add(finding("segment.length", what, first, expected=limit, found=position))

    def _grow(self, scanned: Scanned) -> None:
        start = self._edge.stop
        leaves = [
            scanned.leaves[i : i + HASH_SIZE_BYTES] for i in range(0, len(scanned.leaves), HASH_SIZE_BYTES)
        ]
        stop = start + len(leaves)
        batch = scanned.state.torn_batch_start
        grown: list[Grown] = []
        wanted = {
            place for place in (*self._stops, batch, stop) if place is not None and start <= place <= stop
        }
        for place in sorted(wanted):
            self._edge = self._edge.extended(leaves[self._edge.stop - start : place - start], grown)
            if place in self._stops:
                self.roots[place] = self._edge.root()
            if place == batch:
                run = scanned.state.run
                head = run.previous if run is not None and run.position == batch else scanned.before_batch
                self._before_batch = (self._edge, head)
        self._stored.compare_leaves(start, scanned.leaves)
        self._stored.compare_grown(grown)
        self._is_contiguous = scanned.is_contiguous

    def _lose(self, chunk: Chunk, error: str) -> None:
        self.is_whole, was_contiguous = False, self._is_contiguous
        self._desynchronize()
        target = led_away(chunk.path)
        if target is None:
            if chunk.path not in self._unreadable:
                self._unreadable.add(chunk.path)
                self._add(finding("log.unreadable", f"entries cannot be read: {error}", self._state.position))
            return
        stop = chunk.first + self._segment_entries
        leaves = self._stored.leaves(chunk.first, stop) if was_contiguous else b""
        what = f"entries {chunk.first} to {stop - 1} are not here, but in {target}"
        what += "; their stored hashes stand for them" if leaves else ""
        self._add(finding("segment.absent", what, chunk.first, found=target))
        if leaves:
            self._grow(Scanned(State(stop), leaves=leaves))
            self._state.position = stop

    def _desynchronize(self) -> None:
        self._is_contiguous = self.is_certain = False
        self._state.is_synced, self._state.previous, self._state.batch = False, None, None
