"""A policy as people write it: TOML, with the members and paths of the policy object.

    policy = parse_policy_text(text)      # errors name the line, the member and the reason
    text = format_policy_text(policy)     # to be edited and read again: nothing is lost

What is convenient in a file is allowed here and nowhere else: members left out
have their defaults, keys may be lines of OpenSSH, `revoked` may be a date and
time of TOML with an offset.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any, Final

from attestlog._internal.core.convert import parse_path
from attestlog._internal.core.entry import format_timestamp
from attestlog._internal.core.policy import Policy, format_policy, parse_policy
from attestlog._internal.core.redaction import compile_patterns
from attestlog._internal.core.toml import format_toml_key, format_toml_value, load_toml, toml_statements
from attestlog.errors import MalformedPolicyError

POLICY_TEXT_SIZE_MAX_BYTES: Final = 2 << 20
"""A policy in canonical form has at most half of that; finding the line of an error stays quick."""

_AT: Final = re.compile(r"\(at line (\d+), column \d+\)")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAIN: Final = ("safety_floor", "floor_per_pillar")


def parse_policy_text(text: str) -> Policy:
    """The policy in the text. Raises MalformedPolicyError with `line` (from 1) and `member`."""
    if len(text) > POLICY_TEXT_SIZE_MAX_BYTES:
        raise MalformedPolicyError(
            f"policy file has {len(text)} characters, at most {POLICY_TEXT_SIZE_MAX_BYTES} are read",
            member="",
        )
    try:
        members = load_toml(text)
    except (ValueError, RecursionError) as error:
        match = _AT.search(str(error))
        at_end = text.count("\n") + (not text.endswith("\n"))
        line = int(match[1]) if match else at_end
        reason = _AT.sub("", str(error)).removesuffix("(at end of document)").strip() or "nested too deep"
        raise _located(f"not TOML: {reason[:1].lower()}{reason[1:]}", "", line) from None
    try:
        policy = parse_policy(_with_timestamps(members))
        compile_patterns(policy.redaction.custom_patterns)
    except MalformedPolicyError as error:
        place = _line_of(text, error.member)
        raise _located(error.message.removeprefix("policy: "), error.member, place) from None
    return policy


def format_policy_text(policy: Policy) -> str:
    """The policy as TOML, every member written out."""
    members = format_policy(policy)
    lines = [f"{name} = {format_toml_value(members.pop(name))}" for name in _MAIN]
    for name, value in members.items():
        tables = [(name,)] if name in {"weights", "redaction", "erasure"} else [(name, key) for key in value]
        for path in tables:
            lines += ["", f"[{format_toml_key(path)}]"]
            lines += _members(value if len(path) == 1 else value[path[1]])
    return "\n".join(lines) + "\n"


def _members(table: dict[str, Any]) -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, dict):
            for inner, item in value.items():
                yield f"{name}.{format_toml_key((inner,))} = {format_toml_value(item)}"
        elif value is not None:
            yield f"{name} = {format_toml_value(value)}"


def _with_timestamps(members: dict[str, Any]) -> dict[str, Any]:
    """`revoked` of an approver as an entry's timestamp, where it is a date and time of TOML."""
    approvers = members.get("approvers")
    if not isinstance(approvers, dict):
        return members
    return {**members, "approvers": {name: _with_timestamp(item) for name, item in approvers.items()}}


def _with_timestamp(approver: Any) -> Any:
    revoked = approver.get("revoked") if isinstance(approver, dict) else None
    if not isinstance(revoked, date):
        return approver
    if not isinstance(revoked, datetime) or revoked.tzinfo is None:
        return {**approver, "revoked": str(revoked)}  # no moment in time: refused, with its place
    elapsed = revoked - _EPOCH
    microseconds = (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
    return {**approver, "revoked": format_timestamp(microseconds)}


def _located(reason: str, member: str, line: int | None) -> MalformedPolicyError:
    if line is None:
        return MalformedPolicyError(f"policy: {reason}", member=member)
    return MalformedPolicyError(f"policy, line {line}: {reason}", member=member, line=line)


def _line_of(text: str, member: str) -> int | None:
    """The line on which the member's statement begins, or its nearest parent's; None: there is neither."""
    try:
        wanted = parse_path(member.partition("[")[0])
    except MalformedPolicyError:
        return None
    best, found = 0, None
    for line, path in _statements(text):
        common = next((n for n, (a, b) in enumerate(zip(wanted, path, strict=False)) if a != b), None)
        common = min(len(wanted), len(path)) if common is None else common
        if common > best:
            best, found = common, line
    return found


def _statements(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(line, path) of each table's heading and each key, of a text that is TOML."""
    table: tuple[str, ...] = ()
    for line, statement in toml_statements(text):
        path = _chain(tomllib.loads(statement))
        if statement.lstrip().startswith("["):
            table = path
            yield line, path
        elif path:
            yield line, table + path


def _chain(members: Any) -> tuple[str, ...]:
    path = []
    while isinstance(members, dict) and len(members) == 1:
        name, members = next(iter(members.items()))
        path.append(name)
    return tuple(path)
