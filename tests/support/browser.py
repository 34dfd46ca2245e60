"""A real, headless Chromium for tests: Debian's, driven by playwright.

Where either is missing a test is skipped, but on CI it fails: nothing is skipped there.
"""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

STATIC: Final = Path(__file__).resolve().parents[2] / "src/attestlog/_internal/explorer/static"
ORIGIN: Final = "http://localhost"
"""Loopback is a secure context, so WebCrypto is there. Nothing listens: requests are answered by the test."""

PATIENCE_MS: Final = 180_000
"""What a page does takes a fraction of a second, where nobody else uses the machine."""

_TYPES: Final = {".html": "text/html", ".mjs": "text/javascript", ".css": "text/css"}


@contextmanager
def chromium() -> Iterator["Browser"]:
    """The browser, for as long as the context lasts."""
    found = shutil.which("chromium")
    if found is None or importlib.util.find_spec("playwright") is None:
        missing("there is no chromium, or no playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # A container's /dev/shm may be too small for a page.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = driver.chromium.launch(executable_path=found, args=arguments, timeout=PATIENCE_MS)
        make = browser.new_context

        def make_patient(**options: Any) -> "BrowserContext":
            context = make(**options)
            context.set_default_timeout(PATIENCE_MS)
            return context

        browser.new_context = make_patient  # type: ignore[method-assign]
        try:
            yield browser
        finally:
            browser.close()


def missing(what: str) -> NoReturn:
    """Skip, but on CI fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def serve_files(context: "BrowserContext", folder: Path = STATIC) -> None:
    """Answer requests below ORIGIN with the files of this folder; everything else fails."""

    def answer(route: Any) -> None:
        path = folder / route.request.url.removeprefix(ORIGIN).split("?")[0].strip("/")
        if route.request.url.startswith(ORIGIN) and path.is_file():
            route.fulfill(body=path.read_bytes(), content_type=_TYPES.get(path.suffix, "text/plain"))
        elif route.request.url == f"{ORIGIN}/":
            route.fulfill(body="<!doctype html><title>empty</title>", content_type="text/html")
        else:
            route.abort()

    context.route("**/*", answer)
