"""What actors say of themselves: guarded acts and their outcomes, counters without gaps, heads they saw.

An intent (a DECISION that a guard wrote) is open until an outcome or a
VIOLATION depends on it. It has one outcome, of the act that it names, and none
if it was blocked. A counter goes on by one within an actor's session.
BOOT and SHUTDOWN entries state the head they saw: for most the entry right
before them; of one further back the stored tree has the hash, which was
compared with the entries by then.

A `Conduct` gathers the entries of some lines, and joins with that of the lines
after them. Memory is bounded: what exceeds a limit is counted and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from msgspec import Struct, field

from attestlog._internal.core.entry import GUARD, INTENT, OUTCOME, VIOLATION, Entry, ExecutionStatus
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.report import Finding
from attestlog._internal.core.seen_head import HeadClaim, read_head
from attestlog._internal.judging.findings import finding
from attestlog.errors import MalformedEntryError

HEADS_MAX: Final = 100_000
"""Heads that are compared with entries further back: about 20 MB."""


def judge_head(entry: Entry, further_back: list[HeadClaim]) -> Iterator[Finding]:
    """What is wrong with the head the entry saw; `further_back` receives what can only be told later."""
    try:
        seen = read_head(entry)
    except MalformedEntryError as error:
        yield finding("entry.head", str(error), entry.sequence_number)
        return
    if seen is not None and seen.size < entry.sequence_number:
        further_back.append(seen)
    elif seen is not None and seen.entry_hash != entry.prev_entry_hash:
        yield _another(seen, entry.prev_entry_hash)


class Heads:
    """Gathers the heads that entries saw; answers at the end."""

    def __init__(self) -> None:
        self._seen: list[HeadClaim] = []
        self._more = 0

    def add(self, seen: Iterable[HeadClaim]) -> None:
        """Gather."""
        for item in seen:
            if len(self._seen) < HEADS_MAX:
                self._seen.append(item)
            else:
                self._more += 1

    def settle(self, leaf: Callable[[int], bytes | None], start: int) -> Iterator[Finding]:
        """Compare. `leaf`: an entry's leaf hash, None where not known; `start`: the first entry read."""
        unread = self._more
        for seen in self._seen:
            if seen.size <= start:
                continue
            known = leaf(seen.size - 1)
            if known is None:
                unread += 1
            elif known != leaf_hash(bytes.fromhex(seen.entry_hash)):
                yield _another(seen, None)
        if unread:
            message = f"{unread} heads that were seen could not be compared"
            yield finding("entry.heads_unread", message, found=unread)


def _another(seen: HeadClaim, expected: str | None) -> Finding:
    what = f"saw another entry {seen.size - 1} than there is"
    return finding("entry.head", what, seen.by, expected=expected, found=seen.entry_hash)


INTENTS_MAX: Final = 100_000
"""Intents open at once: about 20 MB. More acts at one time are no longer told apart."""

ENDED_MAX: Final = 50_000
"""Guarded acts that have ended and are remembered, to find a second outcome: about 15 MB."""

COUNTERS_MAX: Final = 100_000
"""Sessions that are counted: about 15 MB."""


class Intent(NamedTuple):
    """A guarded act that was decided."""

    number: int
    entry_id: str
    is_forbidden: bool
    """Whether it says by itself that it must not be acted on: the policy forbids it, or it is BLOCKED."""
    act: bytes
    """What act, by whom: see `_act`."""


class ActEnd(NamedTuple):
    """An entry that ends a guarded act: its outcome, or the VIOLATION in its place."""

    number: int
    depends_on: tuple[str, ...]
    """Entry ids; that of the intent is among them."""
    has_acted: bool
    act: bytes


class Counted(Struct):
    """One session's counter."""

    first_number: int
    first: int
    last: int


