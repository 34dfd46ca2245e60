"""What is measured: appends and verifications of 1.5 kB entries, durable and signed."""

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
from attestlog.testing import MemorySigner

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


def fresh(folder: Path, *, batch: bool = True, signer: MemorySigner | None = None) -> attestlog.Log:
    """A new log with nothing in it, keys beside it."""
    shutil.rmtree(folder / "log", ignore_errors=True)
    return attestlog.create(folder / "log", origin="bench.example/log", batch=batch, signer=signer)


def one_caller(folder: Path, count: int) -> float:
    """One caller, one entry at a time."""
    with fresh(folder) as log:
        return rate(count, lambda: [log.append(DRAFT) for _ in range(count)])


def many(folder: Path, count: int) -> float:
    """`append_many`, one list."""
    drafts = [DRAFT] * count
    with fresh(folder) as log:
        return rate(count, lambda: log.append_many(drafts))


def threads(folder: Path, count: int, callers: int = 64) -> float:
    """Threads, each waiting for each of its entries."""
    with fresh(folder) as log:
        return rate(count, lambda: run_threads(log, count // callers, callers))


def tasks(folder: Path, count: int, callers: int = 64) -> float:
    """Asyncio tasks, each waiting for each of its entries."""

    async def caller(log: attestlog.Log) -> None:
        for _ in range(count // callers):
            await log.append_async(DRAFT)

    async def all_callers(log: attestlog.Log) -> None:
        await asyncio.gather(*(caller(log) for _ in range(callers)))

    with fresh(folder) as log:
        return rate(count, lambda: asyncio.run(all_callers(log)))


class SlowSigner(MemorySigner):
    """A key in a device that makes 100 signatures a second."""

    def sign(self, message: bytes) -> bytes:
        time.sleep(0.01)
        return super().sign(message)


def slow_signer(folder: Path, count: int, callers: int = 64, each: int = 16) -> float:
    """Tasks, each waiting for `each` entries at a time, while a signature takes 10 ms.

    With one entry in flight a caller, 64 callers could have 6,400 entries a second signed at the most.
    """

    async def caller(log: attestlog.Log) -> None:
        for _ in range(count // callers // each):
            await asyncio.gather(*(log.append_async(DRAFT) for _ in range(each)))

    async def all_callers(log: attestlog.Log) -> None:
        await asyncio.gather(*(caller(log) for _ in range(callers)))

    with fresh(folder, signer=SlowSigner()) as log:
        return rate(count, lambda: asyncio.run(all_callers(log)))


def processes(folder: Path, count: int, callers: int = 4) -> float:
    """Processes on one log, one caller each; their start is not counted."""
    fresh(folder).close()
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(callers + 1)
    started = [
        context.Process(target=_append_alone, args=(folder / "log", count // callers, gate))
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


def verify(folder: Path, count: int, *, batch: bool = True) -> float:
    """A whole log, strictly, on all cores."""
    with fresh(folder, batch=batch) as log:
        log.append_many([DRAFT] * count)

    def work() -> None:
        report = attestlog.verify(folder / "log", remember=False)
        assert report.verdict == "VERIFIED", report.findings[:3]

    return rate(count, work)


def open_seconds(folder: Path, count: int) -> float:
    """Opening after a clean close, in milliseconds."""
    with fresh(folder) as log:
        log.append_many([DRAFT] * count)
    start = time.perf_counter()
    attestlog.open(folder / "log").close()
    return (time.perf_counter() - start) * 1_000


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
