"""`python -m bench.signers [--seconds S] [--json] [--only NAME]`: each signer alone, and through a log.

Signatures a second; entries a second through the log in batches of 1, 16 and 256; latency of `append` (the
median and the 99th percentile) with 1, 8 and 64 callers, each in a thread, one entry in flight each. Beside
the keys in files and in devices, a device that makes 100 signatures a second.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.support.services import AWS_ENVIRONMENT, Ministack, OpenBao
from tests.support.tokens import PIN, RemoteToken, SoftToken, p11_kit_client, softhsm

import attestlog
from attestlog import Signer, open_signer
from attestlog._internal.core.signature import ECDSA_P256, ED25519, ML_DSA_44
from attestlog._internal.signers.file import save_key
from attestlog._internal.signers.private_keys import make_key
from attestlog.testing import MemorySigner
from bench.__main__ import machine
from bench.loads import DRAFT, SlowSigner

MESSAGE = bytes(32)
BATCHES = (1, 16, 256)
CALLERS = (1, 8, 64)
IN_FLIGHT = (1, 16)


@contextmanager
def in_a_file(folder: Path, algorithm: str) -> Iterator[Signer]:
    """A key file."""
    signer = save_key(make_key(algorithm), folder / "key.pem", None)
    yield signer
    signer.close()


@contextmanager
def in_softhsm(folder: Path, algorithm: str) -> Iterator[Signer]:
    """A key in SoftHSM, its library in this process."""
    from attestlog._internal.signers.pkcs11 import make_pkcs11_key

    token = _token(folder)
    signer = make_pkcs11_key(token.uri("bench"), algorithm)
    yield signer
    signer.close()


@contextmanager
def behind_p11_kit(folder: Path, algorithm: str) -> Iterator[Signer]:
    """The same in another process, as a network device is."""
    from attestlog._internal.signers.pkcs11 import make_pkcs11_key

    token = _token(folder)
    make_pkcs11_key(token.uri("bench"), algorithm).close()
    remote = RemoteToken(token, folder / "p11.sock", p11_kit_client())
    remote.start()
    os.environ.update(remote.environment)
    signer = open_signer(remote.uri("bench"))
    yield signer
    signer.close()
    remote.kill()


@contextmanager
def in_openbao(folder: Path, kind: str) -> Iterator[Signer]:
    """A key of OpenBao's real server on this machine."""
    server = OpenBao(folder)
    server.start()
    os.environ.update(BAO_ADDR=server.url, BAO_TOKEN=server.token)
    signer = open_signer(f"openbao:{server.make_key('bench', kind)}")
    yield signer
    signer.close()
    server.stop()


@contextmanager
def in_emulated_aws(folder: Path) -> Iterator[Signer]:
    """A key of ministack: what the client costs, not what AWS takes."""
    server = Ministack(folder)
    server.start()
    os.environ.update(AWS_ENVIRONMENT, AWS_ENDPOINT_URL_KMS=server.url)
    signer = open_signer(f"awskms:{server.make_key()}")
    yield signer
    signer.close()
    server.stop()


@contextmanager
def slow(folder: Path) -> Iterator[Signer]:
    """A device that takes 10 ms for a signature."""
    with in_a_file(folder, ECDSA_P256) as signer:
        yield SlowSigner(signer.uri)


def _token(folder: Path) -> SoftToken:
    token = SoftToken(folder / "softhsm", softhsm())
    token.initialise()
    os.environ.update(token.environment, ATTESTLOG_PIN=PIN)
    return token


