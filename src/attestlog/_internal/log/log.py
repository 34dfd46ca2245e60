"""The log: create, open, append, checkpoint, close.

    with attestlog.create("audit", origin="example.com/agents") as log:
        receipt = log.append(event_type="ACTION", action_type="deploy", actor_id="agent-7")

An entry's life: draft → validate → govern → plan → sign → commit → receipt.
The caller's thread does the first two (`drafts`), one thread the rest for all
who wait (`Writer.commit`). Reading and verifying need no `Log`; see
`attestlog.verify` and `attestlog.query_log`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import warnings
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypedDict, Unpack, overload
from weakref import WeakMethod, WeakSet, finalize

from attestlog._internal.core.approval import ApprovalRequest
from attestlog._internal.core.batch import Head, Prepared
from attestlog._internal.core.changes import AddHold, AdmitKey, Erase, EraseMany, ReleaseHold, RevokeKey
from attestlog._internal.core.entry import (
    ChangeMembers,
    DraftMembers,
    Entry,
    EventCategory,
    EventType,
    MoreMembers,
    OptionalMembers,
)
from attestlog._internal.core.genesis import Continues, Genesis, Settings
from attestlog._internal.core.note import format_vkey
from attestlog._internal.core.policy import Policy
from attestlog._internal.core.receipt import Receipt
from attestlog._internal.core.rules import Hold, Rules
from attestlog._internal.core.seen_head import with_head
from attestlog._internal.core.signature import BATCH_ENTRIES_MAX, ECDSA_P256
from attestlog._internal.log import opening
from attestlog._internal.log.callers import Caller, caller_of, receipts_of
from attestlog._internal.log.changing import make_change, rotate_key
from attestlog._internal.log.checkpoints import CHECKPOINT_EVERY_S, Checkpoints
from attestlog._internal.log.committer import Committer
from attestlog._internal.log.drafts import AnyDraft, Clock, one_draft, system_clock
from attestlog._internal.log.publication import Publication, Wait, Waits
from attestlog._internal.log.remembered import StateDir
from attestlog._internal.log.replicas import ACK_TIMEOUT_S, called
from attestlog._internal.log.writer import Writer
from attestlog._internal.signers import Passphrase, Signer
from attestlog._internal.storage.contract import Group, Store
from attestlog._internal.storage.resolve import LogName
from attestlog.errors import (
    AttestlogError,
    ClosedError,
    IdempotencyError,
    NotFoundError,
    ReplicationError,
    UncertainCommitError,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

    from attestlog._internal.core.note import NoteSignature
    from attestlog._internal.guard import Guard, GuardMembers, ResumeMembers
    from attestlog._internal.query import FilterMembers
    from attestlog._internal.replication import Work

BATCH_SIZE_BYTES: Final = 8 << 20
"""Bytes a batch gathers before it is closed to others: bounds the memory and the time of one commit."""


class OpenOptions(TypedDict, total=False):
    """Keyword arguments of `Log.open`, for those that pass them on; a test holds them equal."""

    signer: str | Signer | None
    checkpoint_signer: str | Signer | None
    checkpoint_pq_signer: str | Signer | None
    passphrase: Passphrase | None
    any_filesystem: bool
    clock: Clock | None
    ack_replicas: int
    ack_timeout_s: float
    state: StateDir
    checkpoint_every_s: float | None


class Log(Waits):
    """A log open for writing. Threads and tasks may share it, a forked child may go on with it.

    In asyncio: `append_async`, `query_async`, `async with` and guards wait without holding up the loop;
    `submit` does not wait at all. Every other method may wait for the lock, the disk, a signer or a replica,
    and belongs in a thread: `await asyncio.to_thread(log.checkpoint)`.
    """

    def __init__(
        self,
        writer: Writer,
        passphrase: Passphrase | None = None,
        checkpoint_every_s: float | None = CHECKPOINT_EVERY_S,
    ) -> None:
        self._writer, self._passphrase = writer, passphrase
        self._store, self._genesis, self._replicas = writer.store, writer.genesis, writer.replicas
        self._queue: Committer[Receipt] = Committer(writer.commit, BATCH_ENTRIES_MAX, BATCH_SIZE_BYTES)
        self._owed: set[Future[None]] = set()
        work = WeakMethod(self._work)  # a log that nobody has is not kept by what it holds
        self._replicas.work = lambda: called(work)
        self.publication = Publication(self._replicas.work)
        self._checkpoint_every_s = checkpoint_every_s
        self._start_checkpoints()
        _open_logs.add(self)
        self._on_loss()

    # --- opening ---

    @classmethod
    def create(
        cls,
        path: LogName,
        *,
        origin: str,
        signer: str | Signer | None = None,
        checkpoint_signer: str | Signer | None = None,
        checkpoint_pq_signer: str | Signer | None = None,
        algorithm: str = ECDSA_P256,
        policy: Policy | Mapping[str, Any] | None = None,
        batch: bool = True,
        erasable_payloads: bool = False,
        passphrase: Passphrase | None = None,
        any_filesystem: bool = False,
        clock: Clock | None = None,
        settings: Settings | None = None,
        group: Group | None = None,
        state: StateDir = None,
        continues: Continues | None = None,
    ) -> Self:
        """Make a new log, with its genesis entry and first checkpoint, and open it.

        `signer` and `checkpoint_signer` are signer URIs or signers; without one a key file is made
        where keys are kept (see `attestlog._internal.places.keys_dir`), and so it is for a `file:` URI
        naming no file yet. The checkpoint key must be Ed25519. With `checkpoint_pq_signer` every
        checkpoint is signed with ML-DSA-44 as well, and does not count without it. `group`: users of this
        machine who may read or write it beside its owner. `state`: see `open`. `continues`: the log that
        this one goes on from, as `attestlog.carry_over` gives it; the entry says so for good.
        Raises ExistsError, MalformedConfigError, MalformedPolicyError, SignerError or StorageError;
        the log is then not there at all.
        """
        return cls(
            opening.create(
                path, origin=origin, signer=signer, checkpoint_signer=checkpoint_signer,
                checkpoint_pq_signer=checkpoint_pq_signer, algorithm=algorithm, policy=policy,
                settings=settings or Settings(batch=batch, erasable_payloads=erasable_payloads),
                passphrase=passphrase, any_filesystem=any_filesystem, clock=clock or system_clock,
                group=group, state=state, continues=continues,
            ),
            passphrase,
        )  # fmt: skip

    @classmethod
    def open(
        cls,
        path: LogName | Store,
        *,
        signer: str | Signer | None = None,
        checkpoint_signer: str | Signer | None = None,
        checkpoint_pq_signer: str | Signer | None = None,
        passphrase: Passphrase | None = None,
        any_filesystem: bool = False,
        clock: Clock | None = None,
        ack_replicas: int = 0,
        ack_timeout_s: float = ACK_TIMEOUT_S,
        state: StateDir = None,
        checkpoint_every_s: float | None = CHECKPOINT_EVERY_S,
    ) -> Self:
        """Open a log for writing, healing what a crash left (`recovered` says what). Never creates.

        Without signers, the configured ones are opened. `ack_replicas`: an append also waits, for
        `ack_timeout_s` at the most, until so many replicas hold its entry durably; ReplicationError then
        says that it is in the log, and who else has it. `checkpoint_every_s`: at the latest so long after
        an entry a checkpoint covers it, while the log is open; None: only `checkpoint`, `close` and the end
        of a segment make one. `state`: the directory in which this machine remembers what it signed last; by
        default this user's state directory. With signers and `state`, no other file is needed.
        Raises RollbackError for a log with fewer or other entries than were signed or acknowledged here,
        NoStateError where its configuration expects that this is remembered; NotFoundError or another
        StorageError, MalformedConfigError, SignerError.
        """
        return cls(
            opening.open_writer(
                path, signer=signer, checkpoint_signer=checkpoint_signer,
                checkpoint_pq_signer=checkpoint_pq_signer, passphrase=passphrase,
                any_filesystem=any_filesystem, clock=clock or system_clock, ack_replicas=ack_replicas,
                ack_timeout_s=ack_timeout_s, state=state,
            ),
            passphrase,
            checkpoint_every_s,
        )  # fmt: skip

    @classmethod
    async def open_async(cls, path: LogName | Store, **options: Unpack[OpenOptions]) -> Self:
        """`open` in a thread: `async with await Log.open_async("audit") as log`.

        If the task is cancelled while the log is being opened, the log is closed as soon as it is open.
        """
        import asyncio

        pending = asyncio.get_running_loop().run_in_executor(None, partial(cls.open, path, **options))
        try:
            return await asyncio.shield(pending)
        except asyncio.CancelledError:
            pending.add_done_callback(opening.close_opened)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close_async()

    def __repr__(self) -> str:
        return f"Log({self.where!r}, origin={self.origin!r})"

    @property
    def where(self) -> str:
        """What the log is called: a path, or the name that it was opened by. For reading it, too."""
        return self._store.source.where

    @property
    def path(self) -> Path:
        """The log's directory."""
        return Path(self._store.source.where)

    @property
    def origin(self) -> str:
        """The log's name in checkpoints."""
        return self._genesis.origin

    @property
    def genesis(self) -> Genesis:
        """Keys, policy and settings from entry 0."""
        return self._genesis

    @property
    def vkeys(self) -> list[str]:
        """The keys that sign its checkpoints, as text: what a reader must be given to trust a proof."""
        return [format_vkey(key) for key in self._genesis.checkpoint_keys]

    @property
    def rules(self) -> Rules:
        """Signing keys and policy in force, as of the last turn."""
        return self._writer.in_force.rules

    @property
    def holds(self) -> dict[str, Hold]:
        """The legal holds in force, by name. Reading them takes a turn. Raises as `head`."""
        rules: Rules = self._queue.run(self._writer.rules_with_holds)
        return dict(rules.holds)

    @property
    def recovered(self) -> list[str]:
        """What opening or committing had to set aside after a crash, in words."""
        return list(self._store.recovered)

    @property
    def notices(self) -> list[str]:
        """What opening it found that the operator should know, in words: that it was adopted, for one."""
        return list(self._writer.notices)

    # --- writing ---

    @overload
    def append(
        self, draft: AnyDraft, /, *, idempotency_key: str | None = None, wait: Wait = ...
    ) -> Receipt: ...
    @overload
    def append(
        self, /, *, idempotency_key: str | None = None, wait: Wait = ..., **members: Unpack[DraftMembers]
    ) -> Receipt: ...
    def append(
        self,
        draft: AnyDraft | None = None,
        /,
        *,
        idempotency_key: str | None = None,
        wait: Wait = "durable",
        **members: Any,
    ) -> Receipt:
        """Append one entry; when this returns it is durable. Give a draft, or its members.

        `idempotency_key`: for 24 hours the same append under the same key has the first one's receipt, after
        any crash, too. Raises IdempotencyError where it was used for an entry of another action or actor.
        `wait="published"`: it also waits as `wait_published` does, and raises PublicationError as that.
        Raises MalformedEntryError, DerivedMemberError, TooLargeError, KeyFileError, ClockError, SignerError,
        StorageError, ClosedError: nothing was written. UncertainCommitError: nobody can know.
        ReplicationError: it is written here, and not confirmed by as many replicas as were asked for.
        """
        given = one_draft(draft, members)
        if idempotency_key is None and wait == "durable":
            return self._append([self._writer.prepare(given)])[0]
        return self.append_many([given], idempotency_key=idempotency_key, wait=wait)[0]

    def append_many(
        self, drafts: Iterable[AnyDraft], *, idempotency_key: str | None = None, wait: Wait = "durable"
    ) -> list[Receipt]:
        """Append these in order; all are validated before the first is written. Raises as `append`.

        Committed in batches of up to 1,024 that do not cross a segment, or one by one in a log that signs
        each entry alone. Each batch is there whole or not at all, the whole call is not: if a later batch
        fails, the earlier ones stay (`committed` of the error counts them), and so they may after a crash.
        """
        self.publication.check(wait)
        if idempotency_key is not None:
            receipts = self.append_by(caller_of(idempotency_key), list(drafts))[0]
        else:
            receipts = self._append([self._writer.prepare(draft) for draft in drafts])
        return self._awaited(receipts, wait)

    def append_unredacted(self, drafts: Iterable[AnyDraft]) -> list[Receipt]:
        """`append_many` with nothing redacted: for evidence that must stay as it is, such as an older log."""
        return self._append([self._writer.prepare(draft, redact=False) for draft in drafts])

    @overload
    def submit(self, draft: AnyDraft, /, *, wait: Wait = ...) -> Future[Receipt]: ...
    @overload
    def submit(
        self, draft: None = None, /, *, wait: Wait = ..., **m: Unpack[DraftMembers]
    ) -> Future[Receipt]: ...
    def submit(
        self, draft: AnyDraft | None = None, /, *, wait: Wait = "durable", **members: Any
    ) -> Future[Receipt]:
        """Append without waiting: the future has the outcome of `append`. It cannot be cancelled.

        Raises at once what is wrong with the draft, and ClosedError. Callbacks of the future run in a
        background thread, one after the other; they may append.
        """
        self.publication.check(wait)
        future = self._queue.submit(self._writer.prepare(one_draft(draft, members)))
        soon = self._queue.call_soon
        return self._publication_of(self._replicas.confirmed(future, soon), wait, soon)

    @overload
    async def append_async(self, draft: AnyDraft, /, *, wait: Wait = ...) -> Receipt: ...
    @overload
    async def append_async(
        self, draft: None = None, /, *, wait: Wait = ..., **m: Unpack[DraftMembers]
    ) -> Receipt: ...
    async def append_async(
        self, draft: AnyDraft | None = None, /, *, wait: Wait = "durable", **members: Any
    ) -> Receipt:
        """`append` for asyncio: only the task waits. Cancelled, the entry may be appended all the same.

        A note of the CancelledError names the entry then, to look for. Who needs the receipt waits for the
        future of `submit`, which keeps it:
        `future = log.submit(…); receipt = await asyncio.wrap_future(future)`.
        """
        import asyncio

        self.publication.check(wait)
        prepared = self._writer.prepare(one_draft(draft, members))
        try:
            receipt = await self._queue.append_async(prepared)
            confirmation = self._replicas.confirmation([receipt])
            if confirmation is not None:
                await asyncio.wrap_future(confirmation)
            if wait == "published":
                await self.published(receipt)
        except asyncio.CancelledError as error:
            error.add_note(f"entry {prepared.entry_id} of {self.origin} may be in the log, now or soon")
            raise
        return receipt

    def append_by(self, caller: Caller, drafts: Sequence[AnyDraft]) -> tuple[list[Receipt], int]:
        """`append_many` for a caller of whom the log asserts something; see `log.callers`.

        Returns the receipts, and how many of these entries were in the log already, by the caller's key.
        Raises as `append_many`, and IdempotencyError for a key that was used for other entries.
        """
        found: list[Receipt] = []
        while True:
            try:
                prepared = self._prepare_by(caller, drafts, len(found))
                return found + self._append(prepared), len(found)
            except AttestlogError as error:
                found = self._found(caller, drafts, error, len(found))
            if len(found) == len(drafts):
                return found, len(found)

    async def append_by_async(self, caller: Caller, draft: AnyDraft) -> tuple[Receipt, int]:
        """`append_by` of one draft, while only the task waits."""
        import asyncio

        try:
            (prepared,) = self._prepare_by(caller, [draft], 0)
            receipt = await self._queue.append_async(prepared)
        except AttestlogError as error:
            (receipt,) = await asyncio.to_thread(self._found, caller, [draft], error, 0)
            return receipt, 1
        confirmation = self._replicas.confirmation([receipt])
        if confirmation is not None:
            await asyncio.wrap_future(confirmation)
        return receipt, 0

    def _prepare_by(self, caller: Caller, drafts: Sequence[AnyDraft], start: int) -> list[Prepared]:
        asserted = caller.asserted
        return [
            self._writer.prepare(draft, asserted=asserted, ordinal=ordinal)
            for ordinal, draft in enumerate(drafts[start:], start)
        ]

    def _found(
        self, caller: Caller, drafts: Sequence[AnyDraft], error: AttestlogError, known: int
    ) -> list[Receipt]:
        """What is in the log under the caller's key by now; if nothing, raises the error of the append."""
        if isinstance(error, UncertainCommitError | ReplicationError) or not caller.key:
            raise error
        if isinstance(error, IdempotencyError):
            numbers = list(error.sequence_numbers)
        else:
            # The rules may forbid by now what is in the log since before.
            numbers = self._queue.run(partial(self._writer.find_key, caller.asserted))
        if len(numbers) <= known:
            raise error
        return receipts_of(self._store.source, numbers, drafts)

    def _append_own(self, draft: AnyDraft) -> Receipt:
        """Append an entry of the log itself, with a name that callers cannot append. Raises as `append`."""
        (receipt,) = self._append([self._writer.prepare(draft, by_log=True)])
        return receipt

    def check(self, draft: AnyDraft) -> None:
        """Raises what `append` would raise for this draft before anything is written; writes nothing."""
        self._writer.prepare(draft)

    def action(self, action_type: str, *, actor_id: str, **members: Unpack[OptionalMembers]) -> Receipt:
        """Append an ACTION: something was executed. This and the next five raise as `append`."""
        return self._append_event(EventType.ACTION, action_type, actor_id, members)

    def decision(self, action_type: str, *, actor_id: str, **members: Unpack[OptionalMembers]) -> Receipt:
        """Append a DECISION: something was decided, or left undone."""
        return self._append_event(EventType.DECISION, action_type, actor_id, members)

    def violation(self, action_type: str, *, actor_id: str, **members: Unpack[OptionalMembers]) -> Receipt:
        """Append a VIOLATION: an invariant was broken, or an attempt blocked. An ERROR by default."""
        return self._append_event(
            EventType.VIOLATION, action_type, actor_id, {"event_category": EventCategory.ERROR, **members}
        )

    def change(self, action_type: str, *, actor_id: str, **members: Unpack[OptionalMembers]) -> Receipt:
        """Append a CHANGE: rules, keys or configuration were modified."""
        return self._append_event(EventType.CHANGE, action_type, actor_id, members)

    def boot(self, action_type: str, *, actor_id: str, **members: Unpack[OptionalMembers]) -> Receipt:
        """Append a BOOT: a system started. The entry says which head of the log it saw."""
        return self._append_event(EventType.BOOT, action_type, actor_id, with_head(members, self.head()))

    def shutdown(self, action_type: str, *, actor_id: str, **members: Unpack[OptionalMembers]) -> Receipt:
        """Append a SHUTDOWN: a system stopped in order. The entry says which head of the log it saw."""
        return self._append_event(EventType.SHUTDOWN, action_type, actor_id, with_head(members, self.head()))

    # --- keys, holds, erasures ---

    def rotate_key(
        self,
        new_signer: str | Signer | None = None,
        *,
        algorithm: str | None = None,
        **members: Unpack[ChangeMembers],
    ) -> Receipt:
        """Append the change to another signing key, which takes the place of the one that signs here.

        `new_signer`: a signer or its URI; without one, or for a `file:` URI naming no file yet, a key file
        is made, of `algorithm` or else of the old key's. `members`: further members of the draft.
        The configuration names the new signer afterwards. The old one can be destroyed.
        Raises as `append`, and RuleChangeError if the key was in force before.
        """
        return rotate_key(self, new_signer, algorithm, members, Caller())

    def admit_key(self, consent: Mapping[str, Any], **members: Unpack[ChangeMembers]) -> Receipt:
        """Append that a further key, of another host, signs beside those in force.

        `consent`: what `consent_to_admission` made with that key. `members`: further members of the draft,
        such as the approvals that the policy asks for.
        Raises as `append`, and RuleChangeError if the key was in force before, or an approval is missing.
        """
        return make_change(self, AdmitKey(consent=dict(consent), members={**members}))

    def revoke_key(
        self, key_id: str, *, reason: str, last_trusted: int, **members: Unpack[ChangeMembers]
    ) -> Receipt:
        """Append that what this key signed after entry `last_trusted` is not to be trusted.

        The key in force must be rotated first. `members`: further members of the draft.
        Raises as `append`, and RuleChangeError if the key cannot be revoked so.
        """
        change = RevokeKey(key_id=key_id, reason=reason, last_trusted=last_trusted, members={**members})
        return make_change(self, change)

    def add_hold(
        self,
        name: str,
        *,
        reason: str,
        actor_id: str,
        start: int = 0,
        stop: int | None = None,
        **members: Unpack[MoreMembers],
    ) -> Receipt:
        """Forbid erasing the payloads of entries `start` up to `stop` (None: without end) until released.

        Raises as `append`, and RuleChangeError for a name that is taken or an approval that is missing.
        """
        given = {"actor_id": actor_id, **members}
        return make_change(self, AddHold(name=name, reason=reason, start=start, stop=stop, members=given))

    def release_hold(
        self, name: str, *, reason: str, actor_id: str, **members: Unpack[MoreMembers]
    ) -> Receipt:
        """End a legal hold. Raises as `append`, and RuleChangeError if no hold has this name."""
        given = {"actor_id": actor_id, **members}
        return make_change(self, ReleaseHold(name=name, reason=reason, members=given))

    def erase(
        self,
        sequence_number: int,
        *,
        reason: str,
        actor_id: str,
        legal_basis: str | None = None,
        **members: Unpack[MoreMembers],
    ) -> Receipt:
        """Replace one payload by null, and append the CHANGE entry that says so, and why.

        The entry, the chain, the tree and all signatures still verify. `members`: further members of the
        draft, such as the approvals that the policy asks for. What stands in other members of the entry, in
        backups and in proofs that were handed out stays; see docs/spec/erasure.md.
        Raises ErasureRefusedError (a legal hold, the policy, an approval that is missing), NotFoundError,
        and as `append`. A StorageError with `erased_by` says that the entry is there and the payload not
        gone yet: the next opening finishes it.
        """
        given = {"actor_id": actor_id, **members}
        change = Erase(sequence_number=sequence_number, reason=reason, legal_basis=legal_basis, members=given)
        return make_change(self, change)

    def erase_many(
        self,
        action_types: Sequence[str],
        *,
        reason: str,
        actor_id: str,
        start: int | None = None,
        stop: int | None = None,
        older_than: str | None = None,
        legal_basis: str | None = None,
        **members: Unpack[MoreMembers],
    ) -> Receipt:
        """Erase the payloads of a range together, and append the one CHANGE entry that says so, and why.

        `action_types`: globs; payloads of entries go whose type matches one. `start`: the first entry, by
        default that of the first such payload. `stop`: one past the last; by default the end of the log.
        `older_than`: only entries from before this time, RFC 3339 or so long ago (`90d`). All else as for
        `erase`. If a hold or the policy keeps one of these payloads, or the log cannot do without it, none
        goes: ErasureRefusedError names the first. The log's lock is held until all segments are written.
        Raises QueryError for a time that cannot be read.
        """
        change = EraseMany(
            action_types=[action_types] if isinstance(action_types, str) else list(action_types),
            reason=reason, legal_basis=legal_basis, start=start, stop=stop, older_than=older_than,
            members={"actor_id": actor_id, **members},
        )  # fmt: skip
        return make_change(self, change)

    # --- acts and approvals ---

    def guard(self, *, action_type: str, actor_id: str, **members: Unpack[GuardMembers]) -> Guard:
        """Decide, act, record: `with log.guard(...) as act:`, `async with`, or a decorator.

        Further members of the draft are those of the act: `action_payload`, `pillars_scores`,
        `provided_proofs`, `conflicts_detected` … Beside them:
        `event_type`: ACTION, or CHANGE. `approvals`: signed approvals at hand.
        `ask`: a directory in which to put a request and look for approvals, where the policy asks for some;
        `ask_timeout_s`: for how long (None: without end).
        `snapshot`: bytes or a path; its hash becomes `rollback_snapshot_hash`.
        `rollback`: called with the act when it raises; needs a snapshot.

        Entering raises ActionBlockedError where the policy forbids the act, and as `append` where the log
        cannot write, unless the policy lets acts of this type go on. Leaving re-raises what the act raised.
        """
        from attestlog._internal.guard import Guard

        return Guard(self, action_type=action_type, actor_id=actor_id, **members)

    def begin(self, *, action_type: str, actor_id: str, **members: Unpack[GuardMembers]) -> Guard:
        """A guard that is entered: for an act that another call ends, by `act.end(result, error=…)`."""
        return self.guard(action_type=action_type, actor_id=actor_id, **members).__enter__()

    async def begin_async(self, *, action_type: str, actor_id: str, **members: Unpack[GuardMembers]) -> Guard:
        """`begin` while only the task waits; `await act.end_async(…)` ends it."""
        return await self.guard(action_type=action_type, actor_id=actor_id, **members).__aenter__()

    def resume(self, request: ApprovalRequest | bytes, /, **members: Unpack[ResumeMembers]) -> Guard:
        """The guarded act that people were asked to approve, in another call, task or process.

        `request`: what `log.request` or `guard.request` gave, or the bytes of its file: all that is kept of
        an act while it waits. Its payload, with its salt, and all other members are taken from it, and not
        made again. Nothing is written, and nothing used up, before the act is entered. It is a guard like any
        other, but for one act: it decorates no function. Beside `approvals`, `ask`, `ask_timeout_s`,
        `rollback` and `snapshot` (of the state now) are those of `guard`.

        `intent`: the act was begun elsewhere, and this is its intent (a receipt, or the entry that a query
        found): it is not entered again, and `act.end(…)` ends it.

        Raises MalformedApprovalError for what is no request, ApprovalRefusedError for one of another log,
        ValueError unless the act is an ACTION or a CHANGE, and for an intent of another act. Entering raises
        ApprovalRefusedError where the log's policy redacts more of the payload by now.
        """
        from attestlog._internal.guard import Guard

        return Guard.resumed(self, request, **members)

    @overload
    def request(self, draft: AnyDraft, /) -> ApprovalRequest: ...
    @overload
    def request(self, draft: None = None, /, **members: Unpack[DraftMembers]) -> ApprovalRequest: ...
    def request(self, draft: AnyDraft | None = None, /, **members: Any) -> ApprovalRequest:
        """What to give to those who must approve this draft: redacted, and salted, as it will be written.

        `attestlog.approved_draft(request, approvals)` is then what to append. Raises as `check`.
        """
        writer = self._writer
        return writer.drafts.request(one_draft(draft, members), self.rules, writer.in_force.algorithm)

    def storable_payload(self, payload: Mapping[str, Any], action_type: str) -> dict[str, Any]:
        """The payload as it will stand in an entry of this type: what is to be approved, and hashed.

        Secrets are redacted; where payloads are salted, it has its salt. `append` leaves it as it is.
        """
        return self._writer.drafts.storable_payload(payload, self.rules, action_type)

    def now_us(self) -> int:
        """The log's clock: microseconds since 1970."""
        return self._writer.clock()

    # --- the head, proofs, readers ---

    def checkpoint(self) -> bytes:
        """Sign and store the current head as a C2SP checkpoint; returns the note.

        Raises ConsistencyError, and signs nothing, if the head is not consistent with the last checkpoint.
        """
        note: bytes = self._queue.run(self._writer.checkpoint)
        return note

    def prove(self, sequence_number: int, *, payload: bool = True) -> bytes:
        """A proof file for one entry, with or without its payload: see `attestlog._internal.proving.prove`.

        Against the stored checkpoint; a new one is signed if that does not cover the entry yet.
        """
        from attestlog._internal.proving import prove

        try:
            return prove(self._store.source, sequence_number, payload=payload)
        except NotFoundError:
            return prove(self._store.source, sequence_number, payload=payload, checkpoint=self.checkpoint())

    def head(self) -> Head:
        """Size, last hash and right edge, after everything that other processes made durable by now."""
        head: Head = self._queue.run(self._writer.head)
        return head

    def sync_replicas(self) -> Iterator[tuple[str, AttestlogError | None]]:
        """Send each replica all there is, now: its URL, and why it lacks something, if it does."""
        return self._replicas.sync()

    def query(self, **members: Unpack[FilterMembers]) -> Iterator[Entry]:
        """The entries a filter asks for: `log.query(event_type="VIOLATION", since="7d")`.

        Members and errors as for `attestlog._internal.query.query_log`, which needs no open log.
        """
        from attestlog._internal.query import query_log

        return query_log(self._store.source, **members)

    def query_async(self, **members: Unpack[FilterMembers]) -> AsyncIterator[Entry]:
        """`query` for asyncio: `async for entry in log.query_async(since="7d")`."""
        from attestlog._internal.query import query_log_async

        return query_log_async(self._store.source, **members)

    def close(self) -> None:
        """Commit what is waiting, sign a checkpoint over all of it, close store and keys.

        May be called twice. Raises SignerError or StorageError if there is no checkpoint; it is closed then.
        """
        self._wait_for_owed()
        self.publication.close()
        self._checkpoints.close()
        self._replicas.close()
        with contextlib.suppress(ClosedError):
            self._queue.close(self._writer.close)

    def owe(self, ended: Future[None], /) -> None:
        """Have `close` wait for this future: until it is done, entries may follow that no caller waits for.

        A guard's, whose caller was interrupted: what becomes of the act is recorded in the background.
        """
        self._owed.add(ended)
        ended.add_done_callback(self._owed.discard)

    async def close_async(self) -> None:
        """`close` in a thread, which ends even if the task is cancelled."""
        import asyncio

        await asyncio.to_thread(self.close)

    # --- within ---

    def _wait_for_owed(self) -> None:
        # The queue's own thread would wait for itself: it is what runs the callbacks that are owed.
        if not self._queue.is_own_thread():
            for ended in list(self._owed):
                ended.result()

    def _append(self, prepared: list[Prepared]) -> list[Receipt]:
        receipts = self._queue.append(prepared) if prepared else []
        confirmation = self._replicas.confirmation(receipts)
        if confirmation is not None:
            confirmation.result()
        return receipts

    def _append_event(
        self, event_type: EventType, action_type: str, actor_id: str, members: OptionalMembers
    ) -> Receipt:
        return self.append(
            {"event_type": event_type, "action_type": action_type, "actor_id": actor_id, **members}
        )

    def _work(self) -> Work:
        """What senders of this log's replicas need of it."""
        from attestlog._internal.replication import Work

        def keep(text: str, lines: tuple[NoteSignature, ...]) -> None:
            self._queue.run(partial(self._writer.add_cosignatures, text, lines))

        def record(members: dict[str, Any]) -> None:
            self._queue.submit(self._writer.prepare(members))

        return Work(self._store.source, self.origin, self.checkpoint, keep, record)

    def _start_checkpoints(self) -> None:
        self._checkpoints = Checkpoints(self._checkpoint_every_s, self.checkpoint)
        self._writer.committed = self._checkpoints.notify

    def _on_loss(self) -> None:
        """A log that is dropped without `close` leaves no descriptor open. It signs no last checkpoint."""
        self._finalizer = finalize(self, self._queue.leave, self._writer.release)
        self._finalizer.atexit = False

    def _follow_fork(self) -> None:
        """In a forked child: a queue of its own, and descriptors that do not share its parent's lock."""
        self._finalizer.detach()
        self._queue = self._queue.renewed()
        self._owed = set()  # what is owed is the parent's, and so is publishing
        self.publication = Publication(self.publication.work)
        self._writer.follow_fork()
        self._on_loss()
        self._start_checkpoints()
        self._replicas.follow_fork()
        self._store.release()


_open_logs: Final[WeakSet[Log]] = WeakSet()


def _follow_fork() -> None:
    for log in list(_open_logs):
        log._follow_fork()


def _close_at_exit() -> None:
    """A program that ends with logs open loses nothing of what it submitted, or is told."""
    for log in list(_open_logs):
        if log._store.is_released:
            continue  # a forked child's, which never used it
        try:
            log.close()
        except AttestlogError as error:
            warnings.warn(f"{log!r} was not closed at exit: {error}", RuntimeWarning, stacklevel=1)


os.register_at_fork(after_in_child=_follow_fork)
atexit.register(_close_at_exit)
