"""What a crash can leave, and what other processes wrote: finding the head, and reading forward from it.

Opening finds the head from what entries, tree and checkpoint say together. What
the tree says is used as far as a checkpoint vouches for it; beyond, and
wherever the two disagree, the entries are read (`head_…`).

`read_forward` serves every opening and every commit that finds the segment
longer than it was left. Bytes at the end that were never acknowledged (a line
cut short, a batch not all there, or with a signature that does not verify) are
*torn* and can be set aside; damage anywhere else raises. Evidence of
acknowledgement is the stored tree, which is written only after its entries are durable.

Nothing is written here. What reads files raises OSError.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from attestlog._internal.core import entry as entries
from attestlog._internal.core.batch import Head
from attestlog._internal.core.checkpoint import Checkpoint
from attestlog._internal.core.entry import decode_line, parse_timestamp
from attestlog._internal.core.genesis import Genesis, open_log_checkpoint
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.lines import Line
from attestlog._internal.core.merkle import Grown
from attestlog._internal.core.pointer import Fetch, Pointers
from attestlog._internal.core.reserved import governs
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.signature import EntrySignature, parse_signature, verify_entry_signature
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.files.packed import OpenSegment, open_segment
from attestlog._internal.storage.files.segments import EndlessLineError, last_line, lines_end
from attestlog._internal.storage.files.tree import TreeFiles
from attestlog.errors import (
    AttestlogError,
    ChainBrokenError,
    CorruptError,
    HashMismatchError,
    MalformedEntryError,
    MalformedSegmentError,
    MalformedSignatureError,
    SignatureInvalidError,
)


@dataclass(frozen=True, slots=True)
class Tail:
    """What reading forward came to."""

    head: Head
    leaves: list[bytes]
    grown: list[Grown]
    proven: int
    """Offset after the last line that is known to have been committed before."""
    stop: int
    """Offset after the last accepted line."""
    torn: str | None
    """Why the bytes from `stop` on are torn; None when there are none."""


class Link(Struct, frozen=True):
    """The members that place an entry in the chain and in its batch; the others are skipped over."""

    sequence_number: int
    prev_entry_hash: entries.Hex64
    entry_hash: entries.Hex64
    hsm_signature: str
    signature_algorithm: str
    signing_key_id: str
    timestamp: str


@dataclass(frozen=True, slots=True)
class _Accepted:
    link: Link
    stop: int


_link_decoder: Final = msgspec.json.Decoder(Link)


IsSigned = Callable[[int, Link], bool]
"""Whether a batch's signature verifies, by the sequence number of its first entry and its last link."""


def read_forward(
    lines: Iterator[Line], head: Head, offset: int, trusted_size: int, is_signed: IsSigned | None = None
) -> Tail:
    """Accept lines after `head` (which ends at `offset`) for as long as they continue the log.

    Entries below `trusted_size` are known to have been committed: they are chained, all but the
    last not hashed again, and damage among them raises CorruptError, as does damage with a valid
    entry of another batch after it, and one of them that stands there once more.
    `is_signed` is asked of a last batch that is whole, and not known to have been committed.
    """
    accepted: list[_Accepted] = []
    torn: str | None = None
    previous = head.entry_hash
    for line in lines:
        number = head.size + len(accepted)
        try:
            # What is appended buries the last line: it is looked at whole, whatever is known of it.
            link = _next_link(line, number, previous, full=number >= trusted_size - 1)
        except AttestlogError as error:
            if number < trusted_size:
                raise _corrupt(number, str(error)) from None
            torn = str(error)
            _check_not_repeated(line, min(number, trusted_size))
            # The line itself may be whole and just not follow: then those between were lost.
            whole = _valid_links(itertools.chain([line] if line.is_complete else [], lines))
            # An entry that stands further up already is repeated here, and says nothing of what is gone.
            later = [link for link in whole if link.sequence_number >= number]
            _drop_batch_around(accepted, later, number, trusted_size, torn)
            break
        accepted.append(_Accepted(link, line.stop))
        previous = link.entry_hash
    torn = _drop_partial_batch(accepted, head.size, trusted_size) or torn
    if torn is None and is_signed is not None:
        torn = _drop_unsigned_batch(accepted, trusted_size, is_signed)
    return _tail(head, accepted, offset, trusted_size, torn)


def _check_not_repeated(line: Line, size: int) -> None:
    """No crash writes an entry again, in whatever spelling: somebody did, and has to be told."""
    try:
        number = _read_link(line.data).sequence_number if line.is_complete else size
    except MalformedEntryError:
        return
    if number < size:
        raise _corrupt(number, "it stands in the log once more, behind the entries that were committed")


