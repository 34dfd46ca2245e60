"""OTLP that a service takes: what becomes an entry, once, marked as observed, and what does not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from tests.support.services_of_logs import ORIGIN, Place, served_log

import attestlog
from attestlog._internal.server import otlp
from attestlog._internal.server.otlp import LOGS, TRACES, parse_observed
from attestlog._internal.server.tokens import Scope
from attestlog.errors import MalformedError, MissingExtraError

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def pairs(**said: Any) -> list[dict[str, Any]]:
    def value(item: Any) -> dict[str, Any]:
        if isinstance(item, bool):
            return {"boolValue": item}
        if isinstance(item, int):
            return {"intValue": str(item)}
        if isinstance(item, float):
            return {"doubleValue": item}
        if isinstance(item, list):
            return {"arrayValue": {"values": [value(inner) for inner in item]}}
        if isinstance(item, dict):
            return {"kvlistValue": {"values": pairs(**item)}}
        return {"stringValue": item}

    return [{"key": name, "value": value(item)} for name, item in said.items()]


def span(operation: str = "chat", **changes: Any) -> dict[str, Any]:
    said = changes.pop("said", {"gen_ai.operation.name": operation, "gen_ai.request.model": "model-1"})
    return {
        "traceId": TRACE, "spanId": SPAN, "name": operation, "kind": 3,
        "startTimeUnixNano": "1800000000000000000", "endTimeUnixNano": "1800000001500000000",
        "attributes": pairs(**said), **changes,
    }  # fmt: skip


def traces(*spans: dict[str, Any]) -> dict[str, Any]:
    resource = {"attributes": pairs(**{"service.name": "planner"})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}


def logs(*records: dict[str, Any]) -> dict[str, Any]:
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": list(records)}]}]}


TOOL = span(
    "execute_tool",
    said={
        "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search",
        "gen_ai.tool.call.id": "call-1",
        "gen_ai.agent.id": "agent-7", "gen_ai.conversation.id": "talk-3", "counts": [1, 2**60, True],
        "score": 0.5, "inner": {"a": "b"}, "error.type": "timeout",
    },
    status={"code": 2, "message": "took too long"},
    events=[{"timeUnixNano": "1800000001000000000", "name": "exception", "attributes": pairs(x="y")}],
)  # fmt: skip


def packed(body: dict[str, Any], kind: Any) -> bytes:
    """As protobuf: there ids are bytes."""
    import base64

    def ids(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: base64.b64encode(bytes.fromhex(item)).decode()
                if name in {"traceId", "spanId"}
                else ids(item)
                for name, item in value.items()
            }
        return [ids(item) for item in value] if isinstance(value, list) else value

    data: bytes = ParseDict(ids(body), kind()).SerializeToString()
    return data


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_span_says_who_did_what_and_that_it_was_observed(is_packed: bool) -> None:
    body = traces(TOOL)
    data = (
        packed(body, trace_service_pb2.ExportTraceServiceRequest) if is_packed else json.dumps(body).encode()
    )
    media_type = otlp.PROTOBUF if is_packed else otlp.JSON
    (draft,), others = parse_observed(TRACES, data, media_type, None)
    assert others == 0
    assert (draft["event_type"], draft["action_type"], draft["actor_id"], draft["actor_type"]) == (
        "ACTION", "tool.search", "agent-7", "AUTONOMOUS_AGENT",
    )  # fmt: skip
    assert draft["actor_context"] == {
        "observed": "otlp", "trace_id": TRACE, "span_id": SPAN, "session_id": "talk-3",
        "tool_call_id": "call-1",
    }  # fmt: skip
    assert (draft["execution_status"], draft["error_details"]) == (
        "FAILED", {"type": "timeout", "message": "took too long"},
    )  # fmt: skip
    payload = draft["action_payload"]
    assert (payload["started_at"], payload["ended_at"]) == (
        "2027-01-15T08:00:00.000000Z", "2027-01-15T08:00:01.500000Z",
    )  # fmt: skip
    assert payload["attributes"]["counts"] == [1, str(2**60), True]
    assert payload["attributes"]["inner"] == {"a": "b"}
    assert payload["events"][0]["name"] == "exception"
    assert payload["kind"] == "client"


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_log_of_the_conventions(is_packed: bool) -> None:
    record = {
        "traceId": TRACE, "spanId": SPAN, "timeUnixNano": "1800000000000000000", "severityNumber": 9,
        "eventName": "gen_ai.client.inference.operation.details", "body": pairs(a=[{"x": "hi"}])[0]["value"],
        "attributes": pairs(**{"gen_ai.request.model": "model-1"}),
    }  # fmt: skip
    body = logs(record, {"eventName": "other", "body": {"stringValue": "x"}})
    data = packed(body, logs_service_pb2.ExportLogsServiceRequest) if is_packed else json.dumps(body).encode()
    (draft,), others = parse_observed(LOGS, data, otlp.PROTOBUF if is_packed else otlp.JSON, "agent-7")
    assert others == 1
    assert draft["action_type"] == "gen_ai.client.inference.operation.details"
    assert (draft["actor_id"], draft["execution_status"]) == ("agent-7", "SUCCESS")
    assert draft["actor_context"]["model"] == "model-1"
    assert draft["action_payload"]["body"] == [{"x": "hi"}]


@pytest.mark.parametrize(
    "body, media_type",
    [
        (b"", otlp.JSON), (b"[]", otlp.JSON), (b'{"resourceSpans": 7}', otlp.JSON),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"kind": "x"}]}]}]}', otlp.JSON),
        (b'{"a":1,"a":2}', otlp.JSON), (b"\xff\xff\xff", otlp.PROTOBUF), (b"{}", "text/plain"),
    ],
)  # fmt: skip
def test_what_is_not_otlp(body: bytes, media_type: str) -> None:
    with pytest.raises(MalformedError):
        parse_observed(TRACES, body, media_type, None)


def test_without_the_extra_protobuf_is_refused_and_json_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    signal = TRACES._replace(module="opentelemetry_that_is_not_here")
    with pytest.raises(MissingExtraError):
        parse_observed(signal, b"", otlp.PROTOBUF, None)
    assert parse_observed(TRACES, b"{}", otlp.JSON, None) == ([], 0)


@pytest.fixture
def place(tmp_path: Path, own_home: Path) -> Iterator[Place]:
    attestlog.create(tmp_path / "audit", origin=ORIGIN).close()
    with served_log(tmp_path) as served:
        yield served


@pytest.fixture
def client(place: Place) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=place.url, headers=place.bearer("collector", Scope.APPEND)) as made:
        yield made


def entries(place: Place) -> list[attestlog.Entry]:
    return list(attestlog.query_log(place.folder / "audit", newest_first=False))[1:]


def test_what_is_sent_twice_is_recorded_once(place: Place, client: httpx.Client) -> None:
    body = json.dumps(traces(TOOL, span(), span(said={"http.method": "GET"})))
    for _ in range(2):
        answer = client.post("/v1/traces", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 200
        assert answer.json()["partialSuccess"]["rejectedSpans"] == "1"
    assert [entry.action_type for entry in entries(place)] == ["tool.search", "gen_ai.chat"]
    assert {entry.actor_context["observed"] for entry in entries(place)} == {"otlp"}
    assert [entry.actor_id for entry in entries(place)] == ["agent-7", "planner"]
    assert attestlog.verify(place.folder / "audit", remember=False).ok


def test_protobuf_is_answered_in_protobuf(place: Place, client: httpx.Client) -> None:
    data = packed(traces(span(), span(said={"x": 1})), trace_service_pb2.ExportTraceServiceRequest)
    answer = client.post("/v1/traces", content=data, headers={"Content-Type": otlp.PROTOBUF})
    assert answer.headers["content-type"] == otlp.PROTOBUF
    told = trace_service_pb2.ExportTraceServiceResponse.FromString(answer.content)
    assert told.partial_success.rejected_spans == 1
    assert "GenAI" in told.partial_success.error_message
    whole = packed(logs({"eventName": "gen_ai.x"}), logs_service_pb2.ExportLogsServiceRequest)
    assert client.post("/v1/logs", content=whole, headers={"Content-Type": otlp.PROTOBUF}).content == b""
    assert len(entries(place)) == 2


def test_what_the_log_cannot_take_keeps_nothing_else_out(place: Place, client: httpx.Client) -> None:
    large = span(said={"gen_ai.operation.name": "chat", "text": "x" * (17 << 20)})
    answer = client.post("/v1/traces", json=traces(span(), large, TOOL), timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["partialSuccess"]["rejectedSpans"] == "1"
    assert [entry.action_type for entry in entries(place)] == ["gen_ai.chat", "tool.search"]


def test_names_of_the_log_are_not_taken(place: Place, client: httpx.Client) -> None:
    record = {"eventName": "gen_ai.x", "attributes": pairs(**{"gen_ai.agent.name": "attestlog\n"})}
    tool = span(said={"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "\x00"})
    assert client.post("/v1/logs", json=logs(record)).json() == {}
    assert client.post("/v1/traces", json=traces(tool)).json() == {}
    assert [entry.actor_id for entry in entries(place)] == ["otel.attestlog", "planner"]


def test_a_bound_token_observes_as_its_actor(place: Place) -> None:
    bound = place.bearer("agent", Scope.APPEND, actor_id="agent-9", action_types=["gen_ai.*"])
    with httpx.Client(base_url=place.url, headers=bound) as client:
        assert client.post("/v1/traces", json=traces(span())).status_code == 200
        assert client.post("/v1/traces", json=traces(TOOL)).status_code == 403
    assert [entry.actor_id for entry in entries(place)] == ["agent-9"]


def test_more_than_a_batch_holds(place: Place, client: httpx.Client) -> None:
    many = json.dumps(traces(*[span(spanId=f"{number:016x}") for number in range(1, 1_101)]))
    for _ in range(2):
        answer = client.post(
            "/v1/traces", content=many, headers={"Content-Type": "application/json"}, timeout=60
        )
        assert answer.json() == {}
    assert len(entries(place)) == 1_100
