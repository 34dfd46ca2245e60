"""The layout of compressed segments: index and frame headers, without a codec."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestlog._internal.core.compression import (
    FRAME_SIZE_MAX_BYTES,
    FRAMES_MAX,
    WINDOW_SIZE_MAX_BYTES,
    check_frame,
    decode_index,
    encode_index,
    index_size,
)
from attestlog.errors import MalformedSegmentError

SIZES = st.lists(
    st.tuples(st.integers(1, 2**32 - 1), st.integers(1, FRAME_SIZE_MAX_BYTES)), min_size=1, max_size=9
)


@given(SIZES)
def test_an_index_has_one_spelling(sizes: list[tuple[int, int]]) -> None:
    data = encode_index(sizes)
    found = decode_index(data, len(data) + sum(packed for packed, _ in sizes))
    assert [(frame.packed_size, frame.size) for frame in found.frames] == sizes
    assert encode_index([(frame.packed_size, frame.size) for frame in found.frames]) == data
    assert index_size(data[-9:]) == len(data)


def test_where_the_frames_are() -> None:
    data = encode_index([(5, 100), (7, 50), (2, 30)])
    found = decode_index(data, 14 + len(data))
    assert [frame.offset for frame in found.frames] == [0, 5, 12]
    assert (found.starts, found.size) == ((0, 100, 150), 180)
    places = [found.frame_at(offset) for offset in (0, 99, 100, 149, 150, 179, 180, 10_000)]
    assert places == [0, 0, 1, 1, 2, 2, 3, 3]


@given(SIZES, st.data())
def test_what_is_no_index(sizes: list[tuple[int, int]], data: st.DataObject) -> None:
    index = bytearray(encode_index(sizes))
    at = data.draw(st.integers(0, len(index) - 1))
    bit = data.draw(st.integers(0, 7))
    file_size = len(index) + sum(packed for packed, _ in sizes)
    for size in (file_size - 1, file_size + 1):
        with pytest.raises(MalformedSegmentError):
            decode_index(bytes(index), size)
    index[at] ^= 1 << bit
    try:
        found = decode_index(bytes(index), file_size)
    except MalformedSegmentError:
        return
    assert encode_index([(frame.packed_size, frame.size) for frame in found.frames]) == bytes(index)
    assert (at - 8) % 8 >= 4, "only a frame's size can be another: its header says what it is"


@pytest.mark.parametrize(
    "sizes", [[], [(0, 1)], [(1, 0)], [(1, FRAME_SIZE_MAX_BYTES + 1)], [(1, 1)] * (FRAMES_MAX + 1)]
)
def test_the_limits_of_an_index(sizes: list[tuple[int, int]]) -> None:
    data = encode_index(sizes)
    with pytest.raises(MalformedSegmentError):
        decode_index(data, len(data) + sum(packed for packed, _ in sizes))


def test_the_most_an_index_may_have() -> None:
    data = encode_index([(1, FRAME_SIZE_MAX_BYTES)] * FRAMES_MAX)
    assert len(decode_index(data, len(data) + FRAMES_MAX).frames) == FRAMES_MAX


def header(text: str) -> bytes:
    return bytes.fromhex("28b52ffd" + text)


@pytest.mark.parametrize(
    "text, size",
    [
        ("2005ffffff", 5), ("600000ffff", 256), ("60ffffffff", 65_791), ("a000008000", WINDOW_SIZE_MAX_BYTES),
        ("e00000800000000000", WINDOW_SIZE_MAX_BYTES), ("80680000004000", 1 << 30), ("40680500ff", 261),
        ("2405ffffff", 5),
    ],
)  # fmt: skip
def test_headers(text: str, size: int) -> None:
    check_frame(header(text), size)
    for other in (size - 1, size + 1):
        with pytest.raises(MalformedSegmentError, match="says that it unpacks"):
            check_frame(header(text), other)


@pytest.mark.parametrize(
    "text, size, what",
    [
        ("0058ffffff", 5, "does not say"), ("210705ffff", 5, "dictionary"), ("2805ffffff", 5, "reserved"),
        ("22070005ff", 5, "dictionary"), ("a001008000", WINDOW_SIZE_MAX_BYTES + 1, "memory"),
        ("40690500ff", 261, "memory"), ("40700500ff", 261, "memory"), ("80f80000004000", 1 << 30, "memory"),
        ("20", 5, "no zstd frame"),
    ],
)  # fmt: skip
def test_headers_that_may_not_be(text: str, size: int, what: str) -> None:
    with pytest.raises(MalformedSegmentError, match=what):
        check_frame(header(text), size)


def test_no_frame() -> None:
    with pytest.raises(MalformedSegmentError, match="no zstd frame"):
        check_frame(bytes.fromhex("502a4d18050000000000"), 5)
