"""A log in another process, as if it were open here: append, guard, query, prove.

    with attestlog.connect("unix:/run/attestlog/log.sock") as log:
        log.append(event_type="ACTION", action_type="deploy", actor_id="agent-7")

The service holds the log and its keys, redacts, signs and decides what is written. The same policy decides
here whether a guarded act may begin.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Self, Unpack, overload
from urllib.parse import urlencode

import msgspec

from attestlog._internal.core import canonical
from attestlog._internal.core.approval import (
    Approval,
    ApprovalRequest,
    format_approval,
    format_request,
    make_request,
    parse_approval,
    parse_request,
)
from attestlog._internal.core.batch import Head
from attestlog._internal.core.changes import (
    AddHold,
    AdmitKey,
    AnyChange,
    Erase,
    EraseMany,
    ReleaseHold,
    RevokeKey,
    RotateKey,
    format_change,
    parse_head,
)
from attestlog._internal.core.entry import (
    ChangeMembers,
    DraftMembers,
    Entry,
    EntryDraft,
    EntryRef,
    EventCategory,
    EventType,
    MoreMembers,
    OptionalMembers,
    decode_line,
    encode_member,
    parse_draft,
)
from attestlog._internal.core.pointer import RULES_MEMBER, Pointers
from attestlog._internal.core.policy import parse_policy
from attestlog._internal.core.receipt import Receipt
from attestlog._internal.core.rules import Hold, Rules
from attestlog._internal.core.seen_head import with_head
from attestlog._internal.core.signature import BATCH_ENTRIES_MAX
from attestlog._internal.guard import Guard, GuardMembers, ResumeMembers
from attestlog._internal.ids import new_entry_id
from attestlog._internal.net import read_token
from attestlog._internal.remote.asking import Asker, Wanted
from attestlog.errors import AttestlogError, ClosedError, LogError, UncertainCommitError

if TYPE_CHECKING:
    from attestlog._internal.query import FilterMembers

TIMEOUT_S: Final = 30.0
"""How long an append is tried before its outcome is unknown: a service that starts again is up by then."""

RULES_FOR_S: Final = 1.0
"""How long the rules that were asked for are used, unless an entry shows others before."""

REQUEST_SIZE_BYTES: Final = 8 << 20
"""Bytes of drafts in one request: a batch of the log gathers as many."""

AnyDraft = EntryDraft | Mapping[str, Any]

_STATES: Final = frozenset({200, 503})
"""Of an answer that says whether the service is ready."""


def connect(
    url: str,
    *,
    token: str | None = None,
    token_file: str | os.PathLike[str] | None = None,
    log: str | None = None,
    ca_file: str | None = None,
    timeout_s: float = TIMEOUT_S,
) -> RemoteLog:
    """A log that `attestlog serve log` holds, at `unix:PATH`, `https://HOST` or `http://` on this machine.

    Over a socket no token is needed where the service knows this process's user. `log`: its origin, where the
    service has several. `ca_file`: authorities to trust instead of the usual ones. `timeout_s`: how long an
    append is tried. Nothing is asked yet: a service that is away is seen when it is used.
    Raises MalformedConfigError.
    """
    if token_file is not None:
        token = read_token(os.fspath(token_file))
    return RemoteLog(lambda: Asker(url, token, ca_file, timeout_s, log), url)


class _Told(msgspec.Struct):
    """The service's receipt."""

    sequence_number: int
    entry_id: str
    entry_hash: str
    timestamp: str
    entry: msgspec.Raw


class _Facts(msgspec.Struct):
    """What the service says of its log."""

    origin: str
    genesis: str
    pointer: str
    policy: dict[str, Any]
    policy_by: EntryRef
    vkeys: list[str]
    now_us: int


class _PageTold(msgspec.Struct):
    entries: list[msgspec.Raw]
    next_cursor: int | None


@dataclass(slots=True)
class _Known:
    rules: Rules
    facts: _Facts
    at: float


