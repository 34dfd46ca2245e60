"""The primary dies under load and its standby takes over: no acknowledged entry is lost, none doubled."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Self

import pytest
from tests.support.postgres import PATIENCE_S, PostgresServer, eventually, running

import attestlog
from attestlog._internal.log import Log
from attestlog.errors import AttestlogError, UncertainCommitError
from attestlog.testing import MemorySigner, check_log

pytestmark = pytest.mark.slow

HOSTS, CALLERS = 3, 16


@pytest.fixture
def pair() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A primary, and the synchronous standby of it."""
    with running() as primary:
        standby = primary.clone()
        try:
            standby.start()
            primary.sql("alter system set synchronous_standby_names = '*'")
            primary.reload()
            eventually(lambda: primary.sql("select sync_state from pg_stat_replication") == [("sync",)])
            yield primary, standby
        finally:
            standby.remove()


class Load:
    """Callers of several hosts, who append until they are told to stop."""

    def __init__(self, logs: list[Log]) -> None:
        self.acknowledged: list[attestlog.Receipt] = []
        self.uncertain: set[str] = set()
        self.refused: set[str] = set()
        """Of which the log said that nothing was written."""
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._append, args=(log, f"{host}-{caller}"))
            for host, log in enumerate(logs)
            for caller in range(CALLERS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def more(self, count: int) -> None:
        """Wait until so many more were acknowledged."""
        want = len(self.acknowledged) + count
        eventually(lambda: len(self.acknowledged) >= want)

    def _append(self, log: Log, who: str) -> None:
        number = 0
        while not self._stopped.is_set():
            number += 1
            try:
                receipt = log.append({
                    "event_type": "ACTION", "action_type": "load", "actor_id": who,
                    "action_payload": {"call": f"{who}-{number}"},
                })  # fmt: skip
            except UncertainCommitError:
                self.uncertain.add(f"{who}-{number}")
            except AttestlogError:
                self.refused.add(f"{who}-{number}")
                time.sleep(0.05)
            else:
                self.acknowledged.append(receipt)


def test_a_standby_takes_over_under_load(pair: tuple[PostgresServer, PostgresServer]) -> None:
    primary, standby = pair
    signer, checkpoint_signer = MemorySigner(), MemorySigner("Ed25519")
    url = primary.new_url(user="app").replace(str(primary.folder), f"{primary.folder},{standby.folder}")
    attestlog.create(
        url, origin="example.com/failover", signer=signer, checkpoint_signer=checkpoint_signer
    ).close()
    with contextlib.ExitStack() as stack:
        logs = [
            stack.enter_context(
                attestlog.open(url, signer=signer.uri, checkpoint_signer=checkpoint_signer.uri)
            )
            for _ in range(HOSTS)
        ]
        with Load(logs) as load:
            load.more(1_000)
            primary.kill()
            standby.promote()
            load.more(1_000)
    entries = list(attestlog.query_log(url, newest_first=False))
    assert [entry.sequence_number for entry in entries] == list(range(len(entries)))
    there = {entry.sequence_number: entry.entry_hash for entry in entries}
    lost = [r for r in load.acknowledged if there.get(r.sequence_number) != r.entry_hash]
    assert lost == []
    calls = Counter((entry.action_payload or {})["call"] for entry in entries[1:])
    assert [call for call, count in calls.items() if count > 1] == []
    known = {(r.entry.action_payload or {})["call"] for r in load.acknowledged}
    assert set(calls) - known <= load.uncertain
    assert not load.refused & set(calls)
    assert attestlog.verify(url).verdict == "VERIFIED"
    check_log(url, acknowledged=load.acknowledged)
