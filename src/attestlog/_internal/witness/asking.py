"""One witness, asked over HTTP for its cosignatures of a checkpoint. What it answers is believed by none.

A witness says which checkpoint it cosigned last (409 and a size), and is shown that the new one continues it.
Its lines count when they verify under its key over our checkpoint, and say when. It may be down, slow or
lying: whatever it does is an error of ours, in bounded time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Final

from attestlog._internal.core.checkpoint import parse_checkpoint
from attestlog._internal.core.cosignature import decode_timestamped, verify_checkpoint_signature
from attestlog._internal.core.note import Note, NoteSignature, VerifierKey, parse_note, verified_signatures
from attestlog._internal.core.witness import format_add_checkpoint, parse_cosignatures
from attestlog._internal.net import Client, Limits, NoAnswerError, may_pass, parse_url
from attestlog.errors import (
    MalformedConfigError,
    MalformedNoteError,
    SignatureInvalidError,
    UnknownOriginError,
    WitnessError,
)

CONNECT_TIMEOUT_S: Final = 2.0
READ_TIMEOUT_S: Final = 5.0
"""Of silence; a witness that signs with a device answers within."""

RESPONSE_TIME_MAX_S: Final = 10.0
"""For each request and its answer of a few kilobytes, however slowly it drips."""

ATTEMPTS: Final = 4
"""One to hear the size, one to be cosigned, two more for whoever else submits this log's checkpoints."""

AHEAD_MAX_S: Final = 300
"""A cosignature from further in the future is refused: it would be "the last I saw" for too long."""

ANSWER_SIZE_MAX_BYTES: Final = 64 << 10
"""Ten post-quantum cosignatures; a witness has one or two keys."""

_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,18})\n")

Prove = Callable[[int], bytes]
"""The consistency proof from a size of ours (at least 1) to the checkpoint's: whole hashes."""


def ask_witness(
    url: str,
    keys: Sequence[VerifierKey],
    note: bytes,
    prove: Prove,
    *,
    old: int = 0,
    now_s: Callable[[], float] = time.time,
) -> list[tuple[VerifierKey, NoteSignature]]:
    """Its verified lines, by key; at least one.

    `note`: a checkpoint signed by its log. `old`: a size that this witness has cosigned, if one is known: it
    may not have forgotten it.
    Raises WitnessError, or UnknownOriginError.
    """
    parsed = parse_note(note)
    size = parse_checkpoint(parsed.text).size
    known = old
    client = open_client(url)
    try:
        for _ in range(ATTEMPTS):
            body = format_add_checkpoint(known, prove(known) if known else b"", note)
            status, content = add_checkpoint(client, url, body)
            if status == 200:
                return _verified(url, content, parsed, keys, now_s())
            if status != 409:
                raise _refusal(url, status)
            known = _known_size(url, content)
            if known > size:
                raise WitnessError(
                    f"witness {url} has cosigned {known} entries of this log, which has {size} here",
                    url=url, known_size=known,
                )  # fmt: skip
            if known < old:
                raise WitnessError(
                    f"witness {url} has cosigned {old} entries of this log and remembers {known}",
                    url=url, expected=old, known_size=known,
                )  # fmt: skip
    finally:
        client.close()
    raise WitnessError(f"witness {url} names another size each time it is asked", url=url, retryable=True)


def open_client(url: str) -> Client:
    """Plain http: may go anywhere: nothing secret is sent, and what comes back counts if it is signed."""
    limits = Limits(CONNECT_TIMEOUT_S, READ_TIMEOUT_S, RESPONSE_TIME_MAX_S)
    try:
        return Client(parse_url(url, is_plain_allowed=True), limits)
    except MalformedConfigError as error:
        raise WitnessError(f"witness {url} cannot be asked: {error}", url=url) from None


def add_checkpoint(client: Client, url: str, body: bytes) -> tuple[int, bytes]:
    """Status and answer. Raises WitnessError."""
    try:
        return client.ask("POST", "add-checkpoint", ANSWER_SIZE_MAX_BYTES, content=body)
    except NoAnswerError as error:
        raise WitnessError(f"witness {url} {error}", url=url, retryable=error.retryable) from None


def _refusal(url: str, status: int) -> WitnessError:
    if status == 404:
        return UnknownOriginError(f"witness {url} does not know this log", url=url)
    message = f"witness {url} refused: HTTP {status}"
    return WitnessError(message, url=url, status=status, retryable=may_pass(status))


def _known_size(url: str, content: bytes) -> int:
    match = _SIZE.fullmatch(content)
    if match is None:
        raise WitnessError(f"witness {url} answered with no size", url=url)
    return int(match[1])


def _verified(
    url: str, content: bytes, note: Note, keys: Sequence[VerifierKey], now_s: float
) -> list[tuple[VerifierKey, NoteSignature]]:
    try:
        lines = parse_cosignatures(content)
        found = verified_signatures(Note(note.text, lines), keys, verify_checkpoint_signature)
    except (MalformedNoteError, SignatureInvalidError) as error:
        raise WitnessError(f"witness {url} answered with no cosignature: {error}", url=url) from None
    for key, line in found:
        timestamp, _ = decode_timestamped(line, key.kind)
        if not 0 < timestamp <= now_s + AHEAD_MAX_S:
            raise WitnessError(
                f"witness {url} cosigned at {timestamp}, it is {int(now_s)}", url=url, timestamp=timestamp
            )
    if not found:
        raise WitnessError(f"witness {url} cosigned with none of the keys it is known by", url=url)
    return found
