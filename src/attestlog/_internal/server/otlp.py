"""OTLP/HTTP as a service takes it: spans and logs of OpenTelemetry's GenAI conventions become drafts.

What is instrumented already is recorded so without a line of code. It is only *observed*: reported after the
fact by those who ran the act, from a buffer that may drop. Nothing was asked before it, nothing stopped. The
entry says so: `actor_context.observed`.

A span or log is of these conventions if it has an attribute, or an event name, that begins with `gen_ai.`.
The others are not recorded, and counted as rejected in the answer. JSON needs nothing; protobuf the extra
`otel`.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from attestlog._internal.core import canonical
from attestlog._internal.core.entry import format_timestamp
from attestlog.errors import MalformedError, MissingExtraError

JSON: Final = "application/json"
PROTOBUF: Final = "application/x-protobuf"

PREFIX: Final = "gen_ai."
NAME_LENGTH_MAX: Final = 200
"""Characters of a name from outside that becomes part of an action type or an actor's id."""

_EXACT_MAX: Final = (1 << 53) - 1
_ERROR: Final = 2
"""STATUS_CODE_ERROR of a span."""
_SEVERITY_ERROR: Final = 17
"""SEVERITY_NUMBER_ERROR of a log: this and above."""
_KINDS: Final = ("unspecified", "internal", "server", "client", "producer", "consumer")
_TIME_MAX_NS: Final = 253_402_300_799_000_000_000
"""The end of the year 9999."""


class _Camel(Struct, rename="camel"):
    pass


class _Value(_Camel):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | None = None
    double_value: float | None = None
    array_value: _Values | None = None
    kvlist_value: _Pairs | None = None
    bytes_value: str | None = None


class _Values(_Camel):
    values: list[_Value] = []


class _Pair(_Camel):
    key: str
    value: _Value | None = None


class _Pairs(_Camel):
    values: list[_Pair] = []


class _Resource(_Camel):
    attributes: list[_Pair] = []


class _Status(_Camel):
    code: int = 0
    message: str = ""


class _Event(_Camel):
    time_unix_nano: int = 0
    name: str = ""
    attributes: list[_Pair] = []


class _Span(_Camel):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    name: str = ""
    kind: int = 0
    start_time_unix_nano: int = 0
    end_time_unix_nano: int = 0
    attributes: list[_Pair] = []
    events: list[_Event] = []
    status: _Status | None = None


class _Record(_Camel):
    trace_id: str = ""
    span_id: str = ""
    time_unix_nano: int = 0
    observed_time_unix_nano: int = 0
    severity_number: int = 0
    severity_text: str = ""
    event_name: str = ""
    body: _Value | None = None
    attributes: list[_Pair] = []


class _ScopeSpans(_Camel):
    spans: list[_Span] = []


class _ScopeLogs(_Camel):
    log_records: list[_Record] = []


class _ResourceSpans(_Camel):
    resource: _Resource | None = None
    scope_spans: list[_ScopeSpans] = []


class _ResourceLogs(_Camel):
    resource: _Resource | None = None
    scope_logs: list[_ScopeLogs] = []


class _Traces(_Camel):
    resource_spans: list[_ResourceSpans] = []


class _Logs(_Camel):
    resource_logs: list[_ResourceLogs] = []


class Observed(NamedTuple):
    """What a request holds."""

    drafts: list[dict[str, Any]]
    others: int
    """Spans or logs that are not of the GenAI conventions."""


class Signal(NamedTuple):
    """Traces or logs: the names of what they have in OTLP."""

    module: str
    request: str
    response: str
    rejected: str


TRACES: Final = Signal(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2", "ExportTraceServiceRequest",
    "ExportTraceServiceResponse", "rejectedSpans",
)  # fmt: skip
LOGS: Final = Signal(
    "opentelemetry.proto.collector.logs.v1.logs_service_pb2", "ExportLogsServiceRequest",
    "ExportLogsServiceResponse", "rejectedLogRecords",
)  # fmt: skip


