"""The command line as tests see it: what a command left behind, and what to feed it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ORIGIN = "example.com/agents"
VECTORS = os.environ.get("ATTESTLOG_VECTORS")
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


def stored(log: Path) -> list[dict[str, object]]:
    """The entries of a small log, as its lines say."""
    return [json.loads(line) for line in segment(log).read_bytes().splitlines()]


def as_objects(entries: list[dict[str, object]]) -> list[dict[str, object]]:
    """What --json prints of entries."""
    return [{"type": "entry", **entry} for entry in entries]


def key_file(run: Run, path: Path, *arguments: str) -> dict[str, str]:
    """A key made at a path, as `keys generate --json` describes it."""
    made: dict[str, str] = run("keys", "generate", path, *arguments, "--json").object
    return made


@contextmanager
def serving(kind: str, *arguments: str, listen: str = "127.0.0.1:0") -> Iterator[dict[str, Any]]:
    """`serve replica` or `serve witness` in a process of its own, and what it prints once it serves."""
    process = subprocess.Popen(
        [*ATTESTLOG, "serve", kind, *arguments, "--json", "--listen", listen],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode in (0, 130), err
    assert "Traceback" not in err
