"""Bearer tokens: who may do what. A file holds their hashes, so that reading it lets nobody in.

    [[tokens]]
    name = "writer-1"
    scopes = ["replicate"]
    origin = "example.com/agents"
    sha256 = "…"

A token is 256 random bits, so its plain SHA-256 cannot be guessed back: no
salt and no slow hash are needed. The file is read again when it changes; a
token taken out of it is refused from the next request on.
"""

from __future__ import annotations

import hmac
import os
import pwd
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from attestlog._internal import disk
from attestlog._internal.core.entry import Hex64, parse_timestamp
from attestlog._internal.core.glob import Glob
from attestlog._internal.core.toml import format_toml, parse_toml
from attestlog.errors import (
    AttestlogError,
    BusyError,
    DeniedError,
    ExistsError,
    MalformedConfigError,
    NotFoundError,
)

TOKENS_FILE: Final = "tokens.toml"
LOCK_FILE: Final = "tokens.lock"
LOCK_WAIT_S: Final = 5.0
"""Whoever changes the tokens holds the lock for the writing of one file."""

TOKEN_SIZE_BYTES: Final = 32
TOKEN_LENGTH_MAX: Final = 256
"""Ours have 43 characters; a longer one is not worth hashing."""


class Scope(StrEnum):
    """What a token may be good for."""

    READ = "read"
    REPLICATE = "replicate"
    APPEND = "append"
    APPROVE = "approve"
    METRICS = "metrics"
    ADMIN = "admin"


class Token(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is kept of a token, or of a user of this machine who may come over a Unix socket without one."""

    name: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
    scopes: Annotated[list[Scope], Meta(min_length=1)]
    origin: str | None = None
    """The one log it is good for; None for every log."""
    action_types: list[Annotated[str, Meta(min_length=1, max_length=256)]] = []
    """Globs: only entries of such types may be appended; empty: of all."""
    actor_id: str | None = None
    """Only entries of this actor may be appended; None: of any."""
    expires: str | None = None
    """RFC 3339, UTC: refused from then on."""
    entries_per_minute: Annotated[int, Meta(ge=1)] | None = None
    bytes_per_minute: Annotated[int, Meta(ge=1)] | None = None
    sha256: Hex64 | None = None
    user: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    """A login name: who comes over the socket as this user needs no token."""

    def is_expired(self, now_us: int) -> bool:
        """Whether its time is over, by a clock in microseconds since 1970."""
        return self.expires is not None and parse_timestamp(self.expires) <= now_us


class _File(Struct, forbid_unknown_fields=True):
    tokens: list[Token] = []


def parse_tokens(text: str) -> list[Token]:
    """Raises MalformedConfigError."""
    tokens = parse_toml(text, _File, TOKENS_FILE).tokens
    if len({token.name for token in tokens}) != len(tokens):
        raise MalformedConfigError(f"{TOKENS_FILE}: two tokens have one name")
    users = [token.user for token in tokens if token.user is not None]
    if len(set(users)) != len(users):
        raise MalformedConfigError(f"{TOKENS_FILE}: a user stands in it twice")
    for token in tokens:
        if (token.sha256 is None) == (token.user is None):
            raise MalformedConfigError(f"{TOKENS_FILE}: {token.name}: want either a token's hash or a user")
        _check_limits(token)
    return tokens


def _check_limits(token: Token) -> None:
    """Raises MalformedConfigError for a time or a glob that nothing can be compared with."""
    try:
        if token.expires is not None:
            parse_timestamp(token.expires)
        for glob in token.action_types:
            Glob(glob)
    except AttestlogError as error:
        raise MalformedConfigError(f"{TOKENS_FILE}: {token.name}: {error}") from None


def format_tokens(tokens: list[Token]) -> str:
    """The file."""
    return format_toml({"tokens": msgspec.to_builtins(tokens) or None})


class TokenFile:
    """The tokens of one server's directory. Without a file there are none, and nobody is let in."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / TOKENS_FILE
        self._seen: tuple[int, int, int] | None = None
        self._tokens: list[Token] = []

    def tokens(self) -> list[Token]:
        """Those in force now. Raises MalformedConfigError or DeniedError: then nobody is let in either."""
        try:
            status = self.path.stat()
            seen = (status.st_ino, status.st_size, status.st_mtime_ns)
            if seen != self._seen:
                self._tokens, self._seen = parse_tokens(self._read()), seen
        except FileNotFoundError:
            self._tokens, self._seen = [], None
        except (OSError, UnicodeDecodeError) as error:
            raise DeniedError(f"{self.path} cannot be read: {error}", path=str(self.path)) from None
        return self._tokens

    def _read(self) -> str:
        with disk.open_plain(self.path) as file:
            return file.read().decode()

    def mint(self, name: str, scopes: list[Scope], origin: str | None = None, **bounds: Any) -> str:
        """A new token; its text is nowhere but in what this returns. `bounds`: further members of `Token`.

        Raises ExistsError for a name that is taken, MalformedConfigError.
        """
        text = secrets.token_urlsafe(TOKEN_SIZE_BYTES)
        self.add(Token(name=name, scopes=scopes, origin=origin, sha256=_hash(text), **bounds))
        return text

    def add(self, made: Token) -> None:
        """Add a token or a user. Raises ExistsError for a name that is taken, MalformedConfigError."""
        with self._alone() as kept:
            if any(token.name == made.name for token in kept):
                raise ExistsError(f"a token named {made.name!r} exists", name=made.name, what="token")
            # Checked by the same rules that the file is read by.
            self._replace(parse_tokens(format_tokens([*kept, made])))

    def revoke(self, name: str) -> None:
        """Raises NotFoundError where no token has this name."""
        with self._alone() as tokens:
            kept = [token for token in tokens if token.name != name]
            if len(kept) == len(tokens):
                raise NotFoundError(f"there is no token named {name!r}", name=name)
            self._replace(kept)

    def find(self, text: str) -> Token | None:
        """The token of this text, if there is one. Takes the same time for each that it is not."""
        digest = _hash(text[:TOKEN_LENGTH_MAX])
        found = None
        for token in self.tokens():
            if token.sha256 is not None and hmac.compare_digest(token.sha256, digest):
                found = token
        return found

    def find_user(self, uid: int) -> Token | None:
        """What the user of this number may do without a token."""
        named = [token for token in self.tokens() if token.user is not None]
        if not named:
            return None
        try:
            login = pwd.getpwuid(uid).pw_name
        except KeyError:
            return None
        return next((token for token in named if token.user == login), None)

    @contextmanager
    def _alone(self) -> Iterator[list[Token]]:
        """The tokens in force, while nobody else changes them. Raises BusyError.

        Else a token that is made could bring back one that is revoked meanwhile.
        """
        path = self.path.with_name(LOCK_FILE)
        try:
            disk.make_directories(path.parent)
            descriptor = disk.open_made(path, os.O_RDWR, 0o600)
        except OSError as error:
            raise disk.storage_error(error, path, "opening") from None
        try:
            if not disk.lock(descriptor, timeout_s=LOCK_WAIT_S):
                raise BusyError(f"{path} has been locked for {LOCK_WAIT_S:g} s", path=str(path))
            yield self.tokens()
        finally:
            os.close(descriptor)

    def _replace(self, tokens: list[Token]) -> None:
        try:
            disk.replace_file(self.path, format_tokens(tokens).encode(), 0o600)
        except OSError as error:
            raise disk.storage_error(error, self.path, "writing") from None


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
