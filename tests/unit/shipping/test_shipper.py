"""The loop: at least once, in order, from a durable cursor, through failures and crashes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.exports import about, made_log
from tests.support.logs import LogMaker, draft, drafts

from attestlog._internal.exporting.choosing import Choice
from attestlog._internal.exporting.made import exports_made
from attestlog._internal.query.filter import parse_filter
from attestlog._internal.shipping import shipper as shippers
from attestlog._internal.shipping.contract import Batch, Delivered
from attestlog._internal.shipping.cursor import SinkCursor, SinkState, as_metrics, cursors_of
from attestlog._internal.shipping.shipper import Shipper
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import BusyError, ConsistencyError, SinkError, StorageError, TooLargeError

KEY = "memory:sink"


class ListSink:
    """Keeps what it gets. `answer` may raise."""

    name, form = KEY, "jsonl"

    def __init__(self, answer: Callable[[Batch], Delivered] = lambda _: Delivered()) -> None:
        self.answer = answer
        self.batches: list[Batch] = []
        self.closed = 0

    def deliver(self, batch: Batch) -> Delivered:
        said = self.answer(batch)
        self.batches.append(batch)
        return said

    def close(self) -> None:
        self.closed += 1

    @property
    def numbers(self) -> list[int]:
        return [item.entry.sequence_number for batch in self.batches for item in batch.items]


class Down:
    """Fails as often as it is told to, then takes."""

    def __init__(self, times: int, *, retryable: bool = True) -> None:
        self.left, self.retryable = times, retryable

    def __call__(self, _: Batch) -> Delivered:
        if self.left:
            self.left -= 1
            raise SinkError("it is down", retryable=self.retryable)
        return Delivered()


@pytest.fixture
def log(tmp_path: Path) -> LogMaker:
    return made_log(tmp_path / "log", 20)


def ship(
    log: LogMaker, sink: ListSink, *, start: int = 0, members: dict[str, Any] | None = None, **more: Any
) -> Shipper:
    choice = Choice(parse_filter(members or {}), 0, start=start)
    state = SinkState(about(log).genesis, KEY)
    return Shipper(open_source(log.root), about(log), sink, state, choice=choice, **more)


def cursor(log: LogMaker) -> SinkCursor:
    (found,) = cursors_of(about(log).genesis)
    return found


def test_everything_is_delivered_once_and_then_only_what_is_new(log: LogMaker) -> None:
    sink, size = ListSink(), len(log.lines)
    shipper = ship(log, sink)
    assert shipper.lag == size
    shipper.run_once()
    assert (sink.numbers, shipper.lag) == (list(range(size)), 0)
    log.append(draft(1), draft(2))
    log.lay_out()
    ship(log, sink).run_once()
    assert sink.numbers == list(range(size + 2))
    found = cursor(log)
    assert (found.size, found.delivered, found.deliveries, found.failures) == (size + 2, size + 2, 2, 0)
    assert sink.closed == 2


def test_batches_are_bounded_in_entries_and_bytes(log: LogMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shippers, "BATCH_SIZE_MAX_BYTES", 9_000)
    sink = ListSink()
    ship(log, sink).run_once()
    assert sink.numbers == list(range(len(log.lines)))
    for batch in sink.batches:
        assert len(batch.items) == 1 or sum(len(item.line) for item in batch.items) <= 9_000
    assert len(sink.batches) > 5
    monkeypatch.setattr(shippers, "BATCH_ENTRIES_MAX", 3)
    assert max(len(batch.items) for batch in sink_of_new_cursor(log)) == 3


def sink_of_new_cursor(log: LogMaker) -> list[Batch]:
    sink = ListSink()
    choice = Choice(parse_filter({}), 0)
    state = SinkState(about(log).genesis, "another")
    Shipper(open_source(log.root), about(log), sink, state, choice=choice).run_once()
    return sink.batches


def test_a_sink_begins_where_it_is_told_to_and_goes_on_where_it_was(log: LogMaker) -> None:
    sink = ListSink()
    ship(log, sink, start=7).run_once()
    assert sink.numbers[0] == 7
    ship(log, sink, start=0).run_once()
    assert sink.numbers == list(range(7, len(log.lines)))


def test_a_filter_leaves_out_and_the_cursor_passes(log: LogMaker) -> None:
    sink = ListSink()
    ship(log, sink, members={"event_type": "VIOLATION"}).run_once()
    assert {item.entry.event_type for batch in sink.batches for item in batch.items} == {"VIOLATION"}
    assert cursor(log).size == len(log.lines)
    assert cursor(log).delivered == len(sink.numbers) < len(log.lines)


def test_what_nobody_asks_for_is_not_delivered_at_all(log: LogMaker) -> None:
    sink = ListSink()
    ship(log, sink, members={"actor_id": "nobody"}).run_once()
    assert sink.batches == []
    assert (cursor(log).size, cursor(log).deliveries) == (len(log.lines), 0)
    assert exports_made(about(log).genesis) == []


def test_the_cursor_moves_over_a_long_stretch_that_nobody_asks_for(
    log: LogMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shippers, "PASSED_OVER_MAX", 5)
    reached: list[int] = []
    members = {"actor_id": "nobody"}
    ship(log, ListSink(), members=members, on_change=lambda found: reached.append(found.size)).run_once()
    size = len(log.lines)
    assert reached == [*range(5, size, 5), size]


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", ["before the sink has it", "after the sink has it"])
def test_after_a_crash_the_batch_goes_again_and_nothing_is_left_out(
    log: LogMaker, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(shippers, "BATCH_ENTRIES_MAX", 10)
    sink = ListSink()
    ended: list[str] = []
    save = SinkState.save

    def crash(*arguments: Any) -> Any:
        if len(sink.batches) == 2 and not ended:
            ended.append(step)
            raise Crash
        return save(*arguments) if len(arguments) == 2 else Delivered()

    if step.startswith("before"):
        sink.answer = crash
    else:
        monkeypatch.setattr(SinkState, "save", crash)
    with pytest.raises(Crash):
        ship(log, sink).run_once()
    ship(log, sink).run_once()
    assert ended
    assert sorted(set(sink.numbers)) == list(range(len(log.lines)))
    repeated = len(sink.numbers) - len(log.lines)
    assert repeated == (0 if step.startswith("before") else 10)


def test_a_failure_is_told_and_remembered(log: LogMaker) -> None:
    sink = ListSink(Down(1))
    with pytest.raises(SinkError, match="it is down"):
        ship(log, sink).run_once()
    found = cursor(log)
    assert (found.state, found.error, found.failures, found.size) == ("failing", "it is down", 1, 0)
    assert found.failing_since
    ship(log, sink).run_once()
    found = cursor(log)
    assert (found.state, found.error, found.failing_since, found.retries) == ("good", "", "", 1)
    assert found.size == len(log.lines)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shippers, "PAUSE_MIN_S", 0.001)
    monkeypatch.setattr(shippers, "PAUSE_MAX_S", 0.002)
    monkeypatch.setattr(shippers, "IDLE_S", 0.001)


def run_until(shipper: Shipper, is_done: Callable[[SinkCursor], bool]) -> None:
    """`run`, until the state of the sink is so."""
    shipper._on_change = lambda cursor: shipper.stop() if is_done(cursor) else None
    shipper.run()


def test_a_sink_that_is_lost_and_back_is_recorded_once_each(log: LogMaker, quick: None) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    sink = ListSink(Down(6))
    shipper = ship(log, sink, record=lambda what, payload: told.append((what, payload)), lost_after_s=0.0)
    run_until(shipper, lambda found: found.size == len(log.lines))
    assert [what for what, _ in told] == ["lost", "back"]
    (_, lost), (_, back) = told
    assert (lost["sink"], lost["error"], lost["lag"]) == (KEY, "it is down", len(log.lines))
    assert back["failing_since"] == lost["failing_since"]
    assert sink.numbers == list(range(len(log.lines)))
    assert (cursor(log).failures, cursor(log).state) == (6, "good")


def test_an_outage_goes_on_over_restarts(log: LogMaker) -> None:
    """As `--once` from a timer: each run fails once, and together they are lost."""
    told: list[str] = []
    for seconds in (60.0, 0.0, 0.0):
        shipper = ship(log, ListSink(Down(1)), record=lambda what, _: told.append(what), lost_after_s=seconds)
        with pytest.raises(SinkError):
            shipper.run_once()
    assert (told, cursor(log).state, cursor(log).failures) == (["lost"], "lost", 3)
    ship(log, ListSink(), record=lambda what, _: told.append(what)).run_once()
    assert told == ["lost", "back"]


def test_a_log_that_becomes_shorter_meanwhile_is_not_waited_for(log: LogMaker, quick: None) -> None:
    shipper = ship(log, ListSink())

    def cut(_: SinkCursor) -> None:
        shipper._log = open_source(shorter.root)

    shorter = LogMaker(log.root.parent / "shorter", origin=log.origin, policy=log.policy)
    shorter.lay_out()
    shipper._on_change = cut
    with pytest.raises(ConsistencyError, match="were shipped"):
        shipper.run()


def test_a_short_outage_is_no_entry(log: LogMaker, quick: None) -> None:
    told: list[str] = []
    shipper = ship(log, ListSink(Down(3)), record=lambda what, _: told.append(what), lost_after_s=60.0)
    run_until(shipper, lambda found: found.size == len(log.lines))
    assert told == []


def test_a_batch_that_is_too_large_is_halved(log: LogMaker) -> None:
    def choosy(batch: Batch) -> Delivered:
        if len(batch.items) > 4:
            raise TooLargeError("too much", size_bytes=1)
        return Delivered()

    sink = ListSink(choosy)
    ship(log, sink).run_once()
    assert sink.numbers == list(range(len(log.lines)))
    assert max(len(batch.items) for batch in sink.batches) <= 4


def test_one_entry_that_is_too_large_is_a_failure_and_names_it(log: LogMaker) -> None:
    def never(_: Batch) -> Delivered:
        raise TooLargeError("too much", size_bytes=1)

    with pytest.raises(SinkError, match="entry 0"):
        ship(log, ListSink(never)).run_once()


def test_what_a_sink_refuses_for_good_is_counted(log: LogMaker) -> None:
    ship(log, ListSink(lambda _: Delivered(rejected=2, shortened=1))).run_once()
    found = cursor(log)
    assert (found.rejected, found.shortened, found.delivered) == (2, 1, len(log.lines) - 2)
    metrics = as_metrics([found], len(log.lines) + 5)
    assert 'attestlog_sink_rejected_total{sink="memory:sink"} 2' in metrics
    assert 'attestlog_sink_lag_entries{sink="memory:sink"} 5' in metrics


def test_two_processes_do_not_ship_to_one_sink(log: LogMaker) -> None:
    with SinkState(about(log).genesis, KEY).alone(), pytest.raises(BusyError):
        ship(log, ListSink()).run_once()
    ship(log, ListSink()).run_once()


def test_a_log_that_is_shorter_or_another_one_is_not_shipped(log: LogMaker, tmp_path: Path) -> None:
    sink = ListSink()
    ship(log, sink).run_once()
    shorter = LogMaker(tmp_path / "other", origin=log.origin, policy=log.policy)
    shorter.append(*drafts(range(3)))
    shorter.lay_out()
    state = SinkState(about(log).genesis, KEY)
    choice = Choice(parse_filter({}), 0)
    with pytest.raises(ConsistencyError, match="were shipped"):
        Shipper(open_source(shorter.root), about(log), sink, state, choice=choice).run_once()
    shorter.append(*drafts(range(40)))
    shorter.lay_out()
    with pytest.raises(ConsistencyError, match="is not the one that was shipped"):
        Shipper(open_source(shorter.root), about(log), sink, state, choice=choice).run_once()
    assert sink.numbers == list(range(len(log.lines)))


def test_a_cursor_that_cannot_be_read_is_not_taken_for_none(log: LogMaker) -> None:
    ship(log, ListSink()).run_once()
    SinkState(about(log).genesis, KEY)._path.write_text("{")
    sink = ListSink()
    with pytest.raises(StorageError, match="is damaged"):
        ship(log, sink).run_once()
    assert sink.batches == []


def test_a_sink_is_a_place_that_an_erasure_does_not_reach(log: LogMaker) -> None:
    ship(log, ListSink(), start=3).run_once()
    (made,) = exports_made(about(log).genesis)
    assert (made.to, made.start, made.stop) == (KEY, 3, len(log.lines))
