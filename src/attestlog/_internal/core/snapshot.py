"""Snapshots of state to roll back to: what `rollback_snapshot_hash` is the hash of.

Bytes, and so a single file, hash as themselves: plain SHA-256, which anybody's
`sha256sum` makes again. A file tree hashes as its manifest: a header and one
line for each directory, file and symbolic link, in one order and one spelling.
Owner, times, extended attributes and hard links are no part of it.

Lines in, hash out: who walks a tree and reads its files is elsewhere
(`attestlog._internal.snapshots`). The format is docs/spec/snapshot.md.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256
from typing import Final, NamedTuple

HEADER: Final = b"attestlog/snapshot/v1\n"
"""First line of a manifest: no other text that is hashed anywhere here begins so."""

ROOT: Final = b"."
"""What the tree's own directory is called in its manifest."""

_PLAIN: Final = frozenset(range(0x21, 0x7F)) - frozenset(b"%")
_SPELLED: Final = tuple(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in range(256))


class Kind(StrEnum):
    """What a node of the tree is."""

    DIRECTORY = "d"
    FILE = "f"
    LINK = "l"


class Node(NamedTuple):
    """One directory, file or symbolic link of a tree."""

    kind: Kind
    path: bytes
    """From the tree's root, components joined by `/`; the root itself is `.`."""
    mode: int = 0
    """Permission bits of a directory or file, set-id and sticky bits included; 0 for a link."""
    size_bytes: int = 0
    """Of a file's content or a link's target; 0 for a directory."""
    content_hash: str = ""
    """Hex SHA-256 of a file's content or a link's target; empty for a directory."""


def format_node(node: Node) -> bytes:
    """The node's line of the manifest, with its line end."""
    path = "".join([_SPELLED[byte] for byte in node.path])
    if node.kind is Kind.DIRECTORY:
        return f"{node.kind} {node.mode:04o} - - {path}\n".encode()
    mode = "-" if node.kind is Kind.LINK else f"{node.mode:04o}"
    return f"{node.kind} {mode} {node.size_bytes} {node.content_hash} {path}\n".encode()


class TreeHasher:
    """Hashes a manifest line by line. Nodes come parents first, and siblings in the order of their bytes."""

    def __init__(self) -> None:
        self._hash = sha256(HEADER)
        self._last: list[bytes] | None = None

    def add(self, node: Node) -> None:
        """The next node. Raises ValueError if it does not follow the one before in order."""
        place = [] if node.path == ROOT else node.path.split(b"/")
        if self._last is not None and place <= self._last:
            raise ValueError(f"node {node.path!r} is out of order")
        if self._last is None and place:
            raise ValueError(f"the first node is {node.path!r}, want {ROOT!r}")
        self._last = place
        self._hash.update(format_node(node))

    def hexdigest(self) -> str:
        """The snapshot hash of the nodes so far."""
        return self._hash.hexdigest()
