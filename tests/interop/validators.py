"""Other people's software reads an export: `python validators.py WHAT FILE [ARGUMENT…]`, in their venv.

It prints how many records were accepted, and exits with 3 where one is refused, with their reason on
stderr. It imports nothing of attestlog, and what each reader needs only when it is asked.
"""

import base64
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

REFUSED = 3


def refuse(where: object, why: object) -> NoReturn:
    print(f"{where}: {why}", file=sys.stderr)
    sys.exit(REFUSED)


def records(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(Path(path).read_bytes().splitlines()):
        yield number, json.loads(line)


def ocsf(path: str) -> int:
    """ocsf-json-schema's class with all profiles, by jsonschema; and with just those that an event names."""
    from jsonschema import Draft202012Validator
    from ocsf_json_schema import OcsfJsonSchemaEmbedded
    from ocsf_json_schema.loader import get_ocsf_schema

    schemas = OcsfJsonSchemaEmbedded(get_ocsf_schema("1.8.0"))
    known: dict[tuple[str, ...], Any] = {}
    count = 0
    for number, event in records(path):
        profiles = tuple(event["metadata"]["profiles"])
        if profiles not in known:
            known[profiles] = Draft202012Validator(schemas.get_class_schema("api_activity", list(profiles)))
        for error in known[profiles].iter_errors(event):
            refuse(number, error.message)
        if event["metadata"]["version"] != "1.8.0":
            refuse(number, "another version")
        count += 1
    return count


def otlp(path: str) -> int:
    """opentelemetry-proto, no unknown field. In OTLP's JSON ids are hex, in that of protobuf base64."""
    from google.protobuf import json_format
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    count = 0
    for number, request in records(path):
        sent = [one for scope in request["resourceLogs"] for one in scope["scopeLogs"]]
        for record in [record for scope in sent for record in scope["logRecords"]]:
            for name, size in (("traceId", 16), ("spanId", 8)):
                if name in record:
                    raw = bytes.fromhex(record[name])
                    if len(raw) != size:
                        refuse(number, f"{name} has {len(raw)} bytes")
                    record[name] = base64.b64encode(raw).decode()
        try:
            read = json_format.Parse(json.dumps(request), ExportLogsServiceRequest())
        except json_format.ParseError as error:
            refuse(number, error)
        count += sum(len(scope.log_records) for one in read.resource_logs for scope in one.scope_logs)
    return count


def cloudevents(path: str) -> int:
    """The SDK of the CloudEvents project."""
    from cloudevents.core.formats.json import JSONFormat

    ids = set()
    for number, line in enumerate(Path(path).read_bytes().splitlines()):
        try:
            event = JSONFormat().read(None, line)
        except Exception as error:  # noqa: BLE001 - theirs have no common class
            refuse(number, error)
        ids.add((event.get_source(), event.get_id()))
    return len(ids)


def dsse(path: str, pem: str) -> int:
    """securesystemslib verifies the envelope, in-toto-attestation validates the statement."""
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import SSlibKey

    key_id = json.loads(Path(path).read_bytes().splitlines()[0])["signatures"][0]["keyid"]
    key = SSlibKey(key_id, "ed25519", "ed25519", {"public": _raw_ed25519(pem).hex()})
    count = 0
    for number, members in records(path):
        try:
            envelope = Envelope.from_dict(members)
            envelope.verify([key], 1)
            parsed = json_format.Parse(envelope.payload, statement_pb2.Statement())
            Statement.copy_from_pb(parsed).validate()
        except Exception as error:  # noqa: BLE001 - theirs have no common class
            refuse(number, f"{type(error).__name__} {error}")
        count += 1
    return count


def _raw_ed25519(pem: str) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = load_pem_public_key(Path(pem).read_bytes())
    assert isinstance(key, Ed25519PublicKey)
    return key.public_bytes_raw()


def receipts(path: str, leaves: str) -> Iterator[tuple[int, bytes, bytes]]:
    """(number, receipt, leaf) of a CBOR sequence and the leaves, one a line in hex."""
    import cbor2

    with Path(path).open("rb") as stream:
        for number, leaf in enumerate(Path(leaves).read_text().split()):
            try:
                receipt = cbor2.dumps(cbor2.load(stream))
            except cbor2.CBORDecodeError as error:
                refuse(number, error)
            yield number, receipt, bytes.fromhex(leaf)
        assert not stream.read(1)


def scitt(path: str, pem: str, leaves: str, _: str) -> int:
    """scitt-cose knows receipts whole: proof, root and signature."""
    from scitt_cose import receipt as theirs

    count = 0
    for number, receipt, leaf in receipts(path, leaves):
        found = theirs.verify_receipt(
            receipt, leaf_entry_hex=leaf.hex(), log_public_key_pem=Path(pem).read_bytes()
        )
        if not found.ok:
            refuse(number, found.errors)
        count += 1
    return count


def pycose(path: str, pem: str, leaves: str, root: str) -> int:
    """pycose verifies the signature over the root, detached."""
    from pycose.keys import OKPKey
    from pycose.keys.curves import Ed25519
    from pycose.messages import Sign1Message

    count = 0
    for number, receipt, _ in receipts(path, leaves):
        message = Sign1Message.decode(receipt)
        message.key = OKPKey(crv=Ed25519, x=_raw_ed25519(pem))
        if not message.verify_signature(detached_payload=bytes.fromhex(root)):
            refuse(number, "the signature does not verify")
        count += 1
    return count


def cwt(path: str, pem: str, leaves: str, root: str) -> int:
    """So does cwt."""
    from cwt import COSE, COSEKey, VerifyError

    count = 0
    for number, receipt, _ in receipts(path, leaves):
        message = COSE.new()
        kid = _kid(receipt)
        try:
            message.decode(
                receipt,
                COSEKey.from_pem(Path(pem).read_bytes(), kid=kid),
                detached_payload=bytes.fromhex(root),
            )
        except VerifyError as error:
            refuse(number, error)
        count += 1
    return count


def _kid(receipt: bytes) -> bytes:
    import cbor2

    kid: bytes = cbor2.loads(cbor2.loads(receipt).value[0])[4]
    return kid


def duck(path: str) -> int:
    """DuckDB recomputes every hash of a Parquet file, and the chain."""
    import duckdb

    question = Path(__file__).with_name("hashes.sql").read_text().replace("$FILE", path)
    ((entries, *good),) = duckdb.sql(question).fetchall()
    if set(good) != {entries}:
        refuse(path, f"of {entries} entries {good} are good")
    return int(entries)


def webhook(path: str, secret: str, headers: str) -> int:
    """standardwebhooks, the reference library, over a body that was received."""
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError

    try:
        Webhook(Path(secret).read_text().strip()).verify(Path(path).read_bytes(), json.loads(headers))
    except WebhookVerificationError as error:
        refuse(path, error)
    except json.JSONDecodeError:
        pass  # verified, and of several lines
    return 1


def syslog(path: str) -> int:
    """syslog-rfc5424-parser, over octet-counted messages."""
    from syslog_rfc5424_parser import ParseError, SyslogMessage

    left, count = Path(path).read_bytes(), 0
    while left:
        size, _, rest = left.partition(b" ")
        text, left = rest[: int(size)].decode(), rest[int(size) :]
        try:
            message = SyslogMessage.parse(text)
        except ParseError as error:
            refuse(count, error)
        if message.facility.name != "audit" or not json.loads(message.msg):
            refuse(count, message)
        count += 1
    return count


def questions(path: str, sql: str) -> int:
    """The answers to the questions of a page, as rows of a Markdown table each."""
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"CREATE VIEW entries AS SELECT * FROM read_parquet('{path}')")  # noqa: S608
    answers = []
    for question in json.loads(Path(sql).read_text()):
        found = connection.sql(question)
        rows = [found.columns, ["---"] * len(found.columns), *found.fetchall()]
        answers.append("\n".join("| " + " | ".join(map(_text, row)) + " |" for row in rows))
    print(json.dumps(answers))
    return len(answers)


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


READERS: dict[str, Callable[..., int]] = {
    "ocsf": ocsf, "otlp": otlp, "cloudevents": cloudevents, "dsse": dsse, "scitt-cose": scitt,
    "pycose": pycose, "cwt": cwt, "duckdb": duck, "webhook": webhook, "syslog": syslog,
    "questions": questions,
}  # fmt: skip

if __name__ == "__main__":
    print(READERS[sys.argv[1]](*sys.argv[2:]))
