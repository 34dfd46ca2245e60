"""From a draft to what a commit takes: checked, redacted, salted and derived under the rules in force.

The same for those who append and for those who only ask for approval, so that
what people approve is what is written. Nothing here needs the log's lock.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from attestlog._internal.core import canonical
from attestlog._internal.core.approval import ApprovalRequest, make_request
from attestlog._internal.core.batch import Prepared, prepare_spelled, spell
from attestlog._internal.core.entry import EntryDraft, Object, encode_member, parse_draft
from attestlog._internal.core.erasure import AnyErasure, Erasure, format_erasure
from attestlog._internal.core.genesis import Genesis
from attestlog._internal.core.policy import Policy, Redaction
from attestlog._internal.core.policy_change import proposed_patterns
from attestlog._internal.core.redaction import (
    NONCE_SIZE_BYTES,
    REDACTED_MEMBERS,
    Redactor,
    commitment,
    compile_patterns,
)
from attestlog._internal.core.reserved import (
    ERASE_PAYLOAD,
    ERASE_PAYLOADS,
    ERASING,
    KEPT,
    OF_KEYS,
    check_reserved,
)
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.signature import ECDSA_P256
from attestlog._internal.ids import new_entry_id
from attestlog._internal.proof_types import registered_proofs
from attestlog._internal.signers.redaction_key import redaction_key
from attestlog._internal.version import VERSION

Clock = Callable[[], int]
"""Microseconds since 1970, UTC."""

AnyDraft = EntryDraft | Mapping[str, Any]
"""A draft, or its members."""


def system_clock() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1_000


def environment() -> dict[str, str]:
    """What every entry says of the machine and software: no host name, no user, no secret."""
    system = os.uname()
    version = ".".join(map(str, sys.version_info[:3]))
    return {
        "attestlog": VERSION,
        "os": f"{system.sysname} {system.release} {system.machine}",
        "runtime": f"{sys.implementation.name} {version}",
    }


def change_draft(action_type: str, payload: Object, members: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a CHANGE entry with this payload."""
    return {**members, "event_type": "CHANGE", "action_type": action_type, "action_payload": payload}


def erasure_draft(erasure: AnyErasure, members: Mapping[str, Any]) -> dict[str, Any]:
    """The draft of the entry that says what is erased."""
    name = ERASE_PAYLOAD if isinstance(erasure, Erasure) else ERASE_PAYLOADS
    return change_draft(name, format_erasure(erasure), {"event_category": "WARNING", **members})


