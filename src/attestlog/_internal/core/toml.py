"""TOML as it is read and written here: into and out of plain members.

JSON's strings, numbers, booleans and arrays of them are TOML's, but for DEL,
which TOML forbids in a string and JSON does not escape.

Reading takes time in proportion to the text. The standard library's reader takes
the square of the parts of a dotted key, so those are counted before it begins.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from attestlog._internal.core.convert import format_path
from attestlog.errors import MalformedConfigError

_DEL: Final = "\x7f"
_ESCAPED_DEL: Final = "\\u007f"

KEY_PARTS_MAX: Final = 64
"""Parts of a dotted key, as containers may be nested in JSON."""

_TOKEN: Final = re.compile(
    r"""(?s)"{3}(?:[^"\\]|\\.|"(?!""))*+(?:"{3,5})?|'{3}(?:[^']|'(?!''))*+(?:'{3,5})?"""
    r"""|"(?:[^"\\\n]|\\[^\n])*+"?|'[^'\n]*+'?|#[^\n]*+|[\[\]{}.,=\n]"""
)
"""Strings and comments whole, and what separates."""

Kind = TypeVar("Kind")


def load_toml(text: str) -> dict[str, Any]:
    """The members of a TOML text. Raises ValueError (mostly tomllib.TOMLDecodeError), RecursionError."""
    parts, line = 1, 1
    for match in _TOKEN.finditer(text):
        mark = match[0]
        parts = 1 if mark in _SEPARATORS else parts + (mark == ".")
        line += mark.count("\n")
        if parts > KEY_PARTS_MAX:
            raise tomllib.TOMLDecodeError(
                f"a key of more than {KEY_PARTS_MAX} parts (at line {line}, column 1)"
            )
    return tomllib.loads(text)


_SEPARATORS: Final = frozenset("[]{},=\n")


def toml_statements(text: str) -> Iterator[tuple[int, str]]:
    """(number of its first line, from 1; text) of each heading and each key with its value, in TOML."""
    start, begin, line, depth = 1, 0, 1, 0
    for match in _TOKEN.finditer(text):
        mark = match[0]
        depth += mark in {"[", "{"}
        depth -= mark in {"]", "}"}
        line += mark.count("\n")
        if mark == "\n" and not depth:
            yield start, text[begin : match.end()]
            start, begin = line, match.end()
    yield start, text[begin:]


def parse_toml(text: str, kind: type[Kind], name: str) -> Kind:
    """What the text says, as this type. `name`: what messages call it. Raises MalformedConfigError."""
    try:
        return msgspec.convert(load_toml(text), kind)
    except (ValueError, msgspec.ValidationError, RecursionError) as error:
        raise MalformedConfigError(f"{name}: {error}", file=name) from None


def format_toml(members: Mapping[str, Any]) -> str:
    """A file of plain members, then a table for each mapping and one for each mapping in a list.

    Members that are None are left out: TOML has no null.
    """
    given = {name: value for name, value in members.items() if value is not None}
    blocks = [_assignments({name: value for name, value in given.items() if not _is_tables(value)})]
    for name, value in given.items():
        if isinstance(value, Mapping):
            blocks.append(f"[{name}]\n{_assignments(value)}")
        elif _is_tables(value):
            blocks += [f"[[{name}]]\n{_assignments(item)}" for item in value]
    return "\n".join(filter(None, blocks))


def format_toml_value(value: Any) -> str:
    """A string, number, boolean, or an array of them."""
    return msgspec.json.encode(value).decode().replace(_DEL, _ESCAPED_DEL)


def format_toml_key(path: tuple[str, ...]) -> str:
    """A dotted key."""
    return format_path(path).replace(_DEL, _ESCAPED_DEL)


def _is_tables(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)
    )


def _assignments(members: Mapping[str, Any]) -> str:
    given = {name: value for name, value in members.items() if value is not None}
    return "".join(f"{name} = {format_toml_value(value)}\n" for name, value in given.items())
