"""What entries say about other entries, which only the whole log can answer: erasures, dependencies, ids.

Also the tally of proofs that nothing here can check. Memory is bounded: see
`erasures`, and the limit on ids that are looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import IO, Final

import msgspec
from msgspec import Struct

from attestlog._internal.core.entry import parse_timestamp
from attestlog._internal.core.lines import Piece
from attestlog._internal.core.report import Finding
from attestlog._internal.judging.conduct import Conduct, Heads
from attestlog._internal.judging.erasures import Erasures
from attestlog._internal.judging.findings import finding
from attestlog._internal.judging.ids import EntryIds
from attestlog._internal.judging.scan import Scanned, count_proof
from attestlog._internal.judging.uses import UsedRequests
from attestlog.errors import MalformedEntryError, MalformedSegmentError, StorageError

WANTED_MAX: Final = 100_000
"""Entry ids looked for in one more pass over the log: about 20 MB."""


class _Identity(Struct):
    entry_id: str
    rollback_executed: bool = False
    rollback_snapshot_hash: str | None = None


_HASH_LENGTH: Final = 64
"""Digits of a snapshot's hash; an entry id has 36 characters."""

_decoder: Final = msgspec.json.Decoder(_Identity)


class Relations:
    """Gathers what scans found, in order; answers at the end."""

    def __init__(self, *, first: int = 0, spill: Callable[[], IO[bytes]] | None = None) -> None:
        """`first`: the first entry read; 0: the log is read whole. `spill`: see `EntryIds`."""
        self._is_whole = is_whole = first == 0
        self.ids = EntryIds(first, spill)
        self.erasures = Erasures()
        self.heads = Heads()
        self.conduct = Conduct()
        self.uses = UsedRequests(is_whole=is_whole)
        self._wanted: dict[str, int] = {}
        self._unread = 0
        self._neighbours: set[str] = set()
        self._unchecked: dict[str, tuple[int, int]] = {}
        self._unverified: dict[str, tuple[int, int]] = {}

    def add(self, scanned: Scanned) -> Iterator[Finding]:
        """Gather. Gives what is wrong with these lines after those before."""
        self.erasures.add(scanned.erased, scanned.erasures)
        self.heads.add(scanned.heads)
        self.ids.add(scanned.ids, scanned.entries)
        for number, wanted in scanned.wanted:
            if wanted in self._neighbours:
                continue
            if wanted in self._wanted or len(self._wanted) < WANTED_MAX:
                self._wanted.setdefault(wanted, number)
            else:
                self._unread += 1
        self._neighbours = set(scanned.last_ids)
        for kind, (first, count) in scanned.unchecked_proofs.items():
            count_proof(self._unchecked, kind, first, count)
        for algorithm, (first, count) in scanned.unverified.items():
            count_proof(self._unverified, algorithm, first, count)
        yield from self.conduct.join(scanned.conduct, is_whole=self._is_whole)
        yield from self.uses.add(scanned.uses, _microseconds(scanned.first_timestamp))

    def settle_dependencies(
        self, search: Callable[[frozenset[str]], Iterable[set[str]]]
    ) -> Iterator[Finding]:
        """Look for what is still wanted; `search` goes through the log. Gives what was not found."""
        if self._wanted:
            for found in search(frozenset(self._wanted)):
                for entry_id in found:
                    self._wanted.pop(entry_id, None)
        for entry_id, number in sorted(self._wanted.items(), key=lambda item: (item[1], item[0])):
            is_snapshot = len(entry_id) == _HASH_LENGTH
            what = "went back to snapshot" if is_snapshot else "depends on"
            message = f"{what} {entry_id}, {'which no entry took' if is_snapshot else 'no entry of this log'}"
            yield finding(
                "entry.snapshot" if is_snapshot else "entry.dependency", message, number, found=entry_id
            )
        if self._unread:
            message = f"{self._unread} more dependencies were not looked up, {WANTED_MAX} are"
            yield finding("entry.dependencies_unread", message, expected=WANTED_MAX, found=self._unread)

    def unchecked_proofs(self) -> Iterator[Finding]:
        """One notice for each type of proof that nothing here can check."""
        for kind, (first, count) in self._unchecked.items():
            message = f"{count} proofs of type {kind!r} claim to be valid and cannot be checked here"
            yield finding("entry.proof_unchecked", message, first, found=kind)

    def unverified(self) -> Iterator[Finding]:
        """One finding for each algorithm whose signatures could not be verified."""
        for algorithm, (first, count) in self._unverified.items():
            message = f"{count} signatures are {algorithm}, which the installed cryptography does not have"
            yield finding("entry.unverified", message, first, found=algorithm)


def _microseconds(timestamp: str | None) -> int | None:
    """None also for what is no date, which was a finding."""
    try:
        return None if timestamp is None else parse_timestamp(timestamp)
    except MalformedEntryError:
        return None


def find_ids(wanted: frozenset[str], piece: Piece) -> set[str]:
    """Which of these ids and snapshots are in the piece; what cannot be read was reported before."""
    found: set[str] = set()
    with suppress(OSError, StorageError, MalformedSegmentError):
        for entry_id in ids_in(wanted, (line.data for line in piece.lines())):
            found.add(entry_id)
    return found


def ids_in(wanted: frozenset[str], lines: Iterable[bytes]) -> Iterator[str]:
    """Which of these ids and snapshots are those of entries in these lines."""
    for line in lines:
        try:
            identity = _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if identity.entry_id in wanted:
            yield identity.entry_id
        snapshot = identity.rollback_snapshot_hash
        if snapshot is not None and snapshot in wanted and not identity.rollback_executed:
            yield snapshot
