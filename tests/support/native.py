"""The native core under test, and what it is held against: the reference scan, of the same lines.

Lines are made member by member (`attestlog._internal.native.selftest`), and their signatures are taken for
good by both: who verifies them is Python in either case.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from attestlog._internal.core.lines import Block, Line, whole_lines
from attestlog._internal.core.pointer import Pointers
from attestlog._internal.core.policy import parse_policy
from attestlog._internal.core.rules import Rules, Term
from attestlog._internal.judging.scan import Scanned, scan
from attestlog._internal.native import loading
from attestlog._internal.native.selftest import ALGORITHM, KEY_ID, RULES
from attestlog._internal.verifying.accepting import Accepting

WANTED = "ATTESTLOG_NATIVE"
"""Set to 1, a core that is not there is a failure: what was built for a run must not be skipped."""

NEVER = 1 << 60
"""One line in so many is given to the reference, which here judges all of them anyway."""


def native_core() -> loading.Core:
    """The core; without it the test is skipped, or fails where it must be there."""
    found = loading._load()
    if found.core is None:
        if os.environ.get(WANTED) == "1":
            pytest.fail(f"the native core is not used: {found.what}")
        pytest.skip(f"the native core is {found.what}")
    return found.core


@dataclass(frozen=True)
class AnyKey:
    """A key that signed everything."""

    key_id: str = KEY_ID
    algorithm: str = ALGORITHM
    key: object = "there"

    def verify(self, signature: bytes, message: bytes) -> None:
        """It did."""


def rules_of(policy: dict[str, Any] | None = None, holds: str | None = None) -> Rules:
    """The rules that the self-test's lines stand under."""
    key: Any = AnyKey()
    return Rules(
        "test.example/log", {KEY_ID: key}, parse_policy(policy or {}), {KEY_ID: Term(0)},
        genesis_hash="cd" * 32, pointers=Pointers(RULES, holds),
    )  # fmt: skip


class Gullible:
    """A core that finds nothing wrong, and says of lines what the reference says."""

    FORMAT, __version__ = loading.FORMAT, "0"

    def __init__(self, *, leaf: bytes | None = None) -> None:
        self._leaf = leaf

    def Judge(self, *_: Any) -> "Gullible":  # noqa: N802 - as it is there
        return self

    def learn(self, key: bytes, proofs: int | None) -> None:
        """Nothing is asked."""

    def edge(self, data: bytes, start: int) -> int | None:
        """Every line begins a batch."""
        return start if start < len(data) else None

    def candidates(self, data: bytes, wanted: list[bytes]) -> list[tuple[int, int]]:
        """None."""
        return []

    def scan(self, data: bytes, start: int, stop: int) -> dict[str, Any]:
        """All is right."""
        lines = data[start:stop].split(b"\n")[:-1]
        told = scan(rules_of(), whole_lines(lines))
        assert told.assumed is not None
        starts, at = b"", 0
        for line in lines:
            starts += struct.pack("<I", at)
            at += len(line) + 1
        return {
            "first": (told.assumed.position, told.assumed.previous, told.assumed.timestamp),
            "last": (told.state.position - 1, told.state.previous, told.state.timestamp),
            "entries": len(lines), "leaves": self._leaf or told.leaves, "starts": starts, "keys": [None],
            "before_batch": None, "erased": None, "wanted": [], "ids": told.ids, "last_ids": told.last_ids,
            "signatures": [], "events": [], "questions": [],
        }  # fmt: skip


class BytesPiece:
    """Lines in a row, all of one piece."""

    segment, begins_segment, is_first, source = 0, True, True, "lines"

    def __init__(self, data: bytes, start: int = 0, stop: int | None = None) -> None:
        self._data, self._start, self._stop = data, start, len(data) if stop is None else stop
        self.size_bytes = len(data)

    def block(self, more: int) -> Block | None:
        """See `Piece`."""
        end = min(len(self._data), self._stop + more)
        return Block(self._data[:end], self._start, self._stop, end == len(self._data))

    def lines(self) -> Iterator[Line]:
        """See `Piece`."""
        return whole_lines(self._data.split(b"\n")[:-1])

    def following(self) -> Iterator[Line]:
        """See `Piece`."""
        return iter(())

    def place(self, offset: int) -> str:
        """See `Piece`."""
        return f"byte {offset}"

    def archived(self) -> str | None:
        """See `Piece`."""


def by_core(core: loading.Core | Accepting, rules: Rules, lines: Sequence[bytes]) -> Scanned | None:
    """What the core, and Python after it, make of the lines; None: it is all for Python."""
    data = b"".join(line + b"\n" for line in lines)
    accepting = core if isinstance(core, Accepting) else Accepting(core, sampled=NEVER)
    return accepting.scan((rules, BytesPiece(data)))


def by_reference(rules: Rules, lines: Sequence[bytes]) -> Scanned:
    """The same by the reference."""
    return scan(rules, whole_lines(lines))


def facts(scanned: Scanned) -> dict[str, Any]:
    """All that a scan came to, to be compared."""
    told = {name: getattr(scanned, name) for name in scanned.__struct_fields__}
    told["last_ids"] = set(told["last_ids"])  # they are looked up, not counted
    return told
