"""`python -m bench [--rounds N] [--scale X] [--json]`: medians, and ratios to the machine's own figures.

Yardsticks and loads alternate in every round, so that a slow minute hits both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path

from bench import loads, yardsticks

LINE_BYTES = 1_500


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the number of entries")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", type=Path, help="where to write; the disk to be measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        os.environ["ATTESTLOG_HOME"] = str(folder / "home")
        rounds = []
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            rounds.append(measure(folder, options.scale))
    medians = {row: statistics.median(figures[row] for figures in rounds) for row in rounds[0]}
    if options.json:
        print(json.dumps({"type": "bench", "machine": machine(), "rounds": rounds, "medians": medians}))
    else:
        print_table(medians)


def measure(folder: Path, scale: float) -> dict[str, float]:
    """One round of everything."""
    line = b"x" * (LINE_BYTES - 1) + b"\n"
    entries = {name: max(64, int(count * scale)) for name, count in COUNTS.items()}
    figures: dict[str, float] = {}
    for group in (1, 64, 256):
        figures[f"raw write+fdatasync, groups of {group}"] = yardsticks.raw_append(folder, line, group, 1)
    figures["raw SHA-256 of 1.5 kB"] = yardsticks.raw_sha256(line, 0.3)
    signs, verifies = yardsticks.raw_p256(0.3)
    figures["raw P-256 signatures"], figures["raw P-256 verifications"] = signs, verifies
    figures["raw P-256 verifications, all cores"] = yardsticks.raw_verify_all_cores(0.5)
    figures["append, one caller"] = loads.one_caller(folder, entries["one"])
    figures["append_many"] = loads.many(folder, entries["many"])
    figures["append, 64 threads"] = loads.threads(folder, entries["threads"])
    figures["append_async, 64 tasks"] = loads.tasks(folder, entries["threads"])
    figures["64 tasks with 16 each, 100 signatures/s"] = loads.slow_signer(folder, entries["threads"])
    figures["append, 4 processes"] = loads.processes(folder, entries["one"])
    figures["verify, batch-signed"] = loads.verify(folder, entries["verify"])
    figures["verify, signed one by one"] = loads.verify(folder, entries["verify_plain"], batch=False)
    figures["open after close, ms"] = loads.open_seconds(folder, entries["many"])
    return figures


COUNTS = {"one": 2_000, "many": 40_000, "threads": 20_480, "verify": 100_000, "verify_plain": 20_000}

RATIOS = {
    "append, one caller": "raw write+fdatasync, groups of 1",
    "append_many": "raw write+fdatasync, groups of 256",
    "append, 64 threads": "raw write+fdatasync, groups of 64",
    "append_async, 64 tasks": "raw write+fdatasync, groups of 64",
    "64 tasks with 16 each, 100 signatures/s": "raw write+fdatasync, groups of 64",
    "append, 4 processes": "raw write+fdatasync, groups of 1",
    "verify, batch-signed": "raw SHA-256 of 1.5 kB",
    "verify, signed one by one": "raw P-256 verifications, all cores",
}
"""Each row's yardstick. That of hashing is of one core; `verify` uses all."""


def print_table(medians: dict[str, float]) -> None:
    """Markdown, as docs/performance.md quotes it."""
    print(f"{machine()}\n")
    print("| what | per second | ratio | to |\n|---|---:|---:|---|")
    for row, figure in medians.items():
        yardstick = RATIOS.get(row)
        ratio = f"{figure / medians[yardstick]:.2f}" if yardstick else ""
        print(f"| {row} | {figure:,.{1 if figure < 100 else 0}f} | {ratio} | {yardstick or ''} |")


def machine() -> str:
    """What the figures were measured on."""
    python = platform.python_version()
    return f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, Python {python}"


if __name__ == "__main__":
    main()
