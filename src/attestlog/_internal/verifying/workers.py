"""Several processes at one list of work, results in order.

Plain child processes with pipes, because `multiprocessing` runs the caller's
main module again in each child, which a library must not ask its users to
guard against, and because `fork` is unsafe where there are threads. A child
that cannot be started, or dies, costs nothing but time: its share is done here.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from queue import SimpleQueue
from typing import Any, Final, Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

WORKERS_MAX: Final = 16
"""Beyond it, joining the results in one process is what takes the time."""

AHEAD: Final = 2
"""Items under way for each worker: none waits for work, and memory stays flat."""

GARBAGE_MAX: Final = 100_000
"""Objects a child makes before cycles are looked for: some 20 MB, should there be any."""

_START: Final = (
    f"import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from {__name__} import serve; serve()"
)


def available() -> int:
    """How many workers this machine has processors for."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, WORKERS_MAX)


def map_ordered(
    function: Callable[[Any, Item], Result],
    context: Any,
    items: Iterable[Item],
    workers: int,
    renew: Callable[[Item], Item] = lambda item: item,
) -> Generator[Result]:
    """`function(context, item)` of each item, in order. Function, context, items and results are pickled.

    `renew` is asked about an item before its result is handed out: if it gives another one, that is done
    in its place, and so for all that are under way.
    """
    with ExitStack() as stack:
        crew: SimpleQueue[_Child] = SimpleQueue()
        for _ in range(workers):
            crew.put(stack.enter_context(_Child(function, context)))
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        # Runs before the pool is waited for: what is under way then ends at once.
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)

        def run(item: Item) -> Result:
            child = crew.get()
            try:
                result: Result = child.call(item)
            finally:
                crew.put(child)
            return result

        yield from _in_order(pool, run, items, workers, renew)


def map_in_threads(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    renew: Callable[[Item], Item] = lambda item: item,
) -> Generator[Result]:
    """The same in threads of this process: for what lets the interpreter's lock go most of the time."""
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        yield from _in_order(pool, function, items, workers, renew)


def _in_order(
    pool: ThreadPoolExecutor,
    run: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    renew: Callable[[Item], Item],
) -> Generator[Result]:
    waiting: deque[tuple[Item, Future[Result]]] = deque()

    def first() -> Result:
        if renew(waiting[0][0]) is not waiting[0][0]:
            for _ in range(len(waiting)):
                item, future = waiting.popleft()
                future.cancel()
                item = renew(item)
                waiting.append((item, pool.submit(run, item)))
        return waiting.popleft()[1].result()

    for item in items:
        waiting.append((item, pool.submit(run, item)))
        if len(waiting) > workers * AHEAD:
            yield first()
    while waiting:
        yield first()


class _Child:
    """One worker process, used by one thread at a time."""

    def __init__(self, function: Callable[[Any, Any], Any], context: Any) -> None:
        self._function, self._context = function, context
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if getattr(sys, "frozen", False):  # then the executable is the application, not Python
            return self
        with suppress(OSError):
            # -P: the working directory, which may be the log's, is no place to import from.
            self._process = subprocess.Popen(  # noqa: S603 - this very interpreter
                [sys.executable, "-P", "-c", _START],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._send(sys.path)
            self._send((self._function, self._context))
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    if pipe is not None:
                        pipe.close()
            process.wait()

    def call(self, item: Any) -> Any:
        process = self._process
        if process is not None and process.stdout is not None:
            try:
                self._send(item)
                return pickle.load(process.stdout)  # noqa: S301 - from our own child
            except (OSError, EOFError, pickle.UnpicklingError):
                self.__exit__()
        return self._function(self._context, item)

    def _send(self, message: Any) -> None:
        if self._process is not None and self._process.stdin is not None:
            pickle.dump(message, self._process.stdin)
            self._process.stdin.flush()


def serve() -> None:
    """What a child does: take items from standard input until it ends."""
    # The parent decides what an interrupt from the keyboard means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Objects made here are freed at once and have no cycles: looking for cycles often costs a twentieth.
    gc.freeze()
    gc.set_threshold(GARBAGE_MAX)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    function, context = pickle.load(source)  # noqa: S301 - from our own parent
    with suppress(EOFError, BrokenPipeError):
        while True:
            pickle.dump(function(context, pickle.load(source)), sink)  # noqa: S301 - as above
            sink.flush()
