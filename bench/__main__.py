"""`python -m bench [--rounds N] [--scale X] [--size N]`: medians, and ratios to the machine's own figures.

Yardsticks and loads alternate in every round, so that a slow minute hits both. `--size` grows a log to so
many entries first, and measures everything on that one. Beside it, where `.venv-bench` has it, a peer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import loads, reads, yardsticks
from bench.loads import Place

LINE_BYTES = 1_500
PEER_PYTHON = Path(".venv-bench/bin/python")

COUNTS = {
    "one": 2_000,
    "many": 40_000,
    "threads": 20_480,
    "verify": 250_000,
    "verify_plain": 50_000,
    "peer": 2_000,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the number of entries")
    parser.add_argument("--size", type=int, default=0, help="entries in the log beforehand")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", type=Path, help="where to write; the disk to be measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        os.environ["ATTESTLOG_HOME"] = str(Path(name) / "home")
        place = Place(Path(name))
        if options.size:
            place.grow(options.size)
        rounds = []
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}, {load()}", file=sys.stderr)
            rounds.append(measure(place, options.scale) | peer(place.folder, options.scale))
    medians = {row: statistics.median(figures[row] for figures in rounds) for row in rounds[0]}
    if options.json:
        print(json.dumps({"type": "bench", "machine": machine(), "rounds": rounds, "medians": medians}))
    else:
        print(f"{machine()}; {load()}; {options.size:,} entries in the log beforehand\n")
        print_table(medians)


def measure(place: Place, scale: float) -> dict[str, float]:
    """One round of everything."""
    entries = {name: max(64, int(count * scale)) for name, count in COUNTS.items()}
    figures = measure_machine(place.folder)
    for row, work, count in (
        ("append, one caller", loads.one_caller, entries["one"]),
        ("append_many", loads.many, entries["many"]),
        ("append, 64 threads", loads.threads, entries["threads"]),
        ("append_async, 64 tasks", loads.tasks, entries["threads"]),
        ("64 tasks with 16 each, 100 signatures/s", loads.slow_signer, entries["threads"]),
    ):
        before = time.process_time()
        figures[row] = work(place, count)
        figures[row + COST] = (time.process_time() - before) / count * 1e6
    figures["append, 4 processes"] = loads.processes(place, entries["one"])
    for row, count, batch in (
        ("verify, batch-signed", entries["verify"], True),
        ("verify, signed one by one", entries["verify_plain"], False),
    ):
        figures[row], figures[f"{row}: memory, MB"], figures[row + COST] = reads.verify(
            place, count, batch=batch
        )
    figures["open after close, ms"] = reads.open_ms(place, entries["many"])
    if place.grown is not None:
        reads.catch_up(place.path)
        figures |= reads.query_p95_ms(place)
    return figures


def measure_machine(folder: Path) -> dict[str, float]:
    """The yardsticks."""
    line = b"x" * (LINE_BYTES - 1) + b"\n"
    figures = {}
    for group in (1, 64, 256):
        figures[f"raw write+fdatasync, groups of {group}"] = yardsticks.raw_append(folder, line, group, 1)
    figures["raw SHA-256 of 1.5 kB"] = yardsticks.raw_sha256(line, 0.3)
    signs, verifies = yardsticks.raw_p256(0.3)
    figures["raw P-256 signatures"], figures["raw P-256 verifications"] = signs, verifies
    figures["raw P-256 verifications, all cores"] = yardsticks.raw_verify_all_cores(0.5)
    return figures


def peer(folder: Path, scale: float) -> dict[str, float]:
    """The same of another log, by its own interpreter; nothing where it is not installed."""
    if not PEER_PYTHON.exists():
        return {}
    count = max(64, int(COUNTS["peer"] * scale))
    command = [str(PEER_PYTHON), str(Path(__file__).with_name("peer.py")), str(folder), str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


COST = ": computing"
"""After a row's name: microseconds of processor an entry, which other work on the machine hardly changes."""

ONE, GROUPS_OF_64 = "raw write+fdatasync, groups of 1", "raw write+fdatasync, groups of 64"
RATIOS = {
    "append, one caller": ONE,
    "append_many": "raw write+fdatasync, groups of 256",
    "append, 64 threads": GROUPS_OF_64,
    "append_async, 64 tasks": GROUPS_OF_64,
    "64 tasks with 16 each, 100 signatures/s": GROUPS_OF_64,
    "append, 4 processes": ONE,
    "verify, batch-signed": "raw SHA-256 of 1.5 kB",
    "verify, signed one by one": "raw P-256 verifications, all cores",
    "noirebox: one caller": ONE,
    "noirebox: 64 threads": GROUPS_OF_64,
}
"""Each row's yardstick. That of hashing is of one core; `verify` uses all."""


def print_table(medians: dict[str, float]) -> None:
    """Markdown, as docs/performance.md quotes it."""
    print("| what | per second | ratio | to | computing, µs |\n|---|---:|---:|---|---:|")
    for row, figure in medians.items():
        if row.endswith(COST):
            continue
        yardstick, cost = RATIOS.get(row), medians.get(row + COST)
        ratio = f"{figure / medians[yardstick]:.2f}" if yardstick else ""
        shown = f"{figure:,.{1 if figure < 100 else 0}f}"
        print(f"| {row} | {shown} | {ratio} | {yardstick or ''} | {'' if cost is None else f'{cost:.1f}'} |")


def machine() -> str:
    """What the figures were measured on."""
    python = platform.python_version()
    return f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, Python {python}"


def load() -> str:
    """What else the machine does: figures taken beside other work are not comparable."""
    return f"load average {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
