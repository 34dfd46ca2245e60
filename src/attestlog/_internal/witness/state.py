"""What a witness must not forget: for each log, the checkpoint it cosigned last. A SQLite file.

One row a log, made when the log is made known and never removed: to forget a log and to learn it again
would be to cosign two histories of it. A row changes by one conditional UPDATE, durable when it returns.
Any number of threads and processes may share the file; each of its users has a connection to itself while it
uses one, and those that nobody uses are kept for the next.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from attestlog._internal import disk
from attestlog._internal.core.checkpoint import Checkpoint
from attestlog._internal.core.note import VerifierKey, format_vkey, parse_vkey
from attestlog._internal.core.witness import CosignableCheckpoint, Seen
from attestlog.errors import BusyError, CorruptError, ExistsError, FullError, NotFoundError, StorageError

STATE_FILE: Final = "witness.db"
APPLICATION_ID: Final = 0x61747769
"""`atwi`: SQLite's mark of whose file it is."""

BUSY_TIMEOUT_S: Final = 10
"""For another request's UPDATE: one takes milliseconds."""

EVIDENCE_MAX: Final = 100
"""Of one log: a single one convicts it, and it could sign as many as the disk holds."""

_SCHEMA: Final = f"""
CREATE TABLE witness (name TEXT NOT NULL, keys TEXT NOT NULL) STRICT;
CREATE TABLE logs (
    origin TEXT PRIMARY KEY, vkeys TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL,
    timestamp INTEGER NOT NULL, note BLOB, cosigned BLOB
) STRICT;
CREATE TABLE evidence (
    origin TEXT NOT NULL, seen_at INTEGER NOT NULL, reason TEXT NOT NULL, ours BLOB NOT NULL,
    theirs BLOB NOT NULL, UNIQUE (origin, theirs)
) STRICT;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = 1;
"""


@dataclass(frozen=True, slots=True)
class LogState:
    """One log's row."""

    keys: tuple[VerifierKey, ...]
    seen: Seen
    timestamp: int
    """Of the last cosignature, POSIX seconds; 0 if there is none."""
    note: bytes | None
    """The checkpoint last accepted, with the log's own signatures."""
    cosigned: bytes | None
    """The checkpoint last cosigned, with the cosignatures: that of `note`, unless a crash came in between."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two checkpoints of one log that cannot both be true, both signed by it."""

    origin: str
    seen_at: int
    reason: str
    ours: bytes
    theirs: bytes


