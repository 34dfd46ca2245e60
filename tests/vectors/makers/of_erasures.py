"""Vectors of erasures of many: logs with an entry that erases a range, and what verifiers find of them."""

from __future__ import annotations

import json
from typing import Any

from tests.support.shapes import BOOT
from tests.vectors.makers.cases import Case
from tests.vectors.makers.of_rules import HOLD, Chain, pointed

from attestlog._internal.core.erasure import erase_line, format_erasure, parse_range_erasure, plan_range
from attestlog._internal.core.policy import parse_policy
from attestlog._internal.core.policy_change import set_policy_payload

CHAT: Case = {**BOOT, "event_type": "ACTION", "action_type": "chat.one"}
DEPLOY: Case = {**CHAT, "action_type": "deploy"}


class Erasing(Chain):
    """Genesis and BOOT; then from entry 2 on `chat.one`, `deploy`, `chat.one`, `chat.one`."""

    def __init__(self) -> None:
        super().__init__()
        self.add(CHAT).add(DEPLOY).add(CHAT, CHAT)

    def say(self, start: int, stop: int, /, *types: str, **changes: Any) -> Erasing:
        """The entry that erases a range; the payloads stay."""
        lines = [line.encode() for line in self.lines[start:stop]]
        erasure = plan_range(
            lines, start, stop, action_types=types or ["chat.*"], reason="too old", legal_basis=None
        )
        members = {name: changes.pop(name) for name in ("event_type", "execution_status") if name in changes}
        self.change("erase_payloads", format_erasure(erasure) | changes, **members)
        return self

    def go(self, *numbers: int) -> Erasing:
        """These payloads go."""
        for number in numbers:
            self.lines[number] = erase_line(self.lines[number].encode()).decode()
        return self

    def erase_many(self, start: int, stop: int, /, *types: str, **changes: Any) -> Erasing:
        """Both, as a writer does it."""
        self.say(start, stop, *types, **changes)
        erasure = parse_range_erasure(json.loads(self.lines[-1])["action_payload"])
        named = [number for number in range(start, stop) if erasure.names(self._type(number))]
        return self.go(*named)

    def hold(self, start: int, stop: int | None) -> Erasing:
        self.change("place_legal_hold", {**HOLD, "start": start, "stop": stop})
        return self

    def erasing_policy(self, **erasure: Any) -> Erasing:
        policy = parse_policy({"erasure": erasure})
        self.change("set_policy", set_policy_payload(self.rules, policy))
        return self

    def _type(self, number: int) -> str:
        return str(json.loads(self.lines[number])["action_type"])


def ranges() -> list[Case]:
    first = Erasing().erase(2)
    assert isinstance(first, Erasing)
    return [
        pointed("a range goes", Erasing().erase_many(2, 6)),
        pointed("a range of two kinds", Erasing().erase_many(2, 6, "deploy", "chat.on?")),
        pointed("a range, and a glob that is plain", Erasing().erase_many(2, 6, r"chat\.one")),
        pointed("what was erased before is not counted again", first.erase_many(2, 6)),
        pointed("two ranges, one over the other", Erasing().erase_many(2, 4).erase_many(2, 6)),
        pointed("a range that is not finished", Erasing().say(2, 6).go(2)),
        pointed("what an earlier erasure left is counted again", Erasing().say(2, 3).erase_many(2, 6)),
        pointed("a hold on another kind within the range", Erasing().hold(3, 4).erase_many(2, 6)),
        pointed("a hold that begins after the range", Erasing().hold(5, None).erase_many(2, 5)),
        pointed("a hold placed later", Erasing().erase_many(2, 6).hold(0, None)),
        *_missing(),
        *_malformed(),
        *_refused(),
    ]


def _missing() -> list[Case]:
    missing = "entry.payload_missing"
    return [
        pointed("a payload before the range is gone", Erasing().erase_many(4, 6).go(2), (missing, 2)),
        pointed("a payload after the range is gone", Erasing().erase_many(2, 5).go(5), (missing, 5)),
        pointed("a payload of another kind is gone", Erasing().erase_many(2, 6).go(3), (missing, 3)),
        *(
            pointed(f"a range that is only a record, {' '.join(members.values())}", made, (missing, 2))
            for members in (
                {"event_type": "DECISION"}, {"event_type": "VIOLATION"}, {"execution_status": "FAILED"},
                {"execution_status": "BLOCKED"}, {"execution_status": "ROLLED_BACK"},
            )
            for made in [Erasing().say(2, 3, **members).go(2)]
        ),
    ]  # fmt: skip


def _malformed() -> list[Case]:
    wrong = "erasure.malformed"
    bad: dict[str, dict[str, Any]] = {
        "of no entries": {"start": 6}, "that reaches its own entry": {"stop": 7},
        "of no kinds": {"action_types": []},
        "of too many kinds": {"action_types": ["x"] * 65}, "that erases none": {"count": 0},
        "of more payloads than entries": {"count": 5}, "with a member too many": {"colour": "red"},
        "without a reason": {"reason": ""}, "with a number that is text": {"start": "2"},
    }  # fmt: skip
    return [
        *(
            pointed(
                f"a range {name}", Erasing().say(2, 6, **changes).go(2), (wrong, 6),
                ("entry.payload_missing", 2),
            )
            for name, changes in bad.items()
        ),
        pointed("another last entry", Erasing().erase_many(2, 6, last_entry_hash="0" * 64), (wrong, 6)),
        pointed("too few are counted", Erasing().erase_many(2, 6, count=2), (wrong, 6)),
        pointed("too many are counted", Erasing().erase_many(2, 6, count=4), (wrong, 6)),
        pointed(
            "a payload that went without a word, within a later range",
            Erasing().go(4).erase_many(2, 6), (wrong, 6),
        ),
    ]  # fmt: skip


def _refused() -> list[Case]:
    refused = "erasure.refused"
    kept = Erasing().hold(50, None).add(CHAT)
    assert isinstance(kept, Erasing)
    return [
        pointed("a range under hold", Erasing().hold(4, 5).erase_many(2, 6), ("erasure.held", 7)),
        pointed(
            "a range under a hold without end", Erasing().hold(0, None).erase_many(2, 6), ("erasure.held", 7)
        ),
        pointed("a range with an entry that governs", kept.say(2, 8, "*", count=6), (refused, 8)),
        pointed(
            "a range that the policy holds", Erasing().erasing_policy(held=["chat.*"]).erase_many(2, 6),
            (refused, 7),
        ),
        pointed(
            "a range that is too young", Erasing().erasing_policy(retain_days=1).erase_many(2, 6),
            (refused, 7),
        ),
        pointed(
            "a range on no legal basis", Erasing().erasing_policy(legal_bases=["x"]).erase_many(2, 6),
            (refused, 7),
        ),
        pointed(
            "a range that nobody approved", _unapproved(), (refused, 6),
        ),
    ]  # fmt: skip


def _unapproved() -> Erasing:
    made = Erasing().say(2, 6)
    payload = json.loads(made.lines.pop())["action_payload"]
    again = Erasing()
    again.change("erase_payloads", payload, required_approvals=1)
    return again.go(2, 4, 5)
