"""Who appends, as the log asserts it; and idempotency keys: within 24 hours an entry is written once.

    caller = Caller(peer="token:writer", key="order-17")
    receipts, before = log.append_by(caller, drafts)     # `before` of them were in the log already

Key and peer stand in the entry, under `environment`, where the log speaks and no caller can. So the key is
found again after any crash by reading the entries of the last 24 hours. Two servers of one log, or a server
and a library, cannot both append: the writer looks under the log's lock. A key is of one caller: another
token's same key is another key. Several entries under one key are those of one call, in order; if a crash
kept the last of them out of the log, the same call appends those, and no others.

What this is not: it compares no bodies. A service does, with a secret of its own (`server.bodies_seen`).
Specified in docs/spec/rules.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from attestlog._internal.core.batch import Head, Plan, Prepared
from attestlog._internal.core.entry import Entry, decode_line, parse_draft, parse_timestamp
from attestlog._internal.core.receipt import Receipt
from attestlog._internal.core.reserved import KEY_MEMBER, PEER_MEMBER
from attestlog._internal.core.uses import search_start
from attestlog._internal.storage.contract import LogSource
from attestlog.errors import BusyError, IdempotencyError, MalformedEntryError

if TYPE_CHECKING:
    import sqlite3

KEY_TERM_S: Final = 24 * 3_600
"""How long a key counts, by the log's time: longer than clients retry, soon read again."""

KEY_LENGTH_MAX: Final = 128
"""Characters of a key: a UUID has 36, a URL of a job fits."""

PRUNE_EVERY: Final = 100_000
"""Keys that come before those are dropped that count no more."""

_MARK: Final = f'"{KEY_MEMBER}":"'.encode()
"""In the canonical line of every entry with a key: a quote within a string is written with a backslash."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What the log asserts of a caller in the entries it appends. Empty: nothing."""

    peer: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        """Raises MalformedEntryError for a key that no entry can have."""
        if self.key and not (
            len(self.key) <= KEY_LENGTH_MAX and self.key.isascii() and self.key.isprintable()
        ):
            raise MalformedEntryError(
                f"idempotency key: want 1 to {KEY_LENGTH_MAX} characters of printable ASCII",
                member="idempotency_key", found=self.key[:KEY_LENGTH_MAX],
            )  # fmt: skip

    @property
    def asserted(self) -> dict[str, str]:
        """The members of `environment`."""
        return {name: text for name, text in ((KEY_MEMBER, self.key), (PEER_MEMBER, self.peer)) if text}


def caller_of(key: str) -> Caller:
    """Whoever has the log open, under their key. Raises MalformedEntryError, also for an empty one."""
    if not key:
        raise MalformedEntryError("idempotency key: is empty", member="idempotency_key", found=key)
    return Caller(key=key)


