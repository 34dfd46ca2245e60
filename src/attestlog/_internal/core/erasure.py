"""Erasure: payloads replaced by null, an entry that says so, and whether the rules in force allow it.

    erase_payload    sequence_number, entry_hash, action_type and timestamp of the entry whose payload goes;
                     reason; legal_basis (or null)
    erase_payloads   start, stop, action_types: the payloads of entries `start` up to `stop` whose action type
                     matches one of the globs go; count of these; last_entry_hash, of entry `stop` - 1;
                     reason; legal_basis (or null)

The entries, the chain, the tree and all signatures still verify: they cover the
payload through `action_hash` only. What the erasing entry says of the others is
compared with them by whoever reads both. An erasure goes as a whole: if the rules
keep one payload of a range, the entry MUST NOT be written, and nothing goes.
The document is docs/spec/erasure.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, NoReturn

import msgspec
from msgspec import Meta, Raw, Struct

from attestlog._internal.core import canonical
from attestlog._internal.core.convert import convert_payload, malformed_payload
from attestlog._internal.core.entry import (
    Count,
    Entry,
    EventType,
    ExecutionStatus,
    Hex64,
    Name,
    Object,
    TimestampText,
    check_canonical,
    decode_line,
    parse_timestamp,
    payload_hash,
)
from attestlog._internal.core.glob import Glob
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.core.policy import ErasureRules
from attestlog._internal.core.reserved import ERASE_PAYLOAD, erases, is_kept
from attestlog._internal.core.rules import Hold, ReasonText, Rules, held_by
from attestlog.errors import (
    ErasureRefusedError,
    HashMismatchError,
    MalformedEntryError,
    MalformedError,
)

_DAY_US: Final = 86_400_000_000

ACTION_TYPES_MAX: Final = 64
"""Globs that one erasure names: every payload of its range is compared with each."""

TYPES_REMEMBERED_MAX: Final = 4_096
"""Action types of which it is remembered whether a glob matches; a log can have one for each entry."""


class Erasure(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The payload of `attestlog.erase_payload`."""

    sequence_number: Count
    entry_hash: Hex64
    action_type: Name
    timestamp: TimestampText
    reason: ReasonText
    legal_basis: Name | None

    @classmethod
    def of(cls, entry: Entry, reason: str, legal_basis: str | None) -> Erasure:
        """The erasure of this entry's payload. Raises MalformedEntryError for what does not fit."""
        return parse_erasure(
            {
                "sequence_number": entry.sequence_number, "entry_hash": entry.entry_hash,
                "action_type": entry.action_type, "timestamp": entry.timestamp, "reason": reason,
                "legal_basis": legal_basis,
            }
        )  # fmt: skip

    @property
    def reach(self) -> range:
        """Sequence numbers of the entries that it is about."""
        return range(self.sequence_number, self.sequence_number + 1)

    def takes(self, stored: Stored) -> bool:
        """Whether the payload of this entry goes. It is another question whether it may."""
        return stored.sequence_number == self.sequence_number

    def describes(self, entry: Entry | Stored) -> bool:
        """Whether this is the entry that it speaks of."""
        return self.fingerprint == fingerprint(entry)

    @property
    def fingerprint(self) -> bytes:
        """See `fingerprint`."""
        return _fingerprint(self.entry_hash, self.action_type, self.timestamp)


