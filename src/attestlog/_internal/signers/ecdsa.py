"""ECDSA signatures as devices and services give them, in the form that entries carry (DER)."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from attestlog.errors import SignerError


def der_from_raw(raw: bytes) -> bytes:
    """DER from `r || s`, 32 bytes each. Raises SignerError for any other length."""
    if len(raw) != 64:
        raise SignerError(f"the signer returned {len(raw)} bytes, want 64 of a P-256 signature")
    return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
