"""The writer: everything that is done while holding the log's lock.

`commit` is the page to read: how the entries of all who wait become durable.
One thread of one process at a time is in here, because the queue (`committer`)
lets only one in and each turn takes the log's lock. What callers want enters
as `Prepared`, made by `drafts` in their own threads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from attestlog._internal.config import change_config, find_config, with_signers
from attestlog._internal.core.batch import Head, Plan, Prepared, plan_batch
from attestlog._internal.core.checkpoint import Checkpoint
from attestlog._internal.core.entry import decode_line, format_timestamp
from attestlog._internal.core.erasure import AnyErasure, Erasure, Limits, check_payloads, describe
from attestlog._internal.core.genesis import open_log_checkpoint
from attestlog._internal.core.merkle import edge_at
from attestlog._internal.core.note import NoteSignature, format_note, parse_note
from attestlog._internal.core.receipt import Receipt
from attestlog._internal.core.reserved import ROTATE_SIGNING_KEY, SIGNER_OUTAGE
from attestlog._internal.core.rotation import Rotation, format_rotation, rotation_message
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.signature import BATCH_ENTRIES_MAX, PublicKey
from attestlog._internal.log.callers import KnownKeys
from attestlog._internal.log.committer import Group, Turn
from attestlog._internal.log.drafts import AnyDraft, Clock, Drafts, change_draft, erasure_draft
from attestlog._internal.log.erasing import WantedPayloads, plan_erasure
from attestlog._internal.log.keys import InForce, KeyHolder, sign_head, sign_plan
from attestlog._internal.log.remembered import Remembered
from attestlog._internal.log.replicas import Replicas
from attestlog._internal.log.uses import PlannedUses, UsedRequests
from attestlog._internal.signers import Signer
from attestlog._internal.signers.asking import sign_message
from attestlog._internal.storage.contract import Store
from attestlog.errors import (
    AttestlogError,
    ConsistencyError,
    CorruptError,
    ErasureRefusedError,
    HashMismatchError,
    MalformedEntryError,
    SignerError,
    StorageError,
)

MESSAGE_LENGTH_MAX: Final = 400
"""Characters of an error's message that an outage's entry keeps: it may come from a device's library."""


class _Signed(NamedTuple):
    """A batch that only has to be stored."""

    plan: Plan
    lines: list[bytes]
    rules: Rules
    """Those in force after it."""


