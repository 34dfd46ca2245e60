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

import httpx

from attestlog._internal.core.checkpoint import parse_checkpoint
from attestlog._internal.core.cosignature import decode_timestamped, verify_checkpoint_signature
from attestlog._internal.core.note import Note, NoteSignature, VerifierKey, parse_note, verified_signatures
from attestlog._internal.core.witness import format_add_checkpoint, parse_cosignatures
from attestlog.errors import MalformedNoteError, SignatureInvalidError, UnknownOriginError, WitnessError

CONNECT_TIMEOUT_S: Final = 2.0
READ_TIMEOUT_S: Final = 5.0
"""For each request; a witness that signs with a device answers within."""

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
    client: httpx.Client | None = None,
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
    with client or new_client() as http:
        for _ in range(ATTEMPTS):
            body = format_add_checkpoint(known, prove(known) if known else b"", note)
            status, content = _post(http, f"{url.rstrip('/')}/add-checkpoint", body)
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
    raise WitnessError(f"witness {url} names another size each time it is asked", url=url, retryable=True)


def new_client() -> httpx.Client:
    """Redirects are not followed: who a witness is stands in the policy."""
    return httpx.Client(timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S))


def _post(client: httpx.Client, url: str, body: bytes) -> tuple[int, bytes]:
    content = b""
    try:
        with client.stream("POST", url, content=body) as response:
            for piece in response.iter_bytes():
                content += piece
                if len(content) > ANSWER_SIZE_MAX_BYTES:
                    raise WitnessError(
                        f"witness {url} answered with more than {ANSWER_SIZE_MAX_BYTES} bytes", url=url
                    )
            return response.status_code, content
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        unreached = isinstance(error, httpx.TransportError)
        what = "was not reached" if unreached else "cannot be asked"
        raise WitnessError(
            f"witness {url} {what}: {type(error).__name__}", url=url, retryable=unreached
        ) from None


def _refusal(url: str, status: int) -> WitnessError:
    if status == 404:
        return UnknownOriginError(f"witness {url} does not know this log", url=url)
    passing = status in {408, 429} or status >= 500
    return WitnessError(f"witness {url} refused: HTTP {status}", url=url, status=status, retryable=passing)


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
