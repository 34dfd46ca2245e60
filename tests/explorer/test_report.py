"""`attestlog report`: one file that a browser checks from disk, and in which a changed byte shows."""

import base64
import json
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.logs import CheckpointKey, LogMaker, draft

from attestlog._internal.cli import main
from attestlog._internal.explorer.report import CHECKER_MODULES, REPORT_MODULES, format_report, read_code
from attestlog._internal.verifying.bundle import judge_bundle

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = '</script><script>document.title="owned"</script><img src=x onerror=alert(1)> \u202egnp.exe'
REPORT_SIZE_MAX_BYTES = 1_000_000
"""Of 100 entries."""
SAMPLES = 12
"""Changed bytes in one run: each is a page that a browser loads."""


@pytest.fixture
def made_log(tmp_path: Path) -> LogMaker:
    """Twelve entries with scores, violations, an approval and what would like to be markup."""
    made = LogMaker(tmp_path / "audit")
    approval = {"signer": HOSTILE, "signature": "00", "timestamp": "2026-01-01T00:00:00.000000Z"}
    scores = {"an_toan": 9, "duong_dai": 8, "tin_vao_so_lieu": 6.5, "han_che_rui_ro": 9}
    made.append(
        *(draft(number, pillars_scores=scores, actor_id=f"agent-{number % 3}") for number in range(1, 10))
    )
    broken = {"violated_invariant": "INVARIANT_2_SAFETY_FLOOR", "message": HOSTILE}
    made.append(
        draft(10, event_type="VIOLATION", execution_status="BLOCKED", actor_id=HOSTILE, error_details=broken)
    )
    made.append(draft(11, action_type=HOSTILE, action_payload={"t": HOSTILE}, received_approvals=[approval]))
    made.lay_out()
    return made


