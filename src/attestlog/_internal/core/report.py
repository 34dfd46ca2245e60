"""What a verifier says: findings, and the verdict they amount to.

A finding is one thing that does not hold, or (as a notice) one that the reader
should know. A verdict is the gravest of its findings; "could not look" and
"found tampering" are different verdicts and never stand in for one another.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, field

from attestlog.errors import ContradictedError, TamperedError, UnverifiedError, VerdictError

Progress = Callable[[int, int], None]
"""Called now and then with how much is done and how much there is, in bytes or entries."""

FINDINGS_KEPT_MAX: Final = 10_000
"""Findings a report holds (a log rewritten whole must not fill memory); all are counted and handed on."""


class Verdict(StrEnum):
    """What verification came to."""

    VERIFIED = "VERIFIED"
    INCOMPLETE = "INCOMPLETE"
    UNKNOWN = "UNKNOWN"
    MALFORMED = "MALFORMED"
    TRUNCATED = "TRUNCATED"
    FORKED = "FORKED"
    TAMPERED = "TAMPERED"


GRAVITY: Final = (
    Verdict.VERIFIED, Verdict.INCOMPLETE, Verdict.UNKNOWN, Verdict.TRUNCATED, Verdict.FORKED,
    Verdict.TAMPERED, Verdict.MALFORMED,
)  # fmt: skip
"""Lightest first. MALFORMED outranks all: nothing was there to judge. TAMPERED outranks a contradiction
with the past, because what does not hold by itself needs no second opinion."""


class Finding(Struct, frozen=True, kw_only=True):
    """One thing found. `verdict` VERIFIED marks a notice: worth knowing, and no fault."""

    code: str
    """Stable and dotted, such as `entry.hash`; the verifier's documentation lists them."""
    message: str
    verdict: Verdict = Verdict.TAMPERED
    sequence_number: int | None = None
    expected: Any = None
    found: Any = None


class Cosigner(Struct, frozen=True, kw_only=True):
    """A witness that cosigned a checkpoint."""

    name: str
    """What the trust policy calls it."""
    vkey: str
    timestamp: int | None = None
    """POSIX seconds by its clock; 0 or None where it makes no statement about the time."""


_ERRORS: Final[dict[Verdict, type[VerdictError]]] = {
    Verdict.INCOMPLETE: UnverifiedError,
    Verdict.UNKNOWN: UnverifiedError,
    Verdict.MALFORMED: UnverifiedError,
    Verdict.TRUNCATED: ContradictedError,
    Verdict.FORKED: ContradictedError,
    Verdict.TAMPERED: TamperedError,
}


class Judgement(Struct, kw_only=True):
    """What all reports have: a verdict on a subject.

    It has no truth value: `if report:` would be true of a tampered log. `report.ok` says whether all is
    well, `report.raise_for_verdict()` raises where it is not.
    """

    verdict: Verdict = Verdict.VERIFIED
    subject: str = ""
    """What was verified: a path or URL, as given."""
    findings: list[Finding] = field(default_factory=list)
    """The first ones, faults and notices alike."""

    if not TYPE_CHECKING:  # where it is hidden, `if report:` is seen by mypy's check "truthy-bool"

        def __bool__(self) -> bool:
            raise TypeError("a report has no truth value: ask report.ok, or call report.raise_for_verdict()")

    @property
    def ok(self) -> bool:
        """Whether the verdict is VERIFIED."""
        return self.verdict is Verdict.VERIFIED

    def raise_for_verdict(self) -> None:
        """Nothing if the verdict is VERIFIED, else raises a VerdictError with this report as evidence.

        TamperedError for TAMPERED, ContradictedError for TRUNCATED and FORKED, UnverifiedError for UNKNOWN,
        INCOMPLETE and MALFORMED. Its message is that of the first finding of that verdict.
        """
        if not self.ok:
            why = next((found.message for found in self.findings if found.verdict is self.verdict), "")
            message = ": ".join(filter(None, (self.subject, str(self.verdict), why)))
            raise _ERRORS[self.verdict](message, verdict=str(self.verdict), report=self)


