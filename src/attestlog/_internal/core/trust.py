"""Trust policies: C2SP tlog-policy. Whose signatures make a checkpoint good: logs, witnesses, a quorum.

    log <vkey> [<url>]
    witness <name> <vkey> [<url>]
    group <name> all|any|<k> <member>…
    quorum <name>|none

A policy file is written by hand, so white space and comments are free; what is
parsed has one spelling of its own (`format_trust_policy`). Names are bytes that mean
nothing outside the file: here they are text with undecodable bytes kept as
surrogates. This is not governance: what a log's writer may do stands in `policy`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from attestlog._internal.core.cosignature import Signed, SignedCheckpoint, open_signed_checkpoint
from attestlog._internal.core.note import (
    COSIGNATURE_ED25519,
    COSIGNATURE_ML_DSA_44,
    VerifierKey,
    format_vkey,
    parse_vkey,
)
from attestlog.errors import MalformedNoteError, MalformedTrustError, QuorumError, TrustError

TRUST_SIZE_MAX_BYTES: Final = 1 << 20
"""Hundreds of post-quantum keys fit; a hostile file must not take long to parse."""

NO_QUORUM: Final = "none"
"""The quorum that needs nobody. No witness and no group is called so."""

WITNESS_KINDS: Final = (COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44)
"""A witness cosigns; a plain signature over the note (type 01) is a log's."""

_SPACE: Final = re.compile(r"[ \t]+")
_THRESHOLD: Final = re.compile(r"[1-9][0-9]{0,6}")
_BAD_BYTE: Final = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class TrustedLog:
    """A log whose checkpoints count. Its key's name is its origin."""

    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class TrustedWitness:
    """A cosigner, and what the policy calls it."""

    name: str
    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """It has witnessed what `threshold` of its members have."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """A parsed policy. Groups stand after the groups they name."""

    logs: tuple[TrustedLog, ...] = ()
    witnesses: tuple[TrustedWitness, ...] = ()
    groups: tuple[Group, ...] = ()
    quorum: str = NO_QUORUM


@dataclass(frozen=True, slots=True)
class TrustedCheckpoint:
    """A checkpoint that a policy accepts, and why."""

    signed: SignedCheckpoint
    logs: tuple[Signed, ...]
    """Signatures of the log itself: by keys of the policy named as the checkpoint's origin."""
    witnesses: tuple[tuple[str, Signed], ...]
    """Cosignatures: the witness's name in the policy, and what it signed."""


def parse_trust_policy(data: bytes) -> TrustPolicy:
    """Raises MalformedTrustError, with `line` (from 1) where one line is at fault."""
    if len(data) > TRUST_SIZE_MAX_BYTES:
        raise MalformedTrustError(
            f"trust policy has {len(data)} bytes, at most {TRUST_SIZE_MAX_BYTES} are read"
        )
    if bad := _BAD_BYTE.search(data):
        raise MalformedTrustError(f"byte {bad.start()} is a control character")
    if data and not data.endswith(b"\n"):
        raise MalformedTrustError("the last line does not end")
    reader = _Reader()
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), 1):
        items = _SPACE.split(line.strip(" \t"))
        if not items[0] or items[0].startswith("#"):
            continue
        try:
            reader.add(items)
        except (MalformedTrustError, MalformedNoteError) as error:
            raise MalformedTrustError(f"line {number}: {error}", line=number) from None
    return reader.parsed()


class _Reader:
    """What the lines read so far define."""

    def __init__(self) -> None:
        self._logs: list[TrustedLog] = []
        self._witnesses: list[TrustedWitness] = []
        self._groups: list[Group] = []
        self._quorum: str | None = None
        self._public_keys: set[tuple[str, bytes]] = set()
        self._is_free: dict[str, bool] = {}
        """Each name defined so far, and whether it is a member of no group yet."""

    def add(self, items: list[str]) -> None:
        keyword, *rest = items
        match keyword, rest:
            case "log", [vkey, *url] if len(url) < 2:
                self._logs.append(TrustedLog(parse_vkey(vkey), *url))
                self._check_new("log", self._logs[-1].key)
            case "witness", [name, vkey, *url] if len(url) < 2:
                self._define(name)
                self._witnesses.append(TrustedWitness(name, parse_vkey(vkey), *url))
                self._check_witnesses()
            case "group", [name, threshold, *members] if members:
                self._add_group(name, threshold, members)
            case "quorum", [name]:
                if self._quorum is not None:
                    raise MalformedTrustError("a second quorum")
                if name != NO_QUORUM and name not in self._is_free:
                    raise MalformedTrustError(f"{name!r} is not defined above")
                self._quorum = name
            case (("log" | "witness" | "group" | "quorum"), _):
                raise MalformedTrustError(f"{keyword} with {len(rest)} items after it")
            case _:
                raise MalformedTrustError(f"{keyword[:40]!r} is not log, witness, group or quorum")

    def parsed(self) -> TrustPolicy:
        if self._quorum is None:
            raise MalformedTrustError("there is no quorum")
        return TrustPolicy(tuple(self._logs), tuple(self._witnesses), tuple(self._groups), self._quorum)

    def _check_witnesses(self) -> None:
        kind = self._witnesses[-1].key.kind
        if kind not in WITNESS_KINDS:
            raise MalformedTrustError(f"a witness has a key of type 04 or 06, not {kind:02x}")
        self._check_new("witness", self._witnesses[-1].key)

    def _add_group(self, name: str, threshold: str, members: list[str]) -> None:
        for member in members:
            if member not in self._is_free:
                raise MalformedTrustError(f"{member!r} is not defined above")
            if not self._is_free[member]:
                raise MalformedTrustError(f"{member!r} is a member twice")
            self._is_free[member] = False
        counts = {"all": len(members), "any": 1}
        if threshold not in counts and not _THRESHOLD.fullmatch(threshold):
            raise MalformedTrustError(f"{threshold[:40]!r} is not all, any or a number")
        count = counts.get(threshold) or int(threshold)
        if count > len(members):
            raise MalformedTrustError(f"{count} of {len(members)} members")
        self._define(name)
        self._groups.append(Group(name, count, tuple(members)))

    def _check_new(self, what: str, key: VerifierKey) -> None:
        """The same public key under another name or type is the same witness, or the same log."""
        if (what, key.public_key) in self._public_keys:
            raise MalformedTrustError(f"another {what} has the same public key")
        self._public_keys.add((what, key.public_key))

    def _define(self, name: str) -> None:
        if name == NO_QUORUM or name in self._is_free:
            raise MalformedTrustError(f"{name!r} is defined already")
        self._is_free[name] = True


