"""A log's service over HTTP/1.1, on a Unix socket, a port, or both: the one place that holds log and key.

The routes and who may use them stand in `openapi`, which a test holds against these. With several logs in one
service, `log=ORIGIN` says which.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.params import FromPath
from litestar.response import Stream

from attestlog._internal.core import canonical
from attestlog._internal.core.approval import (
    APPROVAL_SIZE_MAX_BYTES,
    format_approval,
    format_request,
    parse_approval,
    parse_request,
)
from attestlog._internal.core.changes import format_head, parse_change
from attestlog._internal.core.convert import read_number
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.explorer.answering import Explorer
from attestlog._internal.log import Log
from attestlog._internal.log.callers import Caller
from attestlog._internal.log.changing import make_change
from attestlog._internal.proving import prove_prefix
from attestlog._internal.query import FilterMembers, parse_condition, query_page, stats
from attestlog._internal.replication.status import replica_status
from attestlog._internal.server import otlp
from attestlog._internal.server.asked import Asked
from attestlog._internal.server.bodies import read_body
from attestlog._internal.server.bodies_seen import BodiesSeen
from attestlog._internal.server.explorer import show_explored, show_page
from attestlog._internal.server.guarding import needs, new_app
from attestlog._internal.server.metrics import MEDIA_TYPE, format_metrics
from attestlog._internal.server.oidc import Issuers
from attestlog._internal.server.openapi import document
from attestlog._internal.server.rates import Rates
from attestlog._internal.server.served import (
    Appended,
    ServedLog,
    describe_rules,
    format_receipts,
    parse_drafts,
)
from attestlog._internal.server.tokens import Scope, Token, TokenFile
from attestlog._internal.server.verifying import Verifier
from attestlog._internal.storage.publishing import read_published
from attestlog.errors import (
    BusyError,
    ForbiddenError,
    MalformedConfigError,
    MalformedError,
    NotFoundError,
    QueryError,
)

Req = Request[Any, Any, Any]

BODY_SIZE_MAX_BYTES: Final = 32 << 20
"""As a shipment to a replica: 1,024 entries of the usual size are 3 MB."""

PAGE_ENTRIES_MAX: Final = 1_000
TAILS_MAX: Final = 32
"""Streams at once: each keeps one of the server's connections for as long as it is read."""

TAIL_LINES: Final = 256
"""Lines that are read for a stream at once."""

TAIL_POLL_S: Final = 0.25
"""How often a stream looks for entries of other processes; this server's own wake it."""

TAIL_SILENCE_S: Final = 15.0
"""A comment is sent after so long without an entry: proxies and clients see a connection that lives."""

ANYBODY: Final = Token(name="anybody", scopes=[Scope.READ])
"""Whoever comes to a route that is public."""

_JSON: Final = "application/json"
_TEXT: Final = "text/plain"


class Service(NamedTuple):
    """Logs that are open, and the app that serves them."""

    logs: list[ServedLog]
    app: Litestar
    stop: Callable[[], None]
    """Ends the streams, so that the server can end."""
    close: Callable[[], None]
    """Signs a last checkpoint of each log. Raises as `Log.close`, once all are closed."""


def open_service(
    openings: Sequence[Callable[[], Log]],
    directory: Path,
    *,
    verify_every_s: float | None = None,
    tiles_are_public: bool = False,
    records_reads: bool = False,
) -> Service:
    """Open each log. `directory`: for tokens, requests and what was seen of bodies.

    `verify_every_s`: how often each is verified; None: never. `tiles_are_public`: whoever comes may read the
    checkpoint and the tree's hashes, at the paths of C2SP tlog-tiles. `records_reads`: an entry says who read
    entries, one a reader and hour. Raises as `Log.open`.
    """
    with ExitStack() as undo:
        bodies, rates = BodiesSeen(directory), Rates()
        undo.callback(bodies.close)
        logs: list[ServedLog] = []
        for opening in openings:
            served = ServedLog(opening, bodies, rates)
            undo.callback(served.close)
            served.records_reads = records_reads
            if served.origin in {other.origin for other in logs}:
                raise MalformedConfigError(f"two logs are called {served.origin}", member="origin")
            logs.append(served)
        app = log_app(logs, TokenFile(directory), rates, directory, tiles_are_public=tiles_are_public)
        if verify_every_s is not None:
            verifier = Verifier(logs, directory, verify_every_s)
            verifier.start()
            undo.callback(verifier.stop)
        return Service(logs, app, lambda: _stop(logs), undo.pop_all().close)


