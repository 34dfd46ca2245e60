"""A signer that fails and comes back: the log tells of it, in the first batch that is signed again."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import contents, create, draft, drafts

from attestlog._internal.core.entry import Entry
from attestlog._internal.core.reserved import SIGNER_OUTAGE
from attestlog._internal.core.signature import BATCH_ENTRIES_MAX
from attestlog._internal.log import Log
from attestlog._internal.log.writer import MESSAGE_LENGTH_MAX
from attestlog.errors import FullError, SignerError
from attestlog.testing import FaultSigner, ManualClock, MemorySigner, check_log


def gone(message: bytes) -> bytes:
    raise SignerError("the device is gone", retryable=True)


def refuse(call: Callable[[], Any]) -> None:
    with pytest.raises(SignerError):
        call()


def told(entries: list[Entry]) -> list[tuple[int, dict[str, Any]]]:
    """Where the log tells of an outage, and what."""
    return [
        (entry.sequence_number, entry.action_payload or {})
        for entry in entries
        if entry.action_type == SIGNER_OUTAGE
    ]


@pytest.fixture
def signer() -> FaultSigner:
    return FaultSigner(MemorySigner())


def test_the_first_batch_after_the_return_tells_of_the_outage(tmp_path: Path, signer: FaultSigner) -> None:
    path, clock = tmp_path / "log", ManualClock()
    with create(path, signer=signer, clock=clock) as log:
        log.append(draft(1))
        before = contents(path)
        signer.answer = gone
        for _ in range(3):
            clock.advance(1)
            refuse(lambda: log.append(draft(2)))
        refuse(lambda: log.append_many(drafts([3, 4])))
        assert contents(path) == before
        clock.advance(10)
        signer.answer = None
        receipts = log.append_many(drafts([5, 6]))
        receipts.append(log.append(draft(7)))
    entries = check_log(path, receipts)
    assert [receipt.sequence_number for receipt in receipts] == [3, 4, 5]
    assert told(entries) == [
        (2, {
            "error": "signer", "message": "the device is gone", "refused_entries": 5,
            "first_failure": "2025-10-30T12:00:01.000000Z", "last_failure": "2025-10-30T12:00:03.000000Z",
        })
    ]  # fmt: skip
    entry = entries[2]
    assert (entry.event_type, entry.event_category, entry.actor_type) == ("CHANGE", "ERROR", "SYSTEM")
    # One signature covers the telling and the first entries after it: both are there, or neither.
    assert entry.hsm_signature.split(":")[0] == entries[4].hsm_signature.split(":")[0]


def test_every_outage_is_told_once(tmp_path: Path, signer: FaultSigner) -> None:
    path = tmp_path / "log"
    with create(path, signer=signer) as log:
        for _ in range(2):
            signer.answer = gone
            refuse(lambda: log.append(draft(1)))
            signer.answer = None
            log.append_many(drafts(range(3)))
            log.append(draft(2))
    assert [number for number, _ in told(check_log(path))] == [1, 6]


def test_what_could_not_be_stored_either_is_told_later(
    tmp_path: Path, signer: FaultSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    with create(path, signer=signer) as log:
        signer.answer = gone
        refuse(lambda: log.append(draft(1)))
        signer.answer = None

        def full(*_: object) -> None:
            raise FullError("no space is left")

        with monkeypatch.context() as patch:
            patch.setattr(log._store, "commit", full)
            with pytest.raises(FullError):
                log.append(draft(1))
        receipt = log.append(draft(1))
    assert [number for number, _ in told(check_log(path, [receipt]))] == [1]


def test_a_full_batch_leaves_room_for_it(tmp_path: Path, signer: FaultSigner) -> None:
    path = tmp_path / "log"
    with create(path, signer=signer) as log:
        signer.answer = gone
        refuse(lambda: log.append(draft(0)))
        signer.answer = None
        receipts = log.append_many(drafts(range(BATCH_ENTRIES_MAX)))
    assert len(told(check_log(path, receipts))) == 1


def test_the_last_place_of_a_segment_is_left_to_who_waits(tmp_path: Path, signer: FaultSigner) -> None:
    path = tmp_path / "log"
    with create(path, signer=signer, segment_entries=3) as log:
        log.append(draft(1))
        signer.answer = gone
        refuse(lambda: log.append(draft(2)))
        signer.answer = None
        receipts = [log.append(draft(2)), log.append(draft(3))]
    assert [number for number, _ in told(check_log(path, receipts))] == [3]


def test_everyone_who_waited_gets_an_answer(tmp_path: Path, signer: FaultSigner) -> None:
    path = tmp_path / "log"
    outcomes: list[object] = []
    with create(path, signer=signer) as log:

        def append(number: int) -> None:
            try:
                outcomes.append(log.append(draft(number)))
            except SignerError as error:
                outcomes.append(error)

        signer.gate.clear()
        signer.answer = gone
        threads = [threading.Thread(target=append, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        assert signer.reached.wait(60)
        signer.gate.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert len(outcomes) == 8
        assert all(isinstance(outcome, SignerError) for outcome in outcomes)
        signer.answer = None
        receipt = log.append(draft(9))
    ((_, payload),) = told(check_log(path, [receipt]))
    assert payload["refused_entries"] == 8


def test_a_rotation_while_the_device_is_gone_and_a_change_after_it(
    tmp_path: Path, signer: FaultSigner
) -> None:
    path = tmp_path / "log"
    with create(path, signer=signer) as log:
        (old,) = log.rules.key_ids
        signer.answer = gone
        refuse(lambda: log.append(draft(1)))
        refuse(lambda: log.rotate_key(MemorySigner()))
        signer.answer = None
        log.rotate_key(MemorySigner())
        receipt = log.revoke_key(old, reason="the device was lost", last_trusted=1)
    assert [number for number, _ in told(check_log(path, [receipt]))] == [2]


def test_a_long_message_is_cut(tmp_path: Path, signer: FaultSigner) -> None:
    def talkative(message: bytes) -> bytes:
        raise SignerError("x" * 10_000)

    path = tmp_path / "log"
    with create(path, signer=signer) as log:
        signer.answer = talkative
        refuse(lambda: log.append(draft(1)))
        signer.answer = None
        log.append(draft(1))
    ((_, payload),) = told(check_log(path))
    assert len(payload["message"]) == MESSAGE_LENGTH_MAX + 1


def test_a_log_that_was_opened_again_knows_of_nothing(tmp_path: Path, signer: FaultSigner) -> None:
    path = tmp_path / "log"
    with create(path, signer=signer) as log:
        signer.answer = gone
        refuse(lambda: log.append(draft(1)))
    with Log.open(path, clock=ManualClock()) as log:
        log.append(draft(1))
    assert told(check_log(path)) == []
