"""docs/explorer.md and docs/report.md: every command runs as it stands, and what they say of sizes holds."""

import gzip
import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.support.logs import draft
from tests.support.repository import ROOT

import attestlog
from attestlog._internal.cli import main
from attestlog._internal.explorer.answering import FILES, FIRST, page_file

ORIGIN: Final = "example.com/agents"
COMMAND: Final = re.compile(r"^\$ attestlog ([^#>\n]*?)(?: > (\S+))?(?:  +#.*)?$", re.MULTILINE)
IN_PROSE: Final = re.compile(r"^`attestlog ([^`>]*) > ([^`]*)`", re.MULTILINE)
KEY: Final = re.compile(re.escape(ORIGIN) + r"\+[0-9a-f]{8}\+\S*")
SERVING: Final = {"explore": ["--no-browser", "--json"], "serve": ["--json"]}
"""Verbs that go on until they are interrupted, and what a test adds to them."""


def serve(command: list[str]) -> None:
    """Until it says that it serves; then it is interrupted, and ends well."""
    whole = [sys.executable, "-m", "attestlog", *command, *SERVING[command[0]]]
    whole = ["127.0.0.1:0" if word.startswith("127.0.0.1:") else word for word in whole]
    with subprocess.Popen(whole, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
    assert told["url"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize("name", ["explorer", "report"])
def test_every_command_runs(
    name: str,
    tmp_path: Path,
    own_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with attestlog.create("audit", origin=ORIGIN) as log:
        log.append_many([draft(number, actor_id="agent-7") for number in range(1, 5)])
        vkey = log.vkeys[0]
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    ran = 0
    for written, output in [*COMMAND.findall(text), *IN_PROSE.findall(text)]:
        command = shlex.split(KEY.sub(vkey.replace("\\", "\\\\"), written))
        ran += 1
        if command[0] in SERVING:
            serve(command)
            continue
        capsys.readouterr()
        assert main(command) == 0, written
        if output:
            Path(output).write_text(capsys.readouterr().out, encoding="utf-8")
    assert ran >= 5


def test_sizes_are_as_they_are_said() -> None:
    """docs/explorer.md, "What is loaded"."""
    text = " ".join((ROOT / "docs" / "explorer.md").read_text(encoding="utf-8").split())
    first = re.search(r"The timeline needs (\d+) files, which are smaller than (\d+) kB together", text)
    whole = re.search(r"all files are smaller than (\d+) kB, and than (\d+) kB as they are sent", text)
    assert first is not None
    assert whole is not None
    assert len(FIRST) == int(first[1])
    assert sum(len(page_file(name)) for name in FIRST) < 1_000 * int(first[2])
    assert sum(len(page_file(name)) for name in FILES) < 1_000 * int(whole[1])
    assert sum(len(gzip.compress(page_file(name))) for name in FILES) < 1_000 * int(whole[2])
