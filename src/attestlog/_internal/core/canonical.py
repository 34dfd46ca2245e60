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
refused, never converted. So are numbers of a text that a double does not
keep (`1e-400` would become 0), floats from 2^53 to 1e21 that are whole:
ECMAScript spells them as integers, which every reader here would refuse.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

import msgspec
from msgspec import Struct

from attestlog.errors import MalformedJSONError

INTEGER_MAX: Final = 2**53 - 1
"""Largest magnitude of an integer: beyond it, IEEE doubles (and so JCS) cannot tell neighbours apart."""

NESTING_DEPTH_MAX: Final = 64
"""Containers within containers: deep enough for real payloads, far from any parser's own stack limit."""

VALUES_MAX: Final = 1 << 23
"""Values within one value: more do not fit in 16 MiB. What holds itself would have no end otherwise."""

_INTEGER_DIGITS_MAX: Final = len(str(-INTEGER_MAX))

_INTEGER_SPELLING_MAX: Final = 1e21
"""Below it, ECMAScript writes a whole number without an exponent."""

_PLAIN_FLOAT_MIN: Final = 1e-5
"""From here up, msgspec and ECMAScript agree on fractional floats (below 1e-6 they do again)."""

_INFINITY: Final = float("inf")

_PLAIN, _FLOATS, _AWKWARD = 0, 1, 2
_encoder = msgspec.json.Encoder(order="deterministic")
_CONTAINERS: Final = frozenset({dict, list, tuple})


class _Unfit(Exception):  # noqa: N818 - it never leaves this module
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
        culprit = unfit.culprit
        member = _locate(value, lambda part: part is culprit)
        raise MalformedJSONError(f"{member or 'the value'}: {unfit.reason}", member=member) from None
    except UnicodeEncodeError:
        raise MalformedJSONError(
            "a string holds a lone surrogate", member=_locate(value, _has_surrogate)
        ) from None


def decode(data: bytes | str) -> Any:
    """The value of a JSON text in any spelling, strictly: one value, no duplicate names, no NaN.

    Raises MalformedJSONError. What this returns can always be encoded.
    """
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        value = _decoder.decode(text)
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


def is_plain_ascii(containers: Iterable[Any], depth: int) -> bool:
    """The quick half of `is_canonical`, for objects and arrays decoded from JSON that is all ASCII.

    They stand at level `depth`. True is sure; False says that it takes a closer look.
    """
    level = list(containers)
    while level:
        below: list[Any] = []
        for container in level:
            for item in container.values() if type(container) is dict else container:
                kind = type(item)
                if kind is str:
                    continue
                if kind is int:
                    if not -INTEGER_MAX <= item <= INTEGER_MAX:
                        return False
                elif kind is float:
                    if item.is_integer() or not _PLAIN_FLOAT_MIN <= abs(item) < _INFINITY:
                        return False
                elif kind in _CONTAINERS:
                    below.append(item)
        if depth > NESTING_DEPTH_MAX:
            return False
        level = below
        depth += 1
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise MalformedJSONError(f"member {twice!r} appears twice", member=_printable(twice))
    return members


DOUBLE_DIGITS_MAX: Final = 17
"""So many tell any two doubles apart: programs that do not look for the shortest spelling write them all."""


class _Inexact(Struct, frozen=True):
    """Stands in a decoded value for a number that cannot be kept, until `encode` says where."""

    reason: str


def _integer(digits: str) -> int | _Inexact:
    # Converting is quadratic in the digits, and the interpreter's own limit can be switched off.
    if len(digits) > _INTEGER_DIGITS_MAX:
        return _Inexact("integer is beyond 2^53-1")
    return int(digits)


def _float(text: str) -> float | _Inexact:
    number = float(text)
    # Every double keeps 15 digits. One that is too large is infinite, and refused as such.
    if (len(text) <= sys.float_info.dig and text.isascii() and "e" not in text.lower()) or number in (
        _INFINITY,
        -_INFINITY,
    ):
        return number
    digits, power = _significant(text)
    if len(digits) <= DOUBLE_DIGITS_MAX and abs(number) >= sys.float_info.min:
        return number
    if (digits, power) == _significant(repr(number)):
        return number
    return _Inexact(f"{text[:40]} would be kept as {number!r}: give it fewer digits, or as a string")


