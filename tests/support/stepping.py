"""Processes that are killed at one of their steps: before or after a system call that changes a disk.

    for step in itertools.count():
        was_killed, said = killed_at(step, erase, path, 5)
        ...                             # what must hold, wherever it ended
        if not was_killed:
            break                       # it has fewer steps, and ended by itself

What is done stands here, because the new process imports it; it comes from a server that forks, and so has
attestlog loaded already.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from attestlog._internal.core.replication import Shipment
from attestlog._internal.log import Log
from attestlog._internal.replica import Replica
from attestlog.testing import MemorySigner

CALLS = ("write", "pwrite", "fsync", "fdatasync", "rename", "replace", "ftruncate", "unlink")
PATIENCE_S = 60

_context = multiprocessing.get_context("forkserver")

Begin = Callable[[], None]
"""Called by what is done once its steps count."""
Say = Callable[[Any], None]


def killed_at(step: int, work: Callable[..., None], *arguments: Any) -> tuple[bool, list[Any]]:
    """Do `work(begin, say, *arguments)` in a process that is killed at this step.

    Whether it was killed, or ended before; and what it said until then.
    """
    _serve()
    receiver, sender = _context.Pipe(duplex=False)
    process = _context.Process(target=_work, args=(step, sender, dict(os.environ), work, arguments))
    process.start()
    sender.close()
    said = []
    try:
        while True:
            said.append(receiver.recv())
    except EOFError:
        pass
    finally:
        receiver.close()
        process.join(PATIENCE_S)
        code = process.exitcode
        process.kill()
        process.join()
        process.close()
    assert code in {0, -signal.SIGKILL}, f"it ended with {code}"
    return code != 0, said


@cache
def _serve() -> None:
    """Start the server; it loads this module first, which it finds as this process did."""
    _context.set_forkserver_preload([__name__])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()


def _work(
    step: int, sender: Connection, environment: dict[str, str], work: Callable[..., None], arguments: Any
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    work(lambda: _die_at(step), sender.send, *arguments)
    os._exit(0)  # no log is closed, as by a kill after the last step


def _die_at(step: int) -> None:
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


# --- what is done ---


def rotate(begin: Begin, say: Say, path: Path, new_key: Path) -> None:
    log = Log.open(path)
    begin()
    log.rotate_key(f"file:{new_key}")
    say("rotated")


def erase(begin: Begin, say: Say, path: Path, sequence_number: int) -> None:
    log = Log.open(path)
    begin()
    log.erase(sequence_number, reason="asked for", actor_id="officer-1")
    say("erased")


def erase_many(begin: Begin, say: Say, path: Path, start: int, stop: int) -> None:
    log = Log.open(path)
    begin()
    log.erase_many(["execute_*"], start=start, stop=stop, reason="too old", actor_id="officer-1")
    say("erased")


def act(begin: Begin, say: Say, path: Path, marker: Path) -> None:
    """Under guard: what is done makes the file `marker`."""
    log = Log.open(path)
    begin()
    with log.guard(
        action_type="deploy", actor_id="agent-7", action_payload={"marker": str(marker)}
    ) as acting:
        say("acting")
        marker.touch()
        acting.result = {"marker": str(marker)}
    say("done")


def take(begin: Begin, say: Say, root: Path, log: str, shipments: list[Shipment]) -> None:
    """As a replica: says the size it answers for, after each shipment."""
    replica = Replica(root, "replica.example.com/one", MemorySigner("Ed25519"))
    begin()
    for shipment in shipments:
        say(replica.take(log, shipment).size)
