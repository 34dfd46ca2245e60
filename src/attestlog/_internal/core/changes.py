"""What a caller elsewhere asks a log's service to change: keys, holds, payloads; and the log's head.

    {"change": "erase", "sequence_number": 7, "reason": "asked for", "members": {"actor_id": "dpo"}}

What is asked for, not what an entry says of it: that is made where the log is. `members` are further members
of the draft, such as the approvals that the policy asks for.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from attestlog._internal.core import canonical
from attestlog._internal.core.batch import Head
from attestlog._internal.core.convert import read_complaint
from attestlog._internal.core.entry import Count, Hex64, encode_member
from attestlog._internal.core.merkle import Span, subtrees
from attestlog.errors import MalformedError


class Change(Struct, tag_field="change", forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What all have."""

    members: dict[str, Any] = {}


class RotateKey(Change, tag="rotate_key"):
    """To a key file that is made where the log keeps its keys."""

    algorithm: str | None = None


class AdmitKey(Change, tag="admit_key"):
    """As `Log.admit_key`."""

    consent: dict[str, Any]


class RevokeKey(Change, tag="revoke_key"):
    """As `Log.revoke_key`."""

    key_id: str
    reason: str
    last_trusted: Count


class AddHold(Change, tag="add_hold"):
    """As `Log.add_hold`."""

    name: str
    reason: str
    start: Count = 0
    stop: Count | None = None


class ReleaseHold(Change, tag="release_hold"):
    """As `Log.release_hold`."""

    name: str
    reason: str


class Erase(Change, tag="erase"):
    """As `Log.erase`."""

    sequence_number: Count
    reason: str
    legal_basis: str | None = None


class EraseMany(Change, tag="erase_many"):
    """As `Log.erase_many`."""

    action_types: Annotated[list[str], Meta(min_length=1)]
    reason: str
    start: Count | None = None
    stop: Count | None = None
    older_than: str | None = None
    legal_basis: str | None = None


AnyChange = RotateKey | AdmitKey | RevokeKey | AddHold | ReleaseHold | Erase | EraseMany


def parse_change(data: bytes) -> AnyChange:
    """Raises MalformedError."""
    try:
        change: AnyChange = msgspec.convert(canonical.decode(data), AnyChange)
    except msgspec.ValidationError as error:
        member, reason = read_complaint(str(error))
        raise MalformedError(
            f"change: {member}: {reason}" if member else f"change: {reason}", member=member
        ) from None
    return change


def format_change(change: AnyChange) -> bytes:
    """Raises MalformedEntryError for members that no JSON can have."""
    members = {name: getattr(change, name) for name in change.__struct_fields__}
    return bytes(encode_member("change", {"change": change.__struct_config__.tag, **members}))


class _Head(Struct):
    size: Count
    entry_hash: Hex64
    timestamp_us: Count
    edge: list[Hex64]


def parse_head(data: bytes) -> Head:
    """Raises MalformedError."""
    try:
        told = msgspec.json.decode(data, type=_Head)
    except msgspec.DecodeError as error:
        raise MalformedError(f"head: {error}") from None
    if len(told.edge) != len(list(subtrees(0, told.size))):
        raise MalformedError(
            f"head: {len(told.edge)} hashes are not the edge of {told.size} entries", member="edge"
        )
    edge = Span(0, told.size, map(bytes.fromhex, told.edge))
    return Head(told.size, told.entry_hash, told.timestamp_us, edge)


def format_head(head: Head) -> bytes:
    """The head, with the right edge of the tree."""
    edge = [digest.hex() for digest in head.edge.hashes()]
    return msgspec.json.encode(
        {"size": head.size, "entry_hash": head.entry_hash, "timestamp_us": head.timestamp_us, "edge": edge}
    )
