"""From drafts to signed lines: prepare each, plan the batch, seal it.

`prepare` is done by each caller for itself and fixes all that does not depend
on the log's head: it writes the entry's line once, with marks where the plan
fills something in. `plan_batch` chains, hashes and grows the tree for all who
are waiting; `Plan.messages` is what the key must sign; `Plan.seal` gives the
lines to store. Pure: time, entry ids and salts come in as arguments, nothing
that comes in is changed, and what failed may be planned again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw
from msgspec.structs import replace

from attestlog._internal.core.checkpoint import NO_LOG, LogId
from attestlog._internal.core.deriving import (
    NO_VERIFIERS,
    Derived,
    Verifiers,
    check_derived,
    check_invariants,
    contradiction,
    derive,
    is_quorum_met,
    needs_approval,
    with_low_s,
)
from attestlog._internal.core.entry import (
    ATTRIBUTION,
    DEFAULT_SEVERITY,
    OBJECT_MEMBERS,
    SCHEMA_VERSION,
    Entry,
    EntryDraft,
    ExecutionStatus,
    check_sizes,
    encode_entry,
    encode_member,
    encode_members,
    format_timestamp,
)
from attestlog._internal.core.hashes import GENESIS_PREV_HASH, batch_message, hex_hash, leaf_hash
from attestlog._internal.core.merkle import Grown, Span, inclusion_paths
from attestlog._internal.core.pointer import HOLDS_MEMBER, POINTER_LENGTH_MAX, RULES_MEMBER, Pointers
from attestlog._internal.core.policy import Policy
from attestlog._internal.core.reserved import KEY_MEMBER, governs
from attestlog._internal.core.signature import (
    BATCH_ENTRIES_MAX,
    BATCH_SUFFIX,
    ECDSA_P256,
    SIGNATURE_SIZE_MAX_BYTES,
    format_batch,
    format_plain,
)
from attestlog.errors import ClockError, MalformedEntryError

CLOCK_TOLERANCE_S: Final = 60
"""How far the clock may step back before appending fails: NTP corrections and leap smears fit."""

CLOCK_LEAP_MAX_S: Final = 3_653 * 86_400
"""How far the clock may be ahead of the last entry: ten years, longer than a log lies idle. One entry dated
by a clock that leapt further (a board without a battery) would keep the log from going on until then."""

CLOCK_PLAUSIBLE_US: Final = 1_735_689_600_000_000
"""2025, in microseconds since 1970. This software is not older: a last entry from before was dated by a clock
that was wrong then, and a leap ahead sets it right."""

_TIMESTAMP_MAX_US: Final = 253_402_300_800_000_000
"""The year 10000, in microseconds since 1970: a timestamp has four digits for the year."""

_FILLED_BYTES: Final = (
    len(',"entry_hash":""') + 64 + len(',"hsm_signature":":1023/1024:"') + 10 * 64 + len('""') + 64
    + len("false") + 16 + len(f'"{BATCH_SUFFIX}","signing_key_id":""') + 64
    + len('"0000-00-00T00:00:00.000000Z"')
    + len(f'"{HOLDS_MEMBER}":"","{RULES_MEMBER}":""') + 2 * POINTER_LENGTH_MAX
)  # fmt: skip
"""What fills a template at the most, beside the names of algorithms, the signature and the payload: a path in
a batch has 10 hashes, a sequence number 16 digits."""

_stated: Final = attrgetter(*Derived._fields)
_NOTHING_STATED: Final = (UNSET,) * len(Derived._fields)

_object_members: Final = attrgetter(*OBJECT_MEMBERS)
_EMPTY_MEMBERS: Final = {
    **dict.fromkeys(("actor_context", "environment", "pillars_scores", "system_state_snapshot"), Raw(b"{}")),
    **dict.fromkeys(
        ("conflicts_detected", "dependencies", "provided_proofs", "received_approvals"), Raw(b"[]")
    ),
    **dict.fromkeys(("replicas", "required_proofs"), Raw(b"[]")),
    **dict.fromkeys(("error_details", "result_data"), Raw(b"null")),
}
"""Canonical bytes of the nested members as most drafts leave them."""

_NULLABLE_MEMBERS: Final = frozenset({"error_details", "result_data"})
"""Empty, these are not what they are when left out."""

_NULL: Final = Raw(b"null")
_SALT: Final = re.compile(r"[0-9a-f]{32}")

_MARK: Final = b"\0"
"""Where something goes into a template. No canonical JSON holds this byte: it escapes control characters."""
_HOLE: Final = Raw(_MARK)
_NO_DEPENDENCIES: Final = Raw(b"[]" + _MARK)
_STATUS: Final = {status: Raw(f'"{status}"'.encode() + _MARK) for status in ExecutionStatus}
_PAYLOAD_AT: Final = len('{"action_hash":""') + 64
"""Where the payload goes into a line: behind the one member that stands before it."""


class Head(msgspec.Struct, frozen=True):
    """Where the log stands: all that the next entry depends on."""

    size: int = 0
    entry_hash: str = GENESIS_PREV_HASH
    timestamp_us: int = 0
    edge: Span = msgspec.field(default_factory=Span)


class Prepared(msgspec.Struct, frozen=True, gc=False):
    """A draft with everything derived and spelled canonically; nothing changes it any more."""

    entry_id: str
    template: bytes
    """The entry's line, with a mark in each place that depends on the log's head or key: see `_template`."""
    payload: Raw
    draft: EntryDraft
    policy: Policy
    """What it was derived under; once another is in force, the draft is prepared again."""
    algorithm: str
    """What its size was checked for; once a key of another algorithm signs, it is prepared again."""
    proofs_valid: bool
    quorum_met: bool
    """As of now: see `quorum`."""
    stands_alone: bool
    """Whether it is a batch of its own: what follows it is judged by other rules."""
    quorum: Callable[[str], bool] | None = None
    """What `quorum_met` is at a timestamp, where approvals count: they may have expired by then."""
    asserted: Mapping[str, str] = {}
    """Members of `environment` that the log says of the caller: its idempotency key, who it is."""
    ordinal: int = 0
    """Which of the entries under its idempotency key it is."""

    @property
    def size_bytes(self) -> int:
        """Size of its line, roughly: for limits on a batch."""
        return len(self.payload) + 2_048


def prepare(
    draft: EntryDraft,
    policy: Policy,
    *,
    entry_id: str,
    environment: dict[str, str],
    replicas: Sequence[str] = (),
    salt: str | None = None,
    log: LogId = NO_LOG,
    now_us: int = 0,
    verifiers: Verifiers = NO_VERIFIERS,
    algorithm: str = ECDSA_P256,
) -> Prepared:
    """`spell`, then `prepare_spelled`."""
    return prepare_spelled(
        draft, spell(draft, environment, replicas, salt), policy, entry_id=entry_id, log=log,
        now_us=now_us, verifiers=verifiers, algorithm=algorithm,
    )  # fmt: skip


def prepare_spelled(
    draft: EntryDraft,
    spelled: dict[str, Raw],
    policy: Policy,
    *,
    entry_id: str,
    log: LogId = NO_LOG,
    now_us: int = 0,
    verifiers: Verifiers = NO_VERIFIERS,
    algorithm: str = ECDSA_P256,
) -> Prepared:
    """Derive, and check what the caller stated. `spelled`: what `spell` gave for this draft.

    Approvals and actors' signatures are judged by `log` and `now_us`: without them none counts.
    Raises DerivedMemberError, TooLargeError or MalformedEntryError; all name the member.
    """
    action_hash = hex_hash(payload := spelled["action_payload"])
    nested = _EMPTY_MEMBERS | spelled
    draft = _in_low_s(policy, draft, log, action_hash, nested)
    derived = derive(policy, draft, log, action_hash, _asked_at(draft, now_us), verifiers=verifiers)
    _check_stated(draft, derived, action_hash)
    quorum = _quorum(policy, draft, log, action_hash)
    entry = _template(draft, derived, action_hash, entry_id, nested)
    template = encode_entry(entry if quorum is None else replace(entry, quorum_met=_HOLE))
    sealed_bytes = len(template) + _FILLED_BYTES + len(algorithm) + 2 * SIGNATURE_SIZE_MAX_BYTES[algorithm]
    check_sizes(len(payload), sealed_bytes)
    return Prepared(
        entry_id, template, payload, draft, policy, algorithm, derived.proofs_valid, derived.quorum_met,
        governs(draft), quorum,
    )  # fmt: skip


def _template(
    draft: EntryDraft, derived: Derived, action_hash: str, entry_id: str, nested: dict[str, Raw]
) -> Entry:
    """The entry with marks for what `plan_batch` and `Plan.seal` fill in.

    In this order: the places of the entry's hash, of the two pointers (see `_encode_environment`) and of the
    signature; the previous hash; the quorum, if it may change; the sequence number; the algorithm, with the
    key id behind it; the timestamp. Hash and signature are not hashed and so not there yet, and the place of
    the payload needs no mark.
    """
    # In the order of its fields: by their names it takes twice as long.
    return _Entry(  # type: ignore[no-any-return]
        action_hash,
        UNSET,  # action_payload
        draft.action_type,
        nested["actor_context"],
        draft.actor_id,
        draft.actor_type,
        ATTRIBUTION,
        _score(derived.composite_score),
        nested["conflicts_detected"],
        Raw(b"%b\0" % nested["dependencies"]) if draft.dependencies else _NO_DEPENDENCIES,
        UNSET,  # entry_hash
        entry_id,
        nested["environment"],
        nested["error_details"],
        draft.event_category,
        draft.event_type,
        _STATUS[draft.execution_status],
        UNSET,  # hsm_signature
        derived.k_state,
        nested["pillars_scores"],
        _HOLE,  # prev_entry_hash
        derived.proofs_valid,
        nested["provided_proofs"],
        derived.quorum_met,
        nested["received_approvals"],
        nested["replicas"],
        draft.required_approvals,
        nested["required_proofs"],
        nested["result_data"],
        draft.rollback_available,
        draft.rollback_executed,
        draft.rollback_snapshot_hash,
        derived.safety_floor_met,
        SCHEMA_VERSION,
        _HOLE,  # sequence_number
        DEFAULT_SEVERITY[draft.event_category] if draft.severity is UNSET else draft.severity,
        _HOLE,  # signature_algorithm
        UNSET,  # signing_key_id
        nested["system_state_snapshot"],
        _HOLE,  # timestamp
    )


def _in_low_s(
    policy: Policy, draft: EntryDraft, log: LogId, action_hash: str, nested: dict[str, Raw]
) -> EntryDraft:
    """See `with_low_s`; what is respelled replaces its bytes in `nested`."""
    if not (draft.received_approvals or draft.provided_proofs):
        return draft
    low = with_low_s(policy, draft, log, action_hash)
    for member in ("received_approvals", "provided_proofs"):
        if getattr(low, member) != getattr(draft, member):
            nested |= encode_members({member: getattr(low, member)})
    return low


def _asked_at(draft: EntryDraft, now_us: int) -> str:
    return format_timestamp(now_us) if draft.received_approvals else ""


def _quorum(policy: Policy, draft: EntryDraft, log: LogId, action_hash: str) -> Callable[[str], bool] | None:
    if draft.received_approvals and needs_approval(policy, draft):
        return partial(is_quorum_met, policy, draft, log, action_hash)
    return None


def _check_stated(draft: EntryDraft, derived: Derived, action_hash: str) -> None:
    if draft.action_hash not in (UNSET, action_hash):
        raise contradiction("action_hash", action_hash, draft.action_hash)
    if _stated(draft) != _NOTHING_STATED:
        check_derived(derived, draft)
    if draft.rollback_executed or draft.error_details:
        check_invariants(draft)


_PLAIN_SCORE_MIN: Final = 0.001

_Entry: Final[Any] = Entry
"""An entry whose nested members are canonical bytes already: msgspec copies them as they are."""


def spell(
    draft: EntryDraft, environment: dict[str, str], replicas: Sequence[str] = (), salt: str | None = None
) -> dict[str, Raw]:
    """The canonical bytes of the payload, the environment, and each nested member that is not empty.

    `salt`: 32 hex digits for the payload. Raises MalformedEntryError naming the member.
    """
    if not (draft.actor_id.isascii() and draft.action_type.isascii()):
        # A lone surrogate must be seen here: later it would fail everyone else in the batch.
        encode_member("actor_id", draft.actor_id)
        encode_member("action_type", draft.action_type)
    payload = draft.action_payload
    if salt is not None:
        # A payload that was approved carries the salt it was approved with: its hash is what was signed.
        if not _SALT.fullmatch(str(payload.get("_salt", salt))):
            raise MalformedEntryError(
                "draft: action_payload._salt: is assigned by the log, or 32 hex digits",
                member="action_payload._salt",
            )
        payload = {"_salt": salt, **payload}
    nested: dict[str, Any] = {"action_payload": payload}
    for name, value in zip(OBJECT_MEMBERS, _object_members(draft), strict=True):
        if value or (value == {} and name in _NULLABLE_MEMBERS):
            nested[name] = value  # noqa: PERF403 - what calling a comprehension costs is what it would save
    nested.pop("environment", None)
    if replicas:
        nested["replicas"] = list(replicas)
    spelled = encode_members(nested)
    if draft.environment or KEY_MEMBER in environment:  # a key is of one entry: no use in a cache
        spelled["environment"] = _encode_environment({**environment, **draft.environment})
    else:
        spelled["environment"] = _cached_environment(tuple(environment.items()))
    return spelled


def _score(composite: float | None) -> Raw:
    if composite is None:
        return _NULL
    # Six decimals at most, and from here on neither Python nor ECMAScript writes an exponent.
    plain = composite >= _PLAIN_SCORE_MIN
    return Raw(repr(composite).encode() if plain else encode_member("composite_score", composite))


def _encode_environment(members: Mapping[str, str]) -> Raw:
    """With a mark in the place of each pointer. Raises MalformedEntryError naming the member."""
    encode_member("environment", members)
    names = sorted(members)
    before = [name for name in names if name < HOLDS_MEMBER]
    between = [name for name in names if HOLDS_MEMBER < name < RULES_MEMBER]
    after = [name for name in names if name > RULES_MEMBER]
    first, second, last = (
        encode_member("environment", {name: members[name] for name in part})[1:-1]
        for part in (before, between, after)
    )
    return Raw(
        b"{" + (first and first + b",") + _MARK + (second and second + b",") + _MARK
        + (last and b"," + last) + b"}"
    )  # fmt: skip


@lru_cache(maxsize=64)
def _cached_environment(members: tuple[tuple[str, str], ...]) -> Raw:
    """The same for nearly every entry of a process."""
    return _encode_environment(dict(members))


@lru_cache(maxsize=64)
def _spell_pointers(pointers: Pointers) -> tuple[bytes, bytes]:
    """What stands at the marks for holds and for rules; see `_encode_environment` for the commas."""
    holds = "" if pointers.holds is None else f'"{HOLDS_MEMBER}":"{pointers.holds}",'
    return holds.encode(), f'"{RULES_MEMBER}":"{pointers.rules}"'.encode()


def _without_pointers(before: bytes, after: bytes) -> bytes:
    """What stands before and after the pointers, joined where there are none: with one comma less."""
    return before[:-1] + after if before.endswith(b",") else before + after.removeprefix(b",")


class Plan(msgspec.Struct, frozen=True):
    """A batch, chained and hashed, waiting for its signature."""

    head: Head
    prepared: list[Prepared]
    entry_hashes: list[str]
    leaves: list[bytes]
    grown: list[Grown]
    messages: list[bytes]
    """What the key signs: one message for a batch, else one an entry."""
    paths: list[bytes]
    """The batch's inclusion paths; empty when every entry is signed alone."""
    timestamp: str = ""
    """Of every entry of the batch."""
    preimages: list[bytes] = []
    """What each entry hash is the hash of: the line without payload, hash and signature."""
    places: list[tuple[int, int]] = []
    """Where hash and signature go into each of these."""

    def seal(self, signatures: Sequence[bytes]) -> list[bytes]:
        """The lines to store (without line ends), given a signature for each message."""
        if self.paths:
            size = len(self.paths)
            texts = [format_batch(signatures[0], index, size, path) for index, path in enumerate(self.paths)]
        else:
            texts = [format_plain(signature) for signature in signatures]
        lines = []
        for item, preimage, places, entry_hash, text in zip(
            self.prepared, self.preimages, self.places, self.entry_hashes, texts, strict=True
        ):
            hash_at, signature_at = places
            lines.append(b"".join((
                preimage[:_PAYLOAD_AT], b',"action_payload":', item.payload, preimage[_PAYLOAD_AT:hash_at],
                b',"entry_hash":"', entry_hash.encode(), b'"', preimage[hash_at:signature_at],
                b',"hsm_signature":"', text.encode(), b'"', preimage[signature_at:],
            )))  # fmt: skip
        return lines


