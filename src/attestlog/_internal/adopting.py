"""Adopting a log that this machine knows nothing of: from here on nothing shorter or other is signed.

A log that came from another machine, or whose memory was lost with a disk, is what it is: whether it is all
of it, only a person can say, who is shown what it has. Nothing is verified here but the checkpoint and that
the log begins with it; no key is opened, and nothing is written into the log's directory but the lock that a
copy has not.
"""

from __future__ import annotations

from typing import NamedTuple

from attestlog._internal.config import EPHEMERAL, change_config, expect_state, find_config, identity
from attestlog._internal.core.genesis import open_log_checkpoint
from attestlog._internal.core.note import format_vkey
from attestlog._internal.last_signed import Signed
from attestlog._internal.log.remembered import StateDir, recall
from attestlog._internal.storage.resolve import LogName, make_lock, open_source, open_store
from attestlog.errors import ExistsError, MalformedConfigError


class Standing(NamedTuple):
    """What a log has, as a person is asked about it."""

    origin: str
    genesis: str
    size: int
    entry_hash: str
    """Of the last entry."""
    timestamp: str
    """Of the last entry."""
    checkpoint_size: int
    vkeys: list[str]
    """The log's checkpoint keys."""


def look_at(name: LogName) -> Standing:
    """What there is to adopt. Raises VerificationError unless its checkpoint verifies, StorageError."""
    log = open_source(name)
    which, genesis = identity(log), log.genesis()
    checkpoint = open_log_checkpoint(log.stored_checkpoint(), genesis)
    last = log.entry(log.size() - 1)
    return Standing(
        which.origin, which.genesis, last.sequence_number + 1, last.entry_hash, last.timestamp,
        checkpoint.size, list(map(format_vkey, genesis.checkpoint_keys)),
    )  # fmt: skip


def adopt_log(name: LogName, seen: Standing, *, state: StateDir = None, any_filesystem: bool = False) -> None:
    """Remember the log as it was seen. Its configuration, if there is one, expects that from here on.

    Raises ExistsError where something is remembered already, RollbackError where the log is not the one
    that was seen, and as opening a log.
    """
    log = open_source(name)
    config = find_config(log)
    if config is not None and config.state == EPHEMERAL:
        raise MalformedConfigError(f"its configuration says state = {EPHEMERAL!r}", member="state")
    remembered = recall(identity(log), None, state, is_transient=log.is_transient)
    try:
        if remembered.acknowledged():
            raise ExistsError(
                f"it is remembered already what was signed last of {seen.origin}",
                path=log.where,
                what="state",
            )
        make_lock(name)
        store = open_store(name, any_filesystem=any_filesystem, known=remembered)
        try:
            with store.exclusive() as head:
                remembered.compare_head(store.source, Signed(seen.size, seen.entry_hash))
                remembered.compare(store, head)
        finally:
            store.close()
    finally:
        remembered.close()
    if config is not None:
        change_config(log, expect_state)
