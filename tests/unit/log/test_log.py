"""The log as its callers use it: threads, tasks and futures at once, signers and clocks at fault, closing."""

import asyncio
import inspect
import itertools
import signal
import threading
import time
import typing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.support.descriptors import open_below
from tests.support.logs import checkpoint_file, contents, create, draft, drafts, last_segment, tree_file
from tests.support.slow import slow_after

from attestlog._internal.core.batch import Plan
from attestlog._internal.core.checkpoint import Checkpoint, open_checkpoint
from attestlog._internal.core.entry import Entry, EntryDraft
from attestlog._internal.core.signature import BATCH_ENTRIES_MAX
from attestlog._internal.log import Log, Receipt
from attestlog._internal.log.log import OpenOptions
from attestlog._internal.storage.files.layout import list_segments
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import (
    ClockError,
    ClosedError,
    DerivedMemberError,
    MalformedEntryError,
    SignerError,
    TooLargeError,
    UncertainCommitError,
)
from attestlog.testing import FaultSigner, ManualClock, MemorySigner, check_log

PATIENCE_S = 60


def payload(entry: Entry) -> dict[str, Any]:
    assert entry.action_payload is not None
    return entry.action_payload


def names(entries: list[Entry]) -> list[str]:
    return [str(payload(entry)["name"]) for entry in entries[1:]]


def named(name: str) -> dict[str, Any]:
    return draft(0, action_payload={"name": name})


def checkpointed(path: Path, log: Log) -> Checkpoint:
    return open_checkpoint(checkpoint_file(path).read_bytes(), log.genesis.checkpoint_keys)


# --- many callers ---


@pytest.mark.parametrize(
    "batch, segment_entries", slow_after(1, [(True, 97), (True, 65_536), (False, 97), (False, 65_536)])
)
def test_64_threads_and_a_list_of_5000(tmp_path: Path, batch: bool, segment_entries: int) -> None:
    path = tmp_path / "log"
    count = 5_000 if batch else 1_000  # each signed alone takes its time
    log = create(path, batch=batch, segment_entries=segment_entries)
    gate = threading.Barrier(65)
    kept: dict[str, Receipt] = {}

    def single(caller: int) -> None:
        gate.wait()
        for number in range(8):
            name = f"{caller}.{number}"
            kept[name] = log.append(named(name))
        future = log.submit(named(f"{caller}.8"))
        some = [f"{caller}.{number}" for number in range(9, 12)]
        kept.update(zip(some, log.append_many(map(named, some)), strict=True))
        kept[f"{caller}.8"] = future.result(PATIENCE_S)

    def many() -> None:
        gate.wait()
        some = [f"many.{number}" for number in range(count)]
        kept.update(zip(some, log.append_many(map(named, some)), strict=True))

    with ThreadPoolExecutor(65) as pool:
        for future in [pool.submit(many), *(pool.submit(single, caller) for caller in range(64))]:
            future.result(2 * PATIENCE_S)
    log.close()
    entries = check_log(path, kept.values())
    assert len(kept) == 64 * 12 + count == len(entries) - 1
    assert names(entries) == [
        name for name, _ in sorted(kept.items(), key=lambda item: item[1].sequence_number)
    ]
    for caller in [*map(str, range(64)), "many"]:
        own = [int(name.partition(".")[2]) for name in names(entries) if name.startswith(f"{caller}.")]
        assert own == sorted(own), "the order within one caller is kept"
    for name, receipt in kept.items():
        assert receipt.entry == entries[receipt.sequence_number]
        assert payload(receipt.entry)["name"] == name
    sizes = [
        int(entry.hsm_signature.split(":")[1].split("/")[1])
        for entry in entries
        if ":" in entry.hsm_signature
    ]
    assert (max(sizes) <= min(BATCH_ENTRIES_MAX, segment_entries)) if batch else sizes == []


def test_64_tasks(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path)

    async def task(caller: int) -> list[Receipt]:
        return [await log.append_async(named(f"{caller}.{number}")) for number in range(10)]

    async def main() -> list[list[Receipt]]:
        return await asyncio.gather(*map(task, range(64)))

    receipts = asyncio.run(main())
    log.close()
    entries = check_log(path, itertools.chain(*receipts))
    assert len(entries) == 641
    for caller, own in enumerate(receipts):
        assert [payload(receipt.entry)["name"] for receipt in own] == [f"{caller}.{n}" for n in range(10)]
        numbers = [receipt.sequence_number for receipt in own]
        assert numbers == sorted(numbers)


