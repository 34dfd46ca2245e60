"""A process that rotates a log's key and is killed at one step of it. Run as a script.

    python rotating.py LOG NEW_KEY_FILE STEP

Steps are the system calls that write, sync or rename, before and after each. With a STEP
beyond the last it rotates whole, and says `rotated`.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from attestlog.log import Log

CALLS = ("write", "pwrite", "fsync", "fdatasync", "rename", "replace", "ftruncate")


def main() -> None:
    path, new, step = sys.argv[1], sys.argv[2], int(sys.argv[3])
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

    log = Log.open(path)
    for name in CALLS:
        setattr(os, name, watched(getattr(os, name)))
    log.rotate_key(f"file:{new}")
    print("rotated", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
