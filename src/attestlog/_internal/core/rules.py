"""The rules in force: which keys may sign entries, and which policy derives, at one place of the log.

They begin with the genesis entry. A *governing* entry (a CHANGE of one of the
action types in `GOVERNING`) is judged by the rules it stands under, as every
entry is; if it holds, `after` gives the rules for those that follow. The
writer before it stores and the verifier years later ask the same function.

    rules = Rules.of(genesis)
    rules = rules.after(entry)            # for each governing entry, in order
    rules = rules.at(pointers, fetch)     # or at once, for the entry that has these pointers

Immutable, and small enough to hand to another process: of a key that is no
longer in force only its term is kept. To govern by another action type, give
it a handler in `_HANDLERS`.

Legal holds: payloads that must not be erased, until the hold is released.

    place_legal_hold     name, start, stop (or null: without end), reason
    release_legal_hold   name, placed_by (the entry that placed it), reason

Both are CHANGE entries that govern: which holds are in force at an entry is
part of the `rules` there, so an erasure is judged by the holds where it stands.
The documents are docs/spec/rules.md, rotation.md and erasure.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
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
from attestlog._internal.core.genesis import KEYS_IN_FORCE_MAX, REASON_LENGTH_MAX, Genesis
from attestlog._internal.core.pointer import Fetch, Pointers, point_to, read_changes
from attestlog._internal.core.policy import Policy
from attestlog._internal.core.policy_change import changed_policy, check_allowed, check_named
from attestlog._internal.core.reserved import (
    ADMIT_SIGNING_KEY,
    MODIFY_POLICY_RULE,
    PLACE_LEGAL_HOLD,
    RELEASE_LEGAL_HOLD,
    REVOKE_SIGNING_KEY,
    ROTATE_SIGNING_KEY,
    SET_POLICY,
    governs,
)
from attestlog._internal.core.rotation import (
    Rotation,
    admission_message,
    parse_admission,
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
    placed_by = rules.placed_by[name] if name in rules.holds else None
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
    label: str = ""
    """Which host's key it is, where an admission says so."""


class HoldsUnreadError(RuntimeError):
    """The legal holds in force were asked for, and not read: a defect of the caller. See `Rules.at`."""


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
    read_holds: dict[str, Hold] | None = field(default_factory=dict)
    """By name: legal holds in force; None: there may be some, and they were not read."""
    genesis_hash: str = ""
    """`entry_hash` of entry 0."""
    pointers: Pointers = field(default_factory=Pointers)
    """What the entries that stand under these rules state, all but entry 0."""
    placed_by: dict[str, EntryRef] = field(default_factory=dict)
    """By name: the entry that placed each of these holds."""
    policy_by: EntryRef = _NO_ENTRY
    """The entry that made the policy: the last change of it that held, at first the genesis entry."""

    @classmethod
    def of(cls, genesis: Genesis) -> Rules:
        """Those from entry 0 on."""
        keys, digest = genesis.entry_keys, genesis.entry_hash
        return cls(
            genesis.origin, keys, genesis.policy, dict.fromkeys(keys, Term(0)),
            genesis_hash=digest, pointers=Pointers(f"0:{digest}"), policy_by=EntryRef(0, digest),
        )  # fmt: skip

    @property
    def holds(self) -> dict[str, Hold]:
        """By name: legal holds in force. Raises HoldsUnreadError."""
        if self.read_holds is None:
            raise HoldsUnreadError("the legal holds in force were not read")
        return self.read_holds

    @cached_property
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
            _check_stands_here(self, entry)
            check_is_signed(self, entry)
            changed = _HANDLERS[entry.action_type](self, entry)
        except (MalformedError, VerificationError, RecursionError) as error:
            evidence = error.evidence() if isinstance(error, VerificationError) else {}
            raise RuleChangeError(
                f"{entry.action_type} does not hold: {str(error) or 'it is nested too deep'}",
                action_type=entry.action_type,
                **{name: evidence[name] for name in ("expected", "found") if name in evidence},
            ) from None
        member = "holds" if entry.action_type in _OF_HOLDS else "rules"
        pointers = self.pointers._replace(**{member: point_to(entry)})
        return replace(changed, start=number + 1, pointers=pointers)

    def at(self, pointers: Pointers, fetch: Fetch, *, with_holds: bool = True) -> Rules:
        """The rules of entries with these pointers, which come after these rules: read at once.

        Only the entries that changed the rules are fetched. Without `with_holds`, those that placed or
        released holds are not: then `holds` cannot be asked for, unless there never were any.
        Raises VerificationError (RuleChangeError where an entry does not hold), MalformedEntryError, and
        what `fetch` raises.
        """
        is_read = with_holds and self.read_holds is not None
        follows_holds = is_read or pointers.holds == self.pointers.holds
        stop = pointers if follows_holds else pointers._replace(holds=self.pointers.holds)
        rules = self
        for entry in read_changes(self.pointers, stop, fetch):
            rules = (rules if follows_holds else _with_stated_holds(rules, entry)).after(entry)
        if not follows_holds:
            rules = replace(rules, read_holds=None, pointers=rules.pointers._replace(holds=pointers.holds))
        if rules.pointers != pointers:
            raise VerificationError(
                "the pointers name an entry that changes something else", expected=rules.pointers,
                found=pointers,
            )  # fmt: skip
        return rules

    def following(self, lines: Iterable[bytes], stop: int = SIZE_MAX) -> tuple[Rules, list[bytes]]:
        """The rules after these lines, and those of them that changed the rules; others are passed over.

        `stop`: entries from this one on are not looked at. Holds neither, where those in force were
        not read.
        """
        rules, held = self, []
        for line in lines:
            with contextlib.suppress(MalformedEntryError, RuleChangeError):
                entry = decode_line(line)
                if not governs(entry) or entry.sequence_number >= stop:
                    continue
                if rules.read_holds is None:
                    if entry.action_type in _OF_HOLDS:
                        continue
                    rules = _with_stated_holds(rules, entry)
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


