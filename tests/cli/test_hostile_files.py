"""Every file of a log in another shape than it should have, by every verb and both verifiers.

One file, or two, are missing, cut, a pipe, a device, another log's, an older copy's. Then: no verb hangs or
fails by a defect, none destroys a byte of the log or of what a link leads to, no reader writes, and no
verdict is better than it should be. What a verb shows without verifying, `verify` must have a word for.
"""

import itertools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from tests.cli.running import ORIGIN, Run
from tests.support.logs import draft

from attestlog._internal.core.genesis import Settings
from attestlog._internal.log import Log
from attestlog._internal.verifier import verify as one_file
from attestlog._internal.verifying import judge_log

HANG_S = 120
"""Far more than any of it takes."""
HOLE_BYTES = 1 << 40
"""No disk has as much, and nobody reads as much before the alarm."""
LOOK_BYTES = 1 << 20
"""Of a file, when its lines are compared: more than the logs here have."""

SEGMENTS = ["entries/000000000000.jsonl", "entries/000000000004.jsonl", "entries/000000000008.jsonl"]
FILES = [*SEGMENTS, "checkpoint", "tree/0", "lock", "erasing", "moved", "entries", "tree", "timestamps"]
DECIDES_NOTHING = {"tree/0", "tree", "lock", "erasing", "moved", "timestamps"}
"""Made by the writer for itself, or derived: a log can be verified without them."""
AS_IT_WAS = {("checkpoint", "older"), (SEGMENTS[0], "older")}
"""An older checkpoint is a checkpoint of the log; the first segment is what it was."""
VICTIM = b"a file of somebody's\n" * 20


class Logs:
    """A log of eleven entries in three segments, the log as it was with six, and another one."""

    def __init__(self, root: Path) -> None:
        self.root, self.log, self.victim = root, root / "audit", root / "victim"
        for name, origin in (("audit", ORIGIN), ("other", "example.com/other")):
            with Log.create(root / name, origin=origin, settings=Settings(segment_entries=4)) as made:
                for number in range(1, 6):
                    made.append(draft(number))
        shutil.copytree(self.log, root / "older")
        with Log.open(self.log) as made:
            for number in range(6, 11):
                made.append(draft(number))
        shutil.copytree(self.log, root / "good")
        shutil.copytree(root / "home", root / "home-before")
        self.victim.write_bytes(VICTIM)

    def restore(self) -> None:
        for name, before in (("audit", "good"), ("home", "home-before")):
            shutil.rmtree(self.root / name)
            shutil.copytree(self.root / before, self.root / name)
        for name in ("target", "copied"):
            shutil.rmtree(self.root / name, ignore_errors=True)

    def put(self, name: str, kind: str) -> None:
        path = self.log / name
        data = path.read_bytes() if path.is_file() else b"x" * 300
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        KINDS[kind](self, path, data)

    def _take(self, path: Path, where: str) -> None:
        source = self.root / where / path.relative_to(self.log)
        if source.is_dir():
            shutil.copytree(source, path)
        elif source.exists():
            shutil.copy(source, path)

    def other(self, path: Path, _: bytes) -> None:
        self._take(path, "other")

    def older(self, path: Path, _: bytes) -> None:
        self._take(path, "older")

    def link(self, path: Path, _: bytes) -> None:
        path.symlink_to(self.victim)

    def hole(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)
        os.truncate(path, HOLE_BYTES)

    def lines(self) -> set[bytes]:
        """Those of the entries, wherever in the log they are."""
        found: set[bytes] = set()
        folder = self.log / "entries"
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    found |= set(file.read(LOOK_BYTES).split(b"\n")[:-1])
        return found

    def state(self) -> list[tuple[str, int, int, int]]:
        """Of each file: name, mode, size, and when it was written."""
        found = []
        for path in sorted(self.log.rglob("*")):
            status = path.lstat()
            size = (status.st_size, status.st_mtime_ns) if not path.is_dir() else (0, 0)
            found.append((str(path), status.st_mode, *size))
        return found


