"""README and the guides: every Python block runs, and prints what the page says it prints."""

import contextlib
import io
import itertools
import json
import re
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.logs import draft
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


@pytest.fixture
def folders(tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two folders of one user, each the current one when it is taken."""

    def each() -> Iterator[Path]:
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            monkeypatch.chdir(tmp_path / name)
            yield tmp_path / name

    return each()


def test_all_pages_run_twice_in_one_home(folders: Iterator[Path]) -> None:
    """One after the other in a folder of its own page, and nothing is a fork of what was seen before."""
    for folder in folders:
        for page in PAGES:
            (folder / Path(page).stem).mkdir()
            with contextlib.chdir(folder / Path(page).stem), warnings.catch_warnings():
                warnings.simplefilter("error")
                run_page(page)


COMMANDS = {
    "README.md": r"attestlog (init|append|verify|query)|cat drafts",
    "docs/proofs.md": r"attestlog prove audit 5",
    "docs/publishing.md": r"attestlog (checkpoint|publish) audit(?!.*s3:)|attestlog verify public",
}
"""Those of a page that need no key of somebody else, no server, and end by themselves."""


def commands(page: str) -> Iterator[list[str]]:
    """The words of each command that the page shows and that can be run here; the reader of a pipe alone."""
    found = re.findall(r"^\$ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    for line in found:
        if re.match(COMMANDS[page], line) and "--timestamp" not in line and "--witnesses" not in line:
            yield shlex.split(line.rpartition("|")[2], comments=True)[1:]


def test_commands_run_twice_in_one_home(
    folders: Iterator[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second log of the same name is no fork of the first; init says so where there is one already."""
    for folder in folders:
        (folder / "drafts.jsonl").write_text("".join(json.dumps(draft(number)) + "\n" for number in range(6)))
        ran = []
        for words in itertools.chain.from_iterable(map(commands, COMMANDS)):
            with (folder / "drafts.jsonl").open() as stdin:
                monkeypatch.setattr("sys.stdin", stdin)
                assert main(words) == 0, (words, capsys.readouterr())
            ran.append(words[0])
        assert ran == [
            "init", "append", "append", "verify", "query", "prove", "checkpoint", "publish", "publish",
            "verify",
        ]  # fmt: skip
        assert "FORKED" not in capsys.readouterr().out
        assert main(next(commands("README.md"))) != 0
        assert "exists" in capsys.readouterr().err
