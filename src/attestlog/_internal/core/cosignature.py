"""Cosignatures: C2SP tlog-cosignature v1.1.0. "By then I saw this checkpoint, and none that contradicts it".

A signature line of a checkpoint whose signature begins with a time:

    base64(4-byte key ID || 8-byte POSIX seconds || signature)

Ed25519 (type 0x04) signs two lines and the whole note text, ML-DSA-44 (0x06) a
structure with the cosigner's name, the origin, the size and the root. A log may
sign its own checkpoints with 0x06 too. No clock is read: whether a time is
plausible is for the caller to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

try:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
except ImportError:  # cryptography before it had FIPS 204
    MLDSA44PublicKey = None  # type: ignore[assignment,misc]

from attestlog._internal.core.checkpoint import SIZE_MAX, Checkpoint, parse_checkpoint
from attestlog._internal.core.note import (
    COSIGNATURE_ED25519,
    COSIGNATURE_ML_DSA_44,
    ED25519,
    KEY_NAME_SIZE_MAX_BYTES,
    NoteSignature,
    VerifierKey,
    bad_line,
    format_vkey,
    open_note,
    verified_signatures,
    verify_note_signature,
)
from attestlog.errors import MalformedCheckpointError, MalformedSignatureError, MissingExtraError, TrustError

TIMESTAMP_MAX: Final = 2**63 - 1
"""POSIX seconds fit a signed 64-bit integer everywhere they travel."""

SIGNATURE_SIZE_BYTES: Final = {COSIGNATURE_ED25519: 64, COSIGNATURE_ML_DSA_44: 2420}
"""By signature type, after the 8 bytes of the timestamp."""

_LABEL: Final = b"subtree/v1\n\x00"


@dataclass(frozen=True, slots=True)
class Signed:
    """Who signed a checkpoint, and when, if the line says so."""

    key: VerifierKey
    timestamp: int | None = None
    """POSIX seconds; 0 where a cosigner makes no statement about the time."""


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint and those of the known keys that signed it."""

    checkpoint: Checkpoint
    signatures: tuple[Signed, ...]
    unknown: int
    """Signature lines by keys that are not known, which nobody looked at."""


def open_signed_checkpoint(data: bytes, keys: Sequence[VerifierKey]) -> SignedCheckpoint:
    """Parse and verify, whatever the types of `keys`: at least one signed, and no line of theirs is bad.

    Raises MalformedNoteError, MalformedCheckpointError, SignatureInvalidError or TrustError, and
    MissingExtraError where a line needs ML-DSA-44 that the installed cryptography has not.
    """
    note = open_note(data, keys, verify_checkpoint_signature)
    checkpoint = parse_checkpoint(note.text)
    lines = verified_signatures(note, keys, verify_checkpoint_signature)
    signatures = dict.fromkeys(Signed(key, _timestamp(line, key)) for key, line in lines)
    return SignedCheckpoint(checkpoint, tuple(signatures), len(note.signatures) - len(lines))


def check_every_type(signers: Sequence[VerifierKey], keys: Sequence[VerifierKey]) -> None:
    """Raises TrustError unless there is a signer of each type that `keys` has."""
    lacking = {key.kind for key in keys} - {key.kind for key in signers}
    if lacking:
        kinds = " and ".join(f"{kind:02x}" for kind in sorted(lacking))
        raise TrustError(
            f"the checkpoint has no signature by the log's key of type {kinds}",
            expected=[format_vkey(key) for key in keys if key.kind in lacking],
            found=[format_vkey(key) for key in signers],
        )


def verify_checkpoint_signature(text: str, line: NoteSignature, key: VerifierKey) -> None:
    """Raises SignatureInvalidError unless `key`, of whatever type, made this line over a checkpoint."""
    if key.kind == ED25519:
        verify_note_signature(text, line, key)
        return
    timestamp, signature = decode_timestamped(line, key.kind)
    try:
        if key.kind == COSIGNATURE_ED25519:
            message = ed25519_message(timestamp, text)
            Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, message)
        else:
            message = checkpoint_message(key.name, timestamp, parse_checkpoint(text))
            ml_dsa_44(key.public_key).verify(signature, message)
    except InvalidSignature:
        raise bad_line(line) from None


