"""The explorer over HTTP, on loopback: read only, under a path that only its opener knows.

GET /<secret>/…    see `explorer.answering`

Any user of this machine can connect to loopback, and a web page elsewhere can make a browser send requests
there under a name of its own. So the path begins with 128 random bits, and the Host header must
be loopback's.
"""

from __future__ import annotations

from typing import Any, Final

from litestar import Litestar, Request, Response, get
from litestar.params import FromPath

from attestlog._internal.explorer.answering import CONTENT_SECURITY_POLICY, Explorer
from attestlog._internal.server.guarding import new_app
from attestlog.errors import ForbiddenError, NotFoundError

_HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY, "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer", "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
}  # fmt: skip

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""What the Host header may name, beside the port."""


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
    answer = request.app.state["explorer"].answer(path, dict(request.query_params))
    return Response(answer.body, media_type=answer.media_type, headers=_HEADERS)
