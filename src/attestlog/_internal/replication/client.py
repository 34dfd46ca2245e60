"""Speaking to one replica over HTTP: what it holds, and what it says to a shipment.

Whatever does not come back as expected is a ReplicationError that says whether
waiting may help; a refusal keeps the replica's own words and code.
"""

from __future__ import annotations

import gzip
from typing import Annotated, Final, NoReturn
from urllib.parse import SplitResult

import msgspec
from msgspec import Meta, Struct

from attestlog._internal.config import ReplicaAt
from attestlog._internal.core.note import NOTE_SIZE_MAX_BYTES
from attestlog._internal.core.replication import (
    ANSWER_SIZE_MAX_BYTES,
    SHIPMENT_SIZE_MAX_BYTES,
    ReplicaAnswer,
    Shipment,
    decode_answer,
    encode_shipment,
    log_id,
)
from attestlog._internal.net import Client, Limits, NoAnswerError, may_pass, parse_url, read_token, trusting
from attestlog.errors import (
    MalformedShipmentError,
    NotFoundError,
    ReplicationError,
    SplitViewError,
    StaleSizeError,
)

CONNECT_MAX_S: Final = 5.0
SILENCE_MAX_S: Final = 60.0
"""A replica verifies a full shipment in well under a second; a slow disk may take some."""

ANSWER_MAX_S: Final = 60.0
"""For a question and its answer, and what their bytes take beside it at the slowest rate."""

RATE_MIN_BYTES_PER_S: Final = 125_000
"""1 Mbit/s: a replica that is sent to or sends more slowly drips, and is given up for this time."""

GZIP_MIN_BYTES: Final = 4 << 10
"""Below it, packing costs more than it saves."""

REASON_MAX_CHARACTERS: Final = 500
"""Of what a replica gives as its reason: it is quoted in status, errors and entries of the log."""

CLAIM_MAX_CHARACTERS: Final = 64 << 10
"""Of each checkpoint that a replica says contradicts the other: it goes into an entry of the log, and nobody
has verified it. One with the signatures of every replica there may be is shorter."""

_GZIP_LEVEL: Final = 1
_UNERASED_SIZE_MAX_BYTES: Final = 16 << 20
_DESCRIPTION_SIZE_MAX_BYTES: Final = NOTE_SIZE_MAX_BYTES + (64 << 10)


class Held(Struct, frozen=True):
    """What a replica says it holds of a log."""

    size: Annotated[int, Meta(ge=0)]
    entry_hash: str = ""
    root: str = ""
    checkpoint: str | None = None
    split_views: list[str] = []


class _Unerased(Struct):
    sequence_numbers: list[int]


class _Evidence(Struct):
    known_size: int = 0
    sequence_number: int | None = None
    ours: str = ""
    theirs: str = ""


class _Refusal(Struct):
    code: str = ""
    detail: str = ""
    evidence: _Evidence = msgspec.field(default_factory=_Evidence)


class ReplicaClient:
    """One replica, as it is reached from here. One thread at a time."""

    def __init__(self, at: ReplicaAt, origin: str) -> None:
        """Raises MalformedConfigError where the URL, token or authority cannot be used."""
        self.url, self.origin = at.url, origin
        self._path = f"logs/{log_id(origin)}"
        self._http = Client(
            parse_replica_url(at.url),
            Limits(CONNECT_MAX_S, SILENCE_MAX_S, ANSWER_MAX_S),
            headers={"authorization": f"Bearer {read_token(at.token_file)}"},
            tls=trusting(at.ca_file) if at.ca_file else None,
        )

    def held(self) -> Held:
        """What it holds. Raises ReplicationError."""
        try:
            data = self._ask("GET", self._path, _DESCRIPTION_SIZE_MAX_BYTES)
        except NotFoundError:
            return Held(size=0)
        try:
            return msgspec.json.decode(data, type=Held)
        except msgspec.DecodeError as error:
            raise ReplicationError(f"{self.url} describes its copy as nobody can read: {error}") from None

    def send(self, shipment: Shipment) -> ReplicaAnswer:
        """What it answers. Raises StaleSizeError, SplitViewError or another ReplicationError."""
        body, headers = encode_shipment(shipment), {}
        if len(body) >= GZIP_MIN_BYTES:
            body, headers = gzip.compress(body, _GZIP_LEVEL), {"content-encoding": "gzip"}
        path = f"{self._path}/entries"
        data = self._ask("POST", path, ANSWER_SIZE_MAX_BYTES, content=body, headers=headers)
        try:
            return decode_answer(data)
        except MalformedShipmentError as error:
            raise ReplicationError(f"{self.url} answers what is no answer: {error}") from None

    def lines(self, start: int) -> list[bytes]:
        """Lines from `start` on, as many as it gives at once; none past its end. Raises ReplicationError."""
        path, limit = f"{self._path}/entries?start={start}", 2 * SHIPMENT_SIZE_MAX_BYTES
        *lines, rest = self._ask("GET", path, limit).split(b"\n")
        if rest:
            raise ReplicationError(f"{self.url} sent a line that has no end", retryable=True)
        return lines

    def checkpoint(self) -> bytes:
        """Its latest checkpoint, cosigned. Raises NotFoundError or ReplicationError."""
        return self._ask("GET", f"{self._path}/checkpoint", NOTE_SIZE_MAX_BYTES)

    def unerased(self) -> list[int]:
        """Payloads that the log says are erased, and that are still in its copy. Raises ReplicationError."""
        data = self._ask("GET", f"{self._path}/unerased", _UNERASED_SIZE_MAX_BYTES)
        try:
            return msgspec.json.decode(data, type=_Unerased).sequence_numbers
        except msgspec.DecodeError as error:
            raise ReplicationError(f"{self.url} reports erasures as nobody can read: {error}") from None

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _ask(
        self,
        method: str,
        path: str,
        size_max_bytes: int,
        *,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        total_s = ANSWER_MAX_S + (len(content or b"") + size_max_bytes) / RATE_MIN_BYTES_PER_S
        try:
            status, data = self._http.ask(
                method, path, size_max_bytes, content=content, headers=headers, total_s=total_s
            )
        except NoAnswerError as error:
            raise ReplicationError(f"{self.url} {error}", retryable=error.retryable) from None
        if status != 200:
            self._refused(status, data)
        return data

    def _refused(self, status: int, body: bytes) -> NoReturn:
        try:
            said = msgspec.json.decode(body, type=_Refusal)
        except msgspec.DecodeError:
            said = _Refusal()  # a proxy's page
        evidence = said.evidence
        reason = said.detail[:REASON_MAX_CHARACTERS] or "no reason is given"
        message = f"{self.url} answers {status}: {reason}"
        if said.code == StaleSizeError.code:
            raise StaleSizeError(message, known_size=evidence.known_size)
        if said.code == SplitViewError.code:
            ours, theirs = claimed(evidence.ours), claimed(evidence.theirs)
            raise SplitViewError(message, ours=ours, theirs=theirs, sequence_number=evidence.sequence_number)
        if said.code == NotFoundError.code:
            raise NotFoundError(message)
        raise ReplicationError(message, retryable=may_pass(status), status=status, remote_code=said.code)


def parse_replica_url(text: str) -> SplitResult:
    """A token goes there with every request. Raises MalformedConfigError."""
    return parse_url(text, what="the replica's URL", member="replicas")


def claimed(checkpoint: str) -> str:
    """As much of it as can be a checkpoint: all, or nothing."""
    return checkpoint if len(checkpoint) <= CLAIM_MAX_CHARACTERS else ""
