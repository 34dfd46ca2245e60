"""Time stamps beside a log, against its entries and under the authorities that the reader trusts. Offline.

A stamp counts when its authority's certificate leads to one of the roots given
and it is over the checkpoint that the entries themselves lead to at its size.
Then the log had those entries at that time at the latest: whoever took a key
later could not have changed them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from attestlog._internal.core.checkpoint import Checkpoint, format_checkpoint
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.report import Finding
from attestlog._internal.core.rules import Rules
from attestlog._internal.judging.findings import finding
from attestlog._internal.judging.source import open_plain, read_small_file, reason
from attestlog._internal.storage.files.timestamps import (
    TIMESTAMP_SIZE_MAX_BYTES,
    TIMESTAMPS_DIR,
    list_timestamps,
)
from attestlog.errors import MalformedConfigError, MissingExtraError, NotFoundError, StorageError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

TIMESTAMPS_MAX: Final = 10_000
"""Those of the largest sizes are looked at: each costs a millisecond."""

RootAt = Callable[[int], bytes | None]
"""The root of the first so many entries; None where it is not known."""


class Stamp(NamedTuple):
    """A stamp that counts."""

    size: int
    time: datetime


class Stamps:
    """The stamps of one log, before any is looked at."""

    def __init__(self, log: Path, roots: Iterable[str | Path]) -> None:
        """`roots`: PEM files. Raises MalformedConfigError, StorageError, MissingExtraError."""
        certificates = [certificate for path in roots for certificate in _load_roots(path)]
        self._them = _load_rfc3161(required=bool(certificates))
        self._verifier = _verifier(self._them, certificates) if certificates else None
        self.counting: list[Stamp] = []
        self._unreadable: str | None = None
        self._files: list[tuple[int, Path]] = []
        self._skipped = 0
        try:
            there = list_timestamps(log)
            self._files = there[-TIMESTAMPS_MAX:]
            self._skipped = len(there) - len(self._files)
        except OSError as error:
            self._unreadable = reason(error)

    @property
    def sizes(self) -> set[int]:
        """Sizes whose roots are wanted."""
        return {size for size, _ in self._files}

    def check(self, origin: str, size: int, root_at: RootAt) -> Iterator[Finding]:
        """Findings; those that count are in `counting` afterwards. `size`: entries that are there."""
        if self._unreadable is not None:
            yield finding("log.unreadable", f"{TIMESTAMPS_DIR} cannot be read: {self._unreadable}")
        unverified = self._skipped
        for covered, path in self._files:
            if covered > size:
                what = f"{path.name} is of a checkpoint over {covered} entries, {size} are there"
                yield finding("timestamp.ahead", what, expected=covered, found=size)
                continue
            root = root_at(covered)
            if self._them is None or root is None:
                unverified += 1
                continue
            text = format_checkpoint(Checkpoint(origin, covered, root)).encode()
            try:
                stamp = self._judge(path, covered, text)
            except OSError as error:
                yield finding("log.unreadable", f"{path.name} cannot be read: {reason(error)}")
            except _BadStampError as error:
                yield finding(error.code, f"{path.name}: {error}", expected=sha256(text).hexdigest())
            else:
                unverified += stamp is None
                self.counting += [stamp] if stamp is not None else []
        if unverified:
            yield finding("timestamp.unverified", self._why(unverified), found=unverified)

    def _judge(self, path: Path, size: int, text: bytes) -> Stamp | None:
        """The stamp; None if no authority that is trusted vouches for it. Raises _BadStampError, OSError."""
        with open_plain(path) as file:
            data = file.read(TIMESTAMP_SIZE_MAX_BYTES + 1)
        try:
            response = self._them.decode_timestamp_response(data)
            info = response.tst_info
            imprint, when = info.message_imprint.message, info.gen_time
        except ValueError as error:
            raise _BadStampError("timestamp.malformed", f"no time stamp: {error}") from None
        if imprint != sha256(text).digest():
            what = f"not of the checkpoint that the first {size} entries lead to"
            raise _BadStampError("timestamp.other", what)
        if self._verifier is None:
            return None
        try:
            self._verifier.verify_message(response, text)
        except (self._them.VerificationError, ValueError):
            return None
        return Stamp(size, when)

    def _why(self, count: int) -> str:
        if self._them is None:
            return f"{count} time stamps were not looked at: rfc3161-client is not installed"
        if self._verifier is None:
            return f"{count} time stamps show nothing: no authority's root was given"
        return f"{count} time stamps are by no trusted authority, or could not be held against entries"


class _BadStampError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


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


def _load_roots(path: str | Path) -> list[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(read_small_file(Path(path)))
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}", path=str(path)) from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {reason(error)}", path=str(path)) from None
    except ValueError:
        raise MalformedConfigError(f"{path} holds no certificates in PEM", member="tsa_root") from None


def _load_rfc3161(*, required: bool) -> Any:
    try:
        import rfc3161_client
    except ImportError:
        if required:
            raise MissingExtraError("time stamps need rfc3161-client", extra="timestamp") from None
        return None
    return rfc3161_client


def _verifier(them: Any, roots: list[Certificate]) -> Any:
    builder = them.VerifierBuilder()
    for root in roots:
        builder = builder.add_root_certificate(root)
    return builder.build()
