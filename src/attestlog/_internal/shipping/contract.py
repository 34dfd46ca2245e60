"""A batch of entries, and what is asked of whatever takes it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from attestlog._internal.exporting.contract import About, Exported


class Batch(NamedTuple):
    """Entries that go together. Between `start` and `stop` a filter may have left some out."""

    about: About
    start: int
    stop: int
    items: list[Exported]


class Delivered(NamedTuple):
    """What a sink said of a batch that it took."""

    rejected: int = 0
    """Entries that it took and refused for good: sent again, they would be refused again."""
    reason: str = ""
    shortened: int = 0
    """Entries of which it got a summary, because they are longer than it takes."""


class Sink(Protocol):
    """One receiver. One thread at a time."""

    name: str
    """What status, messages and entries of the log call it. Holds no secret."""
    form: str
    """In which form it gets entries."""

    def deliver(self, batch: Batch) -> Delivered:
        """When this returns, the receiver has said that it has the batch, as well as its protocol can.

        Raises SinkError; then it may have all, some or none of it. TooLargeError: a smaller batch may do.
        """

    def close(self) -> None:
        """Release connections and files. May be called twice."""