class WitnessState:
    """The file of one witness. Raises NotFoundError where there is none, or another StorageError."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / STATE_FILE
        self._pid = os.getpid()
        self._open: deque[sqlite3.Connection] = deque()
        self._idle: deque[sqlite3.Connection] = deque()
        self._inherited: list[sqlite3.Connection] = []
        if not self.path.exists():
            raise NotFoundError(f"{directory} is not a witness: it has no {STATE_FILE}", path=str(self.path))
        try:
            self.name, self.keys = self._identity()
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(cls, directory: Path, name: str, keys: Mapping[str, str]) -> WitnessState:
        """Begin a witness that has seen nothing; `keys`: vkey → signer URI. Raises ExistsError.

        A folder whose state was lost is not one to begin in: its keys may have cosigned before.
        """
        path, partial = directory / STATE_FILE, directory / f".{STATE_FILE}"
        try:
            disk.make_directories(directory)
            for item in directory.iterdir():
                if not item.name.startswith(partial.name):
                    raise ExistsError(f"{directory} is not empty", path=str(directory), what="witness")
                item.unlink()  # what a crash in here left
            with _ours(path), closing(sqlite3.connect(partial, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.executescript(_SCHEMA)
                connection.execute("INSERT INTO witness VALUES (?, ?)", (name, json.dumps(dict(keys))))
            # A crash before this leaves no witness, one after it a whole one.
            partial.rename(path)
            disk.fsync_directory(directory)
        except OSError as error:
            raise disk.storage_error(error, path, "writing") from None
        return cls(directory)

    def close(self) -> None:
        """Close every connection. Nobody may use it any more, in whatever thread."""
        self._leave_to_parent()
        self._idle.clear()
        while self._open:
            self._open.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_log(self, key: VerifierKey, origin: str | None = None) -> None:
        """Make a log's key known, for good. The key's name is the log's origin, unless another is given."""
        origin = key.name if origin is None else origin
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            row = connection.execute("SELECT vkeys FROM logs WHERE origin = ?", (origin,)).fetchone()
            vkeys = dict.fromkeys([*(json.loads(row[0]) if row else []), format_vkey(key)])
            connection.execute(
                "INSERT INTO logs VALUES (?, ?, 0, ?, 0, NULL, NULL) "
                "ON CONFLICT (origin) DO UPDATE SET vkeys = excluded.vkeys",
                (origin, json.dumps(list(vkeys)), Seen().root),
            )
            connection.execute("COMMIT")

    def origins(self) -> list[str]:
        """Of all logs known."""
        with self._connected() as connection:
            return [origin for (origin,) in connection.execute("SELECT origin FROM logs ORDER BY origin")]

    def log(self, origin: str) -> LogState | None:
        """What is known of a log, or None."""
        query = "SELECT vkeys, size, root, timestamp, note, cosigned FROM logs WHERE origin = ?"
        with self._connected() as connection:
            row = connection.execute(query, (origin,)).fetchone()
        if row is None:
            return None
        vkeys, size, root, *rest = row
        return LogState(tuple(parse_vkey(text) for text in json.loads(vkeys)), Seen(size, root), *rest)

    def advance(self, judged: CosignableCheckpoint, timestamp: int) -> bool:
        """Make the checkpoint the one last cosigned, durably; False if another was meanwhile."""
        now, old = judged.checkpoint, judged.old
        with self._connected() as connection:
            changed = connection.execute(
                "UPDATE logs SET size = ?, root = ?, timestamp = ?, note = ? "
                "WHERE origin = ? AND size = ? AND root = ? AND timestamp <= ?",
                (now.size, now.root, timestamp, judged.note(), now.origin, old.size, old.root, timestamp),
            )
            return changed.rowcount == 1

    def keep_cosigned(self, checkpoint: Checkpoint, timestamp: int, note: bytes) -> None:
        """Keep the cosigned checkpoint for those who ask, unless a later one has come.

        Not at once durable: what a loss of power takes is cosigned anew when it is asked for.
        """
        with self._connected(durable=False) as connection:
            connection.execute(
                "UPDATE logs SET cosigned = ? WHERE origin = ? AND size = ? AND root = ? AND timestamp = ?",
                (note, checkpoint.origin, checkpoint.size, checkpoint.root, timestamp),
            )

    def keep_evidence(self, evidence: Evidence) -> None:
        """Each contradiction once, up to EVIDENCE_MAX of a log; never removed."""
        values = (evidence.origin, evidence.seen_at, evidence.reason, evidence.ours, evidence.theirs)
        with self._connected() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO evidence SELECT ?, ?, ?, ?, ? "
                "WHERE (SELECT count(*) FROM evidence WHERE origin = ?) < ?",
                (*values, evidence.origin, EVIDENCE_MAX),
            )

    def evidence(self) -> list[Evidence]:
        """All of it, oldest first."""
        with self._connected() as connection:
            return [Evidence(*row) for row in connection.execute("SELECT * FROM evidence ORDER BY rowid")]

    @contextmanager
    def _connected(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        with _ours(self.path):
            connection = self._take()
            try:
                # In WAL, FULL syncs each commit; NORMAL leaves that to the next one that does.
                connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._idle.append(connection)

    def _take(self) -> sqlite3.Connection:
        """A connection that nobody else uses; a new one where there is none."""
        self._leave_to_parent()
        try:
            return self._idle.pop()
        except IndexError:
            connection = _connection(f"{self.path.absolute().as_uri()}?mode=rw")
            self._open.append(connection)
            return connection

    def _leave_to_parent(self) -> None:
        """After a fork: a connection must not be used, nor even closed, by the child. It is kept unused."""
        if self._pid != os.getpid():
            self._inherited += self._open
            self._open, self._idle, self._pid = deque(), deque(), os.getpid()

    def _identity(self) -> tuple[str, dict[str, str]]:
        """The witness's name, and what it cosigns with: vkey → signer URI."""
        with self._connected() as connection:
            (found,) = connection.execute("PRAGMA application_id").fetchone()
            if found != APPLICATION_ID:
                raise CorruptError(f"{self.path} is not a witness's state", path=str(self.path))
            name, keys = connection.execute("SELECT name, keys FROM witness").fetchone()
        return name, json.loads(keys)


def _connection(uri: str) -> sqlite3.Connection:
    # One user at a time, in whatever thread.
    return sqlite3.connect(
        uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )


@contextmanager
def _ours(path: Path) -> Iterator[None]:
    """SQLite's errors as ours. Whether a failed change was made after all, the next look says."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        kinds: dict[Any, type[StorageError]] = {
            sqlite3.SQLITE_BUSY: BusyError, sqlite3.SQLITE_LOCKED: BusyError, sqlite3.SQLITE_FULL: FullError,
            sqlite3.SQLITE_CORRUPT: CorruptError, sqlite3.SQLITE_NOTADB: CorruptError,
        }  # fmt: skip
        raise kinds.get(code, StorageError)(f"{path} cannot be used: {error}", path=str(path)) from None
