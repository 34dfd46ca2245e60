"""Canonical JSON: RFC 8785 (JCS), UTF-8.

One value has one spelling: members sorted by UTF-16 code units, ECMAScript
number formatting, no white space, only the escapes that are needed. What is
hashed and signed anywhere in attestlog is such a spelling.

`encode` is msgspec's C encoder wherever its output is provably the canonical
one, and `encode_reference`, a transcription of the RFC, everywhere else. They
differ in three places only: msgspec writes an integral float as `1.0` or
`1e16`, writes magnitudes between 1e-6 and 1e-5 with an exponent, and sorts
names by code point, which is not UTF-16 order once a name holds a character
from U+D800 on.

It is not a JSON library: values that JSON cannot carry exactly (NaN, integers
beyond 2^53-1, lone surrogates, names that are not strings, dates, bytes) are
refused, never converted.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

import msgspec

from attestlog.errors import MalformedJSONError

INTEGER_MAX: Final = 2**53 - 1
"""Largest magnitude of an integer: beyond it, IEEE doubles (and so JCS) cannot tell neighbours apart."""

NESTING_DEPTH_MAX: Final = 64
"""Containers within containers: deep enough for real payloads, far from any parser's own stack limit."""

_PLAIN_FLOAT_MIN: Final = 1e-5
"""From here up, msgspec and ECMAScript agree on fractional floats (below 1e-6 they do again)."""

_PLAIN, _FLOATS, _AWKWARD = 0, 1, 2
_encoder = msgspec.json.Encoder(order="deterministic")
_SCALARS: Final = frozenset({str, bool, type(None)})


class _Unfit(Exception):
    """Internal: this very object has no canonical form; `encode` finds out where it sits."""

    def __init__(self, culprit: object, reason: str) -> None:
        super().__init__(reason)
        self.culprit, self.reason = culprit, reason


def encode(value: Any, *, depth: int = 1) -> bytes:
    """The canonical bytes of `value` (dict, list, tuple, str, int, float, bool, None).

    `depth` is the nesting level `value` itself will stand at.
    Raises MalformedJSONError naming the `member` (as `a.b[2]`) that does not fit.
    """
    try:
        spelling = _inspect(value, depth)
        if spelling == _PLAIN:
            return _encoder.encode(value)
        if spelling == _FLOATS:
            return _encoder.encode(_respell_floats(value))
        return encode_reference(value)
    except _Unfit as unfit:
        member = _locate(value, unfit.culprit)
        raise MalformedJSONError(f"{member or 'the value'}: {unfit.reason}", member=member) from None
    except UnicodeEncodeError:
        raise MalformedJSONError("a string holds a lone surrogate", member=_surrogate(value)) from None