class Writer:
    """The store, the keys and the clock of one open log.

    `prepare` and the attributes may be used by any thread, all else by the one that has the turn.
    """

    def __init__(
        self,
        store: Store,
        in_force: InForce,
        *,
        holders: Sequence[KeyHolder],
        drafts: Drafts,
        replicas: Replicas,
        clock: Clock,
        remembered: Remembered,
        notices: Sequence[str] = (),
    ) -> None:
        self.remembered, self.notices = remembered, list(notices)
        self.store, self.genesis = store, store.genesis
        self.in_force, self.holders = in_force, holders
        self.drafts, self.replicas, self.clock = drafts, replicas, clock
        self.committed: Callable[[], None] = lambda: None
        """Called after each commit of the queue, by the thread that has the turn."""
        self._used = UsedRequests(store.source, in_force)
        self._keyed = KnownKeys(store.source)
        self._outage = _Outage()

    def prepare(
        self,
        draft: AnyDraft,
        *,
        redact: bool = True,
        by_log: bool = False,
        asserted: Mapping[str, str] | None = None,
        ordinal: int = 0,
    ) -> Prepared:
        """A draft, by the rules in force as of the last turn. Arguments and errors as of `Drafts.prepare`."""
        rules, algorithm = self.in_force.rules, self.in_force.algorithm
        return self.drafts.prepare(
            draft, rules, algorithm, redact=redact, by_log=by_log, asserted=asserted, ordinal=ordinal
        )

    # --- a turn of the queue ---

    def commit(self, turn: Turn[Receipt]) -> None:
        """Commit those who wait in the queue: one group, one signature, one flush.

        Each step takes what the one before it gave, and changes nothing else: another group can be taken,
        planned and signed while this one is flushed.
        Raises ClockError, SignerError, RuleChangeError, StorageError: nothing is written, and the group is
        told so. UncertainCommitError: nobody can know.
        """
        # Take the log's lock, and those who wait by then.
        with self.store.exclusive() as head:
            self._catch_up(head)
            room = min(self.store.room(head.size), BATCH_ENTRIES_MAX)
            # Of an outage the first batch afterwards tells, if it has room for one entry more.
            own = (
                [self.prepare(self._outage.draft(), by_log=True)]
                if self._outage.has_been and room > 1
                else []
            )
            group = turn.take(room - len(own))
            # A caller whose idempotency key is in the log already learns it before anything else is judged:
            # the entry was good when it was written.
            now_us = self.clock()
            self._check_keys(head, now_us, group)
            # Renew what was prepared under other rules. A caller whose draft they forbid is told, alone.
            # So is one whose approvals were used for another entry: one request, one act.
            self._renew(group)
            uses = self._check_uses(head, now_us, own, group)
            if not group.shares:
                return
            prepared = own + group.prepared
            try:
                key, signer = self.in_force.signer()
                # Plan: number, chain, hash, grow the tree.
                plan = self._plan(head, prepared, key, now_us)
                # Sign; check the signatures, and that a change of the rules holds. Up to here a failure
                # leaves nothing that has to be undone.
                signed = self._sign(plan, key, signer)
            except SignerError as error:
                self._outage.add(error, len(prepared) - len(own), self.clock())
                raise
            # Commit: when this returns, the entries survive a loss of power.
            receipts = self._commit(signed)
            self._used.commit(uses, head, signed.plan.head.size)
            self._keyed.commit(signed.plan, head)
            if own:
                self._outage = _Outage()
        # Hand out. The lock is free by now: no other process waits for that.
        group.hand_out(receipts[len(own) :])
        self.committed()
        self.replicas.notify()

    def rotate(self, new: Signer, members: Mapping[str, Any], asserted: Mapping[str, str]) -> Receipt:
        """Commit the rotation to the key of `new`, and sign with it from then on.

        `members`: of the draft, beside its payload. `asserted`: what the entry says of the caller.
        """
        with self.store.exclusive() as head:
            self._catch_up(head)
            key, signer = self.in_force.signer()
            message = rotation_message(self.genesis.origin, key.key_id, new.public_key.key_id, head.size)
            rotation = Rotation(new.public_key, sign_message(new, new.public_key, message))
            change = change_draft(ROTATE_SIGNING_KEY, format_rotation(rotation), members)
            prepared = self.prepare(change, by_log=True, asserted=asserted)
            signed = self._sign(self._plan_alone(head, prepared, key), key, signer)
            log, config = self.store.source, find_config(self.store.source)
            # A crash after this leaves a configuration that names both signers: the one that holds the key
            # in force when the log is opened signs. One that names the new signer already may be read-only.
            if config is not None and new.uri not in config.signers.entries:
                change_config(log, partial(with_signers, entry=[new.uri, *config.signers.entries]))
            (receipt,) = self._commit(signed)
            self.in_force.adopt(new)
            # The entry is durable: a configuration that cannot be written now takes nothing back.
            if config is not None:
                with contextlib.suppress(AttestlogError):
                    change_config(log, partial(with_signers, entry=new.uri))
            return receipt

    def erase(
        self,
        sequence_number: int,
        reason: str,
        legal_basis: str | None,
        members: Mapping[str, Any],
        asserted: Mapping[str, str],
    ) -> Receipt:
        """Commit the entry that says that this payload is erased, and erase it.

        `members`, `asserted`: as for `rotate`. Raises ErasureRefusedError, NotFoundError.
        """
        with self.store.exclusive() as head:
            self._catch_up(head)
            self.store.finish_erasure()  # one that was begun before comes first
            target = self.store.source.entry(sequence_number)
            if target.action_payload is None:
                raise ErasureRefusedError(
                    f"the payload of entry {sequence_number} is erased already",
                    sequence_number=sequence_number, rule="erased",
                )  # fmt: skip
            erasure = Erasure.of(target, reason, legal_basis)
            return self._erase(head, erasure, erasure_draft(erasure, members), asserted)

    def erase_many(
        self, wanted: WantedPayloads, members: Mapping[str, Any], asserted: Mapping[str, str]
    ) -> Receipt:
        """Commit the entry that says that the payloads of a range are erased, and erase them: all or none.

        `members`, `asserted`: as for `rotate`. Raises ErasureRefusedError, which names the first that must
        stay, NotFoundError.
        """
        with self.store.exclusive() as head:
            self._catch_up(head)
            self.store.finish_erasure()
            erasure = plan_erasure(self.store.source, wanted, head.size)
            return self._erase(head, erasure, erasure_draft(erasure, members), asserted)

    def _erase(
        self, head: Head, erasure: AnyErasure, draft: Mapping[str, Any], asserted: Mapping[str, str]
    ) -> Receipt:
        self.in_force.read_holds()
        prepared = self.prepare(draft, by_log=True, asserted=asserted)
        self._check_erasure(erasure, prepared)
        key, signer = self.in_force.signer()
        signed = self._sign(self._plan_alone(head, prepared, key), key, signer)
        self.store.begin_erasure(decode_line(signed.lines[0]))
        # A crash here leaves a beginning that no entry speaks of: the store forgets it.
        (receipt,) = self._commit(signed)
        # A crash here, or a disk that is full, leaves payloads where they are until the next opening.
        try:
            self.store.finish_erasure()
        except StorageError as error:
            number = erasure.reach.start
            raise StorageError(
                f"entry {receipt.sequence_number} says that {describe(erasure)} is erased, and it is not yet:"
                f" {error.message}",
                sequence_number=number, erased_by=receipt.sequence_number,
            ) from error  # fmt: skip
        return receipt

    def checkpoint(self) -> bytes:
        """Sign and store the head as a checkpoint, unless the last one covers it; the note."""
        with self.store.exclusive():
            return self._checkpoint_at(self.store.certain_head())

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

    def rules_with_holds(self) -> Rules:
        """The rules in force, after everything that other processes made durable, legal holds included."""
        with self.store.exclusive() as head:
            self.in_force.catch_up(head)
            return self.in_force.read_holds()

    def find_key(self, asserted: Mapping[str, str]) -> list[int]:
        """The entries of the last 24 hours under this caller's idempotency key, in order."""
        with self.store.exclusive() as head:
            self.in_force.catch_up(head)
            return self._keyed.find(asserted, head, self.clock())

    def head(self) -> Head:
        """The head, after everything that other processes made durable."""
        with self.store.exclusive() as head:
            self.in_force.catch_up(head)
            return head

    def close(self) -> None:
        """Sign a last checkpoint, and close store and keys."""
        try:
            # A forked child that never used the log has nothing to say about it.
            if self.holders and not self.store.is_released:
                with self.store.exclusive():
                    self._checkpoint_at(self.store.certain_head())
        finally:
            self.store.close()
            self._keyed.close()
            self.remembered.close()
            self.in_force.close()
            for signer, _ in self.holders:
                signer.close()

    def follow_fork(self) -> None:
        """In a forked child: what is open in a file that the parent has, too, is read again."""
        self._keyed = KnownKeys(self.store.source)

    def release(self) -> None:
        """Close what a log that nobody has any more holds open; nothing is signed."""
        self.store.close()
        self.remembered.close()
        self._keyed.close()

    # --- the steps ---

    def _catch_up(self, head: Head) -> None:
        """Having the lock, learn what other processes wrote, and close a segment that is full."""
        self.in_force.catch_up(head)
        is_full = self.store.room(head.size) == self.genesis.settings.segment_entries
        if is_full and self.store.is_certain:
            # A full segment is closed by a checkpoint, so that opening never reads more than one. If it
            # cannot be signed, nobody waits for it: the next checkpoint, or close, says what is wrong.
            with contextlib.suppress(AttestlogError):
                self._checkpoint_at(head)

    def _renew(self, group: Group[Receipt]) -> None:
        """Prepare the group's entries again where another policy or key came in force meanwhile."""
        rules, algorithm = self.in_force.rules, self.in_force.algorithm
        for share in list(group.shares):
            try:
                share.prepared = [
                    item
                    if item.policy is rules.policy and item.algorithm == algorithm
                    else self.drafts.renew(item, rules, algorithm)
                    for item in share.prepared
                ]
            except AttestlogError as error:
                group.refuse(share, error)

    def _check_keys(self, head: Head, now_us: int, group: Group[Receipt]) -> None:
        """Refuse those of the group whose entry, by its idempotency key, is there already or in the batch."""
        planned: set[bytes] = set()
        for share in list(group.shares):
            try:
                self._keyed.check(share.prepared[0], head, now_us, planned)
            except AttestlogError as error:
                group.refuse(share, error)

    def _check_uses(self, head: Head, now_us: int, own: list[Prepared], group: Group[Receipt]) -> PlannedUses:
        """Refuse those of the group whose approvals were used before, in the log or in the batch."""
        uses = self._used.plan(head, now_us)
        number = head.size + len(own)
        for share in list(group.shares):
            try:
                uses.add(share.prepared, number)
            except AttestlogError as error:
                group.refuse(share, error)
            else:
                number += len(share.prepared)
        return uses

    def _plan(self, head: Head, prepared: list[Prepared], key: PublicKey, now_us: int) -> Plan:
        return plan_batch(
            head, prepared, now_us, algorithm=key.algorithm, key_id=key.key_id,
            batched=self.genesis.settings.batch, pointers=self.in_force.rules.pointers,
        )  # fmt: skip

    def _plan_alone(self, head: Head, prepared: Prepared, key: PublicKey) -> Plan:
        """Of an entry that has a batch of its own. Raises ApprovalUsedError."""
        now_us = self.clock()
        uses = self._used.plan(head, now_us)
        uses.add([prepared], head.size)
        return self._plan(head, [prepared], key, now_us)

    def _sign(self, plan: Plan, key: PublicKey, signer: Signer) -> _Signed:
        """Raises SignerError, or RuleChangeError: what would not hold is refused before it is stored."""
        lines = plan.seal(sign_plan(signer, key, plan))
        return _Signed(plan, lines, self.in_force.rules_after(plan, lines))

    def _commit(self, signed: _Signed) -> list[Receipt]:
        plan, lines, rules = signed
        self.store.commit(plan, lines)
        # A crash here leaves entries that nobody was told of: the next opening finds more than is remembered.
        self.remembered.committed(plan.head)
        # A crash here loses nothing: the next entry's pointers lead to the rules.
        self.in_force.advance(plan.head, rules)
        facts = zip(plan.prepared, plan.entry_hashes, lines, strict=True)
        return [
            Receipt(number, item.entry_id, entry_hash, plan.timestamp, line)
            for number, (item, entry_hash, line) in enumerate(facts, plan.head.size - len(lines))
        ]

    def _check_erasure(self, erasure: AnyErasure, prepared: Prepared) -> None:
        """Raises ErasureRefusedError unless all these payloads may go, by this entry, now."""
        rules, draft, reach = self.in_force.rules, prepared.draft, erasure.reach
        limits = Limits.of(rules, erasure, format_timestamp(self.clock()))
        try:
            check_payloads(limits, erasure, self.store.source.lines(reach.start, reach.stop))
        except (MalformedEntryError, HashMismatchError) as error:
            what = f"entries {reach.start} to {reach.stop - 1} cannot be erased from: {error}"
            raise CorruptError(what, path=self.store.source.where, repair="entries") from None
        what = describe(erasure)
        for denial in rules.policy.demand(draft.event_type, draft.action_type, draft.actor_id).denials:
            raise ErasureRefusedError(
                f"{what} stays: rule {denial.rule!r} denies it: {denial.reason}",
                sequence_number=reach.start, rule="deny",
            )  # fmt: skip
        for member in ("quorum_met", "proofs_valid"):
            if not getattr(prepared, member):
                raise ErasureRefusedError(
                    f"{what} stays: {member} is false, and the policy asks for it",
                    sequence_number=reach.start, rule="approval",
                )  # fmt: skip

    def _checkpoint_at(self, head: Head) -> bytes:
        if not self.holders:
            raise SignerError(
                f"the checkpoints of {self.genesis.origin} are signed elsewhere: no key for them is here",
                reason="elsewhere",
            )
        old = self.store.checkpoint()
        if old is not None and self._covers(old, head):
            return old
        now = Checkpoint(self.genesis.origin, head.size, head.edge.root())
        self.remembered.will_sign(self.store, head, now)
        # A crash here leaves the memory of a checkpoint that nobody has: the log has what it covers.
        note = sign_head(self.holders, now, self.clock())
        # So does a crash here; and one was signed that nobody has.
        self.store.replace_checkpoint(old, note)
        return note

    def _covers(self, old: bytes, head: Head) -> bool:
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


