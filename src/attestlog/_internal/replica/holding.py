"""One log's copy: what a shipment does to it, step by step, under the copy's own lock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from attestlog._internal import disk
from attestlog._internal.core.batch import Head
from attestlog._internal.core.checkpoint import Checkpoint
from attestlog._internal.core.cosignature import (
    decode_timestamped,
    verify_checkpoint_signature,
)
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.erasure import line_erases
from attestlog._internal.core.genesis import open_log_checkpoint, parse_genesis
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.merkle import edge_at
from attestlog._internal.core.note import (
    NoteSignature,
    VerifierKey,
    format_note,
    parse_note,
    verified_signatures,
)
from attestlog._internal.core.replication import ReplicaAnswer, Shipment, ends_batch, log_id
from attestlog._internal.core.rules import Rules
from attestlog._internal.in_force import JudgesErasures, read_rules
from attestlog._internal.replica import erasing, evidence
from attestlog._internal.replica.checking import plans, taken_at_once, verify_lines
from attestlog._internal.storage.contract import LogSource, NewLog
from attestlog._internal.storage.resolve import create_log, open_store
from attestlog.errors import (
    MalformedEntryError,
    MalformedShipmentError,
    SplitViewError,
    StaleSizeError,
)

LOG_DIR: Final = "log"
"""Of a log's copy, beside the evidence against its writer."""


class ReplicaKey(NamedTuple):
    """The replica's own name and key."""

    vkey: VerifierKey
    cosign: Callable[[str, int], NoteSignature]
    """A line over a checkpoint's text, of this time in POSIX seconds. Raises SignerError."""


