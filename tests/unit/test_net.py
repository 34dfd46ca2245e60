"""The HTTP client: what a server can make it do, and where it sends anything at all."""

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from tests.support.serving import Answer as Behaviour
from tests.support.serving import Site, drip_body, drip_head, refusing, reply, served
from tests.support.tls import authority

from attestlog._internal.net import (
    Answer,
    Client,
    Limits,
    NoAnswerError,
    Why,
    may_pass,
    parse_url,
    read_token,
    trusting,
)
from attestlog.errors import MalformedConfigError

PATIENT = Limits(connect_s=30, silence_s=30, total_s=30)
SIZE_MAX = 1_000
SECRET = "made-up-secret"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with served(tmp_path) as found:
        yield found


@contextmanager
def asking(url: str, limits: Limits = PATIENT) -> Iterator[Client]:
    with closing(Client(parse_url(url), limits, headers={"authorization": f"Bearer {SECRET}"})) as client:
        yield client


def ask(url: str, limits: Limits = PATIENT, *, content: bytes | None = None) -> Answer:
    with asking(url, limits) as client:
        return client.ask("GET" if content is None else "POST", "file", SIZE_MAX, content=content)


def refused(url: str, why: Why, limits: Limits = PATIENT, *, content: bytes | None = None) -> NoAnswerError:
    """How asking fails. The error repeats no secret, neither the server's nor ours."""
    with pytest.raises(NoAnswerError) as caught:
        ask(url, limits, content=content)
    assert caught.value.why is why, caught.value
    assert SECRET not in str(caught.value)
    return caught.value


@contextmanager
def answering(serve: Callable[[socket.socket], object]) -> Iterator[str]:
    """The URL of a server that does this with each connection."""

    def run(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            serve(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=run, args=(connection,), daemon=True).start()

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


# --- what is asked ---


def test_a_question_as_the_server_sees_it(site: Site) -> None:
    seen: list[tuple[str, str, dict[str, str], bytes]] = []

    def look(handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        seen.append((handler.command, handler.path, headers, body))
        reply(handler, 200, b"answer", set_cookie="a=b")

    site.answers["*"] = look
    with asking(f"{site.url}below/") as client:
        assert client.ask("GET", "a/b?c=1", SIZE_MAX) == (200, b"answer")
        assert client.ask("POST", "", SIZE_MAX, content=b"body", headers={"x-one": "1"}) == (200, b"answer")
    (first, path, headers, _), (second, other, more, body) = seen
    assert (first, path, second, other, body) == ("GET", "/below/a/b?c=1", "POST", "/below", b"body")
    assert headers.pop("user-agent").startswith("attestlog/")
    host = site.url.removeprefix("http://").rstrip("/")
    assert headers == {"host": host, "accept-encoding": "identity", "authorization": f"Bearer {SECRET}"}
    assert more.keys() - headers.keys() == {"user-agent", "content-length", "x-one"}


def test_a_connection_is_kept(site: Site) -> None:
    ports: list[int] = []

    def look(handler: BaseHTTPRequestHandler) -> None:
        ports.append(handler.client_address[1])
        reply(handler, 404 if len(ports) == 2 else 200, b"x" * 3)

    site.answers["*"] = look
    with asking(site.url) as client:
        assert [client.ask("GET", "", SIZE_MAX).status for _ in range(3)] == [200, 404, 200]
    assert len(set(ports)) == 1


def test_proxies_of_the_environment_are_not_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert ask(site.url).status == 404


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int, site: Site, tmp_path: Path) -> None:
    with served(tmp_path) as elsewhere:
        site.answers["*"] = lambda handler: reply(handler, status, b"", location=elsewhere.url)
        assert ask(site.url) == (status, b"")
        assert (site.asked, elsewhere.asked) == (["file"], [])


def test_a_header_that_http_does_not_allow_is_not_sent_and_not_repeated(site: Site) -> None:
    with asking(site.url) as client:
        with pytest.raises(NoAnswerError) as caught:
            client.ask("GET", "", SIZE_MAX, headers={"x-token": f"{SECRET}\nx-other: 1"})
        assert caught.value.why is Why.UNSENDABLE
        assert not caught.value.retryable
        assert SECRET not in str(caught.value)
        assert site.asked == []


# --- size ---


@pytest.mark.parametrize("size", [0, 1, SIZE_MAX - 1, SIZE_MAX])
def test_an_answer_up_to_the_limit_is_read(size: int, site: Site) -> None:
    (site.folder / "file").write_bytes(b"x" * size)
    assert ask(site.url) == (200, b"x" * size)


def test_a_byte_more_is_too_large(site: Site) -> None:
    (site.folder / "file").write_bytes(b"x" * (SIZE_MAX + 1))
    assert not refused(site.url, Why.TOO_LARGE).retryable


@pytest.mark.parametrize(
    "head", [b"transfer-encoding: chunked", b"connection: close", b"content-length: 99999999"]
)
def test_an_answer_without_end_is_not_read_to_it(head: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % head)
        while True:
            connection.sendall(b"400\r\n" + b"x" * 0x400 + b"\r\n")

    with answering(serve) as url:
        refused(url, Why.TOO_LARGE)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "identity, gzip", "unheard-of"])