def _significant(text: str) -> tuple[str, int]:
    """The digits of a number's text from the first to the last that is not 0, and the power of ten."""
    mantissa, _, exponent = text.lower().lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return "", 0
    # An exponent of more digits is of no double; its text stands for none either.
    power = int(exponent or 0) if len(exponent) <= _INTEGER_DIGITS_MAX else INTEGER_MAX
    return significant, power - len(fraction) + len(digits) - len(significant)


def _constant(name: str) -> NoReturn:
    raise MalformedJSONError(f"{name} is not a JSON number")


_decoder: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_float
)


def _inspect(value: Any, depth: int) -> int:
    """Level by level, no recursion: is every part of `value` JSON, and how must it be spelled?"""
    spelling, count = _PLAIN, 1
    level: list[Any] = [value]
    if type(value) not in _CONTAINERS:
        # In a tuple around it, which is no level of its own.
        level, count, depth = [(value,)], 0, depth - 1
    while level:
        below: list[Any] = []
        for container in level:
            items: Iterable[Any] = container
            if type(container) is dict:
                if not _names_sort_plainly(container):
                    spelling = _AWKWARD
                items = container.values()
            if depth > NESTING_DEPTH_MAX:
                raise _Unfit(container, f"nested deeper than {NESTING_DEPTH_MAX} levels")
            count += len(container)
            if count > VALUES_MAX:
                raise _Unfit(value, f"more than {VALUES_MAX} values, or a value within itself")
            for item in items:
                kind = type(item)
                if kind is str:  # most are
                    continue
                if kind is int:
                    if not -INTEGER_MAX <= item <= INTEGER_MAX:
                        raise _Unfit(item, _beyond(item))
                elif kind is float:
                    if not -_INFINITY < item < _INFINITY:
                        raise _Unfit(item, f"{item} is not a JSON number")
                    if item.is_integer() or abs(item) < _PLAIN_FLOAT_MIN:
                        if INTEGER_MAX < abs(item) < _INTEGER_SPELLING_MAX:
                            raise _Unfit(item, _beyond(item))
                        spelling = spelling or _FLOATS
                elif kind in _CONTAINERS:
                    below.append(item)
                elif kind is _Inexact:
                    raise _Unfit(item, item.reason)
                elif kind is not bool and item is not None:
                    raise _Unfit(item, f"expected a JSON value, got {kind.__name__}")
        level = below
        depth += 1
    return spelling


def _beyond(number: float) -> str:
    # Formatting a huge integer would itself fail.
    return f"integer {number:.0e} is beyond 2^53-1" if abs(number) < 10**300 else "integer is beyond 2^53-1"


def _names_sort_plainly(members: dict[Any, Any]) -> bool:
    try:
        if "".join(members).isascii():
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
    """Section 3.2.2.2: the two-character escapes, six characters for other controls, all else as it is."""
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
    point = int(exponent or 0) + (len(whole) if whole != "0" else len(digits) - len(fraction))
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{point - 1:+d}"


def _locate(value: Any, wanted: Callable[[Any], bool]) -> str:
    """Where the first part that is `wanted` sits, as `a.b[2]`; empty at the top. Names are parts too."""
    if wanted(value):
        return ""
    level: list[tuple[_Place, Any]] = [((), value)]
    while level:
        below: list[tuple[_Place, Any]] = []
        for place, container in level:
            for step, item in container.items() if isinstance(container, dict) else enumerate(container):
                if wanted(item) or (isinstance(step, str) and wanted(step)):
                    return _path((place, step))
                if item and isinstance(item, dict | list | tuple):
                    below.append(((place, step), item))
        level = below
    return ""


_Place = tuple[()] | tuple["_Place", str | int]
"""How a part was reached, the last step first: a path is spelled only for the one that is wanted."""


def _path(place: _Place) -> str:
    steps = []
    while place:
        place, step = place
        steps.append(f"[{step}]" if isinstance(step, int) else f".{_printable(step)}")
    return "".join(reversed(steps)).removeprefix(".")


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _has_surrogate(part: Any) -> bool:
    return isinstance(part, str) and any("\ud800" <= character <= "\udfff" for character in part)
