"""System calls that fail when told to, within this process: every call the log makes goes through these."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

FAULTS: dict[str, list[str]] = {
    "write": ["EIO", "ENOSPC", "EDQUOT", "short"],
    "pwrite": ["EIO", "ENOSPC", "short"],
    "fdatasync": ["EIO", "ENOSPC"],
    "fsync": ["EIO", "ENOSPC"],
    "ftruncate": ["EIO"],
    "rename": ["EIO", "ENOSPC"],
    "replace": ["EIO", "ENOSPC"],
    "mkdir": ["ENOSPC"],
    "open": ["EMFILE", "ENOSPC"],
}
"""What each call is made to do. `short` writes half, and then there is no space left."""


@dataclass
class Faults:
    """Counts calls by name; the `nth` of one name fails, and with `lasting` all after it."""

    name: str = ""
    nth: int = 0
    kind: str = ""
    lasting: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    struck: bool = False
    failed_syncs: set[int] = field(default_factory=set)
    """Descriptors whose sync failed and that were not closed since."""
    failed_paths: set[str] = field(default_factory=set)
    """What they were of."""
    synced_again: list[int] = field(default_factory=list)

    def strikes(self, name: str) -> bool:
        count = self.counts[name] = self.counts.get(name, 0) + 1
        due = name == self.name and (count >= self.nth if self.lasting else count == self.nth)
        # After a short write the next one finds the disk full.
        due = due or (name == self.name and self.kind == "short" and count == self.nth + 1)
        self.struck = self.struck or due
        return due

    def error(self) -> OSError:
        number = errno.ENOSPC if self.kind == "short" else getattr(errno, self.kind)
        return OSError(number, os.strerror(number))


@contextmanager
def injected(faults: Faults) -> Iterator[Faults]:
    """Within this context the calls in FAULTS go through `faults`; syncs that succeed are not really made."""
    real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in [*FAULTS, "close"]}

    def written(name: str) -> Callable[..., int]:
        def call(descriptor: int, data: Any, *offset: int) -> int:
            if not faults.strikes(name):
                return int(real[name](descriptor, data, *offset))
            if faults.kind == "short" and faults.counts[name] == faults.nth and len(data) > 1:
                return int(real[name](descriptor, bytes(data)[: len(data) // 2], *offset))
            raise faults.error()

        return call

    def synced(name: str) -> Callable[[int], None]:
        def call(descriptor: int) -> None:
            if descriptor in faults.failed_syncs:
                faults.synced_again.append(descriptor)
            if faults.strikes(name):
                faults.failed_syncs.add(descriptor)
                faults.failed_paths.add(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
                raise faults.error()

        return call

    def plain(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if faults.strikes(name):
                raise faults.error()
            return real[name](*arguments, **options)

        return call

    def opened(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        # Only making files: opening what is there fails for other reasons.
        if flags & os.O_CREAT and faults.strikes("open"):
            raise faults.error()
        return int(real["open"](path, flags, *arguments, **options))

    def closed(descriptor: int) -> None:
        faults.failed_syncs.discard(descriptor)
        real["close"](descriptor)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("write", "pwrite"):
            patch.setattr(os, name, written(name))
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, synced(name))
        for name in ("ftruncate", "rename", "replace", "mkdir"):
            patch.setattr(os, name, plain(name))
        patch.setattr(os, "open", opened)
        patch.setattr(os, "close", closed)
        yield faults
