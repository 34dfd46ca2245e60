"""Who may: the bearer token of a request against the scope that a route asks for.

Without a token nothing is read or written. What the C2SP formats call public
can be opened to everybody, on purpose and by name (`is_public`).
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from litestar import Litestar, Request, Response, get
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler

from attestlog._internal.core.entry import encode_member
from attestlog._internal.server.access import AccessLog
from attestlog._internal.server.oidc import Issuers, is_jwt
from attestlog._internal.server.running import Peer
from attestlog._internal.server.statuses import status
from attestlog._internal.server.tokens import Scope, Token, TokenFile
from attestlog.errors import AttestlogError, ForbiddenError, RateLimitError, UnauthenticatedError

_SCHEME: Final = "bearer "

_TOLD: Final = frozenset({
    "known_size", "sequence_number", "finding", "size_bytes_max", "ours", "theirs", "member", "retryable",
    "committed", "entry_ids", "request_id", "used_by", "need", "reason", "sequence_numbers", "size_bytes",
    "checkpoint_size", "retry_after_s", "rule", "holds",
})  # fmt: skip
"""The evidence that is the other side's affair. The rest, such as paths, is this server's own."""

RouteGuard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]


def new_app(routes: list[Any], tokens: TokenFile | None = None, **state: Any) -> Litestar:
    """An app as every role has it: no pages of the framework's, errors as problems (RFC 9457), tokens.

    `/healthz` says that it answers. Each request goes to the logger `attestlog.access`.
    """
    app = Litestar(
        route_handlers=[show_health, *routes], openapi_config=None, logging_config=None,
        request_max_body_size=None, middleware=[AccessLog],
        exception_handlers={AttestlogError: answer_error, HTTPException: _answer_theirs},
    )  # fmt: skip
    app.state.update({"tokens": tokens, **state})
    return app


@get("/healthz")
async def show_health() -> dict[str, str]:
    """That the server answers; nothing of what it holds."""
    return {"status": "ok"}


def needs(*scopes: Scope, is_public: bool = False) -> RouteGuard:
    """A guard that lets pass who may do one of these, or everything (`admin`): by a token, or as a user.

    It looks in the event loop, at one small file: a thread for it might have to wait until others have done
    their work. Only for a JWT, whose issuer may have to be asked for its keys, it takes one.
    """

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        if is_public:
            return
        token, peer = await _authenticate(connection)
        connection.state["peer_name"] = peer
        if not {*scopes, Scope.ADMIN} & set(token.scopes):
            raise ForbiddenError(
                f"{token.name!r} is good for {', '.join(token.scopes)}, want {scopes[0]}", need=scopes[0]
            )
        connection.state["token"] = token

    return guard


def check_origin_allowed(request: Request[Any, Any, Any], origin: str) -> None:
    """Raises ForbiddenError where the request's token is good for another log only."""
    token: Token | None = request.state.get("token")
    if token is not None and token.origin not in (None, origin):
        raise ForbiddenError(f"the token {token.name!r} is not good for {origin!r}", origin=origin)


async def _authenticate(connection: ASGIConnection[Any, Any, Any, Any]) -> tuple[Token, str]:
    """What the caller may do, and who they are, as an entry says it. Raises UnauthenticatedError."""
    header = connection.headers.get("authorization", "")
    tokens: TokenFile = connection.app.state["tokens"]
    peer: Peer | None = connection.scope.get("state", {}).get("peer")
    found: Token | None
    issuers: Issuers | None = connection.app.state.get("issuers")
    text = header[len(_SCHEME) :].strip() if header[: len(_SCHEME)].lower() == _SCHEME else None
    if text is not None and issuers is not None and is_jwt(text):
        found = await asyncio.to_thread(issuers.authenticate, text)
        return found, found.name
    if text is not None:
        found = tokens.find(text)
        if found is None:
            raise UnauthenticatedError("the request's bearer token is not one of this server's")
        name = f"token:{found.name}"
    elif peer is not None:
        # Who runs the server can read its keys: refusing them anything would keep nothing from them.
        own = Token(name=f"uid-{peer.uid}", scopes=[Scope.ADMIN]) if peer.uid == os.getuid() else None
        found = tokens.find_user(peer.uid) or own
        if found is None:
            raise UnauthenticatedError(f"user {peer.uid} may not use this server without a token")
        name = f"uid:{peer.uid} pid:{peer.pid}"
    else:
        raise UnauthenticatedError("the request carries no bearer token")
    if found.is_expired(time.time_ns() // 1_000):
        raise UnauthenticatedError(f"what {found.name!r} may do has expired")
    return found, name


def answer_error(
    _: Request[Any, Any, Any], error: AttestlogError, *, status_code: int | None = None
) -> Response[bytes]:
    """An error of ours as a problem (RFC 9457), under the status of its class or another."""
    facts = {name: value for name, value in error.evidence().items() if name in _TOLD}
    number = status_code or status(error)
    headers: dict[str, str] = {}
    if isinstance(error, UnauthenticatedError):
        headers["WWW-Authenticate"] = "Bearer"
    if number in {429, 503}:
        wait_s = error.retry_after_s if isinstance(error, RateLimitError) else 1.0
        headers["Retry-After"] = str(math.ceil(wait_s))
    return _problem(error.code, error.message, number, headers, evidence=facts)


def _answer_theirs(_: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    return _problem("http", error.detail, error.status_code, {})


def _problem(code: str, detail: str, number: int, headers: dict[str, str], **more: Any) -> Response[bytes]:
    members = {
        "type": f"urn:attestlog:error:{code}", "title": HTTPStatus(number).phrase, "status": number,
        "detail": detail, "code": code, **more,
    }  # fmt: skip
    try:
        body = encode_member("problem", members)
    except AttestlogError:  # a value that came from outside, with a lone surrogate in it
        body = encode_member("problem", {**members, "detail": ascii(detail), "evidence": {}})
    return Response(
        body + b"\n", status_code=number, headers={**headers, "content-type": "application/problem+json"}
    )
