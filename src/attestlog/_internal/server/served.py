"""A log as a service holds it: who may append what, once; what is counted; and one that failed, opened again.

It knows tokens and bodies, and no HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec

from attestlog._internal.core import canonical
from attestlog._internal.core.entry import GUARD, OUTCOME, EventType, encode_member, format_timestamp
from attestlog._internal.core.glob import Glob
from attestlog._internal.core.receipt import Receipt
from attestlog._internal.core.report import Verdict
from attestlog._internal.core.reserved import is_reserved
from attestlog._internal.core.signature import BATCH_ENTRIES_MAX
from attestlog._internal.log import Log
from attestlog._internal.log.callers import Caller
from attestlog._internal.log.changing import record_read
from attestlog._internal.server.bodies_seen import BodiesSeen
from attestlog._internal.server.rates import Rates
from attestlog._internal.server.tokens import Scope, Token
from attestlog.errors import (
    AttestlogError,
    ClosedError,
    DerivedMemberError,
    ForbiddenError,
    FullError,
    LockLostError,
    MalformedError,
    TooLargeError,
    UncertainCommitError,
)

DRAFTS_MAX: Final = BATCH_ENTRIES_MAX
"""Drafts in one request: more would not fit one batch, so that a crash could part them."""

FREE_BYTES_MIN: Final = 64 << 20
"""Below so much free disk, acts are refused: some 15,000 outcomes and violations of them still fit."""

DISK_LOOK_S: Final = 1.0
"""How long the answer about free disk is good: at the speed of any disk not much is written meanwhile."""

LATENCIES_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of the histogram of appends."""

_OF_DRAFTS: Final = (MalformedError, DerivedMemberError, TooLargeError)
"""What is wrong with a draft, and stays so however often it is sent."""

_SPARED: Final = frozenset({EventType.VIOLATION, EventType.CHANGE, EventType.SHUTDOWN})
"""What may be written when there is little room left, beside outcomes."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of a request: receipts, how many of them are older, whether bodies were compared."""

    receipts: list[Receipt]
    before: int
    was_compared: bool


@dataclass(frozen=True, slots=True)
class Verified:
    """How a verification of the log came out."""

    verdict: Verdict
    at: float
    """When it ended: seconds since 1970."""
    size: int
    """Entries that were there."""
    start: int
    """The first of them that was read."""


