"""What a form of export is given of each entry, and which forms there are."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, Final, NamedTuple

from attestlog._internal.core.entry import Entry, parse_timestamp
from attestlog.errors import MalformedEntryError

_COMMITMENT: Final = re.compile(rb"\[redacted:[A-Za-z0-9_-]{1,64}:[0-9a-f]{16}:[0-9a-f]{64}\]")
_PAYLOAD_AT: Final = len('{"action_hash":"","action_payload":') + 64
"""Where the payload of a canonical line begins: `action_hash` stands before it and always has 64 digits."""


class Content(StrEnum):
    """How much of what was recorded an entry still holds."""

    WHOLE = "whole"
    REDACTED = "redacted"
    """Commitments stand in place of secrets."""
    ERASED = "erased"
    """The payload is gone, and perhaps some of the rest is redacted."""


class Form(StrEnum):
    """The forms of an export, as the command line names them."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    OCSF = "ocsf"
    OTLP = "otlp"
    CLOUDEVENTS = "cloudevents"
    DSSE = "dsse"
    COSE = "cose"


class About(NamedTuple):
    """The log that the entries are of."""

    origin: str
    genesis: str
    """`entry_hash` of entry 0: two logs may share an origin."""


class Exported(NamedTuple):
    """One entry that is exported."""

    line: bytes
    """As the log has it, without line end."""
    entry: Entry

    @property
    def content(self) -> Content:
        """Whether the payload was erased, or secrets redacted."""
        return content_of(self.line)

    @property
    def timestamp_us(self) -> int:
        """Microseconds since 1970; 0 for what is no timestamp, which `verify` reports."""
        try:
            return parse_timestamp(self.entry.timestamp)
        except MalformedEntryError:
            return 0


def content_of(line: bytes) -> Content:
    """Of a canonical line."""
    if line.startswith(b"null,", _PAYLOAD_AT):
        return Content.ERASED
    if b"[redacted:" in line and _COMMITMENT.search(line):
        return Content.REDACTED
    return Content.WHOLE


def context_text(entry: Entry, *names: str) -> str:
    """The first of these members of `actor_context` that is text and not empty; else ""."""
    found: Any
    for name in names:
        found = entry.actor_context.get(name)
        if isinstance(found, str) and found:
            return found
    return ""


_TRACE: Final = re.compile(r"(?!0+$)[0-9a-f]{32}")
_SPAN: Final = re.compile(r"(?!0+$)[0-9a-f]{16}")
_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


def trace_of(entry: Entry) -> tuple[str, str]:
    """(trace id, span id) by W3C Trace Context, where `actor_context` says them; "" for what it does not."""
    trace, span = context_text(entry, "trace_id"), context_text(entry, "span_id")
    if not trace and (match := _TRACEPARENT.fullmatch(context_text(entry, "traceparent"))):
        trace, span = match[1], match[2]
    if not _TRACE.fullmatch(trace):
        return "", ""
    return trace, span if _SPAN.fullmatch(span) else ""


def act_of(entry: Entry) -> str:
    """The `entry_id` that entries of one guarded act share: the intent's. Else the entry's own."""
    if entry.actor_context.get("guard") in {"outcome", "violation"} and entry.dependencies:
        return entry.dependencies[0]
    return entry.entry_id
