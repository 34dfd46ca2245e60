"""A kit for testing what writes logs: a clock you turn, keys without files, logs in memory, one oracle.

    log = memory_log()                                   # `log.where` is its name, for who reads it
    receipt = log.append(...)
    check_log(log.where, acknowledged=[receipt])

`ManualClock`, `MemorySigner` and `FaultSigner` are for `attestlog.create` and `open`; `FaultStore` is a store
that fails, or ends the process, at the step that you choose.

For drivers of the storage port, `check_source` and `check_store` are what every driver promises.

Not for production: a MemorySigner's key and a log in memory are gone with their process.
"""

from __future__ import annotations

from attestlog._internal.storage.contract import LogSource, Store
from attestlog._internal.storage.resolve import open_source, open_store, register_driver
from attestlog.testing._contract import SOURCE_CHECKS, STORE_CHECKS, check_one, check_source, check_store
from attestlog.testing._kit import (
    MEMORY_SCHEME,
    START_US,
    FaultSigner,
    ManualClock,
    MemorySigner,
    check_log,
)
from attestlog.testing._stores import (
    CrashError,
    FaultStore,
    forget_memory_log,
    memory_log,
    memory_name,
)

__all__ = [
    "MEMORY_SCHEME",
    "SOURCE_CHECKS",
    "START_US",
    "STORE_CHECKS",
    "CrashError",
    "FaultSigner",
    "FaultStore",
    "LogSource",
    "ManualClock",
    "MemorySigner",
    "Store",
    "check_log",
    "check_one",
    "check_source",
    "check_store",
    "forget_memory_log",
    "memory_log",
    "memory_name",
    "open_source",
    "open_store",
    "register_driver",
]
