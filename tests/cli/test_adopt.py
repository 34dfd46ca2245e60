"""adopt and copy: a log goes to another machine, and nothing shorter or other is signed there."""

import os
import threading
from pathlib import Path

import pytest
from tests.cli.running import ORIGIN, Run
from tests.support.logs import contents, last_segment

from attestlog._internal.cli import adopt as verb
from attestlog._internal.log import Log
from attestlog._internal.storage.resolve import copy_log, open_source
from attestlog._internal.verifying import judge_log
from attestlog.errors import ExistsError, NoLogError, StorageError
from attestlog.testing import check_log

APPEND = ("--event-type", "ACTION", "--action-type", "deploy", "--actor-id", "agent-7")


def test_to_another_machine(
    run: Run, log: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("copy", log, tmp_path / "there").code == 0
    (key,) = (home / "keys").glob("*-entry-*.pem")
    (check,) = (home / "keys").glob("*-checkpoint-*.pem")
    monkeypatch.setenv("ATTESTLOG_HOME", str(tmp_path / "other-home"))
    there = tmp_path / "there"
    configured = run(
        "configure", there, "--entry-signer", f"file:{key}", "--checkpoint-signer", f"file:{check}"
    )
    assert configured.code == 0
    refused = run("adopt", there)
    assert (refused.code, ORIGIN in refused.out) == (2, True)
    assert run("memory", "list", "--signed", "--json").objects == []
    assert run("adopt", there, "--yes").out.endswith("adopted\n")
    (known,) = run("memory", "list", "--signed", "--json").objects
    assert (known["type"], known["origin"], known["size"]) == ("signed", ORIGIN, 4)
    appended = run("append", there, *APPEND)
    assert (appended.code, appended.err) == (0, "")
    assert run("adopt", there, "--yes").code == 2
    assert run("memory", "forget", "--signed", known["genesis"]).code == 0
    lost = run("append", there, *APPEND)
    assert lost.code == 4
    assert "attestlog adopt LOG" in lost.err


@pytest.mark.parametrize("answer, code", [("y", 0), ("n", 2)])
def test_a_person_is_asked(
    run: Run, log: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    genesis = run("memory", "list", "--signed", "--json").object["genesis"]
    run("memory", "forget", "--signed", genesis)
    monkeypatch.setattr(verb, "_agreed", lambda: answer == "y")
    assert run("adopt", log, "--json").code == code
    assert len(run("memory", "list", "--signed", "--json").objects) == (code == 0)


# --- copy ---


def test_a_copy_is_the_evidence_and_no_more(log: Path, tmp_path: Path) -> None:
    before = contents(log)
    with last_segment(log).open("ab") as file:
        file.write(b'{"torn')
    (log / "entries" / "torn-000000000000-7").write_bytes(b"x")
    (log / "log.toml").write_bytes(b"x")
    copy_log(log, tmp_path / "copy")
    assert contents(tmp_path / "copy") == before
    assert not (tmp_path / "copy" / "lock").exists()
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "copy").rglob("*")} == {0}
    assert judge_log(tmp_path / "copy", remember=False).verdict == "VERIFIED"
    with pytest.raises(ExistsError):
        copy_log(log, tmp_path / "copy")
    with pytest.raises(NoLogError):
        copy_log(tmp_path / "nothing", tmp_path / "copy-2")


def test_what_cannot_be_copied_leaves_nothing_behind(log: Path, tmp_path: Path) -> None:
    (log / "checkpoint").unlink()
    os.mkfifo(log / "checkpoint")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(StorageError, match="checkpoint cannot be copied"):
        copy_log(log, tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_copy_of_a_log_that_is_written_verifies(log: Path, tmp_path: Path) -> None:
    stopped = threading.Event()
    with Log.open(log) as opened:

        def write() -> None:
            while not stopped.is_set():
                opened.append_many([{"event_type": "ACTION", "action_type": "a", "actor_id": "b"}] * 3)
                opened.checkpoint()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(5):
                copy_log(log, tmp_path / f"copy-{number}")
        finally:
            stopped.set()
            writer.join()
    for number in range(5):
        copy = tmp_path / f"copy-{number}"
        assert judge_log(copy, remember=False).verdict == "VERIFIED"
        assert open_source(copy).size() >= 4
    check_log(log)
