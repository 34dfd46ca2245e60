"""What actors say of themselves: guarded acts and their outcomes, counters without gaps, heads they saw.

An intent (a DECISION that a guard wrote) is open until an outcome or a
VIOLATION depends on it. A counter goes on by one within an actor's session.
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

from attestlog._internal.core.entry import Entry
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

COUNTERS_MAX: Final = 100_000
"""Sessions that are counted: about 15 MB."""

INTENT, OUTCOME, VIOLATION = "intent", "outcome", "violation"
"""What `actor_context.guard` can say."""


class Intent(NamedTuple):
    """A guarded act that was decided."""

    number: int
    is_forbidden: bool
    """Whether the intent by itself says that the policy forbids it."""


class Closing(NamedTuple):
    """An entry that ends a guarded act."""

    intent_id: str
    number: int
    has_acted: bool


class Counted(Struct):
    """One session's counter."""

    first_number: int
    first: int
    last: int


class Conduct(Struct):
    """Of some lines in a row, or of all so far."""

    intents: dict[str, Intent] = field(default_factory=dict)
    """By entry id: those that are open."""
    closings: list[Closing] = field(default_factory=list)
    """Ends of acts that began before these lines."""
    counters: dict[bytes, Counted] = field(default_factory=dict)
    untracked_intents: int = 0
    untracked_counters: int = 0

    def add(self, entry: Entry) -> Iterator[Finding]:
        """Gather an entry that has a context; gives what is wrong with it."""
        role = entry.actor_context.get("guard")
        if role == INTENT:
            if len(self.intents) < INTENTS_MAX:
                self.intents[entry.entry_id] = Intent(entry.sequence_number, _is_forbidden(entry))
            else:
                self.untracked_intents += 1
        elif role in (OUTCOME, VIOLATION):
            if role == OUTCOME and _was_forbidden(entry):
                message = "acted although the entry itself says that the policy forbids it"
                yield finding("guard.forbidden", message, entry.sequence_number)
            for wanted in entry.dependencies:
                yield from self._close(Closing(wanted, entry.sequence_number, role == OUTCOME), is_first=True)
        counter = entry.actor_context.get("counter")
        if type(counter) is int and counter >= 0:
            yield from self._count(_session(entry), entry.sequence_number, counter)

    def join(self, later: Conduct, *, is_whole: bool) -> Iterator[Finding]:
        """Add that of the lines that follow. `is_whole`: the log is read from its first entry on."""
        for closing in later.closings:
            yield from self._close(closing, is_first=False)
        for entry_id, intent in later.intents.items():
            if len(self.intents) < INTENTS_MAX:
                self.intents[entry_id] = intent
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
        self.untracked_intents += later.untracked_intents
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

    def _close(self, closing: Closing, *, is_first: bool) -> Iterator[Finding]:
        intent = self.intents.pop(closing.intent_id, None)
        if intent is None:
            if is_first:
                self.closings.append(closing)
        elif intent.is_forbidden and closing.has_acted:
            message = f"acted on the intent of entry {intent.number}, which the policy forbade"
            yield finding("guard.forbidden", message, closing.number, found=intent.number)

    def _count(self, session: bytes, number: int, counter: int) -> Iterator[Finding]:
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
    )  # fmt: skip


def _was_forbidden(entry: Entry) -> bool:
    """The same of an outcome. Approvals may have expired during the act, if there were any."""
    lacks_quorum = not entry.quorum_met and not entry.received_approvals
    return (
        entry.safety_floor_met is False or entry.k_state != 1 or not entry.proofs_valid or lacks_quorum
    )  # fmt: skip


def _session(entry: Entry) -> bytes:
    """A hostile entry's names are up to 64 kB each; what is kept of them is 16 bytes."""
    session = entry.actor_context.get("session")
    text = f"{entry.actor_id}\n{session if isinstance(session, str) else ''}"
    return sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
