"""What the explorer's page asks for: a small read-only API over a log, from a path to bytes.

    GET api/log                      origin, genesis, sizes, replicas configured
    GET api/rules                    the pointer to the rules in force
    GET api/entries?FILTER           {"entries": [summary…], "next_cursor": N or null}: a page of a query
    GET api/entries/N                the stored line of entry N
    GET api/stats?since=&until=      figures, as `attestlog stats --json`
    GET api/requests                 {"requests": [request…] or null}: those for approval that are kept
    GET api/checkpoint, api/tile/…   the tree, as C2SP tlog-tiles has it, at the checkpoint's size
    GET index.html, …                the page's own files, which hold nothing of any log

`Explorer.answer` and `page_file` are all that a server needs to mount it, below any prefix: the page's links
are relative. No answer is believed by the page: what it shows as checked, it checked. Nothing here writes,
signs or judges.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from attestlog._internal.config import read_config
from attestlog._internal.core.approval import Approval, ApprovalRequest
from attestlog._internal.core.checkpoint import parse_checkpoint
from attestlog._internal.core.convert import read_number
from attestlog._internal.core.entry import Entry, decode_line
from attestlog._internal.core.note import parse_note
from attestlog._internal.core.tiles import (
    Bundle,
    encode_bundle,
    encode_tile,
    parse_path,
    tile_width,
)
from attestlog._internal.in_force import read_rules
from attestlog._internal.query import query_page
from attestlog._internal.query.filter import parse_filter
from attestlog._internal.query.stats import Stats, stats
from attestlog._internal.storage.contract import LogSource
from attestlog.errors import AttestlogError, NotFoundError, QueryError

STATIC: Final = Path(__file__).with_name("static")
FILES: Final = {
    "index.html": "text/html; charset=utf-8", "explore.mjs": "text/javascript",
    "draw.mjs": "text/javascript", "style.css": "text/css", "views.mjs": "text/javascript",
    "check.mjs": "text/javascript", "bundle.mjs": "text/javascript", "file.mjs": "text/javascript",
    "glob.mjs": "text/javascript", "verify.mjs": "text/javascript",
}  # fmt: skip
"""The page's own files, and their types; those that its first view needs come first."""

FIRST: Final = ("index.html", "explore.mjs", "draw.mjs", "style.css")
"""What is loaded for the timeline. The rest, the verifier among it, comes with the first other view."""

REQUESTS_MAX: Final = 50
"""Requests for approval in one answer: those that were left last."""

ACTS_LOOKED: Final = 200
"""Of acts of the same kind and actor as a request: whether one of them has used it."""

