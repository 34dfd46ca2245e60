"""The operator: somebody who holds the keys of the log, and its files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.attacks.kit import (
    DETECTED,
    KEY_HOLDER,
    NOT_GUARANTEED,
    Ground,
    Left,
    Said,
    Story,
    attempt,
    entries_of,
)
from tests.support.curves import SMALL_ORDER, pem_of
from tests.support.histories import ALL_KEYS, Members, rebuild
from tests.support.logs import OWNED, draft, entry_id, rotation
from tests.support.people import Person

from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.erasure import Erasure, erase_line, format_erasure
from attestlog._internal.core.hashes import EMPTY_ROOT
from attestlog._internal.core.policy import parse_policy
from attestlog._internal.core.policy_change import set_policy_payload
from attestlog._internal.core.reserved import ERASE_PAYLOAD, PLACE_LEGAL_HOLD, SET_POLICY
from attestlog._internal.storage.publishing import publish_log
from attestlog._internal.verifying import judge_log, judge_published
from attestlog._internal.verifying.chain import judge_chain


def resealed(change: Callable[[list[Members]], Any], made: Story | None = None, **options: Any) -> Left:
    """The story, changed by who can hash and sign everything again."""
    made = made or Story()
    entries = entries_of(made)
    change(entries)
    return Left(made.files(rebuild(made, entries, **options)))


def change_of(name: str, payload: Members, **members: Any) -> Members:
    return draft(0, event_type="CHANGE", action_type=name, action_payload=payload, **members)


# --- histories ---


def rewritten(made: Story) -> list[bytes]:
    """Another actor did it, with every hash and signature true."""
    entries = entries_of(made)
    entries[2]["actor_id"] = "agent-9"
    return rebuild(made, entries)


@attempt(KEY_HOLDER, NOT_GUARANTEED, "VERIFIED")
def rewrites_the_log_before_anyone_looked(ground: Ground) -> Left:
    """A changed history, true in itself, for a reader who never saw the log."""
    made = Story()
    return Left(made.files(rewritten(made)), trust=[made.key.public.key_id])


@attempt(KEY_HOLDER, DETECTED, "FORKED memory.root", "VERIFIED")
def rewrites_the_log_of_a_reader_who_remembers(ground: Ground) -> Left:
    """The same, after a reader verified the true one. The one-file verifier remembers nothing."""
    made, state = Story(), ground.folder / "state"
    judge_log(ground.lay_out(made.files()), state_dir=state)
    return Left(made.files(rewritten(made)), options={"state_dir": state})


@attempt(KEY_HOLDER, DETECTED, "FORKED held.root", "VERIFIED")
def rewrites_the_log_of_a_reader_who_kept_a_checkpoint(ground: Ground) -> Left:
    """The same, for a reader who kept a checkpoint of the true one."""
    made = Story()
    return Left(made.files(rewritten(made)), options={"held": made.files()["checkpoint"]})


@attempt(KEY_HOLDER, DETECTED, "TRUNCATED checkpoint.older", "VERIFIED")
def cuts_the_tail_and_signs_the_rest_again(ground: Ground) -> Left:
    """Entries, tree and checkpoint, for a reader who remembers."""
    made, state = Story(), ground.folder / "state"
    judge_log(ground.lay_out(made.files()), state_dir=state)
    return Left(made.files(made.lines[:6]), options={"state_dir": state})


@attempt(KEY_HOLDER, DETECTED, "FORKED memory.root", "VERIFIED")
def cuts_the_tail_and_lets_it_grow_again(ground: Ground) -> Left:
    """Other entries in place of those cut, and more of them than before."""
    made, state = Story(), ground.folder / "state"
    judge_log(ground.lay_out(made.files()), state_dir=state)
    entries = entries_of(made)[:6]
    for number in range(6, 12):
        later = {"sequence_number": number, "entry_id": entry_id(number + 100)}
        entries.append({**entries[5], "timestamp": entries_of(made)[7]["timestamp"], **later})
    return Left(made.files(rebuild(made, entries)), options={"state_dir": state})


@attempt(KEY_HOLDER, DETECTED, "FORKED memory.genesis", "VERIFIED")
def begins_the_log_anew(ground: Ground) -> Left:
    """Another log of the same origin with the same keys, for a reader who remembers the first."""
    made, state = Story(origin=OWNED), ground.folder / "state"
    judge_log(ground.lay_out(made.files()), state_dir=state)
    return Left(Story(origin=OWNED, other=True).files(), options={"state_dir": state})


@attempt(KEY_HOLDER, DETECTED, "FORKED memory.root", "")
def publishes_another_history(ground: Ground) -> Said:
    """To a reader who remembers what was published before."""
    made, state, public = Story(), ground.folder / "state", ground.folder / "public"
    options: dict[str, Any] = {"trust": [made.checkpoint_key.vkey], "state_dir": state}
    publish_log(ground.lay_out(made.files(), "one"), public)
    assert judge_published(public, **options).ok
    publish_log(ground.lay_out(made.files(rewritten(made)), "two"), ground.folder / "again")
    return Said(judge_published(ground.folder / "again", **options))


@attempt(KEY_HOLDER, DETECTED, "TAMPERED checkpoint.root")
def signs_a_checkpoint_of_something_else(ground: Ground) -> Left:
    """Over the root of another history, beside the true entries."""
    made = Story()
    return Left({**made.files(), "checkpoint": Story(other=True).files()["checkpoint"]})


@attempt(KEY_HOLDER, DETECTED, "TAMPERED checkpoint.root")
def signs_a_checkpoint_of_nothing(ground: Ground) -> Left:
    """Of no entries at all: so that nothing is covered."""
    made = Story()
    return Left({**made.files(), "checkpoint": made.checkpoint(0, EMPTY_ROOT)})


@attempt(KEY_HOLDER, DETECTED, "FORKED chain.root", "VERIFIED")
def continues_a_log_that_was_another(ground: Ground) -> Said:
    """A new log that says to go on from an older one, at a root that the older one never had."""
    old, new = Story(), Story(origin="example.com/next", other=True)
    entries = entries_of(new)
    entries[0]["action_payload"]["continues"] = {
        "origin": old.origin, "genesis": old.rules.genesis_hash,
        "size": 8, "root": "0" * 64, "reason": "new year",
    }  # fmt: skip
    later = ground.lay_out(new.files(rebuild(new, entries)), "new")
    reports = judge_chain(later, older=[ground.lay_out(old.files(), "old")], remember=False)
    return Said(reports[-1], "VERIFIED")


# --- entries ---


@attempt(KEY_HOLDER, DETECTED, "TAMPERED entry.derived", "VERIFIED")
def says_that_a_quorum_was_met(ground: Ground) -> Left:
    """A payment without approval that says it has one. The one-file verifier judges no policy."""
    made = Story()
    made.append(draft(8, action_type="pay"))
    return resealed(lambda entries: entries[8].update(quorum_met=True), made)


@attempt(KEY_HOLDER, DETECTED, "TAMPERED entry.derived", "VERIFIED")
def says_that_the_floor_was_met(ground: Ground) -> Left:
    """A score that does not follow from the scores."""
    made = Story()
    made.append(draft(8, pillars_scores={"an_toan": 1.0}))
    return resealed(lambda entries: entries[8].update(composite_score=9.0, safety_floor_met=True), made)


@attempt(KEY_HOLDER, DETECTED, "TAMPERED approval.used", "VERIFIED")
def uses_an_approval_twice(ground: Ground) -> Left:
    """The same payment again, with the same approval."""
    made = Story()
    made.append(made.pay())
    made.append(made.pay())
    return Left(made.files())


@attempt(KEY_HOLDER, DETECTED, "TAMPERED entry.derived", "VERIFIED")
def moves_an_approval_to_another_payment(ground: Ground) -> Left:
    """Takes what was approved for one payload to another, and says that the quorum is met."""
    made = Story()
    approvals = made.pay()["received_approvals"]
    made.append(draft(9, action_type="pay", received_approvals=approvals))
    return resealed(lambda entries: entries[8].update(quorum_met=True), made)


@attempt(KEY_HOLDER, DETECTED, "TAMPERED entry.derived", "VERIFIED")
def makes_an_approval_up(ground: Ground) -> Left:
    """Signs for the creator by a key that is not the creator's."""
    made = Story()
    act = draft(8, action_type="pay")
    made.append({**act, "received_approvals": [Person("creator", 7).approve(act, made.log)]})
    return resealed(lambda entries: entries[8].update(quorum_met=True), made)


