"""Redaction: secrets replaced by keyed commitments before an entry is made.

What the policy's `redaction` names (fields by glob, patterns within text) is
replaced by `[redacted:WHAT:NONCE:HMAC]`. The log then says that there was
something, and what kind. Those who hold the redaction key can later show which
value it was (`subkey`, `verify_commitment`); nobody else can even try
guesses. It is not encryption: nobody can get the value back.

Replaced are values of the members in REDACTED_MEMBERS, at any depth, and text
within names. `actor_id`, `action_type`, proofs and approvals are never touched.
The document is docs/spec/redaction.md.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import sha256
from operator import attrgetter
from typing import Any, Final

import msgspec

from attestlog._internal.core import canonical
from attestlog._internal.core.entry import EntryDraft
from attestlog._internal.core.glob import Glob
from attestlog._internal.core.policy import PatternName, Redaction
from attestlog._internal.core.reserved import KEPT
from attestlog.errors import HashMismatchError, MalformedEntryError

KEY_SIZE_BYTES: Final = 32
NONCE_SIZE_BYTES: Final = 8
"""Tells the redactions of one log apart, so that equal values do not look equal."""

REDACTED_MEMBERS: Final = (
    "action_payload", "actor_context", "environment", "error_details", "result_data", "system_state_snapshot",
)  # fmt: skip

PATTERN_SOURCES: Final[dict[PatternName, str]] = {
    "access_key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{35}",
    "private_key": r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?s:.)*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)",
    "token": (
        r"\beyJ[\w-]{10,}\.[\w-]{6,}(?:\.[\w-]*)*"  # JWT
        r"|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}|\bglpat-[\w-]{20,}|\bnpm_[A-Za-z0-9]{30,}"
        r"|\bxox[abeprs]-[A-Za-z0-9-]{15,}|\bhf_[A-Za-z0-9]{30,}|\b[spr]k_(?:live|test)_[A-Za-z0-9]{16,}"
        r"|\bsk-[\w-]{20,}|\b(?i:bearer) +[\w.~+/-]{20,}=*"
    ),
    "email": r"[\w.%+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+",
}  # fmt: skip
"""What each pattern of a policy looks for. But for e-mail, each match has a run of RUN_LENGTH_MIN bytes."""

RUN_LENGTH_MIN: Final = 20
"""Keys and tokens are unbroken runs at least this long: most text is passed over by that alone."""

_IN_RUN: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.~+/="
_RUNS: Final = bytes(ord("r") if byte in _IN_RUN else ord(" ") for byte in range(256))
_RUN: Final = b"r" * RUN_LENGTH_MIN
_MARKS: Final = (
    b"AKIA", b"ASIA", b"AIza", b"PRIVATE KEY-----", b"eyJ", b"gh", b"github_pat_", b"glpat-", b"npm_", b"xox",
    b"hf_", b"k_live_", b"k_test_", b"sk-", b"earer ", b"EARER ",
)  # fmt: skip
"""One of these is in every match that is no e-mail."""

_COMMITMENT: Final = re.compile(r"\[redacted:([A-Za-z0-9_-]{1,64}):([0-9a-f]{16}):([0-9a-f]{64})\]")
_KEY_LABEL: Final = b"attestlog/redaction/v1\n"
_CONTAINERS: Final = frozenset({dict, list, tuple})
_members: Final = attrgetter(*REDACTED_MEMBERS)
_NAMES_KNOWN_MAX: Final = 4_096
"""Names whose answer is kept: a log that makes up names must not fill memory."""

MakeCommitment = Callable[[str, bytes], str]
"""What is to stand in a value's place, given what it is and its canonical bytes."""


