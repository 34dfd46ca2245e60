"""Rules in force: what makes a change of keys hold, and everything that does not."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as replace_struct
from tests.support.logs import Key, LogMaker, admission, draft, revocation, rotation, seal

from attestlog._internal.core.canonical import encode
from attestlog._internal.core.entry import EntryRef, EventType, decode_line, parse_draft
from attestlog._internal.core.genesis import draft_genesis, parse_genesis
from attestlog._internal.core.policy import format_policy, parse_policy
from attestlog._internal.core.policy_change import set_policy_payload
from attestlog._internal.core.reserved import GOVERNING, governs
from attestlog._internal.core.rules import KEYS_MAX, Hold, Rules, Term, format_hold, release_of
from attestlog.errors import MalformedEntryError, RuleChangeError

OLD, NEW, NEXT, OTHER = Key(1), Key(2), Key(3, "Ed25519"), Key(4)


@pytest.fixture
def log(tmp_path: Path) -> LogMaker:
    """Entries 0 to 2."""
    made = LogMaker(tmp_path / "log", key=OLD)
    made.append(draft(1))
    made.append(draft(2))
    return made


def rules_of(log: LogMaker) -> Rules:
    """Those after every line."""
    rules = Rules.of(log.genesis)
    for line in log.lines:
        entry = decode_line(line)
        rules = rules.after(entry) if governs(entry) else rules
    return rules


def refused(log: LogMaker, rules: Rules | None = None) -> str:
    """Why the last line does not change the rules."""
    with pytest.raises(RuleChangeError) as caught:
        (rules or Rules.of(log.genesis)).after(decode_line(log.lines[-1]))
    return caught.value.message


def test_from_the_next_entry_on_only_the_new_key_counts(log: LogMaker) -> None:
    before = Rules.of(log.genesis)
    log.rotate(NEW)
    after = rules_of(log)
    assert before.key_ids == [OLD.public.key_id]
    assert after.key_ids == [NEW.public.key_id]
    assert (after.start, after.terms) == (
        4, {OLD.public.key_id: Term(0, 4), NEW.public.key_id: Term(4, by=OLD.public.key_id)}
    )  # fmt: skip
    assert after.signing_key(OLD.public.key_id, OLD.public.algorithm) is None
    assert after.retired(OLD.public.key_id).endswith("was retired by entry 3")


def test_two_rotations_and_a_revocation_of_the_first_key(log: LogMaker) -> None:
    log.rotate(NEW)
    log.rotate(NEXT)
    log.revoke(OLD, 2)
    rules = rules_of(log)
    assert rules.key_ids == [NEXT.public.key_id]
    old, new = OLD.public.key_id, NEW.public.key_id
    assert list(rules.terms.values()) == [Term(0, 4, 2, 5), Term(4, 5, by=old), Term(5, by=new)]
    assert "revoked by entry 5" in rules.retired(OLD.public.key_id)
    log.revoke(OLD, 1)  # it was stolen earlier than was thought
    assert rules_of(log).terms[OLD.public.key_id].last_trusted == 1


def test_lines_are_followed_up_to_an_entry_and_no_further(log: LogMaker) -> None:
    log.rotate(NEW)
    line, start = log.lines[3], Rules.of(log.genesis)
    before, none = start.following([line], 3)
    after, held = start.following([line], 4)
    assert (before.key_ids, none) == ([OLD.public.key_id], [])
    assert (after.key_ids, held) == ([NEW.public.key_id], [line])


def test_rules_reach_another_process_whole(log: LogMaker) -> None:
    log.rotate(NEXT)
    log.revoke(OLD, 2)
    rules = rules_of(log)
    copy: Rules = pickle.loads(pickle.dumps(rules))  # noqa: S301 - our own
    assert (copy.terms, copy.key_ids, copy.policy) == (rules.terms, rules.key_ids, rules.policy)
    key = copy.signing_key(NEXT.public.key_id, "Ed25519+BATCH")
    assert key is not None
    key.verify(NEXT.sign(b"message"), b"message")


def other(draft: dict[str, Any], **payload: Any) -> dict[str, Any]:
    return draft | {"action_payload": draft["action_payload"] | payload}


GOOD = rotation("example.com/made", OLD, NEW, 3)

BAD_ROTATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "for another entry": (rotation("example.com/made", OLD, NEW, 4), "signature does not verify"),
    "for another log": (rotation("example.com/other", OLD, NEW, 3), "signature does not verify"),
    "from another key": (rotation("example.com/made", NEXT, NEW, 3), "signature does not verify"),
    "signed by another key": (
        other(GOOD, signature=rotation("example.com/made", OLD, OTHER, 3)["action_payload"]["signature"]),
        "signature does not verify",
    ),
    "signature in capitals": (
        other(GOOD, signature=GOOD["action_payload"]["signature"].upper()), "signature: is not lower-case hex"
    ),
    "no signature": (other(GOOD, signature=""), "signature: is not lower-case hex"),
    "key stated under another id": (other(GOOD, key_id=OTHER.public.key_id), "key is stated as"),
    "key of another algorithm": (other(GOOD, algorithm="Ed25519"), "key is stated as"),
    "key that is none": (other(GOOD, public_key="PEM"), "not a public key"),
    "unknown member": (other(GOOD, more=1), "action_payload.more: is not a member"),
    "to the key itself": (rotation("example.com/made", OLD, OLD, 3), "was in force before"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ROTATIONS)
def test_a_rotation_that_does_not_hold_changes_nothing(log: LogMaker, name: str) -> None:
    draft, why = BAD_ROTATIONS[name]
    log.append(draft)
    assert why in refused(log)


def test_a_key_never_comes_back(log: LogMaker) -> None:
    log.rotate(NEW)
    rules = rules_of(log)
    log.append(rotation(log.origin, NEW, OLD, 4))
    assert "was in force before" in refused(log, rules)


def test_a_retired_key_rotates_nothing(log: LogMaker) -> None:
    log.rotate(NEW)
    rules = rules_of(log)
    log.key = OLD
    log.append(rotation(log.origin, OLD, OTHER, 4))
    assert "not signed by a key in force" in refused(log, rules)


def test_a_change_is_not_made_twice_nor_out_of_order(log: LogMaker) -> None:
    log.rotate(NEW)
    rules = rules_of(log)
    with pytest.raises(RuleChangeError, match="earlier than the entry"):
        rules.after(decode_line(log.lines[3]))


Tamper = Callable[[LogMaker], None]


def edit_payload(log: LogMaker) -> None:
    members = log.entry(3)
    members["action_payload"]["signature"] = "00"
    log.lines[3] = seal(members, OLD).replace(b'"signature":"00"', b'"signature":"01"')


def erase(log: LogMaker) -> None:
    log.lines[3] = seal(log.entry(3) | {"action_payload": None}, OLD)


def sign_by_another(log: LogMaker) -> None:
    good = log.entry(3)
    log.lines[3] = seal(good | {"signing_key_id": OLD.public.key_id}, OTHER).replace(
        OTHER.public.key_id.encode(), OLD.public.key_id.encode()
    )


def break_signature(log: LogMaker) -> None:
    text = log.entry(3)["hsm_signature"].encode()
    log.lines[3] = log.lines[3].replace(text, OLD.sign(b"else").hex().encode())


@pytest.mark.parametrize("tamper", [edit_payload, erase, sign_by_another, break_signature])
def test_a_change_that_was_tampered_with_changes_nothing(log: LogMaker, tamper: Tamper) -> None:
    log.append(GOOD)
    tamper(log)
    refused(log)


@pytest.mark.parametrize(
    "draft, why",
    [
        (revocation(OTHER, 2), "never was in force"),
        (revocation(NEW, 2), "is the only one in force"),
        (revocation(OLD, 4), "the last trusted entry is 4, want 0 to 3"),
        (other(revocation(OLD, 1), reason=""), "length"),
        (other(revocation(OLD, 1), last_trusted_sequence_number=-1), "expected `int` >= 0"),
        (other(revocation(OLD, 1), last_trusted_sequence_number=True), "expected `int`"),
    ],
)
def test_a_revocation_that_does_not_hold(log: LogMaker, draft: dict[str, Any], why: str) -> None:
    log.rotate(NEW)
    rules = rules_of(log)
    log.append(draft)
    assert why in refused(log, rules)


def test_a_revocation_is_made_stricter_only(log: LogMaker) -> None:
    log.rotate(NEW)
    log.revoke(OLD, 1)
    rules = rules_of(log)
    log.revoke(OLD, 2)
    assert "want 0 to 0" in refused(log, rules)


def test_a_key_is_trusted_at_least_up_to_where_it_came_in(log: LogMaker) -> None:
    log.rotate(NEW)
    log.rotate(NEXT)
    rules = rules_of(log)
    log.revoke(NEW, 2)
    assert "want 3 to 4" in refused(log, rules)


def test_the_number_of_keys_is_limited(log: LogMaker) -> None:
    rules = Rules.of(log.genesis)
    many = {f"{number:064x}": Term(0, 1) for number in range(KEYS_MAX - 2)}
    rules = replace(rules, terms={**many, **rules.terms})
    log.append(GOOD)
    full = rules.after(decode_line(log.lines[-1]))
    assert len(full.terms) == KEYS_MAX
    log.key = NEW
    log.append(rotation(log.origin, NEW, NEXT, 4))
    assert "too many keys" in refused(log, full)


def test_what_a_rule_denies_does_not_hold_be_it_a_rotation(tmp_path: Path) -> None:
    rule = {"event_types": ["CHANGE"], "actor_ids": ["agent-*"], "deny": True, "reason": "people only"}
    policy = parse_policy({"rules": {"no": rule}})
    log = LogMaker(tmp_path / "log", key=OLD, policy=policy)
    log.append(draft(1))
    hold = {"name": "case-7", "start": 0, "stop": None, "reason": "x"}
    payloads = {"attestlog.place_legal_hold": hold, "attestlog.set_policy": {"policy": format_policy(policy)}}
    drafts = [
        rotation(log.origin, OLD, NEW, 2), revocation(OLD, 1),
        *(
            draft(0, event_type="CHANGE", action_type=action_type, action_payload=payload)
            for action_type, payload in payloads.items()
        ),
    ]  # fmt: skip
    for change in drafts:
        log.append(change)
        assert "rule 'no' denies it: people only" in refused(log)
    log.append({**drafts[2], "actor_id": "ana"})
    assert Rules.of(log.genesis).after(decode_line(log.lines[-1])).holds.keys() == {"case-7"}


def test_the_rules_remember_what_made_the_policy_and_each_hold(log: LogMaker) -> None:
    before = Rules.of(log.genesis)
    assert before.policy_by == EntryRef(0, log.log.genesis)
    assert before.log == log.log
    hold = {"name": "case-7", "start": 0, "stop": None, "reason": "x"}
    log.append(draft(0, event_type="CHANGE", action_type="attestlog.place_legal_hold", action_payload=hold))
    placed = decode_line(log.lines[-1])
    held = before.after(placed)
    assert (held.placed_by, held.policy_by) == ({"case-7": EntryRef.of(placed)}, before.policy_by)
    payload = set_policy_payload(held, parse_policy({"safety_floor": 8}))
    log.append(draft(0, event_type="CHANGE", action_type="attestlog.set_policy", action_payload=payload))
    changed = held.after(decode_line(log.lines[-1]))
    assert changed.policy_by == EntryRef.of(decode_line(log.lines[-1]))
    assert changed.placed_by == held.placed_by
    log.append(log_release(changed))
    ended = changed.after(decode_line(log.lines[-1]))
    assert (ended.holds, ended.placed_by, ended.policy_by) == ({}, {}, changed.policy_by)


def log_release(rules: Rules) -> dict[str, Any]:
    payload = format_hold(release_of(rules, "case-7", "settled"))
    return draft(0, event_type="CHANGE", action_type="attestlog.release_legal_hold", action_payload=payload)


def test_only_a_change_of_those_types_governs() -> None:
    for action_type in GOVERNING:
        for event_type in EventType:
            given = parse_draft(draft(1, event_type=event_type, action_type=action_type))
            assert governs(given) is (event_type is EventType.CHANGE)
    assert not governs(parse_draft(draft(1, event_type="CHANGE", action_type="rotate_signing_keys")))
    for status in ("FAILED", "BLOCKED", "ROLLED_BACK"):
        assert not governs(parse_draft(GOOD | {"execution_status": status}))


# --- several keys ---

HOSTS = [Key(number + 10, "Ed25519") for number in range(64)]


def admitted(log: LogMaker, *keys: Key) -> Rules:
    for key in keys:
        log.append(admission(log, key))
    return log.rules


def ids(*keys: Key) -> list[str]:
    return sorted(key.public.key_id for key in keys)


def test_an_admitted_key_signs_beside_those_in_force(log: LogMaker) -> None:
    rules = admitted(log, NEW)
    assert rules.key_ids == ids(OLD, NEW)
    assert rules.terms[NEW.public.key_id] == Term(4, by=OLD.public.key_id, label="host-2")
    log.key = NEW
    log.append(admission(log, NEXT))
    assert log.rules.key_ids == ids(OLD, NEW, NEXT)


BAD_ADMISSIONS: dict[str, tuple[Callable[[LogMaker], dict[str, Any]], str]] = {
    "again": (lambda log: admission(log, OLD), "was in force before"),
    "another genesis": (lambda log: admission(log, NEW, genesis_hash="0" * 64), "does not verify"),
    "no label": (lambda log: admission(log, NEW, label=""), "label"),
    "label too long": (lambda log: admission(log, NEW, label="x" * 65), "label"),
    "member missing": (lambda log: other(admission(log, NEW), label=None), "label"),
    "member unknown": (lambda log: other(admission(log, NEW), number=3), "number: is not a member"),
    "another key's consent": (
        lambda log: other(
            admission(log, NEW), signature=admission(log, NEXT)["action_payload"]["signature"]
        ),
        "does not verify",
    ),
    "consent to a rotation": (
        lambda log: {
            **admission(log, NEW),
            "action_payload": {
                **rotation(log.origin, OLD, NEW, 3)["action_payload"], "label": "host-2",
            },
        },
        "does not verify",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ADMISSIONS)
def test_an_admission_that_does_not_hold_changes_nothing(log: LogMaker, name: str) -> None:
    make, why = BAD_ADMISSIONS[name]
    log.append(make(log))
    assert why in refused(log)


def test_an_admission_needs_what_the_policy_asks_for(log: LogMaker) -> None:
    log.append({**admission(log, NEW), "required_approvals": 1})
    assert "quorum" in refused(log)


def test_at_most_64_keys_are_in_force_at_once(log: LogMaker) -> None:
    rules = admitted(log, *HOSTS)
    assert len(rules.keys) == 64
    assert HOSTS[-1].public.key_id not in rules.terms
    assert "too many keys in force" in refused(log, rules)
    log.append(rotation(log.origin, OLD, HOSTS[-1], len(log.lines)))
    assert len(log.rules.keys) == 64


def test_a_rotation_replaces_the_key_that_signs_it_and_no_other(log: LogMaker) -> None:
    admitted(log, NEW)
    log.append(rotation(log.origin, OLD, NEXT, 4))
    assert log.rules.key_ids == ids(NEW, NEXT)
    terms = log.rules.terms
    assert (terms[OLD.public.key_id].stop, terms[NEW.public.key_id].stop) == (5, None)


def test_with_a_revoked_key_go_those_that_it_brought_in_since(log: LogMaker) -> None:
    admitted(log, NEW)  # 3
    log.key = NEW
    log.append(draft(4))
    log.append(admission(log, NEXT))  # 5
    log.key = NEXT
    log.append(rotation(log.origin, NEXT, OTHER, 6))
    log.key = OLD
    log.revoke(NEW, 4)
    assert log.rules.key_ids == ids(OLD)
    terms = {key: log.rules.terms[key.public.key_id] for key in (NEW, NEXT, OTHER)}
    assert [terms[key].stop for key in (NEW, NEXT, OTHER)] == [7, 7, 7]
    assert [terms[key].revoked_at for key in (NEW, NEXT, OTHER)] == [7, None, 7]
    assert [terms[key].last_trusted for key in (NEW, NEXT, OTHER)] == [4, None, None]


def test_what_a_key_brought_in_while_it_was_trusted_stays(log: LogMaker) -> None:
    admitted(log, NEW)
    log.key = NEW
    log.append(admission(log, NEXT))  # 4
    log.key = OLD
    log.revoke(NEW, 4)
    assert log.rules.key_ids == ids(OLD, NEXT)


def test_the_key_that_signs_a_revocation_stays_with_what_it_brought_in(log: LogMaker) -> None:
    """Or a log with one key could never say that the key before it was stolen."""
    log.rotate(NEW)
    log.append(admission(log, NEXT))
    log.revoke(OLD, 1)
    assert log.rules.key_ids == ids(NEW, NEXT)


def test_a_key_revokes_neither_itself_nor_the_last_one(log: LogMaker) -> None:
    rules = admitted(log, NEW)
    log.append(revocation(OLD, 2))
    assert "itself signed it" in refused(log, rules)
    log.key = NEW
    log.revoke(OLD, 2)
    rules = log.rules
    assert rules.key_ids == ids(NEW)
    log.append(revocation(NEW, 4))
    assert "is the only one in force" in refused(log, rules)


def test_a_genesis_names_no_more_keys_than_can_be_in_force(log: LogMaker) -> None:
    keys = {key.public.key_id: key.public for key in [*HOSTS, OLD]}
    payload = draft_genesis(replace_struct(log.genesis, entry_keys=keys)).action_payload
    members = log.entry(0) | {"action_payload": payload}
    with pytest.raises(MalformedEntryError, match="entry_keys"):
        parse_genesis(decode_line(encode(members)))
    members["action_payload"] = payload | {"entry_keys": payload["entry_keys"][:64]}
    assert len(parse_genesis(decode_line(encode(members))).entry_keys) == 64


def test_a_hold_covers_entries_from_its_start_to_before_its_stop() -> None:
    held = Hold(name="case-7", start=2, stop=5, reason="litigation")
    assert [number for number in range(8) if held.covers(number)] == [2, 3, 4]
    endless = Hold(name="case-8", start=2, stop=None, reason="litigation")
    assert [number for number in range(5) if endless.covers(number)] == [2, 3, 4]
