"""A replica over HTTP: what writers send, and what whoever restores or verifies reads.

POST /logs/<id>/entries               a shipment → its answer          scope replicate
GET  /logs/<id>                       size, last hash, split views     scope replicate or read
GET  /logs/<id>/entries?start=&stop=  lines, as they are held          scope read
GET  /logs/<id>/checkpoint            with this replica's cosignature  scope read, or public
GET  /logs                            the ids of the token's logs      scope read
GET  /metrics                         for Prometheus                   scope metrics
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final
from weakref import WeakValueDictionary

from litestar import Litestar, Request, Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Stream

from attestlog._internal.core.replication import (
    SHIPMENT_ENTRIES_MAX,
    SHIPMENT_SIZE_MAX_BYTES,
    ReplicaAnswer,
    decode_shipment,
    encode_answer,
    log_id,
)
from attestlog._internal.replica import Replica
from attestlog._internal.replica.erasing import unerased
from attestlog._internal.replica.evidence import evidence
from attestlog._internal.server.bodies import read_body
from attestlog._internal.server.guarding import needs, new_app
from attestlog._internal.server.metrics import MEDIA_TYPE, of_replica
from attestlog._internal.server.tokens import Scope, Token, TokenFile
from attestlog.errors import BusyError, ForbiddenError, NotFoundError

Req = Request[Any, Any, Any]

LINES_PER_RESPONSE_MAX: Final = SHIPMENT_ENTRIES_MAX
"""Who wants more asks again from where this ended: a broken connection then costs little."""

TAKERS: Final = 8
"""Threads that verify and store: more than the cores of most machines, since each also waits for its disk."""

SHIPMENTS_PER_TOKEN_MAX: Final = 4
"""Under way at once: a writer sends one after the other, and each body may take 32 MiB of memory."""

_TEXT: Final = "text/plain"  # the framework adds the charset


def replica_app(replica: Replica, tokens: TokenFile, *, checkpoints_are_public: bool = False) -> Litestar:
    """The app. `checkpoints_are_public`: whoever comes may read the cosigned checkpoints."""
    public = get("/logs/{log:str}/checkpoint", guards=[needs(Scope.READ, is_public=checkpoints_are_public)])
    return new_app(
        [show_metrics, list_logs, show_log, take, read_lines, read_unerased, public(_checkpoint)], tokens,
        replica=replica, taking=_Taking(),
    )  # fmt: skip


class _Taking:
    """What takes shipments: threads of its own, so that readers never wait for writers.

    One shipment a log at a time is taken by a thread; the others of that log wait without one.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(TAKERS, thread_name_prefix="attestlog-take")
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._places: Counter[str] = Counter()

    @contextmanager
    def place(self, token: str) -> Iterator[None]:
        """Room for one body of this token. Raises BusyError where it has as many under way as it may."""
        if self._places[token] >= SHIPMENTS_PER_TOKEN_MAX:
            raise BusyError(
                f"{SHIPMENTS_PER_TOKEN_MAX} shipments of the token {token!r} are under way", retryable=True
            )
        self._places[token] += 1
        try:
            yield
        finally:
            self._places[token] -= 1

    async def run(self, log: str, take: Callable[[], ReplicaAnswer]) -> ReplicaAnswer:
        async with self._turns.setdefault(log, asyncio.Lock()):
            return await asyncio.get_running_loop().run_in_executor(self._threads, take)


@get("/metrics", guards=[needs(Scope.METRICS)])
async def show_metrics(request: Req) -> Response[bytes]:
    """For Prometheus: what is held of each log."""
    page = await asyncio.to_thread(of_replica, _replica(request))
    return Response(page, headers={"content-type": MEDIA_TYPE})


@get("/logs", guards=[needs(Scope.READ)])
async def list_logs(request: Req) -> Response[dict[str, Any]]:
    """Ids of the logs held, as far as the token is good for them."""
    token: Token | None = request.state.get("token")
    only = None if token is None or token.origin is None else log_id(token.origin)
    logs = await asyncio.to_thread(_replica(request).logs)
    return Response({"type": "logs", "logs": [log for log in logs if only in (None, log)]})


