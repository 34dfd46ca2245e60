"""What signers of all services share: bounded time, one more attempt, the same key as before."""

import threading
import time
from collections.abc import Callable

import pytest

from attestlog._internal.core.signature import PublicKey
from attestlog._internal.signers import remote
from attestlog._internal.signers.ecdsa import der_from_raw
from attestlog._internal.signers.remote import ATTEMPTS, HUNG_MAX, RemoteSigner, call_within
from attestlog.errors import MalformedConfigError, SignerError
from attestlog.testing import MemorySigner

PATIENCE_S = 60


class DriverError(Exception):
    """What a driver raises."""


class FakeService:
    """Signs as `key` does, unless `answer` is set."""

    uri = "fake:key"

    def __init__(self, key: MemorySigner) -> None:
        self._key = key
        self.public_key: PublicKey = key.public_key
        self.answer: Callable[[], bytes] | None = None
        self.calls = self.closed = 0

    def sign(self, message: bytes) -> bytes:
        self.calls += 1
        return self.answer() if self.answer else self._key.sign(message)

    def close(self) -> None:
        self.closed += 1


def named(error: Exception) -> SignerError:
    return SignerError(f"named {type(error).__name__}", retryable="passes" in str(error))


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    monkeypatch.setattr(remote, "PAUSE_S", 0.0)
    return FakeService(MemorySigner())


def raising(error: BaseException) -> Callable[[], bytes]:
    def answer() -> bytes:
        raise error

    return answer


def test_what_may_pass_is_tried_once_more_and_what_may_not_is_not(service: FakeService) -> None:
    signer = RemoteSigner(lambda: service, named)
    for raised, calls in (
        (DriverError("passes"), ATTEMPTS),
        (DriverError("stays"), 1),
        (SignerError("busy", retryable=True), ATTEMPTS),
        (SignerError("denied"), 1),
    ):
        service.answer, service.calls = raising(raised), 0
        with pytest.raises(SignerError):
            signer.sign(b"message")
        assert service.calls == calls
    assert ATTEMPTS == 2
    answers: list[bytes | Exception] = [DriverError("passes"), b"signature"]

    def answer() -> bytes:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    service.answer = answer
    assert signer.sign(b"message") == b"signature"


def test_a_driver_s_exception_is_named_and_is_no_cause(service: FakeService) -> None:
    def connect() -> FakeService:
        raise DriverError("secret")

    for work in (
        lambda: RemoteSigner(connect, named),
        lambda: RemoteSigner(lambda: service, named).sign(b""),
    ):
        service.answer = raising(DriverError("secret"))
        with pytest.raises(SignerError, match="named DriverError") as caught:
            work()
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
    with pytest.raises(MalformedConfigError):
        RemoteSigner(raising(MalformedConfigError("bad")), named)  # type: ignore[arg-type]


def test_a_hang_is_left_behind_and_the_next_signature_has_a_new_connection(service: FakeService) -> None:
    made: list[FakeService] = []
    gate = threading.Event()

    def connect() -> FakeService:
        made.append(FakeService(service._key) if made else service)
        return made[-1]

    signer = RemoteSigner(connect, named)
    signer.timeout_s = 0.1
    service.answer = lambda: bytes(gate.wait(PATIENCE_S))
    with pytest.raises(SignerError, match="no answer within") as caught:
        signer.sign(b"message")
    assert caught.value.retryable
    signer.timeout_s = PATIENCE_S
    signer.public_key.verify(signer.sign(b"message"), b"message")
    assert len(made) == 2
    assert service.closed >= 1
    gate.set()
    signer.close()


def test_another_key_after_a_hang_is_refused(service: FakeService) -> None:
    services = [service, FakeService(MemorySigner())]
    gate = threading.Event()
    signer = RemoteSigner(lambda: services.pop(0), named)
    signer.timeout_s = 0.1
    service.answer = lambda: bytes(gate.wait(PATIENCE_S))
    other = services[0]
    with pytest.raises(SignerError, match=r"no answer|another key"):
        signer.sign(b"message")
    signer.timeout_s = PATIENCE_S
    services.append(other)
    with pytest.raises(SignerError, match="another key than before"):
        signer.sign(b"message")
    assert other.closed
    gate.set()


def test_an_interrupted_request_s_connection_is_not_used_again(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = RemoteSigner(lambda: service, named)

    def interrupted(*arguments: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(remote, "call_within", interrupted)
        with pytest.raises(KeyboardInterrupt):
            signer.sign(b"message")
    assert service.closed == 1
    signer.public_key.verify(signer.sign(b"message"), b"message")


def test_as_many_requests_may_hang_as_is_said_and_no_more() -> None:
    gate = threading.Event()
    none_hangs()  # of an earlier test
    try:
        for _ in range(HUNG_MAX):
            with pytest.raises(SignerError, match="no answer"):
                call_within(0.0, lambda: gate.wait(PATIENCE_S))
        with pytest.raises(SignerError, match=f"{HUNG_MAX} earlier requests") as caught:
            call_within(PATIENCE_S, lambda: True)
        assert caught.value.retryable
    finally:
        gate.set()
    none_hangs()
    assert call_within(PATIENCE_S, lambda: 7) == 7


def none_hangs() -> None:
    """Wait until it is so."""
    while any(thread.name == remote._THREAD_NAME for thread in threading.enumerate()):
        time.sleep(0.01)


@pytest.mark.parametrize("size", [0, 63, 65, 72])
def test_a_raw_signature_of_another_length(size: int) -> None:
    with pytest.raises(SignerError, match=f"{size} bytes, want 64"):
        der_from_raw(bytes(size))


def test_a_raw_signature_of_small_numbers_is_spelled_as_der_has_it() -> None:
    assert der_from_raw(bytes(31) + b"\x01" + bytes(31) + b"\x80").hex() == "30070201010202" + "0080"
