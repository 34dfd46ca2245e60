"""The shape of the code, read from its syntax trees: who imports whom, how long things are, what loads.

A module that does not exist yet breaks no rule; a room that is not in LEVELS does.
"""

import ast
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "attestlog"
PRIVATE = "_internal"  # every room in it is private; what stands beside it is API
SOURCE = Path(__file__).resolve().parents[1] / "src"

# Imports point from a later level to an earlier one. Rooms of one level do not know each other.
LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "verifier", "version"}),
    frozenset({"core", "disk", "net", "places"}),
    frozenset({"native", "proof_types", "schemas", "signers", "storage"}),
    frozenset({"config", "last_signed", "rules_cache"}),
    frozenset({"judging", "query", "ids", "proving", "replication", "snapshots", "timestamping"}),
    frozenset({"in_force", "verifying"}),
    # guard: below log, which offers it as `log.guard`; what it asks of a log is a protocol
    frozenset({"exporting", "guard"}),
    frozenset({"log", "remote", "replica", "shipping", "witness"}),
    frozenset(
        {"adopting", "approving", "configuring", "explorer", "legacy", "publisher", "repairing", "restoring"}
    ),  # above log, because what was brought in is recorded in it
    frozenset({"server", "integrations"}),
    frozenset({"cli", "haios"}),  # haios: the schema's names, public, over what any user may import
    frozenset({"__main__"}),
)
LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
FACADE = "__init__"  # attestlog/__init__.py
TESTING = "testing"  # the public test kit: stands outside, is imported by nothing
OUTERMOST = frozenset({"server", "integrations", "cli", "haios"})

MODULE_LINES_MAX = 800
LONG_BY_DESIGN = {"attestlog._internal.verifier.verify": 2_150}
"""A file that is handed out alone, to be read from top to bottom."""
FUNCTION_LINES_MAX = 70
FUNCTION_LINES_MEDIAN_MAX = 12

# The core is arithmetic on bytes: nothing that reads a clock, a file, a socket or chance, or runs at once.
CORE_THIRD_PARTY = frozenset({"msgspec", "cryptography"})
CORE_FORBIDDEN = frozenset(
    "_thread asyncio atexit builtins concurrent ctypes fcntl ftplib getpass glob http importlib io "
    "linecache locale logging mmap multiprocessing os pathlib pdb pickle platform pty queue random "
    "resource runpy sched secrets select selectors shelve shutil signal smtplib socket socketserver "
    "sqlite3 ssl subprocess syslog tempfile threading time tracemalloc urllib uuid warnings zoneinfo".split()
)
CORE_FORBIDDEN_CALLS = frozenset("breakpoint eval exec input open print __import__".split())
CORE_FORBIDDEN_METHODS = frozenset("now utcnow today generate generate_private_key sign".split())


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name, whether it is a package's `__init__`, its text and tree."""

    name: str
    is_package: bool
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        return room_of(self.name)


Modules = dict[str, Module]


def room_of(name: str) -> str:
    """attestlog._internal.log.log stands in log, attestlog.errors in errors, attestlog in the facade."""
    parts = [part for part in name.split(".")[1:] if part != PRIVATE]
    return parts[0] if parts else FACADE


def module(name: str, text: str, *, is_package: bool = False) -> Module:
    return Module(name, is_package, text, ast.parse(text, name))