def _with_stated_holds(rules: Rules, entry: Entry) -> Rules:
    """With the pointer to holds that the entry states: it is not known to be right, nor asked for."""
    return replace(rules, pointers=rules.pointers._replace(holds=Pointers.of(entry).holds))


def _check_stands_here(rules: Rules, entry: Entry) -> None:
    """That it governs, is later than what made the rules, and names these as those it stands under."""
    if not governs(entry):
        _refuse("it does not act on the rules", found=f"{entry.event_type} {entry.execution_status}")
    if entry.sequence_number < rules.start:
        _refuse(
            "it is earlier than the entry that made the rules in force", rules.start, entry.sequence_number
        )
    if Pointers.of(entry) != rules.pointers:
        _refuse("it stands under other rules", rules.pointers, Pointers.of(entry))


def check_is_signed(rules: Rules, entry: Entry) -> None:
    """Raises VerificationError or MalformedError unless a key in force signed exactly this."""
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
    """The new key takes the place of the one that signs this, and of no other.

    No approval is asked for: what the new key signs holds the entry's number, which nobody knows before.
    """
    _check_not_denied(rules, entry)
    number, old = entry.sequence_number, entry.signing_key_id
    rotation = parse_rotation(entry.action_payload)
    message = rotation_message(rules.origin, old, rotation.key.key_id, number)
    _check_comes_in(rules, rotation, message)
    return _retire(_come_in(rules, rotation.key, Term(number + 1, by=old)), [old], number + 1)


def _admit(rules: Rules, entry: Entry) -> Rules:
    """The new key signs beside those in force. Unlike a rotation this adds power: it needs approvals."""
    _check_approved(rules, entry)
    admission = parse_admission(entry.action_payload)
    message = admission_message(rules.origin, rules.genesis_hash, admission.key.key_id)
    _check_comes_in(rules, admission, message)
    if len(rules.keys) >= KEYS_IN_FORCE_MAX:
        _refuse("there are too many keys in force", KEYS_IN_FORCE_MAX, len(rules.keys) + 1)
    term = Term(entry.sequence_number + 1, by=entry.signing_key_id, label=admission.label)
    return _come_in(rules, admission.key, term)


