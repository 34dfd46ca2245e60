"""Entry signatures: algorithms, keys, and the plain and batch forms of `hsm_signature`.

    plain   <hex signature>                               over the 32 bytes of entry_hash
    batch   <hex signature>:<index>/<size>:<hex path>     over attestlog/batch/v1, newline, batch root

Verifying only: keys that can sign live in `attestlog.signers`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

try:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey, MLDSA65PublicKey
except ImportError:  # cryptography before it had FIPS 204: keys of these algorithms are refused
    MLDSA44PublicKey = MLDSA65PublicKey = None  # type: ignore[assignment,misc]

from attestlog.core.hashes import batch_message, hex_hash, leaf_hash
from attestlog.core.merkle import path_size, root_from_path
from attestlog.errors import MalformedSignatureError, SignatureInvalidError

ECDSA_P256: Final = "ECDSA-P256-SHA256"
ED25519: Final = "Ed25519"
ML_DSA_44: Final = "ML-DSA-44"
ML_DSA_65: Final = "ML-DSA-65"
"""FIPS 204, pure, with an empty context."""

BATCH_SUFFIX: Final = "+BATCH"

BATCH_ENTRIES_MAX: Final = 1_024
"""Entries under one signature: a path stays within 10 hashes, a torn batch within a few megabytes."""

_BATCH: Final = re.compile(r"([0-9a-f]+):(0|[1-9][0-9]{0,4})/([1-9][0-9]{0,4}):((?:[0-9a-f]{64})*)")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_PLAIN: Final = re.compile(r"(?:[0-9a-f]{2})+")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that entries can be signed with."""

    algorithm: str
    key: EllipticCurvePublicKey | Ed25519PublicKey | MLDSA44PublicKey | MLDSA65PublicKey
    spki: bytes

    def __reduce__(self) -> tuple[Callable[[bytes], PublicKey], tuple[bytes]]:
        return load_public_key, (self.spki,)

    @property
    def key_id(self) -> str:
        """Hex SHA-256 of the DER SubjectPublicKeyInfo."""
        return hex_hash(self.spki)

    @property
    def pem(self) -> str:
        """SPKI PEM."""
        return self.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raises SignatureInvalidError unless this key signed `message`."""
        try:
            if isinstance(self.key, EllipticCurvePublicKey):
                self.key.verify(signature, message, _ECDSA)
            else:
                self.key.verify(signature, message)
        except InvalidSignature:
            raise SignatureInvalidError(
                f"{self.algorithm} signature does not verify under key {self.key_id[:16]}", key_id=self.key_id
            ) from None


_ECDSA: Final = ECDSA(SHA256())


@dataclass(frozen=True, slots=True)
class EntrySignature:
    """A parsed `hsm_signature`. Plain: size 0."""

    signature: bytes
    index: int = 0
    size: int = 0
    path: bytes = b""


def load_public_key(data: bytes) -> PublicKey:
    """A key from SPKI, PEM or DER. Raises MalformedSignatureError for any other or unsupported kind."""
    try:
        key = load_pem_public_key(data) if data.lstrip().startswith(b"-----") else load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedSignatureError("not a public key in SubjectPublicKeyInfo form") from None
    return public_key(key)


def public_key(key: object) -> PublicKey:
    """Wraps a cryptography public key. Raises MalformedSignatureError unless of an algorithm known here."""
    if isinstance(key, Ed25519PublicKey):
        return _wrapped(ED25519, key)
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return _wrapped(ECDSA_P256, key)
    if MLDSA44PublicKey is not None and isinstance(key, MLDSA44PublicKey):
        return _wrapped(ML_DSA_44, key)
    if MLDSA65PublicKey is not None and isinstance(key, MLDSA65PublicKey):
        return _wrapped(ML_DSA_65, key)
    raise MalformedSignatureError(f"key is {type(key).__name__}, want P-256, Ed25519 or ML-DSA")


def _wrapped(
    algorithm: str, key: EllipticCurvePublicKey | Ed25519PublicKey | MLDSA44PublicKey | MLDSA65PublicKey
) -> PublicKey:
    return PublicKey(algorithm, key, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def parse_signature(text: str, algorithm: str) -> EntrySignature:
    """The parts of an `hsm_signature`. Raises MalformedSignatureError unless in its one spelling."""
    if not algorithm.endswith(BATCH_SUFFIX):
        if not _PLAIN.fullmatch(text):
            raise MalformedSignatureError("signature is not lower-case hex", found=text[:80])
        return EntrySignature(bytes.fromhex(text))
    match = _BATCH.fullmatch(text)
    if not match or len(match[1]) % 2:
        raise MalformedSignatureError(
            "batch signature is not '<hex>:<index>/<size>:<hex path>'", found=text[:80]
        )
    index, size = int(match[2]), int(match[3])
    if not index < size <= BATCH_ENTRIES_MAX:
        raise MalformedSignatureError(f"batch position {index}/{size} is not within {BATCH_ENTRIES_MAX}")
    if len(match[4]) != 64 * path_size(index, size):
        raise MalformedSignatureError(f"batch path of {index}/{size} has {len(match[4])} digits")
    return EntrySignature(bytes.fromhex(match[1]), index, size, bytes.fromhex(match[4]))


def format_plain(signature: bytes) -> str:
    """`hsm_signature` of an entry signed alone."""
    return signature.hex()


def format_batch(signature: bytes, index: int, size: int, path: bytes) -> str:
    """`hsm_signature` of an entry signed with its batch."""
    return f"{signature.hex()}:{index}/{size}:{path.hex()}"


def signed_message(signature: EntrySignature, entry_hash: bytes) -> bytes:
    """What the signature must cover for this entry: its hash, or the root its path leads to."""
    if not signature.size:
        return entry_hash
    return batch_message(
        root_from_path(leaf_hash(entry_hash), signature.index, signature.size, signature.path)
    )


def verify_entry_signature(key: PublicKey, algorithm: str, text: str, entry_hash: str) -> None:
    """Raises MalformedSignatureError or SignatureInvalidError unless `key` signed this entry hash."""
    if algorithm.removesuffix(BATCH_SUFFIX) != key.algorithm:
        raise SignatureInvalidError(
            f"entry names {algorithm!r}, its key is {key.algorithm}", expected=key.algorithm, found=algorithm
        )
    if not _HASH.fullmatch(entry_hash):
        raise MalformedSignatureError("entry hash is not 64 lower-case hex digits", found=entry_hash[:80])
    signature = parse_signature(text, algorithm)
    key.verify(signature.signature, signed_message(signature, bytes.fromhex(entry_hash)))
