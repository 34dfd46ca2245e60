"""Erasures reach the copy: an entry that says that payloads are erased erases them here too.

What the rules in force at that entry do not allow (a legal hold, a missing
quorum) never comes this far: the verifier refuses the entry, and `check_claims` what it says of entries
that the copy knows better. What could not be done yet is done in the next turn, and until then `unerased`
reports it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from attestlog._internal.core.erasure import (
    check_erasable,
    check_payloads,
    erasure_of,
    fingerprint,
    line_erases,
    read_stored,
    taken,
)
from attestlog._internal.judging.erasures import AnyClaim, RangeClaim
from attestlog._internal.storage.contract import LogSource
from attestlog.errors import ErasureRefusedError, MalformedError, VerificationError

UNERASED_MAX: Final = 10_000
"""Numbers that are reported at once: an answer stays small, however much of a range could not be done."""


def check_claims(claims: Iterable[AnyClaim], copy: LogSource, size: int, lines: Sequence[bytes]) -> None:
    """Raises VerificationError for what must not be erased. `lines`: those after the first `size`."""

    def those(start: int, stop: int) -> Iterator[bytes]:
        yield from copy.lines(start, min(stop, size))
        yield from lines[max(0, start - size) : max(0, stop - size)]

    for claim in claims:
        try:
            if isinstance(claim, RangeClaim):
                reach = claim.erasure.reach
                if claim.limits is not None:
                    check_payloads(claim.limits, claim.erasure, those(reach.start, reach.stop))
                continue
            (line,) = those(claim.target, claim.target + 1)
            stored = read_stored(line)
            check_erasable(stored)
        except ErasureRefusedError as error:
            code = {"hold": "erasure.held", "described": "erasure.malformed"}.get(
                error.rule, "erasure.refused"
            )
            raise VerificationError(str(error), sequence_number=claim.by, finding=code) from None
        if fingerprint(stored) != claim.fingerprint:
            raise VerificationError(
                f"entry {claim.by} erases the payload of entry {claim.target}, and describes another entry",
                sequence_number=claim.by, finding="erasure.malformed",
            )  # fmt: skip


def unerased(copy: LogSource) -> list[int]:
    """Sequence numbers of payloads that the log says are erased, and that are still in this copy.

    The first `UNERASED_MAX`. Reads the entries that erase, and those that they are about.
    """
    found = set[int]()
    for entry in filter(None, map(line_erases, copy.lines())):
        try:
            erasure = erasure_of(entry)
        except MalformedError:
            continue
        reach = erasure.reach
        for _, stored in taken(erasure, copy.lines(reach.start, reach.stop)):
            if stored.has_payload:
                found.add(stored.sequence_number)
            if len(found) == UNERASED_MAX:
                return sorted(found)
    return sorted(found)
