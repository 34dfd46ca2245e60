"""The demo: every claim it makes is what the verifier found, and what it advises works."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import Run

import attestlog
from attestlog._internal.core.entry import EventType
from attestlog._internal.core.report import Verdict
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifying import judge_log


@pytest.fixture
def told(shell: Run, tmp_path: Path, home: Path) -> Iterator[dict[str, Any]]:
    """What the demo says in JSON, run with an empty home and its folder under tmp_path."""
    result = shell("demo", "--json", TMPDIR=str(tmp_path), ATTESTLOG_HOME="")
    assert (result.code, result.err) == (0, "")
    assert not home.exists()
    yield result.object
    assert not home.exists()


def step(told: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [item for item in told["steps"] if item["step"] == name]
    return dict(found)


def test_demo_records_every_type_of_event(told: dict[str, Any]) -> None:
    entries = list(open_source(told["log"]).entries())
    assert {entry.event_type for entry in entries} == set(EventType)
    recorded = step(told, "record")["entries"]
    assert [item["entry_hash"] for item in recorded] == [entry.entry_hash for entry in entries[1:]]
    change = entries[8]
    assert (change.event_type, change.proofs_valid, change.safety_floor_met) == ("CHANGE", True, True)
    assert (entries[5].execution_status, entries[5].safety_floor_met) == ("BLOCKED", False)
    assert [entries[n].dependencies for n in (3, 5, 8)] == [[entries[n].entry_id] for n in (2, 4, 7)]


def test_demo_is_verified_as_long_as_nobody_touches_it(told: dict[str, Any]) -> None:
    (report,) = step(told, "verify")["reports"]
    assert (report["verdict"], report["size"]) == ("VERIFIED", 10)
    assert report["trusted_by"] == [step(told, "record")["vkey"]]


def test_demo_changes_one_byte_and_the_entry_is_named(told: dict[str, Any]) -> None:
    edit = step(told, "edit")
    tampered, restored = edit["reports"]
    assert edit["bytes_changed"] == 1
    assert (tampered["verdict"], restored["verdict"]) == ("TAMPERED", "VERIFIED")
    assert {finding["sequence_number"] for finding in tampered["findings"]} == {5}


def test_demo_shows_what_remembering_is_for(told: dict[str, Any]) -> None:
    alone, remembered, restored = step(told, "cut")["reports"]
    assert (alone["verdict"], alone["size"]) == ("VERIFIED", 4)
    assert (remembered["verdict"], remembered["size"]) == ("TRUNCATED", 4)
    assert (restored["verdict"], restored["size"]) == ("VERIFIED", 10)


def test_demo_leaves_the_log_as_it_was_and_the_check_script(told: dict[str, Any]) -> None:
    vkey = step(told, "record")["vkey"]
    report = judge_log(told["log"], trust=[vkey], state_dir=Path(told["home"]) / "state")
    assert (report.verdict, report.remembered_size) == (Verdict.VERIFIED, 10)
    assert step(told, "alone")["holds"] is True
    script = Path(told["check"]).read_text()
    assert "import attestlog" not in script
    assert "from attestlog" not in script
    assert all(line in script for line in step(told, "alone")["lines"])


def test_demo_proves_an_entry_with_the_log_gone(told: dict[str, Any]) -> None:
    prove = step(told, "prove")
    vkey = step(told, "record")["vkey"]
    assert (prove["report"]["verdict"], prove["report"]["signed_by"]) == ("VERIFIED", [vkey])
    assert prove["report"]["sequence_number"] == 5
    attestlog.verify_proof(Path(prove["proof"]), trust=[vkey])


def check(told: dict[str, Any]) -> int:
    done = subprocess.run(
        [sys.executable, "-I", told["check"]], cwd=told["folder"], capture_output=True, check=False
    )
    return done.returncode


@pytest.mark.parametrize("member", [b'"safety_score":6.2', b'"actor_id":"digital_organism_01"'])
def test_the_check_script_refuses_a_changed_entry(told: dict[str, Any], member: bytes) -> None:
    segment = Path(told["log"]) / "entries" / "000000000000.jsonl"
    assert check(told) == 0
    segment.write_bytes(segment.read_bytes().replace(member, member.replace(b"1", b"2").replace(b"6", b"7")))
    assert check(told) != 0


def test_demo_text_shows_the_verdicts_and_its_advice_works(shell: Run, tmp_path: Path) -> None:
    result = shell("demo", TMPDIR=str(tmp_path), ATTESTLOG_HOME="")
    assert (result.code, result.err) == (0, "")
    verdicts = [word for word in result.out.split() if word in {"VERIFIED", "TAMPERED", "TRUNCATED"}]
    assert verdicts == ["VERIFIED", "TAMPERED", "VERIFIED", "VERIFIED", "TRUNCATED", "VERIFIED", "VERIFIED"]
    assert "\x1b" not in result.out
    export, *commands = [line.strip() for line in result.out.splitlines()[-9:]]
    name, _, value = shlex.split(export)[1].partition("=")
    assert name == "ATTESTLOG_HOME"
    assert Path(value).is_dir()
    commands.remove(f"attestlog explore {shlex.split(commands[0])[2]}")  # it ends when it is interrupted
    for command in commands:
        ran = shell(*shlex.split(command)[1:], **{name: value})
        assert (ran.code, command, ran.err) == (0, command, "")


def test_demo_uses_a_passphrase_where_one_is_set(shell: Run, tmp_path: Path) -> None:
    result = shell("demo", "--json", TMPDIR=str(tmp_path), ATTESTLOG_PASSPHRASE="secret")
    assert result.code == 0
    assert b"ENCRYPTED" in (Path(result.object["home"]) / "keys" / "signer.pem").read_bytes()


def test_the_readme_shows_what_the_demo_prints(shell: Run, tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (excerpt,) = re.findall(r"^\$ make demo\n…\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert len(excerpt.splitlines()) > 5
    assert excerpt in shell("demo", TMPDIR=str(tmp_path)).out