def test_a_cancelled_task_leaves_the_others_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    signer = FaultSigner(MemorySigner())
    log = create(path, signer=signer)
    signer.gate.clear()

    notes: list[str] = []

    async def append(number: int) -> Receipt:
        try:
            return await log.append_async(named(str(number)))
        except asyncio.CancelledError as error:
            notes.extend(error.__notes__)
            raise

    async def main() -> list[Receipt | BaseException]:
        tasks = [asyncio.create_task(append(number)) for number in range(4)]
        await asyncio.sleep(0.02)
        tasks[1].cancel()
        signer.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    outcomes = asyncio.run(main())
    log.close()
    assert [type(outcome) for outcome in outcomes] == [Receipt, asyncio.CancelledError, Receipt, Receipt]
    receipts = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
    # Who cancelled it knows what to look for.
    (note,) = notes
    others = {receipt.entry.entry_id for receipt in receipts}
    written = {entry.entry_id for entry in check_log(path, receipts)[1:]} - others
    assert all(entry_id in note for entry_id in written)
    assert note.startswith("entry ")


def test_a_task_that_waits_for_a_future_can_be_cancelled_and_the_receipt_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "log"
    signer = FaultSigner(MemorySigner())
    log = create(path, signer=signer)
    signer.gate.clear()
    future = log.submit(named("kept"))

    async def wait() -> Receipt:
        return await asyncio.wrap_future(future)

    async def main() -> None:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert not future.cancelled()
    signer.gate.set()
    receipt = future.result(PATIENCE_S)
    log.close()
    check_log(path, [receipt])


def test_the_event_loop_goes_on_while_a_signer_is_slow(tmp_path: Path) -> None:
    signer = FaultSigner(MemorySigner())
    log = create(tmp_path / "log", signer=signer)
    signer.gate.clear()

    async def main() -> Receipt:
        task = asyncio.create_task(log.append_async(named("slow")))
        for _ in range(5):
            await asyncio.sleep(0.001)
        assert not task.done()
        signer.gate.set()
        return await task

    assert asyncio.run(main()).sequence_number == 1
    log.close()


@pytest.mark.parametrize("was_written", [True, False])
def test_after_an_unknown_outcome_a_caller_can_look_whether_the_entry_is_there(
    tmp_path: Path, was_written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = create(tmp_path / "log")
    real = log._store.commit

    def commit(plan: Plan, lines: Sequence[bytes]) -> None:
        if was_written:
            real(plan, lines)
        raise UncertainCommitError("outcome unknown")

    monkeypatch.setattr(log._store, "commit", commit)
    with pytest.raises(UncertainCommitError) as raised:
        log.append_many([named("a"), named("b")])
    log.close()
    found = [entry.entry_id for entry in open_source(tmp_path / "log").entries(1)]
    assert len(raised.value.entry_ids) == 2
    assert found == (raised.value.entry_ids if was_written else [])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_signals_while_threads_append(tmp_path: Path) -> None:
    """Ctrl-C in the main thread, whether it leads or waits, takes nobody else's turn."""
    path = tmp_path / "log"
    log = create(path, segment_entries=500)
    stop = threading.Event()
    kept: list[Receipt] = []
    uncertain = itertools.count()

    def work(caller: int) -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            try:
                kept.append(log.append(named(f"{caller}.{number}")))
            except UncertainCommitError:
                next(uncertain)

    # The interpreter may be slow to hand a signal on: one that came outside of `try` would end pytest.
    is_exposed = False

    def handler(number: int, frame: object) -> None:
        if is_exposed:
            raise KeyboardInterrupt

    main = threading.main_thread().ident
    assert main is not None
    before = signal.signal(signal.SIGUSR1, handler)
    sent = [0]

    def knock() -> None:
        for number in range(40):
            armed.wait(PATIENCE_S)
            armed.clear()
            time.sleep(number % 9 * 0.000_2)
            signal.pthread_kill(main, signal.SIGUSR1)
            sent[0] += 1

    armed = threading.Event()
    threads = [threading.Thread(target=work, args=(caller,)) for caller in range(6)]
    threads.append(threading.Thread(target=knock))
    try:
        for thread in threads:
            thread.start()
        numbers = itertools.count()
        for number in range(40):
            try:
                is_exposed = True
                armed.set()
                while sent[0] <= number:
                    kept.append(log.append(named(f"main.{next(numbers)}")))
                kept.append(log.append(named(f"main.{next(numbers)}")))
            except KeyboardInterrupt:
                pass
            finally:
                is_exposed = False
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)
        signal.signal(signal.SIGUSR1, before)
    assert not any(thread.is_alive() for thread in threads)
    kept.append(log.append(named("last.0")))
    log.close()
    found = names(check_log(path, kept))
    assert len(found) == len(set(found)), "nothing is written twice"


