"""A witness over HTTP: statuses and bodies as C2SP tlog-witness has them, to the byte."""

import gzip
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from tests.support.serving_app import connect, served
from tests.support.witnesses import NAME, SignedTree, bad_requests, check_answer, mutants

from attestlog._internal.core.note import NoteSignature
from attestlog._internal.core.witness import (
    REQUEST_SIZE_MAX_BYTES,
    format_add_checkpoint,
    format_cosignatures,
    origin_hash,
)
from attestlog._internal.server.witness import witness_app
from attestlog._internal.witness import Witness
from attestlog.errors import (
    AttestlogError,
    ConsistencyError,
    MalformedCheckpointError,
    MalformedProofError,
    SignatureInvalidError,
    SplitViewError,
    StaleSizeError,
    TrustError,
    UnknownOriginError,
)
from attestlog.testing import FaultSigner, MemorySigner

STATUSES: dict[type[AttestlogError], int] = {
    MalformedCheckpointError: 400, MalformedProofError: 400, TrustError: 403, SignatureInvalidError: 403,
    UnknownOriginError: 404, StaleSizeError: 409, ConsistencyError: 422, SplitViewError: 422,
}  # fmt: skip


@pytest.fixture
def tree() -> SignedTree:
    return SignedTree()


@pytest.fixture
def signer() -> FaultSigner:
    return FaultSigner(MemorySigner("Ed25519"))


@pytest.fixture
def witness(tmp_path: Path, tree: SignedTree, signer: FaultSigner) -> Iterator[Witness]:
    with closing(Witness.begin(tmp_path / "witness", NAME, [signer], [tree.key.verifier])) as begun:
        yield begun


def test_a_checkpoint_is_cosigned_and_served_with_its_cosignature(witness: Witness, tree: SignedTree) -> None:
    path = f"/{origin_hash(tree.origin)}/checkpoint"
    with served(witness_app(witness)) as url, httpx.Client(timeout=60, base_url=url) as client:
        assert client.get(path).status_code == 404
        for old, size in ((0, 0), (0, 5), (5, 5), (5, 40)):
            answer = client.post("/add-checkpoint", content=tree.request(old, size))
            assert answer.status_code == 200
            check_answer(answer.content, tree, size, witness.keys)
            latest = client.get(path)
            assert latest.content == tree.note(size) + answer.content
            assert latest.headers["content-type"] == "text/plain; charset=utf-8"
        for other in ("0" * 64, origin_hash(tree.origin).upper(), tree.origin.replace("/", "%2f")):
            assert client.get(f"/{other}/checkpoint").status_code == 404
        assert client.get("/add-checkpoint").status_code == 405


def test_each_refusal_has_its_status(witness: Witness, tree: SignedTree) -> None:
    with served(witness_app(witness)) as url, httpx.Client(timeout=60, base_url=url) as client:
        client.post("/add-checkpoint", content=tree.request(0, 7))
        for name, (body, kind) in bad_requests(tree).items():
            answer = client.post("/add-checkpoint", content=body)
            assert answer.status_code == STATUSES[kind], name
            if kind is StaleSizeError:
                assert (answer.content, answer.headers["content-type"]) == (b"7\n", "text/x.tlog.size")
            else:
                assert answer.json()["code"] == kind.code
        for name, body in mutants(tree.request(7, 40)).items():
            assert client.post("/add-checkpoint", content=body).status_code == 400, name
        assert client.post("/add-checkpoint", content=tree.request(7, 40)).status_code == 200


def test_what_nobody_signed_is_read_up_to_a_limit(witness: Witness, tree: SignedTree) -> None:
    many = [NoteSignature(f"w{n}", bytes(4), bytes(2_428)) for n in range(30)]
    body = format_add_checkpoint(0, b"", tree.note(5, many))
    with served(witness_app(witness)) as url, httpx.Client(timeout=60, base_url=url) as client:
        assert len(body) < REQUEST_SIZE_MAX_BYTES
        assert client.post("/add-checkpoint", content=body + format_cosignatures(many)).status_code == 413
        bomb = gzip.compress(bytes(REQUEST_SIZE_MAX_BYTES + 1))
        packed = client.post("/add-checkpoint", content=bomb, headers={"Content-Encoding": "gzip"})
        assert packed.status_code == 413
        assert client.post("/add-checkpoint", content=body).status_code == 200


def test_who_sends_too_slowly_is_dropped_and_others_are_served(
    witness: Witness, tree: SignedTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = tree.request(0, 5)
    head = b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with served(witness_app(witness)) as url:
        hanging = [connect(url) for _ in range(2)]
        for connection, sent in zip(hanging, (head + body[:10], head[:13]), strict=True):
            connection.sendall(sent)
        assert httpx.post(f"{url}/add-checkpoint", timeout=60, content=body).status_code == 200
        for connection in hanging:
            connection.close()
        # Each limit is short only while it is looked at: a busy machine is not too slow for the other.
        with monkeypatch.context() as patch, connect(url) as slow:
            patch.setattr("attestlog._internal.server.bodies.SILENCE_MAX_S", 0.2)
            slow.sendall(head)
            slow.sendall(body[:10])
            assert slow.recv(65_536).startswith(b"HTTP/1.1 408")
            slow.shutdown(socket.SHUT_RDWR)
        with monkeypatch.context() as patch, connect(url) as silent:
            patch.setattr("attestlog._internal.server.running.HEAD_TIME_MAX_S", 0.2)
            silent.sendall(head[:13])
            assert silent.recv(1) == b""
        assert httpx.post(f"{url}/add-checkpoint", timeout=60, content=tree.request(5, 5)).status_code == 200


def test_a_witness_whose_key_is_away_says_so_and_goes_on_when_it_is_back(
    witness: Witness, tree: SignedTree, signer: FaultSigner
) -> None:
    with served(witness_app(witness)) as url, httpx.Client(timeout=60, base_url=url) as client:
        signer.answer = lambda message: b"nothing a key would sign"
        assert client.post("/add-checkpoint", content=tree.request(0, 5)).status_code == 503
        assert client.get(f"/{origin_hash(tree.origin)}/checkpoint").status_code == 503
        signer.answer = None
        conflict = client.post("/add-checkpoint", content=tree.request(0, 5))
        assert (conflict.status_code, conflict.content) == (409, b"5\n")
        assert client.post("/add-checkpoint", content=tree.request(5, 5)).status_code == 200
