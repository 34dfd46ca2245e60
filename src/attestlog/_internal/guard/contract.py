"""What a guard asks of a log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from attestlog._internal.core.receipt import Receipt
from attestlog._internal.core.rules import Rules

if TYPE_CHECKING:
    from concurrent.futures import Future


class GuardedLog(Protocol):
    """A log open for writing."""

    @property
    def origin(self) -> str:
        """Its name."""

    @property
    def rules(self) -> Rules:
        """Those in force."""

    def now_us(self) -> int:
        """Its clock: microseconds since 1970."""

    def storable_payload(self, payload: Mapping[str, Any], action_type: str) -> dict[str, Any]:
        """The payload as it will stand in an entry of this type."""

    def append(self, draft: Mapping[str, Any], /) -> Receipt:
        """Append one entry."""

    async def append_async(self, draft: Mapping[str, Any], /) -> Receipt:
        """Append one entry while only the task waits."""

    def submit(self, draft: Mapping[str, Any], /) -> Future[Receipt]:
        """Append one entry without waiting."""

    def owe(self, ended: Future[None], /) -> None:
        """Have `close` wait for this: entries that no caller waits for may follow until then."""
