"""Entries: what the caller gives (EntryDraft), what the log keeps (Entry), and one line ↔ one Entry.

The fields of `Entry` stand in canonical order, so that msgspec's encoder,
which writes fields as they stand, writes RFC 8785. An entry's hash covers
every member but `action_payload` (bound through `action_hash`, so that it can
be erased), `entry_hash` and `hsm_signature`.

What is derived, chained or signed is decided elsewhere (policy, batch,
signature); this module only knows shapes and limits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Any, Final, Literal, TypedDict

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from attestlog._internal.core import canonical
from attestlog._internal.core.convert import UNKNOWN, read_complaint
from attestlog._internal.core.hashes import hex_hash
from attestlog.errors import MalformedEntryError, MalformedJSONError, TooLargeError

SCHEMA_VERSION: Final = "1.0.0"
ATTRIBUTION: Final = "alpha_prime_omega"

ENTRY_SIZE_MAX_BYTES: Final = 65_535
"""An entry without its payload, in canonical form: what a C2SP entry bundle can carry (16-bit length)."""

PAYLOAD_SIZE_MAX_BYTES: Final = 16 << 20
"""A payload in canonical form: large enough for transcripts, small enough to hold a few in memory."""

LINE_SIZE_MAX_BYTES: Final = ENTRY_SIZE_MAX_BYTES + PAYLOAD_SIZE_MAX_BYTES + 64
"""No line of a log is longer; a reader may stop looking for its end here."""

NAME_LENGTH_MAX: Final = 256
"""Characters in actor_id and action_type: they are names, indexed and shown in tables."""


class EventType(StrEnum):
    """What kind of thing happened."""

    ACTION = "ACTION"
    DECISION = "DECISION"
    VIOLATION = "VIOLATION"
    CHANGE = "CHANGE"
    BOOT = "BOOT"
    SHUTDOWN = "SHUTDOWN"


class EventCategory(StrEnum):
    """How much attention it asks for."""

    NORMAL = "NORMAL"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


class ActorType(StrEnum):
    """Who did it."""

    HUMAN = "HUMAN"
    AUTONOMOUS_AGENT = "AUTONOMOUS_AGENT"
    SYSTEM = "SYSTEM"
    EXTERNAL = "EXTERNAL"


class ExecutionStatus(StrEnum):
    """How it ended."""

    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    BLOCKED = "BLOCKED"
    ROLLED_BACK = "ROLLED_BACK"


EventTypeName = Literal["ACTION", "DECISION", "VIOLATION", "CHANGE", "BOOT", "SHUTDOWN"]
EventCategoryName = Literal["NORMAL", "WARNING", "ERROR", "CRITICAL"]
ActorTypeName = Literal["HUMAN", "AUTONOMOUS_AGENT", "SYSTEM", "EXTERNAL"]
ExecutionStatusName = Literal["SUCCESS", "FAILED", "BLOCKED", "ROLLED_BACK"]

DEFAULT_SEVERITY: Final = {
    EventCategory.NORMAL: 1,
    EventCategory.WARNING: 4,
    EventCategory.ERROR: 7,
    EventCategory.CRITICAL: 10,
}

Name = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH_MAX)]
# Beside each pattern its length, because `$` also matches before a line feed at the end.
Hex64 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64, description="lower-case hex SHA-256")]
HashText = Annotated[str, Meta(extra_json_schema={"pattern": "^[0-9a-f]{64}$", "maxLength": 64})]
"""A hash in a stored entry: compared with the hash it must be, so its shape is not checked apart."""
_UUID_V4: Final = "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
UuidText = Annotated[str, Meta(pattern=_UUID_V4, max_length=36)]
_RFC_3339: Final = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z$"
TimestampText = Annotated[str, Meta(pattern=_RFC_3339, max_length=27)]
Severity = Annotated[int, Meta(ge=0, le=10)]
Count = Annotated[int, Meta(ge=0, le=canonical.INTEGER_MAX)]
Score = Annotated[int, Meta(ge=0, le=10)] | Annotated[float, Meta(ge=0, le=10)]
Pillar = Literal["an_toan", "duong_dai", "tin_vao_so_lieu", "han_che_rui_ro"]
PILLARS: Final[tuple[Pillar, ...]] = ("an_toan", "duong_dai", "tin_vao_so_lieu", "han_che_rui_ro")
"""Safety, long term, trust in data, limiting risk: also the order in which the composite is summed."""

Object = dict[str, Any]
Texts = list[str] | tuple[str, ...]
"""Strings from a caller. Not `Sequence[str]`, which one string would be, too."""
Scores = Mapping[Pillar, float] | Mapping[str, float]
"""Scores from a caller. A variable that holds them has names of type str; the log looks at the names."""


class Entry(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One entry of a log, exactly as stored. Shapes are checked when decoded, meanings by the verifier.

    Out of the garbage collector's sight (`gc=False`): JSON has no cycles, and tracking costs a fifth.
    """

    action_hash: HashText
    action_payload: Object | None
    action_type: Name
    actor_context: Object
    actor_id: Name
    actor_type: ActorType
    attribution: Literal["alpha_prime_omega"]
    composite_score: Score | None
    conflicts_detected: list[str]
    dependencies: list[UuidText]
    entry_hash: HashText
    entry_id: UuidText
    environment: dict[str, str]
    error_details: Object | None
    event_category: EventCategory
    event_type: EventType
    execution_status: ExecutionStatus
    hsm_signature: str
    k_state: Literal[0, 1]
    pillars_scores: dict[Pillar, Score]
    prev_entry_hash: HashText
    proofs_valid: bool
    provided_proofs: list[Object]
    quorum_met: bool
    received_approvals: list[dict[str, str]]
    replicas: list[str]
    required_approvals: Count
    required_proofs: list[str]
    result_data: Object | None
    rollback_available: bool
    rollback_executed: bool
    rollback_snapshot_hash: Hex64 | None
    safety_floor_met: bool | None
    schema_version: Literal["1.0.0"]
    sequence_number: Count
    severity: Severity
    signature_algorithm: str
    signing_key_id: HashText
    system_state_snapshot: Object
    timestamp: TimestampText


