"""A replica over HTTP: the statuses, bodies and tokens of its routes."""

import gzip
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from tests.support.logs import CheckpointKey, LogMaker, drafts
from tests.support.replicas import soon
from tests.support.serving_app import served

from attestlog._internal.core.cosignature import open_signed_checkpoint
from attestlog._internal.core.replication import Shipment, decode_answer, encode_shipment, log_id
from attestlog._internal.replica import Replica
from attestlog._internal.server.replica import SHIPMENTS_PER_TOKEN_MAX, replica_app
from attestlog._internal.server.tokens import Scope, TokenFile
from attestlog.testing import MemorySigner


@pytest.fixture
def made(tmp_path: Path) -> LogMaker:
    log = LogMaker(tmp_path / "made")
    for start in range(0, 40, 8):
        log.append(*drafts(range(start, start + 8)))
    log.lay_out()
    return log


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path / "replica", "replica.example.com/one", MemorySigner("Ed25519"))
    yield replica
    replica.close()


@pytest.fixture
def tokens(replica: Replica) -> TokenFile:
    return TokenFile(replica.directory)


def client(url: str, token: str) -> httpx.Client:
    return httpx.Client(timeout=60, base_url=url, headers={"Authorization": f"Bearer {token}"})


def test_entries_go_in_by_one_token_and_out_by_another(
    made: LogMaker, replica: Replica, tokens: TokenFile
) -> None:
    log, checkpoint = log_id(made.origin), (made.root / "checkpoint").read_bytes()
    writer = tokens.mint("writer", [Scope.REPLICATE], made.origin)
    reader = tokens.mint("reader", [Scope.READ])
    body = encode_shipment(Shipment(0, made.lines, checkpoint))
    with (
        served(replica_app(replica, tokens)) as url,
        client(url, writer) as sender,
        client(url, reader) as out,
    ):
        assert out.post(f"/logs/{log}/entries", content=body).status_code == 403
        assert out.get(f"/logs/{log}").status_code == 404
        assert out.get("/logs").json() == {"type": "logs", "logs": []}
        answer = sender.post(
            f"/logs/{log}/entries", content=gzip.compress(body), headers={"content-encoding": "gzip"}
        )
        assert answer.status_code == 200
        assert decode_answer(answer.content).size == 41
        assert sender.get(f"/logs/{log}").json()["size"] == 41
        assert sender.get(f"/logs/{log}/entries").status_code == 403
        assert out.get("/logs").json()["logs"] == [log]
        shown = out.get(f"/logs/{log}").json()
        assert (shown["origin"], shown["split_views"]) == (made.origin, [])
        lines = b"".join(line + b"\n" for line in made.lines)
        assert out.get(f"/logs/{log}/entries").content == lines
        assert out.get(f"/logs/{log}/entries", params={"start": 40}).content == made.lines[40] + b"\n"
        assert out.get(f"/logs/{log}/entries", params={"start": 1, "stop": 3}).content.count(b"\n") == 2
        assert out.get(f"/logs/{log}/entries", params={"start": 41}).content == b""
        assert out.get(f"/logs/{log}/entries", params={"start": "x"}).status_code == 400
        note = out.get(f"/logs/{log}/checkpoint").content
        keys = [made.checkpoint_key.verifier, replica.vkey]
        assert len(open_signed_checkpoint(note, keys).signatures) == 2
        assert httpx.get(f"{url}/logs/{log}/checkpoint", timeout=60).status_code == 401


def test_a_token_for_one_log_is_good_for_no_other(
    made: LogMaker, replica: Replica, tokens: TokenFile
) -> None:
    log = log_id(made.origin)
    token = tokens.mint("writer", [Scope.REPLICATE, Scope.READ], "example.com/another")
    with served(replica_app(replica, tokens)) as url, client(url, token) as stranger:
        body = encode_shipment(Shipment(0, made.lines))
        assert stranger.post(f"/logs/{log}/entries", content=body).status_code == 403
        for path in (f"/logs/{log}", f"/logs/{log}/entries", f"/logs/{log}/checkpoint"):
            assert stranger.get(path).status_code == 403
    assert replica.logs() == []


def test_checkpoints_are_public_only_on_purpose(made: LogMaker, replica: Replica, tokens: TokenFile) -> None:
    log, checkpoint = log_id(made.origin), (made.root / "checkpoint").read_bytes()
    replica.take(log, Shipment(0, made.lines))
    with served(replica_app(replica, tokens, checkpoints_are_public=True)) as url:
        assert httpx.get(f"{url}/logs/{log}/checkpoint", timeout=60).status_code == 404
        replica.take(log, Shipment(41, [], checkpoint))
        assert httpx.get(f"{url}/logs/{log}/checkpoint", timeout=60).content.startswith(made.origin.encode())
        assert httpx.get(f"{url}/logs/{log}/entries", timeout=60).status_code == 401


