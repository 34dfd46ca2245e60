"""Entry 0, the log's birth certificate: whose log it is, under which keys, policy and settings.

Everything a verifier needs to judge the rest of the log comes from here, the
version of the formats among it. Specified in docs/spec/genesis.md.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from attestlog._internal.core.checkpoint import SIZE_MAX, Checkpoint, check_origin
from attestlog._internal.core.cosignature import check_every_type, open_signed_checkpoint
from attestlog._internal.core.entry import Entry, EntryDraft, EventType, Hex64, Object
from attestlog._internal.core.note import COSIGNATURE_ML_DSA_44, ED25519, VerifierKey, format_vkey, parse_vkey
from attestlog._internal.core.policy import Policy, format_policy, parse_policy
from attestlog._internal.core.reserved import GENESIS
from attestlog._internal.core.signature import PublicKey, load_public_key
from attestlog.errors import (
    AttestlogError,
    ConsistencyError,
    MalformedConfigError,
    MalformedEntryError,
    MalformedSignatureError,
    NewerFormatError,
)

REASON_LENGTH_MAX: Final = 4_096
"""Characters of a reason: a paragraph or two; every reader of the log keeps it."""

CHECKPOINT_KINDS: Final = frozenset({ED25519, COSIGNATURE_ML_DSA_44})
"""Types a checkpoint key can have. Every type that the genesis names signs every checkpoint."""

FORMAT: Final = 1
"""The version of the formats that this software reads and writes; entry 0 states it, so that it is signed."""

SEGMENT_ENTRIES: Final = 65_536
"""Entries a segment file: 256 full tiles of 256 leaves, about 100 MB, and the most that opening may read."""

SEGMENT_ENTRIES_MAX: Final = 1 << 20
"""More would make opening slow, and a file awkward to handle."""


KEYS_IN_FORCE_MAX: Final = 64
"""Keys that may sign at once: one a host that appends. Bounds what a revocation has to follow."""


class EntryKey(Struct, frozen=True, forbid_unknown_fields=True):
    """A key that may sign entries, as a payload states it."""

    key_id: Hex64
    algorithm: str
    public_key: str
    """SPKI PEM."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the log is written. Fixed at birth."""

    batch: bool = True
    erasable_payloads: bool = False
    segment_entries: Annotated[int, Meta(ge=1, le=SEGMENT_ENTRIES_MAX)] = SEGMENT_ENTRIES


class Software(Struct, frozen=True, forbid_unknown_fields=True):
    """What made the log."""

    name: str
    version: str


