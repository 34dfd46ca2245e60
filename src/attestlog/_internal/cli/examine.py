"""What `doctor` looks at: each check measures or reads one thing, and says whether it is good for a log."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from attestlog._internal import disk
from attestlog._internal.core.entry import format_timestamp
from attestlog._internal.version import VERSION
from attestlog.errors import AttestlogError, FilesystemError

SYNCS_MAX: Final = 64
SYNC_TIME_S: Final = 1.0
"""How often, and for how long at most, a small write is made durable to see what that costs."""

FREE_SPACE_LOW_BYTES: Final = 1 << 30
"""Room for about half a million entries."""

SLOW_SYNC_S: Final = 0.02
"""A spinning disk's cost; slower is something else, such as a busy or a remote disk."""

_EARLIEST_YEAR: Final = 2025
"""This software is not older: an earlier date means a clock that was never set."""

_TIMEX_SIZE_BYTES: Final = 512
"""More than any kernel's `struct timex`; all zero asks and sets nothing."""

_TIME_ERROR: Final = 5
"""What ntp_adjtime returns when no time source has disciplined the clock."""


@dataclass
class Check:
    """One thing looked at. `state` is `good`, `note` (worth knowing) or `bad` (no log can be kept so)."""

    name: str
    value: str
    state: str = "good"
    facts: dict[str, Any] = field(default_factory=dict)


def everything(directory: Path) -> list[Check]:
    """Every check, in the order they are shown."""
    return [
        *versions(), cores(), filesystem(directory), space(directory), fsync_cost(directory), clock(),
        extras(), *homes(),
    ]  # fmt: skip


def versions() -> Iterator[Check]:
    """Of attestlog, Python, cryptography and OpenSSL."""
    from cryptography.hazmat.backends.openssl import backend

    yield Check("attestlog", VERSION)
    yield Check(
        "python", f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}"
    )
    yield Check("cryptography", importlib.metadata.version("cryptography"))
    yield Check("openssl", backend.openssl_version_text())


def cores() -> Check:
    """How many processors this process may use: what verifying can use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Check("cores", str(count), facts={"count": count})


def filesystem(directory: Path) -> Check:
    """Its type, and whether a log may be on it."""
    try:
        kind = disk.filesystem_of(
            directory.resolve(), Path("/proc/self/mountinfo").read_text(errors="replace")
        )
    except OSError:
        kind = ""
    facts = {"filesystem": kind or None}
    try:
        disk.check_filesystem(directory)
    except FilesystemError as error:
        return Check("filesystem", str(error), "bad", facts)
    if kind in {"tmpfs", "ramfs"}:
        return Check("filesystem", f"{kind}: in memory, a log here ends with the machine", "note", facts)
    return Check("filesystem", kind or "unknown", "good" if kind else "note", facts)


def space(directory: Path) -> Check:
    """Free bytes for this user."""
    try:
        free = shutil.disk_usage(directory).free
    except OSError as error:
        return Check("space", f"{directory}: {error.strerror}", "bad")
    state = "note" if free < FREE_SPACE_LOW_BYTES else "good"
    return Check("space", f"{free / 1e9:,.1f} GB free", state, {"free_bytes": free})


def fsync_cost(directory: Path) -> Check:
    """What making a small write durable costs: the floor under every append that waits alone."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            costs = _sync_costs(file.fileno())
    except OSError as error:
        return Check("fsync", f"{directory} cannot be written: {error.strerror}", "bad")
    median, worst = statistics.median(costs), max(costs)
    facts = {"median_s": median, "max_s": worst, "count": len(costs)}
    value = f"{median * 1e3:.2f} ms, at worst {worst * 1e3:.2f} ms: {1 / median:,.0f} commits a second"
    return Check("fsync", value, "note" if median > SLOW_SYNC_S else "good", facts)


def _sync_costs(descriptor: int) -> list[float]:
    costs: list[float] = []
    while len(costs) < SYNCS_MAX and sum(costs) < SYNC_TIME_S:
        os.write(descriptor, bytes(2048))
        begun = time.perf_counter()
        os.fdatasync(descriptor)
        costs.append(max(time.perf_counter() - begun, 1e-9))
    return costs


def clock() -> Check:
    """The time, and whether something keeps it right."""
    now_us = time.time_ns() // 1_000
    synchronised = _synchronised()
    facts = {"now": format_timestamp(now_us), "synchronised": synchronised}
    if datetime.fromtimestamp(now_us / 1e6, UTC).year < _EARLIEST_YEAR:
        return Check("clock", f"{facts['now']}: it was never set", "bad", facts)
    known = {
        True: "kept by a time source",
        False: "kept by no time source",
        None: "nobody says by what it is kept",
    }
    return Check("clock", f"{facts['now']}, {known[synchronised]}", "good" if synchronised else "note", facts)


def _synchronised() -> bool | None:
    """Whether the kernel says that a time source disciplines its clock; None where it cannot be asked."""
    try:
        ask: Callable[[Any], int] = ctypes.CDLL(None).ntp_adjtime
        state = ask(ctypes.create_string_buffer(_TIMEX_SIZE_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def extras() -> Check:
    """Which optional parts are installed."""
    found: dict[str, bool] = {}
    for requirement in importlib.metadata.requires("attestlog") or ():
        match = re.match(r"([\w.-]+).*extra == ['\"]([\w-]+)['\"]", requirement)
        if match:
            found[match[2]] = found.get(match[2], True) and _is_installed(match[1])
    value = ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in sorted(found.items()))
    return Check("extras", value or "this version has none", facts={"installed": found})


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def homes() -> Iterator[Check]:
    """Where keys are kept, and what was verified before is remembered."""
    from attestlog._internal.signers.file import keys_dir
    from attestlog._internal.verifying.memory import default_state_dir

    for name, place in (("keys", keys_dir), ("state", default_state_dir)):
        try:
            path = place()
            files = sum(1 for child in path.iterdir() if child.is_file()) if path.is_dir() else 0
        except (OSError, RuntimeError, AttestlogError) as error:
            yield Check(name, str(error), "note")
        else:
            yield Check(name, f"{path} ({files} files)", facts={"path": str(path), "files": files})