def parse_observed(signal: Signal, body: bytes, media_type: str, actor_id: str | None) -> Observed:
    """The drafts of a request. `actor_id`: whose entries these are, whatever they say themselves.

    Raises MalformedError, MissingExtraError.
    """
    members = _members(signal, body, media_type)
    drafts, others = [], 0
    for draft in _spans(members, actor_id) if signal is TRACES else _records(members, actor_id):
        if draft is None:
            others += 1
        else:
            drafts.append(draft)
    return Observed(drafts, others)


def format_answer(signal: Signal, media_type: str, rejected: int, why: str) -> bytes:
    """OTLP's answer: nothing where all was recorded, else how many were not, and why."""
    partial = {"partialSuccess": {signal.rejected: str(rejected), "errorMessage": why}} if rejected else {}
    if media_type == JSON:
        return msgspec.json.encode(partial)
    from google.protobuf.json_format import ParseDict

    answer: bytes = ParseDict(partial, _message(signal, signal.response)).SerializeToString()
    return answer


def key_of(body: bytes) -> str:
    """An idempotency key: an exporter that sends the same again, because no answer came, writes no more."""
    return f"otlp:{sha256(body).hexdigest()}"


def _members(signal: Signal, body: bytes, media_type: str) -> Any:
    if media_type == JSON:
        return canonical.decode(body)
    if media_type != PROTOBUF:
        raise MalformedError(
            f"{ascii(media_type)[:80]} is neither {JSON} nor {PROTOBUF}", member="content-type"
        )
    message = _message(signal, signal.request)
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.message import DecodeError

    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise MalformedError(f"the request is no {signal.request}: {error}") from None
    return MessageToDict(message, use_integers_for_enums=True)


def _message(signal: Signal, name: str) -> Any:
    from importlib import import_module

    try:
        return getattr(import_module(signal.module), name)()
    except ImportError:
        raise MissingExtraError(
            "OTLP as protobuf needs the extra 'otel', which is not installed", extra="otel"
        ) from None


