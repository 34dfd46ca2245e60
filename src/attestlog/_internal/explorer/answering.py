"""What the explorer's page asks for: a small read-only API over a log, from a path to bytes.

    GET api/log                      origin, genesis, sizes, replicas configured
    GET api/rules                    the pointer to the rules in force
    GET api/entries?FILTER           {"entries": [summary…], "next_cursor": N or null}: a page of a query
    GET api/entries/N                the stored line of entry N
    GET api/stats?since=&until=      figures, as `attestlog stats --json`
    GET checkpoint, tile/…           the tree, as C2SP tlog-tiles has it, at the checkpoint's size
    GET index.html, …                the page's own files

`Explorer.answer` is all that a server needs to mount it, below any prefix: the page's links are relative. No
answer is believed by the page: what it shows as checked, it checked. Nothing here writes, signs or judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from attestlog._internal.config import read_config
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
from attestlog._internal.query.stats import stats
from attestlog._internal.storage.contract import LogSource
from attestlog.errors import AttestlogError, NotFoundError, QueryError

STATIC: Final = Path(__file__).with_name("static")
FILES: Final = {
    "index.html": "text/html; charset=utf-8", "explore.mjs": "text/javascript",
    "check.mjs": "text/javascript", "bundle.mjs": "text/javascript", "file.mjs": "text/javascript",
    "draw.mjs": "text/javascript",
    "verify.mjs": "text/javascript", "style.css": "text/css",
}  # fmt: skip
"""The page's own files, and their types."""

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


class Explorer:
    """One log, for one page. Threads may share it."""

    def __init__(self, source: LogSource) -> None:
        self._source = source

    def answer(self, path: str, asked: Mapping[str, str]) -> Answer:
        """What stands at this path. Raises NotFoundError, QueryError, MalformedTileError, StorageError."""
        if path in {"", *FILES}:
            name = path or "index.html"
            return Answer((STATIC / name).read_bytes(), FILES[name])
        if path == "checkpoint":
            return Answer(self._source.stored_checkpoint(), "text/plain; charset=utf-8")
        if path.startswith("tile/"):
            return Answer(self._tile(path), "application/octet-stream")
        if path == "api/log":
            return _as_json(self._log())
        if path == "api/rules":
            return _as_json(self._rules())
        if path == "api/stats":
            return _as_json(
                stats(self._source, since=asked.get("since") or None, until=asked.get("until") or None)
            )
        if path == "api/entries":
            return _as_json(self._page(asked))
        number = read_number(path.removeprefix("api/entries/"))
        if not path.startswith("api/entries/") or number is None:
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
