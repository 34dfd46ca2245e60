"""Sinks over HTTP: OTLP (opentelemetry.io), and webhooks as Standard Webhooks signs them.

    webhook-id           the batch: the same when it is sent again, so that a receiver can drop it
    webhook-timestamp    POSIX seconds, when it was sent
    webhook-signature    v1,<base64 of HMAC-SHA256 over "ID.TIMESTAMP.BODY">

A status from 200 to 299 is the receiver's word that it has the batch. OTLP's receiver may take a batch and
refuse some records of it for good (partial success): those are counted, because they would be refused again.
"""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import SplitResult

import msgspec
from msgspec import Struct

from attestlog._internal.exporting import cloudevents, ocsf, otlp
from attestlog._internal.net import Answer, Client, Limits, NoAnswerError, may_pass, trusting
from attestlog._internal.shipping.contract import Batch, Delivered
from attestlog.errors import MalformedConfigError, SinkError, TooLargeError

LIMITS: Final = Limits(connect_s=5.0, silence_s=30.0, total_s=60.0)
"""For a megabyte at most, and its answer."""

ANSWER_SIZE_MAX_BYTES: Final = 64 << 10
REASON_MAX_CHARACTERS: Final = 300
"""Of what a receiver says: it goes into status and entries."""

SECRET_SIZE_MIN_BYTES: Final = 24
"""As Standard Webhooks asks."""

NDJSON: Final = "application/x-ndjson"


class OtlpSink:
    """An OpenTelemetry Collector, or what speaks as one."""

    form = "otlp"

    def __init__(self, name: str, url: SplitResult, headers: Mapping[str, str], ca_file: str | None) -> None:
        """Raises MalformedConfigError."""
        self.name, self._post = name, _Poster(name, url, headers, ca_file)

    def deliver(self, batch: Batch) -> Delivered:
        """See `Sink.deliver`."""
        body = otlp.request(batch.items, batch.about)
        answer = self._post(body, {"content-type": "application/json"})
        rejected, reason = _partial_success(answer)
        return Delivered(rejected=min(rejected, len(batch.items)), reason=reason)

    def close(self) -> None:
        """See `Sink.close`."""
        self._post.close()


class WebhookSink:
    """A server of the user's own."""

    def __init__(
        self,
        name: str,
        url: SplitResult,
        headers: Mapping[str, str],
        ca_file: str | None,
        *,
        form: str,
        secret: bytes,
    ) -> None:
        """Raises MalformedConfigError."""
        self.name, self.form, self._secret = name, form, secret
        self._content_type, self._encode = BODIES[form]
        self._post = _Poster(name, url, headers, ca_file)

    def deliver(self, batch: Batch) -> Delivered:
        """See `Sink.deliver`."""
        body = self._encode(batch)
        message_id = f"{batch.about.genesis[:16]}-{batch.start}-{batch.stop}"
        headers = sign(self._secret, message_id, int(time.time()), body)
        self._post(body, {"content-type": self._content_type, **headers})
        return Delivered()

    def close(self) -> None:
        """See `Sink.close`."""
        self._post.close()


def sign(secret: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that Standard Webhooks asks for."""
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    digest = base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{digest}",
    }


def parse_secret(text: str) -> bytes:
    """Of base64, perhaps after `whsec_`. Raises MalformedConfigError, which repeats nothing of it."""
    try:
        secret = base64.b64decode(text.strip().removeprefix("whsec_"), validate=True)
    except ValueError:
        secret = b""
    if len(secret) < SECRET_SIZE_MIN_BYTES:
        what = f"the webhook's secret is not base64 of at least {SECRET_SIZE_MIN_BYTES} bytes"
        raise MalformedConfigError(what, member="secret")
    return secret


def _lines(batch: Batch) -> bytes:
    return b"".join(item.line + b"\n" for item in batch.items)


def _events(batch: Batch) -> bytes:
    return b"".join(ocsf.record(item, batch.about) + b"\n" for item in batch.items)


def _cloudevents(batch: Batch) -> bytes:
    return cloudevents.batch(batch.items, batch.about)


BODIES: Final[dict[str, tuple[str, Callable[[Batch], bytes]]]] = {
    "jsonl": (NDJSON, _lines),
    "ocsf": (NDJSON, _events),
    "cloudevents": (cloudevents.CONTENT_TYPE, _cloudevents),
}
"""By form: the content type of a webhook's body, and what makes it."""


class _Poster:
    def __init__(self, name: str, url: SplitResult, headers: Mapping[str, str], ca_file: str | None) -> None:
        self._name = name
        tls = trusting(ca_file) if ca_file is not None else None
        self._client = Client(url, LIMITS, headers=headers, tls=tls)

    def __call__(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        try:
            answer = self._client.ask("POST", "", ANSWER_SIZE_MAX_BYTES, content=body, headers=headers)
        except NoAnswerError as error:
            raise SinkError(f"{self._name} {error}", retryable=error.retryable) from None
        if answer.status == 413:
            raise TooLargeError(f"{self._name} refuses {len(body)} bytes at once", size_bytes=len(body))
        if not 200 <= answer.status < 300:
            raise SinkError(
                f"{self._name} answers {answer.status}",
                retryable=may_pass(answer.status), status=answer.status,
            )  # fmt: skip
        return answer

    def close(self) -> None:
        self._client.close()


class _PartialSuccess(Struct, rename="camel"):
    rejected_log_records: int | str = 0
    error_message: str = ""


class _Response(Struct, rename="camel"):
    partial_success: _PartialSuccess | None = None


def _partial_success(answer: Answer) -> tuple[int, str]:
    """How many records were refused, and why. A body that is not of OTLP says nothing."""
    try:
        found = msgspec.json.decode(answer.content, type=_Response).partial_success
        rejected = int(found.rejected_log_records) if found is not None else 0
    except (msgspec.DecodeError, ValueError):
        return 0, ""
    return max(0, rejected), found.error_message[:REASON_MAX_CHARACTERS] if found is not None else ""
