"""Private keys held by this process: making one, recognising one, signing with it."""

from __future__ import annotations

from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from attestlog._internal.core.curves import to_low_s
from attestlog._internal.core.signature import ECDSA_P256, ED25519, ML_DSA_44, ML_DSA_65
from attestlog.errors import MalformedSignatureError, MissingExtraError

try:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA65PrivateKey
except ImportError:  # a cryptography from before it had them
    MLDSA44PrivateKey = MLDSA65PrivateKey = None  # type: ignore[assignment,misc]

PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey | MLDSA44PrivateKey | MLDSA65PrivateKey

ALGORITHMS: Final = (ECDSA_P256, ED25519, ML_DSA_44, ML_DSA_65)
_ML_DSA: Final[dict[str, Any]] = {ML_DSA_44: MLDSA44PrivateKey, ML_DSA_65: MLDSA65PrivateKey}
_ECDSA: Final = ECDSA(SHA256())


def make_key(algorithm: str) -> PrivateKey:
    """A new private key. Raises MalformedSignatureError for an algorithm not known here.

    Raises MissingExtraError for one that the installed cryptography does not have.
    """
    if algorithm == ECDSA_P256:
        return generate_private_key(SECP256R1())
    if algorithm == ED25519:
        return Ed25519PrivateKey.generate()
    if algorithm not in _ML_DSA:
        raise MalformedSignatureError(f"algorithm is {algorithm!r}, want one of {', '.join(ALGORITHMS)}")
    try:
        kind = _ML_DSA[algorithm]
        if kind is not None:
            made: PrivateKey = kind.generate()
            return made
    except UnsupportedAlgorithm:  # built against a library without it
        pass
    raise MissingExtraError(f"the installed cryptography has no {algorithm}", extra="cryptography>=48")


def is_known(key: object) -> bool:
    """Whether entries can be signed with this private key."""
    if isinstance(key, EllipticCurvePrivateKey):
        return isinstance(key.curve, SECP256R1)
    kinds = (Ed25519PrivateKey, *(kind for kind in _ML_DSA.values() if kind is not None))
    return isinstance(key, kinds)


def sign_with(key: PrivateKey, message: bytes) -> bytes:
    """The signature in the algorithm's standard bytes, P-256 with its low s."""
    if isinstance(key, EllipticCurvePrivateKey):
        return to_low_s(key.sign(message, _ECDSA))
    return key.sign(message)
