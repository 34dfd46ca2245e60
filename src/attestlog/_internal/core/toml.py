"""TOML as it is read and written here: into and out of plain members.

JSON's strings, numbers, booleans and arrays of them are TOML's, but for DEL,
which TOML forbids in a string and JSON does not escape.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from attestlog._internal.core.convert import format_path
from attestlog.errors import MalformedConfigError

_DEL: Final = "\x7f"
_ESCAPED_DEL: Final = "\\u007f"

Kind = TypeVar("Kind")


def parse_toml(text: str, kind: type[Kind], name: str) -> Kind:
    """What the text says, as this type. `name`: what messages call it. Raises MalformedConfigError."""
    try:
        return msgspec.convert(tomllib.loads(text), kind)
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
