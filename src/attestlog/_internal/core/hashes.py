"""Every hash and every domain separation of attestlog, in one place.

SHA-256 throughout. The tree's hashes are RFC 6962 section 2.1; the prefixes
of signed messages are here too, so that no two kinds of message can be taken
for one another without this file showing it.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

HASH_SIZE_BYTES: Final = 32

GENESIS_PREV_HASH: Final = "0" * 64
"""`prev_entry_hash` of entry 0."""

EMPTY_ROOT: Final = sha256(b"").digest()
"""Root of the tree with no leaves."""

_BATCH_PREFIX: Final = b"attestlog/batch/v1\n"
_APPROVAL_PREFIX: Final = b"attestlog/approval/v2\n"
_ACTOR_PREFIX: Final = b"attestlog/actor/v1\n"


def leaf_hash(data: bytes) -> bytes:
    """RFC 6962: SHA-256(0x00 || data). The data of a leaf is an entry's 32-byte entry_hash."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962: SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def batch_message(root: bytes) -> bytes:
    """What one signature over a batch with this root signs."""
    return _BATCH_PREFIX + root


def approval_message(said: bytes) -> bytes:
    """What an approver signs: `said` is the canonical form of what is approved, by whom and until when."""
    return _APPROVAL_PREFIX + said


def actor_message(origin: str, action_hash: bytes) -> bytes:
    """What an actor signs of an action of theirs: the log's name, and the 32-byte hash of the payload."""
    return _ACTOR_PREFIX + origin.encode() + b"\n" + action_hash


def hex_hash(data: bytes) -> str:
    """Lower-case hex SHA-256."""
    return sha256(data).hexdigest()
