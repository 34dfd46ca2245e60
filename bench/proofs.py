"""`python -m bench.proofs [--size 10000000] [--publish 1000000]`: proofs, checkpoints, publishing, tiles.

The large tree is synthetic: its files are written by a generator, with the tree's own code, over counted
leaves; nobody waits for ten million signatures. So is the log that is published: a real genesis entry and
checkpoint, and lines of the usual size that hold a hash and no signature. Proving, reading tiles and
publishing look at nothing else.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from attestlog import Log, open_signer, publish
from attestlog._internal import disk
from attestlog._internal.config import read_config
from attestlog._internal.core.checkpoint import Checkpoint
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.merkle import (
    Grown,
    Span,
    edge_from_stored,
    prove_consistency,
    prove_inclusion,
    prove_root,
    stored_ranges,
    verify_consistency,
    verify_inclusion,
)
from attestlog._internal.core.tiles import Tile, TrustedTiles
from attestlog._internal.log.keys import key_holders, sign_head
from attestlog._internal.storage.files.layout import CHECKPOINT_FILE, ENTRIES_DIR, segment_name, tree_path
from attestlog._internal.storage.resolve import open_source

CHUNK = 65_536
LINE_SIZE_BYTES = 1_800
"""As in the other benchmarks."""

PUBLISHER = """
import resource, sys, time
import attestlog
publish = attestlog.publish  # loaded before memory is looked at
def peak_mb(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
before, cpu, start = peak_mb(), time.process_time(), time.perf_counter()
publish(sys.argv[1], sys.argv[2])
print(time.perf_counter() - start, time.process_time() - cpu, before, peak_mb())
"""

Show = Callable[[str, float, str], None]


def entry_hash(number: int) -> bytes:
    return sha256(number.to_bytes(8, "big")).digest()


def lines(start: int, stop: int) -> Iterator[bytes]:
    """Lines of the usual size whose entry_hash stands where it does in an entry."""
    head = b'{"action_payload":{"padding":"' + b"x" * (LINE_SIZE_BYTES - 1_000) + b'"},"entry_hash":"'
    tail = b'","rest":"' + b"x" * 850 + b'","sequence_number":'
    for number in range(start, stop):
        yield head + entry_hash(number).hex().encode() + tail + b"%d}\n" % number


def grow(root: Path, size: int, *, entries: bool) -> Span:
    """Write the tree's files, and the entries', up to `size`; entry 0 is there. Returns the right edge."""
    edge = Span().extended(open_source(root).hashes(0, 0, 1))
    files = {0: tree_path(root, 0).open("ab")}
    for start in range(0, size, CHUNK):
        stop = min(size, start + CHUNK)
        leaves = [leaf_hash(entry_hash(number)) for number in range(max(1, start), stop)]
        grown: list[Grown] = []
        edge = edge.extended(leaves, grown)
        files[0].write(b"".join(leaves))
        for level, _, node in grown:
            if level not in files:
                files[level] = tree_path(root, level).open("ab")
            files[level].write(node)
        if entries:
            with (root / ENTRIES_DIR / segment_name(start)).open("ab") as file:
                file.writelines(lines(max(1, start), stop))
    for file in files.values():
        file.close()
    return edge


def made(root: Path, size: int, *, entries: bool) -> Checkpoint:
    """A synthetic log of this size at `root`, with a true checkpoint."""
    keys: dict[str, Any] = {
        name: f"file:{root.with_name('keys') / name}.pem" for name in ("signer", "checkpoint_signer")
    }
    Log.create(root, origin="example.com/bench", **keys).close()
    checkpoint = Checkpoint("example.com/bench", size, grow(root, size, entries=entries).root())
    sign(root, checkpoint)
    return checkpoint


def sign(root: Path, checkpoint: Checkpoint) -> None:
    reader = open_source(root)
    signer = open_signer(read_config(reader).signers.checkpoint)
    holders = key_holders(reader.genesis(), signer, None)
    disk.replace_file(root / CHECKPOINT_FILE, sign_head(holders, checkpoint, time.time_ns() // 1_000))


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def quantiles(show: Show, name: str, work: Callable[[int], object], count: int) -> None:
    times = sorted(1e3 * timed(lambda number=number: work(number)) for number in range(count))  # type: ignore[misc]
    show(f"{name}, p50", statistics.median(times), "ms")
    show(f"{name}, p99", times[int(len(times) * 0.99)], "ms")


def measure_proofs(show: Show, folder: Path, size: int, count: int) -> None:
    chance = random.Random(1)
    took = timed(lambda: made(folder / "large", size, entries=False))
    show(f"tree of {size:,} leaves, generated", size / took, "leaves/s")
    reader = open_source(folder / "large")
    root = prove_root(size, reader.hashes)

    def inclusion(_: int) -> None:
        prove_inclusion(chance.randrange(size), size, reader.hashes)

    def consistency(_: int) -> None:
        prove_consistency(chance.randrange(1, size), size, reader.hashes)

    def checkpoint(_: int) -> None:
        edge = edge_from_stored(size, [reader.hashes(*run) for run in stored_ranges(size)])
        sign(folder / "large", Checkpoint("example.com/bench", size, edge.root()))

    quantiles(show, "inclusion proof", inclusion, count)
    quantiles(show, "consistency proof", consistency, count)
    quantiles(show, "checkpoint: root, signature, durable", checkpoint, min(count, 200))
    index, old = size // 3, size // 3
    path, proof = (
        prove_inclusion(index, size, reader.hashes), prove_consistency(old, size, reader.hashes),
    )  # fmt: skip
    leaf, old_root = leaf_hash(entry_hash(index)), prove_root(old, reader.hashes)
    quantiles(show, "inclusion, verified", lambda _: verify_inclusion(leaf, index, size, path, root), count)
    quantiles(
        show, "consistency, verified",
        lambda _: verify_consistency(old, size, proof, old_root, root), count,
    )  # fmt: skip


def measure_tiles(show: Show, folder: Path, size: int, count: int) -> None:
    """Tiles held against a checkpoint."""
    source = open_source(folder / "large")

    def read(tile: Tile) -> bytes:
        first = tile.index * 256
        return b"".join(source.hashes(tile.level, first, first + tile.width))

    trusted = TrustedTiles(size, prove_root(size, source.hashes), read)
    took = timed(lambda: [trusted.tile(0, index) for index in range(min(count, size // 256))])
    show("tiles, held against a checkpoint", min(count, size // 256) / took, "tiles/s")


def measure_publishing(show: Show, folder: Path, size: int) -> None:
    root, public = folder / "log", folder / "public"
    made(root, size, entries=True)
    done = subprocess.run(
        [sys.executable, "-c", PUBLISHER, str(root), str(public)], check=True, capture_output=True, text=True
    )
    seconds, cpu, before_mb, peak_mb = map(float, done.stdout.split())
    show(f"first publish of {size:,} entries", size / seconds, "entries/s")
    show("first publish: processor", 1e6 * cpu / size, "µs/entry")
    show("first publish: memory before, and at most", before_mb, f"MB, {peak_mb:.0f} MB")
    for more in (1, 256, 65_536):
        edge = _edge(root, size)
        leaves = [leaf_hash(entry_hash(number)) for number in range(size, size + more)]
        grown: list[Grown] = []
        edge = edge.extended(leaves, grown)
        with tree_path(root, 0).open("ab") as file:
            file.write(b"".join(leaves))
        for level, _, node in grown:
            with tree_path(root, level).open("ab") as file:
                file.write(node)
        for start in range(size, size + more):
            with (root / ENTRIES_DIR / segment_name(start // CHUNK * CHUNK)).open("ab") as file:
                file.writelines(lines(start, start + 1))
        size += more
        sign(root, Checkpoint("example.com/bench", size, edge.root()))
        show(f"publish of {more:,} more", 1e3 * timed(lambda: publish(root, public)), "ms")


def _edge(root: Path, size: int) -> Span:
    reader = open_source(root)
    return edge_from_stored(size, [reader.hashes(*run) for run in stored_ranges(size)])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=10_000_000, help="leaves of the large tree")
    parser.add_argument("--publish", type=int, default=1_000_000, help="entries of the published log")
    parser.add_argument("--count", type=int, default=2_000, help="proofs and tiles of each kind")
    parser.add_argument("--folder", help="where to work; else a temporary folder")
    options = parser.parse_args()

    def show(name: str, figure: float, unit: str) -> None:
        shown = f"{figure:,.0f}" if figure >= 100 else f"{figure:.3f}"
        print(f"| {name} | {shown} | {unit} |", flush=True)

    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print("| what | figure | unit |\n|---|---:|---|")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measure_publishing(show, Path(folder), options.publish)
        measure_proofs(show, Path(folder), options.size, options.count)
        measure_tiles(show, Path(folder), options.size, options.count)


if __name__ == "__main__":
    main()