def _converted(members: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(members, kind, strict=False)  # 64-bit integers are text in JSON
    except (msgspec.ValidationError, RecursionError) as error:
        raise MalformedError(f"the request is not OTLP: {str(error)[:300]}") from None


def _spans(members: Any, actor_id: str | None) -> Iterator[dict[str, Any] | None]:
    traces: _Traces = _converted(members, _Traces)
    for group in traces.resource_spans:
        resource = _plain(group.resource.attributes if group.resource else [])
        for scope in group.scope_spans:
            for span in scope.spans:
                yield _of_span(span, resource, actor_id)


def _records(members: Any, actor_id: str | None) -> Iterator[dict[str, Any] | None]:
    logs: _Logs = _converted(members, _Logs)
    for group in logs.resource_logs:
        resource = _plain(group.resource.attributes if group.resource else [])
        for scope in group.scope_logs:
            for record in scope.log_records:
                yield _of_record(record, resource, actor_id)


def _of_span(span: _Span, resource: dict[str, Any], actor_id: str | None) -> dict[str, Any] | None:
    said = _plain(span.attributes)
    if not any(name.startswith(PREFIX) for name in said):
        return None
    status = span.status or _Status()
    payload = {
        "signal": "span", "name": span.name, "kind": _KINDS[span.kind if 0 <= span.kind < len(_KINDS) else 0],
        "started_at": _time(span.start_time_unix_nano), "ended_at": _time(span.end_time_unix_nano),
        "attributes": said, "resource": resource,
        "events": [
            {"name": event.name, "at": _time(event.time_unix_nano), "attributes": _plain(event.attributes)}
            for event in span.events
        ],
    }  # fmt: skip
    operation = _text(said, "gen_ai.operation.name") or "span"
    is_failed = status.code == _ERROR
    ids = {
        "trace_id": _id(span.trace_id), "span_id": _id(span.span_id),
        "parent_span_id": _id(span.parent_span_id),
    }  # fmt: skip
    act = _Act(operation, ids, payload, status.message if is_failed else None)
    return _draft(act, said, resource, actor_id)


def _of_record(record: _Record, resource: dict[str, Any], actor_id: str | None) -> dict[str, Any] | None:
    said = _plain(record.attributes)
    name = record.event_name or _text(said, "event.name")
    if not name.startswith(PREFIX) and not any(key.startswith(PREFIX) for key in said):
        return None
    payload = {
        "signal": "log", "name": name, "at": _time(record.time_unix_nano or record.observed_time_unix_nano),
        "severity": record.severity_text, "attributes": said, "resource": resource,
        "body": None if record.body is None else _value(record.body),
    }  # fmt: skip
    operation = name.removeprefix(PREFIX) or _text(said, "gen_ai.operation.name") or "log"
    is_failed = record.severity_number >= _SEVERITY_ERROR
    ids = {"trace_id": _id(record.trace_id), "span_id": _id(record.span_id)}
    return _draft(_Act(operation, ids, payload, "" if is_failed else None), said, resource, actor_id)


class _Act(NamedTuple):
    operation: str
    ids: Mapping[str, str]
    payload: dict[str, Any]
    failure: str | None
    """What it says of its failure; None: it did not fail."""


def _draft(
    act: _Act, said: Mapping[str, Any], resource: Mapping[str, Any], actor_id: str | None
) -> dict[str, Any]:
    tool, agent = _text(said, "gen_ai.tool.name"), _text(said, "gen_ai.agent.id", "gen_ai.agent.name")
    is_tool = bool(tool) and act.operation == "execute_tool"
    kind = _text(said, "error.type")
    more = {
        "session_id": _text(said, "gen_ai.conversation.id"),
        "tool_call_id": _text(said, "gen_ai.tool.call.id"),
        "model": _text(said, "gen_ai.request.model"),
    }  # fmt: skip
    draft: dict[str, Any] = {
        "event_type": "ACTION",
        "action_type": _name(f"tool.{tool}" if is_tool else f"{PREFIX}{act.operation}"),
        "actor_id": actor_id or _name(agent or _text(resource, "service.name") or "unknown"),
        "actor_type": "AUTONOMOUS_AGENT" if agent else "SYSTEM",
        "actor_context": {
            "observed": "otlp",
            **{name: text for name, text in (*act.ids.items(), *more.items()) if text},
        },
        "action_payload": act.payload,
        "execution_status": "SUCCESS" if act.failure is None and not kind else "FAILED",
    }
    if draft["execution_status"] == "FAILED":
        draft |= {
            "event_category": "ERROR",
            "error_details": {"type": kind or "error", "message": act.failure or ""},
        }
    return draft


def _plain(pairs: list[_Pair]) -> dict[str, Any]:
    return {pair.key: None if pair.value is None else _value(pair.value) for pair in pairs}


def _value(value: _Value) -> Any:
    """As JSON that an entry can have."""
    if value.int_value is not None:
        return value.int_value if abs(value.int_value) <= _EXACT_MAX else str(value.int_value)
    if value.double_value is not None:
        return value.double_value if math.isfinite(value.double_value) else repr(value.double_value)
    if value.array_value is not None:
        return [_value(item) for item in value.array_value.values]
    if value.kvlist_value is not None:
        return _plain(value.kvlist_value.values)
    for plain in (value.string_value, value.bool_value, value.bytes_value):
        if plain is not None:
            return plain
    return None


def _text(said: Mapping[str, Any], *names: str) -> str:
    return next((said[name] for name in names if isinstance(said.get(name), str) and said[name]), "")


def _name(text: str) -> str:
    """A name that an entry can have, and that is none of the log's own."""
    printable = "".join(character if character.isprintable() else " " for character in text).strip()
    cut = printable[:NAME_LENGTH_MAX] or "unknown"
    return cut if not cut.casefold().startswith("attestlog") else f"otel.{cut}"


def _id(text: str) -> str:
    """Hex, as in OTLP's JSON; of protobuf's own JSON, where it is Base64. "" for what is neither."""
    if len(text) in {16, 32} and not set(text.lower()) - set("0123456789abcdef"):
        return text.lower()
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return ""
    return data.hex() if len(data) in {8, 16} else ""


def _time(nanoseconds: int) -> str | None:
    return format_timestamp(nanoseconds // 1_000) if 0 < nanoseconds < _TIME_MAX_NS else None
