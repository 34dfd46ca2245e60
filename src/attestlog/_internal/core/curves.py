"""One spelling of P-256 signatures, and Ed25519 keys under which only their holder can sign.

    P-256     (r, s) and (r, n - s) both verify, so anyone can respell a signature without the key.
              Evidence MUST have s at most half of n ("low s"). Writers bring what a signer returned
              to it after it verified; a verifier refuses the other spelling.
    Ed25519   under a key of small order anyone can make signatures that verify, and libraries differ
              on them; a y that is not below p is a second spelling of a key. Both are refused wherever
              a key is read. (s < L is enforced by the library that verifies.)

Specified in docs/spec/signature.md. The order n is that of FIPS 186-5; points of small order: RFC 7748 and
RFC 8032, section 5.1.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from attestlog.errors import MalformedSignatureError

P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P256_HALF_ORDER: Final = P256_ORDER // 2
"""The largest s of a P-256 signature that is evidence."""

ED25519_PRIME: Final = 2**255 - 19
_Y_OF_ORDER_8: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER_Y: Final = frozenset(
    {0, 1, ED25519_PRIME - 1, _Y_OF_ORDER_8, ED25519_PRIME - _Y_OF_ORDER_8},
)
"""The y of the 8 points of small order; the sign of x makes no other point large."""


def check_low_s(signature: bytes) -> None:
    """Raises MalformedSignatureError unless this DER signature, which verified, has a low s."""
    s = _read_s(signature)
    if s > P256_HALF_ORDER:
        raise MalformedSignatureError(
            "the signature's s is over half of the order: somebody respelled it",
            expected=f"{P256_HALF_ORDER:x}", found=f"{s:x}",
        )  # fmt: skip


def to_low_s(signature: bytes) -> bytes:
    """The same DER signature with its low s, which verifies if it does. Raises ValueError if not DER."""
    if _read_s(signature) <= P256_HALF_ORDER:
        return signature
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, P256_ORDER - s)


def _read_s(signature: bytes) -> int:
    """s of a DER signature: a SEQUENCE of two INTEGERs shorter than 128 bytes. Raises ValueError.

    Read here because it is asked three times of each signature that is made. What is not in that form is the
    library's to refuse.
    """
    size = len(signature)
    at = 4 + signature[3] if size > 8 else size
    if (
        at + 2 < size and signature[0] == 0x30 and signature[1] == size - 2
        and signature[at] == 2 and signature[at + 1] == size - at - 2
    ):  # fmt: skip
        return int.from_bytes(signature[at + 2 :])
    return decode_dss_signature(signature)[1]


def check_ed25519_key(key: bytes) -> None:
    """Raises MalformedSignatureError if these 32 bytes are a key of small order or not its one spelling."""
    y = int.from_bytes(key, "little") & ((1 << 255) - 1)
    if y >= ED25519_PRIME:
        raise MalformedSignatureError("Ed25519 key is not in its one spelling", found=key.hex())
    if y in _SMALL_ORDER_Y:
        raise MalformedSignatureError(
            "Ed25519 key is of small order: anyone can sign under it", found=key.hex()
        )
