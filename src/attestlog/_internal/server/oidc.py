"""Callers who show a JWT of an OpenID Connect issuer: whom the operator takes them for.

    [[issuers]]
    name = "ci"
    url = "https://issuer.example.com"
    audience = "attestlog"

    [[issuers.grants]]
    claims = { sub = "repo:acme/*" }
    scopes = ["append"]
    origin = "example.com/agents"
    actor_claim = "sub"

It stands in `issuers.toml`, in the service's directory, and is read when the service starts. A grant is good
for a token whose claims match all of its globs; the first such one counts. Keys come from the issuer's
`jwks_uri`, which must be on its own host, or from `keys_url`: over TLS, or plainly from this machine. Only
signatures with a public key count. What a JWT says beside the named claims decides nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from attestlog._internal import disk
from attestlog._internal.core.glob import Glob
from attestlog._internal.core.toml import parse_toml
from attestlog._internal.net import Client, Limits, NoAnswerError, parse_url, trusting
from attestlog._internal.server.tokens import Scope, Token
from attestlog.errors import (
    AttestlogError,
    MalformedConfigError,
    MissingExtraError,
    UnauthenticatedError,
)

if TYPE_CHECKING:
    import jwt

ISSUERS_FILE: Final = "issuers.toml"

ALGORITHMS: Final = ("ES256", "ES384", "ES512", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512")
"""No HMAC: its key would be a secret that the issuer shares with us; and never `none`."""

JWT_SIZE_MAX_BYTES: Final = 12 << 10
"""Heads of requests have 16 KiB."""

KEYS_SIZE_MAX_BYTES: Final = 1 << 20
KEYS_FRESH_S: Final = 60.0
"""After it they are asked for again: as soon as that a key that the issuer took back is refused."""

KEYS_KEPT_S: Final = 600.0
"""How long those known are used while the issuer does not answer."""

UNKNOWN_KEY_S: Final = 10.0
"""A key that is not known is asked for no more often: who makes up key ids must not keep us asking."""

LEEWAY_S: Final = 30
"""By how much the issuer's clock may differ from this one."""

SUBJECT_LENGTH_MAX: Final = 200
"""Characters of a subject that stand in the entry."""

_LIMITS: Final = Limits(3.0, 5.0, 10.0)


class Grant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a token may do whose claims match. Members as those of a token of our own."""

    claims: Annotated[dict[str, str], Meta(min_length=1)]
    """Name → glob: a text that matches, or a list with such a text in it."""
    scopes: Annotated[list[Scope], Meta(min_length=1)]
    origin: str | None = None
    action_types: list[Annotated[str, Meta(min_length=1, max_length=256)]] = []
    actor_id: str | None = None
    actor_claim: str | None = None
    """The claim whose text is the one actor of which entries may be appended."""
    entries_per_minute: Annotated[int, Meta(ge=1)] | None = None
    bytes_per_minute: Annotated[int, Meta(ge=1)] | None = None

    def matches(self, claims: dict[str, Any]) -> bool:
        """Whether all globs do."""
        return all(_matches(Glob(glob), claims.get(name)) for name, glob in self.claims.items())

    def token(self, name: str, claims: dict[str, Any]) -> Token:
        """As one of ours. Raises UnauthenticatedError where the claim of the actor is missing."""
        actor = self.actor_id
        if self.actor_claim is not None:
            actor = claims.get(self.actor_claim)
            if not isinstance(actor, str) or not actor:
                raise UnauthenticatedError(f"the token has no claim {self.actor_claim!r}")
        return Token(
            name=name, scopes=self.scopes, origin=self.origin, action_types=self.action_types, actor_id=actor,
            entries_per_minute=self.entries_per_minute, bytes_per_minute=self.bytes_per_minute,
        )  # fmt: skip


class IssuerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One issuer, as the operator names it."""

    name: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
    """In entries: `oidc:NAME:SUBJECT`."""
    url: str
    audience: Annotated[str, Meta(min_length=1)]
    keys_url: str | None = None
    ca_file: str | None = None
    grants: Annotated[list[Grant], Meta(min_length=1)]


class _File(Struct, forbid_unknown_fields=True):
    issuers: list[IssuerSettings] = []


class Issuers:
    """Those of one service. Threads may share it."""

    def __init__(self, settings: list[IssuerSettings], clock: Callable[[], float] = time.monotonic) -> None:
        """Raises MalformedConfigError, MissingExtraError."""
        self._issuers = {item.url: Issuer(item, clock) for item in settings}
        if len({item.name for item in settings}) < len(settings) or len(self._issuers) < len(settings):
            raise MalformedConfigError(f"{ISSUERS_FILE}: two issuers have one name or URL", member="issuers")

    @classmethod
    def read(cls, directory: Path) -> Issuers:
        """As `issuers.toml` says; without it there are none. Raises MalformedConfigError."""
        path = directory / ISSUERS_FILE
        try:
            text = disk.read_plain(path, KEYS_SIZE_MAX_BYTES).decode()
        except FileNotFoundError:
            return cls([])
        except (OSError, UnicodeDecodeError) as error:
            raise MalformedConfigError(f"{path} cannot be read: {error}", member="issuers") from None
        return cls(parse_toml(text, _File, ISSUERS_FILE).issuers)

    def authenticate(self, text: str) -> Token:
        """What a JWT is good for; its name is what entries call the caller. May ask the issuer.

        Raises UnauthenticatedError, also where the issuer's keys are not to be had.
        """
        import jwt

        if len(text) > JWT_SIZE_MAX_BYTES:
            raise UnauthenticatedError("the request's bearer token is too long")
        try:
            header = jwt.get_unverified_header(text)
            # Only to know whom to ask: nothing of it is used before its signature holds.
            claimed = jwt.decode(text, options={"verify_signature": False}).get("iss")
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise UnauthenticatedError("the request's bearer token is not one of this server's") from None
        issuer = self._issuers.get(claimed) if isinstance(claimed, str) else None
        if issuer is None:
            raise UnauthenticatedError("the request's bearer token is of no issuer that is known here")
        return issuer.token(text, header.get("kid"))


