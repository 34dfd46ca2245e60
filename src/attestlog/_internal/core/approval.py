"""Approvals: what a person signs, and which of those an entry carries count.

    signed    attestlog/approval/v1, newline, canonical {action_hash, action_type, expires, meaning,
              origin, signer, timestamp}
    stored    {algorithm, expires, key_id, meaning, signature, signer, timestamp}, all strings

So an approval is bound to one log and exactly one request, and its meaning
and expiry are signed too. As a file (`format_approval`) it also says what it
is bound to; then a refusal can say whether it was made for another log,
another action or another payload, which the signature alone does not show.

JudgedApproval against the policy in force and the entry's own timestamp, so the log
and a verifier years later come to the same. Nothing here is raised for an
approval that does not count: it is recorded, and said.

A request for approval, as a file: the whole draft that will be appended, and the log it is for.

    request = make_request(draft_members, origin)     # the caller salted it, where the log salts
    data = format_request(request)                    # give this file to those who approve
    request = parse_request(data)                     # they see what they sign: the payload is in it

What is signed is bound to `action_hash`, which `parse_request` computes anew
from the payload: a file whose hash is not its payload's is no request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct, ValidationError, convert, to_builtins

from attestlog._internal.core import canonical
from attestlog._internal.core.checkpoint import check_origin
from attestlog._internal.core.convert import read_complaint
from attestlog._internal.core.curves import to_low_s
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES, EntryDraft, parse_draft, parse_timestamp
from attestlog._internal.core.hashes import approval_message, hex_hash
from attestlog._internal.core.policy import Policy
from attestlog._internal.core.signature import ECDSA_P256, PublicKey, load_public_key
from attestlog._internal.core.sshsig import decode_sshsig, low_s_sshsig, verify_sshsig
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
    "approval.origin": "it was made for another log",
    "approval.action_type": "it was made for another action",
    "approval.action_hash": "it was made for another payload",
    "approval.unknown_signer": "the policy in force names no such approver",
    "approval.unknown_key": "its key is not one of that approver's",
    "approval.revoked": "the approver was revoked by then",
    "approval.signature": "the signature does not verify for this log, action and payload",
    "approval.future": "it is dated after the entry",
    "approval.expired": "it had expired by then",
    "approval.self": "the approver is the actor",
    "approval.duplicate": "the same person approved already",
    "approval.review": "it is a review, which is no approval",
    "approval.reject": "it is a rejection",
}
"""Why an approval does not count. The codes are stable."""


class Approval(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an entry stores of one approval, and, in a file, what it is bound to."""

    signer: str
    meaning: str
    timestamp: str
    expires: str
    key_id: str
    algorithm: str
    signature: str
    origin: str | None = None
    action_type: str | None = None
    action_hash: str | None = None


class Request(NamedTuple):
    """What is to be approved, and the moment at which it is asked."""

    origin: str
    action_type: str
    action_hash: str
    actor_id: str
    timestamp: str
    """The entry's, or for a draft the time now."""


class JudgedApproval(NamedTuple):
    """One approval, and whether it counts."""

    signer: str
    code: str | None
    """None: it counts. Else one of `REASONS`."""
    message: str

    @property
    def counts(self) -> bool:
        """Towards the quorum."""
        return self.code is None


def message_of(request: Request, *, signer: str, meaning: str, timestamp: str, expires: str) -> bytes:
    """The bytes that the approver's key signs."""
    return approval_message(
        canonical.encode(
            {
                "origin": request.origin,
                "action_type": request.action_type,
                "action_hash": request.action_hash,
                "signer": signer,
                "meaning": meaning,
                "timestamp": timestamp,
                "expires": expires,
            }
        )
    )


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
    for member in ("origin", "action_type", "action_hash"):
        if getattr(approval, member) is None:
            raise MalformedApprovalError(f"approval: {member}: is missing", member=member)
    if format_approval(approval) != data:
        raise MalformedApprovalError("approval is not in its one spelling", member="")
    return approval


def format_approval(approval: Approval) -> bytes:
    """The file of one approval: canonical JSON and a line end."""
    return canonical.encode(msgspec.to_builtins(approval)) + b"\n"


def stored_form(approval: Approval) -> dict[str, str]:
    """What goes into `received_approvals`: seven strings, since the entry itself says the rest."""
    return {name: getattr(approval, name) for name in STORED_MEMBERS}


STORED_MEMBERS: Final = ("algorithm", "expires", "key_id", "meaning", "signature", "signer", "timestamp")


