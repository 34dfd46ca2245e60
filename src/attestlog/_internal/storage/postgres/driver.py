"""Logs on PostgreSQL by their URLs: `storage.resolve` finds this driver for `postgresql:`."""

from __future__ import annotations

from typing import Any

import psycopg

from attestlog._internal.core.entry import decode_line, parse_timestamp
from attestlog._internal.storage.contract import Known, NewLog
from attestlog._internal.storage.postgres.connection import check_version, connect, finish, storage_error
from attestlog._internal.storage.postgres.source import PostgresSource
from attestlog._internal.storage.postgres.store import PostgresStore
from attestlog._internal.storage.postgres.url import Url, parse_url
from attestlog.errors import ExistsError, MalformedConfigError, NoLogError

_CREATE = b"select attestlog.create_log(%s, %s, %s, %s, %s, %s, %s)"


class PostgresDriver:
    """See `storage.resolve.Driver`."""

    is_transient = False

    def check_free(self, name: str, *, any_filesystem: bool) -> None:  # noqa: ARG002 - there is no file system
        """See `Driver`. Raises NoLogError where the schema is missing."""
        url = parse_url(name)
        try:
            PostgresSource(url)
        except NoLogError as error:
            if error.name == "schema":
                raise
            return
        raise ExistsError(f"{url.text} exists already", url=url.text, what="log")

    def create(self, name: str, new: NewLog) -> None:
        """See `Driver`."""
        url = parse_url(name)
        if new.group is not None:
            raise MalformedConfigError(
                "groups of this machine are for a log's directory: on PostgreSQL grant attestlog_writer or"
                " attestlog_reader",
                member="group",
            )  # fmt: skip
        entry = decode_line(new.line)
        self._call(
            url,
            (
                url.log, url.durability, new.line, bytes.fromhex(entry.entry_hash),
                parse_timestamp(entry.timestamp), new.leaf, new.checkpoint,
            ),
        )  # fmt: skip

    def open_source(self, name: str) -> PostgresSource:
        """See `Driver`."""
        return PostgresSource(parse_url(name))

    def open_store(
        self,
        name: str,
        *,
        lock_timeout_s: float,
        any_filesystem: bool,  # noqa: ARG002
        known: Known,  # noqa: ARG002
    ) -> PostgresStore:
        """See `Driver`. Nothing is ever torn or half erased here: `known` has nothing to decide."""
        return PostgresStore(parse_url(name), lock_timeout_s=lock_timeout_s)

    def _call(self, url: Url, parameters: tuple[Any, ...]) -> None:
        try:
            connection = connect(url, must_write=True)
            try:
                check_version(connection, url)
                connection.execute(_CREATE, parameters)
            finally:
                finish(connection)
        except psycopg.Error as error:
            raise storage_error(error, url, "creating") from None
