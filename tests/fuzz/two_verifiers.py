"""`python -m tests.fuzz.two_verifiers [--logs N] [--seconds S] [--seed K]`: do the two verifiers agree?

Makes logs with rich histories, damages and forges them, and compares what both say (`both`). Each case has a
seed of its own; a disagreement prints it, with what each says, and `--case K` makes that log again, in a
folder that stays. See `make agree`.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from tests.fuzz.damage import Mutable, damaged, forged, stored
from tests.support.both import Difference, Place, compare, quick
from tests.support.histories import History

LOGS_A_HISTORY: Final = 100
"""Logs that are made of one history: it takes as long to make as twenty comparisons."""


def history_of(case: int) -> History:
    """The history that this case and its neighbours begin with."""
    return History(Random(case // LOGS_A_HISTORY))


def log_of(case: int, history: History) -> Mutable:
    """The damaged or forged log of a case."""
    random = Random(f"case {case}")
    if random.random() < 0.5:
        return damaged(random, history, stored(random, history.files()))
    return stored(random, forged(random, history))


def trust_of(case: int, history: History) -> list[str]:
    """What the reader trusts: mostly nothing, else a key or hash of the log's, or a stranger's."""
    random, first = Random(f"trust {case}"), history.entry(0)["entry_hash"]
    known = [first, history.checkpoint_key.vkey, *history.keys, "0" * 64]
    return [random.choice(known)] if random.random() < 0.3 else []


def judge(case: int, history: History, place: Place) -> Difference | str | None:
    """What the verifiers disagree on, or what one of them raised; None if they agree."""
    place.put(log_of(case, history))
    try:
        return compare(place.root, trust_of(case, history))
    except Exception:  # noqa: BLE001 - that is what is looked for
        return traceback.format_exc()


def in_memory() -> str | None:
    """A directory whose files are in memory, where this machine has one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


class Ran(NamedTuple):
    """What a run came to."""

    logs: int
    differences: list[str]
    further: list[str]
    """Where verdict and first finding are the same, and others are not."""


def run(seed: int, logs: int, seconds: float = math.inf, shown_max: int = 20) -> Ran:
    """Compare so many logs, from case `seed` × 10^6 on. Stops after so many differences."""
    found: list[str] = []
    further: list[str] = []
    start, stop = seed * 1_000_000, time.monotonic() + seconds
    case, history = start, history_of(start)
    with tempfile.TemporaryDirectory(dir=in_memory()) as folder, quick():
        place = Place(Path(folder) / "log")
        for case in range(start, start + logs):
            if case % LOGS_A_HISTORY == 0:
                history = history_of(case)
            difference = judge(case, history, place)
            if difference is not None:
                is_further = isinstance(difference, Difference) and difference.is_further
                where = further if is_further else found
                where.append(f"case {case}\n{difference}\n")
                print(where[-1], flush=True)
            if time.monotonic() > stop or len(found) >= shown_max:
                break
    return Ran(case - start + 1, found, further)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.fuzz.two_verifiers", description=__doc__)
    parser.add_argument("--logs", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shown", type=int, default=20, help="disagreements after which it stops")
    parser.add_argument("--case", type=int, help="make this case's log again, and leave it")
    options = parser.parse_args()
    if options.case is not None:
        place, history = Place(Path(tempfile.mkdtemp()) / "log"), history_of(options.case)
        print(judge(options.case, history, place), "trust:", trust_of(options.case, history), place.root)
        return
    ran = run(options.seed, options.logs, options.seconds, options.shown)
    print(
        f"{ran.logs} logs, {len(ran.differences)} judged differently,"
        f" {len(ran.further)} alike in verdict and first finding but not in all, seed {options.seed}"
    )
    sys.exit(1 if ran.differences else 0)


if __name__ == "__main__":
    main()
