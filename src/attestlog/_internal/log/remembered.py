"""What this machine remembers of a log that it writes, against what is there: before, and each time it signs.

`recall` opens what is remembered (`last_signed`), `Remembered.compare` holds it against the log, and from
then on the writer says what it commits and is about to sign. Fewer entries than are remembered, or others,
are refused, and nothing is changed: RollbackError. More is good: another user or host wrote them.

Where nothing is remembered, the log is adopted as it stands, unless its configuration says that something
must be. What has no home beyond this process, or is said to be `ephemeral`, is not remembered.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from attestlog._internal.config import EPHEMERAL, EXPECTED, Identity, LogConfig
from attestlog._internal.core.batch import Head
from attestlog._internal.core.checkpoint import Checkpoint
from attestlog._internal.core.genesis import Genesis, open_log_checkpoint
from attestlog._internal.core.merkle import edge_at
from attestlog._internal.core.note import ED25519, format_vkey
from attestlog._internal.in_force import JudgesErasures
from attestlog._internal.last_signed import LastSigned, Names, Signed, find, forget, make
from attestlog._internal.log.fence import Post
from attestlog._internal.places import state_dir as default_state_dir
from attestlog._internal.storage.contract import LogSource, Store
from attestlog.errors import (
    CorruptError,
    NoStateError,
    RollbackError,
    StateError,
    StorageError,
)

StateDir = str | os.PathLike[str] | None
"""Where it is remembered what was signed; None: this user's state directory."""

HASH_SHOWN: Final = 16
"""Characters of a hash in a message: the evidence has all of it."""


