"""Redaction on the way into the log: secrets are replaced before an entry is planned, hashed or signed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Raw

from attestlog._internal.core.entry import EntryDraft
from attestlog._internal.core.policy import Policy, Redaction
from attestlog._internal.core.redaction import NONCE_SIZE_BYTES, REDACTED_MEMBERS, Redactor, commitment


class Redacting:
    """What one open log redacts. `open_key` gives the redaction key, and is asked when it is first needed."""

    def __init__(self, open_key: Callable[[], bytes]) -> None:
        self._open_key = open_key
        self._key: bytes | None = None
        self._lock = threading.Lock()
        self._made: tuple[Redaction, Redactor] | None = None

    def __repr__(self) -> str:
        return "Redacting()"

    def redacted(self, policy: Policy, draft: EntryDraft, spelled: Mapping[str, Raw]) -> EntryDraft | None:
        """The draft with its secrets replaced; None if it has none. `spelled`: its canonical members.

        Raises KeyFileError where there is no key: then nothing may be written.
        """
        redactor = self._redactor(policy)
        # Scanning the encoded members is cheap: redact only if something matches.
        if not redactor.suspects(draft, [spelled[name] for name in REDACTED_MEMBERS if name in spelled]):
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
