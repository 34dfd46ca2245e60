"""Checkpoints: C2SP tlog-checkpoint v1.0.0. The signed statement "at this size, the root is this".

    <origin>
    <size in decimal>
    <base64 root hash>

Extension lines are refused: nobody can audit them, and post-quantum
cosignatures do not cover them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from attestlog._internal.core.hashes import EMPTY_ROOT, HASH_SIZE_BYTES
from attestlog._internal.core.note import (
    NoteSignature,
    VerifierKey,
    check_key_name,
    format_note,
    open_note,
    sign_note,
)
from attestlog.errors import MalformedCheckpointError, MalformedConfigError, MalformedNoteError

SIZE_MAX: Final = 2**63 - 1
"""Sizes fit a signed 64-bit integer everywhere they travel."""

_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class LogId(NamedTuple):
    """Which log: two may share an origin, but not a genesis entry."""

    origin: str
    genesis: str
    """`entry_hash` of entry 0; empty while there is none."""


NO_LOG: Final = LogId("", "")
"""For what is made before there is a log, as its genesis entry is."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says: origin, size, root."""

    origin: str
    size: int
    root: bytes


def is_example(origin: str) -> bool:
    """Whether the origin stands under a name that RFC 2606 and RFC 6761 reserve for examples and tests.

    Nobody owns such a name: many logs have it that are not one another's histories.
    """
    host = origin.partition("/")[0].partition(":")[0].lower().rstrip(".")
    return any(f".{host}".endswith(f".{name}") for name in _EXAMPLES)


_EXAMPLES: Final = (
    "example", "example.com", "example.net", "example.org", "invalid", "localhost", "test",
)  # fmt: skip


def check_origin(origin: str) -> None:
    """Raises MalformedConfigError unless `origin` can name a log: 1-255 printable ASCII, no space, no `+`.

    Of letters outside ASCII, too many look like others: a log must not pass for one of another name.
    """
    try:
        check_key_name(origin)
    except MalformedNoteError as error:
        raise MalformedConfigError(f"origin: {error}", member="origin") from None
    if not (origin.isascii() and origin.isprintable()):
        raise MalformedConfigError(f"origin: {origin!r} is not printable ASCII", member="origin")


def format_checkpoint(checkpoint: Checkpoint) -> str:
    """The note text."""
    root = base64.b64encode(checkpoint.root).decode()
    return f"{checkpoint.origin}\n{checkpoint.size}\n{root}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """Raises MalformedCheckpointError unless `text` is the note text of a checkpoint."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise MalformedCheckpointError(f"checkpoint has {len(lines) - 1} lines, want 3")
    origin, decimal, encoded, _ = lines
    if not origin or not _DECIMAL.fullmatch(decimal) or int(decimal) > SIZE_MAX:
        raise MalformedCheckpointError(f"origin {origin!r} or size {decimal!r} is not of a checkpoint")
    try:
        root = base64.b64decode(encoded, validate=True)
    except ValueError:
        root = b""
    checkpoint = Checkpoint(origin, int(decimal), root)
    if len(root) != HASH_SIZE_BYTES or format_checkpoint(checkpoint) != text:
        raise MalformedCheckpointError("root is not the base64 of 32 bytes")
    if checkpoint.size == 0 and root != EMPTY_ROOT:
        raise MalformedCheckpointError("size is 0 and the root is not that of the empty tree", size=0)
    return checkpoint


def sign_checkpoint(
    checkpoint: Checkpoint, signers: Sequence[tuple[VerifierKey, Callable[[bytes], bytes]]]
) -> bytes:
    """The signed note, one line for each (key, sign)."""
    text = format_checkpoint(checkpoint)
    lines: list[NoteSignature] = [sign_note(text, key, sign) for key, sign in signers]
    return format_note(text, lines)


def open_checkpoint(data: bytes, keys: Sequence[VerifierKey]) -> Checkpoint:
    """Parse and verify.

    Raises MalformedNoteError, MalformedCheckpointError, SignatureInvalidError or TrustError.
    """
    return parse_checkpoint(open_note(data, keys).text)
