"""Names that belong to the log: action types by which an entry acts on it, and members the log fills in.

Every action type that begins with `attestlog.` is the log's. An entry *acts* only if it is a CHANGE of
status SUCCESS with a name of the table; under any other status or event type (a guard's intent, a refused
attempt) the same name is a record with a free payload. What the log asserts about an entry stands under
`environment`, in the member `attestlog` and in members that begin with `attestlog_`; what callers claim
stands elsewhere.

Whether a change holds is for `rules` to say. Specified in docs/spec/entry.md.
"""

from __future__ import annotations

import unicodedata
from typing import Final, Protocol

from attestlog._internal.core.entry import EntryDraft, EventType, ExecutionStatus
from attestlog.errors import MalformedEntryError

PREFIX: Final = "attestlog."

GENESIS: Final = "attestlog.genesis"
SET_POLICY: Final = "attestlog.set_policy"
MODIFY_POLICY_RULE: Final = "attestlog.modify_policy_rule"
ROTATE_SIGNING_KEY: Final = "attestlog.rotate_signing_key"
ADMIT_SIGNING_KEY: Final = "attestlog.admit_signing_key"
REVOKE_SIGNING_KEY: Final = "attestlog.revoke_signing_key"
PLACE_LEGAL_HOLD: Final = "attestlog.place_legal_hold"
RELEASE_LEGAL_HOLD: Final = "attestlog.release_legal_hold"
ERASE_PAYLOAD: Final = "attestlog.erase_payload"
ERASE_PAYLOADS: Final = "attestlog.erase_payloads"
SIGNER_OUTAGE: Final = "attestlog.signer_outage"
RESTORED: Final = "attestlog.restored"
IMPORTED: Final = "attestlog.imported"
CLOCK_STEP: Final = "attestlog.clock_step"
WAS_READ: Final = "attestlog.was_read"

GOVERNING: Final = frozenset({
    SET_POLICY, MODIFY_POLICY_RULE, ROTATE_SIGNING_KEY, ADMIT_SIGNING_KEY, REVOKE_SIGNING_KEY,
    PLACE_LEGAL_HOLD, RELEASE_LEGAL_HOLD,
})  # fmt: skip
"""Those that change the rules in force, if they hold."""

OF_KEYS: Final = frozenset({ROTATE_SIGNING_KEY, ADMIT_SIGNING_KEY, REVOKE_SIGNING_KEY})
"""Those that change which keys sign: a caller of `append` cannot append one that acts."""

OF_THE_LOG: Final = frozenset(
    {ERASE_PAYLOAD, ERASE_PAYLOADS, SIGNER_OUTAGE, RESTORED, IMPORTED, CLOCK_STEP, WAS_READ}
)
"""Those that the log writes itself, as part of what it did: a caller cannot append them."""

ERASING: Final = frozenset({ERASE_PAYLOAD, ERASE_PAYLOADS})
"""Those that say that payloads are erased: one, or those of a range."""

KNOWN: Final = GOVERNING | OF_THE_LOG
"""Names that a CHANGE may have. The genesis entry's is for entry 0 alone."""

KEPT: Final = GOVERNING | ERASING | {GENESIS}
"""Verifiers act upon these payloads where the entry acts: see `is_kept`. Never salted nor redacted, records
with these names included: an intent has the payload of its act."""

ENVIRONMENT_MEMBER: Final = "attestlog"
ENVIRONMENT_PREFIX: Final = "attestlog_"
"""Members of `environment` that the log fills in, after redaction."""

KEY_MEMBER: Final = "attestlog_key"
"""The caller's idempotency key."""

PEER_MEMBER: Final = "attestlog_peer"
"""What a service knows of the caller: `token:NAME`, or `uid:N pid:N` of a process on its own machine."""

_CHANGE: Final = b'"event_type":"CHANGE"'
_MARKS: Final = tuple(f'"action_type":"{name}"'.encode() for name in sorted(GOVERNING))
"""A canonical entry that governs holds the first and one of the others."""