Maker = Callable[[Path], AbstractContextManager[Signer]]
SIGNERS: dict[str, Maker] = {
    "file, P-256": partial(in_a_file, algorithm=ECDSA_P256),
    "file, Ed25519": partial(in_a_file, algorithm=ED25519),
    "file, ML-DSA-44": partial(in_a_file, algorithm=ML_DSA_44),
    "SoftHSM, P-256": partial(in_softhsm, algorithm=ECDSA_P256),
    "SoftHSM, Ed25519": partial(in_softhsm, algorithm=ED25519),
    "SoftHSM behind p11-kit, P-256": partial(behind_p11_kit, algorithm=ECDSA_P256),
    "OpenBao, P-256": partial(in_openbao, kind="ecdsa-p256"),
    "OpenBao, Ed25519": partial(in_openbao, kind="ed25519"),
    "AWS KMS, emulated, P-256": in_emulated_aws,
    "a device of 100 signatures/s, P-256": slow,
}
"""By name: how one is made in a folder. What is not installed is said as a skipped test says it."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.signers", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure")
    parser.add_argument("--only", help="signers whose name holds this")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", type=Path, help="where to write; the disk to be measured")
    options = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    for name, make in SIGNERS.items():
        if options.only is not None and options.only not in name:
            continue
        print(name, file=sys.stderr)
        try:
            with tempfile.TemporaryDirectory(dir=options.folder) as folder, make(Path(folder)) as signer:
                found[name] = measure(Path(folder), signer, options.seconds)
        except pytest.skip.Exception as absent:
            print(f"left out: {absent}", file=sys.stderr)
    if options.json:
        print(json.dumps({"type": "bench-signers", "machine": machine(), "signers": found}))
    else:
        print_tables(found)


def measure(folder: Path, signer: Signer, seconds: float) -> dict[str, float]:
    """Every figure of one signer."""
    figures = {"alone": rate(lambda: signer.sign(MESSAGE), seconds)}
    for batch in BATCHES:
        with a_log(folder, signer) as log:
            drafts = [DRAFT] * batch
            figures[f"batch {batch}"] = batch * rate(partial(log.append_many, drafts), seconds)
    for callers in CALLERS:
        with a_log(folder, signer) as log:
            figures |= percentiles(f"{callers} callers", by_threads(log, callers, seconds))
    for each in IN_FLIGHT:
        with a_log(folder, signer) as log:
            begun = time.perf_counter()
            times = asyncio.run(by_tasks(log, 64, each, seconds))
            figures[f"64 tasks of {each}"] = len(times) / (time.perf_counter() - begun)
            figures |= percentiles(f"64 tasks of {each}", times)
    return figures


@contextmanager
def a_log(folder: Path, signer: Signer) -> Iterator[attestlog.Log]:
    """A new log under this signer, which stays open."""
    shutil.rmtree(folder / "log", ignore_errors=True)
    with attestlog.create(
        folder / "log",
        origin="bench.example/log",
        signer=Kept(signer),
        checkpoint_signer=MemorySigner(ED25519),
    ) as log:
        yield log


class Kept:
    """A signer that closing the log does not close."""

    def __init__(self, signer: Signer) -> None:
        self.public_key, self.uri, self.sign = signer.public_key, signer.uri, signer.sign

    def close(self) -> None:
        """Nothing: the next log uses it."""


def rate(work: Callable[[], object], seconds: float) -> float:
    """How often a second."""
    count, begun = 0, time.perf_counter()
    while (passed := time.perf_counter() - begun) < seconds:
        work()
        count += 1
    return count / passed


def by_threads(log: attestlog.Log, callers: int, seconds: float) -> list[float]:
    """How long each append took."""
    times: list[float] = []
    until = time.perf_counter() + seconds

    def caller() -> None:
        while (begun := time.perf_counter()) < until:
            log.append(DRAFT)
            times.append(time.perf_counter() - begun)

    running = [threading.Thread(target=caller) for _ in range(callers)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return times


async def by_tasks(log: attestlog.Log, callers: int, each: int, seconds: float) -> list[float]:
    """The same by tasks, of which each has so many entries in flight."""
    times: list[float] = []
    until = time.perf_counter() + seconds

    async def one() -> None:
        begun = time.perf_counter()
        await log.append_async(DRAFT)
        times.append(time.perf_counter() - begun)

    async def caller() -> None:
        while time.perf_counter() < until:
            await asyncio.gather(*(one() for _ in range(each)))

    await asyncio.gather(*(caller() for _ in range(callers)))
    return times


def percentiles(name: str, times: list[float]) -> dict[str, float]:
    """Median and 99th percentile, in milliseconds."""
    at = statistics.quantiles(times, n=100) if len(times) > 1 else times * 99
    return {f"{name}, p50 ms": at[49] * 1e3, f"{name}, p99 ms": at[98] * 1e3}


def print_tables(found: dict[str, dict[str, float]]) -> None:
    """Markdown, as docs/performance.md quotes it."""
    print(f"{machine()}\n")
    heads = ["signatures/s", *(f"entries/s, batches of {batch}" for batch in BATCHES)]
    heads += [f"ms with {callers} waiting, p50 / p99" for callers in CALLERS]
    print(f"| signer | {' | '.join(heads)} |\n|---|{'---:|' * len(heads)}")
    for name, figures in found.items():
        cells = [f"{figures[key]:,.0f}" for key in ("alone", *(f"batch {batch}" for batch in BATCHES))]
        cells += [_latency(figures, f"{callers} callers") for callers in CALLERS]
        print(f"| {name} | {' | '.join(cells)} |")
    heads = []
    for each in IN_FLIGHT:
        heads += [f"64 tasks with {each} in flight, entries/s", "p50 / p99 ms"]
    print(f"\n| signer | {' | '.join(heads)} |\n|---|{'---:|' * len(heads)}")
    for name, figures in found.items():
        cells = []
        for each in IN_FLIGHT:
            cells += [f"{figures[f'64 tasks of {each}']:,.0f}", _latency(figures, f"64 tasks of {each}")]
        print(f"| {name} | {' | '.join(cells)} |")


def _latency(figures: dict[str, float], name: str) -> str:
    return f"{figures[f'{name}, p50 ms']:.1f} / {figures[f'{name}, p99 ms']:.1f}"


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