class Holding:
    """A copy open for what its writer sends. One thread at a time."""

    def __init__(self, directory: Path, key: ReplicaKey) -> None:
        """`directory`, named by the log's id, holds the copy (`log/`) and evidence against its writer."""
        self.directory = directory
        self._key = key
        self._store = open_store(directory / LOG_DIR, known=JudgesErasures())
        with self._store.exclusive() as head:
            self._rules = read_rules(self._store.source, size=head.size)

    @classmethod
    def create(cls, directory: Path, key: ReplicaKey, shipment: Shipment) -> Holding:
        """Begin a copy with the genesis entry that the shipment starts with. Raises VerificationError."""
        if shipment.start or not shipment.lines:
            raise StaleSizeError(f"nothing is held, entry {shipment.start} was sent first", known_size=0)
        line = shipment.lines[0]
        genesis = parse_genesis(decode_line(line))
        if log_id(genesis.origin) != directory.name:
            raise MalformedShipmentError(
                f"the genesis entry is of {genesis.origin!r}, whose id is not {directory.name}",
                expected=log_id(genesis.origin), found=directory.name,
            )  # fmt: skip
        try:
            disk.make_directories(directory)
        except OSError as error:
            raise disk.storage_error(error, directory, "creating") from None
        leaf = verify_lines(Rules.of(genesis), Head(), [line]).leaves
        create_log(directory / LOG_DIR, NewLog(line, leaf))
        return cls(directory, key)

    @property
    def origin(self) -> str:
        """The log's."""
        return self._store.genesis.origin

    @property
    def copy(self) -> LogSource:
        """What is held, for reading; any thread may use it."""
        return self._store.source

    def head(self) -> Head:
        """What is held, durably."""
        with self._store.exclusive() as head:
            return head

    def checkpoint(self) -> bytes | None:
        """The last checkpoint taken, with this replica's cosignature."""
        return self._store.checkpoint()

    def take(self, shipment: Shipment) -> ReplicaAnswer:
        """Verify, store durably, cosign; in that order.

        Raises StaleSizeError where entries are missing in between, or were too much to read for one
        request (the first of them are then stored), SplitViewError (the evidence is then stored) for
        another history, VerificationError for what does not hold, StorageError.
        """
        with self._store.exclusive() as head:
            if shipment.start > head.size:
                raise StaleSizeError(
                    f"{head.size} entries are held, entry {shipment.start} was sent next",
                    known_size=head.size,
                )
            new = shipment.lines[max(0, head.size - shipment.start) :]
            self._compare(shipment, min(shipment.stop, head.size))
            signed = self._open(shipment.checkpoint) if shipment.checkpoint else None
            self._store.finish_erasure()  # one that was begun before, and could not be done
        at_once = taken_at_once(self._rules.policy, new)
        if new:
            self._commit(new[:at_once])
        with self._store.exclusive() as head:
            if at_once < len(new):
                raise StaleSizeError(
                    f"{head.size} entries are held, the rest changes the policy too often for one request",
                    known_size=head.size,
                )
            cosignatures = self._cosign(head, shipment.checkpoint, signed) if signed is not None else ()
            return ReplicaAnswer(head.size, cosignatures)

    def close(self) -> None:
        """Let go of the files."""
        self._store.close()

    # --- entries ---

    def _compare(self, shipment: Shipment, stop: int) -> None:
        """What is sent again must be what is held: by the leaf hash, as a payload may have been erased."""
        if shipment.start >= stop:
            return
        held = self._store.hashes(0, shipment.start, stop)
        for number, (line, leaf) in enumerate(zip(shipment.lines, held, strict=False), shipment.start):
            stated = decode_line(line).entry_hash
            try:
                same = leaf_hash(bytes.fromhex(stated)) == leaf
            except ValueError:
                raise MalformedEntryError(f"entry {number} states no hash", member="entry_hash") from None
            if not same:
                reason = f"entry {number} is another one than was sent before"
                raise self._split(reason, shipment.checkpoint, number, line)

    def _commit(self, lines: Sequence[bytes]) -> None:
        """Run by run. An entry that erases, signed alone as writers do it, begins a run of its own."""
        cuts = [at for at, line in enumerate(lines) if at and line_erases(line) and ends_batch(lines[at - 1])]
        for start, stop in pairwise([0, *cuts, len(lines)]):
            with self._store.exclusive() as head:
                self._commit_run(head, lines[start:stop])

    def _commit_run(self, head: Head, lines: Sequence[bytes]) -> None:
        genesis = self._store.genesis
        leaves, rules, claims = verify_lines(self._rules, head, lines)
        erasing.check_claims(claims, self._store.source, head.size, lines)
        first = line_erases(lines[0])
        if first is not None:
            self._store.begin_erasure(first)
        room, at = self._store.room(head.size), 0
        for plan in plans(head, lines, room, genesis.settings.segment_entries, leaves):
            # A crash between two of these leaves whole entries: the writer is told how many, and goes on.
            self._store.commit(plan, lines[at : at + len(plan.leaves)])
            at += len(plan.leaves)
        self._rules = rules
        self._store.finish_erasure()
        for entry in filter(None, map(line_erases, lines[1:])):
            # Within a batch: a crash before this leaves what `unerased` reports.
            self._store.begin_erasure(entry)
            self._store.finish_erasure()

    # --- checkpoints ---

    def _open(self, note: bytes) -> Checkpoint:
        return open_log_checkpoint(note, self._store.genesis)

    def _cosign(self, head: Head, note: bytes, checkpoint: Checkpoint) -> tuple[NoteSignature, ...]:
        if checkpoint.size > head.size:
            raise StaleSizeError(
                f"the checkpoint covers {checkpoint.size} entries, {head.size} are held", known_size=head.size
            )
        root = edge_at(checkpoint.size, self._store.hashes).root()
        if root != checkpoint.root:
            raise self._split(
                f"the checkpoint signs another root of the first {checkpoint.size} entries", note
            )
        old = self._store.checkpoint()
        if old is not None and self._open(old).size > checkpoint.size:
            return ()  # consistent, and nothing new: a cosignature says "the largest I have seen"
        parsed, keys = parse_note(note), self._store.genesis.checkpoint_keys
        # Set back, the clock repeats the last time: a later cosignature is never of an earlier time.
        timestamp = max(int(time.time()), self._cosigned_at(old))
        line = self._key.cosign(parsed.text, timestamp)
        # Only lines that were verified: a false one, kept here, would be given to others as this copy's.
        kept = [signed for _, signed in verified_signatures(parsed, keys, verify_checkpoint_signature)]
        # Stored before it is given away: after a crash here the writer asks again, and is answered.
        self._store.replace_checkpoint(old, format_note(parsed.text, [*kept, line]))
        return (line,)

    def _cosigned_at(self, note: bytes | None) -> int:
        """When this replica cosigned the stored checkpoint, in POSIX seconds; 0 if it did not."""
        vkey, note = self._key.vkey, note or b""
        mine = verified_signatures(parse_note(note), [vkey], verify_checkpoint_signature) if note else []
        return max((decode_timestamped(line, vkey.kind)[0] for _, line in mine), default=0)

    def _split(
        self, reason: str, note: bytes, sequence_number: int | None = None, line: bytes | None = None
    ) -> SplitViewError:
        """Evidence, stored before anybody is answered."""
        if note:
            self._open(note)  # only what the log's key signed is evidence against it
        held = self.copy
        our_line = None if sequence_number is None else held.line(sequence_number).decode()
        split = evidence.SplitView(
            origin=self.origin,
            seen_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            reason=reason,
            size=held.size(),
            ours=(self._store.checkpoint() or b"").decode(),
            theirs=note.decode(),
            sequence_number=sequence_number,
            our_line=our_line,
            their_line=None if line is None else line.decode(),
        )
        path = evidence.keep(self.directory, split)
        return SplitViewError(
            reason, ours=split.ours, theirs=split.theirs, sequence_number=sequence_number, path=str(path)
        )
