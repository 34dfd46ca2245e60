"""axe-core finds nothing serious on any page, light and dark. It is installed by `make build/axe`, by npm."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.explorer.pages import PREFIX, VIEWS, example_log, served
from tests.support.browser import missing
from tests.support.logs import LogMaker
from tests.support.repository import ROOT

from attestlog._internal.cli import main

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

AXE: Final = ROOT / "build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
GRAVE: Final = frozenset({"serious", "critical"})


@pytest.fixture(scope="module")
def made_log(tmp_path_factory: pytest.TempPathFactory) -> LogMaker:
    return example_log(tmp_path_factory.mktemp("axe") / "audit")


def faults(page: "Page") -> list[tuple[str, str, list[str]]]:
    """(rule, impact, where) of each serious finding."""
    if not AXE.is_file():
        missing("axe-core is not there: make build/axe")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = page.evaluate("async () => (await axe.run()).violations")
    return [
        (one["id"], one["impact"], [node["html"][:200] for node in one["nodes"]])
        for one in found
        if one["impact"] in GRAVE
    ]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_view_of_the_explorer_shuts_anybody_out(
    browser: "Browser", made_log: LogMaker, scheme: Any
) -> None:
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    served(page, made_log)
    for view in VIEWS:
        page.goto(f"{PREFIX}{view}#key={made_log.checkpoint_key.vkey}")
        page.wait_for_selector("#content:not([aria-busy]) h1")
        assert faults(page) == [], view
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_shuts_nobody_out(
    browser: "Browser", made_log: LogMaker, tmp_path: Path, scheme: Any
) -> None:
    path = tmp_path / "report.html"
    assert main(["report", str(made_log.root), "-o", str(path), "--limit", "40"]) == 0
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    for key in (made_log.checkpoint_key.vkey, "", "example.com/x+00000000+AA=="):
        page.goto("about:blank")
        page.goto(path.as_uri() + (f"#key={key}" if key else ""))
        page.wait_for_selector("#verdict[data-done]")
        assert faults(page) == [], key
    context.close()
