"""The schema's names: the entry and the log, with real keys, against what the product itself says."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support.rfc6962 import mth
from tests.support.schema_events import CHANGE, PRINTED, schema_event

import attestlog
from attestlog import EventType, haios
from attestlog._internal.core import canonical
from attestlog.errors import (
    CorruptError,
    DerivedMemberError,
    MalformedConfigError,
    MalformedEntryError,
    MalformedError,
    MalformedSignatureError,
    NotFoundError,
    QueryError,
    RollbackError,
    SignerError,
)
from attestlog.haios import (
    AttestationEntry,
    Entries,
    ImmutableAttestationLog,
    MinimalAttestationLog,
    schema_entry_hash,
    schema_merkle_root,
)
from attestlog.testing import MemorySigner, check_log

PAGE = Path(__file__).resolve().parents[2] / "docs" / "haios.md"


class HsmKey:
    """A key as code written for the schema has one: it signs bytes, and gives its public key as PEM."""

    def __init__(self) -> None:
        self._key = generate_private_key(SECP256R1())
        self.public_key = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data, ECDSA(SHA256()))


def event(kind: str = "ACTION", /, **members: Any) -> dict[str, Any]:
    return schema_event(kind, **members)


def numbered(number: int, **members: Any) -> dict[str, Any]:
    return event(action_payload={"number": number}, **members)


@pytest.fixture
def key() -> HsmKey:
    return HsmKey()


@pytest.fixture
def log(tmp_path: Path, key: HsmKey) -> Iterator[ImmutableAttestationLog]:
    with ImmutableAttestationLog(tmp_path / "audit", key) as opened:
        yield opened


def segment(log: ImmutableAttestationLog) -> Path:
    (path,) = Path(log.storage_path, "entries").glob("*.jsonl")
    return path


# --- the entry ---


def test_the_40_members_are_those_of_an_entry(log: ImmutableAttestationLog) -> None:
    names = [field.name for field in fields(AttestationEntry)]
    assert len(names) == 40
    assert sorted(names) == sorted(attestlog.Entry.__struct_fields__)
    assert (names[0], names[-1]) == ("entry_id", "replicas")
    entry = log.append(event())
    stored = attestlog.query_log(log.storage_path, entry_id=entry.entry_id)
    assert [AttestationEntry.from_entry(found) for found in stored] == [entry]
    assert all(
        type(getattr(entry, name)) is str
        for name in ("event_type", "event_category", "actor_type", "execution_status")
    )


def test_json_is_the_stored_line_and_comes_back(log: ImmutableAttestationLog) -> None:
    entries = [log.append(event(kind)) for kind in PRINTED]
    lines = segment(log).read_text(encoding="utf-8").splitlines()[1:]
    assert [entry.to_json() for entry in entries] == lines
    assert [AttestationEntry.from_json(line) for line in lines] == entries
    assert entries[0].to_entry() == next(iter(log.log.query(event_type="ACTION")))


def test_json_as_the_schema_spells_it_is_read(log: ImmutableAttestationLog) -> None:
    entry = log.append(event())
    schemas = json.dumps(
        {**entry.__dict__, "timestamp": entry.timestamp.replace(tzinfo=None)}, default=str, indent=2
    )
    assert re.search(r'"timestamp": "\d{4}-\d\d-\d\d \d\d:[\d:.]+"', schemas)
    read = AttestationEntry.from_json(schemas)
    assert read == entry
    assert read.compute_entry_hash() == entry.entry_hash


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: f"[{text}]",
        lambda text: text.replace('"severity":1,', ""),
        lambda text: text.replace('"severity":1,', '"severity":1,"more":1,'),
        lambda text: text.replace('"severity":1,', '"severity":1,"severity":1,'),
        lambda text: text.replace('"severity":1,', '"severity":"1",'),
        lambda text: re.sub('"timestamp":"[^"]*"', '"timestamp":"yesterday"', text),
        lambda text: re.sub('"timestamp":"[^"]*"', '"timestamp":1', text),
        lambda text: re.sub('"timestamp":"[^"]*"', '"timestamp":"0001-01-01T00:00:00+23:00"', text),
    ],
)
def test_json_that_is_no_entry_is_refused(log: ImmutableAttestationLog, change: Callable[[str], str]) -> None:
    text = log.append(event()).to_json()
    assert change(text) != text
    with pytest.raises(MalformedError):
        AttestationEntry.from_json(change(text))


def test_timestamps_are_utc(log: ImmutableAttestationLog) -> None:
    before = datetime.now(UTC)
    entry = log.append(event())
    assert before - timedelta(seconds=1) < entry.timestamp < before + timedelta(minutes=1)
    assert entry.timestamp.utcoffset() == timedelta(0)
    naive, elsewhere = (
        entry.timestamp.replace(tzinfo=None),
        entry.timestamp.astimezone(timezone(timedelta(hours=7))),
    )
    assert replace(entry, timestamp=naive) == replace(entry, timestamp=elsewhere) == entry
    for wrong in ("2025-10-30T12:00:00Z", None, 1.5):
        with pytest.raises(MalformedEntryError) as error:
            replace(entry, timestamp=wrong)  # type: ignore[arg-type]
        assert error.value.evidence()["member"] == "timestamp"


CHANGED: dict[str, Any] = {
    "entry_id": "11111111-1111-4111-8111-111111111111",
    "timestamp": datetime(2020, 1, 1, tzinfo=UTC),
    "sequence_number": 7,
    "event_type": "DECISION",
    "event_category": "ERROR",
    "severity": 9,
    "actor_type": "HUMAN",
    "actor_id": "somebody-else",
    "actor_context": {"role": "admin"},
    "action_type": "another",
    "action_payload": {"task_id": "another"},
    "action_hash": "0" * 64,
    "system_state_snapshot": {"state": 1},
    "environment": {"os": "another"},
    "dependencies": ["11111111-1111-4111-8111-111111111111"],
    "required_proofs": ["rollback"],
    "provided_proofs": [{"type": "rollback", "valid": True}],
    "proofs_valid": False,
    "required_approvals": 3,
    "received_approvals": [{"signer": "a", "signature": "b", "timestamp": "c"}],
    "quorum_met": False,
    "pillars_scores": {"an_toan": 1},
    "composite_score": 1,
    "safety_floor_met": False,
    "k_state": 0,
    "conflicts_detected": ["conflict"],
    "execution_status": "FAILED",
    "result_data": {"result": 1},
    "error_details": {"error": 1},
    "rollback_available": True,
    "rollback_snapshot_hash": "1" * 64,
    "rollback_executed": True,
    "prev_entry_hash": "2" * 64,
    "entry_hash": "3" * 64,
    "hsm_signature": "30" * 70,
    "signature_algorithm": "Ed25519",
    "signing_key_id": "4" * 64,
    "attribution": "somebody_else",
    "schema_version": "2.0.0",
    "replicas": ["https://replica.example.com"],
}


def test_a_change_of_any_member_shows(log: ImmutableAttestationLog, key: HsmKey) -> None:
    assert list(CHANGED) == [field.name for field in fields(AttestationEntry)]
    entry = log.append(event())
    assert entry.verify_signature(key)
    for name, value in CHANGED.items():
        changed = replace(entry, **{name: value})
        assert changed != entry, name
        assert not changed.verify_signature(key), name
        if name in {"attribution", "schema_version"}:  # one value only: with another it is no entry
            with pytest.raises(MalformedEntryError):
                changed.compute_entry_hash()
        else:
            found = changed.compute_entry_hash() == changed.entry_hash
            assert found == (name == "hsm_signature"), name


def test_a_payload_and_its_hash_exchanged_together_show(log: ImmutableAttestationLog) -> None:
    entry = log.append(event())
    payload = {"task_id": "another"}
    both = replace(entry, action_payload=payload, action_hash=sha256(canonical.encode(payload)).hexdigest())
    assert both.compute_entry_hash() != both.entry_hash


def test_chain(log: ImmutableAttestationLog) -> None:
    first, second, third = (log.append(event()) for _ in range(3))
    assert second.verify_chain(first)
    assert third.verify_chain(second)
    assert not third.verify_chain(first)
    assert not first.verify_chain(second)
    assert not second.verify_chain(second)
    # The schema compares two stated hashes, and would let these be.
    assert not second.verify_chain(replace(first, actor_id="somebody-else"))
    assert not second.verify_chain(replace(first, attribution="somebody_else"))
    assert not replace(second, sequence_number=7).verify_chain(first)
    assert not replace(second, timestamp=datetime(2020, 1, 1, tzinfo=UTC)).verify_chain(first)


def test_signature_under_every_form_of_the_key(log: ImmutableAttestationLog, key: HsmKey) -> None:
    entry = log.append(event())
    public = log.public_key
    assert public.key is not None
    forms = [key, key.public_key, key.public_key.decode(), public, public.key, public.spki, key._key]
    assert all(entry.verify_signature(form) for form in forms)
    assert entry.signature_algorithm == "ECDSA-P256-SHA256"
    assert not entry.verify_signature(HsmKey())
    assert not entry.verify_signature(Ed25519PrivateKey.generate())
    for changed in ("", "xyz", entry.hsm_signature.upper(), entry.hsm_signature[:-2]):
        assert not replace(entry, hsm_signature=changed).verify_signature(key)
    for wrong in (
        None,
        5,
        "no key",
        b"",
        object(),
        key.public_key[:60],
        SimpleNamespace(public_key="no key"),
    ):
        with pytest.raises(MalformedSignatureError):
            entry.verify_signature(wrong)


def test_signature_of_a_batch_is_followed_along_its_path(log: ImmutableAttestationLog, key: HsmKey) -> None:
    log.log.append_many([numbered(number) for number in range(5)])
    entries = log.entries[1:]
    assert {entry.signature_algorithm for entry in entries} == {"ECDSA-P256-SHA256+BATCH"}
    assert all(entry.verify_signature(key) for entry in entries)
    first, second = entries[0], entries[1]
    signature, place, path = first.hsm_signature.split(":")
    assert (place, len(path)) == ("0/5", 3 * 64)
    assert not replace(first, hsm_signature=f"{signature}:{place}:{path[64:]}{path[:64]}").verify_signature(
        key
    )
    assert not replace(first, hsm_signature=f"{signature}:1/5:{path}").verify_signature(key)
    assert not replace(first, hsm_signature=second.hsm_signature).verify_signature(key)
    assert not first.verify_signature(HsmKey())


def test_an_erased_payload_leaves_the_rest_verifiable(tmp_path: Path) -> None:
    uri = MemorySigner().uri
    log = attestlog.create(
        tmp_path / "audit", origin="example.com/erasable", signer=uri, erasable_payloads=True
    )
    log.append(event())
    log.erase(1, reason="asked to", actor_id="officer")
    log.close()
    with ImmutableAttestationLog(tmp_path / "audit", uri) as opened:
        entry = opened.entries[1]
        assert entry.action_payload is None
        assert entry.verify_signature(opened.public_key)
        assert entry.verify_chain(opened.entries[0])
        assert opened.verify_integrity()


def test_the_page_has_every_member_and_every_name() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    members = [field.name for field in fields(AttestationEntry)]
    assert rows[: len(members)] == members
    for kind in (AttestationEntry, ImmutableAttestationLog, MinimalAttestationLog):
        section = page.split(f"## `{kind.__name__}`")[-1].split("\n## ")[0]
        names = {name for name in vars(kind) if not name.startswith("_")} - set(members)
        assert names
        for name in names:
            assert re.search(rf"^\|.*`{name}\b.*\|", section, re.MULTILINE), f"{kind.__name__}.{name}"
    for name in haios.__all__:
        assert f"`{name}" in page, name


# --- the schema's own computations ---


def schema_entry(**members: Any) -> AttestationEntry:
    """An entry as the schema's code would have made it: nothing of attestlog's is in it."""
    return AttestationEntry(**{
        "entry_id": "e45aa5bd-8694-4c4b-89fa-1720bbf8810a",
        "timestamp": datetime(2025, 10, 30, 12, 0, 0, 1),
        "sequence_number": 0, "event_type": "ACTION", "event_category": "NORMAL", "severity": 1,
        "actor_type": "SYSTEM", "actor_id": "ca", "actor_context": {}, "action_type": "soft_launch",
        "action_payload": {"b": 1, "a": "an toàn"}, "action_hash": "5" * 64,
        "system_state_snapshot": {"k": 1.0}, "environment": {}, "dependencies": [],
        "required_proofs": [], "provided_proofs": [],
        "proofs_valid": True, "required_approvals": 0, "received_approvals": [], "quorum_met": True,
        "pillars_scores": {}, "composite_score": 7.0, "safety_floor_met": True, "k_state": 1,
        "conflicts_detected": [], "execution_status": "SUCCESS", "result_data": None, "error_details": None,
        "rollback_available": False, "rollback_snapshot_hash": None, "rollback_executed": False,
        "prev_entry_hash": "0" * 64, "entry_hash": "", "hsm_signature": "", "signature_algorithm": "",
        "signing_key_id": "hsm-1", "attribution": "alpha_prime_omega", "schema_version": "1.0.0",
        "replicas": [], **members,
    })  # fmt: skip


def test_schema_entry_hash_is_of_what_pythons_json_prints() -> None:
    entry = schema_entry()
    listed = (
        '{"action_hash": "' + "5" * 64 + '", "actor_id": "ca",'
        ' "entry_id": "e45aa5bd-8694-4c4b-89fa-1720bbf8810a", "event_type": "ACTION",'
        ' "execution_status": "SUCCESS", "prev_entry_hash": "' + "0" * 64 + '", "provided_proofs": [],'
        ' "sequence_number": 0, "system_state_snapshot": {"k": 1.0},'
        ' "timestamp": "2025-10-30T12:00:00.000001"}'
    )
    assert schema_entry_hash(entry, listed_only=True) == sha256(listed.encode()).hexdigest()
    members = {n: v for n, v in entry.__dict__.items() if n not in {"entry_hash", "hsm_signature"}}
    assert len(members) == 38
    members["timestamp"] = "2025-10-30T12:00:00.000001"
    whole = json.dumps(members, sort_keys=True)
    assert '"action_payload": {"a": "an to\\u00e0n", "b": 1}' in whole
    assert schema_entry_hash(entry) == sha256(whole.encode()).hexdigest()


def test_schema_entry_hash_covers_what_it_says() -> None:
    entry = schema_entry()
    for name, value in CHANGED.items():
        changed = replace(entry, **{name: value})
        assert (schema_entry_hash(changed) == schema_entry_hash(entry)) == (
            name in {"entry_hash", "hsm_signature"}
        )
    assert schema_entry_hash(replace(entry, actor_type="HUMAN"), listed_only=True) == schema_entry_hash(
        entry, listed_only=True
    )


def test_schema_merkle_root_pads_with_the_last_hash() -> None:
    a, b, c = (sha256(name).hexdigest() for name in (b"a", b"b", b"c"))

    def pair(left: str, right: str) -> str:
        return sha256((left + right).encode()).hexdigest()

    assert schema_merkle_root([]) == "0" * 64
    assert schema_merkle_root([a]) == a
    assert schema_merkle_root([a, b]) == pair(a, b)
    assert schema_merkle_root([a, b, c]) == pair(pair(a, b), pair(c, c))
    # Which is why it is not the log's: two lists have one root.
    assert schema_merkle_root([a, b, c]) == schema_merkle_root([a, b, c, c])
    assert schema_merkle_root(iter([schema_entry(entry_hash=a), schema_entry(entry_hash=b)])) == pair(a, b)


# --- making and opening ---


def test_a_new_path_creates_and_an_existing_one_opens(tmp_path: Path, key: HsmKey) -> None:
    path = tmp_path / "my audit" / "log"
    with ImmutableAttestationLog(str(path), key) as log:
        made, origin = log.append(event()), log.log.origin
        assert log.storage_path == str(path)
        assert log.hsm_key is key
        assert re.fullmatch(r"haios\.local/log-[0-9a-f]{8}", origin)
    with ImmutableAttestationLog(path, key) as log:
        assert log.log.origin == origin
        assert log.entries[1] == made
        assert log.append(event()).sequence_number == 2
        assert origin in repr(log)
    check_log(path)


def test_two_logs_of_one_name_do_not_share_an_origin(tmp_path: Path, key: HsmKey) -> None:
    with (
        ImmutableAttestationLog(tmp_path / "a" / "audit", key) as one,
        ImmutableAttestationLog(tmp_path / "b" / "audit", key) as other,
    ):
        assert one.log.origin != other.log.origin
        assert one.verify_integrity()
        assert other.verify_integrity()


@pytest.mark.parametrize("name", ["nhật ký", "+ +", "x" * 200, "-"])
def test_any_name_of_a_directory_makes_an_origin(tmp_path: Path, key: HsmKey, name: str) -> None:
    with ImmutableAttestationLog(tmp_path / name, key) as log:
        assert re.fullmatch(r"haios\.local/[A-Za-z0-9._-]{1,80}-[0-9a-f]{8}", log.log.origin)


def test_an_origin_is_taken_and_must_be_that_of_the_log(tmp_path: Path, key: HsmKey) -> None:
    path = tmp_path / "audit"
    ImmutableAttestationLog(path, key, origin="example.com/audit").close()
    with ImmutableAttestationLog(path, key, origin="example.com/audit") as log:
        assert log.log.origin == "example.com/audit"
    with pytest.raises(MalformedConfigError, match=r"is the log 'example\.com/audit'") as error:
        ImmutableAttestationLog(path, key, origin="example.com/other")
    assert error.value.evidence()["member"] == "origin"


def test_what_is_no_log_is_not_taken_for_one(tmp_path: Path, key: HsmKey) -> None:
    file, folder, empty = tmp_path / "haios_audit.jsonl", tmp_path / "folder", tmp_path / "empty"
    file.write_text("{}\n")
    folder.mkdir()
    (folder / "x").touch()
    empty.mkdir()
    for path in (file, folder):
        with pytest.raises(NotFoundError, match="is not a log"):
            ImmutableAttestationLog(path, key)
    assert file.read_text() == "{}\n"
    assert [path.name for path in folder.iterdir()] == ["x"]
    with ImmutableAttestationLog(empty, key) as log:
        assert len(log.entries) == 1


def test_a_log_that_another_process_makes_meanwhile_is_opened(
    tmp_path: Path, key: HsmKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit"
    create = attestlog.create

    def late(*arguments: Any, **options: Any) -> attestlog.Log:
        monkeypatch.setattr(attestlog, "create", create)
        ImmutableAttestationLog(path, key, origin="example.com/first").close()
        return create(*arguments, **options)

    monkeypatch.setattr(attestlog, "create", late)
    with ImmutableAttestationLog(path, key) as log:
        assert log.log.origin == "example.com/first"
        assert log.append(event()).verify_signature(key)


def test_checkpoints_are_signed_by_the_key_that_is_given(
    tmp_path: Path, key: HsmKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = MemorySigner("Ed25519")
    monkeypatch.setenv("ATTESTLOG_HOME", str(tmp_path / "home"))
    ImmutableAttestationLog(tmp_path / "audit", key, checkpoint_signer=signer.uri).close()
    assert not (tmp_path / "home" / "keys").exists()
    with ImmutableAttestationLog(tmp_path / "audit", key) as log:
        assert log.verify_integrity()


# --- the key ---


class WithMethod:
    """A key that gives its public key by a method, as DER."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


