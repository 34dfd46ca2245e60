"""One entry under the schema's names, and what the schema itself would compute of entries."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, Self

from attestlog._internal.core import canonical
from attestlog._internal.core.entry import Entry, decode_line, entry_hash, payload_hash
from attestlog._internal.core.hashes import GENESIS_PREV_HASH, hex_hash
from attestlog._internal.core.signature import verify_entry_signature
from attestlog.errors import MalformedEntryError, MalformedError, SignatureInvalidError
from attestlog.haios._keys import load_public_key_of

SCHEMA_LISTED_MEMBERS: Final = (
    "entry_id", "timestamp", "sequence_number", "event_type", "actor_id", "action_hash",
    "system_state_snapshot", "provided_proofs", "execution_status", "prev_entry_hash",
)  # fmt: skip
"""The members that the schema's `compute_entry_hash` names. A comment there adds "all other fields"."""

_OUTSIDE_THE_HASH: Final = frozenset({"entry_hash", "hsm_signature"})
"""What neither hash can cover. Beside these, attestlog's leaves out the payload that `action_hash` is of."""


@dataclass(frozen=True)
class AttestationEntry:
    """One entry: the schema's 40 members, in the schema's order. It cannot be changed.

    `timestamp` is in UTC and aware; one given without a zone counts as UTC. The members of a stored
    entry are those that were signed, so a payload may hold redacted values.
    Raises MalformedEntryError for a timestamp that is not a `datetime`. Other members are checked when
    they are used: see `to_entry`.
    """

    entry_id: str
    timestamp: datetime
    sequence_number: int

    event_type: str
    event_category: str
    severity: int

    actor_type: str
    actor_id: str
    actor_context: dict[str, Any]

    action_type: str
    action_payload: dict[str, Any] | None
    """None once it was erased."""
    action_hash: str

    system_state_snapshot: dict[str, Any]
    environment: dict[str, str]
    dependencies: list[str]

    required_proofs: list[str]
    provided_proofs: list[dict[str, Any]]
    proofs_valid: bool

    required_approvals: int
    received_approvals: list[dict[str, str]]
    quorum_met: bool

    pillars_scores: dict[str, float]
    composite_score: float | None
    """None where no pillar was scored."""
    safety_floor_met: bool | None
    """None where no pillar was scored."""

    k_state: int
    conflicts_detected: list[str]

    execution_status: str
    result_data: dict[str, Any] | None
    error_details: dict[str, Any] | None

    rollback_available: bool
    rollback_snapshot_hash: str | None
    rollback_executed: bool

    prev_entry_hash: str
    entry_hash: str

    hsm_signature: str
    signature_algorithm: str
    signing_key_id: str

    attribution: str
    schema_version: str
    replicas: list[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "timestamp", utc(self.timestamp))

    @classmethod
    def from_entry(cls, entry: Entry) -> Self:
        """The same entry under the schema's names."""
        members = {name: _plain(getattr(entry, name)) for name in MEMBERS}
        return cls(**{**members, "timestamp": datetime.fromisoformat(entry.timestamp)})

    def to_entry(self) -> Entry:
        """The same entry as an `attestlog.Entry`.

        Raises MalformedEntryError or MalformedJSONError, naming the member that an entry cannot hold.
        """
        return decode_line(canonical.encode(self._members()))

    def compute_entry_hash(self) -> str:
        """What `entry_hash` must be: hex SHA-256 of the canonical entry; see docs/spec/hashes.md.

        attestlog leaves the payload out, because `action_hash` stands for it. Where `action_hash` is not
        the hash of the payload, the payload is covered as it stands. The result is then no entry's
        `entry_hash`, so an edited payload shows here, too.
        Raises as `to_entry`.
        """
        entry = self.to_entry()
        if entry.action_payload is None or payload_hash(entry) == entry.action_hash:
            return entry_hash(entry)
        covered = {name: value for name, value in self._members().items() if name not in _OUTSIDE_THE_HASH}
        return hex_hash(canonical.encode(covered))

    def verify_chain(self, prev_entry: AttestationEntry) -> bool:
        """Whether this entry follows `prev_entry` as that stands, not as it says of itself.

        That is: its number is one more, its timestamp is not earlier, and its `prev_entry_hash` is the
        hash of `prev_entry`, which `prev_entry` must state as well.
        """
        try:
            previous_hash = prev_entry.compute_entry_hash()
        except MalformedError:
            return False
        return (
            self.prev_entry_hash == prev_entry.entry_hash == previous_hash
            and self.sequence_number == prev_entry.sequence_number + 1
            and self.timestamp >= prev_entry.timestamp
        )

    def verify_signature(self, hsm_pubkey: object) -> bool:
        """Whether this key signed this entry as it stands, alone or with its batch.

        `hsm_pubkey`: an attestlog or `cryptography` public key, its SPKI as PEM or DER, or a key or signer
        that has such a `public_key`. The hash is computed again first, so an edited entry fails here.
        Raises MalformedSignatureError for what is no such key, and MissingExtraError where the installed
        `cryptography` cannot verify this algorithm.
        """
        key = load_public_key_of(hsm_pubkey)
        try:
            computed = self.compute_entry_hash()
            if (computed, key.key_id) != (self.entry_hash, self.signing_key_id):
                return False
            verify_entry_signature(key, self.signature_algorithm, self.hsm_signature, computed)
        except (MalformedError, SignatureInvalidError):
            return False
        return True

    def to_json(self) -> str:
        """The entry as attestlog stores it: canonical JSON on one line, without a line end.

        Raises MalformedJSONError, naming the member that JSON cannot hold.
        """
        return canonical.encode(self._members()).decode()

    @classmethod
    def from_json(cls, json_str: str) -> Self:
        """The entry that a JSON text holds, in any spelling, the schema's own included.

        Raises MalformedEntryError or MalformedJSONError unless it has the 40 members, each of its type,
        and no others.
        """
        members = canonical.decode(json_str)
        if not isinstance(members, dict):
            raise MalformedEntryError(f"entry: expected an object, got {type(members).__name__}", member="")
        stated = members.get("timestamp")
        if isinstance(stated, str):
            members["timestamp"] = _format(_parse(stated))
        return cls.from_entry(decode_line(canonical.encode(members)))

    def _members(self) -> dict[str, Any]:
        """The members as JSON values."""
        members = {name: _plain(getattr(self, name)) for name in MEMBERS}
        members["timestamp"] = _format(self.timestamp)
        return members


