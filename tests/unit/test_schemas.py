"""The JSON Schemas: current, shipped, and judging shapes as the code does."""

import json
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder
from jsonschema import Draft202012Validator
from tests.support.repository import ROOT
from tests.support.shapes import CHANGE, SHAPES, SNAPSHOT_HASH, TIMESTAMP, entry_id, line_of, sealed

from attestlog._internal.core.entry import Entry, EntryDraft, decode_line, parse_draft
from attestlog._internal.core.reserved import check_reserved
from attestlog.errors import MalformedEntryError
from attestlog.schemas import KINDS, format_schema, make_schema

ENTRY, DRAFT = (Draft202012Validator(make_schema(kind)) for kind in ("entry", "draft"))


def accepts(validator: Draft202012Validator, value: Any) -> bool:
    return bool(validator.is_valid(value))


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_are_current(kind: str) -> None:
    text = (files("attestlog.schemas") / f"{kind}.schema.json").read_text(encoding="utf-8")
    assert text == format_schema(kind), "run: python -m attestlog.schemas"


def test_the_wheel_ships_them(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"attestlog/schemas/{kind}.schema.json" for kind in KINDS} <= set(names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"attestlog"}


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_schemas(kind: str) -> None:
    schema = make_schema(kind)
    Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
    fields = (Entry if kind == "entry" else EntryDraft).__struct_fields__
    assert sorted(schema["properties"]) == sorted(fields)


@pytest.mark.parametrize("name", SHAPES)
def test_the_six_shapes_are_accepted(name: str) -> None:
    assert [error.message for error in DRAFT.iter_errors(SHAPES[name])] == []
    assert [error.message for error in ENTRY.iter_errors(json.loads(line_of(SHAPES[name])))] == []
    for line in sealed([SHAPES[name]] * 3):
        assert accepts(ENTRY, json.loads(line))


def test_an_erased_entry_is_accepted_and_an_erased_draft_is_not() -> None:
    assert accepts(ENTRY, {**json.loads(line_of(CHANGE)), "action_payload": None})
    assert not accepts(DRAFT, {**CHANGE, "action_payload": None})


STORED = json.loads(line_of(CHANGE))
PROOF = {"type": "t", "valid": True}
APPROVAL = {"signer": "a", "signature": "00", "timestamp": TIMESTAMP}
MUTANTS: list[tuple[str, Any]] = [
    ("action_hash", "00"),
    ("action_payload", []),
    ("action_type", ""),
    ("action_type", "x" * 257),
    ("actor_context", None),
    ("actor_id", 7),
    ("actor_type", "ROBOT"),
    ("attribution", "someone"),
    ("composite_score", 10.5),
    ("composite_score", "7"),
    ("conflicts_detected", [1]),
    ("dependencies", [entry_id(1).upper().replace("0", "A")]),
    ("dependencies", [entry_id(1) + "\n"]),
    ("environment", {"a": 1}),
    ("error_details", "x"),
    ("event_category", "normal"),
    ("event_type", "LOG"),
    ("execution_status", "DONE"),
    ("k_state", 2),
    ("k_state", True),
    ("pillars_scores", {"safety": 7}),
    ("pillars_scores", {"an_toan": 11}),
    ("pillars_scores", {"an_toan": None}),
    ("proofs_valid", 1),
    ("provided_proofs", [{"type": "t"}]),
    ("provided_proofs", [{"valid": True}]),
    ("provided_proofs", [{"type": "t", "valid": "true"}]),
    ("quorum_met", None),
    ("received_approvals", [{"signer": "a", "signature": "00"}]),
    ("received_approvals", [{**APPROVAL, "n": 1}]),
    ("required_approvals", -1),
    ("required_approvals", 2**53),
    ("required_approvals", 0.5),
    ("required_proofs", "x"),
    ("result_data", []),
    ("rollback_available", "yes"),
    ("rollback_executed", 0),
    ("rollback_snapshot_hash", SNAPSHOT_HASH.upper()),
    ("rollback_snapshot_hash", SNAPSHOT_HASH + "\n"),
    ("safety_floor_met", 1),
    ("schema_version", "1.0.1"),
    ("severity", 11),
    ("severity", -1),
    ("system_state_snapshot", []),
    ("unknown", 1),
]
STORED_MUTANTS: list[tuple[str, Any]] = [
    ("entry_hash", 5),
    ("entry_id", entry_id(1).replace("4000", "1000")),
    ("hsm_signature", None),
    ("prev_entry_hash", None),
    ("replicas", None),
    ("sequence_number", -1),
    ("signature_algorithm", None),
    ("signing_key_id", 0),
    ("timestamp", "2025-10-30T12:00:00Z"),
    ("timestamp", TIMESTAMP + "\n"),
]


