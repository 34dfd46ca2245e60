"""`python -m bench.soak --seconds 3600`: everything at once on one log, watched for growth.

Two writing processes (threads that wait; tasks, lists and a log that is closed and
opened again), segments that fill up, a reader, `attestlog tail -f`, queries and
`verify`, all of them for as long as asked. Memory and descriptors of each process
are sampled; after a third of the time, when caches are full, they must not grow.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

import attestlog
from attestlog._internal.storage.resolve import open_source
from bench.loads import DRAFT

GROWTH_MAX_BYTES: Final = 3 << 20
"""Over two thirds of a run. Allocators and SQLite's cache move by a megabyte or two for no reason of ours."""

GROWTH_MAX_DESCRIPTORS: Final = 2.0
"""Over two thirds of a run. At 65,536 entries a writer opens one file more: the tree's next level."""

CALLERS: Final = 8
"""Threads of one writer, tasks of the other."""


class Sample(NamedTuple):
    at_s: float
    rss_bytes: int
    descriptors: int


def write_with_threads(path: Path, rate: float, stop: Any, done: Any) -> None:
    """Threads, each waiting for its entries; one log for the whole run."""

    def caller() -> None:
        while not stop.wait(CALLERS / rate):
            log.append(DRAFT)
            with done.get_lock():
                done.value += 1

    with attestlog.open(path) as log:
        threads = [threading.Thread(target=caller) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def write_with_tasks(path: Path, rate: float, stop: Any, done: Any) -> None:
    """Tasks, lists and futures; every few rounds the log is closed and opened again."""

    async def tasks(log: attestlog.Log) -> None:
        await asyncio.gather(*(log.append_async(DRAFT) for _ in range(CALLERS)))

    while not stop.is_set():
        with attestlog.open(path) as log:
            for _ in range(20):
                asyncio.run(tasks(log))
                log.append_many([DRAFT] * CALLERS)
                for future in [log.submit(DRAFT) for _ in range(CALLERS)]:
                    future.result()
                with done.get_lock():
                    done.value += 3 * CALLERS
                if stop.wait(3 * CALLERS / rate):
                    break


def read(path: Path, _rate: float, stop: Any, done: Any) -> None:
    """Single entries, stretches, the head: by one reader."""
    reader, chance = open_source(path), random.Random(1)
    while not stop.wait(0.5):
        size = reader.size()
        number = chance.randrange(size)
        assert reader.entry(number).sequence_number == number
        assert sum(1 for _ in reader.entries(max(0, size - 200), size)) == min(200, size)
        assert reader.size() >= size
        done.value += 1


def ask(path: Path, _rate: float, stop: Any, done: Any) -> None:
    """Queries, which catch the index up."""
    while not stop.wait(2):
        found = islice(attestlog.query_log(path, actor_id=DRAFT["actor_id"], since="1h"), 50)
        assert all(entry.actor_id == DRAFT["actor_id"] for entry in found)
        list(attestlog.query_log(path, event_type="VIOLATION"))
        done.value += 1


def audit(path: Path, _rate: float, stop: Any, done: Any) -> None:
    """The whole log, again and again, beside the writers."""
    while not stop.is_set():
        begun = time.monotonic()
        report = attestlog.verify(path, state_dir=path.with_name("state"))
        assert report.verdict == "VERIFIED", report.findings[:3]
        done.value += 1
        stop.wait(5 + 9 * (time.monotonic() - begun))  # a tenth of the time


PARTS: Final[dict[str, Callable[[Path, float, Any, Any], None]]] = {
    "writer, threads": write_with_threads,
    "writer, tasks and lists": write_with_tasks,
    "reader": read,
    "queries": ask,
    "verify": audit,
}


class Follower:
    """`attestlog tail -f`, and a thread that sees whether it shows every entry once, in order."""

    def __init__(self, path: Path) -> None:
        command = [
            str(Path(sys.executable).with_name("attestlog")),
            "tail",
            str(path),
            "-n",
            "0",
            "-f",
            "--json",
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.last: int | None = None
        self.is_in_order = True
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            number = json.loads(line)["sequence_number"]
            self.is_in_order &= self.last is None or number == self.last + 1
            self.last = number

    def stop(self, size: int) -> None:
        """Wait until it has shown all `size` entries, and end it."""
        deadline = time.monotonic() + 600
        while self.last != size - 1 and time.monotonic() < deadline:
            time.sleep(0.1)
        self.process.terminate()
        self.process.wait()
        self._thread.join()
        assert self.is_in_order, "tail -f left an entry out, or showed one twice"
        assert self.last == size - 1, f"tail -f showed entries up to {self.last}, there are {size}"


def soak(folder: Path, seconds: float, rate: float, segment_entries: int, every_s: float) -> bool:
    """Run everything; print what was seen. False if something grew."""
    path = folder / "log"
    attestlog.create(
        path, origin="bench.example/soak", settings=attestlog.Settings(segment_entries=segment_entries)
    ).close()
    context = multiprocessing.get_context("spawn")
    stop, counts = context.Event(), {name: context.Value("q", 0) for name in PARTS}
    started = {
        name: context.Process(target=part, args=(path, rate / 2, stop, counts[name]), name=name)
        for name, part in PARTS.items()
    }
    for process in started.values():
        process.start()
    follower = Follower(path)
    watched = {name: psutil.Process(process.pid) for name, process in started.items()}
    watched["tail -f"] = psutil.Process(follower.process.pid)
    samples = watch(watched, seconds, every_s)
    stop.set()
    for name, process in started.items():
        process.join(600)
        assert process.exitcode == 0, f"{name} failed"
    report = attestlog.verify(path, remember=False)
    written = sum(counts[name].value for name in PARTS if name.startswith("writer"))
    assert report.verdict == "VERIFIED", report.findings[:3]
    assert report.size == written + 1, f"{written} acknowledged, {report.size - 1} there"
    follower.stop(report.size)
    segments = len(list((path / "entries").iterdir()))
    print(f"{seconds:.0f} s: {written} entries acknowledged and verified, in {segments} segments; ", end="")
    print(", ".join(f"{counts[name].value} {what}" for name, what in ROUNDS.items()), end="\n\n")
    return print_table(samples)


ROUNDS: Final = {"reader": "rounds of reading", "queries": "of queries", "verify": "verifications"}


def watch(watched: dict[str, psutil.Process], seconds: float, every_s: float) -> dict[str, list[Sample]]:
    """Samples of each process. Raises psutil.NoSuchProcess if one is gone."""
    begun = time.monotonic()
    samples: dict[str, list[Sample]] = {name: [] for name in watched}
    while (at_s := time.monotonic() - begun) < seconds:
        for name, process in watched.items():
            if process.status() == psutil.STATUS_ZOMBIE:
                raise SystemExit(f"{name} ended after {at_s:.0f} s")
            samples[name].append(Sample(at_s, process.memory_info().rss, process.num_fds()))
        time.sleep(every_s)
    return samples


def print_table(samples: dict[str, list[Sample]]) -> bool:
    """Memory and descriptors after a third of the time and at the end. False if either grew."""
    print("| process | MB after a third | MB at the end | slope, kB/h | descriptors | slope, 1/h | |")
    print("|---|---:|---:|---:|---:|---:|---|")
    flat = True
    for name, seen in samples.items():
        settled = seen[len(seen) // 3 :]
        hours = (settled[-1].at_s - settled[0].at_s) / 3600
        memory = slope(settled, lambda sample: sample.rss_bytes)
        descriptors = slope(settled, lambda sample: sample.descriptors)
        grew = memory * hours > GROWTH_MAX_BYTES or descriptors * hours > GROWTH_MAX_DESCRIPTORS
        flat = flat and not grew
        tenth = max(1, len(settled) // 10)
        first, last = (
            statistics.median(sample.rss_bytes for sample in part) / 1e6
            for part in (settled[:tenth], settled[-tenth:])
        )
        print(
            f"| {name} | {first:.1f} | {last:.1f} | {memory / 1e3:+,.0f} | {settled[-1].descriptors} "
            f"| {descriptors:+.1f} | {'GROWS' if grew else 'flat'} |"
        )
    return flat


def slope(samples: list[Sample], figure: Callable[[Sample], float]) -> float:
    """Least squares, an hour."""
    line = statistics.linear_regression([sample.at_s for sample in samples], [figure(s) for s in samples])
    return line.slope * 3600


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--rate", type=float, default=40, help="entries a second, both writers together")
    parser.add_argument("--segment-entries", type=int, default=1_024, help="small, so that many fill up")
    parser.add_argument("--every", type=float, default=5, help="seconds between samples")
    parser.add_argument("--folder", type=Path, help="where to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        os.environ["ATTESTLOG_HOME"] = str(Path(name) / "home")
        flat = soak(Path(name), options.seconds, options.rate, options.segment_entries, options.every)
    sys.exit(0 if flat else 1)


if __name__ == "__main__":
    main()
