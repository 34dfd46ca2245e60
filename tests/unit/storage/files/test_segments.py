"""Lines of a segment, forwards and from the end, whatever the size of a block."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES
from attestlog._internal.core.lines import Line
from attestlog._internal.storage.files import segments
from attestlog._internal.storage.files.segments import (
    EndlessLineError,
    find_line,
    last_line,
    line_start,
    read_lines,
)

CONTENTS = [
    b"",
    b"\n",
    b"a",
    b"a\n",
    b"a\nb",
    b"a\nbb\n",
    b"\n\n\n",
    b"abcdefgh\nij\n\nk\nlmnopqrstuvwxyz",
    b"x" * 40,
]


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "segment", os.O_CREAT | os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def expected(data: bytes, start: int = 0) -> list[Line]:
    lines, offset = [], start
    for piece in data[start:].splitlines(keepends=True):
        complete = piece.endswith(b"\n")
        lines.append(Line(offset, piece[:-1] if complete else piece, offset + len(piece), complete))
        offset += len(piece)
    return lines


@pytest.mark.parametrize("block_bytes", [2, 3, 7, 1_000])
@pytest.mark.parametrize("data", CONTENTS)
def test_lines_forwards(
    descriptor: int, data: bytes, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "BLOCK_BYTES", block_bytes)
    os.write(descriptor, data)
    lines = list(read_lines(descriptor, 0, len(data)))
    assert lines == expected(data)
    for line in lines:
        assert list(read_lines(descriptor, line.stop, len(data))) == expected(data, line.stop)
    for stop in range(len(data)):
        assert list(read_lines(descriptor, 0, stop)) == expected(data[:stop])


def test_a_file_shorter_than_said(descriptor: int) -> None:
    os.write(descriptor, b"a\nb")
    assert list(read_lines(descriptor, 0, 100)) == expected(b"a\nb")


@pytest.mark.parametrize("block_bytes", [3, 8, 1_000])
def test_of_what_is_longer_than_a_line_only_the_beginning_is_given_and_nothing_behind_it_is_lost(
    descriptor: int, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(segments, "LINE_SIZE_MAX_BYTES", 10)
    data = b"first\n" + b"x" * 50 + b"y\nlast\n" + b"z" * 30
    os.write(descriptor, data)
    assert list(read_lines(descriptor, 0, len(data))) == [
        Line(0, b"first", 6), Line(6, b"x" * 11, 58), Line(58, b"last", 63),
        Line(63, b"z" * 11, 93, is_complete=False),
    ]  # fmt: skip


@pytest.mark.parametrize("block_bytes", [2, 3, 1_000])
@pytest.mark.parametrize("data", CONTENTS)
def test_cut_anywhere_each_line_belongs_to_the_piece_it_begins_in(
    descriptor: int, data: bytes, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "BLOCK_BYTES", block_bytes)
    os.write(descriptor, data)
    end = len(data)
    for at in range(end + 1):
        begins = line_start(descriptor, at, end)
        assert begins == next((line.offset for line in expected(data) if line.offset >= at), end)
        before = list(read_lines(descriptor, 0, end, stop=at)) if at else []
        assert [*before, *read_lines(descriptor, begins, end)] == expected(data)


@pytest.mark.parametrize("look_bytes", [1, 2, 5, 1_000])
@pytest.mark.parametrize("data", CONTENTS)
def test_the_last_line(
    descriptor: int, data: bytes, look_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "LOOK_BYTES", look_bytes)
    os.write(descriptor, data)
    for size_bytes in range(len(data) + 1):
        lines = expected(data[:size_bytes])
        assert last_line(descriptor, size_bytes) == (lines[-1] if lines else None)


def test_the_longest_line_is_found_and_nothing_longer(descriptor: int) -> None:
    os.write(descriptor, b"a\n")
    os.pwrite(descriptor, b"x" * LINE_SIZE_MAX_BYTES + b"\n", 2)
    line = last_line(descriptor, LINE_SIZE_MAX_BYTES + 3)
    assert line is not None
    assert (line.offset, len(line.data), line.is_complete) == (2, LINE_SIZE_MAX_BYTES, True)
    os.ftruncate(descriptor, 8 * LINE_SIZE_MAX_BYTES)  # zeros, and no line end among them
    with pytest.raises(EndlessLineError):
        last_line(descriptor, 8 * LINE_SIZE_MAX_BYTES)


@pytest.mark.parametrize("sizes", ["even", "uneven", "two kinds", "growing"])
def test_a_line_is_found_in_a_few_looks_however_long_the_others_are(
    descriptor: int, sizes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, offsets, data = Random(7), [], b""
    for number in range(2_000):
        rest = {
            "even": 300, "uneven": chance.randrange(600), "two kinds": 3_000 if number % 100 == 0 else 100,
            "growing": number // 3,
        }[sizes]  # fmt: skip
        offsets.append(len(data))
        data += json.dumps({"sequence_number": number, "rest": "x" * rest}).encode() + b"\n"
    os.write(descriptor, data)
    monkeypatch.setattr(segments, "SEARCH_BYTES", 4_000)
    looks = 0
    real = segments.line_start

    def counted(descriptor: int, offset: int, end: int) -> int:
        nonlocal looks
        looks += 1
        return real(descriptor, offset, end)

    monkeypatch.setattr(segments, "line_start", counted)
    asked = [*range(0, 2_000, 61), 1_998, 1_999]
    for number in asked:
        assert find_line(descriptor, 0, number) == offsets[number]
    # Halving alone takes 8 looks in the 700,000 bytes of even lines.
    assert looks < {"even": 4, "uneven": 6, "two kinds": 6, "growing": 8}[sizes] * len(asked)
    assert find_line(descriptor, 0, 2_000) == len(data)
    assert find_line(descriptor, 0, 2_001) is None