@attempt(KEY_HOLDER, DETECTED, "TAMPERED entry.change", "VERIFIED")
def changes_the_policy_alone(ground: Ground) -> Left:
    """A change of the policy without the approvals that the policy in force asks for."""
    made = Story()
    made.append_unjudged(change_of(SET_POLICY, set_policy_payload(made.rules, parse_policy({}))))
    return Left(made.files())


@attempt(KEY_HOLDER, DETECTED, "TAMPERED entry.rules")
def names_rules_that_are_not_in_force(ground: Ground) -> Left:
    """An entry that points to another entry as what made its rules: a rolled-back pointer."""

    def change(entries: list[Members]) -> None:
        entries[5]["environment"]["attestlog_rules"] = f"4:{entries[4]['entry_hash']}"

    return resealed(change)


@attempt(KEY_HOLDER, DETECTED, "TAMPERED entry.rules")
def goes_back_to_the_rules_before_a_rotation(ground: Ground) -> Left:
    """An entry after a rotation that still points to the genesis entry."""
    made = Story()
    made.rotate(ALL_KEYS[1])
    made.append(draft(9))
    return resealed(lambda entries: entries[9].update(environment=entries[8]["environment"]), made)


@attempt(KEY_HOLDER, DETECTED, "UNKNOWN entry.newer")
def acts_by_a_name_that_nobody_knows(ground: Ground) -> Left:
    """A change called `attestlog.set_colour`: it may change rules that this version does not know."""
    made = Story()
    made.append(draft(8, event_type="CHANGE", action_type="set_colour"))
    return resealed(lambda entries: entries[8].update(action_type="attestlog.set_colour"), made)


