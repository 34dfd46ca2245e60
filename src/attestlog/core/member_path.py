"""Where a member stands in an object of objects: `rules.deploy.roles`, `approvers."ana@example.com".keys`.

A name of letters, digits, `_` and `-` stands as it is, any other in quotes as
a JSON string: what TOML calls a dotted key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from attestlog.errors import MalformedPolicyError

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