def _stop(logs: Sequence[ServedLog]) -> None:
    for served in logs:
        served.stop()


def log_app(
    logs: Sequence[ServedLog],
    tokens: TokenFile,
    rates: Rates,
    directory: Path,
    *,
    tiles_are_public: bool = False,
) -> Litestar:
    """The app. `directory`: of the service, in which requests for approval are kept."""
    reader = needs(Scope.READ, is_public=tiles_are_public)
    routes = [
        get("/checkpoint", guards=[reader])(show_tree_checkpoint),
        get("/tile/{path:path}", guards=[reader])(show_tile),
        append, query, show_entry, show_proof, show_checkpoint, show_consistency, tail, show_rules,
        store_payload, show_stats, show_keys, show_replicas, ask, list_requests, show_request, approve,
        list_approvals, make_checkpoint, change, show_head, show_holds, show_ready,
        show_metrics, show_document, receive_traces, receive_logs, show_page, show_logs, show_explored,
    ]  # fmt: skip
    return new_app(
        routes, tokens, logs={served.origin: served for served in logs}, rates=rates, asked=Asked(directory),
        issuers=Issuers.read(directory), tails=[0], explored=_explored,
    )  # fmt: skip


# --- writing ---


@post("/v1/entries", guards=[needs(Scope.APPEND)], status_code=201)
async def append(request: Req) -> Response[bytes]:
    """Append a draft, an array of drafts, or one a line."""
    served, token = _served(request), _token(request)
    encoding = request.headers.get("content-encoding", "")
    body = await read_body(request.stream(), encoding=encoding, size_bytes_max=BODY_SIZE_MAX_BYTES)
    media_type = request.headers.get("content-type", _JSON).partition(";")[0].strip().lower()
    drafts, many = parse_drafts(body, media_type)
    key = request.headers.get("idempotency-key", "")
    if not key and "idempotency-key" in request.headers:
        raise MalformedError("the header Idempotency-Key is empty", member="idempotency_key")
    caller = Caller(request.state["peer_name"], key)
    appended = await served.append(body, drafts, token, caller)
    is_minimal = "return=minimal" in request.headers.get("prefer", "")
    answer = format_receipts(appended, many=many, with_entries=not is_minimal)
    status = 200 if appended.before == len(drafts) else 201
    return Response(answer, media_type=_JSON, status_code=status)


@post("/v1/traces", guards=[needs(Scope.APPEND)], status_code=200)
async def receive_traces(request: Req) -> Response[bytes]:
    """Record spans of OpenTelemetry's GenAI conventions, as observed."""
    return await _receive(request, otlp.TRACES)


@post("/v1/logs", guards=[needs(Scope.APPEND)], status_code=200)
async def receive_logs(request: Req) -> Response[bytes]:
    """Record logs of OpenTelemetry's GenAI conventions, as observed."""
    return await _receive(request, otlp.LOGS)


async def _receive(request: Req, signal: otlp.Signal) -> Response[bytes]:
    served, token = _served(request), _token(request)
    encoding = request.headers.get("content-encoding", "")
    body = await read_body(request.stream(), encoding=encoding, size_bytes_max=BODY_SIZE_MAX_BYTES)
    media_type = request.headers.get("content-type", _JSON).partition(";")[0].strip().lower()
    observed = await asyncio.to_thread(otlp.parse_observed, signal, body, media_type, token.actor_id)
    caller = Caller(request.state["peer_name"], otlp.key_of(body))
    refused, why = await served.observe(body, observed.drafts, token, caller)
    if observed.others:
        why = f"{observed.others} are not of the GenAI conventions" + (f"; {why}" if why else "")
    answer = otlp.format_answer(signal, media_type, observed.others + refused, why)
    return Response(answer, media_type=media_type)


