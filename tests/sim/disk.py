"""A disk that loses power: a step, counted ahead, does not return, and what was not synced may be gone.

It stands in for `os` while a replica works, so the code under test is what runs in production, on a file
system in memory. What a power cut takes: of each file, some of the bytes appended after its last sync.
"""

import errno
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STEPS = ("write", "pwrite", "fsync", "fdatasync", "ftruncate")


class PowerCutError(BaseException):
    """Not an Exception: nothing in the code under test may catch it and go on."""


class Disk:
    """The disk under one folder."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self._chance = folder, chance
        self.steps_left: int | None = None
        self.is_full = False
        self._synced: dict[int, int] = {}

    @contextmanager
    def inserted(self) -> Iterator[None]:
        """While the context lasts, the process's files are on this disk."""
        kept = {name: getattr(os, name) for name in STEPS}
        for name in STEPS:
            setattr(os, name, self._step(name, kept[name]))
        try:
            yield
        except PowerCutError:
            self._lose()
            raise
        finally:
            for name, function in kept.items():
                setattr(os, name, function)

    def _step(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def step(descriptor: int, *arguments: Any) -> Any:
            if self.steps_left is not None:
                self.steps_left -= 1
                if self.steps_left < 0:
                    if self._chance.random() < 0.5:
                        function(descriptor, *arguments)  # it was done, and nobody was told
                    raise PowerCutError
            if self.is_full and name in ("write", "pwrite"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            result = function(descriptor, *arguments)
            if name in ("fsync", "fdatasync"):
                status = os.fstat(descriptor)
                self._synced[status.st_ino] = status.st_size  # by inode: files are renamed into place
            return result

        return step

    def _lose(self) -> None:
        self.steps_left, self.is_full = None, False
        for path in sorted(self.folder.rglob("*.jsonl")):
            status = path.stat()
            synced = self._synced.get(status.st_ino, 0)
            if status.st_size > synced:
                os.truncate(path, self._chance.randint(synced, status.st_size))
