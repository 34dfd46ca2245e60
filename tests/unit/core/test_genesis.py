"""Entry 0: what it must say, and that nothing else passes for a birth certificate."""

import copy
import json
from typing import Any

import msgspec
import pytest
from tests.support.shapes import BOOT, ed25519_key, entry_id, line_of, p256_key, planned, read, sign

from attestlog._internal.core.batch import prepare
from attestlog._internal.core.entry import Entry
from attestlog._internal.core.genesis import (
    SEGMENT_ENTRIES,
    SEGMENT_ENTRIES_MAX,
    Continues,
    Genesis,
    Settings,
    Software,
    check_settings,
    draft_genesis,
    parse_genesis,
)
from attestlog._internal.core.note import VerifierKey, format_vkey
from attestlog._internal.core.policy import Policy, parse_policy
from attestlog._internal.core.signature import public_key
from attestlog.errors import MalformedConfigError, MalformedEntryError, NewerFormatError

ORIGIN = "example.com/agents"
KEYS = [public_key(p256_key().public_key()), public_key(ed25519_key().public_key())]
VKEY = VerifierKey(ORIGIN, 1, ed25519_key("checkpoint").public_key().public_bytes_raw())
POLICY = parse_policy({"safety_floor": 6.5, "floor_per_pillar": True})
GENESIS = Genesis(
    origin=ORIGIN,
    entry_keys={key.key_id: key for key in KEYS},
    checkpoint_keys=[VKEY],
    policy=POLICY,
    settings=Settings(batch=False, erasable_payloads=True, segment_entries=256),
    software=Software("attestlog", "1.0.0"),
)


def entry_0(genesis: Genesis = GENESIS) -> Entry:
    item = prepare(draft_genesis(genesis), genesis.policy, entry_id=entry_id(0), environment={})
    plan = planned([item], p256_key())
    return read(plan.seal([sign(p256_key(), message) for message in plan.messages])[0])


ENTRY = entry_0()


def with_payload(payload: Any) -> Entry:
    return msgspec.structs.replace(ENTRY, action_payload=payload)


def test_a_genesis_comes_back_from_its_entry() -> None:
    found = parse_genesis(ENTRY)
    assert (found.origin, found.policy, found.settings) == (ORIGIN, POLICY, GENESIS.settings)
    assert found.software == Software("attestlog", "1.0.0")
    assert [key.spki for key in found.entry_keys.values()] == [key.spki for key in KEYS]
    assert list(found.entry_keys) == [key.key_id for key in KEYS]
    assert found.checkpoint_keys == [VKEY]


def test_the_payload_has_exactly_the_members_of_the_specification() -> None:
    assert ENTRY.action_payload is not None
    payload = json.loads(msgspec.json.encode(ENTRY.action_payload))
    assert set(payload) == {
        *("format", "origin", "continues", "entry_keys", "checkpoint_keys", "policy", "settings", "software"),
    }
    assert (payload["format"], payload["continues"]) == (1, None)
    assert [set(key) for key in payload["entry_keys"]] == [{"key_id", "algorithm", "public_key"}] * 2
    assert payload["checkpoint_keys"] == [format_vkey(VKEY)]
    assert set(payload["software"]) == {"name", "version"}
    assert set(payload["settings"]) == {"batch", "erasable_payloads", "segment_entries"}
    assert (ENTRY.event_type, ENTRY.action_type) == ("BOOT", "attestlog.genesis")
    assert ENTRY.actor_id == KEYS[0].key_id
    assert ENTRY.hsm_signature.count(":") == 0


def test_the_policy_derives_the_members_of_its_own_entry() -> None:
    entry = entry_0(Genesis(ORIGIN, GENESIS.entry_keys, [VKEY], Policy(), Settings(), GENESIS.software))
    assert (entry.composite_score, entry.safety_floor_met, entry.k_state) == (None, None, 1)
    assert Settings().segment_entries == SEGMENT_ENTRIES == 65_536


@pytest.mark.parametrize(
    "entry",
    [
        read(line_of(BOOT)),
        msgspec.structs.replace(ENTRY, event_type="CHANGE"),
        msgspec.structs.replace(ENTRY, action_type="log_genesi"),
        with_payload(None),
        with_payload({}),
    ],
)
def test_another_entry_is_no_genesis(entry: Entry) -> None:
    with pytest.raises(MalformedEntryError):
        parse_genesis(entry)


PEM = [key.pem for key in KEYS]


