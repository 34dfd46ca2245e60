"""What msgspec says of a value that does not fit its type, in our words: which member, and why.

Where a member stands in an object of objects: `rules.deploy.roles`, `approvers."ana@example.com".keys`.

A name of letters, digits, `_` and `-` stands as it is, any other in quotes as
a JSON string: what TOML calls a dotted key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from attestlog._internal.core import canonical
from attestlog.errors import MalformedEntryError, MalformedPolicyError

Kind = TypeVar("Kind")

MISSING: Final = "is missing"
UNKNOWN: Final = "is not a member"

_FIELD: Final = re.compile(r"(?s)Object (?:contains unknown|missing required) field `(.*?)`")


def read_complaint(complaint: str) -> tuple[str, str]:
    """(path of the member, empty for the whole; reason)."""
    reason, at, place = complaint.rpartition(" - at ")
    path = place.removeprefix("`key` in ").strip("`").removeprefix("$").removeprefix(".") if at else ""
    reason = reason if at else complaint
    field = _FIELD.match(reason)
    if field:
        return join(path, field[1]), MISSING if "missing" in reason else UNKNOWN
    return path, reason if reason.startswith("JSON") else reason[:1].lower() + reason[1:]


_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}")


def read_number(text: str) -> int | None:
    """The number from 0 to 2^53-1 that the text spells in decimal digits; None for any other text.

    Python's `int` also takes `1_1`, ` 6` and digits of other scripts: a range pasted by mistake would name
    another entry than the one meant.
    """
    number = int(text) if _NUMBER.fullmatch(text) else canonical.INTEGER_MAX + 1
    return number if number <= canonical.INTEGER_MAX else None


def join(*parts: str) -> str:
    """Path of a member of a member; an empty part stands for the whole."""
    return ".".join(part for part in parts if part)


def convert_payload(payload: Any, kind: type[Kind]) -> Kind:
    """An entry's payload as what it must be. Raises MalformedEntryError naming the member."""
    try:
        return msgspec.convert(payload, kind)
    except UnicodeEncodeError:
        malformed_payload("a member's name holds a lone surrogate")
    except msgspec.ValidationError as error:
        member, reason = read_complaint(str(error))
        malformed_payload(reason, member)


def malformed_payload(reason: str, member: str = "") -> NoReturn:
    """Raises MalformedEntryError for this member of an entry's payload."""
    path = join("action_payload", member)
    raise MalformedEntryError(f"{path}: {reason}", member=path)


_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_PART: Final = re.compile(r'([A-Za-z0-9_-]+)|("(?:[^"\\]|\\.)*")')


def format_path(parts: Sequence[str]) -> str:
    """The path in its one spelling."""
    return ".".join(
        part if _BARE.fullmatch(part) else msgspec.json.encode(part).decode("utf-8") for part in parts
    )


def parse_path(text: str) -> tuple[str, ...]:
    """The names along the path. Raises MalformedPolicyError unless `text` is its one spelling."""
    parts: list[str] = []
    place = 0
    while True:
        match = _PART.match(text, place)
        if match is None:
            break
        parts.append(match[1] if match[1] is not None else _unquoted(match[2]))
        place = match.end()
        if text[place : place + 1] != ".":
            break
        place += 1
    if not parts or format_path(parts) != text:
        raise MalformedPolicyError(f"{text[:80]!r} is not the path of a member", member="scope")
    return tuple(parts)


def _unquoted(text: str) -> str:
    try:
        return msgspec.json.decode(text, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError, UnicodeEncodeError):
        return ""  # spelled otherwise than any name, so that the comparison refuses it
