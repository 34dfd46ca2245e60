"""Which sink a URI names, what it is called, and what is refused."""

from pathlib import Path

import pytest

from attestlog._internal.shipping.opening import SinkOptions, open_sink
from attestlog.errors import MalformedConfigError


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    (tmp_path / "secret").write_text("c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0\n")
    return str(tmp_path / "secret")


@pytest.mark.parametrize(
    "uri, name, form",
    [
        ("otlp+https://collector.example.com:4318", "otlp+https://collector.example.com:4318", "otlp"),
        ("otlp+http://localhost/x", "otlp+http://localhost", "otlp"),
        ("syslog+tls://logs.example.com", "syslog+tls://logs.example.com:6514", "syslog"),
        ("syslog+tls://[::1]:7000?size=65536", "syslog+tls://::1:7000", "syslog"),
        ("file:/var/log/audit.jsonl", "file:/var/log/audit.jsonl", "jsonl"),
    ],
)
def test_names(uri: str, name: str, form: str) -> None:
    sink = open_sink(uri, SinkOptions())
    assert (sink.name, sink.form) == (name, form)


def test_a_webhook_is_not_called_by_its_path_which_may_be_its_secret(secret_file: str) -> None:
    sink = open_sink("webhook+https://hooks.example.com/T00/s3cret", SinkOptions(secret_file=secret_file))
    assert sink.name == "webhook+https://hooks.example.com"
    named = open_sink(
        "webhook+https://hooks.example.com/T00/s3cret", SinkOptions(secret_file=secret_file, name="ops")
    )
    assert named.name == "ops"


@pytest.mark.parametrize(
    "uri",
    [
        "", "x", "https://h/s3cret", "otlp://h/s3cret", "webhook+ftp://h/s3cret", "otlp+http://h.example/s3cret",
        "otlp+https://user:s3cret@h", "syslog+tls://", "syslog+tls://h:x", "syslog+tls://h/s3cret",
        "syslog+tls://h?size=100", "syslog+tls://h?size=s3cret", "syslog+tls://h?other=s3cret", "file:",
    ],
)  # fmt: skip
def test_what_names_no_sink_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(MalformedConfigError) as raised:
        open_sink(uri, SinkOptions())
    assert "s3cret" not in str(raised.value)
    assert raised.value.member == "to"


@pytest.mark.parametrize(
    "uri, options",
    [
        ("otlp+https://h", SinkOptions(form="ocsf")),
        ("otlp+https://h", SinkOptions(secret_file="x")),
        ("webhook+https://h", SinkOptions()),
        ("webhook+https://h", SinkOptions(secret_file="/nothing")),
        ("syslog+tls://h", SinkOptions(token_file="x")),
        ("syslog+tls://h", SinkOptions(ca_file="/nothing")),
        ("syslog+tls://h", SinkOptions(client_certificate="/nothing")),
        ("file:x", SinkOptions(form="dsse")),
        ("file:x", SinkOptions(ca_file="x")),
    ],
)
def test_options_that_do_not_go_with_the_sink_are_refused(uri: str, options: SinkOptions) -> None:
    with pytest.raises(MalformedConfigError):
        open_sink(uri, options)
