"""From a name to a log: the one place that knows which driver a name means.

A name is the path of a directory, or a URL of a scheme that a driver is
registered for. Where a name is asked for, a source or a store that is open
already will do. A published log (`https:`, or a folder of tiles) has no entries
to read: it can be verified, and not opened.
"""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from attestlog._internal.storage.contract import LOCK_TIMEOUT_S, Copying, Known, LogSource, NewLog, Store
from attestlog._internal.storage.files import layout
from attestlog.errors import MalformedConfigError, MissingExtraError

if TYPE_CHECKING:
    from attestlog._internal.storage.files.creation import Building

LogName = str | os.PathLike[str]
"""A path or URL."""

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_OBJECTS: Final = frozenset({"s3", "gs", "az"})
_PUBLISHED: Final = frozenset({"http", "https"}) | _OBJECTS
_POSTGRES: Final = frozenset({"postgresql", "postgres"})


BACKUP: Final = "pg_dump and pg_basebackup copy a database, attestlog move takes the log out of it"


class Driver(Protocol):
    """One kind of place for logs. Every method takes a whole name, and raises StorageError."""

    @property
    def is_transient(self) -> bool:
        """Whether its logs are gone with this process: see `LogSource.is_transient`."""

    def check_free(self, name: str, *, any_filesystem: bool) -> None:
        """Raises ExistsError unless a log can be made here, FilesystemError where it would not be durable."""

    def create(self, name: str, new: NewLog) -> None:
        """Make a log of one entry, durably: all of it or nothing. Raises ExistsError."""

    def copying(self, name: str) -> AbstractContextManager[Copying]:
        """A log to be made of another's lines; gone at the end if it was not finished. Raises ExistsError."""

    def open_copy(self, name: str) -> None:
        """Let a finished copy be written, durably: it is the log from now on. Raises StorageError."""

    def drop_copy(self, name: str) -> None:
        """Remove a copy that was finished and never opened. Raises StorageError."""

    def open_source(self, name: str) -> LogSource:
        """Raises NotFoundError unless there is a log."""

    def open_store(self, name: str, *, lock_timeout_s: float, any_filesystem: bool, known: Known) -> Store:
        """Open for writing, and heal what a crash left, as far as `known` lets it.

        Raises NotFoundError unless there is a log.
        """


def register_driver(scheme: str, driver: Driver) -> None:
    """From now on URLs of this scheme name logs that `driver` opens."""
    _drivers[scheme.lower()] = driver


def check_free(name: LogName, *, any_filesystem: bool = False) -> None:
    """Raises ExistsError unless a log of this name can be made, FilesystemError, MalformedConfigError."""
    _driver(name).check_free(os.fspath(name), any_filesystem=any_filesystem)


def create_log(name: LogName, new: NewLog) -> None:
    """Make a log, durably: all of it or nothing. Raises ExistsError or another StorageError."""
    _driver(name).create(os.fspath(name), new)


def open_source(log: LogName | LogSource | Store) -> LogSource:
    """The log for reading. Raises NotFoundError or another StorageError, MalformedConfigError."""
    if isinstance(log, LogSource):
        return log
    if isinstance(log, (str, os.PathLike)):
        return _driver(log).open_source(os.fspath(log))
    return log.source


def open_store(
    log: LogName | Store,
    *,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
    any_filesystem: bool = False,
    known: Known | None = None,
) -> Store:
    """The log for writing, healed of what a crash left; close it. Raises as `open_source`, BusyError.

    `known`: what the caller knows of it from elsewhere.
    """
    if isinstance(log, (str, os.PathLike)):
        return _driver(log).open_store(
            os.fspath(log), lock_timeout_s=lock_timeout_s, any_filesystem=any_filesystem,
            known=known or Known(),
        )  # fmt: skip
    return log


def driver_of(name: LogName) -> Driver:
    """Raises MalformedConfigError, MissingExtraError."""
    return _driver(name)


def build_log(name: LogName) -> AbstractContextManager[Building]:
    """A log directory to be made from lines that are there already. Raises MalformedConfigError for a URL."""
    from attestlog._internal.storage.files.creation import building

    return building(directory(name))


def copy_log(name: LogName, target: Path) -> None:
    """A consistent copy of a log's directory, also while it is written. Raises ExistsError, StorageError."""
    from attestlog._internal.storage.files.copying import copy_directory

    open_source(name)  # says what is not a log
    copy_directory(directory(name, BACKUP).absolute(), target.absolute())


def make_lock(name: LogName) -> None:
    """What writers of a log wait at, where a copy has none. Raises StorageError."""
    from attestlog._internal.storage.files import lock

    if not is_url(name):
        lock.make_lock(Path(name).absolute())


def directory(name: LogName, on_postgres: str = "") -> Path:
    """The directory that is meant, for what only a directory can. Raises MalformedConfigError for a URL.

    `on_postgres`: what to do instead where the log is in a database.
    """
    scheme = _scheme(name)
    if scheme:
        instead = f": {on_postgres}" if on_postgres and scheme in _POSTGRES else ""
        raise MalformedConfigError(
            f"this is for a log's directory, not for {scheme}: URLs{instead}", member="log"
        )
    return Path(name)


def upgrade_schema(database: str) -> tuple[int, int]:
    """Bring the schema of a PostgreSQL database up to date, as its owner; its version before and now.

    Raises MalformedConfigError, MissingExtraError, StorageError: then it is as it was, or some steps further.
    """
    _driver(database)  # says what is no such database, and what is not installed
    from attestlog._internal.storage.postgres.upgrading import upgrade

    return upgrade(database)


def anything_at(name: LogName) -> bool:
    """Whether there is something of this name, be it a log or not, as far as a path tells."""
    return not is_url(name) and Path(name).exists()


def is_transient(name: LogName) -> bool:
    """Whether a log of this name, be it there or not, is gone with this process."""
    return _driver(name).is_transient


def is_url(name: LogName) -> bool:
    """Whether it is one, rather than a path."""
    return _URL.match(os.fspath(name)) is not None


def is_object_url(name: LogName) -> bool:
    """Whether it is the URL of a bucket, or of a part of one."""
    return layout.is_object_url(os.fspath(name))


def is_published(name: LogName) -> bool:
    """Whether it is the URL of a published log, or a folder that looks like one."""
    scheme = _scheme(name)
    if scheme:
        return scheme in _PUBLISHED
    path = Path(name)
    return not layout.is_log(path) and (path / "tile").is_dir() and (path / layout.CHECKPOINT_FILE).exists()


def _scheme(name: LogName) -> str:
    match = _URL.match(os.fspath(name))
    return match[1].lower() if match else ""


def _driver(name: LogName) -> Driver:
    scheme = _scheme(name)
    if not scheme:
        from attestlog._internal.storage.files.creation import FileDriver

        return FileDriver()
    if scheme in _PUBLISHED:
        raise MalformedConfigError(
            f"a {scheme}: URL names a published log, want a log with its entries", member="log"
        )
    if scheme in _POSTGRES and scheme not in _drivers:
        _drivers[scheme] = _postgres_driver()
    if scheme not in _drivers:
        # Only the scheme is repeated: the rest may hold a secret.
        raise MalformedConfigError(f"no log can be opened at a {scheme}: URL, want a path", member="log")
    return _drivers[scheme]


def _postgres_driver() -> Driver:
    """Raises MissingExtraError."""
    try:
        from attestlog._internal.storage.postgres.driver import PostgresDriver
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        raise MissingExtraError("a log on PostgreSQL needs psycopg", extra="postgres") from None
    return PostgresDriver()


_drivers: Final[dict[str, Driver]] = {}
