"""The policy: what a log's entries must come with, and who may approve. One object, one spelling.

It stands in the genesis entry and in every entry that changes it, as plain
JSON members (`format_policy`), whole and with every default written out, so
that a reader needs no version of this software to know what was in force.
People write it as TOML (`policy_text`). What it derives is `deriving`, whose
approval counts is `approval`, how it changes is `policy_change`.

    weights, safety_floor, floor_per_pillar     the four pillars
    rules.<name>        what entries of these event and action types must come with
    approvers.<name>    people who may approve: roles, keys, since when revoked
    actors.<actor_id>   keys of those who act, for `actor_signature` proofs
    redaction           fields and patterns replaced before an entry is written
    erasure             which payloads may be erased, when and on which legal basis

What the rules of a policy ask of an entry: those that match its types, taken together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import Annotated, Any, Final, Literal, NamedTuple, Self, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from attestlog._internal.core import canonical
from attestlog._internal.core.convert import UNKNOWN, format_path, read_complaint
from attestlog._internal.core.entry import (
    PILLARS,
    Count,
    EventType,
    Name,
    Pillar,
    Score,
    TimestampText,
    parse_timestamp,
)
from attestlog._internal.core.glob import Glob
from attestlog._internal.core.reserved import ERASE_PAYLOAD, ERASE_PAYLOADS
from attestlog._internal.core.secrets import SECRET_FIELDS
from attestlog._internal.core.signature import ECDSA_P256, ED25519, PublicKey, load_public_key
from attestlog._internal.core.sshsig import FidoKey, format_ssh_key, parse_ssh_key
from attestlog.errors import (
    MalformedEntryError,
    MalformedJSONError,
    MalformedPolicyError,
    MalformedSignatureError,
)

TYPES_REMEMBERED: Final = 1_024
"""Pairs of event and action type whose demand is kept: a log that makes up types must not fill memory."""


APPROVAL_TERM_MAX_S: Final = 30 * 86_400
"""The longest time for which an approval can count: what a verifier must remember, and a writer search."""

APPROVAL_TERM_S: Final = 86_400
"""How long an approval may count where a rule does not say otherwise: one working day of an approver."""


class Denial(NamedTuple):
    """A rule that forbids an act."""

    rule: str
    reason: str


class Demand(NamedTuple):
    """Proofs and approvals the policy requires, in addition to those the entry itself asks for."""

    required_proofs: tuple[str, ...] = ()
    required_approvals: int = 0
    roles: tuple[str, ...] = ()
    fails_open: bool = False
    """Whether a guarded act goes on when the log cannot write; it does not where no rule says so."""
    expires_max_s: int = APPROVAL_TERM_MAX_S
    """How long an approval may count."""
    denials: tuple[Denial, ...] = ()
    """Rules that forbid it, whatever it comes with."""

    @property
    def needs_approval(self) -> bool:
        """Anybody's at all."""
        return bool(self.required_approvals or self.roles)

    @classmethod
    def of(cls, name: str, rule: Any) -> Self:
        """One rule's. How long approvals count is a matter of the rules that ask for some."""
        demand = cls(tuple(rule.required_proofs), rule.required_approvals, tuple(rule.roles), rule.fail_open)
        return demand._replace(
            expires_max_s=rule.expires_max_s if demand.needs_approval else APPROVAL_TERM_MAX_S,
            denials=(Denial(name, rule.reason),) if rule.deny else (),
        )


NO_DEMAND: Final = Demand()

_RuleMatcher = tuple[tuple[Glob, ...], tuple[Glob, ...], tuple[Glob, ...] | None, Demand]
"""Globs over event types, over action types, over folded actor ids (None: any), what is then asked for."""


