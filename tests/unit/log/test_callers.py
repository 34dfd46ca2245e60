"""Idempotency keys: one entry within 24 hours, found again by whoever opens the log, of one caller alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.logs import create, draft

import attestlog
from attestlog._internal.log import Log, callers
from attestlog._internal.log.callers import KEY_TERM_S, Caller
from attestlog.errors import IdempotencyError, MalformedEntryError

ACTION = {"event_type": "ACTION", "action_type": "deploy", "actor_id": "agent-7"}
START_US = 1_800_000_000_000_000
WRITER = Caller("token:writer", "order-17")


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_us = START_US

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def log(tmp_path: Path, hand: Hand) -> Iterator[Log]:
    made = create(tmp_path / "audit", clock=hand)
    yield made
    made.close()


def test_key_and_caller_stand_in_the_entry(log: Log) -> None:
    ((receipt,), before) = log.append_by(WRITER, [draft(1)])
    assert before == 0
    environment = receipt.entry.environment
    assert (environment["attestlog_key"], environment["attestlog_peer"]) == ("order-17", "token:writer")
    ((plain,), _) = log.append_by(Caller(), [draft(1)])
    assert not {"attestlog_key", "attestlog_peer"} & set(plain.entry.environment)
    log.close()
    assert attestlog.verify(log.path, remember=False).ok


def test_the_same_call_writes_once(log: Log) -> None:
    first, _ = log.append_by(WRITER, [draft(1), draft(2)])
    for _ in range(2):
        assert log.append_by(WRITER, [draft(1), draft(2)]) == (first, 2)
    assert log.head().size == 3
    assert log._writer.find_key(WRITER.asserted) == [1, 2]


def test_a_key_is_found_by_another_opening_and_by_another_writer(log: Log, hand: Hand) -> None:
    first, _ = log.append_by(WRITER, [draft(1)])
    with Log.open(log.path, clock=hand) as other:
        assert other.append_by(WRITER, [draft(1)]) == (first, 1)
        second, _ = other.append_by(Caller("token:writer", "other"), [draft(2)])
    # What the other one wrote is read before the next key is judged.
    assert log.append_by(Caller("token:writer", "other"), [draft(2)]) == (second, 1)


def test_a_key_is_of_one_caller_and_a_process_is_not_one(log: Log) -> None:
    log.append_by(WRITER, [draft(1)])
    assert log.append_by(Caller("token:reader", "order-17"), [draft(1)])[1] == 0
    assert log.append_by(Caller("uid:7 pid:1", "order-17"), [draft(1)])[1] == 0
    assert log.append_by(Caller("uid:7 pid:2", "order-17"), [draft(1)])[1] == 1
    assert log.append_by(Caller("uid:70 pid:1", "order-17"), [draft(1)])[1] == 0


def test_what_a_crash_kept_out_of_the_log_follows_alone(log: Log) -> None:
    first, _ = log.append_by(WRITER, [draft(1)])
    both, before = log.append_by(WRITER, [draft(1), draft(2)])
    assert (both[0], before) == (first[0], 1)
    assert log.append_by(WRITER, [draft(1), draft(2)]) == (both, 2)
    assert log.head().size == 3


@pytest.mark.parametrize("other", [[draft(1)], [draft(1), draft(2, actor_id="another")]])
def test_other_entries_under_the_key_are_refused(log: Log, other: list[dict[str, object]]) -> None:
    log.append_by(WRITER, [draft(1), draft(2)])
    with pytest.raises(IdempotencyError) as caught:
        log.append_by(WRITER, other)
    assert caught.value.sequence_numbers == [1, 2]
    assert log.head().size == 3


def test_a_key_counts_for_24_hours_by_the_log_s_time(log: Log, hand: Hand) -> None:
    first, _ = log.append_by(WRITER, [draft(1)])
    hand.now_us = START_US + KEY_TERM_S * 1_000_000
    assert log.append_by(WRITER, [draft(1)]) == (first, 1)
    hand.now_us += 1
    assert log.append_by(WRITER, [draft(1)])[1] == 0
    # A log that is opened later reads no further back.
    log.close()
    hand.now_us += KEY_TERM_S * 1_000_000
    with Log.open(log.path, clock=hand) as later:
        assert later.append_by(WRITER, [draft(1)])[1] == 1


def test_what_the_rules_forbid_by_now_is_found_all_the_same(log: Log, hand: Hand) -> None:
    stated = draft(1, k_state=1)
    first, _ = log.append_by(WRITER, [stated])
    wrong = draft(1, k_state=0)
    assert log.append_by(WRITER, [wrong]) == (first, 1)
    with pytest.raises(attestlog.errors.DerivedMemberError):
        log.append_by(Caller("token:writer", "new"), [wrong])


def test_keys_that_count_no_more_are_dropped(log: Log, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "PRUNE_EVERY", 0)
    for number in range(4):
        log.append_by(Caller(key=f"k{number}"), [draft(number)])
    hand.now_us += KEY_TERM_S * 1_000_000 + 1
    log.append_by(Caller(key="new"), [draft(5)])
    database = log._writer._keyed._database
    assert database is not None
    assert database.execute("SELECT count(*) FROM keys").fetchone() == (1,)


@pytest.mark.parametrize("key", ["x" * 129, "ä", "a\nb", "\x7f"])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(MalformedEntryError, match="idempotency key"):
        Caller(key=key)


async def _append_twice(log: Log) -> list[int]:
    return [(await log.append_by_async(WRITER, draft(1)))[1] for _ in range(2)]


def test_the_same_while_only_a_task_waits(log: Log) -> None:
    import asyncio

    assert asyncio.run(_append_twice(log)) == [0, 1]
    log.close()


def test_a_key_of_whoever_has_the_log_open(tmp_path: Path, own_home: Path) -> None:
    with attestlog.create(tmp_path / "audit", origin="example.com/agents") as log:
        first = log.append(ACTION, idempotency_key="order-17")
        assert first.entry.environment["attestlog_key"] == "order-17"
        assert "attestlog_peer" not in first.entry.environment
        assert log.append(ACTION, idempotency_key="order-17") == first
        many = log.append_many([ACTION] * 3, idempotency_key="order-18")
    with attestlog.open(tmp_path / "audit") as log:  # another process finds it, too
        assert log.append(ACTION, idempotency_key="order-17") == first
        assert log.append_many([ACTION] * 3, idempotency_key="order-18") == many
        with pytest.raises(IdempotencyError):
            log.append({**ACTION, "actor_id": "another"}, idempotency_key="order-17")
        for bad in ("", "x" * 129, "é"):
            with pytest.raises(MalformedEntryError):
                log.append(ACTION, idempotency_key=bad)
        assert log.head().size == 5
