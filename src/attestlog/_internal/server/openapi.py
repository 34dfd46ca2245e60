"""The service's protocol as OpenAPI 3.1: every route, every body, every answer. Served at /openapi.json.

Schemas of entries and drafts are those of `attestlog.schemas`. A test walks the app's routes and holds them
against this.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from attestlog._internal.core.changes import AnyChange
from attestlog._internal.version import VERSION
from attestlog.schemas import make_schema

Members = dict[str, Any]

_TEXT: Final[Members] = {"type": "string"}
_COUNT: Final[Members] = {"type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991}
_HEX: Final[Members] = {"type": "string", "pattern": "^[0-9a-f]{64}$"}


def _object(required: list[str], **properties: Members) -> Members:
    return {"type": "object", "required": required, "properties": properties}


def _ref(name: str) -> Members:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(schema: Members, media_type: str = "application/json") -> Members:
    return {media_type: {"schema": schema}}


def _in(place: str, name: str, description: str, schema: Members, *, required: bool = False) -> Members:
    return {"name": name, "in": place, "description": description, "required": required, "schema": schema}


_LOG: Final = _in("query", "log", "Origin of the log; needed where the service has several.", _TEXT)
_NUMBER: Final = _in("path", "number", "Sequence number of an entry.", _COUNT, required=True)
_REQUEST_ID: Final = _in(
    "path", "request_id", "Id of a request.", {"type": "string", "format": "uuid"}, required=True
)
_KEY: Final = _in(
    "header", "Idempotency-Key",
    "Within 24 hours the same request under the same key writes nothing more, and has the first receipts.",
    {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[ -~]*$"},
)  # fmt: skip
_PREFER: Final = _in("header", "Prefer", "`return=minimal`: receipts without their entries.", _TEXT)
_FILTERS: Final = [
    _in("query", name, description, schema)
    for name, description, schema in (
        (
            "event_type",
            "Exactly this.",
            {"enum": ["ACTION", "BOOT", "CHANGE", "DECISION", "SHUTDOWN", "VIOLATION"]},
        ),
        ("event_category", "Exactly this.", {"enum": ["CRITICAL", "ERROR", "INFO", "WARNING"]}),
        ("severity", "Exactly this.", _COUNT),
        ("severity_min", "At least this.", _COUNT),
        ("actor_type", "Exactly this.", _TEXT),
        ("actor_id", "Exactly this.", _TEXT),
        ("action_type", "A glob.", _TEXT),
        ("execution_status", "Exactly this.", {"enum": ["BLOCKED", "FAILED", "ROLLED_BACK", "SUCCESS"]}),
        ("since", "RFC 3339, or how long ago: 45s, 30m, 2h, 7d, 1w. Included.", _TEXT),
        ("until", "As since; not included.", _TEXT),
        ("text", "Words that all occur.", _TEXT),
        ("payload", "PATH=VALUE of a payload member; repeatable.", {"type": "array", "items": _TEXT}),
        ("context", "The same of actor_context; repeatable.", {"type": "array", "items": _TEXT}),
        ("entry_id", "Exactly this.", {"type": "string", "format": "uuid"}),
        ("limit", "Entries in the page.", {"type": "integer", "minimum": 1, "maximum": 1_000}),
        ("cursor", "`next_cursor` of the page before.", _COUNT),
        ("newest_first", "Order.", {"type": "boolean"}),
    )
]

_SCHEMAS: Final[Members] = {
    "Problem": {
        "description": "RFC 9457; `code` is that of attestlog's errors, `evidence` what the error knows.",
        **_object(
            ["type", "title", "status", "detail", "code"],
            type=_TEXT, title=_TEXT, status=_COUNT, detail=_TEXT, code=_TEXT, evidence={"type": "object"},
        ),
    },
    "Receipt": _object(
        ["sequence_number", "entry_id", "entry_hash", "timestamp"],
        sequence_number=_COUNT, entry_id={"type": "string", "format": "uuid"}, entry_hash=_HEX,
        timestamp=_TEXT,
        replayed={"type": "boolean", "description": "An earlier request of this key wrote the entry."},
        compared={"type": "boolean", "description": "Whether the two bodies could be compared."},
        entry=_ref("Entry"),
    ),
    "Page": _object(
        ["entries", "next_cursor"],
        entries={"type": "array", "items": _ref("Entry")}, next_cursor={"type": ["integer", "null"]},
    ),
    "Rules": _object(
        ["origin", "genesis", "pointer", "policy", "policy_by", "keys", "vkeys", "now_us"],
        origin=_TEXT, genesis=_HEX, pointer=_TEXT, policy={"type": "object"},
        policy_by=_object(["sequence_number", "entry_hash"], sequence_number=_COUNT, entry_hash=_HEX),
        keys={"type": "array", "items": _TEXT}, vkeys={"type": "array", "items": _TEXT}, now_us=_COUNT,
    ),
    "Head": _object(
        ["size", "entry_hash", "timestamp_us", "edge"],
        size=_COUNT, entry_hash=_HEX, timestamp_us=_COUNT, edge={"type": "array", "items": _HEX},
    ),
    "Hold": _object(
        ["name", "start", "stop", "reason"],
        name=_TEXT, start=_COUNT, stop={"type": ["integer", "null"]}, reason=_TEXT,
    ),
    "Holds": _object(["holds"], holds={"type": "array", "items": _ref("Hold")}),
    "Storable": _object(["payload", "action_type"], payload={"type": "object"}, action_type=_TEXT),
    "Payload": {"type": "object"},
    "Stats": {"type": "object"},
    "Keys": _object(
        ["keys", "vkeys"],
        keys={"type": "array", "items": {"type": "object"}}, vkeys={"type": "array", "items": _TEXT},
    ),
    "Replicas": _object(["replicas"], replicas={"type": "array", "items": {"type": "object"}}),
    "Request": {
        "description": "attestlog/request/v2: see docs/spec/approval.md.",
        **_object(
            ["action_hash", "draft", "format", "log", "origin", "request_id"],
            action_hash=_HEX, draft={"type": "object"}, format=_TEXT, log=_HEX, origin=_TEXT,
            request_id={"type": "string", "format": "uuid"},
        ),
    },
    "Requests": _object(["requests"], requests={"type": "array", "items": _TEXT}),
    "Approval": {"description": "attestlog/approval/v2: see docs/spec/approval.md.", "type": "object"},
    "Approvals": _object(["approvals"], approvals={"type": "array", "items": _ref("Approval")}),
    "Status": _object(["status"], status=_TEXT),
}  # fmt: skip

_RECEIPTS: Final = _content({"oneOf": [_ref("Receipt"), {"type": "array", "items": _ref("Receipt")}]})
_NOTE: Final = _content(_TEXT, "text/plain")
_OTLP: Final = {
    **_content({"type": "object", "description": "OTLP 1.x as JSON."}),
    **_content({"type": "string", "format": "binary"}, "application/x-protobuf"),
}  # fmt: skip
_OR_PUBLIC: Final = ", or public where the operator says so"


def _operation(
    summary: str,
    scopes: str,
    answer: Members,
    *parameters: Members,
    status: str = "200",
    body: Members | None = None,
    others: Members | None = None,
) -> Members:
    made: Members = {
        "summary": summary,
        "description": f"Scope: {scopes}." if scopes else "Public.",
        "operationId": summary.rstrip(".").replace(" ", "_").replace(",", "").lower(),
        "responses": {
            status: {"description": "Done.", "content": answer},
            **(others or {}),
            "default": _PROBLEM,
        },
    }
    if parameters:
        made["parameters"] = list(parameters)
    if body is not None:
        made["requestBody"] = {"required": True, "content": body}
    if not scopes:
        made["security"] = []
    return made


_PROBLEM: Final[Members] = {
    "description": "A problem.",
    "content": _content({"$ref": "#/components/schemas/Problem"}, "application/problem+json"),
}  # fmt: skip


def _entries() -> Members:
    drafts = {
        **_content({
            "oneOf": [
                _ref("Draft"), {"type": "array", "items": _ref("Draft"), "minItems": 1, "maxItems": 1_024}
            ]
        }),
        **_content({"type": "string", "description": "A draft a line."}, "application/x-ndjson"),
    }  # fmt: skip
    json = _content
    again = {"description": "Written before, under the same key.", "content": _RECEIPTS}
    unchanged = {"description": "As the reader has it."}
    return {
        "/v1/entries": {
            "post": _operation(
                "Append entries", "append", _RECEIPTS, _LOG, _KEY, _PREFER, status="201", body=drafts,
                others={"200": again},
            ),
            "get": _operation("Query entries", "read", json(_ref("Page")), _LOG, *_FILTERS),
        },
        "/v1/entries/{number}": {
            "get": _operation(
                "Read an entry", "read", json(_ref("Entry")), _NUMBER, _LOG, others={"304": unchanged}
            )
        },
        "/v1/entries/{number}/proof": {
            "get": _operation(
                "Prove an entry", "read", _NOTE, _NUMBER, _LOG,
                _in("query", "payload", "Whether its payload goes with it.", {"type": "boolean"}),
            )
        },
    }  # fmt: skip


def _log_itself() -> Members:
    json = _content
    return {
        "/v1/checkpoint": {
            "get": _operation("Read the checkpoint", "read", _NOTE, _LOG),
            "post": _operation("Sign a checkpoint", "admin", _NOTE, _LOG),
        },
        "/checkpoint": {
            "get": _operation("Read the checkpoint of the tree", f"read{_OR_PUBLIC}", _NOTE, _LOG)
        },
        "/tile/{path}": {
            "get": _operation(
                "Read a tile or entry bundle", f"read{_OR_PUBLIC}",
                _content({"type": "string", "format": "binary"}, "application/octet-stream"),
                _in("path", "path", "As in C2SP tlog-tiles.", _TEXT, required=True), _LOG,
            )
        },
        "/v1/consistency": {
            "get": _operation(
                "Prove a prefix", "read", _NOTE, _LOG,
                _in("query", "size", "How many entries the prefix has.", _COUNT, required=True),
            )
        },
        "/v1/tail": {
            "get": _operation(
                "Follow the log", "read", _content(_TEXT, "text/event-stream"), _LOG,
                _in("query", "after", "Begin after this entry; else with the next one.", _COUNT),
                _in("header", "Last-Event-ID", "As after; browsers send it when they connect again.", _COUNT),
            )
        },
        "/v1/changes": {
            "post": _operation(
                "Change the log", "admin", json(_ref("Receipt")), _LOG, status="201",
                body=json(_ref("Change")),
            )
        },
        **{
            f"/v1/{signal}": {
                "post": _operation(
                    f"Record {signal} of OpenTelemetry", "append", _OTLP, _LOG, body=_OTLP
                )
            }
            for signal in ("traces", "logs")
        },
        "/v1/head": {"get": _operation("Read the head", "append or read", json(_ref("Head")), _LOG)},
        "/v1/holds": {"get": _operation("List legal holds", "read", json(_ref("Holds")), _LOG)},
        "/v1/rules": {"get": _operation("Read the rules", "append or read", json(_ref("Rules")), _LOG)},
        "/v1/storable": {
            "post": _operation(
                "Redact a payload", "append", json(_ref("Payload")), _LOG, body=json(_ref("Storable"))
            )
        },
        "/v1/stats": {
            "get": _operation(
                "Read figures", "read", json(_ref("Stats")), _LOG,
                _in("query", "since", "As in a query.", _TEXT),
                _in("query", "until", "As in a query.", _TEXT),
            )
        },
        "/v1/keys": {"get": _operation("List keys", "read or append", json(_ref("Keys")), _LOG)},
        "/v1/replicas": {"get": _operation("List replicas", "read", json(_ref("Replicas")), _LOG)},
    }  # fmt: skip


def _people() -> Members:
    json, request = _content, "/v1/requests/{request_id}"
    return {
        "/v1/requests": {
            "post": _operation(
                "Ask for approval", "append", json(_ref("Request")), _LOG, status="201",
                body=json(_ref("Request")),
            ),
            "get": _operation("List requests", "approve or read", json(_ref("Requests")), _LOG),
        },
        request: {
            "get": _operation(
                "Read a request", "approve, read or append", json(_ref("Request")), _REQUEST_ID, _LOG
            )
        },
        f"{request}/approvals": {
            "post": _operation(
                "Leave an approval", "approve", json(_ref("Approval")), _REQUEST_ID, _LOG, status="201",
                body=json(_ref("Approval")),
            ),
            "get": _operation(
                "List approvals", "approve, read or append", json(_ref("Approvals")), _REQUEST_ID, _LOG
            ),
        },
    }  # fmt: skip


def _operation_of_the_service() -> Members:
    json = _content
    return {
        "/healthz": {"get": _operation("Say that the server answers", "", json(_ref("Status")))},
        "/readyz": {"get": _operation("Say whether it can append", "", json(_ref("Status")))},
        "/metrics": {"get": _operation("Read metrics", "metrics", _NOTE)},
        "/openapi.json": {"get": _operation("Read this document", "", json({"type": "object"}))},
    }  # fmt: skip


def document() -> Members:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "attestlog", "version": VERSION, "description": "A log and its key, as a service."},
        "security": [{"bearer": []}],
        "paths": _entries() | _log_itself() | _people() | _operation_of_the_service(),
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {**_SCHEMAS, **_ours("Entry"), **_ours("Draft"), **_changes()},
        },
    }


def _ours(name: str) -> Members:
    """A schema of `attestlog.schemas`, with its definitions beside it."""
    made = dict(make_schema(name.lower()))
    made.pop("$schema", None)
    made.pop("$id", None)
    definitions = made.pop("$defs", {})
    prefix = {f"#/$defs/{inner}": f"#/components/schemas/{name}{inner}" for inner in definitions}
    found = {name: made, **{f"{name}{inner}": schema for inner, schema in definitions.items()}}
    moved: Members = _moved(found, prefix)
    return moved


def _changes() -> Members:
    (_, found) = msgspec.json.schema_components([AnyChange], ref_template="#/components/schemas/{name}")
    return {**found, "Change": {"oneOf": [_ref(kind) for kind in sorted(found)]}}


def _moved(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            name: names.get(item, item) if name == "$ref" and isinstance(item, str) else _moved(item, names)
            for name, item in value.items()
        }
    return [_moved(item, names) for item in value] if isinstance(value, list) else value
