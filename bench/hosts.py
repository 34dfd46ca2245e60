"""One log, several hosts: entries a second on PostgreSQL, beside plain INSERTs and a directory.

    python -m bench.hosts [--seconds S]

Each host is a process with a connection, a queue and keys of its own; callers are its threads. Server, hosts
and directory share this machine, so hosts take the processor from each other: look at the cost an entry.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from tests.support.postgres import PostgresServer, running

import attestlog
from attestlog._internal.signers.file import save_key
from attestlog._internal.signers.private_keys import make_key

CASES = [(1, 1), (1, 64), (1, 256), (2, 64), (4, 64), (4, 256)]
"""(hosts, callers each)."""


class Measured(NamedTuple):
    """What one host did."""

    entries: int
    seconds: float
    processor_s: float
    latencies_ms: list[float]


def draft(number: int) -> dict[str, Any]:
    """As an agent's act: 2 kB as stored."""
    return {
        "event_type": "ACTION", "action_type": "tool_call", "actor_id": f"agent-{number % 50}",
        "action_payload": {"number": number, "argument": "x" * 200},
    }  # fmt: skip


def host(log_name: str, keys: list[str], load: tuple[int, float], began: Any, results: Any) -> None:
    """Append with so many threads for so long."""
    callers, seconds = load
    with attestlog.open(log_name, signer=keys[0], checkpoint_signer=keys[1]) as log:
        began.wait()
        stop, counts = time.monotonic() + seconds, [0] * callers
        latencies: list[list[float]] = [[] for _ in range(callers)]

        def call(caller: int) -> None:
            while (before := time.monotonic()) < stop:
                log.append(draft(counts[caller]))
                latencies[caller].append((time.monotonic() - before) * 1_000)
                counts[caller] += 1

        threads = [threading.Thread(target=call, args=(n,)) for n in range(callers)]
        start = time.monotonic()
        used = resource.getrusage(resource.RUSAGE_SELF)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        after = resource.getrusage(resource.RUSAGE_SELF)
        taken = time.monotonic() - start
    cost = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    results.put(Measured(sum(counts), taken, cost, sorted(chain.from_iterable(latencies))))


def measure(log_name: str, keys: list[str], hosts: int, callers: int, seconds: float) -> list[Measured]:
    """All hosts at once."""
    context = multiprocessing.get_context("spawn")
    began, results = context.Barrier(hosts), context.Queue()
    processes = [
        context.Process(target=host, args=(log_name, keys, (callers, seconds), began, results))
        for _ in range(hosts)
    ]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return found


def server_seconds(server: PostgresServer) -> float:
    """Processor time of the server and all its processes, those that ended included."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(path.name) == server.pid:
            ticks += sum(map(int, fields[11:15]))
        elif int(fields[1]) == server.pid:
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def plain(server: PostgresServer, batch: int, seconds: float) -> float:
    """Rows a second of plain INSERTs of 2 kB, so many a transaction."""
    server.sql("drop table if exists plain")
    server.sql("create table plain (seq bigint primary key, line bytea)")
    server.sql("alter table plain alter column line set compression lz4")
    rows, line = 0, os.urandom(1_000).hex().encode()
    with psycopg.connect(host=str(server.folder), user="postgres", dbname="postgres") as connection:
        start = time.monotonic()
        while time.monotonic() < start + seconds:
            connection.execute(
                "insert into plain select %b + o - 1, l from unnest(%b::bytea[]) with ordinality t(l, o)",
                (rows, [line] * batch),
            )
            connection.commit()
            rows += batch
        return rows / (time.monotonic() - start)


def show(name: str, found: list[Measured], server_s: float) -> None:
    """One line."""
    entries = sum(each.entries for each in found)
    rate = sum(each.entries / each.seconds for each in found)
    latencies = sorted(latency for each in found for latency in each.latencies_ms)
    p50, p99 = (latencies[int(len(latencies) * part)] for part in (0.5, 0.99))
    client = sum(each.processor_s for each in found) / entries * 1e6
    print(
        f"{name:<28} {rate:>8,.0f} /s   p50 {p50:7.2f} ms   p99 {p99:7.2f} ms   processor an entry:"
        f" host {client:5.0f} us, server {server_s / entries * 1e6:5.0f} us",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder, running() as server:
        os.environ["ATTESTLOG_HOME"] = folder
        keys = [
            save_key(make_key(algorithm), Path(folder) / f"{algorithm}.pem", None).uri
            for algorithm in ("ECDSA-P256-SHA256", "Ed25519")
        ]

        def made(name: str, number: int) -> str:
            log = f"example.com/bench-{number}"
            attestlog.create(name, origin=log, signer=keys[0], checkpoint_signer=keys[1]).close()
            return name

        names: list[tuple[str, Callable[[int], str]]] = [
            ("directory", lambda number: str(Path(folder) / f"log-{number}")),
            ("postgresql", lambda _: server.new_url(user="app")),
        ]
        for batch in (1, 64, 256):
            print(
                f"{f'plain INSERT of {batch}':<28} {plain(server, batch, seconds / 2):>8,.0f} /s", flush=True
            )
        number = 0
        for hosts, callers in CASES:
            for kind, name in names:
                if kind == "directory" and hosts > 1:
                    continue
                number += 1
                log = made(name(number), number)
                before = server_seconds(server)
                found = measure(log, keys, hosts, callers, seconds)
                cost = server_seconds(server) - before
                show(f"{kind}, {hosts} x {callers}", found, cost if kind == "postgresql" else 0.0)


if __name__ == "__main__":
    main()
