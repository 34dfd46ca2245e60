"""Consistency files: that what was once seen of a log is a prefix of what it has signed since.

    attestlog/consistency@v1
    old <size>
    root <base64 of the root at that size>
    <base64 of a hash>…
    <empty line>
    <signed checkpoint, as it is>

A format of ours in the manner of C2SP tlog-proof, because there is none. What
the old root is compared with (an old checkpoint, a note of size and root) is
the reader's; the file alone shows a prefix of something nobody has to have seen.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from attestlog._internal.core.checkpoint import Checkpoint
from attestlog._internal.core.hashes import HASH_SIZE_BYTES
from attestlog._internal.core.merkle import verify_consistency
from attestlog._internal.core.note import VerifierKey
from attestlog._internal.core.proof import decode_hashes, decode_item, format_hashes, parse_count, split_proof
from attestlog._internal.core.trust import TrustedCheckpoint, TrustPolicy, open_trusted_checkpoint
from attestlog.errors import ConsistencyError, MalformedProofError

CONSISTENCY_HEADER: Final = "attestlog/consistency@v1"


@dataclass(frozen=True, slots=True)
class Prefix:
    """A parsed consistency file: nothing in it is verified yet."""

    old_size: int
    old_root: bytes
    path: bytes
    """Whole 32-byte hashes, as RFC 6962 section 2.1.2 orders them."""
    checkpoint: bytes
    """The signed note, not parsed."""


@dataclass(frozen=True, slots=True)
class ProvenPrefix:
    """A size and root that are shown to be a prefix of a trusted checkpoint."""

    old_size: int
    old_root: bytes
    checkpoint: TrustedCheckpoint


def parse_consistency(data: bytes) -> Prefix:
    """Raises MalformedProofError unless `data` is a consistency file in its one spelling."""
    lines, checkpoint = split_proof(data, CONSISTENCY_HEADER)
    if len(lines) < 2:
        raise MalformedProofError("there is no old size and root")
    size, root, *hashes = lines
    old_root = decode_item(root, "root")
    if len(old_root) != HASH_SIZE_BYTES:
        raise MalformedProofError(f"root has {len(old_root)} bytes, want {HASH_SIZE_BYTES}")
    prefix = Prefix(parse_count(size, "old"), old_root, decode_hashes(hashes), checkpoint)
    if format_consistency(prefix) != data:
        raise MalformedProofError("proof is not in its one spelling")
    return prefix


def format_consistency(prefix: Prefix) -> bytes:
    """The bytes of a consistency file."""
    root = base64.b64encode(prefix.old_root).decode()
    lines = [CONSISTENCY_HEADER, f"old {prefix.old_size}", f"root {root}"]
    return "\n".join([*lines, *format_hashes(prefix.path), "", ""]).encode() + prefix.checkpoint


def open_consistency(
    data: bytes, trust_policy: TrustPolicy, log_keys: Iterable[VerifierKey] = ()
) -> ProvenPrefix:
    """Parse and verify: the old tree is a prefix of that of a checkpoint that the policy accepts.

    Raises a MalformedError, or TrustError, SignatureInvalidError, ConsistencyError.
    """
    prefix = parse_consistency(data)
    trusted = open_trusted_checkpoint(prefix.checkpoint, trust_policy, log_keys)
    verify_prefix(prefix, trusted.signed.checkpoint)
    return ProvenPrefix(prefix.old_size, prefix.old_root, trusted)


def verify_prefix(prefix: Prefix, checkpoint: Checkpoint) -> None:
    """Raises ConsistencyError unless the old tree is a prefix of the checkpoint's."""
    verify_consistency(prefix.old_size, checkpoint.size, prefix.path, prefix.old_root, checkpoint.root)


def verify_held(prefix: Prefix, origin: str, held: Checkpoint) -> None:
    """Raises ConsistencyError unless the old tree is the one of `held`, a checkpoint that the reader has.

    `origin`: whose checkpoint the file leads to.
    """
    expected = (held.origin, held.size, held.root.hex())
    found = (origin, prefix.old_size, prefix.old_root.hex())
    for name, want, got in zip(("origin", "size", "root"), expected, found, strict=True):
        if want != got:
            raise ConsistencyError(
                f"the checkpoint held is of another {name} than the old tree: {want}, not {got}",
                member=name, expected=want, found=got,
            )  # fmt: skip
