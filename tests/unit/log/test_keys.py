"""Rotating and revoking the key of an open log: who signs what, in this process and in others."""

import asyncio
import threading
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.logs import create, draft, drafts
from tests.support.people import PEOPLE, governed

from attestlog._internal.approving import consent_to_admission
from attestlog._internal.config import Signers, change_config, read_config
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.genesis import Settings
from attestlog._internal.core.report import Verdict
from attestlog._internal.core.rotation import (
    Admission,
    Revocation,
    Rotation,
    admission_message,
    format_admission,
    format_revocation,
    format_rotation,
    rotation_message,
)
from attestlog._internal.log import Log
from attestlog._internal.log.callers import Caller
from attestlog._internal.log.drafts import change_draft
from attestlog._internal.storage.files.reader import FileSource
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifying import judge_log
from attestlog.errors import KeyFileError, MalformedEntryError, RuleChangeError, SignerError
from attestlog.testing import FaultSigner, ManualClock, MemorySigner, check_log


def _name(path: Path, named: Signers) -> None:
    """As another process would write it."""
    change_config(open_source(path), partial(msgspec.structs.replace, signers=named))


def signers(path: Path) -> Signers:
    return read_config(open_source(path)).signers


def signed_by(path: Path) -> list[str]:
    """The key of each entry."""
    return [decode_line(line).signing_key_id for line in open_source(path).lines()]


def test_two_rotations(tmp_path: Path) -> None:
    path = tmp_path / "log"
    keys = [MemorySigner(), MemorySigner("Ed25519"), MemorySigner()]
    with create(path, signer=keys[0]) as log:
        log.append_many(drafts(range(3)))
        receipts = [log.rotate_key(keys[1], actor_id="operator", actor_type="HUMAN")]
        log.append_many(drafts(range(3)))
        receipts.append(log.rotate_key(keys[2].uri))
        log.append(draft(1))
        assert log.rules.key_ids == [keys[2].public_key.key_id]
    assert [receipt.sequence_number for receipt in receipts] == [4, 8]
    assert receipts[0].entry.actor_id == "operator"
    ids = [key.public_key.key_id for key in keys]
    assert signed_by(path) == [ids[0]] * 5 + [ids[1]] * 4 + [ids[2]]
    assert signers(path).entry == keys[2].uri
    check_log(path, receipts)
    with Log.open(path) as log:
        log.append(draft(2))
    assert signed_by(path)[-1] == ids[2]


@pytest.mark.parametrize("before", range(4))
def test_a_rotation_at_a_segment_boundary(tmp_path: Path, before: int) -> None:
    path = tmp_path / "log"
    with create(path, segment_entries=3) as log:
        log.append_many(drafts(range(before)))
        log.rotate_key(MemorySigner("Ed25519"))
        log.append_many(drafts(range(4)))
    check_log(path)


def test_a_key_file_is_made_where_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with create(path, signer=f"file:{tmp_path / 'old.pem'}") as log:
        log.rotate_key()
        log.rotate_key(f"file:{tmp_path / 'new.pem'}", algorithm="Ed25519")
        log.append(draft(1))
    assert signers(path).entry == f"file:{tmp_path / 'new.pem'}"
    algorithms = [decode_line(line).signature_algorithm for line in open_source(path).lines()]
    assert algorithms == ["ECDSA-P256-SHA256"] * 3 + ["Ed25519"]
    (tmp_path / "old.pem").unlink()
    with Log.open(path) as log:
        log.append(draft(2))
    check_log(path)


def test_rotating_to_a_key_that_was_in_force_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    old, new = MemorySigner(), MemorySigner()
    again = MemorySigner(key=old._key)
    with create(path, signer=old) as log:
        log.rotate_key(new)
        with pytest.raises(RuleChangeError, match="was in force before"):
            log.rotate_key(again)
        log.append(draft(1))
        assert log.head().size == 3
    check_log(path)
    assert signers(path).entry == new.uri