@pytest.mark.parametrize(
    "make, algorithm",
    [
        (HsmKey, "ECDSA-P256-SHA256"),
        (WithMethod, "Ed25519"),
        (Ed25519PrivateKey.generate, "Ed25519"),
        (lambda: generate_private_key(SECP256R1()), "ECDSA-P256-SHA256"),
        (MemorySigner, "ECDSA-P256-SHA256"),
        (lambda: MemorySigner("Ed25519").uri, "Ed25519"),
    ],
    ids=["object", "method", "Ed25519 key", "P-256 key", "signer", "URI"],
)
def test_any_kind_of_key(tmp_path: Path, make: Callable[[], object], algorithm: str) -> None:
    key = make()
    with ImmutableAttestationLog(tmp_path / "audit", key) as log:
        entry = log.append(event())
        assert entry.signature_algorithm == algorithm
        assert entry.verify_signature(log.public_key)
        assert log.verify_integrity()
    if not isinstance(key, MemorySigner):  # a signer is closed with its log
        with ImmutableAttestationLog(tmp_path / "audit", key) as log:
            assert log.append(event()).verify_signature(log.public_key)
            assert log.verify_integrity()


def test_a_key_file_is_made_on_first_use(tmp_path: Path) -> None:
    uri = f"file:{tmp_path / 'entry.pem'}"
    with ImmutableAttestationLog(tmp_path / "audit", uri) as log:
        first = log.append(event())
    with ImmutableAttestationLog(tmp_path / "audit", uri) as log:
        assert first.verify_signature(log.public_key)