def _next_link(line: Line, number: int, previous: str, *, full: bool) -> Link:
    if not line.is_complete:
        raise MalformedEntryError(f"the last line stops after {len(line.data)} bytes")
    link = read_entry(line.data) if full else _read_link(line.data)
    if link.sequence_number != number or link.prev_entry_hash != previous:
        raise ChainBrokenError(f"entry {link.sequence_number} does not follow entry {number - 1}")
    return link


def _read_link(line: bytes) -> Link:
    try:
        return _link_decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedEntryError(f"not an entry: {error}") from None


def read_entry(line: bytes) -> Link:
    """The link of a line that is a whole, canonical entry with the right hashes. Raises otherwise."""
    entry = entries.decode_line(line)
    entries.check_canonical(entry, line)
    if entries.entry_hash(entry) != entry.entry_hash:
        raise HashMismatchError("entry_hash is not the hash of the entry")
    if entry.action_payload is not None and entries.payload_hash(entry) != entry.action_hash:
        raise HashMismatchError("action_hash is not the hash of the payload")
    parse_signature(entry.hsm_signature, entry.signature_algorithm)
    return _read_link(line)


def _valid_links(lines: Iterator[Line]) -> Iterator[Link]:
    for line in lines:
        try:
            yield read_entry(line.data)
        except AttestlogError:
            continue


def _drop_batch_around(
    accepted: list[_Accepted], later: list[Link], number: int, trusted_size: int, reason: str
) -> None:
    """After a broken line: it is torn if all that is valid behind it belongs to the same uncommitted batch.

    The pages of one write reach the disk in any order, so a torn batch may have a hole. Whatever
    else is valid behind the hole was written after it was committed: that is damage.
    """
    for link in later:
        signature = _batch_of(link)
        start = link.sequence_number - signature.index
        if not start <= number < start + signature.size or start < trusted_size:
            raise _corrupt(number, f"{reason}; entry {link.sequence_number} after it is whole")
        while accepted and accepted[-1].link.sequence_number >= start:
            accepted.pop()


def _drop_partial_batch(accepted: list[_Accepted], before: int, trusted_size: int) -> str | None:
    """Entries of a batch that ends before its last entry were never acknowledged: torn, whole."""
    if not accepted or before + len(accepted) <= trusted_size:
        return None
    last = accepted[-1].link
    signature = _batch_of(last)
    missing = signature.size - signature.index - 1
    if missing <= 0:
        return None
    start = last.sequence_number - signature.index
    while accepted and accepted[-1].link.sequence_number >= max(start, trusted_size):
        accepted.pop()
    if start < trusted_size:
        raise _corrupt(last.sequence_number + 1, f"{missing} entries of a committed batch are missing")
    return f"a batch of {signature.size} entries stops {missing} before its end"


def _drop_unsigned_batch(accepted: list[_Accepted], trusted_size: int, is_signed: IsSigned) -> str | None:
    """The last batch, if its signature does not verify: it may be checked while the lines are flushed."""
    if not accepted:
        return None
    last = accepted[-1].link
    start = last.sequence_number - _batch_of(last).index
    if start < trusted_size or is_signed(start, last):
        return None
    while accepted and accepted[-1].link.sequence_number >= start:
        accepted.pop()
    return f"the signature of the batch that starts at entry {start} does not verify"


def is_signed(genesis: Genesis, fetch: Fetch, start: int, link: Link) -> bool:
    """Whether the key in force at entry `start` signed the batch; true where that cannot be told.

    `fetch`: a line of an entry before it.
    """
    try:
        before = decode_line(fetch(start - 1))
        rules = Rules.of(genesis)
        if before.sequence_number:
            rules = rules.at(Pointers.of(before), fetch, with_holds=False)
        if governs(before):
            rules = rules.after(before)
        key = rules.signing_key(link.signing_key_id, link.signature_algorithm)
        if key is not None:
            verify_entry_signature(key, link.signature_algorithm, link.hsm_signature, link.entry_hash)
    except (SignatureInvalidError, MalformedSignatureError):
        return False
    except AttestlogError:
        pass  # opening judges every entry beyond the checkpoint, and will say what is wrong with these
    return True


def _batch_of(link: Link) -> EntrySignature:
    return parse_signature(link.hsm_signature, link.signature_algorithm)


