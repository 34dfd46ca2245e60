"""One Chromium for the tests of a module: starting it takes longer than most of them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from tests.support.browser import ORIGIN, chromium, serve_files

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Not for the whole session: while it is open, playwright's event loop runs in this thread, and no test
    of another folder could call `asyncio.run`."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def blank(browser: "Browser") -> Iterator["Page"]:
    """An empty page of a secure origin, which can import the modules of the explorer."""
    context = browser.new_context()
    serve_files(context)
    page = context.new_page()
    page.goto(f"{ORIGIN}/")
    yield page
    context.close()
