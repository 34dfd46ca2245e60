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
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from hashlib import sha256
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec

from attestlog._internal.core import canonical
from attestlog._internal.core.convert import format_path
from attestlog._internal.core.entry import EntryDraft
from attestlog._internal.core.glob import Glob
from attestlog._internal.core.pattern import Pattern, PatternError
from attestlog._internal.core.policy import Redaction
from attestlog._internal.core.reserved import KEPT
from attestlog._internal.core.secrets import (
    AMBIGUOUS_FIELDS,
    ASSIGNED,
    ASSIGNING,
    HEADER_VALUE,
    PAIR_VALUES,
    PATTERN_SOURCES,
    fold_name,
    is_placeholder,
    is_plain_token,
    looks_secret,
    may_hold_shape,
    name_ends,
    names_given,
    pair_of,
    without_number,
)
from attestlog.errors import HashMismatchError, MalformedEntryError, MalformedPolicyError

KEY_SIZE_BYTES: Final = 32
NONCE_SIZE_BYTES: Final = 8
"""Tells the redactions of one log apart, so that equal values do not look equal."""

REDACTED_MEMBERS: Final = (
    "action_payload", "actor_context", "environment", "error_details", "result_data", "system_state_snapshot",
)  # fmt: skip

_COMMITMENT: Final = re.compile(r"\[redacted:([A-Za-z0-9_-]{1,64}):([0-9a-f]{16}):([0-9a-f]{64})\]")
_COMMITMENT_MARK: Final = "[redacted:"
_KEY_LABEL: Final = b"attestlog/redaction/v1\n"
_PLAIN, _AMBIGUOUS, _SECRET = 0, 1, 2
_CONTAINERS: Final = frozenset({dict, list, tuple})
_members: Final = attrgetter(*REDACTED_MEMBERS)
_NAMES_KNOWN_MAX: Final = 4_096
"""Names whose answer is kept: a log that makes up names must not fill memory."""


class Redacted(NamedTuple):
    """One thing that an entry holds a commitment for."""

    member: str
    """Where, as `action_payload.headers[2]`."""
    kind: str
    """`field`, or the pattern that found it."""


MakeCommitment = Callable[[str, bytes], str]
"""What is to stand in a value's place, given what it is and its canonical bytes."""


