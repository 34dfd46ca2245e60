"""Speaking to one replica over HTTP: what it holds, and what it says to a shipment.

Whatever does not come back as expected is a ReplicationError that says whether
waiting may help; a refusal keeps the replica's own words and code.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import httpx
import msgspec
from msgspec import Meta, Struct

from attestlog._internal.core.note import NOTE_SIZE_MAX_BYTES
from attestlog._internal.core.replication import (
    ANSWER_SIZE_MAX_BYTES,
    SHIPMENT_SIZE_MAX_BYTES,
    Answer,
    Shipment,
    decode_answer,
    encode_shipment,
    log_id,
)
from attestlog._internal.storage.files.layout import ReplicaAt
from attestlog.errors import (
    MalformedConfigError,
    MalformedShipmentError,
    NotFoundError,
    ReplicationError,
    SplitViewError,
    StaleSizeError,
)

CONNECT_MAX_S: Final = 5.0
ANSWER_MAX_S: Final = 60.0
"""A replica verifies a full shipment in well under a second; a slow disk may take some."""

GZIP_MIN_BYTES: Final = 4 << 10
"""Below it, packing costs more than it saves."""

REASON_MAX_CHARACTERS: Final = 500
"""Of what a replica gives as its reason: it is quoted in status, errors and entries of the log."""

CLAIM_MAX_CHARACTERS: Final = 64 << 10
"""Of each checkpoint that a replica says contradicts the other: it goes into an entry of the log, and nobody
has verified it. One with the signatures of every replica there may be is shorter."""

_GZIP_LEVEL: Final = 1
_RETRYABLE: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
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
    message: str = ""
    evidence: _Evidence = msgspec.field(default_factory=_Evidence)


class ReplicaClient:
    """One replica, as it is reached from here. One thread at a time."""

    def __init__(self, at: ReplicaAt, origin: str, transport: httpx.BaseTransport | None = None) -> None:
        """Raises MalformedConfigError where the token or authority cannot be used."""
        self.url, self.origin = at.url, origin
        self._path = f"logs/{log_id(origin)}"
        headers = {"Authorization": f"Bearer {_token(at.token_file)}"}
        timeout = httpx.Timeout(ANSWER_MAX_S, connect=CONNECT_MAX_S)
        try:
            self._http = httpx.Client(
                base_url=at.url.rstrip("/") + "/", headers=headers, timeout=timeout, transport=transport,
                verify=_verify(at.ca_file), follow_redirects=False, trust_env=False,
            )  # fmt: skip
        except (httpx.InvalidURL, OSError) as error:
            raise MalformedConfigError(
                f"replica {at.url!r} cannot be used: {error}", member="replicas"
            ) from None

    def held(self) -> Held:
        """What it holds. Raises ReplicationError."""
        try:
            data = self._ask("GET", self._path, size_bytes_max=_DESCRIPTION_SIZE_MAX_BYTES)
        except NotFoundError:
            return Held(size=0)
        try:
            return msgspec.json.decode(data, type=Held)
        except msgspec.DecodeError as error:
            raise ReplicationError(f"{self.url} describes its copy as nobody can read: {error}") from None

    def send(self, shipment: Shipment) -> Answer:
        """What it answers. Raises StaleSizeError, SplitViewError or another ReplicationError."""
        body, headers = encode_shipment(shipment), {}
        if len(body) >= GZIP_MIN_BYTES:
            body, headers = gzip.compress(body, _GZIP_LEVEL), {"Content-Encoding": "gzip"}
        data = self._ask(
            "POST",
            f"{self._path}/entries",
            size_bytes_max=ANSWER_SIZE_MAX_BYTES,
            content=body,
            headers=headers,
        )
        try:
            return decode_answer(data)
        except MalformedShipmentError as error:
            raise ReplicationError(f"{self.url} answers what is no answer: {error}") from None

    def lines(self, start: int) -> list[bytes]:
        """Lines from `start` on, as many as it gives at once; none past its end. Raises ReplicationError."""
        path, limit = f"{self._path}/entries?start={start}", 2 * SHIPMENT_SIZE_MAX_BYTES
        *lines, rest = self._ask("GET", path, size_bytes_max=limit).split(b"\n")
        if rest:
            raise ReplicationError(f"{self.url} sent a line that has no end", retryable=True)
        return lines

    def checkpoint(self) -> bytes:
        """Its latest checkpoint, cosigned. Raises NotFoundError or ReplicationError."""
        return self._ask("GET", f"{self._path}/checkpoint", size_bytes_max=NOTE_SIZE_MAX_BYTES)

    def unerased(self) -> list[int]:
        """Payloads that the log says are erased, and that are still in its copy. Raises ReplicationError."""
        data = self._ask("GET", f"{self._path}/unerased", size_bytes_max=_UNERASED_SIZE_MAX_BYTES)
        try:
            return msgspec.json.decode(data, type=_Unerased).sequence_numbers
        except msgspec.DecodeError as error:
            raise ReplicationError(f"{self.url} reports erasures as nobody can read: {error}") from None

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def _ask(self, method: str, path: str, *, size_bytes_max: int, **request: Any) -> bytes:
        with self._reaching(), self._http.stream(method, path, **request) as response:
            data = bytearray()
            for piece in response.iter_bytes():
                data += piece
                if len(data) > size_bytes_max:
                    raise ReplicationError(f"{self.url} answers more than {size_bytes_max} bytes")
        if response.status_code != httpx.codes.OK:
            self._refused(response.status_code, bytes(data))
        return bytes(data)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            what = str(error) or type(error).__name__
            raise ReplicationError(f"{self.url} cannot be reached: {what}", retryable=True) from None
        except httpx.HTTPError as error:
            raise ReplicationError(f"{self.url}: {error}") from None

    def _refused(self, status: int, body: bytes) -> NoReturn:
        try:
            said = msgspec.json.decode(body, type=_Refusal)
        except msgspec.DecodeError:
            said = _Refusal()  # a proxy's page
        evidence = said.evidence
        reason = said.message[:REASON_MAX_CHARACTERS] or "no reason is given"
        message = f"{self.url} answers {status}: {reason}"
        if said.code == StaleSizeError.code:
            raise StaleSizeError(message, known_size=evidence.known_size)
        if said.code == SplitViewError.code:
            ours, theirs = claimed(evidence.ours), claimed(evidence.theirs)
            raise SplitViewError(message, ours=ours, theirs=theirs, sequence_number=evidence.sequence_number)
        if said.code == NotFoundError.code:
            raise NotFoundError(message)
        raise ReplicationError(message, retryable=status in _RETRYABLE, status=status, remote_code=said.code)


def claimed(checkpoint: str) -> str:
    """As much of it as can be a checkpoint: all, or nothing."""
    return checkpoint if len(checkpoint) <= CLAIM_MAX_CHARACTERS else ""


def _token(path: str) -> str:
    try:
        token = Path(path).expanduser().read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise MalformedConfigError(
            f"token file {path!r} cannot be read: {error}", member="token_file"
        ) from None
    if not token or not token.isprintable() or " " in token:
        raise MalformedConfigError(f"token file {path!r} holds no token", member="token_file")
    return token


def _verify(ca_file: str) -> Any:
    if not ca_file:
        return True
    import ssl

    return ssl.create_default_context(cafile=str(Path(ca_file).expanduser()))