class Remembered(JudgesErasures):
    """What is remembered of one log. Use it under the log's lock, except where it says otherwise."""

    def __init__(self, which: Identity, folder: Path | None, kept: LastSigned | None = None) -> None:
        """`folder`: the state directory; None: nothing is kept."""
        self.which = which
        self.adopted = ""
        """Where the log was adopted: a sentence that says so."""
        self._folder, self._kept = folder, kept
        self._compared: Signed | None = None
        """A head that is known to be the log's."""
        self.others: Callable[[], Sequence[Post]] = tuple
        """Asks the fences what they have. Raises StorageError."""

    def acknowledged(self) -> int:
        """See `Known.acknowledged`: by all processes of this user."""
        if self._kept is None:
            return 0
        self._kept.reread()
        return self._kept.acknowledged

    def compare_before(self, log: LogSource) -> None:
        """Compare with the log before it is opened, and so healed. Needs no lock. Raises RollbackError."""
        kept = self._kept
        if kept is None:
            return
        size = log.size()
        if size < kept.acknowledged:
            raise self._refusal(kept.head or kept.checkpoint, size, None)
        if kept.head is not None:
            self.compare_head(log, kept.head)

    def compare(self, store: Store, head: Head) -> None:
        """Compare with the opened log, and remember what more it has; adopt it if nothing is remembered.

        Raises CorruptError for a log without a checkpoint, RollbackError, StorageError.
        """
        note = store.checkpoint()
        if note is None:
            raise CorruptError(
                f"{store.source.where} has no checkpoint: every log has one from its genesis entry on",
                path=store.source.where, repair="checkpoint",
            )  # fmt: skip
        signed = open_log_checkpoint(note, store.genesis)
        self.compare_prefix(store, head, Signed(signed.size, signed.root.hex()), "its checkpoint")
        if self._folder is None:
            return
        if self._kept is None:
            self.begin(store.genesis, signed, head)
            self.adopted = (
                f"nothing was remembered of {self.which.origin} here: it is adopted as it stands,"
                f" with {head.size} entries"
            )
            return
        self.compare_signed(store, head)
        if signed.size > self._kept.checkpoint.size:
            self._kept.sign(signed.size, signed.root, Signed(head.size, head.entry_hash))
        else:
            self.committed(head)

    def compare_signed(self, store: Store, head: Head) -> None:
        """Raises RollbackError unless the log has all that was signed and acknowledged here."""
        if self._kept is None:
            return
        self._kept.reread()
        self.compare_prefix(store, head, self._kept.checkpoint, "")
        if self._kept.head is not None:
            self.compare_head(store.source, self._kept.head)

    def ask_again(self) -> Callable[[Store, Head], None]:
        """See `Known.ask_again`."""
        posts = self.others()

        def compare(store: Store, head: Head) -> None:
            for post in posts:
                self.compare_prefix(store, head, post.signed, post.url)
            self.compare_signed(store, head)

        return compare

    def compare_prefix(self, store: Store, head: Head, signed: Signed, by: str) -> None:
        """Raises RollbackError unless the log begins with these entries. `by`: who says so, for people."""
        found = edge_at(signed.size, store.hashes).root().hex() if signed.size <= head.size else None
        if found != signed.hash:
            raise self._refusal(signed, head.size, found, by)

    def compare_head(self, log: LogSource, head: Signed) -> None:
        """Raises RollbackError unless the log's entry there is the one that these end with."""
        if head == self._compared:
            return
        if log.size() < head.size:
            raise self._refusal(head, log.size(), None)
        found = log.entry(head.size - 1).entry_hash
        if found != head.hash:
            raise self._refusal(head, log.size(), found)
        self._compared = head

    def begin(
        self, genesis: Genesis, checkpoint: Checkpoint, head: Head, *, is_new_log: bool = False
    ) -> None:
        """Remember the log from here on. Raises as `last_signed.make`."""
        if self._folder is None:
            return
        key = next(key for key in genesis.checkpoint_keys if key.kind == ED25519)
        self._kept = make(
            self._folder,
            Names(self.which.origin, self.which.genesis, format_vkey(key)),
            Signed(checkpoint.size, checkpoint.root.hex()),
            Signed(head.size, head.entry_hash),
            is_new_log=is_new_log,
        )

    def will_sign(self, store: Store, head: Head, checkpoint: Checkpoint) -> None:
        """Make it durable that this checkpoint is about to be signed. Until then nobody may sign it.

        Raises RollbackError if it does not continue the last one that a process of this user signed,
        StorageError.
        """
        if self._kept is None:
            return
        self._kept.reread()
        self.compare_prefix(store, head, self._kept.checkpoint, "")
        self._kept.sign(checkpoint.size, checkpoint.root, Signed(head.size, head.entry_hash))

    def committed(self, head: Head) -> None:
        """Remember that these entries are durable.

        That it cannot be written takes nothing back: it is as if the power had gone before the next flush. It
        is tried again with the next commit, and without it no checkpoint is signed.
        """
        if self._kept is not None:
            try:
                self._kept.commit(Signed(head.size, head.entry_hash))
            except OSError:
                return

    def forget(self) -> None:
        """Of a log that was not made after all."""
        if self._folder is not None:
            with contextlib.suppress(StorageError):
                forget(self._folder, self.which.genesis)

    def close(self) -> None:
        """Close the file."""
        if self._kept is not None:
            self._kept.close()

    def _refusal(self, known: Signed, size: int, found: str | None, by: str = "") -> RollbackError:
        knows = f"{by} covers" if by else "this machine signed or acknowledged"
        has = (
            f"the log has {size}" if found is None
            else f"those here are others: {found[:HASH_SHOWN]}, want {known.hash[:HASH_SHOWN]}"
        )  # fmt: skip
        return RollbackError(
            f"{knows} {known.size} entries of {self.which.origin}, {has}",
            old=known.size, size=size, expected=known.hash, found=found, origin=self.which.origin,
            genesis=self.which.genesis,
        )  # fmt: skip


def recall(
    which: Identity, config: LogConfig | None, state_dir: StateDir, *, is_transient: bool = False
) -> Remembered:
    """What is remembered of this log.

    Raises NoStateError where the configuration says that something is, and nothing is. StateError for what
    is there and cannot be used, NoHomeError where there is no place for it.
    """
    if is_transient or (config is not None and config.state == EPHEMERAL and state_dir is None):
        return Remembered(which, None)
    folder = default_state_dir() if state_dir is None else Path(state_dir).absolute()
    kept = find(folder, which.genesis)
    if kept is None and config is not None and config.state == EXPECTED:
        raise NoStateError(
            f"nothing is remembered in {folder} of what was signed last of {which.origin},"
            " and its configuration expects it",
            path=str(folder), origin=which.origin, genesis=which.genesis,
        )  # fmt: skip
    if kept is not None and kept.names.origin != which.origin:
        kept.close()
        raise StateError(
            f"{kept.path} is of {kept.names.origin}, the log is {which.origin}",
            path=str(kept.path), expected=which.origin, found=kept.names.origin,
        )  # fmt: skip
    return Remembered(which, folder, kept)
