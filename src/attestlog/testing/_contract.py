"""What every driver of the storage port promises, as checks that any driver can be put to.

    check_source(lambda: f"postgresql://…?log={next(names)}")
    check_store(lambda: f"postgresql://…?log={next(names)}")

Each check is given the name of a log that is not there yet, makes one, and
raises AssertionError where a promise is broken. SOURCE_CHECKS and STORE_CHECKS
have them one by one, for tests that name each.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import msgspec

from attestlog._internal.core.batch import Head, Plan, plan_batch, prepare
from attestlog._internal.core.checkpoint import Checkpoint, format_checkpoint
from attestlog._internal.core.entry import EventType, decode_line, parse_draft
from attestlog._internal.core.erasure import Erasure, format_erasure
from attestlog._internal.core.genesis import Settings
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.merkle import edge_at
from attestlog._internal.core.rules import Rules
from attestlog._internal.ids import new_entry_id
from attestlog._internal.log import Log
from attestlog._internal.query import query_log
from attestlog._internal.storage.contract import UNFINISHED, LogSource, NewLog, Store
from attestlog._internal.storage.resolve import (
    LogName,
    check_free,
    create_log,
    driver_of,
    open_source,
    open_store,
)
from attestlog.errors import (
    AttestlogError,
    BusyError,
    ClosedError,
    ConflictError,
    CorruptError,
    ExistsError,
    MovedError,
    NoLogError,
    NotFoundError,
)
from attestlog.testing._kit import ManualClock, MemorySigner

ORIGIN: Final = "example.com/contract"
SEGMENT_ENTRIES: Final = 10
"""So few that the checks cross from one segment into the next."""

_WAIT_S: Final = 20.0
"""For another thread: far longer than it takes, so that only a lock that is never released fails."""

Check = Callable[["LogMade"], None]


class LogMade:
    """One log of the driver, as the checks make and use it."""

    def __init__(self, name: LogName, **options: Any) -> None:
        self.name = name
        self.signer, self.checkpoint_signer = MemorySigner(), MemorySigner("Ed25519")
        settings = Settings(segment_entries=SEGMENT_ENTRIES, **options)
        with self.opened(Log.create, origin=ORIGIN, settings=settings):
            pass

    def opened(self, how: Callable[..., Log] = Log.open, **options: Any) -> Log:
        """The log, as a user has it."""
        return how(
            self.name, signer=self.signer.uri, checkpoint_signer=self.checkpoint_signer.uri,
            clock=ManualClock(), any_filesystem=True, **options,
        )  # fmt: skip

    def append(self, count: int, **members: Any) -> None:
        """So many entries, a checkpoint after them."""
        with self.opened() as log:
            log.append_many([_draft(number, **members) for number in range(count)])

    @property
    def source(self) -> LogSource:
        """The log, for reading."""
        return open_source(self.name)

    @contextmanager
    def store(self, lock_timeout_s: float = _WAIT_S) -> Iterator[Store]:
        """The log, for writing."""
        store = open_store(self.name, lock_timeout_s=lock_timeout_s, any_filesystem=True)
        try:
            yield store
        finally:
            store.close()

    def planned(self, head: Head, count: int) -> tuple[Plan, list[bytes]]:
        """A batch of `count` entries after this head, signed."""
        key, genesis = self.signer.public_key, self.source.genesis()
        prepared = [
            prepare(
                parse_draft(_draft(head.size + number)),
                genesis.policy,
                entry_id=new_entry_id(),
                environment={},
            )
            for number in range(count)
        ]
        now_us = head.timestamp_us + 1
        plan = plan_batch(
            head, prepared, now_us, algorithm=key.algorithm, key_id=key.key_id, batched=True,
            pointers=Rules.of(genesis).pointers,
        )  # fmt: skip
        return plan, plan.seal([self.signer.sign(message) for message in plan.messages])

    def commit(self, store: Store, count: int) -> list[bytes]:
        """A turn with one batch of so many entries; the lines."""
        with store.exclusive() as head:
            plan, lines = self.planned(head, count)
            store.commit(plan, lines)
        return lines

    def note(self, head: Head) -> bytes:
        """A note as a checkpoint of this head: the port does not look at who signed it."""
        return format_checkpoint(Checkpoint(ORIGIN, head.size, head.edge.root())).encode()


def _draft(number: int, **members: Any) -> dict[str, Any]:
    return {
        "event_type": "ACTION", "action_type": "contract_check", "actor_id": f"actor-{number % 3}",
        "action_payload": {"number": number}, **members,
    }  # fmt: skip


def _raises(kind: type[BaseException], call: Callable[[], object]) -> Any:
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def _place(head: Head) -> tuple[int, str, int, bytes]:
    return head.size, head.entry_hash, head.timestamp_us, head.edge.root()


def _leaves(lines: list[bytes]) -> list[bytes]:
    return [leaf_hash(bytes.fromhex(decode_line(line).entry_hash)) for line in lines]


# --- names ---


def a_name_is_free_once(log: LogMade) -> None:
    """A log is made where there is none, and is there for all who ask by its name."""
    _raises(ExistsError, lambda: check_free(log.name, any_filesystem=True))
    new = NewLog(log.source.line(0), log.source.hashes(0, 0, 1)[0])
    _raises(ExistsError, lambda: create_log(log.name, new))
    assert log.source.genesis().origin == ORIGIN
    assert log.source.genesis().settings.segment_entries == SEGMENT_ENTRIES
    with log.store() as store:
        assert store.genesis.origin == store.source.genesis().origin == ORIGIN


def no_log_is_a_typed_error(log: LogMade) -> None:
    """Opening what is not a log raises NoLogError."""
    nowhere = f"{log.name}-nowhere"
    _raises(NoLogError, lambda: open_source(nowhere))
    _raises(NoLogError, lambda: open_store(nowhere, any_filesystem=True))


# --- reading ---


def lines_are_those_at_their_positions(log: LogMade) -> None:
    """`lines`, `line`, `entries`, `entry`, `size`: one log, read in five ways."""
    log.append(22)
    source = log.source
    lines = list(source.lines())
    assert source.size() == len(lines) == 23
    assert source.durable_size() == 23
    assert [decode_line(line).sequence_number for line in lines] == list(range(23))
    for start in (0, 1, 9, 10, 11, 22, 23, 40):
        for stop in (None, 0, 1, 10, 11, 20, 23, 99):
            assert list(source.lines(start, stop)) == lines[start:stop], (start, stop)
    for number in (0, 1, 9, 10, 19, 20, 22):
        assert source.line(number) == lines[number]
        assert source.entry(number) == decode_line(lines[number])
    assert list(source.entries(8, 12)) == [decode_line(line) for line in lines[8:12]]


def what_is_not_there_is_not_found(log: LogMade) -> None:
    """Past the end there is nothing; before the beginning is the caller's mistake."""
    log.append(3)
    for number in (4, 5, 10, 100):
        _raises(NotFoundError, partial(log.source.line, number))
        _raises(NotFoundError, partial(log.source.entry, number))
    _raises(ValueError, lambda: log.source.line(-1))
    _raises(ValueError, lambda: list(log.source.lines(-1)))