class Conduct(Struct):
    """Of some lines in a row, or of all so far."""

    acts: list[Intent | ActEnd] = field(default_factory=list)
    """In the order of the entries, until they are joined: an act may have begun before these lines."""
    intents: dict[str, Intent] = field(default_factory=dict)
    """By entry id: those that are open."""
    ended: dict[str, tuple[Intent, ActEnd]] = field(default_factory=dict)
    """By entry id of the intent: the last acts that ended."""
    counters: dict[bytes, Counted] = field(default_factory=dict)
    untracked_intents: int = 0
    untracked_counters: int = 0

    def add(self, entry: Entry) -> Iterator[Finding]:
        """Gather an entry that has a context; gives what is wrong with it."""
        role, number = entry.actor_context.get(GUARD), entry.sequence_number
        if role == INTENT:
            self.acts.append(Intent(number, entry.entry_id, _is_forbidden(entry), _act(entry)))
        elif role in (OUTCOME, VIOLATION):
            if role == OUTCOME and _was_forbidden(entry):
                message = "acted although the entry itself says that the policy forbids it"
                yield finding("guard.forbidden", message, number)
            self.acts.append(ActEnd(number, tuple(entry.dependencies), role == OUTCOME, _act(entry)))
        counter = entry.actor_context.get("counter")
        if type(counter) is int and counter >= 0:
            yield from self.count(_session(entry), number, counter)

    def join(self, later: Conduct, *, is_whole: bool) -> Iterator[Finding]:
        """Add that of the lines that follow. `is_whole`: the log is read from its first entry on."""
        for item in later.acts:
            if isinstance(item, ActEnd):
                yield from self._end(item)
            elif len(self.intents) < INTENTS_MAX:
                self.intents[item.entry_id] = item
            else:
                self.untracked_intents += 1
        for session, counted in later.counters.items():
            known = self.counters.get(session)
            if known is None and is_whole:
                yield from _compare(counted.first_number, 0, counted.first)
            elif known is not None:
                yield from _compare(counted.first_number, known.last, counted.first)
                counted.last = max(known.last, counted.last)
            if known is not None or len(self.counters) < COUNTERS_MAX:
                self.counters[session] = counted
            else:
                self.untracked_counters += 1
        self.untracked_counters += later.untracked_counters

    def settle(self) -> Iterator[Finding]:
        """What is still open at the end."""
        for intent in sorted(self.intents.values()):
            yield finding("guard.no_outcome", "a guarded act was decided, and has no outcome", intent.number)
        if self.untracked_intents:
            message = f"{self.untracked_intents} more intents were open than are followed"
            yield finding("guard.intents_unread", message, expected=INTENTS_MAX, found=self.untracked_intents)
        if self.untracked_counters:
            message = f"{self.untracked_counters} more sessions were counted than are followed"
            yield finding(
                "actor.counters_unread", message, expected=COUNTERS_MAX, found=self.untracked_counters
            )

    def _end(self, end: ActEnd) -> Iterator[Finding]:
        """The acts whose intents it depends on have ended. Those that are the same act are its own."""
        intents = [intent for wanted in end.depends_on if (intent := self._intent(wanted)) is not None]
        own = [intent for intent in intents if intent.act == end.act]
        for intent in intents:
            if end.has_acted and intent.is_forbidden:
                message = f"acted on the intent of entry {intent.number}, which the policy forbade"
                yield finding("guard.forbidden", message, end.number, found=intent.number)
            elif intent.entry_id in self.ended and (intent in own or not end.has_acted):
                yield self._again(intent, end)
            if self.intents.pop(intent.entry_id, None) is not None:
                if len(self.ended) >= ENDED_MAX:
                    del self.ended[next(iter(self.ended))]
                self.ended[intent.entry_id] = (intent, end)
        if end.has_acted and intents and not own:
            message = (
                f"not of the payload, action or actor that the intent of entry {intents[-1].number} says"
            )
            yield finding("guard.outcome_differs", message, end.number, found=intents[-1].number)

    def _intent(self, entry_id: str) -> Intent | None:
        """The intent of this id, if there is one and it is remembered."""
        ended = self.ended.get(entry_id)
        return self.intents.get(entry_id) if ended is None else ended[0]

    def _again(self, intent: Intent, end: ActEnd) -> Finding:
        """What is wrong with it as a further end of one act."""
        _, first = self.ended[intent.entry_id]
        if end.has_acted and not first.has_acted:
            message = f"acted on the intent of entry {intent.number}, which entry {first.number} blocked"
            return finding("guard.forbidden", message, end.number, found=first.number)
        message = f"the act decided by entry {intent.number} has ended by entry {first.number} already"
        return finding("guard.outcome_repeated", message, end.number, found=first.number)

    def count(self, session: bytes, number: int, counter: int) -> Iterator[Finding]:
        """Gather one counter of a session, which 16 bytes name; gives what is wrong with it."""
        known = self.counters.get(session)
        if known is not None:
            yield from _compare(number, known.last, counter)
            known.last = max(known.last, counter)
        elif len(self.counters) < COUNTERS_MAX:
            self.counters[session] = Counted(number, counter, counter)
        else:
            self.untracked_counters += 1


def _compare(number: int, last: int, counter: int) -> Iterator[Finding]:
    due = last + 1
    if counter > due:
        message = f"the actor's counter is {counter}, {due} is due: {counter - due} entries are not there"
        yield finding("actor.counter_gap", message, number, expected=due, found=counter)
    elif counter < due:
        message = f"the actor's counter is {counter} again, {due} is due"
        yield finding("actor.counter_repeated", message, number, expected=due, found=counter)


def _is_forbidden(entry: Entry) -> bool:
    return (
        entry.safety_floor_met is False
        or entry.k_state != 1
        or not entry.proofs_valid
        or not entry.quorum_met
        or entry.execution_status is ExecutionStatus.BLOCKED
    )  # fmt: skip


def _was_forbidden(entry: Entry) -> bool:
    """The same of an outcome. Approvals may have expired during the act, if there were any."""
    lacks_quorum = not entry.quorum_met and not entry.received_approvals
    return (
        entry.safety_floor_met is False or entry.k_state != 1 or not entry.proofs_valid or lacks_quorum
    )  # fmt: skip


def _act(entry: Entry) -> bytes:
    """What was to be done or was done, and by whom, in 16 bytes."""
    text = f"{entry.action_hash}\n{entry.action_type}\n{entry.actor_id}"
    return sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


def _session(entry: Entry) -> bytes:
    """A hostile entry's names are up to 64 kB each; what is kept of them is 16 bytes."""
    session = entry.actor_context.get("session")
    text = f"{entry.actor_id}\n{session if isinstance(session, str) else ''}"
    return sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
