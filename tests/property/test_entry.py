"""Any draft that is taken comes back from its line as it was given, and only in that one spelling."""

import json
from typing import Any

import msgspec
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property import strategies
from tests.support.logs import MINIMAL
from tests.support.shapes import (
    LOG,
    LONGEST_POINTERS,
    NOW_US,
    ed25519_key,
    entry_id,
    planned,
    prepared,
    sealed,
    sign,
)

from attestlog._internal.core import entry as entries
from attestlog._internal.core.batch import Head, prepare
from attestlog._internal.core.canonical import encode
from attestlog._internal.core.deriving import check_derived, derive
from attestlog._internal.core.entry import (
    ENTRY_SIZE_MAX_BYTES,
    PILLARS,
    check_canonical,
    decode_line,
    parse_draft,
)
from attestlog._internal.core.hashes import GENESIS_PREV_HASH
from attestlog._internal.core.merkle import Span
from attestlog._internal.core.policy import Policy, parse_policy
from attestlog._internal.core.signature import public_key, verify_entry_signature
from attestlog.errors import MalformedEntryError, TooLargeError

names = st.one_of(st.text(min_size=1, max_size=256), st.sampled_from(["𝄞" * 256, "\x01" * 256, "x"]))
objects = strategies.objects
text_lists = st.lists(strategies.texts, max_size=4)
scores = st.one_of(
    st.integers(0, 10), st.floats(0, 10), st.sampled_from([5e-324, 1e-7, 5e-7, 9.9999995, 7.0, -0.0])
)
hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)

DRAFT = {
    "event_type": st.sampled_from([kind.value for kind in entries.EventType]),
    "action_type": names,
    "actor_id": names,
}
OPTIONAL = {
    "event_category": st.sampled_from([kind.value for kind in entries.EventCategory]),
    "severity": st.integers(0, 10),
    "actor_type": st.sampled_from([kind.value for kind in entries.ActorType]),
    "actor_context": objects,
    "action_payload": objects,
    "system_state_snapshot": objects,
    "environment": st.dictionaries(strategies.texts, strategies.texts, max_size=4),
    "dependencies": st.lists(st.integers(0, 2**40).map(entry_id), max_size=3),
    "required_proofs": text_lists,
    "provided_proofs": st.lists(
        st.builds(lambda rest, kind, valid: {**rest, "type": kind, "valid": valid}, objects, strategies.texts,
                  st.booleans()),
        max_size=3,
    ),
    "required_approvals": st.integers(0, 2**53 - 1),
    "received_approvals": st.lists(
        st.fixed_dictionaries(dict.fromkeys(("signer", "signature", "timestamp"), strategies.texts)),
        max_size=3,
    ),
    "pillars_scores": st.dictionaries(st.sampled_from(PILLARS), scores),
    "conflicts_detected": text_lists,
    "execution_status": st.sampled_from([kind.value for kind in entries.ExecutionStatus]),
    "result_data": st.none() | objects,
    "error_details": st.none() | objects,
    "rollback_available": st.booleans(),
    "rollback_snapshot_hash": st.none() | hashes,
    "rollback_executed": st.booleans(),
}  # fmt: skip


def consistent(draft: dict[str, Any]) -> dict[str, Any]:
    """A rollback that was executed names its snapshot."""
    executed = draft.get("rollback_executed", False) and draft.get("rollback_snapshot_hash") is not None
    return {**draft, "rollback_executed": executed} if "rollback_executed" in draft else draft


drafts: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(DRAFT, optional=OPTIONAL).map(consistent)
policies = st.builds(
    lambda weights, floor, each: parse_policy(
        {"weights": dict(zip(PILLARS, weights, strict=True)), "safety_floor": floor, "floor_per_pillar": each}
    ),
    st.tuples(*[st.floats(1e-6, 1e6)] * 4), scores, st.booleans(),
)  # fmt: skip

