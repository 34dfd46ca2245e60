"""Tokens, bodies and slow clients, against a real server on loopback."""

import asyncio
import gzip
import json
import os
import socket
import ssl
import stat
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Request, get, post
from tests.support.serving_app import connect, served
from tests.support.tls import authority

from attestlog import errors
from attestlog._internal.server import bodies, running
from attestlog._internal.server.bodies import RATIO_FREE_BYTES, read_body
from attestlog._internal.server.guarding import check_origin_allowed, needs, new_app
from attestlog._internal.server.running import Listen, parse_listen
from attestlog._internal.server.statuses import BY_ERROR, status
from attestlog._internal.server.tokens import Scope, Token, TokenFile, format_tokens, parse_tokens
from attestlog.errors import (
    DeniedError,
    ExistsError,
    MalformedConfigError,
    MalformedError,
    NotFoundError,
    RequestTimeoutError,
    StorageError,
    TooLargeError,
)

SIZE_MAX = 4 << 20


@get("/read", guards=[needs(Scope.READ)])
async def read(request: Request[Any, Any, Any]) -> str:
    check_origin_allowed(request, "example.com/one")
    return "read"


@get("/public", guards=[needs(Scope.READ, is_public=True)])
async def public() -> str:
    return "public"


@post("/count", guards=[needs(Scope.REPLICATE)], status_code=200)
async def count(request: Request[Any, Any, Any]) -> str:
    body = await read_body(
        request.stream(), encoding=request.headers.get("content-encoding", ""), size_bytes_max=SIZE_MAX
    )
    return str(len(body))


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


# --- tokens ---


def test_a_token_is_kept_as_its_hash_in_a_file_that_only_its_owner_reads(tokens: TokenFile) -> None:
    text = tokens.mint("writer-1", [Scope.REPLICATE], "example.com/one")
    kept = tokens.path.read_text()
    assert text not in kept
    assert stat.S_IMODE(tokens.path.stat().st_mode) == 0o600
    found = TokenFile(tokens.path.parent).find(text)
    assert found is not None
    assert (found.name, found.scopes, found.origin) == ("writer-1", [Scope.REPLICATE], "example.com/one")
    assert tokens.find(text[:-1]) is None
    assert tokens.find("") is None
    assert parse_tokens(format_tokens(tokens.tokens())) == tokens.tokens()


def test_a_revoked_token_is_unknown_at_once_to_whoever_has_the_file_open(tokens: TokenFile) -> None:
    text = tokens.mint("a", [Scope.READ])
    other = TokenFile(tokens.path.parent)
    assert other.find(text) is not None
    tokens.revoke("a")
    assert other.find(text) is None
    with pytest.raises(NotFoundError):
        tokens.revoke("a")
    tokens.path.unlink()
    assert other.find(text) is None


def test_two_tokens_of_one_name_and_bad_files_are_refused(tokens: TokenFile) -> None:
    tokens.mint("a", [Scope.READ])
    with pytest.raises(ExistsError):
        tokens.mint("a", [Scope.READ])
    for text in ("tokens = 3", "[[tokens]]\nname = 'x'", "x", format_tokens(tokens.tokens()) * 2):
        with pytest.raises(MalformedConfigError):
            parse_tokens(text)
    with pytest.raises(MalformedConfigError):
        tokens.mint("no name", [Scope.READ])
    with pytest.raises(MalformedConfigError):
        tokens.mint("b", [])
    tokens.path.write_text("nonsense = [")
    with pytest.raises(MalformedConfigError):
        TokenFile(tokens.path.parent).find("x")
    tokens.path.unlink()
    tokens.path.mkdir()
    with pytest.raises(DeniedError):
        TokenFile(tokens.path.parent).find("x")


