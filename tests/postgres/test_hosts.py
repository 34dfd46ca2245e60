"""Several hosts at one log on PostgreSQL: what each trap would do, and does not do.

A host is a store, or an open log, with a connection of its own. The traps have numbers.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import draft, drafts
from tests.support.postgres import PATIENCE_S, PostgresServer, eventually, pooled, running

import attestlog
from attestlog._internal.log import Log
from attestlog._internal.storage.postgres.store import PostgresStore
from attestlog._internal.storage.postgres.url import parse_url
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import (
    BusyError,
    ClockError,
    ConflictError,
    CorruptError,
    FilesystemError,
    MalformedConfigError,
    MovedError,
    RollbackError,
    SignerError,
    StorageError,
    UncertainCommitError,
)
from attestlog.testing import MemorySigner, check_log


class Hosts:
    """One log, and the keys that every host of it shares."""

    def __init__(self, server: PostgresServer, signer: MemorySigner | None = None, **options: str) -> None:
        self.server, self.url = server, server.new_url(user="app", **options)
        self.signer, self.checkpoint_signer = signer or MemorySigner(), MemorySigner("Ed25519")
        self.open(Log.create, origin="example.com/hosts").close()

    def open(self, how: Callable[..., Log] = Log.open, **options: Any) -> Log:
        options.setdefault("clock", lambda: time.time_ns() // 1_000)
        return how(
            options.pop("store", self.url), signer=options.pop("signer", self.signer.uri),
            checkpoint_signer=self.checkpoint_signer.uri, **options,
        )  # fmt: skip

    def store(self, lock_timeout_s: float = PATIENCE_S, hold_max_s: int = 20) -> PostgresStore:
        return PostgresStore(parse_url(self.url), lock_timeout_s=lock_timeout_s, hold_max_s=hold_max_s)

    @contextmanager
    def two(self) -> Iterator[tuple[Log, Log]]:
        with self.open() as one, self.open() as other:
            yield one, other


@pytest.fixture
def hosts(postgres: PostgresServer) -> Hosts:
    return Hosts(postgres)


def waiting(server: PostgresServer, event: str) -> list[int]:
    """Which processes of the server wait for this."""
    found = server.sql(
        "select pid from pg_stat_activity where wait_event = %s and application_name = 'attestlog'", event
    )
    return [pid for (pid,) in found]


def test_a_batch_takes_two_round_trips(hosts: Hosts) -> None:
    store = hosts.store()
    with hosts.open(store=store) as log:
        log.append(draft())
        before = store.round_trips
        log.append_many(drafts(range(100)))
        assert store.round_trips - before == 2


def test_hosts_append_in_turns(hosts: Hosts) -> None:
    with hosts.two() as logs, ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda number: logs[number % 2].append(draft(number)), range(80)))
    assert sorted(receipt.sequence_number for receipt in receipts) == list(range(1, 81))
    check_log(hosts.url, acknowledged=receipts)


class FrozenSigner(MemorySigner):
    """One that takes as long to sign as `meanwhile` does, once."""

    meanwhile: Callable[[], object] | None = None

    def sign(self, message: bytes) -> bytes:
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return super().sign(message)


def test_a_pooler_of_transactions_may_stand_between(postgres: PostgresServer) -> None:
    with pooled(postgres, connections=3) as folder:
        hosts = Hosts(postgres)
        hosts.url = hosts.url.replace(str(postgres.folder), str(folder))
        with contextlib.ExitStack() as stack, ThreadPoolExecutor(8) as pool:
            logs = [stack.enter_context(hosts.open()) for _ in range(6)]
            receipts = list(pool.map(lambda number: logs[number % 6].append(draft(number)), range(60)))
        check_log(hosts.url, acknowledged=receipts)


def test_a_host_without_the_checkpoint_key_appends(hosts: Hosts) -> None:
    with attestlog.open(hosts.url, signer=hosts.signer.uri, checkpoint_signer="elsewhere") as other:
        note = open_source(hosts.url).checkpoint()
        receipts = [other.append(draft(1))]
        with pytest.raises(SignerError, match="signed elsewhere"):
            other.checkpoint()
        receipts.append(other.append(draft(2)))
    assert open_source(hosts.url).checkpoint() == note
    assert attestlog.verify(hosts.url).checkpoint_size == 1
    with hosts.open() as first:
        first.checkpoint()
    assert attestlog.verify(hosts.url).checkpoint_size == 3
    with pytest.raises(MalformedConfigError, match="signed elsewhere"):
        attestlog.open(hosts.url, signer=hosts.signer.uri, checkpoint_signer="elsewhere", ack_replicas=1)
    check_log(hosts.url, acknowledged=receipts)


def test_t1_a_frozen_host_loses_the_lock_and_others_go_on(postgres: PostgresServer) -> None:
    signer = FrozenSigner()
    hosts = Hosts(postgres, signer)
    frozen_store = hosts.store(hold_max_s=3)
    with hosts.open(store=frozen_store, signer=signer) as frozen, hosts.open() as other:
        receipts = []
        # It has the lock while it signs. The other waits for the lock, which the server takes away.
        signer.meanwhile = lambda: receipts.append(other.append(draft(2)))
        with pytest.raises(StorageError, match="nothing was written") as caught:
            frozen.append(draft(1))
        assert caught.value.retryable
        receipts.append(frozen.append(draft(3)))
    check_log(hosts.url, acknowledged=receipts)
    numbers = [(entry.action_payload or {}).get("number") for entry in attestlog.query_log(hosts.url)]
    assert numbers[:2] == [3, 2]


STOPPED = """
import sys
import attestlog
from attestlog._internal.signers import open_signer
from attestlog._internal.storage.postgres.store import PostgresStore
from attestlog._internal.storage.postgres.url import parse_url
from attestlog.errors import StorageError

