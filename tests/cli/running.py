"""The command line as tests see it: what a command left behind, and what to feed it."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ORIGIN = "example.com/agents"
ATTESTLOG = [sys.executable, "-c", "import sys; from attestlog._internal.cli import main; sys.exit(main())"]


@dataclass
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Stdout as JSON Lines: every line must be an object with a type."""
        found = [json.loads(line) for line in self.out.splitlines()]
        assert all(isinstance(item["type"], str) for item in found)
        return found

    @property
    def object(self) -> dict[str, Any]:
        """The one object on stdout."""
        (found,) = self.objects
        return found

    @property
    def error(self) -> dict[str, Any]:
        """The error object on stderr, of a command run with --json."""
        found: dict[str, Any] = json.loads(self.err.splitlines()[-1])
        assert found["type"] == "error"
        return found


Run = Callable[..., Result]


def lines_of(*drafts: dict[str, Any]) -> bytes:
    """Drafts as JSON lines."""
    return b"".join(json.dumps(item).encode() + b"\n" for item in drafts)


def segment(log: Path) -> Path:
    """The file with all entries of a small log."""
    return log / "entries" / "000000000000.jsonl"


@contextmanager
def serving_replica(*arguments: str) -> Iterator[dict[str, str]]:
    """The replica in a process of its own, and what it says when it serves."""
    process = subprocess.Popen(
        [*ATTESTLOG, "serve", "replica", *arguments, "--json", "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode in (0, 130), err
    assert "Traceback" not in err
