"""Finding the head of a log that is being opened, from what entries, tree and checkpoint say together.

Reads only. What the tree says is used as far as a checkpoint vouches for it;
beyond, and wherever the two disagree, the entries are read. Raises OSError.
"""

from __future__ import annotations

import os
from pathlib import Path

from attestlog._internal.core import entry as entries
from attestlog._internal.core.batch import Head
from attestlog._internal.core.checkpoint import Checkpoint
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.files.recovery import Tail, read_forward
from attestlog._internal.storage.files.segments import last_line, segment_lines
from attestlog._internal.storage.files.tree import TreeFiles
from attestlog.errors import AttestlogError, CorruptError

Segment = tuple[int, Path]
"""Sequence number of its first entry, and where it is."""


def contiguous_segments(root: Path, segment_entries: int) -> list[Segment]:
    """The segment files. Raises CorruptError naming the first that is missing."""
    segments = layout.list_segments(root)
    for position, (first, path) in enumerate(segments):
        if first != position * segment_entries:
            missing = layout.segment_name(position * segment_entries)
            raise CorruptError(
                f"segment {missing} is missing before {path.name}",
                path=str(path), sequence_number=position * segment_entries, repair="entries",
            )  # fmt: skip
    return segments


def head_at_checkpoint(
    descriptor: int, first: int, tree: TreeFiles, checkpoint: Checkpoint | None
) -> Head | None:
    """The head after a clean close, when the checkpoint covers every entry: nothing is read again.

    None if the last segment's last line, the tree and the checkpoint do not agree that it is so.
    """
    if checkpoint is None or checkpoint.size <= first:
        return None
    line = last_line(descriptor, os.fstat(descriptor).st_size)
    if line is None or not line.complete or not tree.size() == tree.covered() == checkpoint.size:
        return None
    try:
        entry = entries.decode_line(line.data)
        edge = tree.edge(checkpoint.size)
        (leaf,) = tree.read(0, checkpoint.size - 1, checkpoint.size)
        timestamp_us = entries.parse_timestamp(entry.timestamp)
        whole = entry.sequence_number == checkpoint.size - 1 and edge.root() == checkpoint.root
        if not whole or leaf != leaf_hash(bytes.fromhex(entry.entry_hash)):
            return None
    except (AttestlogError, ValueError):
        return None
    return Head(checkpoint.size, entry.entry_hash, timestamp_us, edge)


def head_before(segments: list[Segment], tree: TreeFiles) -> Head | None:
    """The head at the start of the last segment, as the tree has it; None if the tree has not."""
    if len(segments) == 1:
        return Head()
    first, (_, path) = segments[-1][0], segments[-2]
    with path.open("rb") as file:
        line = last_line(file.fileno(), os.fstat(file.fileno()).st_size)
    try:
        entry = entries.decode_line(line.data if line and line.complete else b"")
        timestamp_us = entries.parse_timestamp(entry.timestamp)
    except AttestlogError as error:
        raise _not_ending(path, first, str(error)) from None
    if entry.sequence_number != first - 1:
        raise _not_ending(path, first, f"its last line is entry {entry.sequence_number}")
    try:
        edge = tree.edge(first)
    except CorruptError:
        return None
    return Head(first, entry.entry_hash, timestamp_us, edge)


def head_by_entries(
    segments: list[Segment], segment_entries: int, checkpoint: Checkpoint | None, tree: TreeFiles | None
) -> Head:
    """The head after these full segments, by their entries alone; `tree`, if given, is written anew.

    Raises CorruptError if they are damaged or not what the checkpoint signed.
    """
    head = Head()
    for first, path in segments:
        with path.open("rb") as file:
            lines = segment_lines(file.fileno(), 0, os.fstat(file.fileno()).st_size)
            tail = read_forward(lines, head, 0, trusted_size=first + segment_entries)
        if tail.head.size != first + segment_entries:
            raise _not_ending(path, first + segment_entries, f"it ends after entry {tail.head.size - 1}")
        if not leads_to(checkpoint, head, tail):
            raise contradicted(checkpoint, path.parent.parent)
        if tree is not None:
            tree.write(first, tail.leaves, tail.grown)
        head = tail.head
    return head


def leads_to(checkpoint: Checkpoint | None, head: Head, tail: Tail) -> bool:
    """Whether reading from `head` to `tail` passes the checkpoint's root; true where it does not pass."""
    if checkpoint is None or not head.size <= checkpoint.size <= tail.head.size:
        return True
    edge = head.edge.extended(tail.leaves[: checkpoint.size - head.size])
    return edge.root() == checkpoint.root


def contradicted(checkpoint: Checkpoint | None, root: Path) -> CorruptError:
    """The entries lead to another root than was signed."""
    size = checkpoint.size if checkpoint else 0
    return CorruptError(
        f"{root}: the first {size} entries are not those its checkpoint signed",
        path=str(root),
        repair="entries",
    )


def _not_ending(path: Path, stop: int, reason: str) -> CorruptError:
    return CorruptError(
        f"{path} does not end with entry {stop - 1}: {reason}",
        path=str(path), sequence_number=stop - 1, repair="entries",
    )  # fmt: skip
