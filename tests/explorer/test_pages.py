"""docs/report.md: its commands run as they stand, but for the key, which is the log's."""

import re
import shlex
from pathlib import Path

import pytest
from tests.support.repository import ROOT

import attestlog
from attestlog._internal.cli import main

PAGE = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
SHORTENED = re.compile(r"example\.com/agents\+\S+")


def test_the_commands_of_the_page_run(
    tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with attestlog.create("audit", origin="example.com/agents") as log:
        log.append(event_type="ACTION", action_type="deploy", actor_id="agent-7")
    lines = re.findall(r"^\$ attestlog (.+)$", PAGE, re.MULTILINE)
    assert [line.split()[0] for line in lines] == ["report", "report", "verify", "report", "bundle", "verify"]
    for line in lines:
        assert main(shlex.split(SHORTENED.sub(log.vkeys[0], line), comments=True)) == 0, line
    assert capsys.readouterr().out.count("VERIFIED, confirmed by") == 2
