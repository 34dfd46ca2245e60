"""Drafts and entries: every member, every limit at it and one past it, and every other spelling refused."""

import json
from hashlib import sha256
from typing import Any, get_type_hints

import msgspec
import pytest
import rfc8785
from tests.support.annotations import plain_type
from tests.support.logs import MINIMAL
from tests.support.shapes import (
    ACTION,
    CHANGE,
    NOW_US,
    SHAPES,
    TIMESTAMP,
    VIOLATION,
    entry_id,
    line_of,
    prepared,
    read,
    sealed,
)

from attestlog._internal.core import entry as entries
from attestlog._internal.core.entry import (
    ASSIGNED_MEMBERS,
    ENTRY_SIZE_MAX_BYTES,
    NAME_LENGTH_MAX,
    PAYLOAD_SIZE_MAX_BYTES,
    ChangeMembers,
    DraftMembers,
    Entry,
    EntryDraft,
    MoreMembers,
    OptionalMembers,
    check_canonical,
    check_sizes,
    decode_line,
    parse_draft,
)
from attestlog.errors import DerivedMemberError, MalformedEntryError, TooLargeError

HASH = sha256(b"").hexdigest()
NOT_V4 = entry_id(7).replace("4000", "1000")

# Section 1 of the specification, in its order.
MEMBERS = """
    entry_id timestamp sequence_number event_type event_category severity actor_type actor_id actor_context
    action_type action_payload action_hash system_state_snapshot environment dependencies required_proofs
    provided_proofs proofs_valid required_approvals received_approvals quorum_met pillars_scores
    composite_score safety_floor_met k_state conflicts_detected execution_status result_data error_details
    rollback_available rollback_snapshot_hash rollback_executed prev_entry_hash entry_hash hsm_signature
    signature_algorithm signing_key_id attribution schema_version replicas
""".split()
ASSIGNED = """
    entry_id timestamp sequence_number prev_entry_hash entry_hash hsm_signature signature_algorithm
    signing_key_id replicas
""".split()


def test_an_entry_has_exactly_the_members_of_the_specification() -> None:
    assert len(MEMBERS) == 40
    assert list(Entry.__struct_fields__) == sorted(MEMBERS)  # fields stand in canonical order
    assert set(ASSIGNED) == ASSIGNED_MEMBERS
    assert set(EntryDraft.__struct_fields__) == set(MEMBERS) - ASSIGNED_MEMBERS
    assert list(json.loads(line_of())) == sorted(MEMBERS)


def test_defaults_of_a_minimal_draft() -> None:
    entry = read(line_of(MINIMAL))
    assert (entry.event_category, entry.severity, entry.actor_type) == ("NORMAL", 1, "SYSTEM")
    assert entry.execution_status == "SUCCESS"
    stored = json.loads(line_of(MINIMAL))
    objects = ("action_payload", "actor_context", "system_state_snapshot", "pillars_scores")
    arrays = (
        *("dependencies", "required_proofs", "provided_proofs", "received_approvals"),
        *("conflicts_detected", "replicas"),
    )
    nulls = ("result_data", "error_details", "rollback_snapshot_hash")
    assert all(stored[name] == {} for name in objects)
    assert all(stored[name] == [] for name in arrays)
    assert all(stored[name] is None for name in nulls)
    assert entry.required_approvals == 0
    assert entry.rollback_available is entry.rollback_executed is False
    assert (entry.composite_score, entry.safety_floor_met, entry.k_state) == (None, None, 1)
    assert (entry.proofs_valid, entry.quorum_met) == (True, True)
    assert (entry.attribution, entry.schema_version) == ("alpha_prime_omega", "1.0.0")
    assert entry.action_hash == sha256(b"{}").hexdigest()


@pytest.mark.parametrize(
    "category, severity", [("NORMAL", 1), ("WARNING", 4), ("ERROR", 7), ("CRITICAL", 10)]
)
def test_default_severity_is_the_categorys(category: str, severity: int) -> None:
    assert read(line_of(MINIMAL, event_category=category)).severity == severity
    assert read(line_of(MINIMAL, event_category=category, severity=0)).severity == 0


