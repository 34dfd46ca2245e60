"""The network between two servers is cut under load, the standby promoted, and the old primary comes back.

One host is on either side. `make failover` runs it: it waits for what networks take to be given up.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.namespaces import Namespace, made_namespace
from tests.support.postgres import PATIENCE_S, PostgresServer, eventually, running
from tests.support.proxy import free_port
from tests.support.tools import tool

import attestlog
from attestlog.errors import RollbackError
from attestlog.testing import check_log

IS_ASKED = "ATTESTLOG_FAILOVER" in os.environ
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not IS_ASKED, reason="make failover runs it")]

HOST = """
import json, sys, threading
import attestlog
from attestlog._internal.storage.postgres.store import PostgresStore
from attestlog._internal.storage.postgres.url import parse_url
from attestlog.errors import StorageError, UncertainCommitError

url, who, entry, checkpoint = sys.argv[1:]
store = PostgresStore(parse_url(url), lock_timeout_s=5)
store._settle_s = 5.0
stopped, lock = threading.Event(), threading.Lock()
threading.Thread(target=lambda: (sys.stdin.readline(), stopped.set()), daemon=True).start()

def say(*what):
    with lock:
        print(json.dumps(what), flush=True)

def append(log, caller):
    number = 0
    while not stopped.is_set():
        number += 1
        call = f"{who}-{caller}-{number}"
        draft = dict(event_type="ACTION", action_type="load", actor_id=who, action_payload={"call": call})
        try:
            receipt = log.append(draft)
        except UncertainCommitError:
            say("uncertain", call)
        except StorageError:
            say("refused", call)
            stopped.wait(0.1)
        else:
            say("done", call, receipt.sequence_number, receipt.entry_hash)

log = attestlog.open(store, signer=entry, checkpoint_signer=checkpoint)
threads = [threading.Thread(target=append, args=(log, caller)) for caller in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
log.close()
"""


class Host:
    """One that appends, as a process; what it said of each call."""

    def __init__(self, url: str, who: str, keys: list[str], within: list[str]) -> None:
        self.said: list[list[str]] = []
        self._process = subprocess.Popen(
            [*within, sys.executable, "-c", HOST, url, who, *keys],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append(json.loads(line))

    def done(self) -> dict[int, str]:
        """Sequence number and hash of what was acknowledged."""
        return {int(each[2]): each[3] for each in list(self.said) if each[0] == "done"}

    def calls(self, what: str) -> set[str]:
        return {each[1] for each in list(self.said) if each[0] == what}

    def more(self, count: int) -> None:
        want = len(self.done()) + count
        eventually(lambda: len(self.done()) >= want)

    def stop(self) -> None:
        assert self._process.stdin is not None
        if self._process.poll() is None:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        assert self._process.wait(PATIENCE_S) == 0
        self._thread.join(PATIENCE_S)

    def end(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE_S)
        self._thread.join(PATIENCE_S)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with made_namespace("pg") as made:
        yield made


def test_a_cut_network_and_an_old_primary_that_comes_back(
    namespace: Namespace, tmp_path: Path, own_home: Path
) -> None:
    inside = [tool("ip"), "netns", "exec", namespace.name]
    here, there = namespace._here.partition("/")[0], namespace.address
    keys = [f"file:{tmp_path}/{role}.pem" for role in ("entry", "checkpoint")]
    assert own_home.parent == tmp_path

    def listen(server: PostgresServer) -> None:
        server.within = inside
        server.trust("10.213.0.0/16")
        server.configure(listen_addresses=there)

    hosts: list[Host] = []
    with running(listen) as old:
        new = old.clone(there)
        try:
            port = free_port()
            new.configure(listen_addresses=here, port=str(port))
            new.port = port
            new.start()
            old.sql("alter system set synchronous_standby_names = '*'")
            old.reload()
            eventually(lambda: old.sql("select sync_state from pg_stat_replication") == [("sync",)])
            servers = f"{there}:5432,{here}:{port}"
            url = f"postgresql://app@{servers}/postgres?sslmode=disable&log=partition"
            signer, checkpoint_signer = keys
            attestlog.create(
                url, origin="example.com/partition", signer=signer, checkpoint_signer=checkpoint_signer
            ).close()
            hosts = [Host(url, "inside", keys, inside), Host(url, "outside", keys, [])]
            for host in hosts:
                host.more(100)
            namespace.cut()
            new.promote()
            hosts[1].more(200)
            namespace.join()
            time.sleep(2)  # the host inside may meet the old primary, which acknowledges nothing
            old.stop()
            hosts[0].more(50)
            for host in hosts:
                host.stop()
            entries = list(attestlog.query_log(url, newest_first=False))
            assert [entry.sequence_number for entry in entries] == list(range(len(entries)))
            here_now = {entry.sequence_number: entry.entry_hash for entry in entries}
            assert [host.done().items() - here_now.items() for host in hosts] == [set(), set()]
            calls = Counter((entry.action_payload or {}).get("call") for entry in entries[1:])
            assert [call for call, count in calls.items() if count > 1 and call] == []
            assert not set(calls) & set().union(*[host.calls("refused") for host in hosts])
            assert attestlog.verify(url).verdict == "VERIFIED"
            check_log(url)
            # The old one, alone, is older than what is remembered of the log.
            old.start()
            old.sql("alter system reset synchronous_standby_names")
            old.reload()
            alone = f"postgresql://app@{there}/postgres?sslmode=disable&log=partition"
            assert attestlog.verify(alone).verdict in {"TRUNCATED", "FORKED"}
            with pytest.raises(RollbackError):
                attestlog.open(alone, signer=signer, checkpoint_signer=checkpoint_signer)
        finally:
            for host in hosts:
                host.end()
            new.remove()
