"""Connections to PostgreSQL, and what their errors mean.

One connection a writer, one for all readers of a process. Nothing is session state (no SET, no advisory
lock, no prepared statement, no LISTEN), so that a pooler in transaction mode may stand between.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Final, Protocol, TypeVar

import psycopg
from psycopg import errors as pg
from psycopg import waiting

from attestlog._internal.storage.postgres.schema import VERSION
from attestlog._internal.storage.postgres.url import Url, parse_url
from attestlog.errors import (
    BusyError,
    ClockError,
    ConflictError,
    CorruptError,
    DeniedError,
    ExistsError,
    FullError,
    NewerFormatError,
    NoLogError,
    StorageError,
)

ANSWER_S: Final = 30.0
"""How long an answer to one statement is waited for: far longer than a page or a batch takes."""

CONNECT_S: Final = 5
"""A host of the URL that does not answer within this is passed over."""

KEEPALIVE: Final = {
    "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 15_000,
}  # fmt: skip
"""In seconds, and milliseconds: a host that is gone without a word is given up after some 15 s."""

SYNC_NOTICE: Final = "synchronous replication"
"""Part of the warning of a COMMIT whose wait for a standby was cut short: it is not an acknowledgement."""

Result = TypeVar("Result")


class _Pipeline(psycopg.Pipeline):
    """One that ends with the Sync that its user asks for, and nothing behind it.

    psycopg's ends with a Flush behind a Sync. A pooler of transactions takes the server back at the Sync, and
    gives the client another for the Flush, which the client then keeps: soon there is none left.
    """

    def _exit_gen(self) -> Generator[Any, Any, None]:
        yield from ()


class Connection(psycopg.Connection[Any]):
    """A connection that never turns an interrupted wait into a success."""

    answer_s: float = ANSWER_S

    def wait(
        self, gen: Generator[Any, Any, Result], interval: float = 0.1, timeout: float | None = None
    ) -> Result:
        """Wait for an answer, at most `answer_s`; whatever interrupts the wait ends the connection.

        psycopg answers an interrupt by a request to cancel. A COMMIT that is cancelled while it waits for a
        standby succeeds, though no standby has it.
        """
        try:
            return waiting.wait(
                gen,
                self.pgconn.socket,
                interval=interval,
                timeout=self.answer_s if timeout is None else timeout,
            )
        except (KeyboardInterrupt, SystemExit, pg._WaitTimeout):
            self.pgconn.finish()
            raise

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """What is executed in here is sent together, and answered together at the end: one round trip."""
        self._pipeline = _Pipeline(self)
        with self.pipeline() as pipeline:
            yield
            pipeline.sync()


def connect(url: Url, *, must_write: bool, answer_s: float = ANSWER_S) -> Connection:
    """Raises psycopg.Error; `must_write`: to the host of the URL that takes writes, whatever the URL says."""
    options: dict[str, Any] = {
        "application_name": "attestlog", "connect_timeout": CONNECT_S, **KEEPALIVE, **url.options
    }  # fmt: skip
    if must_write or "target_session_attrs" not in url.conninfo:
        options["target_session_attrs"] = "primary"
    connection = Connection.connect(url.conninfo, autocommit=True, prepare_threshold=None, **options)
    connection.answer_s = answer_s
    return connection


def is_lost(error: BaseException) -> bool:
    """Whether it may be due to this connection, or to this server, rather than to what was asked."""
    if isinstance(error, pg._WaitTimeout):
        return True
    if not isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError, pg.ReadOnlySqlTransaction)):
        return False
    state = error.sqlstate
    return (state is None or state.startswith(("08", "57", "25"))) and not _is_refusal(error)


def _is_refusal(error: BaseException) -> bool:
    """Whether the server let nobody in, and will not by waiting: it has no code while connecting."""
    text = str(error)
    return any(
        words in text
        for words in (
            "authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry",
            "certificate verify failed", "root certificate file", "permission denied",
            "does not match host name", "SSL was required",
        )
    )  # fmt: skip


def storage_error(error: BaseException, url: Url, doing: str) -> StorageError:
    """What the error of a driver means, in one line."""
    where = url.text
    said = str(error).strip().splitlines()
    what = said[0] if said else type(error).__name__
    evidence: dict[str, Any] = {"url": where}
    match error:
        case pg.LockNotAvailable():
            return BusyError(
                f"another has held the lock of {where} for longer than is waited for", **evidence
            )
        case pg.InsufficientPrivilege():
            return DeniedError(f"{doing} {where}: {what}", **evidence)
        case pg.DiskFull():
            return FullError(f"{doing} {where}: {what}", **evidence)
        case pg.UniqueViolation():
            return ExistsError(f"{where} exists already", what="log", **evidence)
        case pg.UndefinedTable() | pg.InvalidSchemaName() | pg.UndefinedFunction():
            return NoLogError(f"{where}: the database has no schema for logs", name="schema", **evidence)
    if getattr(error, "sqlstate", None) == "AL001":
        return ConflictError(f"{doing} {where}: {what}", **evidence)
    if getattr(error, "sqlstate", None) == "AL002":
        return CorruptError(f"{doing} {where}: {what}", repair="entries", **evidence)
    if _is_refusal(error):
        return DeniedError(f"{doing} {where}: {what}", **evidence)
    return StorageError(f"{doing} {where} failed: {what}", retryable=is_lost(error), **evidence)


def domain_error(error: BaseException, url: Url, doing: str) -> StorageError | ClockError:
    """As `storage_error`; the server's clock speaks as the log's own does."""
    if getattr(error, "sqlstate", None) == "AL003":
        return ClockError(f"{url.text}: {str(error).splitlines()[0]}")
    return storage_error(error, url, doing)


class Reader(Protocol):
    """Who asks the server for rows."""

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a statement gives. Raises StorageError."""


