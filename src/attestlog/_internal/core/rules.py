"""The rules in force: which keys may sign entries, and which policy derives, at one place of the log.

They begin with the genesis entry. A *governing* entry (a CHANGE of one of the
action types in `GOVERNING`) is judged by the rules it stands under, as every
entry is; if it holds, `after` gives the rules for those that follow. The
writer before it stores and the verifier years later ask the same function.

    rules = Rules.of(genesis)
    rules = rules.after(entry)      # for each governing entry, in order

Immutable, and small enough to hand to another process: of a key that is no
longer in force only its term is kept. To govern by another action type, give
it a handler in `_HANDLERS`.

Legal holds: payloads that must not be erased, until the hold is released.

    add_legal_hold       name, start, stop (or null: without end), reason
    release_legal_hold   name, placed_by (the entry that placed it), reason

Both are CHANGE entries that govern: which holds are in force at an entry is
part of the `rules` there, so an erasure is judged by the holds where it stands.
The document is docs/spec/erasure.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final, NamedTuple, NoReturn

import msgspec
from msgspec import Meta, Struct

from attestlog._internal.core.checkpoint import SIZE_MAX, LogId
from attestlog._internal.core.convert import convert_payload, malformed_payload
from attestlog._internal.core.entry import (
    Count,
    Entry,
    EntryRef,
    Name,
    Object,
    decode_line,
    entry_hash,
    payload_hash,
)
from attestlog._internal.core.genesis import REASON_LENGTH_MAX, Genesis
from attestlog._internal.core.policy import Policy
from attestlog._internal.core.policy_change import changed_policy, check_allowed, check_named
from attestlog._internal.core.reserved import (
    MODIFY_POLICY_RULE,
    PLACE_LEGAL_HOLD,
    RELEASE_LEGAL_HOLD,
    REVOKE_SIGNING_KEY,
    ROTATE_SIGNING_KEY,
    SET_POLICY,
    governs,
)
from attestlog._internal.core.rotation import (
    parse_revocation,
    parse_rotation,
    rotation_message,
)
from attestlog._internal.core.signature import BATCH_SUFFIX, PublicKey, verify_entry_signature
from attestlog.errors import (
    MalformedEntryError,
    MalformedError,
    MissingExtraError,
    RuleChangeError,
    VerificationError,
)

HOLDS_MAX: Final = 1_000
"""Holds in force at once: every reader of the log keeps them, and every erasure is compared with each."""

ReasonText = Annotated[str, Meta(min_length=1, max_length=REASON_LENGTH_MAX)]


class Hold(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The payloads of entries `start` up to `stop` stay, those not written yet included."""

    name: Name
    start: Count
    stop: Count | None
    reason: ReasonText

    def covers(self, sequence_number: int) -> bool:
        """Whether this entry's payload is held."""
        return self.start <= sequence_number and (self.stop is None or sequence_number < self.stop)