class Figures:
    """What is counted since the server was started."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.latencies = [0] * (len(LATENCIES_S) + 1)
        self.latency_sum_s = 0.0
        self.write_failures = self.signer_failures = 0

    def add(self, outcome: str, entries: int, seconds: float) -> None:
        """One request to append."""
        self.outcomes[outcome] += max(1, entries)
        self.latencies[bisect_left(LATENCIES_S, seconds)] += 1
        self.latency_sum_s += seconds


class ServedLog:
    """One log of a service, in its event loop."""

    def __init__(self, open_log: Callable[[], Log], bodies: BodiesSeen, rates: Rates) -> None:
        """`open_log`: opens it, now and after a failure. Raises what that raises."""
        self._open, self._bodies, self._rates = open_log, bodies, rates
        self.log = open_log()
        self.origin, self.source = self.log.origin, self.log._store.source
        self.figures = Figures()
        self.is_stopping = False
        self._changed = asyncio.Event()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._reopening = asyncio.Lock()
        self._free = (0.0, FREE_BYTES_MIN)
        self.free_bytes_min = FREE_BYTES_MIN
        self.records_reads = False
        """Whether an entry says, once an hour, who read entries here."""
        self._readers: dict[str, str] = {}
        self.verified: Verified | None = None
        """What `--verify-every` found last."""

    # --- appending ---

    async def append(self, body: bytes, drafts: Sequence[Any], token: Token, caller: Caller) -> Appended:
        """Append the drafts of a request. Raises as `Log.append_many`, ForbiddenError, RateLimitError."""
        start, outcome, count = time.monotonic(), "error", len(drafts)
        try:
            self._check(drafts, token)
            self._rates.take(token, count, len(body))
            appended = await self._append_once(body, drafts, caller)
            outcome = "replayed" if appended.before == count else "written"
        except AttestlogError as error:
            outcome = error.code
            await self._heed(error)
            raise
        finally:
            self.figures.add(outcome, count, time.monotonic() - start)
        self.tell()
        return appended

    async def observe(
        self, body: bytes, drafts: Sequence[Any], token: Token, caller: Caller
    ) -> tuple[int, str]:
        """Append what was observed; how many drafts the log refuses, and why it does the first.

        `caller`: with a key that is this body's alone. Each piece of it has a key made of it: who sends the
        same again after an error finds the first pieces there. Raises as `append`, but for drafts that are
        wrong in themselves.
        """
        refused, why = 0, ""
        for number, start in enumerate(range(0, len(drafts), DRAFTS_MAX)):
            piece, own = drafts[start : start + DRAFTS_MAX], body if start == 0 else b""
            named = replace(caller, key=f"{caller.key}.{number}")
            try:
                await self.append(own, piece, token, named)
            except _OF_DRAFTS:
                good, error = await asyncio.to_thread(self._good, piece)
                refused, why = refused + len(piece) - len(good), why or str(error)
                if good:
                    await self.append(own, good, token, replace(named, key=f"{named.key}.rest"))
        return refused, why

    def _good(self, drafts: Sequence[Any]) -> tuple[list[Any], AttestlogError | None]:
        """Those that the log takes, and what is wrong with the first other one."""
        good, first = [], None
        for draft in drafts:
            try:
                self.log.check(draft)
            except _OF_DRAFTS as error:
                first = first or error
            else:
                good.append(draft)
        return good, first

    async def _append_once(self, body: bytes, drafts: Sequence[Any], caller: Caller) -> Appended:
        if not caller.key:
            receipts, before = await self._write(drafts, caller)
            return Appended(receipts, before, was_compared=False)
        scope = f"{self.log.genesis.entry_hash}\0{caller.peer.partition(' ')[0]}\0{caller.key}"
        # Two requests of one key: the second finds what the first wrote.
        async with self._turns.setdefault(scope, asyncio.Lock()):
            was_known = self._bodies.compare(scope, body, self.log.now_us())
            # A crash here leaves a body without its entry: only the same body may come again.
            try:
                receipts, before = await self._write(drafts, caller)
            except AttestlogError as error:
                if not was_known and not error.committed and not isinstance(error, UncertainCommitError):
                    self._bodies.forget(scope)
                raise
            return Appended(receipts, before, was_compared=was_known)

    async def _write(self, drafts: Sequence[Any], caller: Caller) -> tuple[list[Receipt], int]:
        if len(drafts) == 1:
            receipt, before = await self.log.append_by_async(caller, drafts[0])
            return [receipt], before
        return await asyncio.to_thread(self.log.append_by, caller, drafts)

    def _check(self, drafts: Sequence[Any], token: Token) -> None:
        globs = [Glob(text) for text in token.action_types]
        is_full = self.free_bytes() < self.free_bytes_min
        for draft in drafts:
            if not isinstance(draft, dict):
                raise MalformedError("a draft is an object", member="")
            action_type, actor_id = draft.get("action_type"), draft.get("actor_id")
            if token.actor_id is not None and actor_id != token.actor_id:
                raise ForbiddenError(
                    f"{token.name!r} appends entries of {token.actor_id!r} only", need="actor_id"
                )
            if globs and not any(
                isinstance(action_type, str) and glob.matches(action_type) for glob in globs
            ):
                raise ForbiddenError(
                    f"{token.name!r} does not append entries of this type", need="action_types"
                )
            is_change = draft.get("event_type") == EventType.CHANGE
            if is_change and is_reserved(action_type) and Scope.ADMIN not in token.scopes:
                raise ForbiddenError(
                    f"{token.name!r} does not change the log itself, want admin", need="admin"
                )
            if is_full and not _is_spared(draft):
                raise FullError(
                    f"less than {self.free_bytes_min} bytes are free: acts are refused, outcomes are not"
                )

    async def _heed(self, error: AttestlogError) -> None:
        """A log whose commit failed halfway appends no more: open it again, which finds out what is there."""
        self.figures.write_failures += error.code.startswith("storage")
        self.figures.signer_failures += error.code.startswith("signer")
        if not isinstance(error, UncertainCommitError | LockLostError | ClosedError):
            return
        failed = self.log
        async with self._reopening:
            if self.log is failed:
                with contextlib.suppress(AttestlogError):
                    await asyncio.to_thread(failed.close)
                with contextlib.suppress(AttestlogError):
                    self.log = await asyncio.to_thread(self._open)
                    self.source = self.log._store.source

    async def note_read(self, peer: str) -> None:
        """Entries are about to be read: record it, where it is to be. Raises as `Log.append`.

        Before anything is told: what cannot be recorded is not read.
        """
        if not self.records_reads:
            return
        reader, hour = peer.partition(" ")[0], format_timestamp(self.log.now_us())[:13]
        if self._readers.get(reader) == hour:
            return
        await asyncio.to_thread(record_read, self.log, peer, hour)
        # Those of other hours go: the name of a reader may be of thousands.
        self._readers = {name: at for name, at in self._readers.items() if at == hour} | {reader: hour}
        self.tell()

    # --- what is there ---

    def tell(self) -> None:
        """There are new entries: wake those who follow."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_changed(self, timeout_s: float) -> None:
        """Until something was appended here, or the time is over: other processes may append, too."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout_s)

    def free_bytes(self) -> int:
        """Free on the log's file system, for the server's user; of a log that is no directory, enough."""
        at, free = self._free
        if time.monotonic() - at >= DISK_LOOK_S or not at:
            with contextlib.suppress(OSError):
                status = os.statvfs(self.log.where)
                free = status.f_bavail * status.f_frsize
            self._free = (time.monotonic(), free)
        return free

    def stop(self) -> None:
        """Those who follow are to end."""
        self.is_stopping = True
        self.tell()

    def close(self) -> None:
        """A last checkpoint. Raises as `Log.close`."""
        self.log.close()


def parse_drafts(body: bytes, media_type: str) -> tuple[list[Any], bool]:
    """(drafts, whether there may be several) of a request. Raises MalformedError, TooLargeError."""
    if media_type in {"application/x-ndjson", "application/jsonl"}:
        drafts, many = [canonical.decode(line) for line in body.splitlines() if line.strip()], True
    else:
        given = canonical.decode(body)
        drafts, many = (given, True) if isinstance(given, list) else ([given], False)
    if not drafts:
        raise MalformedError("the request holds no draft")
    if len(drafts) > DRAFTS_MAX:
        raise TooLargeError(
            f"the request has {len(drafts)} drafts, at most {DRAFTS_MAX} are taken", size_bytes=len(body)
        )
    return drafts, many


def format_receipts(appended: Appended, *, many: bool, with_entries: bool) -> bytes:
    """The answer to a request."""
    members = []
    for number, receipt in enumerate(appended.receipts):
        told: dict[str, Any] = {
            "sequence_number": receipt.sequence_number, "entry_id": receipt.entry_id,
            "entry_hash": receipt.entry_hash, "timestamp": receipt.timestamp,
        }  # fmt: skip
        if number < appended.before:
            told |= {"replayed": True, "compared": appended.was_compared}
        if with_entries:
            told["entry"] = msgspec.Raw(receipt.line)
        members.append(told)
    return msgspec.json.encode(members if many else members[0])


def _is_spared(draft: Mapping[str, Any]) -> bool:
    context = draft.get("actor_context")
    is_outcome = isinstance(context, dict) and context.get(GUARD) == OUTCOME
    return is_outcome or draft.get("event_type") in _SPARED


def describe_rules(served: ServedLog) -> bytes:
    """What a guard in another process needs to know of the log."""
    from attestlog._internal.core.policy import format_policy

    log, rules = served.log, served.log.rules
    return encode_member("rules", {
        "origin": log.origin, "genesis": rules.genesis_hash, "pointer": rules.pointers.rules or "",
        "policy": format_policy(rules.policy), "keys": rules.key_ids, "vkeys": log.vkeys,
        "policy_by": msgspec.to_builtins(rules.policy_by),
        "now_us": log.now_us(),
    })  # fmt: skip
