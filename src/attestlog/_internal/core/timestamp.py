"""RFC 3161 responses as authorities send them: the certificates in them, in the order that DER asks for.

A response holds a CMS SignedData (RFC 5652), whose certificates are a SET OF. In DER its members stand in
order of their bytes; authorities that send a chain (FreeTSA, GlobalSign, every `openssl ts`) send them in the
order of the chain, which is BER, and a strict reader takes nothing of it. No signature covers that order. So
members of the sets around what is signed are brought into order before a response is decoded; what is kept
beside the log stays as it came. What a response says is read elsewhere (`timestamping`, `verifying`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_EXPLICIT: Final = 0xA0
"""`[0]`: the content of a ContentInfo; within SignedData, the certificates."""
_REVOCATIONS: Final = 0xA1
_SETS: Final = frozenset({_SET, _EXPLICIT, _REVOCATIONS})
"""Members of SignedData that are a SET OF: digest algorithms, certificates, revocation lists, signers."""


class _Value(NamedTuple):
    """A value within some bytes: its tag, where it begins, where its content does, and where it ends."""

    tag: int
    start: int
    content: int
    stop: int


class _NotDerError(ValueError):
    """The bytes are not what they were taken for."""


def order_sets(response: bytes) -> bytes:
    """The response with the sets of its SignedData in the order of DER; as it is, if it has no such thing."""
    try:
        signed_data = _find_signed_data(response)
        parts = [_ordered(response, value) for value in signed_data]
    except _NotDerError:
        return response
    first, last = signed_data[0].start, signed_data[-1].stop
    return response[:first] + b"".join(parts) + response[last:]


def _find_signed_data(response: bytes) -> list[_Value]:
    """Its members: response → token (its second member) → content → SignedData."""
    (whole,) = _members(response, 0, len(response), count=1)
    token = _members_of(response, whole, _SEQUENCE)[1:]
    content = [_members_of(response, value, _SEQUENCE)[-1] for value in token]
    if len(content) != 1:
        raise _NotDerError("there is no token")
    (signed_data,) = _members(response, *_within(content[0], _EXPLICIT), count=1)
    return _members_of(response, signed_data, _SEQUENCE)


def _ordered(data: bytes, value: _Value) -> bytes:
    if value.tag not in _SETS:
        return data[value.start : value.stop]
    members = [data[member.start : member.stop] for member in _members(data, value.content, value.stop)]
    return data[value.start : value.content] + b"".join(sorted(members))


def _within(value: _Value, tag: int) -> tuple[int, int]:
    if value.tag != tag:
        raise _NotDerError(f"tag {value.tag:#x}, want {tag:#x}")
    return value.content, value.stop


def _members_of(data: bytes, value: _Value, tag: int) -> list[_Value]:
    """The members of a value that is constructed; at least one."""
    members = _members(data, *_within(value, tag))
    if not members:
        raise _NotDerError("nothing in it")
    return members


def _members(data: bytes, start: int, stop: int, count: int | None = None) -> list[_Value]:
    """The values that stand in a row there, and nothing else."""
    found = []
    while start < stop:
        value = _read(data, start, stop)
        found.append(value)
        start = value.stop
    if count not in (None, len(found)):
        raise _NotDerError(f"{len(found)} values, want {count}")
    return found


def _read(data: bytes, start: int, stop: int) -> _Value:
    """The value that begins there: a tag of one byte, and a length that is stated."""
    head = data[start : min(start + 2, stop)]
    if len(head) < 2 or head[0] & 0x1F == 0x1F:
        raise _NotDerError("no tag and length")
    tag, length = head
    content = start + 2
    if length & 0x80:
        digits = data[content : content + (length & 0x7F)]
        content += length & 0x7F
        length = int.from_bytes(digits)
        if not 1 <= len(digits) <= 4:  # without an end stated, or larger than any response
            raise _NotDerError("no length")
    if content + length > stop:
        raise _NotDerError("it goes on beyond what holds it")
    return _Value(tag, start, content, content + length)
