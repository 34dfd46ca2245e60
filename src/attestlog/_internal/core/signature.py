"""Entry signatures: algorithms, keys, and the plain and batch forms of `hsm_signature`.

    plain   <hex signature>                               over the 32 bytes of entry_hash
    batch   <hex signature>:<index>/<size>:<hex path>     over attestlog/batch/v1, newline, batch root

Verifying only: keys that can sign live in `attestlog._internal.signers`.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

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
except ImportError:  # a cryptography from before it had them
    MLDSA44PublicKey = MLDSA65PublicKey = None  # type: ignore[assignment,misc]

from attestlog._internal.core.curves import check_ed25519_key, check_low_s
from attestlog._internal.core.hashes import batch_message, hex_hash, leaf_hash
from attestlog._internal.core.merkle import path_size, root_from_path
from attestlog.errors import MalformedSignatureError, MissingExtraError, SignatureInvalidError

ECDSA_P256: Final = "ECDSA-P256-SHA256"
ED25519: Final = "Ed25519"
ML_DSA_44: Final = "ML-DSA-44"
ML_DSA_65: Final = "ML-DSA-65"
BATCH_SUFFIX: Final = "+BATCH"

SIGNATURE_SIZE_MAX_BYTES: Final = {ECDSA_P256: 72, ED25519: 64, ML_DSA_44: 2_420, ML_DSA_65: 3_309}
"""By algorithm: what a signature adds to every entry, twice over, in hex."""

BATCH_ENTRIES_MAX: Final = 1_024
"""Entries under one signature: a path stays within 10 hashes, a torn batch within a few megabytes."""

_BATCH: Final = re.compile(r"([0-9a-f]+):(0|[1-9][0-9]{0,4})/([1-9][0-9]{0,4}):((?:[0-9a-f]{64})*)")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_PLAIN: Final = re.compile(r"(?:[0-9a-f]{2})+")


_KEYS_KNOWN_MAX: Final = 256
"""Key ids kept: a commit asks for its key's several times, and a log has few keys."""

_key_id: Final = lru_cache(_KEYS_KNOWN_MAX)(hex_hash)


