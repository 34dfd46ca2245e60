"""Group commit without a log: what the queue promises, whoever leads, fails, is interrupted or closes."""

import ast
import asyncio
import inspect
import itertools
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from typing import Any, cast

import pytest

from attestlog._internal.core.batch import Prepared
from attestlog._internal.log import committer as committer_module
from attestlog._internal.log.committer import Committer, Group, Turn
from attestlog.errors import (
    BusyError,
    ClockError,
    ClosedError,
    ReentrantError,
    SignerError,
    UncertainCommitError,
    WriteFailedError,
)

PATIENCE_S = 60
"""A hang is a failure: no test here waits longer for another thread."""


@dataclass
class Item:
    """Stands for a prepared entry: the committer looks at its size and id, and whether it is alone."""

    name: str
    size_bytes: int = 1
    stands_alone: bool = False

    @property
    def entry_id(self) -> str:
        return f"id of {self.name}"


# Loops have functions of their own, as in the committer and for the same reason.


def names_of(group: Group[str]) -> list[str]:
    return [cast("Item", item).name for item in group.prepared]


def receipts_of(names: list[str]) -> list[str]:
    return [f"receipt {name}" for name in names]


class Book:
    """A commit function that writes names into a list. It can be held back and told to fail."""

    def __init__(
        self, room: int = 1_000, batch_entries_max: int = 100, batch_size_bytes: int = 1_000
    ) -> None:
        self.room = room
        self.names: list[str] = []
        self.batches: list[list[str]] = []
        self.before: Callable[[], None] = lambda: None
        """Called inside the commit, before it takes."""
        self.within: Callable[[list[str]], None] = lambda names: None
        """Called inside the commit, after it took and before it writes."""
        self.after: Callable[[list[str]], None] = lambda names: None
        """Called inside the commit, after it wrote."""
        self.finally_: Callable[[], object] = lambda: None
        """Called inside the commit, after it handed out."""
        self.in_turn = False
        self.forbidden: set[str] = set()
        """Names that the rules in force refuse."""
        self.wrap: Callable[[list[str]], Sequence[str]] = lambda receipts: receipts
        """What is handed out in place of the receipts."""
        self.committer: Committer[str] = Committer(self.commit, batch_entries_max, batch_size_bytes)

    def commit(self, turn: Turn[str]) -> None:
        assert not self.in_turn, "two turns at once"
        self.in_turn = True
        try:
            self.before()
            group = turn.take(self.room)
            self.refuse_forbidden(group)
            names = names_of(group)
            self.within(names)
            self.batches.append(names)
            self.names += names
            self.after(names)
            group.hand_out(self.wrap(receipts_of(names)))
            self.finally_()
        finally:
            self.in_turn = False

    def refuse_forbidden(self, group: Group[str]) -> None:
        for share in list(group.shares):
            for item in share.prepared:
                if cast("Item", item).name in self.forbidden:
                    group.refuse(share, ClockError(f"{cast('Item', item).name} is forbidden"))
                    break

    def append(self, *names: str, size_bytes: int = 1) -> list[str]:
        return self.committer.append(items(*names, size_bytes=size_bytes))

    def submit(self, name: str) -> Future[str]:
        return self.committer.submit(items(name)[0])


def items(*names: str, size_bytes: int = 1) -> list[Prepared]:
    return cast("list[Prepared]", [Item(name, size_bytes) for name in names])


