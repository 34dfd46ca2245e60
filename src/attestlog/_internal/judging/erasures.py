"""Erased payloads and the entries that say so: each must have the other, and the rules must allow it.

Memory is bounded: 24 bytes for each erased payload, and as much for each erasing entry.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from attestlog._internal.core.entry import Entry
from attestlog._internal.core.erasure import Erasure, check_erasure, parse_erasure
from attestlog._internal.core.report import Finding
from attestlog._internal.core.rules import Rules
from attestlog._internal.judging.findings import finding
from attestlog.errors import ErasureRefusedError, MalformedEntryError

_FINGERPRINT_BYTES: Final = 16


class ErasureClaim(NamedTuple):
    """Entry `by` says that the payload of entry `target` is erased."""

    target: int
    fingerprint: bytes
    """Of the target, as `by` describes it."""
    by: int


class Erased(NamedTuple):
    """What is remembered of an entry without its payload."""

    number: int
    fingerprint: bytes
    is_kept: bool = False
    """Whether the log cannot do without the payload."""


def judge_erasure(rules: Rules | None, entry: Entry) -> tuple[ErasureClaim | None, Finding | None]:
    """What an erase_payload entry claims, if it can be read, and what is wrong with it by itself.

    `rules`: those it stands under; None: not known.
    """
    number = entry.sequence_number
    try:
        erasure = parse_erasure(entry.action_payload)
    except MalformedEntryError as error:
        return None, finding("erasure.malformed", str(error), number)
    if erasure.sequence_number >= number:
        what = f"says that the payload of entry {erasure.sequence_number} is erased, which is no earlier one"
        return None, finding("erasure.malformed", what, number, found=erasure.sequence_number)
    claim = ErasureClaim(erasure.sequence_number, erasure.fingerprint, number)
    return claim, None if rules is None else _judge_by_rules(rules, entry, erasure)


def _judge_by_rules(rules: Rules, entry: Entry, erasure: Erasure) -> Finding | None:
    number = entry.sequence_number
    try:
        check_erasure(rules, erasure, entry.timestamp)
    except ErasureRefusedError as error:
        code = "erasure.held" if error.rule == "hold" else "erasure.refused"
        return finding(code, str(error), number, found=erasure.sequence_number)
    for denial in rules.policy.demand(entry.event_type, entry.action_type, entry.actor_id).denials:
        what = f"erased the payload of entry {erasure.sequence_number}, which rule {denial.rule!r} denies"
        return finding("erasure.refused", what, number, found=denial.rule)
    for member in ("quorum_met", "proofs_valid"):
        if not getattr(entry, member):
            what = f"erased the payload of entry {erasure.sequence_number} although {member} is false"
            return finding("erasure.refused", what, number, expected=True, found=False)
    return None


class Erasures:
    """Gathers erased payloads and what is claimed of them; answers at the end."""

    def __init__(self) -> None:
        self._erased, self._erased_fingerprints = array("Q"), bytearray()
        self._kept: set[int] = set()
        self._targets, self._by, self._target_fingerprints = array("Q"), array("Q"), bytearray()

    def add(self, erased: Iterable[Erased], claims: Iterable[ErasureClaim]) -> None:
        """Gather."""
        for entry in erased:
            self._erased.append(entry.number)
            self._erased_fingerprints += entry.fingerprint
            if entry.is_kept:
                self._kept.add(entry.number)
        for claim in claims:
            self._targets.append(claim.target)
            self._by.append(claim.by)
            self._target_fingerprints += claim.fingerprint

    def settle(self, start: int = 0) -> tuple[int, list[Finding]]:
        """How many payloads an entry accounts for, and a finding for each that does not fit.

        `start`: entries before it were not read.
        """
        by_target = {target: place for place, target in enumerate(self._targets)}
        found = list(self._settle_erased(by_target))
        accounted = len(self._erased) - sum(item.code == "entry.payload_missing" for item in found)
        erased = set(self._erased)
        for target, by in zip(self._targets, self._by, strict=True):
            if target >= start and target not in erased:
                what = f"entry {by} says that the payload of entry {target} is erased, and it is there"
                found.append(finding("erasure.unfinished", what, target, found=by))
        return accounted, found

    def _settle_erased(self, by_target: dict[int, int]) -> Iterator[Finding]:
        for place, number in enumerate(self._erased):
            claim = by_target.get(number)
            if claim is None:
                what = "the payload is null and no erase_payload entry says why"
                yield finding("entry.payload_missing", what, number)
                continue
            if number in self._kept:
                what = f"erased the payload of entry {number}, which the log cannot do without"
                yield finding("erasure.refused", what, self._by[claim], found=number)
            if _part(self._erased_fingerprints, place) != _part(self._target_fingerprints, claim):
                by = self._by[claim]
                what = f"says that the payload of entry {number} is erased, and describes another entry"
                yield finding("erasure.malformed", what, by, found=number)


def _part(fingerprints: bytearray, place: int) -> bytes:
    return bytes(fingerprints[place * _FINGERPRINT_BYTES : (place + 1) * _FINGERPRINT_BYTES])
