"""Every form: one record an entry, each with its hash; and the entry back, where the form holds it."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.exports import ORIGIN, items, made_log, parsed, written
from tests.support.logs import LogMaker
from tests.support.tools import extra

from attestlog._internal.core import canonical
from attestlog._internal.core.entry import Entry
from attestlog._internal.core.signature import public_key
from attestlog._internal.exporting import dsse, otlp
from attestlog._internal.exporting.contract import Form
from attestlog._internal.exporting.keys import note_public_key
from attestlog.errors import NotFoundError, SignerError
from attestlog.testing import MemorySigner


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> LogMaker:
    return made_log(tmp_path_factory.mktemp("writing") / "log", 300)


def records(log: LogMaker, form: Form) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written(log, form).splitlines()]


def test_jsonl_is_the_lines(log: LogMaker) -> None:
    assert written(log, Form.JSONL).splitlines() == log.lines


def test_csv_has_a_row_an_entry(log: LogMaker) -> None:
    rows = list(csv.DictReader(io.StringIO(written(log, Form.CSV).decode(), newline="")))
    assert [row["entry_hash"] for row in rows] == [item.entry.entry_hash for item in items(log)]
    assert set(rows[0]) == set(Entry.__struct_fields__)


@pytest.mark.parametrize("form, member", [(Form.OCSF, "unmapped"), (Form.CLOUDEVENTS, "data")])
def test_the_entry_in_a_record_is_the_line_again_once_it_is_canonical(
    log: LogMaker, form: Form, member: str
) -> None:
    """Also after another program read the JSON and wrote it in its own spelling."""
    found = [json.loads(json.dumps(record, indent=1)) for record in records(log, form)]
    assert [canonical.encode(record[member]) for record in found] == log.lines


def test_otlp_has_the_lines_as_bodies_and_few_requests(log: LogMaker) -> None:
    requests = records(log, Form.OTLP)
    assert len(requests) == -(-len(log.lines) // otlp.BATCH_ENTRIES)
    found = [
        record for request in requests for record in request["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    ]
    assert [record["body"]["stringValue"].encode() for record in found] == log.lines
    for record, item in zip(found, items(log), strict=True):
        said = {one["key"]: one["value"] for one in record["attributes"]}
        assert said["attestlog.entry_hash"] == {"stringValue": item.entry.entry_hash}
        assert said["attestlog.sequence_number"] == {"intValue": str(item.entry.sequence_number)}


@pytest.mark.parametrize("form", [Form.OCSF, Form.OTLP, Form.CLOUDEVENTS])
def test_what_is_erased_or_redacted_is_said(log: LogMaker, form: Form) -> None:
    lines = written(log, form, entries=[items(log)[number] for number in (1, 2, 8)]).decode()
    counts = {content: lines.count(content) for content in ("erased", "whole")}
    assert counts == {"erased": 1, "whole": 1}
    assert any(
        spelling in lines
        for spelling in ("content:redacted", '"content":"redacted"', '"stringValue":"redacted"')
    )


def test_severities_are_mapped(log: LogMaker) -> None:
    ocsf, numbers = {}, {}
    sent = [
        record
        for request in records(log, Form.OTLP)
        for record in request["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    ]
    for item, event, record in zip(items(log), records(log, Form.OCSF), sent, strict=True):
        ocsf[str(item.entry.event_category)] = event["severity_id"]
        numbers[str(item.entry.event_category)] = record["severityNumber"]
    assert ocsf == {"NORMAL": 1, "WARNING": 3, "ERROR": 4, "CRITICAL": 5}
    assert numbers == {"NORMAL": 9, "WARNING": 13, "ERROR": 17, "CRITICAL": 21}


def test_what_was_blocked_is_denied(log: LogMaker) -> None:
    for item, event in zip(items(log), records(log, Form.OCSF), strict=True):
        is_blocked = item.entry.execution_status == "BLOCKED"
        assert (event["action_id"], event["disposition_id"]) == ((2, 2) if is_blocked else (1, 1))


def test_parquet_holds_every_member_and_the_line(log: LogMaker, tmp_path: Path) -> None:
    parquet = extra("pyarrow.parquet")
    (tmp_path / "x").write_bytes(written(log, Form.PARQUET))
    table = parquet.read_table(tmp_path / "x")
    assert set(table.column_names) == {*Entry.__struct_fields__, "content", "line"}
    assert [line.as_py().encode() for line in table["line"]] == log.lines
    for row, item in zip(table.to_pylist(), items(log), strict=True):
        payload = item.entry.action_payload
        assert row["action_payload"] == (None if payload is None else canonical.encode(payload).decode())
        assert row["composite_score"] == item.entry.composite_score
        assert row["timestamp"].isoformat(timespec="microseconds")[:26] == item.entry.timestamp[:26]
    assert table.schema.metadata[b"attestlog.origin"].decode() == ORIGIN
    assert table.schema.metadata[b"attestlog.checkpoint"].startswith(ORIGIN.encode())


def test_a_row_group_is_bounded_in_bytes(
    log: LogMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    parquet = extra("pyarrow.parquet")
    monkeypatch.setattr("attestlog._internal.exporting.parquet.ROW_GROUP_SIZE_MAX_BYTES", 50_000)
    (tmp_path / "x").write_bytes(written(log, Form.PARQUET))
    assert parquet.ParquetFile(tmp_path / "x").num_row_groups > 10


def test_statements_are_about_their_entries(log: LogMaker) -> None:
    key = note_public_key(log.checkpoint_key.verifier)
    for line, item in zip(written(log, Form.DSSE).splitlines(), items(log), strict=True):
        signed = dsse.parse_envelope(line)
        ((key_id, signature),) = signed.signatures
        key.verify(signature, dsse.preauthentication(signed.payload))
        assert key_id == key.key_id
        assert signed.payload == canonical.encode(json.loads(signed.payload))
        stated = dsse.parse_statement(signed.payload)
        assert (stated.line, stated.digest) == (item.line, item.entry.entry_hash)
        assert stated.name == f"{ORIGIN}#{item.entry.sequence_number}"


def test_another_key_may_sign_statements_but_no_receipts(log: LogMaker) -> None:
    signer = MemorySigner("ECDSA-P256-SHA256")
    line = written(log, Form.DSSE, signer, items(log)[:1]).splitlines()[0]
    ((key_id, _),) = dsse.parse_envelope(line).signatures
    assert key_id == public_key(signer.public_key.key).key_id
    with pytest.raises(SignerError, match="want the log's checkpoint key"):
        written(log, Form.COSE, signer)


def test_all_receipts_of_one_checkpoint_have_one_signature(log: LogMaker) -> None:
    extra("cbor2")
    receipts = parsed(written(log, Form.COSE))
    assert [receipt.index for receipt in receipts] == list(range(len(log.lines)))
    assert len({receipt.signature for receipt in receipts}) == 1
    assert {receipt.issuer for receipt in receipts} == {ORIGIN}


def test_an_entry_that_no_checkpoint_covers_has_no_receipt(tmp_path: Path) -> None:
    extra("cbor2")
    log = made_log(tmp_path / "log")
    covered = items(log)[-1]
    log.append({"event_type": "ACTION", "action_type": "x", "actor_id": "a"})
    late = items(log)[-1]
    assert written(log, Form.COSE, entries=[covered])
    with pytest.raises(NotFoundError, match="not entry"):
        written(log, Form.COSE, entries=[late])