class RangeErasure(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The payload of `attestlog.erase_payloads`."""

    start: Count
    stop: Count
    """One past the last entry."""
    action_types: Annotated[list[Name], Meta(min_length=1, max_length=ACTION_TYPES_MAX)]
    """Globs, of which one must match."""
    count: Annotated[int, Meta(ge=1, le=canonical.INTEGER_MAX)]
    """How many payloads go: those that match, and were not erased before."""
    last_entry_hash: Hex64
    """Of entry `stop` - 1."""
    reason: ReasonText
    legal_basis: Name | None

    @property
    def reach(self) -> range:
        """Sequence numbers of the entries that it is about."""
        return range(self.start, self.stop)

    def takes(self, stored: Stored) -> bool:
        """Whether the payload of this entry goes. It is another question whether it may."""
        return self.start <= stored.sequence_number < self.stop and self.names(stored.action_type)

    def describes(self, entry: Entry | Stored) -> bool:
        """Whether this, if it is the last entry of the range, is the one that it speaks of."""
        return entry.sequence_number != self.stop - 1 or entry.entry_hash == self.last_entry_hash

    def names(self, action_type: str) -> bool:
        """Whether payloads of this type go."""
        return any(Glob(pattern).matches(action_type) for pattern in self.action_types)


AnyErasure = Erasure | RangeErasure


class Stored(Struct, frozen=True, gc=False):
    """Of an entry's line, what erasing goes by; the rest of it is not looked at."""

    action_payload: Raw
    action_type: str
    entry_hash: str
    event_type: EventType
    execution_status: ExecutionStatus
    sequence_number: int
    timestamp: str

    @property
    def has_payload(self) -> bool:
        """Whether it is there."""
        return bytes(self.action_payload) != b"null"


_decoder: Final = msgspec.json.Decoder(Stored)


def read_stored(line: bytes) -> Stored:
    """Raises MalformedEntryError for a line without these members."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedEntryError(f"entry: {error}", member="") from None


def fingerprint(entry: Entry | Stored) -> bytes:
    """What an erasure must say rightly of the entry, in 16 bytes: a verifier keeps one for each of many."""
    return _fingerprint(entry.entry_hash, entry.action_type, entry.timestamp)


def _fingerprint(entry_hash: str, action_type: str, timestamp: str) -> bytes:
    text = canonical.encode([entry_hash, action_type, timestamp])
    return bytes.fromhex(hex_hash(text))[:16]


def describe(erasure: AnyErasure) -> str:
    """What goes, in words; singular."""
    if isinstance(erasure, Erasure):
        return f"the payload of entry {erasure.sequence_number}"
    return f"every such payload of entries {erasure.start} to {erasure.stop - 1}"


def format_erasure(erasure: AnyErasure) -> Object:
    """The payload."""
    members: Object = msgspec.to_builtins(erasure)
    return members


def parse_erasure(payload: Any) -> Erasure:
    """Raises MalformedEntryError unless it has exactly these members (and the log's own `_salt`)."""
    return convert_payload(_unsalted(payload), Erasure)


def parse_range_erasure(payload: Any) -> RangeErasure:
    """Raises MalformedEntryError unless it has exactly these members, of a range that has entries."""
    erasure = convert_payload(_unsalted(payload), RangeErasure)
    if erasure.stop <= erasure.start:
        malformed_payload(f"{erasure.stop} is not after the start, {erasure.start}", "stop")
    if erasure.count > len(erasure.reach):
        malformed_payload(f"{erasure.count} are more than the {len(erasure.reach)} of the range", "count")
    return erasure


def erasure_of(entry: Entry) -> AnyErasure:
    """What an entry that erases says. Raises MalformedEntryError, also for what is no earlier entry."""
    parse = parse_erasure if entry.action_type == ERASE_PAYLOAD else parse_range_erasure
    erasure: AnyErasure = parse(entry.action_payload)
    if erasure.reach.stop > entry.sequence_number:
        raise MalformedEntryError(
            f"says that the payload of entry {erasure.reach.stop - 1} is erased, which is no earlier one",
            found=erasure.reach.stop - 1,
        )
    return erasure


def _unsalted(payload: Any) -> Any:
    if isinstance(payload, Mapping):
        return {name: value for name, value in payload.items() if name != "_salt"}
    return payload


# --- what the rules keep ---


class Limits:
    """What the rules that an erasing entry stands under keep. Asked about one payload after the other."""

    def __init__(
        self, policy: ErasureRules, holds: Iterable[Hold], legal_basis: str | None, timestamp: str
    ) -> None:
        """`timestamp`: of the erasing entry."""
        self._policy, self._holds = policy, list(holds)
        self._legal_basis, self._timestamp = legal_basis, timestamp
        self._types: dict[str, str] = {}
        self._old_enough = ""
        """The last timestamp that was; entries of a batch share theirs."""

    @classmethod
    def of(cls, rules: Rules, erasure: AnyErasure, timestamp: str) -> Limits:
        """By these rules, of which the legal holds were read."""
        reach = erasure.reach
        holds = [
            hold
            for hold in rules.holds.values()
            if hold.start < reach.stop and (hold.stop is None or reach.start < hold.stop)
        ]
        return cls(rules.policy.erasure, holds, erasure.legal_basis, timestamp)

    def check(self, number: int, action_type: str, timestamp: str) -> None:
        """Raises ErasureRefusedError unless the payload of this entry may go.

        Whose approval it needs is no part of it: that is what `quorum_met` of the erasing entry says.
        """
        names = held_by(self._holds, number)
        if names:
            _refuse(number, "hold", f"is under legal hold: {', '.join(names)}", holds=names)
        unfit = self._unfit(action_type)
        if unfit:
            _refuse(number, "policy", unfit)
        if timestamp == self._old_enough:
            return
        try:
            age_us = parse_timestamp(self._timestamp) - parse_timestamp(timestamp)
        except MalformedEntryError as error:
            _refuse(number, "policy", f"is of no known age: {error}")
        if age_us < self._policy.retain_days * _DAY_US:
            age = f"{age_us / _DAY_US:.3g} days old, is kept for {self._policy.retain_days}"
            _refuse(number, "policy", f"is {age}")
        self._old_enough = timestamp

    def check_stored(self, stored: Stored) -> None:
        """`check`, and that the log can do without the payload."""
        check_erasable(stored)
        self.check(stored.sequence_number, stored.action_type, stored.timestamp)

    def _unfit(self, action_type: str) -> str:
        """Why the policy keeps every payload of this type; empty if it does not."""
        known = self._types.get(action_type)
        if known is None:
            if len(self._types) >= TYPES_REMEMBERED_MAX:
                self._types.clear()
            known = self._types[action_type] = self._judge_type(action_type)
        return known

    def _judge_type(self, action_type: str) -> str:
        policy = self._policy
        if any(Glob(pattern).matches(action_type) for pattern in policy.held):
            return f"is of a {action_type}, which the policy holds"
        if not any(Glob(pattern).matches(action_type) for pattern in policy.action_types):
            return f"is of a {action_type}, which the policy does not let be erased"
        if policy.legal_bases and self._legal_basis not in policy.legal_bases:
            stated = self._legal_basis or "none"
            return f"needs a legal basis of {', '.join(policy.legal_bases)}, got {stated}"
        return ""


def check_erasure(rules: Rules, erasure: Erasure, timestamp: str) -> None:
    """Raises ErasureRefusedError unless the rules in force allow it at this time, an entry's timestamp."""
    limits = Limits.of(rules, erasure, timestamp)
    limits.check(erasure.sequence_number, erasure.action_type, erasure.timestamp)


def check_erasable(target: Entry | Stored) -> None:
    """Raises ErasureRefusedError for an entry whose payload the log cannot do without."""
    if is_kept(target):
        what = f"is of a {target.action_type}, which the log cannot do without"
        _refuse(target.sequence_number, "kept", what)


def check_payloads(limits: Limits, erasure: AnyErasure, lines: Iterable[bytes]) -> int:
    """How many payloads are there to go; `lines`: those that the erasure is about.

    Raises ErasureRefusedError with the first payload that the rules keep, or where an entry is not the one
    described; HashMismatchError for one that is not what its entry says: it is evidence. MalformedEntryError.
    """
    count = 0

    def check_described(stored: Stored) -> None:
        if not erasure.describes(stored):
            _refuse(stored.sequence_number, "described", "stays: its entry is not the one described")

    for line, stored in taken(erasure, lines, check_described):
        if stored.has_payload:
            limits.check_stored(stored)
            erase_line(line)
            count += 1
    return count


def taken(
    erasure: AnyErasure, lines: Iterable[bytes], check: Callable[[Stored], None] | None = None
) -> Iterator[tuple[bytes, Stored]]:
    """Those of the lines whose payload goes, or is gone. Raises MalformedEntryError.

    `check` is called with every line, and may raise.
    """
    types: dict[str, bool] = {}
    reach = erasure.reach
    for line in lines:
        stored = read_stored(line)
        if check is not None:
            check(stored)
        if stored.sequence_number not in reach:
            continue
        is_named = types.get(stored.action_type)
        if is_named is None:
            if len(types) >= TYPES_REMEMBERED_MAX:
                types.clear()
            is_named = types[stored.action_type] = erasure.takes(stored)
        if is_named:
            yield line, stored


def _refuse(number: int, rule: str, reason: str, **evidence: Any) -> NoReturn:
    raise ErasureRefusedError(
        f"the payload of entry {number} {reason}", sequence_number=number, rule=rule, **evidence
    )


# --- making one ---


def plan_range(
    lines: Iterable[bytes],
    start: int | None,
    stop: int,
    *,
    action_types: Sequence[str],
    reason: str,
    legal_basis: str | None,
) -> RangeErasure:
    """The erasure of the payloads that are there, in entries from `start` on up to `stop`.

    `lines`: those of the range, to its last. `start` None: the lines begin at entry 0, and the range with the
    first payload that goes. Raises ErasureRefusedError where there is none, MalformedEntryError.
    """
    if start is None and stop == 0:
        _refuse_none(0, 0)
    wanted = parse_range_erasure({
        "start": start or 0, "stop": stop, "action_types": list(action_types), "count": 1,
        "last_entry_hash": "0" * 64, "reason": reason, "legal_basis": legal_basis,
    })  # fmt: skip
    count, first, last = 0, start, b""

    def passing() -> Iterator[bytes]:
        nonlocal last
        for line in lines:
            last = line
            yield line

    for _, stored in taken(wanted, passing()):
        if stored.has_payload:
            count += 1
            first = stored.sequence_number if first is None else first
    if first is None or not count:
        _refuse_none(start or 0, stop)
    return msgspec.structs.replace(
        wanted, start=first, count=count, last_entry_hash=read_stored(last).entry_hash
    )


def _refuse_none(start: int, stop: int) -> NoReturn:
    raise ErasureRefusedError(
        f"no payload of such a type is there in entries from {start} up to {stop}",
        sequence_number=start, rule="none",
    )  # fmt: skip


def erase_line(line: bytes) -> bytes:
    """The line of an entry without its payload, everything else as it was; itself if it has none.

    Raises MalformedEntryError or HashMismatchError for a line that is not the whole, right entry.
    """
    entry = decode_line(line)
    check_canonical(entry, line)
    if entry.action_payload is None:
        return line
    if payload_hash(entry) != entry.action_hash:
        raise HashMismatchError("action_hash is not the hash of the payload", found=entry.action_hash)
    before = b'{"action_hash":"' + entry.action_hash.encode() + b'","action_payload":'
    payload = canonical.encode(entry.action_payload)
    assert line.startswith(before + payload), "the canonical form begins with these"
    return before + b"null" + line[len(before) + len(payload) :]


def line_erases(line: bytes) -> Entry | None:
    """The entry of a line that says that payloads are erased; None for any other."""
    if _MARK not in line:
        return None
    try:
        entry = decode_line(line)
    except MalformedError:
        return None
    return entry if erases(entry) else None


_MARK: Final = f'"action_type":"{ERASE_PAYLOAD}'.encode()
"""Both names begin so."""