def plan_batch(
    head: Head,
    prepared: list[Prepared],
    now_us: int,
    *,
    algorithm: str,
    key_id: str,
    batched: bool,
    pointers: Pointers,
    clock_tolerance_s: float = CLOCK_TOLERANCE_S,
) -> Plan:
    """Chain and hash `prepared` after `head`. `now_us`: microseconds since 1970.

    `pointers`: those of the rules in force at the head, known under the log's lock; entry 0 gets none.
    A batch of one is signed plainly. Raises ClockError if the clock stepped back too far.
    """
    timestamp_us = monotonic_timestamp(head, now_us, clock_tolerance_s)
    timestamp = format_timestamp(timestamp_us)
    if len(prepared) > BATCH_ENTRIES_MAX:
        # Its signatures could not be verified: see `parse_signature`.
        raise ValueError(f"a batch has {len(prepared)} entries, at most {BATCH_ENTRIES_MAX} fit")
    batched = batched and len(prepared) > 1
    signed_by = f'"{algorithm}{BATCH_SUFFIX if batched else ""}","signing_key_id":"{key_id}"'.encode()
    signed_at = f'"{timestamp}"'.encode()
    holds, rules = _spell_pointers(pointers)
    previous, hashes, preimages, places, leaves = head.entry_hash, [], [], [], []
    for number, item in enumerate(prepared, head.size):
        pieces = item.template.split(_MARK)
        if item.quorum is not None:
            pieces[5:7] = [(b"true" if item.quorum(timestamp) else b"false").join(pieces[5:7])]
        to_hash, to_holds, to_rules, to_signature, to_previous, to_number, to_key, to_time, end = pieces
        if number:
            middle = b"".join((to_holds, holds, to_rules, rules, to_signature))
        else:
            middle = _without_pointers(to_holds + to_rules, to_signature)
        preimage = b"".join((
            to_hash, middle, to_previous, b'"', previous.encode(), b'"', to_number, b"%d" % number,
            to_key, signed_by, to_time, signed_at, end,
        ))  # fmt: skip
        places.append((len(to_hash), len(to_hash) + len(middle)))
        previous = hex_hash(preimage)
        hashes.append(previous)
        preimages.append(preimage)
        leaves.append(leaf_hash(bytes.fromhex(previous)))
    grown: list[Grown] = []
    edge = head.edge.extended(leaves, grown)
    root, paths = inclusion_paths(leaves) if batched else (b"", [])
    messages = [batch_message(root)] if batched else [bytes.fromhex(digest) for digest in hashes]
    after = Head(head.size + len(prepared), previous, timestamp_us, edge)
    return Plan(after, prepared, hashes, leaves, grown, messages, paths, timestamp, preimages, places)