class Redactor:
    """What a policy's `redaction` asks for, compiled. Made once a policy; safe to share between threads."""

    def __init__(self, redaction: Redaction) -> None:
        self._enabled = redaction.enabled
        self._fields = [Glob(pattern.lower()) for pattern in redaction.fields]
        self._plain: set[str] = set()
        """Names known to be no secret's."""
        self._finds_email = "email" in redaction.patterns
        self._finds_runs = len(redaction.patterns) > self._finds_email
        self._custom = bool(redaction.custom_patterns)
        named = [(name, PATTERN_SOURCES[name]) for name in PATTERN_SOURCES if name in redaction.patterns]
        self._patterns = [
            (_kind(name), re.compile(source)) for name, source in (*named, *redaction.custom_patterns.items())
        ]

    def suspects(self, draft: EntryDraft, spelled: Iterable[bytes | msgspec.Raw]) -> bool:
        """The quick question, asked of every entry: whether `redact` may have something to do.

        `spelled`: the canonical bytes of its members. False is sure.
        """
        # With another payload, a change of the rules, or the intent to make it, would be of something else.
        if not self._enabled or draft.action_type in KEPT:
            return False
        return (
            self._custom
            or self._may_match(b" ".join(spelled))
            or self._has_field([member for member in _members(draft) if member])
        )

    def redact(self, draft: EntryDraft, commit: MakeCommitment) -> EntryDraft:
        """The draft with every secret replaced; what is redacted already stays.

        Its members must have been encoded before: that refuses what is not JSON, or contains itself.
        """
        changes = {}
        for name in REDACTED_MEMBERS:
            value = getattr(draft, name)
            if value:
                changes[name] = self.redact_value(value, commit)
        return msgspec.structs.replace(draft, **changes)

    def redact_value(self, value: Any, commit: MakeCommitment) -> Any:
        """A copy of a JSON value with every secret in it replaced. One that contains itself never ends."""
        top = [value]
        todo: list[Any] = [top]
        while todo:
            container = todo.pop()
            places = container.items() if type(container) is dict else enumerate(container)
            for place, item in list(places):
                kind = type(item)
                if type(container) is dict and self._is_field(place) and _is_worth_it(item):
                    container[place] = commit("field", canonical.encode(item))
                elif kind is str:
                    container[place] = self._redact_text(item, commit)
                elif kind in _CONTAINERS:
                    inner = self._renamed(item, commit) if kind is dict else list(item)
                    container[place] = inner
                    todo.append(inner)
        return top[0]

    def _renamed(self, members: dict[Any, Any], commit: MakeCommitment) -> dict[Any, Any]:
        return {
            self._redact_text(name, commit) if type(name) is str else name: item
            for name, item in members.items()
        }

    def _redact_text(self, text: str, commit: MakeCommitment) -> str:
        if _COMMITMENT.fullmatch(text):
            return text
        for kind, pattern in self._patterns:
            text = pattern.sub(partial(_replaced, kind, commit), text)
        return text

    def _is_field(self, name: object) -> bool:
        if name in self._plain or type(name) is not str:
            return False
        lower = name.lower()
        if any(glob.matches(lower) for glob in self._fields):
            return True
        if len(self._plain) >= _NAMES_KNOWN_MAX:
            self._plain.clear()
        self._plain.add(name)
        return False

    def _has_field(self, todo: list[Any]) -> bool:
        plain = self._plain
        while todo:
            container = todo.pop()
            items = container
            if type(container) is dict:
                # All names are known to be none, nearly always: one comparison, in C.
                if not plain.issuperset(container) and any(map(self._is_field, container)):
                    return True
                items = container.values()
            if not _CONTAINERS.isdisjoint(map(type, items)):
                todo += [item for item in items if type(item) in _CONTAINERS]
        return False

    def _may_match(self, data: bytes) -> bool:
        if self._finds_email and b"@" in data:
            return True
        return self._finds_runs and _RUN in data.translate(_RUNS) and any(mark in data for mark in _MARKS)


def commitment(key: bytes, nonce: bytes, what: str, value: bytes) -> str:
    """What stands in the place of a value with these canonical bytes. `nonce`: fresh for each."""
    proof = hmac.digest(subkey(key, nonce), value, sha256).hex()
    return f"[redacted:{what}:{nonce.hex()}:{proof}]"


def subkey(key: bytes, nonce: bytes) -> bytes:
    """The key of one redaction: given to somebody, it lets them check that one and no other."""
    if len(key) != KEY_SIZE_BYTES or len(nonce) != NONCE_SIZE_BYTES:
        raise ValueError(f"key has {len(key)} bytes, want {KEY_SIZE_BYTES}; nonce {len(nonce)}, want 8")
    return hmac.digest(key, _KEY_LABEL + nonce, sha256)


def find_nonces(text: str) -> list[bytes]:
    """The nonces of the commitments in a text, in order."""
    return [bytes.fromhex(match[2]) for match in _COMMITMENT.finditer(text)]


def verify_commitment(text: str, value: Any, shown: bytes) -> None:
    """Raises HashMismatchError unless `value` is what the commitment `text` stands for.

    `shown`: the redaction's subkey, given by somebody who holds the key. Within a text the value is the
    text that was cut out; of a field it is the whole value.
    Raises MalformedEntryError unless `text` is one commitment.
    """
    match = _COMMITMENT.fullmatch(text)
    if match is None:
        raise MalformedEntryError(f"{text[:100]!r} is not a commitment", member="")
    found = hmac.digest(shown, canonical.encode(value), sha256).hex()
    if not hmac.compare_digest(found, match[3]):
        raise HashMismatchError("the value is not the one redacted", expected=match[3], found=found)


def _replaced(kind: str, commit: MakeCommitment, match: re.Match[str]) -> str:
    text = match[0]
    return commit(kind, canonical.encode(text)) if text else text


def _kind(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64]


def _is_worth_it(item: Any) -> bool:
    """False for null, true, false and what is empty, and for a commitment: they hide nothing."""
    if item is None or type(item) is bool or item in ("", [], {}):
        return False
    return type(item) is not str or _COMMITMENT.fullmatch(item) is None
