"""Work grows with the input, not with its square: each expression, normaliser, parser and policy operation.

The input is doubled; the work, counted and not timed, must at most double, but for a part that does not grow.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import pkgutil
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import parsed
from tests.support.work import Steps, opcodes, samples

import attestlog
from attestlog._internal.core import canonical
from attestlog._internal.core.convert import format_path, parse_path
from attestlog._internal.core.entry import NAME_LENGTH_MAX, encode_member
from attestlog._internal.core.glob import Glob
from attestlog._internal.core.lines import whole_lines
from attestlog._internal.core.pattern import Pattern
from attestlog._internal.core.policy import Redaction, parse_policy
from attestlog._internal.core.policy_text import format_policy_text, parse_policy_text
from attestlog._internal.core.redaction import Redactor, commitment, redactions
from attestlog._internal.core.secrets import PATTERN_SOURCES, name_ends, names_given
from attestlog._internal.core.toml import load_toml, parse_toml, toml_statements
from attestlog._internal.query import words
from attestlog.errors import AttestlogError

SOURCE = Path(attestlog.__file__).parent
GROWTH_MAX = 2.3
"""Doubled input may cost twice, and a little for what only begins at some length."""

# --- expressions ---


def _modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages([str(SOURCE)], "attestlog."):
        if found.name.endswith("__main__"):
            continue
        try:
            yield importlib.import_module(found.name)
        except (ImportError, AttestlogError):  # what an extra brings is not installed
            continue


def _held(value: object) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _held(item)


def _expressions() -> dict[str, re.Pattern[Any]]:
    found: dict[re.Pattern[Any], str] = {}
    for module in _modules():
        for name, value in vars(module).items():
            for index, pattern in enumerate(_held(value)):
                found.setdefault(
                    pattern, f"{module.__name__.rpartition('.')[2]}.{name}" + f"[{index}]" * (index > 0)
                )
    named = {name: pattern for pattern, name in found.items()}
    named |= {f"PATTERN_SOURCES.{name}": re.compile(source) for name, source in PATTERN_SOURCES.items()}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="re"), attr=method),
                    args=[ast.Constant(value=str(text)), *_],
                ) if method not in {"compile", "escape"}:
                    named[f"{path.stem}:{node.lineno} {method}"] = re.compile(text)
    return named


EXPRESSIONS = _expressions()
ANCHORED = {"match", "fullmatch"}


def _is_anchored(name: str) -> bool:
    """Whether the expression is only tried at one place: then searching with it is nobody's."""
    _, space, method = name.partition(" ")
    if space:
        return method in ANCHORED
    own = name.partition(".")[2].partition("[")[0]
    uses = set()
    for path in SOURCE.rglob("*.py"):
        uses |= set(re.findall(rf"\b{own}\.(\w+)\(", path.read_text(encoding="utf-8")))
    return bool(uses) and uses <= ANCHORED


def _attacks(pattern: re.Pattern[Any], size: int) -> Iterator[str]:
    """Texts that begin the expression again and again: each row of its parts, not ended."""
    parts = samples(Steps(pattern).tree)
    rows = {""} | {
        "".join(parts[start:stop]) for start, stop in itertools.combinations(range(len(parts) + 1), 2)
    }
    inner = {sample for part in _parts(Steps(pattern).tree) for sample in samples(part)}
    for row in sorted(rows | inner | {"a", "-", " ", '"', "\\", "a.", "a-", "eyJ-", "a:"}):
        if row:
            for before in {"", "".join(parts[:1])}:
                yield before + (row * size)[:size] + "\x00"


def _parts(items: Any) -> Iterator[Any]:
    for name, value in items:
        match str(name):
            case "BRANCH":
                for branch in value[1]:
                    yield branch
                    yield from _parts(branch)
            case "SUBPATTERN":
                yield value[3]
                yield from _parts(value[3])
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                yield value[2]
                yield from _parts(value[2])


def test_expressions_are_found() -> None:
    assert len(EXPRESSIONS) > 60
    assert {"redaction.ASSIGNING", "words._WORD", "trust._SPACE"} <= set(EXPRESSIONS)


def _grows(pattern: re.Pattern[Any], *, anchored: bool, size: int = 200) -> list[str]:
    steps, bad = Steps(pattern), []
    for small, large in zip(_attacks(pattern, size), _attacks(pattern, 2 * size), strict=True):
        once, twice = (steps.of(text, anchored=anchored) for text in (small, large))
        if twice > GROWTH_MAX * once + 400:
            bad.append(f"{small[:40]!r}: {once} steps, doubled {twice}")
    return bad


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_takes_steps_in_proportion_to_the_text(name: str) -> None:
    pattern = EXPRESSIONS[name]
    assert _grows(pattern, anchored=_is_anchored(name)) == []


@pytest.mark.parametrize(
    "source",
    [
        r"\beyJ[\w-]{10,}\.[\w-]{6,}",  # the JSON web token of before
        r"a+b",
        r"(?:aa|a)+$",
        r"<.*>",
        r"\w+@\w+",
    ],
)
def test_an_expression_that_takes_the_square_is_noticed(source: str) -> None:
    assert _grows(re.compile(source), anchored=False) != []


# --- normal forms ---


