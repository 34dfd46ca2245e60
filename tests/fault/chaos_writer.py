"""A process that appends to a log whatever happens to it, and says on its standard output what became of it.

    python chaos_writer.py LOG NAME SEED STOP

Lines: `open`; before each append `try NAME.N`; then `ack SEQUENCE HASH NAME.N`, `refused NAME.N` (nothing was
written, says the error) or `unknown NAME.N` (nobody can know). It goes on until the file STOP is there.

By itself it forks and has the child append, lets its clock step, and is out of room for a while
(RLIMIT_FSIZE). On SIGUSR1 its handler tries to append.
"""

import itertools
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

from attestlog._internal.log import Log
from attestlog._internal.storage.files.layout import list_segments
from attestlog.errors import (
    BusyError,
    ClockError,
    ClosedError,
    FullError,
    ReentrantError,
    UncertainCommitError,
    WriteFailedError,
)

REFUSED = (BusyError, ClockError, ClosedError, FullError, ReentrantError, WriteFailedError)
STEPS_S = (0, 0, 0, 3, -3, -3_600)
"""Of the clock: small ones are smoothed over, the last one is refused."""
LEAST_ROOM_BYTES = 16_384
"""A file may always be so long: what is out of room is the segment."""


def say(line: str) -> None:
    """At once: a pipe takes so short a line whole or not at all."""
    os.write(1, line.encode() + b"\n")


class Writer:
    def __init__(self, path: Path, name: str, seed: str) -> None:
        self.path, self.name, self.random = path, name, Random(seed)
        self.numbers = itertools.count()
        self.step_s = 0
        self.log = self.open()
        say("open")

    def now_us(self) -> int:
        return time.time_ns() // 1_000 + self.step_s * 1_000_000

    def open(self) -> Log:
        while True:
            try:
                return Log.open(self.path, clock=self.now_us)
            except BusyError:
                continue

    def append(self, kind: str = "") -> None:
        """One entry, and what became of it."""
        name = f"{self.name}{kind}.{next(self.numbers)}"
        draft: dict[str, Any] = {
            "event_type": "ACTION", "action_type": "task", "actor_id": "agent-1",
            "action_payload": {"name": name, "padding": "x" * self.random.randrange(3_000)},
        }  # fmt: skip
        say(f"try {name}")
        try:
            receipt = self.log.append(draft)
        except UncertainCommitError:
            say(f"unknown {name}")
        except REFUSED:
            say(f"refused {name}")
        else:
            say(f"ack {receipt.sequence_number} {receipt.entry_hash} {name}")

    def reopen(self) -> None:
        """After an outcome that nobody knows the log takes nothing more."""
        self.close()
        self.log = self.open()

    def close(self) -> None:
        """What was not acknowledged by now is refused or unknown."""
        with suppress(*REFUSED, UncertainCommitError):
            self.log.close()

    # --- what it does ---

    def alone(self) -> None:
        self.append()

    def threads(self) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self.append, ["", "", "", ""]))

    def fork(self) -> None:
        child = os.fork()
        if child == 0:
            try:
                self.name = f"{self.name}-{os.getpid()}"
                self.append()
                self.append()
            finally:
                os._exit(0)
        os.waitpid(child, 0)

    def turn_clock(self) -> None:
        self.step_s = self.random.choice(STEPS_S)
        self.append()
        self.step_s = 0

    def fill_up(self) -> None:
        with out_of_room(self.path, self.random.randrange(6_000)):
            self.append()
            self.append()
        self.reopen()

    def run(self, stop: Path) -> None:
        kinds = (
            [self.alone] * 12 + [self.threads] * 4 + [self.fork, self.turn_clock, self.fill_up, self.reopen]
        )
        while not stop.exists():
            self.random.choice(kinds)()


@contextmanager
def out_of_room(path: Path, more_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond what the last segment has now, and so much more."""
    size = list_segments(path)[-1][1].stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(size + more_bytes, LEAST_ROOM_BYTES), limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def main(path: str, name: str, seed: str, stop: str) -> None:
    writer = Writer(Path(path), name, seed)
    signal.signal(signal.SIGUSR1, lambda *_: writer.append("s"))
    say("ready")
    writer.run(Path(stop))
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
