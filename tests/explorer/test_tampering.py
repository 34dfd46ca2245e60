"""Twelve ways to tamper, each seen in the browser and called by a code that docs/findings.md has.

`LIES` are what a server makes of its answers. Those here are changes of the log's
own files, as somebody with the disk makes them, seen through `attestlog explore`'s API.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.explorer.pages import LIES, PREFIX, check, served
from tests.support.logs import CheckpointKey, Key, LogMaker, draft
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FINDINGS: Final = (ROOT / "docs/findings.md").read_text(encoding="utf-8")
CODES: Final = set(re.findall(r"^\| `([a-z_]+\.[a-z_0-9]+)`", FINDINGS, re.MULTILINE))
AT: Final = 3


def _edit(old: bytes, new: bytes) -> Callable[[LogMaker], None]:
    def change(made: LogMaker) -> None:
        assert old in made.lines[AT]
        made.lines[AT] = made.lines[AT].replace(old, new, 1)
        made.write_entries()

    return change


def _reseal(*, links: bool, key: Key | None = None) -> Callable[[LogMaker], None]:
    def change(made: LogMaker) -> None:
        made.reseal(AT, links=links, key=key, actor_id="agent-8")
        made.write_entries()

    return change


def _resign_all(made: LogMaker) -> None:
    """The whole log made again behind the change, and signed by another key of the same name."""
    made.reseal(AT, links=True, actor_id="agent-8")
    made.checkpoint_key = CheckpointKey(9, made.origin)
    made.lay_out()


def _swap_two(made: LogMaker) -> None:
    made.lines[AT], made.lines[AT + 1] = made.lines[AT + 1], made.lines[AT]
    made.write_entries()


TAMPERINGS: Final[dict[str, tuple[Callable[[LogMaker], None], str]]] = {
    "a byte of the payload": (_edit(b'"number":3', b'"number":7'), "entry.action_hash"),
    "a byte of a member": (_edit(b'"agent-1"', b'"agent-2"'), "entry.entry_hash"),
    "a byte of the signature": (_edit(b'"hsm_signature":"30', b'"hsm_signature":"31'), ""),
    "an entry written again": (_reseal(links=False), "proof.inclusion"),
    "an entry written again, and all after it": (_reseal(links=True), "proof.inclusion"),
    "an entry of somebody else's key": (_reseal(links=True, key=Key(9)), "proof.inclusion"),
    "two entries that changed places": (_swap_two, "entry.sequence"),
    "the whole log made again": (_resign_all, "trust.mismatch"),
}


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_log_that_was_tampered_with_does_not_pass(page: "Page", tmp_path: Path, name: str) -> None:
    tamper, code = TAMPERINGS[name]
    made = LogMaker(tmp_path / "audit")
    made.append(*(draft(number) for number in range(1, 8)), batched=False)
    made.lay_out()
    vkey = made.checkpoint_key.vkey
    tamper(made)
    served(page, made)
    page.goto(f"{PREFIX}?entry={AT}#key={vkey}")
    page.wait_for_selector("#check")
    assert check(page) == "bad"
    found = page.inner_text("#verdict code")
    assert found in CODES
    assert not code or found == code


def test_all_codes_are_documented() -> None:
    assert len(TAMPERINGS) + len(LIES) >= 12
    assert {code for _, _, code in LIES.values()} <= CODES
