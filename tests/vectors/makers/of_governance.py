"""Vectors of policies and of approvals: each with the policy it is judged by, and why it does not count."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from tests.support.curves import respelled
from tests.support.people import DATED, EXPIRES, ROLES, Person, members_of, request_id_of
from tests.support.shapes import CHANGE, LOG, TIMESTAMP
from tests.support.ssh import fido_line, fido_sshsig, sshsig
from tests.vectors.makers.cases import Case, case, sign
from tests.vectors.makers.of_logs import policies
from tests.vectors.makers.of_uses import policy_changes, uses

from attestlog._internal.core import canonical
from attestlog._internal.core.approval import SSH_NAMESPACE, Approval, Request, format_approval, message_of
from attestlog._internal.core.deriving import derive
from attestlog._internal.core.entry import parse_draft
from attestlog._internal.core.hashes import actor_message, hex_hash
from attestlog._internal.core.policy import parse_policy

ACTION_HASH = hex_hash(canonical.encode(CHANGE["action_payload"]))
REQUEST: Case = {
    **Request.of(parse_draft(CHANGE), LOG, ACTION_HASH, TIMESTAMP)._asdict(), "event_type": "CHANGE"
}  # fmt: skip
PEOPLE = {name: Person(name) for name in ROLES}
CREATOR = PEOPLE["creator"]
GOOD = CREATOR.approve(CHANGE, LOG)
SECOND = Person("creator", number=2)
APPROVERS = members_of(*PEOPLE.values(), SECOND)
SCORES = CHANGE["pillars_scores"]
ACTION = {"event_type": "ACTION"}
BOUND = {name: REQUEST[name] for name in ("log", "origin", "action_type", "action_hash", "actor_id")}
TERMS = {
    name: GOOD[name] for name in ("signer", "meaning", "timestamp", "expires", "event_type", "request_id")
}
MESSAGE = message_of(Request(**REQUEST), **TERMS)
ANOTHER = request_id_of("another request")
VERSION_7 = ANOTHER[:14] + "7" + ANOTHER[15:]


def approval() -> list[Case]:
    return [*counting(), *terms(), *requests(), *by_openssh(), *high_s(), *files(), *uses()]


def policy() -> list[Case]:
    return [*policies(), *signed_actions(), *policy_changes()]


def judged(name: str, codes: list[str | None], *approvals: dict[str, str], **facts: Any) -> Case:
    policy, request = facts.pop("policy", {"approvers": APPROVERS}), {**REQUEST, **facts}
    return case(name, policy=policy, request=request, approvals=list(approvals), codes=codes)


def one(name: str, code: str | None, changes: dict[str, str] | None = None, **facts: Any) -> Case:
    return judged(name, [code], {**GOOD, **(changes or {})}, **facts)


def counting() -> list[Case]:
    def by(actor_id: str) -> dict[str, Any]:
        return {"changes": CREATOR.approve({**CHANGE, "actor_id": actor_id}, LOG), "actor_id": actor_id}

    reason = {name: f"approval.{'actor' if name == 'actor_id' else name}" for name in BOUND}
    revoked = {**APPROVERS, "creator": {**APPROVERS["creator"], "revoked": TIMESTAMP}}
    scores = {"pillars_scores": {**SCORES, "an_toan": 8.5}}
    return [
        {**one("counts", None), "message_hex": MESSAGE.hex()},
        one("says what it is bound to", None, BOUND),
        *(one(f"another {name}", reason[name], {**BOUND, name: "0" * 64}) for name in BOUND),
        *(
            one(f"the request has another {name}", "approval.signature", {}, **{name: "0" * 64})
            for name in BOUND
        ),
        one("the request has other scores", "approval.signature", {}, **scores),
        one("the request has no scores", "approval.signature", {}, pillars_scores={}),
        one("the request has another event_type", "approval.event_type", {}, event_type="ACTION"),
        one("another event_type", "approval.event_type", ACTION),
        one("both have another event_type", "approval.signature", ACTION, **ACTION),
        one("of an act, for its intent", None, {}, event_type="DECISION", is_intent=True),
        one("of an act, for another decision", "approval.event_type", {}, event_type="DECISION"),
        one("unknown signer", "approval.unknown_signer", {"signer": "mallory"}),
        one("the signer in another case", "approval.unknown_signer", {"signer": "Creator"}),
        one("another's key", "approval.unknown_key", {"signer": "auditor"}),
        one("the meaning changed", "approval.signature", {"meaning": "reject"}),
        one("another request", "approval.signature", {"request_id": ANOTHER}),
        one("revoked", "approval.revoked", policy={"approvers": revoked}),
        one("the actor's own", "approval.self", **by("creator")),
        one("the actor's own, in another case", "approval.self", **by("cREATOR")),
        one("an actor whose name only looks the same", None, **by("creat\u043er")),
        one("an actor whose name a case table makes the same", None, **by("creator\u212a")),
        one("the actor's own, by the key", "approval.self", **by(CREATOR.key_id)),
        one("the actor's own, by the key in upper case", "approval.self", **by(CREATOR.key_id.upper())),
        one("the actor's own, by another key", "approval.self", **by(SECOND.key_id)),
        judged("two keys of one person", [None, "approval.duplicate"], GOOD, SECOND.approve(CHANGE, LOG)),
        judged("a review", ["approval.review"], CREATOR.approve(CHANGE, LOG, meaning="review")),
        judged("a rejection", ["approval.reject"], CREATOR.approve(CHANGE, LOG, meaning="reject")),
        one("a member too many", "approval.malformed", {"colour": "red"}),
        one("a member too few", "approval.malformed") | without("request_id"),
        one("a date that is none", "approval.malformed", {"expires": "2025-11-31T00:00:00.000000Z"}),
        one("an event type that is none", "approval.malformed", {"event_type": "action"}),
        one("a request id in upper case", "approval.malformed", {"request_id": GOOD["request_id"].upper()}),
        one("a request id of another version", "approval.malformed", {"request_id": VERSION_7}),
    ]  # fmt: skip


def without(member: str) -> Case:
    return {"approvals": [{name: value for name, value in GOOD.items() if name != member}]}


def terms() -> list[Case]:
    month, month_and_more = "2025-11-29T11:00:00.000000Z", "2025-11-29T11:00:00.000001Z"
    asks = {"rules": {"r": {"required_approvals": 1, "expires_max_s": 7_200}}, "approvers": APPROVERS}
    of_changes = {**asks, "rules": {"r": {**asks["rules"]["r"], "event_types": ["CHANGE"]}}}
    two_hours, and_more = "2025-10-30T13:00:00.000000Z", "2025-10-30T13:00:00.000001Z"

    def until(name: str, expires: str, code: str | None, **facts: Any) -> Case:
        return judged(name, [code], CREATOR.approve(CHANGE, LOG, expires=expires), **facts)

    intent = {"event_type": "DECISION", "is_intent": True, "policy": of_changes}
    return [
        one("the last moment", None, timestamp=EXPIRES),
        one("expired", "approval.expired", timestamp="2025-10-31T11:00:00.000001Z"),
        one("a minute before its date", None, timestamp="2025-10-30T10:59:00.000000Z"),
        one("dated after the entry", "approval.future", timestamp="2025-10-30T10:58:59.999999Z"),
        until("expires when it is signed", DATED, None, timestamp=DATED),
        until("expires before it is signed", "2025-10-30T10:59:59.999999Z", "approval.term"),
        until("for 30 days", month, None),
        until("for 30 days and a microsecond", month_and_more, "approval.term"),
        until("for as long as the rule allows", two_hours, None, policy=asks),
        until("for longer than the rule allows", and_more, "approval.term", policy=asks),
        until("for longer than the rule for the act of an intent", and_more, "approval.term", **intent),
        until("for as long as the rule for the act of an intent", two_hours, None, **intent),
    ]  # fmt: skip


def requests() -> list[Case]:
    second = PEOPLE["community"].approve(CHANGE, LOG, request_id=ANOTHER)
    review = PEOPLE["auditor"].approve(CHANGE, LOG, request_id=ANOTHER, meaning="review")
    reject = PEOPLE["auditor"].approve(CHANGE, LOG, request_id=ANOTHER, meaning="reject")
    late = PEOPLE["auditor"].approve(CHANGE, LOG, request_id=ANOTHER, expires=DATED)
    two = "approval.request"
    return [
        judged("two of one request", [None, None], GOOD, PEOPLE["community"].approve(CHANGE, LOG)),
        judged("two requests", [two, two], GOOD, second),
        judged("two requests, of which the second is reviewed", [two, "approval.review"], GOOD, review),
        judged("two requests, with a review between", [two, "approval.review", two], GOOD, review, second),
        judged("two requests, of which the second is rejected", [None, "approval.reject"], GOOD, reject),
        judged("two requests, of which the second had expired", [None, "approval.expired"], GOOD, late),
    ]


def by_openssh() -> list[Case]:
    """An Ed25519 key, and FIDO keys made by hand from PROTOCOL.u2f, with software in place of a token."""
    plain = {**TERMS, "key_id": CREATOR.key_id, "algorithm": "SSHSIG"}
    cases = [
        judged(
            "signed with ssh-keygen", [None], {**plain, "signature": sshsig(CREATOR, SSH_NAMESPACE, MESSAGE)}
        )
    ]
    for algorithm in ("Ed25519", "ECDSA-P256-SHA256"):
        person = Person("creator", algorithm=algorithm)
        person.sign = partial(sign, person.private)
        name, line = f"FIDO, {algorithm}", fido_line(person)
        terms = {**plain, "key_id": person.key_id}

        def touched(what: str, code: str | None, line: str, signature: str, terms: Case = terms) -> Case:
            policy = {"approvers": {"creator": {"roles": ["creator"], "keys": [line]}}}
            return judged(what, [code], {**terms, "signature": signature}, policy=policy)

        made = partial(fido_sshsig, person, SSH_NAMESPACE, MESSAGE)
        bad, named = "approval.signature", "ssh:approvals"
        good, of_other, other_line = made(), made(application=named), fido_line(person, named)
        # The last five bytes of a signature are its flags and counter, which are signed.
        cases += [
            touched(name, None, line, good),
            touched(f"{name}: the person was verified, too", None, line, made(flags=5)),
            touched(f"{name}: the counter is 0", None, line, made(counter=0)),
            touched(f"{name}: another application, which the policy names", None, other_line, of_other),
            touched(f"{name}: another application than the policy names", bad, line, of_other),
            touched(f"{name}: signed for another application", bad, line, made(signed_for=named)),
            touched(f"{name}: nobody was present", bad, line, made(flags=0)),
            touched(f"{name}: verified, but not present", bad, line, made(flags=4)),
            touched(f"{name}: the counter changed", bad, line, good[:-2] + "08"),
            touched(f"{name}: the flags changed", bad, line, good[:-10] + "05" + good[-8:]),
            touched(f"{name}: a byte is missing", bad, line, good[:-2]),
            touched(f"{name}: another namespace", bad, line, fido_sshsig(person, "file", MESSAGE)),
            touched(f"{name}: without an authenticator", bad, line, sshsig(person, SSH_NAMESPACE, MESSAGE)),
            touched(f"{name}: the policy has the key as a plain one", bad, person.ssh, good),
            touched(f"{name}: another's key", bad, fido_line(Person("auditor", algorithm=algorithm)), good)
            | {"codes": ["approval.unknown_key"]},
        ]  # fmt: skip
    return cases


def high_s() -> list[Case]:
    """P-256 signatures as they are made and as anybody can respell them: plain, of OpenSSH, of a FIDO key."""
    person = Person("creator", algorithm="ECDSA-P256-SHA256")
    low = partial(sign, person.private)

    def plain() -> str:
        return person.sign(MESSAGE).hex()

    ways: list[tuple[str, str, str, Callable[[], str]]] = [
        ("P-256", person.public.pem, person.public.algorithm, plain),
        ("P-256 of OpenSSH", person.ssh, "SSHSIG", partial(sshsig, person, SSH_NAMESPACE, MESSAGE)),
        ("FIDO, P-256", fido_line(person), "SSHSIG", partial(fido_sshsig, person, SSH_NAMESPACE, MESSAGE)),
    ]
    cases = []
    for name, line, algorithm, make in ways:
        policy = {"approvers": {"creator": {"roles": ["creator"], "keys": [line]}}}
        for is_low in (True, False):
            person.sign = low if is_low else lambda message: respelled(low(message))
            terms = {**TERMS, "key_id": person.key_id, "algorithm": algorithm, "signature": make()}
            what, code = ("low s", None) if is_low else ("respelled: n - s", "approval.signature")
            cases.append(judged(f"{name}: {what}", [code], terms, policy=policy))
    return cases


def signed_actions() -> list[Case]:
    """The proof that the actor's own key signed the action: as it was made, and respelled."""
    actor = Person("agent-7", algorithm="ECDSA-P256-SHA256")
    members = {"actors": {"agent-7": {"keys": [actor.public.pem]}}}
    signature = sign(actor.private, actor_message(LOG.origin, bytes.fromhex(ACTION_HASH)))
    cases = []
    for name, blob in (("low s", signature), ("respelled: n - s", respelled(signature))):
        proof = {"type": "actor_signature", "valid": True, "key_id": actor.key_id, "signature": blob.hex()}
        facts: Case = {"actor_id": "agent-7", "provided_proofs": [proof]}
        draft = parse_draft({"event_type": "ACTION", "action_type": "x", **facts})
        place: Case = {"log": LOG._asdict(), "action_hash": ACTION_HASH, "timestamp": TIMESTAMP}
        derived = derive(parse_policy(members), draft, LOG, ACTION_HASH, TIMESTAMP)._asdict()
        assert derived["proofs_valid"] == (name == "low s")
        what = f"the actor's signature: {name}"
        cases.append(case(what, policy=members, facts=facts, **place, derived=derived))
    return cases


def files() -> list[Case]:
    whole = {**GOOD, **BOUND, "pillars_scores": SCORES}
    good = format_approval(msgspec.convert(whole, Approval)).decode()
    spoilt: dict[str, Any] = {
        "no line end": good[:-1],
        "white space": good.replace('":"', '": "', 1),
        "not bound": canonical.encode(GOOD).decode() + "\n",
        "not bound to scores": canonical.encode({**GOOD, **BOUND}).decode() + "\n",
        "a score in another spelling": good.replace('"an_toan":8', '"an_toan":8.0'),
        "a member too many": good.replace('{"action_hash"', '{"a":"","action_hash"'),
        "a number": good.replace('"approve"', "1"),
    }
    return [
        case("file", file=good, approval=whole),
        *(case(f"file: {name}", "malformed.approval", file=text) for name, text in spoilt.items()),
    ]
