"""One request, one act: which entries used which request for approval, in bounded memory.

    use = use_of(policy, entry, request, judged, ...)    # None: the entry uses no request
    uses.find(use)      # the entry that used the request before, if this is a further use
    uses.add(use)       # the same, and remember it

An entry *uses* a request if an approval of it counts there and the entry is not BLOCKED. A request may be
used by one entry, or by a guard's intent and by one outcome that depends on that intent. A *further use* is a
use after another, as long as approvals that were signed by then can count: if the other one is not earlier
than the approvals themselves (less the 60 s by which their clocks may be ahead), and no longer ago than an
approval may count. So a writer or verifier that begins in the midst of a log must look back to the date of
the approvals, and no further; and one that reads everything comes to the same.

This is not part of `quorum_met`, which depends on one entry only. Specified in docs/spec/approval.md.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections import ChainMap
from collections.abc import Callable, Container, Iterable, Iterator, MutableMapping
from typing import Final, NamedTuple

from attestlog._internal.core.approval import (
    AHEAD_MAX_S,
    JudgedApproval,
    Request,
    judge_approvals,
    term_max_s,
)
from attestlog._internal.core.entry import (
    GUARD,
    OUTCOME,
    Entry,
    EntryDraft,
    ExecutionStatus,
    decode_line,
    is_intent,
    parse_timestamp,
)
from attestlog._internal.core.policy import Policy
from attestlog._internal.core.reserved import PREFIX
from attestlog._internal.core.rules import Rules
from attestlog.errors import MalformedEntryError, StorageError

USES_MAX: Final = 200_000
"""Requests remembered at once: about 35 MB. Only an approval that counts takes a place."""

MARK: Final = b'"request_id":"'
"""What every line with an approval holds, so that other lines need not be decoded to look for uses."""

_US: Final = 1_000_000
_STATE: Final = struct.Struct("<Qqq16s")
_NO_INTENT: Final = bytes(16)


class Use(NamedTuple):
    """That an entry used a request. Ids are their 16 bytes, times microseconds since 1970."""

    sequence_number: int
    entry_id: bytes
    request_id: bytes
    timestamp_us: int
    since_us: int
    """No earlier entry than of this time can have used the same approvals."""
    until_us: int
    """No later entry than of this time can use an approval that was signed by now."""
    is_intent: bool = False
    depends_on: tuple[bytes, ...] = ()
    """Of a guarded act's outcome: the entries it depends on."""


def use_of(
    policy: Policy,
    facts: Entry | EntryDraft,
    request: Request,
    judged: Iterable[JudgedApproval],
    *,
    sequence_number: int,
    entry_id: str,
) -> Use | None:
    """The use of an entry whose approvals were judged so for `request`; None if it uses none."""
    if facts.execution_status is ExecutionStatus.BLOCKED:
        return None
    counting = [item.approval for item in judged if item.counts and item.approval is not None]
    if not counting:
        return None
    try:
        timestamp_us = parse_timestamp(request.timestamp)
    except MalformedEntryError:
        return None  # an entry's timestamp that is no date is found by itself
    since_us = min(parse_timestamp(approval.timestamp) for approval in counting) - AHEAD_MAX_S * _US
    term_s = max(term_max_s(policy, approval.event_type, request) for approval in counting)
    is_outcome = facts.actor_context.get(GUARD) == OUTCOME
    return Use(
        sequence_number, id_bytes(entry_id), id_bytes(counting[0].request_id), timestamp_us, since_us,
        timestamp_us + (AHEAD_MAX_S + term_s) * _US, is_intent(facts),
        tuple(map(id_bytes, facts.dependencies)) if is_outcome else (),
    )  # fmt: skip


def uses_in(rules: Rules, lines: Iterable[bytes], wanted: Container[bytes] | None = None) -> Iterator[Use]:
    """The uses in these lines of a log, in order, each judged by the rules in force there.

    `rules`: those in force at the first line. `wanted`: the requests that are looked for; None: all.
    Lines that are no entries are passed over, and nothing else in an entry is judged.
    """
    for line in lines:
        if MARK not in line and _MAY_GOVERN not in line:
            continue
        try:
            entry = decode_line(line)
        except MalformedEntryError:
            continue
        if entry.received_approvals:
            request = Request.of(entry, rules.log, entry.action_hash, entry.timestamp)
            judged = judge_approvals(rules.policy, entry.received_approvals, request)
            use = use_of(
                rules.policy, entry, request, judged,
                sequence_number=entry.sequence_number, entry_id=entry.entry_id,
            )  # fmt: skip
            if use is not None and (wanted is None or use.request_id in wanted):
                yield use
        rules, _ = rules.following([line])


