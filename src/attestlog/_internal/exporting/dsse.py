"""in-toto Statement v1 in a DSSE v1 envelope: one signed statement an entry, as JSON lines.

The subject is the entry: its name is `ORIGIN#NUMBER`, its digest the `entry_hash`. The predicate is the
entry. The signature is the exporter's, over the statement; the entry's own signature is in the predicate.

What is signed (PAE) begins with `DSSEv1 ` and has no line feed, because the statement is canonical JSON. A
checkpoint of a log has three, a batch of entries begins with `attestlog/batch/v1`, an entry's hash has 32
bytes: no signature over one of them can be taken for one over another, also where one key makes all of them.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from attestlog._internal.core import canonical
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES
from attestlog._internal.exporting.contract import About, Exported
from attestlog.errors import MalformedJSONError, MalformedProofError

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://attestlog.dev/entry/v1"

ENVELOPE_SIZE_MAX_BYTES: Final = 2 * LINE_SIZE_MAX_BYTES
"""The longest entry in base64, the statement around it, and a signature."""


class Signed(NamedTuple):
    """An envelope, taken apart; nothing of it is verified."""

    payload: bytes
    """The statement."""
    signatures: list[tuple[str, bytes]]
    """(key id, signature) of each."""


class _Signature(Struct):
    sig: str
    keyid: str = ""


class _Envelope(Struct):
    payload: str
    payloadType: str  # noqa: N815 - the specification's name
    signatures: list[_Signature]


def statement(item: Exported, about: About) -> bytes:
    """The statement that is signed, in canonical form."""
    entry = item.entry
    name = f"{about.origin}#{entry.sequence_number}"
    # The members stand in canonical order: "_type" < "predicate" < "predicateType" < "subject".
    return b"".join((
        b'{"_type":', canonical.encode(STATEMENT_TYPE), b',"predicate":', item.line,
        b',"predicateType":', canonical.encode(PREDICATE_TYPE), b',"subject":',
        canonical.encode([{"digest": {"sha256": entry.entry_hash}, "name": name}]), b"}",
    ))  # fmt: skip


def preauthentication(payload: bytes) -> bytes:
    """What a signature over this payload signs (DSSE v1: PAE)."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def envelope(payload: bytes, key_id: str, signature: bytes) -> bytes:
    """The envelope, without a line end."""
    return msgspec.json.encode(
        {
            "payload": b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": key_id, "sig": b64encode(signature).decode()}],
        }
    )


def is_envelope(line: bytes) -> bool:
    """Whether a line looks like an envelope."""
    try:
        msgspec.json.decode(line, type=_Envelope)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False
    return True


def parse_envelope(line: bytes) -> Signed:
    """Raises MalformedProofError."""
    try:
        found = msgspec.json.decode(line, type=_Envelope)
        payload = b64decode(found.payload, validate=True)
        signatures = [(item.keyid, b64decode(item.sig, validate=True)) for item in found.signatures]
    except (msgspec.DecodeError, ValueError) as error:
        raise MalformedProofError(f"not a DSSE envelope: {error}") from None
    if found.payloadType != PAYLOAD_TYPE:
        raise MalformedProofError(f"payloadType is {found.payloadType[:80]!r}, want {PAYLOAD_TYPE!r}")
    return Signed(payload, signatures)


class _Subject(Struct):
    name: str
    digest: dict[str, str]


class _Statement(Struct):
    type: str = msgspec.field(name="_type")
    subject: list[_Subject]
    predicate_type: str = msgspec.field(name="predicateType")
    predicate: dict[str, Any]


class Stated(NamedTuple):
    """What a statement says."""

    line: bytes
    """The entry, in canonical form."""
    name: str
    digest: str


def parse_statement(payload: bytes) -> Stated:
    """Raises MalformedProofError unless it is a statement about one entry."""
    try:
        found = msgspec.json.decode(payload, type=_Statement)
        line = canonical.encode(found.predicate)
    except (msgspec.DecodeError, MalformedJSONError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedProofError(f"not an in-toto statement: {error}") from None
    for what, got, want in (
        ("_type", found.type, STATEMENT_TYPE),
        ("predicateType", found.predicate_type, PREDICATE_TYPE),
    ):
        if got != want:
            raise MalformedProofError(f"{what} is {got[:80]!r}, want {want!r}")
    if len(found.subject) != 1:
        raise MalformedProofError(f"the statement has {len(found.subject)} subjects, want 1")
    (subject,) = found.subject
    return Stated(line, subject.name, subject.digest.get("sha256", ""))