def hashes_are_all_there_or_an_error(log: LogMade) -> None:
    """Stored hashes lead to the root of every size, and none is made up."""
    log.append(299)
    source = log.source
    leaves = _leaves(list(source.lines()))
    assert source.hashes(0, 0, 300) == leaves
    assert source.hashes(0, 2, 4) == leaves[2:4]
    for size in (1, 255, 256, 257, 300):
        assert edge_at(size, source.hashes).root() == Head().edge.extended(leaves[:size]).root()
    for level, start, stop in ((0, 0, 301), (0, 300, 301), (1, 0, 2), (1, 1, 2), (5, 0, 1)):
        _raises(CorruptError, partial(source.hashes, level, start, stop))


def a_source_sees_what_was_committed_since(log: LogMade) -> None:
    """A source that is open is not a picture: it reads what is there now."""
    source, before = log.source, log.source.checkpoint()
    with log.store() as store:
        lines = log.commit(store, 3)
        assert list(source.lines())[1:] == list(store.source.lines())[1:] == lines
        with store.exclusive() as head:
            assert store.checkpoint() == before
            store.replace_checkpoint(before, log.note(head))
            assert store.checkpoint() == log.note(head)
        assert source.checkpoint() == source.stored_checkpoint() == log.note(head)
    assert source.durable_size() == source.size() == 4


