"""What can be sent: runs of lines that are durable, each ending where a batch ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attestlog._internal.core.replication import SHIPMENT_ENTRIES_MAX, Shipment, ends_batch
from attestlog._internal.core.signature import BATCH_ENTRIES_MAX
from attestlog._internal.storage.contract import LogSource

SHIPMENT_SIZE_BYTES: Final = 4 << 20
"""A shipment is closed to further batches from here on: flat memory, and a lost connection costs little."""


def shipments(log: LogSource, start: int, stop: int) -> Iterator[Shipment]:
    """The entries from `start` up to `stop`, both of which lie between batches."""
    lines: list[bytes] = []
    size_bytes, first = 0, start
    for line in log.lines(start, stop):
        lines.append(line)
        size_bytes += len(line)
        # A batch that begins now still fits into the limits of a shipment.
        is_full = size_bytes >= SHIPMENT_SIZE_BYTES or len(lines) > SHIPMENT_ENTRIES_MAX - BATCH_ENTRIES_MAX
        if is_full and ends_batch(line):
            yield Shipment(first, lines)
            first, lines, size_bytes = first + len(lines), [], 0
    if lines:
        yield Shipment(first, lines)