def format_trust_policy(trust_policy: TrustPolicy) -> bytes:
    """The policy in one spelling: logs, witnesses, groups, quorum; thresholds in numbers."""
    lines = [_line("log", format_vkey(log.key), log.url) for log in trust_policy.logs]
    lines += [
        _line("witness", witness.name, format_vkey(witness.key), witness.url)
        for witness in trust_policy.witnesses
    ]
    lines += [
        _line("group", group.name, str(group.threshold), *group.members) for group in trust_policy.groups
    ]
    lines.append(_line("quorum", trust_policy.quorum))
    return "".join(lines).encode("utf-8", "surrogateescape")


def _line(*items: str | None) -> str:
    return " ".join(item for item in items if item is not None) + "\n"


# --- judging checkpoints ---


def open_trusted_checkpoint(
    data: bytes, trust_policy: TrustPolicy, log_keys: Iterable[VerifierKey] = ()
) -> TrustedCheckpoint:
    """Parse and verify: a log of the policy signed, and its quorum cosigned.

    `log_keys`: logs known from elsewhere, beside those of the policy. Timestamps are
    handed on, not judged. Raises MalformedNoteError, MalformedCheckpointError,
    MissingExtraError; SignatureInvalidError if a line by a known key is bad; TrustError
    with `have` (who signed: names of witnesses, or keys) and `need` (what is lacking); QuorumError
    where only the quorum is not met.
    """
    logs = [*(log.key for log in trust_policy.logs), *log_keys]
    names = {witness.key: witness.name for witness in trust_policy.witnesses}
    need = [f"log {format_vkey(key)}" for key in logs]
    try:
        signed = open_signed_checkpoint(data, [*logs, *names])
    except TrustError as error:
        message = "no log that is trusted signed the checkpoint"
        raise TrustError(message, have=error.found, need=need) from None
    origin = signed.checkpoint.origin
    by_log = tuple(item for item in signed.signatures if item.key in logs and item.key.name == origin)
    if not by_log:
        raise TrustError(
            f"no log that is trusted signed the checkpoint of {origin!r}",
            have=[format_vkey(item.key) for item in signed.signatures], need=need,
        )  # fmt: skip
    cosigned = tuple((names[item.key], item) for item in signed.signatures if item.key in names)
    verify_quorum(trust_policy, [name for name, _ in cosigned])
    return TrustedCheckpoint(signed, by_log, cosigned)


def verify_quorum(trust_policy: TrustPolicy, have: Collection[str]) -> None:
    """Raises QuorumError unless witnesses of these names make the policy's quorum.

    `have`: their names; `need`: one line for each witness or group that is lacking; `quorum`: its name.
    """
    if trust_policy.quorum == NO_QUORUM:
        return
    met = set(have) & {witness.name for witness in trust_policy.witnesses}
    for group in trust_policy.groups:
        if len(met.intersection(group.members)) >= group.threshold:
            met.add(group.name)
    if trust_policy.quorum not in met:
        need = list(_lacking(trust_policy, met))
        raise QuorumError(
            f"the quorum {trust_policy.quorum!r} has not cosigned: {need[0]}",
            have=sorted(set(have)), need=need, quorum=trust_policy.quorum,
        )  # fmt: skip


def _lacking(trust_policy: TrustPolicy, met: set[str]) -> Iterator[str]:
    """From the quorum down, what would have to cosign and did not."""
    groups = {group.name: group for group in trust_policy.groups}
    waiting = [trust_policy.quorum]
    while waiting:
        name = waiting.pop(0)
        if name in met:
            continue
        if name not in groups:
            yield f"witness {name}"
            continue
        group = groups[name]
        count = len(met.intersection(group.members))
        yield f"group {name}: {group.threshold} of {' '.join(group.members)}, {count} cosigned"
        waiting += [member for member in group.members if member in groups]