def decode(data: bytes | str) -> Any:
    """The value of a JSON text in any spelling, strictly: one value, no duplicate names, no NaN.

    Raises MalformedJSONError. What this returns can always be encoded.
    """
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise MalformedJSONError(f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise MalformedJSONError(f"nested deeper than {NESTING_DEPTH_MAX} levels") from None
    except MalformedJSONError:
        raise
    except ValueError as error:
        raise MalformedJSONError(f"not JSON: {error}") from None
    encode(value)
    return value


def is_canonical(value: Any, depth: int = 1) -> bool:
    """Whether msgspec's spelling of a freshly decoded `value` is the canonical one.

    For verifiers that already know the bytes round-trip through msgspec.
    """
    try:
        return _inspect(value, depth) == _PLAIN
    except _Unfit:
        return False


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedJSONError(f"member {twice!r} appears twice", member=twice)
    return members


def _constant(name: str) -> NoReturn:
    raise MalformedJSONError(f"{name} is not a JSON number")


def _inspect(value: Any, depth: int) -> int:
    """Level by level, no recursion: is every part of `value` JSON, and how must it be spelled?"""
    spelling = _PLAIN
    level = [value]
    while level:
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind in _SCALARS:
                continue
            if kind is int:
                if not -INTEGER_MAX <= item <= INTEGER_MAX:
                    raise _Unfit(item, f"integer {item:.0e} is beyond 2^53-1" if abs(item) < 10**300
                                 else "integer is beyond 2^53-1")
            elif kind is float:
                if item - item != 0.0:
                    raise _Unfit(item, f"{item} is not a JSON number")
                if spelling == _PLAIN and (item.is_integer() or abs(item) < _PLAIN_FLOAT_MIN):
                    spelling = _FLOATS
            elif kind is dict or kind is list or kind is tuple:
                if depth > NESTING_DEPTH_MAX:
                    raise _Unfit(item, f"nested deeper than {NESTING_DEPTH_MAX} levels")
                if kind is dict:
                    if not _names_sort_plainly(item):
                        spelling = _AWKWARD
                    below.extend(item.values())
                else:
                    below.extend(item)
            else:
                raise _Unfit(item, f"expected a JSON value, got {kind.__name__}")
        level = below
        depth += 1
    return spelling


def _names_sort_plainly(members: dict[Any, Any]) -> bool:
    try:
        if all(map(str.isascii, members)):
            return True
    except TypeError:
        stranger = next(name for name in members if not isinstance(name, str))
        raise _Unfit(members, f"expected names that are strings, got {type(stranger).__name__}") from None
    return all(name < "\ud800" and max(name, default="") < "\ud800" for name in members)


def _respell_floats(value: Any) -> Any:
    """A copy whose floats msgspec will spell as ECMAScript does. Depth was checked before."""
    kind = type(value)
    if kind is float and (value.is_integer() or abs(value) < _PLAIN_FLOAT_MIN):
        integral = value.is_integer() and abs(value) <= INTEGER_MAX
        return int(value) if integral else msgspec.Raw(_number(value).encode())
    if kind is dict:
        return {name: _respell_floats(item) for name, item in value.items()}
    if kind is list or kind is tuple:
        return [_respell_floats(item) for item in value]
    return value


def encode_reference(value: Any) -> bytes:
    """RFC 8785 section 3.2, word for word; slow. For values `encode` has inspected."""
    return _text(value).encode("utf-8")


def _text(value: Any) -> str:
    match value:
        case None:
            return "null"
        case True:
            return "true"
        case False:
            return "false"
        case str():
            return _string(value)
        case int():
            return str(value)
        case float():
            return _number(value)
        case dict():
            names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
            return "{" + ",".join(f"{_string(name)}:{_text(value[name])}" for name in names) + "}"
        case _:
            return "[" + ",".join(map(_text, value)) + "]"


_ESCAPES: Final = {chr(code): f"\\u{code:04x}" for code in range(0x20)} | {
    "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\",
}  # fmt: skip
_TRANSLATION: Final = str.maketrans(_ESCAPES)


def _string(value: str) -> str:
    """Section 3.2.2.2: the two-character escapes, \\u00xx for other controls, all else as it is."""
    return f'"{value.translate(_TRANSLATION)}"'


def _number(value: float) -> str:
    """Section 3.2.2.3: ECMAScript's Number::toString, from Python's shortest digits (repr)."""
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) if whole != "0" else len(digits) - len(fraction) + int(exponent or 0)
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{point - 1:+d}"


def _locate(value: Any, culprit: object) -> str:
    """Where `culprit` (the object itself) sits in `value`, as `a.b[2]`; empty at the top."""
    level: list[tuple[str, Any]] = [("", value)]
    while level:
        below: list[tuple[str, Any]] = []
        for path, item in level:
            if item is culprit:
                return path
            if isinstance(item, dict):
                below += [(f"{path}.{name}" if path else str(name), member) for name, member in item.items()]
            elif isinstance(item, list | tuple):
                below += [(f"{path}[{index}]", member) for index, member in enumerate(item)]
        level = below
    return ""


def _surrogate(value: Any) -> str:
    """Where the string with a lone surrogate is (a member's name counts as the member)."""
    level: list[tuple[str, Any]] = [("", value)]
    while level:
        below: list[tuple[str, Any]] = []
        for path, item in level:
            if isinstance(item, str) and any("\ud800" <= character <= "\udfff" for character in item):
                return path
            if isinstance(item, dict):
                for name, member in item.items():
                    printable = name.encode("ascii", "backslashreplace").decode()
                    here = f"{path}.{printable}" if path else printable
                    if any("\ud800" <= character <= "\udfff" for character in name):
                        return here
                    below.append((here, member))
            elif isinstance(item, list | tuple):
                below += [(f"{path}[{index}]", member) for index, member in enumerate(item)]
        level = below
    return ""
