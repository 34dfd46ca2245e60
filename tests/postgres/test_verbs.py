"""LOG may be a URL of PostgreSQL in every verb; what makes no sense there says what to do instead."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.logs import draft
from tests.support.postgres import PostgresServer

from attestlog._internal.cli import main


class Shown:
    """What a verb left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def object(self) -> dict[str, object]:
        return dict(json.loads(self.out.splitlines()[-1]))


@pytest.fixture
def url(postgres: PostgresServer, own_home: Path) -> str:
    assert own_home.parent.exists()
    return postgres.new_url(user="app")


def test_every_verb_takes_the_url(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*arguments: object, code: int = 0) -> Shown:
        found = Shown(main([str(argument) for argument in arguments]), *capsys.readouterr())
        assert found.code == code, f"{arguments}: {found.out} {found.err}"
        return found

    lines = tmp_path / "drafts.jsonl"
    lines.write_text("".join(json.dumps(draft(number)) + "\n" for number in range(3)))
    actor = ("--actor-id", "officer-1")
    call("init", url, "--origin", "example.com/verbs", "--erasable-payloads")
    call("append", url, lines)
    assert call("verify", url, "--json").object["verdict"] == "VERIFIED"
    assert "T-2" in call("show", url, 3).out
    assert call("tail", url, "--json").object["sequence_number"] == 3
    assert call("query", url, "--actor-id", "agent-1", "--json").out.count("\n") == 3
    assert call("stats", url, "--json").object["entries"] == 4
    call("checkpoint", url)
    call("prove", url, 2, "--output", tmp_path / "2.tlog-proof")
    call("verify", tmp_path / "2.tlog-proof")
    call("publish", url, tmp_path / "published")
    call("verify", tmp_path / "published")
    call("erase", url, 2, "--reason", "asked for", *actor)
    assert "T-1" not in call("show", url, 2).out
    call("hold", "add", url, "case-1", "--reason", "litigation", *actor)
    assert "case-1" in call("hold", "list", url).out
    assert call("erase", url, 3, "--reason", "asked for", *actor, code=2).err
    call("policy", "show", url)
    call("keys", "rotate", url)
    assert call("keys", "list", url, "--json").out
    assert call("export", url).out.count("\n") == 7
    call("replica", "status", url)
    call("append", url, lines)
    assert call("verify", url, "--json").object["erased_payloads"] == 1
    assert call("repair", url).out


@pytest.mark.parametrize("verb", [("copy", None), ("archive", "status"), ("doctor", None)])
def test_what_is_for_a_directory_says_what_to_do_instead(
    verb: tuple[str, str | None], url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for word in (*verb, url) if word]
    code = main([*words, str(tmp_path / "copy")] if verb[0] == "copy" else words)
    shown = capsys.readouterr().err.splitlines()
    assert code == 3 or (verb[0] == "copy" and code == 4)
    assert len([line for line in shown if "error" in line]) == 1


def test_a_password_is_refused_and_shown_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "postgresql://app:pa55word@localhost/d?log=a"]) != 0
    shown = "".join(capsys.readouterr())
    assert "password" in shown
    assert "pa55word" not in shown


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["postgres", "schema"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("begin;\n")
    assert "create role %I nologin" in shown
    assert main(["postgres", "schema", "--after", "1"]) == 0
    assert capsys.readouterr().out.strip() == ""


def test_without_psycopg_one_line_says_what_to_install(tmp_path: Path) -> None:
    """As on a machine where the extra is not installed."""
    (tmp_path / "psycopg.py").write_text("raise ModuleNotFoundError('no', name='psycopg')\n")
    code = (
        "import sys; from attestlog._internal.cli import main;"
        "sys.exit(main(['show', 'postgresql:///d?log=a', '0']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 4
    assert "a log on PostgreSQL needs psycopg" in done.stderr
    assert "attestlog[postgres]" in done.stderr
