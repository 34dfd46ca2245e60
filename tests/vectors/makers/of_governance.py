"""Vectors of approvals: each with the policy it is judged by, and why it does not count."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.support.people import DATED, EXPIRES, ROLES, Person, members_of
from tests.support.shapes import CHANGE, ORIGIN, TIMESTAMP
from tests.support.ssh import sshsig
from tests.vectors.makers.cases import Case, case

from attestlog._internal.core import canonical
from attestlog._internal.core.approval import SSH_NAMESPACE, Approval, Request, format_approval, message_of
from attestlog._internal.core.hashes import hex_hash

ACTION_HASH = hex_hash(canonical.encode(CHANGE["action_payload"]))
REQUEST: dict[str, str] = {
    "origin": ORIGIN, "action_type": CHANGE["action_type"], "action_hash": ACTION_HASH,
    "actor_id": CHANGE["actor_id"], "timestamp": TIMESTAMP,
}  # fmt: skip
PEOPLE = {name: Person(name) for name in ROLES}
CREATOR = PEOPLE["creator"]
GOOD = CREATOR.approve(CHANGE, ORIGIN)
SECOND = Person("creator", number=2)
APPROVERS = members_of(*PEOPLE.values(), SECOND)
BOUND = {name: REQUEST[name] for name in ("origin", "action_type", "action_hash")}


def by_ssh() -> dict[str, str]:
    terms = {"signer": "creator", "meaning": "approve", "timestamp": DATED, "expires": EXPIRES}
    message = message_of(Request(**REQUEST), **terms)
    return {
        **terms,
        "key_id": CREATOR.key_id,
        "algorithm": "SSHSIG",
        "signature": sshsig(CREATOR, SSH_NAMESPACE, message),
    }


def approval() -> list[Case]:
    def judged(name: str, codes: list[str | None], *approvals: dict[str, str], **request: str) -> Case:
        return case(
            name, policy={"approvers": APPROVERS}, request={**REQUEST, **request},
            approvals=list(approvals), codes=codes,
        )  # fmt: skip

    def one(name: str, code: str | None, changes: dict[str, str] | None = None, **request: str) -> Case:
        return judged(name, [code], {**GOOD, **(changes or {})}, **request)

    terms = {name: GOOD[name] for name in ("signer", "meaning", "timestamp", "expires")}
    message = message_of(Request(**REQUEST), **terms)
    cases = [
        {**one("counts", None), "message_hex": message.hex()},
        one("says what it is bound to", None, BOUND),
        judged("signed with ssh-keygen", [None], by_ssh()),
        *(one(f"another {name}", f"approval.{name}", {**BOUND, name: "0" * 64}) for name in BOUND),
        *(
            one(f"the request has another {name}", "approval.signature", {}, **{name: "0" * 64})
            for name in BOUND
        ),
        one("unknown signer", "approval.unknown_signer", {"signer": "mallory"}),
        one("another's key", "approval.unknown_key", {"signer": "auditor"}),
        one("the meaning changed", "approval.signature", {"meaning": "reject"}),
        one("the last moment", None, timestamp=EXPIRES),
        one("expired", "approval.expired", timestamp="2025-11-30T12:00:00.000001Z"),
        one("dated after the entry", "approval.future", timestamp="2025-10-30T10:58:59.999999Z"),
        one("the actor's own", "approval.self", actor_id="creator"),
        one("the actor's own, by the key", "approval.self", actor_id=CREATOR.key_id),
        one("the actor's own, by another key", "approval.self", actor_id=SECOND.key_id),
        judged("two keys of one person", [None, "approval.duplicate"], GOOD, SECOND.approve(CHANGE, ORIGIN)),
        judged("a review", ["approval.review"], CREATOR.approve(CHANGE, ORIGIN, meaning="review")),
        judged("a rejection", ["approval.reject"], CREATOR.approve(CHANGE, ORIGIN, meaning="reject")),
        one("a member too many", "approval.malformed", {"colour": "red"}),
        one("a date that is none", "approval.malformed", {"expires": "2025-11-31T00:00:00.000000Z"}),
    ]  # fmt: skip
    revoked = {**APPROVERS, "creator": {**APPROVERS["creator"], "revoked": TIMESTAMP}}
    cases.append({**one("revoked", "approval.revoked"), "policy": {"approvers": revoked}})
    return [*cases, *files()]


def files() -> list[Case]:
    good = format_approval(msgspec.convert({**GOOD, **BOUND}, Approval)).decode()
    spoilt: dict[str, Any] = {
        "no line end": good[:-1],
        "white space": good.replace('":"', '": "', 1),
        "not bound": canonical.encode(GOOD).decode() + "\n",
        "a member too many": good.replace('{"action_hash"', '{"a":"","action_hash"'),
        "a number": good.replace('"approve"', "1"),
    }
    return [
        case("file", file=good, approval={**GOOD, **BOUND}),
        *(case(f"file: {name}", "malformed.approval", file=text) for name, text in spoilt.items()),
    ]