@dataclass(frozen=True, slots=True, repr=False)
class PublicKey:
    """A public key that entries can be signed with."""

    algorithm: str
    key: EllipticCurvePublicKey | Ed25519PublicKey | MLDSA44PublicKey | MLDSA65PublicKey | None
    """None: of an algorithm that the installed cryptography does not have, so nothing can be verified."""
    spki: bytes

    def __reduce__(self) -> tuple[Callable[[bytes], PublicKey], tuple[bytes]]:
        return load_public_key, (self.spki,)

    def __repr__(self) -> str:
        return f"PublicKey({self.algorithm!r}, key_id={self.key_id!r})"

    @property
    def key_id(self) -> str:
        """Hex SHA-256 of the DER SubjectPublicKeyInfo."""
        return _key_id(self.spki)

    @property
    def pem(self) -> str:
        """SPKI PEM."""
        text = b64encode(self.spki).decode()
        lines = [text[at : at + _PEM_COLUMNS] for at in range(0, len(text), _PEM_COLUMNS)]
        return "\n".join([_PEM_BEGIN, *lines, _PEM_END, ""])

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raises SignatureInvalidError unless this key signed `message`.

        A P-256 signature that verifies and is not in its one spelling raises MalformedSignatureError: this
        is the one place that verifies P-256.
        Raises MissingExtraError where the installed cryptography does not have the algorithm.
        """
        key: Any = self._usable()  # what its algorithm says it is: `isinstance` would ask an abstract class
        try:
            if self.algorithm == ECDSA_P256:
                key.verify(signature, message, _ECDSA)
                check_low_s(signature)
            else:
                key.verify(signature, message)
        except InvalidSignature:
            raise SignatureInvalidError(
                f"{self.algorithm} signature does not verify under key {self.key_id[:16]}", key_id=self.key_id
            ) from None

    def raw(self) -> bytes:
        """An Ed25519 or ML-DSA key without the SPKI around it. Raises MissingExtraError, as `verify`."""
        key = self._usable()
        assert not isinstance(key, EllipticCurvePublicKey)
        return key.public_bytes_raw()

    def _usable(self) -> EllipticCurvePublicKey | Ed25519PublicKey | MLDSA44PublicKey | MLDSA65PublicKey:
        if self.key is None:
            raise MissingExtraError(
                f"the installed cryptography has no {self.algorithm}", extra=_ML_DSA_EXTRA, key_id=self.key_id
            )
        return self.key


_ECDSA: Final = ECDSA(SHA256())
_PEM_BEGIN: Final = "-----BEGIN PUBLIC KEY-----"
_PEM_END: Final = "-----END PUBLIC KEY-----"
_PEM_COLUMNS: Final = 64
_ML_DSA_EXTRA: Final = "cryptography>=48"

_ML_DSA: Final[dict[str, tuple[bytes, int, Any]]] = {
    ML_DSA_44: (bytes.fromhex("30820532300b06096086480165030403110382052100"), 1_312, MLDSA44PublicKey),
    ML_DSA_65: (bytes.fromhex("308207b2300b0609608648016503040312038207a100"), 1_952, MLDSA65PublicKey),
}
"""By algorithm: how its SubjectPublicKeyInfo begins (RFC 9881), the bytes of key after that, its class."""


@dataclass(frozen=True, slots=True)
class EntrySignature:
    """A parsed `hsm_signature`. Plain: size 0."""

    signature: bytes
    index: int = 0
    size: int = 0
    path: bytes = b""


def load_public_key(data: bytes) -> PublicKey:
    """A key from SPKI, PEM or DER. Raises MalformedSignatureError for any other or unsupported kind."""
    is_pem = data.lstrip().startswith(b"-----")
    if ml_dsa := _load_ml_dsa(_decode_pem(data) if is_pem else data):
        return ml_dsa
    try:
        key = load_pem_public_key(data) if is_pem else load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedSignatureError("not a public key in SubjectPublicKeyInfo form") from None
    return public_key(key)


def public_key(key: object) -> PublicKey:
    """Wraps a cryptography public key.

    Raises MalformedSignatureError for an algorithm not known here, and for an Ed25519 key under which anyone
    can sign.
    """
    if isinstance(key, Ed25519PublicKey):
        check_ed25519_key(key.public_bytes_raw())
        algorithm = ED25519
    elif isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        algorithm = ECDSA_P256
    elif MLDSA44PublicKey is not None and isinstance(key, MLDSA44PublicKey):
        algorithm = ML_DSA_44
    elif MLDSA65PublicKey is not None and isinstance(key, MLDSA65PublicKey):
        algorithm = ML_DSA_65
    else:
        known = "P-256, Ed25519, ML-DSA-44 or ML-DSA-65"
        raise MalformedSignatureError(f"key is {type(key).__name__}, want {known}")
    return PublicKey(algorithm, key, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _load_ml_dsa(spki: bytes) -> PublicKey | None:
    """Known by its bytes, so that its entries are not called malformed where it cannot be verified."""
    for algorithm, (prefix, size_bytes, kind) in _ML_DSA.items():
        if spki.startswith(prefix) and len(spki) == len(prefix) + size_bytes:
            try:
                key = None if kind is None else kind.from_public_bytes(spki[len(prefix) :])
            except UnsupportedAlgorithm:  # built against a library without it
                key = None
            return PublicKey(algorithm, key, spki)
    return None


def _decode_pem(data: bytes) -> bytes:
    """What stands between the lines of PEM; empty unless it is that of one public key."""
    lines = data.strip().splitlines()
    if (lines[0], lines[-1]) != (_PEM_BEGIN.encode(), _PEM_END.encode()):
        return b""
    try:
        return b64decode(b"".join(lines[1:-1]), validate=True)
    except ValueError:
        return b""


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
    """Raises MalformedSignatureError or SignatureInvalidError unless `key` signed this entry hash.

    Raises MissingExtraError where the installed cryptography does not have the key's algorithm.
    """
    if algorithm.removesuffix(BATCH_SUFFIX) != key.algorithm:
        raise SignatureInvalidError(
            f"entry names {algorithm!r}, its key is {key.algorithm}", expected=key.algorithm, found=algorithm
        )
    if not _HASH.fullmatch(entry_hash):
        raise MalformedSignatureError("entry hash is not 64 lower-case hex digits", found=entry_hash[:80])
    signature = parse_signature(text, algorithm)
    key.verify(signature.signature, signed_message(signature, bytes.fromhex(entry_hash)))
