"""The explorer over HTTP, read only: on loopback for its opener alone, or as the front page of a service.

GET /<secret>/…        `attestlog explore`: see `explorer.answering`
GET /, /explore.mjs…   a log's service: the page's own files, for everybody: they hold nothing of any log
GET /api/…             what the page asks for, with a token that may read, as the service's other readers

Any user of this machine can connect to loopback, and a web page elsewhere can make a browser send requests
there under a name of its own. So the path of `attestlog explore` begins with 128 random bits, and the Host
header must be loopback's. A service asks for its token instead, which no browser sends by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from litestar import Litestar, Request, Response, get
from litestar.params import FromPath

from attestlog._internal.explorer.answering import (
    CONTENT_SECURITY_POLICY,
    FILES,
    Explorer,
    Waiting,
    packed_file,
    page_file,
)
from attestlog._internal.server.asked import Asked
from attestlog._internal.server.guarding import needs, new_app
from attestlog._internal.server.tokens import Scope
from attestlog.errors import ForbiddenError, MalformedApprovalError, NotFoundError

_HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY, "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer", "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
}  # fmt: skip

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""What the Host header may name, beside the port."""


PAGE: Final = ("/", *(f"/{name}" for name in FILES))
"""Paths of the page on a service. They need no token."""


def explorer_app(explorer: Explorer, secret: str) -> Litestar:
    """The app. `secret`: what the path begins with."""
    return new_app([show], explorer=explorer, secret=secret)


@get("/{rest:path}", sync_to_thread=True)
def show(request: Request[Any, Any, Any], rest: FromPath[str]) -> Response[bytes]:
    """Whatever the page asks for."""
    host = request.headers.get("host", "").lower()
    if (host if host.endswith("]") else host.rpartition(":")[0] or host) not in LOOPBACK:
        raise ForbiddenError("the request names another host than this machine")
    secret, _, path = rest.lstrip("/").partition("/")
    if secret != request.app.state["secret"]:
        raise NotFoundError("there is nothing here")
    if path in {"", *FILES}:
        return _page(request, path)
    answer = request.app.state["explorer"].answer(path, dict(request.query_params))
    return Response(answer.body, media_type=answer.media_type, headers=_HEADERS)


@get(list(PAGE))
async def show_page(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The page on a log's service."""
    return _page(request, request.url.path.lstrip("/"))


@get("/api/{rest:path}", guards=[needs(Scope.READ)])
async def show_explored(request: Request[Any, Any, Any], rest: FromPath[str]) -> Response[bytes]:
    """What the page on a log's service asks for. `explored`, in the app's state, finds the log."""
    path, asked = rest.lstrip("/"), dict(request.query_params)
    explored: Callable[[Request[Any, Any, Any]], Awaitable[Explorer]] = request.app.state["explored"]
    asked.pop("log", None)
    answer = await asyncio.to_thread((await explored(request)).answer, f"api/{path}", asked)
    return Response(answer.body, media_type=answer.media_type, headers=_HEADERS)


def waiting_requests(asked: Asked, genesis: str, most: int) -> list[Waiting]:
    """The requests that a service keeps, those left last. One that cannot be read is passed over."""
    found = []
    for request_id in asked.latest(genesis, most):
        with suppress(MalformedApprovalError, NotFoundError):
            found.append(Waiting(asked.request(genesis, request_id), asked.approvals(genesis, request_id)))
    return found


def _page(request: Request[Any, Any, Any], name: str) -> Response[bytes]:
    name = name or "index.html"
    headers = {**_HEADERS, "vary": "accept-encoding"}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(page_file(name), media_type=FILES[name], headers=headers)
    return Response(
        packed_file(name), media_type=FILES[name], headers={**headers, "content-encoding": "gzip"}
    )