@post("/v1/storable", guards=[needs(Scope.APPEND)], status_code=200)
async def store_payload(request: Req) -> Response[bytes]:
    """A payload as it will be stored: redacted and salted; what people approve."""
    served = _served(request)
    given = canonical.decode(await _small_body(request))
    match given:
        case {"payload": dict(payload), "action_type": str(action_type)}:
            stored = await asyncio.to_thread(served.log.storable_payload, payload, action_type)
        case _:
            raise MalformedError("want an object with payload and action_type")
    return Response(canonical.encode(stored), media_type=_JSON)


@post("/v1/changes", guards=[needs(Scope.ADMIN)], status_code=201)
async def change(request: Req) -> Response[bytes]:
    """Change the log itself: its keys, its legal holds, what it keeps of payloads."""
    served, wanted = _served(request), parse_change(await _small_body(request))
    caller = Caller(request.state["peer_name"])
    receipt = await asyncio.to_thread(make_change, served.log, wanted, caller)
    served.tell()
    answer = format_receipts(Appended([receipt], 0, was_compared=False), many=False, with_entries=True)
    return Response(answer, media_type=_JSON, status_code=201)


@post("/v1/checkpoint", guards=[needs(Scope.ADMIN)], status_code=200)
async def make_checkpoint(request: Req) -> Response[bytes]:
    """Sign a checkpoint over all there is."""
    return Response(await asyncio.to_thread(_served(request).log.checkpoint), media_type=_TEXT)


# --- reading ---


@get("/v1/entries", guards=[needs(Scope.READ)])
async def query(request: Req) -> Response[bytes]:
    """A page of the entries that a filter asks for, and the cursor of the next."""
    served, members = await _read(request), _filter(request)
    return Response(await asyncio.to_thread(_page, served, members), media_type=_JSON)


def _page(served: ServedLog, members: FilterMembers) -> bytes:
    page = query_page(served.source, **members)
    lines = [served.source.line(entry.sequence_number) for entry in page.entries]
    answer = {"entries": [msgspec.Raw(line) for line in lines], "next_cursor": page.next_cursor}
    return msgspec.json.encode(answer)


@get("/v1/entries/{number:str}", guards=[needs(Scope.READ)])
async def show_entry(request: Req, number: FromPath[str]) -> Response[bytes]:
    """An entry's line, byte for byte as it is stored."""
    served, at = await _read(request), _number(number)
    line = await asyncio.to_thread(served.source.line, at)
    tag = f'"{hex_hash(line)}"'  # of the bytes: erasing a payload changes them, and not the entry's hash
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers)
    return Response(line, media_type=_JSON, headers=headers)


@get("/v1/entries/{number:str}/proof", guards=[needs(Scope.READ)])
async def show_proof(request: Req, number: FromPath[str]) -> Response[bytes]:
    """A proof file of an entry; `payload=false`: without its payload."""
    served, at = await _read(request), _number(number)
    payload = _flag(request, "payload", default=True)
    return Response(await asyncio.to_thread(served.log.prove, at, payload=payload), media_type=_TEXT)


@get("/v1/checkpoint", guards=[needs(Scope.READ)])
async def show_checkpoint(request: Req) -> Response[bytes]:
    """The stored checkpoint."""
    note = await asyncio.to_thread(_served(request).source.checkpoint)
    if note is None:
        raise NotFoundError("no checkpoint is stored")
    return Response(note, media_type=_TEXT, headers={"Cache-Control": "no-cache"})


async def show_tree_checkpoint(request: Req) -> Response[bytes]:
    """The stored checkpoint, where C2SP tlog-tiles has it."""
    note = await asyncio.to_thread(_served(request).source.checkpoint)
    if note is None:
        raise NotFoundError("no checkpoint is stored")
    return Response(note, media_type=_TEXT, headers={"Cache-Control": "no-cache"})


