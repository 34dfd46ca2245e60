"""README and the guides: every Python block runs, and prints what the page says it prints."""

import contextlib
import io
import itertools
import re
from pathlib import Path

import pytest
from tests.support.repository import ROOT

from attestlog._internal.cli import main
from attestlog._internal.proof_types import registered_proofs, unregister_proof

PAGES = [
    "README.md", "docs/governance.md", "docs/guard.md", "docs/haios.md", "docs/keys.md",
    "docs/proofs.md", "docs/publishing.md", "docs/quickstart.md", "docs/timestamps.md", "docs/witnesses.md",
]  # fmt: skip
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTS = re.compile(r"\n\nprints\n\n\Z")


def blocks(text: str) -> list[tuple[str, str, bool]]:
    """(language, content, whether it is introduced by "prints") of each fenced block."""
    return [(m[1], m[2], bool(PRINTS.search(text[: m.start()]))) for m in BLOCK.finditer(text)]


def run_page(page: str) -> None:
    """Its blocks in the current folder; where output follows, it is compared."""
    namespace: dict[str, object] = {}
    printed = ""
    ran = 0
    for language, content, is_output in blocks((ROOT / page).read_text()):
        if language == "python":
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(content, page, "exec"), namespace)  # noqa: S102
            printed = output.getvalue()
            ran += 1
        elif is_output:
            assert printed == content
    assert ran
    for kind in list(registered_proofs()):  # what a page registers is for its own process
        unregister_proof(kind)


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run_and_print_what_the_page_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(page)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs_twice_in_one_home(
    page: str, tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or says at once why not, before anything is made, and what it says is the way out."""
    for number in itertools.count():
        (tmp_path / str(number)).mkdir()
        monkeypatch.chdir(tmp_path / str(number))
        try:
            run_page(page)
        except UserWarning as warning:
            assert number, "the first time there is nothing to say"
            (origin,) = re.findall(r"run attestlog memory forget (\S+)$", str(warning))
            assert main(["memory", "forget", origin]) == 0
        else:
            if number:
                return
