"""Witnessing: C2SP tlog-witness. What a log asks of a witness, and whether the witness may cosign.

    old <size of the checkpoint that the witness cosigned last>
    <base64 hash>            consistency proof from there, up to 63 lines
    <empty line>
    <signed checkpoint>

`judge` decides from the request, the log's keys and what was cosigned last; it changes nothing. Whoever calls
it must make its outcome durable, on the condition that nothing was cosigned meanwhile, before signing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from attestlog._internal.core.checkpoint import Checkpoint, format_checkpoint, parse_checkpoint
from attestlog._internal.core.cosignature import verify_checkpoint_signature
from attestlog._internal.core.hashes import EMPTY_ROOT
from attestlog._internal.core.merkle import verify_consistency
from attestlog._internal.core.note import (
    Note,
    NoteSignature,
    VerifierKey,
    format_note,
    format_vkey,
    parse_note,
    verified_signatures,
)
from attestlog._internal.core.proof import decode_hashes, format_hashes, parse_count
from attestlog.errors import (
    ConsistencyError,
    MalformedCheckpointError,
    MalformedNoteError,
    MalformedProofError,
    SplitViewError,
    StaleSizeError,
    TrustError,
    UnknownOriginError,
)

REQUEST_SIZE_MAX_BYTES: Final = 128 << 10
"""A checkpoint with thirty post-quantum signatures and the longest proof stays below."""

LogKeys = Mapping[str, Sequence[VerifierKey]]
"""By origin: the keys that may sign its checkpoints."""


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A parsed request: nothing in it is verified yet."""

    old: int
    proof: bytes
    """Whole 32-byte hashes."""
    note: Note


@dataclass(frozen=True, slots=True)
class Seen:
    """What a witness cosigned last for a log; at first, the empty tree."""

    size: int = 0
    root: bytes = EMPTY_ROOT


@dataclass(frozen=True, slots=True)
class CosignableCheckpoint:
    """A checkpoint that may be cosigned."""

    checkpoint: Checkpoint
    old: Seen
    """What it continues: it may be cosigned only while this is still what was cosigned last."""
    signatures: tuple[NoteSignature, ...]
    """The log's own lines, each verified; all others are left out."""

    @property
    def text(self) -> str:
        """What is to be cosigned: what was parsed, spelled anew."""
        return format_checkpoint(self.checkpoint)

    def note(self, cosignatures: Sequence[NoteSignature] = ()) -> bytes:
        """The checkpoint with the log's lines and these."""
        return format_note(self.text, [*self.signatures, *cosignatures])


def parse_add_checkpoint(data: bytes) -> AddCheckpoint:
    """Raises MalformedProofError or MalformedNoteError unless `data` is an add-checkpoint request."""
    if len(data) > REQUEST_SIZE_MAX_BYTES:
        raise MalformedProofError(f"request has {len(data)} bytes, at most {REQUEST_SIZE_MAX_BYTES} are read")
    head, blank, note = data.partition(b"\n\n")
    try:
        first, *hashes = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise MalformedProofError(f"byte {error.start} is not ASCII") from None
    if not blank:
        raise MalformedProofError("there is no empty line before the checkpoint")
    return AddCheckpoint(parse_count(first, "old"), decode_hashes(hashes), parse_note(note))


def format_add_checkpoint(old: int, proof: bytes, note: bytes) -> bytes:
    """The request's bytes."""
    lines = [f"old {old}", *format_hashes(proof), "", ""]
    return "\n".join(lines).encode() + note


def parse_cosignatures(data: bytes) -> tuple[NoteSignature, ...]:
    """The lines of an answer: unverified. Raises MalformedNoteError unless they are signature lines."""
    note = parse_note(b"\n\n" + data)
    if note.text != "\n":
        raise MalformedNoteError("an answer has more than signature lines")
    return note.signatures


def format_cosignatures(lines: Sequence[NoteSignature]) -> bytes:
    """An answer: signature lines, nothing else."""
    return format_note("", lines).removeprefix(b"\n")


def origin_hash(origin: str) -> str:
    """What the path of a log's latest cosigned checkpoint begins with: hex SHA-256 of its origin."""
    return sha256(origin.encode()).hexdigest()


def request_origin(request: AddCheckpoint) -> str:
    """The origin that the request's checkpoint names. The note is not verified yet."""
    return request.note.text.partition("\n")[0]


def verify_log_signatures(request: AddCheckpoint, logs: LogKeys) -> CosignableCheckpoint:
    """The checkpoint, signed by its log; the rest is not judged yet.

    Raises UnknownOriginError; TrustError or SignatureInvalidError if no known key of the log signed, or a
    line by one is bad; MalformedCheckpointError; ConsistencyError if it is empty and its root is not.
    """
    origin = request_origin(request)
    if origin not in logs:
        raise UnknownOriginError(f"the log {origin[:255]!r} is not known here", origin=origin[:255])
    found = verified_signatures(request.note, logs[origin], verify_checkpoint_signature)
    if not found:
        raise TrustError(
            f"no known key of the log {origin!r} signed the checkpoint",
            expected=[format_vkey(key) for key in logs[origin]],
            found=[f"{line.name}+{line.key_id.hex()}" for line in request.note.signatures],
        )
    try:
        checkpoint = parse_checkpoint(request.note.text)
    except MalformedCheckpointError as error:
        if error.size == 0:
            raise ConsistencyError(error.message) from None
        raise
    return CosignableCheckpoint(checkpoint, Seen(), tuple(line for _, line in found))


def judge(request: AddCheckpoint, logs: LogKeys, seen: Seen) -> CosignableCheckpoint:
    """The checkpoint, if it may be cosigned after `seen`.

    Raises what `verify_log_signatures` raises; MalformedProofError if the old size is beyond the new one;
    StaleSizeError if it is not that of `seen`; SplitViewError for another root at the same size;
    ConsistencyError if the proof does not hold.
    """
    judged = verify_log_signatures(request, logs)
    checkpoint = judged.checkpoint
    if request.old > checkpoint.size:
        raise MalformedProofError(f"old size {request.old} is beyond the checkpoint's {checkpoint.size}")
    if request.old != seen.size:
        raise StaleSizeError(
            f"the checkpoint cosigned last has size {seen.size}, not {request.old}", known_size=seen.size
        )
    if checkpoint.size == seen.size and checkpoint.root != seen.root:
        raise SplitViewError(
            f"a checkpoint of size {seen.size} with another root was cosigned",
            expected=seen.root.hex(), found=checkpoint.root.hex(),
        )  # fmt: skip
    if seen.size:
        verify_consistency(seen.size, checkpoint.size, request.proof, seen.root, checkpoint.root)
    elif request.proof:
        raise ConsistencyError("a proof from the empty tree has hashes, want none")
    return CosignableCheckpoint(checkpoint, seen, judged.signatures)
