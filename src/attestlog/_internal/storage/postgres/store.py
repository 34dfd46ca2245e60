"""The store on PostgreSQL: any number of hosts, each with a queue of its own, meet at one row.

A turn:

1. Lock: one simple query of several statements takes the head's row and reads it; others wait here.
2. The log plans, and has its key sign.
3. Append and commit, in one pipeline.

What a crash of this host leaves: after 1 and 2, nothing (the server rolls back: at once, or after HOLD_MAX_S
where the host is frozen). In 3, all of the batch or nothing of it. Which of both, the store finds out itself:
a batch has one place, and one chain hash there, so the row at that place says whether it is this batch.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final, NamedTuple

import psycopg

from attestlog._internal.core.batch import Head, Plan
from attestlog._internal.core.checkpoint import parse_checkpoint
from attestlog._internal.core.entry import Entry, decode_line
from attestlog._internal.core.erasure import erase_line, erasure_of, taken
from attestlog._internal.core.hashes import HASH_SIZE_BYTES, leaf_hash
from attestlog._internal.core.merkle import Grown, Span, edge_at
from attestlog._internal.places import index_dir
from attestlog._internal.storage.contract import Known, Store, check_plan, room_in_segment
from attestlog._internal.storage.postgres.connection import (
    SYNC_NOTICE,
    Connection,
    LogReader,
    check_version,
    connect,
    domain_error,
    finish,
    is_lost,
    leave,
    storage_error,
)
from attestlog._internal.storage.postgres.source import PostgresSource
from attestlog._internal.storage.postgres.url import Url
from attestlog.errors import (
    ClosedError,
    ConflictError,
    CorruptError,
    FilesystemError,
    MalformedEntryError,
    MovedError,
    NoHomeError,
    StorageError,
    UncertainCommitError,
    VerificationError,
)

HOLD_MAX_S: Final = 20
"""A host that is silent for so long while it holds the lock loses it: longer than any signer takes."""

SETTLE_S: Final = 60.0
"""How long the outcome of a commit is asked for: longer than a failover takes."""

ERASED_AT_ONCE: Final = 4_096
"""Payloads that one statement takes out."""

_BEGIN: Final = (
    # `begin` states what a role's or database's defaults may say otherwise. The settings are the
    # transaction's: behind a pooler a session is others' as well.
    "begin isolation level read committed read write;"
    " set local synchronous_commit = on;"
    " set local lock_timeout = '{wait_ms}ms';"
    " set local idle_in_transaction_session_timeout = '{hold_s}s';"
    " select * from attestlog.lock({log_id})"
)
_APPEND: Final = (
    b"select attestlog.append(%b::int, %b::bigint, %b::bytea, %b::bytea[], %b::bytea[], %b::bigint,"
    b" %b::bytea, %b::int[], %b::bigint[], %b::bytea[])"
)


class _Doubt(NamedTuple):
    """What a transaction wrote of which it is not known whether it was committed."""

    start: int
    """Entries before the batch."""
    size: int
    """Entries with it."""
    entry_hash: str
    """Of its last entry; of the last entry there was, if it has none."""
    checkpoint: bytes | None
    """Written in the same transaction."""


class PostgresStore:
    """A log on PostgreSQL, open for writing; keeps the `Store` contract."""

    def __init__(
        self, url: Url, *, lock_timeout_s: float, hold_max_s: int = HOLD_MAX_S, known: Known | None = None
    ) -> None:
        """Raises StorageError or MalformedEntryError. `hold_max_s`: see HOLD_MAX_S."""
        self._known, self._is_new = known or Known(), True
        self._compare: Callable[[Store, Head], None] | None = None
        """Of a new connection, until the log there was found to be the one that is known."""
        self.url, self._lock_timeout_s, self._hold_max_s = url, lock_timeout_s, hold_max_s
        self._settle_s = SETTLE_S
        self.recovered: list[str] = []
        self.round_trips = 0
        """Questions asked within turns, for tests."""
        self._connection: Connection | None = None
        self._opened_by = 0
        self._stopped: str | None = None
        self._head, self._confirmed = Head(), Head()
        self._doubt: _Doubt | None = None
        self._is_open = self._is_dirty = False
        self._checkpoint: bytes | None = None
        self._erasing: Entry | None = None
        self._turn_of = 0
        """Which thread has the turn, while a transaction of it is open."""
        self.source = PostgresSource(url, _TurnReader(self))
        self.genesis = self.source.genesis()
        try:
            with self.exclusive() as head:
                self._check_last(head)
        except BaseException:
            self.close()
            raise

    @property
    def is_released(self) -> bool:
        """See `Store`."""
        return self._connection is None and self._stopped is None and self._doubt is None

    @property
    def is_certain(self) -> bool:
        """See `Store`: whether the head is what a commit of this store confirmed."""
        return _place(self._head) == _place(self._confirmed)

    @contextmanager
    def exclusive(self) -> Iterator[Head]:
        """See `Store`."""
        if self._stopped is not None:
            raise ClosedError(self._stopped)
        if self._doubt is not None:
            self._settle_earlier()
        self._erasing = None
        self._begin()
        try:
            yield self._head
            if self._is_dirty:
                self._finish_transaction(
                    _Doubt(self._head.size, self._head.size, self._head.entry_hash, self._checkpoint)
                )
        finally:
            self._roll_back()

    def commit(self, plan: Plan, lines: Sequence[bytes]) -> None:
        """See `Store`."""
        check_plan(plan, lines, self._head, self.genesis.settings.segment_entries)
        self._begin_again()
        before, after = self._head, plan.head
        grown = list(zip(*plan.grown, strict=True)) or [(), (), ()]
        batch = (
            self.source.log_id, before.size, bytes.fromhex(before.entry_hash),
            [bytes.fromhex(digest) for digest in plan.entry_hashes], list(lines), after.timestamp_us,
            b"".join(after.edge.hashes()), *map(list, grown),
        )  # fmt: skip
        entry, self._erasing = self._erasing, None
        going: list[_Going] = []
        if entry is not None and (entry.sequence_number, entry.entry_hash) == (
            after.size - 1,
            after.entry_hash,
        ):
            going = list(self._payloads(entry))
        checkpoint = self._checkpoint if self._is_dirty else None
        self._finish_transaction(
            _Doubt(before.size, after.size, after.entry_hash, checkpoint), batch, entry, going
        )
        self._head = self._confirmed = after
        if going:
            self._forget_words()

    def room(self, size: int) -> int:
        """See `Store`."""
        return room_in_segment(size, self.genesis.settings.segment_entries)

    def hashes(self, level: int, start: int, stop: int) -> list[bytes]:
        """See `Store`. Every commit is a transaction's end: readers see it."""
        return self.source.hashes(level, start, stop)

    def checkpoint(self) -> bytes | None:
        """See `Store`."""
        return self._checkpoint if self._is_open else self.source.checkpoint()

    def certain_head(self) -> Head:
        """See `Store`: a commit of this store's own is put behind what was only read."""
        if not self.is_certain:
            before = self._head
            self._begin_again()
            self._ask(b"select attestlog.beat(%s)", (self.source.log_id,))
            self._finish_transaction(_Doubt(before.size, before.size, before.entry_hash, None))
            self._confirmed = before
            self._begin()
            return before
        return self._head

    def replace_checkpoint(self, old: bytes | None, new: bytes) -> None:
        """See `Store`."""
        if not self._is_open:
            self._begin()  # a commit ended the turn's hold: what is compared below is what there is now
        if self._checkpoint != old:
            raise ConflictError(f"the checkpoint of {self.url.text} is not the one it was", url=self.url.text)
        if edge_at(self._head.size, self.hashes).root() != self._head.edge.root():
            raise CorruptError(
                f"the stored tree of {self.url.text} is not that of its {self._head.size} entries",
                path=self.url.text, repair="tree",
            )  # fmt: skip
        self._ask(
            b"select attestlog.set_checkpoint(%s, %s, %s, %s)",
            (self.source.log_id, old, covered(new), new),
        )
        self._checkpoint, self._is_dirty = new, True

    def add_timestamp(self, size: int, response: bytes) -> str:
        """See `Store`."""
        tag = f"{size:012d}-{sha256(response).hexdigest()[:8]}.tsr"
        try:
            connection = connect(self.url, must_write=True)
            try:
                connection.execute(
                    b"select attestlog.add_timestamp(%s, %s, %s, %s)",
                    (self.source.log_id, size, tag, response),
                )
            finally:
                finish(connection)
        except psycopg.Error as error:
            raise storage_error(error, self.url, "writing to") from None
        return f"{self.url.text} {tag}"

    def begin_erasure(self, entry: Entry) -> None:
        """See `Store`. Nothing is noted: the entry and what it erases are one transaction."""
        erasure_of(entry)
        self._erasing = entry

    def finish_erasure(self) -> None:
        """See `Store`. Only that of an entry which was there already is left to do."""
        entry, self._erasing = self._erasing, None
        if entry is None or entry.sequence_number >= self._head.size:
            return
        if self.source.entry(entry.sequence_number).entry_hash != entry.entry_hash:
            return
        self._begin_again()
        going = list(self._payloads(entry))
        for part in _parts(going):
            self._ask(_ERASE, self._erase_arguments(entry, part))
        self._is_dirty = self._is_dirty or bool(going)
        self._forget_words()

    def rebuild_tree(self) -> None:
        """See `Store`. The leaves are the entries' own hashes: only what is above them is stored."""
        grown: list[Grown] = []
        leaves = [leaf_hash(bytes.fromhex(decode_line(line).entry_hash)) for line in self.source.lines()]
        if Span().extended(leaves, grown).root() != self._head.edge.root():
            raise CorruptError(
                f"{self.url.text}: the entries are not those committed", path=self.url.text, repair="entries"
            )
        if grown:
            levels, places, nodes = map(list, zip(*grown, strict=True))
            self._begin_again()
            self._ask(
                b"select attestlog.set_nodes(%s, %s::int[], %s::bigint[], %s::bytea[])",
                (self.source.log_id, levels, places, nodes),
            )
            self._is_dirty = True

    def seal(self, where: str) -> None:
        """See `Store`."""
        self._begin_again()
        self._ask(b"select attestlog.seal(%s, %s)", (self.source.log_id, where))
        self._is_dirty = True

    def release(self) -> None:
        """See `Store`. The parent's socket is left alone."""
        leave(self._connection, self._opened_by)
        self._connection, self._is_open, self._is_dirty = None, False, False

    def close(self) -> None:
        """See `Store`."""
        self._stopped = self._stopped or f"log {self.url.text} is closed"
        self._drop()

    def rows_in_turn(self, statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]] | None:
        """What a statement gives within the turn, if this thread has it. Raises StorageError."""
        connection = self._connection
        if not self._is_open or self._turn_of != threading.get_ident() or connection is None:
            return None
        try:
            return connection.execute(statement.encode(), parameters, binary=True).fetchall()
        except psycopg.Error as error:
            if is_lost(error):
                self._drop()
            raise storage_error(error, self.url, "reading") from None
        except BaseException:
            self._drop()
            raise

    # --- the connection ---

    def _connected(self) -> Connection:
        """Raises psycopg.Error, StorageError."""
        connection = self._connection
        if connection is not None and not connection.closed:
            return connection
        self._drop()
        connection = connect(self.url, must_write=True, answer_s=self._lock_timeout_s + 5)
        try:
            check_version(connection, self.url)
            self._check_durable(connection)
        except BaseException:
            finish(connection)
            raise
        self._notices: list[str] = []
        connection.add_notice_handler(lambda said: self._notices.append(said.message_primary or ""))
        self._connection, self._opened_by, self._is_new = connection, os.getpid(), True
        return connection

    def _check_durable(self, connection: Connection) -> None:
        """Raises FilesystemError for a server that cannot keep what is asked for."""
        row = connection.execute(
            b"select current_setting('fsync'), current_setting('full_page_writes'),"
            b" current_setting('synchronous_standby_names'),"
            b" (select durability from attestlog.log where name = %s)",
            (self.url.log,),
        ).fetchone()
        assert row is not None
        fsync, pages, standbys, durability = row
        if fsync != "on" or pages != "on":
            raise FilesystemError(
                f"{self.url.text}: the server has fsync={fsync} and full_page_writes={pages}, want on: what"
                " it commits can be lost with the power",
                url=self.url.text,
            )  # fmt: skip
        if "standby" in (durability, self.url.durability) and not standbys.strip():
            raise FilesystemError(
                f"{self.url.text}: durability=standby is asked for, and the server has no synchronous"
                " standby: synchronous_standby_names is empty",
                url=self.url.text,
            )  # fmt: skip

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(Exception):
                # No word to the server: a transaction that is under way there is what ending it leaves.
                self._connection.pgconn.finish()
            finish(self._connection)
        self._connection, self._is_open, self._is_dirty = None, False, False

    def _ask(self, statement: bytes, parameters: Sequence[Any]) -> None:
        """Within the transaction. What is refused leaves the transaction as it was. Raises StorageError."""
        connection = self._connection
        assert connection is not None
        self.round_trips += 1
        try:
            with connection.transaction():
                connection.execute(statement, parameters)
        except psycopg.Error as error:
            if is_lost(error):
                self._drop()
            raise domain_error(error, self.url, "writing to") from None
        except BaseException:
            self._drop()
            raise

    # --- the transaction ---

    def _begin(self) -> None:
        """Take the lock, and learn where the log stands. While no server takes writes, wait for one.

        Raises BusyError, StorageError: nothing was written.
        """
        row = self._locked_in_time()
        self._is_open, self._is_dirty, self._turn_of = True, False, threading.get_ident()
        try:
            self._take(row)
            if self._compare is not None:
                self._compare(self, self._head)
            self._compare = None
        except BaseException:
            self._roll_back()
            raise

    def _locked_in_time(self) -> tuple[Any, ...] | None:
        deadline, pause = time.monotonic() + self._lock_timeout_s, 0.05
        while True:
            try:
                self._connected()
                if self._is_new:
                    # It may be another server, or one that was restored. Nobody waits for the answer: the
                    # lock is not taken yet.
                    self._compare, self._is_new = self._known.ask_again(), False
                return self._locked()
            except psycopg.Error as error:
                self._drop()
                if not is_lost(error) or time.monotonic() + pause > deadline:
                    raise storage_error(error, self.url, "locking") from None
            except BaseException:
                self._drop()
                raise
            time.sleep(pause)
            pause = min(1.0, pause * 2)

    def _locked(self) -> tuple[Any, ...] | None:
        # One simple query and no pipeline: psycopg ends a pipeline with a flush, and a server that reads one
        # while it is idle in a transaction never ends that transaction for being idle.
        text = _BEGIN.format(
            wait_ms=max(1, int(self._lock_timeout_s * 1_000)),
            hold_s=self._hold_max_s,
            log_id=self.source.log_id,
        )
        self.round_trips += 1
        cursor = self._connected().execute(text.encode())
        while cursor.nextset():
            pass
        row: tuple[Any, ...] | None = cursor.fetchone()
        return row

    def _take(self, row: tuple[Any, ...] | None) -> None:
        """Take in what the locked row says. Raises MovedError, CorruptError."""
        if row is None:
            raise CorruptError(f"{self.url.text} is gone", path=self.url.text, repair="entries")
        moved_to, size, digest, timestamp_us, edge, note = row
        if moved_to is not None:
            raise MovedError(f"{self.url.text} is not written here any more: moved to {moved_to}")
        mine = self._head
        digest = bytes(digest).hex()
        if size < mine.size or (size == mine.size and digest != mine.entry_hash):
            self._stopped = (
                f"{self.url.text} has {size} entries, {mine.size} were committed from here, or others than"
                " these: the server went back in time"
            )
            raise CorruptError(
                self._stopped, path=self.url.text, size=size, expected=mine.size, repair="entries"
            )
        self._checkpoint = None if note is None else bytes(note)
        if size != mine.size:
            edge = bytes(edge)
            hashes = [edge[at : at + HASH_SIZE_BYTES] for at in range(0, len(edge), HASH_SIZE_BYTES)]
            try:
                span = Span(0, size, hashes)
            except ValueError:
                raise CorruptError(
                    f"{self.url.text}: the right edge is not one of {size} entries", path=self.url.text,
                    repair="entries",
                ) from None  # fmt: skip
            self._head = Head(size, digest, timestamp_us, span)

    def _begin_again(self) -> None:
        """Where a commit within the turn ended the transaction: only if nobody committed since."""
        if self._is_open:
            return
        before = self._head
        self._begin()
        if _place(self._head) != _place(before):
            raise ConflictError(
                f"{self.url.text} is at {self._head.size}, {before.size} was left by the commit before",
                expected=before.size, found=self._head.size,
            )  # fmt: skip

    def _finish_transaction(
        self, doubt: _Doubt, batch: tuple[Any, ...] | None = None, entry: Entry | None = None,
        going: Sequence[_Going] = (),
    ) -> None:  # fmt: skip
        """Append, erase and commit, in one round trip. Raises StorageError; then nothing of it is there.

        UncertainCommitError: nobody can know yet; the next turn finds out.
        """
        connection = self._connection
        assert connection is not None
        self._notices.clear()
        self._doubt = doubt
        self.round_trips += 1
        try:
            with connection.at_once():
                if batch is not None:
                    connection.execute(_APPEND, batch)
                for part in _parts(going):
                    assert entry is not None
                    connection.execute(_ERASE, self._erase_arguments(entry, part))
                connection.execute(b"commit")
        except BaseException as error:
            if isinstance(error, psycopg.Error) and not is_lost(error) and error.sqlstate is not None:
                # The server said why: nothing of it is left.
                self._doubt = None
                self._roll_back()
                raise domain_error(error, self.url, "committing to") from None
            self._drop()
            if not isinstance(error, Exception):
                raise  # an interrupt: the next turn finds out
            self._settle(_reason(error))
            return
        self._is_open = self._is_dirty = False
        if any(SYNC_NOTICE in said for said in self._notices):
            # It is on this server, and perhaps on no other.
            self._settle("the wait for a standby was cut short")
        self._doubt = None

    def _roll_back(self) -> None:
        if not self._is_open:
            return
        self._is_open = self._is_dirty = False
        try:
            assert self._connection is not None
            self.round_trips += 1
            self._connection.execute(b"rollback")
        except Exception:  # noqa: BLE001 - the server does it by itself once the connection is gone
            self._drop()
        except BaseException:
            self._drop()
            raise

    # --- an outcome that is not known ---

    def _settle_earlier(self) -> None:
        """Before a new turn. Raises StorageError: nothing of the new turn was written."""
        doubt = self._doubt
        assert doubt is not None
        try:
            self._settle("", self._lock_timeout_s)
        except UncertainCommitError:
            raise StorageError(
                f"{self.url.text}: nothing of this was written, what became of an earlier batch is being"
                " found out",
                url=self.url.text, retryable=True,
            ) from None  # fmt: skip
        except (CorruptError, ClosedError, MovedError):
            raise
        except StorageError:
            pass  # nothing of the earlier one is there: those who wanted it were told that it is not known

    def _settle(self, cause: str, within_s: float | None = None) -> None:
        """Find out, on the server that takes writes now, what became of it; return if it is there.

        Raises StorageError if it is not, UncertainCommitError if no server could be asked in time.
        """
        doubt = self._doubt
        assert doubt is not None
        size, is_there = self._look_in_time(doubt, cause, self._settle_s if within_s is None else within_s)
        self._doubt = None
        if is_there:
            self.recovered.append(
                f"the batch at {doubt.start} was committed: found out after {cause or 'an outage'}"
            )
            return
        if size < doubt.start:
            self._stopped = (
                f"{self.url.text} has {size} entries, {doubt.start} were committed: the server went back in"
                " time"
            )
            raise CorruptError(
                self._stopped, path=self.url.text, size=size, expected=doubt.start, repair="entries"
            )
        raise StorageError(
            f"{self.url.text}: nothing was written: {cause}", url=self.url.text, retryable=True
        )

    def _look_in_time(self, doubt: _Doubt, cause: str, within_s: float) -> tuple[int, bool]:
        """Raises UncertainCommitError."""
        deadline, pause = time.monotonic() + within_s, 0.05
        while True:
            self._drop()
            try:
                return self._look(doubt)
            except (psycopg.Error, StorageError) as error:
                if time.monotonic() + pause > deadline:
                    self._drop()
                    raise UncertainCommitError(
                        f"{self.url.text}: whether the batch at {doubt.start} was committed is not known:"
                        f" {cause or _reason(error)}",
                        url=self.url.text, sequence_number=doubt.start,
                    ) from None  # fmt: skip
            except BaseException:
                self._drop()
                raise
            time.sleep(pause)
            pause = min(1.0, pause * 2)

    def _look(self, doubt: _Doubt) -> tuple[int, bool]:
        """(entries there, whether what was in doubt is). Raises psycopg.Error, StorageError."""
        # Waits for the transaction in doubt, if that is still under way on this server.
        row = self._locked()
        if row is None:
            raise CorruptError(f"{self.url.text} is gone", path=self.url.text, repair="entries")
        connection, log_id = self._connection, self.source.log_id
        assert connection is not None
        found = connection.execute(
            b"select entry_hash from attestlog.entry where log_id = %s and seq = %s", (log_id, doubt.size - 1)
        ).fetchone()
        is_there = found is not None and bytes(found[0]).hex() == doubt.entry_hash
        if doubt.checkpoint is not None and doubt.start == doubt.size:
            is_there = is_there and row[5] is not None and bytes(row[5]) == doubt.checkpoint
        # What is there is acknowledged only with a commit of this store's own behind it.
        self._notices.clear()
        connection.execute(b"select attestlog.beat(%s)", (log_id,))
        connection.execute(b"commit")
        if any(SYNC_NOTICE in said for said in self._notices):
            raise StorageError("the wait for a standby was cut short", url=self.url.text)
        return row[1], is_there

    # --- erasing ---

    def _payloads(self, entry: Entry) -> Iterator[_Going]:
        """Those that go. Raises CorruptError where one cannot."""
        erasure = erasure_of(entry)
        reach = erasure.reach
        for line, stored in taken(erasure, self.source.lines(reach.start, reach.stop)):
            if not stored.has_payload:
                continue
            try:
                if not erasure.describes(stored):
                    raise MalformedEntryError("it is not the one described")
                erase_line(line)
            except (MalformedEntryError, VerificationError) as error:
                raise CorruptError(
                    f"entry {stored.sequence_number} cannot be erased: {error}",
                    path=self.url.text, sequence_number=stored.sequence_number, repair="entries",
                ) from None  # fmt: skip
            yield _Going(stored.sequence_number, len(bytes(stored.action_payload)))

    def _erase_arguments(self, entry: Entry, part: Sequence[_Going]) -> tuple[Any, ...]:
        return (
            self.source.log_id, entry.sequence_number, bytes.fromhex(entry.entry_hash),
            [each.sequence_number for each in part], [each.size_bytes for each in part],
        )  # fmt: skip

    def _forget_words(self) -> None:
        """This user's query indexes hold the payloads' words."""
        with contextlib.suppress(NoHomeError):
            shutil.rmtree(index_dir(self.source.entry(0).entry_hash), ignore_errors=True)

    def _check_last(self, head: Head) -> None:
        """Raises CorruptError unless the last line is the one that the head names."""
        entry = self.source.entry(head.size - 1)
        if (entry.sequence_number, entry.entry_hash) != (head.size - 1, head.entry_hash):
            raise CorruptError(
                f"{self.url.text}: entry {head.size - 1} is not the one that the head names",
                path=self.url.text,
                sequence_number=head.size - 1, repair="entries",
            )  # fmt: skip


