"""The page of a published folder: static files alone, checked under the reader's key."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.explorer.pages import example_log
from tests.support.browser import ORIGIN, serve_files
from tests.support.logs import LogMaker

import attestlog
from attestlog._internal.cli import main
from attestlog._internal.core.glob import Glob
from attestlog._internal.explorer import published
from attestlog._internal.explorer.published import page_files, write_page
from attestlog._internal.exporting.made import exports_made
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
    page.press("#key", "Enter")
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
    names = [name for name, _ in page_files()]
    assert names[-1] == "index.html"
    vkey = made_log.checkpoint_key.vkey
    assert main(["verify", str(folder), "--full", "--no-remember", "--trust", vkey]) == 0
    assert all((folder / name).read_bytes() == data for name, data in page_files())


# --- with entries, on purpose ---


@pytest.fixture
def explored(made_log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_home: Path) -> Path:
    """The folder, with entries in files of 200."""
    monkeypatch.setattr(published, "ENTRIES_A_FILE", 200)
    assert main(["publish", str(made_log.root), str(tmp_path / "open"), "--explorer", "--with-entries"]) == 0
    return tmp_path / "open"


@pytest.fixture
def static(browser: "Browser", explored: Path) -> Iterator["Page"]:
    """Its page, and a plain web server."""
    context = browser.new_context()
    serve_files(context, explored)
    page = context.new_page()
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    errors: list[str] = []
    yield page
    context.close()
    assert errors == []


def open_at(page: "Page", query: str, key: str = "") -> None:
    page.goto(f"{ORIGIN}/index.html{query}" + (f"#key={key}" if key else ""))
    page.wait_for_selector("#content:not([aria-busy]) h1")


def test_entries_are_there_only_where_they_are_asked_for(
    made_log: LogMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "public"
    assert main(["publish", str(made_log.root), str(folder), "--explorer"]) == 0
    assert (folder / "index.html").read_text().count("published.mjs") == 1
    for path in folder.rglob("*"):
        assert not path.is_file() or b"agent-7" not in path.read_bytes(), path
    assert not (folder / "lines").exists()
    capsys.readouterr()
    for wrong in (["public", "--with-entries"], ["s3://bucket/log", "--explorer"]):
        assert main(["publish", str(made_log.root), *wrong]) == 2
        assert "--explorer" in capsys.readouterr().err


def test_a_plain_web_server_shows_and_checks_entries(static: "Page", made_log: LogMaker) -> None:
    open_at(static, "", made_log.checkpoint_key.vkey)
    assert static.locator("tbody tr").count() == 100  # 299 to 200: one file
    static.click("text=Older entries")
    static.wait_for_selector("text=Entries 100 to 199 were looked through")
    static.click("tbody th a:text-is('150')")
    static.wait_for_selector("#check:not([disabled])")
    static.click("#check")
    static.wait_for_selector("#verdict[data-done]")
    assert static.get_attribute("#verdict", "data-verdict") == "good"
    for view in ("governance", "keys", "confirming", "figures", "file"):
        open_at(static, f"?view={view}", made_log.checkpoint_key.vkey)
        assert "cannot be shown" not in static.inner_text("#content")
    open_at(static, "?view=keys")
    assert static.inner_text("tbody tr >> nth=-1").startswith("4")  # the rotation was followed


@pytest.mark.parametrize(
    "query, numbers",
    [
        ("action_type=depl*", ["1 → 2"]),
        ("actor_id=agent-7&event_type=VIOLATION", ["3"]),
        ("text=ONERROR", ["3"]),
        ("since=2999-01-01", []),
        ("until=2000-01-01", []),
    ],
)
def test_filters_look_through_file_after_file(static: "Page", query: str, numbers: list[str]) -> None:
    open_at(static, f"?{query}")
    assert "None of these entries matches" in static.inner_text("#content")
    static.click("text=Older entries")
    static.wait_for_selector("text=Entries 0 to 199 were looked through")
    assert static.locator("tbody th").all_inner_texts() == numbers


def test_a_changed_line_shows(static: "Page", explored: Path, made_log: LogMaker) -> None:
    path = explored / "lines" / "000000000000.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"actor_id":"agent-7"', b'"actor_id":"agent-8"', 1))
    open_at(static, "?actor_id=agent-8&cursor=200")
    static.click("tbody th a")
    static.wait_for_selector("#check")
    static.fill("#key", made_log.checkpoint_key.vkey)
    static.press("#key", "Enter")
    static.click("#check:not([disabled])")
    static.wait_for_selector("#verdict[data-done]")
    assert static.inner_text("#verdict code") == "entry.entry_hash"


def test_what_is_new_is_added_and_what_was_erased_is_named(
    made_log: LogMaker, tmp_path: Path, explored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only files that were not full are written again, or all of them with --whole."""
    first = explored / "lines" / "000000000000.jsonl"
    lines = first.read_bytes()
    assert lines == b"".join(line + b"\n" for line in made_log.lines[:200])
    assert len((explored / "lines" / "000000000200.jsonl").read_bytes().splitlines()) == 100
    first.write_bytes(b"kept")
    command = ["publish", str(made_log.root), str(explored), "--explorer", "--with-entries"]
    assert main(command) == 0
    assert first.read_bytes() == b"kept"
    assert main([*command, "--whole"]) == 0
    assert first.read_bytes() == lines
    (explored / "entries.json").write_text("{}")
    first.write_bytes(b"kept")
    assert main(command) == 0
    assert first.read_bytes() == lines
    vkey = made_log.checkpoint_key.vkey
    assert main(["verify", str(explored), "--full", "--no-remember", "--trust", vkey]) == 0
    made = exports_made(json.loads(made_log.lines[0])["entry_hash"])
    assert [(one.to, one.form, one.stop) for one in made] == [(str(explored), "explorer", 300)]


def test_patterns_are_those_of_policies(blank: "Page") -> None:
    """And no pattern takes longer than its length times that of the text."""
    drawn, cases = random.Random(3), []
    for _ in range(400):
        pattern = "".join(drawn.choice("ab*?\\") for _ in range(drawn.randrange(7)))
        text = "".join(drawn.choice("ab*\\") for _ in range(drawn.randrange(7)))
        cases.append((pattern, text))
    cases += [("*a" * 100 + "b", "a" * 250), ("é*", "éa"), ("?", "\U0001f600"), ("a", "a\n"), ("*", "\n")]
    script = """async cases => {
        const { matches } = await import("/glob.mjs");
        return cases.map(([pattern, text]) => matches(pattern, text));
    }"""
    assert blank.evaluate(script, cases) == [Glob(pattern).matches(text) for pattern, text in cases]
