"""COSE receipts (RFC 9942): that one entry is in the log's tree, in the form that SCITT services read.

    COSE_Sign1, tag 18
    protected     1 alg (-8, EdDSA), 4 kid, 15 CWT claims (1 iss, 2 sub), 395 vds (1: RFC9162_SHA256)
    unprotected   396 vdp {-1: [inclusion proof]}, "entry_hash": 32 bytes
    payload       detached: the root of the tree

The tree is the log's own and its leaf the `entry_hash`, so a receipt needs no second tree. `kid` is the
SHA-256 of the key's SubjectPublicKeyInfo, `iss` the log's origin, `sub` is `ORIGIN#SIZE`: all receipts of one
checkpoint have one signature. `entry_hash` is not signed and need not be: only the right one leads to the
root.

A Sig_structure begins with the bytes 84 6a, which begin no UTF-8 text, so that none is a checkpoint's text;
it is longer than an entry's hash, and does not begin as a batch does. Needs the extra `cose`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, BinaryIO, Final

import msgspec
from msgspec import Meta, Struct

from attestlog._internal.core.checkpoint import SIZE_MAX, Checkpoint
from attestlog._internal.core.hashes import HASH_SIZE_BYTES
from attestlog._internal.core.proof import HASHES_MAX
from attestlog.errors import MalformedProofError, MissingExtraError

TAG: Final = 18
FIRST_BYTE: Final = b"\xd2"
"""The tag's one byte: what a file of receipts begins with."""

ALG, KID, CLAIMS, VDS, VDP = 1, 4, 15, 395, 396
ISSUER, SUBJECT = 1, 2
EDDSA, RFC9162_SHA256, INCLUSION = -8, 1, -1
ENTRY_HASH: Final = "entry_hash"


Digest = Annotated[bytes, Meta(min_length=HASH_SIZE_BYTES, max_length=HASH_SIZE_BYTES)]


class Receipt(Struct, frozen=True, kw_only=True):
    """A receipt, taken apart; nothing of it is verified."""

    protected: bytes
    key_id: bytes
    issuer: str
    size: Annotated[int, Meta(ge=1, le=SIZE_MAX)]
    index: Annotated[int, Meta(ge=0, le=SIZE_MAX)]
    path: Annotated[list[Digest], Meta(max_length=HASHES_MAX)]
    entry_hash: Digest | None
    """None where the receipt does not name it."""
    signature: bytes


def load() -> Any:
    """The CBOR library. Raises MissingExtraError."""
    try:
        import cbor2
    except ImportError:
        raise MissingExtraError("COSE needs cbor2, which is not installed", extra="cose") from None
    return cbor2


def protected_header(checkpoint: Checkpoint, key_id: bytes) -> bytes:
    """What the signature covers beside the root. Raises MissingExtraError."""
    claims = {ISSUER: checkpoint.origin, SUBJECT: f"{checkpoint.origin}#{checkpoint.size}"}
    header = {ALG: EDDSA, KID: key_id, CLAIMS: claims, VDS: RFC9162_SHA256}
    return bytes(load().dumps(header, canonical=True))


def signed_structure(protected: bytes, root: bytes) -> bytes:
    """What is signed (RFC 9052, section 4.4)."""
    return bytes(load().dumps(["Signature1", protected, b"", root], canonical=True))


def receipt(
    protected: bytes, signature: bytes, *, size: int, index: int, path: bytes, entry_hash: bytes
) -> bytes:
    """The receipt of one entry."""
    cbor = load()
    hashes = [path[at : at + HASH_SIZE_BYTES] for at in range(0, len(path), HASH_SIZE_BYTES)]
    proof = cbor.dumps([size, index, hashes], canonical=True)
    unprotected = {VDP: {INCLUSION: [proof]}, ENTRY_HASH: entry_hash}
    return bytes(cbor.dumps(cbor.CBORTag(TAG, [protected, unprotected, None, signature])))


def parse_receipts(stream: BinaryIO, size_bytes: int) -> Iterator[Receipt]:
    """Each receipt of a CBOR sequence (RFC 8742). Raises MalformedProofError, MissingExtraError, OSError."""
    cbor = load()
    while stream.tell() < size_bytes:
        try:
            yield _parse(cbor, cbor.CBORDecoder(stream).decode())
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001
            # What the library and the shapes of others raise has no common ancestor.
            raise MalformedProofError(f"not a receipt of RFC 9942 over a SHA-256 tree: {error}") from None


def _parse(cbor: Any, found: Any) -> Receipt:
    if not isinstance(found, cbor.CBORTag) or found.tag != TAG:
        raise ValueError("want a COSE_Sign1, tag 18")
    protected, unprotected, payload, signature = found.value
    header = cbor.loads(protected)
    (proof,) = unprotected[VDP][INCLUSION]
    size, index, path = cbor.loads(proof)
    for what, got, want in (
        ("alg", header[ALG], EDDSA),
        ("vds", header[VDS], RFC9162_SHA256),
        ("payload", payload, None),
    ):
        if got != want:
            raise ValueError(f"{what} is {got!r}, want {want!r}")
    members = {
        "protected": protected, "key_id": header[KID], "issuer": header[CLAIMS][ISSUER], "size": size,
        "index": index, "path": path, "entry_hash": unprotected.get(ENTRY_HASH), "signature": signature,
    }  # fmt: skip
    return msgspec.convert(members, Receipt)
