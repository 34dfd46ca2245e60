"""CloudEvents 1.0 as JSON: one event an entry, with the entry as its data.

`source` and `id` together name one event: the log's origin and the entry's id. Extensions are lower-case
letters and digits, as the specification asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

import msgspec

from attestlog._internal.exporting.contract import About, Exported, act_of, trace_of

CONTENT_TYPE: Final = "application/cloudevents-batch+json"
"""Of several events in one body: a JSON array."""


def record(item: Exported, about: About) -> bytes:
    """The event, without a line end."""
    return msgspec.json.encode(_event(item, about))


def batch(items: Iterable[Exported], about: About) -> bytes:
    """Several events, as one JSON array."""
    return msgspec.json.encode([_event(item, about) for item in items])


def _event(item: Exported, about: About) -> dict[str, Any]:
    entry = item.entry
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": entry.entry_id,
        "source": f"//{quote(about.origin)}",
        "type": f"attestlog.entry.{entry.event_type.lower()}",
        "subject": str(entry.sequence_number),
        "time": entry.timestamp,
        "datacontenttype": "application/json",
        "entryhash": entry.entry_hash,
        "genesis": about.genesis,
        "sequence": f"{entry.sequence_number:020d}",
        "act": act_of(entry),
        "content": item.content,
        "data": msgspec.Raw(item.line),
    }
    trace, span = trace_of(entry)
    if trace and span:
        event["traceparent"] = f"00-{trace}-{span}-01"
    return event