KEY = ed25519_key()
PUBLIC = public_key(KEY.public_key())


def line_under(policy: Policy, draft: dict[str, Any], environment: dict[str, str]) -> bytes:
    item = prepare(parse_draft(draft), policy, entry_id=entry_id(1), environment=environment)
    plan = planned([item], KEY)
    return plan.seal([sign(KEY, message) for message in plan.messages])[0]


@given(draft=drafts, policy=policies)
@settings(max_examples=80)
def test_a_draft_comes_back_from_its_line(draft: dict[str, Any], policy: Policy) -> None:
    line = line_under(policy, draft, {})
    assert rfc8785.dumps(json.loads(line)) == line
    entry = decode_line(line)
    check_canonical(entry, line)
    stored = msgspec.to_builtins(entry)
    assert {name: stored[name] for name in draft} == draft
    assert entries.canonical_hashes(entry, line) == (entry.entry_hash, entry.action_hash)
    verify_entry_signature(PUBLIC, entry.signature_algorithm, entry.hsm_signature, entry.entry_hash)
    derived = derive(policy, entry, LOG, entry.action_hash, entry.timestamp)
    check_derived(derived, entry)
    composite = derived.composite_score
    assert composite is None or 0 <= composite <= 10


@given(draft=drafts)
@settings(max_examples=30)
def test_a_draft_restated_with_what_was_derived_gives_the_same_line(draft: dict[str, Any]) -> None:
    line = line_under(Policy(), draft, {})
    stored = json.loads(line)
    derived = ("composite_score", "safety_floor_met", "k_state", "proofs_valid", "quorum_met", "action_hash")
    fixed = ("attribution", "schema_version")
    restated = {**draft, **{name: stored[name] for name in (*derived, *fixed)}}
    assert line_under(Policy(), restated, {}) == line


OTHERS = [prepared({"event_type": "ACTION", "action_type": "x", "actor_id": "a"}) for _ in range(1023)]


@given(draft=drafts, size=st.integers(60_000, 66_000), count=st.sampled_from([1, 2, 1024]))
@settings(max_examples=25)
def test_no_sealed_line_is_over_the_limit_that_prepare_kept(
    draft: dict[str, Any], size: int, count: int
) -> None:
    padded = {**draft, "system_state_snapshot": {"pad": "x" * size}}
    try:
        item = prepare(parse_draft(padded), Policy(), entry_id=entry_id(1), environment={})
    except TooLargeError:
        return
    head = Head(2**53 - 2048, GENESIS_PREV_HASH, NOW_US, Span())
    plan = planned([*OTHERS[: count - 1], item], KEY, head, pointers=LONGEST_POINTERS)
    line = plan.seal([b"\xff" * 72] * len(plan.messages))[-1]
    check_canonical(decode_line(line), line)
    rest = {name: value for name, value in json.loads(line).items() if name != "action_payload"}
    assert len(encode(rest)) <= ENTRY_SIZE_MAX_BYTES


LINE = sealed([{**MINIMAL, "action_payload": {"a": [1, "é"]}}])[0]


@given(at=st.integers(0, len(LINE) - 1), cut=st.integers(0, 3), put=st.binary(max_size=3))
@settings(max_examples=500)
def test_a_changed_line_is_refused_or_changes_a_hash(at: int, cut: int, put: bytes) -> None:
    mutant = LINE[:at] + put + LINE[at + cut :]
    try:
        entry = decode_line(mutant)
        entry_hash, action_hash = entries.canonical_hashes(entry, mutant)
    except (MalformedEntryError, TooLargeError):
        return
    if mutant != LINE:
        hashes_hold = entry_hash == entry.entry_hash and action_hash in {entry.action_hash, None}
        original = decode_line(LINE)
        same_but_signature = (entry_hash, action_hash) == (original.entry_hash, original.action_hash)
        assert not hashes_hold or (same_but_signature and entry.hsm_signature != original.hsm_signature)