def failing() -> bytes:
    raise OSError("the device is gone")


@pytest.mark.parametrize(
    "key, kind, words",
    [
        (object(), MalformedConfigError, "object, want a signer, a signer URI or an object with sign"),
        (None, MalformedConfigError, "NoneType, want"),
        (SimpleNamespace(sign=1, public_key=b""), MalformedConfigError, "SimpleNamespace, want"),
        (SimpleNamespace(sign=len), MalformedConfigError, "SimpleNamespace without a usable public_key"),
        (SimpleNamespace(sign=len, public_key="pem"), MalformedConfigError, "without a usable public_key"),
        (SimpleNamespace(sign=len, public_key=failing), SignerError, "OSError: the device is gone"),
        (generate_rsa(65_537, 2_048), MalformedConfigError, "want P-256, Ed25519"),
        ("nonsense:key", MalformedConfigError, "no known scheme"),
    ],
    ids=["object", "None", "no method", "no public key", "no PEM", "failing", "RSA", "URI"],
)
def test_a_key_that_cannot_be_used(tmp_path: Path, key: object, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        ImmutableAttestationLog(tmp_path / "audit", key)
    assert not (tmp_path / "audit").exists()


@pytest.mark.parametrize(
    "sign",
    [lambda _: b"no signature", lambda _: "text", lambda _: failing()],
    ids=["wrong", "text", "failing"],
)
def test_a_key_that_signs_wrongly_makes_no_log(tmp_path: Path, sign: Callable[[bytes], Any]) -> None:
    key = SimpleNamespace(sign=sign, public_key=HsmKey().public_key)
    with pytest.raises(SignerError):
        ImmutableAttestationLog(tmp_path / "audit", key)
    assert not (tmp_path / "audit").exists()


@pytest.mark.parametrize("make", [HsmKey, lambda: MemorySigner().uri], ids=["object", "URI"])
def test_another_key_opens_nothing(
    tmp_path: Path, log: ImmutableAttestationLog, make: Callable[[], object]
) -> None:
    with pytest.raises(SignerError, match="the log is signed by"):
        ImmutableAttestationLog(tmp_path / "audit", make())
    assert log.append(event()).sequence_number == 1


# --- appending ---


@pytest.mark.parametrize("kind", PRINTED)
def test_the_schemas_events(log: ImmutableAttestationLog, key: HsmKey, kind: str) -> None:
    entry = log.append(event(kind))
    stated = event(kind)
    assert {name: getattr(entry, name) for name in stated} == stated
    assert entry.event_type == EventType(kind)
    assert (entry.attribution, entry.schema_version) == ("alpha_prime_omega", "1.0.0")
    assert entry.compute_entry_hash() == entry.entry_hash
    assert entry.verify_chain(log.entries[0])
    assert entry.verify_signature(key)
    assert log.verify_integrity()
    if "pillars_scores" in stated:
        composite = {"ACTION": 8.875, "DECISION": 9.575}[kind]
        assert (entry.composite_score, entry.safety_floor_met) == (composite, True)


def test_a_quorum_that_is_only_said_is_refused(log: ImmutableAttestationLog) -> None:
    """The schema's own example of a CHANGE, word for word."""
    with pytest.raises(DerivedMemberError, match="quorum_met"):
        log.append({**CHANGE, "actor_id": "digital_organism_01"})
    assert len(log.entries) == 1
    assert log.append(event("CHANGE")).quorum_met is False


def test_members_that_the_log_assigns(log: ImmutableAttestationLog) -> None:
    entry = log.append(
        event(
            entry_id="", timestamp=None, prev_entry_hash="", entry_hash="", hsm_signature="", replicas=[],
            signature_algorithm="ECDSA-P256-SHA256", signing_key_id=log.public_key.key_id,
            attribution="alpha_prime_omega", schema_version="1.0.0",
        )
    )  # fmt: skip
    assert entry.sequence_number == 1
    for name, value in {
        "sequence_number": 0, "prev_entry_hash": "0" * 64, "signing_key_id": "hsm-1", "entry_id": "e",
        "signature_algorithm": "RSA", "replicas": ["https://replica.example.com"],
        "timestamp": datetime(2025, 1, 1, tzinfo=UTC),
    }.items():  # fmt: skip
        with pytest.raises(MalformedEntryError, match=f"{name}: is assigned by the log"):
            log.append(event(**{name: value}))
    for wrong in (None, 5, ["a"], "ab"):
        with pytest.raises(MalformedEntryError):
            log.append(wrong)  # type: ignore[arg-type]
    with pytest.raises(DerivedMemberError):
        log.append(event(safety_floor_met=False))
    assert len(log.entries) == 2


def test_entry_data_is_left_as_it_is(log: ImmutableAttestationLog) -> None:
    data = event(hsm_signature="", action_payload={"password": "hunter2"})
    copy = json.loads(json.dumps(data))
    log.append(data)
    assert data == copy


def test_redaction_shows_in_what_append_returns(log: ImmutableAttestationLog, key: HsmKey) -> None:
    payload = {"password": "hunter2", "user": "a@example.com", "number": 1}
    entry = log.append(event(action_payload=payload))
    assert entry.action_payload is not None
    assert entry.action_payload["number"] == 1
    assert entry.action_payload["password"].startswith("[redacted:field:")
    assert entry.action_payload["user"] == "a@example.com", "whom an agent wrote to is evidence"
    assert log.entries[1] == entry
    assert entry.verify_signature(key)
    digest = sha256(canonical.encode(payload)).hexdigest()
    with pytest.raises(DerivedMemberError, match="the log redacts or salts it first") as error:
        log.append(event(action_payload=payload, action_hash=digest))
    assert error.value.evidence()["member"] == "action_hash"
    with pytest.raises(DerivedMemberError, match="derived as"):
        log.append(event(action_hash=digest))
    assert len(log.entries) == 2


def test_without_redaction_everything_is_stored_as_given(tmp_path: Path, key: HsmKey) -> None:
    payload = {"password": "hunter2", "user": "a@example.com"}
    digest = sha256(canonical.encode(payload)).hexdigest()
    with ImmutableAttestationLog(tmp_path / "audit", key, redact=False) as log:
        entry = log.append(event(action_payload=payload, action_hash=digest))
        assert (entry.action_payload, entry.action_hash) == (payload, digest)
        with pytest.raises(DerivedMemberError, match="derived as"):
            log.append(event(action_hash=digest))
        assert log.verify_integrity()


def test_threads_and_two_openings_share_a_log(
    tmp_path: Path, log: ImmutableAttestationLog, key: HsmKey
) -> None:
    with ImmutableAttestationLog(tmp_path / "audit", key) as other:
        threads = [
            threading.Thread(target=lambda to=to: [to.append(event()) for _ in range(10)])
            for to in (log, log, other, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(log.entries) == len(other.entries) == 41
        assert all(entry.verify_signature(key) for entry in log.entries)
        assert other.get_merkle_root() == log.get_merkle_root()
        assert log.verify_integrity()


# --- verifying ---


def test_tampering_of_any_kind_shows(log: ImmutableAttestationLog) -> None:
    for number in range(5):
        log.append(numbered(number))
    log.log.checkpoint()
    assert log.verify_integrity()
    path = segment(log)
    sound = path.read_bytes()
    lines = sound.splitlines(keepends=True)
    forged = {
        "genesis": [lines[0].replace(b'"NORMAL"', b'"ERROR"'), *lines[1:]],
        "byte": [*lines[:3], lines[3].replace(b'"number":2', b'"number":3'), *lines[4:]],
        "status": [*lines[:3], lines[3].replace(b"SUCCESS", b"BLOCKED"), *lines[4:]],
        "cut": lines[:-1],
        "dropped": [*lines[:2], *lines[3:]],
        "swapped": [*lines[:2], lines[3], lines[2], *lines[4:]],
        "repeated": [*lines, lines[-1]],
        "torn": [*lines, lines[-1][:40]],
        "empty": [],
    }
    for name, data in forged.items():
        assert b"".join(data) != sound, name
        path.write_bytes(b"".join(data))
        assert not log.verify_integrity(), name
        assert log.report().findings, name
    path.write_bytes(sound)
    assert log.verify_integrity()


def test_a_log_of_another_key_in_its_place_shows(tmp_path: Path, log: ImmutableAttestationLog) -> None:
    log.append(event())
    with ImmutableAttestationLog(tmp_path / "forged", HsmKey(), origin=log.log.origin) as forged:
        forged.append(event())
    assert attestlog.verify(tmp_path / "forged", remember=False).verdict == "VERIFIED"
    Path(log.storage_path).rename(tmp_path / "gone")
    (tmp_path / "forged").rename(log.storage_path)
    report = log.report()
    assert report.verdict == "FORKED"
    assert not log.verify_integrity()
    Path(log.storage_path).rename(tmp_path / "forged")
    (tmp_path / "gone").rename(log.storage_path)


def test_an_older_copy_in_its_place_shows(tmp_path: Path, log: ImmutableAttestationLog, key: HsmKey) -> None:
    """Nothing in the copy is wrong: what writers and verifiers remember gives it away."""
    path = tmp_path / "audit"
    log.close()
    older = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with ImmutableAttestationLog(path, key) as again:
        again.append(event())
        assert again.verify_integrity()
    for file, data in older.items():
        file.write_bytes(data)
    with pytest.raises(RollbackError, match=r"acknowledged 2 entries of .*, the log has 1"):
        ImmutableAttestationLog(path, key)
    assert attestlog.verify(path).verdict == "TRUNCATED"


def test_a_rotation_is_followed(tmp_path: Path, log: ImmutableAttestationLog) -> None:
    new = MemorySigner()
    log.log.rotate_key(MemorySigner(key=new._key))
    entry = log.append(event())
    assert entry.verify_signature(new)
    assert not entry.verify_signature(log.public_key)
    assert log.verify_integrity()
    with ImmutableAttestationLog(tmp_path / "audit", new) as again:
        assert again.append(event()).verify_signature(new)
        assert again.verify_integrity()


def test_root_is_that_of_the_tree(log: ImmutableAttestationLog) -> None:
    for size in range(1, 9):
        leaves = [bytes.fromhex(entry.entry_hash) for entry in log.entries]
        assert len(leaves) == size
        assert log.get_merkle_root() == mth(leaves).hex()
        assert (log.get_merkle_root() == schema_merkle_root(log.entries)) is False
        log.append(numbered(size))


# --- asking ---


def ids(entries: list[AttestationEntry]) -> list[int]:
    return [entry.sequence_number for entry in entries]


def test_query(log: ImmutableAttestationLog) -> None:
    for kind, actor in (("ACTION", "a"), ("DECISION", "b"), ("ACTION", "b"), ("VIOLATION", "a")):
        log.append(event(kind, actor_id=actor))
    assert ids(log.query({})) == [0, 1, 2, 3, 4]
    assert ids(log.query({"event_type": "ACTION"})) == [1, 3]
    assert ids(log.query({"event_type": EventType.ACTION, "actor_id": "b"})) == [3]
    assert ids(log.query({"actor_id": "nobody"})) == []
    second, third = log.entries[2], log.entries[3]
    assert second.timestamp < third.timestamp
    between = {"start_time": second.timestamp, "end_time": third.timestamp}
    assert ids(log.query(between)) == [2, 3]
    assert log.query(between)[0] == second
    naive = {name: moment.replace(tzinfo=None) for name, moment in between.items()}
    assert ids(log.query(naive)) == [2, 3]
    elsewhere = timezone(timedelta(hours=-7))
    assert ids(log.query({n: m.astimezone(elsewhere).isoformat() for n, m in between.items()})) == [2, 3]
    assert ids(log.query({n: m.isoformat(" ") for n, m in naive.items()})) == [2, 3]
    assert ids(log.query({**between, "event_type": "ACTION"})) == [3]
    assert ids(log.query({"start_time": third.timestamp, "end_time": second.timestamp})) == []
    assert ids(log.query({"start_time": datetime.min, "end_time": datetime.max})) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "filters, member",
    [
        ({"actor": "a"}, "actor"),
        ({"limit": 1}, "limit"),
        ({"event_type": None}, "event_type"),
        ({"event_type": "NONSENSE"}, "event_type"),
        ({"actor_id": 5}, "actor_id"),
        ({"start_time": "yesterday"}, "start_time"),
        ({"end_time": 5}, "end_time"),
        ({"start_time": datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))}, "start_time"),
    ],
)
def test_what_cannot_be_asked(log: ImmutableAttestationLog, filters: dict[str, Any], member: str) -> None:
    with pytest.raises(QueryError, match=member) as error:
        log.query(filters)
    assert error.value.evidence()["member"] == member


