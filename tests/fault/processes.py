"""Starting writers, reading what they were promised, and holding the log to it."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.support.logs import create

from attestlog._internal.core.entry import Entry
from attestlog._internal.log import Log
from attestlog.testing import check_log

WRITER = Path(__file__).with_name("writer.py")


def create_shared(path: Path, *, segment_entries: int = 50, batch: bool = True) -> Log:
    """A log whose keys other processes can open."""
    keys = path.parent / "keys"
    return create(
        path,
        segment_entries=segment_entries,
        batch=batch,
        signer=f"file:{keys / 'entry.pem'}",
        checkpoint_signer=f"file:{keys / 'checkpoint.pem'}",
        clock=None,
    )


def start_writer(path: Path, name: str, mode: str = "all", count: int = 0) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, str(WRITER), str(path), name, mode, str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


class Promises:
    """What writers asked for, and what they were told."""

    def __init__(self) -> None:
        self.tried: set[str] = set()
        self.acknowledged: dict[str, tuple[int, str]] = {}

    def read(self, output: bytes) -> int:
        """Take in a writer's output (a last line without its end was never said); count what it was told."""
        count = 0
        for line in output.split(b"\n")[:-1]:
            word, _, rest = line.decode().partition(" ")
            if word == "try":
                self.tried.update(rest.split())
            elif word == "ack":
                number, digest, name = rest.split()
                self.acknowledged[name] = (int(number), digest)
                count += 1
        return count

    def check(self, path: Path) -> list[Entry]:
        """Acknowledged is a subset of what is there, and that of what was tried."""
        entries = check_log(path, self.acknowledged.values())
        named = [(entry, str((entry.action_payload or {}).get("name"))) for entry in entries[1:]]
        names = [name for _, name in named]
        assert len(names) == len(set(names)), "something was written twice"
        assert set(self.acknowledged) <= set(names) <= self.tried
        for entry, name in named:
            assert self.acknowledged.get(name, (entry.sequence_number,))[0] == entry.sequence_number
        return entries


def in_order(entries: Iterable[Entry], name: str) -> bool:
    """Whether a writer that appends one after the other finds them in that order."""
    names = [str((entry.action_payload or {}).get("name")) for entry in entries]
    numbers = [int(own.rpartition(".")[2]) for own in names if own.startswith(f"{name}.")]
    return numbers == sorted(numbers)
