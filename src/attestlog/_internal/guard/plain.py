"""Any value of Python as JSON: what a guard records of arguments and results.

The same value always becomes the same JSON. What JSON has stays as it is. Of the rest:

    bytes, bytearray, memoryview        {"base64": text}
    datetime, date, time                ISO 8601, as `isoformat` spells it
    timedelta                           seconds
    UUID, Decimal, Fraction, Path       text, as `str` spells it
    NaN and the infinities              "NaN", "Infinity", "-Infinity"
    numbers that JSON's readers round   text
    Enum                                its value
    tuple, set, frozenset, deque        array; of a set in the order of the elements' JSON
    mapping                             object; a key that is no text is spelled as its value would be
    dataclass, msgspec, attrs, pydantic object of its fields

What is none of these is `{"not_recorded": why}` in its place, and so is what cannot be read: the classes are
the application's, and their code may raise. It is no serializer: nothing here is read back.
"""

from __future__ import annotations

import base64
import dataclasses
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

import msgspec

from attestlog._internal.core import canonical
from attestlog._internal.core.hashes import hex_hash

DEPTH_MAX: Final = 32
"""Levels of a value that are looked into; an entry has room for 64, its own among them."""

VALUES_MAX: Final = 100_000
"""Values looked at in one: lists that hold one list twice, and that another twice, have no end in sight."""

BEGINNING_SIZE_MAX_BYTES: Final = 4 << 10
"""Kept of what is too large: enough to see what it was."""

TOKEN_LENGTH_MAX: Final = 512
"""The beginning is cut between words, if one ends within so many characters: nobody knows half a secret."""

_AS_TEXT: Final = (UUID, Decimal, Fraction, PurePath)
_ISO: Final = (datetime, date, time)
_LISTS: Final = (list, tuple, deque)
_SETS: Final = (set, frozenset)


def to_plain(value: Any) -> Any:
    """The value as JSON has it: see the module. Raises nothing but what is no Exception."""
    return _Reading().plain(value, 0)


def cut_large(plain: Any, size_max_bytes: int, depth: int) -> Any:
    """`plain`, or of one whose JSON is larger its hash, its size and how it begins.

    `depth`: the level of an entry at which it will stand. The SHA-256 is that of its canonical JSON.
    """
    encoded = canonical.encode(plain, depth=depth)
    if len(encoded) <= size_max_bytes:
        return plain
    beginning = encoded[:BEGINNING_SIZE_MAX_BYTES].decode("utf-8", "ignore")
    end = max(beginning.rfind(mark, len(beginning) - TOKEN_LENGTH_MAX) for mark in ' ",\n')
    return {
        "not_recorded": f"a value of {len(encoded)} bytes, at most {size_max_bytes} are",
        "sha256": hex_hash(encoded),
        "size_bytes": len(encoded),
        "beginning": beginning[: end if end > 0 else None],
    }


def type_name(value: object) -> str:
    """The name of its type."""
    try:
        return str.encode(type(value).__qualname__, "utf-8", "backslashreplace").decode()
    except BaseException:  # noqa: BLE001 - a metaclass may say anything
        return "a type without a name"


class _Reading:
    """One value, read from its outside to its inside."""

    def __init__(self) -> None:
        self._values = 0
        self._above: set[int] = set()
        """Which objects hold the one that is read."""

    def plain(self, value: Any, depth: int) -> Any:
        self._values += 1
        if self._values > VALUES_MAX:
            return _not_recorded(f"it has more than {VALUES_MAX} values")
        if value is None or value is True or value is False:
            return value
        kind = type(value)
        if kind is str:
            return _text(value)
        if kind is int or kind is float:
            return _number(value)
        if depth >= DEPTH_MAX:
            return _not_recorded(f"it is nested deeper than {DEPTH_MAX} levels")
        if id(value) in self._above:
            return _not_recorded("it is within itself")
        self._above.add(id(value))
        try:
            return self._converted(value, kind, depth)
        except Exception as error:  # noqa: BLE001 - the application's code
            return _not_recorded(f"a value of type {type_name(value)}: reading it raised {type_name(error)}")
        finally:
            self._above.discard(id(value))

    def _converted(self, value: Any, kind: type, depth: int) -> Any:
        if issubclass(kind, Enum):
            return self.plain(value.value, depth + 1)
        if issubclass(kind, str):
            return _text(str.__str__(value))
        if issubclass(kind, int):
            return _number(int.__index__(value))
        if issubclass(kind, float):
            return _number(float.__float__(value))
        if issubclass(kind, _AS_TEXT):
            return _text(str(value))
        if issubclass(kind, _ISO):
            return value.isoformat()
        if issubclass(kind, timedelta):
            return _number(value.total_seconds())
        if issubclass(kind, bytes | bytearray | memoryview):
            return {"base64": base64.b64encode(value).decode()}
        if issubclass(kind, Mapping):
            return self._object(value.items(), depth)
        if issubclass(kind, _LISTS):
            return [self.plain(item, depth + 1) for item in value]
        if issubclass(kind, _SETS):
            return sorted((self.plain(item, depth + 1) for item in value), key=canonical.encode)
        fields = _fields(value, kind)
        if fields is not None:
            return self._object(fields, depth)
        return _not_recorded(f"a value of type {type_name(value)}")

    def _object(self, members: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, value in members:
            key = _text(name) if type(name) is str else self._key(name, depth)
            if key in made:
                return _not_recorded(f"two of its members are spelled {key[:80]!r}")
            made[key] = self.plain(value, depth + 1)
        return made

    def _key(self, name: Any, depth: int) -> str:
        plain = self.plain(name, depth + 1)
        return plain if isinstance(plain, str) else canonical.encode(plain).decode()


def _fields(value: Any, kind: type) -> Iterable[tuple[Any, Any]] | None:
    """Names and values of an object that has declared fields; None if it has none."""
    if dataclasses.is_dataclass(kind):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    if issubclass(kind, msgspec.Struct):
        return [(name, getattr(value, name)) for name in value.__struct_fields__]
    if attributes := getattr(kind, "__attrs_attrs__", None):
        return [(attribute.name, getattr(value, attribute.name)) for attribute in attributes]
    dump: Callable[[Any], Any] | None = getattr(kind, "model_dump", None)
    if dump is not None and hasattr(kind, "model_fields"):  # pydantic
        dumped: dict[str, Any] = dump(value)
        return dumped.items()
    return None


def _text(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _number(value: float) -> Any:
    if isinstance(value, int):
        return value if abs(value) <= canonical.INTEGER_MAX else str(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value if abs(value) <= canonical.INTEGER_MAX or not value.is_integer() else repr(value)


def _not_recorded(why: str) -> dict[str, Any]:
    return {"not_recorded": why}
