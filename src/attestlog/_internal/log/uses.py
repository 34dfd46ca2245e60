"""Which requests for approval were used: what the writer asks before it plans an entry with approvals.

An open log knows this of a stretch of entries up to its head: those it wrote itself, and those it has read.
An approval cannot have been used before its own date (less the 60 s of `core.approval`), so the entries from
there on are read once, when the first draft asks; approvals that are dated later need no more. Nothing is
kept on disk. Used while holding the log's lock, by one thread at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

from attestlog._internal.core.approval import Request, judge_approvals
from attestlog._internal.core.batch import CLOCK_TOLERANCE_S, Head, Prepared, monotonic_timestamp
from attestlog._internal.core.entry import format_timestamp, parse_timestamp
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.uses import Use, Uses, search_start, use_of, uses_in
from attestlog._internal.log.keys import InForce
from attestlog._internal.storage.contract import LogSource
from attestlog.errors import ApprovalUsedError


class PlannedUses:
    """The uses of one batch that is being planned."""

    def __init__(self, known: UsedRequests, head: Head, now_us: int) -> None:
        self._known, self._head, self._now_us = known, head, now_us
        self._trial: Uses | None = None
        self.uses: list[Use] = []

    def add(self, prepared: Sequence[Prepared], sequence_number: int) -> None:
        """One caller's entries, the first of which will have this number.

        Raises ApprovalUsedError if one of them would be a further use; then nothing of them is added.
        Raises ClockError as `plan_batch`.
        Raises StorageError if entries that may have used the same approvals cannot be read.
        """
        uses = [
            use
            for number, item in enumerate(prepared, sequence_number)
            if item.draft.received_approvals and (use := self._use(item, number)) is not None
        ]
        if not uses:
            return
        self._known.read(self._head, min(use.since_us for use in uses))
        if self._trial is None:
            self._trial = self._known.trial()
        trial = self._trial.trial()
        for use in uses:
            by = trial.add(use)
            by = self._known.search(self._head, use) if by is None else by
            if by is not None:
                raise ApprovalUsedError(
                    f"what approves this approved entry {by} already: one request is good for one act",
                    request_id=_text(use.request_id), used_by=by,
                )  # fmt: skip
        self._trial.keep(trial)
        self.uses += uses

    def _use(self, item: Prepared, number: int) -> Use | None:
        rules, draft = self._known.rules, item.draft
        timestamp = format_timestamp(monotonic_timestamp(self._head, self._now_us, CLOCK_TOLERANCE_S))
        request = Request.of(draft, rules.log, hex_hash(item.payload), timestamp)
        judged = judge_approvals(rules.policy, draft.received_approvals, request)
        return use_of(
            rules.policy, draft, request, judged, sequence_number=number, entry_id=item.entry_id
        )  # fmt: skip


class UsedRequests:
    """What one open log knows of them."""

    def __init__(self, source: LogSource, in_force: InForce) -> None:
        self._source, self._in_force = source, in_force
        self._uses = Uses()
        self._since_us: int | None = None
        """Every entry of this time or later, below `_size`, is known; None: none is."""
        self._size = 0

    @property
    def rules(self) -> Rules:
        """Those in force at the head."""
        return self._in_force.rules

    def plan(self, head: Head, now_us: int) -> PlannedUses:
        """For a batch that is planned at this time, after `head`."""
        return PlannedUses(self, head, now_us)

    def trial(self) -> Uses:
        """What is known, to be tried upon."""
        return self._uses.trial()

    def read(self, head: Head, since_us: int) -> None:
        """Know every entry up to the head that is not earlier than this time. Raises StorageError."""
        if since_us > head.timestamp_us and self._since_us is None:
            return  # there is no such entry
        is_known = self._since_us is not None and self._since_us <= since_us
        if is_known and self._size == head.size:
            return
        start = search_start(head.size, self._timestamp, since_us)
        if not is_known or start > self._size:
            self._uses, self._since_us, self._size = Uses(), None, start
            begun_us = since_us
        else:
            begun_us = self._since_us or since_us
        self._since_us = None  # until all of them are read
        for use in self._between(self._size, head.size):
            self._uses.add(use)
        self._since_us, self._size = begun_us, head.size

    def search(self, head: Head, use: Use) -> int | None:
        """The entry that used the same request, where more were used than are remembered."""
        if not self._uses.unread:
            return None
        found = Uses()
        for earlier in self._between(search_start(head.size, self._timestamp, use.since_us), head.size):
            if earlier.request_id == use.request_id:
                found.add(earlier)
        return found.find(use)

    def commit(self, planned: PlannedUses, head: Head, size: int) -> None:
        """A batch that was planned after `head` is durable: the log has this size."""
        if self._since_us is not None and self._size == head.size:
            for use in planned.uses:
                self._uses.add(use)
            self._size = size

    def _between(self, start: int, stop: int) -> Iterator[Use]:
        return uses_in(self._in_force.rules_at(start), self._source.lines(start, stop))

    def _timestamp(self, number: int) -> int:
        return parse_timestamp(self._source.entry(number).timestamp)


def _text(request_id: bytes) -> str:
    return str(UUID(bytes=request_id))