MEMBERS: Final = tuple(field.name for field in fields(AttestationEntry))
"""The names of the 40 members, in the schema's order."""


def schema_entry_hash(entry: AttestationEntry, *, listed_only: bool = False) -> str:
    """What the schema's `compute_entry_hash` gives for this entry: for comparison, never stored.

    It is hex SHA-256 of Python's `json.dumps(members, sort_keys=True)`. The members are all but
    `entry_hash` and `hsm_signature`, as the schema's comment asks; with `listed_only`, the ten that its
    code names. The timestamp is spelled as the schema's writer spells it: without a zone.
    """
    names = SCHEMA_LISTED_MEMBERS if listed_only else [n for n in MEMBERS if n not in _OUTSIDE_THE_HASH]
    members = {name: getattr(entry, name) for name in names}
    members["timestamp"] = entry.timestamp.replace(tzinfo=None).isoformat()
    return hex_hash(json.dumps(members, sort_keys=True).encode())


def schema_merkle_root(entries: Iterable[AttestationEntry | str]) -> str:
    """What the schema's `get_merkle_root` gives for these entries, or `entry_hash`es: for comparison.

    Each pair of hex hashes is joined as text and hashed. An odd last one is paired with itself, so
    different lists can have one root. Without entries it is 64 zeros. Holds all hashes in memory.
    """
    hashes = [entry if isinstance(entry, str) else entry.entry_hash for entry in entries]
    while len(hashes) > 1:
        if len(hashes) % 2:
            hashes.append(hashes[-1])
        pairs = zip(hashes[::2], hashes[1::2], strict=True)
        hashes = [sha256((left + right).encode()).hexdigest() for left, right in pairs]
    return hashes[0] if hashes else GENESIS_PREV_HASH


def utc(moment: object) -> datetime:
    """The same moment, aware and in UTC; without a zone it counts as UTC. Raises MalformedEntryError."""
    if not isinstance(moment, datetime):
        raise MalformedEntryError(
            f"timestamp: expected datetime, got {type(moment).__name__}", member="timestamp"
        )
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise MalformedEntryError(f"timestamp: {moment} has no date in UTC", member="timestamp") from None


def _parse(text: str) -> datetime:
    try:
        return utc(datetime.fromisoformat(text))
    except ValueError as error:
        raise MalformedEntryError(f"timestamp: {error}", member="timestamp") from None


def _format(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _plain(value: Any) -> Any:
    """The schema's types are plain strings; attestlog's `EventType` and its like are strings, too."""
    return str(value) if isinstance(value, str) else value
