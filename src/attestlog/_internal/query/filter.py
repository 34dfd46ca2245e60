"""What can be asked of a log, checked and compiled. Pure: the time is an argument.

`Filter` is what a caller states; `Matcher` is the same filter, compiled, and
the judge of every entry that the index proposes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, NamedTuple, TypedDict

import msgspec
from msgspec import Meta, Struct

from attestlog._internal.core import canonical
from attestlog._internal.core.entry import (
    ActorType,
    ActorTypeName,
    Entry,
    EventCategory,
    EventCategoryName,
    EventType,
    EventTypeName,
    ExecutionStatus,
    ExecutionStatusName,
    Name,
    Severity,
    UuidText,
    format_timestamp,
)
from attestlog._internal.core.glob import Glob
from attestlog._internal.query.words import contains, fold, fold_json, words
from attestlog.errors import MalformedJSONError, QueryError

TEXT_WORDS_MAX: Final = 32
"""Words in one text search: more is a pasted document, and each costs an index look-up."""

CONDITIONS_MAX: Final = 32
"""Members of payload and actor_context in one filter: as for words, each costs a look-up."""

PATTERN_LENGTH_MAX: Final = 1_024
"""Characters in a glob: names have at most 256, and escapes double them."""

_DURATION: Final = re.compile(r"([0-9]{1,9})([smhdw])")
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2}))?"
)
_LAST_US: Final = 253_402_300_799_999_999
"""9999-12-31T23:59:59.999999Z: a zone can move a time past what a timestamp can say."""

_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")

Positive = Annotated[int, Meta(ge=1)]
Position = Annotated[int, Meta(ge=0, le=canonical.INTEGER_MAX)]


class Filter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which entries, in which order. Every member that is given must hold."""

    event_type: EventType | None = None
    event_category: EventCategory | None = None
    severity: Severity | None = None
    severity_min: Severity | None = None
    actor_type: ActorType | None = None
    actor_id: Name | None = None
    action_type: str | None = None
    """A glob; see `attestlog._internal.core.glob`."""
    execution_status: ExecutionStatus | None = None
    since: str | None = None
    """RFC 3339 (a date alone is its midnight, UTC), or how long ago: 45s, 30m, 2h, 7d, 1w. Included."""
    until: str | None = None
    """As `since`; not included."""
    text: str | None = None
    """Words that all occur in the names, payload, result or error; see `attestlog._internal.query.words`."""
    payload: dict[str, Any] = {}
    """Dotted path (or JSON pointer) of a payload member, and the JSON value it must have."""
    context: dict[str, Any] = {}
    """The same of `actor_context`: a session, a trace, a tool call."""
    entry_id: UuidText | None = None
    limit: Positive | None = None
    cursor: Position | None = None
    """Go on after the entry with this sequence number, in the order asked for."""
    newest_first: bool = True


class FilterMembers(TypedDict, total=False):
    """The members of a `Filter` as keyword arguments, for type checkers; a test holds them equal."""

    event_type: EventType | EventTypeName | None
    event_category: EventCategory | EventCategoryName | None
    severity: int | None
    severity_min: int | None
    actor_type: ActorType | ActorTypeName | None
    actor_id: str | None
    action_type: str | None
    execution_status: ExecutionStatus | ExecutionStatusName | None
    since: str | None
    until: str | None
    text: str | None
    payload: Mapping[str, Any]
    context: Mapping[str, Any]
    entry_id: str | None
    limit: int | None
    cursor: int | None
    newest_first: bool


def parse_filter(members: Mapping[str, Any]) -> Filter:
    """A filter from plain members. Raises QueryError naming the member."""
    try:
        return msgspec.convert(members, Filter)
    except msgspec.ValidationError as error:
        reason, at, place = str(error).rpartition(" - at ")
        reason, member = (reason, place.strip("`").removeprefix("$").removeprefix(".")) if at else (place, "")
    except RecursionError:
        reason, member = "nested too deep", ""
    except UnicodeEncodeError:
        reason, member = "a member's name holds a lone surrogate", ""
    reason = reason[:1].lower() + reason[1:]
    raise QueryError(f"filter: {member}: {reason}" if member else f"filter: {reason}", member=member)


def parse_condition(text: str, member: str = "payload") -> tuple[str, Any]:
    """(path, value) of `payload.path=value` or `path=value`. `member`: which of the filter it is for.

    The value is read as JSON where it is JSON, else as a string: `5` is the number, `"5"` the string.
    Raises QueryError.
    """
    path, equals, value = text.partition("=")
    path = path.removeprefix(f"{member}.")
    if not equals or not path:
        raise QueryError(f"{text!r} is not of the form {member}.path=value", member=member)
    try:
        return path, canonical.decode(value)
    except MalformedJSONError:
        return path, value


def parse_moment(text: str, now_us: int) -> int:
    """Microseconds since 1970 of an RFC 3339 time, or of so long before now. Raises QueryError."""
    duration = _DURATION.fullmatch(text)
    if duration:
        return max(0, now_us - int(duration[1]) * _UNITS_S[duration[2]] * 1_000_000)
    try:
        moment = datetime.fromisoformat(text.upper()) if _RFC3339.fullmatch(text) else None
    except ValueError:
        moment = None
    if moment is None:
        raise QueryError(
            f"{text!r} is not a time: want RFC 3339 with a zone, or a number and s, m, h, d or w"
        )
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since_1970 = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return min(max(0, since_1970), _LAST_US)


