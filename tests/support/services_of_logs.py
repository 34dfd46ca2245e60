"""The service of a log: in a thread for tests of its protocol, in a process for those that kill it."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from attestlog._internal.log import Log
from attestlog._internal.server import running
from attestlog._internal.server.log import Service, open_service
from attestlog._internal.server.running import Listen
from attestlog._internal.server.tokens import Scope, TokenFile

ORIGIN = "example.com/agents"
ACTION = {"event_type": "ACTION", "action_type": "deploy", "actor_id": "agent-7"}


@dataclass
class Place:
    """Where a service is, and tokens for it."""

    folder: Path
    url: str = ""
    service: Service | None = None
    tokens: TokenFile = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = TokenFile(self.folder / "service")

    @property
    def socket(self) -> str:
        return f"unix:{self.folder}/log.sock"

    @property
    def logs(self) -> list[Path]:
        return [self.folder / "audit"]

    def bearer(self, name: str, *scopes: Scope, origin: str | None = None, **bounds: Any) -> dict[str, str]:
        text = self.tokens.mint(name, list(scopes), origin, **bounds)
        return {"Authorization": f"Bearer {text}"}


@contextmanager
def served_log(folder: Path, *paths: Path, **options: Any) -> Iterator[Place]:
    """The service of the logs in this process, on a port and on a socket. `options`: of `open_service`."""
    place = Place(folder)
    service = place.service = open_service(
        [partial(Log.open, path) for path in paths or place.logs], folder / "service", **options
    )
    listeners = [running._bind(Listen()), running._bind_unix(folder / "log.sock")]
    place.url = f"http://127.0.0.1:{listeners[0].getsockname()[1]}"
    server = uvicorn.Server(running._config(service.app, Listen()))
    thread = threading.Thread(target=server.run, args=(listeners,), daemon=True)
    thread.start()
    try:
        yield place
    finally:
        service.stop()
        server.should_exit = True
        thread.join(60)
        for listener in listeners:
            listener.close()
        (folder / "log.sock").unlink(missing_ok=True)
        service.close()
        assert not thread.is_alive()


@contextmanager
def serving_log(folder: Path, *program: str) -> Iterator[tuple[Place, "subprocess.Popen[str]"]]:
    """`attestlog serve log` in a process of its own, or another program that prints what it prints."""
    command = program or (
        "-m", "attestlog", "serve", "log", f"{folder}/audit", "--socket", f"{folder}/log.sock", "--http",
        "127.0.0.1:0", "--directory", f"{folder}/service", "--json",
    )  # fmt: skip
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        told = json.loads(process.stdout.readline())
        yield Place(folder, told["url"]), process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.stdout.close()