class Runner:
    """Threads whose outcome is kept; every one must come to its end."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.outcomes: dict[str, Any] = {}

    def start(self, name: str, work: Callable[[], Any]) -> threading.Thread:
        def run() -> None:
            try:
                self.outcomes[name] = work()
            except BaseException as error:  # noqa: BLE001  the outcome is what the test looks at
                self.outcomes[name] = error

        thread = threading.Thread(target=run, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()
        return thread

    def join(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        hanging = [thread.name for thread in self.threads if thread.is_alive()]
        assert not hanging, f"these never came back: {hanging}"
        return self.outcomes


@pytest.fixture
def runner() -> Runner:
    return Runner()


@pytest.fixture
def book() -> Iterator[Book]:
    book = Book()
    yield book
    closing = Runner()
    closing.start("close", lambda: close(book.committer))
    closing.join()


def close(committer: Committer[str], last: Callable[[], Any] = lambda: None) -> str:
    try:
        committer.close(last)
    except ClosedError:
        return "was closed"
    return "closed"


def hold(book: Book) -> tuple[threading.Event, threading.Event]:
    """The next commit stops after taking: (it is there, let it go on)."""
    reached, go_on = threading.Event(), threading.Event()

    def within(names: list[str]) -> None:
        if not reached.is_set():
            reached.set()
            assert go_on.wait(PATIENCE_S)

    book.within = within
    return reached, go_on


def queued(book: Book, count: int) -> None:
    """Wait until so many callers stand in the queue."""
    deadline = time.monotonic() + PATIENCE_S
    while len(book.committer._queue) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


# --- receipts ---


def test_each_caller_gets_its_own_results_in_order(book: Book) -> None:
    assert book.append("a", "b") == ["receipt a", "receipt b"]
    assert book.append("c") == ["receipt c"]
    assert book.submit("d").result(PATIENCE_S) == "receipt d"
    assert book.names == ["a", "b", "c", "d"]


def test_whoever_waits_is_committed_together(book: Book, runner: Runner) -> None:
    reached, go_on = hold(book)
    runner.start("first", lambda: book.append("first"))
    assert reached.wait(PATIENCE_S)
    for number in range(5):
        runner.start(str(number), lambda number=number: book.append(f"n{number}"))  # type: ignore[misc]
    future = book.submit("future")
    queued(book, 6)
    go_on.set()
    outcomes = runner.join()
    assert future.result(PATIENCE_S) == "receipt future"
    assert [len(batch) for batch in book.batches] == [1, 6]
    assert outcomes == {"first": ["receipt first"]} | {str(n): [f"receipt n{n}"] for n in range(5)}


def test_many_threads_and_futures(book: Book, runner: Runner) -> None:
    def work(name: str) -> bool:
        for number in range(40):
            assert book.append(f"{name}.{number}") == [f"receipt {name}.{number}"]
        futures = [book.submit(f"{name}.f{number}") for number in range(20)]
        assert [future.result(PATIENCE_S) for future in futures] == [
            f"receipt {name}.f{number}" for number in range(20)
        ]
        return True

    for number in range(16):
        runner.start(f"t{number}", lambda number=number: work(f"t{number}"))  # type: ignore[misc]
    runner.start("many", lambda: book.append(*(f"m{n}" for n in range(700))))
    outcomes = runner.join()
    assert outcomes.pop("many") == [f"receipt m{n}" for n in range(700)]
    assert outcomes == {f"t{number}": True for number in range(16)}
    assert len(book.names) == len(set(book.names)) == 16 * 60 + 700
    for prefix in [*(f"t{number}." for number in range(16)), "m"]:
        mine = [name.removeprefix(prefix) for name in book.names if name.startswith(prefix)]
        numbers = [int(name) for name in mine if name.isdigit()]
        assert numbers == sorted(numbers), "the order within one caller is kept"


# --- batches ---


def test_a_long_list_goes_in_pieces_and_lets_others_in_between(runner: Runner) -> None:
    book = Book(room=10)
    reached, go_on = hold(book)
    runner.start("long", lambda: book.append(*(f"l{n}" for n in range(25))))
    assert reached.wait(PATIENCE_S)
    runner.start("short", lambda: book.append("s"))
    queued(book, 1)
    go_on.set()
    outcomes = runner.join()
    assert outcomes["long"] == [f"receipt l{n}" for n in range(25)]
    assert [len(batch) for batch in book.batches] == [10, 1, 10, 5]
    assert book.batches[1] == ["s"]


def test_a_list_that_fits_a_batch_is_not_torn_apart(runner: Runner) -> None:
    book = Book(batch_entries_max=10)
    reached, go_on = hold(book)
    runner.start("first", lambda: book.append("first"))
    assert reached.wait(PATIENCE_S)
    for name in "ab":
        runner.start(name, lambda name=name: book.append(*(f"{name}{n}" for n in range(6))))  # type: ignore[misc]
        queued(book, 1 if name == "a" else 2)
    go_on.set()
    runner.join()
    assert book.batches[1:] == [[f"a{n}" for n in range(6)], [f"b{n}" for n in range(6)]]


@pytest.mark.parametrize("sizes", [[1] * 40, [600, 600, 600], [5_000, 1, 1], [1_001] * 4])
def test_a_batch_is_bounded_in_bytes_even_for_one_caller(sizes: list[int]) -> None:
    book = Book(batch_size_bytes=1_000)
    prepared = cast("list[Prepared]", [Item(str(n), size) for n, size in enumerate(sizes)])
    book.committer.append(prepared)
    assert book.names == [str(n) for n in range(len(sizes))]
    for batch in book.batches:
        # What is over the limit is at most the entry that crossed it.
        assert sum(sizes[int(name)] for name in batch[:-1]) <= 1_000


# --- failures ---


def test_a_failure_reaches_the_batch_and_nobody_else(book: Book, runner: Runner) -> None:
    reached, go_on = hold(book)
    runner.start("first", lambda: book.append("first"))
    assert reached.wait(PATIENCE_S)
    for name in "abc":
        runner.start(name, lambda name=name: book.append(name))  # type: ignore[misc]
    futures = [book.submit("f"), book.submit("g")]
    queued(book, 5)
    original = WriteFailedError("the disk is broken", path="x")

    def fail(names: list[str]) -> None:
        raise original

    reached_within = book.within
    book.within = lambda names: reached_within(names) if names == ["first"] else fail(names)
    go_on.set()
    outcomes = runner.join()
    assert outcomes["first"] == ["receipt first"]
    raised = [outcomes[name] for name in "abc"] + [future.exception(PATIENCE_S) for future in futures]
    assert [type(error) for error in raised] == [WriteFailedError] * 5
    assert {str(error) for error in raised} == {"the disk is broken"}
    assert all(error.path == "x" for error in raised)
    assert len({id(error) for error in raised}) == 5, "each caller raises its own copy"
    book.within = lambda names: None
    assert book.append("next") == ["receipt next"]
    assert book.names == ["first", "next"]


def test_a_failure_before_the_batch_was_taken_reaches_everyone_waiting(book: Book, runner: Runner) -> None:
    reached, go_on = hold(book)
    runner.start("first", lambda: book.append("first"))
    assert reached.wait(PATIENCE_S)
    runner.start("a", lambda: book.append("a"))
    queued(book, 1)
    runner.start("task", lambda: book.committer.run(lambda: "ran"))
    queued(book, 2)
    calls: list[None] = []

    def busy() -> None:
        calls.append(None)
        if len(calls) == 1:
            raise BusyError("held by another")

    book.before = busy
    go_on.set()
    outcomes = runner.join()
    assert isinstance(outcomes["a"], BusyError)
    assert outcomes["task"] == "ran", "a task is no part of the batch that failed"


def test_a_foreign_exception_is_passed_on_too(book: Book, runner: Runner) -> None:
    def fail(names: list[str]) -> None:
        raise ZeroDivisionError("odd")

    book.within = fail
    with pytest.raises(ZeroDivisionError, match="odd"):
        book.append("a")
    assert isinstance(book.submit("b").exception(PATIENCE_S), ZeroDivisionError)
    book.within = lambda names: None
    assert book.append("c") == ["receipt c"]


def test_a_list_that_failed_halfway_says_how_much_is_committed() -> None:
    book = Book(room=10)

    def fail(names: list[str]) -> None:
        if "20" in names:
            raise SignerError("the device is gone", retryable=True)

    book.within = fail
    with pytest.raises(SignerError) as caught:
        book.append(*map(str, range(25)))
    assert len(book.names) == 20
    assert (caught.value.committed, caught.value.retryable) == (20, True)
    assert str(caught.value) == "the device is gone; the first 20 of 25 entries are committed"


def test_what_fails_after_results_were_handed_out_is_nobodys_failure(book: Book, runner: Runner) -> None:
    reached, go_on = hold(book)
    runner.start("first", lambda: book.append("first"))
    assert reached.wait(PATIENCE_S)
    runner.start("a", lambda: book.append("a"))
    queued(book, 1)
    futures = [book.submit("b"), book.submit("c")]
    book.finally_ = lambda: 1 // 0
    go_on.set()
    assert runner.join() == {"first": ["receipt first"], "a": ["receipt a"]}
    assert [future.result(PATIENCE_S) for future in futures] == ["receipt b", "receipt c"]


def test_a_group_that_nobody_handed_out_is_an_error_and_no_hang(book: Book) -> None:
    commit = book.committer._commit
    book.committer._commit = lambda turn: setattr(turn, "groups", [turn.take(10)])
    with pytest.raises(RuntimeError, match="not handed out"):
        book.append("a")
    assert isinstance(book.submit("b").exception(PATIENCE_S), RuntimeError)
    book.committer._commit = commit
    assert book.append("c") == ["receipt c"]


def test_two_groups_of_one_turn(book: Book, runner: Runner) -> None:
    """As a writer would do that plans the next batch while it flushes the last."""
    reached, go_on = hold(book)
    runner.start("first", lambda: book.append("first"))
    assert reached.wait(PATIENCE_S)
    futures = [book.submit(name) for name in "abcdef"]

    def commit(turn: Turn[str]) -> None:
        groups = [turn.take(2), turn.take(3)]
        for group in groups:
            names = [cast("Item", item).name for item in group.prepared]
            if "e" in names:
                raise SignerError("no")
            book.batches += [names] if names else []
            group.hand_out(names)

    book.committer._commit = commit
    go_on.set()
    runner.join()
    outcomes = [future.exception(PATIENCE_S) or future.result() for future in futures]
    assert outcomes[:2] == ["a", "b"]
    assert [type(outcome) for outcome in outcomes[2:]] == [SignerError] * 3 + [str]
    assert book.batches[1:] == [["a", "b"], ["f"]]


def test_a_task_fails_alone(book: Book) -> None:
    def task() -> None:
        raise SignerError("no")

    with pytest.raises(SignerError):
        book.committer.run(task)
    assert book.append("a") == ["receipt a"]


# --- interruptions ---


def test_an_interrupted_leader_tells_its_batch_that_the_outcome_is_unknown(
    book: Book, runner: Runner
) -> None:
    reached, go_on = hold(book)
    runner.start("first", lambda: book.append("first"))
    assert reached.wait(PATIENCE_S)
    for name in "abc":
        runner.start(name, lambda name=name: book.append(name))  # type: ignore[misc]
    future = book.submit("f")
    queued(book, 4)
    interrupted: list[str] = []

    def interrupt(names: list[str]) -> None:
        if not interrupted:
            interrupted.append(threading.current_thread().name)
            raise KeyboardInterrupt

    book.within = interrupt
    go_on.set()
    outcomes = runner.join()
    raised = {type(outcomes[name]) for name in "abc"}
    assert isinstance(outcomes[interrupted[0]], KeyboardInterrupt)
    assert raised == {KeyboardInterrupt, UncertainCommitError}
    for name in "abc":
        error = outcomes[name]
        if isinstance(error, UncertainCommitError):
            assert error.entry_ids == [f"id of {name}"]
    assert isinstance(future.exception(PATIENCE_S), UncertainCommitError)
    assert book.append("next") == ["receipt next"]


def test_an_interruption_before_the_batch_was_taken_concerns_nobody_else(book: Book, runner: Runner) -> None:
    reached, go_on = hold(book)
    runner.start("first", lambda: book.append("first"))
    assert reached.wait(PATIENCE_S)
    for name in "abc":
        runner.start(name, lambda name=name: book.append(name))  # type: ignore[misc]
    queued(book, 3)
    interrupted: list[str] = []

    def interrupt() -> None:
        if not interrupted:
            interrupted.append(threading.current_thread().name)
            raise KeyboardInterrupt

    book.before = interrupt
    go_on.set()
    outcomes = runner.join()
    assert isinstance(outcomes.pop(interrupted[0]), KeyboardInterrupt)
    assert all(outcomes[name] == [f"receipt {name}"] for name in outcomes)
    assert interrupted[0] not in book.names


def test_an_interruption_while_results_are_handed_out_leaves_nobody_waiting(
    book: Book, runner: Runner
) -> None:
    reached, go_on = hold(book)
    runner.start("first", lambda: book.append("first"))
    assert reached.wait(PATIENCE_S)
    for name in "abcd":
        runner.start(name, lambda name=name: book.append(name))  # type: ignore[misc]
    futures = [book.submit("f"), book.submit("g")]
    queued(book, 6)

    class Interrupting(list[str]):
        """Results whose third slice is interrupted, as a signal would."""

        slices = 0

        def __getitem__(self, index: Any) -> Any:
            self.slices += 1
            if self.slices == 3:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    book.wrap = Interrupting
    go_on.set()
    outcomes = runner.join()
    wait_for(futures, PATIENCE_S)
    kinds = [type(outcomes[name]) for name in "abcd"] + [type(future.exception(0)) for future in futures]
    assert kinds.count(KeyboardInterrupt) == 1
    assert kinds.count(list) + kinds.count(type(None)) <= 2
    assert UncertainCommitError in kinds
    assert len(book.names) == 7


def test_an_interruption_between_taking_and_leaving_the_queue_commits_nothing_later(book: Book) -> None:
    """Who was told that the outcome is unknown is not committed by the next turn as if it still waited."""

    class Interrupted(deque[Any]):
        """A queue whose next entry is interrupted just before it leaves."""

        left = 1

        def popleft(self) -> Any:
            if self.left and self[0].task is None:
                self.left = 0
                raise KeyboardInterrupt
            return super().popleft()

    book.committer._queue = Interrupted()
    future = book.submit("a")
    assert isinstance(future.exception(PATIENCE_S), UncertainCommitError)
    assert book.append("b") == ["receipt b"]
    assert book.names == ["b"]


@pytest.fixture
def knocking() -> Iterator[Callable[[], None]]:
    """A function that makes the main thread raise KeyboardInterrupt wherever it is, as Ctrl-C does."""

    def handler(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, handler)
    main = threading.main_thread().ident
    assert main is not None
    try:
        yield lambda: signal.pthread_kill(main, signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_waiting_caller_that_is_interrupted_leaves_the_queue(
    book: Book, runner: Runner, knocking: Callable[[], None]
) -> None:
    reached, go_on = hold(book)
    runner.start("first", lambda: book.append("first"))
    assert reached.wait(PATIENCE_S)

    def knock() -> None:
        queued(book, 1)
        knocking()

    runner.start("knock", knock)
    with pytest.raises(KeyboardInterrupt):
        book.append("interrupted")
    go_on.set()
    assert runner.join()["first"] == ["receipt first"]
    assert book.append("next") == ["receipt next"]
    assert "interrupted" not in book.names


def test_a_caller_interrupted_while_its_entries_are_committed_keeps_nobody_from_going_home(
    book: Book, runner: Runner, knocking: Callable[[], None]
) -> None:
    reached, go_on = hold(book)
    runner.start("first", lambda: book.append("first"))
    assert reached.wait(PATIENCE_S)
    gone = threading.Event()

    def within(names: list[str]) -> None:
        if "interrupted" in names:
            knocking()
            assert gone.wait(PATIENCE_S)

    def others() -> None:
        runner.start("a", lambda: book.append("a"))
        queued(book, 1)
        # Between two others in the queue, and so in the row in which they are sent home.
        queued(book, 2)
        for number, name in enumerate("bcd", start=3):
            runner.start(name, lambda name=name: book.append(name))  # type: ignore[misc]
            queued(book, number)
        book.within = within
        go_on.set()

    starter = runner.start("others", others)
    queued(book, 1)
    with pytest.raises(KeyboardInterrupt):
        book.append("interrupted")
    gone.set()
    starter.join(PATIENCE_S)
    outcomes = runner.join()
    assert all(outcomes[name] == [f"receipt {name}"] for name in "abcd")
    assert book.batches[1] == ["a", "interrupted", "b", "c", "d"]


def test_a_long_list_whose_caller_was_interrupted_wedges_nobody(
    runner: Runner, knocking: Callable[[], None]
) -> None:
    book = Book(batch_size_bytes=1_000)
    reached, go_on = hold(book)
    runner.start("first", lambda: book.append("first"))
    assert reached.wait(PATIENCE_S)
    runner.start("second", lambda: book.append("second"))
    queued(book, 1)
    being_committed, interrupted = threading.Event(), threading.Event()
    held = book.within

    def within(names: list[str]) -> None:
        held(names)
        if "l0" in names:
            being_committed.set()
            assert interrupted.wait(PATIENCE_S)

    book.within = within

    def knock() -> None:
        queued(book, 2)
        go_on.set()
        assert being_committed.wait(PATIENCE_S)
        knocking()

    runner.start("knock", knock)
    try:
        with pytest.raises(KeyboardInterrupt):
            book.append(*(f"l{n}" for n in range(5)), size_bytes=600)
    finally:
        interrupted.set()
    runner.start("next", lambda: book.append("next"))
    outcomes = runner.join()
    assert outcomes["second"] == ["receipt second"]
    assert outcomes["next"] == ["receipt next"]
    assert book.batches[1] == ["second", "l0", "l1"], "a piece of the list, led by another"
    assert "l2" not in book.names


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_signals_at_any_moment_wedge_nobody(book: Book, runner: Runner, knocking: Callable[[], None]) -> None:
    stop = threading.Event()

    def work(name: str) -> int:
        count = 0
        while not stop.is_set():
            try:
                if count % 3:
                    book.append(f"{name}.{count}")
                else:
                    book.submit(f"{name}.{count}").result(PATIENCE_S)
            except UncertainCommitError:
                pass
            count += 1
        return count

    for number in range(3):
        runner.start(f"t{number}", lambda number=number: work(f"t{number}"))  # type: ignore[misc]
    armed = threading.Event()
    knocks = [0]

    def knock() -> None:
        """One signal each time the main thread says it is ready for one."""
        while not stop.is_set():
            if armed.wait(0.01):
                armed.clear()
                time.sleep(knocks[0] % 7 * 0.000_05)
                knocking()
                knocks[0] += 1

    runner.start("knock", knock)
    numbers = itertools.count()
    interruptions = 0
    # The interpreter may be slow to hand a signal on: one that came outside of `try` would end pytest.
    is_exposed = False

    def handler(number: int, frame: object) -> None:
        if is_exposed:
            raise KeyboardInterrupt

    signal.signal(signal.SIGUSR1, handler)  # `knocking` restores what was before
    for number in range(300):
        try:
            is_exposed = True
            armed.set()
            while knocks[0] <= number:
                book.append(f"main.{next(numbers)}", f"main.{next(numbers)}")
            book.append(f"main.{next(numbers)}")
        except KeyboardInterrupt:
            interruptions += 1
        finally:
            is_exposed = False
    stop.set()
    outcomes = runner.join()
    # The interpreter swallows (and pytest would report) what is raised within a weak reference's callback.
    assert 250 < interruptions <= knocks[0] == 300
    assert all(outcomes[f"t{number}"] > 0 for number in range(3))
    assert len(book.names) == len(set(book.names)), "nothing is committed twice"


def test_no_loop_goes_round_while_the_lock_is_held() -> None:
    """In the function that holds it: see the module's docstring."""
    loops = (ast.For, ast.While, ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp)
    holding = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(committer_module)))
        if isinstance(node, ast.With) and ast.unparse(node.items[0].context_expr).endswith("._mutex")
    ]
    assert len(holding) > 5
    for node in holding:
        assert not [part for part in ast.walk(node) if isinstance(part, loops)], ast.unparse(node)