def _tail(head: Head, accepted: list[_Accepted], offset: int, trusted_size: int, torn: str | None) -> Tail:
    if not accepted:
        return Tail(head, [], [], offset, offset, torn)
    leaves = [leaf_hash(bytes.fromhex(item.link.entry_hash)) for item in accepted]
    grown: list[Grown] = []
    edge = head.edge.extended(leaves, grown)
    last = accepted[-1].link
    try:
        timestamp_us = entries.parse_timestamp(last.timestamp)
    except MalformedEntryError as error:
        raise _corrupt(last.sequence_number, str(error)) from None
    after = Head(head.size + len(leaves), last.entry_hash, timestamp_us, edge)
    trusted = min(trusted_size - head.size, len(accepted))
    proven = accepted[trusted - 1].stop if trusted > 0 else offset
    return Tail(after, leaves, grown, proven, accepted[-1].stop, torn)


def _corrupt(number: int, reason: str) -> CorruptError:
    return CorruptError(f"entry {number} is damaged: {reason}", sequence_number=number, repair="entries")


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

    None if the last segment's last line, the tree and the checkpoint do not agree that it is so, or that
    line is not all that was committed, once and in its spelling: what is appended would bury it.
    """
    if checkpoint is None or checkpoint.size <= first:
        return None
    line = _last_line(descriptor, lines_end(descriptor, os.fstat(descriptor).st_size))
    if line is None or not line.is_complete or not tree.size() == tree.covered() == checkpoint.size:
        return None
    try:
        entry = decode_line(line.data)
        edge = tree.edge(checkpoint.size)
        (leaf,) = tree.read(0, checkpoint.size - 1, checkpoint.size)
        timestamp_us = parse_timestamp(entry.timestamp)
        whole = entry.sequence_number == checkpoint.size - 1 and edge.root() == checkpoint.root
        if not whole or not _is_last(descriptor, first, line):
            return None
        if leaf != leaf_hash(bytes.fromhex(entry.entry_hash)):
            return None
    except (AttestlogError, ValueError):
        return None
    return Head(checkpoint.size, entry.entry_hash, timestamp_us, edge)


def _is_last(descriptor: int, first: int, line: Line) -> bool:
    """Whether the last line is the entry as it was committed, right after the one before it."""
    link = read_entry(line.data)
    if link.sequence_number == first:
        return line.offset == 0
    before = _last_line(descriptor, line.offset)
    previous = _read_link(before.data if before is not None else b"")
    return previous.entry_hash == link.prev_entry_hash


def head_before(segments: list[Segment], tree: TreeFiles) -> Head | None:
    """The head at the start of the last segment, as the tree has it; None if the tree has not."""
    if len(segments) == 1:
        return Head()
    first, (_, path) = segments[-1][0], segments[-2]
    line = _last_of(path)
    try:
        entry = decode_line(line.data if line and line.is_complete else b"")
        timestamp_us = parse_timestamp(entry.timestamp)
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
    """The head after these full segments, by their entries alone; `tree`, if given, is written again.

    Raises CorruptError if they are damaged or not what the checkpoint signed.
    """
    head = Head()
    for first, path in segments:
        with _reading(path) as segment:
            lines = segment.lines(0, segment.size)
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


def _last_line(descriptor: int, end: int) -> Line | None:
    """None also where no line is that long."""
    try:
        return last_line(descriptor, end)
    except EndlessLineError:
        return None


def _last_of(path: Path) -> Line | None:
    """None also where no line is that long."""
    try:
        with _reading(path) as segment:
            return segment.last_line()
    except EndlessLineError:
        return None


@contextmanager
def _reading(path: Path) -> Iterator[OpenSegment]:
    try:
        with open_segment(path) as segment:
            yield segment
    except MalformedSegmentError as error:
        raise CorruptError(f"{path} is damaged: {error}", path=str(path), repair="entries") from None


def _not_ending(path: Path, stop: int, reason: str) -> CorruptError:
    return CorruptError(
        f"{path} does not end with entry {stop - 1}: {reason}",
        path=str(path), sequence_number=stop - 1, repair="entries",
    )  # fmt: skip


def open_stored_checkpoint(root: Path, data: bytes | None, genesis: Genesis) -> Checkpoint | None:
    """The checkpoint in these bytes, verified. Raises CorruptError if it is not this log's."""
    if data is None:
        return None
    path = root / layout.CHECKPOINT_FILE
    try:
        return open_log_checkpoint(data, genesis)
    except AttestlogError as error:
        raise CorruptError(f"{path} is damaged: {error}", path=str(path), repair="checkpoint") from None