class Report(Judgement, kw_only=True):
    """The outcome of one verification of a log."""

    format: str = "attestlog"
    """`attestlog`, `published` for a published log, `legacy` for one in the minimal format."""
    origin: str | None = None
    size: int = 0
    """Complete entries read."""
    root: str | None = None
    """Hex root of the tree over them."""
    head_hash: str | None = None
    """The last entry's entry_hash."""
    genesis_hash: str | None = None
    continues: dict[str, Any] | None = None
    """The older log that this one goes on from: `origin`, `genesis`, `size`, `root`, `reason`."""
    signing_keys: list[str] = field(default_factory=list)
    """Key ids that entries were signed with."""
    trusted_by: list[str] = field(default_factory=list)
    """Which of the caller's own keys or hashes vouch for the log; empty: SELF-ATTESTED."""
    checkpoint_size: int | None = None
    """Size the log's own verified checkpoint covers."""
    remembered_size: int | None = None
    """Size of the checkpoint this verifier remembered from before, and found still to be a prefix."""
    held_size: int | None = None
    """Size of the checkpoint that the caller kept, and that was found still to be a prefix."""
    cosigned_by: list[Cosigner] = field(default_factory=list)
    """Witnesses of the caller's trust policy that cosigned the checkpoint."""
    timestamped_size: int | None = None
    """Entries that a time stamp of a trusted authority covers."""
    timestamped_at: str | None = None
    """When they were there at the latest, by that stamp; RFC 3339."""
    erased_payloads: int = 0
    finding_counts: dict[str, int] = field(default_factory=dict)
    """All of them, by code."""
    duration_s: float = 0.0

    @property
    def self_attested(self) -> bool:
        """Whether nothing outside the log vouches for its keys."""
        return not self.trusted_by

    def add(self, finding: Finding, on_finding: Callable[[Finding], None] | None = None) -> None:
        """Count, keep while there is room, weigh into the verdict."""
        self.finding_counts[finding.code] = self.finding_counts.get(finding.code, 0) + 1
        if len(self.findings) < FINDINGS_KEPT_MAX:
            self.findings.append(finding)
        self.verdict = max(self.verdict, finding.verdict, key=GRAVITY.index)
        if on_finding is not None:
            on_finding(finding)


class ProofReport(Judgement, kw_only=True):
    """What verifying a proof file came to, and what it showed. What was not shown is None, or empty."""

    format: str = "tlog-proof"
    """`tlog-proof`, or `consistency`."""
    origin: str | None = None
    size: int | None = None
    """Entries that the checkpoint covers."""
    root: str | None = None
    """Hex root at that size."""
    sequence_number: int | None = None
    entry: dict[str, Any] | None = None
    """The entry, as it is in the log; its payload may be null."""
    has_payload: bool | None = None
    old_size: int | None = None
    """Of a consistency file: the entries that are a prefix of the checkpoint's."""
    old_root: str | None = None
    signed_by: list[str] = field(default_factory=list)
    """vkeys of the log that signed the checkpoint: given by the caller, or remembered."""
    is_key_remembered: bool = False
    """Whether these were not given, but remembered from an earlier verification of the log."""
    trusted_by: list[str] = field(default_factory=list)
    """Which of the caller's keys vouch for the log, now or when it was remembered; empty: SELF-ATTESTED."""
    cosigned_by: list[Cosigner] = field(default_factory=list)
    unknown_signatures: int = 0
    """Signature lines by keys nobody gave, which were not looked at."""
    entry_key_id: str | None = None
    """Which entry key the entry says signed it."""
    is_entry_key_trusted: bool = False
    """Whether the caller gave that key, and it did sign the entry."""
    duration_s: float = 0.0

    @property
    def self_attested(self) -> bool:
        """Whether nothing outside the log vouches, or vouched, for its keys."""
        return not self.trusted_by

    def add(self, finding: Finding) -> None:
        """Keep it, and weigh it into the verdict."""
        self.findings.append(finding)
        self.verdict = max(self.verdict, finding.verdict, key=GRAVITY.index)


class ExportReport(Judgement, kw_only=True):
    """What an exported file came to, and what it showed. What was not shown is None, or empty."""

    format: str = ""
    """`jsonl`, `parquet`, `dsse`, `cose` or `bundle`."""
    origin: str | None = None
    """The log's name, as far as the file says it."""
    genesis_hash: str | None = None
    """Of entry 0, where it is in the file."""
    size: int = 0
    """Entries, statements or receipts in the file."""
    first: int | None = None
    last: int | None = None
    """Sequence numbers of the first and the last one."""
    is_consecutive: bool = True
    """Whether each entry is followed by the next one of the log."""
    erased_payloads: int = 0
    redacted: int = 0
    signing_keys: list[str] = field(default_factory=list)
    """Key ids that entries, statements or receipts say they are signed with."""
    trusted_by: list[str] = field(default_factory=list)
    """Which of the caller's keys and hashes vouch for what is in the file."""
    checkpoint_size: int | None = None
    """Entries covered by a checkpoint that is trusted, and to whose root the file leads."""
    not_shown: list[str] = field(default_factory=list)
    """What the file alone cannot show, in words."""
    finding_counts: dict[str, int] = field(default_factory=dict)
    duration_s: float = 0.0

    def add(self, finding: Finding) -> None:
        """Count, keep while there is room, weigh into the verdict."""
        self.finding_counts[finding.code] = self.finding_counts.get(finding.code, 0) + 1
        if len(self.findings) < FINDINGS_KEPT_MAX:
            self.findings.append(finding)
        self.verdict = max(self.verdict, finding.verdict, key=GRAVITY.index)
