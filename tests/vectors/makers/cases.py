"""What the makers of vectors share: cases, signatures that are the same each time, ways to spoil things."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from tests.support.shapes import PrivateKey, p256_key, planned, prepared
from tests.vectors.makers.ml_dsa import MLDSAKey, sign_once

from attestlog._internal.core.batch import Plan
from attestlog._internal.core.curves import to_low_s

Case = dict[str, Any]


AnyKey = PrivateKey | MLDSAKey


def sign(key: AnyKey, message: bytes) -> bytes:
    """ECDSA as RFC 6979 makes it, ML-DSA as it was made once, so that a new run changes nothing."""
    if isinstance(key, MLDSAKey):
        return sign_once(key, message)
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(message)
    return to_low_s(key.sign(message, ECDSA(SHA256(), deterministic_signing=True)))


def seal(plan: Plan, key: PrivateKey) -> list[str]:
    return [line.decode() for line in plan.seal([sign(key, message) for message in plan.messages])]


def case(name: str, error: str | None = None, **facts: Any) -> Case:
    return {"name": name, **facts, "error": error}


def lines_of(*shapes: Case, batched: bool = False, key: PrivateKey | None = None) -> list[str]:
    key = key or p256_key()
    items = [prepared(shape, number) for number, shape in enumerate(shapes)]
    return seal(planned(items, key, batched=batched), key)


def flipped(hexed: str) -> str:
    data = bytearray.fromhex(hexed)
    data[-1] ^= 1
    return data.hex()


def replaced(line: str, old: str, new: str) -> str:
    assert line.count(old) >= 1, old
    return line.replace(old, new, 1)
