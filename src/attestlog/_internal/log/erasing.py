"""Which payloads an erasure of many is about: asked for by a range or an age, planned from the entries.

It is planned under the log's lock by the writer, and without it by those who only ask for approval.
Whether the payloads may go is not decided here.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from attestlog._internal.core.entry import parse_timestamp
from attestlog._internal.core.erasure import RangeErasure, plan_range
from attestlog._internal.core.uses import search_start
from attestlog._internal.storage.contract import LogSource
from attestlog.errors import NotFoundError


class WantedPayloads(Struct, frozen=True, kw_only=True):
    """Which payloads are to go, and why."""

    action_types: Sequence[str]
    """Globs, of which one must match."""
    reason: str
    legal_basis: str | None = None
    start: int | None = None
    """The first entry; None: that of the first payload that goes."""
    stop: int | None = None
    """One past the last entry; None: the end of the log."""
    before_us: int | None = None
    """Only entries from before this time, in microseconds since 1970."""


def plan_erasure(source: LogSource, wanted: WantedPayloads, size: int) -> RangeErasure:
    """The erasure of what is wanted, in a log of `size` entries; reads the entries of the range.

    Raises ErasureRefusedError where there is nothing to go, NotFoundError for a range beyond the end,
    MalformedEntryError, StorageError.
    """
    stop = size if wanted.stop is None else wanted.stop
    if stop > size:
        raise NotFoundError(
            f"no entry {stop - 1}: the log has {size}", path=source.where, sequence_number=stop - 1
        )
    if wanted.before_us is not None:
        stop = search_start(
            stop, lambda number: parse_timestamp(source.entry(number).timestamp), wanted.before_us
        )
    return plan_range(
        source.lines(wanted.start or 0, stop), wanted.start, stop,
        action_types=wanted.action_types, reason=wanted.reason, legal_basis=wanted.legal_basis,
    )  # fmt: skip
