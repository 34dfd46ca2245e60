"""One guarded act, from the intent to the outcome: context manager, decorator, sync and async.

What is appended, and in which order, stands once, in generators that yield
drafts and are given receipts (`_begin`, `_end`); appending with or without
waiting for the thread is all that the two forms differ in.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, ParamSpec, Self, TypedDict, TypeVar, Unpack

from attestlog._internal.core import canonical
from attestlog._internal.core.approval import (
    Approval,
    ApprovalRequest,
    make_request,
    parse_approval,
    parse_request,
    stored_form,
)
from attestlog._internal.core.entry import (
    GUARD,
    INTENT,
    OUTCOME,
    VIOLATION,
    Entry,
    EventType,
    ExecutionStatus,
    UnrelatedMembers,
    format_timestamp,
    parse_draft,
    parse_timestamp,
)
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.core.policy import Policy
from attestlog._internal.core.receipt import Receipt
from attestlog._internal.core.reserved import check_reserved
from attestlog._internal.guard.asking import POLL_S, FileId, find_approvals, write_request
from attestlog._internal.guard.binding import bound_context
from attestlog._internal.guard.checking import (
    QUORUM,
    Reason,
    reason_of_use,
    reasons_against,
    violation_members,
)
from attestlog._internal.guard.contract import GuardedLog
from attestlog._internal.guard.decorating import arguments_payload, decorated
from attestlog._internal.guard.driving import Steps, run, run_alone, run_async
from attestlog._internal.guard.plain import type_name
from attestlog._internal.guard.recording import (
    DENIED,
    KINDS,
    Kind,
    add_note,
    error_members,
    failure_members,
    kind_of,
    message_of,
    not_begun_members,
    result_members,
)
from attestlog._internal.ids import new_entry_id
from attestlog._internal.snapshots import snapshot_hash, verify_snapshot
from attestlog.errors import (
    ActionBlockedError,
    ApprovalRefusedError,
    ApprovalUsedError,
    AttestlogError,
    LogError,
    MalformedError,
    SignerError,
    StorageError,
    TooLargeError,
)

P = ParamSpec("P")
R = TypeVar("R")
DURATION: Final = "duration_us"
"""Member of an outcome's `actor_context`: how many microseconds the act took; 0 if it did not begin."""

Rollback = Callable[["Guard"], Any]
Undone = BaseException | Literal[True]
"""What became of a rollback: what it raised, or that it went through."""
AnyApproval = Approval | Mapping[str, str] | bytes
"""An approval: parsed, as an entry stores it, or the bytes of its file."""

_UNWRITABLE: Final = (StorageError, SignerError, LogError)
"""The log cannot write. What a caller can mend, such as a malformed draft, is not among these."""


class GuardMembers(UnrelatedMembers, total=False):
    """What `Log.guard` takes beside action and actor: members of the act's draft, and how to go about it."""

    dependencies: Iterable[str | Receipt | Entry]
    record_arguments: bool
    record_result: bool

    event_type: Literal[EventType.ACTION, EventType.CHANGE, "ACTION", "CHANGE"]
    action_payload: Mapping[str, Any] | Callable[..., Mapping[str, Any]] | None
    approvals: Iterable[AnyApproval]
    ask: str | os.PathLike[str] | None
    ask_timeout_s: float | None
    rollback: Rollback | None
    snapshot: bytes | str | os.PathLike[str] | None


class ResumeMembers(TypedDict, total=False):
    """What `Log.resume` takes beside the request: how to go about the act. See `Log.guard`."""

    intent: Receipt | Entry | None

    approvals: Iterable[AnyApproval]
    ask: str | os.PathLike[str] | None
    ask_timeout_s: float | None
    rollback: Rollback | None
    snapshot: bytes | str | os.PathLike[str] | None