def test_every_refusal_has_its_status_and_code(made: LogMaker, replica: Replica, tokens: TokenFile) -> None:
    log = log_id(made.origin)
    token = tokens.mint("writer", [Scope.ADMIN])
    forked = LogMaker(made.root)
    forked.append(*drafts(range(100, 108)))
    forked.lines[0] = made.lines[0]
    forked.reseal(1)
    forged = [*made.lines[:9], *[line.replace(b'"T-', b'"U-') for line in made.lines[9:17]]]
    key = CheckpointKey(9)
    forked.lay_out()
    stranger_note = (forked.root / "checkpoint").read_bytes().replace(made.origin.encode(), b"example.com/x")
    cases = [
        (f"/logs/{log}/entries", b"nonsense", 400, "malformed.shipment"),
        ("/logs/nonsense/entries", encode_shipment(Shipment(0, made.lines)), 404, "storage.not_found"),
        (f"/logs/{log}/entries", encode_shipment(Shipment(5, made.lines[5:])), 409, "replication.stale_size"),
        (f"/logs/{log}/entries", encode_shipment(Shipment(0, forged)), 422, "verification"),
        (f"/logs/{log}/entries", encode_shipment(Shipment(0, made.lines)), 200, ""),
        (
            f"/logs/{log}/entries",
            encode_shipment(Shipment(1, forked.lines[1:])),
            409,
            "verification.split_view",
        ),
        (f"/logs/{log}/entries", encode_shipment(Shipment(41, [], b"x")), 400, "malformed.note"),
        (f"/logs/{log}/entries", encode_shipment(Shipment(41, [], stranger_note)), 422, "verification.trust"),
    ]
    assert key.vkey != made.checkpoint_key.vkey
    with served(replica_app(replica, tokens)) as url, client(url, token) as writer:
        for path, body, status, code in cases:
            answer = writer.post(path, content=body)
            assert (answer.status_code, code) == (status, code if status == 200 else answer.json()["code"])
        shown = writer.get(f"/logs/{log}").json()
        assert (shown["size"], shown["split_views"]) == (41, ["00001.json"])
        stale = writer.post(f"/logs/{log}/entries", content=encode_shipment(Shipment(50, made.lines[1:2])))
        assert stale.json()["evidence"]["known_size"] == 41


def test_a_token_for_one_log_lists_that_one(made: LogMaker, replica: Replica, tokens: TokenFile) -> None:
    log = log_id(made.origin)
    replica.take(log, Shipment(0, made.lines))
    theirs = tokens.mint("theirs", [Scope.READ], made.origin)
    other = tokens.mint("other", [Scope.READ], "example.com/another")
    with (
        served(replica_app(replica, tokens)) as url,
        client(url, theirs) as owner,
        client(url, other) as stranger,
    ):
        assert owner.get("/logs").json()["logs"] == [log]
        assert stranger.get("/logs").json()["logs"] == []


def test_readers_do_not_wait_for_writers(made: LogMaker, replica: Replica, tokens: TokenFile) -> None:
    """While a log is held by whoever takes a shipment, and as many more as may wait for it do."""
    log = log_id(made.origin)
    replica.take(log, Shipment(0, made.lines, (made.root / "checkpoint").read_bytes()))
    writers = [tokens.mint(f"writer-{n}", [Scope.REPLICATE], made.origin) for n in range(5)]
    reader = tokens.mint("reader", [Scope.READ])
    body = encode_shipment(Shipment(0, made.lines))
    app = replica_app(replica, tokens, checkpoints_are_public=True)

    def post(token: str) -> int:
        headers = {"authorization": f"Bearer {token}"}
        return sender.post(f"/logs/{log}/entries", content=body, timeout=60, headers=headers).status_code

    with served(app) as url, httpx.Client(timeout=60, base_url=url) as sender, ThreadPoolExecutor(20) as pool:
        with replica.holding(log):
            posts = [pool.submit(post, token) for token in writers for _ in range(SHIPMENTS_PER_TOKEN_MAX)]
            soon(lambda: sum(app.state["taking"]._places.values()) == len(posts))
            with client(url, reader) as out:
                assert out.get("/logs").json()["logs"] == [log]
                assert out.get(f"/logs/{log}/entries").content.count(b"\n") == 41
                assert out.get(f"/logs/{log}/checkpoint").status_code == 200
                assert out.get(f"/logs/{log}/unerased").json()["sequence_numbers"] == []
            assert httpx.get(f"{url}/logs/{log}/checkpoint", timeout=60).status_code == 200
            with client(url, writers[0]) as one_more:
                refused = one_more.post(f"/logs/{log}/entries", content=body)
                assert (refused.status_code, refused.json()["code"]) == (503, "storage.busy")
            assert not any(post.done() for post in posts)
        assert {post.result() for post in posts} == {200}
