"""docs/spec: every Python block runs, and every MUST names tests that exist."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from tests.support.repository import ROOT, parsed

SPEC = ROOT / "docs" / "spec"
PAGES = sorted(path.stem for path in SPEC.glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TAG = re.compile(r"\[([A-Z]\d+)\]")
ROW = re.compile(r"^\| ([A-Z]\d+) [^|]+ \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def split(page: str) -> tuple[str, str]:
    """The prose (without code), and the table at the end."""
    text = (SPEC / f"{page}.md").read_text(encoding="utf-8")
    prose, _, table = text.partition("\n## What shows it\n")
    return BLOCK.sub("", prose), table


def pieces(prose: str) -> Iterator[str]:
    """Paragraphs and list items."""
    for paragraph in prose.split("\n\n"):
        yield from re.split(r"\n(?=- |\d+\. )", paragraph)


def test_there_is_one_document_a_format() -> None:
    assert (
        sorted(
            (
                "approval bundle canonical checkpoint compression consistency cosignature entry erasure"
                " genesis hashes last_signed legacy merkle note policy proof redaction replication rotation"
                " rules signature snapshot storage tiles trust witness"
            ).split()
        )
        == PAGES
    )
    core = {path.stem for path in (ROOT / "src" / "attestlog" / "_internal" / "core").glob("*.py")}
    assert set(PAGES) - core == {"last_signed", "legacy", "storage"}


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = (SPEC / f"{page}.md").read_text(encoding="utf-8")
    namespace: dict[str, object] = {}
    ran = 0
    for language, content in BLOCK.findall(text):
        if language == "python":
            exec(compile(content, f"{page}.md", "exec"), namespace)  # noqa: S102 - our own documents
            ran += 1
        else:
            namespace[language] = content  # a block may speak of the one before it, by its language
    assert ran


@pytest.mark.parametrize("page", PAGES)
def test_every_must_is_marked_and_every_mark_is_shown(page: str) -> None:
    prose, table = split(page)
    for piece in pieces(prose):
        assert "MUST" not in piece or TAG.search(piece), f"{page}: unmarked: {piece}"
        assert len(re.findall("MUST", piece)) or not TAG.search(piece), f"{page}: no MUST: {piece}"
    marks = TAG.findall(prose)
    rows = [mark for mark, _ in ROW.findall(table)]
    assert marks == rows, "the table has a row for each mark, in the same order"
    assert marks == [f"{marks[0][0]}{number}" for number in range(1, len(marks) + 1)]


@pytest.mark.parametrize("page", PAGES)
def test_the_tests_that_show_it_exist(page: str) -> None:
    _, table = split(page)
    for mark, cell in ROW.findall(table):
        tests = TEST.findall(cell)
        assert tests, f"{page}: {mark} names no test"
        assert TEST.sub("", cell).strip(", ") == "", f"{page}: {mark}: {cell}"
        for file, name in tests:
            assert name in functions(ROOT / "tests" / file), f"{page}: {mark}: {file}::{name}"


@cache
def functions(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    return {node.name for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef)}


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", (SPEC / f"{page}.md").read_text(encoding="utf-8")):
            assert (SPEC / target).exists(), f"{page}: {target}"
