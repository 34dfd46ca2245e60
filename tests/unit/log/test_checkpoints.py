"""An open log gets a checkpoint now and then, without anybody asking."""

import gc
import threading
import time
from pathlib import Path

import pytest
from tests.support.logs import MINIMAL, create

import attestlog
from attestlog import Log
from attestlog._internal.signers.private_keys import make_key
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import SignerError
from attestlog.testing import FaultSigner, MemorySigner, check_log

PATIENCE_S = 60


def covered(path: Path) -> int:
    """How many entries the stored checkpoint covers."""
    note = open_source(path).checkpoint()
    assert note is not None
    return int(note.split(b"\n")[1])


def soon(path: Path, size: int) -> bool:
    until = time.monotonic() + PATIENCE_S
    while covered(path) < size and time.monotonic() < until:
        time.sleep(0.005)
    return covered(path) == size


def workers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "attestlog-checkpoints"}


def test_an_open_log_gets_checkpoints_when_something_is_new(tmp_path: Path) -> None:
    path = tmp_path / "log"
    create(path).close()
    before = workers()
    with Log.open(path, checkpoint_every_s=0.01) as log:
        assert workers() <= before, "none without an entry"
        log.append(MINIMAL)
        assert soon(path, 2)
        log.append_many([MINIMAL] * 3)
        assert soon(path, 5)
        assert len(workers() - before) == 1
    assert attestlog.verify(path).verdict == "VERIFIED"


@pytest.mark.parametrize("every", [None, 0, 3600])
def test_none_is_made_earlier_or_where_none_is_wanted(tmp_path: Path, every: float | None) -> None:
    path = tmp_path / "log"
    create(path).close()
    with Log.open(path, checkpoint_every_s=every) as log:
        log.append(MINIMAL)
        time.sleep(0.1)
        assert covered(path) == 1
    assert covered(path) == 2, "closed"


def refuse(message: bytes) -> bytes:
    raise SignerError("no", retryable=True)


def test_one_that_cannot_be_signed_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    key = make_key("Ed25519")
    create(path, checkpoint_signer=MemorySigner(key=key)).close()
    signer = FaultSigner(MemorySigner(key=key))
    with Log.open(path, checkpoint_signer=signer, checkpoint_every_s=0.01) as log:
        signer.answer = refuse
        receipt = log.append(MINIMAL)
        time.sleep(0.1)
        assert covered(path) == 1
        signer.answer = None
        assert soon(path, 2)
    assert check_log(path, [receipt])


def test_a_log_that_is_dropped_is_not_kept_by_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    create(path).close()
    before = workers()
    log = Log.open(path, checkpoint_every_s=0.01)
    log.append(MINIMAL)
    assert soon(path, 2)
    del log
    gc.collect()
    until = time.monotonic() + PATIENCE_S
    while workers() - before and time.monotonic() < until:
        time.sleep(0.005)
    assert not workers() - before