class _TurnReader:
    """Reads by the connection that has the lock, for the thread that has the turn; else as all readers do.

    Behind a pooler those who wait for the lock may have every other connection.
    """

    def __init__(self, store: PostgresStore) -> None:
        self._store, self._reader = store, LogReader(store.url)

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """See `Reader`."""
        found = self._store.rows_in_turn(statement, parameters)
        return self._reader.rows(statement, parameters) if found is None else found


class _Going(NamedTuple):
    """A payload that goes."""

    sequence_number: int
    size_bytes: int


_ERASE: Final = b"select attestlog.erase(%s, %s, %s, %s::bigint[], %s::int[])"


def _parts(going: Sequence[_Going]) -> Iterator[Sequence[_Going]]:
    for start in range(0, len(going), ERASED_AT_ONCE):
        yield going[start : start + ERASED_AT_ONCE]


def covered(note: bytes) -> int:
    """How many entries a checkpoint is of, signed or not: whose it is, is not for a store to judge."""
    text = note.decode("utf-8", errors="replace").partition("\n\n")[0].removesuffix("\n")
    return parse_checkpoint(f"{text}\n").size


def _place(head: Head) -> tuple[int, str]:
    return head.size, head.entry_hash


def _reason(error: BaseException) -> str:
    said = str(error).strip().splitlines()
    return said[0] if said else type(error).__name__
