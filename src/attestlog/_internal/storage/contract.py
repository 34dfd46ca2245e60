"""What the log asks of a store, and what every driver promises. Drivers share only its test.

A store keeps the lines of one log in order, the hashes of its tree, and its
latest checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from attestlog._internal.core.batch import Head, Plan
from attestlog._internal.core.genesis import Genesis
from attestlog._internal.storage.files.governing import GoverningLines
from attestlog._internal.storage.files.layout import Signers


class Store(Protocol):
    """One log's store, open for writing. Used by one thread at a time."""

    @property
    def genesis(self) -> Genesis:
        """What entry 0 states."""

    @property
    def governing(self) -> GoverningLines:
        """What may change the rules in force, among the entries there are."""

    def signers(self) -> Signers:
        """Where this machine finds the log's keys, by now. Raises MalformedConfigError or StorageError."""

    def replace_signers(self, signers: Signers) -> None:
        """Where it finds them from now on, atomically and durably; inside `exclusive`."""

    def exclusive(self) -> AbstractContextManager[Head]:
        """Be the only committer, among all processes, while the context lasts.

        The head given MUST take in everything other committers made durable.
        Raises BusyError, LockLostError, CorruptError, ClosedError.
        """

    def commit(self, plan: Plan, lines: Sequence[bytes]) -> None:
        """Store the batch, inside `exclusive`. When this returns the entries MUST survive power loss.

        Raises ConflictError if the plan does not follow the head; FullError or another StorageError
        only if nothing of the batch is left; UncertainCommitError if that cannot be known, after
        which the store MUST refuse to go on.
        """

    def room(self, size: int) -> int:
        """How many entries one batch may have when the log has `size`: batches do not cross segments."""

    def hashes(self, level: int, start: int, stop: int) -> list[bytes]:
        """Stored tree hashes. Raises CorruptError if they are not all there."""

    def checkpoint(self) -> bytes | None:
        """The latest signed checkpoint."""

    def replace_checkpoint(self, old: bytes | None, new: bytes) -> None:
        """Compare and swap, inside `exclusive`; the tree it covers MUST be durable first.

        Raises ConflictError if the checkpoint is not `old`.
        """

    def begin_erasure(self, sequence_number: int, entry_hash: str) -> None:
        """The next entry committed will say that this entry's payload is erased. Inside `exclusive`.

        MUST be durable when it returns: if that entry is, the erasure is finished whatever happens.
        """

    def finish_erasure(self) -> None:
        """Erase the payload that the last entry says is erased. Inside `exclusive`.

        Raises StorageError; then the next turn or opening MUST go on with it. What was begun and then not
        said is forgotten.
        """

    def close(self) -> None:
        """Let go of every resource. May be called twice."""
