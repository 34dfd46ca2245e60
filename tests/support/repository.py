"""This checkout as tests read it: where things stand, parsed source, and which tests stand for a module."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "attestlog"
PRIVATE = PACKAGE / "_internal"
TESTS = ROOT / "tests"
UNIT = TESTS / "unit"
TOPICS = UNIT / "topics"
"""Tests of what no one module does alone."""

ELSEWHERE = {
    "cli": "cli",
    "explorer": "explorer",
    "server": "server",
    "replication": "server",
    "verifier": "property",
}
"""Rooms that are tested from outside: by commands, over HTTP, beside the other verifier. Room → folder."""


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file; read once, because many cases ask for the same one."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def modules() -> dict[str, Path]:
    """Every module and room by its place below the package, without `_internal`: `core/merkle`, `core`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = [part for part in path.relative_to(PACKAGE).with_suffix("").parts if part != "_internal"]
        if parts[-1] == "__init__":
            parts.pop()
        found["/".join(parts)] = path
    found["attestlog"] = found.pop("")
    return found


def module_of(test: Path) -> str | None:
    """The module that `unit/ROOM/test_MODULE.py` or `test_MODULE_TOPIC.py` stands for; None if there is none.

    A test named as its room asks the room by its front door.
    """
    if TOPICS in test.parents:
        return None
    room, stem = test.relative_to(UNIT).parent, test.stem.removeprefix("test_")
    if stem == room.name:
        return room.as_posix()
    words = stem.split("_")
    names = [(room / "_".join(words[:count])).as_posix() for count in range(len(words), 0, -1)]
    return next((name for name in names if name in modules()), None)


def own_tests(module: str) -> list[Path]:
    """The unit tests that bear a module's name."""
    if modules()[module].name == "__init__.py":
        return []
    return [test for test in sorted(UNIT.rglob("test_*.py")) if module_of(test) == module]


def tests_of(module: str) -> list[Path]:
    """The tests that should notice a wrong line of a module: its own, else those of its room."""
    room, _, name = module.rpartition("/")
    named = sorted((TESTS / "property").glob(f"test_{name}*.py"))
    if own := own_tests(module):
        return own + named
    outermost = room.partition("/")[0]
    folder = TESTS / ELSEWHERE[outermost] if outermost in ELSEWHERE else UNIT / room
    return [*sorted(folder.glob("test_*.py")), *named]
