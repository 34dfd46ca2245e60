"""What is done while one has the turn: commit a batch, sign a checkpoint, close.

One thread of one process at a time is in here (see `committer`), and each turn
takes the log's lock for itself. What a caller wants first enters as `Prepared`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from attestlog._internal.config import change_config, with_signers
from attestlog._internal.core.batch import Head, Prepared, plan_batch
from attestlog._internal.core.checkpoint import Checkpoint
from attestlog._internal.core.entry import Entry, Object
from attestlog._internal.core.genesis import open_log_checkpoint
from attestlog._internal.core.merkle import edge_at
from attestlog._internal.core.note import NoteSignature, format_note, parse_note
from attestlog._internal.core.receipt import Receipt
from attestlog._internal.core.rotation import Rotation, format_rotation, rotation_message
from attestlog._internal.core.signature import BATCH_ENTRIES_MAX
from attestlog._internal.log import committer
from attestlog._internal.log.environment import Clock
from attestlog._internal.log.erasing import check_prepared, unfinished
from attestlog._internal.log.in_force import InForce
from attestlog._internal.log.outage import Outage
from attestlog._internal.log.signing import key_holders, sign_head, sign_plan
from attestlog._internal.signers import Signer
from attestlog._internal.signers.asking import sign_message
from attestlog._internal.storage.contract import Store
from attestlog.errors import AttestlogError, ConsistencyError, SignerError, StorageError


class Turns:
    """The store, the keys and the clock of one open log."""

    def __init__(
        self,
        store: Store,
        in_force: InForce,
        checkpoint_signer: Signer,
        clock: Clock,
        pq_signer: Signer | None = None,
    ) -> None:
        """Raises SignerError if a checkpoint signer is not the log's, or one is lacking."""
        self.store, self.in_force, self.clock = store, in_force, clock
        self.checkpoint_signer = checkpoint_signer
        self.genesis = store.genesis
        self._holders = key_holders(store.genesis, checkpoint_signer, pq_signer)
        self._outage = Outage()

    def commit(self, take: committer.Take, make: Callable[[dict[str, Any]], Prepared]) -> list[Receipt]:
        """Plan, sign and store what `take` gives; a receipt for each entry.

        `make`: a prepared entry of the log's own. Of a time in which nothing could be signed, the first
        batch afterwards tells, if it has room for one entry more.
        """
        with self._turn() as head:
            room = min(self.store.room(head.size), BATCH_ENTRIES_MAX)
            told = [make(self._outage.draft())] if self._outage.has_been and room > 1 else []
            prepared = take(room - len(told))
            if not prepared:
                return []
            try:
                receipts = self._commit_at(head, told + prepared)
            except SignerError as error:
                self._outage.add(error, len(prepared), self.clock())
                raise
            if told:
                self._outage = Outage()
            return receipts[len(told) :]

    def rotate(self, new: Signer, make: Callable[[Object], Prepared]) -> Receipt:
        """Commit the rotation to the key of `new`, and sign with it from then on.

        `make`: the prepared entry, given its payload.
        """
        with self._turn() as head:
            key, _ = self.in_force.signer()
            message = rotation_message(self.genesis.origin, key.key_id, new.public_key.key_id, head.size)
            signature = sign_message(new, new.public_key, message)
            prepared = make(format_rotation(Rotation(new.public_key, signature)))

            def name_both() -> None:
                # A crash after this leaves a log.toml that names both signers. Whichever of them holds the
                # key in force when the log is opened is the one, and the other is forgotten.
                change_config(self.store, partial(with_signers, next_entry=new.uri))

            (receipt,) = self._commit_at(head, [prepared], name_both)
            self.in_force.use(new)
            # The entry is durable: that log.toml cannot be written now takes nothing back.
            with contextlib.suppress(AttestlogError):
                change_config(self.store, partial(with_signers, entry=new.uri, next_entry=None))
            return receipt

    def erase(self, sequence_number: int, make: Callable[[Entry], Prepared]) -> Receipt:
        """Commit the entry that says that this payload is erased, and erase it.

        `make`: the prepared entry, given the one whose payload goes.
        """
        with self._turn() as head:
            self.store.finish_erasure()  # one that was begun before comes first
            target = self.store.source.entry(sequence_number)
            prepared = make(target)
            check_prepared(self.in_force.rules, target, prepared, self.clock())
            self.store.begin_erasure(sequence_number, target.entry_hash)
            (receipt,) = self._commit_at(head, [prepared])
            # A crash here, or a disk that is full, leaves the payload where it is until the next opening.
            try:
                self.store.finish_erasure()
            except StorageError as error:
                raise unfinished(target, receipt, error) from error
            return receipt

    def checkpoint(self) -> bytes:
        """Sign and store the head as a checkpoint, unless the last one covers it; the note."""
        with self.store.exclusive() as head:
            return self._checkpoint_at(head)

    def add_cosignatures(self, text: str, lines: Sequence[NoteSignature]) -> None:
        """Keep verified cosignature lines with the stored checkpoint, if it still is the one of this text.

        A cosigner's newer line takes its older one's place.
        """
        with self.store.exclusive():
            old = self.store.checkpoint()
            if old is None:
                return
            note = parse_note(old)
            if note.text == text:
                kept = {(line.name, line.key_id): line for line in (*note.signatures, *lines)}
                self.store.replace_checkpoint(old, format_note(text, list(kept.values())))

    def head(self) -> Head:
        """The head, with what other processes made durable taken in."""
        with self.store.exclusive() as head:
            self.in_force.catch_up(head)
            return head

    def close(self) -> None:
        """Sign a last checkpoint and let go of store and keys."""
        try:
            # A forked child that never used the log has nothing to say about it.
            if not self.store.is_released:
                self._last_turn()
        finally:
            self.store.close()
            self.in_force.close()
            for signer, _ in self._holders:
                signer.close()

    @contextmanager
    def _turn(self) -> Iterator[Head]:
        """The log's lock, with what other processes wrote taken in, and a full segment closed."""
        with self.store.exclusive() as head:
            self.in_force.catch_up(head)
            if self.store.room(head.size) == self.genesis.settings.segment_entries:
                # A full segment is closed by a checkpoint, so that opening never reads more than one. That
                # it cannot be signed holds nobody up: the next checkpoint, or close, says what is wrong.
                with contextlib.suppress(AttestlogError):
                    self._checkpoint_at(head)
                self.in_force.keep()
            yield head

    def _last_turn(self) -> None:
        with self.store.exclusive() as head:
            self._checkpoint_at(head)
            self.in_force.catch_up(head)
            self.in_force.keep()

    def _commit_at(
        self, head: Head, prepared: list[Prepared], before: Callable[[], None] = lambda: None
    ) -> list[Receipt]:
        """`before` is called when all that could be refused has been looked at."""
        key, signer = self.in_force.signer()
        plan = plan_batch(
            head, prepared, self.clock(), algorithm=key.algorithm, key_id=key.key_id,
            batched=self.genesis.settings.batch,
        )  # fmt: skip
        lines = plan.seal(sign_plan(signer, key, plan))
        # What would not hold is refused before it is stored.
        rules = self.in_force.after(lines[-1]) if prepared[-1].stands_alone else None
        before()
        self.store.commit(plan, lines)
        self.in_force.advance(plan.head.size, lines[-1], rules)
        facts = zip(prepared, plan.entry_hashes, lines, strict=True)
        return [
            Receipt(number, item.entry_id, entry_hash, plan.timestamp, line)
            for number, (item, entry_hash, line) in enumerate(facts, head.size)
        ]

    def _checkpoint_at(self, head: Head) -> bytes:
        old = self.store.checkpoint()
        if old is not None and self._continues(old, head):
            return old
        now = Checkpoint(self.genesis.origin, head.size, head.edge.root())
        note = sign_head(self._holders, now, self.clock())
        self.store.replace_checkpoint(old, note)
        return note

    def _continues(self, old: bytes, head: Head) -> bool:
        """Whether the last checkpoint covers the head already. Raises ConsistencyError if it is no prefix."""
        last = open_log_checkpoint(old, self.genesis)
        root = b""
        if last.size <= head.size:
            root = edge_at(last.size, self.store.hashes).root()
        if root != last.root:
            raise ConsistencyError(
                f"the last checkpoint covers {last.size} entries that are not a prefix of these {head.size}",
                expected=last.root.hex(), found=root.hex(),
            )  # fmt: skip
        return last.size == head.size
