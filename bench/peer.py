"""noirebox, measured as attestlog is: run by the interpreter of `.venv-bench`, prints one JSON object.

Of the logs for agents on PyPI that are durable and sign each record, it was the fastest. Its store is
SQLite in WAL mode with synchronous=FULL, one transaction and one Ed25519 signature an event.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from pathlib import Path

from noirebox.chain import KeyPair, verify_chain
from noirebox.store import EventStore

PAYLOAD = {
    "actor": "digital_organism_01",
    "task_id": "t-20251030-0007",
    "description": "regenerate the release notes and open a pull request " * 2,
    "files_modified": ["RELEASE_NOTES.md", "docs/index.md", "pyproject.toml"],
    "detail": "x" * 1_000,
}
"""With the columns beside it, 1.5 kB an event."""


def main(folder: str, count: int) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        store, key = EventStore(str(Path(name) / "peer.db")), KeyPair.generate()

        def append(times: int) -> None:
            for _ in range(times):
                store.append("action", PAYLOAD, key)

        start = time.perf_counter()
        append(count)
        figures = {"noirebox: one caller": count / (time.perf_counter() - start)}
        threads = [threading.Thread(target=append, args=(max(1, count // 64),)) for _ in range(64)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        figures["noirebox: 64 threads"] = 64 * max(1, count // 64) / (time.perf_counter() - start)
        start = time.perf_counter()
        events = store.all()
        verdict = verify_chain(key.public_hex(), events)
        figures["noirebox: verify"] = len(events) / (time.perf_counter() - start)
        assert verdict.get("valid", verdict.get("ok")) is True, verdict
        print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