class Guard:
    """One act. Made by `Log.guard` or `Log.resume`; entered once, or a decorator for as many acts as calls.

    While it lasts: `result` (what to record; a dict, or any JSON value), `intent` (the receipt of the
    DECISION; None if the log could not write and the policy lets the act go on), `outcome` (the receipt of
    the last entry).
    """

    def __init__(
        self,
        log: GuardedLog,
        *,
        action_type: str,
        actor_id: str,
        event_type: Literal[EventType.ACTION, EventType.CHANGE, "ACTION", "CHANGE"] = EventType.ACTION,
        action_payload: Mapping[str, Any] | Callable[..., Mapping[str, Any]] | None = None,
        approvals: Iterable[AnyApproval] = (),
        ask: str | os.PathLike[str] | None = None,
        ask_timeout_s: float | None = None,
        rollback: Rollback | None = None,
        snapshot: bytes | str | os.PathLike[str] | None = None,
        dependencies: Iterable[str | Receipt | Entry] = (),
        record_arguments: bool = True,
        record_result: bool = True,
        **members: Unpack[UnrelatedMembers],
    ) -> None:
        """See `Log.guard`."""
        self._log = log
        self._arguments: dict[str, Any] = {
            "action_type": action_type, "actor_id": actor_id, "event_type": event_type, "ask": ask,
            "ask_timeout_s": ask_timeout_s, "rollback": rollback, "snapshot": snapshot,
            "dependencies": tuple(dependencies), "record_result": record_result, **members,
        }  # fmt: skip
        if EventType(event_type) not in (EventType.ACTION, EventType.CHANGE):
            raise ValueError(f"a guarded act is an ACTION or a CHANGE, not {event_type}")
        if rollback is not None and snapshot is None and not members.get("rollback_snapshot_hash"):
            raise TypeError("a rollback needs a snapshot, or a rollback_snapshot_hash, to go back to")
        self._payload, self._given = action_payload, tuple(approvals)
        self._ask = Path(ask) if ask is not None else None
        self._seen: set[FileId] = set()
        self._ask_timeout_s = ask_timeout_s
        self._rollback, self._snapshot = rollback, snapshot
        self._records_arguments, self._records_result = record_arguments, record_result
        self._context: dict[str, Any] = {**bound_context(), **members.pop("actor_context", {})}
        self._members: dict[str, Any] = {
            "event_type": EventType(event_type), "action_type": action_type, "actor_id": actor_id, **members
        }  # fmt: skip
        if depends_on := [_entry_id(item) for item in self._arguments["dependencies"]]:
            self._members["dependencies"] = depends_on
        self._approvals: list[dict[str, str]] = [_stored(item) for item in approvals]
        self._is_fixed = self._is_entered = False
        self._asked: ApprovalRequest | None = None
        """The request that is gone on with: the act is what people were asked to approve, to the byte."""
        self._judged: tuple[Policy, list[dict[str, str]], str, list[Reason]] | None = None
        """Under which policy, with which approvals and when the act was judged, and the reasons found."""
        self._action_hash = ""
        self._request_id = new_entry_id()
        self._failed_open: BaseException | None = None
        self._stated: dict[str, Any] | None = None
        """`error_details` of an act that failed without an exception."""
        self._began_us: int | None = None
        """When the act itself began, by a clock that only goes forward."""
        self._left_by: BaseException | None = None
        """What interrupted the caller, who has left."""
        self.result: Any = None
        self._decided: Entry | None = None
        """The intent, where another call or process recorded it."""
        self.intent: Receipt | None = None
        self.outcome: Receipt | None = None

    @classmethod
    def resumed(
        cls,
        log: GuardedLog,
        request: ApprovalRequest | bytes,
        **members: Unpack[ResumeMembers],
    ) -> Self:
        """See `Log.resume`."""
        asked = parse_request(request) if isinstance(request, bytes) else request
        if (asked.log, asked.origin) != (log.rules.log.genesis, log.rules.log.origin):
            raise ApprovalRefusedError(
                f"the request is for {asked.origin} ({asked.log}), not for this log", reason="approval.log",
                expected=log.rules.log.genesis, found=asked.log,
            )  # fmt: skip
        intent = members.pop("intent", None)
        given: dict[str, Any] = {**asked.draft, **members}
        act = cls(log, **given)
        act._asked, act._request_id = asked, asked.request_id
        if intent is not None:
            act._go_on_from(intent if isinstance(intent, Entry) else intent.entry)
        return act

    def _go_on_from(self, intent: Entry) -> None:
        """The act was entered elsewhere: what is left is its outcome."""
        self._fix()
        stated = intent.event_type, intent.action_type, intent.actor_id, intent.action_hash
        due = EventType.DECISION, self._members["action_type"], self._members["actor_id"], self._action_hash
        if stated != due or intent.execution_status is ExecutionStatus.BLOCKED:
            raise ValueError(f"entry {intent.sequence_number} is no intent of this act, or it was blocked")
        self._is_entered, self._decided = True, intent

    def __repr__(self) -> str:
        return f"Guard({self._members['action_type']!r}, actor_id={self._members['actor_id']!r})"

    # --- the forms it comes in ---

    def __enter__(self) -> Self:
        self._enter_once()
        self._fix()
        if self._ask is not None and self.intent is None and not self._has_quorum():
            self.wait_approved(self._ask_timeout_s)
        if self.intent is None:
            self._enter()
        self._began_us = _clock_us()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        undone: Undone | None = None
        try:
            if self._rollback and (error is not None or self._stated is not None):
                undone = _attempt(self._rollback, self)
            if kind is GeneratorExit:
                # Nobody iterates on. It may be the garbage collector that says so, in the middle of anything.
                self._left_by = error
                run_alone(self._log, self._end(error, undone))
            else:
                run(self._log, self._end(error, undone), self._leave)
        except BaseException as problem:  # noqa: BLE001 - what the act raised comes first
            self._complain(error, problem, undone)

    async def __aenter__(self) -> Self:
        self._enter_once()
        await asyncio.to_thread(self._fix)
        if self._ask is not None and self.intent is None and not self._has_quorum():
            await self.approved(self._ask_timeout_s)
        if self.intent is None:
            await self._enter_async()
        self._began_us = _clock_us()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        undone: Undone | None = None
        try:
            if self._rollback and (error is not None or self._stated is not None):
                undone = await _attempt_async(self._rollback, self)
            await run_async(self._log, self._end(error, undone), self._leave)
        except BaseException as problem:  # noqa: BLE001 - what the act raised comes first
            self._complain(error, problem, undone)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function, each call of it a guarded act; it keeps its signature. See `guard.decorating`.

        Plain, `async`, generator and async generator functions, and methods. Without an `action_payload` the
        arguments are recorded by name, and without a `result` what it returns, unless `record_arguments` or
        `record_result` is False; as JSON, by the rules of `guard.plain`. `action_payload` may be called with
        the arguments.

        A call raises TypeError, and is recorded as FAILED, where a plain function returns a generator or
        something to be awaited: its act is not over then.
        """
        return decorated(function, functools.partial(self._again, function))

    def end(self, result: Any = None, *, error: BaseException | None = None) -> None:
        """End an act that `log.begin` began, or that is resumed after its intent: as leaving `with` does.

        `error`: what the act raised, if it did; it is not raised again. Raises as leaving does.
        """
        self._set_result(result)
        self.__exit__(None if error is None else type(error), error, None)

    async def end_async(self, result: Any = None, *, error: BaseException | None = None) -> None:
        """`end` while only the task waits."""
        self._set_result(result)
        await self.__aexit__(None if error is None else type(error), error, None)

    def fail(self, kind: Kind, message: str) -> None:
        """Say that the act failed, where nothing is raised: many frameworks return an error as a value.

        `kind`: one of `error`, `timeout`, `cancelled`, `denied`, `suspended`, `not_begun`. If something is
        raised after all, the outcome has this kind, and what was raised. Raises ValueError for another kind.
        """
        if kind not in KINDS:
            raise ValueError(f"an act fails as one of {', '.join(KINDS)}, not {kind!r}")
        self._stated = failure_members(kind, message)

    def blocked_by(self) -> list[Reason]:
        """Why entering would be blocked now, by the policy in force; empty: it would not be.

        Nothing is written. A pause is for what waits for people only: `[reason.is_approval]` of it all.
        Approvals that were used before are noticed only when the act is entered. Raises as entering does for
        members that are malformed.
        """
        self._fix()
        return list(self._reasons(format_timestamp(self._log.now_us())))

    # --- approvals ---

    @property
    def request(self) -> ApprovalRequest:
        """What people are asked to approve: the act with its payload as it will be stored."""
        if self._asked is not None:
            return self._asked
        self._fix()
        context = {"actor_context": self._context} if self._context else {}
        return make_request({**self._members, **context}, self._log.rules.log, self._request_id)

    def propose(self, directory: str | os.PathLike[str] | None = None) -> Path:
        """Write the request into a directory, by default that of `ask`; its path. Raises StorageError."""
        place = Path(directory) if directory is not None else self._ask
        if place is None:
            raise TypeError("there is no directory to put the request into")
        return write_request(place, self.request)

    def add_approval(self, approval: AnyApproval) -> None:
        """Add an approval: parsed, as stored, or the bytes of its file. Raises MalformedApprovalError."""
        stored = _stored(approval)
        if stored not in self._approvals:
            self._approvals.append(stored)

    def wait_approved(self, timeout_s: float | None = None) -> None:
        """Wait until the quorum is met: write the request into the `ask` directory, and look for approvals.

        Raises ActionBlockedError, with the VIOLATION written, after `timeout_s` (None: never).
        """
        deadline = self._begin_waiting(timeout_s)
        while not self._look_for_approvals():
            if deadline is not None and time.monotonic() >= deadline:
                self._enter()  # which says what is missing
                return
            time.sleep(POLL_S)

    async def approved(self, timeout_s: float | None = None) -> None:
        """`wait_approved` while only the task waits."""
        deadline = await asyncio.to_thread(self._begin_waiting, timeout_s)
        while not await asyncio.to_thread(self._look_for_approvals):
            if deadline is not None and time.monotonic() >= deadline:
                await self._enter_async()
                return
            await asyncio.sleep(POLL_S)

    def _begin_waiting(self, timeout_s: float | None) -> float | None:
        self._fix()
        if self._ask is not None:
            self.propose()
        return None if timeout_s is None else time.monotonic() + timeout_s

    def _look_for_approvals(self) -> bool:
        if self._ask is not None:
            for approval in find_approvals(self._ask, self.request, self._seen):
                self.add_approval(approval)
        return self._has_quorum()

    def _has_quorum(self) -> bool:
        timestamp = format_timestamp(self._log.now_us())
        return not any(reason.invariant == QUORUM for reason in self._reasons(timestamp))

    # --- what is appended ---

    def _enter(self) -> None:
        try:
            run(self._log, self._entering(), self._leave)
        except BaseException as error:
            self._abandon(error)
            raise

    async def _enter_async(self) -> None:
        try:
            await run_async(self._log, self._entering(), self._leave)
        except BaseException as error:
            self._abandon(error)
            raise

    def _entering(self) -> Steps:
        yield from self._begin()
        if self._left_by is not None:
            yield from self._not_begun(self._left_by)

    def _leave(self, error: BaseException) -> None:
        """The caller was interrupted while it waited for an entry. What is left to append follows alone."""
        self._left_by = error

    def _abandon(self, error: BaseException) -> None:
        """The act is not entered, whatever the reason: an intent that stands already has its outcome."""
        if self._left_by is None and self.outcome is None:
            run_alone(self._log, self._not_begun(error))

    def _not_begun(self, error: BaseException) -> Steps:
        """The outcome of an act that was decided and did not begin."""
        intent = self.intent
        if intent is None or intent.entry.execution_status is ExecutionStatus.BLOCKED:
            return
        ending = {**_FAILED, "error_details": not_begun_members(error)}
        self.outcome = yield from self._recorded(lambda: {**self._outcome(intent), **ending})

    def _begin(self) -> Steps:
        """The intent; instead of the act, where the policy forbids it, a VIOLATION."""
        reasons = self._reasons(format_timestamp(self._log.now_us()))
        spent: list[Reason] = []
        while True:
            draft = self._draft(EventType.DECISION, INTENT)
            if reasons or spent:
                draft["execution_status"] = "BLOCKED"
            if spent:
                draft["error_details"] = {"kind": DENIED, "message": spent[0].message, **spent[0].evidence}
            try:
                self.intent = yield draft
            except ApprovalUsedError as error:
                spent.append(reason_of_use(error))
                self._drop_approvals(error)
                continue
            except _UNWRITABLE as error:
                if isinstance(error, TooLargeError) or not self._fails_open():
                    raise
                self._failed_open = error
            break
        if self.intent is not None:
            # By the rules where it stands, which another process may have changed meanwhile.
            reasons = self._reasons(self.intent.timestamp) or reasons
        if reasons or spent:
            yield from self._block([*spent, *reasons])

    def _drop_approvals(self, error: ApprovalUsedError) -> None:
        """Those that were used before are not recorded again: the log would refuse each entry with them."""
        kept = [item for item in self._approvals if item.get("request_id") != error.request_id]
        if len(kept) == len(self._approvals):
            raise error
        self._approvals = kept

    def _block(self, reasons: list[Reason]) -> Steps:
        members = violation_members(self._members, self._action_hash, reasons)
        members["actor_context"] = {**self._context, GUARD: VIOLATION}
        if self.intent is not None:
            members["dependencies"] = [self.intent.entry_id]
        what = "; ".join(reason.message for reason in reasons)
        try:
            self.outcome = yield members
        except _UNWRITABLE as error:
            if self.intent is not None:
                raise
            what = f"{what}; and it could not be recorded: {error}"
        raise ActionBlockedError(
            f"{self._members['action_type']} is blocked: {what}",
            receipt=self.outcome, intent=self.intent, reasons=[reason._asdict() for reason in reasons],
        )  # fmt: skip

    def _end(self, error: BaseException | None, undone: Undone | None) -> Steps:
        """The outcome; before it, of an act that went on without a log, the intent after all."""
        if self.intent is None and self._decided is None:
            assert self._failed_open is not None, "the act was entered"
            reason = {"failed_open": True, **error_members(self._failed_open)}
            late = {"execution_status": "FAILED", "error_details": reason}
            self.intent = yield from self._recorded(
                lambda: {**self._draft(EventType.DECISION, INTENT), **late}
            )
        is_failure = error is not None or self._stated is not None
        intent = self._decided or self.intent
        assert intent is not None, "it was recorded just now, or where the act was begun"
        ending = self._failure(error, undone) if is_failure else {}
        ending["result_data"] = result_members(self.result)
        try:
            self.outcome = yield from self._recorded(lambda: {**self._outcome(intent), **ending})
        except (TooLargeError, MalformedError) as problem:
            # The act has happened: whatever else cannot be recorded, that it did is the one thing to keep.
            less: dict[str, Any] = {"result_data": {"not_recorded": str(problem)}}
            if error is not None:
                less["error_details"] = {
                    "kind": kind_of(error), "type": type_name(error), "not_recorded": str(problem)
                }  # fmt: skip
            if self._stated is not None:
                less["error_details"] = {**less.get("error_details", {}), "kind": self._stated["kind"]}
            self.outcome = yield from self._recorded(lambda: {**self._outcome(intent), **ending, **less})

    def _outcome(self, intent: Receipt | Entry) -> dict[str, Any]:
        draft = self._draft(self._members["event_type"], OUTCOME)
        draft["actor_context"][DURATION] = self._duration_us()
        return {**draft, "dependencies": [*draft.get("dependencies", []), intent.entry_id]}

    def _duration_us(self) -> int:
        if self._decided is not None:  # in another process, perhaps: only the log's clock is common
            return max(0, self._log.now_us() - parse_timestamp(self._decided.timestamp))
        return 0 if self._began_us is None else _clock_us() - self._began_us

    def _recorded(self, make: Callable[[], dict[str, Any]]) -> Generator[dict[str, Any], Receipt, Receipt]:
        """Record what has happened, without the approvals that another entry used meanwhile."""
        while True:
            try:
                return (yield make())
            except ApprovalUsedError as error:
                self._drop_approvals(error)

    def _failure(self, error: BaseException | None, undone: Undone | None) -> dict[str, Any]:
        details = {} if error is None else error_members(error)
        details |= self._stated or {}
        if undone is True and self._snapshot is not None and not isinstance(self._snapshot, bytes):
            try:
                verify_snapshot(self._snapshot, self._members["rollback_snapshot_hash"])
            except BaseException as problem:  # noqa: BLE001 - an interruption too: it was not verified
                undone = problem
        if undone is None or undone is True:
            status = "FAILED" if undone is None else "ROLLED_BACK"
            return {
                **_FAILED, "execution_status": status, "error_details": details,
                "rollback_executed": undone is True,
            }  # fmt: skip
        details["rollback_error"] = error_members(undone)
        if error is not None and not issubclass(type(undone), Exception):
            add_note(error, f"attestlog: {type_name(undone)} interrupted the rollback")
        return {**_FAILED, "error_details": details}

    def _draft(self, event_type: EventType, role: str) -> dict[str, Any]:
        return {
            **self._members,
            "event_type": event_type,
            "actor_context": {**self._context, GUARD: role},
            "received_approvals": self._approvals,
        }

    # --- within ---

    def _fix(self) -> None:
        """Settle, once, what the act is: payload as stored, snapshot, what the rules ask for."""
        if self._is_fixed:
            return
        members = self._members
        given: Any = self._payload or {}
        if callable(given):
            raise TypeError("an action_payload that is called is for a decorated function")
        event_type, action_type = members["event_type"], members["action_type"]
        # Checked before anything is done with it: redaction relies on its shape.
        given = dict(given) if isinstance(given, Mapping) else given
        check_reserved(parse_draft({**members, "action_payload": given}))
        payload = self._log.storable_payload(given, action_type)
        if self._asked is not None and payload != given:
            raise ApprovalRefusedError(
                "the log would redact more of the payload now than when approval was asked: ask again",
                reason="approval.action_hash",
            )  # fmt: skip
        demand = self._log.rules.policy.demand(event_type, action_type, members["actor_id"])
        proofs = (*members.get("required_proofs", ()), *demand.required_proofs)
        members["required_proofs"] = list(dict.fromkeys(proofs))
        members["required_approvals"] = max(members.get("required_approvals", 0), demand.required_approvals)
        members["action_payload"] = payload
        if self._snapshot is not None:
            members["rollback_snapshot_hash"] = snapshot_hash(self._snapshot)
        if self._rollback is not None:
            members["rollback_available"] = True
        self._action_hash = hex_hash(canonical.encode(payload))
        self._is_fixed = True

    def _reasons(self, timestamp: str) -> list[Reason]:
        """Why the act must not happen at this time, by the policy in force now."""
        rules, approvals = self._log.rules, list(self._approvals)
        when = timestamp if approvals else ""  # approvals expire; nothing else depends on the time
        if (
            self._judged is None
            or self._judged[0] is not rules.policy
            or self._judged[1:3] != (approvals, when)
        ):
            members = {**self._members, "received_approvals": approvals}
            found = reasons_against(rules, members, self._action_hash, timestamp)
            self._judged = (rules.policy, approvals, when, found)
        return self._judged[3]

    def _fails_open(self) -> bool:
        facts = (self._members[name] for name in ("event_type", "action_type", "actor_id"))
        return self._log.rules.policy.demand(*facts).fails_open

    def _again(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Guard:
        """The same for one call of a function."""
        if self._asked is not None:
            raise TypeError("a request is good for one act: what resumes it decorates no function")
        payload = self._payload(*args, **kwargs) if callable(self._payload) else self._payload
        if payload is None and self._records_arguments:
            payload = arguments_payload(function, args, kwargs)
        return Guard(self._log, action_payload=payload, approvals=self._given, **self._arguments)

    def returned(self, value: Any) -> None:
        """Take what a decorated function returned for the result, unless it set one itself."""
        if self.result is None and self._records_result:
            self.result = value

    def _set_result(self, result: Any) -> None:
        if result is not None:
            self.result = result

    def _enter_once(self) -> None:
        if self._is_entered:
            raise ValueError("a guard is entered once: each act has its own")
        self._is_entered = True

    def _complain(self, error: BaseException | None, problem: BaseException, undone: Undone | None) -> None:
        """The outcome could not be recorded. What the act itself raised comes first."""
        if not isinstance(problem, AttestlogError) and self._left_by is None and self.outcome is None:
            # Interrupted, and not while waiting: most likely before the outcome was in the queue.
            self._left_by = problem
            run_alone(self._log, self._end(error, undone))
        if error is not None and problem is self._left_by:
            add_note(error, f"attestlog: {type_name(problem)} came while the outcome was recorded")
        elif error is not None:
            add_note(error, f"attestlog: the outcome could not be recorded: {message_of(problem)}")
        elif self._failed_open is None or not isinstance(problem, AttestlogError):
            raise problem


_FAILED: Final = {"execution_status": "FAILED", "event_category": "ERROR"}


def _attempt(rollback: Rollback, act: Guard) -> Undone:
    """True if it went through, else what it raised, an interruption too: the outcome is still to come."""
    try:
        done = rollback(act)
        if inspect.isawaitable(done):
            if inspect.iscoroutine(done):
                done.close()
            raise TypeError("the rollback is async, and was not awaited: use `async with`")
    except BaseException as problem:  # noqa: BLE001 - the application's code: what it raised is recorded
        return problem
    return True


async def _attempt_async(rollback: Rollback, act: Guard) -> Undone:
    try:
        done = rollback(act)
        if inspect.isawaitable(done):
            await done
    except BaseException as problem:  # noqa: BLE001 - the application's code: what it raised is recorded
        return problem
    return True


def _clock_us() -> int:
    return time.monotonic_ns() // 1_000


def _entry_id(item: str | Receipt | Entry) -> str:
    return item if isinstance(item, str) else item.entry_id


def _stored(approval: AnyApproval) -> dict[str, str]:
    if isinstance(approval, bytes):
        approval = parse_approval(approval)
    return stored_form(approval) if isinstance(approval, Approval) else dict(approval)
