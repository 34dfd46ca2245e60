"""Asking a signer for a signature, and believing nothing: what it returns is verified before it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeVar

from attestlog._internal.core.curves import to_low_s
from attestlog._internal.core.note import VerifierKey
from attestlog._internal.core.signature import ECDSA_P256, PublicKey
from attestlog._internal.signers.contract import Signer
from attestlog.errors import AttestlogError, MalformedConfigError, SignatureInvalidError, SignerError

TEST_MESSAGE: Final = b"attestlog/test/v1\n"
"""Signed to see that a key can sign; nothing else that is signed begins with it."""

Signed = TypeVar("Signed")


def note_key(name: str, signer: Signer, kinds: Mapping[str, int], *, what: str, member: str) -> VerifierKey:
    """The key under which this signer signs notes as `name`. `kinds`: types of note signatures, by algorithm.

    Raises MalformedConfigError for `member`, which calls the key `what`, if it is of another algorithm;
    MissingExtraError.
    """
    key = signer.public_key
    if key.algorithm not in kinds:
        raise MalformedConfigError(f"{what} is {key.algorithm}, want {' or '.join(kinds)}", member=member)
    return VerifierKey(name, kinds[key.algorithm], key.raw())


def sign_message(signer: Signer, key: PublicKey, message: bytes) -> bytes:
    """The signature, verified under `key`. Raises SignerError."""
    signature = ask(signer, message)
    try:
        key.verify(signature, message)
    except SignatureInvalidError:
        raise _unverified(signer) from None
    return signature


def sign_verified(signer: Signer, make: Callable[[Callable[[bytes], bytes]], Signed]) -> Signed:
    """What `make` makes with the signer and verifies, such as `partial(cosign, text, key, timestamp)`.

    Raises SignerError. A signature that does not verify is the signer's fault, not a stranger's.
    """
    try:
        return make(partial(ask, signer))
    except SignatureInvalidError:
        raise _unverified(signer) from None


def _unverified(signer: Signer) -> SignerError:
    key_id = signer.public_key.key_id
    return SignerError(
        f"the signer of key {key_id[:16]} returned a signature that does not verify", key_id=key_id
    )


def sign_once(signer: Signer) -> None:
    """Have the test message signed, and verify the signature. Raises SignerError."""
    sign_message(signer, signer.public_key, TEST_MESSAGE)


def ask(signer: Signer, message: bytes) -> bytes:
    """What the signer answers, not verified; a P-256 signature with its low s (docs/spec/signature.md).

    Whatever else it does is a SignerError: signers are written by others.
    """
    try:
        signature = signer.sign(message)
    except AttestlogError:
        raise
    except Exception as error:
        raise SignerError(f"the signer failed: {type(error).__name__}: {error}") from error
    if not isinstance(signature, bytes):
        raise SignerError(f"the signer returned {type(signature).__name__}, want bytes")
    if signer.public_key.algorithm == ECDSA_P256:
        try:
            return to_low_s(signature)
        except ValueError:  # not DER: it will not verify
            return signature
    return signature
