"""Entry 0, the log's birth certificate: whose log it is, under which keys, policy and settings.

Everything a verifier needs to judge the rest of the log comes from here, so
that `log.toml` is a convenience and nothing more.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from attestlog._internal.core.checkpoint import Checkpoint, check_origin
from attestlog._internal.core.cosignature import check_every_type, open_signed_checkpoint
from attestlog._internal.core.entry import Entry, EntryDraft, EventType, Hex64
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
)

CHECKPOINT_KINDS: Final = frozenset({ED25519, COSIGNATURE_ML_DSA_44})
"""Types a checkpoint key can have. Every type that the genesis names signs every checkpoint."""

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


class _Payload(Struct, frozen=True, forbid_unknown_fields=True):
    origin: str
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


def draft_genesis(genesis: Genesis) -> EntryDraft:
    """The draft of entry 0. The actor is the first entry key."""
    keys = [state_key(key) for key in genesis.entry_keys.values()]
    payload = _Payload(
        origin=genesis.origin,
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
    """The genesis that entry 0 states. Raises MalformedEntryError; signatures are not looked at."""
    if entry.event_type != EventType.BOOT or entry.action_type != GENESIS:
        raise MalformedEntryError(
            f"entry 0 is {entry.event_type} {entry.action_type!r}, want BOOT {GENESIS!r}",
            member="",
        )
    try:
        payload = msgspec.convert(entry.action_payload, _Payload)
        check_origin(payload.origin)
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
    return Genesis(payload.origin, keys, vkeys, policy, payload.settings, payload.software, entry.entry_hash)


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
