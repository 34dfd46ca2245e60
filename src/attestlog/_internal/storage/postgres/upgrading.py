"""Bringing the schema of a database up to date: by the role that owns it, one step a transaction."""

from __future__ import annotations

import psycopg
from psycopg import errors as pg

from attestlog._internal.storage.postgres.connection import Connection, connect, finish, storage_error
from attestlog._internal.storage.postgres.schema import VERSION, step
from attestlog._internal.storage.postgres.url import parse_url
from attestlog.errors import NewerFormatError


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
            # A crash in here leaves the steps before this one, and nothing of it.
            with connection.transaction():
                connection.execute(step(number).encode())
    except psycopg.Error as error:
        raise storage_error(error, url, "changing the schema of") from None
    finally:
        finish(connection)
    return before, VERSION


def _version(connection: Connection) -> int:
    try:
        row = connection.execute("select version from attestlog.meta").fetchone()
    except (pg.UndefinedTable, pg.InvalidSchemaName):
        return 0
    return int(row[0]) if row else 0
