"""From a draft to what a commit takes: checked, redacted, salted and derived under the rules in force.

The same for who appends and for who only asks for approval, so that what
people approve is what is written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw

from attestlog._internal.core import canonical
from attestlog._internal.core.approval import ApprovalRequest, make_request
from attestlog._internal.core.batch import Prepared, prepare_spelled, spell
from attestlog._internal.core.entry import EntryDraft, encode_member, parse_draft
from attestlog._internal.core.genesis import Genesis
from attestlog._internal.core.reserved import KEPT, governs
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.signature import ECDSA_P256
from attestlog._internal.ids import new_entry_id
from attestlog._internal.log.environment import Clock, environment
from attestlog._internal.log.redacting import Redacting
from attestlog._internal.proof_types import registered_proofs
from attestlog._internal.signers.redaction_key import redaction_key


class Preparing:
    """What one log makes of drafts."""

    def __init__(self, genesis: Genesis, clock: Clock, replicas: Sequence[str] = ()) -> None:
        self._genesis, self._clock, self._replicas = genesis, clock, replicas
        self._environment = environment()
        self._redacting = Redacting(partial(redaction_key, genesis.origin))

    def prepare(
        self,
        draft: EntryDraft | Mapping[str, Any],
        rules: Rules,
        algorithm: str = ECDSA_P256,
        *,
        as_given: bool = False,
    ) -> Prepared:
        """`as_given`: nothing is redacted. Raises MalformedEntryError, DerivedMemberError, TooLargeError."""
        # Structs built directly bypass validation: check them here.
        draft = parse_draft(draft if isinstance(draft, EntryDraft) else dict(draft))
        spelled = self._spell(draft)
        # What changes rules has exactly the members it must have.
        if not (as_given or governs(draft)):
            redacted = self._redacting.redacted(rules.policy, draft, spelled)
            if redacted is not None:
                draft, spelled = redacted, self._spell(redacted)
        return self._derive(draft, spelled, rules, algorithm)

    def derive(self, draft: EntryDraft, rules: Rules, algorithm: str = ECDSA_P256) -> Prepared:
        """The same for a draft that was prepared before: nothing is redacted."""
        return self._derive(draft, self._spell(draft), rules, algorithm)

    def _spell(self, draft: EntryDraft) -> dict[str, Raw]:
        salt = os.urandom(16).hex() if self._is_salted(draft.action_type) else None
        return spell(draft, self._environment, self._replicas, salt)

    def _derive(self, draft: EntryDraft, spelled: dict[str, Raw], rules: Rules, algorithm: str) -> Prepared:
        now_us = self._clock() if draft.received_approvals else 0
        return prepare_spelled(
            draft, spelled, rules.policy, entry_id=new_entry_id(), log=rules.log,
            now_us=now_us, verifiers=registered_proofs(), algorithm=algorithm,
        )  # fmt: skip

    def request(
        self, draft: EntryDraft | Mapping[str, Any], rules: Rules, algorithm: str = ECDSA_P256
    ) -> ApprovalRequest:
        """What to give to those who approve: the draft with the payload as it will be written."""
        prepared = self.prepare(draft, rules, algorithm)
        payload = canonical.decode(bytes(prepared.payload))
        written = msgspec.structs.replace(prepared.draft, action_payload=payload, received_approvals=[])
        return make_request(written, rules.log, new_entry_id())

    def storable_payload(self, payload: Mapping[str, Any], rules: Rules, action_type: str) -> dict[str, Any]:
        """The payload as it would be written: redacted, and with its salt. `prepare` leaves it as it is.

        Raises MalformedEntryError.
        """
        stored = dict(payload)
        encode_member("action_payload", stored)  # refuses what cannot be redacted: it contains itself
        if action_type not in KEPT:
            stored = self._redacting.redacted_value(rules.policy, stored)
        return {"_salt": os.urandom(16).hex(), **stored} if self._is_salted(action_type) else stored

    def _is_salted(self, action_type: str) -> bool:
        """Whether payloads of such entries are; those that are never erased are not, nor their intents."""
        return self._genesis.settings.erasable_payloads and action_type not in KEPT
