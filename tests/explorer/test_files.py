"""Files dropped on a page, the explorer's or the checker's in one file: checked under the reader's key."""

import base64
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.explorer.pages import PREFIX, example_log, served
from tests.support.logs import CheckpointKey, LogMaker

from attestlog._internal.cli import main
from attestlog._internal.proving import prove, prove_prefix

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLIPS: Final = 8


@pytest.fixture(scope="module")
def made_log(tmp_path_factory: pytest.TempPathFactory) -> LogMaker:
    return example_log(tmp_path_factory.mktemp("files") / "audit")


@pytest.fixture
def files(made_log: LogMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Path]:
    """One of each kind."""
    found = {name: tmp_path / name for name in ("a.tlog-proof", "b.tlog-consistency", "c.bundle", "d.html")}
    found["a.tlog-proof"].write_bytes(prove(made_log.root, 3))
    found["b.tlog-consistency"].write_bytes(prove_prefix(made_log.root, 200))
    for verb, name in (("bundle", "c.bundle"), ("report", "d.html")):
        assert main([verb, str(made_log.root), "--stop", "6", "-o", str(found[name])]) == 0
    capsys.readouterr()
    return found


@pytest.fixture
def checker(browser: "Browser", tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """`attestlog print-verifier --html`, opened from disk, offline."""
    assert main(["print-verifier", "--html"]) == 0
    path = tmp_path / "check.html"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(path.as_uri())
    yield page
    context.close()


def drop(page: "Page", path: Path) -> tuple[str, str]:
    """(verdict, what is said) of one more file."""
    before = page.locator("#found .verdict").count()
    page.set_input_files("#file", str(path))
    page.wait_for_selector(f"#found .verdict:nth-child({before + 1})")
    newest = page.locator("#found .verdict").first
    return newest.get_attribute("data-verdict") or "", newest.inner_text()


def test_each_kind_of_file_is_checked_offline(
    checker: "Page", made_log: LogMaker, files: dict[str, Path]
) -> None:
    assert [drop(checker, path)[0] for path in files.values()] == ["unknown"] * 4  # no key yet
    checker.fill("#key", made_log.checkpoint_key.vkey)
    assert [drop(checker, path)[0] for path in files.values()] == ["good"] * 4
    checker.fill("#key", "nonsense")
    assert [drop(checker, path)[0] for path in files.values()] == ["unknown"] * 4
    checker.fill("#key", CheckpointKey(7, made_log.origin).vkey)
    for path in files.values():
        verdict, said = drop(checker, path)
        assert (verdict, "trust.mismatch" in said) == ("bad", True), path


def test_the_explorer_takes_files_too(browser: "Browser", made_log: LogMaker, files: dict[str, Path]) -> None:
    context = browser.new_context()
    page = context.new_page()
    errors = served(page, made_log)
    page.goto(f"{PREFIX}?view=file#key={made_log.checkpoint_key.vkey}")
    page.wait_for_selector("#file")
    assert [drop(page, path)[0] for path in files.values()] == ["good"] * 4
    assert errors == []
    context.close()


def test_a_changed_byte_of_any_file_is_never_good(
    checker: "Page", made_log: LogMaker, files: dict[str, Path]
) -> None:
    checker.fill("#key", made_log.checkpoint_key.vkey)
    drawn = random.Random(5)
    for name in ("a.tlog-proof", "b.tlog-consistency", "c.bundle"):
        data = files[name].read_bytes()
        for at in [drawn.randrange(len(data)) for _ in range(FLIPS)]:
            changed = bytearray(data)
            changed[at] ^= 1
            files[name].write_bytes(changed)
            # The one part that nothing covers is the entry's own signature in a proof: see docs/proofs.md.
            assert drop(checker, files[name])[0] != "good" or _differs_in_signature(data, bytes(changed)), at


def _differs_in_signature(data: bytes, changed: bytes) -> bool:
    found = [re.search(rb"^extra (.+)$", one, re.MULTILINE) for one in (data, changed)]
    entries = [base64.b64decode(match[1]) for match in found if match]
    strip = [re.sub(rb'"hsm_signature":"[^"]*"', b"", entry) for entry in entries]
    return len(strip) == 2 and strip[0] == strip[1]


def test_other_files_are_called_what_they_are(checker: "Page", made_log: LogMaker, tmp_path: Path) -> None:
    checker.fill("#key", made_log.checkpoint_key.vkey)
    for text in ("", "hello\n", "<!doctype html><p>no bundle", '{"checkpoint":"x"}\n'):
        path = tmp_path / "x.bin"
        path.write_text(text)
        verdict, said = drop(checker, path)
        assert (verdict, "malformed" in said) == ("bad", True), text
