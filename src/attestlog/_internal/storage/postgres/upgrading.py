"""Bringing the schema of a database up to date: by the role that owns it, one step a transaction."""

from __future__ import annotations

import time
from typing import Final

import psycopg
from psycopg import errors as pg

from attestlog._internal.storage.postgres.connection import Connection, connect, finish, storage_error
from attestlog._internal.storage.postgres.schema import VERSION, step
from attestlog._internal.storage.postgres.url import parse_url
from attestlog.errors import NewerFormatError

GIVE_WAY_MS: Final = 2_000
"""A step that waits for a table keeps all behind it waiting, too: after so long it lets them go first."""

PATIENCE_S: Final = 60.0
"""How long a step is tried again."""


def upgrade(database: str) -> tuple[int, int]:
    """The version before, and now. Raises NewerFormatError, StorageError."""
    url = parse_url(database, names_log=False)
    try:
        connection = connect(url, must_write=True)
    except psycopg.Error as error:
        raise storage_error(error, url, "opening") from None
    try:
        before = _version(connection)
        if before > VERSION:
            raise NewerFormatError(f"the schema is of version {before}, this attestlog knows {VERSION}")
        for number in range(before + 1, VERSION + 1):
            _run(connection, number)
    except psycopg.Error as error:
        raise storage_error(error, url, "changing the schema of") from None
    finally:
        finish(connection)
    return before, VERSION


def _run(connection: Connection, number: int) -> None:
    """Raises psycopg.Error: then nothing of this step is there, and all before it."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            # A crash in here leaves the steps before this one, and nothing of it.
            with connection.transaction():
                connection.execute(f"set local lock_timeout = '{GIVE_WAY_MS}ms'".encode())
                connection.execute(step(number).encode())
        except pg.LockNotAvailable:
            if time.monotonic() > deadline:
                raise
        else:
            return


def _version(connection: Connection) -> int:
    try:
        row = connection.execute("select version from attestlog.meta").fetchone()
    except (pg.UndefinedTable, pg.InvalidSchemaName):
        return 0
    return int(row[0]) if row else 0
