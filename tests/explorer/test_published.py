"""The page of a published folder: static files alone, checked under the reader's key."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.explorer.pages import example_log
from tests.support.browser import ORIGIN, serve_files
from tests.support.logs import LogMaker

import attestlog
from attestlog._internal.cli import main
from attestlog._internal.explorer.published import published_files, write_page
from attestlog._internal.proving import prove

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def made_log(tmp_path_factory: pytest.TempPathFactory) -> LogMaker:
    return example_log(tmp_path_factory.mktemp("published") / "audit")


@pytest.fixture
def folder(made_log: LogMaker, tmp_path: Path) -> Path:
    attestlog.publish(made_log.root, tmp_path / "public")
    write_page(tmp_path / "public")
    return tmp_path / "public"


@pytest.fixture
def page(browser: "Browser", folder: Path) -> Iterator["Page"]:
    context = browser.new_context()
    serve_files(context, folder)
    yield context.new_page()
    context.close()


def verdict(page: "Page", key: str) -> tuple[str, str]:
    page.goto("about:blank")
    page.goto(f"{ORIGIN}/index.html" + (f"#key={key}" if key else ""))
    page.wait_for_selector("#verdict[data-done]")
    code = page.locator("#verdict code")
    return page.get_attribute("#verdict", "data-verdict") or "", code.inner_text() if code.count() else ""


def test_the_folder_is_checked_under_the_readers_key(page: "Page", made_log: LogMaker) -> None:
    assert verdict(page, "") == ("unknown", "")
    page.fill("#key", made_log.checkpoint_key.vkey)
    page.keyboard.press("Enter")
    page.wait_for_selector("#verdict[data-verdict=good]")
    assert "nothing of what the entries say" in page.inner_text("#app")


CHANGES = {
    "checkpoint": (1, "checkpoint.signature"),
    "tile/0/000": (40, "published.tile"),
    "tile/0/001.p/44": (40, "published.tile"),
    "tile/1/000.p/1": (4, "published.tile"),
    "tile/entries/000": (60, "published.bundle"),
}


@pytest.mark.parametrize("path", CHANGES)
def test_a_changed_file_shows(page: "Page", folder: Path, made_log: LogMaker, path: str) -> None:
    place, code = CHANGES[path]
    data = bytearray((folder / path).read_bytes())
    data[place] ^= 1
    (folder / path).write_bytes(data)
    assert verdict(page, made_log.checkpoint_key.vkey) == ("bad", code)


def test_a_missing_file_is_not_checked(page: "Page", folder: Path, made_log: LogMaker) -> None:
    (folder / "tile" / "entries" / "000").unlink()
    state, _ = verdict(page, made_log.checkpoint_key.vkey)
    assert state in {"unknown", "bad"}
    assert state != "good"


def test_a_proof_dropped_on_it_is_checked(page: "Page", made_log: LogMaker, tmp_path: Path) -> None:
    verdict(page, made_log.checkpoint_key.vkey)
    proof = tmp_path / "three.tlog-proof"
    proof.write_bytes(prove(made_log.root, 3))
    page.set_input_files("#file", str(proof))
    page.wait_for_selector("#found [data-verdict=good]")


def test_the_page_is_written_last_and_changes_no_verdict(folder: Path, made_log: LogMaker) -> None:
    names = [name for name, _ in published_files()]
    assert names[-1] == "index.html"
    vkey = made_log.checkpoint_key.vkey
    assert main(["verify", str(folder), "--full", "--no-remember", "--trust", vkey]) == 0
    assert all((folder / name).read_bytes() == data for name, data in published_files())