@pytest.mark.parametrize("name", SHAPES)
def test_event_shapes_round_trip(name: str) -> None:
    shape = SHAPES[name]
    line = line_of(shape)
    entry = read(line)
    assert rfc8785.dumps(json.loads(line)) == line
    stored = msgspec.to_builtins(entry)
    facts = {member: stored[member] for member in shape if member != "environment"}
    assert facts == shape
    assert entries.payload_hash(entry) == entry.action_hash
    assert entries.entry_hash(entry) == entry.entry_hash
    assert entries.canonical_hashes(entry, line) == (entry.entry_hash, entry.action_hash)
    covered = {
        member: value
        for member, value in json.loads(line).items()
        if member not in {"action_payload", "entry_hash", "hsm_signature"}
    }
    assert entry.entry_hash == sha256(rfc8785.dumps(covered)).hexdigest()
    assert entry.action_hash == sha256(rfc8785.dumps(shape["action_payload"])).hexdigest()


def test_all_six_shapes_are_covered() -> None:
    assert set(SHAPES) == {kind.value for kind in entries.EventType}


def test_no_approval_counts_while_the_policy_names_no_approver() -> None:
    """Three real signatures, and quorum_met is false: nobody said whose signatures count."""
    entry = read(line_of(CHANGE))
    assert len(entry.received_approvals) == entry.required_approvals == 3
    assert entry.quorum_met is False
    assert entry.proofs_valid is True
    with pytest.raises(DerivedMemberError) as caught:
        line_of(CHANGE, quorum_met=True)
    assert (caught.value.member, caught.value.expected, caught.value.found) == ("quorum_met", False, True)


@pytest.mark.parametrize("missing", ["event_type", "action_type", "actor_id"])
def test_a_draft_must_say_what_and_who(missing: str) -> None:
    with pytest.raises(MalformedEntryError, match="is missing") as caught:
        parse_draft({name: value for name, value in MINIMAL.items() if name != missing})
    assert caught.value.member == missing


@pytest.mark.parametrize("member", ASSIGNED)
def test_what_the_log_assigns_is_refused_in_a_draft(member: str) -> None:
    stored = json.loads(line_of(ACTION))
    with pytest.raises(MalformedEntryError, match=f"draft: {member}: is assigned by the log") as caught:
        parse_draft({**MINIMAL, member: stored[member]})
    assert caught.value.member == member


def test_an_unknown_member_is_named() -> None:
    with pytest.raises(MalformedEntryError, match="colour: is not a member of an entry") as caught:
        parse_draft({**MINIMAL, "colour": "red"})
    assert caught.value.member == "colour"


PROOF = {"type": "t", "valid": True}
APPROVAL = {"signer": "a", "signature": "ab", "timestamp": TIMESTAMP}