async def show_tile(request: Req, path: FromPath[str]) -> Response[bytes]:
    """A tile or entry bundle below the stored checkpoint, by C2SP tlog-tiles. Hashes only."""
    served = _served(request)
    data = await asyncio.to_thread(read_published, served.source, f"tile/{path.lstrip('/')}")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(data, media_type="application/octet-stream", headers=headers)


@get("/v1/consistency", guards=[needs(Scope.READ)])
async def show_consistency(request: Req) -> Response[bytes]:
    """That the first `size` entries are a prefix of the stored checkpoint."""
    served, size = _served(request), _number(request.query_params.get("size", ""))
    return Response(await asyncio.to_thread(prove_prefix, served.source, size), media_type=_TEXT)


@get("/v1/tail", guards=[needs(Scope.READ)])
async def tail(request: Req) -> Stream:
    """Entries as they become durable, as server-sent events; the id of each is its sequence number."""
    served, tails = await _read(request), request.app.state["tails"]
    last = request.headers.get("last-event-id") or request.query_params.get("after")
    start = await asyncio.to_thread(served.source.durable_size) if last is None else _number(last) + 1
    if tails[0] >= TAILS_MAX:
        raise BusyError(f"{TAILS_MAX} streams are read already", retryable=True)
    return Stream(
        _events(served, start, tails), media_type="text/event-stream", headers={"Cache-Control": "no-cache"}
    )


async def _events(served: ServedLog, start: int, tails: list[int]) -> AsyncIterator[bytes]:
    tails[0] += 1
    try:
        yield b": attestlog\n\n"
        at, quiet_s = start, 0.0
        while not served.is_stopping:
            lines = await asyncio.to_thread(_durable_lines, served, at)
            if lines:
                yield b"".join(
                    b"id: %d\nevent: entry\ndata: %b\n\n" % (number, line)
                    for number, line in enumerate(lines, at)
                )
                at, quiet_s = at + len(lines), 0.0
                continue
            await served.wait_changed(TAIL_POLL_S)
            quiet_s += TAIL_POLL_S
            if quiet_s >= TAIL_SILENCE_S:
                yield b":\n\n"
                quiet_s = 0.0
    finally:
        tails[0] -= 1


def _durable_lines(served: ServedLog, start: int) -> list[bytes]:
    # Of what is durable only: a reader must not have seen what a loss of power takes away.
    stop = min(served.source.durable_size(), start + TAIL_LINES)
    return list(served.source.lines(start, stop)) if start < stop else []


@get("/v1/rules", guards=[needs(Scope.APPEND, Scope.READ)])
async def show_rules(request: Req) -> Response[bytes]:
    """The policy and keys in force, and the log's clock: what a guard elsewhere needs."""
    return Response(describe_rules(_served(request)), media_type=_JSON)


@get("/v1/head", guards=[needs(Scope.APPEND, Scope.READ)])
async def show_head(request: Req) -> Response[bytes]:
    """How many entries there are, the last one's hash, and the tree's right edge."""
    return Response(format_head(await asyncio.to_thread(_served(request).log.head)), media_type=_JSON)


@get("/v1/holds", guards=[needs(Scope.READ)])
async def show_holds(request: Req) -> Response[bytes]:
    """The legal holds in force."""
    holds = await asyncio.to_thread(lambda: _served(request).log.holds)
    return Response(msgspec.json.encode({"holds": list(holds.values())}), media_type=_JSON)


@get("/v1/stats", guards=[needs(Scope.READ)])
async def show_stats(request: Req) -> Response[bytes]:
    """Figures, of all or between `since` and `until`."""
    served = await _read(request)
    since, until = request.query_params.get("since"), request.query_params.get("until")
    found = await asyncio.to_thread(lambda: stats(served.source, since=since, until=until))
    return Response(msgspec.json.encode(found), media_type=_JSON)