def monotonic_timestamp(head: Head, now_us: int, tolerance_s: float) -> int:
    """`now_us`, or the last entry's timestamp if the clock is a little behind it.

    Raises ClockError where the clock is further behind, or leapt ahead beyond what can be right.
    """
    if abs(now_us) >= _TIMESTAMP_MAX_US:
        raise ClockError(f"the clock says {now_us} microseconds since 1970, beyond the year 9999", now=now_us)
    behind_s = (head.timestamp_us - now_us) / 1_000_000
    if behind_s > tolerance_s:
        raise ClockError(
            f"the clock is {behind_s:.3f} s behind the last entry, at most {tolerance_s:g} s is tolerated",
            now=format_timestamp(now_us), last=format_timestamp(head.timestamp_us), tolerance_s=tolerance_s,
        )  # fmt: skip
    if -behind_s > CLOCK_LEAP_MAX_S and head.timestamp_us >= CLOCK_PLAUSIBLE_US:
        raise ClockError(
            f"the clock is {-behind_s / 86_400:,.0f} days ahead of the last entry,"
            f" at most {CLOCK_LEAP_MAX_S / 86_400:,.0f} are believed",
            now=format_timestamp(now_us), last=format_timestamp(head.timestamp_us),
            tolerance_s=CLOCK_LEAP_MAX_S,
        )  # fmt: skip
    return max(now_us, head.timestamp_us)
