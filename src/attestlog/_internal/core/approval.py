"""Approvals: what a person signs, and which of those an entry carries count.

    signed    attestlog/approval/v2, newline, canonical {action_hash, action_type, actor_id, event_type,
              expires, log, meaning, origin, pillars_scores, request_id, signer, timestamp}
    stored    {algorithm, event_type, expires, key_id, meaning, request_id, signature, signer, timestamp},
              all strings

So an approval is bound to one request of one log: who acts, what kind of act, its payload and its scores,
and its meaning and term are signed too. As a file (`format_approval`) it has all that is signed; then a
refusal can say whether it was made for another log, action, actor or payload, which the signature alone
does not show.

An approval is judged by the policy in force and the entry's own timestamp, so the log and a verifier years
later come to the same. Nothing is raised for an approval that does not count: it is recorded, and reported.
That a request may be used for one act only is not judged here: see `uses`.

A request for approval, as a file: the whole draft that will be appended, and the log it is for.

    request = make_request(draft_members, log, request_id)    # the caller redacted and salted the payload
    data = format_request(request)                  # give this file to those who approve
    request = parse_request(data)                   # they see what they sign: the payload is in it

`parse_request` computes `action_hash` from the payload: a file whose hash is not its payload's is refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct, ValidationError, convert, to_builtins

from attestlog._internal.core import canonical
from attestlog._internal.core.checkpoint import LogId, check_origin
from attestlog._internal.core.convert import read_complaint
from attestlog._internal.core.curves import to_low_s
from attestlog._internal.core.entry import (
    LINE_SIZE_MAX_BYTES,
    Entry,
    EntryDraft,
    EventType,
    Hex64,
    Pillar,
    Score,
    UuidText,
    is_intent,
    parse_draft,
    parse_timestamp,
)
from attestlog._internal.core.hashes import approval_message, hex_hash
from attestlog._internal.core.policy import Policy, fold, load_key, spell_key
from attestlog._internal.core.signature import ECDSA_P256, PublicKey
from attestlog._internal.core.sshsig import FidoKey, decode_sshsig, low_s_sshsig, verify_sshsig
from attestlog.errors import (
    MalformedApprovalError,
    MalformedConfigError,
    MalformedEntryError,
    MalformedError,
    MalformedJSONError,
    MalformedSignatureError,
    SignatureInvalidError,
)

APPROVE: Final = "approve"
REVIEW: Final = "review"
REJECT: Final = "reject"
MEANINGS: Final = (APPROVE, REVIEW, REJECT)
"""What a signature may mean. Only `approve` counts towards a quorum; one `reject` prevents it."""

SSHSIG: Final = "SSHSIG"
"""`algorithm` of a signature made with `ssh-keygen -Y sign`; else it is the key's own."""

SSH_NAMESPACE: Final = "attestlog-approval"
"""What such a signature must be for: `ssh-keygen -Y sign -n attestlog-approval`."""

AHEAD_MAX_S: Final = 60
"""An approver's clock may be that far ahead of the log's; an approval dated later was not made before."""

APPROVAL_SIZE_MAX_BYTES: Final = 8_192
"""An approval as a file: names of 256 characters and the longest signature stay below it."""

REASONS: Final = {
    "approval.malformed": "it has not the members of an approval, or not in their one spelling",
    "approval.log": "it was made for another log, though one of the same name",
    "approval.event_type": "it was made for another type of event",
    "approval.actor": "it was made for another actor",
    "approval.term": "it expires before it was signed, or counts for longer than the policy allows",
    "approval.origin": "it was made for another log",
    "approval.action_type": "it was made for another action",
    "approval.action_hash": "it was made for another payload",
    "approval.unknown_signer": "the policy in force names no such approver",
    "approval.unknown_key": "its key is not one of that approver's",
    "approval.revoked": "the approver was revoked by then",
    "approval.signature": "the signature does not verify for this log, actor, action, payload and scores",
    "approval.future": "it is dated after the entry",
    "approval.expired": "it had expired by then",
    "approval.reject": "it is a rejection",
    "approval.self": "the approver is the actor",
    "approval.review": "it is a review, which is no approval",
    "approval.duplicate": "the same person approved already",
    "approval.request": "the approvals of the entry are for more than one request",
}
"""Why an approval does not count, in the order in which the reasons are looked for. The codes are stable."""