@get("/v1/keys", guards=[needs(Scope.READ, Scope.APPEND)])
async def show_keys(request: Req) -> Response[bytes]:
    """Keys that signed or sign entries, with the entries they may sign, and those that sign checkpoints."""
    log = _served(request).log
    terms = [
        {"key_id": key_id, **term._asdict(), "is_in_force": key_id in log.rules.keys}
        for key_id, term in log.rules.terms.items()
    ]
    return Response(msgspec.json.encode({"keys": terms, "vkeys": log.vkeys}), media_type=_JSON)


@get("/v1/replicas", guards=[needs(Scope.READ)])
async def show_replicas(request: Req) -> Response[bytes]:
    """How far each configured replica is."""
    found = await asyncio.to_thread(replica_status, _served(request).source.where)
    return Response(msgspec.json.encode({"replicas": [item.members() for item in found]}), media_type=_JSON)


# --- asking people ---


@post("/v1/requests", guards=[needs(Scope.APPEND)], status_code=201)
async def ask(request: Req) -> Response[bytes]:
    """Leave a request for approval, for those who may approve."""
    served, asked = _served(request), parse_request(await _small_body(request, LINE_SIZE_MAX_BYTES))
    token, rules = _token(request), served.log.rules
    if (asked.log, asked.origin) != (rules.genesis_hash, rules.origin):
        raise MalformedError("the request is for another log", member="log")
    served._check([asked.draft], token)
    await asyncio.to_thread(_asked(request).ask, asked)
    return Response(format_request(asked), media_type=_JSON, status_code=201)


@get("/v1/requests", guards=[needs(Scope.APPROVE, Scope.READ)])
async def list_requests(request: Req) -> Response[bytes]:
    """The ids of the requests that are kept."""
    found = await asyncio.to_thread(_asked(request).ids, _served(request).log.rules.genesis_hash)
    return Response(msgspec.json.encode({"requests": found}), media_type=_JSON)


@get("/v1/requests/{request_id:str}", guards=[needs(Scope.APPROVE, Scope.READ, Scope.APPEND)])
async def show_request(request: Req, request_id: FromPath[str]) -> Response[bytes]:
    """A request, in its one spelling."""
    found = await asyncio.to_thread(_asked(request).request, _genesis(request), request_id)
    return Response(format_request(found), media_type=_JSON)


@post("/v1/requests/{request_id:str}/approvals", guards=[needs(Scope.APPROVE)], status_code=201)
async def approve(request: Req, request_id: FromPath[str]) -> Response[bytes]:
    """Leave a signed approval. Whether it counts is judged where the act is."""
    approval = parse_approval(await _small_body(request, APPROVAL_SIZE_MAX_BYTES))
    await asyncio.to_thread(_asked(request).approve, _genesis(request), request_id, approval)
    return Response(format_approval(approval), media_type=_JSON, status_code=201)


@get("/v1/requests/{request_id:str}/approvals", guards=[needs(Scope.APPROVE, Scope.READ, Scope.APPEND)])
async def list_approvals(request: Req, request_id: FromPath[str]) -> Response[bytes]:
    """The approvals of a request that were left so far."""
    found = await asyncio.to_thread(_asked(request).approvals, _genesis(request), request_id)
    members = [msgspec.Raw(format_approval(approval).rstrip()) for approval in found]
    return Response(msgspec.json.encode({"approvals": members}), media_type=_JSON)


# --- operation ---


@get("/readyz")
async def show_ready(request: Req) -> Response[dict[str, str]]:
    """Whether the server can append: each log is open, and there is room."""
    logs: dict[str, ServedLog] = request.app.state["logs"]
    is_ready = all(served.free_bytes() >= served.free_bytes_min for served in logs.values())
    return Response({"status": "ready" if is_ready else "full"}, status_code=200 if is_ready else 503)


@get("/metrics", guards=[needs(Scope.METRICS)])
async def show_metrics(request: Req) -> Response[bytes]:
    """For Prometheus."""
    state = request.app.state
    logs = [served for served in state["logs"].values() if _is_good_for(_token(request), served)]
    page = await asyncio.to_thread(format_metrics, logs, state["rates"])
    return Response(page, headers={"content-type": MEDIA_TYPE})


