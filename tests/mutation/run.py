"""`python -m tests.mutation.run [--each N] [MODULE …]`: would a test notice if this line were wrong?

Each mutant is one module with one small change (a comparison turned, a constant
one more, a statement left out), in a copy of the source. The tests of that module,
found by its name, run against it, and one of them should fail. The seed draws which
changes are tried: a bounded sample, the same wherever it is run. What survives is
printed, to be judged: a missing test, or a change that changes nothing. EQUIVALENT.md says
which change nothing, and why: they are not tried.

Without MODULE every module is mutated that has unit tests of its own.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.repository import ROOT, SOURCE, modules, own_tests, tests_of

ALSO: Final = {
    "core/approval": ["tests/vectors/test_vectors.py"],
    "judging/keys": ["tests/unit/verifying/test_session_trust.py"],
    "judging/scan": ["tests/unit/topics/test_pointers.py"],
    "judging/walk": ["tests/unit/verifying/test_whole_beside.py"],
    "signers/pkcs11": ["tests/hsm/test_softhsm.py"],
    "signers/pkcs11_keys": ["tests/hsm/test_softhsm.py"],
    "signers/pkcs11_module": ["tests/hsm/test_softhsm.py", "tests/hsm/test_outage.py"],
}
"""Tests of a module that are not found by its name."""

TURNED: Final[dict[type[ast.AST], type[ast.AST]]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or,
    ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr,
}  # fmt: skip
PATIENCE_S: Final = 60
"""A mutant that takes so much longer than the original hangs: that is noticed, too."""


EQUIVALENT: Final = Path(__file__).with_name("EQUIVALENT.md")


class Mutant(NamedTuple):
    module: str
    line: int
    text: str
    """Of the line."""
    what: str
    source: str


class Equivalent(NamedTuple):
    """A mutant that does what the original does, or nobody can tell."""

    module: str
    text: str
    what: str
    why: str


def equivalents() -> list[Equivalent]:
    """The rows of EQUIVALENT.md: module, line, change, and why."""
    rows = re.findall(
        r"^\| (\S+) \| `(.+)` \| `(.+)` \| (.+) \|$", EQUIVALENT.read_text("utf-8"), re.MULTILINE
    )
    return [Equivalent(*row) for row in rows]


def mutants(module: str) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    source = modules()[module].read_text(encoding="utf-8")
    tree, lines = ast.parse(source), source.splitlines()
    places = list(code(tree))
    for index, node in enumerate(places):
        for variant in range(len(changes(node))):
            again = copy.deepcopy(tree)
            target = list(code(again))[index]
            before = ast.unparse(target)
            apply(again, target, changes(target)[variant])
            after = ast.unparse(target) if not isinstance(target, ast.stmt) else "left out"
            line = getattr(node, "lineno", 0)
            what = f"{before.splitlines()[0]} → {after}"
            yield Mutant(module, line, lines[line - 1].strip(), what, ast.unparse(again))


def code(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes in which something can be changed; annotations are none."""
    for field, value in ast.iter_fields(tree):
        if field not in {"annotation", "returns"}:
            for node in value if isinstance(value, list) else [value]:
                if isinstance(node, ast.AST):
                    if changes(node):
                        yield node
                    yield from code(node)


def changes(node: ast.AST) -> list[tuple[str, object]]:
    """(field, new value) of each small change; ("", None): the statement is left out."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in TURNED:
            return [("ops", [TURNED[type(operator)]()])]
        case ast.BoolOp(op=operator) | ast.BinOp(op=operator) if type(operator) in TURNED:
            return [("op", TURNED[type(operator)]())]
        case ast.UnaryOp(op=ast.Not()):
            return [("op", ast.UAdd())]
        case ast.Constant(value=bool(value)):
            return [("value", not value)]
        case ast.Constant(value=int(value)):
            return [("value", value + 1)]
        case ast.Raise() | ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Break() | ast.Continue():
            return [("", None)]
    return []


def apply(tree: ast.Module, target: ast.AST, change: tuple[str, object]) -> None:
    """Make the change in `tree`, which holds `target`."""
    field, value = change
    if field == "op" and isinstance(value, ast.UAdd):
        # `not x` becomes `bool(x)`, spelled so that only this node changes.
        target.op, target.operand = ast.Not(), ast.UnaryOp(ast.Not(), target.operand)  # type: ignore[attr-defined]
    elif field:
        setattr(target, field, value)
    else:
        for parent in ast.walk(tree):
            for body in (getattr(parent, name, None) for name in ("body", "orelse", "finalbody")):
                if isinstance(body, list) and target in body:
                    body[body.index(target)] = ast.Pass()


def run_tests(source: Path, module: str, timeout_s: float) -> bool:
    """Whether every test passes with the package in `source`."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider"]
    command += [
        "--deselect",
        "tests/unit/verifying/test_whole.py::test_every_code_is_asked_for_by_a_test_and_has_a_meaning",
    ]
    try:
        done = subprocess.run(
            [*command, *tests_of(module), *ALSO.get(module, [])],
            cwd=ROOT, check=False, capture_output=True, timeout=timeout_s,
            env={**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.mutation.run", description=__doc__)
    parser.add_argument("--each", type=int, default=10, help="mutants of each module")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as core/merkle")
    options = parser.parse_args()
    chosen = options.modules or [module for module in modules() if own_tests(module)]
    tried = survived = 0
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "src"
        shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
        for module in chosen:
            path = source / modules()[module].relative_to(SOURCE)
            original = path.read_text(encoding="utf-8")
            start = time.monotonic()
            if not run_tests(source, module, 600):
                raise SystemExit(f"{module}: its tests fail without a mutant")
            timeout_s = time.monotonic() - start + PATIENCE_S
            known = {(item.module, item.text, item.what) for item in equivalents()}
            every = [item for item in mutants(module) if (item.module, item.text, item.what) not in known]
            drawn = random.Random(f"{options.seed}{module}").sample(every, min(options.each, len(every)))
            for mutant in sorted(drawn, key=lambda item: item.line):
                path.write_text(mutant.source, encoding="utf-8")
                tried += 1
                if run_tests(source, module, timeout_s):
                    survived += 1
                    print(f"survived: {module}.py:{mutant.line}: {mutant.what}", flush=True)
            path.write_text(original, encoding="utf-8")
            print(f"{module}: {len(drawn)} of {len(every)} tried", flush=True)
    print(f"{tried} mutants, {survived} survived")


if __name__ == "__main__":
    main()
