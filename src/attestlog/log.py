"""The log: create, open, append, checkpoint, close.

    with attestlog.create("audit", origin="example.com/agents") as log:
        receipt = log.append(event_type="ACTION", action_type="deploy", actor_id="agent-7")

An entry's life: draft → validate → govern → plan → sign → commit → receipt.
The first two happen in the caller's thread, the rest in a turn of the
committer. Reading and verifying need no `Log`; see `attestlog.verify` and
`attestlog.query`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from weakref import WeakSet

from attestlog import committer
from attestlog.core.batch import Head, Plan, Prepared, plan_batch, prepare
from attestlog.core.checkpoint import Checkpoint, check_origin, open_checkpoint, sign_checkpoint
from attestlog.core.entry import Entry, EntryDraft, EventType, decode_line, parse_draft
from attestlog.core.genesis import Genesis, Settings, Software, check_settings, draft_genesis
from attestlog.core.merkle import edge_from_stored, stored_ranges
from attestlog.core.note import ED25519 as NOTE_ED25519
from attestlog.core.note import VerifierKey
from attestlog.core.policy import Policy, format_policy, parse_policy
from attestlog.core.signature import BATCH_ENTRIES_MAX, ECDSA_P256, ED25519, PublicKey
from attestlog.errors import (
    AttestlogError,
    ClosedError,
    ConsistencyError,
    MalformedConfigError,
    SignatureInvalidError,
    SignerError,
)
from attestlog.ids import new_entry_id
from attestlog.signers import Passphrase, Signer
from attestlog.signers.asking import ask, bad_signature
from attestlog.signers.making import given_or_made, given_or_opened
from attestlog.storage.creation import check_free, create_directory
from attestlog.storage.disk import check_filesystem
from attestlog.storage.files import FileStore
from attestlog.storage.layout import LogConfig, Signers
from attestlog.version import VERSION

if TYPE_CHECKING:
    from concurrent.futures import Future

Clock = Callable[[], int]
"""Microseconds since 1970, UTC."""

BATCH_SIZE_BYTES: Final = 8 << 20
"""Bytes a batch gathers before it is closed to others: bounds the memory and the time of one commit."""


class Receipt:
    """What `append` returns: the entry is durable."""

    __slots__ = ("_line", "entry_hash", "entry_id", "sequence_number", "timestamp")

    def __init__(
        self, sequence_number: int, entry_id: str, entry_hash: str, timestamp: str, line: bytes
    ) -> None:
        self.sequence_number = sequence_number
        self.entry_id = entry_id
        self.entry_hash = entry_hash
        self.timestamp = timestamp
        self._line = line

    def __repr__(self) -> str:
        return f"Receipt(sequence_number={self.sequence_number}, entry_hash={self.entry_hash!r})"

    @property
    def line(self) -> bytes:
        """The canonical bytes that were stored (without line end)."""
        return self._line

    @property
    def entry(self) -> Entry:
        """The entry as stored, decoded from those bytes."""
        return decode_line(self._line)


class Log:
    """A log open for writing. Threads and tasks may share it, a forked child may go on with it."""

    def __init__(
        self, store: FileStore, entry_signer: Signer, checkpoint_signer: Signer, clock: Clock
    ) -> None:
        self._store = store
        self._entry_signer, self._checkpoint_signer = entry_signer, checkpoint_signer
        self._clock = clock
        self._genesis = store.genesis
        self._key = _entry_key(store.genesis, entry_signer)
        self._vkey = _checkpoint_key(store.genesis, checkpoint_signer)
        self._environment = _environment()
        self._committer: committer.Committer[Receipt] = committer.Committer(
            self._commit, BATCH_ENTRIES_MAX, BATCH_SIZE_BYTES
        )
        _open_logs.add(self)

    # --- opening ---

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        origin: str,
        signer: str | Signer | None = None,
        checkpoint_signer: str | Signer | None = None,
        algorithm: str = ECDSA_P256,
        policy: Policy | Mapping[str, Any] | None = None,
        batch: bool = True,
        erasable_payloads: bool = False,
        passphrase: Passphrase | None = None,
        any_filesystem: bool = False,
        clock: Clock | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Make a new log, with its genesis entry and first checkpoint, and open it.

        `signer` and `checkpoint_signer` are signer URIs or signers; without one a key file is made
        where keys are kept (see `attestlog.signers.file.keys_dir`), and so it is for a `file:` URI
        naming no file yet. The checkpoint key must be Ed25519.
        Raises ExistsError, MalformedConfigError, MalformedPolicyError, SignerError or StorageError;
        the log is then not there at all.
        """
        check_origin(origin)
        root = Path(path).absolute()
        check_free(root)
        if not any_filesystem:
            check_filesystem(root)
        # Objects made by hand have been checked by nobody.
        rules = format_policy(policy) if isinstance(policy, Policy) else dict(policy or {})
        policy = parse_policy(rules)
        settings = settings or Settings(batch=batch, erasable_payloads=erasable_payloads)
        check_settings(settings)
        clock = clock or system_clock
        with contextlib.ExitStack() as undo:
            made = given_or_made(signer, origin=origin, role="entry", algorithm=algorithm)
            entry_signer = given_or_opened(made, passphrase, undo)
            made = given_or_made(checkpoint_signer, origin=origin, role="checkpoint", algorithm=ED25519)
            check_signer = given_or_opened(made, passphrase, undo)
            vkey = _vkey(origin, check_signer)
            key = entry_signer.public_key
            genesis = Genesis(
                origin, {key.key_id: key}, [vkey], policy, settings, Software("attestlog", VERSION)
            )
            first = prepare(
                draft_genesis(genesis), policy, entry_id=new_entry_id(), environment=_environment()
            )
            plan = plan_batch(
                Head(), [first], clock(), algorithm=key.algorithm, key_id=key.key_id, batched=False
            )
            (line,) = plan.seal(_sign_all(entry_signer, key, plan))
            note = _sign_checkpoint(check_signer, vkey, Checkpoint(origin, 1, plan.head.edge.root()))
            signers = Signers(entry=entry_signer.uri, checkpoint=check_signer.uri)
            config = LogConfig(origin=origin, settings=settings, signers=signers)
            create_directory(root, config, line, plan.leaves[0], note)
            log = cls(FileStore(root, any_filesystem=any_filesystem), entry_signer, check_signer, clock)
            undo.pop_all()
            return log

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        signer: str | Signer | None = None,
        checkpoint_signer: str | Signer | None = None,
        passphrase: Passphrase | None = None,
        any_filesystem: bool = False,
        clock: Clock | None = None,
    ) -> Self:
        """Open a log for writing, healing what a crash left (`recovered` says what). Never creates.

        Without signers, those named in log.toml are opened.
        Raises NotFoundError or another StorageError, MalformedConfigError, SignerError.
        """
        store = FileStore(Path(path).absolute(), any_filesystem=any_filesystem)
        with contextlib.ExitStack() as undo:
            undo.callback(store.close)
            entry_signer = given_or_opened(signer or store.signers.entry, passphrase, undo)
            check_signer = given_or_opened(checkpoint_signer or store.signers.checkpoint, passphrase, undo)
            log = cls(store, entry_signer, check_signer, clock or system_clock)
            undo.pop_all()
            return log

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Log({str(self.path)!r}, origin={self.origin!r})"

    @property
    def path(self) -> Path:
        """The log's directory."""
        return self._store.root

    @property
    def origin(self) -> str:
        """The log's name in checkpoints."""
        return self._genesis.origin

    @property
    def genesis(self) -> Genesis:
        """Keys, policy and settings from entry 0."""
        return self._genesis

    @property
    def recovered(self) -> list[str]:
        """What opening or committing had to set aside after a crash, in words."""
        return list(self._store.recovered)

    # --- writing ---

    def append(self, draft: EntryDraft | Mapping[str, Any] | None = None, /, **members: Any) -> Receipt:
        """Append one entry; when this returns it is durable. Give a draft, or its members.

        Raises MalformedEntryError, DerivedMemberError, TooLargeError, ClockError, SignerError,
        StorageError, ClosedError: nothing was written. UncertainCommitError: nobody can know.
        """
        return self._committer.append((self._prepare(_one_draft(draft, members)),))[0]

    def append_many(self, drafts: Iterable[EntryDraft | Mapping[str, Any]]) -> list[Receipt]:
        """Append these in order; all are validated before the first is written.

        Committed in batches of up to 1,024 that do not cross a segment: each batch is there whole or
        not at all. If a later batch fails, the earlier ones stay (the error says so).
        """
        prepared = [self._prepare(draft) for draft in drafts]
        return self._committer.append(prepared) if prepared else []

    def submit(
        self, draft: EntryDraft | Mapping[str, Any] | None = None, /, **members: Any
    ) -> Future[Receipt]:
        """Append without waiting: the future's result is the receipt. Bad drafts raise here, at once."""
        return self._committer.submit(self._prepare(_one_draft(draft, members)))

    async def append_async(
        self, draft: EntryDraft | Mapping[str, Any] | None = None, /, **members: Any
    ) -> Receipt:
        """`append` for asyncio: the task waits, the event loop does not."""
        return await self._committer.append_async(self._prepare(_one_draft(draft, members)))

    def action(self, action_type: str, *, actor_id: str, **members: Any) -> Receipt:
        """Append an ACTION: something was executed."""
        return self._event(EventType.ACTION, action_type, actor_id, members)

    def decision(self, action_type: str, *, actor_id: str, **members: Any) -> Receipt:
        """Append a DECISION: something was decided, or left undone."""
        return self._event(EventType.DECISION, action_type, actor_id, members)

    def violation(self, action_type: str, *, actor_id: str, **members: Any) -> Receipt:
        """Append a VIOLATION: an invariant was broken, or an attempt blocked."""
        return self._event(EventType.VIOLATION, action_type, actor_id, members)

    def change(self, action_type: str, *, actor_id: str, **members: Any) -> Receipt:
        """Append a CHANGE: rules, keys or configuration were modified."""
        return self._event(EventType.CHANGE, action_type, actor_id, members)

    def boot(self, action_type: str, *, actor_id: str, **members: Any) -> Receipt:
        """Append a BOOT: a system started."""
        return self._event(EventType.BOOT, action_type, actor_id, members)

    def shutdown(self, action_type: str, *, actor_id: str, **members: Any) -> Receipt:
        """Append a SHUTDOWN: a system stopped in order."""
        return self._event(EventType.SHUTDOWN, action_type, actor_id, members)

    def checkpoint(self) -> bytes:
        """Sign and store the current head as a C2SP checkpoint; returns the note.

        Raises ConsistencyError, and signs nothing, if the head is not consistent with the last checkpoint.
        """
        note: bytes = self._committer.run(self._checkpoint)
        return note

    def head(self) -> Head:
        """Size, last hash and right edge, with everything other processes made durable taken in."""
        head: Head = self._committer.run(self._head)
        return head

    def query(self, **members: Any) -> Iterator[Entry]:
        """The entries a filter asks for: `log.query(event_type="VIOLATION", since="7d")`.

        Members and errors as for `attestlog.query.query_log`, which needs no open log.
        """
        from attestlog.query import query_log

        return query_log(self.path, **members)

    def close(self) -> None:
        """Commit what is waiting, sign a checkpoint over all of it, let go. May be called twice."""
        with contextlib.suppress(ClosedError):
            self._committer.close(self._close)

    # --- turns ---

    def _event(
        self, event_type: EventType, action_type: str, actor_id: str, members: dict[str, Any]
    ) -> Receipt:
        return self.append(event_type=event_type, action_type=action_type, actor_id=actor_id, **members)

    def _prepare(self, draft: EntryDraft | Mapping[str, Any]) -> Prepared:
        # A draft made by hand has been checked by nobody.
        draft = parse_draft(draft if isinstance(draft, EntryDraft) else dict(draft))
        salt = os.urandom(16).hex() if self._genesis.settings.erasable_payloads else None
        return prepare(
            draft, self._genesis.policy, entry_id=new_entry_id(), environment=self._environment, salt=salt
        )

    def _follow_fork(self) -> None:
        """In a forked child: a queue of its own, and descriptors that do not share its parent's lock."""
        self._committer = self._committer.renewed()
        self._store.let_go()

    def _commit(self, take: committer.Take) -> list[Receipt]:
        with self._store.exclusive() as head:
            if self._store.room(head.size) == self._genesis.settings.segment_entries:
                # A full segment is closed by a checkpoint, so that opening never reads more than one. That
                # it cannot be signed holds nobody up: the next checkpoint, or close, says what is wrong.
                with contextlib.suppress(AttestlogError):
                    self._checkpoint_at(head)
            prepared = take(self._store.room(head.size))
            plan = plan_batch(
                head, prepared, self._clock(), algorithm=self._key.algorithm, key_id=self._key.key_id,
                batched=self._genesis.settings.batch,
            )  # fmt: skip
            lines = plan.seal(_sign_all(self._entry_signer, self._key, plan))
            self._store.commit(plan, lines)
        entries = [item.entry for item in prepared]
        return [
            Receipt(entry.sequence_number, entry.entry_id, entry.entry_hash, entry.timestamp, line)
            for entry, line in zip(entries, lines, strict=True)
        ]

    def _checkpoint(self) -> bytes:
        with self._store.exclusive() as head:
            return self._checkpoint_at(head)

    def _checkpoint_at(self, head: Head) -> bytes:
        old = self._store.checkpoint()
        if old is not None and self._continues(old, head):
            return old
        note = _sign_checkpoint(
            self._checkpoint_signer, self._vkey, Checkpoint(self.origin, head.size, head.edge.root())
        )
        self._store.replace_checkpoint(old, note)
        return note

    def _continues(self, old: bytes, head: Head) -> bool:
        """Whether the last checkpoint covers the head already. Raises ConsistencyError if it is no prefix."""
        last = open_checkpoint(old, self._genesis.checkpoint_keys)
        root = b""
        if last.size <= head.size:
            root = edge_from_stored(
                last.size, [self._store.hashes(*run) for run in stored_ranges(last.size)]
            ).root()
        if root != last.root or last.origin != self.origin:
            raise ConsistencyError(
                f"the last checkpoint covers {last.size} entries that are not a prefix of these {head.size}",
                expected=last.root.hex(), found=root.hex(),
            )  # fmt: skip
        return last.size == head.size

    def _head(self) -> Head:
        with self._store.exclusive() as head:
            return head

    def _close(self) -> None:
        try:
            # A forked child that never used the log has nothing to say about it.
            if self._store.is_open:
                self._checkpoint()
        finally:
            self._store.close()
            self._entry_signer.close()
            self._checkpoint_signer.close()


