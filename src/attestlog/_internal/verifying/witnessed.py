"""Witnesses: whether a checkpoint has the cosignatures that the caller's trust policy asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attestlog._internal.core.cosignature import open_signed_checkpoint
from attestlog._internal.core.note import VerifierKey, format_vkey
from attestlog._internal.core.report import Cosigner, Finding, Report
from attestlog._internal.core.trust import TrustedCheckpoint, TrustPolicy, parse_trust_policy, verify_quorum
from attestlog._internal.judging.findings import finding
from attestlog._internal.judging.source import Source, read_source
from attestlog.errors import MissingExtraError, SignatureInvalidError, TrustError

Policy = Source | TrustPolicy | None
"""A trust policy, the bytes or the path of one, or none."""


def load_policy(policy: Policy) -> TrustPolicy:
    """Raises MalformedTrustError, or StorageError if the file cannot be read."""
    if isinstance(policy, TrustPolicy):
        return policy
    return TrustPolicy() if policy is None else parse_trust_policy(read_source(policy))


def judge_witnesses(
    note: bytes, keys: Sequence[VerifierKey], policy: TrustPolicy, report: Report
) -> Iterator[Finding]:
    """Findings where the quorum is not met; who cosigned goes into the report.

    `note`: a checkpoint that one of `keys`, the log's, is known to have signed.
    """
    names = {witness.key: witness.name for witness in policy.witnesses}
    try:
        signed = open_signed_checkpoint(note, [*keys, *names])
        found = [(names[item.key], item) for item in signed.signatures if item.key in names]
        report.cosigned_by = [cosigner(name, item.key, item.timestamp) for name, item in found]
        verify_quorum(policy, [name for name, _ in found])
    except SignatureInvalidError as error:
        yield finding("checkpoint.cosignature", str(error), found=error.key_name)
    except MissingExtraError as error:
        yield finding("checkpoint.unsupported", str(error))
    except TrustError as error:
        yield finding("trust.quorum", str(error), expected=error.need, found=error.have)


def cosigners(trusted: TrustedCheckpoint) -> list[Cosigner]:
    """Those of an accepted checkpoint, for a report."""
    return [cosigner(name, item.key, item.timestamp) for name, item in trusted.witnesses]


def cosigner(name: str, key: VerifierKey, timestamp: int | None) -> Cosigner:
    """For a report."""
    return Cosigner(name=name, vkey=format_vkey(key), timestamp=timestamp)
