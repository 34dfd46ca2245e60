"""Another user of the machine, and one without a home: what they may see, and what is left behind.

The child is started as root and becomes the user once it has loaded everything: the interpreter may stand
where other users cannot go.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can be another user"),
]

STRANGER = 54_321
"""No user of this machine: without a name, and without a home."""

CHILD = """
import contextlib, importlib, io, json, os, pkgutil, sys
import attestlog._internal as rooms
for found in pkgutil.walk_packages(rooms.__path__, rooms.__name__ + "."):
    with contextlib.suppress(ImportError):
        importlib.import_module(found.name)
from attestlog._internal.cli import main

def run(environment, arguments):
    for name in [name for name in os.environ if name == "HOME" or name.startswith(("XDG_", "ATTESTLOG_"))]:
        del os.environ[name]
    os.environ.update(environment)
    out, err = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO())
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())
    return [code, *texts]

user, before, steps = json.load(sys.stdin)
for step in before:  # as root: loads what the verbs load late
    run(*step)
os.setgroups([])
os.setgid(user)
os.setuid(user)
json.dump([run(*step) for step in steps], sys.stdout)
"""
ENTRY = ["--event-type", "ACTION", "--action-type", "step", "--actor-id", "robot-1"]


class Said(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Step = tuple[dict[str, str], list[str]]


class Place:
    """A directory with a log of root's, and one of the stranger's own."""

    def __init__(self, root: Path) -> None:
        self.root, self.log, self.own = root, root / "log", root / "own"
        self.home = {"ATTESTLOG_HOME": str(root / "home")}
        root.chmod(0o755)
        (root / "locked").mkdir(0o755)
        self.own.mkdir()
        os.chown(self.own, STRANGER, STRANGER)

    def before(self) -> list[Step]:
        made = ["init", str(self.log), "--origin", "example.com/log"]
        verbs = [made, ["append", str(self.log), *ENTRY], *self.readers(self.log)]
        return [(self.home, verb) for verb in verbs]

    def readers(self, log: Path) -> list[list[str]]:
        verbs = [[verb, str(log)] for verb in ("query", "verify", "tail", "stats", "export")]
        return [*verbs, ["show", str(log), "0"]]

    def run(self, *steps: Step) -> list[Said]:
        """By the stranger, after root made the log."""
        given = json.dumps([STRANGER, self.before(), steps])
        done = subprocess.run(
            [sys.executable, "-c", CHILD], input=given, capture_output=True, text=True, check=True,
            cwd=self.root,
        )  # fmt: skip
        found: list[list[Any]] = json.loads(done.stdout)
        return [Said(*item) for item in found]


@pytest.fixture
def place() -> Iterator[Place]:
    # Not pytest's own directory, through which only its owner can go.
    with tempfile.TemporaryDirectory() as name:
        yield Place(Path(name))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_made_is_its_owners_only(place: Place) -> None:
    place.run()
    for folder in (place.log, place.root / "home"):
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
        assert {path.parent.stat().st_mode & 0o777 for path in files} == {0o700}
    assert place.log.stat().st_mode & 0o777 == 0o700


def test_another_user_sees_nothing_and_changes_nothing(place: Place) -> None:
    verbs = [*place.readers(place.log), ["append", str(place.log), *ENTRY], ["checkpoint", str(place.log)]]
    home = {"ATTESTLOG_HOME": str(place.own / "home")}
    for said, verb in zip(place.run(*((home, verb) for verb in verbs)), verbs, strict=True):
        assert (said.code, said.err.count("Traceback")) == (4, 0), (verb, said)
        assert "Permission denied" in said.out + said.err, (verb, said)
    assert [line.count(b"\n") for line in contents(place.log / "entries").values()] == [2]


def test_who_has_no_home_is_told_what_to_set_and_nothing_is_half_made(place: Place) -> None:
    made = ["init", str(place.own / "log"), "--origin", "example.com/own"]
    nowhere, locked = place.run(({}, made), ({"ATTESTLOG_HOME": str(place.root / "locked")}, made))
    assert (nowhere.code, locked.code) == (4, 4), (nowhere, locked)
    assert "ATTESTLOG_HOME" in nowhere.err
    assert "cannot be written: Permission denied" in locked.err
    assert list(place.own.iterdir()) == []
    assert list((place.root / "locked").iterdir()) == []


def test_who_has_no_home_reads_and_does_not_write(place: Place) -> None:
    log = place.own / "log"
    own, locked = ({"ATTESTLOG_HOME": str(folder)} for folder in (place.own / "home", place.root / "locked"))
    readers = place.readers(log)
    said = place.run(
        (own, ["init", str(log), "--origin", "example.com/own"]),
        *((environment, verb) for environment in ({}, locked) for verb in readers),
        *((environment, ["append", str(log), *ENTRY]) for environment in ({}, locked)),
        (own, ["append", str(log), *ENTRY]),
    )  # fmt: skip
    made, *read, nowhere, in_locked, good = said
    assert (made.code, good.code) == (0, 0), (made, good)
    assert [item.code for item in read] == [0] * 2 * len(readers), read
    assert (nowhere.code, in_locked.code) == (4, 4), (nowhere, in_locked)
    assert [text.count(b"\n") for text in contents(log / "entries").values()] == [2], "one was appended"
    assert list((place.root / "locked").iterdir()) == []
