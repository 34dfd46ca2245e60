"""A service that kills itself at one step of a POST: `dying_service.py FOLDER STEP SIDE`."""

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from attestlog._internal.log import Log
from attestlog._internal.log.callers import KnownKeys
from attestlog._internal.log.writer import Writer
from attestlog._internal.server import log as app
from attestlog._internal.server import served
from attestlog._internal.server.bodies_seen import BodiesSeen
from attestlog._internal.server.running import serve
from attestlog._internal.storage.files.store import FileStore

STEPS = {
    "request": (served.ServedLog, "_check"),
    "body": (BodiesSeen, "compare"),
    "prepared": (Writer, "prepare"),
    "looked up": (KnownKeys, "check"),
    "signed": (Writer, "_sign"),
    "stored": (FileStore, "commit"),
    "committed": (Writer, "_commit"),
    "known": (KnownKeys, "commit"),
    "written": (served.ServedLog, "_write"),
}
"""Each is passed before it (`-`) or after it (`+`)."""


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(step: str, side: str) -> None:
    home, name = STEPS[step]
    passed = getattr(home, name)

    def before(*given: Any, **named: Any) -> Any:
        die()
        return passed(*given, **named)

    def after(*given: Any, **named: Any) -> Any:
        try:
            return passed(*given, **named)
        finally:
            die()

    async def after_async(*given: Any, **named: Any) -> Any:
        await passed(*given, **named)
        die()

    is_async = name == "_write"
    setattr(home, name, before if side == "-" else after_async if is_async else after)


def main(folder: Path, step: str, side: str) -> None:
    service = app.open_service([partial(Log.open, folder / "audit")], folder / "service")
    arm(step, side)
    told = {"url": f"unix:{folder}/log.sock"}
    serve(
        service.app, None, unix=folder / "log.sock", stopping=service.stop,
        started=lambda _: print(json.dumps(told), flush=True),
    )  # fmt: skip
    service.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