PAGE_ENTRIES: Final = 100
"""Entries in one answer: what a person looks through."""

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""For every answer: the page runs its own code, asks its own server, and nobody shows it in a frame."""

_JSON: Final = "application/json"
_NUMBERS: Final = frozenset({"severity", "severity_min", "cursor", "limit"})
_SHOWN: Final = (
    "sequence_number", "timestamp", "event_type", "event_category", "action_type", "actor_id", "actor_type",
    "execution_status", "entry_id", "composite_score",
)  # fmt: skip


class Answer(NamedTuple):
    """Bytes, and the media type they are of."""

    body: bytes
    media_type: str


class Waiting(NamedTuple):
    """A request for approval that somebody keeps, and what came for it so far."""

    request: ApprovalRequest
    approvals: list[Approval]


@cache
def page_file(name: str) -> bytes:
    """One of FILES. Raises NotFoundError."""
    if name not in FILES:
        raise NotFoundError(f"there is nothing at {name[:80]}", path=name[:80])
    return (STATIC / name).read_bytes()


@cache
def packed_file(name: str) -> bytes:
    """The same, compressed by gzip. Raises NotFoundError."""
    return gzip.compress(page_file(name), mtime=0)


class Explorer:
    """One log, for one page. Threads may share it."""

    def __init__(self, source: LogSource, waiting: Callable[[int], list[Waiting]] | None = None) -> None:
        """`waiting`: the newest requests for approval, so many at most; None where nobody keeps them."""
        self._source, self._waiting = source, waiting

    def answer(self, path: str, asked: Mapping[str, str]) -> Answer:
        """What stands at this path. Raises NotFoundError, QueryError, MalformedTileError, StorageError."""
        if path in {"", *FILES}:
            name = path or "index.html"
            return Answer(page_file(name), FILES[name])
        name = path.removeprefix("api/")
        made: Callable[[], Any] | None = {
            "log": self._log, "rules": self._rules, "requests": self._requests,
            "stats": lambda: self._stats(asked), "entries": lambda: self._page(asked),
        }.get(name)  # fmt: skip
        if name == path:
            raise NotFoundError(f"there is nothing at {path[:80]}", path=path[:80])
        if made is not None:
            return _as_json(made())
        if name == "checkpoint":
            return Answer(self._source.stored_checkpoint(), "text/plain; charset=utf-8")
        if name.startswith("tile/"):
            return Answer(self._tile(name), "application/octet-stream")
        number = read_number(name.removeprefix("entries/"))
        if not name.startswith("entries/") or number is None:
            raise NotFoundError(f"there is nothing at {path[:80]}", path=path[:80])
        return Answer(self._source.line(number), _JSON)

    def _log(self) -> dict[str, Any]:
        genesis = self._source.genesis()
        checkpoint = parse_checkpoint(parse_note(self._source.stored_checkpoint()).text)
        return {
            "origin": genesis.origin, "genesis": genesis.entry_hash, "size": self._source.size(),
            "checkpoint_size": checkpoint.size, "replicas": self._replicas(),
            "timestamps": len(self._source.timestamps()),
        }  # fmt: skip

    def _rules(self) -> dict[str, Any]:
        """Where the page begins to follow the rules in force; why it cannot, where they do not hold."""
        try:
            pointer, problem = read_rules(self._source, with_holds=False).pointers.rules, None
        except AttestlogError as error:
            pointer, problem = None, str(error)
        return {"rules": pointer, "problem": problem}

    def _replicas(self) -> list[str]:
        """The replicas that this machine's configuration names; none where there is no configuration."""
        try:
            return [replica.url for replica in read_config(self._source).replicas]
        except AttestlogError:
            return []

    def _stats(self, asked: Mapping[str, str]) -> Stats:
        return stats(self._source, since=asked.get("since") or None, until=asked.get("until") or None)

    def _requests(self) -> dict[str, Any]:
        """Requests for approval, those that no entry has used first."""
        if self._waiting is None:
            return {"requests": None}
        found = [self._request(one) for one in self._waiting(REQUESTS_MAX)]
        return {"requests": sorted(found, key=lambda one: one["used_by"] is not None)}

    def _request(self, waiting: Waiting) -> dict[str, Any]:
        request, draft = waiting.request, waiting.request.draft
        said = [{"signer": one.signer, "meaning": one.meaning} for one in waiting.approvals]
        return {
            "request_id": request.request_id, "action_type": draft["action_type"],
            "actor_id": draft["actor_id"], "approvals": said, "used_by": self._used_by(request),
        }  # fmt: skip

    def _used_by(self, request: ApprovalRequest) -> int | None:
        """The entry that an approval of the request stands in, among the last acts of its kind."""
        members = {
            "actor_id": request.draft["actor_id"], "limit": ACTS_LOOKED,
            "action_type": re.sub(r"([*?\\])", r"\\\1", request.draft["action_type"]),
        }  # fmt: skip
        for entry in query_page(self._source, parse_filter(members)).entries:
            if any(one.get("request_id") == request.request_id for one in entry.received_approvals):
                return entry.sequence_number
        return None

    def _page(self, asked: Mapping[str, str]) -> dict[str, Any]:
        members: dict[str, Any] = {name: value for name, value in asked.items() if value}
        for name in _NUMBERS & members.keys():
            members[name] = read_number(members[name])
            if members[name] is None:
                raise QueryError(f"{name} is not a number", member=name)
        members["limit"] = min(members.get("limit", PAGE_ENTRIES), PAGE_ENTRIES)
        members["newest_first"] = members.pop("order", "") != "oldest"
        page = query_page(self._source, parse_filter(members))
        return {"entries": [_summary(entry) for entry in page.entries], "next_cursor": page.next_cursor}

    def _tile(self, path: str) -> bytes:
        """A tile at the size of the stored checkpoint: the one size that the page asks for."""
        place = parse_path(path)
        size = parse_checkpoint(parse_note(self._source.stored_checkpoint()).text).size
        level = 0 if isinstance(place, Bundle) else place.level
        if place.width > tile_width(level, place.index, size):
            raise NotFoundError(f"the tree of {size} has no {path}", path=path)
        start = place.index * 256
        if isinstance(place, Bundle):
            lines = self._source.lines(start, start + place.width)
            return encode_bundle([bytes.fromhex(decode_line(line).entry_hash) for line in lines])
        return encode_tile(self._source.hashes(level, start, start + place.width))


def _summary(entry: Entry) -> dict[str, Any]:
    """What a row of the timeline shows."""
    context = {name: entry.actor_context.get(name) for name in ("guard", "session", "session_id", "trace_id")}
    return {
        **{name: getattr(entry, name) for name in _SHOWN},
        "guard": context["guard"] if isinstance(context["guard"], str) else None,
        "session": next((str(context[name]) for name in ("session", "session_id") if context[name]), None),
        "trace": str(context["trace_id"]) if context["trace_id"] else None,
        "after": entry.dependencies[:1],
    }  # fmt: skip


def _as_json(value: Any) -> Answer:
    return Answer(msgspec.json.encode(value), _JSON)