url, entry, checkpoint, patience = sys.argv[1:]

class Slow:
    def __init__(self, inner):
        self.inner, self.waits = inner, False

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def sign(self, message):
        if self.waits:
            self.waits = False
            print("signs", flush=True)
            sys.stdin.readline()
        return self.inner.sign(message)

store = PostgresStore(parse_url(url), lock_timeout_s=float(patience), hold_max_s=5)
signer = Slow(open_signer(entry))
with attestlog.open(store, signer=signer, checkpoint_signer=open_signer(checkpoint)) as log:
    draft = {"event_type": "ACTION", "action_type": "step", "actor_id": "stopped"}
    signer.waits, receipt = True, None
    while receipt is None:
        try:
            receipt = log.append(draft)
        except StorageError as error:
            print(error.retryable, error, flush=True)
            assert error.retryable
    print("appended", receipt.sequence_number, flush=True)
"""


def test_t1_a_stopped_process_loses_the_lock_and_others_go_on(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """SIGSTOP while it holds the lock, as of a machine that is paused: the server takes the lock away."""
    entry, checkpoint = (f"file:{tmp_path}/{role}.pem" for role in ("entry", "checkpoint"))
    url = postgres.new_url(user="app")
    attestlog.create(url, origin="example.com/stopped", signer=entry, checkpoint_signer=checkpoint).close()
    command = [sys.executable, "-c", STOPPED, url, entry, checkpoint, str(PATIENCE_S)]
    own = {**os.environ, "ATTESTLOG_HOME": str(tmp_path / "other")}
    for name in ("ATTESTLOG_STATE", "ATTESTLOG_CACHE"):
        own.pop(name, None)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=own
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "signs\n"
            process.send_signal(signal.SIGSTOP)
            with attestlog.open(url) as other:
                receipts = [other.append(draft(1))]
                process.send_signal(signal.SIGCONT)
                process.stdin.write("\n")
                process.stdin.flush()
                said = process.stdout.readline()
                assert said.startswith("True ")
                assert "nothing was written" in said
                while not said.startswith("appended"):  # it may have been slow once more
                    assert said.startswith("True ")
                    said = process.stdout.readline()
                assert said == "appended 2\n"
                receipts.append(other.append(draft(3)))
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
    check_log(url, acknowledged=receipts)
    actors = [entry.actor_id for entry in attestlog.query_log(url, newest_first=False)]
    assert actors[2] == "stopped"


def test_t2_the_checkpoint_is_as_it_is_once_the_lock_is_there(hosts: Hosts) -> None:
    first, second = hosts.store(), hosts.store()
    seen: list[bytes | None] = []
    begun = threading.Event()

    def wait() -> None:
        begun.set()
        with second.exclusive():
            seen.append(second.checkpoint())

    thread = threading.Thread(target=wait)
    with first.exclusive() as head:
        thread.start()
        begun.wait(PATIENCE_S)
        eventually(lambda: waiting(hosts.server, "transactionid"))
        note = f"example.com/hosts\n{head.size}\n{'A' * 43}=\n".encode()
        first.replace_checkpoint(first.checkpoint(), note)
    thread.join(PATIENCE_S)
    assert seen == [note]
    for each in (first, second):
        each.close()


def test_t4_a_clock_ahead_is_refused_and_others_go_on(hosts: Hosts) -> None:
    hour_us = 3_600_000_000
    with hosts.open(clock=lambda: time.time_ns() // 1_000 + hour_us) as ahead, hosts.open() as right:
        with pytest.raises(ClockError, match="ahead"):
            ahead.append(draft(1))
        receipt = right.append(draft(2))
    with hosts.open(clock=lambda: time.time_ns() // 1_000 + 10_000_000) as a_little, hosts.open() as right:
        receipts = [receipt, a_little.append(draft(3)), right.append(draft(4))]
    check_log(hosts.url, acknowledged=receipts)


def test_t5_another_holds_the_lock(hosts: Hosts) -> None:
    store, hasty = hosts.store(), hosts.store(0.1)
    with store.exclusive(), pytest.raises(BusyError, match="held the lock"), hasty.exclusive():
        pass
    with store.exclusive() as head:
        for wrong in (None, b"another"):
            with pytest.raises(ConflictError):
                store.replace_checkpoint(wrong, b"x")
        assert store.certain_head() == head  # what was refused left the turn as it was
    for each in (store, hasty):
        each.close()


def test_t6_lines_are_not_compressed_by_pglz(postgres: PostgresServer) -> None:
    (found,) = postgres.sql(
        "select attcompression, attstorage from pg_attribute"
        " where attrelid = 'attestlog.entry'::regclass and attname = 'line'"
    )
    assert found in {(b"l", b"x"), ("l", "x"), (b"", b"e"), ("", "e")}


def test_t7_a_server_that_went_back_in_time_is_noticed(hosts: Hosts) -> None:
    with hosts.open() as log:
        before = hosts.server.sql("select * from attestlog.head order by log_id desc limit 1")[0]
        log.append_many(drafts(range(3)))
        # As after a failover to a standby that was behind, or a restored backup.
        hosts.server.sql("delete from attestlog.entry where log_id = %s and seq >= %s", before[0], before[2])
        hosts.server.sql(
            "update attestlog.head set (size, entry_hash, timestamp_us, edge) = (%s, %s, %s, %s)"
            " where log_id = %s",
            *before[2:6], before[0],
        )  # fmt: skip
        with pytest.raises(CorruptError, match="went back in time"):
            log.append(draft(9))
    with pytest.raises(RollbackError):
        hosts.open()


def test_t10_what_a_role_says_of_its_transactions_does_not_matter(hosts: Hosts) -> None:
    server = hosts.server
    server.sql("alter role app set default_transaction_isolation = 'serializable'")
    server.sql("alter role app set synchronous_commit = off")
    server.sql("alter role app set default_transaction_read_only = on")
    try:
        store = hosts.store()
        with store.exclusive():
            assert store._connection is not None
            for name, want in (("transaction_isolation", "read committed"), ("synchronous_commit", "on")):
                shown = store._connection.execute(f"show {name}".encode()).fetchone()
                assert shown == (want,)
        store.close()
        with hosts.two() as logs, ThreadPoolExecutor(4) as pool:
            receipts = list(pool.map(lambda number: logs[number % 2].append(draft(number)), range(40)))
        check_log(hosts.url, acknowledged=receipts)
    finally:
        server.sql("alter role app reset all")


def test_a_moved_log_takes_no_more(hosts: Hosts) -> None:
    with hosts.open() as log:
        (log_id,) = hosts.server.sql("select max(log_id) from attestlog.log")[0]
        hosts.server.sql("select attestlog.seal(%s, '/srv/audit')", log_id, user="app")
        with pytest.raises(MovedError, match="moved to /srv/audit"):
            log.append(draft())
        with pytest.raises(MovedError):
            log.close()


# --- servers that stop, and standbys that do not answer ---


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    with running() as server:
        yield server


@pytest.fixture
def stoppable(own_server: PostgresServer) -> Iterator[Hosts]:
    yield Hosts(own_server)
    own_server.start() if not (own_server.data / "postmaster.pid").exists() else None
    own_server.sql("alter system reset synchronous_standby_names")
    own_server.reload()
    eventually(lambda: own_server.sql("show synchronous_standby_names") == [("",)])


def appended(log: Log, pool: ThreadPoolExecutor, number: int = 1) -> "Future[attestlog.Receipt]":
    return pool.submit(log.append, draft(number))


def test_an_append_waits_for_the_server_to_be_back(stoppable: Hosts) -> None:
    with stoppable.open() as log, ThreadPoolExecutor(1) as pool:
        receipts = [log.append(draft(1))]
        stoppable.server.stop()
        asked = appended(log, pool, 2)
        stoppable.server.start()
        receipts.append(asked.result(PATIENCE_S))
    check_log(stoppable.url, acknowledged=receipts)


def test_an_append_does_not_wait_for_ever(stoppable: Hosts) -> None:
    store = stoppable.store(lock_timeout_s=0.3)
    log = stoppable.open(store=store)
    log.append(draft(1))
    stoppable.server.stop()
    with pytest.raises(StorageError) as caught:
        log.append(draft(2))
    assert caught.value.retryable
    stoppable.server.start()
    receipt = log.append(draft(3))
    log.close()
    check_log(stoppable.url, acknowledged=[receipt])
    assert receipt.sequence_number == 2


def _without_a_standby(server: PostgresServer) -> None:
    server.sql("alter system set synchronous_standby_names = 'nobody'")
    server.reload()
    eventually(lambda: server.sql("show synchronous_standby_names") == [("nobody",)])


def _with_one(server: PostgresServer) -> None:
    """As if the standby answered: whoever waits for it is released."""
    server.sql("alter system reset synchronous_standby_names")
    server.reload()


@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend"])
def test_t3_a_commit_whose_wait_is_cut_short_is_not_acknowledged(stoppable: Hosts, how: str) -> None:
    server = stoppable.server
    store = stoppable.store()
    with stoppable.open(store=store) as log, ThreadPoolExecutor(1) as pool:
        _without_a_standby(server)
        asked = appended(log, pool)
        eventually(lambda: waiting(server, "SyncRep"))
        (pid,) = waiting(server, "SyncRep")
        server.sql(f"select {how}(%s)", pid)
        # The rows are there for all to see. What the store waits for is a commit of its own behind them.
        eventually(lambda: [each for each in waiting(server, "SyncRep") if each != pid])
        assert not asked.done()
        _with_one(server)
        receipt = asked.result(PATIENCE_S)
        assert any("was committed" in words for words in store.recovered)
    check_log(stoppable.url, acknowledged=[receipt])
    assert [entry.sequence_number for entry in attestlog.query_log(stoppable.url)] == [1, 0]


def test_t3_an_interrupt_while_a_commit_waits_is_no_acknowledgement(stoppable: Hosts) -> None:
    """psycopg would ask the server to cancel, and a COMMIT that is cancelled so succeeds."""
    server = stoppable.server

    def interrupt() -> None:
        eventually(lambda: waiting(server, "SyncRep"))
        os.kill(os.getpid(), signal.SIGINT)

    with stoppable.open(store=stoppable.store()) as log, ThreadPoolExecutor(1) as pool:
        _without_a_standby(server)
        asked = pool.submit(interrupt)
        with pytest.raises((KeyboardInterrupt, UncertainCommitError)):
            log.append(draft(1))
        asked.result(PATIENCE_S)
        _with_one(server)
        receipt = log.append(draft(2))
    check_log(stoppable.url, acknowledged=[receipt])
    numbers = [entry.sequence_number for entry in attestlog.query_log(stoppable.url, newest_first=False)]
    assert numbers == list(range(len(numbers)))
    assert receipt.sequence_number == numbers[-1]


def test_a_promise_of_a_standby_needs_a_standby(stoppable: Hosts) -> None:
    with pytest.raises(FilesystemError, match=r"durability=standby.*synchronous_standby_names is empty"):
        attestlog.open(
            f"{stoppable.url}&durability=standby", signer=stoppable.signer.uri,
            checkpoint_signer=stoppable.checkpoint_signer.uri,
        )  # fmt: skip


def test_a_log_made_for_a_standby_is_never_written_without_one(own_server: PostgresServer) -> None:
    with pytest.raises(FilesystemError):
        Hosts(own_server, durability="standby")


def test_without_a_standby_nothing_is_acknowledged_within_the_deadline(stoppable: Hosts) -> None:
    store = stoppable.store(lock_timeout_s=1)
    store._settle_s = 0.5
    log = stoppable.open(store=store)
    _without_a_standby(stoppable.server)
    assert store._connection is not None
    store._connection.answer_s = 2.0
    with pytest.raises(attestlog.errors.UncertainCommitError) as caught:
        log.append(draft(1))
    assert len(caught.value.entry_ids) == 1
    with pytest.raises(StorageError, match="nothing of this was written") as refused:
        log.append(draft(2))
    assert not isinstance(refused.value, attestlog.errors.UncertainCommitError)
    assert refused.value.retryable
    _with_one(stoppable.server)
    store._lock_timeout_s = PATIENCE_S
    receipt = log.append(draft(3))
    log.close()
    numbers = [entry.sequence_number for entry in attestlog.query_log(stoppable.url, newest_first=False)]
    assert numbers == [0, 1, 2]
    assert receipt.sequence_number == 2
    check_log(stoppable.url, acknowledged=[receipt])


def test_a_server_without_fsync_is_refused() -> None:
    with running(fsync="off") as server, pytest.raises(FilesystemError, match="fsync=off"):
        Hosts(server)