# --- asyncio ---


def test_a_service_opens_appends_asks_and_closes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    create(path).close()

    async def main() -> tuple[Log, Receipt, list[Entry]]:
        async with await Log.open_async(path, clock=ManualClock()) as log:
            receipt = await log.append_async(named("asked for"))
            return log, receipt, [entry async for entry in log.query_async(actor_id="agent-1")]

    log, receipt, found = asyncio.run(main())
    assert [entry.sequence_number for entry in found] == [1]
    assert checkpointed(path, log).size == 2, "closed"
    with pytest.raises(ClosedError):
        log.append(named("too late"))
    check_log(path, [receipt])


def test_a_log_whose_opening_is_cancelled_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    create(path).close()
    begun, go_on, closed = threading.Event(), threading.Event(), threading.Event()
    open_log, close = Log.open, Log.close

    def held(*args: Any, **options: Any) -> Log:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return open_log(*args, **options)

    def noted(log: Log) -> None:
        close(log)
        closed.set()

    monkeypatch.setattr(Log, "open", held)
    monkeypatch.setattr(Log, "close", noted)

    async def main() -> None:
        task = asyncio.create_task(Log.open_async(path))
        await asyncio.to_thread(begun.wait, PATIENCE_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        assert await asyncio.to_thread(closed.wait, PATIENCE_S)

    asyncio.run(main())


def test_the_loop_goes_on_while_a_log_is_closed(tmp_path: Path) -> None:
    signer = FaultSigner(MemorySigner("Ed25519"))
    log = create(tmp_path / "log", checkpoint_signer=signer)
    log.append(named("to be covered"))
    signer.reached.clear()
    signer.gate.clear()

    async def main() -> None:
        closing = asyncio.create_task(log.close_async())
        assert await asyncio.to_thread(signer.reached.wait, PATIENCE_S)
        assert not closing.done()
        signer.gate.set()
        await closing

    asyncio.run(main())
    assert len(check_log(tmp_path / "log")) == 2


def test_options_that_are_passed_on_are_those_of_open() -> None:
    parameters = inspect.signature(Log.open).parameters
    hints = typing.get_type_hints(Log.open)
    names = [name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    assert typing.get_type_hints(OpenOptions) == {name: hints[name] for name in names}


# --- drafts ---


@pytest.mark.parametrize(
    "bad, error",
    [
        ({"event_type": "NONSENSE"}, MalformedEntryError),
        ({"actor_id": ""}, MalformedEntryError),
        ({"action_type": "x" * 257}, MalformedEntryError),
        ({"unknown": 1}, MalformedEntryError),
        ({"sequence_number": 5}, MalformedEntryError),
        ({"action_payload": {"x": float("nan")}}, MalformedEntryError),
        ({"action_payload": {"x": "\ud800"}}, MalformedEntryError),
        ({"action_type": "\ud800"}, MalformedEntryError),
        ({"action_payload": {"x": 2**60}}, MalformedEntryError),
        ({"k_state": 0}, DerivedMemberError),
        ({"action_payload": {"x": "y" * (17 << 20)}}, TooLargeError),
        ({"actor_context": {"x": "y" * 70_000}}, TooLargeError),
    ],
)
def test_a_bad_draft_fails_alone_and_before_anything_is_written(
    tmp_path: Path, bad: dict[str, Any], error: type[Exception]
) -> None:
    path = tmp_path / "log"
    log = create(path)
    before = contents(path)
    members = draft(1) | bad
    calls: list[Callable[[], object]] = [
        lambda: log.append(members),
        lambda: log.append(**members),
        lambda: log.submit(members),
        lambda: log.append_many([draft(1), members, draft(2)]),
        lambda: asyncio.run(log.append_async(members)),
    ]
    for call in calls:
        with pytest.raises(error):
            call()
        assert contents(path) == before
    receipt = log.append(draft(3))
    log.close()
    assert len(check_log(path, [receipt])) == 2


def test_drafts_made_by_hand_are_checked(tmp_path: Path) -> None:
    log = create(tmp_path / "log")
    with pytest.raises(MalformedEntryError):
        log.append(EntryDraft(event_type="NONSENSE", action_type="a", actor_id="b"))  # type: ignore[arg-type]
    good = EntryDraft(event_type="ACTION", action_type="a", actor_id="b")  # type: ignore[arg-type]
    assert log.append(good).sequence_number == 1
    log.close()


def test_what_append_cannot_mean(tmp_path: Path) -> None:
    log = create(tmp_path / "log")
    with pytest.raises(TypeError, match="a draft or members"):
        log.append(draft(1), actor_id="x")  # type: ignore[call-overload]
    with pytest.raises(MalformedEntryError):
        log.append()  # type: ignore[call-overload]
    assert log.append_many([]) == []
    assert log.append_many(iter([])) == []
    log.close()


def test_a_list_that_raises_while_it_is_read_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path)
    before = contents(path)

    def some() -> Iterator[dict[str, Any]]:
        yield draft(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        log.append_many(some())
    assert contents(path) == before
    log.close()


def test_a_draft_changed_after_it_was_handed_over(tmp_path: Path) -> None:
    signer = FaultSigner(MemorySigner())
    log = create(tmp_path / "log", signer=signer)
    members = named("before")
    signer.gate.clear()
    future = log.submit(members)
    members["action_payload"]["name"] = "after"
    signer.gate.set()
    assert payload(future.result(PATIENCE_S).entry) == {"name": "before"}
    log.close()
    check_log(tmp_path / "log")


def test_six_kinds_of_event(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with create(path) as log:
        for kind in ("action", "decision", "violation", "change", "boot", "shutdown"):
            receipt: Receipt = getattr(log, kind)("x", actor_id="a", severity=3)
            assert (receipt.entry.event_type, receipt.entry.severity) == (kind.upper(), 3)
    assert len(check_log(path)) == 7


def test_erasable_payloads_are_salted_each_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with create(path, settings=None, erasable_payloads=True) as log:
        receipts = log.append_many([named("same")] * 3)
    salts = {payload(receipt.entry).pop("_salt") for receipt in receipts}
    assert len(salts) == 3
    assert all(len(bytes.fromhex(salt)) == 16 for salt in salts)
    assert len({receipt.entry.action_hash for receipt in receipts}) == 3
    assert "_salt" not in payload(check_log(path, receipts)[0])


def test_batches_and_plain_entries(tmp_path: Path) -> None:
    for batch in (True, False):
        with create(tmp_path / str(batch), batch=batch) as log:
            alone = log.append(draft(1)).entry
            some = [receipt.entry for receipt in log.append_many(drafts(range(2, 5)))]
        assert not alone.signature_algorithm.endswith("+BATCH")
        assert [entry.signature_algorithm.endswith("+BATCH") for entry in some] == [batch] * 3
        check_log(tmp_path / str(batch))


# --- signers ---


def garbage(message: bytes) -> bytes:
    return b"\x30\x06garbage"


def broken(message: bytes) -> bytes:
    raise RuntimeError("the cable fell out")


def gone(message: bytes) -> bytes:
    raise SignerError("the device is gone", retryable=True)


ANSWERS: dict[str, Callable[[bytes], Any]] = {
    "garbage": garbage, "raises": broken, "says so": gone, "empty": lambda message: b"",
    "too long": lambda message: bytes(5_000), "nothing": lambda message: None,
    "text": lambda message: "signature", "another key": MemorySigner().sign,
    "another message": lambda message: b"",
}  # fmt: skip


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_signer_at_fault_writes_nothing_and_may_recover(tmp_path: Path, answer: str, batch: bool) -> None:
    path = tmp_path / "log"
    signer = FaultSigner(MemorySigner())
    log = create(path, signer=signer, batch=batch)
    receipts = [log.append(draft(1))]
    before = contents(path)
    inner = signer.inner
    signer.answer = (
        (lambda message: inner.sign(message + b"x")) if answer == "another message" else ANSWERS[answer]
    )
    for call in (lambda: log.append(draft(2)), lambda: log.append_many(drafts([3, 4]))):
        with pytest.raises(SignerError) as caught:
            call()
        assert type(caught.value) is SignerError
        assert caught.value.retryable is (answer == "says so")
    assert isinstance(log.submit(draft(5)).exception(PATIENCE_S), SignerError)
    assert contents(path) == before
    signer.answer = None
    receipts.append(log.append(draft(6)))
    log.close()
    # Genesis, the two, and before the second what was refused meanwhile.
    _, _, told, _ = check_log(path, receipts)
    assert told.action_type == "attestlog.signer_outage"
    assert (told.action_payload or {})["refused_entries"] == 4


def test_one_bad_signature_among_many_writes_none(tmp_path: Path) -> None:
    path = tmp_path / "log"
    signer = FaultSigner(MemorySigner())
    log = create(path, signer=signer, batch=False)
    before = contents(path)
    calls = itertools.count()
    signer.answer = lambda message: b"" if next(calls) == 3 else signer.inner.sign(message)
    with pytest.raises(SignerError, match="does not verify"):
        log.append_many(drafts(range(5)))
    assert contents(path) == before
    log.close()


def test_readers_do_not_wait_for_a_slow_signer(tmp_path: Path) -> None:
    path = tmp_path / "log"
    signer = FaultSigner(MemorySigner())
    log = create(path, signer=signer)
    kept = log.append(draft(1))
    signer.reached.clear()
    signer.gate.clear()
    future = log.submit(draft(2))
    assert signer.reached.wait(PATIENCE_S)
    assert open_source(path).size() == 2
    assert open_source(path).entry(1).entry_hash == kept.entry_hash
    assert not future.done()
    signer.gate.set()
    future.result(PATIENCE_S)
    log.close()


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_checkpoint_signer_at_fault(tmp_path: Path, answer: str) -> None:
    path = tmp_path / "log"
    signer = FaultSigner(MemorySigner("Ed25519"))
    log = create(path, checkpoint_signer=signer, segment_entries=4)
    before = checkpoint_file(path).read_bytes()
    signer.answer = ANSWERS[answer]
    receipts = log.append_many(drafts(range(1, 14)))  # over three segments: nobody is held up
    with pytest.raises(SignerError):
        log.checkpoint()
    assert checkpoint_file(path).read_bytes() == before
    with pytest.raises(SignerError):
        log.close()
    with pytest.raises(ClosedError):
        log.append(draft(14))
    with Log.open(path) as opened:
        receipts.append(opened.append(draft(15)))
    assert len(check_log(path, receipts)) == 15


def test_signers_that_were_given_are_left_open_by_an_opening_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "log"
    create(path).close()
    signer = MemorySigner()
    with pytest.raises(SignerError, match="the log is signed by"):
        Log.open(path, signer=signer)
    assert signer.sign(b"message")


# --- time ---


def test_a_clock_that_steps(tmp_path: Path) -> None:
    path = tmp_path / "log"
    clock = ManualClock()
    log = create(path, clock=clock)
    receipts = [log.append(draft(1))]
    clock.advance(-30)
    receipts.append(log.append(draft(2)))
    assert receipts[0].timestamp == receipts[1].timestamp
    clock.advance(-30)
    receipts.append(log.append(draft(3)))
    before = contents(path)
    clock.advance(-0.000_001)
    for call in (lambda: log.append(draft(4)), lambda: log.append_many(drafts([4, 5]))):
        with pytest.raises(ClockError, match="behind the last entry") as caught:
            call()
        assert caught.value.tolerance_s == 60
    assert contents(path) == before
    clock.advance(0.000_001)
    receipts.append(log.append(draft(6)))
    clock.advance(20 * 365 * 86_400)
    with pytest.raises(ClockError, match="days ahead of the last entry"):
        log.append(draft(7))
    clock.advance(-10 * 365 * 86_400)
    receipts.append(log.append(draft(7)))
    assert receipts[-1].timestamp > receipts[0].timestamp
    log.close()
    with Log.open(path, clock=ManualClock()) as opened, pytest.raises(ClockError):
        opened.append(draft(8))
    check_log(path, receipts)


@pytest.mark.parametrize("now_us", [10**18, -(10**18), 253_402_300_800_000_000])
def test_a_clock_that_is_no_clock(tmp_path: Path, now_us: int) -> None:
    path = tmp_path / "log"
    clock = ManualClock()
    log = create(path, clock=clock)
    before = contents(path)
    clock.now_us = now_us
    with pytest.raises(ClockError):
        log.append(draft(1))
    assert contents(path) == before
    log.close()


# --- checkpoints ---


def test_a_checkpoint_on_request_at_each_segments_end_and_on_close(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path, segment_entries=10)
    assert checkpointed(path, log).size == 1
    log.append_many(drafts(range(1, 6)))
    assert checkpointed(path, log).size == 1
    note = log.checkpoint()
    assert note == checkpoint_file(path).read_bytes()
    assert checkpointed(path, log).size == 6
    assert log.checkpoint() == note, "nothing new, nothing signed"
    log.append_many(drafts(range(6, 12)))
    assert checkpointed(path, log).size == 10
    log.append_many(drafts(range(12, 35)))
    assert checkpointed(path, log).size == 30
    head = log.head()
    assert (head.size, len(list_segments(path))) == (35, 4)
    log.close()
    assert checkpointed(path, log) == Checkpoint(log.origin, 35, head.edge.root())
    check_log(path)


def test_a_checkpoint_takes_in_what_others_wrote(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path)
    other = Log.open(path, clock=ManualClock())
    other.append_many(drafts(range(1, 4)))
    log.checkpoint()
    assert checkpointed(path, log).size == 4
    log.close()
    assert other.append(draft(4)).sequence_number == 4
    other.close()
    assert checkpointed(path, log).size == 5
    check_log(path)


# --- closing ---


def test_closed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path)
    future = log.submit(draft(1))
    log.close()
    log.close()
    assert future.result(0).sequence_number == 1
    calls: list[Callable[[], object]] = [
        lambda: log.append(draft(2)), lambda: log.append_many([draft(2)]), lambda: log.submit(draft(2)),
        log.checkpoint, log.head, lambda: asyncio.run(log.append_async(draft(2))),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ClosedError):
            call()
    assert repr(log) == f"Log({str(path)!r}, origin='example.com/made')"
    assert len(check_log(path)) == 2


def test_a_with_block_closes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with pytest.raises(ZeroDivisionError), create(path) as log:
        log.append(draft(1))
        raise ZeroDivisionError
    with pytest.raises(ClosedError):
        log.append(draft(2))
    assert checkpointed(path, log).size == 2


def test_closing_among_appends(tmp_path: Path) -> None:
    for number in range(6):
        path = tmp_path / str(number)
        log = create(path, segment_entries=50)
        kept: list[Receipt] = []
        started = threading.Barrier(9)

        def work(
            caller: int, log: Log = log, kept: list[Receipt] = kept, started: threading.Barrier = started
        ) -> str:
            started.wait()
            for count in itertools.count():
                try:
                    if caller == 0:
                        kept.extend(
                            log.append_many(map(named, (f"{caller}.{count}.{n}" for n in range(120))))
                        )
                    elif caller % 2:
                        kept.append(log.append(named(f"{caller}.{count}")))
                    else:
                        kept.append(log.submit(named(f"{caller}.{count}")).result(PATIENCE_S))
                except ClosedError as error:
                    return str(error)
            return "never"

        with ThreadPoolExecutor(8) as pool:
            callers = [pool.submit(work, caller) for caller in range(8)]
            started.wait()
            time.sleep(0.01 * number)
            log.close()
            assert {caller.result(PATIENCE_S) for caller in callers} == {"the log is closed"}
        entries = check_log(path, kept)
        assert len(entries) == 1 + len(kept), "who got no receipt wrote nothing"
        assert checkpointed(path, log).size == len(entries)


def test_nothing_is_left_open(tmp_path: Path) -> None:
    threads = set(threading.enumerate())
    for number in range(5):
        log = create(tmp_path / str(number), segment_entries=100)
        log.append_many(drafts(range(1, 600)))
        log.submit(draft(600)).result(PATIENCE_S)
        log.close()
        Log.open(tmp_path / str(number)).close()
    assert open_below(tmp_path) == []
    assert set(threading.enumerate()) <= threads
    assert last_segment(tmp_path / "0").exists()
    assert tree_file(tmp_path / "0", 1).exists()


def test_a_violation_is_an_error_where_nothing_else_is_said(log: Log) -> None:
    entry = log.violation("breach", actor_id="agent-7").entry
    assert (entry.event_category, entry.severity) == ("ERROR", 7)
    assert log.violation("breach", actor_id="agent-7", event_category="CRITICAL").entry.severity == 10
