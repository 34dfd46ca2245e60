"""The explorer as the front page of a log's service, read only: its page, and what the page asks for.

GET /, /explore.mjs…   the page's own files, for everybody: they hold nothing of any log
GET /api/…             see `explorer.answering`; with a token that may read, as the service's other readers

A web page elsewhere can make a browser send requests here, and no browser sends the token by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from litestar import Request, Response, get
from litestar.params import FromPath

from attestlog._internal.explorer.answering import FILES, HEADERS, Explorer, packed_file, page_file
from attestlog._internal.server.guarding import needs
from attestlog._internal.server.tokens import Scope

PAGE: Final = ("/", *(f"/{name}" for name in FILES))
"""Paths of the page. They need no token."""


@get(list(PAGE))
async def show_page(request: Request[Any, Any, Any]) -> Response[bytes]:
    """One of the page's files."""
    name, headers = request.url.path.lstrip("/") or "index.html", {**HEADERS, "vary": "accept-encoding"}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(page_file(name), media_type=FILES[name], headers=headers)
    headers["content-encoding"] = "gzip"
    return Response(packed_file(name), media_type=FILES[name], headers=headers)


@get("/api/{rest:path}", guards=[needs(Scope.READ)])
async def show_explored(request: Request[Any, Any, Any], rest: FromPath[str]) -> Response[bytes]:
    """What the page asks for. `explored`, in the app's state, finds the log."""
    path, asked = rest.lstrip("/"), dict(request.query_params)
    explored: Callable[[Request[Any, Any, Any]], Awaitable[Explorer]] = request.app.state["explored"]
    asked.pop("log", None)
    answer = await asyncio.to_thread((await explored(request)).answer, f"api/{path}", asked)
    return Response(answer.body, media_type=answer.media_type, headers=HEADERS)