class Redactor:
    """What a policy's `redaction` asks for, compiled. Made once a policy; safe to share between threads."""

    def __init__(self, redaction: Redaction) -> None:
        """Raises MalformedPolicyError for a custom pattern that is not of `core.pattern`'s language."""
        self._enabled = redaction.enabled
        self._fields = [
            (Glob(glob.lower()), Glob(fold_name(glob)), glob in AMBIGUOUS_FIELDS) for glob in redaction.fields
        ]
        self._plain: set[str] = set()
        """Names known to be no secret's."""
        self._finds_email = "email" in redaction.patterns
        self._finds_shapes = len(redaction.patterns) > self._finds_email
        self._custom = compile_patterns(redaction.custom_patterns)
        self._patterns = [
            (name, re.compile(source))
            for name, source in PATTERN_SOURCES.items()
            if name in set[str](redaction.patterns)
        ]
        self._name_ends = name_ends(redaction.fields)
        self._given: set[bytes] = set()
        """Names in texts known to be no secret's."""

    def suspects(self, draft: EntryDraft, spelled: Iterable[bytes | msgspec.Raw]) -> bool:
        """The quick question, asked of every entry: whether `redact` may have something to do.

        `spelled`: the canonical bytes of its members. False is sure.
        """
        # With another payload, a change of the rules, or the intent to make it, would be of something else.
        if not self._enabled or draft.action_type in KEPT:
            return False
        return self._may_match(b" ".join(spelled)) or self._has_field(
            [member for member in _members(draft) if member]
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
        todo: list[tuple[Any, bool]] = [(top, False)]
        while todo:
            container, is_ambiguous = todo.pop()
            named = self._named_within(container)
            places = container.items() if type(container) is dict else enumerate(container)
            for place, item in list(places):
                kind = type(item)
                field = named.get(place, _AMBIGUOUS if is_ambiguous else _PLAIN)
                if field == _SECRET and _is_worth_it(item):
                    container[place] = commit("field", canonical.encode(item))
                elif kind is str:
                    if field == _AMBIGUOUS and looks_secret(item) and _is_worth_it(item):
                        container[place] = commit("field", canonical.encode(item))
                    else:
                        container[place] = self._redact_text(item, commit)
                elif kind in _CONTAINERS:
                    inner = self._renamed(item, commit) if kind is dict else list(item)
                    container[place] = inner
                    todo.append((inner, field == _AMBIGUOUS))
        return top[0]

    def _named_within(self, container: Any) -> dict[Any, int]:
        """What the items of a container are called, as far as it is a secret's name: by place."""
        if type(container) is dict:
            named = {name: kind for name in container if (kind := self._kind_of(name))}
            pair = pair_of(container)
            if pair is not None and (kind := self._kind_of(pair[0])):
                named[pair[1]] = max(kind, named.get(pair[1], _PLAIN))
            return named
        if len(container) == 2 and type(container[0]) is type(container[1]) is str:
            # A pair such as a header. Two names of a list of names are no pair: the second looks like one.
            kind = self._kind_of(container[0])
            if kind and looks_secret(container[1]) and not container[1].replace("_", "").isalpha():
                return {1: kind}
        return {}

    def _renamed(self, members: dict[Any, Any], commit: MakeCommitment) -> dict[Any, Any]:
        return {
            self._redact_text(name, commit) if type(name) is str else name: item
            for name, item in members.items()
        }

    def _redact_text(self, text: str, commit: MakeCommitment) -> str:
        """Part by part: what one look has replaced is nothing that the next one sees."""
        parts = _without_commitments(text)
        for kind, pattern in self._patterns:
            parts = _replace(parts, partial(_matches, kind, pattern), commit)
        parts = _replace(parts, self._assigned, commit)
        for kind, own in self._custom:
            parts = _replace(parts, partial(_spans, kind, own), commit)
        return "".join(part for part, _ in parts)

    def _assigned(self, text: str) -> Iterator[Found]:
        """Values that the text gives to a secret's name, as in `password=x` and in JSON within a string."""
        if not self._fields:
            return
        stop = 0
        for match in ASSIGNING.finditer(text):
            name = match[1] or match[3]
            kind = self._kind_of(name) if match.start() >= stop else _PLAIN
            is_header = bool(kind) and ":" in (match[2] or "") and fold_name(name).endswith("cookie")
            value = (HEADER_VALUE if is_header else ASSIGNED).match(text, match.end()) if kind else None
            if value is not None:
                group = value.lastindex or 0
                if _is_given(value[group], kind, is_quoted=group < _UNQUOTED, joined=match[2]):
                    stop = value.end(group)
                    yield value.start(group), stop, "field"

    def _kind_of(self, name: object) -> int:
        """Whether values of this name are secrets: `_PLAIN`, `_AMBIGUOUS` or `_SECRET`."""
        if name in self._plain or type(name) is not str:
            return _PLAIN
        lower, folded = name.lower(), fold_name(name)
        bare = without_number(folded)
        found = _PLAIN
        for plain, folding, is_ambiguous in self._fields:
            if found < (_AMBIGUOUS if is_ambiguous else _SECRET) and (
                plain.matches(lower) or folding.matches(folded) or folding.matches(bare)
            ):
                found = _AMBIGUOUS if is_ambiguous else _SECRET
        if found == _AMBIGUOUS and is_plain_token(bare):
            found = _PLAIN
        if not found and name not in PAIR_VALUES:
            if len(self._plain) >= _NAMES_KNOWN_MAX:
                self._plain.clear()
            self._plain.add(name)
        return found

    def _has_field(self, todo: list[Any]) -> bool:
        plain = self._plain
        while todo:
            container = todo.pop()
            items = container
            if type(container) is not dict:
                if len(container) == 2 and self._names_secret(container):
                    return True
            else:
                # All names are known to be none, nearly always: one comparison, in C.
                if not plain.issuperset(container) and self._names_secret(container):
                    return True
                items = container.values()
            if not _CONTAINERS.isdisjoint(map(type, items)):
                todo += [item for item in items if type(item) in _CONTAINERS]
        return False

    def _names_secret(self, container: Any) -> bool:
        return any(
            (kind == _SECRET and _is_worth_it(container[place]))
            or (type(container[place]) is str and looks_secret(container[place]))
            or type(container[place]) in _CONTAINERS
            for place, kind in self._named_within(container).items()
        )

    def _may_match(self, data: bytes) -> bool:
        if self._finds_email and b"@" in data:
            return True
        if self._finds_shapes and may_hold_shape(data):
            return True
        if self._fields and self._gives_secret(data):
            return True
        return any(pattern.may_match(data) for _, pattern in self._custom)

    def _gives_secret(self, data: bytes) -> bool:
        """Whether a string within canonical JSON gives a value to a secret's name."""
        names = set(names_given(data, self._name_ends))
        if names <= self._given:
            return False
        for name in names - self._given:
            if self._kind_of(name.decode("utf-8", "replace")):
                return True
        if len(self._given) + len(names) > _NAMES_KNOWN_MAX:
            self._given.clear()
        self._given |= names
        return False


Found = tuple[int, int, str]
"""(start, stop, kind) of a secret in a text."""

Part = tuple[str, bool]
"""A part of a text, and whether it is a commitment."""

_UNQUOTED: Final = 5
"""The group of `ASSIGNED` that stands in no quotes."""


def compile_patterns(patterns: Mapping[str, str]) -> list[tuple[str, Pattern]]:
    """(kind, pattern) of each custom pattern. Raises MalformedPolicyError, with its path."""
    found = []
    for name, source in patterns.items():
        try:
            found.append((_kind(name), Pattern(source)))
        except PatternError as error:
            path = format_path(("redaction", "custom_patterns", name))
            raise MalformedPolicyError(f"policy: {path}: not a pattern: {error}", member=path) from None
    return found


def _matches(kind: str, pattern: re.Pattern[str], text: str) -> Iterator[Found]:
    for match in pattern.finditer(text):
        start, stop = match.span(match.lastindex or 0)
        yield start, stop, kind


def _spans(kind: str, pattern: Pattern, text: str) -> Iterator[Found]:
    for start, stop in pattern.spans(text):
        yield start, stop, kind


def _without_commitments(text: str) -> list[Part]:
    """What was redacted before, in an approved request say, stays as it is."""
    parts, place = [], 0
    if _COMMITMENT_MARK in text:
        for match in _COMMITMENT.finditer(text):
            parts += [(text[place : match.start()], False), (match[0], True)]
            place = match.end()
    return [*parts, (text[place:], False)]


def _replace(parts: list[Part], find: Callable[[str], Iterator[Found]], commit: MakeCommitment) -> list[Part]:
    out: list[Part] = []
    for text, is_done in parts:
        place = 0
        for start, stop, kind in () if is_done else find(text):
            if start < stop:
                out += [(text[place:start], False), (commit(kind, canonical.encode(text[start:stop])), True)]
                place = stop
        out.append((text[place:], is_done))
    return out


def _is_given(text: str, kind: int, *, is_quoted: bool, joined: str | None) -> bool:
    """Whether this is a secret given to a name in a text, and no word of a sentence after a colon."""
    if not text or is_placeholder(text):
        return False
    if kind == _AMBIGUOUS and not looks_secret(text):
        return False
    return is_quoted or (joined or "=").strip() in {"=", ":="} or not text.isalpha()


def redactions(line: bytes) -> list[Redacted]:
    """What stands as a commitment in the members of a stored line that redaction reads, in their order."""
    if _COMMITMENT_MARK.encode() not in line:
        return []
    found: list[Redacted] = []
    members = msgspec.json.decode(line, type=dict[str, Any])
    todo: list[tuple[str, Any]] = [(name, members.get(name)) for name in reversed(REDACTED_MEMBERS)]
    while todo:
        path, value = todo.pop()
        if type(value) is str:
            found += [Redacted(path, match[1]) for match in _COMMITMENT.finditer(value)]
        elif type(value) is dict:
            inner: list[tuple[str, Any]] = []
            for name, item in value.items():
                found += [Redacted(path, match[1]) for match in _COMMITMENT.finditer(name)]
                inner.append((f"{path}.{format_path((name,))}", item))
            todo += reversed(inner)
        elif type(value) is list:
            todo += [(f"{path}[{index}]", item) for index, item in enumerate(value)][::-1]
    return found


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


def _kind(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64]


def _is_worth_it(item: Any) -> bool:
    """False for null, true, false and what is empty, and for a commitment: they hide nothing."""
    if item is None or type(item) is bool or item in ("", [], {}):
        return False
    return type(item) is not str or _COMMITMENT.fullmatch(item) is None
