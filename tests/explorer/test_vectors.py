"""Every test vector of the formats that the explorer checks, judged rightly in a real browser."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.support.browser import ORIGIN
from tests.vectors.reading import CASES, Case

if TYPE_CHECKING:
    from playwright.sync_api import Page

JUDGES: Final = Path(__file__).with_name("judges.mjs")
FORMATS: Final = (
    "bundle", "canonical", "checkpoint", "consistency", "cosignature", "entry", "hashes", "merkle", "note",
    "proof", "signature", "tiles", "trust",
)  # fmt: skip
POST_QUANTUM: Final = "ML-DSA"


def cases_of(name: str) -> list[Case]:
    """All of them; not what a writer makes of a draft, which nobody checks in a browser."""
    return [case for case in CASES[name] if "draft" not in case]


def judged(page: "Page", name: str, cases: list[Case]) -> list[dict[str, Any]]:
    """What the verifier in the browser found, case by case. Large numbers go as they stand in the file."""
    page.route(
        f"{ORIGIN}/judges.mjs",
        lambda route: route.fulfill(body=JUDGES.read_text(), content_type="text/javascript"),
    )
    text = json.dumps(cases)
    return page.evaluate(  # type: ignore[no-any-return]
        """async ([format, text]) => {
            const {judgeAll} = await import("/judges.mjs");
            const isLarge = (value, text) => !Number.isSafeInteger(value) && /^[0-9]+$/.test(text);
            const read = (name, value, {source}) =>
                typeof value === "number" && isLarge(value, source) ? BigInt(source) : value;
            return judgeAll(format, JSON.parse(text, read));
        }""",
        [name, text],
    )


@pytest.mark.parametrize("name", FORMATS)
def test_a_browser_judges_every_vector_as_the_file_says(blank: "Page", name: str) -> None:
    cases = cases_of(name)
    differ, unchecked = [], []
    for case, found in zip(cases, judged(blank, name, cases), strict=True):
        if "unchecked" in found:
            unchecked.append(case)
        elif case["error"] is not None:
            if case["error"] not in {found.get("code"), found.get("finding")}:
                differ.append((case["name"], case["error"], found))
        elif found.get("found") != {member: case[member] for member in found.get("found", ())}:
            differ.append((case["name"], None, found))
    assert differ == []
    # What the browser has no algorithm for is neither good nor bad, and can only be post-quantum signatures.
    assert [
        case["name"]
        for case in unchecked
        if POST_QUANTUM not in json.dumps(case) and "+B" not in json.dumps(case)
    ] == []
