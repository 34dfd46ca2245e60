"""A log with replicas, as an application has it: entries name them, appends may wait for them."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.support.logs import MINIMAL
from tests.support.replicas import Site, site, soon

import attestlog
from attestlog._internal.core.cosignature import open_signed_checkpoint
from attestlog._internal.core.note import parse_vkey
from attestlog._internal.core.receipt import Receipt
from attestlog._internal.replication import Replicator
from attestlog._internal.replication import client as client_module
from attestlog._internal.replication import replicator as replicator_module
from attestlog._internal.replication import sender as sender_module
from attestlog._internal.replication.cursor import load_cursor
from attestlog._internal.replication.settings import add_replica
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import MalformedConfigError, ReplicationError
from attestlog.testing import MemorySigner, check_log

ORIGIN = "example.com/made"
PATIENCE_S = 60


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "PAUSE_MIN_S", 0.01)
    monkeypatch.setattr(sender_module, "PAUSE_MAX_S", 0.2)
    monkeypatch.setattr(sender_module, "IDLE_S", 0.05)
    monkeypatch.setattr(sender_module, "COSIGN_EVERY_S", 0.05)
    # Closing sends what is left, also where the machine is busy.
    monkeypatch.setattr(Replicator.close, "__defaults__", (PATIENCE_S,))


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[list[Site]]:
    with site(tmp_path, "a") as a, site(tmp_path, "b") as b:
        yield [a, b]


@pytest.fixture
def path(tmp_path: Path, sites: list[Site]) -> Path:
    path = tmp_path / "log"
    attestlog.create(
        path, origin=ORIGIN, signer=MemorySigner(), checkpoint_signer=MemorySigner("Ed25519")
    ).close()
    for item in sites:
        add_replica(path, item.at)
    return path


def test_entries_name_the_replicas_and_reach_them(path: Path, sites: list[Site]) -> None:
    with attestlog.open(path) as log:
        receipt = log.append(MINIMAL)
        assert receipt.entry.replicas == [item.at.url for item in sites]
        soon(lambda: all(item.held() == 2 for item in sites))
    assert check_log(path, [receipt])
    for item in sites:
        check_log(item.copy, [receipt])


def test_closing_sends_what_is_left(path: Path, sites: list[Site]) -> None:
    with attestlog.open(path) as log:
        log.append_many([MINIMAL] * 50)
    assert [item.held() for item in sites] == [51, 51]


def test_cosignatures_are_kept_with_the_checkpoint(path: Path, sites: list[Site]) -> None:
    keys = [parse_vkey(item.at.vkey) for item in sites]
    with attestlog.open(path) as log:
        log.append(MINIMAL)
        soon(lambda: b"replica.example.com/b" in (path / "checkpoint").read_bytes())
        soon(lambda: b"replica.example.com/a" in (path / "checkpoint").read_bytes())
        note = (path / "checkpoint").read_bytes()
        signed = open_signed_checkpoint(note, [*log.genesis.checkpoint_keys, *keys])
        assert len(signed.signatures) == 3
        assert signed.checkpoint.size == 2
        assert log.checkpoint() == (path / "checkpoint").read_bytes()
    assert len(open_signed_checkpoint((path / "checkpoint").read_bytes(), keys).signatures) == 2
    assert attestlog.verify(path, remember=False).verdict == "VERIFIED"


def test_an_append_waits_for_as_many_copies_as_it_was_told(path: Path, sites: list[Site]) -> None:
    with attestlog.open(path, ack_replicas=2) as log:
        for number in range(1, 6):
            log.append(MINIMAL)
            assert [item.held() for item in sites] == [number + 1] * 2
        receipts = log.append_many([MINIMAL] * 100)
        assert len(receipts) == 100
        assert [item.held() for item in sites] == [106, 106]
        assert log.submit(MINIMAL).result(PATIENCE_S).sequence_number == 106
        assert [item.held() for item in sites] == [107, 107]

        async def many() -> None:
            await asyncio.gather(*[log.append_async(MINIMAL) for _ in range(20)])

        asyncio.run(many())
        assert [item.held() for item in sites] == [127, 127]


def test_copies_that_do_not_come_are_said_and_the_entry_is_there(
    path: Path, sites: list[Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Time stands still until the one copy is there.
    now = [100.0]
    monkeypatch.setattr(replicator_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    sites[1].proxy.is_refusing = True
    with attestlog.open(path, ack_replicas=2, ack_timeout_s=0.5) as log, ThreadPoolExecutor() as pool:
        ways: list[Callable[[], object]] = [
            lambda: log.append(MINIMAL),
            lambda: asyncio.run(log.append_async(MINIMAL)),
            lambda: log.submit(MINIMAL).result(PATIENCE_S),
            lambda: log.append_many([MINIMAL, MINIMAL]),
        ]
        futures = [pool.submit(way) for way in ways]
        cursors = open_source(path).cursors()
        soon(lambda: load_cursor(cursors, sites[0].at.url).cosigned_size == 6)
        now[0] += 0.5
        errors = [future.exception(PATIENCE_S) for future in futures]
        sites[1].proxy.is_refusing = False
        last = log.append(MINIMAL)
    receipts: list[Receipt] = []
    for error in errors:
        assert isinstance(error, ReplicationError)
        assert (error.have, error.need) == (1, 2)
        assert "1 of 2 copies were confirmed in 0.5 s" in error.message
        receipts += error.receipts
    assert sorted(receipt.sequence_number for receipt in receipts) == [1, 2, 3, 4, 5]
    assert [item.held() for item in sites] == [7, 7]
    check_log(path, [*receipts, last])


def test_what_waits_for_copies_when_the_log_is_closed_learns_that_they_did_not_come(
    path: Path, sites: list[Site]
) -> None:
    sites[1].proxy.is_refusing = True
    log = attestlog.open(path, ack_replicas=2, ack_timeout_s=600)
    future = log.submit(MINIMAL)
    soon(lambda: sites[0].held() == 2)
    assert not future.done()
    log.close()
    error = future.exception(PATIENCE_S)
    assert isinstance(error, ReplicationError)
    assert (error.have, error.need) == (1, 2)
    assert error.message == "the entry is in the log; 1 of 2 copies were confirmed before it was closed"
    check_log(path, error.receipts)


def test_a_callback_may_append_and_wait_for_copies(path: Path, sites: list[Site]) -> None:
    seen: list[object] = []

    def callback(future: Future[Receipt]) -> None:
        seen.append((future.result().sequence_number, log.append(MINIMAL).sequence_number))

    with attestlog.open(path, ack_replicas=2) as log:
        log.submit(MINIMAL).add_done_callback(callback)
        soon(lambda: seen == [(1, 2)])
        assert [item.held() for item in sites] == [3, 3]


def test_a_task_that_is_cancelled_while_it_waits_for_copies_keeps_nobody(
    path: Path, sites: list[Site]
) -> None:
    sites[1].proxy.is_refusing = True

    async def main() -> Receipt:
        task = asyncio.create_task(log.append_async(MINIMAL))
        await asyncio.to_thread(soon, lambda: sites[0].held() == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        sites[1].proxy.is_refusing = False
        return await log.append_async(MINIMAL)

    with attestlog.open(path, ack_replicas=2, ack_timeout_s=600) as log:
        last = asyncio.run(main())
    assert len(check_log(path, [last])) == 3


def test_an_unreachable_replica_never_holds_up_an_append(
    path: Path, sites: list[Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "SILENCE_MAX_S", 600.0)
    monkeypatch.setattr(client_module, "ANSWER_MAX_S", 600.0)
    monkeypatch.setattr(Replicator.close, "__defaults__", (0.1,))
    for item in sites:
        item.proxy.is_partitioned = True
    with attestlog.open(path) as log:
        begun = time.monotonic()
        receipts = [log.append(MINIMAL) for _ in range(50)]
        assert time.monotonic() - begun < 300  # no timeout of a connection is in there
    check_log(path, receipts)


def test_a_forked_child_sends_what_it_appends(path: Path, sites: list[Site]) -> None:
    with attestlog.open(path) as log:
        log.append(MINIMAL)
        child = os.fork()
        if child == 0:
            try:
                log.append(MINIMAL)
                log.close()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        log.append(MINIMAL)
    soon(lambda: [item.held() for item in sites] == [4, 4])
    check_log(path)


def test_more_copies_than_replicas_are_refused_at_once(path: Path) -> None:
    with pytest.raises(MalformedConfigError, match="ack_replicas is 3"):
        attestlog.open(path, ack_replicas=3)
    with attestlog.open(path) as log:
        assert log.head().size == 1


def test_a_lost_replica_is_an_entry_of_the_log(
    path: Path, sites: list[Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "LOST_AFTER_S", 0.1)
    monkeypatch.setattr(sender_module.Sender.__init__, "__kwdefaults__", {
        **(sender_module.Sender.__init__.__kwdefaults__ or {}), "lost_after_s": 0.1,
    })  # fmt: skip
    with attestlog.open(path) as log:
        log.append(MINIMAL)
        soon(lambda: sites[0].held() == 2)
        sites[0].proxy.is_refusing = True
        sites[0].proxy.drop_all()
        log.append(MINIMAL)

        def actions() -> list[str]:
            return [entry.action_type for entry in open_source(path).entries()]

        soon(lambda: "replica_lost" in actions())
        sites[0].proxy.is_refusing = False
        soon(lambda: "replica_back" in actions())
        soon(lambda: sites[0].held() == len(actions()))
    check_log(path)
    assert actions().count("replica_lost") == 1
