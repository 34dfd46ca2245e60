"""Stores for tests: logs in memory, and a store that fails at the step that you choose."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from attestlog._internal.core.batch import Head, Plan
from attestlog._internal.core.entry import Entry, decode_line
from attestlog._internal.core.erasure import erase_line
from attestlog._internal.core.genesis import Genesis
from attestlog._internal.log import Log
from attestlog._internal.storage import memory
from attestlog._internal.storage.contract import LogSource, Store
from attestlog._internal.storage.resolve import register_driver
from attestlog.errors import ClosedError
from attestlog.testing._kit import ManualClock, MemorySigner

Done = TypeVar("Done")

_driver: Final = memory.MemoryDriver()
register_driver(memory.SCHEME, _driver)
_numbers: Final = itertools.count(1)


def memory_name() -> str:
    """The name of a log in memory that is not there yet, for `attestlog.create` and everything else."""
    return f"{memory.SCHEME}://{next(_numbers)}"


def memory_log(*, origin: str = "example.com/test", **options: Any) -> Log:
    """A new log in memory, open for writing; `log.where` is its name, for who reads it.

    `options`: as for `attestlog.create`. Without signers and clock, they are a MemorySigner each and a
    ManualClock. The memory is the process's until `forget_memory_log`.
    """
    options.setdefault("signer", MemorySigner())
    options.setdefault("checkpoint_signer", MemorySigner("Ed25519"))
    options.setdefault("clock", ManualClock())
    return Log.create(memory_name(), origin=origin, **options)


def forget_memory_log(name: str) -> None:
    """Let the memory of a log be used for something else."""
    _driver.forget(name)


class CrashError(BaseException):
    """What a FaultStore raises where the process is to end: nothing in attestlog catches it."""


@dataclass
class _Fault:
    step: str
    error: BaseException
    is_after: bool
    skip: int
    times: int


class FaultStore:
    """A store that does as `inner` does until a step is to fail.

        store = FaultStore(open_store(name))
        store.fail("commit", FullError("no space left"))                # nothing is written
        store.fail("commit", UncertainCommitError("?"), after=True)     # it is written all the same
        store.crash("replace_checkpoint")                               # the process ends before this step
        log = attestlog.open(store, ...)

    Steps are `exclusive`, `commit`, `replace_checkpoint`, `add_timestamp`, `begin_erasure`, `finish_erasure`,
    `rebuild_tree`, `seal`. Whatever fails, what was once committed must stay as it is: each turn asserts
    that, payloads erased since apart.
    """

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.calls: list[str] = []
        """Every step that was begun, in order."""
        self.is_crashed = False
        self._faults: list[_Fault] = []
        self._seen: list[bytes] = []

    def fail(
        self, step: str, error: BaseException, *, after: bool = False, skip: int = 0, times: int = 1
    ) -> None:
        """Raise `error` in the place of this step, or `after` it was done; first let it pass `skip` times."""
        assert step in _STEPS, f"{step} is not one of {', '.join(_STEPS)}"
        self._faults.append(_Fault(step, error, after, skip, times))

    def crash(self, step: str, *, after: bool = False, skip: int = 0) -> None:
        """As `fail` with a CrashError; from then on the store is as good as gone."""
        self.fail(step, CrashError(f"crash {'after' if after else 'before'} {step}"), after=after, skip=skip)

    # --- the port ---

    @property
    def source(self) -> LogSource:
        """See `Store`."""
        return self.inner.source

    @property
    def genesis(self) -> Genesis:
        """See `Store`."""
        return self.inner.genesis

    @property
    def recovered(self) -> Sequence[str]:
        """See `Store`."""
        return self.inner.recovered

    @property
    def is_released(self) -> bool:
        """See `Store`."""
        return self.inner.is_released

    @contextmanager
    def exclusive(self) -> Iterator[Head]:
        """See `Store`."""
        self._do("exclusive", lambda: None)
        with self.inner.exclusive() as head:
            self.check_unchanged()
            try:
                yield head
            finally:
                self.check_unchanged()

    def commit(self, plan: Plan, lines: Sequence[bytes]) -> None:
        """See `Store`."""
        self._do("commit", lambda: self.inner.commit(plan, lines))

    def room(self, size: int) -> int:
        """See `Store`."""
        return self.inner.room(size)

    def hashes(self, level: int, start: int, stop: int) -> list[bytes]:
        """See `Store`."""
        return self.inner.hashes(level, start, stop)

    def checkpoint(self) -> bytes | None:
        """See `Store`."""
        return self.inner.checkpoint()

    @property
    def is_certain(self) -> bool:
        """See `Store`."""
        return self.inner.is_certain

    def certain_head(self) -> Head:
        """See `Store`."""
        return self.inner.certain_head()

    def replace_checkpoint(self, old: bytes | None, new: bytes) -> None:
        """See `Store`."""
        self._do("replace_checkpoint", lambda: self.inner.replace_checkpoint(old, new))

    def add_timestamp(self, size: int, response: bytes) -> str:
        """See `Store`."""
        return self._do("add_timestamp", lambda: self.inner.add_timestamp(size, response))

    def begin_erasure(self, entry: Entry) -> None:
        """See `Store`."""
        self._do("begin_erasure", lambda: self.inner.begin_erasure(entry))

    def finish_erasure(self) -> None:
        """See `Store`."""
        self._do("finish_erasure", self.inner.finish_erasure)

    def rebuild_tree(self) -> None:
        """See `Store`."""
        self._do("rebuild_tree", self.inner.rebuild_tree)

    def seal(self, where: str) -> None:
        """See `Store`."""
        self._do("seal", lambda: self.inner.seal(where))

    def release(self) -> None:
        """See `Store`."""
        self.inner.release()

    def close(self) -> None:
        """See `Store`."""
        self.inner.close()

    # --- within ---

    def check_unchanged(self) -> None:
        """Assert that every line seen before is still there as it was, or without its payload."""
        lines = list(self.source.lines())
        assert len(lines) >= len(self._seen), f"{len(self._seen)} lines were there, {len(lines)} are left"
        for number, (now, before) in enumerate(zip(lines, self._seen, strict=False)):
            assert now == before or now == erase_line(before), (
                f"entry {number} changed: {decode_line(before)}"
            )
        self._seen = lines

    def _do(self, step: str, work: Callable[[], Done]) -> Done:
        if self.is_crashed:
            raise ClosedError("the process of this store has ended")
        self.calls.append(step)
        fault = self._due(step)
        if fault is not None and not fault.is_after:
            self._raise(fault)
        done = work()
        if fault is not None:
            self._raise(fault)
        return done

    def _due(self, step: str) -> _Fault | None:
        for fault in self._faults:
            if fault.step != step or not fault.times:
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.times -= 1
            return fault
        return None

    def _raise(self, fault: _Fault) -> None:
        if isinstance(fault.error, CrashError):
            self.is_crashed = True
        raise fault.error


_STEPS: Final = (
    "exclusive", "commit", "replace_checkpoint", "add_timestamp", "begin_erasure", "finish_erasure",
    "rebuild_tree", "seal",
)  # fmt: skip