# Each good value stands at a limit, each bad one past it or of another kind.
@pytest.mark.parametrize(
    "member, good, bad",
    [
        ("event_type", "CHANGE", ["action", "", None, 1, "LOG"]),
        ("event_category", "CRITICAL", ["critical", "FATAL", None, 4]),
        ("actor_type", "EXTERNAL", ["ROBOT", "", None]),
        ("execution_status", "ROLLED_BACK", ["DONE", "success", None]),
        ("severity", 0, [-1, 11, 1.0, "1", True, None]),
        ("severity", 10, [-(2**70), 2**70]),
        ("action_type", "x", ["", "x" * (NAME_LENGTH_MAX + 1), None, 5, b"x", "\ud800"]),
        ("action_type", "ế" * NAME_LENGTH_MAX, ["𝄞" * (NAME_LENGTH_MAX + 1)]),
        ("actor_id", "x" * NAME_LENGTH_MAX, ["", "x" * (NAME_LENGTH_MAX + 1), None, 5, "a\udfff"]),
        ("actor_context", {"": {}}, [None, [], "x", {1: 2}]),
        ("action_payload", {"a": [None, True, 1, 0.5, "x", {}]}, [None, [], "x", {1: 2}]),
        ("system_state_snapshot", {"a": 1}, [None, []]),
        ("environment", {"k": ""}, [None, [], {"a": 1}, {"a": None}, {1: "a"}]),
        (
            "dependencies",
            [entry_id(7)],
            [None, {}, ["x"], [entry_id(7) + "\n"], [NOT_V4]],
        ),
        ("dependencies", [], [[entry_id(0xABC).upper()], [entry_id(7)[:-1]], ["{" + entry_id(7) + "}"], [7]]),
        ("required_proofs", [""], [None, "x", [1], [None]]),
        ("provided_proofs", [PROOF, {**PROOF, "hash": None}], [None, {}, [1], ["x"]]),
        ("received_approvals", [{**APPROVAL, "key_id": ""}], [None, {}, [1], [{**APPROVAL, "n": 1}]]),
        ("required_approvals", 0, [-1, 0.0, "0", None, True]),
        ("required_approvals", 2**53 - 1, [2**53]),
        (
            "pillars_scores",
            {"an_toan": 0, "duong_dai": 10},
            [None, [], {"an_toan": -0.001}, {"an_toan": 10.001}],
        ),
        (
            "pillars_scores",
            {"an_toan": 10.0, "duong_dai": 0.0},
            [{"an_toan": 11}, {"an_toan": -1}, {"an_toan": "7"}],
        ),
        ("pillars_scores", {}, [{"safety": 7}, {"An_Toan": 7}, {"an_toan": None}, {"an_toan": True}]),
        ("pillars_scores", {"an_toan": 5e-324}, [{"an_toan": float("nan")}, {"an_toan": float("inf")}]),
        ("conflicts_detected", [""], [None, "x", [1]]),
        ("result_data", None, [[], "x", 1, {1: 2}]),
        ("error_details", {}, [[], "x", 1]),
        ("rollback_available", True, [None, 1, "true"]),
        ("rollback_executed", True, [None, 0, "false"]),
        ("rollback_snapshot_hash", HASH, [HASH.upper(), HASH[1:], HASH + "0", HASH + "\n", "", 0]),
        ("rollback_snapshot_hash", None, []),
        ("attribution", "alpha_prime_omega", ["", "Alpha_Prime_Omega", None]),
        ("schema_version", "1.0.0", ["1.0", "1.0.1", None, 1]),
        ("k_state", 1, [2, -1, True, None, 1.0, "1"]),
        ("action_hash", sha256(b"{}").hexdigest(), ["", HASH.upper(), HASH + "\n", None]),
        ("composite_score", None, [-1, 11, "7", True, float("nan")]),
        ("safety_floor_met", None, [1, 0, "true"]),
        ("proofs_valid", True, [None, 1, "true"]),
        ("quorum_met", True, [None, 1, "true"]),
    ],
)
def test_values_of_members(member: str, good: Any, bad: list[Any]) -> None:
    minimal = {**MINIMAL, "rollback_snapshot_hash": HASH} if member == "rollback_executed" else MINIMAL
    line = line_of(minimal, **{member: good})
    stored = json.loads(line)[member]
    assert (stored == good) if member != "environment" else (stored.items() >= good.items())
    read(line)
    for value in bad:
        with pytest.raises(MalformedEntryError, match=f"draft: {member}") as caught:
            line_of(MINIMAL, **{member: value})
        assert caught.value.member.split("[")[0].split(".")[0] == member


@pytest.mark.parametrize(
    "member, items, named",
    [
        ("provided_proofs", [PROOF, {"valid": True}], "provided_proofs[1].type"),
        ("provided_proofs", [PROOF, {"type": "t"}], "provided_proofs[1].valid"),
        ("provided_proofs", [{"type": "t", "valid": 1}], "provided_proofs[0].valid"),
        ("provided_proofs", [{"type": ["t"], "valid": True}], "provided_proofs[0].type"),
        ("received_approvals", [APPROVAL, {}], "received_approvals[1].signer"),
        ("received_approvals", [{"signer": "a", "timestamp": "t"}], "received_approvals[0].signature"),
        ("received_approvals", [{"signer": "a", "signature": "ab"}], "received_approvals[0].timestamp"),
    ],
)
def test_what_proofs_and_approvals_must_say(member: str, items: list[Any], named: str) -> None:
    with pytest.raises(MalformedEntryError) as caught:
        parse_draft({**MINIMAL, member: items})
    assert caught.value.member == named
    empty, full = (f'"{member}":{json.dumps(value)}'.encode() for value in ([], items))
    stored = line_of(MINIMAL).replace(empty, full)
    with pytest.raises(MalformedEntryError) as caught:  # and so in a line, before anything is derived from it
        decode_line(stored)
    assert caught.value.member == named