@pytest.mark.parametrize(
    "path, wrong",
    [
        ("origin", ["", "a b", "a+b", "x" * 256, None, 1, "example.com/other"]),
        ("entry_keys", [[], None, {}, [{}]]),
        ("entry_keys.0", [None, "x", {}]),
        ("entry_keys.0.key_id", ["", "0" * 64, KEYS[0].key_id.upper(), KEYS[1].key_id, None]),
        ("entry_keys.0.key_id", [KEYS[0].key_id + "\n"]),
        ("entry_keys.0.algorithm", ["", "Ed25519", "ECDSA-P256-SHA256+BATCH", "ecdsa-p256-sha256", None]),
        ("entry_keys.0.public_key", ["", "x", PEM[1], PEM[0][:-1], PEM[0] + "\n", "\n" + PEM[0], None]),
        (
            "entry_keys.0.public_key",
            [PEM[0].replace("\n", "\r\n"), PEM[0] + PEM[1], KEYS[0].spki.hex(), "comment\n" + PEM[0]],
        ),
        ("checkpoint_keys", [[], None, {}, [1], [""], [format_vkey(VKEY) + "\n"], [PEM[0]]]),
        ("checkpoint_keys.0", [format_vkey(VerifierKey("other", 1, bytes(32))), format_vkey(VKEY)[:-1]]),
        ("policy", [None, [], {"safety_floor": 11}, {"unknown": 1}]),
        ("policy.weights", [{}, {"an_toan": 1}, dict.fromkeys(GENESIS.policy.weights, 0)]),
        ("settings", [None, [], {"batch": 1}, {"unknown": True}]),
        ("settings.segment_entries", [0, -1, SEGMENT_ENTRIES_MAX + 1, 256.0, "256", None, True]),
        ("settings.batch", [0, None, "true"]),
        ("software", [None, {}, {"name": "x"}, {"name": "x", "version": 1}]),
        ("format", [0, -1, None, "1", 1.5, True]),
        ("continues", [1, [], {}, "x"]),
        ("unknown", [1]),
    ],
)
def test_each_member_is_checked(path: str, wrong: list[Any]) -> None:
    for value in wrong:
        payload = copy.deepcopy(ENTRY.action_payload)
        at: Any = payload
        *above, last = path.split(".")
        for step in above:
            at = at[int(step)] if step.isdigit() else at[step]
        at[int(last) if last.isdigit() else last] = value
        with pytest.raises(MalformedEntryError) as caught:
            parse_genesis(with_payload(payload))
        assert caught.value.member.startswith("action_payload")


@pytest.mark.parametrize(
    "member",
    ["format", "origin", "continues", "entry_keys", "checkpoint_keys", "policy", "settings", "software"],
)
def test_each_member_is_needed(member: str) -> None:
    payload = {name: value for name, value in (ENTRY.action_payload or {}).items() if name != member}
    with pytest.raises(MalformedEntryError):
        parse_genesis(with_payload(payload))


def test_settings_made_by_hand_are_checked() -> None:
    check_settings(Settings())
    for wrong in (Settings(segment_entries=0), Settings(segment_entries=(1 << 20) + 1), Settings(batch=1)):  # type: ignore[arg-type]
        with pytest.raises(MalformedConfigError):
            check_settings(wrong)


def test_a_key_is_named_once() -> None:
    payload = copy.deepcopy(ENTRY.action_payload) or {}
    payload["entry_keys"].append(payload["entry_keys"][0])
    with pytest.raises(MalformedEntryError, match="twice"):
        parse_genesis(with_payload(payload))
    payload["entry_keys"][2] = {**payload["entry_keys"][0], "public_key": PEM[1]}
    with pytest.raises(MalformedEntryError):
        parse_genesis(with_payload(payload))


@pytest.mark.parametrize("count", [1, SEGMENT_ENTRIES_MAX])
def test_entries_a_segment_at_the_limits(count: int) -> None:
    settings = Settings(segment_entries=count)
    entry = entry_0(Genesis(ORIGIN, GENESIS.entry_keys, [VKEY], POLICY, settings, GENESIS.software))
    assert parse_genesis(entry).settings.segment_entries == count


CONTINUES = Continues(origin="example.com/2025", genesis="a" * 64, size=7, root="b" * 64, reason="a new year")


def test_a_log_that_continues_another_says_so() -> None:
    made = msgspec.structs.replace(GENESIS, continues=CONTINUES)
    entry = entry_0(made)
    assert parse_genesis(entry).continues == CONTINUES
    assert (entry.action_payload or {})["continues"] == msgspec.to_builtins(CONTINUES)
    assert parse_genesis(ENTRY).continues is None


@pytest.mark.parametrize(
    "member, wrong",
    [
        ("origin", ["", "a b", None]), ("genesis", ["a" * 63, "A" * 64, None]),
        ("size", [0, -1, 1.5, 2**63, None]), ("root", ["", "g" * 64]),
        ("reason", ["", "x" * 4_097, None]), ("more", [1]),
    ],
)  # fmt: skip
def test_what_it_continues_is_checked(member: str, wrong: list[Any]) -> None:
    for value in wrong:
        payload = {
            **(ENTRY.action_payload or {}),
            "continues": {**msgspec.to_builtins(CONTINUES), member: value},
        }
        with pytest.raises(MalformedEntryError):
            parse_genesis(with_payload(payload))


def test_a_later_format_is_not_judged_whatever_else_it_has() -> None:
    for payload in ({"format": 2}, {**(ENTRY.action_payload or {}), "format": 99, "colour": "red"}):
        with pytest.raises(NewerFormatError, match="this software reads format 1") as caught:
            parse_genesis(with_payload(payload))
        assert (caught.value.expected, caught.value.found) == (1, payload["format"])