class Demands:
    """Finds the demand on an entry by its types and actor, each combination once."""

    def __init__(self, rules: Iterable[_RuleMatcher]) -> None:
        self._rules = list(rules)
        self._names_actors = any(actor_globs is not None for _, _, actor_globs, _ in self._rules)
        self._known: dict[str, Demand] = {}

    def find(self, event_type: str, action_type: str, actor_id: str) -> Demand:
        """What all rules that match ask for: every proof and role of any, the most approvals of any."""
        if not self._rules:
            return NO_DEMAND
        # One string: an event type has no space, and a tuple would be hashed in Python.
        facts = event_type + " " + action_type
        if self._names_actors:
            facts = f"{len(facts)} {facts} {fold(actor_id)}"
        found = self._known.get(facts)
        if found is None:
            found = self._find(event_type, action_type, fold(actor_id))
            if len(self._known) >= TYPES_REMEMBERED:
                self._known.clear()
            self._known[facts] = found
        return found

    def _find(self, event_type: str, action_type: str, actor: str) -> Demand:
        # What is asked of erasing one payload is asked of erasing many: else a range of one walks around it.
        names = (ERASE_PAYLOADS, ERASE_PAYLOAD) if action_type == ERASE_PAYLOADS else (action_type,)
        matching = [
            demand
            for event_globs, action_globs, actor_globs, demand in self._rules
            if any(glob.matches(event_type) for glob in event_globs)
            and any(glob.matches(name) for glob in action_globs for name in names)
            and (actor_globs is None or any(glob.matches(actor) for glob in actor_globs))
        ]
        return Demand(
            tuple(dict.fromkeys(kind for demand in matching for kind in demand.required_proofs)),
            max((demand.required_approvals for demand in matching), default=0),
            tuple(dict.fromkeys(role for demand in matching for role in demand.roles)),
            bool(matching) and all(demand.fails_open for demand in matching),
            min((demand.expires_max_s for demand in matching), default=APPROVAL_TERM_MAX_S),
            tuple(denial for demand in matching for denial in demand.denials),
        )