class EntryDraft(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What a caller may say. The members after `replicas` are derived: stated, they must be right."""

    event_type: EventType
    action_type: Name
    actor_id: Name
    event_category: EventCategory = EventCategory.NORMAL
    severity: Severity | UnsetType = UNSET
    actor_type: ActorType = ActorType.SYSTEM
    actor_context: Object = {}
    action_payload: Object = {}
    system_state_snapshot: Object = {}
    environment: dict[str, str] = {}
    dependencies: list[UuidText] = []
    required_proofs: list[str] = []
    provided_proofs: list[Object] = []
    required_approvals: Count = 0
    received_approvals: list[dict[str, str]] = []
    pillars_scores: dict[Pillar, Score] = {}
    conflicts_detected: list[str] = []
    execution_status: ExecutionStatus = ExecutionStatus.SUCCESS
    result_data: Object | None = None
    error_details: Object | None = None
    rollback_available: bool = False
    rollback_snapshot_hash: Hex64 | None = None
    rollback_executed: bool = False
    # Derived: stated only to be checked.
    action_hash: Hex64 | UnsetType = UNSET
    composite_score: Score | UnsetType | None = UNSET
    safety_floor_met: bool | UnsetType | None = UNSET
    k_state: Literal[0, 1] | UnsetType = UNSET
    proofs_valid: bool | UnsetType = UNSET
    quorum_met: bool | UnsetType = UNSET
    attribution: Literal["alpha_prime_omega"] | UnsetType = UNSET
    schema_version: Literal["1.0.0"] | UnsetType = UNSET


class EntryRef(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry and no other, as a payload names it: by its number and its hash."""

    sequence_number: Count
    entry_hash: Hex64

    @classmethod
    def of(cls, entry: Entry) -> EntryRef:
        """Of an entry as it states itself."""
        return cls(entry.sequence_number, entry.entry_hash)


class UnrelatedMembers(TypedDict, total=False):
    """Members of a draft, as keyword arguments, for a call that itself sets the others.

    Those are event, action, actor and payload, and what the entry depends on.

    These TypedDicts state for type checkers what `EntryDraft` states for msgspec; a test holds them equal.
    Enums may be given as their names. The members after `rollback_executed` are derived: stated, they must
    be right.
    """

    event_category: EventCategory | EventCategoryName
    severity: int
    actor_type: ActorType | ActorTypeName
    actor_context: Mapping[str, Any]
    system_state_snapshot: Mapping[str, Any]
    environment: Mapping[str, str]
    required_proofs: Texts
    provided_proofs: Sequence[Mapping[str, Any]]
    required_approvals: int
    received_approvals: Sequence[Mapping[str, str]]
    pillars_scores: Scores
    conflicts_detected: Texts
    execution_status: ExecutionStatus | ExecutionStatusName
    result_data: Mapping[str, Any] | None
    error_details: Mapping[str, Any] | None
    rollback_available: bool
    rollback_snapshot_hash: str | None
    rollback_executed: bool
    action_hash: str
    composite_score: float | None
    safety_floor_met: bool | None
    k_state: Literal[0, 1]
    proofs_valid: bool
    quorum_met: bool
    attribution: Literal["alpha_prime_omega"]
    schema_version: Literal["1.0.0"]


class MoreMembers(UnrelatedMembers, total=False):
    """Members of a draft for a call that itself sets event, action, actor and payload."""

    dependencies: Texts


class OptionalMembers(MoreMembers, total=False):
    """Members of a draft for a call that itself sets event, action and actor."""

    action_payload: Mapping[str, Any]


class DraftMembers(OptionalMembers):
    """All members of a draft, those required and those not."""

    event_type: EventType | EventTypeName
    action_type: str
    actor_id: str


class ChangeMembers(MoreMembers, total=False):
    """Members of a draft for a call that itself sets event, action and payload, and knows an actor."""

    actor_id: str


ASSIGNED_MEMBERS: Final = frozenset(Entry.__struct_fields__) - frozenset(EntryDraft.__struct_fields__)
"""Members only the log can give: a draft that names one is refused."""

OBJECT_MEMBERS: Final = (
    "actor_context", "conflicts_detected", "dependencies", "environment", "error_details", "pillars_scores",
    "provided_proofs", "received_approvals", "required_proofs", "result_data", "system_state_snapshot",
)  # fmt: skip
"""Members (beside action_payload) that hold other values, and so need canonical spelling."""

_NESTED_MEMBERS: Final = ("action_payload", "composite_score", *OBJECT_MEMBERS)
_nested_members: Final = attrgetter(*_NESTED_MEMBERS)
_deep_members: Final = attrgetter(
    "action_payload", "actor_context", "error_details", "pillars_scores", "provided_proofs", "result_data",
    "system_state_snapshot",
)  # fmt: skip
"""Those that can hold more than strings."""

_SECOND_LENGTH: Final = len("2026-01-01T00:00:00")
_FRACTION: Final = re.compile(r"\.[0-9]{6}Z")
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - every timestamp is UTC, and spelled with Z

APPROVAL_MEMBERS: Final = ("signer", "signature", "timestamp")
"""What every received approval says at least."""

GUARD: Final = "guard"
"""Member of `actor_context` that says what the entry is to a guarded act."""
INTENT, OUTCOME, VIOLATION = "intent", "outcome", "violation"
"""What it can be: the decision before the act, how the act ended, or why it did not happen."""

_decoder: Final = msgspec.json.Decoder(Entry)
_encoder: Final = msgspec.json.Encoder(order="deterministic")


def parse_draft(members: Mapping[str, Any] | EntryDraft) -> EntryDraft:
    """A typed draft from plain members, or from a draft made by hand, which nobody checked yet.

    Raises MalformedEntryError naming the member.
    """
    if isinstance(members, EntryDraft):
        given = ((name, getattr(members, name)) for name in members.__struct_fields__)
        members = {name: value for name, value in given if value is not UNSET}
    try:
        draft = msgspec.convert(members, EntryDraft)
    except msgspec.ValidationError as error:
        raise _malformed("draft", str(error)) from None
    except UnicodeEncodeError:
        raise MalformedEntryError("draft: a member's name holds a lone surrogate", member="") from None
    except RecursionError:
        raise MalformedEntryError("draft is nested too deep", member="") from None
    _check_proofs_and_approvals("draft", draft)
    return draft


def _check_proofs_and_approvals(what: str, facts: EntryDraft | Entry) -> None:
    """A proof says its `type` (string) and `valid` (boolean), an approval who signed what and when."""
    for index, proof in enumerate(facts.provided_proofs):
        for name, kind in (("type", str), ("valid", bool)):
            if type(proof.get(name)) is not kind:
                member = f"provided_proofs[{index}].{name}"
                got = type(proof[name]).__name__ if name in proof else "nothing"
                reason = f"expected {kind.__name__}, got {got}"
                raise MalformedEntryError(f"{what}: {member}: {reason}", member=member)
    for index, approval in enumerate(facts.received_approvals):
        for name in APPROVAL_MEMBERS:
            if name not in approval:
                member = f"received_approvals[{index}].{name}"
                raise MalformedEntryError(f"{what}: {member}: is missing", member=member)


def encode_member(name: str, value: Any, what: str = "draft") -> bytes:
    """Canonical bytes of one member of an entry. Raises MalformedEntryError naming the member."""
    try:
        return canonical.encode(value, depth=2)
    except MalformedJSONError as error:
        inner = error.member
        path = name + (inner if inner.startswith("[") else f".{inner}" if inner else "")
        reason = str(error).removeprefix(f"{inner or 'the value'}: ")
        raise MalformedEntryError(f"{what}: {path}: {reason}", member=path) from None


def encode_members(members: dict[str, Any]) -> dict[str, msgspec.Raw]:
    """`encode_member` for several at once: one inspection where all is plain, which is nearly always."""
    # Together in one list, which stands for the entry, they are inspected at the depth they will have.
    if canonical.is_canonical(list(members.values())):
        try:
            return {name: msgspec.Raw(_encoder.encode(value)) for name, value in members.items()}
        except UnicodeEncodeError:
            pass  # said below, with the member's name
    return {name: msgspec.Raw(encode_member(name, value)) for name, value in members.items()}


def encode_entry(entry: Entry) -> bytes:
    """The canonical bytes of an entry whose members are canonical (no line end)."""
    return _encoder.encode(entry)


def preimage(entry: Entry) -> bytes:
    """What `entry_hash` is the SHA-256 of: the canonical entry without the three members it cannot cover."""
    bare = msgspec.structs.replace(entry, action_payload=UNSET, entry_hash=UNSET, hsm_signature=UNSET)
    return _encoder.encode(_spelled(bare))


def _spelled(entry: Entry) -> Entry:
    """What to encode for `entry`: itself, or a copy whose members are spelled where msgspec would err."""
    # All stand at level 2, in the list as in the entry. 0.0 is as empty as it is misspelled.
    if canonical.is_canonical([value for value in _nested_members(entry) if value or value == 0]):
        return entry
    members = zip(_NESTED_MEMBERS, _nested_members(entry), strict=True)
    given = [(name, value) for name, value in members if value is not UNSET]
    spelled = {name: msgspec.Raw(encode_member(name, value, "entry")) for name, value in given}
    return msgspec.structs.replace(entry, **spelled)


def _is_plain_ascii(entry: Entry) -> bool:
    """Whether msgspec spells an entry decoded from ASCII canonically; False: perhaps not."""
    parts = filter(None, _deep_members(entry))
    return canonical.is_plain_ascii([*parts, (entry.composite_score,)], depth=2)


def decode_line(line: bytes) -> Entry:
    """The entry of one line (without its line end), checked for types only.

    Raises MalformedEntryError. `check_canonical` says whether it is the one spelling.
    """
    try:
        entry = _decoder.decode(line)
    except msgspec.DecodeError as error:
        raise _malformed("entry", str(error)) from None
    except UnicodeDecodeError:
        raise MalformedEntryError("entry is not UTF-8", member="") from None
    except RecursionError:
        raise MalformedEntryError("entry is nested too deep", member="") from None
    _check_proofs_and_approvals("entry", entry)
    return entry


def check_canonical(entry: Entry, line: bytes) -> None:
    """Raises MalformedEntryError unless `line` is the canonical form of the entry decoded from it.

    Covers spelling, member order, duplicate members, numbers, nesting and both size limits.
    """
    _spelled_as(entry, line)


def canonical_hashes(entry: Entry, line: bytes) -> tuple[str, str | None]:
    """What `entry_hash` and `action_hash` must be (None without a payload), for whoever checks both.

    Raises as `check_canonical`, and before anything is hashed; all three inspect the members once.
    """
    spelled = _spelled_as(entry, line)
    bare = msgspec.structs.replace(spelled, action_payload=UNSET, entry_hash=UNSET, hsm_signature=UNSET)
    has_payload = entry.action_payload is not None
    action_hash = hex_hash(_encoder.encode(spelled.action_payload)) if has_payload else None
    return hex_hash(_encoder.encode(bare)), action_hash


def _spelled_as(entry: Entry, line: bytes) -> Entry:
    """`_spelled(entry)`, if `line` is its encoding and within the limits."""
    spelled = entry if line.isascii() and _is_plain_ascii(entry) else _spelled(entry)
    if encode_entry(spelled) != line:
        raise MalformedEntryError("entry is not in canonical form", member="")
    if len(line) > ENTRY_SIZE_MAX_BYTES:
        payload_size = len(canonical.encode(entry.action_payload))
        check_sizes(payload_size, len(line) - payload_size - len('"action_payload":,'))
    return spelled


def check_sizes(payload_size_bytes: int, rest_size_bytes: int) -> None:
    """Raises TooLargeError if the payload, or the entry without it, is over its limit."""
    if payload_size_bytes > PAYLOAD_SIZE_MAX_BYTES:
        raise TooLargeError(
            f"action_payload has {payload_size_bytes} bytes, at most {PAYLOAD_SIZE_MAX_BYTES} fit",
            member="action_payload", size_bytes=payload_size_bytes, size_bytes_max=PAYLOAD_SIZE_MAX_BYTES,
        )  # fmt: skip
    if rest_size_bytes > ENTRY_SIZE_MAX_BYTES:
        raise TooLargeError(
            f"entry without payload has {rest_size_bytes} bytes, at most {ENTRY_SIZE_MAX_BYTES} fit",
            member="", size_bytes=rest_size_bytes, size_bytes_max=ENTRY_SIZE_MAX_BYTES,
        )  # fmt: skip


def payload_hash(entry: Entry) -> str:
    """What `action_hash` must be, for an entry that passed `check_canonical` and has its payload."""
    return hex_hash(canonical.encode(entry.action_payload))


def entry_hash(entry: Entry) -> str:
    """What `entry_hash` must be, for an entry that passed `check_canonical`."""
    return hex_hash(preimage(entry))


def format_timestamp(microseconds: int) -> str:
    """Microseconds since 1970 as RFC 3339 UTC with six digits and `Z`."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{_format_second(seconds)}.{rest:06d}Z"


@lru_cache(maxsize=64)
def _format_second(seconds: int) -> str:
    """Most timestamps are of the second that the one before was of."""
    return (_EPOCH + timedelta(seconds=seconds)).isoformat(timespec="seconds")


def parse_timestamp(text: str) -> int:
    """Microseconds since 1970; raises MalformedEntryError unless `text` is a timestamp of an entry."""
    if _FRACTION.fullmatch(text, _SECOND_LENGTH):
        seconds = _parse_second(text[:_SECOND_LENGTH])
        if seconds is not None:
            return seconds * 1_000_000 + int(text[_SECOND_LENGTH + 1 : -1])
    return _parse_any_timestamp(text)


@lru_cache(maxsize=64)
def _parse_second(text: str) -> int | None:
    """Seconds since 1970, if it is a whole second's one spelling: most timestamps are of the same few."""
    try:
        return _parse_any_timestamp(f"{text}.000000Z") // 1_000_000
    except MalformedEntryError:
        return None


def _parse_any_timestamp(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
        seconds = int(moment.replace(microsecond=0).timestamp())
    except (ValueError, OverflowError):
        raise MalformedEntryError(f"{text!r} is not a timestamp", member="timestamp") from None
    microseconds = seconds * 1_000_000 + moment.microsecond
    if format_timestamp(microseconds) != text:
        raise MalformedEntryError(f"{text!r} is not a timestamp in its one spelling", member="timestamp")
    return microseconds


def is_intent(facts: Entry | EntryDraft) -> bool:
    """Whether it is the decision of a guarded act. Another event type that calls itself so is an act."""
    return facts.event_type is EventType.DECISION and facts.actor_context.get(GUARD) == INTENT


def json_schema(kind: type[Entry | EntryDraft]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of entries or drafts, made from the types."""
    schema = msgspec.json.schema(kind)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _malformed(what: str, complaint: str) -> MalformedEntryError:
    path, reason = read_complaint(complaint)
    if reason == UNKNOWN:
        assigned = path in ASSIGNED_MEMBERS and what == "draft"
        reason = "is assigned by the log" if assigned else f"{UNKNOWN} of an entry"
    return MalformedEntryError(f"{what}: {path}: {reason}" if path else f"{what}: {reason}", member=path)
