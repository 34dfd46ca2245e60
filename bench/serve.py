"""`python -m bench.serve [--seconds N] [--folder DIR]`: appends through a service, and what they cost.

Server and clients share this machine's cores and disk: between machines it is faster. Yardsticks of the same
run: the log in one process with 64 threads, and a server of the same framework that only reads and answers.
Clients are processes of their own, one for each two connections, at most two; each connection has one request
under way.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import attestlog
from attestlog._internal.net import Client, Limits, parse_url
from attestlog._internal.server.tokens import Scope, TokenFile
from bench.__main__ import load, machine
from bench.loads import DRAFT

ORIGIN: Final = "bench.example/log"
LIMITS: Final = Limits(5.0, 30.0, 30.0)
ANSWERS: Final = frozenset({200, 201})

BARE: Final = """
import sys
from pathlib import Path
from litestar import Request, Response, post
from attestlog._internal.server.guarding import new_app
from attestlog._internal.server.running import Listen, serve

@post("/v1/entries", status_code=201)
async def take(request: Request) -> Response[bytes]:
    await request.body()
    return Response(b"{}", media_type="application/json")

def started(url):
    print('{"url": "%s"}' % url, flush=True)

serve(new_app([take]), Listen(), started=started, unix=Path(sys.argv[1]))
"""


class Figures(NamedTuple):
    """Of one measurement."""

    rate: float
    """Entries a second."""
    cpu_ms: float
    """Processor time of the server for one entry."""
    p50_ms: float
    p99_ms: float


class Where(NamedTuple):
    """How a server is reached."""

    url: str
    unix: str | None
    token: str | None
    pid: int
    """Of the server."""


class Asking(NamedTuple):
    """What one process of clients does."""

    where: Where
    connections: int
    body: bytes
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.serve", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure")
    parser.add_argument("--connections", type=int, nargs="*", default=[1, 16, 64])
    parser.add_argument("--folder", type=Path, help="where to write; the disk to be measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        os.environ["ATTESTLOG_HOME"] = str(folder / "home")
        print(f"{machine()}; {load()}\n")
        print("| what | entries/s | ratio to in process | server ms an entry | p50 ms | p99 ms |")
        print("|---|---:|---:|---:|---:|---:|")
        local = in_process(folder, options.seconds)
        with bare(folder) as where:
            row("bare server, socket, 16 connections", measure(where, 16, one(), options.seconds), None)
        with service(folder) as (socket_where, http_where):
            for count in options.connections:
                for what, where in (("socket", socket_where), ("HTTP", http_where)):
                    figures = measure(where, count, one(), options.seconds)
                    row(f"{what}, {count} connections", figures, local)
            batched = measure(socket_where, 4, json.dumps([DRAFT] * 100).encode(), options.seconds, 100)
            row("socket, 4 connections, 100 a request", batched, local)
            guarding(where=socket_where, seconds=options.seconds)
            tailing(socket_where, options.seconds)
        print(f"\n{load()} at the end")


def row(what: str, figures: Figures, local: float | None) -> None:
    ratio = "" if local is None else f"{figures.rate / local:.2f}"
    print(
        f"| {what} | {figures.rate:,.0f} | {ratio} | {figures.cpu_ms:.2f} | {figures.p50_ms:.1f}"
        f" | {figures.p99_ms:.1f} |",
        flush=True,
    )


def one() -> bytes:
    return json.dumps(DRAFT).encode()


def in_process(folder: Path, seconds: float, threads: int = 64) -> float:
    """Entries a second of the log itself, with so many threads."""
    counts = [0] * threads
    with attestlog.create(folder / "local", origin=ORIGIN) as log:
        deadline = time.perf_counter() + seconds

        def append(number: int) -> None:
            while time.perf_counter() < deadline:
                log.append(DRAFT)
                counts[number] += 1

        start = time.perf_counter()
        running = [threading.Thread(target=append, args=(number,)) for number in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        rate = sum(counts) / (time.perf_counter() - start)
    print(f"| in process, {threads} threads | {rate:,.0f} | 1.00 | | | |", flush=True)
    return rate


@contextmanager
def started(*command: str) -> Iterator[tuple[dict[str, Any], int]]:
    """A server of its own, once it says where it is."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline()), process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        process.stdout.close()