def is_jwt(text: str) -> bool:
    """Whether a bearer token looks like one: ours have no dot."""
    return text.count(".") == 2


class Issuer:
    """One issuer, and its keys as they were last seen."""

    def __init__(self, settings: IssuerSettings, clock: Callable[[], float]) -> None:
        """Raises MalformedConfigError, MissingExtraError."""
        try:
            import jwt  # noqa: F401
        except ImportError:
            raise MissingExtraError(
                "tokens of issuers need the extra 'server', which is not installed", extra="server"
            ) from None
        self._settings, self._clock = settings, clock
        self._tls = None if settings.ca_file is None else trusting(settings.ca_file)
        for url in (settings.url, settings.keys_url):
            if url is not None:
                parse_url(url, what=f"{ISSUERS_FILE}: the issuer's URL", is_base=url is settings.url)
        for grant in settings.grants:
            for glob in (*grant.claims.values(), *grant.action_types):
                _check_glob(glob)
        self._lock = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked_at = self._seen_at = -KEYS_KEPT_S

    def token(self, text: str, key_id: object) -> Token:
        """See `Issuers.authenticate`."""
        import jwt

        key = self._key(key_id if isinstance(key_id, str) else "")
        if key is None:
            raise UnauthenticatedError("the request's bearer token is signed with no key of its issuer")
        try:
            claims = jwt.decode(
                text, key, algorithms=ALGORITHMS, audience=self._settings.audience, issuer=self._settings.url,
                leeway=LEEWAY_S, options={"require": ["exp", "iss", "aud", "sub"]},
            )  # fmt: skip
        except (jwt.PyJWTError, ValueError) as error:
            raise UnauthenticatedError(f"the request's bearer token does not hold: {error}") from None
        subject = quote(str(claims["sub"]), safe=":/@._-")[:SUBJECT_LENGTH_MAX]
        name = f"oidc:{self._settings.name}:{subject}"
        for grant in self._settings.grants:
            if grant.matches(claims):
                return grant.token(name, claims)
        raise UnauthenticatedError(f"{name!r} may do nothing here")

    def _key(self, key_id: str) -> jwt.PyJWK | None:
        with self._lock:
            now = self._clock()
            wait_s = KEYS_FRESH_S if key_id in self._keys else UNKNOWN_KEY_S
            if now - self._asked_at >= wait_s:
                self._asked_at = now
                try:
                    self._keys, self._seen_at = self._fetch(), now
                except (NoAnswerError, AttestlogError) as error:
                    if now - self._seen_at >= KEYS_KEPT_S:
                        self._keys = {}
                        raise UnauthenticatedError(
                            f"the keys of the issuer {self._settings.name!r} cannot be had: it {error}"
                        ) from None
            if now - self._seen_at >= KEYS_KEPT_S:
                raise UnauthenticatedError(f"the keys of the issuer {self._settings.name!r} are too old")
            return self._keys.get(key_id)

    def _fetch(self) -> dict[str, jwt.PyJWK]:
        """Raises NoAnswerError, MalformedConfigError."""
        import jwt

        where = self._settings.keys_url
        if where is None:
            told = self._ask(self._settings.url, ".well-known/openid-configuration")
            where = told.get("jwks_uri")
            if told.get("issuer") != self._settings.url or not isinstance(where, str):
                raise MalformedConfigError("its configuration is of another issuer", member="issuer")
            own, other = parse_url(self._settings.url), parse_url(where, is_base=False)
            if (own.scheme, own.netloc) != (other.scheme, other.netloc):
                raise MalformedConfigError(
                    "its keys are on another host: name it as keys_url", member="jwks_uri"
                )
        try:
            keys = jwt.PyJWKSet.from_dict(self._ask(where, "")).keys
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise MalformedConfigError(f"no keys came: {error}", member="keys") from None
        return {key.key_id or "": key for key in keys if key.public_key_use in {None, "sig"}}

    def _ask(self, url: str, path: str) -> dict[str, Any]:
        client = Client(parse_url(url, is_base=bool(path)), _LIMITS, tls=self._tls)
        try:
            answer = client.ask("GET", path, KEYS_SIZE_MAX_BYTES)
        finally:
            client.close()
        try:
            told = msgspec.json.decode(answer.content, type=dict[str, Any])
        except msgspec.DecodeError:
            told = None
        if answer.status != 200 or told is None:
            raise MalformedConfigError(f"{answer.status}, and no JSON object, came", member="keys")
        return told


def _matches(glob: Glob, value: object) -> bool:
    if isinstance(value, list):
        return any(isinstance(item, str) and glob.matches(item) for item in value)
    return isinstance(value, str) and glob.matches(value)


def _check_glob(text: str) -> None:
    try:
        Glob(text)
    except AttestlogError as error:
        raise MalformedConfigError(f"{ISSUERS_FILE}: {error}", member="grants") from None
