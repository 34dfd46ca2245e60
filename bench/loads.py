"""What is measured of writing: appends of 1.5 kB entries, durable and signed."""

from __future__ import annotations

import asyncio
import multiprocessing
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attestlog
from attestlog import PublicKey, Signer, open_signer
from attestlog._internal.config import read_config
from attestlog._internal.storage.resolve import open_source

PAYLOAD = {
    "task_id": "t-20251030-0007",
    "description": "regenerate the release notes and open a pull request " * 2,
    "files_modified": ["RELEASE_NOTES.md", "docs/index.md", "pyproject.toml"],
    "lines_changed": 412,
    "risk_score": 0.15,
}
DRAFT: dict[str, Any] = {
    "event_type": "ACTION",
    "action_type": "execute_autonomous_task",
    "actor_type": "AUTONOMOUS_AGENT",
    "actor_id": "digital_organism_01",
    "actor_context": {"role": "maintainer", "session": "5f1c2a"},
    "action_payload": PAYLOAD,
    "pillars_scores": {"an_toan": 8.5, "duong_dai": 9, "tin_vao_so_lieu": 7.5, "han_che_rui_ro": 8},
    "result_data": {"ok": True},
}

GROWING_AT_ONCE = 16_384
"""Drafts given to one `append_many` while a log is grown: what the writer holds in memory."""

ACTORS = 100
"""Actors in a grown log: a query for one of them must choose."""


class Place:
    """Where logs are made to be measured: new ones, or one that has grown to a size and goes on growing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.grown: Path | None = None

    @property
    def path(self) -> Path:
        """The log that was opened last."""
        return self.grown or self.folder / "log"

    def open(self, *, batch: bool = True, signer: Callable[[str], Signer] | None = None) -> attestlog.Log:
        """The log to append to. `signer`: makes another of the log's signer, given its URI."""
        if self.grown is None or not batch:
            path = self.folder / "log"
            shutil.rmtree(path, ignore_errors=True)
            log = attestlog.create(path, origin="bench.example/log", batch=batch)
        else:
            log = attestlog.open(self.grown)
        if signer is None:
            return log
        log.close()
        return attestlog.open(log.path, signer=signer(entry_signer_uri(log.path)))

    def grow(self, size: int) -> tuple[float, int]:
        """Grow one log to `size` entries: entries a second, and how many that were."""
        if self.grown is None:
            self.grown = self.folder / "grown"
            attestlog.create(self.grown, origin="bench.example/log").close()
        with attestlog.open(self.grown) as log:
            begin = log.head().size
            start = time.perf_counter()
            for first in range(begin, size, GROWING_AT_ONCE):
                log.append_many(
                    [varied(number) for number in range(first, min(size, first + GROWING_AT_ONCE))]
                )
            return max(0, size - begin) / (time.perf_counter() - start), max(0, size - begin)


def entry_signer_uri(path: Path) -> str:
    """Where the log's entry key is."""
    return read_config(open_source(path)).signers.entries[0]


def varied(number: int) -> dict[str, Any]:
    """A draft like the others, by one of many actors, seldom a violation."""
    return {
        **DRAFT,
        "actor_id": f"agent-{number % ACTORS:03d}",
        "event_type": "VIOLATION" if number % 997 == 0 else "ACTION",
        "action_payload": {**PAYLOAD, "task_id": f"task-{number:08d}"},
    }


def one_caller(place: Place, count: int) -> float:
    """One caller, one entry at a time."""
    with place.open() as log:
        return rate(count, lambda: [log.append(DRAFT) for _ in range(count)])


def many(place: Place, count: int) -> float:
    """`append_many`, one list."""
    drafts = [DRAFT] * count
    with place.open() as log:
        return rate(count, lambda: log.append_many(drafts))


def threads(place: Place, count: int, callers: int = 64) -> float:
    """Threads, each waiting for each of its entries."""
    with place.open() as log:
        return rate(count, lambda: run_threads(log, count // callers, callers))


def tasks(place: Place, count: int, callers: int = 64) -> float:
    """Asyncio tasks, each waiting for each of its entries."""

    async def caller(log: attestlog.Log) -> None:
        for _ in range(count // callers):
            await log.append_async(DRAFT)

    async def all_callers(log: attestlog.Log) -> None:
        await asyncio.gather(*(caller(log) for _ in range(callers)))

    with place.open() as log:
        return rate(count, lambda: asyncio.run(all_callers(log)))


class SlowSigner:
    """A key in a device that makes 100 signatures a second."""

    def __init__(self, uri: str) -> None:
        self._signer = open_signer(uri)

    @property
    def public_key(self) -> PublicKey:
        return self._signer.public_key

    @property
    def uri(self) -> str:
        return self._signer.uri

    def sign(self, message: bytes) -> bytes:
        time.sleep(0.01)
        return self._signer.sign(message)

    def close(self) -> None:
        self._signer.close()


def slow_signer(place: Place, count: int, callers: int = 64, each: int = 16) -> float:
    """Tasks, each waiting for `each` entries at a time, while a signature takes 10 ms.

    With one entry in flight a caller, 64 callers could have 6,400 entries a second signed at the most.
    """

    async def caller(log: attestlog.Log) -> None:
        for _ in range(count // callers // each):
            await asyncio.gather(*(log.append_async(DRAFT) for _ in range(each)))

    async def all_callers(log: attestlog.Log) -> None:
        await asyncio.gather(*(caller(log) for _ in range(callers)))

    with place.open(signer=SlowSigner) as log:
        return rate(count, lambda: asyncio.run(all_callers(log)))


def processes(place: Place, count: int, callers: int = 4) -> float:
    """Processes on one log, one caller each; their start is not counted."""
    place.open().close()
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(callers + 1)
    started = [
        context.Process(target=_append_alone, args=(place.path, count // callers, gate))
        for _ in range(callers)
    ]
    for process in started:
        process.start()
    gate.wait()
    start = time.perf_counter()
    gate.wait()
    seconds = time.perf_counter() - start
    for process in started:
        process.join()
        assert process.exitcode == 0, "a writer failed"
    return count / seconds


def _append_alone(path: Path, count: int, gate: Any) -> None:
    with attestlog.open(path) as log:
        gate.wait()
        for _ in range(count):
            log.append(DRAFT)
        gate.wait()


def run_threads(log: attestlog.Log, each: int, callers: int) -> None:
    """`callers` threads append `each` entries."""

    def caller() -> None:
        for _ in range(each):
            log.append(DRAFT)

    running = [threading.Thread(target=caller) for _ in range(callers)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def rate(count: int, work: Callable[[], object]) -> float:
    """Entries a second."""
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)