def time_stamps_are_kept(log: LogMade) -> None:
    """Each is found again under its size, and none replaces another."""
    assert log.source.timestamps() == []
    with log.store() as store:
        for size, response in ((4, b"later"), (2, b"one"), (2, b"other"), (2, b"one")):
            assert store.add_timestamp(size, response)
    source = log.source
    found = [(stamp.size, source.timestamp(stamp.name)) for stamp in source.timestamps()]
    assert [size for size, _ in found] == [2, 2, 4]
    assert sorted(found) == [(2, b"one"), (2, b"other"), (4, b"later")]
    _raises(NotFoundError, lambda: source.timestamp("no such name"))


def places_lead_back_to_lines(log: LogMade) -> None:
    """What an index needs: a line's place, and whether it still stands there."""
    log.append(22)
    source = log.source
    located = list(source.located_lines())
    assert [line.data for line in located] == list(source.lines())
    assert [line.sequence_number for line in source.located_lines(5, 15)] == list(range(5, 15))
    for line in located:
        assert source.read_at(line.segment, line.offset, len(line.data)) == line.data
    ends = {line.segment: line.stop for line in located}
    assert dict(source.extents()) == ends
    last = located[-1]
    assert source.read_at(last.segment, last.stop + 1_000, 10) == b""
    before = list(ends.items())
    log.append(13)
    after = source.extents()
    assert [after[first] == stop for first, stop in before[:-1]] == [True] * (len(before) - 1)
    assert after[before[-1][0]] >= before[-1][1]
    assert [entry.sequence_number for entry in query_log(log.name, actor_id="actor-1", newest_first=False)]


