"""Values of Python as JSON: always the same, never an exception, never without an end."""

import dataclasses
import enum
import math
import uuid
from collections import OrderedDict, deque, namedtuple
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestlog._internal.core import canonical
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.guard.plain import DEPTH_MAX, VALUES_MAX, cut_large, to_plain


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Point:
    x: int
    y: Any = None


class Struct(msgspec.Struct):
    name: str


class Attributes:
    """As attrs makes them."""

    __attrs_attrs__ = (type("Attribute", (), {"name": "size"}),)
    size = 4


class Model:
    """As pydantic makes them."""

    model_fields: dict[str, Any] = {"name": None}  # noqa: RUF012

    def model_dump(self) -> dict[str, Any]:
        return {"name": Colour.RED}


class Broken(Attributes):
    @property
    def size(self) -> int:  # type: ignore[override]
        raise RuntimeError("not to be read")


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "another"


Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - a plain one, too

CASES = [
    (None, None),
    (True, True),
    ("é", "é"),
    ("\ud800", "\\ud800"),
    (Text("text"), "text"),
    (1.5, 1.5),
    (2**53 - 1, 2**53 - 1),
    (2**53, "9007199254740992"),
    (-(2**53), "-9007199254740992"),
    (float(2**60), "1.152921504606847e+18"),
    (1e300, "1e+300"),
    (math.nan, "NaN"),
    (math.inf, "Infinity"),
    (-math.inf, "-Infinity"),
    (b"\x00\xff", {"base64": "AP8="}),
    (bytearray(b"a"), {"base64": "YQ=="}),
    (memoryview(b"a"), {"base64": "YQ=="}),
    (datetime(2026, 11, 30, 12, 0, 0, 5, tzinfo=UTC), "2026-11-30T12:00:00.000005+00:00"),
    (date(2026, 11, 30), "2026-11-30"),
    (time(12, 30), "12:30:00"),
    (timedelta(minutes=1, microseconds=500_000), 60.5),
    (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    (Decimal("1.10"), "1.10"),
    (Fraction(1, 3), "1/3"),
    (PurePosixPath("/etc/hosts"), "/etc/hosts"),
    (Colour.RED, "red"),
    (Level.HIGH, 3),
    ((1, 2), [1, 2]),
    (Pair(1, "b"), [1, "b"]),
    (deque([1]), [1]),
    ({"b", "a"}, ["a", "b"]),
    (frozenset({10, 9}), [10, 9]),
    (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    (MappingProxyType({"a": 1}), {"a": 1}),
    ({1: "a", None: "b", Colour.RED: "c"}, {"1": "a", "null": "b", "red": "c"}),
    (Point(1, Point(2)), {"x": 1, "y": {"x": 2, "y": None}}),
    (Struct("a"), {"name": "a"}),
    (Attributes(), {"size": 4}),
    (Model(), {"name": "red"}),
]


@pytest.mark.parametrize("value, plain", CASES, ids=[str(number) for number in range(len(CASES))])
def test_each_kind_has_one_spelling(value: Any, plain: Any) -> None:
    found = to_plain(value)
    assert (found, type(found)) == (plain, type(plain))
    canonical.encode(found)


def test_what_is_none_of_them_is_named_in_its_place() -> None:
    assert to_plain({"a": [object()], "b": 1}) == {
        "a": [{"not_recorded": "a value of type object"}], "b": 1,
    }  # fmt: skip
    assert to_plain(Point) == {"not_recorded": "a value of type type"}
    assert to_plain({1: "a", "1": "b"}) == {"not_recorded": "two of its members are spelled '1'"}


def test_code_that_raises_costs_its_own_place_only() -> None:
    said = {"not_recorded": "a value of type Broken: reading it raised RuntimeError"}
    assert to_plain([1, Broken()]) == [1, said]


def test_what_holds_itself_has_an_end() -> None:
    round_: list[Any] = [1]
    round_.append(round_)
    assert to_plain(round_) == [1, {"not_recorded": "it is within itself"}]
    shared = [1]
    assert to_plain([shared, shared]) == [[1], [1]], "twice is not within"


def test_depth_and_number_have_limits() -> None:
    deep: Any = 1
    for _ in range(DEPTH_MAX + 1):
        deep = [deep]
    assert f"deeper than {DEPTH_MAX} levels" in str(to_plain(deep))
    assert "deeper" not in str(to_plain(deep[0]))
    wide: Any = [0]
    for _ in range(25):
        wide = [wide, wide]
    assert f"more than {VALUES_MAX} values" in str(to_plain(wide))
    canonical.encode(to_plain(list(range(VALUES_MAX - 1))))
    assert "more than" not in str(to_plain(list(range(VALUES_MAX - 1)))[-1])
    assert "more than" in str(to_plain(list(range(VALUES_MAX)))[-1])


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.dates()
    | st.uuids(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
    max_leaves=20,
)


@given(_values)
def test_whatever_it_is_it_can_be_an_entry_s(value: Any) -> None:
    encoded = canonical.encode(to_plain(value), depth=3)
    assert canonical.encode(to_plain(value), depth=3) == encoded
    assert to_plain(canonical.decode(encoded)) == canonical.decode(encoded), "what JSON has stays as it is"


def test_of_what_is_large_hash_size_and_beginning_are_kept() -> None:
    plain = {"text": "word " * 2_000}
    encoded = canonical.encode(plain)
    cut = cut_large(plain, 1_000, depth=2)
    assert (cut["sha256"], cut["size_bytes"]) == (hex_hash(encoded), len(encoded))
    assert encoded.decode().startswith(cut["beginning"])
    assert 3_500 < len(cut["beginning"]) <= 4_096
    assert cut_large(plain, len(encoded), depth=2) is plain


def test_the_beginning_ends_between_words() -> None:
    secret = "sk-" + "a1" * 100
    cut = cut_large({"a": "x" * 3_950 + " " + secret + " y" * 500}, 1_000, depth=2)
    assert cut["beginning"].endswith("x"), "half a secret would stand there"
    assert len(cut_large({"a": "é" * 5_000}, 1_000, depth=2)["beginning"]) > 1_000, "one word is cut anywhere"