class RemoteLog:
    """A log that another process writes. Threads and tasks may share it; a forked child may go on with it."""

    def __init__(self, new_asker: Any, url: str) -> None:
        """See `connect`."""
        self._new_asker, self.where = new_asker, url
        self._asker: Asker = new_asker()
        self._pid = os.getpid()
        self._known: _Known | None = None
        self._seen_pointer = ""
        self._mutex = threading.Lock()
        self._owed: set[Future[None]] = set()
        self._waiting: SimpleQueue[tuple[bytes, Future[Receipt]] | None] = SimpleQueue()
        self._sender: threading.Thread | None = None
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close_async()

    def __repr__(self) -> str:
        return f"RemoteLog({self.where!r})"  # it holds the token

    # --- what the log is ---

    @property
    def origin(self) -> str:
        """The log's name in checkpoints."""
        return self._facts().facts.origin

    @property
    def rules(self) -> Rules:
        """The policy in force: at most a second old, and never older than what was appended here."""
        return self._facts().rules

    @property
    def vkeys(self) -> list[str]:
        """The keys that sign its checkpoints, as its own service says."""
        return self._facts().facts.vkeys

    def now_us(self) -> int:
        """The log's clock: microseconds since 1970."""
        known = self._facts()
        return known.facts.now_us + int((time.monotonic() - known.at) * 1e6)

    def state(self) -> str:
        """`ready`, or why the service takes no acts. Needs no token. Raises StorageError."""
        told = msgspec.json.decode(self._at_hand().ask(Wanted("GET", "readyz"), _STATES), type=dict[str, str])
        return told["status"]

    # --- writing ---

    @overload
    def append(self, draft: AnyDraft, /, *, idempotency_key: str | None = None) -> Receipt: ...
    @overload
    def append(
        self,
        draft: None = None,
        /,
        *,
        idempotency_key: str | None = None,
        **members: Unpack[DraftMembers],
    ) -> Receipt: ...
    def append(
        self, draft: AnyDraft | None = None, /, *, idempotency_key: str | None = None, **members: Any
    ) -> Receipt:
        """Append one entry; when this returns it is durable. Give a draft, or its members.

        `idempotency_key`: within 24 hours the same append under the same key has the first one's receipt.
        Without it one is made, for the tries of this call.
        Raises as `Log.append`. StorageError with `retryable`: the service cannot be reached, nothing is
        written. UncertainCommitError: it could not be settled: append the same again with its
        `idempotency_key`.
        """
        body = _encode(_one_draft(draft, dict(members)))
        self._check_open()
        (receipt,) = self._post(body, 1, idempotency_key or str(uuid.uuid4()))
        return receipt

    def append_many(self, drafts: Iterable[AnyDraft], *, idempotency_key: str | None = None) -> list[Receipt]:
        """Append these in order. Raises as `append`; `committed` of the error counts what is in the log."""
        self._check_open()
        key, receipts = idempotency_key or str(uuid.uuid4()), []
        for number, group in enumerate(_grouped([_encode(draft) for draft in drafts])):
            own = f"{key}.{number}" if number else key
            try:
                receipts += self._post(b"[" + b",".join(group) + b"]", len(group), own)
            except AttestlogError as error:
                committed = len(receipts) + error.committed
                raise error.with_evidence(committed=committed) if committed else error from None
        return receipts

    @overload
    def submit(self, draft: AnyDraft, /) -> Future[Receipt]: ...
    @overload
    def submit(self, draft: None = None, /, **members: Unpack[DraftMembers]) -> Future[Receipt]: ...
    def submit(self, draft: AnyDraft | None = None, /, **members: Any) -> Future[Receipt]:
        """Append without waiting: the future has the outcome of `append`. Entries follow in this order.

        Raises at once what is wrong with the draft, and ClosedError.
        """
        body, future = _encode(_one_draft(draft, dict(members))), Future[Receipt]()
        future.set_running_or_notify_cancel()
        with self._mutex:
            self._check_open()
            if self._sender is None:
                self._sender = threading.Thread(target=self._send, name="attestlog-remote", daemon=True)
                self._sender.start()
            self._waiting.put((body, future))
        return future

    @overload
    async def append_async(self, draft: AnyDraft, /) -> Receipt: ...
    @overload
    async def append_async(self, draft: None = None, /, **members: Unpack[DraftMembers]) -> Receipt: ...
    async def append_async(self, draft: AnyDraft | None = None, /, **members: Any) -> Receipt:
        """`append` for asyncio: only the task waits. Cancelled, the entry may be appended all the same."""
        return await asyncio.wrap_future(self.submit(draft, **members))

    def action(self, action_type: str, *, actor_id: str, **members: Unpack[OptionalMembers]) -> Receipt:
        """Append an ACTION. This and the next three raise as `append`."""
        return self._append_event(EventType.ACTION, action_type, actor_id, members)

    def decision(self, action_type: str, *, actor_id: str, **members: Unpack[OptionalMembers]) -> Receipt:
        """Append a DECISION."""
        return self._append_event(EventType.DECISION, action_type, actor_id, members)

    def violation(self, action_type: str, *, actor_id: str, **members: Unpack[OptionalMembers]) -> Receipt:
        """Append a VIOLATION; an ERROR by default."""
        given: OptionalMembers = {"event_category": EventCategory.ERROR, **members}
        return self._append_event(EventType.VIOLATION, action_type, actor_id, given)

    def change(self, action_type: str, *, actor_id: str, **members: Unpack[OptionalMembers]) -> Receipt:
        """Append a CHANGE."""
        return self._append_event(EventType.CHANGE, action_type, actor_id, members)

    def boot(self, action_type: str, *, actor_id: str, **members: Unpack[OptionalMembers]) -> Receipt:
        """Append a BOOT: a system started. The entry says which head of the log it saw."""
        return self._append_event(EventType.BOOT, action_type, actor_id, with_head(members, self.head()))

    def shutdown(self, action_type: str, *, actor_id: str, **members: Unpack[OptionalMembers]) -> Receipt:
        """Append a SHUTDOWN: a system stopped in order. The entry says which head of the log it saw."""
        return self._append_event(EventType.SHUTDOWN, action_type, actor_id, with_head(members, self.head()))

    # --- keys, holds, erasures: with the scope `admin` ---
    #
    # None of them is asked for twice: after a failure that leaves it open UncertainCommitError says so.

    def rotate_key(self, *, algorithm: str | None = None, **members: Unpack[ChangeMembers]) -> Receipt:
        """Have the service change to a new signing key, in a key file that it makes.

        Raises as `Log.rotate_key`, and ForbiddenError where the log's key is in a device or a service: then
        it is rotated where the log is, which is also where another signer is named.
        """
        return self._change(RotateKey(algorithm=algorithm, members={**members}))

    def admit_key(self, consent: Mapping[str, Any], **members: Unpack[ChangeMembers]) -> Receipt:
        """As `Log.admit_key`."""
        return self._change(AdmitKey(consent=dict(consent), members={**members}))

    def revoke_key(
        self, key_id: str, *, reason: str, last_trusted: int, **members: Unpack[ChangeMembers]
    ) -> Receipt:
        """As `Log.revoke_key`."""
        change = RevokeKey(key_id=key_id, reason=reason, last_trusted=last_trusted, members={**members})
        return self._change(change)

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
        """As `Log.add_hold`."""
        given = {"actor_id": actor_id, **members}
        return self._change(AddHold(name=name, reason=reason, start=start, stop=stop, members=given))

    def release_hold(
        self, name: str, *, reason: str, actor_id: str, **members: Unpack[MoreMembers]
    ) -> Receipt:
        """As `Log.release_hold`."""
        return self._change(ReleaseHold(name=name, reason=reason, members={"actor_id": actor_id, **members}))

    def erase(
        self,
        sequence_number: int,
        *,
        reason: str,
        actor_id: str,
        legal_basis: str | None = None,
        **members: Unpack[MoreMembers],
    ) -> Receipt:
        """As `Log.erase`."""
        given = {"actor_id": actor_id, **members}
        change = Erase(sequence_number=sequence_number, reason=reason, legal_basis=legal_basis, members=given)
        return self._change(change)

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
        """As `Log.erase_many`."""
        change = EraseMany(
            action_types=[action_types] if isinstance(action_types, str) else list(action_types),
            reason=reason, legal_basis=legal_basis, start=start, stop=stop, older_than=older_than,
            members={"actor_id": actor_id, **members},
        )  # fmt: skip
        return self._change(change)

    # --- acts and approvals ---

    def guard(self, *, action_type: str, actor_id: str, **members: Unpack[GuardMembers]) -> Guard:
        """Decide, act, record: as `Log.guard`. Where the service is away, entering raises: no act is done."""
        return Guard(self, action_type=action_type, actor_id=actor_id, **members)

    def begin(self, *, action_type: str, actor_id: str, **members: Unpack[GuardMembers]) -> Guard:
        """A guard that is entered: as `Log.begin`."""
        return self.guard(action_type=action_type, actor_id=actor_id, **members).__enter__()

    async def begin_async(self, *, action_type: str, actor_id: str, **members: Unpack[GuardMembers]) -> Guard:
        """As `Log.begin_async`."""
        return await self.guard(action_type=action_type, actor_id=actor_id, **members).__aenter__()

    def resume(self, request: ApprovalRequest | bytes, /, **members: Unpack[ResumeMembers]) -> Guard:
        """The act that people were asked to approve: as `Log.resume`."""
        return Guard.resumed(self, request, **members)

    @overload
    def request(self, draft: AnyDraft, /) -> ApprovalRequest: ...
    @overload
    def request(self, draft: None = None, /, **members: Unpack[DraftMembers]) -> ApprovalRequest: ...
    def request(self, draft: AnyDraft | None = None, /, **members: Any) -> ApprovalRequest:
        """What to give to those who must approve this draft: as `Log.request`."""
        given = msgspec.to_builtins(parse_draft(_one_draft(draft, dict(members))))
        given["action_payload"] = self.storable_payload(given.get("action_payload", {}), given["action_type"])
        return make_request(given, self.rules.log, new_entry_id())

    def storable_payload(self, payload: Mapping[str, Any], action_type: str) -> dict[str, Any]:
        """The payload as it will stand in an entry of this type: the service redacts and salts it."""
        asked = encode_member("action_payload", {"payload": dict(payload), "action_type": action_type})
        stored: dict[str, Any] = canonical.decode(self._ask("POST", "v1/storable", bytes(asked)))
        return stored

    def propose(self, request: ApprovalRequest) -> None:
        """Leave a request with the service, for those who may approve."""
        self._ask("POST", "v1/requests", format_request(request))

    def requests(self) -> list[ApprovalRequest]:
        """The requests that were left there."""
        told = msgspec.json.decode(self._ask("GET", "v1/requests"), type=dict[str, list[str]])
        return [parse_request(self._ask("GET", f"v1/requests/{name}")) for name in told["requests"]]

    def approve(self, approval: Approval) -> None:
        """Leave a signed approval. Whether it counts is judged where the act is."""
        self._ask("POST", f"v1/requests/{approval.request_id}/approvals", format_approval(approval))

    def approvals(self, request: ApprovalRequest) -> list[Approval]:
        """The approvals of a request that were left so far."""
        data = self._ask("GET", f"v1/requests/{request.request_id}/approvals")
        told = msgspec.json.decode(data, type=dict[str, list[msgspec.Raw]])
        return [parse_approval(bytes(item) + b"\n") for item in told["approvals"]]

    # --- proofs and readers ---

    def checkpoint(self) -> bytes:
        """Have the service sign and store the current head; returns the note. Needs the scope `admin`."""
        return self._ask("POST", "v1/checkpoint", b"")

    def prove(self, sequence_number: int, *, payload: bool = True) -> bytes:
        """A proof file for one entry, with or without its payload."""
        return self._ask("GET", f"v1/entries/{sequence_number}/proof?payload={str(payload).lower()}")

    def query(self, **members: Unpack[FilterMembers]) -> Iterator[Entry]:
        """The entries a filter asks for: members and errors as for `Log.query`."""
        asked: dict[str, Any] = {name: value for name, value in members.items() if value is not None}
        left = asked.pop("limit", None)
        while left is None or left > 0:
            size = 1_000 if left is None else min(left, 1_000)
            page = self._page({**asked, "limit": size})
            yield from (decode_line(bytes(line)) for line in page.entries)
            if page.next_cursor is None:
                return
            asked["cursor"] = page.next_cursor
            left = None if left is None else left - len(page.entries)

    def head(self) -> Head:
        """Size, last hash and right edge, as of now."""
        return parse_head(self._ask("GET", "v1/head"))

    @property
    def holds(self) -> dict[str, Hold]:
        """The legal holds in force, by name. Needs the scope `read`."""
        told = msgspec.json.decode(self._ask("GET", "v1/holds"), type=dict[str, list[Hold]])
        return {hold.name: hold for hold in told["holds"]}

    def tail(self, after: int | None = None) -> Generator[Entry, None, None]:
        """Each entry once it is durable there, without end: those after entry `after`, else the new ones.

        A connection that breaks off is made again, and no entry is left out or comes twice. Raises
        StorageError where the service is away for `timeout_s`.
        """
        last = self.head().size - 1 if after is None else after
        yield from map(decode_line, self._at_hand().follow("v1/tail", last))

    async def query_async(self, **members: Unpack[FilterMembers]) -> AsyncIterator[Entry]:
        """`query` for asyncio."""
        found, ended = self.query(**members), object()
        while (entry := await asyncio.to_thread(next, found, ended)) is not ended:
            yield entry  # type: ignore[misc]

    def close(self) -> None:
        """Send what is waiting, and close the connections. May be called twice. The log stays open there."""
        for owed in list(self._owed):
            owed.result()
        with self._mutex:
            self._is_closed, sender = True, self._sender
        if sender is not None and sender is not threading.current_thread():
            self._waiting.put(None)
            sender.join()
        self._asker.close()

    async def close_async(self) -> None:
        """`close` in a thread, which ends even if the task is cancelled."""
        await asyncio.to_thread(self.close)

    def owe(self, ended: Future[None], /) -> None:
        """Have `close` wait for this future."""
        self._owed.add(ended)
        ended.add_done_callback(self._owed.discard)

    # --- within ---

    def _page(self, asked: Mapping[str, Any]) -> _PageTold:
        pairs = []
        for name, value in asked.items():
            if name in ("payload", "context"):
                pairs += [(name, f"{path}={canonical.encode(item).decode()}") for path, item in value.items()]
            else:
                pairs.append((name, str(value).lower() if isinstance(value, bool) else str(value)))
        return msgspec.json.decode(self._ask("GET", f"v1/entries?{urlencode(pairs)}"), type=_PageTold)

    def _append_event(
        self, event_type: EventType, action_type: str, actor_id: str, members: Mapping[str, Any]
    ) -> Receipt:
        return self.append(
            {"event_type": event_type, "action_type": action_type, "actor_id": actor_id, **members}
        )

    def _change(self, change: AnyChange) -> Receipt:
        self._check_open()
        headers = {"content-type": "application/json"}
        wanted = Wanted("POST", "v1/changes", format_change(change), headers)
        try:
            told = msgspec.json.decode(self._at_hand().once(wanted), type=_Told)
        except msgspec.DecodeError as error:
            raise UncertainCommitError(f"{self.where} answers as no log's service does: {error}") from None
        self._known = None  # the rules may be others by now
        return _receipt(told)

    def _post(self, body: bytes, count: int, key: str) -> list[Receipt]:
        headers = {"idempotency-key": key, "content-type": "application/json"}
        answer = self._at_hand().settle(Wanted("POST", "v1/entries", body, headers), key)
        try:
            told = msgspec.json.decode(answer, type=list[_Told] | _Told)
        except msgspec.DecodeError as error:
            raise UncertainCommitError(
                f"{self.where} answers as no log's service does: {error}", idempotency_key=key
            ) from None
        found = told if isinstance(told, list) else [told]
        if len(found) != count:
            raise UncertainCommitError(
                f"{self.where} answers with {len(found)} receipts, want {count}", idempotency_key=key
            )
        receipts = [_receipt(item) for item in found]
        self._seen_pointer = receipts[-1].entry.environment.get(RULES_MEMBER, "")
        return receipts

    def _send(self) -> None:
        """Send what was submitted, in order, all that waits in one request."""
        ended = False
        while not ended:
            first = self._waiting.get()
            if first is None:
                return
            group, size_bytes = [first], len(first[0])
            while len(group) < BATCH_ENTRIES_MAX and size_bytes < REQUEST_SIZE_BYTES:
                try:
                    item = self._waiting.get_nowait()
                except Empty:
                    break
                if item is None:
                    ended = True
                    break
                group.append(item)
                size_bytes += len(item[0])
            self._send_group(group)

    def _send_group(self, group: Sequence[tuple[bytes, Future[Receipt]]]) -> None:
        body = b"[" + b",".join(draft for draft, _ in group) + b"]"
        try:
            receipts = self._post(body, len(group), str(uuid.uuid4()))
        except BaseException as error:  # noqa: BLE001 - it is the futures' outcome
            is_own = isinstance(error, AttestlogError) and not isinstance(error, UncertainCommitError)
            if len(group) > 1 and is_own and not getattr(error, "committed", 0):
                # One of them is refused, and none was written: each learns what becomes of it alone.
                for item in group:
                    self._send_group([item])
                return
            for _, future in group:
                future.set_exception(error)
            return
        for (_, future), receipt in zip(group, receipts, strict=True):
            future.set_result(receipt)

    def _facts(self) -> _Known:
        known = self._known
        is_old = known is None or time.monotonic() - known.at > RULES_FOR_S
        if known is not None and not is_old and self._seen_pointer in {"", known.facts.pointer}:
            return known
        facts = msgspec.json.decode(self._ask("GET", "v1/rules"), type=_Facts)
        if known is not None and known.facts.genesis != facts.genesis:
            raise LogError(f"{self.where} serves another log than before")
        same = known is not None and known.facts.pointer == facts.pointer
        rules = known.rules if known is not None and same else _rules(facts)
        self._known = _Known(rules, facts, time.monotonic())
        self._seen_pointer = ""
        return self._known

    def _ask(self, method: str, path: str, content: bytes | None = None) -> bytes:
        self._check_open()
        return self._at_hand().ask(Wanted(method, path, content))

    def _at_hand(self) -> Asker:
        """In a forked child: connections of its own."""
        if self._pid != os.getpid():
            self._asker, self._pid = self._new_asker(), os.getpid()
            self._mutex, self._sender, self._waiting = threading.Lock(), None, SimpleQueue()
            self._owed = set()
        return self._asker

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("the connection to the log is closed")