def a_snapshot_is_of_one_moment(log: LogMade) -> None:
    """What the verifier reads: all lines, hashes and the checkpoint of then, whatever comes after."""
    log.append(22)
    source = log.source
    lines, checkpoint = list(source.lines()), source.checkpoint()
    with source.snapshot() as snapshot:
        log.append(3)
        assert (snapshot.checkpoint, list(snapshot.strays), list(snapshot.unreadable)) == (checkpoint, [], [])
        assert snapshot.is_between_commits
        assert [segment.first for segment in snapshot.segments] == [0, 10, 20]
        found, places = [], []
        for segment in pickle.loads(pickle.dumps(list(snapshot.segments))):  # noqa: S301 - made right here
            assert segment.name == snapshot.segment_name(segment.first)
            assert (segment.away(), segment.room) == (None, 0)
            placed = list(segment.lines(0, segment.size))
            assert all(line.is_complete for line in placed)
            found += [line.data for line in placed]
            places.append([*(line.offset for line in placed), segment.size])
            assert [segment.offset_after(n) for n in range(len(placed) + 2)] == [*places[-1], segment.size]
            middle = places[-1][len(placed) // 2]
            cut = [*segment.lines(0, middle), *segment.lines(middle, segment.size)]
            assert [line.data for line in cut] == [line.data for line in placed]
        assert found == lines
        assert snapshot.hash_bytes[0] == 32 * len(lines)
        assert snapshot.hashes(0, 0, 99) == b"".join(_leaves(lines))
        assert snapshot.hashes(0, 5, 2) == b"".join(_leaves(lines)[5:7])
        assert snapshot.hashes(7, 0, 1) == b""


def cursors_are_one_senders(log: LogMade) -> None:
    """Text by URL, replaced whole, and one sender at a time."""
    cursors, others = log.source.cursors(), log.source.cursors()
    assert cursors.load("https://r1.example.com") is None
    cursors.save("https://r1.example.com", b"one")
    cursors.save("https://r2.example.com", b"two")
    cursors.save("https://r1.example.com", b"three")
    assert others.load("https://r1.example.com") == b"three"
    with (
        cursors.alone("https://r1.example.com") as first,
        others.alone("https://r1.example.com") as second,
        others.alone("https://r2.example.com") as third,
    ):
        assert (first, second, third) == (True, False, True)
    with others.alone("https://r1.example.com") as again:
        assert again


# --- writing ---


def what_is_committed_stays(log: LogMade) -> None:
    """It is there in order, and after opening again."""
    with log.store() as store:
        lines = [*log.commit(store, 1), *log.commit(store, 3), *log.commit(store, 5)]
        assert list(log.source.lines())[1:] == lines
        with store.exclusive() as head:
            before = _place(head)
    with log.store() as store, store.exclusive() as head:
        assert _place(head) == before
        assert (head.size, head.entry_hash) == (10, decode_line(lines[-1]).entry_hash)


def the_head_takes_in_what_others_committed(log: LogMade) -> None:
    """Two stores of one log go on from each other's entries."""
    with log.store() as store, log.store() as other:
        lines: list[bytes] = []
        for count in (1, 4, 10, 10, 1, 9, 3, 10, 10, 2):
            lines += log.commit(other, min(count, other.room(1 + len(lines))))
            lines += log.commit(store, 1)
        assert list(log.source.lines())[1:] == lines
        with store.exclusive() as mine:
            my_place = _place(mine)
        with other.exclusive() as theirs:
            assert _place(theirs) == my_place


def one_committer_at_a_time(log: LogMade) -> None:
    """A second turn waits for the first to end, or says that it waited too long."""
    order: list[str] = []
    begun = threading.Event()
    with log.store() as store, log.store() as waiting:
        with log.store(0.05) as hasty, store.exclusive():
            _raises(BusyError, lambda: hasty.exclusive().__enter__())

        def wait() -> None:
            begun.set()
            with waiting.exclusive():
                order.append("other")

        thread = threading.Thread(target=wait)
        with store.exclusive():
            thread.start()
            assert begun.wait(_WAIT_S)
            order.append("first")
        thread.join(_WAIT_S)
        assert order == ["first", "other"]


def an_error_within_a_turn_ends_it(log: LogMade) -> None:
    """What a caller raises in its turn holds up nobody."""
    with log.store() as store, log.store(1) as other:

        def fail() -> None:
            with store.exclusive():
                raise ZeroDivisionError

        _raises(ZeroDivisionError, fail)
        log.commit(other, 1)
        log.commit(store, 1)
    assert log.source.size() == 3


def a_stale_plan_is_a_conflict(log: LogMade) -> None:
    """A batch that does not follow the head is refused, and nothing of it is left."""
    with log.store() as store:
        with store.exclusive() as head:
            stale, stale_lines = log.planned(head, 2)
        lines = log.commit(store, 1)
        with store.exclusive():
            error = _raises(ConflictError, lambda: store.commit(stale, stale_lines))
        assert (error.expected, error.found) == (1, 2)
        assert list(log.source.lines())[1:] == lines
        log.commit(store, 1)


def batches_fill_a_segment_and_do_not_cross_it(log: LogMade) -> None:
    """`room` says how many fit, and more are refused."""
    with log.store() as store:
        assert [store.room(size) for size in (0, 1, 9, 10, 11, 25)] == [10, 9, 1, 10, 9, 5]
        with store.exclusive() as head:
            plan, lines = log.planned(head, 10)
            _raises(ConflictError, lambda: store.commit(plan, lines))
            plan, lines = log.planned(head, 9)
            store.commit(plan, lines)
        lines += [*log.commit(store, 10), *log.commit(store, 2)]
        assert list(log.source.lines())[1:] == lines


def the_tree_follows_the_entries(log: LogMade) -> None:
    """Within the turn and after it, and it can be made again."""
    with log.store() as store:
        first = list(log.source.lines())
        with store.exclusive() as head:
            plan, lines = log.planned(head, 4)
            store.commit(plan, lines)
            leaves = _leaves([*first, *lines])
            assert store.hashes(0, 0, 5) == leaves
            assert edge_at(5, store.hashes).root() == plan.head.edge.root()
        _raises(CorruptError, lambda: store.hashes(0, 0, 6))
        with store.exclusive():
            store.rebuild_tree()
        assert store.hashes(0, 0, 5) == leaves


def a_checkpoint_is_replaced_only_by_who_knows_the_last(log: LogMade) -> None:
    """Compare and swap, among all stores of the log."""
    with log.store() as store, log.store() as other:
        first = store.checkpoint()
        assert first is not None
        log.commit(store, 1)
        with store.exclusive() as head:
            second = log.note(head)
            for wrong in (None, second, first[:-1]):
                _raises(ConflictError, partial(store.replace_checkpoint, wrong, second))
            assert store.checkpoint() == first
            store.replace_checkpoint(first, second)
        assert store.checkpoint() == other.checkpoint() == second
        log.commit(other, 1)
        with other.exclusive() as head:
            _raises(ConflictError, lambda: other.replace_checkpoint(first, log.note(head)))
            other.replace_checkpoint(second, log.note(head))
        assert store.checkpoint() == other.checkpoint() != second


def a_payload_goes_when_an_entry_says_so(log: LogMade) -> None:
    """What was begun is done once the entry is there, and forgotten if another one is."""
    log.append(3)
    with log.store() as store, store.exclusive():
        entry = store.source.entry(2)
        # Erasing entry 2 by entry 4, which never comes.
        saying = msgspec.structs.replace(
            entry, sequence_number=4, event_type=EventType.CHANGE, action_type="attestlog.erase_payload",
            action_payload=format_erasure(Erasure.of(entry, "asked for", None)),
        )  # fmt: skip
        store.begin_erasure(saying)
        pending = store.source.pending_erasure()
        assert pending is None or (pending.erased_by, pending.entry_hash) == (4, entry.entry_hash)
    log.append(1)  # not an erasure: what was begun means nothing
    assert log.source.entry(2) == entry
    assert log.source.pending_erasure() is None
    epoch, extents = log.source.epoch(), dict(log.source.extents())
    with log.opened() as opened:
        receipt = opened.erase(2, reason="asked for", actor_id="officer-1")
    source = log.source
    assert source.entry(2).action_payload is None
    assert source.entry(2).entry_hash == entry.entry_hash
    assert source.entry(receipt.sequence_number).action_type == "attestlog.erase_payload"
    assert source.pending_erasure() is None
    assert (epoch, extents) != (source.epoch(), {first: source.extents()[first] for first in extents})
    with log.store() as store, store.exclusive():
        store.finish_erasure()  # nothing is left to do


def payloads_of_a_range_go_together(log: LogMade) -> None:
    """All that match, in however many extents they stand; the others stay, and every hash does."""
    log.append(7)
    before = [entry.entry_hash for entry in log.source.entries()]
    with log.opened() as opened:
        receipt = opened.erase_many(["*"], start=2, stop=7, reason="too old", actor_id="officer-1")
    entries = list(log.source.entries(0, 8))
    assert [entry.action_payload is None for entry in entries] == [2 <= n < 7 for n in range(8)]
    assert [entry.entry_hash for entry in entries] == before
    assert (receipt.entry.action_payload or {})["count"] == 5
    assert log.source.pending_erasure() is None


def closed_is_closed(log: LogMade) -> None:
    """A closed store has no turns; it may be closed twice, and opened again."""
    store = open_store(log.name, any_filesystem=True)
    store.close()
    store.close()
    _raises(ClosedError, lambda: store.exclusive().__enter__())
    with log.store() as again:
        log.commit(again, 1)


def a_released_store_goes_on(log: LogMade) -> None:
    """As a forked child does with the store it inherited."""
    with log.store() as store:
        log.commit(store, 1)
        states = [store.is_released]
        store.release()
        states.append(store.is_released)
        log.commit(store, 1)
        assert [*states, store.is_released] == [False, True, False]
        assert list(store.recovered) == []
    assert log.source.size() == 3


def a_sealed_log_says_where_it_moved(log: LogMade) -> None:
    """It is read as before, and nobody writes it: not those who had it open either."""
    with log.store() as store, log.store() as other:
        lines = log.commit(store, 2)
        with store.exclusive():
            store.seal("/elsewhere")
        for each in (store, other):
            _raises(MovedError, lambda each=each: each.exclusive().__enter__())  # type: ignore[misc]
    _raises(MovedError, lambda: open_store(log.name, any_filesystem=True))
    assert list(log.source.lines())[1:] == lines
    assert log.source.moved_to() == "/elsewhere"


def a_copy_is_sealed_until_it_is_opened(log: LogMade) -> None:
    """It has the same bytes; one that was not finished is not there, and one that is dropped goes."""
    log.append(12)
    source, target = log.source, f"{log.name}-copy"
    driver = driver_of(target)
    lines, width = list(source.lines()), SEGMENT_ENTRIES
    with log.store() as store, store.exclusive() as head:
        with driver.copying(target) as copy:
            copy.add_lines(lines, width)
        _raises(NoLogError, lambda: open_source(target))
        for _ in range(2):
            with driver.copying(target) as copy:
                copy.add_lines(lines, width)
                copy.finish(head, source)
            assert open_source(target).moved_to() == f"{UNFINISHED}{source.absolute()}"
            _raises(MovedError, lambda: open_store(target, any_filesystem=True))
            driver.drop_copy(target)
            _raises(NoLogError, lambda: open_source(target))
        with driver.copying(target) as copy:
            copy.add_lines(lines, width)
            copy.finish(head, source)
    driver.open_copy(target)
    found = open_source(target)
    assert (found.moved_to(), list(found.lines()), found.checkpoint()) == (None, lines, source.checkpoint())
    assert found.hashes(0, 0, 13) == source.hashes(0, 0, 13)
    open_store(target, any_filesystem=True).close()


SOURCE_CHECKS: Final[dict[str, Check]] = {
    check.__name__: check
    for check in (
        a_name_is_free_once, no_log_is_a_typed_error, lines_are_those_at_their_positions,
        what_is_not_there_is_not_found, hashes_are_all_there_or_an_error,
        a_source_sees_what_was_committed_since, time_stamps_are_kept,
        places_lead_back_to_lines, a_snapshot_is_of_one_moment, cursors_are_one_senders,
    )
}  # fmt: skip
STORE_CHECKS: Final[dict[str, Check]] = {
    check.__name__: check
    for check in (
        what_is_committed_stays, the_head_takes_in_what_others_committed, one_committer_at_a_time,
        an_error_within_a_turn_ends_it, a_stale_plan_is_a_conflict,
        batches_fill_a_segment_and_do_not_cross_it, the_tree_follows_the_entries,
        a_checkpoint_is_replaced_only_by_who_knows_the_last, a_payload_goes_when_an_entry_says_so,
        payloads_of_a_range_go_together, a_sealed_log_says_where_it_moved,
        a_copy_is_sealed_until_it_is_opened, closed_is_closed, a_released_store_goes_on,
    )
}  # fmt: skip


def check_source(new_name: Callable[[], LogName]) -> None:
    """Put a driver to every check of `LogSource`; `new_name` gives names of logs that are not there yet."""
    _check_all(SOURCE_CHECKS, new_name)


def check_store(new_name: Callable[[], LogName]) -> None:
    """Put a driver to every check of `Store`; `new_name` gives names of logs that are not there yet."""
    _check_all(STORE_CHECKS, new_name)


def check_one(name: str, log: LogName) -> None:
    """One of SOURCE_CHECKS or STORE_CHECKS, on a log that is not there yet."""
    (SOURCE_CHECKS | STORE_CHECKS)[name](LogMade(log, erasable_payloads=True))


def _check_all(checks: dict[str, Check], new_name: Callable[[], LogName]) -> None:
    for name in checks:
        try:
            check_one(name, new_name())
        except (AssertionError, AttestlogError) as error:
            raise AssertionError(f"{name}: {error}") from error