# --- one thread, twice ---


@pytest.mark.parametrize("way", ["append", "submit", "run", "close"])
def test_what_uses_the_log_in_a_thread_that_has_the_turn_is_told_at_once(book: Book, way: str) -> None:
    """As a signer would that logs to the log it signs for."""
    caught: list[ReentrantError] = []

    def again(names: list[str]) -> None:
        with pytest.raises(ReentrantError) as error:
            ways(book)[way]()
        caught.append(error.value)

    book.within = again
    assert book.append("first") == ["receipt first"]
    book.within = lambda names: None
    assert book.append("second") == ["receipt second"]
    assert (book.names, len(caught)) == (["first", "second"], 1)


def test_so_is_what_uses_it_in_the_background_thread_s_turn(book: Book) -> None:
    caught: list[ReentrantError] = []

    def again(names: list[str]) -> None:
        with pytest.raises(ReentrantError) as error:
            book.append("again")
        caught.append(error.value)

    book.within = again
    assert book.submit("first").result(PATIENCE_S) == "receipt first"
    assert len(caught) == 1


@pytest.mark.parametrize("way", ["append", "submit", "run", "close"])
def test_so_is_a_signal_handler_while_its_thread_waits(book: Book, runner: Runner, way: str) -> None:
    reached, go_on = hold(book)
    runner.start("first", lambda: book.append("first"))
    assert reached.wait(PATIENCE_S)
    caught: list[ReentrantError] = []

    def handler(number: int, frame: object) -> None:
        with pytest.raises(ReentrantError) as error:
            ways(book)[way]()
        caught.append(error.value)
        go_on.set()

    before, main = signal.signal(signal.SIGUSR1, handler), threading.main_thread().ident
    assert main is not None

    def knock() -> None:
        queued(book, 1)
        signal.pthread_kill(main, signal.SIGUSR1)

    try:
        runner.start("knock", knock)
        assert book.append("waits") == ["receipt waits"]
    finally:
        signal.signal(signal.SIGUSR1, before)
    runner.join()
    assert (book.names, len(caught)) == (["first", "waits"], 1)