class Approval(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an entry stores of one approval, and, in a file, what it is bound to."""

    signer: str
    meaning: str
    timestamp: str
    expires: str
    event_type: str
    """Of the act: a guard's intent is approved with the act it announces."""
    request_id: UuidText
    key_id: str
    algorithm: str
    signature: str
    log: str | None = None
    origin: str | None = None
    action_type: str | None = None
    action_hash: str | None = None
    actor_id: str | None = None
    pillars_scores: dict[Pillar, Score] | None = None


STORED_MEMBERS: Final = (
    "algorithm", "event_type", "expires", "key_id", "meaning", "request_id", "signature", "signer",
    "timestamp",
)  # fmt: skip
BOUND_MEMBERS: Final = ("log", "origin", "action_type", "action_hash", "actor_id", "pillars_scores")
"""What is signed beside those, and stands in the entry itself. A file has it, an entry need not repeat it."""


class Request(NamedTuple):
    """What approvals of an entry are judged for: the entry's own facts, and when it is written."""

    log: str
    """`entry_hash` of the log's genesis entry."""
    origin: str
    event_type: str
    action_type: str
    action_hash: str
    actor_id: str
    pillars_scores: Mapping[Pillar, int | float]
    timestamp: str
    """The entry's, or for a draft the time now."""
    is_intent: bool = False
    """Whether it is a guard's intent: approvals of the act, of whatever event type, count for it."""

    @classmethod
    def of(cls, facts: Entry | EntryDraft, log: LogId, action_hash: str, timestamp: str) -> Request:
        """Of an entry, or of a draft that would be written at this time."""
        return cls(
            log.genesis, log.origin, facts.event_type, facts.action_type, action_hash, facts.actor_id,
            facts.pillars_scores, timestamp, is_intent(facts),
        )  # fmt: skip


class JudgedApproval(NamedTuple):
    """One approval, and whether it counts."""

    signer: str
    code: str | None
    """None: it counts. Else one of `REASONS`."""
    message: str
    approval: Approval | None = None
    """None: it is malformed."""

    @property
    def counts(self) -> bool:
        """Towards the quorum."""
        return self.code is None


def message_of(
    request: Request, *, signer: str, meaning: str, timestamp: str, expires: str, event_type: str,
    request_id: str,
) -> bytes:  # fmt: skip
    """The bytes that the approver's key signs. Raises MalformedJSONError for a lone surrogate."""
    return approval_message(
        canonical.encode(
            {
                "log": request.log,
                "origin": request.origin,
                "event_type": str(event_type),
                "action_type": request.action_type,
                "action_hash": request.action_hash,
                "actor_id": request.actor_id,
                "pillars_scores": dict(request.pillars_scores),
                "request_id": request_id,
                "signer": signer,
                "meaning": meaning,
                "timestamp": timestamp,
                "expires": expires,
            }
        )
    )


def parse_message(data: bytes, request: ApprovalRequest) -> Approval:
    """What these bytes say of an approval of this request, without key and signature.

    Raises MalformedApprovalError unless they are exactly what an approver of the request signs.
    """
    terms: dict[str, str] = {}
    with contextlib.suppress(MalformedJSONError, TypeError, KeyError):
        said = canonical.decode(data.removeprefix(approval_message(b"")))
        terms = {name: str(said[name]) for name in _TERMS}
    if not terms or message_of(asked_at(request, terms["timestamp"]), **terms) != data:
        raise MalformedApprovalError("not the bytes that an approver of this request signs", member="")
    approval = _convert({**terms, **bindings(request), "key_id": "", "algorithm": "", "signature": ""})
    _check_form(approval)
    return approval


_TERMS: Final = ("signer", "meaning", "timestamp", "expires", "event_type", "request_id")


def bindings(request: ApprovalRequest) -> dict[str, Any]:
    """What an approval of this request is bound to, as its file has it."""
    asked = asked_at(request, "")
    return {name: getattr(asked, name) for name in BOUND_MEMBERS}


def parse_approval(data: bytes) -> Approval:
    """The approval in a file: every member, in canonical form and a line end.

    Raises MalformedApprovalError.
    """
    if len(data) > APPROVAL_SIZE_MAX_BYTES:
        raise MalformedApprovalError(
            f"approval has {len(data)} bytes, at most {APPROVAL_SIZE_MAX_BYTES} are read", member=""
        )
    try:
        members = canonical.decode(data)
    except MalformedJSONError as error:
        raise MalformedApprovalError(f"approval: {error}", member="") from None
    approval = _convert(members)
    for member in BOUND_MEMBERS:
        if getattr(approval, member) is None:
            raise MalformedApprovalError(f"approval: {member}: is missing", member=member)
    _check_form(approval)
    if format_approval(approval) != data:
        raise MalformedApprovalError("approval is not in its one spelling", member="")
    return approval


def format_approval(approval: Approval) -> bytes:
    """The file of one approval: canonical JSON and a line end."""
    return canonical.encode(msgspec.to_builtins(approval)) + b"\n"


def stored_form(approval: Approval) -> dict[str, str]:
    """What goes into `received_approvals`: nine strings, since the entry itself says the rest."""
    return {name: getattr(approval, name) for name in STORED_MEMBERS}


def judge_approvals(
    policy: Policy, approvals: Iterable[Mapping[str, str] | Approval], request: Request
) -> list[JudgedApproval]:
    """Each approval, in order: whether it counts under this policy for this request, and why not."""
    judged: list[JudgedApproval] = []
    persons: set[str] = set()
    requests: set[str] = set()
    for given in approvals:
        try:
            approval = given if isinstance(given, Approval) else _convert(dict(given))
            _check_form(approval)
        except MalformedApprovalError as error:
            name = given.signer if isinstance(given, Approval) else str(given.get("signer", ""))
            judged.append(JudgedApproval(name, "approval.malformed", str(error)))
            continue
        code = _refusal(policy, approval, request)
        if code is None and approval.signer in persons:
            code = "approval.duplicate"
        if code is None:
            persons.add(approval.signer)
        if code in (None, "approval.review"):
            requests.add(approval.request_id)
        judged.append(_judged(approval, code))
    if len(requests) > 1:  # which of them the entry uses could not be told
        judged = [_judged(item.approval, "approval.request") if item.counts else item for item in judged]
    return judged


def _judged(approval: Approval | None, code: str | None) -> JudgedApproval:
    assert approval is not None
    why = REASONS[code] if code else "it counts"
    return JudgedApproval(approval.signer, code, f"approval by {approval.signer!r}: {why}", approval)


def with_low_s(policy: Policy, given: dict[str, str], request: Request) -> dict[str, str]:
    """The stored form with the low s of its P-256 signature, if it verifies; else as it was given."""
    try:
        approval = _convert(dict(given))
        data = bytes.fromhex(approval.signature)
        respell = {SSHSIG: low_s_sshsig, ECDSA_P256: to_low_s}.get(approval.algorithm, bytes)
        low = respell(data)
    except (MalformedError, ValueError):
        return given
    if low == data:
        return given
    respelled = msgspec.structs.replace(approval, signature=low.hex())
    _, key = policy.approver_keys.get(approval.key_id, ("", None))
    is_signed = key is not None and _is_signed(respelled, request, key)
    return {**given, "signature": respelled.signature} if is_signed else given


def missing_for_quorum(
    policy: Policy, judged: Iterable[JudgedApproval], needed: int, roles: Iterable[str]
) -> dict[str, Any]:
    """What the quorum lacks, empty when it is met: `approvals` (have, need), `roles`, `rejected_by`."""
    judged = list(judged)
    persons = [item.signer for item in judged if item.counts]
    held = {role for name in persons for role in policy.approvers[name].roles}
    missing: dict[str, Any] = {}
    if len(persons) < needed:
        missing["approvals"] = {"have": len(persons), "need": needed}
    if not held.issuperset(roles):
        missing["roles"] = [role for role in roles if role not in held]
    rejected_by = [item.signer for item in judged if item.code == "approval.reject"]
    if rejected_by:
        missing["rejected_by"] = rejected_by
    return missing


def _convert(members: Any) -> Approval:
    try:
        return msgspec.convert(members, Approval)
    except msgspec.ValidationError as error:
        member, reason = read_complaint(str(error))
        message = f"approval: {member}: {reason}" if member else f"approval: {reason}"
        raise MalformedApprovalError(message, member=member) from None
    except UnicodeEncodeError:
        raise MalformedApprovalError("approval: a member's name holds a lone surrogate", member="") from None


def _check_form(approval: Approval) -> None:
    for member in ("timestamp", "expires"):
        try:
            parse_timestamp(getattr(approval, member))
        except MalformedEntryError as error:
            raise MalformedApprovalError(f"approval: {member}: {error}", member=member) from None
    for member, known in (("meaning", MEANINGS), ("event_type", tuple(EventType))):
        stated = getattr(approval, member)
        if stated not in known:
            raise MalformedApprovalError(
                f"approval: {member}: {stated[:40]!r}, want {', '.join(known)}", member=member
            )


_BINDINGS: Final = (
    ("log", "log"), ("event_type", "event_type"), ("actor_id", "actor"), ("", "term"), ("origin", "origin"),
    ("action_type", "action_type"), ("action_hash", "action_hash"),
)  # fmt: skip
"""What an approval can say that it was made for, and the reason where that is not the entry; in order."""


def _refusal(policy: Policy, approval: Approval, request: Request) -> str | None:
    """The first reason, in a fixed order, why this approval alone does not count."""
    for member, reason in _BINDINGS:
        if reason == "term":
            is_bound = _has_good_term(policy, approval, request)
        elif reason == "event_type":
            is_bound = request.is_intent or approval.event_type == request.event_type
        else:
            is_bound = getattr(approval, member) in (None, getattr(request, member))
        if not is_bound:
            return f"approval.{reason}"
    approver = policy.approvers.get(approval.signer)
    if approver is None:
        return "approval.unknown_signer"
    owner, key = policy.approver_keys.get(approval.key_id, ("", None))
    if key is None or owner != approval.signer:
        return "approval.unknown_key"
    if approver.revoked is not None and request.timestamp >= approver.revoked:
        return "approval.revoked"
    if not _is_signed(approval, request, key):
        return "approval.signature"
    if _seconds_between(request.timestamp, approval.timestamp) > AHEAD_MAX_S:
        return "approval.future"
    if request.timestamp > approval.expires:
        return "approval.expired"
    if approval.meaning == REJECT:  # the actor's own rejection is one
        return "approval.reject"
    if is_same_person(policy, approval.signer, request.actor_id):
        return "approval.self"
    return "approval.review" if approval.meaning == REVIEW else None


def _has_good_term(policy: Policy, approval: Approval, request: Request) -> bool:
    term_s = _seconds_between(approval.timestamp, approval.expires)
    return 0 <= term_s <= term_max_s(policy, approval.event_type, request)


def term_max_s(policy: Policy, event_type: str, request: Request) -> int:
    """How long an approval of an act of this type may count for this entry: by the strictest rule.

    A guard's intent stands under the rules for its act, too.
    """
    kinds = (event_type, request.event_type)
    return min(policy.demand(kind, request.action_type, request.actor_id).expires_max_s for kind in kinds)


def is_same_person(policy: Policy, approver: str, actor_id: str) -> bool:
    """By name, by a key whose id is the actor's, or by a key registered for the actor.

    Names differ only where they do so in more than the case of ASCII letters.
    """
    actor = fold(actor_id)
    if fold(approver) == actor:
        return True
    keys = {key_id for key_id, (name, _) in policy.approver_keys.items() if name == approver}
    return actor in keys or not keys.isdisjoint(policy.actors_key_ids.get(actor, ()))


def _seconds_between(earlier: str, later: str) -> float:
    try:
        return (parse_timestamp(later) - parse_timestamp(earlier)) / 1_000_000
    except MalformedEntryError:
        return 0.0  # an entry's timestamp that is no date is found by itself


def _is_signed(approval: Approval, request: Request, key: PublicKey | FidoKey) -> bool:
    try:
        message = message_of(
            request, signer=approval.signer, meaning=approval.meaning, timestamp=approval.timestamp,
            expires=approval.expires, event_type=approval.event_type, request_id=approval.request_id,
        )  # fmt: skip
    except MalformedJSONError:
        return False
    return _verifies(spell_key(key), approval.algorithm, approval.signature, message)


@lru_cache(maxsize=1_024)
def _verifies(key: str, algorithm: str, signature: str, message: bytes) -> bool:
    """Remembered, because an entry is judged when it is made, when it is committed, and when it is read."""
    try:
        verify_approval_signature(load_key(key), algorithm, signature, message)
    except (MalformedError, SignatureInvalidError):
        return False
    return True


def verify_approval_signature(
    key: PublicKey | FidoKey, algorithm: str, signature: str, message: bytes
) -> None:
    """Raises MalformedSignatureError or SignatureInvalidError unless this key made it over `message`."""
    try:
        data = bytes.fromhex(signature)
    except ValueError:
        data = b""
    if not data or data.hex() != signature:
        raise MalformedSignatureError("approval signature is not lower-case hex", found=signature[:80])
    if algorithm == SSHSIG:
        parsed = decode_sshsig(data)
        if spell_key(parsed.key) != spell_key(key):
            raise SignatureInvalidError("SSH signature was made by another key", key_id=parsed.key.key_id)
        verify_sshsig(parsed, SSH_NAMESPACE, message)
    elif isinstance(key, PublicKey) and algorithm == key.algorithm:
        key.verify(data, message)
    else:
        raise MalformedSignatureError(f"approval names {algorithm[:40]!r}, its key is {key.algorithm}")


REQUEST_FORMAT: Final = "attestlog/request/v2"


class ApprovalRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people are asked to approve: exactly one act. What a caller keeps while it waits for them."""

    format: str = REQUEST_FORMAT
    log: Hex64
    """`entry_hash` of the log's genesis entry."""
    origin: str
    request_id: UuidText
    """Drawn when approval is asked. One act uses it up."""
    action_hash: str
    draft: dict[str, Any]
    """Members of a draft as it will be appended: redacted, with its `_salt`, without approvals."""


def make_request(members: Mapping[str, Any] | EntryDraft, log: LogId, request_id: str) -> ApprovalRequest:
    """Ask for approval of this draft. Raises MalformedEntryError if it is none.

    Approvals it has already are left out: they come with the entry.
    """
    draft = parse_draft(members)
    plain: dict[str, Any] = _stated(draft) if isinstance(members, EntryDraft) else dict(members)
    plain.pop("received_approvals", None)
    return ApprovalRequest(
        log=log.genesis,
        origin=log.origin,
        request_id=request_id,
        action_hash=_action_hash(draft),
        draft=plain,
    )


def parse_request(data: bytes) -> ApprovalRequest:
    """The request in a file. Raises MalformedApprovalError unless it is one, in its one spelling."""
    if len(data) > LINE_SIZE_MAX_BYTES:
        raise MalformedApprovalError(
            f"request has {len(data)} bytes, at most {LINE_SIZE_MAX_BYTES} are read", member=""
        )
    try:
        request = convert(canonical.decode(data), ApprovalRequest)
        check_origin(request.origin)
        draft = parse_draft(request.draft)
        action_hash = _action_hash(draft)
        spelled = format_request(request)
    except ValidationError as error:
        member, reason = read_complaint(str(error))
        message = f"request: {member}: {reason}" if member else f"request: {reason}"
        raise MalformedApprovalError(message, member=member) from None
    except (MalformedJSONError, MalformedEntryError, MalformedConfigError) as error:
        raise MalformedApprovalError(f"request: {error}", member="") from None
    if request.format != REQUEST_FORMAT:
        raise MalformedApprovalError(
            f"request is of format {request.format[:40]!r}, want {REQUEST_FORMAT!r}", member="format"
        )
    if action_hash != request.action_hash:
        raise MalformedApprovalError(
            "request: action_hash is not the hash of its payload", member="action_hash",
            expected=action_hash, found=request.action_hash,
        )  # fmt: skip
    if draft.received_approvals or spelled != data:
        raise MalformedApprovalError("request is not in its one spelling", member="")
    return request


def format_request(request: ApprovalRequest) -> bytes:
    """The file of a request: canonical JSON and a line end. Raises MalformedJSONError."""
    return canonical.encode(to_builtins(request)) + b"\n"


def asked_at(request: ApprovalRequest, timestamp: str) -> Request:
    """What approvals are judged for, at this moment."""
    draft = parse_draft(request.draft)
    return Request.of(draft, LogId(request.origin, request.log), request.action_hash, timestamp)


def approved_draft(request: ApprovalRequest, approvals: list[Approval]) -> EntryDraft:
    """The draft to append, with these approvals."""
    return parse_draft({**request.draft, "received_approvals": [stored_form(item) for item in approvals]})


def _stated(draft: EntryDraft) -> dict[str, Any]:
    """The members that are not as they are when left out."""
    bare = EntryDraft(event_type=draft.event_type, action_type=draft.action_type, actor_id=draft.actor_id)
    needed = ("event_type", "action_type", "actor_id")
    members: dict[str, Any] = to_builtins(draft)
    return {
        name: value
        for name, value in members.items()
        if name in needed or getattr(draft, name) != getattr(bare, name)
    }


def _action_hash(draft: EntryDraft) -> str:
    return hex_hash(canonical.encode(draft.action_payload, depth=2))
