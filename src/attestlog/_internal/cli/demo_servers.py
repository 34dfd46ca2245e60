"""Replicas and witnesses for the demo: each a process of its own on loopback, ended with the demo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from attestlog.errors import StorageError

STOP_TIME_MAX_S: Final = 10.0
"""After that a server is killed: the demo leaves no process behind."""


class Server:
    """One `attestlog replica` or `attestlog witness`."""

    def __init__(self, verb: str, folder: Path, *arguments: str) -> None:
        self._command = [sys.executable, "-m", "attestlog", "serve", verb, str(folder), "--json", *arguments]
        self.folder = folder
        self.name = folder.name
        self._listen = "127.0.0.1:0"
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.vkey = ""

    @property
    def pid(self) -> int:
        """Its process's, while it runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Serve; on the same port as before, if it did before. Raises StorageError."""
        process = subprocess.Popen(  # noqa: S603 - this interpreter and this package
            [*self._command, "--listen", self._listen],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._process = process
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said:
            _, err = process.communicate()
            raise StorageError(f"{self.name} did not start: {err.strip()[-300:]}")
        facts: dict[str, Any] = json.loads(said)
        self.url = facts["url"]
        self.vkey = facts["vkey"] if "vkey" in facts else facts["vkeys"][0]
        self._listen = self.url.rpartition("/")[2]
        return self

    def kill(self) -> None:
        """SIGKILL: no chance to write or say anything."""
        self._signal(signal.SIGKILL)
        self._wait()

    def freeze(self) -> None:
        """SIGSTOP: connections are taken by the kernel, and nobody answers, as behind a cut network."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, whatever state it is in."""
        if self._process is not None:
            self.thaw()
            self._signal(signal.SIGTERM)
            self._wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)

    def _wait(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(STOP_TIME_MAX_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdout, process.stderr):
            _close(stream)


def _close(stream: IO[str] | None) -> None:
    if stream is not None:
        stream.close()
