"""Pictures of every page, wide and narrow, light and dark, for people to look at: in build/pictures.

No picture is compared with another: fonts differ between machines. What is checked is that a page fits its
width, that nothing failed, and that docs/ shows pictures that are made here.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.explorer.pages import PREFIX, served
from tests.support.browser import ORIGIN, serve_files
from tests.support.logs import Key, LogMaker
from tests.support.people import Person, governed
from tests.support.repository import ROOT

from attestlog._internal.cli import main
from attestlog._internal.core.approval import make_request
from attestlog._internal.core.checkpoint import LogId
from attestlog._internal.explorer.answering import Waiting

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BUILT: Final = ROOT / "build" / "pictures"
SHOWN: Final = ROOT / "docs" / "pictures"
WIDTHS: Final = {"wide": 1200, "narrow": 380}
LOOKS: Final = [f"{scheme}-{width}" for scheme in ("light", "dark") for width in WIDTHS]
VIEWS: Final = {
    "timeline": "", "lanes": "?lane=session", "entry": "?entry=14", "violation": "?entry=24",
    "governance": "?view=governance", "keys": "?view=keys", "confirming": "?view=confirming",
    "figures": "?view=figures", "file": "?view=file",
}  # fmt: skip
HOUR_US: Final = 3_600_000_000
ACTS: Final = (
    ("agent-7", "deploy service", "support", (9, 8.5, 9, 8)),
    ("agent-7", "read table customers", "support", (8, 8, 9.5, 9)),
    ("agent-12", "send mail", "newsletter", (8.5, 9, 8, 7.5)),
    ("agent-12", "rotate index", "housekeeping", (9.5, 9, 9, 9)),
)


def filled_log(root: Path) -> LogMaker:
    """Two days of two agents: acts that were allowed, blocked and approved; a rotation."""
    rules = {
        "releases": {"action_types": ["release *"], "required_approvals": 1, "roles": ["auditor"]},
        "mail": {"action_types": ["send mail"], "event_types": ["ACTION"], "required_proofs": ["consent"]},
        "no shell": {"action_types": ["run shell*"], "deny": True, "reason": "agents have no shell"},
    }
    made, ana = LogMaker(root, policy=governed(rules=rules)), Person("auditor")
    for number in range(44):
        actor, action, session, scores = ACTS[number % len(ACTS)]
        made.now_us += HOUR_US + number % 5 * 437_000_000
        pillars = dict(
            zip(("an_toan", "duong_dai", "tin_vao_so_lieu", "han_che_rui_ro"), scores, strict=True)
        )
        pillars["an_toan"] = round(pillars["an_toan"] - number % 7 / 10, 1)
        act = {
            "event_type": "ACTION", "action_type": action, "actor_id": actor,
            "actor_type": "AUTONOMOUS_AGENT", "pillars_scores": pillars,
            "actor_context": {"session": f"{session}-{number // 12}"},
            "action_payload": {"ticket": f"OPS-{100 + number}", "region": "eu-west"},
            "provided_proofs": [{"type": "consent", "valid": True}] if action == "send mail" else [],
        }  # fmt: skip
        if number % 9 == 5:
            _append_blocked(made, act, number)
        elif number == 13:
            release = {**act, "action_type": "release 4.2", "required_approvals": 1}
            approval = ana.approve(release, LogId(made.origin, made.entry(0)["entry_hash"]))
            made.append({**release, "received_approvals": [approval]})
        else:
            made.append(act)
    made.rotate(Key(2))
    made.append({"event_type": "SHUTDOWN", "action_type": "end of day", "actor_id": "system"})
    made.lay_out()
    return made


def _append_blocked(made: LogMaker, act: dict[str, Any], number: int) -> None:
    invariant = ("INVARIANT_2_SAFETY_FLOOR", "INVARIANT_5_QUORUM", "INVARIANT_4_PROOFS")[number // 9 % 3]
    details = {"violated_invariant": invariant, "message": "blocked before it began"}
    made.append({
        **act, "event_type": "VIOLATION", "event_category": "CRITICAL", "execution_status": "BLOCKED",
        "action_type": "disable monitoring", "error_details": details,
        "pillars_scores": {"an_toan": 4.5, "duong_dai": 7, "tin_vao_so_lieu": 7.5, "han_che_rui_ro": 6},
    })  # fmt: skip


@pytest.fixture(scope="module")
def made_log(tmp_path_factory: pytest.TempPathFactory) -> LogMaker:
    return filled_log(tmp_path_factory.mktemp("pictures") / "audit")


def waiting(made: LogMaker) -> list[Waiting]:
    """One request that nobody has answered yet."""
    draft = {"event_type": "ACTION", "action_type": "release 4.3", "actor_id": "agent-7"}
    log = LogId(made.origin, made.entry(0)["entry_hash"])
    return [Waiting(make_request(draft, log, "8a9e3a0e-9a70-4a3e-9b0b-0b6f0f0f0f0f"), [])]


def opened(browser: "Browser", look: str) -> tuple["Page", int]:
    """A page that looks so, and its width."""
    scheme, _, width = look.partition("-")
    size: Any = {"width": WIDTHS[width], "height": 800}
    shade: Any = scheme
    return browser.new_context(color_scheme=shade, viewport=size).new_page(), WIDTHS[width]


def take(page: "Page", name: str, look: str, width: int) -> None:
    """A picture of the whole page, which is no wider than it may be."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    BUILT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=BUILT / f"{name}-{look}.png", full_page=True, animations="disabled")
    if look == LOOKS[0]:
        page.screenshot(path=BUILT / f"{name}.png", animations="disabled")  # what a document shows: the top


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS)
def test_every_view_of_the_explorer(browser: "Browser", made_log: LogMaker, look: str) -> None:
    page, width = opened(browser, look)
    errors = served(page, made_log, kept=waiting(made_log))
    for name, query in VIEWS.items():
        page.goto(f"{PREFIX}{query}#key={made_log.checkpoint_key.vkey}")
        page.wait_for_selector("#content:not([aria-busy]) h1")
        if "entry=" in query:
            page.click("#check")
            page.wait_for_selector("#verdict[data-verdict=good]")
        assert "cannot be shown" not in page.inner_text("#content")
        take(page, f"explorer-{name}", look, width)
    assert errors == []
    page.context.close()


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS)
def test_the_files_and_the_folder(browser: "Browser", made_log: LogMaker, tmp_path: Path, look: str) -> None:
    report, folder, key = tmp_path / "report.html", tmp_path / "public", made_log.checkpoint_key.vkey
    assert main(["report", str(made_log.root), "-o", str(report)]) == 0
    assert main(["publish", str(made_log.root), str(folder), "--explorer"]) == 0
    page, width = opened(browser, look)
    for name, given in (("report", key), ("report-no-key", "")):
        page.goto("about:blank")
        page.goto(report.as_uri() + (f"#key={given}" if given else ""))
        page.wait_for_selector("#verdict[data-done]")
        take(page, name, look, width)
    if look == "light-wide":
        page.pdf(path=BUILT / "report.pdf")
    serve_files(page.context, folder)
    page.goto(f"{ORIGIN}/index.html#key={key}")
    page.wait_for_selector("#verdict[data-verdict=good]")
    take(page, "published", look, width)
    page.context.close()


def test_the_pictures_in_the_documents_are_made_here() -> None:
    names = {f"explorer-{name}" for name in VIEWS} | {"report", "report-no-key", "published"}
    made = {f"{name}.png" for name in names}
    shown: set[str] = set()
    for page in ("explorer", "report"):
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        shown |= set(re.findall(r"\]\(pictures/([\w-]+\.png)\)", text))
    assert shown <= made
    assert shown == {path.name for path in SHOWN.glob("*.png")}
    assert len(shown) >= 4
