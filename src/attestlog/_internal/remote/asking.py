"""Questions to a service: which failures leave nothing written, and how those that leave it open are settled.

A connection that is refused carried nothing: nothing is written. After any other failure nobody here knows.
So the same request goes again under the same idempotency key, until the server says what became of it or the
time is over. Answers are problem documents (RFC 9457) with the codes of `attestlog.errors`; a page without
such a code is a proxy's, and says nothing of the log.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from attestlog import errors
from attestlog._internal.core.convert import read_number
from attestlog._internal.net import (
    Answer,
    Client,
    Limits,
    NoAnswerError,
    RefusedError,
    Why,
    parse_url,
    trusting,
)
from attestlog.errors import AttestlogError, MalformedConfigError, StorageError, UncertainCommitError

ANSWER_SIZE_MAX_BYTES: Final = 256 << 20
"""A page of 1,000 entries, each with the largest payload that pages hold, is below."""

CONNECT_S: Final = 5.0
CONNECTIONS: Final = 16
"""Kept by one client: as many threads append at once."""

PAUSE_S: Final = 0.05
PAUSE_MAX_S: Final = 2.0
"""Between two tries: twice as long each time, so that a server that starts is not held up."""

_ANSWERS: Final = frozenset({200, 201})

_SETTLED: Final = frozenset({400, 409, 422})
"""The server looked for the key before it answered so: under it nothing is in the log."""


class Wanted(NamedTuple):
    """A question."""

    method: str
    path: str
    content: bytes | None = None
    headers: Mapping[str, str] = {}


class _Problem(msgspec.Struct):
    code: str
    detail: str
    evidence: dict[str, Any] = {}


class Asker:
    """Asks one service. Threads may share it."""

    def __init__(
        self, url: str, token: str | None, ca_file: str | None, timeout_s: float, log: str | None
    ) -> None:
        """Raises MalformedConfigError."""
        self.url, self._timeout_s = url, timeout_s
        unix = url.removeprefix("unix:") if url.startswith("unix:") else None
        if unix == "":
            raise MalformedConfigError("the URL is not of the form unix:PATH", member="url")
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._client = Client(
            parse_url("http://localhost" if unix is not None else url, what="the service's URL"),
            Limits(CONNECT_S, timeout_s, timeout_s),
            headers=headers, tls=None if ca_file is None else trusting(ca_file), connections=CONNECTIONS,
            unix=unix, answers=_ANSWERS,
        )  # fmt: skip
        self._log = "" if log is None else f"log={quote(log, safe='')}"

    def ask(self, wanted: Wanted, answers: frozenset[int] = _ANSWERS) -> bytes:
        """The answer to a question that changes nothing. Raises what the server says, or StorageError."""
        try:
            answer = self._send(wanted, self._timeout_s)
        except NoAnswerError as error:
            raise StorageError(f"the service {self.url} {error}", url=self.url, retryable=True) from None
        if answer.status in answers:
            return answer.content
        raise self._error(answer) or StorageError(
            f"{self.url} answers {answer.status}, and not as a log's service does", url=self.url,
            status=answer.status, retryable=answer.status >= 500,
        )  # fmt: skip

    def once(self, wanted: Wanted) -> bytes:
        """The answer to a question that writes, and must not be asked twice.

        Raises what the server says, StorageError where nothing was sent; UncertainCommitError: nobody here
        knows whether it was done.
        """
        try:
            answer = self._send(wanted, self._timeout_s)
        except NoAnswerError as error:
            if not error.was_sent or error.why is Why.UNSENDABLE:
                raise StorageError(
                    f"the service {self.url} {error}; nothing was written", url=self.url, retryable=True
                ) from None
            raise UncertainCommitError(
                f"whether the service {self.url} did it is not known, it {error}", url=self.url
            ) from None
        if answer.status in _ANSWERS:
            return answer.content
        raise self._error(answer) or UncertainCommitError(
            f"whether the service {self.url} did it is not known, it answers {answer.status}", url=self.url
        )

    def follow(self, path: str, after: int) -> Iterator[bytes]:
        """The data of server-sent events whose ids are numbers, of each from `after` + 1 on.

        Asked for again from the last one on where the stream breaks off. Raises what the server says;
        StorageError once it was away for as long as an append is tried.
        """
        broken_at, pauses = None, _pauses()
        while True:
            headers = {"last-event-id": str(after)}
            try:
                for number, data in _events(self._client.lines(self._path(path), headers=headers)):
                    broken_at, pauses = None, _pauses()
                    if number == after + 1:
                        after = number
                        yield data
                why = "ended the stream"
            except NoAnswerError as error:
                why = str(error)
            except RefusedError as error:
                problem = self._error(error.answer)
                if problem is not None and not problem.retryable:
                    raise problem from None
                why = f"answers {error.answer.status}"
            now = time.monotonic()
            broken_at = now if broken_at is None else broken_at
            if now - broken_at >= self._timeout_s:
                raise StorageError(f"the service {self.url} {why}", url=self.url, retryable=True)
            time.sleep(next(pauses))

    def settle(self, wanted: Wanted, key: str) -> bytes:
        """The answer to a question that writes under this idempotency key, asked again until it is known.

        Raises what the server says, StorageError where nothing was sent: then nothing is written.
        UncertainCommitError: it could not be settled in time.
        """
        deadline, may_be_written, pauses = time.monotonic() + self._timeout_s, False, _pauses()
        while True:
            try:
                answer = self._send(wanted, max(0.1, deadline - time.monotonic()))
            except NoAnswerError as error:
                if error.why is Why.UNSENDABLE:
                    raise MalformedConfigError(f"the service {self.url} {error}", member="token") from None
                if not error.was_sent and not may_be_written:
                    raise StorageError(
                        f"the service {self.url} {error}; nothing was written", url=self.url, retryable=True
                    ) from None
                may_be_written, why = True, str(error)
            else:
                if answer.status in _ANSWERS:
                    return answer.content
                problem = self._error(answer)
                is_known = problem is not None and not isinstance(problem, UncertainCommitError)
                if problem is not None and is_known and (not may_be_written or answer.status in _SETTLED):
                    raise problem
                may_be_written, why = True, f"answers {answer.status}"
            pause_s = next(pauses)
            if time.monotonic() + pause_s >= deadline:
                raise UncertainCommitError(
                    f"whether the service {self.url} wrote it is not known, it {why}", idempotency_key=key,
                    url=self.url,
                )  # fmt: skip
            time.sleep(pause_s)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _send(self, wanted: Wanted, total_s: float) -> Answer:
        return self._client.ask(
            wanted.method, self._path(wanted.path), ANSWER_SIZE_MAX_BYTES, content=wanted.content,
            headers=wanted.headers, total_s=total_s,
        )  # fmt: skip

    def _path(self, path: str) -> str:
        joint = "&" if "?" in path else "?"
        return f"{path}{joint}{self._log}" if self._log else path

    def _error(self, answer: Answer) -> AttestlogError | None:
        """The server's error, as it would have been raised here; None: not one of ours."""
        try:
            problem = msgspec.json.decode(answer.content, type=_Problem)
        except msgspec.DecodeError:
            return None
        kind = KINDS.get(problem.code)
        return None if kind is None else kind(problem.detail, **problem.evidence)


def _events(lines: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """(id, data) of each event; one line of data each."""
    number = -1
    for line in lines:
        name, _, value = line.partition(b": ")
        if name == b"id":
            number = read_number(value.decode("ascii", "replace").strip()) or 0
        elif name == b"data":
            yield number, value


def _pauses() -> Iterator[float]:
    pause_s = PAUSE_S
    while True:
        yield pause_s
        pause_s = min(PAUSE_MAX_S, 2 * pause_s)


def _kinds(kind: type[AttestlogError]) -> Iterator[tuple[str, type[AttestlogError]]]:
    if "code" in vars(kind):
        yield kind.code, kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _kinds(below)


KINDS: Final = dict(_kinds(AttestlogError))
"""By code. A class that only narrows another comes as that one."""