_MAY_GOVERN: Final = f'"action_type":"{PREFIX}'.encode()


def id_bytes(uuid: str) -> bytes:
    """The 16 bytes of a UUID as entries spell it."""
    return bytes.fromhex(uuid.replace("-", ""))


def search_start(size: int, timestamp_us: Callable[[int], int], since_us: int) -> int:
    """The first of `size` entries that is not earlier than this time; `size` if all are.

    `timestamp_us`: an entry's, by its number; they never go back. Of a million it is asked 20 times. Entries
    that cannot be read are the oldest: they were archived. Raises what it raises of the last one before the
    result, which may be as late.
    """

    def known(number: int) -> int:
        try:
            return timestamp_us(number)
        except StorageError:
            return since_us - 1

    found = bisect_left(range(size), since_us, key=known)
    if found:
        timestamp_us(found - 1)
    return found


class _State(NamedTuple):
    """What is remembered of a request that was used."""

    first: int
    """The entry that used it first."""
    last_us: int
    """When it was used last."""
    until_us: int
    intent: bytes
    """The intent that used it, while no outcome did."""


class Uses:
    """The requests that entries used, in the order of the entries."""

    def __init__(self, limit: int | None = USES_MAX) -> None:
        self._limit = limit
        self._states: MutableMapping[bytes, bytes] = {}
        self._sweep_at_us = 0
        self.unread = 0
        """Uses that were not remembered, because there are too many."""

    def __len__(self) -> int:
        return len(self._states)

    def find(self, use: Use) -> int | None:
        """The entry that used the request first, if this is a further use."""
        state = self._get(use.request_id)
        if state is None or _ends(use, state):
            return None
        is_further = state.last_us >= use.since_us and use.timestamp_us <= state.until_us
        return state.first if is_further else None

    def add(self, use: Use) -> int | None:
        """`find`, and remember the use."""
        found, state = self.find(use), self._get(use.request_id)
        first, intent, until_us = use.sequence_number, _NO_INTENT, use.until_us
        if state is not None:
            until_us = max(until_us, state.until_us)
        if state is not None and (found is not None or _ends(use, state)):
            first, intent = state.first, state.intent if found is not None else _NO_INTENT
        elif use.is_intent:
            intent = use.entry_id
        self._put(use, _State(first, use.timestamp_us, until_us, intent))
        return found

    def trial(self) -> Uses:
        """A copy in which uses can be added, at no cost, to see what would be found. It forgets nothing."""
        made = Uses(limit=None)  # of two maps the length is counted: it must not be asked for
        made._states = ChainMap({}, self._states)
        return made

    def keep(self, trial: Uses) -> None:
        """What was added to a `trial` of these is so: a trial of a trial of a trial would be slow to ask."""
        assert isinstance(trial._states, ChainMap)
        self._states.update(trial._states.maps[0])

    def _get(self, request_id: bytes) -> _State | None:
        data = self._states.get(request_id)
        return None if data is None else _State(*_STATE.unpack(data))

    def _put(self, use: Use, state: _State) -> None:
        limit = self._limit
        if limit is not None and use.request_id not in self._states and len(self._states) >= limit:
            self._forget(use.timestamp_us)
            if len(self._states) >= limit:
                self.unread += 1
                return
        self._states[use.request_id] = _STATE.pack(*state)

    def _forget(self, now_us: int) -> None:
        """Those of which no approval can count any more: no entry is earlier than this one."""
        if now_us < self._sweep_at_us:
            return
        past = [key for key, data in self._states.items() if _State(*_STATE.unpack(data)).until_us < now_us]
        for key in past:
            del self._states[key]
        self._sweep_at_us = min((state.until_us for state in self._all()), default=now_us) + 1

    def _all(self) -> Iterator[_State]:
        return (_State(*_STATE.unpack(data)) for data in self._states.values())


def _ends(use: Use, state: _State) -> bool:
    """Whether it is the outcome of the intent that used the request."""
    return state.intent != _NO_INTENT and state.intent in use.depends_on
