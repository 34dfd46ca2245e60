"""The stored tree against the entries: hashes that can be rebuilt from the entries, and so prove nothing.

Missing or wrong, they are a notice. *Longer* than the entries they are
evidence: hashes are written only after their entries are durable, so the
entries they stand for were there.

The writer's side is `storage`. This is written a second time on purpose: a
verifier shares no code with what it checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Protocol

from attestlog._internal.core.hashes import HASH_SIZE_BYTES
from attestlog._internal.core.merkle import TILE_HEIGHT, Grown, Span, edge_from_stored, stored_ranges
from attestlog._internal.core.report import Finding
from attestlog._internal.judging.findings import finding
from attestlog.errors import StorageError


class StoredHashes(Protocol):
    """What a log keeps of its tree, level by level. Not to be trusted."""

    @property
    def hash_bytes(self) -> Mapping[int, int]:
        """Level → bytes that are stored of it."""

    def hashes(self, level: int, start: int, count: int) -> bytes:
        """Stored hashes from `start` on, joined; fewer where they end. Raises OSError or StorageError."""


class StoredTree:
    """Compares what is stored with what the entries come to, as they come."""

    def __init__(self, stored: StoredHashes) -> None:
        self._stored = stored
        self._wrong: dict[int, int] = {}
        self.unreadable: dict[int, str] = {}
        """Level → why its hashes cannot be read."""

    @property
    def size(self) -> int:
        """How many entries it says were once durable."""
        return -(-self._stored.hash_bytes.get(0, 0) // HASH_SIZE_BYTES)

    def edge(self, size: int) -> Span | None:
        """The right edge at `size`, as stored and so not to be trusted yet; None if it is not all there."""
        runs = []
        for level, start, stop in stored_ranges(size):
            data = self._read(level, start, stop - start)
            if len(data) < (stop - start) * HASH_SIZE_BYTES:
                return None
            runs.append([data[i : i + HASH_SIZE_BYTES] for i in range(0, len(data), HASH_SIZE_BYTES)])
        return edge_from_stored(size, runs)

    def leaves(self, start: int, stop: int) -> bytes:
        """The stored leaf hashes [start, stop): n × 32 bytes in entry order; empty if any is missing."""
        data = self._read(0, start, stop - start)
        return data if len(data) == (stop - start) * HASH_SIZE_BYTES else b""

    def leaf(self, number: int) -> bytes | None:
        """The leaf hash of an entry; None where it is not there, or where stored leaves were found wrong."""
        if 0 in self._wrong:
            return None
        return self._read(0, number, 1) or None

    def compare_leaves(self, start: int, leaves: bytes) -> None:
        """Compare level 0 from `start` on with these leaf hashes."""
        self._compare(0, start, leaves)

    def compare_grown(self, grown: Iterable[Grown]) -> None:
        """Compare the hashes of complete subtrees."""
        for level, run in groupby(sorted(grown), key=lambda item: item[0]):
            hashes = list(run)
            self._compare(level, hashes[0][1], b"".join(node for _, _, node in hashes))

    def stale(self, size: int) -> list[Finding]:
        """Notices for what is short or wrong, given how many entries there are."""
        found = []
        level = 0
        while count := size >> (level * TILE_HEIGHT):
            stored = self._stored.hash_bytes.get(level, 0) // HASH_SIZE_BYTES
            if level in self._wrong:
                index = self._wrong[level]
                found.append(finding("tree.stale", f"hash {index} of tree/{level} is wrong", found=index))
            elif stored < count:
                message = f"tree/{level} has {stored} of {count} hashes"
                found.append(finding("tree.stale", message, expected=count, found=stored))
            level += 1
        return found

    def longer(self, size: int) -> Finding | None:
        """The finding for hashes of entries that are not there."""
        for level, size_bytes in sorted(self._stored.hash_bytes.items()):
            count = size >> (level * TILE_HEIGHT)
            if size_bytes > count * HASH_SIZE_BYTES:
                stored = -(-size_bytes // HASH_SIZE_BYTES)
                message = f"tree/{level} has {stored} hashes, the entries account for {count}"
                return finding("tree.longer", message, expected=count, found=stored)
        return None

    def _compare(self, level: int, start: int, hashes: bytes) -> None:
        stored = self._read(level, start, len(hashes) // HASH_SIZE_BYTES)
        if level in self._wrong or hashes.startswith(stored):
            return
        for offset in range(0, len(stored), HASH_SIZE_BYTES):
            if not hashes.startswith(stored[offset : offset + HASH_SIZE_BYTES], offset):
                self._wrong[level] = start + offset // HASH_SIZE_BYTES
                return

    def _read(self, level: int, start: int, count: int) -> bytes:
        if level in self.unreadable:
            return b""
        try:
            return self._stored.hashes(level, start, count)
        except (OSError, StorageError) as error:
            self.unreadable[level] = str(error)
            return b""