def cosign(text: str, key: VerifierKey, timestamp: int, sign: Callable[[bytes], bytes]) -> NoteSignature:
    """A line by `key`, of type 0x04 or 0x06, over a checkpoint's text; verified before it is returned.

    Whether the checkpoint may be cosigned is for the caller to have settled.
    Raises SignatureInvalidError if `sign` returned anything else.
    """
    checkpoint = parse_checkpoint(text)
    if not 0 <= timestamp <= TIMESTAMP_MAX:
        raise MalformedSignatureError(f"timestamp {timestamp} is not from 0 to {TIMESTAMP_MAX}")
    if key.kind == COSIGNATURE_ED25519:
        message = ed25519_message(timestamp, text)
    elif key.kind == COSIGNATURE_ML_DSA_44:
        message = checkpoint_message(key.name, timestamp, checkpoint)
    else:
        raise MalformedSignatureError(f"a key of type {key.kind:02x} makes no cosignatures")
    line = NoteSignature(key.name, key.key_id, timestamp.to_bytes(8, "big") + sign(message))
    verify_checkpoint_signature(text, line, key)
    return line


def decode_timestamped(line: NoteSignature, kind: int) -> tuple[int, bytes]:
    """Timestamp and signature of a line by a key of this type. Raises SignatureInvalidError.

    A known key's line of another length is a bad signature, not a line to ignore.
    """
    timestamp, signature = int.from_bytes(line.signature[:8], "big"), line.signature[8:]
    if len(signature) != SIGNATURE_SIZE_BYTES[kind] or timestamp > TIMESTAMP_MAX:
        raise bad_line(line)
    return timestamp, signature


def ed25519_message(timestamp: int, text: str) -> bytes:
    """What an Ed25519 cosignature signs. It does not cover the cosigner's name."""
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()


def checkpoint_message(cosigner: str, timestamp: int, checkpoint: Checkpoint) -> bytes:
    """What an ML-DSA-44 cosignature of a checkpoint signs."""
    return subtree_message(cosigner, timestamp, checkpoint.origin, (0, checkpoint.size), checkpoint.root)


def subtree_message(cosigner: str, timestamp: int, origin: str, run: tuple[int, int], root: bytes) -> bytes:
    """What an ML-DSA-44 cosignature of a run of leaves, (start, stop), signs: `cosigned_message`.

    Raises MalformedCheckpointError where the structure cannot carry it.
    """
    names, (start, stop) = [], run
    for name in (cosigner, origin):
        encoded = name.encode()
        if not 1 <= len(encoded) <= KEY_NAME_SIZE_MAX_BYTES:
            raise MalformedCheckpointError(
                f"name has {len(encoded)} bytes, a cosignature carries 1 to {KEY_NAME_SIZE_MAX_BYTES}"
            )
        names.append(bytes([len(encoded)]) + encoded)
    if not 0 <= start <= stop <= SIZE_MAX or (start and timestamp):
        raise MalformedCheckpointError(f"no cosignature at {timestamp} can be of leaves {start} to {stop}")
    numbers = [number.to_bytes(8, "big") for number in (timestamp, start, stop)]
    return _LABEL + names[0] + numbers[0] + names[1] + numbers[1] + numbers[2] + root


def _timestamp(line: NoteSignature, key: VerifierKey) -> int | None:
    return None if key.kind == ED25519 else decode_timestamped(line, key.kind)[0]


def ml_dsa_44(public_key: bytes) -> MLDSA44PublicKey:
    """The public key. Raises MissingExtraError: that it cannot be had must not pass for a bad signature."""
    try:
        if MLDSA44PublicKey is not None:
            return MLDSA44PublicKey.from_public_bytes(public_key)
    except UnsupportedAlgorithm:  # built against a library without it
        pass
    raise MissingExtraError("the installed cryptography has no ML-DSA-44", extra="cryptography>=48")
