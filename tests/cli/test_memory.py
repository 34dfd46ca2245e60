"""memory: what is remembered, listed and forgotten; and said when a name is used again."""

import shutil
from pathlib import Path

from tests.cli.running import ORIGIN, Run
from tests.support.logs import OWNED


def test_a_log_made_twice_is_said_at_once_and_the_way_out_works(run: Run, tmp_path: Path, home: Path) -> None:
    log = tmp_path / "audit"
    assert run("init", log, "--origin", OWNED).err == ""
    assert run("memory", "list", "--json").objects == []
    assert run("verify", log).code == 0
    (known,) = run("memory", "list", "--json").objects
    assert (known["type"], known["origin"], known["size"]) == ("memory", OWNED, 1)
    assert known["genesis"][:16] in run("memory", "list").out
    shutil.rmtree(log)
    made = run("init", log, "--origin", OWNED)
    assert made.code == 0
    assert f"another log named {OWNED} is remembered" in made.err
    assert f"attestlog memory forget {OWNED}" in made.err
    forked = run("verify", log)
    assert forked.code == 5
    assert f"attestlog memory forget {OWNED}" in forked.err
    assert run("memory", "forget", OWNED, "--json").object == {"type": "forgotten", "origin": OWNED}
    assert run("verify", log).code == 0
    assert run("memory", "forget", OWNED).out == f"forgot {OWNED}\n"
    assert run("memory", "forget", OWNED).code == 4
    assert list((home / "state").glob("*.json")) == []


def test_under_an_examples_name_a_second_log_is_no_fork(run: Run, tmp_path: Path, home: Path) -> None:
    for folder in ("first", "second"):
        assert run("init", tmp_path / folder, "--origin", ORIGIN).err == ""
        assert run("verify", tmp_path / folder).code == 0
    listed = run("memory", "list", "--json").objects
    assert [known["origin"] for known in listed] == [ORIGIN, ORIGIN]
    assert run("memory", "forget", ORIGIN).code == 0
    assert list((home / "state").glob("*.json")) == []


def test_a_first_log_of_a_name_is_made_without_a_word(run: Run, tmp_path: Path) -> None:
    assert run("init", tmp_path / "new", "--origin", ORIGIN).err == ""


def test_what_cannot_be_read_is_said_and_the_rest_is_listed(run: Run, log: Path, home: Path) -> None:
    assert run("verify", log).code == 0
    (good,) = (home / "state").glob("*.json")
    (home / "state" / "spoiled.json").write_text("{")
    (home / "state" / "renamed.json").write_bytes(good.read_bytes())
    listed = run("memory", "list")
    assert (listed.code, listed.out.count(ORIGIN)) == (0, 1)
    assert "spoiled.json" in listed.err
    assert "renamed.json is not named by its origin" in listed.err
