"""`python -m bench.replication [--gap N] [--entries N] [--folder DIR]`: what replicas take, and cost.

Each replica is a process of its own on this machine, so all of them share its cores and its disk with the
writer: between machines it is faster. Yardsticks of the same run: the log without replicas, and the same
shipments gzipped and posted to a server on loopback that throws them away.
"""

from __future__ import annotations

import argparse
import gzip
import multiprocessing
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import httpx
from examples.replicas import Server

import attestlog
from attestlog._internal.core.replication import encode_shipment
from attestlog._internal.replication.batches import shipments
from attestlog._internal.replication.settings import add_replica, replica_at
from attestlog._internal.replication.status import replica_status
from attestlog._internal.server.tokens import Scope, TokenFile
from attestlog._internal.storage.resolve import open_source
from bench.__main__ import load, machine
from bench.loads import DRAFT, Place
from bench.reads import COMMAND, resident_bytes

ORIGIN: Final = "bench.example/log"
AT_ONCE: Final = 1_024
"""Drafts of one `append_many`: while a list is committed, the one before is on its way."""

SAMPLE_S: Final = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.replication", description=__doc__)
    parser.add_argument("--entries", type=int, default=20_000, help="appended while replicas follow")
    parser.add_argument("--acknowledged", type=int, default=300, help="appends that wait for copies")
    parser.add_argument("--gap", type=int, default=100_000, help="entries that a replica lacks")
    parser.add_argument("--folder", type=Path, help="where to write; the disk to be measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        os.environ["ATTESTLOG_HOME"] = str(Path(name) / "home")
        site = Site(Path(name))
        print(f"{machine()}; {load()}\n\n| what | figure | ratio | to |\n|---|---:|---:|---|")
        following(site, options.entries)
        waiting(site, options.acknowledged)
        for gap in (options.gap // 10, options.gap):
            catching_up(site, gap)
        print(f"\n{load()} at the end")


def row(what: str, figure: float, unit: str = "", ratio: float | None = None, to: str = "") -> None:
    shown = f"{figure:,.{1 if figure < 100 else 0}f}{unit}"
    print(f"| {what} | {shown} | {'' if ratio is None else f'{ratio:.2f}'} | {to} |", flush=True)


class Site:
    """Where logs and replicas are made, anew for each measurement."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0

    def new_log(self) -> Path:
        path = self.folder / "log"
        shutil.rmtree(path, ignore_errors=True)
        attestlog.create(path, origin=ORIGIN).close()
        return path

    @contextmanager
    def replicas(self, log: Path, count: int) -> Iterator[list[Server]]:
        """As many replicas, running, which the log is sent to from its next opening on."""
        with ExitStack() as stack:
            servers = []
            for _ in range(count):
                self.count += 1
                name = f"replica-{self.count}"
                arguments = ("--name", f"{name}.example.com", "--key", f"file:{self.folder}/{name}.pem")
                server = stack.enter_context(Server("replica", self.folder / name, *arguments))
                token = self.folder / f"{name}.token"
                token.write_text(TokenFile(server.folder).mint("bench", [Scope.REPLICATE], ORIGIN))
                add_replica(log, replica_at(server.url, server.vkey, token, None))
                servers.append(server)
            yield servers
        for server in servers:
            shutil.rmtree(server.folder, ignore_errors=True)


# --- following a log that is written ---


def following(site: Site, count: int) -> None:
    """Appending as fast as it goes, beside 0, 1 and 3 replicas; how far they are behind, and until when."""
    alone = 0.0
    for number in (0, 1, 3):
        path = site.new_log()
        with site.replicas(path, number):
            behind: list[int] = []
            with attestlog.open(path) as log:
                start = time.perf_counter()
                for _ in range(0, count, AT_ONCE):
                    log.append_many([DRAFT] * AT_ONCE)
                    behind.append(max((item.lag for item in replica_status(path)), default=0))
                appended = time.perf_counter() - start
                size = log.head().size
                wait_until_held(path, size)
                held = time.perf_counter() - start
        rate = size / appended
        alone = alone or rate
        row(f"append_many beside {number} replicas, entries/s", rate, "", rate / alone, "without replicas")
        if number:
            row(f"{number}: held by all, entries/s", size / held, "", size / held / alone, "without replicas")
            row(f"{number}: behind when all was appended, entries", behind[-1])
            row(f"{number}: until all was held, after that", held - appended, " s")


def wait_until_held(path: Path, size: int, limit_s: float = 300) -> None:
    deadline = time.perf_counter() + limit_s
    while any(item.size < size for item in replica_status(path)):
        assert time.perf_counter() < deadline
        time.sleep(SAMPLE_S)


# --- waiting for copies ---


def waiting(site: Site, count: int) -> None:
    """One caller, one entry at a time: durable here, and durable on two of three replicas as well."""
    halves: dict[str, list[float]] = {}
    for what, copies in (("durable here", 0), ("ack_replicas=2 of 3", 2)):
        path = site.new_log()
        with site.replicas(path, 3 if copies else 0), attestlog.open(path, ack_replicas=copies) as log:
            log.append(DRAFT)
            halves[what] = sorted(timed(log.append, DRAFT) * 1e3 for _ in range(count))
    here = halves["durable here"]
    for what, times in halves.items():
        for name, of in (("p50", statistics.median), ("p99", p99)):
            ratio = None if times is here else of(times) / of(here)
            row(f"append, {what}: {name}", of(times), " ms", ratio, "" if ratio is None else "durable here")


def timed(act: Callable[..., object], *arguments: Any) -> float:
    start = time.perf_counter()
    act(*arguments)
    return time.perf_counter() - start


def p99(values: list[float]) -> float:
    return values[int(len(values) * 0.99)]


# --- after an outage ---


def catching_up(site: Site, gap: int) -> None:
    """`attestlog replica sync` of a gap, in a process of its own, to one replica; memory of both."""
    place = Place(site.folder / f"gap-{gap}")
    place.folder.mkdir()
    place.grow(gap)
    bare, packed_mb = posting(place.path)
    with site.replicas(place.path, 1) as (server,):
        idle_mb = server_mb(server)
        process = subprocess.Popen(
            [COMMAND, "replica", "sync", str(place.path), "--json"], stdout=subprocess.DEVNULL
        )
        start = time.perf_counter()
        peaks = [0.0, 0.0]
        while process.poll() is None:
            peaks = [max(peaks[0], resident_bytes(process.pid) / 1e6), max(peaks[1], server_mb(server))]
            time.sleep(SAMPLE_S)
        rate = gap / (time.perf_counter() - start)
        assert process.returncode == 0
    row(f"gap of {gap:,}: raw gzip and POST, entries/s ({packed_mb:.0f} MB)", bare)
    row(f"gap of {gap:,}: caught up, entries/s", rate, "", rate / bare, "raw gzip and POST")
    row(f"gap of {gap:,}: sender's memory at most", peaks[0], " MB")
    row(f"gap of {gap:,}: replica's memory at most ({idle_mb:.0f} MB before)", peaks[1], " MB")
    shutil.rmtree(place.folder)


def server_mb(server: Server) -> float:
    """A replica's memory now."""
    return resident_bytes(server.pid) / 1e6


def posting(path: Path) -> tuple[float, float]:
    """Entries a second: read, cut into shipments, gzipped, posted, thrown away. And the megabytes of it."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    sink = multiprocessing.get_context("spawn").Process(target=_throw_away, args=(theirs,), daemon=True)
    sink.start()
    log = open_source(path)
    url, size, sent = ours.recv(), log.durable_size(), 0
    with httpx.Client(trust_env=False) as client:
        start = time.perf_counter()
        for shipment in shipments(log, 0, size):
            body = gzip.compress(encode_shipment(shipment), 1)
            sent += len(body)
            client.post(url, content=body).raise_for_status()
        seconds = time.perf_counter() - start
    sink.terminate()
    sink.join()
    return size / seconds, sent / 1e6


def _throw_away(told: Connection) -> None:
    class Sink(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Sink)
    told.send(f"http://127.0.0.1:{server.server_port}/")
    server.serve_forever()


if __name__ == "__main__":
    main()