def ways(book: Book) -> dict[str, Callable[[], object]]:
    return {
        "append": lambda: book.append("again"),
        "submit": lambda: book.submit("again"),
        "run": lambda: book.committer.run(lambda: None),
        "close": lambda: close(book.committer),
    }


# --- futures ---


def test_a_callback_may_append(book: Book, runner: Runner) -> None:
    done = threading.Event()
    seen: list[Any] = []

    def callback(future: Future[str]) -> None:
        seen.append(book.append("from the callback"))
        seen.append(book.committer.run(lambda: "ran"))
        done.set()

    book.submit("a").add_done_callback(callback)
    futures = [book.submit(f"f{number}") for number in range(50)]
    assert done.wait(PATIENCE_S)
    assert seen == [["receipt from the callback"], "ran"]
    assert [future.result(PATIENCE_S) for future in futures] == [f"receipt f{n}" for n in range(50)]


def test_a_callback_may_append_while_a_thread_leads(book: Book, runner: Runner) -> None:
    reached, go_on = hold(book)
    runner.start("first", lambda: book.append("first"))
    assert reached.wait(PATIENCE_S)
    future = book.submit("a")
    done = threading.Event()
    seen: list[Any] = []

    def callback(future: Future[str]) -> None:
        seen.append(book.append("from the callback"))
        done.set()

    future.add_done_callback(callback)
    runner.start("second", lambda: book.append("second"))
    queued(book, 2)
    go_on.set()
    assert done.wait(PATIENCE_S)
    assert seen == [["receipt from the callback"]]
    runner.join()


