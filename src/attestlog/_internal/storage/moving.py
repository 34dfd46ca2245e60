"""Moving a log from one place to another: a directory and PostgreSQL, in either direction; the same bytes.

1. The source's lock is taken. Every line is read, checked against the one before it, and copied.
2. The copy is made durable, sealed: it says that it is not finished, and from where it is.
3. The source is sealed: it says that it moved there. Its lock ends with that.
4. The copy is opened: it is the log from now on.

A crash before 2 leaves nothing at the target. After 2 the source is the log, and the copy is removed and made
again. After 3 neither is written, and the copy is whole: moving once more does step 4, after it has compared
both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import closing

from attestlog._internal.core.batch import Head
from attestlog._internal.core.entry import check_canonical, decode_line, entry_hash, payload_hash
from attestlog._internal.core.hashes import GENESIS_PREV_HASH
from attestlog._internal.storage.contract import UNFINISHED, Known, LogSource
from attestlog._internal.storage.resolve import LogName, driver_of, open_source, open_store
from attestlog.errors import (
    AttestlogError,
    ConflictError,
    CorruptError,
    ExistsError,
    HashMismatchError,
    MovedError,
    NoLogError,
)


def move(source: LogName, target: LogName, *, known: Known | None = None) -> LogSource:
    """Move the log, or go on with that; the log where it is now. Raises MovedError, StorageError."""
    log, there = open_source(source), _there(target)
    if there is not None:
        if (there.moved_to() or "") != f"{UNFINISHED}{log.absolute()}":
            raise ExistsError(f"{there.where} exists already", what="log")
        if log.moved_to() is not None:
            return _finish(log, there, target)
        driver_of(target).drop_copy(str(target))
    elif log.moved_to() is not None:
        raise MovedError(f"{log.where} is not written here any more: moved to {log.moved_to()}")
    with (
        closing(open_store(source, any_filesystem=True, known=known)) as store,
        store.exclusive(),
    ):
        head = store.certain_head()
        with driver_of(target).copying(str(target)) as copy:
            copy.add_lines(_checked(log, head), store.genesis.settings.segment_entries)
            copy.finish(head, store.source)
        there = open_source(target)
        store.seal(there.absolute())
    return _finish(log, there, target)


def _there(target: LogName) -> LogSource | None:
    with contextlib.suppress(NoLogError):
        return open_source(target)
    return None


def _finish(log: LogSource, there: LogSource, target: LogName) -> LogSource:
    """Step 4. Raises MovedError, ConflictError: then nothing was changed."""
    if log.moved_to() != there.absolute():
        raise MovedError(f"{log.where} is not written here any more: moved to {log.moved_to()}")
    size = there.size()
    if log.size() != size or log.line(size - 1) != there.line(size - 1):
        raise ConflictError(f"{there.where} is not what {log.where} has", expected=log.size(), found=size)
    driver_of(target).open_copy(str(target))
    return open_source(target)


def _checked(log: LogSource, head: Head) -> Iterator[bytes]:
    """The lines up to the head. Raises CorruptError at one that is not the next entry."""
    number, previous = 0, GENESIS_PREV_HASH
    for line in log.lines(0, head.size):
        try:
            entry = decode_line(line)
            check_canonical(entry, line)
            found = (entry.sequence_number, entry.prev_entry_hash, entry_hash(entry))
            if entry.action_payload is not None and payload_hash(entry) != entry.action_hash:
                raise HashMismatchError("action_hash is not the hash of the payload")
        except AttestlogError as error:
            raise _damaged(log, number, str(error)) from None
        if found != (number, previous, entry.entry_hash):
            raise _damaged(log, number, "it does not follow the entry before")
        yield line
        number, previous = number + 1, entry.entry_hash
    if (number, previous) != (head.size, head.entry_hash):
        raise _damaged(log, number, "it is not the last that was committed")


def _damaged(log: LogSource, number: int, why: str) -> CorruptError:
    return CorruptError(
        f"entry {number} of {log.where} cannot be moved: {why}", path=log.where, sequence_number=number,
        repair="entries",
    )  # fmt: skip
