"""The canonical form against the RFC's own data, and every way a JSON text can be refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from attestlog._internal.core import canonical
from attestlog._internal.core.canonical import (
    INTEGER_MAX,
    NESTING_DEPTH_MAX,
    decode,
    encode,
    encode_reference,
)
from attestlog.errors import MalformedError, MalformedJSONError

VECTORS = os.environ.get("ATTESTLOG_VECTORS")
JCS_NAMES = ("arrays", "french", "structures", "unicode", "values", "weird")


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.skipif(not VECTORS, reason="ATTESTLOG_VECTORS is not set")
@pytest.mark.parametrize("name", JCS_NAMES)
def test_rfc_vectors(name: str) -> None:
    folder = Path(str(VECTORS)) / "jcs"
    value = decode((folder / "input" / f"{name}.json").read_bytes())
    want = bytes.fromhex((folder / "outhex" / f"{name}.txt").read_text())
    assert encode(value) == encode_reference(value) == want
    assert (folder / "output" / f"{name}.json").read_bytes().rstrip(b"\n") == want


# RFC 8785 appendix B, and the places where msgspec, Python and ECMAScript part ways.
@pytest.mark.parametrize(
    "number, want",
    [
        (0.0, b"0"),
        (-0.0, b"0"),
        (5e-324, b"5e-324"),
        (-5e-324, b"-5e-324"),
        (1.7976931348623157e308, b"1.7976931348623157e+308"),
        (-1.7976931348623157e308, b"-1.7976931348623157e+308"),
        (2.2250738585072014e-308, b"2.2250738585072014e-308"),
        (9007199254740991.0, b"9007199254740991"),
        (-9007199254740991.0, b"-9007199254740991"),
        (1e21, b"1e+21"),
        (9.999999999999997e22, b"9.999999999999997e+22"),
        (1e23, b"1e+23"),
        (1.0000000000000001e23, b"1.0000000000000001e+23"),
        (0.000001, b"0.000001"),
        (0.0000015, b"0.0000015"),
        (9.999999999999997e-7, b"9.999999999999997e-7"),
        (1e-7, b"1e-7"),
        (1e-5, b"0.00001"),
        (9.999999999999999e-6, b"0.000009999999999999999"),
        (0.0001, b"0.0001"),
        (333333333.3333332, b"333333333.3333332"),
        (333333333.33333343, b"333333333.33333343"),
        (1424953923781206.2, b"1424953923781206.2"),
        (1e15, b"1000000000000000"),
        (1.5, b"1.5"),
        (7.0, b"7"),
    ],
)
def test_numbers(number: float, want: bytes) -> None:
    assert encode(number) == encode_reference(number) == rfc8785.dumps(number) == want


@pytest.mark.parametrize(
    "number", [2.0**53, -(2.0**53), 1e16, 295147905179352830000.0, 999999999999999900000.0]
)
def test_a_whole_float_spelled_as_an_integer_beyond_2_53_is_refused(number: float) -> None:
    spelled = encode_reference({"n": number})
    assert spelled == rfc8785.dumps({"n": number})  # it has a canonical form
    with pytest.raises(MalformedJSONError, match=r"2\^53-1") as caught:
        encode({"n": number})
    assert caught.value.member == "n"
    for text in (spelled, f'{{"n":{number!r}}}'):  # which nobody could read back
        with pytest.raises(MalformedJSONError, match=r"2\^53-1"):
            decode(text)


@pytest.mark.parametrize(
    "text, want",
    [
        ("\x00\x07\x1f", rb'"\u0000\u0007\u001f"'),
        ("\b\t\n\f\r", rb'"\b\t\n\f\r"'),
        ('"\\/', rb'"\"\\/"'),
        ("\x7f\x80\u2028\u2029é𝄞", '"\x7f\x80\u2028\u2029é𝄞"'.encode()),
    ],
)
def test_only_the_escapes_that_are_needed(text: str, want: bytes) -> None:
    assert encode(text) == encode_reference(text) == rfc8785.dumps(text) == want


def test_names_are_sorted_by_utf16_code_units() -> None:
    # U+1D11E is D834 DD1E in UTF-16, so it comes before U+FB33; by code point it comes after.
    value = {"\ufb33": 1, "\U0001d11e": 2, "\u20ac": 3, "\r": 4, "1": 5, "": 6, "\ud7ff": 7, "\ue000": 8}
    want = '{"":6,"\\r":4,"1":5,"€":3,"\ud7ff":7,"\U0001d11e":2,"\ue000":8,"\ufb33":1}'.encode()
    assert encode(value) == encode_reference(value) == rfc8785.dumps(value) == want


def test_awkward_names_do_not_hide_floats() -> None:
    value: Any = {"𝄞": [1.0, 1e-7, 1e21, {"a": -0.0}]}
    assert encode(value) == rfc8785.dumps(value)


def test_tuples_are_arrays() -> None:
    assert encode((1, (2.0,), {"a": ()})) == b'[1,[2],{"a":[]}]'


@pytest.mark.parametrize(
    "value, member, reason",
    [
        ({"a": [1, {"b": 2**53}]}, "a[1].b", r"beyond 2\^53-1"),
        ({"a": [1, {"b": -(2**53)}]}, "a[1].b", r"beyond 2\^53-1"),
        ({"a": 10**5000}, "a", r"beyond 2\^53-1"),
        ([0.5, float("nan")], "[1]", "nan is not a JSON number"),
        ({"a": float("inf")}, "a", "inf is not a JSON number"),
        ({"a": {"b": {1: 2}}}, "a.b", "expected names that are strings, got int"),
        ({"a": {None: 2}}, "a", "expected names that are strings, got NoneType"),
        ({"a": b"x"}, "a", "expected a JSON value, got bytes"),
        ({"a": {1, 2}}, "a", "expected a JSON value, got set"),
        ({"a": [{"b": "\ud800"}]}, "a[0].b", "a string holds a lone surrogate"),
        ({"a": {"\udfff": 1}}, r"a.\udfff", "a string holds a lone surrogate"),
        ("\ud834", "", "a string holds a lone surrogate"),
        (float("nan"), "", "nan is not a JSON number"),
        (object(), "", "expected a JSON value, got object"),
    ],
)
def test_what_json_cannot_carry_is_refused_by_name(value: Any, member: str, reason: str) -> None:
    with pytest.raises(MalformedJSONError, match=reason) as caught:
        encode(value)
    assert caught.value.member == member
    if member and "surrogate" not in reason:
        assert str(caught.value).startswith(f"{member}: ")


def test_integers_at_the_limit() -> None:
    assert encode([INTEGER_MAX, -INTEGER_MAX]) == b"[9007199254740991,-9007199254740991]"
    assert decode("[9007199254740991,-9007199254740991]") == [INTEGER_MAX, -INTEGER_MAX]


@pytest.mark.parametrize(
    "text",
    ["9007199254740992", "-9007199254740992", "12345678901234567890", "1" * 5000, "-" + "9" * 100_000],
)
def test_integer_texts_beyond_the_limit(text: str) -> None:
    # The reason is ours, not the interpreter's limit on digits, which an application can switch off.
    with pytest.raises(MalformedJSONError, match=r"integer .*is beyond 2\^53-1$"):
        decode(text)


@pytest.mark.parametrize(
    "text",
    [
        "1e-400",
        "-1e-400",
        "1234567890123.4567891",
        "0.1000000000000000055511151231257827",
        "1.00000000000000000001",
        "123456789012345678e-1",
        "0.100000000000000005",
        "4.9e-324",
        "6e-325",
        f"0.{'0' * 1_000}1",
        f"1e-{'9' * 4_000}",
        f"0.{'3' * 100_000}",
    ],
)
def test_a_number_that_a_double_does_not_keep_is_refused_by_name(text: str) -> None:
    with pytest.raises(MalformedJSONError, match="would be kept as") as caught:
        decode(f'{{"a":[1,{{"rate":{text}}}]}}')
    assert caught.value.member == "a[1].rate"


@pytest.mark.parametrize(
    "text, kept",
    [
        ("0.1", 0.1), ("1.10", 1.1), ("0.30000000000000004", 0.30000000000000004), ("-0.0", 0.0),
        ("0e9", 0.0),
        ("1E2", 100.0), ("5e-324", 5e-324), ("1.7976931348623157e308", 1.7976931348623157e308),
        ("100000.0e-5", 1.0), ("0.10000000000000001", 0.1), ("333333333.33333329", 333333333.3333333),
        (f"0e{'9' * 5_000}", 0.0), (f"1.5{'0' * 5_000}", 1.5), ("0.1234567890123", 0.1234567890123),
    ],
)  # fmt: skip
def test_a_number_is_kept_whatever_its_spelling(text: str, kept: float) -> None:
    assert decode(text) == kept


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_is_kept(number: float) -> None:
    if abs(number) < 1e21 and number.is_integer() and abs(number) > INTEGER_MAX:
        return
    assert decode(repr(number)) == number


def test_depth_at_the_limit_and_one_past_it() -> None:
    deepest = nested(NESTING_DEPTH_MAX)
    text = b"[" * NESTING_DEPTH_MAX + b"]" * NESTING_DEPTH_MAX
    assert encode(deepest) == text
    assert decode(text) == deepest
    assert encode(deepest[0], depth=2) == text[1:-1]
    with pytest.raises(MalformedJSONError, match="nested deeper than 64 levels") as caught:
        encode([deepest])
    assert caught.value.member == "[0]" * NESTING_DEPTH_MAX
    with pytest.raises(MalformedJSONError, match="nested deeper than 64 levels"):
        encode(deepest, depth=2)
    with pytest.raises(MalformedJSONError, match="nested deeper than 64 levels"):
        decode(b"[" + text + b"]")


def test_scalars_at_the_deepest_level_are_no_level() -> None:
    value: Any = 1
    for _ in range(NESTING_DEPTH_MAX):
        value = {"a": value}
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '[{"a":' * 50_000,
    ],
    ids=["open", "closed", "objects", "mixed"],
)
def test_absurd_nesting_is_malformed_and_no_recursion_error(text: str) -> None:
    with pytest.raises(MalformedJSONError):
        decode(text)
    with pytest.raises(MalformedJSONError):
        decode(text.encode())


def test_a_value_within_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    once: list[Any] = []
    once.append(once)
    with pytest.raises(MalformedJSONError, match="nested deeper"):
        encode(once)
    # Twice: each level doubles, so the depth limit alone would come only after 2^64 values.
    monkeypatch.setattr(canonical, "VALUES_MAX", 10_000)
    twice: dict[str, Any] = {}
    twice["left"] = twice["right"] = twice
    with pytest.raises(MalformedJSONError, match="or a value within itself"):
        encode(twice)


def test_number_of_values_at_the_limit_and_one_past_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "VALUES_MAX", 6)
    assert encode([1, [2], [3]]) == b"[1,[2],[3]]"
    with pytest.raises(MalformedJSONError, match="more than 6 values"):
        encode([1, [2], [3, 4]])


def test_as_many_values_as_16_mib_can_hold() -> None:
    assert (16 << 20) // len("0,") <= canonical.VALUES_MAX


@pytest.mark.parametrize(
    "text, name",
    [
        ('{"a":1,"a":1}', "a"),
        ('{"x":{"é":1,"b":2,"é":3}}', "é"),
        (r'{"a":1,"\u0061":2}', "a"),
        ('[{"":1,"":2}]', ""),
        (r'{"\ud800":1,"\ud800":2}', r"\ud800"),
    ],
)
def test_duplicate_names_are_named(text: str, name: str) -> None:
    with pytest.raises(MalformedJSONError, match="appears twice") as caught:
        decode(text)
    assert caught.value.member == name


def test_a_duplicate_among_very_many_names() -> None:
    # Comparing each name with each other would take hours here.
    names = ",".join(f'"{number}":0' for number in range(300_000))
    with pytest.raises(MalformedJSONError, match="'299999' appears twice"):
        decode(f'{{{names},"299999":1}}')


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"",
            b" ",
            b"\xef\xbb\xbf{}",
            b"{} {}",
            b"{}x",
            b"1 2",
            b"[1,]",
            b'{"a":1,}',
            b"{a:1}",
            b"'a'",
            b"[1 2]",
        ),
        *(
            b"NaN",
            b"Infinity",
            b"-Infinity",
            b"[nan]",
            b"1e999",
            b"-1e999",
            b"01",
            b"+1",
            b".5",
            b"1.",
            b"0x1",
        ),
        *(
            b'"a\nb"',
            b'"a\tb"',
            b'"\x00"',
            rb'"\x41"',
            rb'"\u12"',
            rb'"\ud800"',
            rb'"\udc00\ud800"',
            rb'"\ud800a"',
        ),
        *(
            b'"\xff"',
            b'"\xc0\x80"',
            b'"\xed\xa0\x80"',
            b"\xff\xfe1\x00",
            b'"',
            b"tru",
            b"True",
            b"null\x00",
            b"//\n1",
        ),
    ],
)
def test_what_is_not_json_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedJSONError) as caught:
        decode(data)
    assert isinstance(caught.value, MalformedError)


def test_text_and_bytes_are_read_alike() -> None:
    text = ' {"é" : [1.0, 2e0, "\\u00e9\\ud834\\udd1e", true, null] }\r\n'
    value = decode(text)
    assert value == decode(text.encode()) == json.loads(text)
    assert encode(value) == '{"é":[1,2,"é𝄞",true,null]}'.encode()


def test_a_text_with_a_byte_order_mark_is_malformed() -> None:
    with pytest.raises(MalformedJSONError):
        decode("\ufeff{}")


@pytest.mark.parametrize(
    "value, plain",
    [
        ([{"a": [1, 0.5, "x", None, True]}], True),
        ([{"a": 1.0}], False),
        ([{"a": 1e-7}], False),
        ([{"𝄞": 1}], False),
        ([2**53], False),
        (nested(64), True),
        (nested(65), False),
    ],
)
def test_is_canonical_only_vouches_for_what_msgspec_spells_right(value: Any, plain: bool) -> None:
    assert canonical.is_canonical(value) is plain
