"""What `append` returns."""

from __future__ import annotations

from msgspec import Struct

from attestlog._internal.core.entry import Entry, decode_line
from attestlog._internal.core.redaction import Redacted, redactions


class Receipt(Struct, frozen=True, gc=False):
    """What `append` returns: the entry is durable.

    Out of the garbage collector's sight (`gc=False`): it holds text only, and a long list has many.
    """

    sequence_number: int
    entry_id: str
    entry_hash: str
    timestamp: str
    line: bytes
    """The canonical bytes that were stored (without line end)."""

    def __repr__(self) -> str:
        return f"Receipt(sequence_number={self.sequence_number}, entry_hash={self.entry_hash!r})"

    @property
    def redacted(self) -> list[Redacted]:
        """Which values the entry holds only as commitments, and what each was found by: see `redaction`."""
        return redactions(self.line)

    @property
    def entry(self) -> Entry:
        """The entry as stored, decoded from those bytes."""
        return decode_line(self.line)
