"""Rotation, admission and revocation of signing keys: what those payloads say, and what the new key signs.

    rotate_signing_key   key_id, algorithm, public_key: of the new key; signature: the new key's, in hex,
                         over `rotation_message`
    admit_signing_key    the same, over `admission_message`; label: which host's key it is
    revoke_signing_key   key_id, last_trusted_sequence_number, reason

The entry itself is signed by a key in force; the signature within shows that the
new key is in somebody's hands. Whether the entry holds is for `rules` to say.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from attestlog._internal.core.convert import convert_payload, malformed_payload
from attestlog._internal.core.entry import Count, Hex64, Object
from attestlog._internal.core.genesis import REASON_LENGTH_MAX, EntryKey, load_stated_key, state_key
from attestlog._internal.core.signature import PublicKey
from attestlog.errors import MalformedSignatureError

LABEL_LENGTH_MAX: Final = 64
"""Characters of a label: the name of a host; every reader of the log keeps it."""

_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+")


class Rotation(Struct, frozen=True):
    """A new signing key, and its own signature over the change."""

    key: PublicKey
    signature: bytes


class Admission(Rotation, frozen=True):
    """A signing key beside those in force, and its own signature over the change."""

    label: str
    """Which host's key it is: for people."""


class Revocation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The payload of `attestlog.revoke_signing_key`: what the key signed after that entry is not trusted."""

    key_id: Hex64
    last_trusted_sequence_number: Count
    reason: Annotated[str, Meta(min_length=1, max_length=REASON_LENGTH_MAX)]


class _RotationPayload(EntryKey, frozen=True, kw_only=True, forbid_unknown_fields=True):
    signature: str


class _AdmissionPayload(_RotationPayload, frozen=True, kw_only=True, forbid_unknown_fields=True):
    label: Annotated[str, Meta(min_length=1, max_length=LABEL_LENGTH_MAX)]


def rotation_message(origin: str, old_key_id: str, new_key_id: str, sequence_number: int) -> bytes:
    """What the new key signs: bound to this log, both keys and the entry's place."""
    return f"attestlog/rotate/v1\n{origin}\n{old_key_id}\n{new_key_id}\n{sequence_number}\n".encode()


def admission_message(origin: str, genesis_hash: str, new_key_id: str) -> bytes:
    """What the new key signs: bound to this log and itself.

    It names no place in the log, so that approvals can be collected before the entry's number is known. A
    copied consent does nothing: a key comes in only once.
    """
    return f"attestlog/admit/v1\n{origin}\n{genesis_hash}\n{new_key_id}\n".encode()


def format_rotation(rotation: Rotation) -> Object:
    """The payload."""
    members: Object = msgspec.to_builtins(state_key(rotation.key))
    return {**members, "signature": rotation.signature.hex()}


def format_admission(admission: Admission) -> Object:
    """The payload."""
    return {**format_rotation(admission), "label": admission.label}


def parse_rotation(payload: Any) -> Rotation:
    """Raises MalformedEntryError unless it has exactly these members and states its key rightly."""
    return Rotation(*_consent(convert_payload(payload, _RotationPayload)))


def parse_admission(payload: Any) -> Admission:
    """Raises MalformedEntryError unless it has exactly these members and states its key rightly."""
    stated = convert_payload(payload, _AdmissionPayload)
    return Admission(*_consent(stated), stated.label)


def _consent(stated: _RotationPayload) -> tuple[PublicKey, bytes]:
    if not _HEX.fullmatch(stated.signature):
        malformed_payload("is not lower-case hex", "signature")
    try:
        return load_stated_key(stated), bytes.fromhex(stated.signature)
    except MalformedSignatureError as error:
        malformed_payload(str(error))


def format_revocation(revocation: Revocation) -> Object:
    """The payload."""
    members: Object = msgspec.to_builtins(revocation)
    return members


def parse_revocation(payload: Any) -> Revocation:
    """Raises MalformedEntryError unless it has exactly these members."""
    return convert_payload(payload, Revocation)
