"""What a place must be able to do so that a log can be published to it: a folder, or a bucket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol


class Listed(NamedTuple):
    """A file that a listing names."""

    name: str
    modified_s: float
    """By the clock of where it is kept."""


class Target(Protocol):
    """One published log, open for writing. Methods raise StorageError."""

    @property
    def where(self) -> str:
        """What people call it: a path or URL."""

    @property
    def written(self) -> int:
        """Files written since it was opened, the checkpoint apart."""

    @property
    def found(self) -> int:
        """Files that were there already, byte for byte."""

    def checkpoint(self) -> bytes | None:
        """The published checkpoint; None where there is none yet."""

    def add(self, name: str, data: bytes) -> None:
        """Have `data` under `name`, durably, once `settle` has returned.

        MUST NOT change a file that is there: raises ConsistencyError if it differs.
        """

    def settle(self) -> None:
        """Have all that was added durable under its name. Raises as `add`."""

    def replace_checkpoint(self, note: bytes) -> None:
        """Publish: the checkpoint that `checkpoint` last gave becomes this one, at once. Only after `settle`.

        MUST raise ConflictError, and change nothing, if another publisher has put another in its place.
        """

    def names(self) -> Iterator[Listed]:
        """Every tile and bundle there is."""

    def remove(self, names: Sequence[str]) -> None:
        """Have no files of these names. MUST NOT fail where there is none."""
