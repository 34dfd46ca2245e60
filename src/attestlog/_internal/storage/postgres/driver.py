"""Logs on PostgreSQL by their URLs: `storage.resolve` finds this driver for `postgresql:`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Final

import psycopg

from attestlog._internal.core.batch import Head
from attestlog._internal.core.entry import decode_line, parse_timestamp
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.merkle import Grown, Span
from attestlog._internal.storage.contract import Known, LogSource, NewLog
from attestlog._internal.storage.postgres.connection import (
    Connection,
    check_version,
    connect,
    finish,
    storage_error,
)
from attestlog._internal.storage.postgres.source import PostgresSource
from attestlog._internal.storage.postgres.store import PostgresStore, covered
from attestlog._internal.storage.postgres.url import Url, parse_url
from attestlog.errors import ExistsError, MalformedConfigError, NoLogError

COPIED_AT_ONCE: Final = 512
"""Lines that one statement brings: some 1 MB of ordinary ones."""

_CREATE: Final = b"select attestlog.create_log(%s, %s, %s, %s, %s, %s, %s)"


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
        given = (
            url.log, url.durability, new.line, bytes.fromhex(entry.entry_hash),
            parse_timestamp(entry.timestamp), new.leaf, new.checkpoint,
        )  # fmt: skip
        with _asked(url, "creating") as connection:
            connection.execute(_CREATE, given)

    @contextmanager
    def copying(self, name: str) -> Iterator[PostgresCopying]:
        """See `Driver`: one transaction."""
        url = parse_url(name)
        self.check_free(name, any_filesystem=True)
        with _asked(url, "copying to") as connection, connection.transaction():
            copying = PostgresCopying(url, connection)
            yield copying
            if not copying.is_finished:
                raise psycopg.Rollback

    def open_copy(self, name: str) -> None:
        """See `Driver`."""
        self._change_copy(name, b"select attestlog.open_copy(%s)")

    def drop_copy(self, name: str) -> None:
        """See `Driver`."""
        self._change_copy(name, b"select attestlog.drop_copy(%s)")

    def _change_copy(self, name: str, statement: bytes) -> None:
        url = parse_url(name)
        log_id = PostgresSource(url).log_id
        with _asked(url, "writing to") as connection:
            connection.execute(statement, (log_id,))

    def open_source(self, name: str) -> PostgresSource:
        """See `Driver`."""
        return PostgresSource(parse_url(name))

    def open_store(
        self,
        name: str,
        *,
        lock_timeout_s: float,
        any_filesystem: bool,  # noqa: ARG002
        known: Known,
    ) -> PostgresStore:
        """See `Driver`. Nothing is ever torn or half erased here: `known` is asked after each connecting."""
        return PostgresStore(parse_url(name), lock_timeout_s=lock_timeout_s, known=known)


class PostgresCopying:
    """A log that is being made of another, in one transaction: keeps the `Copying` contract."""

    def __init__(self, url: Url, connection: Connection) -> None:
        self._connection = connection
        self.is_finished = False
        row = connection.execute(b"select attestlog.begin_copy(%s, %s)", (url.log, url.durability)).fetchone()
        assert row is not None
        self._log_id: int = row[0]
        self._edge = Span()
        self._grown: list[Grown] = []

    def add_lines(self, lines: Iterable[bytes], segment_entries: int) -> None:  # noqa: ARG002
        """See `Copying`."""
        rest = iter(lines)
        while part := list(islice(rest, COPIED_AT_ONCE)):
            hashes = [bytes.fromhex(decode_line(line).entry_hash) for line in part]
            self._connection.execute(
                b"select attestlog.copy_entries(%b::int, %b::bigint, %b::bytea[], %b::bytea[])",
                (self._log_id, self._edge.stop, hashes, part),
            )
            self._edge = self._edge.extended(map(leaf_hash, hashes), self._grown)

    def finish(self, head: Head, source: LogSource) -> None:
        """See `Copying`."""
        note = source.checkpoint()
        levels, places, nodes = map(list, zip(*self._grown, strict=True)) if self._grown else ([], [], [])
        self._connection.execute(
            b"select attestlog.end_copy(%s, %s, %s, %s, %s, %s, %s::int[], %s::bigint[], %s::bytea[],"
            b" %s, %s)",
            (
                self._log_id, source.absolute(), head.size, bytes.fromhex(head.entry_hash), head.timestamp_us,
                b"".join(self._edge.hashes()), levels, places, nodes, note, covered(note) if note else None,
            ),
        )  # fmt: skip
        for stamp in source.timestamps():
            self._connection.execute(
                b"select attestlog.add_timestamp(%s, %s, %s, %s)",
                (self._log_id, stamp.size, stamp.name, source.timestamp(stamp.name)),
            )
        self.is_finished = True


@contextmanager
def _asked(url: Url, doing: str) -> Iterator[Connection]:
    """A connection for a few statements. Raises StorageError."""
    try:
        connection = connect(url, must_write=True)
        try:
            check_version(connection, url)
            yield connection
        finally:
            finish(connection)
    except psycopg.Error as error:
        raise storage_error(error, url, doing) from None
