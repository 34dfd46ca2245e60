"""For scripts that a test kills: before and after each system call that writes, syncs or renames."""

import os
import signal
from collections.abc import Callable
from typing import Any

CALLS = ("write", "pwrite", "fsync", "fdatasync", "rename", "replace", "ftruncate", "unlink")


def die_at(step: int) -> None:
    """From here on, count the steps, and die at this one."""
    done = 0

    def reach() -> None:
        nonlocal done
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            reach()
            result = call(*arguments, **options)
            reach()
            return result

        return run

    for name in CALLS:
        setattr(os, name, watched(getattr(os, name)))