@attempt(KEY_HOLDER, DETECTED, "TAMPERED entry.change")
def brings_a_key_of_small_order_in(ground: Ground) -> Left:
    """Rotates to a key under which anybody can sign."""
    made = Story()
    act = rotation(made.origin, made.key, ALL_KEYS[1], 8, public_key=pem_of(SMALL_ORDER[0]))
    made.append_unjudged(act)
    return Left(made.files())


@attempt(KEY_HOLDER, DETECTED, "TAMPERED entry.timestamp")
def dates_an_entry_back(ground: Ground) -> Left:
    """A year earlier than the entry before."""

    def change(entries: list[Members]) -> None:
        entries[5]["timestamp"] = entries[5]["timestamp"].replace("2025", "2024")

    return resealed(change)


@attempt(KEY_HOLDER, NOT_GUARANTEED, "VERIFIED")
def dates_the_whole_log_otherwise(ground: Ground) -> Left:
    """All timestamps a year later: the clock is the writer's."""

    def change(entries: list[Members]) -> None:
        for entry in entries:
            entry["timestamp"] = entry["timestamp"].replace("2025", "2026")

    return resealed(change)


@attempt(KEY_HOLDER, DETECTED, "VERIFIED entry.id_repeated")
def gives_two_entries_one_id(ground: Ground) -> Left:
    """So that a reference to one is a reference to both."""
    return resealed(lambda entries: entries[5].update(entry_id=entries[4]["entry_id"]))