def _check_comes_in(rules: Rules, rotation: Rotation, message: bytes) -> None:
    """That the new key signed `message`, and never was in force: a key comes in once."""
    new = rotation.key.key_id
    if new in rules.terms:
        _refuse(f"key {new[:16]} was in force before", found=new)
    if len(rules.terms) >= KEYS_MAX:
        _refuse("the log has had too many keys", KEYS_MAX, len(rules.terms) + 1)
    with contextlib.suppress(MissingExtraError):
        rotation.key.verify(rotation.signature, message)


def _come_in(rules: Rules, key: PublicKey, term: Term) -> Rules:
    return replace(rules, keys={**rules.keys, key.key_id: key}, terms={**rules.terms, key.key_id: term})


def _retire(rules: Rules, key_ids: Iterable[str], stop: int, **changes: Any) -> Rules:
    """Without these keys from entry `stop` on; `changes`: of their terms."""
    gone = frozenset(key_ids)
    terms = {
        key_id: rules.terms[key_id]._replace(stop=stop, **changes) for key_id in gone & rules.keys.keys()
    }
    keys = {key_id: key for key_id, key in rules.keys.items() if key_id not in gone}
    return replace(rules, keys=keys, terms=rules.terms | terms)


def _revoke(rules: Rules, entry: Entry) -> Rules:
    """What a key signed after an entry is not trusted. With it go the keys that came in by it since then."""
    _check_approved(rules, entry)
    number, signer = entry.sequence_number, entry.signing_key_id
    revocation = parse_revocation(entry.action_payload)
    key_id, last_trusted = revocation.key_id, revocation.last_trusted_sequence_number
    term = rules.terms.get(key_id)
    if term is None:
        _refuse(f"key {key_id[:16]} never was in force", list(rules.terms), key_id)
    if rules.keys.keys() == {key_id}:
        _refuse(f"key {key_id[:16]} is the only one in force", found=key_id)
    if signer == key_id:
        _refuse(f"key {key_id[:16]} itself signed it", found=key_id)
    first, last = max(term.start - 1, 0), number - 1
    if term.last_trusted is not None:
        last = term.last_trusted - 1
    if not first <= last_trusted <= last:
        _refuse(
            f"the last trusted entry is {last_trusted}, want {first} to {last}", [first, last], last_trusted
        )
    brought_in = _brought_in(rules.terms, key_id, last_trusted, signer)
    rules = _retire(rules, [key_id, *brought_in], number, revoked_at=number)
    ended = rules.terms[key_id]._replace(last_trusted=last_trusted, revoked_at=number)
    return replace(rules, terms={**rules.terms, key_id: ended})


def _brought_in(terms: dict[str, Term], key_id: str, last_trusted: int, signer: str) -> set[str]:
    """Keys whose rotation or admission this key signed after that entry, or a key signed that came in so.

    Not the one that signs the revocation: it stays, or a log with one key could never say that the key
    before it was stolen. That its own coming in is doubtful then, verifiers say (`key.revoked`).
    """
    found: set[str] = set()
    for known, term in terms.items():  # in the order in which they came
        if known != signer and (term.by in found or (term.by == key_id and term.start - 1 > last_trusted)):
            found.add(known)
    return found


def _hold(rules: Rules, entry: Entry) -> Rules:
    _check_approved(rules, entry)
    hold = parse_hold(entry.action_payload)
    if hold.name in rules.holds:
        _refuse(f"a legal hold {hold.name!r} is in force already", found=hold.name)
    if len(rules.holds) >= HOLDS_MAX:
        _refuse("there are too many legal holds", HOLDS_MAX, len(rules.holds) + 1)
    placed_by = {**rules.placed_by, hold.name: EntryRef.of(entry)}
    return replace(rules, read_holds={**rules.holds, hold.name: hold}, placed_by=placed_by)


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
    return replace(rules, read_holds=holds, placed_by=placed_by)


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
    ADMIT_SIGNING_KEY: _admit,
    REVOKE_SIGNING_KEY: _revoke,
    PLACE_LEGAL_HOLD: _hold,
    RELEASE_LEGAL_HOLD: _release,
    SET_POLICY: _change_policy,
    MODIFY_POLICY_RULE: _change_policy,
}
"""What makes each governing action type hold, and the rules after it."""

_OF_HOLDS: Final = frozenset({PLACE_LEGAL_HOLD, RELEASE_LEGAL_HOLD})
"""Those that are in the list of holds; the others are in that of rules."""
