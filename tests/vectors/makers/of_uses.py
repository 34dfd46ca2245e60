"""Vectors of what is good for one act only: requests for approval, changes of policy, releases of holds."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
from tests.support.people import DATED, ROLES, Person, members_of, request_id_of
from tests.support.shapes import LOG, NOW_US, entry_id, p256_key, planned, prepared
from tests.vectors.makers.cases import Case, case, seal
from tests.vectors.makers.of_logs import tiny_genesis

from attestlog._internal.core.batch import Head, Prepared, prepare
from attestlog._internal.core.entry import decode_line, format_timestamp, parse_timestamp
from attestlog._internal.core.genesis import draft_genesis, parse_genesis
from attestlog._internal.core.policy import parse_policy
from attestlog._internal.core.policy_change import modify_rule_payload, set_policy_payload
from attestlog._internal.core.rules import Rules
from attestlog.errors import RuleChangeError

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


# --- changes of the log itself, which a replay does not bring back ---


CHANGER = "counsel"
GOVERNED_BY_ONE = {
    "approvers": members_of(ANA), "rules": {"log": {"action_types": ["attestlog.*"], "required_approvals": 1}}
}  # fmt: skip


class Changes:
    """A log of the genesis entry and changes of it, each approved, and signed alone."""

    def __init__(self) -> None:
        policy = parse_policy(GOVERNED_BY_ONE)
        self.genesis = msgspec.structs.replace(tiny_genesis(), policy=policy)
        first = prepare(draft_genesis(self.genesis), policy, entry_id=entry_id(0), environment={})
        self.head, self.lines = Head(), list[str]()
        self.rules = Rules.of(self.genesis)
        self._store(first)
        self.rules = Rules.of(parse_genesis(decode_line(self.lines[0].encode())))
        self.held: list[int] = []

    def add(self, action_type: str, payload: Case) -> Changes:
        draft = {
            "event_type": "CHANGE", "action_type": f"attestlog.{action_type}", "actor_id": CHANGER,
            "action_payload": payload,
        }  # fmt: skip
        return self.again({**draft, "received_approvals": [ANA.approve(draft, self.rules.log)]})

    def again(self, draft: Case) -> Changes:
        """Also what was appended before."""
        number = len(self.lines)
        self._store(prepared(draft, number, self.rules.policy, log=self.rules.log, now_us=NOW_US))
        self.last = draft
        with contextlib.suppress(RuleChangeError):
            self.rules = self.rules.after(decode_line(self.lines[-1].encode()))
            self.held.append(number)
        return self

    def floor(self, value: float, **replaces: Any) -> Changes:
        payload = modify_rule_payload(
            self.rules, "safety_floor", value, proposal_id="P", change_description="why"
        )
        return self.add("modify_policy_rule", {**payload, "replaces": {**payload["replaces"], **replaces}})

    def hold(self) -> Changes:
        payload = {"name": "case-7", "start": 0, "stop": None, "reason": f"hold {len(self.lines)}"}
        return self.add("place_legal_hold", payload)

    def release(self, **placed_by: Any) -> Changes:
        named = msgspec.to_builtins(self.rules.placed_by["case-7"]) | placed_by
        return self.add("release_legal_hold", {"name": "case-7", "placed_by": named, "reason": "settled"})

    def _store(self, item: Prepared) -> None:
        plan = planned([item], p256_key(), self.head, pointers=self.rules.pointers)
        self.lines += seal(plan, p256_key())
        self.head = plan.head


def made(name: str, log: Changes) -> Case:
    """`held`: the entries that changed the rules; those not among them do not hold."""
    return case(f"changes: {name}", lines=log.lines, held=log.held)


def policy_changes() -> list[Case]:
    other = "0" * 64
    replayed, between = Changes().floor(8), Changes().floor(8)
    first = replayed.last
    late = Changes().floor(8).hold()
    whole = Changes()
    lax = whole.add("set_policy", set_policy_payload(whole.rules, whole.rules.policy)).last
    missing = Changes().floor(8)
    payload = {name: value for name, value in missing.last["action_payload"].items() if name != "replaces"}
    return [
        made("one after another", between.floor(9).floor(7)),
        made("an old one again", replayed.floor(9).floor(8).again(first)),
        made("an old policy again", whole.floor(9).again(lax)),
        made("with a hold between", late.floor(9)),
        made("it names another entry", Changes().floor(8, sequence_number=1)),
        made("it names an entry of another hash", Changes().floor(8, entry_hash=other)),
        made("it names the right hash and another number", Changes().floor(8).floor(9, sequence_number=0)),
        made("it names more", Changes().floor(8, colour="red")),
        made(
            "it names nothing", missing.add("modify_policy_rule", {**payload, "old_value": 8, "new_value": 9})
        ),
    ]


def releases() -> list[Case]:
    replayed = Changes().hold().release()
    ended = replayed.last
    return [
        made("a hold, and its end", Changes().hold().release()),
        made("an old release of a new hold", replayed.hold().again(ended)),
        made("a release that names another number", Changes().hold().release(sequence_number=0)),
        made("a release that names another hash", Changes().hold().release(entry_hash="0" * 64)),
        made("a release with a change of the policy between", Changes().hold().floor(8).release()),
    ]
