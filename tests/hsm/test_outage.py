"""A device that is stopped, killed and started again while a log is written.

The token is SoftHSM's, served by `p11-kit server`: a real process behind a real library, which can be frozen
(SIGSTOP) and lost (SIGKILL) as a network HSM can.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.logs import MINIMAL
from tests.support.tokens import RemoteToken, SoftToken

from attestlog._internal.core.signature import ED25519
from attestlog._internal.log import Log, Receipt
from attestlog._internal.signers import open_signer, pkcs11_module
from attestlog._internal.signers.pkcs11 import Pkcs11Signer, open_pkcs11_signer
from attestlog.errors import SignerError
from attestlog.testing import MemorySigner, check_log


@pytest.fixture
def signer(remote: RemoteToken) -> Iterator[Pkcs11Signer]:
    """It waits for the device for as long as usual."""
    opened = open_pkcs11_signer(remote.uri("entries"))
    yield opened
    opened.close()


@contextmanager
def hasty(signer: Pkcs11Signer) -> Iterator[None]:
    """Only while the device hangs does the signer wait shortly: when it answers, the machine may be busy."""
    usual = signer._uri
    signer._uri = replace(usual, timeout_s=0.5)
    try:
        yield
    finally:
        signer._uri = usual


@pytest.fixture
def log(signer: Pkcs11Signer, tmp_path: Path) -> Iterator[Log]:
    """A log whose entries the device signs; checkpoints by a key in memory: this p11-kit has no EDDSA."""
    with Log.create(
        tmp_path / "audit",
        origin="example.com/agents",
        signer=signer,
        checkpoint_signer=MemorySigner(ED25519),
    ) as made:
        yield made


def size_on_disk(log: Log) -> int:
    return sum(path.stat().st_size for path in (log.path / "entries").iterdir())


def test_a_hung_device_fails_appends_in_time_and_works_when_it_wakes(
    remote: RemoteToken, signer: Pkcs11Signer, log: Log
) -> None:
    first, before = log.append(MINIMAL), size_on_disk(log)
    remote.hang()
    with hasty(signer):
        for _ in range(3):
            with pytest.raises(SignerError, match=r"has not answered within 0\.5 s") as caught:
                log.append(MINIMAL)
            assert caught.value.retryable is True
    assert size_on_disk(log) == before
    remote.wake()
    check_log(log.path, [first, eventually(log)])


def eventually(log: Log) -> Receipt:
    """Append until it works again, as an application would."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return log.append(MINIMAL)
        except SignerError as error:
            if not error.retryable or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def test_a_slow_device_is_waited_for(remote: RemoteToken, tmp_path: Path) -> None:
    with Log.create(
        tmp_path / "audit", origin="example.com/agents", signer=remote.uri("entries"),
        checkpoint_signer=MemorySigner(ED25519),
    ) as log:  # fmt: skip
        remote.hang()
        waking = threading.Timer(0.3, remote.wake)
        waking.start()
        receipt = log.append(MINIMAL)
        waking.join()
    check_log(tmp_path / "audit", [receipt])


def test_a_lost_device_fails_appends_at_once_and_works_when_it_is_back(remote: RemoteToken, log: Log) -> None:
    first, before = log.append(MINIMAL), size_on_disk(log)
    remote.kill()
    for _ in range(3):
        with pytest.raises(SignerError) as caught:
            log.append(MINIMAL)
        assert caught.value.retryable is True
    assert size_on_disk(log) == before
    remote.start()
    check_log(log.path, [first, log.append(MINIMAL)])


def test_a_device_that_restarted_between_two_appends_is_not_even_noticed(
    remote: RemoteToken, log: Log
) -> None:
    receipts = []
    for _ in range(3):
        receipts.append(log.append(MINIMAL))
        remote.kill()
        remote.start()
    receipts.append(log.append(MINIMAL))
    check_log(log.path, receipts)


def test_a_device_that_dies_while_it_hangs(remote: RemoteToken, signer: Pkcs11Signer, log: Log) -> None:
    first = log.append(MINIMAL)
    remote.hang()
    with hasty(signer), pytest.raises(SignerError, match="has not answered"):
        log.append(MINIMAL)
    remote.kill()
    remote.start()
    check_log(log.path, [first, eventually(log)])


def test_64_callers_each_get_their_answer_through_an_outage(
    remote: RemoteToken, signer: Pkcs11Signer, log: Log
) -> None:
    """Frozen, woken, killed, started again under load: every append is acknowledged or refused, none lost."""
    receipts: list[Receipt] = []
    refused: list[SignerError] = []
    other: list[BaseException] = []
    stop = threading.Event()

    def caller() -> None:
        while not stop.is_set():
            try:
                receipts.append(log.append(MINIMAL))
            except SignerError as error:
                refused.append(error)
                stop.wait(0.02)
            except BaseException as error:  # noqa: BLE001
                other.append(error)
                return

    def until(count: int, of: list[Receipt] | list[SignerError]) -> None:
        deadline = time.monotonic() + 300
        wanted = len(of) + count
        while len(of) < wanted:
            assert time.monotonic() < deadline, "the callers stand still"
            time.sleep(0.005)

    callers = [threading.Thread(target=caller) for _ in range(64)]
    for thread in callers:
        thread.start()
    until(128, receipts)
    for _ in range(2):
        with hasty(signer):
            remote.hang()
            until(64, refused)
            remote.wake()
        until(128, receipts)
        remote.kill()
        until(64, refused)
        remote.start()
        until(128, receipts)
    stop.set()
    for thread in callers:
        thread.join(300)
    assert other == []
    assert not any(thread.is_alive() for thread in callers)
    assert all(error.retryable for error in refused)
    entries = check_log(log.path, receipts)
    own = [entry for entry in entries if entry.action_type == MINIMAL["action_type"]]
    assert len(own) == len(receipts), "an entry is there that nobody has a receipt for"
    told = [entry.action_payload for entry in entries if entry.action_type == "attestlog.signer_outage"]
    assert sum(payload["refused_entries"] for payload in told if payload) == len(refused)