@get("/logs/{log:str}", guards=[needs(Scope.REPLICATE, Scope.READ)])
async def show_log(request: Req, log: FromPath[str]) -> Response[dict[str, Any]]:
    """What is held of a log."""
    _check_token(request, log)
    return Response(await asyncio.to_thread(_describe, _replica(request), log))


@post("/logs/{log:str}/entries", guards=[needs(Scope.REPLICATE)], status_code=200)
async def take(request: Req, log: FromPath[str]) -> Response[bytes]:
    """Verify and store what a writer sends."""
    _check_token(request, log)
    taking: _Taking = request.app.state["taking"]
    with taking.place(request.state["token"].name):
        encoding = request.headers.get("content-encoding", "")
        body = await read_body(request.stream(), encoding=encoding, size_bytes_max=SHIPMENT_SIZE_MAX_BYTES)
        answer = await taking.run(log, lambda: _replica(request).take(log, decode_shipment(body)))
    return Response(encode_answer(answer), media_type=_TEXT)


@get("/logs/{log:str}/entries", guards=[needs(Scope.READ)])
async def read_lines(
    request: Req, log: FromPath[str], start: FromQuery[int] = 0, stop: FromQuery[int | None] = None
) -> Stream:
    """Lines from `start` up to `stop`, at most LINES_PER_RESPONSE_MAX of them."""
    _check_token(request, log)
    replica = _replica(request)
    await asyncio.to_thread(_check_held, replica, log)
    lines = islice(replica.source(log).lines(max(0, start), stop), LINES_PER_RESPONSE_MAX)
    return Stream(_ended(lines), media_type="application/jsonl")


@get("/logs/{log:str}/unerased", guards=[needs(Scope.REPLICATE, Scope.READ)])
async def read_unerased(request: Req, log: FromPath[str]) -> Response[dict[str, Any]]:
    """Which payloads the log says are erased, and are still here; reads all of the copy."""
    _check_token(request, log)
    replica = _replica(request)
    await asyncio.to_thread(_check_held, replica, log)
    found = await asyncio.to_thread(unerased, replica.source(log))
    return Response({"type": "unerased", "sequence_numbers": found})


async def _checkpoint(request: Req, log: FromPath[str]) -> Response[bytes]:
    """The last checkpoint taken, cosigned. It is replaced whole, so nobody waits for who is sending."""
    _check_token(request, log)
    replica = _replica(request)
    await asyncio.to_thread(_check_held, replica, log)
    note = await asyncio.to_thread(lambda: replica.source(log).checkpoint())
    if note is None:
        raise NotFoundError(f"no checkpoint of log {log} was taken yet", log=log)
    return Response(note, media_type=_TEXT)


def _replica(request: Req) -> Replica:
    replica: Replica = request.app.state["replica"]
    return replica


def _check_token(request: Req, log: str) -> None:
    """Raises ForbiddenError where the request's token is good for another log only."""
    token = request.state.get("token")
    if token is not None and token.origin is not None and log_id(token.origin) != log:
        raise ForbiddenError(f"the token {token.name!r} is not good for log {log}", log=log)


def _check_held(replica: Replica, log: str) -> None:
    if log not in replica.logs():
        raise NotFoundError(f"no log {log} is held", log=log)


def _describe(replica: Replica, log: str) -> dict[str, Any]:
    with replica.holding(log) as holding:
        head = holding.head()
        note = holding.checkpoint()
        views = [str(path.name) for path, _ in evidence(holding.directory)]
        return {
            "type": "log", "origin": holding.origin, "size": head.size, "entry_hash": head.entry_hash,
            "root": head.edge.root().hex(), "checkpoint": None if note is None else note.decode(),
            "split_views": views,
        }  # fmt: skip


def _ended(lines: Iterator[bytes]) -> Iterator[bytes]:
    for line in lines:
        yield line + b"\n"
