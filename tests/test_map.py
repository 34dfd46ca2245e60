"""The tests are a map of the source: a module's tests are found by its name, helpers in one place."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.repository import ELSEWHERE, PRIVATE, ROOT, TESTS, TOPICS, UNIT, module_of, modules, parsed
from tests.support.tools import PACKAGES

UNIT_TESTS = [path for path in sorted(UNIT.rglob("test_*.py")) if TOPICS not in path.parents]
FILES = sorted(TESTS.rglob("*.py"))
SHARED = ("support", "vectors")
"""Folders whose helpers tests of every folder may use."""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> set[str]:
    """The modules below `tests` that a file imports."""
    found = {
        node.module
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "tests"
    }
    return found | {
        alias.name
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.split(".")[0] == "tests"
    }


@pytest.mark.parametrize("path", UNIT_TESTS, ids=name)
def test_a_unit_test_bears_the_name_of_a_module(path: Path) -> None:
    assert module_of(path), f"no module for {name(path)}: what is of no one module stands in {name(TOPICS)}"


def test_every_room_is_tested_where_it_says() -> None:
    rooms = {path.parent.relative_to(PRIVATE).as_posix() for path in PRIVATE.rglob("*.py")} - {"."}
    tested = {module.rpartition("/")[0] for path in UNIT_TESTS if (module := module_of(path))}
    tested |= {module for path in UNIT_TESTS if (module := module_of(path)) in rooms}
    assert {room for room in rooms if room not in tested and room not in ELSEWHERE} == set()
    for room, folder in ELSEWHERE.items():
        assert room in rooms
        assert any((TESTS / folder).glob("test_*.py"))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_helpers_have_one_home(path: Path) -> None:
    """What one folder uses stands beside its tests, what several use in support. No test is a helper."""
    folder = path.relative_to(TESTS).parts[0]
    for module in imported(path):
        _, *parts = module.split(".")
        assert not parts[-1].startswith("test_"), (
            f"{name(path)} imports {module}: a helper belongs in tests/support"
        )
        assert parts[0] in {*SHARED, folder}, (
            f"{name(path)} imports {module} of another folder: tests/support"
        )


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_program_is_asked_for_where_it_is_run(path: Path) -> None:
    """By `tool("strace")`: on a machine that has some of the programs the other tests still run."""
    for node in ast.walk(parsed(path)):
        match node:
            case ast.List(elts=[ast.Constant(value=str(first)), *_]):
                assert first not in PACKAGES, f'{name(path)}:{node.lineno}: write [tool("{first}"), …]'


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_parent_that_ignores_interrupts_changes_nothing(workers: str) -> None:
    """As under `make test &`: a test that interrupts what it started has it interrupted."""
    test = "tests/cli/test_terminal.py::test_tail_follows_until_it_is_interrupted"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", workers, test]
    ignoring = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *command]
    done = subprocess.run(ignoring, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout


def test_a_module_is_found_by_its_longest_name() -> None:
    assert module_of(UNIT / "core" / "test_policy_change.py") == "core/policy_change"
    assert module_of(UNIT / "core" / "test_merkle_proofs.py") == "core/merkle"
    assert module_of(UNIT / "test_attestlog.py") == "attestlog"
    assert module_of(UNIT / "query" / "test_query.py") == "query"
    assert module_of(UNIT / "core" / "test_nothing_there.py") is None
    assert "core" in modules()
