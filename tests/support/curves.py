"""Signatures as anybody can respell them, and keys under which anybody can sign."""

from __future__ import annotations

import base64
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from attestlog._internal.core.curves import ED25519_PRIME, P256_ORDER
from attestlog._internal.core.signature import PublicKey, public_key

SMALL_ORDER: Final = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
]
"""The encodings of the 8 points of small order: multiples of a point of order 8."""

NOT_REDUCED: Final = [
    (value | sign << 255).to_bytes(32, "little").hex()
    for value in (ED25519_PRIME, ED25519_PRIME + 1, ED25519_PRIME + 2, 2**255 - 1)
    for sign in (0, 1)
] + ["01" + "00" * 30 + "80", "ec" + "ff" * 31]
"""Other spellings of points: y beyond the prime, and the sign of an x that is 0."""

FORGED: Final = "01" + "00" * 63
"""R is the neutral element and s is 0: under the neutral element as a key, it verifies over anything."""

_SPKI: Final = bytes.fromhex("302a300506032b6570032100")


def respelled(signature: bytes) -> bytes:
    """What anybody can make of a P-256 signature without the key."""
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, P256_ORDER - s)


def key_with_s(s: int, message: bytes) -> tuple[PublicKey, bytes]:
    """A key, and its signature over the message with this very s: private key = (s·k - z) / r."""
    nonce = 0x1234_5678_9ABC_DEF0
    r = derive_private_key(nonce, SECP256R1()).public_key().public_numbers().x % P256_ORDER
    digest = int.from_bytes(sha256(message).digest(), "big")
    private = (s * nonce - digest) * pow(r, -1, P256_ORDER) % P256_ORDER
    key = derive_private_key(private, SECP256R1()).public_key()
    key.verify(encode_dss_signature(r, s), message, ECDSA(SHA256()))
    return public_key(key), encode_dss_signature(r, s)


def spki_of(point: str) -> bytes:
    """The SubjectPublicKeyInfo that has these 32 bytes as an Ed25519 key, whatever they are."""
    return _SPKI + bytes.fromhex(point)


def pem_of(point: str) -> str:
    """The same as PEM."""
    text = base64.b64encode(spki_of(point)).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n"


def ssh_line_of(point: str) -> str:
    """The line of OpenSSH that has them."""
    fields = (b"ssh-ed25519", bytes.fromhex(point))
    blob = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"
