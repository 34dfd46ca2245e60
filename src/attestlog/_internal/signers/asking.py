"""Asking a signer for a signature, believing nothing: what it returns is verified before it is used."""

from __future__ import annotations

from contextlib import suppress

from attestlog._internal.core.curves import to_low_s
from attestlog._internal.core.signature import ECDSA_P256
from attestlog._internal.signers.contract import Signer
from attestlog.errors import AttestlogError, SignerError


def ask(signer: Signer, message: bytes) -> bytes:
    """What the signer answers, a P-256 signature with its low s (docs/spec/signature.md).

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
        with suppress(ValueError):  # not DER: it will not verify
            return to_low_s(signature)
    return signature


def bad_signature(signer: Signer) -> SignerError:
    """For a signature that does not verify: the signer's fault, not a stranger's."""
    key_id = signer.public_key.key_id
    return SignerError(
        f"the signer of key {key_id[:16]} returned a signature that does not verify", key_id=key_id
    )
