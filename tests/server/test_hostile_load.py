"""A replica under hostile load: those who have nothing to do with it are answered throughout.

Hundreds of connections that send half a head, or a body in drips, or nothing; and shipments of a log whose
policy of nearly 1 MiB changes again and again. How fast the others are answered is printed, not asserted.
"""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import httpx
import pytest
from tests.support.logs import LogMaker, draft, drafts
from tests.support.people import governed
from tests.support.serving_app import connect, served

from attestlog._internal.core.policy import Policy
from attestlog._internal.core.policy_change import set_policy_payload
from attestlog._internal.core.replication import Shipment, encode_shipment, log_id
from attestlog._internal.replica import Replica
from attestlog._internal.server.replica import replica_app
from attestlog._internal.server.tokens import Scope, TokenFile
from attestlog.testing import MemorySigner

CONNECTIONS = 200
POLICY_RULES = 1_500
ANSWER_MAX_S = 300
"""Nobody who is not held up for good waits so long."""
ROUNDS = 20

pytestmark = pytest.mark.slow


def large_policy(number: int) -> Policy:
    """Of some 900 kB."""
    globs = [f"{number}-{at}-{'x' * 80}" for at in range(6)]
    return governed(rules={f"rule-{at}": {"action_types": globs} for at in range(POLICY_RULES)})


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> LogMaker:
    """A log whose policy changes four times."""
    log = LogMaker(tmp_path_factory.mktemp("load") / "changing", origin="example.com/changing")
    for number in range(4):
        payload = set_policy_payload(log.rules, large_policy(number))
        log.append(draft(0, event_type="CHANGE", action_type="attestlog.set_policy", action_payload=payload))
    log.lay_out()
    return log


@pytest.fixture
def quiet(tmp_path: Path) -> LogMaker:
    log = LogMaker(tmp_path / "quiet", origin="example.com/quiet")
    log.append(*drafts(range(8)))
    log.lay_out()
    return log


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path / "replica", "replica.example.com/one", MemorySigner("Ed25519"))
    yield replica
    replica.close()


def drip(connections: list[socket.socket], ended: Event) -> None:
    """A byte on each connection, again and again, until the server hangs up."""
    while not ended.wait(0.05) and connections:
        for connection in list(connections):
            try:
                connection.sendall(b"x")
            except OSError:
                connections.remove(connection)


def ship_again(url: str, token: str, log: LogMaker, ended: Event) -> set[int]:
    """All its entries, from the first one, as often as they are taken; the statuses."""
    statuses = set[int]()
    body = encode_shipment(Shipment(0, log.lines))
    headers = {"authorization": f"Bearer {token}"}
    while not ended.is_set():
        path = f"{url}/logs/{log_id(log.origin)}/entries"
        statuses.add(httpx.post(path, content=body, headers=headers, timeout=600).status_code)
    return statuses


def test_unrelated_requests_are_answered(replica: Replica, changing: LogMaker, quiet: LogMaker) -> None:
    tokens = TokenFile(replica.directory)
    log = log_id(quiet.origin)
    replica.take(log, Shipment(0, quiet.lines, (quiet.root / "checkpoint").read_bytes()))
    hostile = tokens.mint("hostile", [Scope.REPLICATE], changing.origin)
    reader = httpx.Headers({"authorization": f"Bearer {tokens.mint('reader', [Scope.READ])}"})
    head = f"POST /logs/{log_id(changing.origin)}/entries HTTP/1.1\r\nHost: x\r\n"
    body_head = f"{head}Authorization: Bearer {hostile}\r\nContent-Length: 1000000\r\n\r\n"
    starts = [b"", b"GET / HTTP/1.1\r\nX-A: ", body_head.encode()]
    ended, worst = Event(), 0.0
    with ExitStack() as undo:
        url = undo.enter_context(served(replica_app(replica, tokens)))
        pool = undo.enter_context(ThreadPoolExecutor(6))
        undo.callback(ended.set)
        connections = [undo.enter_context(connect(url)) for _ in range(CONNECTIONS)]
        for at, connection in enumerate(connections):
            connection.sendall(starts[at % len(starts)])
        dripping = pool.submit(drip, list(connections), ended)
        work = [pool.submit(ship_again, url, hostile, changing, ended) for _ in range(4)]
        for _ in range(ROUNDS):
            begun = time.monotonic()
            answer = httpx.get(f"{url}/logs/{log}/entries", headers=reader, timeout=ANSWER_MAX_S)
            worst = max(worst, time.monotonic() - begun)
            assert answer.status_code == 200
            assert answer.content.count(b"\n") == len(quiet.lines)
        ended.set()
        dripping.result()
        assert set[int]().union(*(one.result() for one in work)) <= {200, 503}
    print(f"slowest of {ROUNDS} answers: {worst:.3f} s")