_RECORDS: Final = frozenset({EventType.DECISION, EventType.VIOLATION})
"""Event types under which a reserved name is only a record: what somebody meant to do, or tried."""


class Acting(Protocol):
    """What decides whether an entry acts: of an entry, a draft, or the part of a line that was read."""

    @property
    def event_type(self) -> EventType:
        """See `Entry`."""

    @property
    def execution_status(self) -> ExecutionStatus:
        """See `Entry`."""

    @property
    def action_type(self) -> str:
        """See `Entry`."""


class Numbered(Acting, Protocol):
    """One that stands in a log."""

    @property
    def sequence_number(self) -> int:
        """See `Entry`."""


def acts(facts: Acting) -> bool:
    """Whether the entry acts on the log: a CHANGE of status SUCCESS with a name that is the log's.

    The one function that rules, erasures and verifiers ask. The name may be unknown here: see `is_newer`.
    """
    return (
        facts.event_type is EventType.CHANGE
        and facts.execution_status is ExecutionStatus.SUCCESS
        and facts.action_type.startswith(PREFIX)
    )


def governs(facts: Acting) -> bool:
    """Whether the entry would change the rules in force."""
    return facts.action_type in GOVERNING and acts(facts)


def erases(facts: Acting) -> bool:
    """Whether the entry says that payloads are erased."""
    return facts.action_type in ERASING and acts(facts)


def is_kept(entry: Numbered) -> bool:
    """Whether the log cannot do without this payload: it made rules, or says what is erased."""
    return entry.sequence_number == 0 or (entry.action_type in KEPT and acts(entry))


def may_govern(line: bytes) -> bool:
    """Whether a canonical line perhaps is of a governing entry: its bytes say so, be it in its payload."""
    # Most entries are no CHANGE: one look at their bytes is enough.
    return _CHANGE in line and any(mark in line for mark in _MARKS)


def is_newer(entry: Acting) -> bool:
    """Whether the entry acts by a name not known here: it may change rules of a newer attestlog."""
    return entry.action_type not in KNOWN and acts(entry)


def is_reserved(name: object) -> bool:
    """Whether an action type belongs to the log, however it is spelled."""
    return isinstance(name, str) and _folded(name).startswith(PREFIX)


def check_reserved(draft: EntryDraft, *, by_log: bool = False) -> None:
    """Raises MalformedEntryError for a draft that takes a name of the log's, or a member that it fills in.

    Other spellings of the prefix (case, full-width letters) are refused as well, not taken for a user's
    name: a reader could not tell them apart. `by_log`: the log made the draft itself.
    """
    name = draft.action_type
    if name in KNOWN:
        if draft.event_type not in _RECORDS | {EventType.CHANGE}:
            _refuse(name, f"is a change of the log itself, not {_article(draft.event_type)}")
        if name in OF_THE_LOG and not by_log and draft.event_type is EventType.CHANGE:
            _refuse(name, "is appended by the log alone")
        if name in OF_KEYS and not by_log and acts(draft):
            # Policies ask nobody before a rotation, and few do before the others: one that a caller of
            # `append` (any agent, by any service) could append would give the log to that caller.
            _refuse(name, "is appended only where keys are managed, by rotating, admitting or revoking one")
    elif is_reserved(name):
        _refuse(name, f"begins with {PREFIX!r}, which belongs to the log")
    check_environment(draft)


def check_environment(draft: EntryDraft) -> None:
    """Raises MalformedEntryError for a draft that states what the log asserts, be it right."""
    for member in draft.environment:
        if member == ENVIRONMENT_MEMBER or member.startswith(ENVIRONMENT_PREFIX):
            raise MalformedEntryError(
                f"draft: environment.{member}: is filled in by the log", member=f"environment.{member}"
            )


def _folded(name: str) -> str:
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _article(event_type: EventType) -> str:
    return f"{'an' if event_type[0] in 'AEIOU' else 'a'} {event_type}"


def _refuse(name: str, why: str) -> None:
    raise MalformedEntryError(f"draft: action_type: {name[:80]!r} {why}", member="action_type", found=name)
