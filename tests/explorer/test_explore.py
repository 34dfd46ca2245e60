"""`attestlog explore` in a real browser: what it shows and checks, and what no server makes it believe."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.explorer.pages import LIES, VIEWS, check, example_log, served
from tests.support.browser import ORIGIN
from tests.support.logs import CheckpointKey, LogMaker, draft

from attestlog._internal.explorer.answering import CONTENT_SECURITY_POLICY, FILES, Explorer
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import MalformedTileError, NotFoundError, QueryError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def made_log(tmp_path_factory: pytest.TempPathFactory) -> LogMaker:
    return example_log(tmp_path_factory.mktemp("explore") / "audit")


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def open_at(page: "Page", query: str, key: str = "", origin: str = ORIGIN) -> None:
    page.goto(f"{origin}/some/prefix/{query}" + (f"#key={key}" if key else ""))
    page.wait_for_selector("#content:not([aria-busy]) h1")


@pytest.mark.parametrize("number", [0, 4, 256])
def test_an_entry_is_checked_under_the_readers_key(page: "Page", made_log: LogMaker, number: int) -> None:
    errors = served(page, made_log)
    open_at(page, f"?entry={number}", made_log.checkpoint_key.vkey)
    assert check(page) == "good"
    assert page.locator("#steps .passed").count() == 5
    assert errors == []


def test_without_a_key_nothing_is_checked(page: "Page", made_log: LogMaker) -> None:
    served(page, made_log)
    open_at(page, "?entry=3")
    assert page.is_disabled("#check")
    page.fill("#key", made_log.checkpoint_key.vkey)
    page.press("#key", "Enter")
    page.wait_for_selector("#check:not([disabled])")
    assert check(page) == "good"


@pytest.mark.parametrize("name", LIES)
def test_what_a_server_changed_is_refused_by_its_code(page: "Page", made_log: LogMaker, name: str) -> None:
    where, change, code = LIES[name]
    asked: list[str] = []

    def lie(path: str, body: bytes) -> bytes:
        if path != where:
            return body
        asked.append(path)
        return change(body)

    served(page, made_log, lie)
    open_at(page, "?entry=3", made_log.checkpoint_key.vkey)
    assert (check(page), page.inner_text("#verdict code")) == ("bad", code)
    assert asked


def test_two_answers_about_one_entry_do_not_pass(page: "Page", made_log: LogMaker) -> None:
    """What is shown is what was checked, not something else that the server sent before."""
    times: list[str] = []

    def lie(path: str, body: bytes) -> bytes:
        if path != "entries/3":
            return body
        times.append(path)
        return body if len(times) > 1 else body.replace(b"agent-7", b"agent-8", 1)

    served(page, made_log, lie)
    open_at(page, "?entry=3", made_log.checkpoint_key.vkey)
    assert "agent-8" in page.inner_text("#content")
    assert (check(page), page.inner_text("#verdict code")) == ("bad", "entry.entry_hash")


def test_another_entry_in_its_place_and_another_key(page: "Page", made_log: LogMaker) -> None:
    served(page, made_log, lambda path, body: made_log.lines[5] if path == "entries/3" else body)
    open_at(page, "?entry=3", made_log.checkpoint_key.vkey)
    assert (check(page), page.inner_text("#verdict code")) == ("bad", "entry.sequence")
    page.unroute_all()
    served(page, made_log)
    open_at(page, "?entry=4", CheckpointKey(7).vkey)
    assert (check(page), page.inner_text("#verdict code")) == ("bad", "trust.mismatch")


def test_what_comes_late_does_not_stand_over_what_was_asked_for_last(
    page: "Page", made_log: LogMaker
) -> None:
    """The first view waits for an answer that comes only after the second view was shown."""
    served(page, made_log)
    open_at(page, "?view=file")
    page.evaluate("""() => {
        const real = window.fetch;
        window.fetch = async (...asked) => {
            const answer = await real(...asked);
            if (String(asked[0]).startsWith("api/stats")) await new Promise(go => {
                window.goOn = go;
                document.documentElement.dataset.waits = "";
            });
            return answer;
        };
    }""")
    page.click("nav >> text=Figures")
    page.wait_for_selector("html[data-waits]")
    page.click("nav >> text=Keys")
    page.wait_for_selector("h1:text-is('Keys')")
    page.evaluate("async () => { window.goOn(); await new Promise(go => setTimeout(go, 300)); }")
    assert page.inner_text("h1") == "Keys"


def test_what_is_no_key_says_nothing_of_the_log(page: "Page", made_log: LogMaker) -> None:
    served(page, made_log)
    open_at(page, "?entry=3", made_log.checkpoint_key.vkey[:-4])
    assert check(page) == "unknown"
    assert "not a verifier key" in page.inner_text("#verdict")


def test_without_a_secure_context_it_says_that_it_cannot_check(page: "Page", made_log: LogMaker) -> None:
    served(page, made_log, origin="http://explorer.example")
    open_at(page, "?entry=3", made_log.checkpoint_key.vkey, origin="http://explorer.example")
    assert page.is_disabled("#check")
    assert "cannot check here" in page.inner_text("#content")


def test_filters_and_pages_are_in_the_address(page: "Page", made_log: LogMaker) -> None:
    errors = served(page, made_log)
    open_at(page, "")
    assert page.locator("tbody tr").count() == 100
    page.click("text=Older entries")
    page.wait_for_selector("text=Newest")
    assert "cursor=200" in page.url
    page.select_option("#event_type", "VIOLATION")
    page.click("button:text-is('Filter')")
    page.wait_for_selector("tbody:not(:has(tr + tr))")
    assert "event_type=VIOLATION" in page.url
    page.go_back()
    page.wait_for_selector("text=Newest")
    assert "cursor=200" in page.url
    assert errors == []


def test_lanes_and_the_intent_beside_its_outcome(page: "Page", made_log: LogMaker) -> None:
    served(page, made_log)
    open_at(page, "?lane=session")
    assert page.locator(".lane").count() == 3
    open_at(page, "?action_type=deploy")
    assert page.locator("tbody tr").count() == 1
    assert page.inner_text("tbody th") == "1 → 2"


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_fits_and_asks_nobody_else(page: "Page", made_log: LogMaker, view: str) -> None:
    """640 is 200 % zoom on a small screen. Wide tables scroll by themselves, the page does not."""
    errors = served(page, made_log)
    open_at(page, view, made_log.checkpoint_key.vkey)
    for width in (1280, 640, 320):
        page.set_viewport_size({"width": width, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert "cannot be shown" not in page.inner_text("#content")
    assert "null" not in page.inner_text("#content").split()
    assert page.locator("img").count() == 0
    assert errors == []


def test_the_keyboard_is_enough(page: "Page", made_log: LogMaker) -> None:
    served(page, made_log)
    open_at(page, "")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:text('Governance')")
    assert page.evaluate("document.activeElement.id") == "content"


def test_what_is_answered_to_whom(made_log: LogMaker) -> None:
    explorer = Explorer(open_source(made_log.root))
    for name in FILES:
        assert explorer.answer(name, {}).body
    for path in (
        "api",
        "api/entries/x",
        "log",
        "checkpoint",
        "api/",
        "api/api/log",
        "api/entries/-1",
        "../secret",
        "static/index.html",
        "api/entries/9999",
    ):
        with pytest.raises(NotFoundError):
            explorer.answer(path, {})
    for asked in ({"limit": "many"}, {"event_type": "NOTHING"}, {"nothing": "x"}):
        with pytest.raises(QueryError):
            explorer.answer("api/entries", asked)
    with pytest.raises(MalformedTileError):
        explorer.answer("api/tile/0/0", {})
    with pytest.raises(NotFoundError):
        explorer.answer("api/tile/0/005", {})
    assert len(json.loads(explorer.answer("api/entries", {"limit": "1000"}).body)["entries"]) == 100


@contextmanager
def running(log: Path) -> Iterator[str]:
    """`attestlog explore` as a process, which has no extra; its address."""
    code = (
        "import sys; sys.modules.update(litestar=None, uvicorn=None);"
        " from attestlog._internal.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, "explore", str(log), "--no-browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(120)


def ask(url: str, path: str, host: str | None = None) -> tuple[int, dict[str, str]]:
    address = url.removeprefix("http://").partition("/")[0]
    connection = http.client.HTTPConnection(address, timeout=120)
    connection.request("GET", path, headers={"host": host or address})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}


def test_a_byte_changed_in_the_log_shows_in_the_browser(page: "Page", tmp_path: Path, own_home: Path) -> None:
    made = LogMaker(tmp_path / "audit")
    made.append(draft(1), draft(2))
    made.lay_out()
    with running(made.root) as url:
        page.goto(f"{url}?entry=1#key={made.checkpoint_key.vkey}")
        page.wait_for_selector("#check")
        assert check(page) == "good"
        segment = next((made.root / "entries").glob("*.jsonl"))
        segment.write_bytes(segment.read_bytes().replace(b'"number":1', b'"number":7', 1))
        page.reload()
        page.wait_for_selector("#check")
        assert (check(page), page.inner_text("#verdict code")) == ("bad", "entry.action_hash")
        secret = "/" + url.rstrip("/").rpartition("/")[2]
        status, headers = ask(url, f"{secret}/")
        assert (status, headers["content-security-policy"]) == (200, CONTENT_SECURITY_POLICY)
        assert ask(url, f"{secret}/", host="evil.example")[0] == 403
        assert ask(url, "/")[0] == ask(url, "/api/log")[0] == ask(url, f"{secret}x/api/log")[0] == 404
        assert ask(url, f"{secret}/api/log", host="localhost:1")[0] == 200
