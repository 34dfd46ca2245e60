"""The thread of a driver: a call that hangs holds up nobody for longer than the timeout."""

import threading

import pytest

from attestlog._internal.signers.worker import HungError, Worker


def test_all_work_is_done_by_one_thread() -> None:
    worker = Worker("driver")
    names = {worker.call(threading.current_thread, 30) for _ in range(20)}
    assert len(names) == 1
    assert names != {threading.current_thread()}


@pytest.mark.parametrize("raised", [ValueError("mine"), TimeoutError("mine, too"), KeyboardInterrupt()])
def test_what_the_work_raises_is_raised(raised: BaseException) -> None:
    worker = Worker("driver")

    def work() -> None:
        raise raised

    with pytest.raises(type(raised)) as caught:
        worker.call(work, 30)
    assert caught.value is raised
    assert worker.call(lambda: 7, 30) == 7


def hang(worker: Worker, gate: threading.Event) -> None:
    """Give up on a call that is being made; one that was not begun in time is not made at all."""
    while not worker.is_hung:
        with pytest.raises(HungError):
            worker.call(gate.wait, 0.01)


def test_while_a_call_hangs_others_are_told_at_once_and_not_done_later() -> None:
    worker, gate, done = Worker("driver"), threading.Event(), []
    hang(worker, gate)
    with pytest.raises(HungError):
        worker.call(lambda: done.append("refused"), 3_600)
    gate.set()
    come_back(worker)
    worker.call(lambda: done.append("after"), 30)
    assert done == ["after"]


def come_back(worker: Worker) -> None:
    while worker.is_hung:
        threading.Event().wait(0.001)


def test_what_waited_too_long_behind_another_is_not_done_later() -> None:
    worker, gate, begun, done = Worker("driver"), threading.Event(), threading.Event(), []

    def slow() -> None:
        begun.set()
        gate.wait()

    first = threading.Thread(target=worker.call, args=(slow, 3_600))
    first.start()
    begun.wait()
    with pytest.raises(HungError):
        worker.call(lambda: done.append("late"), 0.01)
    gate.set()
    first.join()
    worker.call(lambda: done.append("after"), 30)
    assert done == ["after"]


def test_what_is_owed_is_done_when_the_driver_is_back() -> None:
    worker, gate, done = Worker("driver"), threading.Event(), threading.Event()
    hang(worker, gate)
    with pytest.raises(HungError):
        worker.call(done.set, 30, is_owed=True)
    gate.set()
    assert done.wait(30)
