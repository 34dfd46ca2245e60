"""Pointers in a whole log: what the writer states, what verifiers compare, what only the log may say."""

import asyncio
import contextlib
import threading
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.audits import codes, verify
from tests.support.logs import Key, LogMaker, create, draft, drafts
from tests.support.shapes import ACTION, BOOT, DECISION, VIOLATION

from attestlog._internal.config import change_config, find_config
from attestlog._internal.core.entry import Entry, EventType, parse_draft
from attestlog._internal.core.pointer import Pointers, point_to
from attestlog._internal.core.policy import parse_policy
from attestlog._internal.core.policy_change import set_policy_payload
from attestlog._internal.core.report import Verdict
from attestlog._internal.core.reserved import ERASING, KNOWN, OF_THE_LOG
from attestlog._internal.core.rules import Rules
from attestlog._internal.judging import scan as scanning
from attestlog._internal.log import Log
from attestlog._internal.storage.files.reader import FileSource
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifier import verify as one_file
from attestlog._internal.verifying import source
from attestlog._internal.verifying import whole as verifying
from attestlog.errors import MalformedEntryError, RuleChangeError, SignerError
from attestlog.testing import MemorySigner, check_log

FIRST, SECOND = Key(1), Key(2)


def change(name: str, payload: Any, **members: Any) -> dict[str, Any]:
    action_type = f"attestlog.{name}"
    return draft(0, event_type="CHANGE", action_type=action_type, action_payload=payload, **members)


def policy(rules: Rules, floor: float) -> dict[str, Any]:
    return change("set_policy", set_policy_payload(rules, parse_policy({"safety_floor": floor})))


def expected_pointers(entries: list[Entry]) -> list[Pointers]:
    """By the definition, over all entries: the last change before each, of those that all hold here."""
    found, rules, holds = [], None, None
    for number, entry in enumerate(entries):
        found.append(Pointers(rules, holds) if number else Pointers())
        does_act = (entry.event_type, entry.execution_status) == ("CHANGE", "SUCCESS")
        if number == 0 or (does_act and entry.action_type.endswith(("_policy", "_signing_key"))):
            rules = point_to(entry)
        elif does_act and entry.action_type.endswith("_legal_hold"):
            holds = point_to(entry)
    return found


def check(path: Path) -> list[Entry]:
    """Whole by every verifier, each entry with the pointers that it must have; its entries."""
    entries = check_log(path)
    assert [Pointers.of(entry) for entry in entries] == expected_pointers(entries)
    report = one_file.Report()
    one_file.verify(report, path, None, one_file.Trust([], [], []))
    assert report.verdict == "VERIFIED", report.facts
    return entries


# --- the writer ---


@pytest.mark.parametrize("batch", [True, False])
def test_each_entry_names_the_rules_it_stands_under(tmp_path: Path, batch: bool) -> None:
    path = tmp_path / "log"
    with create(path, batch=batch, segment_entries=8) as log:
        log.append_many(drafts(range(3)))
        log.rotate_key(MemorySigner("Ed25519"))
        log.append_many([draft(4), policy(log.rules, 5), draft(6), draft(7)])
        log.add_hold("case-7", reason="litigation", actor_id="counsel")
        log.append_many(drafts(range(5)))
        log.release_hold("case-7", reason="settled", actor_id="counsel")
        log.append(policy(log.rules, 6) | {"execution_status": "FAILED"})
        log.append(draft(1))
        assert log.holds == {}
    with Log.open(path) as log:
        log.append(draft(2))
    assert len(check(path)) == 19