@pytest.mark.parametrize(
    "member, value, path",
    [
        ("action_payload", {"a": [0, {"b": 2**53}]}, "action_payload.a[1].b"),
        ("action_payload", {"a": float("inf")}, "action_payload.a"),
        ("action_payload", {"a": {"b": "\ud800"}}, "action_payload.a.b"),
        ("actor_context", {"a": object()}, "actor_context.a"),
        ("result_data", {"a": {1: 1}}, "result_data.a"),
        ("provided_proofs", [{**PROOF, "n": 1e18}], "provided_proofs[0].n"),
        ("environment", {"\udc00": "x"}, r"environment.\udc00"),
        ("required_proofs", ["\ud800"], "required_proofs[0]"),
    ],
)
def test_values_deep_inside_are_named(member: str, value: Any, path: str) -> None:
    with pytest.raises(MalformedEntryError) as caught:
        line_of(MINIMAL, **{member: value})
    assert caught.value.member == path
    assert path in str(caught.value)


@pytest.mark.parametrize("wrong", [[], "x", None, 5, {1: 2}])
def test_a_draft_that_is_no_object(wrong: Any) -> None:
    with pytest.raises(MalformedEntryError):
        parse_draft(wrong)


def test_a_draft_made_by_hand_is_checked_like_any_other() -> None:
    assert parse_draft(EntryDraft(**MINIMAL)) == parse_draft(MINIMAL)
    assert parse_draft(parse_draft(CHANGE)) == parse_draft(CHANGE)
    for member, value in (
        ("event_type", "BOGUS"),
        ("actor_id", ""),
        ("severity", 11),
        ("provided_proofs", [{}]),
    ):
        with pytest.raises(MalformedEntryError, match=member):
            parse_draft(EntryDraft(**{**MINIMAL, member: value}))


def test_a_name_that_is_no_text_is_refused_whatever_it_names() -> None:
    with pytest.raises(MalformedEntryError, match="a member's name holds a lone surrogate"):
        parse_draft({**MINIMAL, "\ud800": 1})


def test_what_is_wrong_with_a_member_is_said_once() -> None:
    with pytest.raises(MalformedEntryError) as caught:
        entries.encode_member("result_data", float("nan"))
    assert str(caught.value) == "draft: result_data: nan is not a JSON number"
    with pytest.raises(MalformedEntryError) as caught:
        entries.encode_member("result_data", {"a": [float("nan")]})
    assert str(caught.value) == "draft: result_data.a[0]: nan is not a JSON number"


def test_drafts_do_not_share_their_defaults() -> None:
    parse_draft(MINIMAL).action_payload["a"] = 1
    assert parse_draft(MINIMAL).action_payload == {}


def test_the_typed_dicts_are_the_draft() -> None:
    fields = {field.name: field for field in msgspec.structs.fields(EntryDraft)}
    for_checkers = get_type_hints(DraftMembers)
    kept = {name: plain_type(field.type) for name, field in fields.items()}
    given = {name: plain_type(annotation) for name, annotation in for_checkers.items()}
    # Of scores in a variable a type checker knows only that their names are strings.
    assert given.pop("pillars_scores") == {kept["pillars_scores"], ("object", str, float)}
    assert given == {name: kind for name, kind in kept.items() if name != "pillars_scores"}
    required = {name for name, field in fields.items() if field.required}
    assert required == DraftMembers.__required_keys__
    assert not OptionalMembers.__required_keys__
    assert OptionalMembers.__optional_keys__ == for_checkers.keys() - required
    assert MoreMembers.__optional_keys__ == OptionalMembers.__optional_keys__ - {"action_payload"}
    assert ChangeMembers.__optional_keys__ == MoreMembers.__optional_keys__ | {"actor_id"}


def test_nesting_at_the_limit_and_one_past_it() -> None:
    value: Any = {}
    for _ in range(62):  # level 64; the entry is level 1, the payload level 2
        value = {"a": value}
    line = line_of(MINIMAL, action_payload=value)
    assert read(line).action_payload == value
    with pytest.raises(MalformedEntryError, match="nested deeper than 64 levels"):
        line_of(MINIMAL, action_payload={"a": value})
    deeper = line.replace(b'"action_payload":{', b'"action_payload":{"a":{')
    deeper = deeper.replace(b'},"action_type"', b'}},"action_type"')
    entry = decode_line(deeper)
    with pytest.raises(MalformedEntryError, match="nested deeper than 64 levels"):
        check_canonical(entry, deeper)