def test_without_the_right_token_nothing_is_answered(tokens: TokenFile) -> None:
    reader = tokens.mint("reader", [Scope.READ])
    admin = tokens.mint("admin", [Scope.ADMIN])
    writer = tokens.mint("writer", [Scope.REPLICATE])
    stranger = tokens.mint("stranger", [Scope.READ], "example.com/two")
    with (
        served(new_app([read, public, count], tokens)) as url,
        httpx.Client(timeout=60, base_url=url) as client,
    ):
        for headers in ({}, {"Authorization": "Basic eA=="}, bearer("x"), bearer(reader + "x")):
            answer = client.get("/read", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["code"] == "request.unauthenticated"
        assert client.get("/read", headers=bearer(reader)).text == "read"
        assert client.get("/read", headers=bearer(admin)).text == "read"
        for refused in (writer, stranger):
            answer = client.get("/read", headers=bearer(refused))
            assert (answer.status_code, answer.json()["code"]) == (403, "request.forbidden")
        assert client.get("/public").text == "public"
        assert client.get("/nowhere").status_code == 404
        assert client.get("/nowhere").json()["status"] == 404
        assert client.get("/nowhere").headers["content-type"] == "application/problem+json"
        assert client.get("/count", headers=bearer(admin)).status_code == 405


def test_a_broken_token_file_lets_nobody_in(tokens: TokenFile) -> None:
    reader = tokens.mint("reader", [Scope.READ])
    with served(new_app([read], tokens)) as url:
        tokens.path.write_text("nonsense = [")
        assert httpx.get(f"{url}/read", timeout=60, headers=bearer(reader)).status_code == 400


# --- bodies ---


async def pieces(*parts: bytes, pause_s: float = 0.0) -> AsyncIterator[bytes]:
    for part in parts:
        await asyncio.sleep(pause_s)
        yield part


def body_of(*parts: bytes, encoding: str = "", size_bytes_max: int = SIZE_MAX) -> bytes:
    return asyncio.run(read_body(pieces(*parts), encoding=encoding, size_bytes_max=size_bytes_max))


def test_a_body_is_the_same_plain_and_gzipped_in_any_pieces() -> None:
    data = os.urandom(100_000) + b"a" * 100_000
    packed = gzip.compress(data)
    assert body_of(data[:7], data[7:]) == data
    assert body_of(packed, encoding="gzip") == data
    assert body_of(*[packed[at : at + 997] for at in range(0, len(packed), 997)], encoding="gzip") == data
    assert body_of(encoding="identity") == b""


def test_a_body_may_be_as_long_as_the_limit_and_no_longer() -> None:
    for encoding, pack in (("", bytes), ("gzip", gzip.compress)):
        assert len(body_of(pack(b"x" * 1000), encoding=encoding, size_bytes_max=1000)) == 1000
        with pytest.raises(TooLargeError) as caught:
            body_of(pack(b"x" * 1001), encoding=encoding, size_bytes_max=1000)
        assert caught.value.size_bytes_max == 1000


def test_a_bomb_is_seen_before_it_has_gone_off() -> None:
    bomb = gzip.compress(bytes(64 << 20))
    with pytest.raises(TooLargeError, match="unpacks by more than"):
        body_of(bomb, encoding="gzip", size_bytes_max=1 << 30)
    assert len(body_of(gzip.compress(bytes(RATIO_FREE_BYTES)), encoding="gzip")) == RATIO_FREE_BYTES
    with pytest.raises(TooLargeError):
        body_of(gzip.compress(bytes(RATIO_FREE_BYTES + 1)), encoding="gzip")


def test_what_is_not_the_gzip_it_says_it_is() -> None:
    packed = gzip.compress(b"hello")
    for bad in (b"hello", packed[:-1], packed + b"x", packed + packed, zlib.compress(b"hello"), b""):
        with pytest.raises(MalformedError):
            body_of(bad, encoding="gzip")
    with pytest.raises(MalformedError):
        body_of(b"x", encoding="br")


def test_a_body_that_stops_or_trickles_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SILENCE_MAX_S", 0.05)
    monkeypatch.setattr(bodies, "BODY_TIME_MAX_S", 0.2)

    async def slow(pause_s: float, count: int) -> bytes:
        parts = pieces(*[b"x"] * count, pause_s=pause_s)
        return await read_body(parts, encoding="", size_bytes_max=SIZE_MAX)

    for pause_s, count_ in ((5.0, 1), (0.02, 1000)):
        with pytest.raises(RequestTimeoutError):
            asyncio.run(slow(pause_s, count_))


def test_limits_hold_over_http_and_the_server_goes_on(tokens: TokenFile) -> None:
    headers = bearer(tokens.mint("writer", [Scope.REPLICATE]))
    with (
        served(new_app([count], tokens)) as url,
        httpx.Client(timeout=60, base_url=url, headers=headers) as client,
    ):
        gzipped = {"content-encoding": "gzip"}
        assert client.post("/count", content=bytes(SIZE_MAX)).text == str(SIZE_MAX)
        assert client.post("/count", content=gzip.compress(b"x" * 9000), headers=gzipped).text == "9000"
        bomb = gzip.compress(bytes(1 << 24))
        assert client.post("/count", content=bomb, headers=gzipped).status_code == 413
        assert client.post("/count", content=b"no gzip", headers=gzipped).status_code == 400
        # Answered early, or hung up on: the rest of the body finds nobody.
        with pytest.raises((httpx.TransportError, httpx.HTTPStatusError)):
            client.post("/count", content=iter([bytes(1 << 20)] * 8)).raise_for_status()
        assert client.post("/count", content=b"still here").text == "10"


# --- slow clients ---


def closed_within(seconds: float, url: str, *sent: bytes) -> bool:
    """Whether the server hangs up by itself after these bytes."""
    with connect(url) as connection:
        connection.settimeout(seconds)
        try:
            for piece in sent:
                connection.sendall(piece)
            while connection.recv(65_536):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True


def test_who_does_not_finish_a_head_or_a_body_is_hung_up_on(
    tokens: TokenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "HEAD_TIME_MAX_S", 0.3)
    monkeypatch.setattr(bodies, "SILENCE_MAX_S", 0.3)
    token = tokens.mint("writer", [Scope.REPLICATE]).encode()
    head = b"POST /count HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 9\r\n\r\n" % token
    with served(new_app([count], tokens)) as url:
        assert closed_within(60, url)
        assert closed_within(60, url, b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ")
        assert closed_within(60, url, head, b"a part")
        # Refused before its body was read: whoever goes on sending it talks to nobody.
        assert closed_within(60, url, head.replace(token, b"wrong"), b"x")
        assert closed_within(60, url, b"GET / HTTP/1.1\r\nX: " + b"a" * (running.HEAD_SIZE_MAX_BYTES + 1))
        for module, limit in ((running, "HEAD_TIME_MAX_S"), (bodies, "SILENCE_MAX_S")):
            monkeypatch.setattr(module, limit, 60)  # a busy machine is not too slow
        assert (
            httpx.post(f"{url}/count", timeout=60, content=b"abc", headers=bearer(token.decode())).text == "3"
        )


def test_a_trickling_head_does_not_push_its_end_back(
    tokens: TokenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(new_app([public], tokens)) as url, connect(url) as connection:
        connection.sendall(b"GET /public HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        monkeypatch.setattr(running, "HEAD_TIME_MAX_S", 0.5)
        begun = time.monotonic()
        connection.sendall(b"GET / HTTP/1.1\r\n")
        try:
            while time.monotonic() < begun + 60:
                connection.sendall(b"X: y\r\n")
                time.sleep(0.05)
        except ConnectionError:
            return
        raise AssertionError("the head was waited for, line by line")


# --- many connections ---


@pytest.mark.parametrize(
    "host, counted",
    [
        ("127.0.0.1", None), ("127.8.9.1", None), ("::1", None), ("::ffff:127.0.0.1", None),
        ("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"), ("a name", "a name"),
    ],
)  # fmt: skip
def test_by_what_connections_are_counted(host: str, counted: str | None) -> None:
    assert running.counted_peer(host) == counted


def test_one_address_cannot_take_all_connections(tokens: TokenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ones of it stay, further ones are hung up on, and others are answered."""
    monkeypatch.setattr(running, "counted_peer", lambda host: None if host == "127.0.0.1" else host)
    monkeypatch.setattr(running, "HEAD_TIME_MAX_S", 600.0)
    monkeypatch.setattr(running, "CONNECTIONS_MAX", 12)
    monkeypatch.setattr(running, "CONNECTIONS_PER_PEER_MAX", 4)

    def connect_from(source: str) -> socket.socket:
        place = (httpx.URL(url).host, httpx.URL(url).port or 0)
        return held.enter_context(socket.create_connection(place, timeout=60, source_address=(source, 0)))

    ask = b"GET /public HTTP/1.1\r\nHost: x\r\n\r\n"
    with served(new_app([public], tokens)) as url, ExitStack() as held:
        for source in ("127.0.0.2", "127.0.0.3"):
            kept = [connect_from(source) for _ in range(4)]
            for _ in range(8):
                assert connect_from(source).recv(1) == b""
            for connection in kept[:2]:
                connection.sendall(ask)
                assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            kept[0].close()
            assert httpx.get(f"{url}/public", timeout=60).text == "public"


# --- TLS, addresses ---


def test_tls_under_an_own_authority(tokens: TokenFile, tmp_path: Path) -> None:
    ca, certificate, key = authority(tmp_path)
    with served(new_app([public], tokens), Listen(certificate=certificate, key=key)) as url:
        trusting = ssl.create_default_context(cafile=str(ca))
        assert httpx.get(f"{url}/public", timeout=60, verify=trusting).text == "public"
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/public", timeout=60)
    with pytest.raises(MalformedConfigError):
        running._config(None, Listen(certificate=key, key=key))


def test_where_to_listen() -> None:
    assert parse_listen("127.0.0.1:80") == Listen("127.0.0.1", 80)
    assert parse_listen("[::1]:0") == Listen("::1", 0)
    assert parse_listen("8080") == Listen("127.0.0.1", 8080)
    for bad in ("", "host", "host:", "host:x", "host:70000", "host:-1", "host:１"):
        with pytest.raises(MalformedConfigError):
            parse_listen(bad)
    with pytest.raises(MalformedConfigError):
        parse_listen("1", certificate=Path("x"))
    taken = running._bind(Listen())
    with taken, pytest.raises(StorageError):
        running._bind(Listen(port=taken.getsockname()[1]))


# --- statuses ---


def test_every_error_has_a_status() -> None:
    def below(kind: type[errors.AttestlogError]) -> list[type[errors.AttestlogError]]:
        return [kind, *(sub for child in kind.__subclasses__() for sub in below(child))]

    for kind in below(errors.AttestlogError):
        assert 400 <= status(kind("x")) <= 599
    direct = set(errors.AttestlogError.__subclasses__())
    assert {kind for kind in direct if kind not in BY_ERROR} == {errors.RequestError}
    assert json.loads(json.dumps(status(NotFoundError("x")))) == 404


def test_a_token_struct_refuses_unknown_scopes() -> None:
    token = Token(name="a", scopes=[Scope.READ], sha256="0" * 64)
    with pytest.raises(MalformedConfigError):
        parse_tokens(format_tokens([token]).replace("read", "all"))


def test_no_answer_waits_for_an_acknowledgement() -> None:
    with running._bind(Listen()) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
