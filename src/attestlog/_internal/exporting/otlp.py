"""OTLP 1.x logs as JSON: requests of one or more entries. A file has one request a line.

The body is the log's line, byte for byte; attributes repeat what a backend searches for. Names of ours begin
with `attestlog.`; the `gen_ai.` ones are OpenTelemetry's, whose semantic conventions for them are in
development.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from attestlog._internal.core.entry import ActorType, Entry, EventCategory
from attestlog._internal.exporting.contract import About, Exported, act_of, context_text, trace_of
from attestlog._internal.version import VERSION

SEVERITY: Final = {
    EventCategory.NORMAL: (9, "INFO"), EventCategory.WARNING: (13, "WARN"),
    EventCategory.ERROR: (17, "ERROR"), EventCategory.CRITICAL: (21, "FATAL"),
}  # fmt: skip
"""By event_category: severityNumber and severityText."""

BATCH_ENTRIES: Final = 256
"""Entries in one line of a file: as an OpenTelemetry Collector batches, and small beside a line of a log."""

_AGENTS: Final = frozenset({ActorType.AUTONOMOUS_AGENT})


def request(items: Iterable[Exported], about: About) -> bytes:
    """One ExportLogsServiceRequest, without a line end."""
    resource = {"service.name": about.origin, "attestlog.genesis": about.genesis}
    scope = {"name": "attestlog", "version": VERSION}
    records = [_record(item) for item in items]
    return msgspec.json.encode(
        {
            "resourceLogs": [
                {
                    "resource": {"attributes": _attributes(resource)},
                    "scopeLogs": [{"scope": scope, "logRecords": records}],
                }
            ]
        }
    )


def _record(item: Exported) -> dict[str, Any]:
    entry, nanoseconds = item.entry, str(item.timestamp_us * 1_000)
    number, text = SEVERITY[entry.event_category]
    record: dict[str, Any] = {
        "timeUnixNano": nanoseconds, "observedTimeUnixNano": nanoseconds,
        "severityNumber": number, "severityText": text,
        "eventName": f"attestlog.{entry.event_type.lower()}",
        "body": {"stringValue": item.line.decode()},
        "attributes": _attributes(_said(item)),
    }  # fmt: skip
    trace, span = trace_of(entry)
    if trace:  # in OTLP's JSON ids are hex, unlike in that of protobuf
        record["traceId"] = trace
    if span:
        record["spanId"] = span
    return record


def _said(item: Exported) -> dict[str, Any]:
    entry = item.entry
    return {
        "attestlog.sequence_number": entry.sequence_number,
        "attestlog.entry_hash": entry.entry_hash,
        "attestlog.entry_id": entry.entry_id,
        "attestlog.act_id": act_of(entry),
        "attestlog.content": item.content,
        "attestlog.event_type": entry.event_type,
        "attestlog.event_category": entry.event_category,
        "attestlog.severity": entry.severity,
        "attestlog.action_type": entry.action_type,
        "attestlog.actor_id": entry.actor_id,
        "attestlog.actor_type": entry.actor_type,
        "attestlog.execution_status": entry.execution_status,
        "attestlog.composite_score": None if entry.composite_score is None else float(entry.composite_score),
        "attestlog.safety_floor_met": entry.safety_floor_met,
        "attestlog.proofs_valid": entry.proofs_valid,
        "attestlog.quorum_met": entry.quorum_met,
        **_conventional(entry),
    }


def _conventional(entry: Entry) -> dict[str, Any]:
    """What OpenTelemetry's own conventions have a name for."""
    said: dict[str, Any] = {
        "gen_ai.agent.id": entry.actor_id if entry.actor_type in _AGENTS else None,
        "gen_ai.conversation.id": context_text(entry, "session", "session_id") or None,
        "gen_ai.tool.call.id": context_text(entry, "tool_call_id", "tool_use_id") or None,
        "gen_ai.request.model": context_text(entry, "model") or None,
    }
    if entry.action_type.startswith("tool."):
        said["gen_ai.tool.name"] = entry.action_type.removeprefix("tool.")
    kind = (entry.error_details or {}).get("kind") or (entry.error_details or {}).get("type")
    said["error.type"] = kind if isinstance(kind, str) else None
    return said


def _attributes(said: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in said.items() if value is not None]


def _value(value: str | float | bool) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):  # 64 bits are text in protobuf's JSON
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}