_UPPER_TO_LOWER: Final = {ord(upper): upper.lower() for upper in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def fold(name: str) -> str:
    """The name of a person or actor as it is compared: without the case of ASCII letters, else as it is.

    No Unicode case folding nor normal form: their tables differ between verifiers, which then would disagree.
    """
    return name.lower() if name.isascii() else name.translate(_UPPER_TO_LOWER)


POLICY_SIZE_MAX_BYTES: Final = 1 << 20
"""A policy in canonical form: thousands of approvers; every reader of the log keeps it in memory."""

POLICIES_KEPT: Final = 4
"""Policies that were read last: a log's, read again when it is opened, verified and restored. Each takes some
times its own size, of at most 1 MiB."""

WEIGHT_MAX: Final = 1_000_000
"""Weights are ratios; within this, no sum of weighted scores leaves the range of doubles."""

REASON_LENGTH_MAX: Final = 1_000
"""Characters of a rule's reason: it stands in every VIOLATION of the rule."""

RETAIN_DAYS_MAX: Final = 36_500
"""A century: longer is a `held` action type."""

Weight = Annotated[int, Meta(ge=0, le=WEIGHT_MAX)] | Annotated[float, Meta(ge=0, le=WEIGHT_MAX)]
Days = Annotated[int, Meta(ge=0, le=RETAIN_DAYS_MAX)]
PatternName = Literal["access_key", "email", "private_key", "token"]
PATTERNS: Final[tuple[PatternName, ...]] = ("access_key", "email", "private_key", "token")
"""What redaction can recognise by itself, whatever the field is called."""

DEFAULT_PATTERNS: Final[tuple[PatternName, ...]] = ("access_key", "private_key", "token")
"""Without e-mail: whom an agent wrote to is what an audit asks."""


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What entries of these types must come with. All rules that match apply, each adding to the others.

    Globs as in queries: `*`, `?`, and a backslash before a character meant as it is.
    """

    event_types: list[str] = field(default_factory=lambda: ["*"])
    action_types: list[str] = field(default_factory=lambda: ["*"])
    required_proofs: list[Name] = []
    required_approvals: Count = 0
    actor_ids: list[str] = field(default_factory=lambda: ["*"])
    """Globs of ASCII over who acts, compared without case."""
    roles: list[Name] = []
    """Roles of which each must be among those who approved."""
    expires_max_s: Annotated[int, Meta(ge=1, le=APPROVAL_TERM_MAX_S)] = APPROVAL_TERM_S
    """How long an approval may count, from its date on, where this rule asks for approvals."""
    fail_open: bool = False
    """Whether a guarded act goes on when the log cannot write. It does if every rule that matches says so."""
    deny: bool = False
    """Whether it must not happen at all, whatever it comes with."""
    reason: Annotated[str, Meta(max_length=REASON_LENGTH_MAX)] = ""
    """Why it is denied: for the actor, and for the record."""


class Approver(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person who may approve. The name is theirs alone; several keys are still one person."""

    roles: list[Name] = []
    keys: Annotated[list[str], Meta(min_length=1)]
    """Ed25519 or P-256: SPKI PEM, or a line of OpenSSH; kept as PEM. A FIDO key is kept as its line."""
    revoked: TimestampText | None = None
    """From entries of this time on, nothing they signed counts."""


class Actor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The registered keys of an actor."""

    keys: Annotated[list[str], Meta(min_length=1)]


class Redaction(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is replaced before an entry is written."""

    enabled: bool = True
    fields: list[str] = field(default_factory=lambda: list(SECRET_FIELDS))
    """Globs over names of members, at any depth, however their words are joined."""
    patterns: list[PatternName] = field(default_factory=lambda: list(DEFAULT_PATTERNS))
    custom_patterns: dict[Name, str] = {}
    """Patterns of the log's own (`core.pattern`), by name. Only who redacts reads them, no verifier."""


class ErasureRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which payloads may be erased.

    A rule for `attestlog.erase_payload` says whose approval that needs, of one payload and of a range.
    """

    action_types: list[str] = field(default_factory=lambda: ["*"])
    """Globs: payloads of other entries are not erased."""
    held: list[str] = []
    """Globs: payloads of these are never erased, a legal hold without end."""
    legal_bases: list[Name] = []
    """If any are named, an erasure must give one of them."""
    retain_days: Days = 0
    """Payloads are not erased before they are that old."""


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """The policy object of the genesis entry. The defaults are the default policy."""

    weights: dict[Pillar, Weight] = field(default_factory=lambda: dict.fromkeys(PILLARS, 1))
    safety_floor: Score = 7
    floor_per_pillar: bool = False
    rules: dict[Name, Rule] = {}
    approvers: dict[Name, Approver] = {}
    actors: dict[Name, Actor] = {}
    redaction: Redaction = field(default_factory=Redaction)
    erasure: ErasureRules = field(default_factory=ErasureRules)

    @cached_property
    def _demands(self) -> Demands:
        return Demands(
            (
                _globs(rule.event_types),
                _globs(rule.action_types),
                None if "*" in rule.actor_ids else _globs(map(fold, rule.actor_ids)),
                Demand.of(name, rule),
            )
            for name, rule in self.rules.items()
        )

    @cached_property
    def approver_keys(self) -> dict[str, tuple[str, PublicKey | FidoKey]]:
        """Key id → (approver's name, key)."""
        return {
            key.key_id: (name, key)
            for name, approver in self.approvers.items()
            for key in map(load_key, approver.keys)
        }

    @cached_property
    def actor_keys(self) -> dict[str, dict[str, PublicKey]]:
        """Actor id → key id → key."""
        return {
            actor_id: {key.key_id: key for key in map(_load_actor_key, actor.keys)}
            for actor_id, actor in self.actors.items()
        }

    @cached_property
    def actors_key_ids(self) -> dict[str, frozenset[str]]:
        """Folded actor id → ids of the keys registered for it."""
        return {fold(actor_id): frozenset(keys) for actor_id, keys in self.actor_keys.items()}

    def demand(self, event_type: str, action_type: str, actor_id: str) -> Demand:
        """What the rules that match such an entry ask for, taken together."""
        return self._demands.find(event_type, action_type, actor_id)


_TABLES: Final[dict[str, type[Struct]]] = {"rules": Rule, "approvers": Approver, "actors": Actor}
_NAME: Final = Annotated[str, Meta(min_length=1, max_length=256)]
Table = TypeVar("Table", bound=Struct)


def parse_policy(members: Any) -> Policy:
    """The policy these members state, keys loaded once and spelled as PEM.

    Raises MalformedPolicyError whose `member` is the path of what is wrong (empty: the whole).
    """
    if not isinstance(members, dict):
        raise malformed(f"expected `object`, got `{_kind(members)}`")
    try:
        spelled = canonical.encode(members)
    except MalformedJSONError as error:
        raise MalformedPolicyError(f"policy: {error}", member="") from None
    if len(spelled) > POLICY_SIZE_MAX_BYTES:
        raise MalformedPolicyError(
            f"policy has {len(spelled)} bytes, at most {POLICY_SIZE_MAX_BYTES} are read", member=""
        )
    return _parse_spelled(spelled)


@lru_cache(maxsize=POLICIES_KEPT)
def _parse_spelled(spelled: bytes) -> Policy:
    """By its canonical form: the same policy is read once, and what it knows of its rules is kept with it."""
    members: Any = canonical.decode(spelled)
    tables = {name: _parse_table(name, kind, members.get(name, {})) for name, kind in _TABLES.items()}
    others = {name: value for name, value in members.items() if name not in _TABLES}
    policy = msgspec.structs.replace(_convert(others, Policy), **tables)
    if set(policy.weights) != set(PILLARS) or sum(policy.weights.values()) <= 0:
        raise malformed(f"must be given for {', '.join(PILLARS)}, with a sum > 0", "weights")
    _check_rules(policy)
    _check_people(policy)
    return policy


def format_policy(policy: Policy) -> dict[str, Any]:
    """The policy as the plain members that go into the log."""
    members: dict[str, Any] = msgspec.to_builtins(policy)
    return members


def load_key(text: str) -> PublicKey | FidoKey:
    """A key as a policy may hold it: SPKI PEM or a line of OpenSSH. Raises MalformedSignatureError."""
    if not text.lstrip().startswith("-----"):
        return parse_ssh_key(text.strip())
    key = load_public_key(text.encode())
    if key.algorithm not in (ECDSA_P256, ED25519):
        raise MalformedSignatureError(f"key is {key.algorithm}, want P-256 or Ed25519")
    return key


def spell_key(key: PublicKey | FidoKey) -> str:
    """How a log stores the key: as PEM, or a FIDO key as its line, which names its application."""
    return format_ssh_key(key) if isinstance(key, FidoKey) else key.pem


def _load_actor_key(text: str) -> PublicKey:
    key = load_key(text)
    if isinstance(key, FidoKey):
        raise MalformedSignatureError(
            "a FIDO key signs approvals only, want a key that signs what an actor does"
        )
    return key


def malformed(reason: str, *path: str) -> MalformedPolicyError:
    """The error for the member at this path."""
    member = format_path(path)
    return MalformedPolicyError(
        f"policy: {member}: {reason}" if member else f"policy: {reason}", member=member
    )


def _convert(members: Any, kind: type[Table], *path: str) -> Table:
    try:
        return msgspec.convert(members, kind)
    except msgspec.ValidationError as error:
        inner, reason = read_complaint(str(error))
        reason = "is not a member of a policy" if reason == UNKNOWN else reason
        member = format_path(path)
        member = f"{member}.{inner}" if member and inner else member or inner
        message = f"policy: {member}: {reason}" if member else f"policy: {reason}"
        raise MalformedPolicyError(message, member=member) from None


def _parse_table(name: str, kind: type[Table], table: Any) -> dict[str, Table]:
    if not isinstance(table, dict):
        raise malformed(f"expected `object`, got `{_kind(table)}`", name)
    for key in table:
        if not 1 <= len(key) <= _NAME_LENGTH_MAX:
            raise malformed(f"a name of {len(key)} characters, want 1 to {_NAME_LENGTH_MAX}", name, key[:80])
        if kind is not Rule and not _PERSON.fullmatch(key):
            raise malformed("a name of other characters than printable ASCII without spaces", name, key)
    return {key: _with_keys(_convert(value, kind, name, key), name, key) for key, value in table.items()}


_NAME_LENGTH_MAX: Final = 256
_PERSON: Final = re.compile(r"[!-~]+")
"""Names of people and actors: what looks the same is the same, in every font and every verifier."""


def _kind(value: object) -> str:
    return {list: "array", str: "str", bool: "bool", int: "int", float: "float"}.get(type(value), "null")


def _with_keys(item: Table, *path: str) -> Table:
    """An approver or actor with each key in its one spelling."""
    if not isinstance(item, Approver | Actor):
        return item
    load = load_key if isinstance(item, Approver) else _load_actor_key
    found: dict[str, str] = {}
    for index, text in enumerate(item.keys):
        try:
            key = load(text)
        except (MalformedSignatureError, UnicodeEncodeError) as error:
            raise malformed(f"key {index + 1}: {error}", *path, "keys") from None
        if key.key_id in found:
            raise malformed(f"key {index + 1} stands twice", *path, "keys")
        found[key.key_id] = spell_key(key)
    return msgspec.structs.replace(item, keys=list(found.values()))


def _check_rules(policy: Policy) -> None:
    held = {role for approver in policy.approvers.values() for role in approver.roles}
    for name, rule in policy.rules.items():
        for event_type in rule.event_types:
            if not any(Glob(event_type).matches(kind) for kind in EventType):
                raise malformed(f"{event_type!r} matches no event type", "rules", name, "event_types")
        for member, what in (("event_types", "type"), ("action_types", "type"), ("actor_ids", "actor")):
            if not getattr(rule, member):
                raise malformed(f"names no {what}, so the rule can apply to nothing", "rules", name, member)
        for actor_id in rule.actor_ids:
            if not (actor_id.isascii() and actor_id.isprintable()):
                raise malformed(f"{actor_id!r} is not a glob of printable ASCII", "rules", name, "actor_ids")
        _check_denial(name, rule)
        needed = max(rule.required_approvals, 1 if rule.roles else 0)
        if needed > len(policy.approvers):
            raise malformed(
                f"{needed} approvals are asked for, the policy has {len(policy.approvers)} approvers",
                "rules", name, "required_approvals" if rule.required_approvals else "roles",
            )  # fmt: skip
        for role in rule.roles:
            if role not in held:
                raise malformed(f"no approver has role {role!r}", "rules", name, "roles")


def _check_denial(name: str, rule: Rule) -> None:
    """A rule that denies says why, and asks for nothing: it could not be had."""
    if not rule.deny:
        if rule.reason:
            raise malformed("is given by a rule that denies nothing", "rules", name, "reason")
        return
    if not rule.reason.strip():
        raise malformed("is missing: a rule that denies says why", "rules", name, "reason")
    for member in ("required_proofs", "required_approvals", "roles", "fail_open"):
        if getattr(rule, member):
            raise malformed("is asked for by a rule that denies", "rules", name, member)


def _check_people(policy: Policy) -> None:
    """No key is two people's: whoever holds it would be both. No two names look alike. Also real dates."""
    spelled: dict[str, str] = {}
    for table in ("approvers", "actors"):
        for name in getattr(policy, table):
            known = spelled.setdefault(fold(name), name)
            if known != name:
                raise malformed(f"differs from {known!r} in case only", table, name)
    owners: dict[str, str] = {}
    for name, approver in policy.approvers.items():
        for key_id in (load_key(text).key_id for text in approver.keys):
            owner = owners.setdefault(key_id, name)
            if owner != name:
                raise malformed(f"has the key of approver {owner!r}", "approvers", name, "keys")
        try:
            parse_timestamp(approver.revoked or "1970-01-01T00:00:00.000000Z")
        except MalformedEntryError as error:
            raise malformed(str(error), "approvers", name, "revoked") from None


def _globs(patterns: Iterable[str]) -> tuple[Glob, ...]:
    return tuple(map(Glob, patterns))