class Release(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The payload of `attestlog.release_legal_hold`: which hold it ends, by the entry that placed it."""

    name: Name
    placed_by: EntryRef
    reason: ReasonText


def release_of(rules: Rules, name: str, reason: str) -> Release:
    """The end of the hold of this name that is in force. Raises RuleChangeError if there is none."""
    placed_by = rules.placed_by.get(name)
    if placed_by is None:
        raise RuleChangeError(
            f"no legal hold {name!r} is in force",
            action_type=RELEASE_LEGAL_HOLD, expected=sorted(rules.holds), found=name,
        )  # fmt: skip
    return Release(name=name, placed_by=placed_by, reason=reason)


def format_hold(hold: Hold | Release) -> Object:
    """The payload."""
    members: Object = msgspec.to_builtins(hold)
    return members


def parse_hold(payload: Any) -> Hold:
    """Raises MalformedEntryError unless it has exactly these members and holds something."""
    hold = convert_payload(payload, Hold)
    if hold.stop is not None and hold.stop <= hold.start:
        malformed_payload(f"{hold.stop} is not after the start, {hold.start}", "stop")
    return hold


def parse_release(payload: Any) -> Release:
    """Raises MalformedEntryError unless it has exactly these members."""
    return convert_payload(payload, Release)


def held_by(holds: Iterable[Hold], sequence_number: int) -> list[str]:
    """Names of the holds on this entry's payload."""
    return [hold.name for hold in holds if hold.covers(sequence_number)]


KEYS_MAX: Final = 10_000
"""Keys a log can ever have: one a day for 27 years. Bounds what every reader keeps of those before."""


class Term(NamedTuple):
    """The entries a key may sign, and how far what it signed is to be trusted."""

    start: int
    """Sequence number of the first entry signed under it."""
    stop: int | None = None
    """One past the last; None while it is in force."""
    last_trusted: int | None = None
    """Revoked: what it signed after this entry is not trusted."""
    revoked_at: int | None = None
    """The entry that says so."""
    by: str | None = None
    """The key that signed its coming in; None: the genesis entry names it."""


_NO_ENTRY: Final = EntryRef(0, "")


@dataclass(frozen=True)
class Rules:
    """What entries from `start` on are judged by, until the next governing entry that holds."""

    origin: str
    keys: dict[str, PublicKey]
    """By key id: those that may sign."""
    policy: Policy
    terms: dict[str, Term]
    """By key id: all that ever could sign, in the order in which they came."""
    start: int = 0
    holds: dict[str, Hold] = field(default_factory=dict)
    """By name: legal holds in force."""
    placed_by: dict[str, EntryRef] = field(default_factory=dict)
    """By name: the entry that placed each of them."""
    genesis_hash: str = ""
    """`entry_hash` of entry 0."""
    policy_by: EntryRef = _NO_ENTRY
    """The entry that made the policy: the last change of it that held, at first the genesis entry."""

    @classmethod
    def of(cls, genesis: Genesis) -> Rules:
        """Those from entry 0 on."""
        keys = genesis.entry_keys
        first = genesis.entry_hash
        return cls(
            genesis.origin, keys, genesis.policy, dict.fromkeys(keys, Term(0)),
            genesis_hash=first, policy_by=EntryRef(0, first),
        )  # fmt: skip

    @property
    def log(self) -> LogId:
        """Which log's."""
        return LogId(self.origin, self.genesis_hash)

    @property
    def key_ids(self) -> list[str]:
        """The keys that may sign."""
        return sorted(self.keys)

    def signing_key(self, key_id: str, algorithm: str) -> PublicKey | None:
        """The key of this id, if it is in force and signs with this algorithm, alone or in a batch."""
        key = self.keys.get(key_id)
        return key if key is not None and algorithm in (key.algorithm, key.algorithm + BATCH_SUFFIX) else None

    def after(self, entry: Entry) -> Rules:
        """The rules from the next entry on, given a governing entry.

        Raises RuleChangeError if the change does not hold; then these stay in force. Everything that makes
        it hold is looked at here, except its place in the chain, and signatures of an algorithm that the
        installed cryptography does not have.
        """
        number = entry.sequence_number
        try:
            _check_is_signed(self, entry)
            changed = _HANDLERS[entry.action_type](self, entry)
        except (MalformedError, VerificationError, RecursionError) as error:
            evidence = error.evidence() if isinstance(error, VerificationError) else {}
            raise RuleChangeError(
                f"{entry.action_type} does not hold: {str(error) or 'it is nested too deep'}",
                action_type=entry.action_type,
                **{name: evidence[name] for name in ("expected", "found") if name in evidence},
            ) from None
        return replace(changed, start=number + 1)

    def following(self, lines: Iterable[bytes], stop: int = SIZE_MAX) -> tuple[Rules, list[bytes]]:
        """The rules after these lines, and those of them that changed the rules; others are passed over.

        `stop`: entries from this one on are not looked at.
        """
        rules, held = self, []
        for line in lines:
            with contextlib.suppress(MalformedEntryError, RuleChangeError):
                entry = decode_line(line)
                if governs(entry) and entry.sequence_number < stop:
                    rules = rules.after(entry)
                    held.append(line)
        return rules, held

    def retired(self, key_id: str) -> str:
        """Why a key is not in force, in words."""
        term = self.terms.get(key_id)
        if term is None:
            return "signing_key_id names no key of this log"
        if term.revoked_at is not None:
            return f"key {key_id[:16]} was revoked by entry {term.revoked_at}"
        return f"key {key_id[:16]} was retired by entry {(term.stop or 1) - 1}"


def _check_is_signed(rules: Rules, entry: Entry) -> None:
    """That a key in force signed exactly this, and that it is later than what made the rules."""
    if entry.sequence_number < rules.start:
        _refuse(
            "it is earlier than the entry that made the rules in force", rules.start, entry.sequence_number
        )
    if entry.action_payload is None:
        _refuse("its payload is erased")
    if payload_hash(entry) != entry.action_hash or entry_hash(entry) != entry.entry_hash:
        _refuse("its hashes are not its own")
    key = rules.signing_key(entry.signing_key_id, entry.signature_algorithm)
    if key is None:
        _refuse("it is not signed by a key in force", rules.key_ids, entry.signing_key_id)
    # What cannot be verified here is passed: its entry is reported as unverified, and nothing worse.
    with contextlib.suppress(MissingExtraError):
        verify_entry_signature(key, entry.signature_algorithm, entry.hsm_signature, entry.entry_hash)


def _rotate(rules: Rules, entry: Entry) -> Rules:
    """The new key is the only one from here on. A key that ever was in force never comes back.

    No approval is asked for: what the new key signs holds the entry's number, which nobody knows before.
    """
    _check_not_denied(rules, entry)
    number, old = entry.sequence_number, entry.signing_key_id
    rotation = parse_rotation(entry.action_payload)
    new = rotation.key.key_id
    if new in rules.terms:
        _refuse(f"key {new[:16]} was in force before", found=new)
    if len(rules.terms) >= KEYS_MAX:
        _refuse("the log has had too many keys", KEYS_MAX, len(rules.terms) + 1)
    with contextlib.suppress(MissingExtraError):
        rotation.key.verify(rotation.signature, rotation_message(rules.origin, old, new, number))
    terms = {**rules.terms, new: Term(number + 1, by=old)}
    terms |= {key_id: terms[key_id]._replace(stop=number + 1) for key_id in rules.keys}
    return replace(rules, keys={new: rotation.key}, terms=terms)


def _revoke(rules: Rules, entry: Entry) -> Rules:
    _check_approved(rules, entry)
    number = entry.sequence_number
    revocation = parse_revocation(entry.action_payload)
    key_id, last_trusted = revocation.key_id, revocation.last_trusted_sequence_number
    term = rules.terms.get(key_id)
    if term is None:
        _refuse(f"key {key_id[:16]} never was in force", list(rules.terms), key_id)
    if rules.keys.keys() == {key_id}:
        _refuse(f"key {key_id[:16]} is the only one in force", found=key_id)
    if entry.signing_key_id == key_id:
        _refuse(f"key {key_id[:16]} itself signed it", found=key_id)
    first, last = max(term.start - 1, 0), number - 1
    if term.last_trusted is not None:
        last = term.last_trusted - 1
    if not first <= last_trusted <= last:
        _refuse(
            f"the last trusted entry is {last_trusted}, want {first} to {last}", [first, last], last_trusted
        )
    stop = number if term.stop is None else term.stop
    ended = term._replace(stop=stop, last_trusted=last_trusted, revoked_at=number)
    keys = {known: key for known, key in rules.keys.items() if known != key_id}
    return replace(rules, keys=keys, terms={**rules.terms, key_id: ended})


def _hold(rules: Rules, entry: Entry) -> Rules:
    _check_approved(rules, entry)
    hold = parse_hold(entry.action_payload)
    if hold.name in rules.holds:
        _refuse(f"a legal hold {hold.name!r} is in force already", found=hold.name)
    if len(rules.holds) >= HOLDS_MAX:
        _refuse("there are too many legal holds", HOLDS_MAX, len(rules.holds) + 1)
    placed_by = {**rules.placed_by, hold.name: EntryRef.of(entry)}
    return replace(rules, holds={**rules.holds, hold.name: hold}, placed_by=placed_by)


def _release(rules: Rules, entry: Entry) -> Rules:
    _check_approved(rules, entry)
    release = parse_release(entry.action_payload)
    name = release.name
    if name not in rules.holds:
        _refuse(f"no legal hold {name!r} is in force", sorted(rules.holds), name)
    stated = msgspec.to_builtins(release.placed_by)
    check_named("placed_by", stated, rules.placed_by[name], f"legal hold {name!r} was placed by entry")
    holds, placed_by = dict(rules.holds), dict(rules.placed_by)
    del holds[name], placed_by[name]
    return replace(rules, holds=holds, placed_by=placed_by)


def _check_approved(rules: Rules, entry: Entry) -> None:
    """By whom the policy asks for. Whether `proofs_valid` is what the policy derives is judged by itself."""
    check_allowed(rules.policy, entry, rules.log)
    if not entry.proofs_valid:
        _refuse("proofs_valid is false", expected=True, found=False)


def _check_not_denied(rules: Rules, entry: Entry) -> None:
    for denial in rules.policy.demand(entry.event_type, entry.action_type, entry.actor_id).denials:
        _refuse(f"rule {denial.rule!r} denies it: {denial.reason}", found=denial.rule)


def _change_policy(rules: Rules, entry: Entry) -> Rules:
    policy = changed_policy(rules.policy, entry, rules.log, rules.policy_by)
    return replace(rules, policy=policy, policy_by=EntryRef.of(entry))


def _refuse(reason: str, expected: Any = None, found: Any = None) -> NoReturn:
    raise VerificationError(reason, expected=expected, found=found)


_HANDLERS: Final[dict[str, Callable[[Rules, Entry], Rules]]] = {
    ROTATE_SIGNING_KEY: _rotate,
    REVOKE_SIGNING_KEY: _revoke,
    PLACE_LEGAL_HOLD: _hold,
    RELEASE_LEGAL_HOLD: _release,
    SET_POLICY: _change_policy,
    MODIFY_POLICY_RULE: _change_policy,
}
"""What makes each governing action type hold, and the rules after it."""