@contextmanager
def bare(folder: Path) -> Iterator[Where]:
    with started("-c", BARE, str(folder / "bare.sock")) as (_, pid):
        yield Where("http://localhost", str(folder / "bare.sock"), None, pid)


@contextmanager
def service(folder: Path) -> Iterator[tuple[Where, Where]]:
    """A log's service, by its socket and by its address."""
    attestlog.create(folder / "audit", origin=ORIGIN).close()
    token = TokenFile(folder / "service").mint("bench", [Scope.APPEND], ORIGIN)
    with started(
        "-m", "attestlog", "serve", "log", str(folder / "audit"), "--socket", str(folder / "log.sock"),
        "--http", "127.0.0.1:0", "--directory", str(folder / "service"), "--json",
    ) as (told, pid):  # fmt: skip
        socket = str(folder / "log.sock")
        yield Where("http://localhost", socket, None, pid), Where(told["url"], None, token, pid)


def measure(where: Where, connections: int, body: bytes, seconds: float, drafts: int = 1) -> Figures:
    """So many connections, each asking again as soon as it is answered."""
    processes = min(2, (connections + 1) // 2)
    asking = [
        Asking(where, connections // processes + (number < connections % processes), body, seconds)
        for number in range(processes)
    ]
    cpu = cpu_s(where.pid)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        times = [item for found in pool.map(ask, asking) for item in found]
    cpu = cpu_s(where.pid) - cpu
    entries = len(times) * drafts
    ordered = sorted(times)
    return Figures(
        entries / seconds, 1e3 * cpu / entries, 1e3 * statistics.median(ordered),
        1e3 * ordered[int(len(ordered) * 0.99)],
    )  # fmt: skip


def ask(asking: Asking) -> list[float]:
    """The time of each request."""
    where = asking.where
    headers = {"content-type": "application/json", "prefer": "return=minimal"}
    if where.token is not None:
        headers["authorization"] = f"Bearer {where.token}"
    client = Client(
        parse_url(where.url), LIMITS, headers=headers, connections=asking.connections, unix=where.unix,
        answers=ANSWERS,
    )  # fmt: skip
    times: list[list[float]] = [[] for _ in range(asking.connections)]
    deadline = time.perf_counter() + asking.seconds

    def run(own: list[float]) -> None:
        while (start := time.perf_counter()) < deadline:
            answer = client.ask("POST", "v1/entries", 1 << 20, content=asking.body)
            assert answer.status in ANSWERS, answer
            own.append(time.perf_counter() - start)

    threads = [threading.Thread(target=run, args=(own,)) for own in times]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    return [item for own in times for item in own]


def guarding(where: Where, seconds: float) -> None:
    """A guarded call, one after the other: two entries each."""
    times = []
    with attestlog.connect(f"unix:{where.unix}") as log:
        deadline = time.perf_counter() + seconds
        while (start := time.perf_counter()) < deadline:
            with log.guard(action_type="deploy", actor_id="agent-7"):
                pass
            times.append(time.perf_counter() - start)
    ordered = sorted(times)
    row(
        "guarded calls, socket, 1 client",
        Figures(
            len(times) / seconds, 0, 1e3 * statistics.median(ordered), 1e3 * ordered[int(len(ordered) * 0.99)]
        ),
        None,
    )


def tailing(where: Where, seconds: float, tails: int = 16) -> None:
    """Events a second to so many streams that begin at the log's start."""
    found = [0] * tails
    deadline = time.perf_counter() + seconds

    def follow(number: int) -> None:
        with attestlog.connect(f"unix:{where.unix}") as log:
            for _ in log.tail(after=0):
                found[number] += 1
                if time.perf_counter() >= deadline:
                    return

    run_all([lambda number=number: follow(number) for number in range(tails)])  # type: ignore[misc]
    print(f"| events to {tails} tails | {sum(found) / seconds:,.0f} | | | | |", flush=True)


def run_all(works: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)


def cpu_s(pid: int) -> float:
    """Processor time that a process has had, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