def judge_approvals(
    policy: Policy, approvals: Iterable[Mapping[str, str] | Approval], request: Request
) -> list[JudgedApproval]:
    """Each approval, in order: whether it counts under this policy for this request, and why not."""
    judged: list[JudgedApproval] = []
    persons: set[str] = set()
    for given in approvals:
        try:
            approval = given if isinstance(given, Approval) else _convert(dict(given))
            _check_form(approval)
        except MalformedApprovalError as error:
            name = given.signer if isinstance(given, Approval) else str(given.get("signer", ""))
            judged.append(JudgedApproval(name, "approval.malformed", str(error)))
            continue
        code = _refusal(policy, approval, request)
        if code is None and approval.meaning == APPROVE:
            code = "approval.duplicate" if approval.signer in persons else None
            persons.add(approval.signer)
        why = REASONS[code] if code else "it counts"
        judged.append(JudgedApproval(approval.signer, code, f"approval by {approval.signer!r}: {why}"))
    return judged


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
    if approval.meaning not in MEANINGS:
        raise MalformedApprovalError(
            f"approval: meaning: {approval.meaning[:40]!r}, want {', '.join(MEANINGS)}", member="meaning"
        )


def _refusal(policy: Policy, approval: Approval, request: Request) -> str | None:
    """The first reason, in a fixed order, why this approval alone does not count."""
    for member in ("origin", "action_type", "action_hash"):
        if getattr(approval, member) not in (None, getattr(request, member)):
            return f"approval.{member}"
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
    if _seconds_ahead(approval.timestamp, request.timestamp) > AHEAD_MAX_S:
        return "approval.future"
    if request.timestamp > approval.expires:
        return "approval.expired"
    if approval.meaning == REJECT:  # the actor's own rejection is one
        return "approval.reject"
    if is_same_person(policy, approval.signer, request.actor_id):
        return "approval.self"
    return "approval.review" if approval.meaning == REVIEW else None


def is_same_person(policy: Policy, approver: str, actor_id: str) -> bool:
    """By name, by a key whose id is the actor's, or by a key registered for the actor."""
    if approver == actor_id:
        return True
    keys = {key_id for key_id, (name, _) in policy.approver_keys.items() if name == approver}
    return actor_id in keys or not keys.isdisjoint(policy.actor_keys.get(actor_id, {}))


def _seconds_ahead(stated: str, reference: str) -> float:
    try:
        return (parse_timestamp(stated) - parse_timestamp(reference)) / 1_000_000
    except MalformedEntryError:
        return 0.0  # an entry's timestamp that is no date is found by itself


def _is_signed(approval: Approval, request: Request, key: PublicKey) -> bool:
    try:
        message = message_of(
            request, signer=approval.signer, meaning=approval.meaning,
            timestamp=approval.timestamp, expires=approval.expires,
        )  # fmt: skip
    except MalformedJSONError:
        return False
    return _verifies(key.spki, approval.algorithm, approval.signature, message)


@lru_cache(maxsize=1_024)
def _verifies(spki: bytes, algorithm: str, signature: str, message: bytes) -> bool:
    """Remembered, because an entry is judged when it is made, when it is committed, and when it is read."""
    try:
        verify_approval_signature(load_public_key(spki), algorithm, signature, message)
    except (MalformedError, SignatureInvalidError):
        return False
    return True


def verify_approval_signature(key: PublicKey, algorithm: str, signature: str, message: bytes) -> None:
    """Raises MalformedSignatureError or SignatureInvalidError unless this key made it over `message`."""
    try:
        data = bytes.fromhex(signature)
    except ValueError:
        data = b""
    if not data or data.hex() != signature:
        raise MalformedSignatureError("approval signature is not lower-case hex", found=signature[:80])
    if algorithm == SSHSIG:
        parsed = decode_sshsig(data)
        if parsed.key.spki != key.spki:
            raise SignatureInvalidError("SSH signature was made by another key", key_id=parsed.key.key_id)
        verify_sshsig(parsed, SSH_NAMESPACE, message)
    elif algorithm == key.algorithm:
        key.verify(data, message)
    else:
        raise MalformedSignatureError(f"approval names {algorithm[:40]!r}, its key is {key.algorithm}")


REQUEST_FORMAT: Final = "attestlog/request/v1"


class ApprovalRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people are asked to approve."""

    format: str = REQUEST_FORMAT
    origin: str
    action_hash: str
    draft: dict[str, Any]
    """Members of a draft, without approvals."""


def make_request(members: Mapping[str, Any] | EntryDraft, origin: str) -> ApprovalRequest:
    """Ask for approval of this draft. Raises MalformedEntryError if it is none.

    Approvals it has already are left out: they come with the entry.
    """
    draft = parse_draft(members)
    plain: dict[str, Any] = _stated(draft) if isinstance(members, EntryDraft) else dict(members)
    plain.pop("received_approvals", None)
    return ApprovalRequest(origin=origin, action_hash=_action_hash(draft), draft=plain)


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
    draft = request.draft
    return Request(request.origin, draft["action_type"], request.action_hash, draft["actor_id"], timestamp)


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
