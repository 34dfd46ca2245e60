"""Vectors of the rules in force: which entries change them, and how each entry names those it is under."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tests.support.shapes import BOOT, NOW_US, ORIGIN, PrivateKey, entry_id, planned, prepared
from tests.vectors.makers.cases import Case, case, seal, sign
from tests.vectors.makers.of_logs import tiny_genesis
from tests.vectors.makers.of_rotation import NEW, OLD, rotation_to

from attestlog._internal.core import canonical
from attestlog._internal.core.batch import Head, prepare
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.erasure import Erasure, erase_line, format_erasure
from attestlog._internal.core.genesis import draft_genesis, parse_genesis
from attestlog._internal.core.hashes import hex_hash, leaf_hash
from attestlog._internal.core.merkle import Span
from attestlog._internal.core.pointer import HOLDS_MEMBER, RULES_MEMBER, Pointers
from attestlog._internal.core.policy import parse_policy
from attestlog._internal.core.policy_change import set_policy_payload
from attestlog._internal.core.reserved import GENESIS, GOVERNING, KNOWN
from attestlog._internal.core.rules import Rules, format_hold, release_of

HOLD = {"name": "case-7", "start": 0, "stop": None, "reason": "litigation"}


class Chain:
    """The lines of a log, whose entries name the rules they stand under, or what they are told to."""

    def __init__(self) -> None:
        self.head, self.lines = Head(), list[str]()
        self.key: PrivateKey = OLD
        self.rules = Rules.of(tiny_genesis())
        made = tiny_genesis()
        first = prepare(draft_genesis(made), made.policy, entry_id=entry_id(0), environment={})
        self._seal([first])
        self.rules = Rules.of(parse_genesis(decode_line(self.lines[0].encode())))
        self.add(BOOT)

    def add(self, *shapes: Case, pointers: Pointers | None = None) -> Chain:
        """One batch."""
        start = len(self.lines)
        self._seal([prepared(shape, number) for number, shape in enumerate(shapes, start)], pointers)
        return self

    def change(self, name: str, payload: Case, pointers: Pointers | None = None, **members: Any) -> Chain:
        return self.add(change(name, payload, **members), pointers=pointers)

    def rotate(self, new: PrivateKey = NEW) -> Chain:
        _, name, payload = rotation_to(new, len(self.lines), self.key)
        self.add({**change("", payload), "action_type": name})
        self.key = new
        return self

    def set_policy(self, **members: Any) -> Chain:
        return self.add(policy_change(self.rules, **members))

    def erase(self, number: int) -> Chain:
        target = decode_line(self.lines[number].encode())
        self.change("erase_payload", format_erasure(Erasure.of(target, "asked for", None)))
        self.lines[number] = erase_line(self.lines[number].encode()).decode()
        return self

    def pointer(self, number: int) -> str:
        return f"{number}:{json.loads(self.lines[number])['entry_hash']}"

    def without(self, *numbers: int) -> list[str | None]:
        """The lines, but for those that could not be read."""
        return [None if number in numbers else line for number, line in enumerate(self.lines)]

    def _seal(self, items: Sequence[Any], pointers: Pointers | None = None) -> None:
        plan = planned(list(items), self.key, self.head, pointers=pointers or self.rules.pointers)
        lines = seal(plan, self.key)
        self.rules, _ = self.rules.following(line.encode() for line in lines)
        self.lines += lines
        self.head = plan.head


def change(name: str, payload: Case, **members: Any) -> Case:
    shape = {"event_type": "CHANGE", "action_type": f"attestlog.{name}", "actor_id": "operator"}
    return {**shape, "action_payload": payload, **members}


def policy_change(rules: Rules, **members: Any) -> Case:
    return change("set_policy", set_policy_payload(rules, parse_policy({"safety_floor": 5})), **members)


def pointed(
    name: str, made: Chain, *findings: tuple[str, int], lines: list[str | None] | None = None
) -> Case:
    """What verifiers find of the rules; and what an entry that comes next must have, where that is known."""
    given = [line.encode() for line in made.lines]
    rules, _ = Rules.of(parse_genesis(decode_line(given[0]))).following(given[1:])
    is_known = "entry.unjudged" not in dict(findings)
    after = rules.pointers._asdict() if is_known else None
    wrong = list(map(list, findings))
    error = findings[0][0] if findings else None
    return case(name, error, origin=ORIGIN, lines=lines or made.lines, findings=wrong, pointers=after)


def restated(text: Callable[[str], str | None], member: str = "rules") -> Chain:
    """The second entry after the genesis with another pointer than `0:` and the hash of the genesis entry."""
    made = Chain()
    right = made.rules.pointers
    return made.add(BOOT, pointers=right._replace(**{member: text(str(right.rules))}))


def rules() -> list[Case]:
    def wrong(name: str, text: Callable[[str], str | None], member: str = "rules") -> Case:
        return pointed(name, restated(text, member), ("entry.rules", 2))

    return [*_right(), *_wrong(wrong), *_unread(), *_names(), *_drafts()]


def _right() -> list[Case]:
    released = Chain().change("place_legal_hold", HOLD)
    release = format_hold(release_of(released.rules, "case-7", "settled"))
    released.change("release_legal_hold", release).add(BOOT)
    held = Chain().change("place_legal_hold", HOLD).add(BOOT)
    failed, blocked, rolled_back = (
        Chain().set_policy(execution_status=status).add(BOOT)
        for status in ("FAILED", "BLOCKED", "ROLLED_BACK")
    )
    return [
        pointed("genesis and first entry", Chain()),
        pointed("after a change of policy", Chain().set_policy().add(BOOT)),
        pointed("after a rotation", Chain().rotate().add(BOOT)),
        pointed("after a rotation and a change of policy", Chain().rotate().set_policy().add(BOOT)),
        pointed("after a hold", held),
        pointed("after a hold and its release", released),
        pointed(
            "a hold does not move the other pointer",
            Chain().rotate().change("place_legal_hold", HOLD).add(BOOT),
        ),
        pointed("after a change that failed", failed),
        pointed("after a change that was blocked", blocked),
        pointed("after a change that was rolled back", rolled_back),
        pointed("after an intent", Chain().set_policy(event_type="DECISION").add(BOOT)),
    ]


def _wrong(wrong: Callable[..., Case]) -> list[Case]:
    changed = Chain().set_policy()
    old, new = Chain().rules.pointers, changed.rules.pointers
    other_hash = "0" * 64
    bad = Chain().change("set_policy", {"policy": {"safety_floor": 99}})
    bad_pointer = Pointers(bad.pointer(2))
    failed = Chain().set_policy(execution_status="FAILED")
    erased = Chain().set_policy().add(BOOT).erase(2).add(BOOT)
    across = Chain().add(BOOT, policy_change(Chain().rules), BOOT)
    moved_early = Chain()
    moved_early.add(policy_change(moved_early.rules), pointers=Pointers(f"2:{other_hash}"))
    return [
        wrong("another hash", lambda right: f"0:{other_hash}"),
        wrong("another number", lambda right: f"1:{right[2:]}"),
        wrong("a leading zero", lambda right: f"0{right}"),
        wrong("a sign", lambda right: f"+{right}"),
        wrong("in upper case", str.upper),
        wrong("a space", lambda right: f" {right}"),
        wrong("missing", lambda right: None),
        wrong("of a hold that there never was", lambda right: right, member="holds"),
        pointed(
            "right in number, and of another change",
            Chain().set_policy().add(BOOT, pointers=Pointers(f"2:{other_hash}")),
            ("entry.rules", 3),
        ),
        pointed(
            "still the old one after a change", Chain().set_policy().add(BOOT, pointers=old),
            ("entry.rules", 3),
        ),
        pointed(
            "one entry early, in the change itself", moved_early, ("entry.change", 2), ("entry.rules", 2)
        ),
        pointed(
            "of a change that failed", failed.add(BOOT, pointers=Pointers(failed.pointer(2))),
            ("entry.rules", 3),
        ),
        pointed(
            "of a change that does not hold", bad.add(BOOT, pointers=bad_pointer),
            ("entry.change", 2), ("entry.rules", 3),
        ),
        pointed(
            "after a change that does not hold",
            Chain().change("set_policy", {"policy": {"safety_floor": 99}}).add(BOOT), ("entry.change", 2),
        ),
        pointed(
            "of a change whose payload was erased", erased,
            ("entry.change", 2), ("erasure.refused", 4), ("entry.rules", 3),
        ),
        pointed(
            "the holds forgotten",
            Chain().change("place_legal_hold", HOLD).add(BOOT, pointers=old),
            ("entry.rules", 3),
        ),
        pointed("a batch across a change", across, ("entry.rules", 4)),
        pointed(
            "three entries with one wrong value are one finding",
            Chain().add(BOOT, BOOT, BOOT, pointers=Pointers(f"0:{other_hash}")),
            ("entry.rules", 2),
        ),
        pointed("on entry 0", _genesis_with(new), ("entry.rules", 0)),
    ]  # fmt: skip


def _genesis_with(pointers: Pointers) -> Chain:
    """A log whose genesis entry has a pointer, as an entry that is not the first would."""
    made = Chain()
    members = json.loads(made.lines[0])
    members["environment"] = {RULES_MEMBER: pointers.rules}
    covered = {name: members[name] for name in members if name not in ("action_payload", "hsm_signature")}
    del covered["entry_hash"]
    members["entry_hash"] = hex_hash(canonical.encode(covered))
    members["hsm_signature"] = sign(OLD, bytes.fromhex(members["entry_hash"])).hex()
    made.lines = [canonical.encode(members).decode()]
    first = decode_line(made.lines[0].encode())
    made.rules = Rules.of(parse_genesis(first))
    made.head = Head(
        1, first.entry_hash, NOW_US, Span().extended([leaf_hash(bytes.fromhex(first.entry_hash))])
    )
    return made.add(BOOT)


def _unread() -> list[Case]:
    """Entries 2 to 4 could not be read; what follows says which rules it stands under."""
    same = Chain().add(BOOT).add(BOOT).add(BOOT).add(BOOT)
    changed = Chain().add(BOOT).set_policy().add(BOOT).add(BOOT).add(BOOT)
    back = Chain().rotate()
    back.add(BOOT).add(BOOT).add(BOOT, pointers=Chain().rules.pointers)
    listed = pointed(
        "changed in what could not be read, and the change is at hand",
        changed,
        lines=changed.without(2, 3, 4),
    )
    other = Chain().add(BOOT)
    other.change("set_policy", set_policy_payload(other.rules, parse_policy({"safety_floor": 0})))
    in_its_place = pointed(
        "changed in what could not be read, and another change of that number is at hand", changed,
        ("entry.unjudged", 5), lines=changed.without(2, 3, 4),
    )  # fmt: skip
    return [
        pointed("the same after entries that could not be read", same, lines=same.without(2, 3, 4)),
        {**listed, "elsewhere": {"3": changed.lines[3]}},
        {**in_its_place, "elsewhere": {"3": other.lines[3]}},
        pointed(
            "changed in what could not be read", changed, ("entry.unjudged", 5),
            lines=changed.without(2, 3, 4),
        ),
        pointed(
            "older than what was known before the entries that could not be read", back,
            ("entry.rules", 5), ("entry.unjudged", 5), lines=back.without(3, 4),
        ),
    ]  # fmt: skip


def _names() -> list[Case]:
    """Whether an entry acts, by name: only a CHANGE of status SUCCESS does."""
    known = sorted({*KNOWN, GENESIS, "attestlog.set_colour"})
    return [
        case(
            f"name {name}",
            action_type=name,
            acts=[["CHANGE", "SUCCESS"]],
            governs=name in GOVERNING,
            is_newer=name not in KNOWN,
        )
        for name in known
    ]


def _drafts() -> list[Case]:
    names = (
        "attestlog.set_colour", "Attestlog.set_policy", "ATTESTLOG.SET_POLICY", "attestlog．set_policy",
        "ａttestlog.set_policy", "attestlog.", "attestlog.genesis", "attestlog.signer_outage",
    )  # fmt: skip
    stated = (
        ("attestlog", "1.0.0"), (RULES_MEMBER, str(Chain().rules.pointers.rules)), (HOLDS_MEMBER, "x"),
        ("attestlog_key", "k"), ("attestlog_", ""),
    )  # fmt: skip
    acting = [
        (event_type, f"attestlog.{name}")
        for event_type in ("ACTION", "BOOT", "SHUTDOWN")
        for name in ("set_policy", "signer_outage")
    ]
    draft: Case = {"event_type": "CHANGE", "action_type": "x", "actor_id": "a"}
    error = "malformed.entry"
    return [
        case("a draft of a name of the user's", draft={**draft, "action_type": "attestlogs.set_policy"}),
        case("a draft that adds to the environment", draft={**draft, "environment": {"attestlogs": "x"}}),
        *(case(f"a draft named {name}", error, draft={**draft, "action_type": name}) for name in names),
        *(
            case(
                f"a draft of {event_type} {name}",
                error,
                draft={**draft, "event_type": event_type, "action_type": name},
            )
            for event_type, name in acting
        ),
        *(
            case(f"a draft that states {name} {number}", error, draft={**draft, "environment": {name: value}})
            for number, (name, value) in enumerate(stated)
        ),
    ]