class Drafts:
    """Validates, redacts, salts and derives drafts for one log. Threads may share it."""

    def __init__(self, genesis: Genesis, clock: Clock, replicas: Sequence[str] = ()) -> None:
        """`replicas`: URLs that every entry records."""
        self._genesis, self._clock, self._replicas = genesis, clock, replicas
        self._environment = environment()
        self._redactor_made: tuple[Redaction, Redactor] | None = None
        self._redaction_key: bytes | None = None
        self._key_lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Drafts({self._genesis.origin!r})"  # it holds the redaction key

    def prepare(
        self,
        draft: AnyDraft,
        rules: Rules,
        algorithm: str = ECDSA_P256,
        *,
        redact: bool = True,
        by_log: bool = False,
        asserted: Mapping[str, str] | None = None,
        ordinal: int = 0,
    ) -> Prepared:
        """Ready to be committed. `algorithm`: of the key that will sign. `by_log`: the log made the draft.

        `asserted`: members of `environment` that the log says of the caller, by `log.callers`; `ordinal`:
        which of the entries under the caller's idempotency key this is.

        Raises MalformedEntryError (also for a name that belongs to the log), DerivedMemberError,
        TooLargeError. MalformedPolicyError: a policy's patterns cannot be run. KeyFileError: there is a
        secret, and no key to redact it with.
        """
        # Structs built directly bypass validation: check them here.
        draft = parse_draft(draft if isinstance(draft, EntryDraft) else dict(draft))
        check_reserved(draft, by_log=by_log)
        if patterns := proposed_patterns(draft):
            compile_patterns(patterns)
        spelled = self._spell(draft, asserted)
        if redact and draft.action_type not in KEPT and rules.policy.redaction.enabled:
            redactor = self._redactor(rules.policy)
            # Scanning the encoded members is cheap: redact only if something matches.
            if redactor.suspects(draft, [spelled[name] for name in REDACTED_MEMBERS if name in spelled]):
                draft = redactor.redact(draft, self._commitment)
                spelled = self._spell(draft, asserted)
        prepared = self._derive(draft, spelled, rules, algorithm)
        return replace(prepared, asserted=asserted, ordinal=ordinal) if asserted else prepared

    def renew(self, prepared: Prepared, rules: Rules, algorithm: str) -> Prepared:
        """The same entry, by the same id, under other rules, or for another key. Raises as `prepare`."""
        draft = prepared.draft  # as it was redacted
        spelled = self._spell(draft, prepared.asserted)
        renewed = self._derive(draft, spelled, rules, algorithm, prepared.entry_id)
        return replace(renewed, asserted=prepared.asserted, ordinal=prepared.ordinal)

    def request(self, draft: AnyDraft, rules: Rules, algorithm: str = ECDSA_P256) -> ApprovalRequest:
        """What to give to those who approve: the draft with the payload as it will be written."""
        # Erasures and changes of keys are approved before the log appends them.
        parsed = parse_draft(draft if isinstance(draft, EntryDraft) else dict(draft))
        by_log = parsed.action_type in ERASING | OF_KEYS
        prepared = self.prepare(parsed, rules, algorithm, by_log=by_log)
        payload = canonical.decode(bytes(prepared.payload))
        written = msgspec.structs.replace(prepared.draft, action_payload=payload, received_approvals=[])
        return make_request(written, rules.log, new_entry_id())

    def storable_payload(self, payload: Mapping[str, Any], rules: Rules, action_type: str) -> dict[str, Any]:
        """The payload as it would be written: redacted, and with its salt. `prepare` leaves it as it is.

        Raises MalformedEntryError, KeyFileError.
        """
        stored = dict(payload)
        encode_member("action_payload", stored)  # refuses what could not be redacted: it contains itself
        if action_type not in KEPT and rules.policy.redaction.enabled:
            stored = self._redactor(rules.policy).redact_value(stored, self._commitment)
        return {"_salt": os.urandom(16).hex(), **stored} if self._is_salted(action_type) else stored

    def _spell(self, draft: EntryDraft, asserted: Mapping[str, str] | None = None) -> dict[str, Raw]:
        salt = os.urandom(16).hex() if self._is_salted(draft.action_type) else None
        environment = {**self._environment, **asserted} if asserted else self._environment
        return spell(draft, environment, self._replicas, salt)

    def _derive(
        self, draft: EntryDraft, spelled: dict[str, Raw], rules: Rules, algorithm: str, entry_id: str = ""
    ) -> Prepared:
        now_us = self._clock() if draft.received_approvals else 0
        return prepare_spelled(
            draft, spelled, rules.policy, entry_id=entry_id or new_entry_id(), log=rules.log,
            now_us=now_us, verifiers=registered_proofs(), algorithm=algorithm,
        )  # fmt: skip

    def _is_salted(self, action_type: str) -> bool:
        """Whether payloads of such entries are; those that are never erased are not, nor their intents."""
        return self._genesis.settings.erasable_payloads and action_type not in KEPT

    def _redactor(self, policy: Policy) -> Redactor:
        made = self._redactor_made
        if made is None or made[0] is not policy.redaction:
            made = self._redactor_made = (policy.redaction, Redactor(policy.redaction))
        return made[1]

    def _commitment(self, what: str, value: bytes) -> str:
        with self._key_lock:
            if self._redaction_key is None:
                self._redaction_key = redaction_key(self._genesis.origin)
        return commitment(self._redaction_key, os.urandom(NONCE_SIZE_BYTES), what, value)


def one_draft(draft: AnyDraft | None, members: dict[str, Any]) -> AnyDraft:
    """The draft, or that of these members. Raises TypeError for both."""
    if draft is None:
        return members
    if members:
        raise TypeError("append takes a draft or members, not both")
    return draft
