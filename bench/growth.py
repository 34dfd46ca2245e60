"""`python -m bench.growth [--sizes 0 1000000 10000000]`: one log, measured at each size, side by side.

What must not depend on the size: appending, its memory, opening, queries by what is indexed. What must be
proportional to it: verification, and what it takes on disk. Ten million entries take 30 GB and an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import loads, reads
from bench.__main__ import COUNTS, load, machine
from bench.loads import Place

_WRITER = """
import resource, sys
from pathlib import Path
from bench.loads import Place
place = Place(Path(sys.argv[1])); place.grown = Path(sys.argv[2]) if sys.argv[2] else None
rate, count = place.grow(int(sys.argv[3]))
print(rate, count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
"""


def grow(place: Place, size: int) -> dict[str, float]:
    """Grow the log in a process of its own, whose memory is nobody else's."""
    command = [sys.executable, "-c", _WRITER, str(place.folder), str(place.grown or ""), str(size)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rate, count, peak_mb = map(float, done.stdout.split())
    place.grown = place.folder / "grown"
    if not count:
        return {}
    return {"appended on the way": count, "append_many on the way": rate, "its memory, MB": peak_mb}


def measure(place: Place, size: int, scale: float) -> dict[str, float]:
    """Everything at one size."""
    figures = grow(place, size)
    size_bytes = reads.sizes_mb(place.path)
    figures["open after close, ms"] = reads.open_ms(place, 1)
    figures["append, one caller"] = loads.one_caller(place, int(COUNTS["one"] * scale))
    figures["append_many"] = loads.many(place, int(COUNTS["many"] * scale))
    figures["append, 64 threads"] = loads.threads(place, int(COUNTS["threads"] * scale))
    start = time.perf_counter()
    rate, peak_mb, cost_us = reads.judge_log(place.path)
    figures["verify"], figures["verify: memory, MB"] = rate, peak_mb
    figures["verify: computing, µs an entry"] = cost_us
    figures["verify, seconds"] = time.perf_counter() - start
    figures["indexing for queries"] = reads.catch_up(place.path)
    figures |= reads.query_p95_ms(place)
    size_bytes["query index"] = reads.sizes_mb(place.path)["query index"]
    return figures | {f"disk: {part}, MB": figure for part, figure in size_bytes.items()}


def print_table(columns: dict[int, dict[str, float]]) -> None:
    """Markdown, as docs/performance.md quotes it."""
    rows = dict.fromkeys(row for figures in columns.values() for row in figures)
    print("| entries in the log | " + " | ".join(f"{size:,}" for size in columns) + " |")
    print("|---|" + "---:|" * len(columns))
    for row in rows:
        cells = [figures.get(row) for figures in columns.values()]
        texts = ["" if cell is None else f"{cell:,.{1 if cell < 100 else 0}f}" for cell in cells]
        print(f"| {row} | {' | '.join(texts)} |")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.growth", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 1_000_000, 10_000_000])
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies what is appended at each size")
    parser.add_argument("--folder", type=Path, help="where to write; the disk to be measured")
    options = parser.parse_args()
    columns: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        os.environ["ATTESTLOG_HOME"] = str(Path(name) / "home")
        place = Place(Path(name))
        for size in sorted(options.sizes):
            columns[size] = measure(place, size, options.scale)
            print(f"{size:,}, {load()}: {json.dumps(columns[size])}", file=sys.stderr, flush=True)
    print(f"{machine()}; {load()}\n")
    print_table(columns)


if __name__ == "__main__":
    main()