def read_modules() -> Modules:
    found: Modules = {}
    for path in sorted((SOURCE / PACKAGE).rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found[name] = module(name, path.read_text(encoding="utf-8"), is_package=is_package)
    return found


@pytest.fixture(scope="module")
def modules() -> Modules:
    found = read_modules()
    assert f"{PACKAGE}.errors" in found
    assert f"{PACKAGE}.{PRIVATE}.core" in found
    return found


def imports(source: Module) -> Iterator[tuple[int, str, str | None]]:
    """(line, dotted module, imported name or None) of every import, wherever in the file it stands."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, None
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = source.name.split(".")
                parents = parts[: len(parts) - node.level + (1 if source.is_package else 0)]
                base = ".".join([*parents, base] if base else parents)
            for alias in node.names:
                yield node.lineno, base, alias.name


def internal_imports(source: Module, modules: Modules) -> Iterator[tuple[int, str]]:
    """(line, our module) of every import of ours: `from a import b` is a.b where that is a module, else a."""
    for line, base, name in imports(source):
        if base.split(".")[0] == PACKAGE:
            yield line, f"{base}.{name}" if f"{base}.{name}" in modules else base


def may_import(importer: str, imported: str) -> bool:
    """Whether a module in room `importer` may import one in room `imported`."""
    if importer == imported:
        return True
    if imported == TESTING:
        return False
    if importer in {FACADE, TESTING}:
        return imported not in OUTERMOST
    if imported == FACADE:  # what a user imports; inside, only the outermost rooms are users
        return importer in OUTERMOST
    return LEVEL_OF[imported] < LEVEL_OF[importer]


def direction_violations(modules: Modules) -> list[str]:
    bad = []
    for source in modules.values():
        for line, target in internal_imports(source, modules):
            room = room_of(target)
            if not may_import(source.room, room):
                bad.append(f"{source.name}:{line} imports {target}")
    return bad


def import_cycles(modules: Modules) -> list[str]:
    """Modules that reach themselves; imports inside functions and for typing only count as well."""
    graph = {
        name: {target for _, target in internal_imports(source, modules)} for name, source in modules.items()
    }
    cyclic = []
    for start, targets in graph.items():
        seen: set[str] = set()
        waiting = list(targets)
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting.extend(graph.get(name, ()))
        if start in seen:
            cyclic.append(start)
    return cyclic


def impurities(source: Module) -> list[str]:
    """What makes a core module more than arithmetic on bytes."""
    bad = []
    for line, base, name in imports(source):
        root = base.split(".")[0]
        if root == PACKAGE:
            continue
        if root in CORE_FORBIDDEN or (root not in sys.stdlib_module_names and root not in CORE_THIRD_PARTY):
            bad.append(f"{source.name}:{line} imports {base}")
        if root == "cryptography" and "private" in (name or "").lower():
            bad.append(f"{source.name}:{line} imports {name}: the core verifies, signers sign")
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in CORE_FORBIDDEN_CALLS:
            bad.append(f"{source.name}:{node.lineno} calls {node.func.id}()")
        if isinstance(node.func, ast.Attribute) and node.func.attr in CORE_FORBIDDEN_METHODS:
            bad.append(f"{source.name}:{node.lineno} calls .{node.func.attr}()")
    return bad


def function_lines(source: Module) -> dict[str, int]:
    return {
        f"{source.name}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def loaded_by(statement: str) -> set[str]:
    """The modules a fresh interpreter holds after `statement`, beyond those it starts with."""
    script = (
        f"import sys; before = set(sys.modules); {statement}; loaded = set(sys.modules) - before; "
        "import json; print(json.dumps(sorted(loaded)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_every_room_has_its_level(modules: Modules) -> None:
    rooms = {source.room for source in modules.values()}
    assert rooms - set(LEVEL_OF) - {FACADE, TESTING} == set()


def test_imports_point_one_way(modules: Modules) -> None:
    edges = [edge for source in modules.values() for edge in internal_imports(source, modules)]
    assert edges
    assert direction_violations(modules) == []


def test_no_import_cycle(modules: Modules) -> None:
    assert import_cycles(modules) == []


def test_core_is_pure(modules: Modules) -> None:
    core = [source for source in modules.values() if source.room == "core"]
    assert len(core) > 1
    assert [bad for source in core for bad in impurities(source)] == []


def test_the_judge_knows_no_file(modules: Modules) -> None:
    """Lines come to it from a directory, a list, a cursor or a socket: it must not care which."""
    judging = [source for source in modules.values() if source.room == "judging"]
    assert len(judging) > 1
    assert [bad for source in judging for bad in impurities(source)] == []
    known = {room_of(name) for source in judging for _, name in internal_imports(source, modules)}
    assert known <= {"judging", "core", "errors", "proof_types"}


KNOWS_DIRECTORIES = {
    "attestlog._internal.cli.archive": "only a directory's segments can be moved away",
    "attestlog._internal.restoring": "only a directory is put in the place of another",
}


def test_above_the_storage_nobody_knows_a_directory(modules: Modules) -> None:
    """All others are given a source or a store, whatever it is kept in."""
    knowing = {
        source.name
        for source in modules.values()
        for _, target in internal_imports(source, modules)
        if target.startswith("attestlog._internal.storage.files") and source.room != "storage"
    }
    assert knowing == set(KNOWS_DIRECTORIES)


def test_modules_are_short(modules: Modules) -> None:
    lines = {name: len(source.text.splitlines()) for name, source in modules.items()}
    limits = dict.fromkeys(lines, MODULE_LINES_MAX) | LONG_BY_DESIGN
    assert {name: count for name, count in lines.items() if count > limits[name]} == {}


def test_functions_are_short(modules: Modules) -> None:
    lines = {name: count for source in modules.values() for name, count in function_lines(source).items()}
    assert lines
    assert {name: count for name, count in lines.items() if count > FUNCTION_LINES_MAX} == {}
    assert statistics.median(lines.values()) <= FUNCTION_LINES_MEDIAN_MAX


def test_package_is_typed() -> None:
    assert (SOURCE / PACKAGE / "py.typed").is_file()


def test_importing_the_package_loads_no_driver_framework_or_client(modules: Modules) -> None:
    assert PACKAGE in modules  # a namespace without __init__.py would load nothing and show nothing
    loaded = loaded_by(f"import {PACKAGE}")
    assert PACKAGE in loaded
    heavy = {
        *("typer", "click", "rich", "pydantic", "sqlite3", "asyncio", "httpcore", "requests", "http.server"),
        *("litestar", "uvicorn", "boto3", "botocore", "psycopg", "obstore", "pkcs11"),
    }
    assert loaded & heavy == set()
    assert not [name for name in loaded if name.startswith(f"{PACKAGE}.haios")]


@pytest.mark.parametrize(
    "statement",
    [
        f"import {PACKAGE}.{PRIVATE}.verifying",
        "import attestlog as a; a.verify, a.judge_published, a.judge_proof, a.verify_proof, a.Report, dir(a)",
    ],
)
def test_verifying_loads_nothing_that_writes_or_signs(statement: str) -> None:
    loaded = loaded_by(statement)
    assert f"{PACKAGE}.{PRIVATE}.verifying" in loaded
    writing = {f"{PACKAGE}.{PRIVATE}.{room}" for room in ("log", "storage.files.store", "signers")}
    assert {
        name for name in loaded if any(name == bad or name.startswith(f"{bad}.") for bad in writing)
    } == set()


# The rules themselves, on made-up modules: each must see what it is for.


def made_up(**texts: str) -> Modules:
    found = {PACKAGE: module(PACKAGE, texts.pop("facade", ""), is_package=True)}
    for room, text in texts.items():
        name = f"{PACKAGE}.{room}"
        found[name] = module(name, text)
    return found


@pytest.mark.parametrize(
    "bad",
    [
        {"errors": "", "core": "from attestlog import log", "log": ""},
        {"core": "def late() -> None:\n    import attestlog.cli", "cli": ""},
        {"storage": "from attestlog.signers import Signer", "signers": ""},
        {"judging": "from . import query", "query": ""},
        {"log": "from .legacy import parse", "legacy": ""},
        {"log": "from attestlog import testing", "testing": ""},
        {"log": "from attestlog import Log"},
        {"facade": "from .cli import main", "cli": ""},
        {"facade": "from .haios import Entries", "haios": ""},
        {"cli": "from attestlog import haios", "haios": ""},
        {"testing": "from attestlog.haios import Entries", "haios": ""},
    ],
)
def test_wrong_direction_is_seen(bad: dict[str, str]) -> None:
    assert len(direction_violations(made_up(**bad))) == 1


@pytest.mark.parametrize(
    "good",
    [
        {"legacy": "from .log import Log", "log": "from .storage import Store", "storage": "", "errors": ""},
        {"facade": "from .log import Log", "log": "from .judging import judge", "judging": ""},
        {"testing": "from attestlog.log import Log", "log": ""},
        {"cli": "from attestlog import __version__"},
        {"haios": "import attestlog\nfrom attestlog.log import Log", "log": ""},
    ],
)
def test_right_direction_is_let_be(good: dict[str, str]) -> None:
    assert direction_violations(made_up(**good)) == []


def test_cycle_is_seen() -> None:
    found = made_up(
        judging="from . import query", query="def f():\n    from attestlog.judging import x", log=""
    )
    assert import_cycles(found) == [f"{PACKAGE}.judging", f"{PACKAGE}.query"]


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "from os.path import join",
        "import httpx",
        "from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey",
        "from datetime import datetime\ndatetime.now()",
        "open('x')",
    ],
)
def test_impurity_is_seen(text: str) -> None:
    assert len(impurities(module(f"{PACKAGE}.core.x", text))) == 1


def test_function_length_counts_from_def_to_last_line() -> None:
    source = module(f"{PACKAGE}.x", "@decorated\ndef f():\n    a = 1\n    return a\n")
    assert list(function_lines(source).values()) == [3]