KINDS: dict[str, Callable[[Logs, Path, bytes], object]] = {
    "missing": lambda logs, path, data: None,
    "empty": lambda logs, path, data: path.touch(),
    "cut": lambda logs, path, data: path.write_bytes(data[: len(data) * 2 // 3]),
    "garbage": lambda logs, path, data: path.write_bytes(
        bytes(33 + (37 * place + 11) % 90 for place in range(len(data)))
    ),
    "pipe": lambda logs, path, data: os.mkfifo(path),
    "directory": lambda logs, path, data: path.mkdir(),
    "link": Logs.link,
    "device": lambda logs, path, data: path.symlink_to("/dev/zero"),
    "loop": lambda logs, path, data: path.symlink_to(path.name),
    "other": Logs.other,
    "older": Logs.older,
    "hole": Logs.hole,
}

READERS = {
    "query": ["query", "audit"],
    "stats": ["stats", "audit"],
    "show": ["show", "audit", "2"],
    "tail": ["tail", "audit", "-n", "3"],
    "prove": ["prove", "audit", "2"],
    "export": ["export", "audit"],
    "keys": ["keys", "list", "audit"],
    "policy": ["policy", "show", "audit"],
    "hold": ["hold", "list", "audit"],
    "publish": ["publish", "audit", "target"],
    "copy": ["copy", "audit", "copied"],
    "repair": ["repair", "audit"],
}
LOOKING = {"query", "stats", "tail", "export"}
"""Verbs whose answer would be wrong without the end of the log."""
SHOWING = set(READERS) - {"publish", "copy", "repair"}
WRITERS = {
    "append": ["append", "audit", "--event-type", "ACTION", "--action-type", "step", "--actor-id", "r"],
    "checkpoint": ["checkpoint", "audit"],
    "repair --yes": ["repair", "audit", "--yes"],
}
CODES = {0, 1, 3, 4, 5, 6}
"""Not 7, for nothing was begun; not 70, a defect."""


@pytest.fixture
def logs(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Logs:
    assert home == tmp_path / "home"
    monkeypatch.chdir(tmp_path)
    return Logs(tmp_path)


@contextmanager
def no_hang(what: object) -> Iterator[None]:
    def ring(_: int, __: FrameType | None) -> None:
        pytest.fail(f"{what}: hangs")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(HANG_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def verdict_of(log: Path, what: object) -> str:
    """What both verifiers say: the same, but for time stamps, which the one file leaves to the full one."""
    with no_hang(what):
        report = one_file.Report()
        one_file.verify(report, log, None, one_file.parse_trust([]))
        full = judge_log(log, remember=False, workers=1).verdict.value
    assert report.verdict == full or (log / "timestamps").is_symlink(), what
    return full


def check(logs: Logs, run: Run, good: dict[str, str], name: str, kind: str) -> None:
    """All verbs, on a log with one file put in another shape."""
    where = f"{name} {kind}"
    logs.restore()
    logs.put(name, kind)
    verdict = verdict_of(logs.log, where)
    may_hold = name in DECIDES_NOTHING or (name, kind) in AS_IT_WAS
    assert verdict != "VERIFIED" or may_hold, where
    state, lines = logs.state(), logs.lines()
    for verb, arguments in READERS.items():
        what = f"{where}: {verb}"
        with no_hang(what):
            result = run(*arguments)
        assert result.code in CODES, (what, result)
        if verdict == "TRUNCATED" and (name, kind) not in AS_IT_WAS and name not in DECIDES_NOTHING:
            assert result.code or verb not in LOOKING, (what, result)
        if verb == "show" and result.code == 0:  # entry 2, in whatever file: never one of another log
            assert result.out == good[verb], what
        if result.code == 0 and verb in SHOWING and result.out != good[verb]:
            assert verdict != "VERIFIED" or (name, kind) in AS_IT_WAS, what
        assert logs.state() == state, what
    for verb, arguments in WRITERS.items():
        what = f"{where}: {verb}"
        logs.restore()
        logs.put(name, kind)
        with no_hang(what):
            result = run(*arguments)
        assert result.code in CODES, (what, result)
        assert lines <= logs.lines(), what
        assert logs.victim.read_bytes() == VICTIM, what
        if verdict == "VERIFIED" and result.code == 0:
            assert verdict_of(logs.log, what) == "VERIFIED", what


def shown(logs: Logs, run: Run) -> dict[str, str]:
    """What each verb shows of the log as it should be."""
    found = {}
    for verb, arguments in {**READERS, **WRITERS}.items():
        logs.restore()
        result = run(*arguments)
        assert result.code == 0, result
        found[verb] = result.out
    return found


def cases() -> Iterator[tuple[str, str]]:
    for name, kind in itertools.product(FILES, KINDS):
        if (
            "/" in name
            or name in {"checkpoint", "lock", "erasing", "moved"}
            or kind not in {"cut", "garbage"}
        ):
            yield name, kind


@pytest.mark.parametrize(
    "name, kind",
    [
        (SEGMENTS[2], "pipe"), ("tree/0", "link"), (SEGMENTS[2], "hole"), (SEGMENTS[2], "cut"),
        (SEGMENTS[2], "missing"), (SEGMENTS[0], "other"),
    ],
)  # fmt: skip
def test_a_file_in_another_shape(logs: Logs, run: Run, name: str, kind: str) -> None:
    check(logs, run, shown(logs, run), name, kind)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_file_in_every_shape(logs: Logs, run: Run, name: str) -> None:
    good = shown(logs, run)
    for other, kind in cases():
        if other == name:
            check(logs, run, good, name, kind)


@pytest.mark.slow
def test_two_files_in_other_shapes(logs: Logs) -> None:
    """By both verifiers: two wrong files do not make each other right."""
    names = [*SEGMENTS, "checkpoint", "tree/0"]
    kinds = ["missing", "pipe", "cut", "other", "older"]
    for one, two in itertools.combinations(itertools.product(names, kinds), 2):
        if one[0] == two[0]:
            continue
        logs.restore()
        logs.put(*one)
        logs.put(*two)
        verdict = verdict_of(logs.log, (one, two))
        may_hold = all(name in DECIDES_NOTHING or (name, kind) in AS_IT_WAS for name, kind in (one, two))
        assert verdict != "VERIFIED" or may_hold, (one, two)


@pytest.mark.parametrize("is_tree_there", [True, False])
def test_what_was_cut_off_is_not_taken_for_an_answer(logs: Logs, run: Run, is_tree_there: bool) -> None:
    """The last segment is gone, and with it what a search would find; tree or checkpoint tell."""
    (logs.log / SEGMENTS[2]).unlink()
    (logs.log / ("checkpoint" if is_tree_there else "tree/0")).unlink()
    for arguments in (
        ["query", "audit", "--action-type", "step"], ["query", "audit", "--actor-id", "nobody"],
        ["export", "audit"], ["export", "audit", "--format", "csv"], ["stats", "audit"], ["tail", "audit"],
    ):  # fmt: skip
        result = run(*arguments)
        assert (result.code, result.out) == (1, ""), (arguments, result)
        assert "8 entries, 11 were committed" in result.err
