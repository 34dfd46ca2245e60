"""Erasures reach the copies, and what is not done there is reported."""

import errno
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.support.logs import LogMaker, draft, say_range_erased
from tests.support.replicas import Site, site
from tests.support.stepping import killed_at, take

import attestlog
from attestlog._internal.config import Signers
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.erasure import Erasure, format_erasure
from attestlog._internal.core.replication import Shipment, log_id
from attestlog._internal.replica import Replica
from attestlog._internal.replica.erasing import unerased
from attestlog._internal.replication.client import ReplicaClient
from attestlog._internal.restoring import RestoreDemands, restore_log
from attestlog._internal.server.tokens import Scope, TokenFile
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifying import judge_log
from attestlog.errors import FullError, VerificationError
from attestlog.testing import MemorySigner

ORIGIN = "example.com/made"
SECRET = "a name that must go"


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, "one") as made:
        yield made


@pytest.fixture
def log(tmp_path: Path) -> Iterator[attestlog.Log]:
    with attestlog.create(
        tmp_path / "log", origin=ORIGIN, signer=MemorySigner(), checkpoint_signer=MemorySigner("Ed25519"),
        erasable_payloads=True,
    ) as made:  # fmt: skip
        for number in range(4):
            made.action("keep", actor_id="a", action_payload={"name": SECRET, "number": number})
        yield made


def lines(log: attestlog.Log, start: int = 0) -> list[bytes]:
    return list(open_source(log.path).lines(start))


def payloads(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in (path / "entries").iterdir())


def test_what_is_erased_is_erased_in_the_copy(log: attestlog.Log, one: Site) -> None:
    one.replica.take(log_id(ORIGIN), Shipment(0, lines(log)))
    log.erase(2, reason="asked for", actor_id="dpo")
    log.action("later", actor_id="a")
    log.erase(3, reason="asked for", actor_id="dpo")
    one.replica.take(log_id(ORIGIN), Shipment(5, lines(log, 5), log.checkpoint()))
    assert payloads(one.copy).count(SECRET.encode()) == 2
    assert payloads(one.copy) == payloads(log.path)
    report = judge_log(one.copy, remember=False)
    assert (report.verdict, report.erased_payloads) == ("VERIFIED", 2)
    assert unerased(open_source(one.copy)) == []
    client = ReplicaClient(one.at, ORIGIN)
    assert client.unerased() == []
    client.close()


def test_entry_and_erasure_may_come_together(log: attestlog.Log, one: Site) -> None:
    before = lines(log)
    log.erase(2, reason="asked for", actor_id="dpo")
    # As from a writer that read the entry before it was erased.
    one.replica.take(log_id(ORIGIN), Shipment(0, [*before, *lines(log, 5)]))
    assert payloads(one.copy) == payloads(log.path)


def test_an_erasure_under_legal_hold_is_refused_and_the_payload_stays(one: Site, tmp_path: Path) -> None:
    made = LogMaker(tmp_path / "made", origin=ORIGIN)
    made.append(draft(1, action_payload={"name": SECRET}))
    hold = {"name": "case-7", "start": 0, "stop": None, "reason": "a case"}
    erasure = format_erasure(Erasure.of(decode_line(made.lines[1]), "asked for", None))
    for kind, payload in (("attestlog.place_legal_hold", hold), ("attestlog.erase_payload", erasure)):
        made.append(draft(2, event_type="CHANGE", action_type=kind, action_payload=payload))
    one.replica.take(log_id(ORIGIN), Shipment(0, made.lines[:3]))
    with pytest.raises(VerificationError, match="legal hold") as caught:
        one.replica.take(log_id(ORIGIN), Shipment(3, made.lines[3:]))
    assert caught.value.finding == "erasure.held"
    assert SECRET.encode() in payloads(one.copy)
    assert one.held() == 3


def test_an_erasure_in_the_middle_of_a_batch_is_done_too(one: Site, tmp_path: Path) -> None:
    made = LogMaker(tmp_path / "made", origin=ORIGIN)
    made.append(draft(1, action_payload={"name": SECRET}))
    erasure = format_erasure(Erasure.of(decode_line(made.lines[1]), "asked for", None))
    quoted = draft(3, result_data={"event_type": "CHANGE", "action_type": "attestlog.erase_payload"})
    erasing = draft(4, event_type="CHANGE", action_type="attestlog.erase_payload", action_payload=erasure)
    made.append(draft(2), quoted, erasing, draft(5))
    one.replica.take(log_id(ORIGIN), Shipment(0, made.lines))
    assert one.held() == 6
    assert SECRET.encode() not in payloads(one.copy)
    assert judge_log(one.copy, remember=False).erased_payloads == 1


