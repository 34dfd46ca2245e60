"""What is measured of reading: verification and its memory, opening, queries; and the size on disk."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil

import attestlog
from attestlog._internal.places import index_dir
from attestlog._internal.query import Index
from attestlog._internal.storage.resolve import open_source
from bench.loads import ACTORS, DRAFT, Place

COMMAND = str(Path(sys.executable).with_name("attestlog"))

PAGE = 50
"""Entries of an answer that are read."""


class Verified(NamedTuple):
    entries_per_s: float
    peak_mb: float
    """Memory of all its processes together, at its highest."""
    cost_us: float
    """Microseconds of processor an entry, of all its processes."""


def judge_log(path: Path) -> Verified:
    """`attestlog verify` of a whole log, strictly, on all cores, in processes of its own."""
    command = [COMMAND, "verify", str(path), "--no-remember", "--json"]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident_bytes(process.pid))
        time.sleep(0.05)
    seconds = time.perf_counter() - start
    assert process.stdout is not None
    report = json.loads(process.stdout.read().splitlines()[-1])
    assert report["verdict"] == "VERIFIED", report
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Verified(report["size"] / seconds, peak / 1e6, used_s / report["size"] * 1e6)


def resident_bytes(pid: int) -> int:
    """What a process and its children hold in memory; pages they share are counted once for each."""
    total = 0
    try:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def verify(place: Place, count: int, *, batch: bool = True) -> Verified:
    """A log of `count` entries, or the grown one."""
    if place.grown is None or not batch:
        with place.open(batch=batch) as log:
            log.append_many([DRAFT] * count)
            return verify_closed(log)
    return judge_log(place.grown)


def verify_closed(log: attestlog.Log) -> Verified:
    log.close()
    return judge_log(log.path)


def open_ms(place: Place, count: int) -> float:
    """Opening after a clean close, up to knowing the head."""
    with place.open() as log:
        log.append_many([DRAFT] * count)
    start = time.perf_counter()
    log = attestlog.open(place.path)
    log.head()
    milliseconds = (time.perf_counter() - start) * 1_000
    log.close()
    return milliseconds


QUERIES: dict[str, Callable[[int], dict[str, Any]]] = {
    "query by actor, p95 ms": lambda number: {"actor_id": f"agent-{number * 37 % ACTORS:03d}"},
    "query by event type, p95 ms": lambda _: {"event_type": "VIOLATION"},
    "query by time and actor, p95 ms": lambda number: {
        "actor_id": f"agent-{number * 37 % ACTORS:03d}", "since": "12h",
    },
    "query by text, p95 ms": lambda number: {"text": f"task-{number * 7919 % 100_000:08d}"},
}  # fmt: skip


def query_p95_ms(place: Place, rounds: int = 100) -> dict[str, float]:
    """The first page of answers, the index being caught up: the 95th percentile."""
    figures = {}
    for name, members in QUERIES.items():
        times = []
        for number in range(rounds):
            start = time.perf_counter()
            list(attestlog.query_log(place.path, limit=PAGE, **members(number)))
            times.append((time.perf_counter() - start) * 1_000)
        figures[name] = statistics.quantiles(times, n=20)[-1]
    return figures


def catch_up(path: Path) -> float:
    """Bring the query index up to date; entries a second."""
    start = time.perf_counter()
    with Index.open(path) as index:
        count = index.catch_up()
    return count / (time.perf_counter() - start)


def sizes_mb(path: Path) -> dict[str, float]:
    """What the log takes on disk, by part."""
    parts = {"entries": path / "entries", "tree": path / "tree"}
    sizes = {
        name: sum(file.stat().st_size for file in folder.iterdir()) / 1e6 for name, folder in parts.items()
    }
    sizes["query index"] = (
        sum(file.stat().st_size for file in index_dir(open_source(path).entry(0).entry_hash).glob("*.db*"))
        / 1e6
    )
    return sizes
