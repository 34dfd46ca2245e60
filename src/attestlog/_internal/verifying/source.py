"""What the verifier of a whole log asks of the place where the log is kept.

A driver gives the bytes as they were at one moment, if it can between two
commits, and judges nothing: not that a segment is missing, not that a line is
an entry. Whatever it says may be wrong. `storage.files.raw` is the driver of a
directory. Another one MUST give the same bytes for the same log, and MUST NOT
give what was appended after that moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attestlog._internal.core.genesis import Settings
from attestlog._internal.core.lines import Piece
from attestlog._internal.judging.stored import StoredHashes


class RawSegment(Protocol):
    """Entries that are kept together."""

    @property
    def first(self) -> int:
        """Sequence number of the first entry, as the segment's name has it."""

    @property
    def name(self) -> str:
        """For messages."""


class RawStamp(Protocol):
    """An RFC 3161 response over the checkpoint at one size."""

    @property
    def size(self) -> int:
        """Entries that the checkpoint covers, as the stamp's name has it."""

    @property
    def name(self) -> str:
        """For messages."""

    def read(self) -> bytes:
        """The response. Raises OSError or StorageError."""


class RawLog(Protocol):
    """A log's bytes at one moment."""

    @property
    def is_between_commits(self) -> bool:
        """False if the log stayed locked, so that this moment may be in the middle of a commit."""

    @property
    def unreadable(self) -> Sequence[tuple[str, str]]:
        """(name, reason) of what is there and could not be read."""

    @property
    def segments(self) -> Sequence[RawSegment]:
        """In order. One that cannot be read is among them: reading it says why."""

    @property
    def strays(self) -> Sequence[str]:
        """Names among the segments that no segment has."""

    @property
    def checkpoint(self) -> bytes | None:
        """The log's checkpoint; None if there is none, or `unreadable` names it `checkpoint`."""

    @property
    def hashes(self) -> StoredHashes:
        """The stored tree."""

    @property
    def stamps(self) -> Sequence[RawStamp]:
        """The time stamps, smallest size first."""

    def first_line(self) -> bytes:
        """Entry 0's line, without its end; empty if there is no whole one. Raises OSError or StorageError."""

    def config(self) -> tuple[str, Settings] | None:
        """Origin and settings as they are stated beside the entries; None where they are not, or unreadable.

        Raises NotFoundError where they should be stated and are not, MalformedConfigError.
        """

    def segment_name(self, first: int) -> str:
        """What a segment is called that begins with this entry."""

    def pieces(self, firsts: Sequence[int], skip: int, workers: int) -> Sequence[Piece]:
        """The segments that begin with these entries, cut so that this many workers are kept busy.

        Of the first of them, without its first `skip` lines. Raises OSError or StorageError.
        """

    def close(self) -> None:
        """Release what is open."""
