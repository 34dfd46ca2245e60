"""Keys as receipts and statements name them: by the SHA-256 of the SubjectPublicKeyInfo, as entries do."""

from __future__ import annotations

from typing import Final

from attestlog._internal.core.note import VerifierKey
from attestlog._internal.core.signature import PublicKey, load_public_key

_ED25519_SPKI: Final = bytes.fromhex("302a300506032b6570032100")
"""How the SubjectPublicKeyInfo of an Ed25519 key begins (RFC 8410)."""


def note_public_key(vkey: VerifierKey) -> PublicKey:
    """An Ed25519 checkpoint key, as receipts and envelopes know it: by the hash of its SPKI."""
    return load_public_key(_ED25519_SPKI + vkey.public_key)