def test_a_future_cannot_be_cancelled_once_submitted(book: Book) -> None:
    future = book.submit("a")
    assert not future.cancel()
    assert future.result(PATIENCE_S) == "receipt a"


def test_a_thread_that_cannot_be_started_leaves_no_future_behind(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            book.submit("lost")
    assert book.append("a") == ["receipt a"]
    assert book.submit("b").result(PATIENCE_S) == "receipt b"
    assert book.names == ["a", "b"]


# --- tasks ---


def test_a_task_runs_after_what_was_there_before_it(book: Book, runner: Runner) -> None:
    reached, go_on = hold(book)
    runner.start("first", lambda: book.append("first"))
    assert reached.wait(PATIENCE_S)
    futures = [book.submit("a"), book.submit("b")]
    queued(book, 2)
    runner.start("task", lambda: book.committer.run(lambda: list(book.names)))
    queued(book, 3)
    futures.append(book.submit("c"))
    go_on.set()
    assert runner.join()["task"] == ["first", "a", "b"]
    wait_for(futures, PATIENCE_S)
    assert book.names == ["first", "a", "b", "c"]


# --- closing ---


def test_closing_commits_what_waits_and_refuses_the_rest(runner: Runner) -> None:
    book = Book(room=10)
    reached, go_on = hold(book)
    runner.start("long", lambda: book.append(*(f"l{n}" for n in range(25))))
    assert reached.wait(PATIENCE_S)
    future = book.submit("future")
    queued(book, 1)
    seen: list[list[str]] = []
    runner.start("close", lambda: close(book.committer, lambda: seen.append(list(book.names))))
    queued(book, 2)
    with pytest.raises(ClosedError):
        book.append("too late")
    with pytest.raises(ClosedError):
        book.submit("too late")
    go_on.set()
    outcomes = runner.join()
    assert outcomes == {"long": [f"receipt l{n}" for n in range(25)], "close": "closed"}
    assert future.result(0) == "receipt future", "delivered before close returns"
    assert seen == [book.names]
    assert len(book.names) == 26


def test_closing_twice(book: Book) -> None:
    future = book.submit("a")
    assert close(book.committer) == "closed"
    assert close(book.committer) == "was closed"
    assert future.result(0) == "receipt a"
    with pytest.raises(ClosedError, match="the log is closed"):
        book.append("b")


def test_closing_from_many_threads(book: Book, runner: Runner) -> None:
    book.submit("a")
    for number in range(8):
        runner.start(str(number), lambda: close(book.committer))
    assert sorted(runner.join().values()) == ["closed"] + ["was closed"] * 7


def test_closing_among_appends_answers_everyone(runner: Runner) -> None:
    for _ in range(30):
        book = Book()
        committed: list[str] = []

        def work(name: str, book: Book = book, committed: list[str] = committed) -> str:
            for count in range(10_000):
                try:
                    if count % 2:
                        committed += book.append(f"{name}.{count}")
                    else:
                        committed.append(book.submit(f"{name}.{count}").result(PATIENCE_S))
                except ClosedError:
                    return "closed"
            return "never closed"

        round_runner = Runner()
        for number in range(4):
            round_runner.start(f"t{number}", lambda number=number: work(f"t{number}"))  # type: ignore[misc]
        round_runner.start("close", lambda book=book: close(book.committer))  # type: ignore[misc]
        assert set(round_runner.join().values()) == {"closed"}
        assert sorted(committed) == sorted(f"receipt {name}" for name in book.names)


def test_closing_that_fails_still_closes(book: Book) -> None:
    book.submit("a").result(PATIENCE_S)

    def last() -> None:
        raise SignerError("no")

    with pytest.raises(SignerError):
        book.committer.close(last)
    with pytest.raises(ClosedError):
        book.append("b")


def test_closing_that_is_interrupted_can_be_repeated(
    book: Book, runner: Runner, knocking: Callable[[], None]
) -> None:
    reached, go_on = hold(book)
    runner.start("first", lambda: book.append("first"))
    assert reached.wait(PATIENCE_S)

    def knock() -> None:
        queued(book, 1)
        knocking()

    runner.start("knock", knock)
    with pytest.raises(KeyboardInterrupt):
        book.committer.close(lambda: None)
    go_on.set()
    runner.join()
    assert book.append("b") == ["receipt b"]
    assert close(book.committer) == "closed"


def test_a_callback_may_close(book: Book) -> None:
    done = threading.Event()
    seen: list[str] = []

    def callback(future: Future[str]) -> None:
        seen.append(close(book.committer))
        done.set()

    book.submit("a").add_done_callback(callback)
    assert done.wait(PATIENCE_S)
    assert seen == ["closed"]


def test_a_loop_is_woken_once_for_all_its_tasks(book: Book) -> None:
    woken: list[int] = []
    # The first batch is committed once all the others wait: they are one more.
    book.within = lambda names: queued(book, 60 - len(book.names) - len(names))

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        wake = loop.call_soon_threadsafe

        def counted(callback: Any, *arguments: Any) -> Any:
            woken.append(len(arguments[0]))
            return wake(callback, *arguments)

        loop.call_soon_threadsafe = counted  # type: ignore[assignment,method-assign]
        entries = items(*(f"t{number}" for number in range(60)))
        return list(await asyncio.gather(*map(book.committer.append_async, entries)))

    results = asyncio.run(main())
    assert len(results) == len(set(results)) == 60
    assert woken == [len(batch) for batch in book.batches]
    assert len(woken) <= 2


def test_a_loop_that_is_gone_holds_nobody_up(book: Book) -> None:
    held, go = threading.Event(), threading.Event()

    def wait(names: list[str]) -> None:
        held.set()
        assert go.wait(PATIENCE_S)

    book.within = wait

    async def leave() -> None:
        task = asyncio.create_task(book.committer.append_async(items("left")[0]))
        assert await asyncio.to_thread(held.wait, PATIENCE_S)
        task.cancel()

    asyncio.run(leave())  # the loop is closed while the entry is being committed
    book.within = lambda names: None
    future = book.submit("after")
    go.set()
    assert future.result(PATIENCE_S)
    assert book.append("last")
    assert book.names == ["left", "after", "last"]


# --- what stands alone, and what is refused late ---


def test_what_stands_alone_is_a_batch_of_its_own(book: Book, runner: Runner) -> None:
    hold, release = threading.Event(), threading.Event()

    def held() -> None:
        hold.set()
        assert release.wait(PATIENCE_S)

    book.before = held
    runner.start("first", lambda: book.append("first"))
    assert hold.wait(PATIENCE_S)
    book.before = lambda: None
    alone = [Item("c", stands_alone=True), Item("d", stands_alone=True)]
    mixed = cast("list[Prepared]", [Item("a"), Item("b"), *alone, Item("e")])
    futures = [book.committer.submit(item) for item in mixed]
    release.set()
    assert [future.result(PATIENCE_S) for future in futures] == [f"receipt {name}" for name in "abcde"]
    runner.join()
    assert ["c"] in book.batches
    assert ["d"] in book.batches
    assert book.names == ["first", *"abcde"]


def test_a_list_is_cut_around_what_stands_alone(book: Book) -> None:
    one = cast("list[Prepared]", [Item("a"), Item("b"), Item("c", stands_alone=True), Item("d")])
    assert book.committer.append(one) == [f"receipt {name}" for name in "abcd"]
    assert book.batches == [["a", "b"], ["c"], ["d"]]


def test_who_is_refused_in_its_turn_learns_of_it_and_nobody_else(book: Book, runner: Runner) -> None:
    hold, release = threading.Event(), threading.Event()

    def held() -> None:
        hold.set()
        assert release.wait(PATIENCE_S)

    book.before = held
    runner.start("first", lambda: book.append("first"))
    assert hold.wait(PATIENCE_S)
    book.before = lambda: None
    futures = {name: book.submit(name) for name in "abc"}
    runner.start("thread", lambda: book.append("d"))
    book.forbidden = {"b", "d"}
    release.set()
    outcomes = runner.join()
    assert outcomes["first"] == ["receipt first"]
    assert isinstance(outcomes["thread"], ClockError)
    assert futures["a"].result(PATIENCE_S) == "receipt a"
    assert futures["c"].result(PATIENCE_S) == "receipt c"
    with pytest.raises(ClockError, match="b is forbidden"):
        futures["b"].result(PATIENCE_S)
    assert book.names == ["first", "a", "c"]


def test_when_all_are_refused_the_queue_goes_on(book: Book) -> None:
    book.forbidden = {"a"}
    with pytest.raises(ClockError):
        book.append("a")
    assert book.append("b") == ["receipt b"]
