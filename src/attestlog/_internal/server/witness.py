"""A witness over HTTP: C2SP tlog-witness. Whoever comes may ask; only what a known log signed is looked at.

POST /add-checkpoint                                    a checkpoint → cosignature lines
GET  /<hex SHA-256 of the origin>/checkpoint            the latest one, cosigned
GET  /metrics                                           for Prometheus; needs a token of scope metrics
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from litestar import Litestar, Request, Response, get, post
from litestar.params import FromPath

from attestlog._internal.core.witness import REQUEST_SIZE_MAX_BYTES, origin_hash
from attestlog._internal.server.bodies import read_body
from attestlog._internal.server.guarding import answer_error, needs, new_app
from attestlog._internal.server.metrics import MEDIA_TYPE, of_witness
from attestlog._internal.server.statuses import status
from attestlog._internal.server.tokens import Scope, TokenFile
from attestlog._internal.witness import Witness
from attestlog.errors import (
    AttestlogError,
    NotFoundError,
    SignatureInvalidError,
    StaleSizeError,
    TrustError,
    VerificationError,
)

Req = Request[Any, Any, Any]

_TEXT: Final = "text/plain"

_STATUSES: Final[dict[type[AttestlogError], int]] = {
    TrustError: 403,
    SignatureInvalidError: 403,
    VerificationError: 422,
}
"""Where tlog-witness has another status than the rest of the server."""


def witness_app(witness: Witness, tokens: TokenFile | None = None) -> Litestar:
    """The app; only its metrics need a token, if there are `tokens`."""
    routes = [add_checkpoint, show_checkpoint]
    return new_app(routes if tokens is None else [*routes, show_metrics], tokens, witness=witness)


def answer_refusal(request: Req, error: AttestlogError) -> Response[bytes]:
    """The statuses of tlog-witness; the one that tells a size has it as its whole body."""
    if isinstance(error, StaleSizeError):
        # As a header: to a media type of text the framework adds a charset, and clients compare the whole.
        headers = {"content-type": "text/x.tlog.size"}
        return Response(f"{error.known_size}\n".encode(), status_code=409, headers=headers)
    own = next((_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES), None)
    return answer_error(request, error, status_code=own or status(error))


@post("/add-checkpoint", status_code=200, exception_handlers={AttestlogError: answer_refusal})
async def add_checkpoint(request: Req) -> Response[bytes]:
    """Cosign a checkpoint that continues the one cosigned last."""
    encoding = request.headers.get("content-encoding", "")
    body = await read_body(request.stream(), encoding=encoding, size_bytes_max=REQUEST_SIZE_MAX_BYTES)
    lines = await asyncio.to_thread(_witness(request).add_checkpoint, body)
    return Response(lines, media_type=_TEXT)


@get("/metrics", guards=[needs(Scope.METRICS)])
async def show_metrics(request: Req) -> Response[bytes]:
    """For Prometheus: how far each log was cosigned."""
    page = await asyncio.to_thread(of_witness, _witness(request))
    return Response(page, headers={"content-type": MEDIA_TYPE})


@get("/{digest:str}/checkpoint")
async def show_checkpoint(request: Req, digest: FromPath[str]) -> Response[bytes]:
    """The log's latest checkpoint, with its own signature and the cosignatures."""
    return Response(await asyncio.to_thread(_find, _witness(request), digest), media_type=_TEXT)


def _find(witness: Witness, digest: str) -> bytes:
    for origin in witness.state.origins():
        if origin_hash(origin) == digest:
            return witness.checkpoint(origin)
    raise NotFoundError("no log of this hash is known here")


def _witness(request: Req) -> Witness:
    witness: Witness = request.app.state["witness"]
    return witness