def test_a_batch_never_reaches_across_a_change(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with create(path) as log:
        old = log.rules.key_ids[0]
        log.rotate_key(MemorySigner())
        revoked = {"key_id": old, "last_trusted_sequence_number": 1, "reason": "retired"}
        changes = [policy(log.rules, 5), change("revoke_signing_key", revoked)]
        waiting = [draft(1), draft(2), changes[0], draft(4), draft(5), changes[1], draft(7), draft(8)]
        log._append([log._writer.prepare(one, by_log=one is changes[1]) for one in waiting])
    assert [entry.signature_algorithm.endswith("+BATCH") for entry in check(path)[2:]] == [
        True, True, False, True, True, False, True, True
    ]  # fmt: skip


def test_pointers_are_those_of_the_turn_and_not_of_the_preparing(tmp_path: Path) -> None:
    """A rotation or a hold by another process needs no new preparation; the pointer is the new one."""
    path = tmp_path / "log"
    with create(path, clock=None) as log, Log.open(path) as other:
        prepared = log._writer.prepare(draft(1))
        other.add_hold("case-7", reason="litigation", actor_id="counsel")
        other.rotate_key(MemorySigner())
        (receipt,) = log._append([prepared])
        assert receipt.entry.entry_id == prepared.entry_id
    entries = check(path)
    assert Pointers.of(entries[3]) == Pointers(point_to(entries[2]), point_to(entries[1]))


def test_two_processes_and_threads_name_the_same_rules(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with create(path, clock=None, segment_entries=16) as first, Log.open(path) as second:

        def work(log: Log, name: str) -> None:
            for number in range(6):
                log.append_many(drafts(range(number)))
                log.add_hold(f"{name}-{number}", reason="litigation", actor_id="counsel")
                for _ in range(20):  # the other one may have changed it meanwhile
                    with contextlib.suppress(RuleChangeError):
                        log.append(policy(log.rules, number))
                        break

        threads = [threading.Thread(target=work, args=given) for given in ((first, "a"), (second, "b"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(first.holds) == 12
    assert len(check(path)) == 1 + 2 * (15 + 12)


def test_a_host_whose_key_was_retired_writes_nothing_and_says_by_which_entry(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with create(path, clock=None) as log, Log.open(path) as other:
        named = find_config(open_source(path))
        assert named is not None
        other.rotate_key(MemorySigner())
        change_config(open_source(path), partial(msgspec.structs.replace, signers=named.signers))
        with pytest.raises(SignerError, match="retired by entry 1"):
            log.append(draft(1))
    assert len(check_log(path)) == 2


def test_a_change_that_does_not_hold_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with create(path) as log:
        for bad in (change("set_policy", {}), change("place_legal_hold", {})):
            with pytest.raises(RuleChangeError):
                log.append(bad)
        with pytest.raises(RuleChangeError):
            log.admit_key({})
        log.append(draft(1))
    assert len(check(path)) == 2


# --- what belongs to the log ---


@pytest.mark.parametrize(
    "environment",
    [{"attestlog": "1.0.0"}, {"attestlog_rules": "right"}, {"attestlog_rules": "0:x"}, {"attestlog_": ""}],
)
def test_a_draft_that_states_what_the_log_asserts_is_refused(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    with create(tmp_path / "log") as log:
        if environment == {"attestlog_rules": "right"}:
            environment = {"attestlog_rules": str(log.rules.pointers.rules)}
        given = {**draft(1), "environment": environment}
        for append in (
            log.append,
            log.submit,
            log.check,
            log.request,
            lambda members: log.append_many([members]),
        ):
            with pytest.raises(
                MalformedEntryError, match=r"environment.attestlog\w*: is filled in by the log"
            ):
                append(given)
        assert log.head().size == 1


@pytest.mark.parametrize("name", sorted(OF_THE_LOG))
def test_only_the_log_appends_what_it_did(tmp_path: Path, name: str) -> None:
    with create(tmp_path / "log") as log:
        with pytest.raises(MalformedEntryError, match="by the log alone"):
            log.append(draft(1, event_type="CHANGE", action_type=name))
        log.append(draft(1, event_type="DECISION", action_type=name))


@pytest.mark.parametrize("name", ["Attestlog.set_policy", "attestlog\uff0eset_policy", "attestlog.unknown"])
def test_names_that_look_like_the_log_s_own_are_refused_however_they_come(tmp_path: Path, name: str) -> None:
    with create(tmp_path / "log") as log:
        for kind in EventType:
            given = draft(1, event_type=str(kind), action_type=name)
            for append in (
                log.append,
                log.submit,
                log.check,
                log.request,
                lambda members: log.append_many([draft(2), members]),
                lambda members: log.append_unredacted([members]),
                lambda members: asyncio.run(log.append_async(members)),
                lambda members: log.append(parse_draft(members)),
            ):
                with pytest.raises(MalformedEntryError, match="belongs to the log"):
                    append(given)
        assert log.head().size == 1


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_no_action_boot_or_shutdown_has_a_name_of_the_log(tmp_path: Path, name: str) -> None:
    with create(tmp_path / "log") as log:
        for kind in (EventType.ACTION, EventType.BOOT, EventType.SHUTDOWN):
            with pytest.raises(MalformedEntryError, match="is a change of the log itself"):
                log.append(draft(1, event_type=str(kind), action_type=name))
        for append in (log.action, log.boot, log.shutdown):
            with pytest.raises(MalformedEntryError, match="is a change of the log itself"):
                append(name, actor_id="agent")
        assert log.head().size == 1


@pytest.mark.parametrize("name", sorted(OF_THE_LOG - ERASING))
def test_no_approval_is_asked_for_what_only_the_log_appends(tmp_path: Path, name: str) -> None:
    with create(tmp_path / "log") as log, pytest.raises(MalformedEntryError, match="by the log alone"):
        log.request(draft(1, event_type="CHANGE", action_type=name))


def test_a_guarded_act_of_a_name_of_the_logs_does_not_begin(tmp_path: Path) -> None:
    with create(tmp_path / "log") as log:
        for event_type, name in (("ACTION", "attestlog.set_policy"), ("CHANGE", "attestlog.erase_payload")):
            acted = False
            with (
                pytest.raises(MalformedEntryError, match="action_type"),
                log.guard(event_type=event_type, action_type=name, actor_id="agent"),  # type: ignore[arg-type]
            ):
                acted = True
            assert not acted
        assert log.head().size == 1


def test_what_the_log_fills_in_is_never_redacted(tmp_path: Path) -> None:
    redaction = {"fields": ["attestlog*", "password"], "custom_patterns": {"hash": "[0-9a-f]{64}"}}
    with create(tmp_path / "log", policy={"redaction": redaction}) as log:
        receipt = log.append({**draft(1), "environment": {"note": "password", "seen": "ab" * 32}})
        environment = receipt.entry.environment
        assert Pointers.of(receipt.entry) == log.rules.pointers
        assert environment["attestlog"]
        assert environment["note"] == "password"
        assert "ab" * 32 not in environment["seen"]
    check(tmp_path / "log")


@pytest.mark.parametrize(
    "names", [[], ["a"], ["z"], ["a", "z"], ["attestlogs", "attestloga"], ["", "\U0001f600"]]
)
def test_pointers_stand_in_their_places_whatever_else_there_is(tmp_path: Path, names: list[str]) -> None:
    with create(tmp_path / "log") as log:
        log.add_hold("case-7", reason="litigation", actor_id="counsel")
        log.append({**draft(1), "environment": dict.fromkeys(names, "x")})
    entries = check(tmp_path / "log")
    assert set(names) <= set(entries[-1].environment)


def test_the_five_events_of_the_schema(tmp_path: Path) -> None:
    """`modify_policy_rule` is the user's word, and three approvals that nobody can check are no quorum."""
    approvals = [
        {"signer": signer, "signature": "0x123...", "timestamp": "2025-10-30T12:00:00.000000Z"}
        for signer in ("creator", "community", "auditor")
    ]
    changed = {
        "event_type": "CHANGE", "event_category": "CRITICAL", "action_type": "modify_policy_rule",
        "actor_type": "HUMAN", "actor_id": "maintainer", "required_approvals": 3,
        "received_approvals": approvals,
        "action_payload": {
            "proposal_id": "prop_001", "change_description": "lower the floor", "old_value": 7.0,
            "new_value": 6.5, "scope": "experimental_modules_only",
        },
        "provided_proofs": [
            {"type": kind, "valid": True, "hash": "0xabc..."}
            for kind in ("safety_floor", "rollback", "k1_state", "pillars")
        ],
    }  # fmt: skip
    with create(tmp_path / "log") as log:
        before = log.rules
        for shape in (ACTION, DECISION, VIOLATION, changed, BOOT):
            log.append(shape)
        assert log.rules is before
    entries = check(tmp_path / "log")
    assert [entry.event_type for entry in entries[1:]] == [
        "ACTION",
        "DECISION",
        "VIOLATION",
        "CHANGE",
        "BOOT",
    ]
    assert entries[4].quorum_met is False


# --- verifiers ---


@pytest.fixture
def log(tmp_path: Path) -> LogMaker:
    """12 entries in segments of 3; entry 4 rotates, entry 8 sets a policy."""
    made = LogMaker(tmp_path / "log", key=FIRST, segment_entries=3)
    made.append(draft(1))
    made.append(draft(2))
    made.append(draft(3))
    made.rotate(SECOND)
    for number in range(5, 8):
        made.append(draft(number))
    made.append(policy(made.rules, 5))
    for number in range(9, 12):
        made.append(draft(number))
    return made


def forge(log: LogMaker, number: int, rules: str | None, holds: str | None = None) -> None:
    """As somebody who holds the key: another pointer, and true hashes and signatures."""
    environment = {"os": "test"}
    environment |= {"attestlog_rules": rules} if rules is not None else {}
    environment |= {"attestlog_holds": holds} if holds is not None else {}
    log.reseal(number, key=FIRST if number < 5 else SECOND, environment=environment)


def pointer(log: LogMaker, number: int) -> str:
    return f"{number}:{log.entry(number)['entry_hash']}"


def test_a_wrong_value_is_told_once_with_its_first_entry_and_a_count(log: LogMaker, tmp_path: Path) -> None:
    for number in (9, 10, 11):
        forge(log, number, pointer(log, 4))
    log.lay_out()
    report = verify(log, tmp_path)
    assert report.verdict == Verdict.TAMPERED
    (found,) = report.findings
    assert (found.code, found.sequence_number) == ("entry.rules", 9)
    assert "in 3 entries" in found.message
    assert (found.expected, found.found) == (pointer(log, 8), pointer(log, 4))


def test_wrong_values_are_told_apart_up_to_a_limit(
    log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "WRONG_POINTERS_MAX", 2)
    for number in (9, 10, 11):
        forge(log, number, f"{number}:{'0' * 64}")
    log.lay_out()
    assert codes(verify(log, tmp_path)) == [("entry.rules", 9), ("entry.rules", 10), ("entry.rules", 11)]
    log.append(draft(12))
    forge(log, 12, None)
    log.lay_out()
    assert codes(verify(log, tmp_path, remember=False))[-1] == ("entry.rules", 11)  # 11 and 12 are one


def test_a_hold_that_is_kept_back_is_seen(log: LogMaker, tmp_path: Path) -> None:
    payload = {"name": "case-7", "start": 0, "stop": None, "reason": "litigation"}
    log.append(change("place_legal_hold", payload))
    log.append(draft(13))
    forge(log, 13, pointer(log, 8))
    log.lay_out()
    (found,) = verify(log, tmp_path).findings
    assert (found.code, found.sequence_number, found.found) == ("entry.rules", 13, None)
    assert "attestlog_holds is missing" in found.message


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("size_bytes", [1_000, 4_000, source.PIECE_SIZE_MAX_BYTES])
def test_pieces_and_workers_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_bytes: int, workers: int
) -> None:
    monkeypatch.setattr(verifying, "PARALLEL_MIN_BYTES", 0)
    monkeypatch.setattr(source, "piece_size", lambda *_: size_bytes)
    log = LogMaker(tmp_path / "log", key=FIRST)
    log.append(*drafts(range(6)))
    log.rotate(SECOND)
    log.append(*drafts(range(4)))
    log.append(policy(log.rules, 5))
    for number in range(6):
        log.append(draft(number))
    log.lay_out()
    assert codes(verify(log, tmp_path, workers=workers, remember=False)) == []
    for number in (14, 16):
        forge(log, number, pointer(log, 7))
    log.lay_out()
    assert codes(verify(log, tmp_path, workers=workers, remember=False)) == [("entry.rules", 14)]


# --- what was not read ---


def lose(log: LogMaker, first: int) -> None:
    log.segment(first).unlink()
    log.segment(first).mkdir()  # cannot be read as a file


def test_the_rules_are_known_again_where_nothing_changed(log: LogMaker, tmp_path: Path) -> None:
    log.lay_out()
    lose(log, 9)
    assert codes(verify(log, tmp_path)) == [("log.unreadable", 9)]


def test_after_a_gap_without_changes_everything_is_judged(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log", key=FIRST, segment_entries=3)
    for number in range(1, 12):
        log.append(draft(number))
    log.reseal(10, key=SECOND)
    log.lay_out()
    lose(log, 3)
    assert codes(verify(log, tmp_path)) == [
        ("log.unreadable", 3), ("entry.signing_key", 10), ("entry.signing_key", 11)
    ]  # fmt: skip


def test_after_a_gap_with_a_change_the_rules_are_unknown(log: LogMaker, tmp_path: Path) -> None:
    log.lay_out()
    lose(log, 3)
    report = verify(log, tmp_path)
    assert report.verdict == Verdict.UNKNOWN
    assert codes(report) == [("log.unreadable", 3), ("entry.unjudged", 6)]
    assert report.findings[1].found == 6


def test_the_rules_are_known_again_once_their_list_can_be_fetched(
    log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The segment cannot be read from its start, but the change in it is found: as from an archive."""
    log.lay_out()
    (tmp_path / "away").mkdir()
    moved = log.segment(3).rename(tmp_path / "away" / "segment")
    log.segment(3).mkdir()

    lines = moved.read_bytes().splitlines()

    def line(self: FileSource, number: int) -> bytes:
        return lines[number - 3] if 3 <= number < 6 else log.lines[number]

    monkeypatch.setattr(FileSource, "line", line)
    assert codes(verify(log, tmp_path)) == [("log.unreadable", 3)]


def test_rules_do_not_go_back_over_a_gap(log: LogMaker, tmp_path: Path) -> None:
    forge(log, 9, pointer(log, 0))
    log.lay_out()
    lose(log, 6)
    assert codes(verify(log, tmp_path))[:2] == [("log.unreadable", 6), ("entry.rules", 9)]


def test_an_entry_of_a_newer_attestlog_may_change_rules_that_are_not_known_here(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log", key=FIRST)
    log.append(change("set_colour", {"colour": "red"}))
    log.append(draft(2))  # its pointers say that it changed nothing
    log.append(change("set_colour", {"colour": "blue"}))
    log.append(draft(4))
    log.append(draft(5))
    log.lay_out()
    assert codes(verify(log, tmp_path, remember=False)) == [("entry.newer", 1), ("entry.newer", 3)]
    for number in (4, 5):
        log.reseal(number, environment={"attestlog_rules": pointer(log, 3)})
    log.lay_out()
    report = verify(log, tmp_path, remember=False)
    assert report.verdict == Verdict.UNKNOWN
    assert codes(report) == [("entry.newer", 1), ("entry.newer", 3), ("entry.unjudged", 4)]
