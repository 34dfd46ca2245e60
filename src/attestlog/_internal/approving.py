"""Asking for approval, approving, and taking approvals in.

    request = propose("audit", draft)                          # no signing key of the log is needed
    approval = sign_approval(request, "file:ana.pem", name="ana")
    check_approvals(log.rules.policy, request, [approval], now)    # or the reason why one does not count
    log.append(approved_draft(request, [approval]))

With an open log, `log.request(draft)` does what `propose` does. Files: `core.approval` parses and formats
them. Where the key is elsewhere, `draft_approval` gives what is to be signed, and `take_signature` takes in
what `ssh-keygen -Y sign` made of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import structs

from attestlog._internal import disk
from attestlog._internal.core.approval import (
    APPROVE,
    REASONS,
    REVIEW,
    SSH_NAMESPACE,
    SSHSIG,
    Approval,
    ApprovalRequest,
    approved_draft,
    asked_at,
    judge_approvals,
    message_of,
    parse_message,
)
from attestlog._internal.core.deriving import ACTOR_SIGNATURE
from attestlog._internal.core.entry import EntryDraft, format_timestamp
from attestlog._internal.core.hashes import actor_message
from attestlog._internal.core.policy import APPROVAL_TERM_MAX_S, APPROVAL_TERM_S, Policy
from attestlog._internal.core.rotation import (
    Admission,
    admission_message,
    format_admission,
    parse_admission,
)
from attestlog._internal.core.sshsig import (
    decode_sshsig,
    low_s_sshsig,
    parse_sshsig,
    unarmoured,
    verify_sshsig,
)
from attestlog._internal.in_force import read_rules
from attestlog._internal.log.drafts import Drafts, system_clock
from attestlog._internal.signers import Passphrase, Signer
from attestlog._internal.signers.asking import sign_message
from attestlog._internal.signers.opening import open_signer
from attestlog._internal.signers.sshsig import is_ssh_key, ssh_sign
from attestlog._internal.storage.contract import LogSource
from attestlog._internal.storage.resolve import LogName, open_source
from attestlog.errors import ApprovalRefusedError, NotFoundError, SignerError

__all__ = [
    "approved_draft",
    "check_approvals",
    "consent_to_admission",
    "propose",
    "sign_action",
    "sign_approval",
]

LIFETIME_S: Final = APPROVAL_TERM_S
"""How long an approval counts unless its maker says otherwise: as long as a rule allows by default."""

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:")


def propose(log: LogName | LogSource, draft: EntryDraft | Mapping[str, Any]) -> ApprovalRequest:
    """A request for approval of what would be appended to the log, which is only read.

    The payload is redacted and salted as the log would. Raises as `Log.append` for a draft that is none,
    StorageError, KeyFileError.
    """
    source = open_source(log)
    return Drafts(source.genesis(), system_clock).request(draft, read_rules(source, with_holds=False))


def sign_approval(
    request: ApprovalRequest,
    key: str | Signer,
    *,
    name: str,
    meaning: str = APPROVE,
    now_us: int | None = None,
    expires_us: int | None = None,
    passphrase: Passphrase | None = None,
) -> Approval:
    """Approve, review or reject what is requested, in the name of an approver.

    `key`: a signer, its URI, or the path of a PEM or OpenSSH key (a `.pub` for one that the agent holds).
    `expires_us`: at most 30 days after `now_us`; by default a day. Raises SignerError, ValueError.
    """
    draft, message = draft_approval(request, name=name, meaning=meaning, now_us=now_us, expires_us=expires_us)
    key_id, algorithm, signature = _sign(key, message, passphrase)
    return structs.replace(draft, key_id=key_id, algorithm=algorithm, signature=signature.hex())


def draft_approval(
    request: ApprovalRequest,
    *,
    name: str,
    meaning: str = APPROVE,
    now_us: int | None = None,
    expires_us: int | None = None,
) -> tuple[Approval, bytes]:
    """An approval without key and signature, and the bytes that are to be signed.

    Raises ValueError for a term that no log accepts.
    """
    now_us = system_clock() if now_us is None else now_us
    expires_us = now_us + LIFETIME_S * 1_000_000 if expires_us is None else expires_us
    if not 0 <= expires_us - now_us <= APPROVAL_TERM_MAX_S * 1_000_000:
        raise ValueError(
            f"an approval counts for 0 to {APPROVAL_TERM_MAX_S} s, not {(expires_us - now_us) / 1e6:g} s"
        )
    said = {
        "signer": name, "meaning": meaning, "event_type": str(request.draft["event_type"]),
        "request_id": request.request_id,
        "timestamp": format_timestamp(now_us), "expires": format_timestamp(expires_us),
    }  # fmt: skip
    message = message_of(asked_at(request, said["timestamp"]), **said)
    return parse_message(message, request), message


def take_signature(request: ApprovalRequest, message: bytes, signature: str) -> Approval:
    """The approval whose message `ssh-keygen -Y sign -n attestlog-approval` signed.

    `message`: from `draft_approval`; `signature`: what ssh-keygen wrote.

    Raises MalformedApprovalError for another message, MalformedSignatureError, SignatureInvalidError.
    """
    draft = parse_message(message, request)
    parse_sshsig(signature)
    data = low_s_sshsig(unarmoured(signature))
    made = decode_sshsig(data)
    verify_sshsig(made, SSH_NAMESPACE, message)
    return structs.replace(draft, key_id=made.key.key_id, algorithm=SSHSIG, signature=data.hex())


def sign_action(
    request: ApprovalRequest, key: str | Signer, *, passphrase: Passphrase | None = None
) -> dict[str, Any]:
    """The `actor_signature` proof of what is requested, for `provided_proofs`, by the actor's registered key.

    `key`: a signer, its URI, or the path of a PEM key. Raises SignerError, for a key of OpenSSH too.
    """
    message = actor_message(request.origin, bytes.fromhex(request.action_hash))
    key_id, algorithm, signature = _sign(key, message, passphrase)
    if algorithm == SSHSIG:
        raise SignerError("a key of OpenSSH signs approvals only, want a PEM key or a signer")
    return {"type": ACTOR_SIGNATURE, "valid": True, "key_id": key_id, "signature": signature.hex()}


def consent_to_admission(
    log: LogName | LogSource, key: str | Signer, *, label: str, passphrase: Passphrase | None = None
) -> dict[str, Any]:
    """What `Log.admit_key` appends, on a host whose key is in force, for this key to sign beside it.

    `key`: a signer, its URI, or the path of a PEM key. `label`: which host's key it is, 1 to 64 characters.
    The log is only read. Raises MalformedEntryError for a label, SignerError, StorageError.
    """
    genesis = open_source(log).genesis()
    signer = open_signer(_key_uri(key), passphrase=passphrase) if isinstance(key, str) else key
    try:
        public = signer.public_key
        message = admission_message(genesis.origin, genesis.entry_hash, public.key_id)
        payload = format_admission(Admission(public, sign_message(signer, public, message), label))
    finally:
        if signer is not key:
            signer.close()
    parse_admission(payload)
    return payload


def check_approvals(
    policy: Policy, request: ApprovalRequest, approvals: Iterable[Approval], now_us: int | None = None
) -> None:
    """Raises ApprovalRefusedError for the first that would not count now; its `reason` is the stable code.

    A review is let through: it is worth recording. Whether they suffice is for the log to say.
    """
    now = format_timestamp(system_clock() if now_us is None else now_us)
    for item in judge_approvals(policy, approvals, asked_at(request, now)):
        if item.code not in (None, f"approval.{REVIEW}"):
            raise ApprovalRefusedError(
                f"approval by {item.signer!r} does not count: {REASONS[item.code]}",
                reason=item.code, signer=item.signer,
            )  # fmt: skip


def _sign(key: str | Signer, message: bytes, passphrase: Passphrase | None) -> tuple[str, str, bytes]:
    """(key id, algorithm, signature)."""
    if isinstance(key, str) and not _SCHEME.match(key):
        path = Path(key)
        if is_ssh_key(_beginning(path)):
            made, data = ssh_sign(path, SSH_NAMESPACE, message)
            return made.key.key_id, SSHSIG, data
        key = _key_uri(key)
    signer = open_signer(key, passphrase=passphrase) if isinstance(key, str) else key
    try:
        signature = sign_message(signer, signer.public_key, message)
    finally:
        if signer is not key:
            signer.close()
    return signer.public_key.key_id, signer.public_key.algorithm, signature


def _key_uri(key: str) -> str:
    return key if _SCHEME.match(key) else f"file:{key}"


def _beginning(path: Path) -> bytes:
    try:
        with disk.open_plain(path) as file:
            return file.read(64)
    except FileNotFoundError:
        raise NotFoundError(f"there is no key at {path}", path=str(path)) from None
    except OSError as error:
        raise SignerError(f"key {path} cannot be read: {error.strerror}") from None
