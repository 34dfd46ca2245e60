"""What is done while one has the turn: commit a batch, sign a checkpoint, close.

One thread of one process at a time is in here (see `committer`), and each turn
takes the log's lock for itself. What a caller wants first enters as `Prepared`.
"""

from __future__ import annotations

import contextlib

from attestlog import committer
from attestlog.core.batch import Head, plan_batch
from attestlog.core.checkpoint import Checkpoint, open_checkpoint
from attestlog.core.merkle import edge_from_stored, stored_ranges
from attestlog.errors import AttestlogError, ConsistencyError
from attestlog.log.environment import Clock
from attestlog.log.receipt import Receipt
from attestlog.log.signing import checkpoint_key, entry_key, sign_note, sign_plan
from attestlog.signers import Signer
from attestlog.storage.files import FileStore


class Turns:
    """The store, the keys and the clock of one open log. Raises SignerError if the keys are not its own."""

    def __init__(
        self, store: FileStore, entry_signer: Signer, checkpoint_signer: Signer, clock: Clock
    ) -> None:
        self.store, self.clock = store, clock
        self.entry_signer, self.checkpoint_signer = entry_signer, checkpoint_signer
        self.genesis = store.genesis
        self.key = entry_key(store.genesis, entry_signer)
        self.vkey = checkpoint_key(store.genesis, checkpoint_signer)

    def commit(self, take: committer.Take) -> list[Receipt]:
        """Plan, sign and store what `take` gives; a receipt for each entry."""
        with self.store.exclusive() as head:
            if self.store.room(head.size) == self.genesis.settings.segment_entries:
                # A full segment is closed by a checkpoint, so that opening never reads more than one. That
                # it cannot be signed holds nobody up: the next checkpoint, or close, says what is wrong.
                with contextlib.suppress(AttestlogError):
                    self._checkpoint_at(head)
            prepared = take(self.store.room(head.size))
            plan = plan_batch(
                head, prepared, self.clock(), algorithm=self.key.algorithm, key_id=self.key.key_id,
                batched=self.genesis.settings.batch,
            )  # fmt: skip
            lines = plan.seal(sign_plan(self.entry_signer, self.key, plan))
            self.store.commit(plan, lines)
        entries = [item.entry for item in prepared]
        return [
            Receipt(entry.sequence_number, entry.entry_id, entry.entry_hash, entry.timestamp, line)
            for entry, line in zip(entries, lines, strict=True)
        ]

    def checkpoint(self) -> bytes:
        """Sign and store the head as a checkpoint, unless the last one covers it; the note."""
        with self.store.exclusive() as head:
            return self._checkpoint_at(head)

    def head(self) -> Head:
        """The head, with what other processes made durable taken in."""
        with self.store.exclusive() as head:
            return head

    def close(self) -> None:
        """Sign a last checkpoint and let go of store and keys."""
        try:
            # A forked child that never used the log has nothing to say about it.
            if self.store.is_open:
                self.checkpoint()
        finally:
            self.store.close()
            self.entry_signer.close()
            self.checkpoint_signer.close()

    def _checkpoint_at(self, head: Head) -> bytes:
        old = self.store.checkpoint()
        if old is not None and self._continues(old, head):
            return old
        now = Checkpoint(self.genesis.origin, head.size, head.edge.root())
        note = sign_note(self.checkpoint_signer, self.vkey, now)
        self.store.replace_checkpoint(old, note)
        return note

    def _continues(self, old: bytes, head: Head) -> bool:
        """Whether the last checkpoint covers the head already. Raises ConsistencyError if it is no prefix."""
        last = open_checkpoint(old, self.genesis.checkpoint_keys)
        root = b""
        if last.size <= head.size:
            root = edge_from_stored(
                last.size, [self.store.hashes(*run) for run in stored_ranges(last.size)]
            ).root()
        if root != last.root or last.origin != self.genesis.origin:
            raise ConsistencyError(
                f"the last checkpoint covers {last.size} entries that are not a prefix of these {head.size}",
                expected=last.root.hex(), found=root.hex(),
            )  # fmt: skip
        return last.size == head.size
