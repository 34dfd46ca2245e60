"""One line of JSON a request, to the logger `attestlog.access`: who asked for what, and how it ended.

No query (people search for names), no header (tokens) and no body is in it.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any, Final

logger: Final = logging.getLogger("attestlog.access")

PATH_LENGTH_MAX: Final = 256
"""Characters of a path that are logged: ours are shorter."""


class AccessLog:
    """ASGI middleware."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not logger.isEnabledFor(logging.INFO):
            await self._app(scope, receive, send)
            return
        told = {"status": 0, "bytes": 0}
        start = time.monotonic()

        async def watch(message: Any) -> None:
            if message["type"] == "http.response.start":
                told["status"] = message["status"]
            else:
                told["bytes"] += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            client = scope.get("client")
            logger.info(json.dumps({
                "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "method": scope["method"], "path": scope["path"][:PATH_LENGTH_MAX], **told,
                "ms": round((time.monotonic() - start) * 1_000, 1),
                "peer": scope.get("state", {}).get("peer_name", ""),
                "address": client[0] if client else "",
            }))  # fmt: skip
