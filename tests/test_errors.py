"""The tree of errors: complete in its docstring, one code a class, evidence that survives every journey."""

import ast
import contextlib
import copy
import importlib
import inspect
import pickle
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.support.repository import parsed

from attestlog import errors
from attestlog.errors import (
    AttestlogError,
    DerivedMemberError,
    MalformedEntryError,
    MalformedError,
    SignerError,
    TooLargeError,
    VerificationError,
)

SOURCE = Path(errors.__file__).parent


def subclasses(kind: type[AttestlogError]) -> Iterator[type[AttestlogError]]:
    """`kind` and everything below it that attestlog itself defines, wherever in the package."""
    yield kind
    for below in kind.__subclasses__():
        if below.__module__.split(".")[0] == "attestlog":
            yield from subclasses(below)


CLASSES = list(subclasses(AttestlogError))
FACTS: dict[str, Any] = {"member": "a.b[0]", "expected": [1, "x"], "found": None, "sequence_number": 7}


def test_every_error_is_in_errors_py() -> None:
    for module in pkgutil.walk_packages([str(SOURCE)], "attestlog."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # one whose extra is not installed
                importlib.import_module(module.name)
    here = {cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)}
    assert set(subclasses(AttestlogError)) == {cls for cls in here if cls.__module__ == errors.__name__}


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    drawn: list[tuple[int, str, bool]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    (?:[│ ]   )*(?:[├└]── )?([A-Z][A-Za-z]+Error)( \(ValueError\))?(?:\s|$)", line)
        if match:
            drawn.append((line.index(match[1]) // 4 - 1, match[1], bool(match[2])))

    def tree(kind: type[AttestlogError], depth: int = 0) -> Iterator[tuple[int, str, bool]]:
        yield depth, kind.__name__, ValueError in kind.__bases__
        for below in kind.__subclasses__():
            if below.__module__ == errors.__name__:
                yield from tree(below, depth + 1)

    # A family may be drawn in another order than it is defined; parents are compared, not neighbours.
    def edges(nodes: list[tuple[int, str, bool]]) -> set[tuple[str, str, bool]]:
        above: list[str] = []
        found = set()
        for depth, name, value_error in nodes:
            above[depth:] = [name]
            found.add((above[depth - 1] if depth else "", name, value_error))
        return found

    names = [name for _, name, _ in drawn]
    assert len(names) == len(set(names)) == len(CLASSES)
    assert edges(drawn) == edges(list(tree(AttestlogError)))


def test_codes_are_dotted_unique_and_below_their_parents() -> None:
    own = [cls for cls in CLASSES if "code" in vars(cls)]
    codes = {cls.code: cls for cls in own}
    assert len(codes) == len(own)
    assert set(CLASSES) - set(own) == {
        errors.QuorumError,
        errors.WrongKeyError,
        errors.NoLogError,
        errors.NoStateError,
        errors.NoHomeError,
        errors.NoConfigError,
    }
    for code, cls in codes.items():
        assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)*", code), code
        for parent in set(cls.__bases__) & set(CLASSES) - {AttestlogError}:
            assert code.startswith(f"{parent.__dict__['code']}."), (code, parent)


def test_every_class_says_what_it_means() -> None:
    for cls in CLASSES:
        assert cls.__doc__, cls


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_evidence_and_message(kind: type[AttestlogError]) -> None:
    error = kind("expected a bee, got a wasp", **FACTS)
    assert str(error) == error.message == "expected a bee, got a wasp"
    assert error.args == ("expected a bee, got a wasp",)
    assert {name: getattr(error, name) for name in FACTS} == FACTS
    assert FACTS.items() <= error.evidence().items()
    assert not hasattr(error, "unknown")
    error.evidence()["member"] = "changed"
    assert error.evidence()["member"] == "a.b[0]"
    more = error.with_evidence("in other words", member="b", held=True)
    assert (type(more), more.message) == (kind, "in other words")
    assert more.evidence() == {**error.evidence(), "member": "b", "held": True}
    assert error.with_evidence().message == error.message


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_what_an_error_does_not_know_is_none_or_empty(kind: type[AttestlogError]) -> None:
    error = kind("x")
    assert not any(getattr(error, name) for name in declared(kind))
    assert error.evidence().items() <= {"retryable": False}.items()


def declared(kind: type[AttestlogError]) -> set[str]:
    """The evidence that errors of this class may have, as the class and those above it declare it."""
    names = {name for cls in kind.__mro__ for name in vars(cls).get("__annotations__", {})}
    return {name for name in names if not name.startswith("_")} - {"code"}


def sent(error: AttestlogError, protocol: int) -> AttestlogError:
    """As between processes."""
    arrived: AttestlogError = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - made right here
    return arrived


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("journey", ["pickle", "copy", "deepcopy"])
def test_an_error_arrives_as_it_left(kind: type[AttestlogError], journey: str) -> None:
    error = kind("expected a bee, got a wasp", **FACTS)
    if journey == "pickle":
        arrived = [sent(error, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    else:
        arrived = [copy.copy(error) if journey == "copy" else copy.deepcopy(error)]
    for other in arrived:
        assert type(other) is kind
        assert (str(other), other.evidence(), other.code) == (str(error), error.evidence(), error.code)


def test_a_signer_says_whether_waiting_helps() -> None:
    assert SignerError("gone").retryable is False
    assert sent(SignerError("slow", retryable=True), 4).retryable is True


def test_callers_mistakes_are_value_errors_and_tampering_is_none() -> None:
    for cls in (MalformedEntryError, TooLargeError, DerivedMemberError):
        assert issubclass(cls, ValueError)
    assert all(issubclass(cls, ValueError) for cls in subclasses(MalformedError))
    others = set(subclasses(VerificationError)) - {DerivedMemberError}
    assert not any(issubclass(cls, ValueError) for cls in others)


# What is raised, read from the source.

NAMES = {cls.__name__ for cls in CLASSES}


@cache
def raised() -> list[tuple[str, ast.Call]]:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(parsed(path)):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[_, *_]) if name in NAMES:
                    found.append((f"{path.relative_to(SOURCE)}:{node.lineno}", node))
    return found


def test_no_evidence_hides_behind_what_every_exception_has() -> None:
    taken = set(dir(Exception("x"))) | {"code", "message", "evidence", "with_evidence"}
    calls = raised()
    assert len(calls) > 50
    assert [
        f"{place} {keyword.arg}" for place, call in calls for keyword in call.keywords if keyword.arg in taken
    ] == []


def test_all_evidence_is_declared() -> None:
    for place, call in raised():
        assert isinstance(call.func, ast.Name)
        names = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
        assert names <= declared(getattr(errors, call.func.id)), place


def test_all_evidence_that_is_declared_is_given_somewhere() -> None:
    trees = [parsed(path) for path in SOURCE.rglob("*.py")]
    given = {node.arg for tree in trees for node in ast.walk(tree) if isinstance(node, ast.keyword)}
    assert {name for kind in CLASSES for name in declared(kind)} <= given


def ends(message: ast.expr) -> tuple[str, str] | None:
    """The first and last constant piece of a message; None where it is put together elsewhere."""
    if isinstance(message, ast.Constant) and isinstance(message.value, str):
        return message.value, message.value
    if isinstance(message, ast.JoinedStr):
        pieces = [piece.value if isinstance(piece, ast.Constant) else "" for piece in message.values]
        return str(pieces[0]), str(pieces[-1])
    return None


def test_messages_are_lower_case_sentences_without_full_stop() -> None:
    bad = []
    for place, call in raised():
        found = ends(call.args[0])
        if found:
            first, last = found
            word = first.split(" ")[0]
            if word[:1].isupper() and word[1:].islower() and word.isalpha():  # "Ed25519 …" is a name
                bad.append(f"{place} begins like a sentence: {first!r}")
            if last.endswith((".", "!", "\n")):
                bad.append(f"{place} ends like one: {last!r}")
    assert bad == []
