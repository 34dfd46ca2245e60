"""A process that appends to a log and says on its standard output what it was promised. Run as a script.

    python writer.py LOG NAME MODE COUNT

Before it asks for anything it prints `try NAME.N …`; once told, `ack SEQUENCE HASH NAME.N`.
Modes: single, many, threads, futures, or all in turn. COUNT 0 means until killed.
"""

import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from attestlog._internal.log import Log, Receipt

_output = threading.Lock()


def say(line: str) -> None:
    """Whole lines only, straight to the pipe: what was written is there when this process is no more."""
    with _output:
        data = line.encode() + b"\n"
        while data:
            data = data[os.write(1, data) :]


def draft(name: str) -> dict[str, object]:
    number = int(name.rpartition(".")[2])
    return {
        "event_type": "ACTION",
        "action_type": "execute_autonomous_task",
        "actor_id": "agent-1",
        "action_payload": {"name": name, "padding": "x" * (number * 997 % 9_000)},
    }


def acknowledge(receipt: Receipt, name: str) -> None:
    say(f"ack {receipt.sequence_number} {receipt.entry_hash} {name}")


def single(log: Log, names: Iterator[str]) -> None:
    for name in itertools.islice(names, 5):
        say(f"try {name}")
        acknowledge(log.append(draft(name)), name)


def many(log: Log, names: Iterator[str], count: int = 17) -> None:
    some = list(itertools.islice(names, count))
    say(f"try {' '.join(some)}")
    for receipt, name in zip(log.append_many(map(draft, some)), some, strict=True):
        acknowledge(receipt, name)


def futures(log: Log, names: Iterator[str]) -> None:
    some = list(itertools.islice(names, 17))
    say(f"try {' '.join(some)}")
    for future, name in [(log.submit(draft(name)), name) for name in some]:
        acknowledge(future.result(), name)


def threads(log: Log, names: Iterator[str]) -> None:
    some = [list(itertools.islice(names, 3)) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda own: single(log, iter(own)), some))


MODES: dict[str, Callable[[Log, Iterator[str]], None]] = {
    "single": single, "many": many, "futures": futures, "threads": threads,
}  # fmt: skip


def main(path: str, name: str, mode: str, count: int) -> None:
    names = (f"{name}.{number}" for number in itertools.count())
    modes = itertools.cycle(MODES.values() if mode == "all" else [MODES[mode]])
    with Log.open(path) as log:
        say(f"open {' | '.join(log.recovered)}")
        for number in itertools.count(1):
            next(modes)(log, names)
            if number == count:
                break


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