def system_clock() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1_000


def _one_draft(
    draft: EntryDraft | Mapping[str, Any] | None, members: dict[str, Any]
) -> EntryDraft | Mapping[str, Any]:
    if draft is None:
        return members
    if members:
        raise TypeError("append takes a draft or members, not both")
    return draft


def _environment() -> dict[str, str]:
    """What every entry says of the machine and software: no host name, no user, no secret."""
    system = os.uname()
    version = ".".join(map(str, sys.version_info[:3]))
    return {
        "attestlog": VERSION,
        "os": f"{system.sysname} {system.release} {system.machine}",
        "runtime": f"{sys.implementation.name} {version}",
    }


def _vkey(origin: str, signer: Signer) -> VerifierKey:
    key = signer.public_key
    if key.algorithm != ED25519:
        raise MalformedConfigError(
            f"checkpoint key is {key.algorithm}, want {ED25519}", member="checkpoint_signer"
        )
    return VerifierKey(origin, NOTE_ED25519, key.key.public_bytes_raw())  # type: ignore[union-attr]


def _entry_key(genesis: Genesis, signer: Signer) -> PublicKey:
    key = genesis.entry_keys.get(signer.public_key.key_id)
    if key is None:
        raise SignerError(
            f"signer holds key {signer.public_key.key_id[:16]}, the log is signed by "
            f"{', '.join(key_id[:16] for key_id in genesis.entry_keys)}",
            expected=list(genesis.entry_keys), found=signer.public_key.key_id,
        )  # fmt: skip
    return key


def _checkpoint_key(genesis: Genesis, signer: Signer) -> VerifierKey:
    vkey = _vkey(genesis.origin, signer)
    if vkey not in genesis.checkpoint_keys:
        raise SignerError(f"checkpoint signer holds key {vkey.key_id.hex()}, which is not the log's")
    return vkey


def _sign_all(signer: Signer, key: PublicKey, plan: Plan) -> list[bytes]:
    """A signature for each message, each verified before anything is stored."""
    signatures = []
    for message in plan.messages:
        signature = ask(signer, message)
        try:
            key.verify(signature, message)
        except SignatureInvalidError:
            raise bad_signature(signer) from None
        signatures.append(signature)
    return signatures


def _sign_checkpoint(signer: Signer, vkey: VerifierKey, checkpoint: Checkpoint) -> bytes:
    """The signed note, verified before it is stored."""
    try:
        return sign_checkpoint(checkpoint, [(vkey, partial(ask, signer))])
    except SignatureInvalidError:
        raise bad_signature(signer) from None


_open_logs: Final[WeakSet[Log]] = WeakSet()


def _follow_fork() -> None:
    for log in list(_open_logs):
        log._follow_fork()


os.register_at_fork(after_in_child=_follow_fork)
