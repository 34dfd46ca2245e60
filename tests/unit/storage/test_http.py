"""Files over HTTP: bounded in size and time, and "missing" never for "could not be read"."""

import gzip
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from tests.support.serving import Answer, Site, drip_body, drip_head, refusing, reply, served

from attestlog._internal.core.tiles import Bundle, Tile
from attestlog._internal.storage import http
from attestlog._internal.storage.http import HttpSource
from attestlog._internal.storage.published import AHEAD, open_published
from attestlog._internal.storage.resolve import is_published
from attestlog.errors import MalformedConfigError, MalformedTileError, NotFoundError, StorageError


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with served(tmp_path) as found:
        yield found


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "RETRY_DELAY_S", 0.0)


def read(site: Site, name: str = "file", size_max_bytes: int = 100) -> bytes:
    source = HttpSource(site.url)
    try:
        return source.read(name, size_max_bytes)
    finally:
        source.close()


@pytest.mark.parametrize("size", [0, 1, 99, 100])
def test_a_file_up_to_the_limit_is_read(site: Site, size: int) -> None:
    (site.folder / "file").write_bytes(b"x" * size)
    assert read(site) == b"x" * size


def test_a_byte_more_is_refused_and_no_more_is_taken_in(site: Site) -> None:
    (site.folder / "file").write_bytes(b"x" * 101)
    with pytest.raises(MalformedTileError):
        read(site)

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        while True:
            handler.wfile.write(bytes(65_536))

    site.answers["file"] = endless
    with pytest.raises(MalformedTileError):
        read(site)


@pytest.mark.parametrize("status", [404, 410])
def test_a_file_that_is_not_there(site: Site, status: int) -> None:
    site.answers["file"] = lambda handler: reply(handler, status, b"")
    with pytest.raises(NotFoundError) as caught:
        read(site)
    assert caught.value.status == status
    assert site.asked == ["file"]


@pytest.mark.parametrize(
    "status, tries", [(204, 1), (301, 1), (302, 1), (401, 1), (403, 1), (429, 3), (500, 3), (503, 3)]
)
def test_an_answer_that_is_none(site: Site, status: int, tries: int) -> None:
    site.answers["file"] = lambda handler: reply(handler, status, b"", location="/other")
    with pytest.raises(StorageError) as caught:
        read(site)
    assert not isinstance(caught.value, NotFoundError)
    assert site.asked == ["file"] * tries


def test_a_failure_that_passes_is_not_one(site: Site) -> None:
    (site.folder / "file").write_bytes(b"there")

    def once(handler: BaseHTTPRequestHandler) -> None:
        del site.answers["file"]
        reply(handler, 503, b"")

    site.answers["file"] = once
    assert read(site) == b"there"


def test_an_encoded_answer_is_not_unpacked(site: Site) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    site.answers["file"] = lambda handler: reply(handler, 200, bomb, content_encoding="gzip")
    with pytest.raises(StorageError, match="encoded"):
        read(site, size_max_bytes=20_000_000)


def test_half_an_answer_is_none(site: Site) -> None:
    def half(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "50")
        handler.end_headers()
        handler.wfile.write(b"x" * 25)
        handler.close_connection = True

    site.answers["file"] = half
    with pytest.raises(StorageError):
        read(site)
    assert len(site.asked) == http.TRIES


@pytest.mark.parametrize("drip", [drip_head, drip_body])
def test_a_server_that_drips_is_left(drip: Answer, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "RESPONSE_TIME_MAX_S", 0.2)
    site.answers["file"] = drip
    with pytest.raises(StorageError, match="within"):
        read(site, size_max_bytes=1000)
    while not site.asked:  # the server's thread may come to it later than we left
        time.sleep(0.01)
    assert site.asked == ["file"]


def test_a_silent_server_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        source = HttpSource(f"http://127.0.0.1:{listening.getsockname()[1]}")
        with pytest.raises(StorageError, match="cannot be read"):
            source.read("checkpoint", 10)
        source.close()


def test_nobody_listens() -> None:
    with refusing() as url:
        source = HttpSource(url)
        with pytest.raises(StorageError, match=r"cannot be read: .*refused"):
            source.read("checkpoint", 10)
        source.close()


@pytest.mark.parametrize(
    "url", ["https://example.com", "https://example.com/a/b/", "http://127.0.0.1:81/x", "http://[::1]/",
            "http://localhost:8080/log"],
)  # fmt: skip
def test_urls_that_are_read(url: str) -> None:
    source = HttpSource(url)
    assert source.url == url.rstrip("/") + "/"
    source.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "http://127.0.0.1.example.com/", "ftp://example.com/", "https://", "https:///x",
        "https://user:secret@example.com/", "https://example.com/?a=b", "https://example.com/#a", "https://\0",
    ],
)  # fmt: skip
def test_urls_that_are_not(url: str) -> None:
    with pytest.raises(MalformedConfigError) as caught:
        HttpSource(url)
    assert "secret" not in str(caught.value)


# --- places ---


def test_a_partial_file_that_is_gone_is_read_from_the_full_one(site: Site) -> None:
    for name, each in (("tile/0/000", 32), ("tile/entries/000", 34)):
        path = site.folder / name
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(range(256)) * each)
    for subject in (site.url, site.folder):
        with open_published(subject) as reader:
            assert reader.read(Tile(0, 0, 3)) == bytes(range(96))
            assert reader.read(Bundle(0, 2)) == bytes(range(68))
            for tile in (Tile(0, 1, 3), Tile(0, 1)):
                with pytest.raises(StorageError, match=r"missing|no such file") as caught:
                    reader.read(tile)
                # What a server does not have may be there all the same.
                assert isinstance(caught.value, NotFoundError) == (subject == site.folder)


def test_a_file_of_another_length_is_refused(site: Site) -> None:
    path = site.folder / "tile/0/000.p/2"
    path.parent.mkdir(parents=True)
    for size in (0, 63, 65):
        path.write_bytes(bytes(size))
        for subject in (site.url, site.folder):
            with open_published(subject) as reader, pytest.raises(MalformedTileError):
                reader.read(Tile(0, 0, 2))


def test_files_are_asked_for_ahead_but_not_all_at_once(site: Site) -> None:
    folder = site.folder / "tile/0"
    folder.mkdir(parents=True)
    for index in range(200):
        (folder / f"{index:03d}").write_bytes(index.to_bytes(2, "big") * 4096)
    with open_published(site.url) as reader:
        for number, (place,) in enumerate(reader.each((Tile(0, index),) for index in range(200))):
            assert reader.read(place)[:2] == number.to_bytes(2, "big")
            assert len(site.asked) <= number + AHEAD
    assert sorted(site.asked) == [f"tile/0/{index:03d}" for index in range(200)]


def test_what_looks_published(tmp_path: Path) -> None:
    assert is_published("https://example.com/log")
    assert not is_published(tmp_path)
    assert not is_published(tmp_path / "nothing")
    (tmp_path / "tile").mkdir()
    (tmp_path / "checkpoint").touch()
    assert is_published(tmp_path)
    (tmp_path / "entries").mkdir()
    assert not is_published(tmp_path)
