"""ship: one sink after the other, from the command line; and the entries about one that is lost."""

import json
import time
from pathlib import Path

import pytest
from tests.cli.running import Run, stored
from tests.support.logs import draft
from tests.support.sinks import Got, receiving

from attestlog._internal.log import Log
from attestlog._internal.shipping import shipper as shippers


def test_a_file_gets_everything_and_then_what_is_new(run: Run, log: Path, tmp_path: Path) -> None:
    sink = tmp_path / "out.jsonl"
    first = run("ship", log, "--to", f"file:{sink}", "--once", "--json")
    assert first.code == 0
    delivery, status = first.objects
    assert (delivery["type"], delivery["next"]) == ("delivery", 4)
    assert (status["type"], status["state"], status["lag"], status["delivered"]) == (
        "sink_status",
        "good",
        0,
        4,
    )
    with Log.open(log) as opened:
        opened.append(draft(9))
    assert run("ship", log, "--to", f"file:{sink}", "--once").code == 0
    assert [json.loads(line) for line in sink.read_text().splitlines()] == stored(log)
    (status,) = run("ship", log, "--status", "--json").objects
    assert (status["size"], status["delivered"], status["deliveries"]) == (5, 5, 2)
    assert 'attestlog_sink_delivered_total{sink="file:' in run("ship", log, "--status", "--metrics").out


def test_a_log_that_is_not_shipped_has_no_sinks(run: Run, log: Path) -> None:
    assert run("ship", log, "--status").out == "this user ships the log to no sink\n"
    assert run("ship", log, "--status", "--json").out == ""


def test_a_failure_ends_once_and_is_shown(run: Run, log: Path) -> None:
    with receiving(lambda _: (503, b"")) as receiver:
        result = run("ship", log, "--to", f"otlp+http://127.0.0.1:{receiver.port}", "--once", "--json")
    assert (result.code, result.error["code"], result.error["status"]) == (4, "sink", 503)
    (status,) = run("ship", log, "--status", "--json").objects
    assert (status["state"], status["failures"], status["lag"]) == ("failing", 1, 4)


def test_a_sink_that_is_lost_and_back_is_in_the_log_and_shipped(
    run: Run, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PAUSE_MIN_S", "PAUSE_MAX_S", "IDLE_S", "LOST_AFTER_S"):
        monkeypatch.setattr(shippers, name, 0.001)
    failures = [503, 503, 503]
    sent: list[str] = []

    def answer(got: Got) -> tuple[int, bytes]:
        if failures:
            time.sleep(0.01)
            return failures.pop(), b""
        records = json.loads(got.body)["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
        sent.extend(json.loads(record["body"]["stringValue"])["action_type"] for record in records)
        return 200, b""

    deliver = shippers.Shipper._round

    def until_it_is_back(shipper: shippers.Shipper) -> float:
        pause = deliver(shipper)
        if "ops_back" in sent:
            shipper.stop()
        return pause

    monkeypatch.setattr(shippers.Shipper, "_round", until_it_is_back)
    with receiving(answer) as receiver:
        result = run("ship", log, "--to", f"otlp+http://127.0.0.1:{receiver.port}", "--record-as", "ops")
    assert result.code == 0, result.err
    lost, back = [entry for entry in stored(log) if str(entry["action_type"]).startswith("ops_")]
    assert (lost["action_type"], lost["event_category"], lost["actor_id"]) == (
        "ops_lost",
        "WARNING",
        "attestlog",
    )
    assert (back["action_type"], back["event_category"]) == ("ops_back", "NORMAL")
    assert sent[-2:] == ["ops_lost", "ops_back"]
    assert "is lost" in result.err
    assert run("verify", log).code == 0


def test_what_the_user_gets_wrong_is_said_before_anything_is_sent(run: Run, log: Path) -> None:
    assert "give --to URI" in run("ship", log).err
    result = run("ship", log, "--to", "carrier-pigeon:x", "--once")
    assert (result.code, "want one of otlp+https:" in result.err) == (3, True)
    result = run("ship", log, "--to", "file:x", "--record-as", "Attestlog.x", "--once")
    assert (result.code, "belong to the log" in result.err) == (2, True)
    assert run("ship", log, "--status").out == "this user ships the log to no sink\n"