def test_entries_are_a_sequence_that_follows_the_log(log: ImmutableAttestationLog) -> None:
    entries = log.entries
    assert (len(entries), entries[0].action_type) == (1, "attestlog.genesis")
    made = [log.append(numbered(number)) for number in range(6)]
    assert len(entries) == 7
    assert entries[-1] == entries[6] == made[-1]
    assert list(entries)[1:] == made
    assert ids(list(reversed(entries))) == [6, 5, 4, 3, 2, 1, 0]
    assert made[2] in entries
    assert entries.index(made[2]) == 3
    for index in (7, -8):
        with pytest.raises(IndexError):
            entries[index]
    some = entries[2:5]
    assert isinstance(some, Entries)
    assert (len(some), some[0], some[-1]) == (3, made[1], made[3])
    assert ids(list(entries[::-2])) == [6, 4, 2, 0]
    assert ids(list(some[1:])) == [3, 4]
    assert list(entries[5:2]) == []
    log.append(numbered(6))
    assert (len(entries), len(some), len(entries[5:])) == (8, 3, 3)
    assert "8 entries" in repr(entries)


def test_entries_are_read_when_they_are_asked_for(log: ImmutableAttestationLog) -> None:
    for number in range(4):
        log.append(numbered(number))
    path = segment(log)
    sound = path.read_bytes()
    lines = sound.splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"x" * (len(lines[2]) - 1) + b"\n", *lines[3:]]))
    entries = log.entries
    assert (entries[1].sequence_number, entries[4].sequence_number, len(entries)) == (1, 4, 5)
    iterator = iter(entries)
    assert next(iterator).sequence_number == 0
    with pytest.raises(CorruptError):
        entries[2]
    with pytest.raises(CorruptError):
        list(iterator)
    path.write_bytes(sound)


def test_entries_need_no_key(log: ImmutableAttestationLog) -> None:
    log.append(event())
    log.close()
    log.close()
    assert ids(list(Entries(log.storage_path))) == [0, 1]
    assert log.verify_integrity()
    with pytest.raises(NotFoundError):
        Entries(Path(log.storage_path) / "none")