def test_a_log_cannot_be_made_or_opened_without_its_device_and_can_be_after(
    remote: RemoteToken, tmp_path: Path
) -> None:
    remote.kill()
    with pytest.raises(SignerError) as caught:
        Log.create(tmp_path / "new", origin="example.com/x", signer=remote.uri("entries"))
    assert caught.value.retryable is True
    assert not (tmp_path / "new").exists()
    remote.start()
    Log.create(tmp_path / "new", origin="example.com/x", signer=remote.uri("entries")).close()
    remote.kill()
    with pytest.raises(SignerError):
        Log.open(tmp_path / "new")
    remote.start()
    with Log.open(tmp_path / "new") as log:
        check_log(tmp_path / "new", [log.append(MINIMAL)])


@pytest.mark.parametrize("last", ["", "signer.close()"])
def test_a_device_that_hangs_unnoticed_stops_nothing_when_it_is_let_go(
    remote: RemoteToken, last: str
) -> None:
    """The driver would end the library with the interpreter's lock held: nothing would ever run again."""
    script = f"""
import sys
from dataclasses import replace
from attestlog._internal.signers.pkcs11 import open_pkcs11_signer
signer = open_pkcs11_signer({remote.uri("entries")!r})
signer._uri = replace(signer._uri, timeout_s=0.2)
print("ready", flush=True)
sys.stdin.readline()
{last}
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    remote.hang()
    process.communicate("go\n", timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize("timeout_s, ending", [("0.2", None), ("25", signal.SIGINT), ("25", signal.SIGTERM)])
def test_a_device_that_hangs_keeps_no_process_from_ending(
    remote: RemoteToken, timeout_s: str, ending: signal.Signals | None
) -> None:
    """By itself after the timeout, by Ctrl-C, or told to."""
    script = f"""
import sys
from dataclasses import replace
from attestlog.errors import SignerError
from attestlog._internal.signers.pkcs11 import open_pkcs11_signer
signer = open_pkcs11_signer({remote.uri("entries")!r})
signer._uri = replace(signer._uri, timeout_s={timeout_s})
print("ready", flush=True)
sys.stdin.readline()
print("signing", flush=True)
try:
    signer.sign(b"m")
except SignerError as error:
    print(error, flush=True)
signer.close()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "ready\n"
    remote.hang()
    process.stdin.write("go\n")
    process.stdin.flush()
    assert process.stdout.readline() == "signing\n"
    if ending is not None:
        process.send_signal(ending)
    said, errors = process.communicate(timeout=60)
    if ending is None:
        assert "has not answered within 0.2 s" in said
        assert process.returncode == 0
    else:
        assert process.returncode in {-ending, 130}, errors


def test_processes_share_a_token(keys: SoftToken, tmp_path: Path) -> None:
    """Each logs in by itself; the log's lock makes them take turns."""
    log = tmp_path / "audit"
    Log.create(
        log,
        origin="example.com/agents",
        signer=keys.uri("entries"),
        checkpoint_signer=keys.uri("checkpoints"),
    ).close()
    script = f"""
import attestlog
with attestlog.open({str(log)!r}) as log:
    for number in range(20):
        log.append({MINIMAL!r})
"""
    running = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [process.wait(300) for process in running] == [0, 0, 0]
    assert len(check_log(log)) == 61


def test_what_was_given_up_on_while_it_was_opened_is_let_go(remote: RemoteToken) -> None:
    """The device answers after all, and nobody is there: it must not stay logged in to for ever."""
    first = open_signer(remote.uri("entries"))
    (module,) = (held for held in pkcs11_module._modules.values() if held._library is not None)
    remote.hang()
    with pytest.raises(SignerError, match="has not answered"):
        open_signer(remote.uri("entries", timeout_s="0.1"))
    remote.wake()
    eventually_idle(module)
    assert [held.users for held in module.tokens] == [1]
    first.close()
    assert module._library is None


def eventually_idle(module: pkcs11_module.Module) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            module.call(lambda library: None, 30)
        except SignerError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        else:
            return


def test_a_device_with_no_such_mechanism_says_so_when_it_is_asked(remote: RemoteToken) -> None:
    """p11-kit of Debian 12 passes EDDSA on in its list, and not in its calls."""
    try:
        signer = open_signer(remote.uri("checkpoints"))
    except SignerError as error:
        assert "EDDSA" in str(error)  # noqa: PT017 - either place may say it
        return
    try:
        signature = signer.sign(b"m")
    except SignerError as error:
        assert "mechanism invalid" in str(error)  # noqa: PT017
    else:  # a newer one can
        signer.public_key.verify(signature, b"m")
    finally:
        signer.close()
