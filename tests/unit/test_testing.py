"""The public test kit: logs in memory do what logs do, stores fail where they are told to."""

from pathlib import Path

import pytest
from tests.support.logs import create, draft

import attestlog
from attestlog import Verdict
from attestlog._internal.verifying import judge_proof
from attestlog.errors import ClosedError, FullError, StorageError, UncertainCommitError
from attestlog.testing import (
    CrashError,
    FaultStore,
    MemorySigner,
    check_log,
    check_source,
    check_store,
    forget_memory_log,
    memory_log,
    memory_name,
    open_source,
    open_store,
)


def test_a_log_in_memory_does_what_a_log_does(tmp_path: Path) -> None:
    log = memory_log(erasable_payloads=True, settings=None)
    receipts = [log.append(draft(number)) for number in range(3)]
    receipts += log.append_many([draft(number) for number in range(3, 600)])
    log.rotate_key(MemorySigner())
    log.erase(2, reason="asked for", actor_id="officer-1")
    note = log.checkpoint()
    check_log(log.where, receipts)
    proof = log.prove(5)
    assert judge_proof(proof, trust=log.vkeys).verdict is Verdict.VERIFIED
    assert attestlog.verify(log.where, remember=False).verdict is Verdict.VERIFIED
    assert attestlog.publish(log.where, tmp_path / "public").size == 603
    assert attestlog.judge_published(tmp_path / "public", remember=False, trust=log.vkeys).ok
    assert [entry.sequence_number for entry in log.query(text="T-7")] == [8]
    assert open_source(log.where).checkpoint() == note
    log.close()
    forget_memory_log(log.where)
    with pytest.raises(StorageError):
        open_source(log.where)


def test_an_erased_word_is_not_found_in_memory() -> None:
    log = memory_log(erasable_payloads=True)
    log.append(draft(1, action_payload={"word": "gone"}))
    assert len(list(log.query(text="gone"))) == 1
    log.erase(1, reason="asked for", actor_id="officer-1")
    assert list(log.query(text="gone")) == []


def test_a_changed_line_in_memory_is_tampering() -> None:
    log = memory_log()
    log.append(draft(1))
    log.close()
    lines = open_source(log.where).log.lines  # type: ignore[attr-defined]
    lines[1] = lines[1].replace(b'"number":1', b'"number":2')
    assert attestlog.verify(log.where, remember=False).verdict is Verdict.TAMPERED
    with pytest.raises(AssertionError, match="TAMPERED"):
        check_log(log.where)


def test_the_port_is_checked_as_a_whole() -> None:
    check_source(memory_name)
    check_store(memory_name)


def test_a_broken_promise_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from attestlog._internal.storage.memory import MemorySource, MemoryStore

    monkeypatch.setattr(MemorySource, "size", lambda self: len(self.log.lines) + 1)
    with pytest.raises(AssertionError, match="lines_are_those_at_their_positions"):
        check_source(memory_name)
    monkeypatch.undo()
    monkeypatch.setattr(MemoryStore, "room", lambda self, size: 7)
    with pytest.raises(AssertionError, match="the_head_takes_in_what_others_committed"):
        check_store(memory_name)


@pytest.fixture(params=["memory", "files"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FaultStore:
    log = memory_log() if request.param == "memory" else create(tmp_path / "log")
    log.close()
    return FaultStore(open_store(log.where))


def test_a_step_fails_as_often_as_it_is_told_to(store: FaultStore) -> None:
    log = attestlog.open(store)
    store.fail("commit", FullError("no space left"), skip=1, times=2)
    log.append(draft(1))
    for _ in range(2):
        with pytest.raises(FullError, match="no space left"):
            log.append(draft(2))
    log.append(draft(3))
    log.close()
    assert store.calls.count("commit") == 4
    assert _numbers(store) == [1, 3]
    check_log(store.source)


def test_what_was_done_before_the_error_is_there(store: FaultStore) -> None:
    log = attestlog.open(store)
    store.fail("commit", UncertainCommitError("nobody knows"), after=True)
    with pytest.raises(UncertainCommitError):
        log.append(draft(1))
    assert _numbers(store) == [1]


@pytest.mark.parametrize("after", [False, True])
def test_after_a_crash_nothing_more_is_done(store: FaultStore, after: bool) -> None:
    log = attestlog.open(store)
    log.append(draft(1))
    store.crash("commit", after=after)
    with pytest.raises(CrashError):
        log.append(draft(2))
    assert store.is_crashed
    with pytest.raises(ClosedError):
        log.append(draft(3))
    with attestlog.open(store.source.where) as again:
        again.append(draft(4))
    numbers = _numbers(store)
    assert numbers == ([1, 2, 4] if after else [1, 4])
    check_log(store.source)


def test_a_line_that_changes_is_noticed() -> None:
    log = memory_log()
    log.append(draft(1))
    log.close()
    store = FaultStore(open_store(log.where))
    with store.exclusive():
        pass
    lines = store.source.log.lines  # type: ignore[attr-defined]
    lines[1] = lines[1].replace(b'"number":1', b'"number":2')
    with pytest.raises(AssertionError, match="entry 1 changed"), store.exclusive():
        pass
    del lines[1:]
    with pytest.raises(AssertionError, match="2 lines were there, 1 are left"), store.exclusive():
        pass


def test_a_step_that_there_is_not_is_the_tests_mistake(store: FaultStore) -> None:
    with pytest.raises(AssertionError, match="comit is not one of exclusive, commit"):
        store.fail("comit", FullError("x"))


def _numbers(store: FaultStore) -> list[int]:
    return [entry.action_payload["number"] for entry in store.source.entries(1) if entry.action_payload]
