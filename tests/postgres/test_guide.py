"""Every command of docs/many-hosts.md runs, each on the host that the page says."""

import json
import re
import shlex
from pathlib import Path

import pytest
from tests.support.logs import draft
from tests.support.postgres import PostgresServer

from attestlog._internal.cli import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "many-hosts.md"
BLOCK = re.compile(r"^```(console|sql)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_commands_run(
    postgres: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = f"host={postgres.folder}"
    monkeypatch.chdir(tmp_path)
    Path("drafts.jsonl").write_text("".join(json.dumps(draft(number)) + "\n" for number in range(3)))
    postgres.sql("create role owner login createrole")
    postgres.sql("create database audit owner owner")
    ran, host = [], "host-1"
    for kind, text in BLOCK.findall(PAGE.read_text()):
        if kind == "sql":
            # The roles are every database's: those of the fixture bear the page's names already.
            for statement in text.strip().split("\n"):
                if statement.startswith("grant"):
                    postgres.sql(statement)
            continue
        for line in re.findall(r"^\$ attestlog (.+)$", text, re.MULTILINE):
            command, _, target = line.partition(" > ")
            words = [
                word.replace("db.example.com/audit?", f"/audit?{here}&").replace(
                    "db.example.com/audit", f"/audit?{here}"
                )
                for word in shlex.split(command)
            ]
            if words[:2] == ["keys", "generate"]:
                host = "host-2"
            elif words[:2] == ["keys", "admit"]:
                host = "host-1"
            elif words[0] == "configure":
                host = "host-2"
            monkeypatch.setenv("ATTESTLOG_HOME", str(tmp_path / host))
            for name in ("ATTESTLOG_STATE", "ATTESTLOG_CACHE"):
                monkeypatch.delenv(name, raising=False)
            code, (out, err) = main(words), capsys.readouterr()
            assert code == 0, (words, out, err)
            if target:
                Path(target).write_text(out)
            ran.append(words[0])
    assert ran == [
        "postgres", "init", "keys", "keys", "keys", "configure", "adopt", "append", "verify", "move", "move",
    ]  # fmt: skip