@get("/openapi.json")
async def show_document() -> Response[bytes]:
    """This protocol, as OpenAPI 3.1."""
    return Response(msgspec.json.encode(document()), media_type=_JSON)


# --- the explorer: a page, and what it asks for ---


@get("/api/logs", guards=[needs(Scope.READ)])
async def show_logs(request: Req) -> Response[bytes]:
    """The origins of the logs that the caller may read."""
    state, token = request.app.state, _token(request)
    logs = [origin for origin, served in state["logs"].items() if _is_good_for(token, served)]
    return Response(msgspec.json.encode({"logs": logs}), media_type=_JSON)


async def _explored(request: Req) -> Explorer:
    served, asked, genesis = await _read(request), _asked(request), _genesis(request)
    return Explorer(served.source, lambda most: asked.waiting(genesis, most))


# --- what a request names ---


def _served(request: Req) -> ServedLog:
    """Raises NotFoundError, ForbiddenError; MalformedError where the request must say which log it is for."""
    logs: dict[str, ServedLog] = request.app.state["logs"]
    token = _token(request)
    origin = request.query_params.get("log") or token.origin
    if origin is None:
        if len(logs) != 1:
            raise MalformedError("this service has several logs: say which, as log=ORIGIN", member="log")
        (origin,) = logs
    if token.origin not in (None, origin):
        raise ForbiddenError(f"{token.name!r} is not good for this log", origin=origin)
    served = logs.get(origin)
    if served is None:
        raise NotFoundError("this service has no log of this origin", origin=origin)
    return served


async def _read(request: Req) -> ServedLog:
    """For what tells of entries: where it is to be, an entry says who reads. Raises as `_served`."""
    served = _served(request)
    await served.note_read(request.state["peer_name"])
    return served


def _is_good_for(token: Token, served: ServedLog) -> bool:
    return token.origin in (None, served.origin)


def _token(request: Req) -> Token:
    token: Token = request.state.get("token") or ANYBODY
    return token


def _asked(request: Req) -> Asked:
    asked: Asked = request.app.state["asked"]
    return asked


def _genesis(request: Req) -> str:
    return _served(request).log.rules.genesis_hash


async def _small_body(request: Req, size_bytes_max: int = LINE_SIZE_MAX_BYTES) -> bytes:
    encoding = request.headers.get("content-encoding", "")
    return await read_body(request.stream(), encoding=encoding, size_bytes_max=size_bytes_max)


def _number(text: str) -> int:
    number = read_number(text)
    if number is None:
        raise NotFoundError(f"{ascii(text)[:40]} is not the number of an entry")
    return number


def _flag(request: Req, name: str, *, default: bool) -> bool:
    text = request.query_params.get(name)
    if text not in {None, "true", "false"}:
        raise QueryError(f"{name} is neither true nor false", member=name)
    return default if text is None else text == "true"


_NUMBERS: Final = ("severity", "severity_min", "limit", "cursor")
_TEXTS: Final = (
    "event_type", "event_category", "actor_type", "actor_id", "action_type", "execution_status", "since",
    "until", "text", "entry_id",
)  # fmt: skip


def _filter(request: Req) -> FilterMembers:
    """Raises QueryError for a member that there is not, or a value that it cannot have."""
    found: dict[str, Any] = {"limit": PAGE_ENTRIES_MAX}
    for name, value in request.query_params.multi_items():
        if name in _TEXTS:
            found[name] = value
        elif name in _NUMBERS:
            found[name] = read_number(value)
            if found[name] is None:
                raise QueryError(f"{name} is not a number", member=name)
        elif name in ("payload", "context"):
            path, wanted = parse_condition(value, name)
            found.setdefault(name, {})[path] = wanted
        elif name == "newest_first":
            found[name] = _flag(request, name, default=True)
        elif name != "log":
            raise QueryError(f"there is no filter {ascii(name)[:40]}", member=name)
    found["limit"] = min(found["limit"], PAGE_ENTRIES_MAX)
    members: FilterMembers = found  # type: ignore[assignment]
    return members
