"""`python -m bench.publish [--entries 400]`: waiting until an entry is published, beside the log alone.

Both are measured in turns in the same run, on the same disk: the ratio says more than the times. Each file
that is published is one request (PUT) to a bucket, and the checkpoint one more.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Literal

from attestlog import Log, Publisher, publish
from attestlog._internal.storage.published_folder import PublishedFolder

CALLERS = (1, 16, 64)
ROUNDS = 3
PAYLOAD = {"text": "x" * 1_000}

Wait = Literal["durable", "published"]


class Counted:
    """What is published from now on: requests, and the bytes in them."""

    def __init__(self) -> None:
        self.requests = self.size_bytes = 0
        add, replace = PublishedFolder.add, PublishedFolder.replace_checkpoint

        def added(folder: PublishedFolder, name: str, data: bytes) -> None:
            self._count(data)
            add(folder, name, data)

        def replaced(folder: PublishedFolder, note: bytes) -> None:
            self._count(note)
            replace(folder, note)

        PublishedFolder.add, PublishedFolder.replace_checkpoint = added, replaced  # type: ignore[method-assign,assignment]

    def _count(self, data: bytes) -> None:
        self.requests += 1
        self.size_bytes += len(data)


def append(log: Log, callers: int, entries: int, wait: Wait) -> list[float]:
    """Seconds of each append, shortest first."""
    times: list[float] = []

    def work() -> None:
        for _ in range(max(1, entries // callers)):
            begun = time.perf_counter()
            log.append(
                event_type="ACTION", action_type="bench", actor_id="bench", action_payload=PAYLOAD, wait=wait
            )
            times.append(time.perf_counter() - begun)

    threads = [threading.Thread(target=work) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(times)


def at(times: list[float], share: float) -> float:
    """Milliseconds that this share of the appends took at the most."""
    return 1_000 * times[min(len(times) - 1, int(share * len(times)))]


def measure_waiting(log: Log, public: Path, entries: int, counted: Counted) -> None:
    """Appends that wait to be durable, and to be published, by turns."""
    print("callers   durable p50   p99   published p50   p99   ratio   requests, kB per 1,000 entries")
    with Publisher(log, public):
        log.append(event_type="ACTION", action_type="bench", actor_id="bench", wait="published")
        for callers in CALLERS:
            alone: list[float] = []
            both: list[float] = []
            requests = size_bytes = 0
            for _ in range(ROUNDS):
                alone += append(log, callers, entries, "durable")
                log.append(event_type="ACTION", action_type="bench", actor_id="bench", wait="published")
                before = counted.requests, counted.size_bytes
                both += append(log, callers, entries, "published")
                requests += counted.requests - before[0]
                size_bytes += counted.size_bytes - before[1]
            alone, both = sorted(alone), sorted(both)
            print(
                f"{callers:7}   {at(alone, 0.5):8.2f} ms {at(alone, 0.99):5.1f}   {at(both, 0.5):10.2f} ms"
                f" {at(both, 0.99):5.1f}   {at(both, 0.5) / at(alone, 0.5):5.1f}"
                f"   {1_000 * requests / len(both):8,.0f} {size_bytes / len(both):9,.0f}"
            )


def measure_at_once(log: Log, public: Path, counted: Counted) -> None:
    """The first publication of a log, and an increment of it."""
    log.append_many([{"event_type": "ACTION", "action_type": "b", "actor_id": "b"} for _ in range(20_000)])
    for what in ("first", "1,000 more"):
        log.checkpoint()
        counted.requests = counted.size_bytes = 0
        begun = time.perf_counter()
        done = publish(log.path, public)
        took = time.perf_counter() - begun
        entries = done.size - done.old_size
        print(
            f"publish, {what}: {entries:,} entries in {took:.2f} s, per 1,000 entries"
            f" {1_000 * counted.requests / entries:,.1f} requests and {counted.size_bytes / entries:,.1f} kB"
        )
        log.append_many([{"event_type": "ACTION", "action_type": "b", "actor_id": "b"} for _ in range(1_000)])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=400, help="appends a round and number of callers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        os.environ["ATTESTLOG_HOME"] = f"{folder}/home"
        counted = Counted()
        with Log.create(f"{folder}/log", origin="example.com/bench") as log:
            measure_waiting(log, Path(folder, "public"), options.entries, counted)
            measure_at_once(log, Path(folder, "all"), counted)


if __name__ == "__main__":
    main()
