"""`python -m bench.explorer [--size 1000000]`: the explorer and the report in a real, headless Chromium.

A real log, real signatures, the server of `attestlog explore` in a process of its own. First paint is the
browser's own first-contentful-paint; a page of the timeline counts from the click until its rows are there.
Checks are counted in the browser, on lines it has already: canonical form, both hashes and place in the tree;
then the entry's signature.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from tests.support.browser import STATIC, chromium

import attestlog
from attestlog._internal.cli import main as run
from attestlog._internal.explorer.answering import FILES, FIRST
from bench.__main__ import machine

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHUNK = 10_000
CHECKS = 4_096
"""Entries checked in the browser: 16 tiles."""
PAGES = 20

COUNT = """async ([count, key]) => {
    const b = await import("./bundle.mjs"), v = await import("./verify.mjs"), get = async path =>
        new Uint8Array(await (await fetch(`api/${path}`)).arrayBuffer());
    const checkpoint = await v.openCheckpoint(await get("checkpoint"), [await v.parseVkey(key)]);
    const tiles = new v.TrustedTiles(checkpoint.size, checkpoint.root, get), lines = [];
    for (let start = 0; start < count; start += 256)
        lines.push(...await Promise.all(
            Array.from({length: 256}, (_, at) => get(`entries/${start + at}`))));
    for (let number = 0; number < count; number += 256) await tiles.leaf(number);
    const begun = performance.now(), entries = [];
    const checked = b.ahead(lines, v.checkEntry);
    for (const number of lines.keys()) {
        const entry = await checked(number);
        entries.push(entry);
        const leaf = await v.leafHash(v.unhex(entry.entry_hash));
        if (!v.isSame(leaf, await tiles.leaf(number))) throw new Error(number);
    }
    const between = performance.now();
    const pem = entries[0].action_payload.entry_keys[0].public_key, key0 = await v.parsePublicKey(pem);
    for (const entry of entries) await v.checkEntrySignature(entry, key0);
    const end = performance.now(), rate = span => Math.round(1000 * count / span);
    return [rate(between - begun), rate(end - between)];
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1_000_000)
    arguments = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ATTESTLOG_HOME"] = folder
        key = make_log(Path(folder) / "audit", arguments.size)
        sizes(Path(folder))
        with serving(Path(folder) / "audit") as (url, server), chromium() as browser:
            look(browser.new_page(), url, key, arguments.size)
            show("memory of the server, MB", psutil.Process(server).memory_info().rss / 1e6)


def make_log(root: Path, size: int) -> str:
    """A log of this size; its vkey."""
    begun = time.perf_counter()
    with attestlog.create(root, origin="example.com/bench") as log:
        for start in range(1, size, CHUNK):
            log.append_many([entry(number) for number in range(start, min(size, start + CHUNK))])
        key: str = log.vkeys[0]
    show(f"writing {size:,} entries, s", time.perf_counter() - begun)
    return key


def entry(number: int) -> Any:
    scores = {"an_toan": 7 + number % 3, "duong_dai": 8, "tin_vao_so_lieu": 9, "han_che_rui_ro": 8}
    return {
        "event_type": "VIOLATION" if number % 1_000 == 0 else "ACTION", "action_type": f"act-{number % 20}",
        "actor_id": f"agent-{number % 50}", "action_payload": {"number": number, "note": "x" * 200},
        "pillars_scores": scores, "actor_context": {"session": f"s-{number // 40}"},
    }  # fmt: skip


def sizes(folder: Path) -> None:
    for what, names in (("what the timeline needs", FIRST), ("the page and the verifier", FILES)):
        page = [(STATIC / name).read_bytes() for name in names]
        show(f"{what}, kB", sum(map(len, page)) / 1e3)
        show(f"{what}, kB as sent, compressed", sum(len(gzip.compress(data)) for data in page) / 1e3)
    report = folder / "report.html"
    assert run(["report", str(folder / "audit"), "-o", str(report), "--limit", "100"]) == 0
    show("a report of 100 entries, kB", report.stat().st_size / 1e3)


def look(page: Page, url: str, key: str, size: int) -> None:
    page.goto(f"{url}#key={key}")
    page.wait_for_selector("tbody tr")
    paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"
    show("first paint, ms", page.evaluate(paint))
    show("the first rows, ms", page.evaluate("performance.now()"))
    begun = time.perf_counter()
    for number in range(1, PAGES + 1):
        page.click("text=Older entries")
        page.wait_for_selector(f"tbody th a:text-is('{size - 100 * number - 1}')")
    show("the next page of the timeline, ms", (time.perf_counter() - begun) / PAGES * 1e3)
    page.goto(f"{url}?view=figures")
    begun = time.perf_counter()
    page.wait_for_selector("h1:text('Figures')", timeout=120_000)
    show("figures over all, s", time.perf_counter() - begun)
    inclusions, signatures = page.evaluate(COUNT, [min(CHECKS, size // 256 * 256), key])
    show("entries with their place checked, a second", inclusions)
    show("signatures checked, a second", signatures)
    show("memory of the page, MB", page.evaluate("performance.memory.usedJSHeapSize") / 1e6)


@contextmanager
def serving(root: Path) -> Iterator[tuple[str, int]]:
    code = "import sys; from attestlog._internal.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "explore", str(root), "--no-browser", "--json"]
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            show("attestlog explore until it serves, index made, s", time.perf_counter() - begun)
            yield url, process.pid
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def show(what: str, value: float) -> None:
    print(f"{what:<52} {value:>12,.1f}", flush=True)


if __name__ == "__main__":
    main()
