"""What msgspec says of a value that does not fit its type, in our words: which member, and why."""

from __future__ import annotations

import re
from typing import Final

MISSING: Final = "is missing"
UNKNOWN: Final = "is not a member"

_PLACE: Final = re.compile(r"(?s)(.*) - at (?:`key` in )?`(.*)`$")
_FIELD: Final = re.compile(r"(?s)Object (?:contains unknown|missing required) field `(.*?)`")


def read_complaint(complaint: str) -> tuple[str, str]:
    """(path of the member, empty for the whole; reason)."""
    place = _PLACE.match(complaint)
    path = place[2].removeprefix("$").removeprefix(".") if place else ""
    reason = place[1] if place else complaint
    field = _FIELD.match(reason)
    if field:
        return join(path, field[1]), MISSING if "missing" in reason else UNKNOWN
    return path, reason if reason.startswith("JSON") else reason[:1].lower() + reason[1:]


def join(*parts: str) -> str:
    """Path of a member of a member; an empty part stands for the whole."""
    return ".".join(part for part in parts if part)