class _Outage:
    """A time in which nothing could be signed, told by the log itself once it can sign again.

    What cannot be signed cannot be written, so the failure becomes an entry after the fact: first in the
    first batch that is signed again, durable with it or not at all. It is remembered in this process only.
    """

    def __init__(self) -> None:
        self._first_us = self._last_us = self._refused = 0
        self._error: SignerError | None = None

    @property
    def has_been(self) -> bool:
        """Whether there is something to tell."""
        return self._error is not None

    def add(self, error: SignerError, refused_entries: int, now_us: int) -> None:
        """Another batch of so many entries could not be signed."""
        if self._error is None:
            self._first_us = now_us
        self._last_us, self._error = now_us, error
        self._refused += refused_entries

    def draft(self) -> dict[str, Any]:
        """The members of the entry that tells of it."""
        assert self._error is not None
        message = self._error.message
        if len(message) > MESSAGE_LENGTH_MAX:
            message = f"{message[:MESSAGE_LENGTH_MAX]}…"
        payload = {
            "error": self._error.code,
            "message": message,
            "first_failure": format_timestamp(self._first_us),
            "last_failure": format_timestamp(self._last_us),
            "refused_entries": self._refused,
        }
        members = {"event_category": "ERROR", "actor_id": "attestlog", "actor_type": "SYSTEM"}
        return change_draft(SIGNER_OUTAGE, payload, members)