class Matcher:
    """A filter, compiled at one moment."""

    def __init__(self, filter_: Filter, now_us: int) -> None:
        """Raises QueryError for a time, text, glob or payload value that cannot be asked."""
        self.filter = filter_
        for name in ("actor_id", "action_type", "text"):
            _check_text(name, getattr(filter_, name) or "")
        self.since = self._moment("since", now_us)
        self.until = self._moment("until", now_us)
        self.phrases = _phrases(filter_.text)
        self.payload = _conditions("payload", filter_.payload)
        self.context = _conditions("context", filter_.context)
        if len(filter_.action_type or "") > PATTERN_LENGTH_MAX:
            raise QueryError(
                f"action_type has more than {PATTERN_LENGTH_MAX} characters", member="action_type"
            )
        self.glob = None if filter_.action_type is None else Glob(filter_.action_type)

    def matches(self, entry: Entry, searchable: Searchable) -> bool:
        """Whether the entry is one of those asked for. `searchable`: of the same line."""
        return (
            self._names_match(entry)
            and (self.since is None or entry.timestamp >= self.since)
            and (self.until is None or entry.timestamp < self.until)
            and all(_member(entry.action_payload, item.steps) == item.value for item in self.payload)
            and all(_member(entry.actor_context, item.steps) == item.value for item in self.context)
            and (not self.phrases or self._words_match(columns_of(searchable)[:TEXT_COLUMNS]))
        )

    def _words_match(self, columns: Sequence[str]) -> bool:
        return all(any(contains(column, phrase) for column in columns) for phrase in self.phrases)

    def _names_match(self, entry: Entry) -> bool:
        asked = self.filter
        for name in EXACT_MEMBERS:
            wanted = getattr(asked, name)
            if wanted is not None and getattr(entry, name) != wanted:
                return False
        if asked.severity_min is not None and entry.severity < asked.severity_min:
            return False
        return self.glob is None or self.glob.matches(entry.action_type)

    def _moment(self, member: str, now_us: int) -> str | None:
        text = getattr(self.filter, member)
        if text is None:
            return None
        try:
            return format_timestamp(parse_moment(text, now_us))
        except QueryError as error:
            raise QueryError(f"{member}: {error}", member=member) from None


EXACT_MEMBERS: Final = (
    "event_type", "event_category", "severity", "actor_type", "actor_id", "execution_status", "entry_id",
)  # fmt: skip
"""Members of an entry that a filter names with the value they must have."""


class Searchable(Struct):
    """The members of an entry whose words are looked for, as they stand in its line."""

    action_type: str
    actor_context: msgspec.Raw
    actor_id: str
    action_payload: msgspec.Raw
    result_data: msgspec.Raw
    error_details: msgspec.Raw


Columns = tuple[str, str, str, str, str]

TEXT_COLUMNS: Final = 4
"""How many of them, the first, `text` covers: all but the context."""


_NULL: Final = msgspec.Raw(b"null")


def columns_of(entry: Searchable) -> Columns:
    """The folded texts that are searched: action_type, actor_id, payload, result and error, context."""
    outcome = b" ".join(bytes(raw) for raw in (entry.result_data, entry.error_details) if raw != _NULL)
    payload = b"" if entry.action_payload == _NULL else entry.action_payload
    names = fold(entry.action_type), fold(entry.actor_id)
    return *names, fold_json(payload), fold_json(outcome), fold_json(entry.actor_context)


def _phrases(text: str | None) -> list[list[str]]:
    if text is None:
        return []
    phrases = [phrase for term in text.split() if (phrase := words(fold(term)))]
    if not phrases:
        raise QueryError(f"text {text[:80]!r} has no word in it", member="text")
    if sum(map(len, phrases)) > TEXT_WORDS_MAX:
        raise QueryError(f"text has more than {TEXT_WORDS_MAX} words", member="text")
    return phrases


def _check_text(member: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise QueryError(f"{member} holds a lone surrogate, which no entry can", member=member) from None


class Condition(NamedTuple):
    """What a member of a JSON object must be."""

    steps: list[str]
    value: bytes
    """In canonical form."""
    phrase: list[str]
    """Words in a row wherever this holds, for the index."""


def _conditions(name: str, members: Mapping[str, Any]) -> list[Condition]:
    if len(members) > CONDITIONS_MAX:
        raise QueryError(f"{name} has more than {CONDITIONS_MAX} conditions", member=name)
    found = []
    for path, wanted in members.items():
        steps, value = _steps(name, path), _encode(name, path, wanted)
        found.append(Condition(steps, value, _member_phrase(steps, value)))
    return found


def _encode(name: str, path: str, value: Any) -> bytes:
    try:
        return canonical.encode(value)
    except MalformedJSONError as error:
        raise QueryError(f"{name}.{path}: {error}", member=name) from None


def _steps(name: str, path: str) -> list[str]:
    """`a.b.0`, or `/a/b/0` (RFC 6901) for names that hold dots."""
    _check_text(name, path)
    if path.startswith("/"):
        return [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]
    steps = path.split(".")
    if not all(steps):
        raise QueryError(f"{name} path {path!r} has an empty name", member=name)
    return steps


def _member_phrase(steps: list[str], value: bytes) -> list[str]:
    """Words in a row wherever an object has this member: its value, and the last one of its name.

    The last only, because each word of a name that all entries have costs as much as the value itself.
    """
    name = [] if _INDEX.fullmatch(steps[-1]) else words(fold_json(canonical.encode(steps[-1])))
    return [*name[-1:], *words(fold_json(value))][:TEXT_WORDS_MAX]


def _member(value: Any, steps: list[str]) -> bytes | None:
    """The canonical spelling of the member at the path; None if there is none."""
    for step in steps:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and _INDEX.fullmatch(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    try:
        return canonical.encode(value)
    except MalformedJSONError:
        return None  # an entry that verification refuses