@pytest.mark.parametrize("levels", [100, 2_000, 200_000])
def test_absurd_nesting_is_malformed_and_no_recursion_error(levels: int) -> None:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    with pytest.raises(MalformedEntryError):
        line_of(MINIMAL, action_payload=value)
    deep = b'{"a":' * levels + b"1" + b"}" * levels
    line = line_of(MINIMAL).replace(b'"action_payload":{}', b'"action_payload":' + deep)
    with pytest.raises(MalformedEntryError):
        check_canonical(decode_line(line), line)
    while value:  # taken apart by hand: freeing it at once would recurse in the interpreter
        value = value.pop("a", {})


# What msgspec does not spell canonically by itself.
AWKWARD: list[Any] = [
    1.0, -0.0, 1e-7, 5e-324, 9.999999999999999e-6, 1e-6, 1e21, 1.7976931348623157e308, {"𝄞": 1},
    {"\ufb33": 1, "\U0001d11e": [2.0]}, {"\ue000": {"": -1e-9}},
]  # fmt: skip


@pytest.mark.parametrize("value", AWKWARD, ids=repr)
@pytest.mark.parametrize("member", ["action_payload", "actor_context", "result_data", "error_details"])
def test_awkward_spellings_are_stored_and_verify(member: str, value: Any) -> None:
    line = line_of(ACTION, **{member: {"n": value}})
    assert rfc8785.dumps(json.loads(line)) == line
    entry = read(line)
    assert getattr(entry, member) == {"n": value}
    assert entries.payload_hash(entry) == entry.action_hash
    assert entries.entry_hash(entry) == entry.entry_hash
    assert entries.canonical_hashes(entry, line) == (entry.entry_hash, entry.action_hash)
    erased = msgspec.structs.replace(entry, action_payload=None)
    assert entries.entry_hash(erased) == entry.entry_hash


def test_scores_near_nothing_are_stored_and_verify() -> None:
    for score in (0.0, 5e-7, 0.000001, 0.000005, 1e-9):
        line = line_of(MINIMAL, pillars_scores={"an_toan": score})
        assert rfc8785.dumps(json.loads(line)) == line
        entry = read(line)
        assert entries.entry_hash(entry) == entry.entry_hash


def test_erased_payload_is_null_and_still_canonical() -> None:
    line = line_of(ACTION)
    payload = b'"action_payload":' + rfc8785.dumps(json.loads(line)["action_payload"])
    erased = line.replace(payload, b'"action_payload":null')
    entry = read(erased)
    assert entry.action_payload is None
    assert entries.entry_hash(entry) == entry.entry_hash == read(line).entry_hash
    assert entries.canonical_hashes(entry, erased) == (entry.entry_hash, None)


LINE = sealed([VIOLATION], batched=False)[0]


