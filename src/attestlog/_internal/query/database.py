"""The index's SQLite file: where it may live, how it is opened, what its tables are.

It is a derived thing: nothing here is worth an fsync of its own, and a file
that is damaged, of another version or not ours is replaced, never repaired.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final

from attestlog._internal.places import index_dir
from attestlog._internal.storage.contract import LogSource
from attestlog.errors import BusyError, FullError, NoHomeError, StorageError

APPLICATION_ID: Final = 0x61746C67
"""`atlg`: SQLite's mark of whose file it is. A file without it is never altered, only put aside."""

SCHEMA_VERSION: Final = 3
"""Changes with every change of the tables, of what is indexed or of how words are made."""

BUSY_TIMEOUT_S: Final = 60
"""How long to wait for another process that is indexing: it commits every second or so."""

_CACHE_SIZE_KIB: Final = 64 << 10
"""SQLite's page cache: holds the inner pages of every tree at some millions of entries."""

# The words of one transaction are kept in memory until it commits (hashsize), and merged with those of
# earlier ones only when there are many such (automerge): half the time of indexing went into merging.
_SCHEMA: Final = """
CREATE TABLE log (genesis_hash TEXT NOT NULL, size INTEGER NOT NULL);
CREATE TABLE segments (first INTEGER PRIMARY KEY, size_bytes INTEGER NOT NULL);
CREATE TABLE unreadable (n INTEGER PRIMARY KEY, reason TEXT NOT NULL);
CREATE TABLE actors (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, entries INTEGER NOT NULL);
CREATE TABLE actions (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, entries INTEGER NOT NULL);
CREATE TABLE facets (
    id INTEGER PRIMARY KEY, event_type TEXT NOT NULL, event_category TEXT NOT NULL, severity INTEGER NOT NULL,
    actor_type TEXT NOT NULL, execution_status TEXT NOT NULL, entries INTEGER NOT NULL,
    UNIQUE (event_type, event_category, severity, actor_type, execution_status)
);
CREATE TABLE entries (
    n INTEGER PRIMARY KEY, facet INTEGER NOT NULL, actor INTEGER NOT NULL, action INTEGER NOT NULL,
    timestamp TEXT NOT NULL, offset INTEGER NOT NULL, size_bytes INTEGER NOT NULL, entry_hash BLOB NOT NULL,
    id_prefix INTEGER NOT NULL, composite REAL, an_toan REAL, duong_dai REAL, tin_vao_so_lieu REAL,
    han_che_rui_ro REAL
);
CREATE INDEX by_facet ON entries (facet, n, actor, action);
CREATE INDEX by_actor ON entries (actor, n, facet, action);
CREATE INDEX by_action ON entries (action, n, facet, actor);
CREATE INDEX by_id ON entries (id_prefix);
CREATE VIRTUAL TABLE words USING fts5(
    action_type, actor_id, payload, outcome, context, content='', columnsize=0, tokenize='ascii'
);
INSERT INTO words (words, rank) VALUES ('automerge', 0);
INSERT INTO words (words, rank) VALUES ('hashsize', 33554432);
"""
_TABLES: Final = ("words", "entries", "facets", "actions", "actors", "unreadable", "segments", "log")

_UNUSABLE_CODES: Final = frozenset({
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH,
})  # fmt: skip
_BUSY_CODES: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


class IndexPlace(StrEnum):
    """Where an index lives."""

    CACHE = "cache"
    """In this user's cache: a log's directory is never written by reading it."""
    MEMORY = "memory"
    """Nowhere: made again each time, because there is no cache that can be written."""


class BrokenIndexError(Exception):
    """Internal: the file must be replaced. Never leaves `attestlog._internal.query`."""


class UnusablePlaceError(Exception):
    """Internal: no index can be kept there. Never leaves `attestlog._internal.query`."""


def index_places(log: LogSource, genesis_hash: str) -> Iterator[tuple[IndexPlace, str]]:
    """Where this reader's index of the log could be, best first."""
    with contextlib.suppress(OSError, NoHomeError):  # nothing can be written there
        if not log.is_transient:
            folder = index_dir(genesis_hash)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # By place as well as by log: two copies of one log need not be equally long.
            name = hashlib.sha256(os.fsencode(log.absolute())).hexdigest()[:16]
            yield IndexPlace.CACHE, str(folder / f"{name}.db")
    yield IndexPlace.MEMORY, ":memory:"


def connect(path: str) -> sqlite3.Connection:
    """Open the file, made first if it is not there or not ours.

    Raises UnusablePlaceError or StorageError.
    """
    if path != ":memory:":
        _make_file(Path(path))
    with translated(path):
        try:
            return _opened(path)
        except BrokenIndexError:
            remove(path)
    with translated(path):
        if path != ":memory:":
            _make_file(Path(path))
        return _opened(path)


def create_tables(connection: sqlite3.Connection, genesis_hash: str) -> None:
    """Empty the index and make it one of this log. Within a transaction."""
    for table in _TABLES:
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in _SCHEMA.split(";\n"):
        connection.execute(statement)
    connection.execute("INSERT INTO log VALUES (?, 0)", (genesis_hash,))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def disown(connection: sqlite3.Connection) -> None:
    """Mark the tables as ones to be made anew."""
    connection.execute("PRAGMA user_version = 0")


def is_ours(connection: sqlite3.Connection) -> bool:
    """Whether the tables are there, and of this version."""
    return (_pragma(connection, "application_id"), _pragma(connection, "user_version")) == (
        APPLICATION_ID,
        SCHEMA_VERSION,
    )


def remove(path: str) -> None:
    """Remove the file and its companions. What another process still has open lives on without a name."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        try:
            Path(path + suffix).unlink(missing_ok=True)
        except OSError as error:
            raise UnusablePlaceError(str(error)) from None


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, kind: str) -> Iterator[None]:
    """One transaction: DEFERRED, a snapshot to read, or IMMEDIATE, to write, one process at a time."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF
        if code == sqlite3.SQLITE_MISUSE:  # the caller's: closed, or used by two threads at once
            raise StorageError(f"index {path} cannot be used: {error}", path=path) from None
        if code in _BUSY_CODES:
            raise BusyError(f"index {path} has been locked for {BUSY_TIMEOUT_S} s", path=path) from None
        if code == sqlite3.SQLITE_FULL:
            raise FullError(f"no space left for index {path}", path=path) from None
        if code == sqlite3.SQLITE_NOMEM:
            raise StorageError(f"no memory left for index {path}", path=path) from None
        if code in _UNUSABLE_CODES:
            raise UnusablePlaceError(str(error)) from None
        raise BrokenIndexError(str(error)) from None


def _opened(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        with translated(path):
            # Whatever came to stand there: nothing in its schema may call functions.
            connection.execute("PRAGMA trusted_schema = OFF")
            # Words that must go are vacuumed away; zeroing every page that a merge frees is not needed.
            connection.execute("PRAGMA secure_delete = OFF")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_SIZE_KIB}")
            application_id, tables = (
                _pragma(connection, "application_id"),
                _pragma(connection, "schema_version"),
            )
            if tables and application_id != APPLICATION_ID:
                raise BrokenIndexError("not an index of ours")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return int(value)


def _make_file(path: Path) -> None:
    """An empty file if there is none, for this user alone; a symbolic link is not followed."""
    try:
        if path.is_symlink():
            path.unlink()
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise UnusablePlaceError(str(error)) from None
