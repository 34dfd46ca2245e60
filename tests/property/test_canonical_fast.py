"""The quick inspection of what was decoded from ASCII JSON never says yes where the full one says no."""

import json

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from attestlog._internal.core import canonical
from attestlog._internal.core.canonical import INTEGER_MAX, NESTING_DEPTH_MAX

SCALARS = (
    st.none() | st.booleans() | st.text() | st.floats()
    | st.integers(min_value=-(2**63), max_value=2**63) | st.integers(INTEGER_MAX - 2, INTEGER_MAX + 2)
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)


@given(st.dictionaries(st.text(max_size=3), VALUES))
@example({"a": 1.0})
@example({"a": 1e-5, "b": 0.00001})
@example({"a": 9.9e-6})
@example({"a": [1e16, -0.0]})
@example({"\U0001d11e": 1, "\ufb33": 2})
def test_the_quick_inspection_agrees_with_the_full_one(value: object) -> None:
    line = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        decoded = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    spelled = msgspec.json.encode(decoded, order="deterministic")
    if spelled.isascii() and canonical.is_plain_ascii([decoded], depth=2):
        assert canonical.is_canonical(decoded, depth=2)
        assert canonical.encode(decoded, depth=2) == spelled


def test_what_is_ordinary_is_seen_to_be() -> None:
    value = {
        "task_id": "T-1",
        "files": ["a", "b"],
        "risk": 0.15,
        "lines": 42,
        "nested": {"ok": True, "no": None},
    }
    assert canonical.is_plain_ascii([value, [], (8.25,)], depth=2)


def test_nesting_at_the_limit_and_one_past_it() -> None:
    deep: list[object] = []
    for _ in range(NESTING_DEPTH_MAX - 2):
        deep = [deep]
    assert canonical.is_plain_ascii([deep], depth=2)
    assert canonical.is_canonical(deep, depth=2)
    assert not canonical.is_plain_ascii([[deep]], depth=2)
    assert not canonical.is_canonical([deep], depth=2)