def test_an_encoded_answer_is_not_unpacked(encoding: str, site: Site) -> None:
    bomb = gzip.compress(bytes(10_000_000))[:SIZE_MAX]
    site.answers["*"] = lambda handler: reply(handler, 200, bomb, content_encoding=encoding)
    assert not refused(site.url, Why.ENCODED).retryable
    site.answers["*"] = lambda handler: reply(handler, 409, bomb, content_encoding=encoding)
    assert ask(site.url) == (409, b"")


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_an_answer_that_says_it_is_not_encoded(encoding: str, site: Site) -> None:
    site.answers["*"] = lambda handler: reply(handler, 200, b"as it is", content_encoding=encoding)
    assert ask(site.url) == (200, b"as it is")


@pytest.mark.parametrize("status", [201, 404, 500])
def test_a_page_beside_another_status_is_cut_and_the_status_told(status: int, site: Site) -> None:
    site.answers["*"] = lambda handler: reply(handler, status, b"x" * 100_000)
    assert ask(site.url) == (status, b"x" * SIZE_MAX)


# --- time ---


@pytest.mark.parametrize("drip", [drip_head, drip_body])
def test_a_server_that_drips_is_left(drip: Behaviour, site: Site) -> None:
    site.answers["*"] = drip
    error = refused(site.url, Why.SLOW, Limits(30, 30, total_s=0.2))
    assert str(error) == "did not answer within 0.2 s"
    assert error.retryable


def test_answers_before_the_answer_are_not_waited_for_without_end() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        while True:
            connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
            time.sleep(0.01)

    with answering(serve) as url:
        refused(url, Why.SLOW, Limits(30, 30, total_s=0.2))


def test_a_server_that_takes_in_slowly_is_left() -> None:
    def serve(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while connection.recv(4096):
            time.sleep(0.01)

    with answering(serve) as url:
        refused(url, Why.SLOW, Limits(30, 30, total_s=0.3), content=bytes(64 << 20))


def test_a_silent_server_is_left_before_its_time_is_over() -> None:
    with answering(lambda connection: time.sleep(30)) as url:
        error = refused(url, Why.UNREACHED, Limits(30, silence_s=0.1, total_s=30))
        assert str(error) == "cannot be reached: silent for 0.1 s"
        assert error.retryable
        refused(url, Why.SLOW, Limits(30, 30, total_s=0.1))


def test_a_handshake_that_does_not_come_is_part_of_connecting() -> None:
    with answering(lambda connection: time.sleep(30)) as url:
        secure = url.replace("http:", "https:")
        assert "no connection in 0.1 s" in str(refused(secure, Why.UNREACHED, Limits(0.1, 30, 30)))
        refused(secure, Why.SLOW, Limits(30, 30, 0.1))


def answer_late(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(0.4)
    reply(handler, 200, b"late")


def test_each_question_has_its_own_time(site: Site) -> None:
    (site.folder / "file").write_bytes(b"x")
    site.answers["slow"] = drip_body
    with closing(Client(parse_url(site.url), PATIENT, connections=2)) as client:
        found: list[Answer] = []
        site.answers["late"] = answer_late
        other = threading.Thread(target=lambda: found.append(client.ask("GET", "late", SIZE_MAX)))
        other.start()
        for _ in range(3):
            with pytest.raises(NoAnswerError):
                client.ask("GET", "slow", SIZE_MAX, total_s=0.1)
            assert client.ask("GET", "file", SIZE_MAX) == (200, b"x")
        other.join()
        assert found == [(200, b"late")]


# --- no answer ---


def test_nobody_listens() -> None:
    with refusing() as url:
        error = refused(url, Why.UNREACHED)
    assert "refused" in str(error)
    assert error.retryable


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        f"{SECRET}\r\n\r\n".encode(),
        f"HTTP/1.1 200 OK\r\n{SECRET}\r\n\r\n".encode(),
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000,
        f"HTTP/1.1 200 OK\r\ncontent-length: {SECRET}\r\n\r\n".encode(),
    ],
)
def test_what_is_no_whole_answer(answer: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    with answering(serve) as url:
        assert refused(url, Why.UNREACHED).retryable


@pytest.mark.parametrize(
    "status, passes",
    [
        (200, False), (400, False), (403, False), (408, True), (425, True), (429, True), (499, False),
        (500, True), (501, False), (502, True), (503, True), (504, True), (505, False),
    ],
)  # fmt: skip
def test_statuses_that_may_pass(status: int, passes: bool) -> None:
    assert may_pass(status) is passes


# --- TLS ---


def test_only_the_authority_that_is_given_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ours", "other"):
        (tmp_path / name).mkdir()
    ca, certificate, key = authority(tmp_path / "ours")
    other, *_ = authority(tmp_path / "other")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)

    def verdict(authorities: Path | None) -> str:
        tls = None if authorities is None else trusting(str(authorities))
        with closing(Client(parse_url(url), PATIENT, tls=tls)) as client:
            try:
                return str(client.ask("GET", "", SIZE_MAX).status)
            except NoAnswerError as error:
                return str(error)

    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(certificate, key)
    with served(tmp_path, serving) as site:
        url = site.url
        assert verdict(ca) == "404"
        assert "certificate verify failed" in verdict(other)
        assert "certificate verify failed" in verdict(None)
        monkeypatch.setenv("SSL_CERT_FILE", str(ca))
        assert verdict(None) == "404"
        assert "certificate verify failed" in verdict(other)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
        with pytest.raises(MalformedConfigError, match="SSL_CERT_FILE"):
            verdict(None)


