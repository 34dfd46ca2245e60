"""The contract of signers, wherever the key is: what each of them does, also when its service is away."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.places import FORKED, NAMES, REMOTE, Place, place
from tests.support.services import Servers

import attestlog
from attestlog._internal.signers.asking import ask
from attestlog._internal.signers.remote import TIMEOUT_S, RemoteSigner
from attestlog.errors import SignatureInvalidError, SignerError
from attestlog.testing import MemorySigner, check_log

MESSAGES = (b"x", bytes(32), b"attestlog/batch/v1\n" + bytes(range(32)), b"x" * 1_000)


pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    started = Servers(tmp_path_factory.mktemp("servers"))
    yield started
    started.stop()


@pytest.fixture(params=NAMES)
def here(
    request: pytest.FixtureRequest, servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    with place(request.param, servers, tmp_path, monkeypatch) as found:
        yield found


def new_log(folder: Path, signer: attestlog.Signer) -> attestlog.Log:
    return attestlog.create(
        folder / "log",
        origin="example.com/contract",
        signer=signer,
        checkpoint_signer=MemorySigner("Ed25519"),
    )


def append(log: attestlog.Log) -> attestlog.Receipt:
    return log.append(event_type="ACTION", action_type="test", actor_id="test")


def test_it_signs_what_it_is_given_and_nothing_else(here: Place) -> None:
    signer = here.open()
    try:
        assert signer.public_key.algorithm == here.algorithm
        for message in MESSAGES:
            signature = ask(signer, message)
            signer.public_key.verify(signature, message)
            for other in (message + b"x", message[:32] + b"y"):
                with pytest.raises(SignatureInvalidError):
                    signer.public_key.verify(signature, other)
    finally:
        signer.close()


def test_its_uri_opens_the_same_key_again_and_tells_no_secret(here: Place) -> None:
    signer = here.open()
    again = here.opener(signer.uri)
    assert again.uri == signer.uri
    assert again.public_key.spki == signer.public_key.spki
    for text in (signer.uri, repr(signer)):
        assert not any(secret in text for secret in here.secrets)
    signer.close()
    again.close()


def test_another_key_is_another_key(here: Place, tmp_path: Path) -> None:
    signer, other = here.open(0), here.open(1)
    assert signer.public_key.key_id != other.public_key.key_id
    with pytest.raises(SignatureInvalidError):
        signer.public_key.verify(ask(other, b"message"), b"message")
    new_log(tmp_path, signer).close()
    with pytest.raises(SignerError, match="signer holds key"):
        attestlog.open(tmp_path / "log", signer=other, checkpoint_signer=MemorySigner("Ed25519"))
    other.close()


def test_closed_it_signs_no_more(here: Place) -> None:
    signer = here.open()
    signer.close()
    signer.close()
    with pytest.raises(SignerError, match="is closed") as caught:
        signer.sign(b"message")
    assert caught.value.retryable is False
    assert signer.uri.partition(":")[0] == here.uris[0].partition(":")[0]


def test_many_threads_append_through_it(here: Place, tmp_path: Path) -> None:
    receipts: list[attestlog.Receipt] = []
    with new_log(tmp_path, here.open()) as log:
        threads = [
            threading.Thread(target=lambda: receipts.extend(append(log) for _ in range(4))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(receipts) == 32
    check_log(tmp_path / "log", receipts)


@pytest.mark.parametrize("here", FORKED, indirect=True)
def test_a_forked_child_signs_and_so_does_its_parent_afterwards(here: Place) -> None:
    signer = here.open()
    signer.public_key.verify(ask(signer, b"before"), b"before")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - nothing of the test's frame may run twice
        try:
            os.write(writer, ask(signer, b"child"))
            signer.close()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        signature = pipe.read()
    os.waitpid(child, 0)
    signer.public_key.verify(signature, b"child")
    signer.public_key.verify(ask(signer, b"after"), b"after")
    signer.close()


@pytest.mark.parametrize("here", REMOTE, indirect=True)
@pytest.mark.parametrize("mode", ["down", "hang", "drip"])
def test_a_service_that_is_away_fails_the_append_and_the_next_one_works_when_it_is_back(
    here: Place, tmp_path: Path, mode: str
) -> None:
    """That this ends at all shows the timeout: a service that hangs answers never."""
    proxy = here.proxy
    assert proxy is not None
    signer = here.open()
    assert isinstance(signer, RemoteSigner)
    log = new_log(tmp_path, signer)
    signer.timeout_s = 0.5
    if mode == "down":
        proxy.down()
    else:
        proxy.become(mode)
    errors: list[SignerError] = []

    def fails() -> None:
        with pytest.raises(SignerError) as caught:
            append(log)
        errors.append(caught.value)

    threads = [threading.Thread(target=fails) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [error.retryable for error in errors] == [True] * 3
    for error in errors:
        told = f"{error} {error.evidence()} {error.__cause__!r}"
        assert not any(secret in told for secret in here.secrets)
    if mode == "down":
        proxy.up()
    else:
        proxy.become("forward")
    signer.timeout_s = TIMEOUT_S
    receipt = append(log)
    assert receipt.sequence_number == 2  # 1 tells of the outage
    log.close()
    check_log(tmp_path / "log", [receipt])
