"""Syslog: the messages of RFC 5424, framed and over TLS, and when a batch counts as delivered."""

import json
import re
from pathlib import Path

import pytest
from tests.support.exports import about, items, made_log
from tests.support.sinks import collecting
from tests.support.tls import authority

from attestlog._internal.shipping.contract import Batch, Sink
from attestlog._internal.shipping.opening import SinkOptions, open_sink
from attestlog._internal.shipping.syslog import SIZE_MAX_BYTES, message
from attestlog.errors import SinkError

RFC5424 = re.compile(
    rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([!-~]{1,255}) attestlog - ([!-~]{1,32})"
    rb' \[meta sequenceId="(\d+)"\]\[origin software="attestlog" swVersion="[^"]+"\] (.*)',
    re.DOTALL,
)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    log = made_log(tmp_path_factory.mktemp("syslog") / "log")
    return Batch(about(log), 0, len(log.lines), items(log))


def sink_of(port: int, ca_file: str, size: int = 65_536) -> Sink:
    return open_sink(f"syslog+tls://127.0.0.1:{port}?size={size}", SinkOptions(ca_file=ca_file))


def test_each_entry_is_a_message(batch: Batch, tmp_path: Path) -> None:
    with collecting(tmp_path / "tls") as collector:
        assert sink_of(collector.port, collector.ca_file).deliver(batch).shortened == 0
    messages = collector.messages()
    for item, text in zip(batch.items, messages, strict=True):
        match = RFC5424.fullmatch(text)
        assert match
        severities = {"NORMAL": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
        assert int(match[1]) == 13 * 8 + severities[item.entry.event_category]
        assert match[2].decode() == item.entry.timestamp
        assert match[4].decode() == item.entry.event_type
        assert int(match[5]) == item.entry.sequence_number + 1
        assert match[6] == item.line


def test_what_is_too_long_is_a_summary_that_says_so(batch: Batch) -> None:
    item = max(batch.items, key=lambda item: len(item.line))
    text, is_short = message(item, batch.about, "host", 2_048)
    match = RFC5424.fullmatch(text)
    assert match
    assert is_short
    assert len(text) <= 2_048
    said = json.loads(match[6])
    assert (said["entry_hash"], said["left_out"]) == (item.entry.entry_hash, len(item.line))
    whole, is_short = message(item, batch.about, "host", len(item.line) + 500)
    assert not is_short
    assert message(item, batch.about, "host", len(whole)) == (whole, False)
    assert message(item, batch.about, "host", len(whole) - 1)[1]


def test_the_longest_names_fit_a_summary(tmp_path: Path) -> None:
    log = made_log(tmp_path / "log")
    log.append(
        {
            "event_type": "ACTION",
            "action_type": "\u0001" * 256,
            "actor_id": "é" * 256,
            "action_payload": {"x": "y" * 9_000},
        }
    )
    text, is_short = message(items(log)[-1], about(log), "h" * 255, SIZE_MAX_BYTES)
    assert is_short
    assert len(text) <= SIZE_MAX_BYTES


def test_a_reset_is_a_failure_and_may_pass(batch: Batch, tmp_path: Path) -> None:
    with collecting(tmp_path / "tls", resets=1) as collector:
        sink = sink_of(collector.port, collector.ca_file)
        with pytest.raises(SinkError) as raised:
            sink.deliver(batch)
        assert raised.value.retryable
        sink.deliver(batch)
    assert len(collector.messages()) == len(batch.items)


def test_a_strangers_certificate_is_refused(batch: Batch, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other, _, _ = authority(tmp_path / "other")
    with collecting(tmp_path / "tls") as collector, pytest.raises(SinkError, match="does not verify"):
        sink_of(collector.port, str(other)).deliver(batch)
    assert collector.streams == []


def test_nothing_is_sent_for_nothing(batch: Batch) -> None:
    empty = batch._replace(items=[])
    open_sink("syslog+tls://127.0.0.1:1", SinkOptions()).deliver(empty)
