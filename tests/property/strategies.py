"""What JSON can carry, with a taste for the places where spellings part ways."""

from __future__ import annotations

import math
import struct
from typing import Any

from hypothesis import strategies as st

from attestlog._internal.core.canonical import INTEGER_MAX


def spelled_beyond_2_53(value: Any) -> bool:
    """Whether some float in `value` is spelled as an integer beyond 2^53-1, which no entry may hold."""
    if isinstance(value, float):
        return value.is_integer() and INTEGER_MAX < abs(value) < 1e21
    if isinstance(value, dict):
        return any(map(spelled_beyond_2_53, value.values()))
    return isinstance(value, list) and any(map(spelled_beyond_2_53, value))


def double(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])


bit_patterns = st.integers(0, 2**64 - 1).map(double).filter(math.isfinite)
near_the_exponents = st.builds(
    lambda digits, exponent: float(f"{digits}e{exponent}"),
    st.integers(-(10**17), 10**17),
    st.integers(-26, 23),
)
subnormals = st.integers(0, 2**52 - 1).map(double)
whole = st.integers(-(10**23), 10**23).map(float)
decimals = st.builds(
    lambda digits, places: digits / 10.0**places, st.integers(-(10**7), 10**7), st.integers(0, 9)
)
floats = st.one_of(
    st.just(-0.0), st.floats(allow_nan=False, allow_infinity=False), bit_patterns, near_the_exponents,
    subnormals, whole, decimals,
)  # fmt: skip

integers = st.one_of(st.integers(-INTEGER_MAX, INTEGER_MAX), st.sampled_from([INTEGER_MAX, -INTEGER_MAX, 0]))
# Both sides of the surrogates, where UTF-16 order and code point order part ways.
edge_text = st.text(
    st.sampled_from('a"\\/\x00\x1f\x7f\u2028é\ud7ff\ue000\ufb33\uffff\U00010000𝄞\U0010ffff'), max_size=6
)
texts = st.one_of(st.text(max_size=20), edge_text)

scalars = st.one_of(st.none(), st.booleans(), integers, floats, texts)
json_values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(texts, inner, max_size=5)),
    max_leaves=25,
)
storable_values = json_values.filter(lambda value: not spelled_beyond_2_53(value))
objects = st.dictionaries(texts, storable_values, max_size=6)


LINES = 31


DAMAGE = st.lists(
    st.tuples(
        st.sampled_from(
            ["drop", "repeat", "swap", "garbage", "empty", "edit", "resign", "cut", "strip", "join"]
        ),
        st.integers(1, LINES - 1),
    ),
    max_size=4,
)


def damaged(lines: list[bytes], damage: list[tuple[str, int]]) -> list[bytes]:
    lines = lines.copy()
    for kind, place in damage:
        number = min(place, len(lines) - 2)
        match kind:
            case "drop":
                del lines[number]
            case "repeat":
                lines.insert(number, lines[number - 1])
            case "swap":
                lines[number], lines[number + 1] = lines[number + 1], lines[number]
            case "garbage":
                lines[number] = bytes(len(lines[number]))
            case "empty":
                lines.insert(number, b"")
            case "edit":
                lines[number] = lines[number].replace(b"agent-1", b"agent-2")
            case "resign":
                lines[number] = lines[number].replace(b'hsm_signature":"30', b'hsm_signature":"31')
            case "cut":
                del lines[number + 1 :]
                lines += [b"", b""]
            case "strip":
                lines[number] = lines[number].replace(b"hsm_signature", b"hsm_signatures")
            case _:
                lines[number : number + 2] = [lines[number] + lines[number + 1]]
    return lines