def test_an_erasure_that_could_not_be_done_is_reported_until_it_is(
    log: attestlog.Log, one: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.replica.take(log_id(ORIGIN), Shipment(0, lines(log)))
    log.erase(2, reason="asked for", actor_id="dpo")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    client = ReplicaClient(one.at, ORIGIN)
    with monkeypatch.context() as patch:
        patch.setattr("attestlog._internal.storage.files.erasing._copy", full)
        with pytest.raises(FullError):
            one.replica.take(log_id(ORIGIN), Shipment(5, lines(log, 5)))
        assert client.unerased() == [2]
    one.replica.take(log_id(ORIGIN), Shipment(6, []))
    assert client.unerased() == []
    client.close()
    assert payloads(one.copy) == payloads(log.path)


@pytest.mark.slow
def test_killed_within_an_erasure_it_is_done_by_the_next_turn(log: attestlog.Log, tmp_path: Path) -> None:
    before = lines(log)
    log.erase(2, reason="asked for", actor_id="dpo")
    whole = Shipment(0, [*before, *lines(log, 5)])
    for step in itertools.count():
        root = tmp_path / f"{step}"
        was_killed, _ = killed_at(step, take, root, log_id(ORIGIN), [whole])
        again = Replica(root, "replica.example.com/one", MemorySigner("Ed25519"))
        again.take(log_id(ORIGIN), whole)
        again.close()
        copy = again.path(log_id(ORIGIN))
        assert payloads(copy) == payloads(log.path), step
        assert unerased(open_source(copy)) == []
        shutil.rmtree(root)
        if not was_killed:
            break
    assert step > 20


# --- many ---


def test_a_range_is_erased_in_the_copy(log: attestlog.Log, one: Site) -> None:
    one.replica.take(log_id(ORIGIN), Shipment(0, lines(log)))
    log.erase_many(["keep"], start=2, reason="too old", actor_id="dpo")
    log.action("later", actor_id="a")
    one.replica.take(log_id(ORIGIN), Shipment(5, lines(log, 5), log.checkpoint()))
    assert payloads(one.copy).count(SECRET.encode()) == 1
    assert payloads(one.copy) == payloads(log.path)
    report = judge_log(one.copy, remember=False)
    assert (report.verdict, report.erased_payloads) == ("VERIFIED", 3)
    assert unerased(open_source(one.copy)) == []


def test_a_range_and_its_entries_may_come_together(log: attestlog.Log, one: Site) -> None:
    before = lines(log)
    log.erase_many(["keep"], reason="too old", actor_id="dpo")
    one.replica.take(log_id(ORIGIN), Shipment(0, [*before, *lines(log, 5)]))
    assert payloads(one.copy) == payloads(log.path)


@pytest.mark.parametrize("at_once", [False, True])
def test_a_range_under_legal_hold_is_refused(one: Site, tmp_path: Path, at_once: bool) -> None:
    made = LogMaker(tmp_path / "made", origin=ORIGIN)
    made.append(draft(1, action_payload={"name": SECRET}), draft(2))
    hold = {"name": "case-7", "start": 2, "stop": 3, "reason": "a case"}
    made.append(draft(3, event_type="CHANGE", action_type="attestlog.place_legal_hold", action_payload=hold))
    say_range_erased(made, 1, 3)
    if not at_once:
        one.replica.take(log_id(ORIGIN), Shipment(0, made.lines[:4]))
    with pytest.raises(VerificationError, match="entry 2 is under legal hold") as caught:
        one.replica.take(log_id(ORIGIN), Shipment(0 if at_once else 4, made.lines[0 if at_once else 4 :]))
    assert caught.value.finding == "erasure.held"
    assert SECRET.encode() in payloads(one.copy)


@pytest.mark.parametrize("many", [False, True])
def test_an_erasure_that_describes_another_entry_is_refused(one: Site, tmp_path: Path, many: bool) -> None:
    """As one that names a type that may be erased, of an entry whose type may not."""
    made = LogMaker(tmp_path / "made", origin=ORIGIN)
    made.append(draft(1, action_payload={"name": SECRET}))
    if many:
        say_range_erased(made, 1, 2, changes={"last_entry_hash": "0" * 64})
    else:
        erasure = format_erasure(Erasure.of(decode_line(made.lines[1]), "asked for", None))
        payload = {**erasure, "action_type": "chat"}
        kind = "attestlog.erase_payload"
        made.append(draft(2, event_type="CHANGE", action_type=kind, action_payload=payload))
    one.replica.take(log_id(ORIGIN), Shipment(0, made.lines[:2]))
    with pytest.raises(VerificationError) as caught:
        one.replica.take(log_id(ORIGIN), Shipment(2, made.lines[2:]))
    assert caught.value.finding == "erasure.malformed"
    assert SECRET.encode() in payloads(one.copy)


def test_what_is_left_of_a_range_is_reported(
    log: attestlog.Log, one: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.replica.take(log_id(ORIGIN), Shipment(0, lines(log)))
    log.erase_many(["keep"], reason="too old", actor_id="dpo")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    client = ReplicaClient(one.at, ORIGIN)
    with monkeypatch.context() as patch:
        patch.setattr("attestlog._internal.storage.files.erasing._copy", full)
        with pytest.raises(FullError):
            one.replica.take(log_id(ORIGIN), Shipment(5, lines(log, 5)))
        assert client.unerased() == [1, 2, 3, 4]
    one.replica.take(log_id(ORIGIN), Shipment(6, []))
    assert client.unerased() == []
    client.close()


@pytest.mark.parametrize("many", [False, True])
def test_what_the_replica_had_not_erased_is_not_restored(
    log: attestlog.Log, one: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    one.replica.take(log_id(ORIGIN), Shipment(0, lines(log), log.checkpoint()))
    if many:
        log.erase_many(["keep"], reason="too old", actor_id="dpo")
    else:
        log.erase(2, reason="asked for", actor_id="dpo")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("attestlog._internal.storage.files.erasing._copy", full)
        with pytest.raises(FullError):
            one.replica.take(log_id(ORIGIN), Shipment(5, lines(log, 5)))
    token = tmp_path / "reader.token"
    token.write_text(TokenFile(one.replica.directory).mint("reader", [Scope.READ], ORIGIN))
    at = msgspec.structs.replace(one.at, token_file=str(token))
    restored, client = tmp_path / "restored", ReplicaClient(at, ORIGIN)
    assert client.unerased() == ([1, 2, 3, 4] if many else [2])
    signers = Signers(entry="none:", checkpoint="none:")
    restore_log(str(restored), client, signers, RestoreDemands(state_dir=tmp_path / "state", is_forced=True))
    client.close()
    assert payloads(restored) == payloads(log.path)
    assert "erasure.unfinished" not in judge_log(restored, remember=False).finding_counts
