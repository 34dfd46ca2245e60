"""What the machine contributes to an entry: the time, and what it says of itself."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from attestlog._internal.version import VERSION

Clock = Callable[[], int]
"""Microseconds since 1970, UTC."""


def system_clock() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1_000


def environment() -> dict[str, str]:
    """What every entry says of the machine and software: no host name, no user, no secret."""
    system = os.uname()
    version = ".".join(map(str, sys.version_info[:3]))
    return {
        "attestlog": VERSION,
        "os": f"{system.sysname} {system.release} {system.machine}",
        "runtime": f"{sys.implementation.name} {version}",
    }
