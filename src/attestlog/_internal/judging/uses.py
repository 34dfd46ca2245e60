"""Requests for approval that were used for more than one act, as far as the lines that were read show it.

`Uses` of the core remembers what was used in the lines read so far. What stands in lines that were not read
is not known: where reading began in the midst of the log, the uses that lie there can be searched for;
where lines could not be read, a use that may have been a further one is counted, and reported as unread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from attestlog._internal.core.report import Finding
from attestlog._internal.core.uses import USES_MAX, Use, Uses
from attestlog._internal.judging.findings import finding
from attestlog.errors import MalformedEntryError, StorageError

Search = Callable[[int, frozenset[bytes]], Iterable[Use]]
"""The uses of these requests, from this time (microseconds since 1970) up to where reading began, in order.

Raises StorageError, MalformedEntryError or OSError where lines cannot be read.
"""


class UsedRequests:
    """Gathers what scans found, in order; answers at the end what had to wait."""

    def __init__(self, *, is_whole: bool) -> None:
        """`is_whole`: the log is read from its first entry on."""
        self._uses = Uses()
        self._begins_blind, self._is_lost = not is_whole, False
        self._begun_us = self._lost_us = 0
        """Entries before this time were not read: they stand before the first one read, or are lost."""
        self._waiting: list[Use] = []
        self._unread = 0

    def lose(self) -> None:
        """Lines that come next could not be read."""
        self._is_lost = True

    def add(self, uses: Iterable[Use], first_us: int | None) -> Iterator[Finding]:
        """Gather those of some lines. `first_us`: the time of the first entry there, None without any."""
        if first_us is not None:
            self._see(first_us)
        for use in uses:
            by = self._uses.add(use)
            if by is not None:
                yield _used(use, by)
            elif use.since_us < self._lost_us:
                self._unread += 1
            elif use.since_us < self._begun_us:
                if len(self._waiting) < USES_MAX:
                    self._waiting.append(use)
                else:
                    self._unread += 1

    def settle(self, search: Search) -> Iterator[Finding]:
        """What uses in the lines before the first one read come to, and what could not be told."""
        if self._waiting:
            since_us = min(use.since_us for use in self._waiting)
            wanted = frozenset(use.request_id for use in self._waiting)
            known = Uses()
            try:
                for use in search(since_us, wanted):
                    known.add(use)
            except (OSError, StorageError, MalformedEntryError):
                self._unread += len(self._waiting)
            else:
                for use in self._waiting:
                    by = known.add(use)
                    if by is not None:
                        yield _used(use, by)
            self._unread += known.unread
        unread = self._unread + self._uses.unread
        if unread:
            message = f"of {unread} uses of approvals it is not known whether the request was used before"
            yield finding("approvals.unread", message, expected=USES_MAX, found=unread)

    def _see(self, first_us: int) -> None:
        """These lines are the first, or the first after some that were lost: none before them was later."""
        if self._begins_blind:
            self._begins_blind, self._begun_us = False, first_us
        if self._is_lost:
            self._is_lost, self._lost_us = False, first_us


def _used(use: Use, by: int) -> Finding:
    message = f"what approves it approved entry {by} already: one request is good for one act"
    return finding("approval.used", message, use.sequence_number, found=by)
