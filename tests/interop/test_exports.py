"""Exports are read by other people's software: each accepts the good and refuses a damaged record.

The log has the six kinds of events, an erased and a redacted payload, and 1,000 generated entries.
"""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.interop.verifiers import RefusedError, reader
from tests.support.exports import about, items, made_log, parsed, written
from tests.support.logs import LogMaker
from tests.support.sinks import collecting, receiving
from tests.support.tools import extra

from attestlog._internal.exporting.contract import Form
from attestlog._internal.exporting.keys import note_public_key
from attestlog._internal.shipping.contract import Batch
from attestlog._internal.shipping.opening import SinkOptions, open_sink

GENERATED = 1_000
NO_SIGNATURE = base64.b64encode(bytes(64)).decode()
Records = list[dict[str, Any]]


class Made:
    """The log, and its exports in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log: LogMaker = made_log(folder / "log", GENERATED)
        self.size = len(self.log.lines)
        self.pem = folder / "checkpoint.pem"
        self.pem.write_text(note_public_key(self.log.checkpoint_key.verifier).pem)
        self.leaves = folder / "leaves"
        self.leaves.write_text("\n".join(item.entry.entry_hash for item in items(self.log)))
        self.root = self.log.head.edge.root().hex()

    def export(self, form: Form) -> Path:
        path = self.folder / form
        if not path.exists():
            path.write_bytes(written(self.log, form))
        return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = Made(tmp_path_factory.mktemp("exports"))
    assert made.size >= GENERATED + 6
    return made


def first_record(request: dict[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = request["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
    return record


def respelled_payload(members: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> None:
    statement = json.loads(base64.b64decode(members["payload"]))
    change(statement)
    members["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()


DAMAGED: dict[Form, dict[str, Callable[[dict[str, Any]], object]]] = {
    Form.OCSF: {
        "no actor": lambda event: event.pop("actor"),
        "an unknown severity": lambda event: event.update(severity_id=7),
        "a member that is not of the class": lambda event: event.update(entry_hash="x"),
        "time as text": lambda event: event.update(time="now"),
    },
    Form.OTLP: {
        "an unknown member": lambda request: first_record(request).update(level="x"),
        "a number that is none": lambda request: first_record(request).update(severityNumber="high"),
        "a short trace": lambda request: first_record(request).update(traceId="00"),
    },
    Form.CLOUDEVENTS: {
        "no source": lambda event: event.pop("source"),
        "another version": lambda event: event.update(specversion="0.1"),
        "a name in capitals": lambda event: event.update(entryHash="x"),
    },
    Form.DSSE: {
        "another entry": lambda members: respelled_payload(
            members, lambda said: said["predicate"].update(actor_id="x")
        ),
        "another signature": lambda members: members["signatures"][0].update(sig=NO_SIGNATURE),
    },
}  # fmt: skip


def rest(made: Made, form: Form) -> list[object]:
    return [made.pem] if form is Form.DSSE else []


@pytest.mark.parametrize("form", DAMAGED)
def test_every_record_is_accepted(made: Made, form: Form) -> None:
    assert reader(form, made.export(form), *rest(made, form)) == str(made.size)


@pytest.mark.parametrize(
    "form, what", [(form, what) for form, damages in DAMAGED.items() for what in damages]
)
def test_a_damaged_record_is_refused(made: Made, tmp_path: Path, form: Form, what: str) -> None:
    lines = made.export(form).read_bytes().splitlines()
    record = json.loads(lines[1])
    DAMAGED[form][what](record)
    (tmp_path / "x").write_bytes(b"\n".join([lines[0], json.dumps(record).encode(), *lines[2:5]]))
    with pytest.raises(RefusedError):
        reader(form, tmp_path / "x", *rest(made, form))


# --- receipts ---

OF_RECEIPTS = ("scitt-cose", "pycose", "cwt")


@pytest.mark.parametrize("who", OF_RECEIPTS)
def test_receipts_are_accepted(made: Made, who: str) -> None:
    extra("cbor2")
    path = made.export(Form.COSE)
    assert reader(who, path, made.pem, made.leaves, made.root) == str(made.size)


def test_a_receipt_is_refused_for_another_entry(made: Made, tmp_path: Path) -> None:
    extra("cbor2")
    (tmp_path / "leaves").write_text("\n".join(["00" * 32, *made.leaves.read_text().split()[1:]]))
    with pytest.raises(RefusedError):
        reader("scitt-cose", made.export(Form.COSE), made.pem, tmp_path / "leaves", made.root)


@pytest.mark.parametrize("who", OF_RECEIPTS)
def test_a_receipt_with_another_signature_is_refused(made: Made, tmp_path: Path, who: str) -> None:
    extra("cbor2")
    data = made.export(Form.COSE).read_bytes()
    signature = parsed(data)[0].signature
    (tmp_path / "x").write_bytes(data.replace(signature, signature[:-1] + bytes([signature[-1] ^ 1]), 1))
    with pytest.raises(RefusedError):
        reader(who, tmp_path / "x", made.pem, made.leaves, made.root)


@pytest.mark.parametrize("who", ["pycose", "cwt"])
def test_a_receipt_is_refused_for_another_root(made: Made, who: str) -> None:
    extra("cbor2")
    with pytest.raises(RefusedError):
        reader(who, made.export(Form.COSE), made.pem, made.leaves, "00" * 32)


# --- Parquet ---


def test_duckdb_recomputes_every_hash_and_the_chain(made: Made) -> None:
    extra("pyarrow.parquet")
    assert reader("duckdb", made.export(Form.PARQUET)) == str(made.size)


@pytest.mark.parametrize("column", ["action_payload", "line", "entry_hash", "prev_entry_hash"])
def test_duckdb_sees_a_changed_cell(made: Made, tmp_path: Path, column: str) -> None:
    parquet = extra("pyarrow.parquet")
    table = parquet.read_table(made.export(Form.PARQUET))
    place = table.column_names.index(column)
    cells = table[column].to_pylist()
    cells[4] = f"{cells[4][:-2]}zz"
    changed = extra("pyarrow").array(cells, table.schema.field(column).type)
    parquet.write_table(table.set_column(place, table.schema.field(column), changed), tmp_path / "x")
    with pytest.raises(RefusedError):
        reader("duckdb", tmp_path / "x")


def test_duckdb_sees_a_missing_row(made: Made, tmp_path: Path) -> None:
    parquet = extra("pyarrow.parquet")
    table = parquet.read_table(made.export(Form.PARQUET))
    parquet.write_table(extra("pyarrow").concat_tables([table.slice(0, 4), table.slice(5)]), tmp_path / "x")
    with pytest.raises(RefusedError):
        reader("duckdb", tmp_path / "x")


# --- webhooks ---


def test_a_webhooks_signature_is_what_the_reference_library_verifies(made: Made, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"whsec_{base64.b64encode(b'k' * 24).decode()}")
    batch = Batch(about(made.log), 0, 3, items(made.log)[:3])
    with receiving() as receiver:
        options = SinkOptions(secret_file=str(secret), form="cloudevents")
        open_sink(f"webhook+http://127.0.0.1:{receiver.port}/", options).deliver(batch)
    (got,) = receiver.got
    headers = json.dumps({name: value for name, value in got.headers.items() if name.startswith("webhook-")})
    (tmp_path / "body").write_bytes(got.body)
    assert reader("webhook", tmp_path / "body", secret, headers) == "1"
    (tmp_path / "body").write_bytes(got.body.replace(b"1.0", b"1.1", 1))
    with pytest.raises(RefusedError):
        reader("webhook", tmp_path / "body", secret, headers)


def test_syslog_messages_are_parsed(made: Made, tmp_path: Path) -> None:
    batch = Batch(about(made.log), 0, made.size, items(made.log))
    with collecting(tmp_path / "tls") as collector:
        options = SinkOptions(ca_file=collector.ca_file)
        open_sink(f"syslog+tls://127.0.0.1:{collector.port}", options).deliver(batch)
    (stream,) = collector.streams
    (tmp_path / "stream").write_bytes(stream)
    assert reader("syslog", tmp_path / "stream") == str(made.size)
    (tmp_path / "stream").write_bytes(stream.replace(b">1 2", b">2025", 1))
    with pytest.raises(RefusedError):
        reader("syslog", tmp_path / "stream")