@pytest.mark.parametrize("data", [None, b"", b"no certificate"])
def test_a_file_of_no_authority(data: bytes | None, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / "ca.pem").write_bytes(data)
    with pytest.raises(MalformedConfigError, match="cannot be read"):
        trusting(str(tmp_path / "ca.pem"))


# --- URLs and tokens ---


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com", "https://example.com:8470/a/b/", "https://xn--bcher-kva.example/%20", "https://[2001:db8::1]:1",
        "http://127.0.0.1", "http://127.8.9.10:1/", "http://[::1]:80/x", "http://localhost:1", "http://LOCALHOST",
    ],
)  # fmt: skip
def test_a_url_that_may_be_asked(url: str) -> None:
    assert parse_url(url).geturl() == url.rstrip("/")


@pytest.mark.parametrize(
    "url, match",
    [
        ("http://example.com", "in the clear"),
        ("http://127.0.0.1.example.com", "in the clear"),
        ("http://localhost.example.com", "in the clear"),
        ("http://192.0.2.1", "in the clear"),
        ("http://[2001:db8::1]", "in the clear"),
        ("https://user:made-up-secret@example.com", "user name"),
        ("https://made-up-secret@example.com", "user name"),
        ("https://@example.com", "user name"),
        ("https://user:made-up-secret/x@example.com", "not a URL"),
        ("https://example.com/?a=b", "query"),
        ("https://example.com/?", "query"),
        ("https://example.com/#a", "query"),
        ("", "not of the form"),
        ("example.com", "not of the form"),
        ("//example.com", "not of the form"),
        ("https://", "not of the form"),
        ("https:///x", "not of the form"),
        ("ftp://example.com", "not of the form"),
        ("file:///x", "not of the form"),
        ("https://example.com/a b", "not of the form"),
        ("https://example.com\n", "not of the form"),
        ("https://bücher.example", "not of the form"),
        ("https://\0", "not of the form"),
        ("https://example.com:99999", "not a URL"),
        ("https://example.com:x", "not a URL"),
        ("https://[::1", "not a URL"),
        ("https://a..example.com", "not a URL"),
        (f"https://{'a' * 64}.example.com", "not a URL"),
    ],
)
def test_a_url_that_may_not_be_asked(url: str, match: str) -> None:
    with pytest.raises(MalformedConfigError, match=match) as caught:
        parse_url(url, what="the replica's URL", member="replicas")
    assert str(caught.value).startswith("the replica's URL ")
    assert caught.value.member == "replicas"
    assert SECRET not in str(caught.value)


def test_plain_http_goes_where_the_caller_allows_it() -> None:
    assert parse_url("http://example.com/a/", is_plain_allowed=True).path == "/a"
    with pytest.raises(MalformedConfigError):
        parse_url("ftp://example.com", is_plain_allowed=True)
    with pytest.raises(MalformedConfigError):
        parse_url("http://user@example.com", is_plain_allowed=True)


def test_a_url_that_is_asked_itself_keeps_its_slash_and_its_query() -> None:
    for target in ("", "/", "/a/", "/a/?b=c/"):
        url = f"https://example.com{target}"
        assert parse_url(url, is_base=False).geturl() == url


def test_a_token_stands_alone_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("  writer_secret\n")
    assert read_token(str(path)) == "writer_secret"
    for text in ("", "\n", "two words", "two\nlines", "\x1b", "tökén"):
        path.write_text(text)
        with pytest.raises(MalformedConfigError, match="holds no token") as caught:
            read_token(str(path))
        assert caught.value.member == "token_file"
    with pytest.raises(MalformedConfigError, match="cannot be read"):
        read_token(str(tmp_path / "missing"))