def test_a_new_signer_that_fails_leaves_the_old_one_in_force(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with create(path) as log:
        new = FaultSigner(MemorySigner())
        new.answer = lambda _: b"no signature"
        with pytest.raises(SignerError, match="does not verify"):
            log.rotate_key(new)
        log.append(draft(1))
        assert log.head().size == 2
    check_log(path)


def test_a_log_with_erasable_payloads_rotates_too(tmp_path: Path) -> None:
    path = tmp_path / "log"
    settings = Settings(erasable_payloads=True)
    with create(path, settings=settings) as log:
        log.rotate_key(MemorySigner())
        assert "_salt" in (log.append(draft(1)).entry.action_payload or {})
    check_log(path)


def test_a_key_is_revoked_after_it_was_rotated(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with create(path) as log:
        (old,) = log.rules.key_ids
        with pytest.raises(RuleChangeError, match="is the only one in force"):
            log.revoke_key(old, reason="stolen", last_trusted=0)
        log.rotate_key(MemorySigner())
        with pytest.raises(RuleChangeError, match="never was in force"):
            log.revoke_key("0" * 64, reason="stolen", last_trusted=0)
        receipt = log.revoke_key(old, reason="stolen", last_trusted=1, actor_type="HUMAN")
        assert receipt.entry.event_category == "CRITICAL"
        assert log.rules.terms[old].last_trusted == 1
        log.append(draft(1))
    with Log.open(path) as log:
        assert log.rules.terms[old].revoked_at == receipt.sequence_number
    check_log(path)


def revoked(key_id: str, last_trusted: int) -> dict[str, Any]:
    """The payload of a revocation."""
    one = Revocation(key_id=key_id, last_trusted_sequence_number=last_trusted, reason="not needed")
    return format_revocation(one)


def key_changes(log: Log) -> dict[str, dict[str, Any]]:
    """A rotation, an admission and a revocation that would hold now; the log has two keys in force."""
    signing = log.append(draft(1)).entry.signing_key_id
    (other,) = set(log.rules.key_ids) - {signing}
    new = MemorySigner()
    rotating = rotation_message(log.origin, signing, new.public_key.key_id, log.head().size)
    admitting = admission_message(log.origin, log.rules.genesis_hash, new.public_key.key_id)
    payloads = {
        "rotate": format_rotation(Rotation(new.public_key, new.sign(rotating))),
        "admit": format_admission(Admission(new.public_key, new.sign(admitting), "one more")),
        "revoke": revoked(other, log.head().size - 1),
    }
    return {
        name: draft(
            0, event_type="CHANGE", action_type=f"attestlog.{name}_signing_key", action_payload=payload
        )
        for name, payload in payloads.items()
    }


@pytest.mark.parametrize("name", ["rotate", "admit", "revoke"])
def test_a_caller_who_appends_a_change_of_keys_is_refused(tmp_path: Path, name: str) -> None:
    """Where the policy asks nobody, an appender could make their own key the log's, or take one away."""
    path, second = tmp_path / "log", MemorySigner()
    with create(path) as log:
        log.admit_key(consent_to_admission(path, second, label="second"))
        change = key_changes(log)[name]
        assert log.request(change).draft["action_type"] == change["action_type"]  # people may be asked
        caller = Caller("token:agent", "once")
        for append in (
            log.append,
            log.check,
            log.submit,
            lambda one: log.append_many([one]),
            lambda one: log.append_unredacted([one]),
            lambda one: log.append_by(caller, [one]),
            lambda one: asyncio.run(log.append_async(one)),
        ):
            with pytest.raises(MalformedEntryError, match="only where keys are managed"):
                append(change)
        assert log.head().size == 3
        log.append({**change, "execution_status": "FAILED"})  # a record
        keys = log.rules.key_ids
        log._append_own(key_changes(log)[name])  # nothing else was wrong with it
        assert log.rules.key_ids != keys


def test_keys_are_admitted_and_revoked_with_the_approvals_that_the_policy_asks_for(tmp_path: Path) -> None:
    path, second = tmp_path / "log", MemorySigner()
    rules = {"keys": {"action_types": ["attestlog.*_signing_key"], "required_approvals": 1}}
    with create(path, policy=governed(rules=rules)) as log:
        consent = consent_to_admission(path, second, label="second")
        with pytest.raises(RuleChangeError):
            log.admit_key(consent)
        members = {"actor_id": "operator"}
        change = change_draft("attestlog.admit_signing_key", consent, members)
        log.admit_key(
            consent, actor_id="operator", received_approvals=[PEOPLE[0].approve(change, log.rules.log)]
        )
        key_id = second.public_key.key_id
        with pytest.raises(RuleChangeError):
            log.revoke_key(key_id, reason="not needed", last_trusted=1)
        change = change_draft("attestlog.revoke_signing_key", revoked(key_id, 1), members)
        approvals = [PEOPLE[0].approve(change, log.rules.log)]
        log.revoke_key(
            key_id, reason="not needed", last_trusted=1, actor_id="operator", received_approvals=approvals
        )
        assert key_id not in log.rules.key_ids
    check_log(path)


def test_a_change_written_by_hand_counts_as_well(tmp_path: Path) -> None:
    path = tmp_path / "log"
    old, new = MemorySigner(), MemorySigner()
    with create(path, signer=old) as log:
        message = rotation_message(log.origin, old.public_key.key_id, new.public_key.key_id, 3)
        change = draft(0, event_type="CHANGE", action_type="attestlog.rotate_signing_key")
        change["action_payload"] = format_rotation(Rotation(new.public_key, new.sign(message)))
        with pytest.raises(RuleChangeError):
            log._append_own(change)  # as entry 1 it does not hold
        log.append_many(drafts([1, 2]))
        log._append_own(change)
        # Now the log needs a signer it was not given, and the configuration names none that is right.
        with pytest.raises(SignerError, match="holds key") as caught:
            log.append(draft(3))
        assert caught.value.expected == [new.public_key.key_id]
        _name(path, Signers(entry=new.uri, checkpoint=signers(path).checkpoint))
        log.append(draft(3))
    check_log(path)
    assert signed_by(path)[-1] == new.public_key.key_id


def test_a_list_around_a_change_is_cut_and_signed_by_the_keys_in_force(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with create(path) as log:
        (old,) = log.rules.key_ids
        log.rotate_key(MemorySigner())
        payload = {"key_id": old, "last_trusted_sequence_number": 1, "reason": "stolen"}
        change = draft(
            0, event_type="CHANGE", action_type="attestlog.revoke_signing_key", action_payload=payload
        )
        waiting = [*drafts(range(3)), change, *drafts(range(3, 6))]
        receipts = log._append([log._writer.prepare(one, by_log=one is change) for one in waiting])
    entries = check_log(path, receipts)
    assert [entry.signature_algorithm.endswith("+BATCH") for entry in entries[2:]] == [
        True, True, True, False, True, True, True
    ]  # fmt: skip


# --- others ---


def test_a_rotation_by_another_process_while_the_log_is_open(tmp_path: Path) -> None:
    path = tmp_path / "log"
    new = MemorySigner()
    with create(path, clock=None) as log, Log.open(path) as other:
        log.append(draft(1))
        other.rotate_key(new)
        other.append(draft(2))
        log.append(draft(3))
        other.append(draft(4))
        assert log.rules.key_ids == [new.public_key.key_id]
    check_log(path)


def test_a_process_that_cannot_open_the_new_signer_says_which_key_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "log"
    new = tmp_path / "new.pem"
    with create(path, clock=None) as log, Log.open(path) as other:
        other.rotate_key(f"file:{new}")
        moved = new.rename(tmp_path / "elsewhere.pem")
        with pytest.raises(KeyFileError, match=r"new\.pem"):
            log.append(draft(1))
        moved.rename(new)
        log.append(draft(1))
    check_log(path)


@pytest.mark.parametrize("lost", [["new"], ["old", "new"]])
def test_after_a_rotation_cut_short_a_lost_signer_is_named_by_its_key(
    tmp_path: Path, lost: list[str]
) -> None:
    path = tmp_path / "log"
    old, new = (f"file:{tmp_path / name}.pem" for name in ("old", "new"))
    with create(path, signer=old) as log:
        log.rotate_key(new)
        (key_id,) = log.rules.key_ids
        # As a crash leaves it after the entry is durable.
        named = signers(path)
        _name(path, Signers(entry=[new, old], checkpoint=named.checkpoint))
    for name in lost:
        (tmp_path / f"{name}.pem").rename(tmp_path / f"{name}.away")
    with pytest.raises(SignerError, match=f"the log is signed by {key_id[:16]}") as caught:
        Log.open(path)
    assert caught.value.expected == [key_id]
    (tmp_path / "new.away").rename(tmp_path / "new.pem")
    with Log.open(path, clock=ManualClock()) as log:
        log.append(draft(1))
    assert signers(path) == Signers(entry=[new, old], checkpoint=named.checkpoint)
    check_log(path)


def test_rotations_while_threads_append(tmp_path: Path) -> None:
    path = tmp_path / "log"
    receipts: list[Any] = []
    with create(path) as log:
        stop = threading.Event()

        def append() -> None:
            while not stop.is_set():
                receipts.append(log.append(draft(1)))

        threads = [threading.Thread(target=append) for _ in range(4)]
        for thread in threads:
            thread.start()
        rotations = [log.rotate_key(MemorySigner("Ed25519")) for _ in range(5)]
        stop.set()
        for thread in threads:
            thread.join()
    check_log(path, [*receipts, *rotations])


# --- opening ---


@pytest.fixture
def rotated(tmp_path: Path) -> Path:
    """Three segments; rotated in the first and in the second; closed."""
    path = tmp_path / "rotated"
    with create(path, segment_entries=4) as log:
        log.append(draft(1))
        log.rotate_key(MemorySigner())
        log.append_many(drafts(range(3)))
        log.rotate_key(MemorySigner())
        log.append_many(drafts(range(5)))
    return path


def test_opening_after_a_clean_close_reads_the_changes_and_no_other_entries(
    rotated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, read = FileSource.line, list[int]()

    def line(self: FileSource, sequence_number: int) -> bytes:
        read.append(sequence_number)
        return real(self, sequence_number)

    monkeypatch.setattr(FileSource, "line", line)
    with Log.open(rotated) as log:
        assert [number for number in read if number] == [11, 11, 6, 2]
        log.append(draft(1))
    with Log.open(rotated) as log:
        assert len(log.rules.terms) == 3


def test_a_file_that_claims_to_know_the_rules_is_not_even_read(rotated: Path) -> None:
    """The fault that made a writer forget legal holds, and go on with a key that was retired."""
    (rotated / "rules.jsonl").write_bytes(
        b'{"format_version":1,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":12}\n'
    )
    with Log.open(rotated) as log:
        assert len(log.rules.terms) == 3
    assert judge_log(rotated, remember=False).verdict == Verdict.VERIFIED
