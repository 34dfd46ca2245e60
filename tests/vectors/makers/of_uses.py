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
    def judged(name: str, row: Row, used_by: dict[int, int] | None = None, **facts: Any) -> Case:
        """`used_by`: entry → the one that used its request first."""
        policy = facts.pop("policy", POLICY)
        found = [[number, by] for number, by in (used_by or {}).items()]
        return case(
            f"uses: {name}", policy=policy, log=LOG._asdict(), entries=row.entries, used_by=found, **facts
        )  # fmt: skip

    until = NOON_S + 1 + 60 + DAY_S
    longer = {**POLICY, "rules": {"pay": {"required_approvals": 1, "expires_max_s": 2_592_000}}}
    month = signed(BO, lasting=30 * DAY_S)
    return [
        judged("once", Row().add()),
        judged("twice", Row().add().add(), {2: 1}),
        judged("thrice", Row().add().add().add(), {2: 1, 3: 1}),
        judged("two requests", Row().add().add(signed(ANA, request="another"))),
        judged("by another approver of the same request", Row().add().add(signed(BO)), {2: 1}),
        judged("an intent and its outcome", Row().intent().outcome(1)),
        judged("a second outcome", Row().intent().outcome(1).outcome(1), {3: 1}),
        judged("the outcome of another intent", Row().intent().outcome(9), {2: 1}),
        judged("an outcome that depends on other entries, too", Row().intent().outcome(1, dependencies=[entry_id(9), entry_id(1)])),
        judged("two intents", Row().intent().intent(), {2: 1}),
        judged("two intents and an outcome of each", Row().intent().intent().outcome(1).outcome(2), {2: 1, 4: 1}),
        judged("an intent and a bare act", Row().intent().add(), {2: 1}),
        judged("a bare act and an intent", Row().add().intent(), {2: 1}),
        judged("a bare act that depends on the intent", Row().intent().add(dependencies=[entry_id(1)]), {2: 1}),
        judged("an outcome without an intent", Row().outcome(9).add(), {2: 1}),
        judged("an act that calls itself an intent", Row().add(actor_context={"guard": "intent"}).outcome(1), {2: 1}),
        judged("an act that calls itself something else", Row().add(actor_context={"guard": "x"}).add(), {2: 1}),
        judged("blocked, then done", Row().add(execution_status="BLOCKED").add()),
        judged("done, then blocked", Row().add().add(execution_status="BLOCKED")),
        judged("an intent that was blocked", Row().intent(execution_status="BLOCKED").intent().outcome(2)),
        judged("failed, then done", Row().add(execution_status="FAILED").add(), {2: 1}),
        judged("rolled back, then done", Row().add(execution_status="ROLLED_BACK").add(), {2: 1}),
        judged("an act that failed, then another", Row().intent().outcome(1, execution_status="FAILED").intent(), {3: 1}),
        judged("what does not count uses nothing", Row().add([{**signed(ANA)[0], "signature": "00" * 64}]).add()),
        judged("two requests in one entry use none", Row().add([*signed(ANA), *signed(BO, request="another")]).add()),
        judged("the last moment", Row().add().add(at=DAY_S), {2: 1}),
        judged("after it expired", Row().add().add(at=DAY_S + 0.000001)),
        judged("by another's approval that counts for longer", Row().add(signed(ANA, lasting=7_200)).add(signed(BO), at=7_200.000001), {2: 1}),
        judged("at the last moment at which an approval can count", Row().add(month, at=0).add(month, at=30 * DAY_S), {2: 1}, policy=longer),
        judged("longer ago than an approval may count", Row().add().add(month, at=until + 0.000001)),
        judged("at the last moment that is remembered", Row().add().add(signed(BO, dated=60 + NOON_S + 1), at=until), {2: 1}),
        judged("approved when it had been used", Row().add().add(signed(BO, dated=61.000001 + NOON_S), at=NOON_S + 70)),
        judged("approved just before it was used, by a clock a minute ahead", Row().add().add(signed(BO, dated=61 + NOON_S), at=NOON_S + 70), {2: 1}),
        judged("one that was used with one that was not", Row().add().add([*signed(ANA), *signed(BO, dated=NOON_S + 70)], at=NOON_S + 80), {2: 1}),
    ]  # fmt: skip