@pytest.mark.parametrize("member, value", MUTANTS)
def test_a_wrong_member_is_refused_by_schema_and_code_alike(member: str, value: Any) -> None:
    draft = {**CHANGE, member: value}
    assert not accepts(DRAFT, draft)
    with pytest.raises(MalformedEntryError):
        parse_draft(draft)
    assert not accepts(ENTRY, {**STORED, member: value})
    if member != "action_hash":  # the code compares a stored hash with the hash it must be
        with pytest.raises(MalformedEntryError):
            decode_line(json.dumps({**STORED, member: value}).encode())


@pytest.mark.parametrize("member, value", STORED_MUTANTS)
def test_a_wrong_member_of_a_line_is_refused_by_schema_and_code_alike(member: str, value: Any) -> None:
    assert not accepts(ENTRY, {**STORED, member: value})
    with pytest.raises(MalformedEntryError):
        decode_line(json.dumps({**STORED, member: value}).encode())


def test_every_member_has_a_mutant() -> None:
    members = {member for member, _ in [*MUTANTS, *STORED_MUTANTS]} - {"unknown"}
    assert members == set(Entry.__struct_fields__)


@pytest.mark.parametrize("member", Entry.__struct_fields__)
def test_every_member_of_an_entry_is_needed(member: str) -> None:
    assert not accepts(ENTRY, {name: value for name, value in STORED.items() if name != member})
    if member not in EntryDraft.__struct_fields__:
        assert not accepts(DRAFT, {**CHANGE, member: STORED[member]})


@pytest.mark.parametrize("member", ["attestlog", "attestlog_", "attestlog_rules", "attestlog_holds"])
def test_a_draft_states_nothing_that_the_log_asserts(member: str) -> None:
    draft = {**CHANGE, "environment": {member: f"0:{SNAPSHOT_HASH}"}}
    assert not accepts(DRAFT, draft)
    with pytest.raises(MalformedEntryError):
        check_reserved(parse_draft(draft))


@pytest.mark.parametrize("member", ["attestlogs", "Attestlog", "my_attestlog_rules", ""])
def test_other_members_of_the_environment_are_the_callers(member: str) -> None:
    draft = {**CHANGE, "environment": {member: "x"}}
    assert accepts(DRAFT, draft)
    check_reserved(parse_draft(draft))


@pytest.mark.parametrize("member", ["attestlog_rules", "attestlog_holds"])
@pytest.mark.parametrize(
    "text, is_pointer",
    [
        (f"0:{SNAPSHOT_HASH}", True),
        (f"17:{SNAPSHOT_HASH}", True),
        (f"00:{SNAPSHOT_HASH}", False),
        (f"+1:{SNAPSHOT_HASH}", False),
        (f"1:{SNAPSHOT_HASH.upper()}", False),
        (f"1:{SNAPSHOT_HASH[1:]}", False),
        ("1", False),
    ],
)
def test_pointers_have_their_shape(member: str, text: str, is_pointer: bool) -> None:
    assert accepts(ENTRY, {**STORED, "environment": {member: text}}) is is_pointer


@pytest.mark.parametrize("hash_member", ["action_hash", "entry_hash", "prev_entry_hash", "signing_key_id"])
@pytest.mark.parametrize("wrong", ["", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n"])
def test_hashes_have_their_shape(hash_member: str, wrong: str) -> None:
    assert not accepts(ENTRY, {**STORED, hash_member: wrong})


@pytest.mark.parametrize("wrong", ["", "ABCD", "ab:0/1", "ab:00000/1:", "ab:0/1:ab", "ab:0/1::"])
def test_signatures_have_their_shape(wrong: str) -> None:
    assert not accepts(ENTRY, {**STORED, "hsm_signature": wrong})
