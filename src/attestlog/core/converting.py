"""What msgspec says of a value that does not fit its type, in our words: which member, and why."""

from __future__ import annotations

import re
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from attestlog.errors import MalformedEntryError

Kind = TypeVar("Kind")

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
