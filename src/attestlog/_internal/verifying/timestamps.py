"""Time stamps beside a log, against its entries and under the authorities that the reader trusts. Offline.

A stamp counts when its authority's certificate leads to one of the roots given
and it is over the checkpoint that the entries themselves lead to at its size.
Then the log had those entries at that time at the latest: a thief who took a
key later could not have changed them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from attestlog._internal.core.checkpoint import Checkpoint, format_checkpoint
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.report import Finding
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.timestamp import order_sets
from attestlog._internal.judging.findings import finding
from attestlog._internal.storage.contract import LogSource, StoredTimestamp
from attestlog._internal.verifying.given import read_small_file, reason
from attestlog.errors import MalformedConfigError, MissingExtraError, NotFoundError, StorageError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from rfc3161_client import Verifier

TIMESTAMPS_MAX: Final = 10_000
"""Those of the largest sizes are looked at: each costs a millisecond."""

RootAt = Callable[[int], bytes | None]
"""The root of the first so many entries; None where it is not known."""


class Stamp(NamedTuple):
    """A stamp that counts."""

    size: int
    time: datetime


class StampVerdict(NamedTuple):
    """What the time stamps of a log come to."""

    counting: list[Stamp]
    findings: list[Finding]


def load_authorities(roots: Iterable[str | Path]) -> Verifier | None:
    """The authorities under these certificates (PEM files); None without any.

    Raises MalformedConfigError, StorageError, MissingExtraError.
    """
    certificates = [certificate for path in roots for certificate in _load_certificates(path)]
    if not certificates:
        return None
    try:
        from rfc3161_client import VerifierBuilder
    except ImportError:
        raise MissingExtraError("time stamps need rfc3161-client", extra="timestamp") from None
    builder = VerifierBuilder()
    for certificate in certificates:
        builder = builder.add_root_certificate(certificate)
    return builder.build()


def stamp_sizes(stamps: Sequence[StoredTimestamp]) -> set[int]:
    """Sizes whose roots `judge_stamps` asks for."""
    return {stamp.size for stamp in stamps[-TIMESTAMPS_MAX:]}


def judge_stamps(
    log: LogSource,
    stamps: Sequence[StoredTimestamp],
    authorities: Verifier | None,
    *,
    origin: str,
    size: int,
    root_at: RootAt,
) -> StampVerdict:
    """Which of these stamps of a log count, and what is wrong with the others. `size`: entries there are."""
    counting: list[Stamp] = []
    findings: list[Finding] = []
    is_installed = _is_installed()
    unverified = len(stamps) - len(stamps[-TIMESTAMPS_MAX:])
    for stamp in stamps[-TIMESTAMPS_MAX:]:
        root = root_at(stamp.size)
        if stamp.size > size:
            what = f"{stamp.name} is of a checkpoint over {stamp.size} entries, {size} are there"
            findings.append(finding("timestamp.ahead", what, expected=stamp.size, found=size))
        elif root is None or not is_installed:
            unverified += 1
        else:
            text = format_checkpoint(Checkpoint(origin, stamp.size, root))
            judged = _judge_stamp(log, stamp, text, authorities)
            if isinstance(judged, Stamp):
                counting.append(judged)
            elif judged is not None:
                findings.append(judged)
            else:
                unverified += 1
    if unverified:
        what = _why(unverified, is_installed=is_installed, has_authorities=authorities is not None)
        findings.append(finding("timestamp.unverified", what, found=unverified))
    return StampVerdict(counting, findings)


def _judge_stamp(
    log: LogSource, stamp: StoredTimestamp, text: str, authorities: Verifier | None
) -> Stamp | Finding | None:
    """The stamp if it counts, what is wrong with it, or None if no trusted authority vouches for it.

    `text`: of the checkpoint that the entries lead to.
    """
    from rfc3161_client import VerificationError, decode_timestamp_response

    digest = sha256(text.encode())
    try:
        response = decode_timestamp_response(order_sets(log.timestamp(stamp.name)))
        info = response.tst_info
        imprint, when = info.message_imprint.message, info.gen_time
    except StorageError as error:
        return finding("log.unreadable", str(error))
    except ValueError as error:
        what = f"{stamp.name}: no time stamp: {error}"
        return finding("timestamp.malformed", what, expected=digest.hexdigest())
    if imprint != digest.digest():
        what = f"{stamp.name}: not of the checkpoint that the first {stamp.size} entries lead to"
        return finding("timestamp.other", what, expected=digest.hexdigest())
    if authorities is None:
        return None
    try:
        authorities.verify_message(response, text.encode())
    except (VerificationError, ValueError):
        return None
    return Stamp(stamp.size, when)


def _is_installed() -> bool:
    try:
        import rfc3161_client  # noqa: F401 - only whether it is there
    except ImportError:
        return False
    return True


def _why(count: int, *, is_installed: bool, has_authorities: bool) -> str:
    if not is_installed:
        return f"{count} time stamps were not looked at: rfc3161-client is not installed"
    if not has_authorities:
        return f"{count} time stamps show nothing: no authority's root was given"
    return f"{count} time stamps are by no trusted authority, or could not be held against entries"


def latest(stamps: Collection[Stamp]) -> Stamp | None:
    """The one over the most entries, and of those over as many the earliest."""
    return max(stamps, key=lambda stamp: (stamp.size, -stamp.time.timestamp()), default=None)


def vouched_size(stamps: Collection[Stamp], before: datetime) -> int:
    """How many entries the log had before that moment at the latest, by the stamps that count."""
    return max((stamp.size for stamp in stamps if stamp.time < before), default=0)


def vouched_before_revocation(
    rules: Rules, changes: Iterable[bytes] | None, stamps: Collection[Stamp]
) -> int:
    """How many entries the stamps that count show to be older than the first revocation of a key.

    What a thief of the key wrote afterwards is covered by none of these. `changes`: the lines of the
    governing entries.
    """
    revoked_at = {term.revoked_at for term in rules.terms.values() if term.revoked_at is not None}
    if not revoked_at or not stamps:
        return 0
    first = min(revoked_at)
    for entry in map(decode_line, changes or ()):
        if entry.sequence_number == first:
            return vouched_size(stamps, datetime.fromisoformat(entry.timestamp))
    return 0


def _load_certificates(path: str | Path) -> list[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(read_small_file(Path(path)))
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}", path=str(path)) from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {reason(error)}", path=str(path)) from None
    except ValueError:
        raise MalformedConfigError(f"{path} holds no certificates in PEM", member="tsa_root") from None
