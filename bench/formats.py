"""`python -m bench.formats [--before COMMIT] [--rounds N]`: what the formats cost, and what they cost before.

Bytes and computing an entry of this tree beside an older commit's, in turn, each in processes of its own.
Opening a log whose policy changed so many times, with and without the cache of rules. The memory of a
verifier that remembers so many used requests. Computing is processor time: other work on the machine changes
it less than it changes elapsed time, and not to nothing, so look at the load that is printed.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attestlog
from attestlog import Policy, approved_draft, sign_approval
from attestlog._internal import places
from attestlog._internal.core.policy import parse_policy
from attestlog._internal.core.policy_change import set_policy_payload
from attestlog.testing import MemorySigner
from bench.__main__ import load, machine
from bench.loads import DRAFT

TREE = Path(__file__).resolve().parents[1]

_SIDE = """
import json, resource, subprocess, sys, time
from pathlib import Path
import attestlog
where, path, draft, one, many = sys.argv[1], Path(sys.argv[2]), *map(json.loads, sys.argv[3:])
assert attestlog.__file__.startswith(where), attestlog.__file__
try:
    from attestlog._internal.cli import main
except ImportError:
    from attestlog.cli import main
def cost(work, count):
    before = time.process_time(); work(); return (time.process_time() - before) / count * 1e6
with attestlog.create(path, origin="bench.example/log") as log:
    log.append_many([draft] * 1_000)
    found = {"append_many, µs": cost(lambda: log.append_many([draft] * many), many)}
    found["append, one caller, µs"] = cost(lambda: [log.append(draft) for _ in range(one)], one)
def entries_bytes():
    return sum(file.stat().st_size for file in (path / "entries").iterdir())
found["bytes an entry"] = entries_bytes() / (1_001 + one + many)
def verify():
    try:
        main(["verify", str(path), "--no-remember", "--workers", "1", "--json"])
    except SystemExit as end:
        assert not end.code, end.code
found["verify, µs"] = cost(verify, 1_001 + one + many)
print(json.dumps(found))
"""
"""One side of the comparison, by names that both have."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.formats", description=__doc__)
    parser.add_argument("--before", metavar="COMMIT", help="what to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--entries", type=int, default=20_000, help="appended on each side in each round")
    parser.add_argument("--governing", type=int, nargs="*", default=[0, 1_000, 100_000])
    parser.add_argument("--used", type=int, default=200_000, help="requests that were used; 0: leave it out")
    parser.add_argument("--folder", type=Path, help="where to write; the disk to be measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name, places.all_below(Path(name) / "home"):
        folder = Path(name)
        print(f"{machine()}\n\n| what | | |\n|---|---:|---:|")
        if options.before:
            compare(folder, options.before, options.rounds, options.entries)
        for changes in options.governing:
            open_governed(folder / f"governed-{changes}", changes)
        if options.used:
            remember_used(folder, options.used)


def row(what: str, *cells: str) -> None:
    """Printed at once: what follows can take minutes."""
    print(f"| {what} | {' | '.join(cells)} |", flush=True)
    print(f"{what}: {load()}", file=sys.stderr)


# --- beside an older commit ---


def compare(folder: Path, commit: str, rounds: int, entries: int) -> None:
    """Medians of both sides, which take turns at being the first."""
    before, now = folder / "before" / "src", TREE / "src"
    before.parent.mkdir()
    git = shutil.which("git") or "git"
    done = subprocess.run([git, "archive", commit, "src"], check=True, capture_output=True, cwd=TREE)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(before.parent, filter="data")
    found: dict[Path, list[dict[str, float]]] = {before: [], now: []}
    for number in range(rounds):
        for side in (before, now) if number % 2 else (now, before):
            found[side].append(one_side(side, folder / "compared", entries))
        print(f"round {number + 1} of {rounds}, {load()}", file=sys.stderr)
    for what in found[now][0]:
        old, new = (statistics.median(figures[what] for figures in found[side]) for side in (before, now))
        row(f"{what}: {commit}, now", f"{old:,.1f}", f"{new:,.1f} ({(new / old - 1) * 100:+.1f} %)")


def one_side(source: Path, path: Path, entries: int) -> dict[str, float]:
    """What the code in `source` makes of it, in a process and a home of its own."""
    home = path.with_name("compared-home")
    environment = {**os.environ, "PYTHONPATH": str(source), "ATTESTLOG_HOME": str(home)}
    words = [str(source), str(path), json.dumps(DRAFT), str(entries // 10), str(entries)]
    done = subprocess.run(
        [sys.executable, "-c", _SIDE, *words], check=True, capture_output=True, text=True, env=environment,
        cwd=path.parent,
    )  # fmt: skip
    shutil.rmtree(path)
    shutil.rmtree(home)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


# --- opening ---


def open_governed(path: Path, changes: int) -> None:
    """Opening a log whose policy changed so often: without the cache of rules, and with it."""
    with attestlog.create(path, origin="bench.example/log") as log:
        for number in range(changes):
            payload = set_policy_payload(log.rules, parse_policy({"safety_floor": number % 10}))
            log.append({**DRAFT, "event_type": "CHANGE", "action_type": "attestlog.set_policy",
                        "action_payload": payload})  # fmt: skip
        log.append_many([DRAFT] * 1_000)
    shutil.rmtree(places.rules_dir(), ignore_errors=True)
    cold, cached = open_ms(path), statistics.median(open_ms(path) for _ in range(5))
    row(f"open after {changes:,} changes of the policy, ms of computing: cold, cached",
        f"{cold:,.1f}", f"{cached:,.1f}")  # fmt: skip
    shutil.rmtree(path)


def open_ms(path: Path) -> float:
    """In this process, with everything loaded; the machine's page cache is warm."""
    before = time.process_time()
    log = attestlog.open(path)
    log.head()
    milliseconds = (time.process_time() - before) * 1_000
    log.close()
    return milliseconds


# --- memory ---


def remember_used(folder: Path, used: int) -> None:
    """What a verifier in one process takes for a log of that many approved acts, and of as many others."""
    peaks = []
    for name, approve in (("plain", lambda _: [DRAFT] * GROUP), ("approved", approvals())):
        path = folder / name
        with attestlog.create(path, origin="bench.example/log", policy=POLICY) as log:
            for _ in range(0, used, GROUP):
                log.append_many(approve(log))
        peaks.append(peak_mb(path))
        shutil.rmtree(path)
    row(
        f"verifier's memory, MB: {used:,} entries, as many used requests", *(f"{peak:,.1f}" for peak in peaks)
    )


GROUP = 1_000
APPROVER = MemorySigner("Ed25519")
POLICY: Policy = parse_policy({"approvers": {"ana": {"keys": [APPROVER.public_key.pem]}}})


def approvals() -> Callable[[attestlog.Log], list[Any]]:
    """Makes drafts that somebody approved, each for a request of its own."""

    def one(log: attestlog.Log) -> Any:
        request = log.request(DRAFT)
        return approved_draft(request, [sign_approval(request, APPROVER, name="ana")])

    return lambda log: [one(log) for _ in range(GROUP)]


def peak_mb(path: Path) -> float:
    """Of a process that verifies the log alone."""
    script = (
        "import resource, sys, attestlog; "
        "assert attestlog.verify(sys.argv[1], remember=False, workers=1).size; "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


if __name__ == "__main__":
    main()