@pytest.mark.parametrize(
    "old, new",
    [
        (b'"severity":8', b'"severity":8.0'),
        (b'"severity":8', b'"severity":8e0'),
        (b'"severity":8', b'"severity": 8'),
        (b'"severity":8', b'"severity":08'),
        (b'"severity":8', b'"severity":"8"'),
        (b'"severity":8', b'"severity":8,"severity":8'),
        (b'"severity":8', b'"severity":9,"severity":8'),
        (b'"severity":8', b'"severity":8,"seventy":8'),
        (b'"severity":8,', b""),
        (b"6.2}", b"6.20}"),
        (b"6.2}", b"62e-1}"),
        (b'"min_required":7', b'"min_required":7.0'),
        (b'"min_required":7', b'"min_required":7,"min_required":7'),
        (b'"min_required":7', b'"min_required":9007199254740993'),
        (b'"min_required":7', b'"min_required":1e16'),
        (b'"min_required":7', b'"min_required":1e999'),
        (b'"min_required":7', b'"min_required":NaN'),
        (b'"min_required":7', b'"min_required":-0'),
        (b'"composite_score":6.2', b'"composite_score":6.20'),
        (b'"composite_score":6.2', b'"composite_score":0.0'),
        (b'"composite_score":6.2', b'"composite_score":7.0'),
        (b'"pillars_scores":{"an_toan":6.2}', b'"pillars_scores":{"an_toan":0.0}'),
        (b'"k_state":1', b'"k_state":true'),
        (b'"k_state":1', b'"k_state":1.0'),
        (b'"replicas":[]', b'"replicas":[ ]'),
        (b'"replicas":[]', b'"replicas":null'),
        (b'"replicas":[]', b'"replicas":["\\u0041"]'),
        (b'"replicas":[]', b'"replicas":["\\/"]'),
        (b'"replicas":[]', b'"replicas":["\xff"]'),
        (b'"replicas":[]', b'"replicas":["\\ud800"]'),
        (b'"result_data":null', b'"result_data":{"b":1,"a":2}'),
        (b'"result_data":null', b'"result_data":[]'),
        (b'"result_data":null,', b""),
        (b'"event_type":"VIOLATION"', b'"event_type":"violation"'),
        (b'"event_type":"VIOLATION"', b'"event_type":"\\u0056IOLATION"'),
        (b'"attribution":"alpha_prime_omega"', b'"attribution":"someone"'),
        (b'"schema_version":"1.0.0"', b'"schema_version":"1.0.1"'),
        (b'"sequence_number":0', b'"sequence_number":-0'),
        (b'"sequence_number":0', b'"sequence_number":-1'),
        (b'"sequence_number":0', b'"sequence_number":9007199254740992'),
        (b'"timestamp":"2025-10-30T12:00:00.000000Z"', b'"timestamp":"2025-10-30T12:00:00Z"'),
        (b'"timestamp":"2025-10-30T12:00:00.000000Z"', b'"timestamp":"2025-10-30T12:00:00.000000Z\\n"'),
        (b'"timestamp":"2025-10-30T12:00:00.000000Z"', b'"timestamp":"2025-10-30T12:00:00.000000+00:00"'),
        (b'"entry_id":"00000000-0000-4', b'"entry_id":"00000000-0000-1'),
        (b'"action_payload":', b'"action_payload" :'),
        (b"{", b" {"),
        (b"{", b"\xef\xbb\xbf{"),
        (b'Z"}', b'Z"} '),
        (b'Z"}', b'Z"}\n'),
        (b'Z"}', b'Z"}{}'),
        (b'Z"}', b'Z"'),
        (b'Z"}', b'Z",}'),
    ],
)
def test_another_spelling_or_kind_is_refused(old: bytes, new: bytes) -> None:
    assert old in LINE
    mutant = new.join(LINE.rsplit(old, 1)) if old.startswith(b"Z") else LINE.replace(old, new, 1)
    with pytest.raises(MalformedEntryError):
        check_canonical(decode_line(mutant), mutant)


def test_every_member_is_needed_and_has_its_place() -> None:
    members = json.loads(LINE)
    for name in members:
        others = {other: value for other, value in members.items() if other != name}
        with pytest.raises(MalformedEntryError, match="is missing") as caught:
            decode_line(rfc8785.dumps(others))
        assert caught.value.member == name
        for moved in ({name: members[name], **others}, {**others, name: members[name]}):
            line = json.dumps(moved, ensure_ascii=False, separators=(",", ":")).encode()
            assert decode_line(line) == decode_line(LINE)
            if line != LINE:
                with pytest.raises(MalformedEntryError, match="canonical form"):
                    check_canonical(decode_line(line), line)


NOTHING = [b"", b"{}", b"[]", b"null", b"1", b"\xff", b"{" * 100_000, b"[" * 100_000, b'"' * 9]


@pytest.mark.parametrize("line", NOTHING, ids=range(len(NOTHING)))
def test_what_is_no_entry_at_all(line: bytes) -> None:
    with pytest.raises(MalformedEntryError):
        decode_line(line)


def test_reasons_are_in_our_words() -> None:
    for line, reason in (
        (b"{", "entry: input data was truncated"),
        (b"nonsense", "entry: JSON is malformed: invalid character (byte 4)"),
        (LINE.replace(b"VIOLATION", b"OTHER", 1), "entry: event_type: invalid enum value 'OTHER'"),
    ):
        with pytest.raises(MalformedEntryError) as caught:
            decode_line(line)
        assert str(caught.value) == reason


