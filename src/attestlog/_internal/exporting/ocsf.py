"""OCSF 1.8.0, class API Activity (6003): one event an entry, as JSON.

What a SIEM searches for is mapped; `unmapped` holds the whole entry, so nothing is lost: its canonical form
(RFC 8785) is the log's line. The version is pinned: how OCSF maps agents and their tools is in motion.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from attestlog._internal.core.entry import ActorType, Entry, EventCategory, ExecutionStatus
from attestlog._internal.exporting.contract import About, Exported, act_of, context_text, trace_of
from attestlog._internal.version import VERSION

OCSF_VERSION: Final = "1.8.0"

_CLASS, _OTHER = 6003, 99

SEVERITY: Final = {
    EventCategory.NORMAL: (1, "Informational"), EventCategory.WARNING: (3, "Medium"),
    EventCategory.ERROR: (4, "High"), EventCategory.CRITICAL: (5, "Critical"),
}  # fmt: skip
"""By event_category: severity_id and severity."""

STATUS: Final = {
    ExecutionStatus.SUCCESS: (1, "Success"), ExecutionStatus.FAILED: (2, "Failure"),
    ExecutionStatus.BLOCKED: (2, "Failure"), ExecutionStatus.ROLLED_BACK: (2, "Failure"),
}  # fmt: skip
"""By execution_status, which itself is `status_code`: status_id and status."""

_USER_TYPE: Final = {ActorType.HUMAN: (1, "User"), ActorType.SYSTEM: (3, "System")}
_CALLS: Final = ("tool_call_id", "tool_use_id", "request_id")
_NO_SPAN: Final = "0" * 16


def record(item: Exported, about: About) -> bytes:
    """The event, without a line end."""
    entry, time_ms = item.entry, item.timestamp_us // 1_000
    severity_id, severity = SEVERITY[entry.event_category]
    status_id, status = STATUS[entry.execution_status]
    verdict_id, action, disposition = (
        (2, "Denied", "Blocked") if entry.execution_status is ExecutionStatus.BLOCKED
        else (1, "Allowed", "Allowed")
    )  # fmt: skip
    event = {
        "activity_id": _OTHER, "activity_name": entry.event_type, "category_uid": _CLASS // 1_000,
        "category_name": "Application Activity", "class_uid": _CLASS, "class_name": "API Activity",
        "type_uid": _CLASS * 100 + _OTHER, "type_name": "API Activity: Other",
        "time": time_ms, "message": f"{entry.event_type} {entry.action_type} by {entry.actor_id}",
        "severity_id": severity_id, "severity": severity,
        "status_id": status_id, "status": status, "status_code": entry.execution_status,
        "action_id": verdict_id, "action": action, "disposition_id": verdict_id, "disposition": disposition,
        "actor": _actor(entry),
        "api": {
            "operation": entry.action_type,
            "service": {"name": about.origin},
            "request": {"uid": context_text(entry, *_CALLS) or entry.entry_id},
        },
        "src_endpoint": {"name": about.origin},
        **_more(entry, time_ms),
        "metadata": _metadata(item, about, time_ms),
        "unmapped": msgspec.Raw(item.line),
    }  # fmt: skip
    return msgspec.json.encode(event)


def _actor(entry: Entry) -> dict[str, Any]:
    type_id, kind = _USER_TYPE.get(entry.actor_type, (_OTHER, str(entry.actor_type)))
    actor: dict[str, Any] = {"user": {"name": entry.actor_id, "type_id": type_id, "type": kind}}
    if session := context_text(entry, "session", "session_id"):
        actor["session"] = {"uid": session}
    return actor


def _metadata(item: Exported, about: About, time_ms: int) -> dict[str, Any]:
    entry = item.entry
    return {
        "version": OCSF_VERSION,
        "product": {"name": "attestlog", "vendor_name": "attestlog", "version": VERSION},
        "profiles": _profiles(entry),
        "uid": entry.entry_id,
        "original_event_uid": entry.entry_hash,
        "correlation_uid": act_of(entry),
        "sequence": entry.sequence_number,
        "log_name": about.origin,
        "log_version": entry.schema_version,
        "original_time": entry.timestamp,
        "logged_time": time_ms,
        "labels": [f"content:{item.content}", f"genesis:{about.genesis}"],
    }


def _profiles(entry: Entry) -> list[str]:
    asked = {"ai_operation": _model(entry), "trace": trace_of(entry)[0]}
    return ["security_control", *(name for name, found in asked.items() if found)]


def _model(entry: Entry) -> str:
    return context_text(entry, "model")


def _more(entry: Entry, time_ms: int) -> dict[str, Any]:
    """What only some entries say."""
    more: dict[str, Any] = {}
    if model := _model(entry):
        more["ai_model"] = {"name": model, "ai_provider": context_text(entry, "provider") or "unknown"}
    trace, span = trace_of(entry)
    if trace:
        more["trace"] = {
            "uid": trace,
            "span": {"uid": span or _NO_SPAN, "start_time": time_ms, "end_time": time_ms},
        }
    if detail := _detail(entry):
        more["status_detail"] = detail
    return more


def _detail(entry: Entry) -> str:
    told = entry.error_details or {}
    found = next((told[name] for name in ("message", "violation_type", "kind", "type") if told.get(name)), "")
    return found if isinstance(found, str) else ""
