"""docs/questions.md: the log is made, exported, verified and asked, and the answers are those on the page."""

import json
import re
from pathlib import Path

import pytest
from tests.interop.verifiers import reader
from tests.support.repository import ROOT
from tests.support.tools import extra

from attestlog._internal.cli import main
from attestlog._internal.core.note import format_vkey
from attestlog._internal.storage.resolve import open_source

PAGE = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUESTION = re.compile(r"^```sql\n(SELECT.*?)^```\n\n((?:^\|[^\n]*\n)+)", re.MULTILINE | re.DOTALL)


def test_the_answers_are_those_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_home: Path
) -> None:
    extra("pyarrow")
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(PAGE)
    (python,) = [content for language, content in blocks if language == "python"]
    exec(compile(python, "questions.md", "exec"), {})  # noqa: S102 - our own page
    key = format_vkey(open_source("audit").genesis().checkpoint_keys[0])
    (console,) = [content for language, content in blocks if language == "console"]
    for line in console.splitlines():
        words = line.removeprefix("$ attestlog ").replace("KEY", key).split()
        assert main(words) == 0, line
    questions = QUESTION.findall(PAGE)
    assert len(questions) == len([1 for language, _ in blocks if language == "sql"]) - 1
    (tmp_path / "questions").write_text(json.dumps([sql for sql, _ in questions]))
    answers, _ = reader("questions", tmp_path / "audit.parquet", tmp_path / "questions").splitlines()
    assert json.loads(answers) == [table.strip() for _, table in questions]
