"""What every store promises (`storage.contract`), asked of each driver alike.

A new driver adds a line to DRIVERS and passes.
"""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from tests.support.logs import create, draft

from attestlog._internal.config import read_config
from attestlog._internal.core.batch import Head, Plan, plan_batch, prepare
from attestlog._internal.core.checkpoint import Checkpoint, sign_checkpoint
from attestlog._internal.core.entry import decode_line, parse_draft
from attestlog._internal.core.genesis import Genesis
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.merkle import edge_from_stored, stored_ranges
from attestlog._internal.core.rules import Rules
from attestlog._internal.ids import new_entry_id
from attestlog._internal.signers import open_signer
from attestlog._internal.storage.contract import Store
from attestlog._internal.storage.files.reader import LogReader
from attestlog._internal.storage.files.store import FileStore
from attestlog.errors import BusyError, ClosedError, ConflictError, CorruptError

SEGMENT_ENTRIES = 10


class Driver(Protocol):
    """Makes one log of one entry, opens it as often as asked, and reads its lines back from outside."""

    def open(self, *, lock_timeout_s: float = 20) -> Store: ...

    def lines(self) -> list[bytes]: ...


class Files:
    """The embedded directory."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "log"
        create(self.root, segment_entries=SEGMENT_ENTRIES).close()

    def open(self, *, lock_timeout_s: float = 20) -> Store:
        return FileStore(self.root, lock_timeout_s=lock_timeout_s)

    def lines(self) -> list[bytes]:
        return list(LogReader(self.root).lines())


DRIVERS: dict[str, Callable[[Path], Driver]] = {"files": Files}


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Driver:
    return DRIVERS[request.param](tmp_path)


@pytest.fixture
def store(driver: Driver) -> Iterator[Store]:
    store = driver.open()
    yield store
    store.close()


def planned(store: Store, head: Head, count: int) -> tuple[Plan, list[bytes]]:
    """A batch of `count` after this head, signed."""
    genesis: Genesis = store.genesis
    (key,) = genesis.entry_keys.values()
    prepared = [
        prepare(parse_draft(draft(head.size + n)), genesis.policy, entry_id=new_entry_id(), environment={})
        for n in range(count)
    ]
    plan = plan_batch(
        head, prepared, head.timestamp_us + 1, algorithm=key.algorithm, key_id=key.key_id, batched=True,
        pointers=Rules.of(genesis).pointers,
    )
    signer = open_signer(read_config(store.source).signers.entry)
    return plan, plan.seal([signer.sign(message) for message in plan.messages])


def append(store: Store, count: int) -> list[bytes]:
    with store.exclusive() as head:
        plan, lines = planned(store, head, count)
        store.commit(plan, lines)
    return lines


def signed(store: Store, head: Head) -> bytes:
    (vkey,) = store.genesis.checkpoint_keys
    signer = open_signer(read_config(store.source).signers.checkpoint)
    checkpoint = Checkpoint(store.genesis.origin, head.size, head.edge.root())
    return sign_checkpoint(checkpoint, [(vkey, signer.sign)])


def place(head: Head) -> tuple[int, str, int, bytes]:
    return head.size, head.entry_hash, head.timestamp_us, head.edge.root()


def test_what_is_committed_is_there_in_order_and_after_opening_again(driver: Driver, store: Store) -> None:
    lines = [*append(store, 1), *append(store, 3), *append(store, 5)]
    assert driver.lines()[1:] == lines
    with store.exclusive() as head:
        before = place(head)
    store.close()
    opened = driver.open()
    with opened.exclusive() as head:
        assert place(head) == before
        last = decode_line(lines[-1])
        assert (head.size, head.entry_hash) == (10, last.entry_hash)
    opened.close()


def test_the_head_takes_in_what_others_committed(driver: Driver, store: Store) -> None:
    other = driver.open()
    lines: list[bytes] = []
    for count in (1, 4, 10, 10, 1, 9, 3, 10, 10, 2):
        lines += append(other, min(count, other.room(1 + len(lines))))
        lines += append(store, 1)
    assert driver.lines()[1:] == lines
    with store.exclusive() as mine:
        mine_place = place(mine)
    with other.exclusive() as theirs:
        assert place(theirs) == mine_place
    other.close()


def test_one_committer_at_a_time(driver: Driver, store: Store) -> None:
    other = driver.open(lock_timeout_s=0.05)
    order: list[str] = []
    inside = threading.Event()
    with store.exclusive(), pytest.raises(BusyError), other.exclusive():
        order.append("never")
    waiting = driver.open()

    def wait() -> None:
        inside.set()
        with waiting.exclusive():
            order.append("other")

    thread = threading.Thread(target=wait)
    with store.exclusive():
        thread.start()
        assert inside.wait(20)
        order.append("first")
    thread.join(20)
    assert order == ["first", "other"]
    other.close()
    waiting.close()


def test_an_exception_inside_lets_the_next_one_in(driver: Driver, store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.exclusive():
        raise ZeroDivisionError
    other = driver.open(lock_timeout_s=1)
    append(other, 1)
    append(store, 1)
    assert len(driver.lines()) == 3
    other.close()


def test_a_plan_that_does_not_follow_the_head_is_a_conflict(driver: Driver, store: Store) -> None:
    with store.exclusive() as head:
        stale, stale_lines = planned(store, head, 2)
    lines = append(store, 1)
    with store.exclusive(), pytest.raises(ConflictError) as caught:
        store.commit(stale, stale_lines)
    assert (caught.value.expected, caught.value.found) == (1, 2)
    assert driver.lines()[1:] == lines
    append(store, 1)


def test_batches_fill_a_segment_and_do_not_cross_it(driver: Driver, store: Store) -> None:
    assert [store.room(size) for size in (0, 1, 9, 10, 11, 25)] == [10, 9, 1, 10, 9, 5]
    with store.exclusive() as head:
        plan, lines = planned(store, head, 10)
        with pytest.raises(ConflictError, match="of 10 entries does not fit, 9 do"):
            store.commit(plan, lines)
        plan, lines = planned(store, head, 9)
        store.commit(plan, lines)
    lines += append(store, 10)
    lines += append(store, 2)
    assert driver.lines()[1:] == lines


def test_the_tree_follows_the_entries(driver: Driver, store: Store) -> None:
    lines = [*driver.lines(), *append(store, 4), *append(store, 1)]
    leaves = [leaf_hash(bytes.fromhex(decode_line(line).entry_hash)) for line in lines]
    assert store.hashes(0, 0, 6) == leaves
    assert store.hashes(0, 2, 4) == leaves[2:4]
    with store.exclusive() as head:
        runs = [store.hashes(*run) for run in stored_ranges(head.size)]
        assert edge_from_stored(head.size, runs).root() == head.edge.root()
    for level, start, stop in ((0, 0, 7), (0, 6, 7), (1, 0, 1), (5, 0, 1)):
        with pytest.raises(CorruptError):
            store.hashes(level, start, stop)


def test_a_checkpoint_is_replaced_only_by_who_knows_the_last(driver: Driver, store: Store) -> None:
    other = driver.open()
    first = store.checkpoint()
    assert first is not None
    append(store, 1)
    with store.exclusive() as head:
        second = signed(store, head)
        for wrong in (None, second, first[:-1]):
            with pytest.raises(ConflictError):
                store.replace_checkpoint(wrong, second)
        assert store.checkpoint() == first
        store.replace_checkpoint(first, second)
    assert store.checkpoint() == other.checkpoint() == second
    append(other, 1)
    with other.exclusive() as head:
        with pytest.raises(ConflictError):
            other.replace_checkpoint(first, signed(other, head))
        other.replace_checkpoint(second, signed(other, head))
    other.close()
    assert store.checkpoint() != second
    opened = driver.open()
    assert opened.checkpoint() == store.checkpoint()
    opened.close()


def test_closed_is_closed(driver: Driver) -> None:
    store = driver.open()
    store.close()
    store.close()
    with pytest.raises(ClosedError), store.exclusive():
        pass
    opened = driver.open()
    append(opened, 1)
    opened.close()


def test_it_knows_its_genesis_and_its_signers(store: Store) -> None:
    genesis: Any = store.genesis
    assert genesis.settings.segment_entries == SEGMENT_ENTRIES
    assert open_signer(read_config(store.source).signers.entry).public_key.key_id in genesis.entry_keys
