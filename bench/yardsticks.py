"""What the machine can do without us, measured in the same run: disk, hash, signatures."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256


def raw_append(folder: Path, line: bytes, group: int, seconds: float) -> float:
    """Lines a second: write(group of lines) + fdatasync, one writer."""
    data = line * group
    path = folder / f"raw-{group}"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    lines, start = 0, time.perf_counter()
    try:
        while time.perf_counter() - start < seconds:
            os.write(descriptor, data)
            os.fdatasync(descriptor)
            lines += group
        return lines / (time.perf_counter() - start)
    finally:
        os.close(descriptor)
        path.unlink()


def raw_sha256(line: bytes, seconds: float) -> float:
    """SHA-256 of one line, a second, one core."""
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(1_000):
            hashlib.sha256(line).digest()
        count += 1_000
    return count / (time.perf_counter() - start)


def raw_p256(seconds: float) -> tuple[float, float]:
    """P-256 signatures and verifications a second, one core, software key."""
    key, algorithm, message = generate_private_key(SECP256R1()), ECDSA(SHA256()), os.urandom(32)
    public, signature = key.public_key(), key.sign(message, algorithm)
    rates = []
    for work in (lambda: key.sign(message, algorithm), lambda: public.verify(signature, message, algorithm)):
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            for _ in range(100):
                work()
            count += 100
        rates.append(count / (time.perf_counter() - start))
    return rates[0], rates[1]


def raw_verify_all_cores(seconds: float) -> float:
    """P-256 verifications a second by one process a core, at once."""
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        pool.map(_verify_rate, [0.01] * (os.cpu_count() or 1), chunksize=1)  # imports done
        return sum(pool.map(_verify_rate, [seconds] * (os.cpu_count() or 1), chunksize=1))


def _verify_rate(seconds: float) -> float:
    return raw_p256(seconds)[1]
