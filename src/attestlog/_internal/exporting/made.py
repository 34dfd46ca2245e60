"""Which exports were made of a log, as far as this user's state knows: places that an erasure does not reach.

    for made in exports_made(genesis_hash): …

Sinks that entries were shipped to are among them.

It is no evidence and no part of the log: another user's exports, and copies of a file, are not in it. What is
noted is the place, and the range of sequence numbers that it has held; nothing of the entries.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from attestlog._internal import disk, places
from attestlog.errors import BusyError, NoHomeError, StorageError

STDOUT: Final = "-"
"""The place of an export to standard output: where it went is not known."""

LOCK_WAIT_S: Final = 5.0
"""A note takes a millisecond."""


_Kind = TypeVar("_Kind")


class MadeExport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One place that entries were exported to."""

    to: str
    """A path, `-` for standard output, or the URL of a sink without what is secret in it."""
    form: str
    start: int
    stop: int
    """All entries that the place has ever been given are in [start, stop)."""
    first_at: str
    last_at: str
    """RFC 3339, by this machine's clock."""
    entries: int = 0
    """How many the last export had."""

    def may_hold(self, sequence_number: int) -> bool:
        """Whether the entry may be there: a filter may have left it out."""
        return self.start <= sequence_number < self.stop


def exports_made(genesis_hash: str) -> list[MadeExport]:
    """What is known of the log with this genesis entry, in the order in which the places were first used.

    Empty where no export was noted. Raises StorageError where the notes cannot be read.
    """
    try:
        return [*_exported(genesis_hash), *_shipped(genesis_hash)]
    except NoHomeError:
        return []


def _exported(genesis_hash: str) -> list[MadeExport]:
    return _read(_path(genesis_hash), list[MadeExport]) or []


class _Shipped(Struct):
    """What is read of a sink's cursor; see `shipping.cursor`."""

    sink: str
    form: str
    start: int
    size: int
    first_at: str
    last_at: str
    delivered: int


def _shipped(genesis_hash: str) -> Iterator[MadeExport]:
    """The sinks that entries went to."""
    for path in sorted((places.exports_dir() / genesis_hash).glob("*.json")):
        found = _read(path, _Shipped)
        if found is not None and found.delivered:
            yield MadeExport(
                to=found.sink, form=found.form, start=found.start, stop=found.size,
                first_at=found.first_at, last_at=found.last_at, entries=found.delivered,
            )  # fmt: skip


def note_export(genesis_hash: str, *, to: str, form: str, start: int, stop: int, entries: int) -> None:
    """Note that entries of [start, stop) went to a place. Raises NoHomeError, StorageError."""
    path, now = _path(genesis_hash), datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    try:
        disk.make_directories(path.parent, 0o700)
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not disk.lock(descriptor, timeout_s=LOCK_WAIT_S):
                raise BusyError(f"{path.parent} has been locked for {LOCK_WAIT_S:g} s", path=str(path.parent))
            known = {(made.to, made.form): made for made in _exported(genesis_hash)}
            before = known.get((to, form))
            known[to, form] = MadeExport(
                to=to, form=form, entries=entries, last_at=now,
                start=min(start, before.start) if before else start,
                stop=max(stop, before.stop) if before else stop,
                first_at=before.first_at if before else now,
            )  # fmt: skip
            # A crash in here leaves the old list or the new one.
            disk.replace_file(path, msgspec.json.encode(list(known.values())), 0o600)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise disk.storage_error(error, path, "writing") from None


def _path(genesis_hash: str) -> Path:
    return places.exports_dir() / f"{genesis_hash}.json"


def _read(path: Path, kind: type[_Kind]) -> _Kind | None:
    """None where there is no such file. Raises StorageError where it cannot be read."""
    try:
        with disk.open_plain(path) as file:
            return msgspec.json.decode(file.read(), type=kind)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk.read_error(error, path) from None
    except msgspec.DecodeError as error:
        raise StorageError(f"{path} is damaged: {error}", path=str(path)) from None