@attempt(KEY_HOLDER, DETECTED, "TAMPERED entry.head")
def lies_about_the_head_that_was_seen(ground: Ground) -> Left:
    """A boot that says to have seen another entry before it."""
    made = Story()
    seen = {"log_head": {"size": 8, "entry_hash": "0" * 64}}
    made.append(draft(8, event_type="BOOT", system_state_snapshot=seen))
    return Left(made.files())


@attempt(KEY_HOLDER, DETECTED, "TAMPERED guard.forbidden", "VERIFIED")
def does_what_was_blocked(ground: Ground) -> Left:
    """An outcome of success for an intent that the log says was blocked."""
    made = Story()
    intent = {"event_type": "DECISION", "actor_context": {"guard": "intent"}, "execution_status": "BLOCKED"}
    made.append(draft(8, action_type="call", **intent))
    done = {"actor_context": {"guard": "outcome"}, "dependencies": [made.entry(8)["entry_id"]]}
    made.append(draft(8, action_type="call", **done))
    return Left(made.files())


@attempt(KEY_HOLDER, NOT_GUARANTEED, "VERIFIED")
def records_what_never_happened(ground: Ground) -> Left:
    """A log proves what was recorded, not that it is so."""
    made = Story()
    made.append(draft(8, action_type="deploy", actor_id="agent-9"))
    return Left(made.files())


# --- payloads ---


def erased(made: Story, place: int, **members: Any) -> Story:
    """The payload of an entry is gone, and an entry says so."""
    said = format_erasure(Erasure.of(decode_line(made.lines[place]), "asked for", None))
    made.append_unjudged(change_of(ERASE_PAYLOAD, said, **members))
    made.lines[place] = erase_line(made.lines[place])
    return made


@attempt(KEY_HOLDER, DETECTED, "TAMPERED entry.payload_missing")
def erases_a_payload_without_a_word(ground: Ground) -> Left:
    """Puts null in its place: every hash and signature holds still."""
    made = Story()
    made.lines[4] = erase_line(made.lines[4])
    return Left(made.files())


@attempt(KEY_HOLDER, DETECTED, "TAMPERED entry.payload_missing")
def erases_a_payload_by_an_erasure_that_failed(ground: Ground) -> Left:
    """The entry that says so is of status FAILED."""
    return Left(erased(Story(), 4, execution_status="FAILED").files())


@attempt(KEY_HOLDER, DETECTED, "TAMPERED entry.payload_missing")
def erases_another_payload_than_is_said(ground: Ground) -> Left:
    """The entry names entry 5, and the payload of entry 4 is gone."""
    made = Story()
    kept = made.lines[5]
    erased(made, 5)
    made.lines[4], made.lines[5] = erase_line(made.lines[4]), kept
    return Left(made.files())


@attempt(KEY_HOLDER, DETECTED, "TAMPERED erasure.held", "VERIFIED")
def erases_a_payload_under_a_hold(ground: Ground) -> Left:
    """A hold keeps it. Who may erase what is left out by the one-file verifier."""
    made = Story()
    made.append(
        change_of(PLACE_LEGAL_HOLD, {"name": "case", "start": 0, "stop": None, "reason": "litigation"})
    )
    return Left(erased(made, 4).files())


@attempt(KEY_HOLDER, DETECTED, "TAMPERED entry.change")
def erases_what_made_the_rules(ground: Ground) -> Left:
    """The payload of a rotation: what keys there are would not be known any more."""
    made = Story()
    made.rotate(ALL_KEYS[1])
    return Left(erased(made, 8).files())


@attempt(KEY_HOLDER, DETECTED, "TAMPERED entry.action_hash")
def puts_another_payload_in(ground: Ground) -> Left:
    """Only the payload is exchanged, not the hash that binds it."""
    made = Story()
    made.lines[4] = made.lines[4].replace(b'"number":4', b'"number":9')
    return Left(made.files())
