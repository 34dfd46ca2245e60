"""Redaction on the way into the log: secrets are replaced before an entry is planned, hashed or signed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

from attestlog._internal.core.batch import Prepared
from attestlog._internal.core.entry import EntryDraft
from attestlog._internal.core.policy import Policy, Redaction
from attestlog._internal.core.redaction import NONCE_SIZE_BYTES, REDACTED_MEMBERS, Redactor, commitment

_others: Final = attrgetter(*REDACTED_MEMBERS[1:])


class Redacting:
    """What one open log redacts. `open_key` gives the redaction key, and is asked when it is first needed."""

    def __init__(self, open_key: Callable[[], bytes]) -> None:
        self._open_key = open_key
        self._key: bytes | None = None
        self._lock = threading.Lock()
        self._made: tuple[Redaction, Redactor] | None = None

    def __repr__(self) -> str:
        return "Redacting()"

    def redacted(self, policy: Policy, draft: EntryDraft, prepared: Prepared) -> EntryDraft | None:
        """The draft with its secrets replaced, or None where `prepared`, made of it, has none.

        Raises KeyFileError where there is no key: then nothing may be written.
        """
        redactor = self._redactor(policy)
        # One look at what is spelled already costs a fraction of making the entry.
        spelled = (prepared.payload, *_others(prepared.entry))
        if not redactor.suspects(draft, spelled):
            return None
        return redactor.redact(draft, self._commit)

    def redacted_value(self, policy: Policy, value: Any) -> Any:
        """A copy of a JSON value, such as a payload that others are to approve, with its secrets replaced."""
        return self._redactor(policy).redact_value(value, self._commit) if policy.redaction.enabled else value

    def _redactor(self, policy: Policy) -> Redactor:
        made = self._made
        if made is None or made[0] is not policy.redaction:
            made = self._made = (policy.redaction, Redactor(policy.redaction))
        return made[1]

    def _commit(self, what: str, value: bytes) -> str:
        with self._lock:
            if self._key is None:
                self._key = self._open_key()
        return commitment(self._key, os.urandom(NONCE_SIZE_BYTES), what, value)