def _receipt(told: _Told) -> Receipt:
    return Receipt(told.sequence_number, told.entry_id, told.entry_hash, told.timestamp, bytes(told.entry))


def _rules(facts: _Facts) -> Rules:
    return Rules(
        facts.origin, {}, parse_policy(facts.policy), {}, read_holds=None, genesis_hash=facts.genesis,
        pointers=Pointers(facts.pointer), policy_by=facts.policy_by,
    )  # fmt: skip


def _one_draft(draft: AnyDraft | None, members: dict[str, Any]) -> AnyDraft:
    if draft is None:
        return members
    if members:
        raise TypeError("append takes a draft or members, not both")
    return draft


def _encode(draft: AnyDraft) -> bytes:
    """The draft as JSON. Raises MalformedEntryError for what is no draft, as a log here does."""
    given = draft if isinstance(draft, EntryDraft) else dict(draft)
    parse_draft(given)
    members = msgspec.to_builtins(given) if isinstance(given, EntryDraft) else given
    plain = {name: str(item) if isinstance(item, StrEnum) else item for name, item in members.items()}
    return bytes(encode_member("draft", plain))


def _grouped(bodies: Sequence[bytes]) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    size_bytes = 0
    for body in bodies:
        if group and (len(group) == BATCH_ENTRIES_MAX or size_bytes + len(body) > REQUEST_SIZE_BYTES):
            yield group
            group, size_bytes = [], 0
        group.append(body)
        size_bytes += len(body)
    if group:
        yield group
