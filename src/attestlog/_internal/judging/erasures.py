"""Payloads that are gone, and the entries that say so: each must have the other, and the rules' leave.

Memory is bounded: 24 bytes for each erased payload, and as much for each erasing entry.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from attestlog._internal.core.entry import Entry
from attestlog._internal.core.erasure import Erasure, check_erasure, fingerprint, parse_erasure
from attestlog._internal.core.report import Finding
from attestlog._internal.core.rules import Rules
from attestlog._internal.judging.findings import finding
from attestlog.errors import ErasureRefusedError, MalformedEntryError

_FINGERPRINT_BYTES: Final = 16


class Said(NamedTuple):
    """That the payload of entry `target` is erased, says entry `by`."""

    target: int
    fingerprint: bytes
    """Of the target, as `by` describes it."""
    by: int


class Gone(NamedTuple):
    """An entry without its payload."""

    number: int
    fingerprint: bytes


def gone(entry: Entry) -> Gone:
    """What is remembered of an entry without its payload."""
    return Gone(entry.sequence_number, fingerprint(entry))


def judge_erasure(rules: Rules, entry: Entry) -> tuple[Said | None, Finding | None]:
    """What an erase_payload entry says, if it says anything, and what is wrong with it by itself."""
    number = entry.sequence_number
    try:
        erasure = parse_erasure(entry.action_payload)
    except MalformedEntryError as error:
        return None, finding("erasure.malformed", str(error), number)
    if erasure.sequence_number >= number:
        what = f"says that the payload of entry {erasure.sequence_number} is erased, which is no earlier one"
        return None, finding("erasure.malformed", what, number, found=erasure.sequence_number)
    said = Said(erasure.sequence_number, erasure.fingerprint, number)
    return said, _judge_by_rules(rules, entry, erasure)


def _judge_by_rules(rules: Rules, entry: Entry, erasure: Erasure) -> Finding | None:
    number = entry.sequence_number
    try:
        check_erasure(rules, erasure, entry.timestamp)
    except ErasureRefusedError as error:
        code = "erasure.held" if error.rule == "hold" else "erasure.refused"
        return finding(code, str(error), number, found=erasure.sequence_number)
    for member in ("quorum_met", "proofs_valid"):
        if not getattr(entry, member):
            what = f"erased the payload of entry {erasure.sequence_number} although {member} is false"
            return finding("erasure.refused", what, number, expected=True, found=False)
    return None


class Erasures:
    """Gathers from each chunk; answers at the end."""

    def __init__(self) -> None:
        self._gone, self._gone_fingerprints = array("Q"), bytearray()
        self._said, self._by, self._said_fingerprints = array("Q"), array("Q"), bytearray()

    def add(self, gone: Iterable[Gone], said: Iterable[Said]) -> None:
        """Take in what a chunk has."""
        for lost in gone:
            self._gone.append(lost.number)
            self._gone_fingerprints += lost.fingerprint
        for item in said:
            self._said.append(item.target)
            self._by.append(item.by)
            self._said_fingerprints += item.fingerprint

    def settle(self, start: int = 0) -> tuple[int, list[Finding]]:
        """How many payloads were erased by an entry that says so, and a finding for all that do not fit.

        `start`: entries before it were not read.
        """
        by_target = {target: place for place, target in enumerate(self._said)}
        found = list(self._settle_gone(by_target))
        erased = len(self._gone) - sum(item.code == "entry.payload_missing" for item in found)
        there = set(self._gone)
        for target, by in zip(self._said, self._by, strict=True):
            if target >= start and target not in there:
                what = f"entry {by} says that the payload of entry {target} is erased, and it is there"
                found.append(finding("erasure.unfinished", what, target, found=by))
        return erased, found

    def _settle_gone(self, by_target: dict[int, int]) -> Iterator[Finding]:
        for place, number in enumerate(self._gone):
            said = by_target.get(number)
            if said is None:
                what = "the payload is null and no erase_payload entry says why"
                yield finding("entry.payload_missing", what, number)
                continue
            if _part(self._gone_fingerprints, place) != _part(self._said_fingerprints, said):
                by = self._by[said]
                what = f"says that the payload of entry {number} is erased, and describes another entry"
                yield finding("erasure.malformed", what, by, found=number)


def _part(fingerprints: bytearray, place: int) -> bytes:
    return bytes(fingerprints[place * _FINGERPRINT_BYTES : (place + 1) * _FINGERPRINT_BYTES])