class Continues(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log that this one goes on from: a tail was lost, a checkpoint key too, or a year has ended."""

    origin: str
    genesis: Hex64
    """entry_hash of its entry 0."""
    size: Annotated[int, Meta(ge=1, le=SIZE_MAX)]
    """How many of its entries are carried over, by this root."""
    root: Hex64
    reason: Annotated[str, Meta(min_length=1, max_length=REASON_LENGTH_MAX)]


class _Payload(Struct, frozen=True, forbid_unknown_fields=True):
    format: Annotated[int, Meta(ge=1)]
    origin: str
    continues: Continues | None
    entry_keys: Annotated[list[EntryKey], Meta(max_length=KEYS_IN_FORCE_MAX)]
    checkpoint_keys: list[str]
    policy: dict[str, Any]
    settings: Settings
    software: Software


class Genesis(Struct, frozen=True):
    """The payload of entry 0, with its keys loaded and its policy parsed."""

    origin: str
    entry_keys: dict[str, PublicKey]
    """By key id."""
    checkpoint_keys: list[VerifierKey]
    policy: Policy
    settings: Settings
    software: Software
    continues: Continues | None = None
    """The log that this one goes on from; None: it begins by itself."""
    entry_hash: str = ""
    """Of entry 0, as it states it; empty while the log is being made."""


def state_key(key: PublicKey) -> EntryKey:
    """How a payload states this key."""
    return EntryKey(key_id=key.key_id, algorithm=key.algorithm, public_key=key.pem)


def load_stated_key(stated: EntryKey) -> PublicKey:
    """The key that is stated. Raises MalformedSignatureError unless all that is stated of it is right."""
    key = load_public_key(stated.public_key.encode())
    if (key.key_id, key.algorithm, key.pem) != (stated.key_id, stated.algorithm, stated.public_key):
        raise MalformedSignatureError(
            f"key is stated as {stated.key_id[:16]} ({stated.algorithm}), "
            f"its public key is {key.key_id[:16]} ({key.algorithm}), or spelled otherwise"
        )
    return key


def check_settings(settings: Settings) -> None:
    """Raises MalformedConfigError unless a log can be made with them: those made by hand are unchecked."""
    try:
        msgspec.convert(msgspec.to_builtins(settings), Settings)
    except (msgspec.ValidationError, TypeError) as error:
        raise MalformedConfigError(f"settings: {error}", member="settings") from None


def check_continues(continues: Continues) -> None:
    """Raises MalformedConfigError unless a log can go on from this: one made by hand is unchecked."""
    try:
        msgspec.convert(msgspec.to_builtins(continues), Continues)
        check_origin(continues.origin)
    except (msgspec.ValidationError, TypeError, AttestlogError) as error:
        raise MalformedConfigError(f"continues: {error}", member="continues") from None


def draft_genesis(genesis: Genesis) -> EntryDraft:
    """The draft of entry 0. The actor is the first entry key."""
    keys = [state_key(key) for key in genesis.entry_keys.values()]
    payload = _Payload(
        format=FORMAT,
        origin=genesis.origin,
        continues=genesis.continues,
        entry_keys=keys,
        checkpoint_keys=[format_vkey(key) for key in genesis.checkpoint_keys],
        policy=format_policy(genesis.policy),
        settings=genesis.settings,
        software=genesis.software,
    )
    return EntryDraft(
        event_type=EventType.BOOT,
        action_type=GENESIS,
        actor_id=keys[0].key_id,
        action_payload=msgspec.to_builtins(payload),
    )


def parse_genesis(entry: Entry) -> Genesis:
    """The genesis that entry 0 states; signatures are not looked at.

    Raises NewerFormatError for a log of a later format, else MalformedEntryError.
    """
    if entry.event_type != EventType.BOOT or entry.action_type != GENESIS:
        raise MalformedEntryError(
            f"entry 0 is {entry.event_type} {entry.action_type!r}, want BOOT {GENESIS!r}",
            member="",
        )
    _check_format(entry.action_payload)
    try:
        payload = msgspec.convert(entry.action_payload, _Payload)
        check_origin(payload.origin)
        if payload.continues is not None:
            check_origin(payload.continues.origin)
        keys = {stated.key_id: load_stated_key(stated) for stated in payload.entry_keys}
        vkeys = [parse_vkey(vkey) for vkey in payload.checkpoint_keys]
        policy = parse_policy(payload.policy)
    except (msgspec.ValidationError, AttestlogError) as error:
        raise MalformedEntryError(f"genesis payload: {error}", member="action_payload") from None
    if len(keys) != len(payload.entry_keys):
        raise MalformedEntryError("genesis names a key twice", member="action_payload.entry_keys")
    kinds = {vkey.kind for vkey in vkeys}
    is_named = all(vkey.name == payload.origin for vkey in vkeys)
    if not keys or ED25519 not in kinds or kinds - CHECKPOINT_KINDS or not is_named:
        raise MalformedEntryError(
            "genesis needs an entry key, and Ed25519 (perhaps ML-DSA-44) checkpoint keys named as the origin",
            member="action_payload",
        )
    return Genesis(
        payload.origin, keys, vkeys, policy, payload.settings, payload.software, payload.continues,
        entry.entry_hash,
    )  # fmt: skip


def _check_format(payload: Object | None) -> None:
    """First of all: nothing else of a later format is known here, so nothing else of it is judged."""
    stated = (payload or {}).get("format")
    if isinstance(stated, int) and not isinstance(stated, bool) and stated > FORMAT:
        raise NewerFormatError(
            f"the log is of format {stated}, this software reads format {FORMAT}",
            found=stated,
            expected=FORMAT,
        )


def open_log_checkpoint(note: bytes, genesis: Genesis) -> Checkpoint:
    """A checkpoint of the log that has this genesis: of its origin, and signed by each type of key it names.

    A log whose genesis names keys of two types (hybrid checkpoints) has not signed until both have.
    Raises as `open_signed_checkpoint`; TrustError where the line of a type is lacking; ConsistencyError for
    another log's.
    """
    signed = open_signed_checkpoint(note, genesis.checkpoint_keys)
    check_every_type([line.key for line in signed.signatures], genesis.checkpoint_keys)
    origin = signed.checkpoint.origin
    if origin != genesis.origin:
        raise ConsistencyError(
            f"the checkpoint is of {origin!r}, want {genesis.origin!r}", expected=genesis.origin, found=origin
        )
    return signed.checkpoint
