"""Vectors of what uses a request up: entries in a row, and which of them uses one that was used before."""

from __future__ import annotations

from typing import Any

from tests.support.people import DATED, ROLES, Person, members_of, request_id_of
from tests.support.shapes import LOG, entry_id
from tests.vectors.makers.cases import Case, case

from attestlog._internal.core.entry import format_timestamp, parse_timestamp

ACT: Case = {
    "event_type": "ACTION", "action_type": "pay", "actor_id": "robot-1",
    "action_payload": {"to": "bo", "amount": 100},
}  # fmt: skip
ANA, BO = Person("creator"), Person("community")
POLICY = {
    "approvers": members_of(*map(Person, ROLES)), "rules": {"pay": {"required_approvals": 1}}
}  # fmt: skip
NOON_S = 3_600.0
"""Entries begin at noon; the approvals are dated an hour before."""
DAY_S = 86_400.0


def moment(seconds: float) -> str:
    """So long after the date of the approvals."""
    return format_timestamp(parse_timestamp(DATED) + round(seconds * 1_000_000))


def signed(
    *people: Person, request: str = "a request", dated: float = 0, lasting: float = DAY_S
) -> list[Case]:
    said = {
        "timestamp": moment(dated),
        "expires": moment(dated + lasting),
        "request_id": request_id_of(request),
    }
    return [person.approve(ACT, LOG, **said) for person in people]


class Row:
    """Entries in a row, from number 1 on, a second after another unless they say when."""

    def __init__(self) -> None:
        self.entries: list[Case] = []

    def add(self, approvals: list[Case] | None = None, *, at: float | None = None, **members: Any) -> Row:
        number = len(self.entries) + 1
        timestamp = moment(NOON_S + number if at is None else at)
        received = signed(ANA) if approvals is None else approvals
        self.entries.append({
            "sequence_number": number, "entry_id": entry_id(number), "timestamp": timestamp,
            "facts": {**ACT, "received_approvals": received, **members},
        })  # fmt: skip
        return self

    def intent(self, approvals: list[Case] | None = None, **members: Any) -> Row:
        context = {"actor_context": {"guard": "intent"}}
        return self.add(approvals, **{**context, "event_type": "DECISION", **members})

    def outcome(self, of: int, approvals: list[Case] | None = None, **members: Any) -> Row:
        context: Case = {"actor_context": {"guard": "outcome"}, "dependencies": [entry_id(of)]}
        return self.add(approvals, **{**context, **members})


def uses() -> list[Case]:
    return [*acts(), *guarded_acts(), *moments(), *of_several_people()]


def judged(name: str, row: Row, used_by: dict[int, int] | None = None, policy: Case = POLICY) -> Case:
    """`used_by`: entry → the one that used its request first."""
    found = [[number, by] for number, by in (used_by or {}).items()]
    return case(
        f"uses: {name}", policy=policy, log=LOG._asdict(), entries=row.entries, used_by=found
    )  # fmt: skip


def ended(status: str) -> dict[str, Any]:
    return {"execution_status": status}


def called(role: str) -> dict[str, Any]:
    return {"actor_context": {"guard": role}}


def acts() -> list[Case]:
    blocked, failed, undone = map(ended, ("BLOCKED", "FAILED", "ROLLED_BACK"))
    forged = [{**signed(ANA)[0], "signature": "00" * 64}]
    mixed = [*signed(ANA), *signed(BO, request="another")]
    return [
        judged("once", Row().add()),
        judged("twice", Row().add().add(), {2: 1}),
        judged("thrice", Row().add().add().add(), {2: 1, 3: 1}),
        judged("two requests", Row().add().add(signed(ANA, request="another"))),
        judged("blocked, then done", Row().add(**blocked).add()),
        judged("done, then blocked", Row().add().add(**blocked)),
        judged("failed, then done", Row().add(**failed).add(), {2: 1}),
        judged("rolled back, then done", Row().add(**undone).add(), {2: 1}),
        judged("what does not count uses nothing", Row().add(forged).add()),
        judged("two requests in one entry use none", Row().add(mixed).add()),
    ]


def guarded_acts() -> list[Case]:
    other, own = entry_id(9), entry_id(1)
    blocked, failed = ended("BLOCKED"), ended("FAILED")
    called_intent, called_x = called("intent"), called("x")
    return [
        judged("an intent and its outcome", Row().intent().outcome(1)),
        judged("a second outcome", Row().intent().outcome(1).outcome(1), {3: 1}),
        judged("the outcome of another intent", Row().intent().outcome(9), {2: 1}),
        judged("an outcome of other things, too", Row().intent().outcome(1, dependencies=[other, own])),
        judged("two intents", Row().intent().intent(), {2: 1}),
        judged("two intents, two outcomes", Row().intent().intent().outcome(1).outcome(2), {2: 1, 4: 1}),
        judged("an intent and a bare act", Row().intent().add(), {2: 1}),
        judged("a bare act and an intent", Row().add().intent(), {2: 1}),
        judged("a bare act that depends on an intent", Row().intent().add(dependencies=[own]), {2: 1}),
        judged("an outcome without an intent", Row().outcome(9).add(), {2: 1}),
        judged("an act that calls itself an intent", Row().add(**called_intent).outcome(1), {2: 1}),
        judged("an act that calls itself something else", Row().add(**called_x).add(), {2: 1}),
        judged("an intent that was blocked", Row().intent(**blocked).intent().outcome(2)),
        judged("an act that failed, then another", Row().intent().outcome(1, **failed).intent(), {3: 1}),
    ]


def moments() -> list[Case]:
    longer = {**POLICY, "rules": {"pay": {"required_approvals": 1, "expires_max_s": 2_592_000}}}
    month_s = 30 * DAY_S
    month = signed(BO, lasting=month_s)
    last = Row().add(month, at=0).add(month, at=month_s)
    return [
        judged("the last moment", Row().add().add(at=DAY_S), {2: 1}),
        judged("after it expired", Row().add().add(at=DAY_S + 0.000001)),
        judged("the last moment of 30 days", last, {2: 1}, policy=longer),
    ]


def of_several_people() -> list[Case]:
    """Each has signed at another time, and for another time."""
    used = NOON_S + 1
    until = used + 60 + DAY_S
    brief = signed(ANA, lasting=7_200)
    ahead, since, fresh = (signed(BO, dated=used + later) for later in (59.999999, 60, 60.000001))
    fresh_too = [*signed(ANA), *signed(BO, dated=used + 70)]
    return [
        judged("another approver of one request", Row().add().add(signed(BO)), {2: 1}),
        judged("another's approval counts for longer", Row().add(brief).add(signed(BO), at=7_201), {2: 1}),
        judged("the last moment that is remembered", Row().add().add(since, at=until), {2: 1}),
        judged("longer ago than that", Row().add().add(since, at=until + 0.000001)),
        judged("approved when it had been used", Row().add().add(fresh, at=used + 70)),
        judged("approved before, by a clock a minute ahead", Row().add().add(since, at=used + 70), {2: 1}),
        judged("approved before, by one less ahead", Row().add().add(ahead, at=used + 70), {2: 1}),
        judged("one approval used before, and one not", Row().add().add(fresh_too, at=used + 80), {2: 1}),
    ]