def test_size_limits_at_them_and_one_past_them() -> None:
    check_sizes(PAYLOAD_SIZE_MAX_BYTES, ENTRY_SIZE_MAX_BYTES)
    with pytest.raises(TooLargeError) as caught:
        check_sizes(PAYLOAD_SIZE_MAX_BYTES + 1, 0)
    assert (caught.value.member, caught.value.size_bytes) == ("action_payload", PAYLOAD_SIZE_MAX_BYTES + 1)
    with pytest.raises(TooLargeError) as caught:
        check_sizes(0, ENTRY_SIZE_MAX_BYTES + 1)
    assert caught.value.size_bytes == ENTRY_SIZE_MAX_BYTES + 1
    assert caught.value.size_bytes_max == ENTRY_SIZE_MAX_BYTES


def without_payload(line: bytes) -> bytes:
    members = json.loads(line)
    del members["action_payload"]
    return rfc8785.dumps(members)


@pytest.mark.parametrize("payload", [{}, {"a": "x" * 100_000}, {"𝄞": 1.0}])
def test_a_line_at_the_entry_limit_is_read_and_one_past_it_is_not(payload: dict[str, Any]) -> None:
    line = line_of(MINIMAL, action_payload=payload, actor_context={"pad": ""})
    room = ENTRY_SIZE_MAX_BYTES - len(without_payload(line))
    full = line.replace(b'"pad":""', b'"pad":"' + b"x" * room + b'"')
    assert len(without_payload(full)) == ENTRY_SIZE_MAX_BYTES
    check_canonical(decode_line(full), full)
    over = full.replace(b'"pad":"', b'"pad":"x')
    with pytest.raises(TooLargeError):
        check_canonical(decode_line(over), over)


def test_a_payload_at_its_limit_is_stored_and_one_past_it_is_not() -> None:
    room = PAYLOAD_SIZE_MAX_BYTES - len('{"a":""}')
    line = line_of(MINIMAL, action_payload={"a": "x" * room})
    assert len(line) < entries.LINE_SIZE_MAX_BYTES
    check_canonical(decode_line(line), line)
    with pytest.raises(TooLargeError) as caught:
        prepared({**MINIMAL, "action_payload": {"a": "x" * (room + 1)}})
    assert caught.value.member == "action_payload"
    over = line.replace(b'{"a":"x', b'{"a":"xx', 1)
    with pytest.raises(TooLargeError):
        check_canonical(decode_line(over), over)


def test_no_line_is_longer_than_the_longest() -> None:
    longest = PAYLOAD_SIZE_MAX_BYTES + ENTRY_SIZE_MAX_BYTES + len('"action_payload":,')
    assert longest <= entries.LINE_SIZE_MAX_BYTES


@pytest.mark.parametrize(
    "microseconds, text",
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (NOW_US, TIMESTAMP),
        (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
        (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (-62_135_596_800_000_000, "0001-01-01T00:00:00.000000Z"),
    ],
)
def test_timestamps(microseconds: int, text: str) -> None:
    assert entries.format_timestamp(microseconds) == text
    assert entries.parse_timestamp(text) == microseconds


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "x",
            "2025-10-30",
            "2025-10-30T12:00:00Z",
            "2025-10-30T12:00:00.000Z",
            "2025-10-30T12:00:00.0000000Z",
        ),
        *(
            "2025-10-30T12:00:00.000000",
            "2025-10-30T12:00:00.000000+00:00",
            "2025-10-30T13:00:00.000000+01:00",
        ),
        *("2025-10-30 12:00:00.000000Z", "2025-10-30t12:00:00.000000z", "20251030T120000.000000Z"),
        *("2025-02-29T12:00:00.000000Z", "2025-13-01T12:00:00.000000Z", "2025-10-30T24:00:00.000000Z"),
        *("2025-10-30T12:00:60.000000Z", "2025-W44-4T12:00:00.000000Z", "1-01-01T00:00:00.000000Z"),
        *("２025-10-30T12:00:00.000000Z", "2025-10-30T12:00:00.000000Z\n", "2025-10-30T12:00:00,000000Z"),
    ],
)
def test_a_timestamp_has_one_spelling(text: str) -> None:
    with pytest.raises(MalformedEntryError) as caught:
        entries.parse_timestamp(text)
    assert caught.value.member == "timestamp"
