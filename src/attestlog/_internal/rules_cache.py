"""Rules that were in force at one place of a log, kept in this user's cache, so as not to be read again.

A state of the rules, and the pointers of the entries that stand under it. It is believed only where those
pointers are met on the way that a log's own entries lead (`in_force`); nothing else in it is compared: who
can write this user's cache can write this user's keys. So a file that somebody else can write is left alone.

It is not part of the log, and lost without harm: then the way is walked to its end, which says the same. One
file a log, found by its genesis hash, and one beside it where legal holds were read. Specified in
docs/spec/rules.md.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from attestlog._internal import disk
from attestlog._internal.core.entry import EntryRef
from attestlog._internal.core.pointer import Pointers
from attestlog._internal.core.policy import format_policy, parse_policy
from attestlog._internal.core.rules import Hold, Rules, Term
from attestlog._internal.core.signature import load_public_key
from attestlog._internal.places import rules_dir
from attestlog._internal.version import VERSION
from attestlog.errors import MalformedError, NoHomeError

STATE_SIZE_MAX_BYTES: Final = 16 << 20
"""A policy of 1 MiB, 10,000 keys that ever were and 1,000 holds take 5 MB."""

_FORMAT: Final = f"attestlog/rules/v1 {VERSION}"
"""Another version may judge changes otherwise: it walks the whole way itself."""


class _State(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `Rules`, in what JSON has."""

    format: str
    origin: str
    genesis_hash: str
    pointers: Pointers
    start: int
    keys: list[str]
    policy: dict[str, Any]
    policy_by: EntryRef
    terms: dict[str, Term]
    holds: dict[str, Hold] | None
    placed_by: dict[str, EntryRef]


def load_rules(start: Rules, *, with_holds: bool) -> Rules | None:
    """Rules of the log that begins with `start`, from some place of it; None where none can be used.

    `with_holds`: the legal holds in force there must be among them.
    """
    try:
        state = msgspec.json.decode(_read(_path(start, with_holds)), type=_State)
        keys = [load_public_key(pem.encode()) for pem in state.keys]
        policy = parse_policy(state.policy)
    except (OSError, NoHomeError, MalformedError, msgspec.DecodeError, UnicodeError):
        return None
    if (state.format, state.origin, state.genesis_hash) != (_FORMAT, start.origin, start.genesis_hash):
        return None
    if with_holds and state.holds is None:
        return None
    return Rules(
        state.origin, {key.key_id: key for key in keys}, policy, state.terms, state.start, state.holds,
        state.genesis_hash, state.pointers, state.placed_by, state.policy_by,
    )  # fmt: skip


def save_rules(rules: Rules, *, with_holds: bool) -> None:
    """Keep these instead of those kept before. Where that fails, nothing is kept."""
    state = _State(
        format=_FORMAT, origin=rules.origin, genesis_hash=rules.genesis_hash, pointers=rules.pointers,
        start=rules.start, keys=[key.pem for key in rules.keys.values()], policy=format_policy(rules.policy),
        policy_by=rules.policy_by, terms=rules.terms, holds=rules.read_holds, placed_by=rules.placed_by,
    )  # fmt: skip
    with contextlib.suppress(OSError, NoHomeError):
        path = _path(rules, with_holds)
        disk.make_directories(path.parent, 0o700)
        # A crash here leaves the old file, or one cut short, which is not decoded.
        disk.replace_file(path, msgspec.json.encode(state), 0o600, durable=False)


def _path(rules: Rules, with_holds: bool) -> Path:
    return rules_dir() / f"{rules.genesis_hash}{'-holds' if with_holds else ''}.json"


def _read(path: Path) -> bytes:
    """Raises OSError for what is no plain file of this user's own, written by them alone."""
    with disk.open_plain(path) as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(f"{path} can be written by others")
        data = file.read(STATE_SIZE_MAX_BYTES + 1)
    return data if len(data) <= STATE_SIZE_MAX_BYTES else b""