def test_no_text_is_normalised_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorting a run of marks takes the square of the run: only characters and names are normalised."""
    sizes: list[int] = []
    normalize = unicodedata.normalize

    def counted(form: Any, text: str) -> str:
        sizes.append(len(text))
        return normalize(form, text)

    monkeypatch.setattr(unicodedata, "normalize", counted)
    monkeypatch.setattr(words, "_folded", words._Folded())
    words.fold("a" + "\u0301\u0323\u0334" * 1_000 + "é")
    assert sizes
    assert max(sizes) == 1
    assert len(sizes) <= 5
    uses = [
        path.stem for path in SOURCE.rglob("*.py")
        if "unicodedata.normalize(" in path.read_text(encoding="utf-8") and path.stem != "words"
    ]  # fmt: skip
    assert uses == ["reserved"]
    assert NAME_LENGTH_MAX <= 256  # of an action_type, which is what `reserved` folds


# --- parsers and policy operations ---

REDACTOR = Redactor(Redaction(custom_patterns={"case": r"CASE-\d+|C(?:A|S|E)*-x"}))


def _commit(what: str, value: bytes) -> str:
    return commitment(bytes(32), bytes(8), what, value)


def _nested(size: int) -> dict[str, Any]:
    return {f"name{index}": [{"password": "x"}, "token=abcdef1", index] for index in range(size)}


def _policy(size: int) -> dict[str, Any]:
    rules = {f"r{index}": {"action_types": [f"a{index}*", "*x"]} for index in range(size)}
    return {"rules": rules, "redaction": {"fields": [f"f{index}_*" for index in range(size)]}}


def _statements(size: int) -> str:
    return "action_types = [\n" + '"a", # "\n' * size + ']\nother = """\n' + 'x"\n' * size + '"""\n'


def _refused(call: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        with pytest.raises(AttestlogError):
            call()

    return run


OPERATIONS: dict[str, Callable[[int], Callable[[], object]]] = {
    "canonical.encode": lambda size: lambda: canonical.encode(_nested(size)),
    "canonical.encode, awkward": lambda size: (
        lambda: canonical.encode({"\ud7ff\ue000": [1e16 + 1e22] * size, "é": 1.0})
    ),
    "canonical.decode": lambda size: lambda: canonical.decode("[" + "1.5e3," * size + "1]"),
    "canonical.decode, names": lambda size: lambda: canonical.decode(canonical.encode(_nested(size))),
    "canonical.decode, long numbers": lambda size: _refused(lambda: canonical.decode("[" + "9" * size + "]")),
    "parse_path": lambda size: lambda: parse_path(format_path(["a", "b c"] * size)),
    "Glob": lambda size: lambda: Glob("*a?" * size),
    "Glob.matches": lambda size: lambda: Glob("*a*ab*b?c").matches("a" * size),
    "Pattern": lambda size: lambda: Pattern("[ab]c*" * (size // 4)),
    "Pattern.spans": lambda size: lambda: Pattern("b[^z]*z|b").spans("b" * size),
    "Pattern.spans, nested": lambda size: lambda: Pattern("(?:a*b?)*c").spans("a" * size),
    "Pattern.spans, words": lambda size: lambda: Pattern(r"\bkey\b.{0,20}\w+$").spans("key " * size),
    "load_toml": lambda size: lambda: load_toml("".join(f"[a.b{index}]\nc.d = 1\n" for index in range(size))),
    "load_toml, deep": lambda size: _refused(lambda: parse_toml("a" + ".a" * 9 * size + " = 1", dict, "x")),
    "toml_statements": lambda size: lambda: list(toml_statements(_statements(size))),
    "parse_policy": lambda size: lambda: parse_policy(_policy(size)),
    "parse_policy_text": lambda size: (
        lambda: parse_policy_text(format_policy_text(parse_policy(_policy(size))))
    ),
    "parse_policy_text, refused": lambda size: _refused(
        lambda: parse_policy_text("[rules.x]\n" + _statements(size))
    ),
    "Policy.demand": lambda size: lambda: parse_policy(_policy(size)).demand("ACTION", "zzx", "me"),
    "Redactor": lambda size: lambda: Redactor(Redaction(fields=[f"f{index}_*" for index in range(size)])),
    "redact_value": lambda size: lambda: REDACTOR.redact_value(_nested(size), _commit),
    "redact_value, text": lambda size: lambda: REDACTOR.redact_value(["password='x' C-" * size], _commit),
    "redact_value, again": lambda size: (
        lambda: REDACTOR.redact_value([_commit("field", b"1") * size], _commit)
    ),
    "suspects": lambda size: lambda: REDACTOR.suspects(parsed(action_payload={"a": "b: c" * size}), []),
    "names_given": lambda size: (
        lambda: names_given(b"eyJ-" * size + b"a: '--b " * size, name_ends(["*token"]))
    ),
    "redactions": lambda size: (
        lambda: redactions(canonical.encode({"result_data": {"a": [_commit("x", b"")] * size}}))
    ),
    "fold": lambda size: lambda: words.contains(words.fold("đế\u0301 " * size), ["de"]),
    "whole_lines": lambda size: lambda: list(whole_lines([b"x"] * size)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_runs_bytecodes_in_proportion_to_its_input(name: str) -> None:
    make = OPERATIONS[name]
    make(80)()  # what is made once is made: caches of names and of compiled expressions
    once, twice = opcodes(make(40)), opcodes(make(80))
    assert twice <= GROWTH_MAX * once + 500, f"{once} bytecodes, doubled {twice}"


def test_an_operation_that_takes_the_square_is_noticed() -> None:
    def square(size: int) -> int:
        return sum(1 for _ in range(size) for _ in range(size))

    assert opcodes(lambda: square(200)) > GROWTH_MAX * opcodes(lambda: square(100)) + 500


def test_what_contains_itself_is_refused_by_a_bounded_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "VALUES_MAX", 1_000)
    loop: list[Any] = []
    loop += [loop, loop]
    work = opcodes(_refused(lambda: encode_member("action_payload", {"a": loop})))
    assert work < 200_000
