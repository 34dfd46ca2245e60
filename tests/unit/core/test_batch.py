"""From drafts to signed lines: what is derived and contradicted, clocks, re-planning, and sizes kept."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.support import rfc6962
from tests.support.curves import respelled
from tests.support.logs import MINIMAL
from tests.support.people import Person, governed, members_of
from tests.support.shapes import (
    ACTION,
    BOOT,
    CHANGE,
    DECISION,
    ENVIRONMENT,
    LOG,
    LONGEST_POINTERS,
    NOW_US,
    SHAPES,
    SNAPSHOT_HASH,
    TIMESTAMP,
    VIOLATION,
    ed25519_key,
    entry_id,
    line_of,
    p256_key,
    planned,
    prepared,
    read,
    sealed,
    sign,
)

from attestlog._internal.core import batch
from attestlog._internal.core.batch import (
    CLOCK_LEAP_MAX_S,
    CLOCK_PLAUSIBLE_US,
    CLOCK_TOLERANCE_S,
    Head,
    Plan,
    monotonic_timestamp,
)
from attestlog._internal.core.canonical import encode
from attestlog._internal.core.entry import ENTRY_SIZE_MAX_BYTES, EntryDraft, EventType, parse_draft, preimage
from attestlog._internal.core.hashes import EMPTY_ROOT, GENESIS_PREV_HASH, leaf_hash
from attestlog._internal.core.policy import Policy, parse_policy
from attestlog._internal.core.signature import BATCH_ENTRIES_MAX, public_key, verify_entry_signature
from attestlog._internal.log import Log
from attestlog.errors import ClockError, DerivedMemberError, MalformedEntryError, TooLargeError

FULL_SCORES = {"an_toan": 8, "duong_dai": 8, "tin_vao_so_lieu": 8, "han_che_rui_ro": 8}
LOW_SCORES = {"an_toan": 6.2}


# (facts, member, what is derived from them, what it is not). Each derived member stands here both ways.
DERIVED: list[tuple[dict[str, Any], str, Any, list[Any]]] = [
    ({"pillars_scores": FULL_SCORES}, "composite_score", 8, [7.999999, 8.000001, None, 0]),
    ({"pillars_scores": LOW_SCORES}, "composite_score", 6.2, [6.200001, 7, None]),
    ({}, "composite_score", None, [0, 7.0, 10]),
    ({"pillars_scores": FULL_SCORES}, "safety_floor_met", True, [False, None]),
    ({"pillars_scores": LOW_SCORES}, "safety_floor_met", False, [True, None]),
    ({}, "safety_floor_met", None, [True, False]),
    ({}, "k_state", 1, [0]),
    ({"conflicts_detected": ["two agents hold the lock"]}, "k_state", 0, [1]),
    ({}, "proofs_valid", True, [False]),
    ({"required_proofs": ["k1_state"]}, "proofs_valid", False, [True]),
    ({"provided_proofs": [{"type": "pillars", "valid": True}]}, "proofs_valid", False, [True]),
    ({}, "quorum_met", True, [False]),
    ({"required_approvals": 1}, "quorum_met", False, [True]),
    ({}, "action_hash", sha256(b"{}").hexdigest(), ["0" * 64]),
    ({"action_payload": {"a": 1}}, "action_hash", sha256(b'{"a":1}').hexdigest(), ["0" * 64]),
]


@pytest.mark.parametrize("facts, member, right, wrong", DERIVED)
def test_a_derived_member_is_derived_and_a_contradiction_refused(
    facts: dict[str, Any], member: str, right: Any, wrong: list[Any]
) -> None:
    assert json.loads(line_of(MINIMAL, **facts))[member] == right
    assert json.loads(line_of(MINIMAL, **facts, **{member: right}))[member] == right
    for value in wrong:
        with pytest.raises(DerivedMemberError, match=member) as caught:
            line_of(MINIMAL, **facts, **{member: value})
        assert (caught.value.member, caught.value.expected, caught.value.found) == (member, right, value)


def test_every_derived_member_has_its_case() -> None:
    members = {member for _, member, _, _ in DERIVED}
    assert members == {
        *("composite_score", "safety_floor_met", "k_state", "proofs_valid", "quorum_met", "action_hash"),
    }


@pytest.mark.parametrize("score", [8, 8.0])
def test_a_stated_score_is_compared_by_value(score: float) -> None:
    line = line_of(MINIMAL, pillars_scores=FULL_SCORES, composite_score=score)
    assert b'"composite_score":8,' in line


def test_environment_of_the_caller_is_added_and_wins() -> None:
    assert read(line_of(MINIMAL)).environment == ENVIRONMENT
    added = read(line_of(MINIMAL, environment={"model": "m-1", "os": "other"})).environment
    assert added == {**ENVIRONMENT, "model": "m-1", "os": "other"}
    assert read(line_of(MINIMAL)).environment == ENVIRONMENT  # the shared one is as it was


def test_replicas_are_those_given() -> None:
    urls = ["https://one.example", "https://two.example"]
    plan = planned([prepared(MINIMAL, replicas=urls)], p256_key())
    assert read(plan.seal([b"\x01"])[0]).replicas == urls


def test_a_salt_goes_into_the_payload_before_it_is_hashed() -> None:
    plan = planned([prepared(ACTION, salt="00" * 16)], p256_key())
    entry = read(plan.seal([b"\x01"])[0])
    assert entry.action_payload == {**ACTION["action_payload"], "_salt": "00" * 16}
    assert entry.action_hash == sha256(encode(entry.action_payload)).hexdigest()


def test_a_salt_of_the_callers_is_not_overwritten_in_silence() -> None:
    for salt in ("mine", "00" * 15, "00" * 17, "0A" * 16, 7, None):
        with pytest.raises(MalformedEntryError, match="is assigned by the log") as caught:
            prepared({**MINIMAL, "action_payload": {"_salt": salt}}, salt="00" * 16)
        assert caught.value.member == "action_payload._salt"
    prepared({**MINIMAL, "action_payload": {"_salt": "mine"}})  # any name is free where nothing is salted


@pytest.mark.parametrize("rules, asked_for", [({}, 1), ({"all": {"required_approvals": 1}}, 0)])
def test_an_approval_that_expires_before_the_entry_is_written_does_not_count(
    rules: dict[str, Any], asked_for: int
) -> None:
    policy, creator = governed(rules=rules), Person("creator")
    expires = creator.approve(MINIMAL, LOG, expires=TIMESTAMP)
    lasting = creator.approve(MINIMAL, LOG)
    late = NOW_US + 1
    for approval, now_us, met in ((lasting, late, True), (expires, NOW_US, True), (expires, late, False)):
        asked = {**MINIMAL, "required_approvals": asked_for, "received_approvals": [approval]}
        item = prepared(asked, policy=policy, log=LOG, now_us=NOW_US)
        assert item.quorum_met is True
        plan = planned([item], p256_key(), now_us=now_us)
        assert read(plan.seal([b"\x01"])[0]).quorum_met is met


def test_an_approval_in_the_other_spelling_is_brought_to_the_one() -> None:
    ana = Person("ana", algorithm="P-256")
    approval = ana.approve(MINIMAL, LOG)
    other = {**approval, "signature": respelled(bytes.fromhex(approval["signature"])).hex()}
    assert other != approval
    policy = parse_policy({"approvers": members_of(ana)})
    item = prepared({**MINIMAL, "received_approvals": [other]}, policy=policy, log=LOG, now_us=NOW_US)
    assert [given["signature"] for given in item.draft.received_approvals] == [approval["signature"]]
    assert approval["signature"].encode() in item.template
    assert other["signature"].encode() not in item.template


@pytest.mark.parametrize("member", ["actor_id", "action_type"])
def test_half_a_character_is_seen_before_it_could_fail_a_batch(member: str) -> None:
    with pytest.raises(MalformedEntryError, match=member):
        prepared({**MINIMAL, member: "agent-\ud800"})
    prepared({**MINIMAL, member: "agent-\U0001f600"})


def test_a_payload_that_was_salted_to_be_approved_keeps_its_salt() -> None:
    payload = {"task": 1, "_salt": "ab" * 16}
    plan = planned([prepared({**MINIMAL, "action_payload": payload}, salt="00" * 16)], p256_key())
    assert read(plan.seal([b"\x01"])[0]).action_payload == payload


def test_preparing_leaves_the_draft_as_it_was() -> None:
    draft = parse_draft(CHANGE)
    before = repr(draft)
    batch.prepare(draft, Policy(), entry_id=entry_id(0), environment=ENVIRONMENT, salt="00" * 16)
    assert repr(draft) == before


def test_chain_sequence_and_tree() -> None:
    first = planned([prepared(BOOT)], p256_key())
    shapes = [ACTION, DECISION, VIOLATION]
    second = planned(
        [prepared(shape, number) for number, shape in enumerate(shapes, 1)], p256_key(), first.head
    )
    lines = [line for plan in (first, second) for line in plan.seal([b"\x01"])]
    entries = [read(line) for line in lines]
    assert [entry.sequence_number for entry in entries] == [0, 1, 2, 3]
    hashes = [entry.entry_hash for entry in entries]
    assert [entry.prev_entry_hash for entry in entries] == [GENESIS_PREV_HASH, *hashes[:-1]]
    assert [entry.timestamp for entry in entries] == [TIMESTAMP] * 4
    assert (second.head.size, second.head.entry_hash) == (4, hashes[-1])
    assert second.head.edge.root() == rfc6962.mth([bytes.fromhex(digest) for digest in hashes])
    assert second.leaves == [leaf_hash(bytes.fromhex(digest)) for digest in hashes[1:]]
    assert Head().edge.root() == EMPTY_ROOT


def test_grown_are_the_tree_hashes_completed_by_the_batch() -> None:
    head = planned([prepared(MINIMAL, number) for number in range(250)], p256_key()).head
    plan = planned([prepared(MINIMAL, number) for number in range(10)], p256_key(), head)
    assert [(level, index) for level, index, _ in plan.grown] == [(1, 0)]


@pytest.mark.parametrize("count", [2, 3, 7, 64])
def test_a_batch_is_one_message_and_every_entry_proves_itself(count: int) -> None:
    key = p256_key()
    lines = sealed([MINIMAL] * count, key)
    for line in lines:
        entry = read(line)
        assert entry.signature_algorithm == "ECDSA-P256-SHA256+BATCH"
        public = public_key(key.public_key())
        assert entry.signing_key_id == public.key_id
        verify_entry_signature(public, entry.signature_algorithm, entry.hsm_signature, entry.entry_hash)


@pytest.mark.parametrize("key", [p256_key(), ed25519_key()], ids=["P-256", "Ed25519"])
@pytest.mark.parametrize("batched", [True, False])
def test_a_batch_of_one_is_signed_plainly(key: Any, batched: bool) -> None:
    entry = read(sealed([MINIMAL], key, batched=batched)[0])
    assert ":" not in entry.hsm_signature
    public = public_key(key.public_key())
    assert entry.signature_algorithm == public.algorithm
    verify_entry_signature(public, entry.signature_algorithm, entry.hsm_signature, entry.entry_hash)


def test_without_batches_every_entry_has_its_message() -> None:
    plan = planned([prepared(MINIMAL, number) for number in range(3)], ed25519_key(), batched=False)
    assert plan.messages == [bytes.fromhex(digest) for digest in plan.entry_hashes]
    assert len(set(plan.messages)) == 3
    with pytest.raises(ValueError, match="zip"):
        plan.seal([b"\x01", b"\x02"])  # a signature short


def test_batch_size_at_the_limit_and_one_past_it() -> None:
    items = [prepared(MINIMAL, number) for number in range(BATCH_ENTRIES_MAX)]
    plan = planned(items, ed25519_key())
    line = plan.seal([sign(ed25519_key(), message) for message in plan.messages])[-1]
    entry = read(line)
    verify_entry_signature(
        public_key(ed25519_key().public_key()),
        entry.signature_algorithm, entry.hsm_signature, entry.entry_hash,
    )  # fmt: skip
    with pytest.raises(ValueError, match="1025"):  # what nobody could verify is not planned
        planned([*items, prepared(MINIMAL)], ed25519_key())


def seal(plan: Plan) -> list[bytes]:
    return plan.seal([sign(ed25519_key(), message) for message in plan.messages])  # Ed25519 is deterministic


@pytest.mark.parametrize("sealed_before", [True, False])
def test_planning_again_after_a_failure_gives_what_planning_at_once_gives(sealed_before: bool) -> None:
    shapes = list(SHAPES.values())
    head = planned([prepared(BOOT)], ed25519_key()).head
    fresh = seal(planned([prepared(s, n) for n, s in enumerate(shapes)], ed25519_key(), head))

    items = [prepared(shape, number) for number, shape in enumerate(shapes)]
    # Another key, head, form and time.
    failed = planned(items, p256_key(), Head(), batched=False, now_us=NOW_US - 5)
    if sealed_before:
        failed.seal([b"\x07"] * len(items))
    again = planned(items, ed25519_key(), head)
    assert seal(again) == fresh

    # And in other company: the same draft alone, or behind another.
    alone = seal(planned([items[2]], ed25519_key(), head))
    assert alone == seal(planned([prepared(shapes[2], 2)], ed25519_key(), head))


@pytest.mark.parametrize("batched", [True, False])
def test_planning_and_sealing_change_nothing_that_was_prepared(batched: bool) -> None:
    items = [prepared(shape, number) for number, shape in enumerate(SHAPES.values())]
    before = [repr(item) for item in items]
    plan = planned(items, ed25519_key(), batched=batched)
    lines = seal(plan)
    assert [repr(item) for item in items] == before
    assert seal(plan) == lines, "and may be repeated"


@pytest.mark.parametrize("name", ["\0", "\0,\0", '"entry_id":"', "\x00\x01"])
def test_no_text_of_a_draft_moves_what_is_filled_in(name: str) -> None:
    facts: dict[str, Any] = {
        "action_type": name, "actor_id": name, "conflicts_detected": [name], "required_proofs": [name],
        **{key: {name: name} for key in ("action_payload", "actor_context", "result_data")},
    }  # fmt: skip
    plan = planned([prepared({**ACTION, **facts}, replicas=[name]), prepared(CHANGE)], ed25519_key())
    entry = read(seal(plan)[0])
    assert {member: getattr(entry, member) for member in facts} == facts
    assert (entry.replicas, entry.sequence_number, entry.timestamp) == ([name], 0, TIMESTAMP)
    assert entry.entry_hash == plan.entry_hashes[0] == sha256(preimage(entry)).hexdigest()


def test_a_plan_changes_nothing_of_its_head() -> None:
    head = planned([prepared(BOOT)], p256_key()).head
    before = (head.size, head.entry_hash, head.timestamp_us, head.edge.hashes())
    planned([prepared(MINIMAL, number) for number in range(5)], p256_key(), head)
    assert (head.size, head.entry_hash, head.timestamp_us, head.edge.hashes()) == before


AT = Head(1, GENESIS_PREV_HASH, NOW_US)


@pytest.mark.parametrize(
    "behind_us, tolerance_s, found",
    [
        (-1, 60, NOW_US + 1),
        (0, 60, NOW_US),
        (1, 60, NOW_US),
        (60_000_000, CLOCK_TOLERANCE_S, NOW_US),
        (0, 0, NOW_US),
        (500_000, 0.5, NOW_US),
    ],
)
def test_a_clock_within_tolerance_never_goes_back(behind_us: int, tolerance_s: float, found: int) -> None:
    assert monotonic_timestamp(AT, NOW_US - behind_us, tolerance_s) == found


@pytest.mark.parametrize("behind_us, tolerance_s", [(60_000_001, CLOCK_TOLERANCE_S), (1, 0), (10**15, 60)])
def test_a_clock_beyond_tolerance_is_an_error(behind_us: int, tolerance_s: float) -> None:
    with pytest.raises(ClockError, match="behind the last entry") as caught:
        monotonic_timestamp(AT, NOW_US - behind_us, tolerance_s)
    assert caught.value.last == TIMESTAMP
    assert caught.value.tolerance_s == tolerance_s


def test_a_clock_that_leapt_ahead_is_not_believed() -> None:
    """One entry of 2038 would keep a log of 2026 from going on for twelve years."""
    leap_us = CLOCK_LEAP_MAX_S * 1_000_000
    assert monotonic_timestamp(AT, NOW_US + leap_us, 60) == NOW_US + leap_us
    with pytest.raises(ClockError, match="days ahead of the last entry") as caught:
        monotonic_timestamp(AT, NOW_US + leap_us + 1, 60)
    assert caught.value.last == TIMESTAMP
    # A board without a battery begins in 1970: setting its clock right is a leap, too.
    for last_us, is_believed in ((0, True), (CLOCK_PLAUSIBLE_US - 1, True), (CLOCK_PLAUSIBLE_US, False)):
        at, now_us = Head(1, GENESIS_PREV_HASH, last_us), CLOCK_PLAUSIBLE_US + 2 * leap_us
        if is_believed:
            assert monotonic_timestamp(at, now_us, 60) == now_us
        else:
            with pytest.raises(ClockError):
                monotonic_timestamp(at, now_us, 60)


def test_a_clock_that_stepped_back_repeats_the_timestamp() -> None:
    first = planned([prepared(MINIMAL)], p256_key())
    second = planned([prepared(MINIMAL)], p256_key(), first.head, now_us=NOW_US - 59_000_000)
    third = planned([prepared(MINIMAL)], p256_key(), second.head, now_us=NOW_US - 59_999_999)
    assert read(third.seal([b"\x01"])[0]).timestamp == TIMESTAMP  # measured from what stands in the log
    with pytest.raises(ClockError):
        planned([prepared(MINIMAL)], p256_key(), third.head, now_us=NOW_US - 60_000_001)


PAD = ENTRY_SIZE_MAX_BYTES


def rest_size(line: bytes) -> int:
    members = json.loads(line)
    del members["action_payload"]
    return len(encode(members))


def worst_seal(item: batch.Prepared) -> bytes:
    """The longest that sealing can make of it: numbers, pointers, signature and path at their longest."""
    head = Head(2**53 - BATCH_ENTRIES_MAX, GENESIS_PREV_HASH, NOW_US)
    items = [prepared(MINIMAL, number) for number in range(BATCH_ENTRIES_MAX - 1)]
    plan = planned([*items, item], p256_key(), head, pointers=LONGEST_POINTERS)
    return plan.seal([b"\xff" * 72])[-1]


PLACES = ["actor_context", "environment", "replicas", "required_proofs", "result_data", "action_payload"]


@pytest.mark.parametrize("place", PLACES)
def test_what_prepare_lets_pass_is_within_the_limit_when_sealed(place: str) -> None:
    def padded(size: int) -> batch.Prepared:
        text = "x" * size
        if place == "replicas":
            return prepared(MINIMAL, replicas=[text])
        if place == "environment":
            return prepared(MINIMAL, environment={"pad": text})
        return prepared({**MINIMAL, place: [text] if place == "required_proofs" else {"pad": text}})

    if place == "action_payload":
        assert rest_size(worst_seal(padded(10 * PAD))) < 3_000
        return
    low, high = 0, PAD  # the longest that passes
    while low < high - 1:
        middle = (low + high) // 2
        try:
            padded(middle)
            low = middle
        except TooLargeError:
            high = middle
    line = worst_seal(padded(low))
    read(line)
    assert ENTRY_SIZE_MAX_BYTES - 64 < rest_size(line) <= ENTRY_SIZE_MAX_BYTES  # and little is given away


def test_every_small_member_at_its_longest_needs_no_measuring() -> None:
    longest = {
        **MINIMAL,
        "action_type": "\x01" * 256,
        "actor_id": "\x01" * 256,
        "required_approvals": 2**53 - 1,
        "rollback_snapshot_hash": SNAPSHOT_HASH,
    }
    room = 32 << 10
    line = worst_seal(prepared({**longest, "actor_context": {"pad": "x" * room}}))
    assert rest_size(line) <= ENTRY_SIZE_MAX_BYTES


def test_a_draft_made_by_hand_is_checked_before_it_is_appended(tmp_path: Path) -> None:
    keys: dict[str, Any] = {n: f"file:{tmp_path / n}.pem" for n in ("signer", "checkpoint_signer")}
    with Log.create(tmp_path / "log", origin="example.com/agents", **keys) as log:
        good: Any = EntryDraft(event_type=EventType.ACTION, action_type="x", actor_id="a")
        bad: Any = EntryDraft(event_type="BOGUS", action_type="x", actor_id="a")  # type: ignore[arg-type]
        with pytest.raises(MalformedEntryError, match="event_type"):
            log.append_many([good, bad])
        assert log.append(good).sequence_number == 1