class Session:
    """One connection for all who read in this process: a statement at a time, asked again if it was lost."""

    def __init__(self) -> None:
        self._lock, self._pid = threading.Lock(), os.getpid()
        self._connection: Connection | None = None

    def rows(self, statement: str, parameters: Sequence[Any], url: Url) -> list[tuple[Any, ...]]:
        """What a statement about the log of `url` gives. Raises StorageError, which names that log."""
        self._after_fork()
        with self._lock:
            for attempt in (1, 2):
                try:
                    return (
                        self._connected(url).execute(statement.encode(), parameters, binary=True).fetchall()
                    )
                except psycopg.Error as error:
                    # Without a connection of its own before, a second attempt would see the same.
                    if attempt == 2 or not is_lost(error) or self._connection is None:
                        raise storage_error(error, url, "reading") from None
                    self._drop()
                except KeyboardInterrupt:
                    self._drop()
                    raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """A later statement connects again."""
        with self._lock:
            self._drop()

    def _connected(self, url: Url) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = None
            made = connect(url, must_write=False)
            self._connection = made
            check_version(made, url)
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            finish(self._connection)
        self._connection = None

    def _after_fork(self) -> None:
        if self._pid != os.getpid():
            # The parent's socket, and a lock that a thread of the parent's may have held.
            leave(self._connection, self._pid)
            self._connection, self._lock, self._pid = None, threading.Lock(), os.getpid()


def check_version(connection: Connection, url: Url) -> None:
    """Raises NewerFormatError, NoLogError, psycopg.Error."""
    try:
        row = connection.execute("select version from attestlog.meta").fetchone()
    except psycopg.Error as error:
        if isinstance(error, (pg.UndefinedTable, pg.InvalidSchemaName)):
            raise storage_error(error, url, "opening") from None
        raise
    found = row[0] if row else 0
    if found < VERSION:
        raise NoLogError(
            f"{url.text}: the schema for logs is of version {found}, want {VERSION}",
            url=url.text,
            name="schema",
        )
    # Newer steps keep what writers of one version before them call; two are too many.
    if found > VERSION + 1:
        raise NewerFormatError(f"{url.text}: the schema for logs is of version {found}, want {VERSION}")


def finish(connection: Connection) -> None:
    """End it, without a word to the server beyond what libpq says."""
    with contextlib.suppress(Exception):
        connection.close()


def leave(connection: Connection | None, opened_by: int) -> None:
    """End it, if this is the process that opened it; a forked child must not, and keeps it as it is."""
    if connection is None:
        return
    if opened_by == os.getpid():
        finish(connection)
    else:
        _inherited.append(connection)


_inherited: Final[list[Connection]] = []
_sessions: Final[dict[str, Session]] = {}
_sessions_lock: Final = threading.Lock()


class LogReader:
    """Reads one log by the connection of all who read in this process."""

    def __init__(self, url: Url) -> None:
        self._url = url
        with _sessions_lock:
            self._session = _sessions.setdefault(url.conninfo, Session())

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """See `Reader`."""
        return self._session.rows(statement, parameters, self._url)


def reader_for(text: str) -> LogReader:
    """For what is picked up in a worker process."""
    return LogReader(parse_url(text))


@atexit.register
def close_sessions() -> None:
    """End every connection of this process's readers."""
    with _sessions_lock:
        for each in _sessions.values():
            if each._pid == os.getpid():
                each.close()
