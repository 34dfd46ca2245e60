"""What a writer sends a replica, and what it is answered: attestlog/replicate/v1.

    attestlog/replicate/v1
    <start> <count>
    <entry line>, `count` times
    <signed checkpoint, or nothing>

A shipment is a run of whole lines from entry `start` on, and perhaps a
checkpoint that the entries up to its end lead to. The answer is the size that
the replica now holds durably, and its cosignature lines over that checkpoint.

Bytes in, bytes out: what a shipment says is for the replica to verify.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec import Struct

from attestlog._internal.core.checkpoint import SIZE_MAX
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.core.note import NOTE_SIZE_MAX_BYTES, NoteSignature, format_note, parse_note
from attestlog._internal.core.signature import BATCH_ENTRIES_MAX, parse_signature
from attestlog.errors import (
    MalformedEntryError,
    MalformedNoteError,
    MalformedShipmentError,
    MalformedSignatureError,
)

HEADER: Final = b"attestlog/replicate/v1"

SHIPMENT_ENTRIES_MAX: Final = 8 * BATCH_ENTRIES_MAX
"""Some thousands hide the time a request takes; more would only make a failed one cost more."""

SHIPMENT_SIZE_MAX_BYTES: Final = 32 << 20
"""Any batch fits: one gathers entries up to 8 MiB, and its last line may be 16 MiB and more."""

ANSWER_SIZE_MAX_BYTES: Final = NOTE_SIZE_MAX_BYTES
"""As a note: it is made of the same lines."""

_COUNTS: Final = re.compile(rb"(0|[1-9][0-9]{0,18}) (0|[1-9][0-9]{0,5})")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Shipment:
    """Entries from `start` on, without their line ends, and a signed checkpoint or nothing."""

    start: int
    lines: Sequence[bytes] = ()
    checkpoint: bytes = b""

    @property
    def stop(self) -> int:
        """The sequence number after the last one sent."""
        return self.start + len(self.lines)


@dataclass(frozen=True, slots=True)
class ReplicaAnswer:
    """What the replica holds, and its signature lines over the checkpoint that came last."""

    size: int
    cosignatures: tuple[NoteSignature, ...] = field(default=())


def log_id(origin: str) -> str:
    """How a log is named in paths and URLs: hex SHA-256 of its origin, as in C2SP tlog-mirror."""
    return hex_hash(origin.encode())


def encode_shipment(shipment: Shipment) -> bytes:
    """The bytes to send."""
    counts = f"{shipment.start} {len(shipment.lines)}".encode()
    return b"\n".join([HEADER, counts, *shipment.lines, shipment.checkpoint])


def decode_shipment(data: bytes) -> Shipment:
    """Raises MalformedShipmentError. The lines are only told apart, not looked into."""
    if len(data) > SHIPMENT_SIZE_MAX_BYTES:
        raise MalformedShipmentError(
            f"shipment has {len(data)} bytes, at most {SHIPMENT_SIZE_MAX_BYTES} are read"
        )
    header, _, rest = data.partition(b"\n")
    counts, end, body = rest.partition(b"\n")
    match = _COUNTS.fullmatch(counts)
    if header != HEADER or not match or not end:
        raise MalformedShipmentError(f"shipment does not begin with {HEADER.decode()}, a start and a count")
    start, count = int(match[1]), int(match[2])
    if count > SHIPMENT_ENTRIES_MAX or start + count > SIZE_MAX:
        raise MalformedShipmentError(f"shipment has {count} entries from {start} on, too many or too far")
    *lines, checkpoint = body.split(b"\n", count)
    if len(lines) != count:
        raise MalformedShipmentError(f"shipment has {len(lines)} whole lines, says {count}")
    if any(not 0 < len(line) <= LINE_SIZE_MAX_BYTES for line in lines):
        raise MalformedShipmentError("shipment has a line that is empty or longer than any entry")
    return Shipment(start, lines, checkpoint)


def ends_batch(line: bytes) -> bool:
    """Whether the entry is signed alone, or is the last of its batch. Raises MalformedEntryError."""
    try:
        signed = _decoder.decode(line)
        signature = parse_signature(signed.hsm_signature, signed.signature_algorithm)
    except (msgspec.DecodeError, MalformedSignatureError) as error:
        raise MalformedEntryError(f"a line is not an entry: {error}") from None
    return signature.index + 1 >= signature.size


class _Signed(Struct):
    """All that has to be known of an entry to see where its batch ends; msgspec skips the rest unread."""

    hsm_signature: str
    signature_algorithm: str


_decoder: Final = msgspec.json.Decoder(_Signed)


def encode_answer(answer: ReplicaAnswer) -> bytes:
    """A size, and the cosignature lines."""
    return format_note(f"{answer.size}\n", answer.cosignatures).replace(b"\n\n", b"\n", 1)


def decode_answer(data: bytes) -> ReplicaAnswer:
    """Raises MalformedShipmentError. The signatures are only told apart, not verified."""
    if len(data) > ANSWER_SIZE_MAX_BYTES:
        raise MalformedShipmentError(
            f"answer has {len(data)} bytes, at most {ANSWER_SIZE_MAX_BYTES} are read"
        )
    size, _, lines = data.partition(b"\n")
    text = size.decode("utf-8", "replace")
    if not _SIZE.fullmatch(text) or int(text) > SIZE_MAX:
        raise MalformedShipmentError(f"answer begins with {text[:40]!r}, want a size")
    try:
        signatures = parse_note(size + b"\n\n" + lines).signatures if lines else ()
    except MalformedNoteError as error:
        raise MalformedShipmentError(f"answer: {error}") from None
    answer = ReplicaAnswer(int(text), signatures)
    if encode_answer(answer) != data:
        raise MalformedShipmentError("answer is not in its one spelling")
    return answer
