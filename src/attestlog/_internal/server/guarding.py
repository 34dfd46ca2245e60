"""Who may: the bearer token of a request against the scope that a route asks for.

Without a token nothing is read or written. What the C2SP formats call public
can be opened to everybody, on purpose and by name (`is_public`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from litestar import Litestar, Request, Response
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler

from attestlog._internal.core.entry import encode_member
from attestlog._internal.server.statuses import status
from attestlog._internal.server.tokens import Scope, Token, TokenFile
from attestlog.errors import AttestlogError, ForbiddenError, UnauthenticatedError

_SCHEME: Final = "bearer "

_TOLD: Final = frozenset({"known_size", "sequence_number", "finding", "size_bytes_max", "ours", "theirs"})
"""The evidence that is the other side's affair. The rest, such as paths, is this server's own."""

RouteGuard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]


def new_app(routes: list[Any], tokens: TokenFile | None = None, **state: Any) -> Litestar:
    """An app as every role has it: no documentation pages, errors as JSON, tokens where `needs` looks."""
    app = Litestar(
        route_handlers=routes, openapi_config=None, logging_config=None, request_max_body_size=None,
        exception_handlers={AttestlogError: answer_error, HTTPException: _answer_theirs},
    )  # fmt: skip
    app.state.update({"tokens": tokens, **state})
    return app


def needs(*scopes: Scope, is_public: bool = False) -> RouteGuard:
    """A guard that lets pass who has a token of one of these scopes.

    It looks in the event loop, at one small file: a thread for it might have to wait until others have done
    their work.
    """

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        if is_public:
            return
        token = _token(connection)
        if not {*scopes, Scope.ADMIN} & set(token.scopes):
            raise ForbiddenError(
                f"the token {token.name!r} is good for {', '.join(token.scopes)}, want {scopes[0]}",
                need=scopes[0],
            )
        connection.state["token"] = token

    return guard


def check_origin_allowed(request: Request[Any, Any, Any], origin: str) -> None:
    """Raises ForbiddenError where the request's token is good for another log only."""
    token: Token | None = request.state.get("token")
    if token is not None and token.origin not in (None, origin):
        raise ForbiddenError(f"the token {token.name!r} is not good for {origin!r}", origin=origin)


def _token(connection: ASGIConnection[Any, Any, Any, Any]) -> Token:
    header = connection.headers.get("authorization", "")
    if header[: len(_SCHEME)].lower() != _SCHEME:
        raise UnauthenticatedError("the request carries no bearer token")
    tokens: TokenFile = connection.app.state["tokens"]
    token = tokens.find(header[len(_SCHEME) :].strip())
    if token is None:
        raise UnauthenticatedError("the request's bearer token is not one of this server's")
    return token


def answer_error(
    _: Request[Any, Any, Any], error: AttestlogError, *, status_code: int | None = None
) -> Response[bytes]:
    """An error of ours as JSON, under the status of its class or another."""
    facts = {name: value for name, value in error.evidence().items() if name in _TOLD}
    body = encode_member(
        "error", {"type": "error", "code": error.code, "message": error.message, "evidence": facts}
    )
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, UnauthenticatedError) else {}
    return Response(
        body + b"\n", status_code=status_code or status(error), media_type="application/json", headers=headers
    )


def _answer_theirs(_: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    body = encode_member("error", {"type": "error", "code": "http", "message": error.detail})
    return Response(body + b"\n", status_code=error.status_code, media_type="application/json")
