"""A key that a service on the network holds: what signers of all such services have in common.

The public key is read once, at opening, from the service itself. Whatever the service does afterwards, a
signature comes, or a SignerError, and in bounded time: each request has its timeouts, what may pass is tried
once more, and all of it has a deadline that even an answer in drops does not stretch. What drivers raise ends
here: their messages may repeat headers and tokens, so an error of ours says what kind of failure it was.

It knows no service and verifies no signature: whoever stores what a signer returns verifies it first.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final, Protocol, TypeVar

from attestlog._internal.core.signature import PublicKey
from attestlog.errors import AttestlogError, SignerError, WrongKeyError

TIMEOUT_S: Final = 10.0
"""For one signature, retries included: callers of `append` wait for it."""

CONNECT_TIMEOUT_S: Final = 2.0
READ_TIMEOUT_S: Final = 4.0
"""For one request: two of them, and the pause between, fit into the whole."""

ATTEMPTS: Final = 2
PAUSE_S: Final = 0.2
"""Before the second attempt: what throttles or restarts gets a moment, and nobody waits long."""

HUNG_MAX: Final = 64
"""Requests in one process at once: what a service that never ends an answer can cost at most."""

_THREAD_NAME: Final = "attestlog-signer"

Result = TypeVar("Result")


class Closable(Protocol):
    """What has connections."""

    def close(self) -> None:
        """Let go of them."""


class Service(Closable, Protocol):
    """One key of a service, connected. Used by one thread at a time.

    It raises SignerError for what it finds wrong itself, and lets the driver's exceptions pass:
    `RemoteSigner` has them named.
    """

    @property
    def uri(self) -> str:
        """How to reach exactly this key again: its version, never an alias. Never holds a secret."""

    @property
    def public_key(self) -> PublicKey:
        """As the service gave it at connecting."""

    def sign(self, message: bytes) -> bytes:
        """One request: the signature in the algorithm's standard bytes."""

    def close(self) -> None:
        """Let go of the connection, even while another thread waits for an answer."""


class RemoteSigner:
    """The signer of one key of a service; see `Signer`.

    `connect` is called again after a fork or a hang; `name_failure` says what an exception of the driver's
    means, and whether waiting may help.
    """

    def __init__(
        self,
        connect: Callable[[], Service],
        name_failure: Callable[[Exception], SignerError],
    ) -> None:
        """Connects. Raises MalformedConfigError or SignerError."""
        self.timeout_s = TIMEOUT_S
        """For one signature, retries included."""
        self._connect, self._name_failure = connect, name_failure
        self._closed = False
        self._pid = os.getpid()
        self._service: Service | None = self._ours(connect, time.monotonic() + self.timeout_s)
        self._uri, self._public_key = self._service.uri, self._service.public_key

    def __repr__(self) -> str:
        return f"RemoteSigner({self.uri!r}, key_id={self._public_key.key_id[:16]}…)"

    @property
    def public_key(self) -> PublicKey:
        """The key's public half."""
        return self._public_key

    @property
    def uri(self) -> str:
        """The scheme and the key's full name, with its version."""
        return self._uri

    def sign(self, message: bytes) -> bytes:
        """What the service signs. Raises SignerError within the timeout."""
        if self._closed:
            raise SignerError(f"signer {self.uri} is closed")
        if self._pid != os.getpid():
            # A forked child must not speak on its parent's connection, nor even close it.
            self._service, self._pid = None, os.getpid()
        deadline = time.monotonic() + self.timeout_s
        for _ in range(ATTEMPTS - 1):
            try:
                return self._attempt(message, deadline)
            except SignerError as error:
                if not error.retryable or time.monotonic() + PAUSE_S >= deadline:
                    raise
            time.sleep(PAUSE_S)
        return self._attempt(message, deadline)

    def close(self) -> None:
        """Let go of the connection."""
        self._closed = True
        if self._pid == os.getpid():
            self._let_go()

    def _attempt(self, message: bytes, deadline: float) -> bytes:
        if self._service is None:
            self._service = self._connected(deadline)
        try:
            return self._ours(partial(self._service.sign, message), deadline)
        except SignerError as error:
            if error.hangs:
                # The request is still out. Its connection is not used again: a late answer is no other's.
                self._let_go()
            raise
        except BaseException:  # interrupted: the request is still out
            self._let_go()
            raise

    def _connected(self, deadline: float) -> Service:
        service = self._ours(self._connect, deadline)
        if service.public_key.spki != self._public_key.spki:
            service.close()
            raise WrongKeyError(
                f"signer {self.uri} has another key than before",
                expected=self._public_key.key_id, found=service.public_key.key_id,
            )  # fmt: skip
        return service

    def _ours(self, call: Callable[[], Result], deadline: float) -> Result:
        try:
            return call_within(max(0.0, deadline - time.monotonic()), call)
        except AttestlogError:
            raise
        except Exception as error:  # noqa: BLE001 - drivers have no complete list of theirs
            raise self._name_failure(error) from None

    def _let_go(self) -> None:
        service, self._service = self._service, None
        if service is not None:
            service.close()


@contextmanager
def closed_on_error(client: Closable) -> Iterator[None]:
    """Closes the client if what is done here does not succeed."""
    try:
        yield
    except BaseException:
        client.close()
        raise


def call_within(timeout_s: float, call: Callable[[], Result]) -> Result:
    """What `call` returns or raises, if in time; else SignerError (`hangs`), and its thread is left alone.

    Timeouts of sockets bound the wait for each piece of an answer, not for the whole of it.
    """
    hung = sum(thread.name == _THREAD_NAME for thread in threading.enumerate())
    if hung >= HUNG_MAX:
        raise SignerError(f"{hung} earlier requests of signers still hang", retryable=True)
    outcomes: SimpleQueue[tuple[Result | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            outcomes.put((call(), None))
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            outcomes.put((None, error))

    threading.Thread(target=run, name=_THREAD_NAME, daemon=True).start()
    try:
        result, error = outcomes.get(timeout=timeout_s)
    except Empty:
        raise SignerError(
            f"the signer gave no answer within {timeout_s:g} s", retryable=True, hangs=True
        ) from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]
