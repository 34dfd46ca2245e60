"""Erasure: one payload replaced by null, an entry that says so, and whether the rules in force allow it.

    erase_payload   sequence_number, entry_hash, action_type and timestamp of the entry whose payload goes;
                    reason; legal_basis (or null)

The entry, the chain, the tree and all signatures still verify: they cover the
payload through `action_hash` only. What the erasing entry says of the other is
compared with it by whoever reads both. The document is docs/spec/erasure.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

import msgspec
from msgspec import Struct

from attestlog._internal.core import canonical
from attestlog._internal.core.convert import convert_payload
from attestlog._internal.core.entry import (
    Count,
    Entry,
    Hex64,
    Name,
    Object,
    TimestampText,
    check_canonical,
    decode_line,
    parse_timestamp,
    payload_hash,
)
from attestlog._internal.core.glob import Glob
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.core.reserved import erases, is_kept
from attestlog._internal.core.rules import ReasonText, Rules, held_by
from attestlog.errors import ErasureRefusedError, HashMismatchError, MalformedEntryError

_DAY_US: Final = 86_400_000_000


class Erasure(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The payload of `attestlog.erase_payload`."""

    sequence_number: Count
    entry_hash: Hex64
    action_type: Name
    timestamp: TimestampText
    reason: ReasonText
    legal_basis: Name | None

    @classmethod
    def of(cls, entry: Entry, reason: str, legal_basis: str | None) -> Erasure:
        """The erasure of this entry's payload. Raises MalformedEntryError for what does not fit."""
        return parse_erasure(
            {
                "sequence_number": entry.sequence_number, "entry_hash": entry.entry_hash,
                "action_type": entry.action_type, "timestamp": entry.timestamp, "reason": reason,
                "legal_basis": legal_basis,
            }
        )  # fmt: skip

    def describes(self, entry: Entry) -> bool:
        """Whether this is the entry that it speaks of."""
        return self.fingerprint == fingerprint(entry)

    @property
    def fingerprint(self) -> bytes:
        """See `fingerprint`."""
        return _fingerprint(self.entry_hash, self.action_type, self.timestamp)


def fingerprint(entry: Entry) -> bytes:
    """What an erasure must say rightly of the entry, in 16 bytes: a verifier keeps one for each of many."""
    return _fingerprint(entry.entry_hash, entry.action_type, entry.timestamp)


def _fingerprint(entry_hash: str, action_type: str, timestamp: str) -> bytes:
    text = canonical.encode([entry_hash, action_type, timestamp])
    return bytes.fromhex(hex_hash(text))[:16]


def format_erasure(erasure: Erasure) -> Object:
    """The payload."""
    members: Object = msgspec.to_builtins(erasure)
    return members


def parse_erasure(payload: Any) -> Erasure:
    """Raises MalformedEntryError unless it has exactly these members (and the log's own `_salt`)."""
    if isinstance(payload, Mapping):
        payload = {name: value for name, value in payload.items() if name != "_salt"}
    return convert_payload(payload, Erasure)


def check_erasure(rules: Rules, erasure: Erasure, timestamp: str) -> None:
    """Raises ErasureRefusedError unless the rules in force allow it at this time, an entry's timestamp.

    Whose approval it needs is no part of it: that is what `quorum_met` of the erasing entry says.
    """
    number, action_type, policy = erasure.sequence_number, erasure.action_type, rules.policy.erasure
    names = held_by(rules.holds.values(), number)
    if names:
        _refuse(erasure, "hold", f"is under legal hold: {', '.join(names)}", holds=names)
    if any(Glob(pattern).matches(action_type) for pattern in policy.held):
        _refuse(erasure, "policy", f"is of a {action_type}, which the policy holds")
    if not any(Glob(pattern).matches(action_type) for pattern in policy.action_types):
        _refuse(erasure, "policy", f"is of a {action_type}, which the policy does not let be erased")
    if policy.legal_bases and erasure.legal_basis not in policy.legal_bases:
        stated = erasure.legal_basis or "none"
        _refuse(erasure, "policy", f"needs a legal basis of {', '.join(policy.legal_bases)}, got {stated}")
    try:
        age_us = parse_timestamp(timestamp) - parse_timestamp(erasure.timestamp)
    except MalformedEntryError as error:
        _refuse(erasure, "policy", f"is of no known age: {error}")
    if age_us < policy.retain_days * _DAY_US:
        age = f"{age_us / _DAY_US:.3g} days old, is kept for {policy.retain_days}"
        _refuse(erasure, "policy", f"is {age}")


def check_erasable(target: Entry) -> None:
    """Raises ErasureRefusedError for an entry whose payload the log cannot do without."""
    if is_kept(target):
        number, what = target.sequence_number, target.action_type
        raise ErasureRefusedError(
            f"the payload of entry {number} is of a {what}, which the log cannot do without",
            sequence_number=number, rule="kept",
        )  # fmt: skip


def says_erased(line: bytes, sequence_number: int, entry_hash: str) -> bool:
    """Whether this line is of an entry that says that the payload of that entry is erased."""
    try:
        entry = decode_line(line)
        erasure = parse_erasure(entry.action_payload)
    except MalformedEntryError:
        return False
    return erases(entry) and (erasure.sequence_number, erasure.entry_hash) == (sequence_number, entry_hash)


def erase_line(line: bytes) -> bytes:
    """The line of an entry without its payload, everything else as it was; itself if it has none.

    Raises MalformedEntryError or HashMismatchError for a line that is not the whole, right entry.
    """
    entry = decode_line(line)
    check_canonical(entry, line)
    if entry.action_payload is None:
        return line
    if payload_hash(entry) != entry.action_hash:
        raise HashMismatchError("action_hash is not the hash of the payload", found=entry.action_hash)
    before = b'{"action_hash":"' + entry.action_hash.encode() + b'","action_payload":'
    payload = canonical.encode(entry.action_payload)
    assert line.startswith(before + payload), "the canonical form begins with these"
    return before + b"null" + line[len(before) + len(payload) :]


def _refuse(erasure: Erasure, rule: str, reason: str, **evidence: Any) -> NoReturn:
    raise ErasureRefusedError(
        f"the payload of entry {erasure.sequence_number} {reason}",
        sequence_number=erasure.sequence_number, rule=rule, **evidence,
    )  # fmt: skip
