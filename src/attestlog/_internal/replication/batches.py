"""What can be sent: runs of lines that are durable, each ending where a batch ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attestlog._internal.core.hashes import HASH_SIZE_BYTES
from attestlog._internal.core.replication import SHIPMENT_ENTRIES_MAX, Shipment, ends_batch
from attestlog._internal.core.signature import BATCH_ENTRIES_MAX
from attestlog._internal.storage.files.layout import tree_path
from attestlog._internal.storage.files.reader import LogReader
from attestlog._internal.storage.files.tree import TreeFiles

SHIPMENT_SIZE_BYTES: Final = 4 << 20
"""A shipment is closed to further batches from here on: flat memory, and a lost connection costs little."""


def durable_size(root: Path) -> int:
    """Entries that are durable for certain: their leaf hashes are written after that, never before.

    What stands in a segment beyond may be a commit under way. To send it would make the replica's copy
    longer than the log, if power fails now. Raises OSError.
    """
    try:
        return tree_path(root, 0).stat().st_size // HASH_SIZE_BYTES
    except FileNotFoundError:
        return 0


def root_at(root: Path, size: int) -> str:
    """The root of the first `size` entries, in hex, from the stored tree. Raises CorruptError or OSError."""
    tree = TreeFiles(root)
    try:
        return tree.edge(size).root().hex()
    finally:
        tree.close()


def shipments(reader: LogReader, start: int, stop: int) -> Iterator[Shipment]:
    """The entries from `start` up to `stop`, both of which lie between batches."""
    lines: list[bytes] = []
    size_bytes, first = 0, start
    for line in reader.lines(start, stop):
        lines.append(line)
        size_bytes += len(line)
        # A batch that begins now still fits into the limits of a shipment.
        is_full = size_bytes >= SHIPMENT_SIZE_BYTES or len(lines) > SHIPMENT_ENTRIES_MAX - BATCH_ENTRIES_MAX
        if is_full and ends_batch(line):
            yield Shipment(first, lines)
            first, lines, size_bytes = first + len(lines), [], 0
    if lines:
        yield Shipment(first, lines)