@pytest.fixture
def report(made_log: LogMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    path = tmp_path / "report.html"
    assert main(["report", str(made_log.root), "-o", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "type": "html_report", "path": str(path), "size": 12, "uncovered": 0,
    }  # fmt: skip
    return path


def opened(browser: "Browser", path: Path, key: str = "") -> "Page":
    """The file opened from disk, without a network, when it has come to a verdict."""
    context = browser.new_context(offline=True)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(path.as_uri() + (f"#key={key}" if key else ""))
    page.wait_for_selector("#verdict[data-done]")
    page.evaluate("errors => { window.seen = errors }", errors)
    return page


def verdict(page: "Page") -> str:
    return page.get_attribute("#verdict", "data-verdict") or ""


def test_it_checks_itself_from_disk_under_the_readers_key(
    report: Path, made_log: LogMaker, browser: "Browser"
) -> None:
    page = opened(browser, report, made_log.checkpoint_key.vkey)
    assert verdict(page) == "good"
    assert page.locator("details.entry").count() == 12
    assert page.evaluate("window.seen") == []
    page.context.close()


def test_without_a_key_it_says_that_it_proves_nothing(
    report: Path, made_log: LogMaker, browser: "Browser"
) -> None:
    page = opened(browser, report)
    assert verdict(page) == "unknown"
    assert "Anyone can make such a file" in page.inner_text("#verdict")
    page.fill("#key", made_log.checkpoint_key.vkey)
    page.press("#key", "Enter")
    page.wait_for_selector("#verdict[data-verdict=good]")
    page.fill("#key", made_log.checkpoint_key.vkey[:-4])  # says nothing of the log
    page.press("#key", "Enter")
    page.wait_for_selector("#verdict[data-verdict=unknown]")
    assert "not a verifier key" in page.inner_text("#verdict")
    page.fill("#key", CheckpointKey(7).vkey)
    page.press("#key", "Enter")
    page.wait_for_selector("#verdict[data-verdict=bad]")
    assert "trust.mismatch" in page.inner_text("#verdict")
    assert page.locator("details.entry").count() == 0
    page.context.close()


def test_what_entries_say_is_text_and_never_markup(
    report: Path, made_log: LogMaker, browser: "Browser"
) -> None:
    page = opened(browser, report, made_log.checkpoint_key.vkey)
    assert page.title() == "Report: example.com/made"
    assert page.locator("img").count() == 0
    text = page.inner_text("#app")
    assert "<img src=x onerror=alert(1)> \\u202egnp.exe" in text
    assert page.locator("#app script").count() == 0
    # Nothing turns the reading direction, not in the entries in full either, which are folded away.
    whole = page.text_content("#app") or ""
    assert "\u202e" not in whole
    assert whole.count("\\u202e") > 4
    page.context.close()


def test_it_asks_no_other_place_for_anything(report: Path, browser: "Browser") -> None:
    context = browser.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_selector("#entry-0")
    assert asked == [report.as_uri()]
    context.close()


def changed(report: Path, at: int) -> Path:
    """A copy with another byte at this place."""
    data = bytearray(report.read_bytes())
    data[at] = ord("A") if data[at] != ord("A") else ord("B")
    path = report.with_name("changed.html")
    path.write_bytes(data)
    return path


def test_a_changed_byte_of_data_or_code_shows(report: Path, made_log: LogMaker, browser: "Browser") -> None:
    text = report.read_text(encoding="utf-8")
    data, code = text.index('id="bundle">') + 12, text.index('"use strict"')
    end = text.index("</script>", data)
    size = len(text.encode()) - len("</script></body></html>\n")
    offset = len(text[:code].encode())
    drawn = random.Random(17)
    places = [drawn.randrange(data, end) for _ in range(SAMPLES // 2)]
    places += [drawn.randrange(offset, size) for _ in range(SAMPLES // 2)]
    context = browser.new_context(offline=True)
    page = context.new_page()
    for at in places:
        page.goto(f"{changed(report, at).as_uri()}?{at}#key={made_log.checkpoint_key.vkey}")
        # Nothing that was changed in the code runs; what was changed in the data is called so.
        page.wait_for_selector("#verdict[data-done]" if at < end else "#verdict:not([data-done])")
        assert "hanged" in page.inner_text("#verdict")
        assert verdict(page) in {"bad", "unknown"}, at
        assert page.locator("details.entry").count() == 0
    context.close()


def test_who_makes_the_file_again_around_a_changed_entry_is_found_out(
    report: Path, made_log: LogMaker, tmp_path: Path, browser: "Browser"
) -> None:
    """All digests are right again; the entry does not lead to the checkpoint."""
    encoded = re.search(r'id="bundle">([^<]*)<', report.read_text(encoding="utf-8"))
    assert encoded is not None
    bundle = base64.b64decode(encoded[1]).replace(b'"an_toan":9', b'"an_toan":8', 1)
    forged = tmp_path / "forged.html"
    forged.write_bytes(format_report(bundle))
    page = opened(browser, forged, made_log.checkpoint_key.vkey)
    assert verdict(page) == "bad"
    assert "entry.entry_hash" in page.inner_text("#verdict")
    page.context.close()
    assert judge_bundle(forged, trust=[made_log.checkpoint_key.vkey]).verdict == "TAMPERED"


def test_attestlog_verifies_the_file_without_running_it(report: Path, made_log: LogMaker) -> None:
    found = judge_bundle(report, trust=[made_log.checkpoint_key.vkey])
    assert (found.verdict, found.size, found.format) == ("VERIFIED", 12, "bundle")


def test_a_hundred_entries_are_less_than_a_megabyte(tmp_path: Path) -> None:
    made = LogMaker(tmp_path / "audit")
    payload: dict[str, Any] = {"description": "x" * 1_500}
    made.append(*(draft(number, action_payload=payload) for number in range(1, 101)))
    made.lay_out()
    path = tmp_path / "report.html"
    assert main(["report", str(made.root), "-o", str(path), "--start", "1"]) == 0
    assert path.stat().st_size < REPORT_SIZE_MAX_BYTES


def test_it_prints_on_pages_with_every_section(report: Path, made_log: LogMaker, browser: "Browser") -> None:
    page = opened(browser, report, made_log.checkpoint_key.vkey)
    assert page.pdf().startswith(b"%PDF")
    page.context.close()


def test_a_filter_that_finds_nothing_makes_no_file(
    made_log: LogMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.html"
    for verb in ("report", "bundle"):
        assert main([verb, str(made_log.root), "-o", str(path), "--actor-id", "nobody"]) == 4
        assert "no entry matches" in capsys.readouterr().err
        assert not path.exists()


@pytest.mark.parametrize("modules", [REPORT_MODULES, CHECKER_MODULES])
def test_modules_become_one_script_without_imports(modules: tuple[str, ...]) -> None:
    code = read_code(modules)
    assert not re.search(r"^(import|export) ", code, re.MULTILINE)
    assert "</script" not in code
    assert code.count("@DIGEST@") == ("report" in modules)
