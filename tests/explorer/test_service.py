"""The explorer as the front page of a service: the page for everybody, the log for those who may read it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.support.logs import LogMaker, draft
from tests.support.services_of_logs import ACTION, ORIGIN, Place, served_log

import attestlog
from attestlog._internal.approving import propose
from attestlog._internal.core.approval import format_request, make_request
from attestlog._internal.core.checkpoint import LogId
from attestlog._internal.explorer.answering import (
    CONTENT_SECURITY_POLICY,
    FILES,
    Explorer,
    Waiting,
    page_file,
)
from attestlog._internal.server.tokens import Scope
from attestlog._internal.storage.resolve import open_source

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture
def place(tmp_path: Path, own_home: Path) -> Iterator[Place]:
    with attestlog.create(tmp_path / "audit", origin=ORIGIN) as log:
        log.append_many([{**ACTION, "action_payload": {"number": number}} for number in range(3)])
        log.checkpoint()
    with served_log(tmp_path) as served:
        yield served


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def test_the_page_is_everybody_s_and_the_log_is_not(place: Place) -> None:
    with httpx.Client(timeout=120, base_url=place.url) as client:
        for name in ("", *FILES):
            plain = client.get(f"/{name}", headers={"Accept-Encoding": "identity"})
            packed = client.get(f"/{name}", headers={"Accept-Encoding": "gzip"})
            assert plain.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
            assert plain.content == packed.content == page_file(name or "index.html")
            assert packed.headers["content-encoding"] == "gzip"
        for path in ("log", "logs", "entries", "entries/1", "checkpoint", "tile/0/000.p/4", "requests"):
            assert client.get(f"/api/{path}").status_code == 401, path
        wrong = place.bearer("writer", Scope.APPEND)
        assert client.get("/api/log", headers=wrong).status_code == 403
        reader = place.bearer("reader", Scope.READ)
        assert client.get("/api/log", headers=reader).json()["size"] == 4
        assert client.get("/api/logs", headers=reader).json() == {"logs": [ORIGIN]}
        other = place.bearer("other", Scope.READ, origin="example.com/other")
        assert client.get("/api/log", headers=other).status_code == 404
        assert client.get("/api/logs", headers=other).json() == {"logs": []}
        assert client.get("/nothing", headers=reader).status_code == 404
        assert client.get("/api/nothing", headers=reader).status_code == 404


def test_who_reads_by_the_page_is_recorded_where_reads_are(place: Place) -> None:
    assert place.service is not None
    place.service.logs[0].records_reads = True
    with httpx.Client(timeout=120, base_url=place.url, headers=place.bearer("reader", Scope.READ)) as client:
        assert client.get("/api/entries/1").is_success
        newest = client.get("/api/log").json()["size"] - 1
        assert "token:reader" in client.get(f"/api/entries/{newest}").text


def test_a_reader_s_token_opens_it_and_entries_are_checked(place: Place, page: "Page") -> None:
    """The token is asked for once, stays in the tab, and is in no address."""
    secret = place.bearer("reader", Scope.READ)["Authorization"].removeprefix("Bearer ")
    vkey = _vkey(place)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{place.url}/?entry=2#key={vkey}")
    page.fill("#token", "not a token")
    page.click("button:text-is('Read')")
    page.wait_for_selector("text=not one of this server")
    page.fill("#token", secret)
    page.keyboard.press("Enter")
    page.click("#check:not([disabled])")
    page.wait_for_selector("#verdict[data-done]")
    assert page.get_attribute("#verdict", "data-verdict") == "good"
    page.reload()
    page.wait_for_selector("#check")
    assert not [url for url in asked if not url.startswith(place.url) or secret in url]
    assert vkey not in "".join(asked)


def _vkey(place: Place) -> str:
    assert place.service is not None
    return place.service.logs[0].log.vkeys[0]


def test_with_several_logs_it_asks_which(tmp_path: Path, own_home: Path, page: "Page") -> None:
    paths = [tmp_path / "one", tmp_path / "two"]
    for path in paths:
        attestlog.create(path, origin=f"example.com/{path.name}").close()
    with served_log(tmp_path, *paths) as place:
        secret = place.bearer("reader", Scope.READ)["Authorization"].removeprefix("Bearer ")
        page.goto(place.url)
        page.fill("#token", secret)
        page.keyboard.press("Enter")
        page.click("a:text-is('example.com/two')")
        page.wait_for_selector("h1:text-is('example.com/two')")
        page.click("a:text-is('Keys')")
        page.wait_for_selector("h1:text-is('Keys')")
        assert "log=example.com%2Ftwo" in page.url


def test_what_waits_for_people_is_shown(tmp_path: Path, own_home: Path, page: "Page") -> None:
    path = tmp_path / "audit"
    attestlog.create(path, origin=ORIGIN).close()
    act: dict[str, Any] = {**ACTION, "action_type": "release*1", "action_payload": {"version": "9"}}
    with served_log(tmp_path) as place, httpx.Client(timeout=120, base_url=place.url) as client:
        request, headers = propose(path, act), place.bearer("writer", Scope.APPEND, Scope.READ)
        assert client.get("/api/requests", headers=headers).json() == {"requests": []}
        assert client.post("/v1/requests", content=format_request(request), headers=headers).is_success
        (told,) = client.get("/api/requests", headers=headers).json()["requests"]
        assert told == {
            "request_id": request.request_id, "action_type": "release*1", "actor_id": "agent-7",
            "approvals": [], "used_by": None,
        }  # fmt: skip
        page.goto(f"{place.url}/?view=governance")
        page.fill("#token", headers["Authorization"].removeprefix("Bearer "))
        page.keyboard.press("Enter")
        page.wait_for_selector(f"tr:has-text('{request.request_id}') .badge.waits")


def test_a_request_is_used_by_the_entry_that_has_an_approval_of_it(tmp_path: Path) -> None:
    made, request_id = LogMaker(tmp_path / "audit"), "8a9e3a0e-9a70-4a3e-9b0b-0b6f0f0f0f0f"
    said = {"signer": "ana", "signature": "00", "timestamp": "2025-10-30T12:00:00.000000Z"}
    approval = {**said, "request_id": request_id}
    made.append(draft(1, action_type="release*1"), draft(2, action_type="release-1"))
    made.append(draft(3, action_type="release*1", received_approvals=[approval]))
    made.lay_out()
    source = open_source(made.root)
    log = LogId(source.genesis().origin, source.genesis().entry_hash)
    kept = [
        Waiting(make_request(draft(number, action_type="release*1"), log, name), [])
        for number, name in ((3, request_id), (9, request_id.replace("8", "9")))
    ]
    told = json.loads(Explorer(source, lambda most: kept[:most]).answer("api/requests", {}).body)
    assert [one["used_by"] for one in told["requests"]] == [None, 3]  # those that wait first
    assert json.loads(Explorer(source).answer("api/requests", {}).body) == {"requests": None}
