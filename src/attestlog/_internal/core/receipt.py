"""What `append` returns."""

from __future__ import annotations

from attestlog._internal.core.entry import Entry, decode_line


class Receipt:
    """What `append` returns: the entry is durable."""

    __slots__ = ("_line", "entry_hash", "entry_id", "sequence_number", "timestamp")

    def __init__(
        self, sequence_number: int, entry_id: str, entry_hash: str, timestamp: str, line: bytes
    ) -> None:
        self.sequence_number = sequence_number
        self.entry_id = entry_id
        self.entry_hash = entry_hash
        self.timestamp = timestamp
        self._line = line

    def __repr__(self) -> str:
        return f"Receipt(sequence_number={self.sequence_number}, entry_hash={self.entry_hash!r})"

    @property
    def line(self) -> bytes:
        """The canonical bytes that were stored (without line end)."""
        return self._line

    @property
    def entry(self) -> Entry:
        """The entry as stored, decoded from those bytes."""
        return decode_line(self._line)
