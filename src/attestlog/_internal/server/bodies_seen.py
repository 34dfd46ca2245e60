"""Which body came with which idempotency key: so that another body under the same key is refused.

Only a MAC of the body is kept, under a key of this server, and nothing of it is in the log: the hash of a
payload that was redacted or erased would say what it was. It is written before the entries are, so that it
survives a server that is killed. Where it is lost (a loss of power, a damaged file), bodies cannot
be compared, and the answer says so (`compared: false`); how often an entry is written does not depend on it.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import sqlite3
from pathlib import Path
from typing import Final

from attestlog._internal import disk
from attestlog._internal.log.callers import KEY_TERM_S
from attestlog.errors import IdempotencyError

DATABASE: Final = "idempotency.db"
KEY_FILE: Final = "idempotency.key"
SECRET_SIZE_BYTES: Final = 32
PRUNE_EVERY: Final = 10_000
"""Bodies that come before those are dropped whose keys count no more."""


class BodiesSeen:
    """Of one server. Used in its event loop: each call is one small transaction."""

    def __init__(self, directory: Path) -> None:
        """Raises StorageError where the directory cannot be used."""
        try:
            disk.make_directories(directory)
            self._secret = _secret(directory / KEY_FILE)
            self._database = _open(directory / DATABASE)
        except OSError as error:
            raise disk.storage_error(error, directory, "opening") from None
        self._added = 0

    def compare(self, scope: str, body: bytes, now_us: int) -> bool:
        """Remember the body of this scope (log, caller, key); whether it was known, and is the same.

        Raises IdempotencyError for another body.
        """
        digest, mac = self._mac(b"scope", scope.encode()), self._mac(b"body", body)
        since_us = now_us - KEY_TERM_S * 1_000_000
        with contextlib.suppress(sqlite3.Error), self._database as database:
            asked = database.execute("SELECT mac FROM bodies WHERE scope = ? AND at >= ?", (digest, since_us))
            known = asked.fetchone()
            if known is not None:
                if not hmac.compare_digest(known[0], mac):
                    raise IdempotencyError("the idempotency key was used for another body within 24 hours")
                return True
            database.execute("INSERT OR REPLACE INTO bodies VALUES (?, ?, ?)", (digest, mac, now_us))
            self._added += 1
            if self._added >= PRUNE_EVERY:
                database.execute("DELETE FROM bodies WHERE at < ?", (since_us,))
                self._added = 0
        return False

    def forget(self, scope: str) -> None:
        """Nothing was written: the key may come again with a body that is mended."""
        with contextlib.suppress(sqlite3.Error), self._database as database:
            database.execute("DELETE FROM bodies WHERE scope = ?", (self._mac(b"scope", scope.encode()),))

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _mac(self, what: bytes, data: bytes) -> bytes:
        return hmac.digest(self._secret, what + b"\0" + data, "sha256")


def _secret(path: Path) -> bytes:
    try:
        secret = disk.read_plain(path, SECRET_SIZE_BYTES + 1)
        if len(secret) == SECRET_SIZE_BYTES:
            return secret
    except FileNotFoundError:
        pass
    secret = os.urandom(SECRET_SIZE_BYTES)
    disk.replace_file(path, secret, 0o600)
    return secret


def _open(path: Path) -> sqlite3.Connection:
    try:
        return _opened(path)
    except sqlite3.DatabaseError:
        for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
            name.unlink(missing_ok=True)
        return _opened(path)


def _opened(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False, timeout=1)
    try:
        # Consistent after a loss of power; what was committed is there after a kill.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(
            "CREATE TABLE IF NOT EXISTS bodies (scope BLOB PRIMARY KEY, mac BLOB, at INTEGER) WITHOUT ROWID"
        )
        database.execute("SELECT count(*) FROM (SELECT * FROM bodies LIMIT 1)").fetchone()
    except BaseException:
        database.close()
        raise
    return database
