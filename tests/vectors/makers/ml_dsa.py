"""ML-DSA for vectors: keys from fixed seeds; signatures were made once and are kept, as no two are alike."""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA65PrivateKey

MLDSAKey = MLDSA44PrivateKey | MLDSA65PrivateKey
KEPT = Path(__file__).with_name("ml_dsa_signatures.txt")
"""`<parameter set> <message in hex> <signature in base64>` a line."""


def ml_dsa_key(size: int) -> MLDSAKey:
    seed = sha256(b"entry").digest()
    return MLDSA44PrivateKey.from_seed_bytes(seed) if size == 44 else MLDSA65PrivateKey.from_seed_bytes(seed)


def sign_once(key: MLDSAKey, message: bytes) -> bytes:
    """The signature that is kept; a new one, kept from now on, for what was not signed before."""
    name = "44" if isinstance(key, MLDSA44PrivateKey) else "65"
    lines = KEPT.read_text(encoding="ascii").splitlines() if KEPT.exists() else []
    known = {tuple(line.split()[:2]): line.split()[2] for line in lines}
    text = known.get((name, message.hex()))
    if text is not None:
        return b64decode(text)
    signature = key.sign(message)
    with KEPT.open("a", encoding="ascii") as file:
        file.write(f"{name} {message.hex()} {b64encode(signature).decode()}\n")
    return signature
