"""RFC 3161 time stamps over checkpoints: asking an authority for one.

    stamp = timestamp_checkpoint("audit", "http://timestamp.example.com")

A stamp says when, at the latest, a log had this size and root, by the word of
an authority that knows neither the log nor its keys. Only a hash of the
checkpoint's text is sent. What comes back is held against the question before
it is stored; whether the authority is to be trusted is the verifier's to say,
see `verifying.timestamps`.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

from attestlog._internal.core.checkpoint import format_checkpoint, parse_checkpoint
from attestlog._internal.core.note import parse_note
from attestlog._internal.core.timestamp import order_sets
from attestlog._internal.net import Client, Limits, NoAnswerError, may_pass, parse_url
from attestlog._internal.storage.contract import TIMESTAMP_SIZE_MAX_BYTES, Store
from attestlog._internal.storage.resolve import LogName, open_source, open_store
from attestlog.errors import MissingExtraError, TimestampError

TIMEOUT_S: Final = 20.0
"""For the connection, and of silence."""

RESPONSE_TIME_MAX_S: Final = 60.0
"""For a few kilobytes, however slowly they come."""

_GRANTED: Final = (0, 1)
"""PKIStatus: granted, granted with modifications."""


class StoredStamp(NamedTuple):
    """What was stored."""

    path: str
    """Where it is."""
    size: int
    """Entries that the checkpoint covers."""
    time: datetime


def timestamp_checkpoint(log: LogName | Store, url: str) -> StoredStamp:
    """Have the log's latest checkpoint stamped by the authority at `url`, and keep the stamp beside it.

    Needs no key. Raises TimestampError if the authority cannot be reached, refuses, or answers
    something else than was asked; MalformedConfigError for what is no URL; NotFoundError without a
    checkpoint; MissingExtraError; StorageError.
    """
    checkpoint = parse_checkpoint(parse_note(open_source(log).stored_checkpoint()).text)
    text = format_checkpoint(checkpoint).encode()
    response, when = request_timestamp(text, url)
    store = open_store(log)
    try:
        return StoredStamp(store.add_timestamp(checkpoint.size, response), checkpoint.size, when)
    finally:
        store.close()


def request_timestamp(data: bytes, url: str) -> tuple[bytes, datetime]:
    """An authority's response over `data`, as it came, and the time it says. Raises as above."""
    them = load_rfc3161()
    request = them.TimestampRequestBuilder(data=data, hash_algorithm=them.HashAlgorithm.SHA256).build()
    response = _post(url, request.as_bytes())
    try:
        decoded = them.decode_timestamp_response(order_sets(response))
        if decoded.status not in _GRANTED:
            raise TimestampError(
                f"{url} refused to stamp: {decoded.status_string or decoded.status}", url=url
            )
        info = decoded.tst_info
        imprint, nonce, when = info.message_imprint.message, info.nonce, info.gen_time
    except ValueError as error:
        raise TimestampError(f"{url} answered no time stamp: {error}", url=url) from None
    if imprint != sha256(data).digest() or nonce != request.nonce:
        raise TimestampError(f"{url} answered with a time stamp of something else than was asked", url=url)
    return response, when


def load_rfc3161() -> Any:
    """The library. Raises MissingExtraError."""
    try:
        import rfc3161_client
    except ImportError:
        raise MissingExtraError("time stamps need rfc3161-client", extra="timestamp") from None
    return rfc3161_client


def _post(url: str, query: bytes) -> bytes:
    # Most authorities serve plain http:. Nothing secret is sent to them, and what comes back is signed.
    place = parse_url(url, what="the authority's URL", is_plain_allowed=True, is_base=False)
    client = Client(place, Limits(TIMEOUT_S, TIMEOUT_S, RESPONSE_TIME_MAX_S))
    headers = {"content-type": "application/timestamp-query"}
    try:
        status, data = client.ask("POST", "", TIMESTAMP_SIZE_MAX_BYTES, content=query, headers=headers)
    except NoAnswerError as error:
        raise TimestampError(f"{url} {error}", url=url, retryable=error.retryable) from None
    finally:
        client.close()
    if status != 200:
        raise TimestampError(f"{url} answered {status}", url=url, retryable=may_pass(status))
    return data
