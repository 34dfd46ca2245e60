"""The rules of the minimal log format, line by line. Pure: no file, no clock.

A line's hash is over what Python's `json.dumps(entry_without_entry_hash,
sort_keys=True)` prints of what Python's `json.loads` reads, so Python's `json`
is the format: the last of duplicate members counts, NaN and Infinity are
numbers, a float is its `repr`, integers have no bound, and lone surrogates are
escapes like any other. Nothing of core's canonical JSON applies here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from attestlog._internal.core.hashes import GENESIS_PREV_HASH, hex_hash
from attestlog._internal.core.report import Finding, Verdict

MEMBERS: Final = {
    "entry_id": str,
    "timestamp": str,
    "sequence_number": int,
    "event_type": str,
    "action_type": str,
    "action_payload": object,
    "prev_entry_hash": str,
    "entry_hash": str,
}
"""What every line has, and of which type; any others are the caller's."""

SIGNED_MEMBER: Final = "hsm_signature"
"""A line that has it is an entry of the full format, which has other rules."""

_SHOWN_LENGTH_MAX: Final = 80
"""Characters of a wrong value that a finding repeats."""


class LineError(ValueError):
    """A line that is no JSON object as Python reads it."""


def parse_line(data: bytes) -> tuple[dict[str, Any], list[str]]:
    """The members of a line, and the names that stand in it more than once. Raises LineError."""
    repeated: list[str] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            counts = Counter(name for name, _ in pairs)
            repeated.extend(sorted(name for name, count in counts.items() if count > 1))
        return found

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=members)
    except UnicodeDecodeError as error:
        raise LineError(f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise LineError("nested too deep") from None
    except ValueError as error:
        raise LineError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise LineError(f"expected an object, got {type(value).__name__}")
    return value, repeated


def legacy_hash(members: dict[str, Any]) -> str:
    """The `entry_hash` that a line with these members must state. Raises LineError."""
    bare = {name: value for name, value in members.items() if name != "entry_hash"}
    try:
        return hex_hash(json.dumps(bare, sort_keys=True).encode("utf-8"))
    except RecursionError:
        raise LineError("nested too deep") from None
    except ValueError as error:
        raise LineError(str(error)) from None


def is_legacy_line(data: bytes) -> bool:
    """Whether a line has the members of this format, right or wrong, and is not of the full format."""
    try:
        members, _ = parse_line(data)
    except LineError:
        return False
    return all(name in members for name in MEMBERS) and SIGNED_MEMBER not in members


class Judge:
    """Takes the lines in order; knows what the next one must say."""

    def __init__(self) -> None:
        self.size = 0
        """Lines taken that are entries, right or wrong."""
        self.genesis_hash: str | None = None
        self.head_hash: str | None = None
        """As the first and the last entry state them."""
        self._position = 0
        self._expected_number = 0
        self._previous: str | None = GENESIS_PREV_HASH

    def take(self, data: bytes) -> Iterator[Finding]:
        """What does not hold in the next line (without its line end)."""
        position = self._position
        if not data.strip():
            self._position += 1
            yield Finding(
                code="legacy.blank_line", verdict=Verdict.VERIFIED, sequence_number=position,
                message=f"line {position + 1} is blank; no entry is missing there",
            )  # fmt: skip
            return
        try:
            members, repeated = parse_line(data)
            computed = legacy_hash(members)
        except LineError as error:
            self.pass_over()
            message = f"line {position + 1} is not an entry: {error}"
            yield _finding("legacy.line", position, message, None, data.decode("utf-8", "backslashreplace"))
            return
        if not all(name in members for name in MEMBERS) or SIGNED_MEMBER in members:
            self.pass_over()
            message = f"line {position + 1} has not the members of a legacy entry"
            yield _finding("legacy.member", position, message, ", ".join(MEMBERS), ", ".join(members))
            return
        self._position += 1
        self.size += 1
        yield from _types(position, members)
        yield from self._sequence(position, members["sequence_number"])
        yield from self._chain(position, members["prev_entry_hash"])
        stated = members["entry_hash"]
        if stated != computed:
            yield _finding(
                "legacy.hash",
                position,
                f"line {position + 1} does not hash to its entry_hash",
                computed,
                stated,
            )
        for name in repeated:
            yield Finding(
                code="legacy.duplicate_member", verdict=Verdict.VERIFIED, sequence_number=position,
                message=f"line {position + 1} has member {_shown(name)!r} twice; only the last one is hashed",
            )  # fmt: skip
        self._previous = stated if isinstance(stated, str) else None
        self.head_hash = self._previous
        if self.size == 1:
            self.genesis_hash = self.head_hash

    def pass_over(self) -> None:
        """Count a line that is no entry, or was not read: the next one's predecessor is not known."""
        self._position += 1
        self._expected_number += 1
        self._previous = None

    def _sequence(self, position: int, stated: Any) -> Iterator[Finding]:
        expected = self._expected_number
        if stated != expected or type(stated) is not int:
            yield _finding(
                "legacy.sequence",
                position,
                f"line {position + 1} has the wrong sequence number",
                expected,
                stated,
            )
        # Go on from what the line says, so that one missing entry is one finding.
        self._expected_number = (stated if type(stated) is int else expected) + 1

    def _chain(self, position: int, stated: Any) -> Iterator[Finding]:
        if self._previous is not None and stated != self._previous:
            before = "the line before" if position else "64 zeros"
            yield _finding(
                "legacy.chain", position, f"line {position + 1} does not follow from {before}",
                self._previous, stated,
            )  # fmt: skip


def _types(position: int, members: dict[str, Any]) -> Iterator[Finding]:
    for name, kind in MEMBERS.items():
        value = members[name]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            yield _finding(
                "legacy.member", position, f"line {position + 1} has {name} of the wrong type",
                kind.__name__, type(value).__name__,
            )  # fmt: skip


def _finding(code: str, position: int, message: str, expected: Any, found: Any) -> Finding:
    return Finding(
        code=code, message=message, sequence_number=position, expected=_shown(expected), found=_shown(found)
    )


def _shown(value: Any) -> Any:
    """A value as a finding can carry it through JSON: short, and without what has no UTF-8."""
    if value is None or (type(value) is int and abs(value) < 1 << 53):
        return value
    text = value if isinstance(value, str) else json.dumps(value)  # as it was hashed, so it can be printed
    return text[:_SHOWN_LENGTH_MAX].encode("utf-8", "backslashreplace").decode()
