"""Another user of the machine, and one without a home: what they may see, and what is left behind.

The child is started as root and becomes the user once it has loaded everything: the interpreter may stand
where other users cannot go.
"""

import grp
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.support.logs import draft

from attestlog._internal.log import Log
from attestlog._internal.storage.contract import Group

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

user, group, before, steps = json.load(sys.stdin)
for step in before:  # as root: loads what the verbs load late
    run(*step)
os.setgroups([])
os.setgid(group)
os.setuid(user)
json.dump([run(*step) for step in steps], sys.stdout)
"""
LOCKER = """
import fcntl, os, sys
user, group, root = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
os.setgroups([])
os.setgid(group)
os.setuid(user)
taken = 0
for folder, _, names in os.walk(root):
    for path in [folder, *(os.path.join(folder, name) for name in names)]:
        for kind in (fcntl.LOCK_EX, fcntl.LOCK_SH):
            try:
                fcntl.flock(os.open(path, os.O_RDONLY), kind | fcntl.LOCK_NB)
                taken += 1
            except OSError:
                pass
print(taken, flush=True)
sys.stdin.read()
"""
"""Locks all of a log that it can open, and holds on to it until its input ends."""

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
        self.group = STRANGER
        """The stranger's only one."""
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
        given = json.dumps([STRANGER, self.group, self.before(), steps])
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


# --- a group ---


@pytest.fixture
def group(place: Place) -> str:
    """The name of a group that the stranger is in, and root is not."""
    known = next((one for one in grp.getgrall() if one.gr_gid not in {0, *os.getgroups()}), None)
    if known is None:
        pytest.skip("this machine has no other group")
    place.group = known.gr_gid
    return known.gr_name


def append(log: Path) -> None:
    with Log.open(log) as opened:
        opened.append(draft(1))


def test_who_may_read_the_log_cannot_hold_up_its_writers(
    place: Place, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTESTLOG_HOME", str(place.root / "home"))
    log = place.root / "readable"
    with Log.create(log, origin="example.com/log", group=Group(group, may_write=False)) as made:
        made.append(draft(1))
    given = [sys.executable, "-c", LOCKER, str(STRANGER), str(place.group), str(log)]
    with subprocess.Popen(given, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as locker:
        assert locker.stdout is not None
        assert int(locker.stdout.readline()) > 1
        append(log)
        with Log.open(log) as opened:
            opened.append(draft(2))
            opened.checkpoint()
        locker.communicate()
    (read,) = place.run(({"ATTESTLOG_HOME": str(place.own / "home")}, ["verify", str(log)]))
    assert read.code == 0, read


def test_two_users_of_a_group_write_one_log_with_keys_that_a_container_would_get(
    place: Place, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTESTLOG_HOME", str(place.root / "home"))
    log, keys = place.root / "shared", place.root / "secrets"
    keys.mkdir(0o755)
    signers = [f"file:{keys / name}.pem" for name in ("entries", "checkpoints")]
    with Log.create(
        log, origin="example.com/log", signer=signers[0], checkpoint_signer=signers[1],
        group=Group(group, may_write=True),
    ) as made:  # fmt: skip
        made.append(draft(1))
    for key in keys.iterdir():
        os.chown(key, 0, place.group)
        key.chmod(0o440)
    theirs = {"ATTESTLOG_HOME": str(place.own / "home")}
    configured = ["--entry-signer", signers[0], "--checkpoint-signer", signers[1]]
    said = place.run(
        (theirs, ["configure", str(log), *configured]),
        (theirs, ["append", str(log), *ENTRY]),
        (theirs, ["checkpoint", str(log)]),
    )  # fmt: skip
    assert [one.code for one in said] == [0, 0, 0], said
    for key in keys.iterdir():
        key.chmod(0o600)
    append(log)
    (read,) = place.run((theirs, ["verify", str(log)]))
    assert read.code == 0, read
    assert [text.count(b"\n") for text in contents(log / "entries").values()] == [4]