class KnownKeys:
    """The entries of each key within the last 24 hours of one open log.

    Used while holding the log's lock, by one thread at a time. Nothing is read before the first key is asked
    for. What was read is in a temporary database, which spills to disk: a busy day has millions of keys.
    """

    def __init__(self, source: LogSource) -> None:
        self._source = source
        self._size = 0
        """Every entry below, as far as it may count, is known."""
        self._fresh = 0
        self._database: sqlite3.Connection | None = None

    def check(self, prepared: Prepared, head: Head, now_us: int, planned: set[bytes]) -> None:
        """Raises IdempotencyError with the numbers of the entries that are there and should not be yet.

        `planned`: the keys of the batch. Raises BusyError where another call under this key is in it, and
        StorageError if entries cannot be read that may have the key: nothing is appended under it then.
        """
        if KEY_MEMBER not in prepared.asserted:
            return
        found = self.find(prepared.asserted, head, now_us)
        if len(found) != prepared.ordinal:
            raise IdempotencyError(
                f"{len(found)} entries of this idempotency key are in the log already", sequence_numbers=found
            )
        digest = _digest(prepared.asserted)
        if digest in planned:
            raise BusyError("another append under this idempotency key is under way", retryable=True)
        planned.add(digest)

    def find(self, asserted: Mapping[str, str], head: Head, now_us: int) -> list[int]:
        """The entries under this key of this caller, in order. Raises StorageError, MalformedEntryError."""
        since_us = now_us - KEY_TERM_S * 1_000_000
        database = self._read(head, since_us)
        asked = "SELECT number FROM keys WHERE digest = ? AND at >= ? ORDER BY number"
        return [number for (number,) in database.execute(asked, (_digest(asserted), since_us))]

    def commit(self, plan: Plan, head: Head) -> None:
        """A batch that was planned after `head` is durable."""
        if self._database is None or self._size != head.size:
            return  # what is missing is read when it is asked for
        at_us = plan.head.timestamp_us
        self._add(
            (_digest(item.asserted), number, at_us)
            for number, item in enumerate(plan.prepared, head.size)
            if KEY_MEMBER in item.asserted
        )
        self._size = plan.head.size

    def close(self) -> None:
        """Drop the database."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _read(self, head: Head, since_us: int) -> sqlite3.Connection:
        if self._database is None:
            self._size = search_start(head.size, self._timestamp, since_us)
            self._database = _new_database()
        if self._size < head.size:
            lines = self._source.lines(self._size, head.size)
            keyed = (
                (number, decode_line(line)) for number, line in enumerate(lines, self._size) if _MARK in line
            )
            self._add(
                (_digest(entry.environment), number, parse_timestamp(entry.timestamp))
                for number, entry in keyed
                if KEY_MEMBER in entry.environment
            )
            self._size = head.size
        if self._fresh > PRUNE_EVERY:
            with self._database as database:
                database.execute("DELETE FROM keys WHERE at < ?", (since_us,))
            self._fresh = 0
        return self._database

    def _add(self, rows: Any) -> None:
        assert self._database is not None
        with self._database as database:
            # A batch that was read in part, before its reading failed, is read again.
            added = database.executemany("INSERT OR REPLACE INTO keys VALUES (?, ?, ?)", rows)
        self._fresh += max(0, added.rowcount)

    def _timestamp(self, number: int) -> int:
        return parse_timestamp(self._source.entry(number).timestamp)


def receipts_of(source: LogSource, numbers: Sequence[int], drafts: Sequence[Any]) -> list[Receipt]:
    """The receipts of these entries, which stand under the key of a call with these drafts.

    Raises IdempotencyError if they cannot be this call's: more, or of other actions or actors.
    """
    receipts = [_receipt(source.line(number)) for number in numbers]
    entries = [receipt.entry for receipt in receipts]
    wanted = [parse_draft(draft) for draft in drafts[: len(entries)]]
    if [_names(entry) for entry in entries] != [_names(draft) for draft in wanted]:
        raise IdempotencyError(
            "the idempotency key was used for other entries", sequence_numbers=list(numbers)
        )
    return receipts


def _names(facts: Any) -> tuple[str, str, str]:
    # Those that nothing redacts or erases.
    return facts.event_type, facts.action_type, facts.actor_id


def _receipt(line: bytes) -> Receipt:
    entry: Entry = decode_line(line)
    return Receipt(entry.sequence_number, entry.entry_id, entry.entry_hash, entry.timestamp, line)


def _digest(asserted: Mapping[str, str]) -> bytes:
    """Of the key and its caller. A process is not a caller of its own: it may be started again."""
    scope = asserted.get(PEER_MEMBER, "").partition(" ")[0]
    return blake2b(f"{scope}\0{asserted[KEY_MEMBER]}".encode(), digest_size=16).digest()


def _new_database() -> sqlite3.Connection:
    import sqlite3

    # The log's lock keeps threads apart. An empty name: a file without a name, gone with the connection.
    database = sqlite3.connect("", check_same_thread=False)
    database.execute("PRAGMA journal_mode = MEMORY")
    database.execute(
        "CREATE TABLE keys (digest BLOB, number INTEGER, at INTEGER, PRIMARY KEY (digest, number))"
        " WITHOUT ROWID"
    )
    return database
