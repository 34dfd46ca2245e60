"""A replica's directory: the copies it holds, by the SHA-256 of each log's origin."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from attestlog._internal import disk
from attestlog._internal.core.cosignature import cosign
from attestlog._internal.core.note import COSIGNATURE_ED25519, NoteSignature, check_key_name
from attestlog._internal.core.replication import ReplicaAnswer, Shipment
from attestlog._internal.core.signature import ED25519
from attestlog._internal.replica.holding import LOG_DIR, Holding, ReplicaKey
from attestlog._internal.signers import Signer
from attestlog._internal.signers.asking import note_key, sign_verified
from attestlog._internal.storage.contract import LogSource
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import NotFoundError, StorageError, TooLargeError

LOGS_DIR: Final = "logs"

LOGS_MAX: Final = 1_000
"""Each keeps some files open; a token that may begin logs must not fill the disk with genesis entries."""

_LOG_ID: Final = re.compile(r"[0-9a-f]{64}")


def check_log_id(text: str) -> None:
    """Raises NotFoundError unless it can name a log; also what keeps paths within the directory."""
    if not _LOG_ID.fullmatch(text):
        raise NotFoundError(f"{text[:80]!r} is no log's id: want 64 lower-case hex digits")


class Replica:
    """Threads may share it: each log is one thread's at a time."""

    def __init__(self, directory: Path, name: str, signer: Signer) -> None:
        """`name` and the signer's key (Ed25519) make the cosignatures. The key must sign nothing else.

        Raises MalformedConfigError or StorageError.
        """
        check_key_name(name)
        kinds = {ED25519: COSIGNATURE_ED25519}
        self.vkey = note_key(name, signer, kinds, what="a replica's key", member="key")
        self.directory = directory
        self._signer, self._signing = signer, threading.Lock()
        self._key = ReplicaKey(self.vkey, self._cosign)
        self._mutex = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._open: dict[str, Holding] = {}
        try:
            disk.make_directories(directory / LOGS_DIR)
        except OSError as error:
            raise disk.storage_error(error, directory, "creating") from None
        disk.check_filesystem(directory)

    def logs(self) -> list[str]:
        """The ids of the logs held."""
        folder = self.directory / LOGS_DIR
        return sorted(path.name for path in folder.iterdir() if self._is_held(path.name))

    def take(self, log: str, shipment: Shipment) -> ReplicaAnswer:
        """See `Holding.take`. The first shipment of a log, from its genesis entry on, begins its copy."""
        check_log_id(log)
        with self._turn(log):
            holding = self._find(log) or self._begin(log, shipment)
            try:
                return holding.take(shipment)
            except StorageError:
                # What a failing disk made of the last write is found by opening the copy anew.
                holding.close()
                self._open.pop(log, None)
                raise

    @contextmanager
    def holding(self, log: str) -> Iterator[Holding]:
        """A log's copy, for as long as the context lasts. Raises NotFoundError."""
        check_log_id(log)
        with self._turn(log):
            holding = self._find(log)
            if holding is None:
                raise NotFoundError(f"no log {log} is held", log=log)
            yield holding

    def path(self, log: str) -> Path:
        """Where a log's copy is."""
        check_log_id(log)
        return self.directory / LOGS_DIR / log / LOG_DIR

    def source(self, log: str) -> LogSource:
        """A log's copy, for reading. Raises NotFoundError."""
        return open_source(self.path(log))

    def close(self) -> None:
        """Let go of every copy, and of the key."""
        with self._mutex:
            for holding in self._open.values():
                holding.close()
            self._open.clear()
        self._signer.close()

    def _turn(self, log: str) -> threading.Lock:
        with self._mutex:
            return self._locks.setdefault(log, threading.Lock())

    def _find(self, log: str) -> Holding | None:
        holding = self._open.get(log)
        if holding is None and self._is_held(log):
            holding = self._open[log] = Holding(self.path(log).parent, self._key)
        return holding

    def _is_held(self, log: str) -> bool:
        """False also for what a crash left of beginning a copy."""
        return bool(_LOG_ID.fullmatch(log)) and self.path(log).exists()

    def _begin(self, log: str, shipment: Shipment) -> Holding:
        if len(self.logs()) >= LOGS_MAX:
            raise TooLargeError(f"{LOGS_MAX} logs are held, no more are begun", member="logs")
        holding = Holding.create(self.path(log).parent, self._key, shipment)
        self._open[log] = holding
        return holding

    def _cosign(self, text: str, timestamp: int) -> NoteSignature:
        with self._signing:
            return sign_verified(self._signer, partial(cosign, text, self.vkey, timestamp))
