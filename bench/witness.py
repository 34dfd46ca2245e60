"""`python -m bench.witness [--requests N]`: checkpoints cosigned a second, each made durable first.

By one log after another request, and by eight logs at once; called in this process, and over HTTP. Beside it,
how often this disk makes a few bytes durable.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
from tests.support.serving_app import served
from tests.support.witnesses import SignedTree

from attestlog._internal.server.witness import witness_app
from attestlog._internal.witness import Witness
from attestlog.testing import MemorySigner
from bench.__main__ import machine

LOGS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100)
    count = parser.parse_args().requests
    print(machine())
    trees = [SignedTree(f"example.com/log-{n}", size_max=count + 1, fork=count + 1) for n in range(LOGS)]
    requests = [[tree.request(size, size + 1) for size in range(count)] for tree in trees]
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        print(f"{syncs(Path(folder) / 'file', count):>8,.0f}  syncs of the disk")

        def fresh() -> Witness:
            place = Path(tempfile.mkdtemp(dir=folder)) / "witness"
            signers = [MemorySigner("Ed25519")]
            return Witness.begin(place, "bench.example.com/w", signers, [tree.key.verifier for tree in trees])

        for logs in (1, LOGS):
            asks = [fresh().add_checkpoint] * logs
            print(f"{rate(asks, requests[:logs]):>8,.0f}  logs: {logs}, in this process")
            with served(witness_app(fresh())) as url:
                clients = [httpx.Client(base_url=url) for _ in range(logs)]
                over_http = [asking(client) for client in clients]
                print(f"{rate(over_http, requests[:logs]):>8,.0f}  logs: {logs}, over HTTP")
                for client in clients:
                    client.close()


def asking(client: httpx.Client) -> Callable[[bytes], object]:
    def ask(body: bytes) -> None:
        answer = client.post("/add-checkpoint", content=body)
        assert answer.status_code == 200, answer.text

    return ask


def rate(asks: Sequence[Callable[[bytes], object]], requests: list[list[bytes]]) -> float:
    """Requests a second, each list by a thread of its own."""

    def run(ask: Callable[[bytes], object], bodies: list[bytes]) -> None:
        for body in bodies:
            ask(body)

    threads = [threading.Thread(target=run, args=pair) for pair in zip(asks, requests, strict=True)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(map(len, requests)) / (time.perf_counter() - started)


def syncs(path: Path, count: int) -> float:
    started = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(count):
            file.write(bytes(4_096))
            os.fdatasync(file.fileno())
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
