"""OTLP and webhooks: what is sent, how it is signed, and what an answer means."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.exports import about, items, made_log
from tests.support.serving import refusing
from tests.support.sinks import Answer, Receiver, receiving

from attestlog._internal.shipping.contract import Batch, Sink
from attestlog._internal.shipping.http import parse_secret
from attestlog._internal.shipping.opening import SinkOptions, open_sink
from attestlog.errors import MalformedConfigError, SinkError, TooLargeError

SECRET = base64.b64encode(b"s" * 32).decode()


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    log = made_log(tmp_path_factory.mktemp("http") / "log")
    return Batch(about(log), 2, 6, items(log)[2:6])


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    (tmp_path / "secret").write_text(f"whsec_{SECRET}\n")
    return str(tmp_path / "secret")


def sink_of(receiver: Receiver, kind: str, **options: str) -> Sink:
    return open_sink(f"{kind}+http://127.0.0.1:{receiver.port}/hook", SinkOptions(**options))


def test_a_webhook_is_signed_as_standard_webhooks_says(batch: Batch, secret_file: str) -> None:
    with receiving() as receiver:
        for _ in range(2):
            sink_of(receiver, "webhook", secret_file=secret_file).deliver(batch)
    first, again = receiver.got
    signed = f"{first.headers['webhook-id']}.{first.headers['webhook-timestamp']}.".encode() + first.body
    digest = hmac.new(base64.b64decode(SECRET), signed, hashlib.sha256).digest()
    assert first.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert first.body.splitlines() == [item.line for item in batch.items]
    assert first.headers["content-type"] == "application/x-ndjson"
    # A batch that is sent again has the same id, by which a receiver can drop it.
    assert first.headers["webhook-id"] == again.headers["webhook-id"] == f"{batch.about.genesis[:16]}-2-6"
    assert first.path == "/hook"


@pytest.mark.parametrize(
    "form, content_type, count",
    [
        ("ocsf", "application/x-ndjson", lambda body: len(body.splitlines())),
        ("cloudevents", "application/cloudevents-batch+json", lambda body: len(json.loads(body))),
    ],
)
def test_forms_of_a_webhook(
    batch: Batch, secret_file: str, form: str, content_type: str, count: Callable[[bytes], int]
) -> None:
    with receiving() as receiver:
        sink_of(receiver, "webhook", secret_file=secret_file, form=form).deliver(batch)
    (got,) = receiver.got
    assert (got.headers["content-type"], count(got.body)) == (content_type, len(batch.items))


def test_otlp_goes_to_its_usual_path_with_a_token(batch: Batch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("made-up-token\n")
    with receiving() as receiver:
        options = SinkOptions(token_file=str(tmp_path / "token"))
        open_sink(f"otlp+http://127.0.0.1:{receiver.port}", options).deliver(batch)
    (got,) = receiver.got
    assert (got.path, got.headers["content-type"]) == ("/v1/logs", "application/json")
    assert got.headers["authorization"] == "Bearer made-up-token"
    assert len(json.loads(got.body)["resourceLogs"][0]["scopeLogs"][0]["logRecords"]) == len(batch.items)


@pytest.mark.parametrize(
    "answer, rejected",
    [
        (b"", 0),
        (b"{}", 0),
        (b"not json", 0),
        (b'{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"too old"}}', 2),
        (b'{"partialSuccess":{"rejectedLogRecords":9}}', 4),
        (b'{"partialSuccess":{"rejectedLogRecords":"-1"}}', 0),
        (b'{"partialSuccess":{"rejectedLogRecords":"x"}}', 0),
    ],
)
def test_partial_success_is_counted(batch: Batch, answer: bytes, rejected: int) -> None:
    with receiving(lambda _: (200, answer)) as receiver:
        assert sink_of(receiver, "otlp").deliver(batch).rejected == rejected


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_success(batch: Batch, secret_file: str, status: int) -> None:
    with receiving(lambda _: (status, b"")) as receiver:
        sink_of(receiver, "webhook", secret_file=secret_file).deliver(batch)


@pytest.mark.parametrize(
    "status, retryable",
    [(301, False), (400, False), (401, False), (404, False), (429, True), (500, True), (503, True)],
)
def test_other_statuses_are_failures(batch: Batch, status: int, retryable: bool) -> None:
    with receiving(lambda _: (status, b"no")) as receiver, pytest.raises(SinkError) as raised:
        sink_of(receiver, "otlp").deliver(batch)
    assert (raised.value.status, raised.value.retryable) == (status, retryable)


def test_too_large_is_said_apart(batch: Batch) -> None:
    answer: Answer = lambda _: (413, b"")  # noqa: E731
    with receiving(answer) as receiver, pytest.raises(TooLargeError):
        sink_of(receiver, "otlp").deliver(batch)


def test_nobody_there_may_pass(batch: Batch) -> None:
    with refusing() as url, pytest.raises(SinkError) as raised:
        open_sink(f"otlp+{url}", SinkOptions()).deliver(batch)
    assert raised.value.retryable


@pytest.mark.parametrize("text", ["", "short", "whsec_", base64.b64encode(b"x" * 23).decode(), "!" * 40])
def test_a_weak_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(MalformedConfigError) as raised:
        parse_secret(text)
    assert not text or text not in str(raised.value)
