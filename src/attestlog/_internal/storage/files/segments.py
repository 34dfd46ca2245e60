"""Segment files: lines with their offsets, forwards in blocks, the last one, or the one of a number.

Everything that reads a line of a segment reads it here: opening and committing,
readers, the verifier. Positional reads only, so that all can share a descriptor.
Nothing is verified.

A line is found by searching its segment, as one looks up a word in a dictionary,
on the sequence numbers that the lines themselves state. Where they mislead
(damage), lines are counted instead, so that a damaged log is still read by
position.

An open segment may end in *room*: spaces that a writer reserved behind the last
line feed, to write into. It is nothing (`lines_end`).

Raises OSError, and EndlessLineError at what is longer than any line may be.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from math import isqrt
from typing import Final

import msgspec
from msgspec import Struct

from attestlog._internal import disk
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES
from attestlog._internal.core.lines import Line

BLOCK_BYTES: Final = 256 << 10
"""Read at a time where everything is read: enough for the disk, and little enough for a cache."""

LOOK_BYTES: Final = 8 << 10
"""Read at a time where one line is wanted: most are shorter."""

SEARCH_BYTES: Final = 64 << 10
"""Bisecting stops at a range this small, some tens of entries; they are read in one go."""


ROOM_SIZE_MAX_BYTES: Final = 4 << 20
"""Of room: more would take a reader longer to pass over than it saves the writer."""

_SPACES: Final = b" " * BLOCK_BYTES


class EndlessLineError(Exception):
    """There is no line end within LINE_SIZE_MAX_BYTES. Internal: never leaves `storage.files`."""


def read_lines(
    descriptor: int, start: int, end: int, *, stop: int | None = None, block_bytes: int | None = None
) -> Iterator[Line]:
    """The lines that begin at bytes [start, stop) of a file of `end` bytes; `start` must begin one.

    The last can be incomplete, also because the file turns out to be shorter. Of what is longer than any
    line may be, only the first LINE_SIZE_MAX_BYTES + 1 bytes are given. It moves the descriptor's position:
    one at a time may be read from it.
    """
    stop = end if stop is None else stop
    buffering = BLOCK_BYTES if block_bytes is None else block_bytes
    with open(descriptor, "rb", buffering=buffering, closefd=False) as file:
        file.seek(start)
        offset = start
        while offset < stop:
            data = file.readline(min(LINE_SIZE_MAX_BYTES + 1, end - offset))
            after = offset + len(data)
            if data[-1:] == b"\n":
                yield Line(offset, data[:-1], after)
            elif len(data) <= LINE_SIZE_MAX_BYTES:
                if data:
                    yield Line(offset, data, after, is_complete=False)
                return
            else:
                after, is_complete = _after_line_end(descriptor, after, end)
                file.seek(after)
                yield Line(offset, data, after, is_complete)
            offset = after


def lines_end(descriptor: int, end: int) -> int:
    """Where the lines of a segment of `end` bytes end: before its room, if it has room; else `end`.

    Spaces that follow anything but a line feed, and more of them than room may have, are not room.
    """
    start = spaces_start(descriptor, end, max(0, end - ROOM_SIZE_MAX_BYTES - 1))
    if not 0 < end - start <= ROOM_SIZE_MAX_BYTES:
        return end
    return start if start == 0 or os.pread(descriptor, 1, start - 1) == b"\n" else end


def spaces_start(descriptor: int, end: int, floor: int) -> int:
    """From where on there is nothing but spaces up to `end`; not before `floor`."""
    size_bytes = 1  # most segments do not end in a space
    while end > floor:
        start = max(floor, end - size_bytes)
        block = os.pread(descriptor, end - start, start)
        if block != _SPACES[: len(block)]:
            return start + len(block.rstrip(b" "))
        end, size_bytes = start, BLOCK_BYTES
    return floor


def line_start(descriptor: int, offset: int, end: int) -> int:
    """The first offset from this one on at which a line begins; `end` if that is not before it."""
    return _after_line_end(descriptor, offset - 1, end)[0] if offset else 0


def last_line(descriptor: int, end: int) -> Line | None:
    """The last line of the first `end` bytes; None if `end` is 0."""
    if not end:
        return None
    is_complete = os.pread(descriptor, 1, end - 1) == b"\n"
    start = _line_end_before(descriptor, end - is_complete) + 1
    return Line(start, os.pread(descriptor, end - is_complete - start, start), end, is_complete)


def last_complete_line(descriptor: int, end: int) -> Line | None:
    """The last line with a line end."""
    line = last_line(descriptor, end)
    return line if line is None or line.is_complete else last_line(descriptor, line.offset)


def count_entries(descriptor: int, first: int) -> int | None:
    """How many entries a log has whose last segment begins with entry `first`; None if no line is complete.

    Looks at the last two lines only, unless these contradict each other.
    """
    end = lines_end(descriptor, os.fstat(descriptor).st_size)
    if last_complete_line(descriptor, end) is None:
        return None
    number = _number_before(descriptor, end, first)
    if number is not None:
        return number + 1
    lines = read_lines(descriptor, 0, end)
    return first + sum(line.is_complete for line in lines)


def find_line(descriptor: int, first: int, number: int) -> int | None:
    """Offset at which the line of entry `number` starts, or will start; None if it lies further on."""
    if number == first:
        return 0
    end = lines_end(descriptor, os.fstat(descriptor).st_size)
    low, low_number = _bisect(descriptor, end, first, number)
    offset = _skip_lines(descriptor, low, end, number - low_number)
    if offset is None and low == 0:
        return None
    if offset is not None and _is_between(descriptor, offset, end, first, number):
        return offset
    return _skip_lines(descriptor, 0, end, number - first)


def _bisect(descriptor: int, end: int, first: int, number: int) -> tuple[int, int]:
    """(offset, sequence number) of a line not past entry `number`; close to it if the lines are in order."""
    low, low_number, high = 0, first, end
    last = last_complete_line(descriptor, end)
    high_number = None if last is None else _stated_number(last)
    steps = 0
    while high - low > SEARCH_BYTES:
        middle = _middle((low, low_number), (high, high_number), number, steps)
        steps += 1
        offset = line_start(descriptor, middle + 1, end)
        line = next(read_lines(descriptor, offset, end, block_bytes=LOOK_BYTES), None)
        if offset >= high or line is None:
            high = middle
            continue
        stated = _stated_number(line) if line.is_complete else None
        if stated is None:
            return (0, first) if line.is_complete else (low, low_number)
        if stated <= number:
            low, low_number = offset, stated
        else:
            high, high_number = middle, stated
    return low, low_number


def _middle(lowest: tuple[int, int], highest: tuple[int, int | None], number: int, step: int) -> int:
    """Where to look next: a little before and behind the place where lines of even length would have it.

    Two looks thus take it between them; every third halves, so that uneven lengths cost no more than that.
    """
    (low, low_number), (high, high_number) = lowest, highest
    if step % 3 == 2 or high_number is None or not low_number <= number <= high_number != low_number:
        return (low + high) // 2
    place = low + (high - low) * (number - low_number) // (high_number - low_number)
    slack = 2 * isqrt(high - low)
    return min(max(low, place + (slack if step % 3 else -slack)), high - 1)


def _is_between(descriptor: int, offset: int, end: int, first: int, number: int) -> bool:
    """Whether the lines before and at `offset` state that it is the place of entry `number`."""
    line = next(read_lines(descriptor, offset, end, block_bytes=LOOK_BYTES), None)
    return _number_before(descriptor, offset, first) == number - 1 and (
        line is None or not line.is_complete or _stated_number(line) == number
    )


def _number_before(descriptor: int, end: int, first: int) -> int | None:
    """Number that the last complete line before `end` states, unless the line before it contradicts."""
    last = last_complete_line(descriptor, end)
    if last is None:
        return None
    number = _stated_number(last)
    previous = last_line(descriptor, last.offset)
    before = first - 1 if previous is None else _stated_number(previous)
    return number if number is not None and before == number - 1 else None


def _skip_lines(descriptor: int, offset: int, end: int, count: int) -> int | None:
    """Offset after `count` complete lines from `offset`; None if there are fewer."""
    if count < 0:
        return None
    for line in islice(read_lines(descriptor, offset, end, block_bytes=SEARCH_BYTES), count):
        if len(line.data) > LINE_SIZE_MAX_BYTES:
            raise EndlessLineError
        count -= line.is_complete
        offset = line.stop
    return None if count else offset


class _Position(Struct):
    """All that finding a line needs to know of it; msgspec skips the rest unread."""

    sequence_number: int


_position_decoder: Final = msgspec.json.Decoder(_Position)


def _stated_number(line: Line) -> int | None:
    """The sequence number a line states; None if it states none."""
    try:
        return _position_decoder.decode(line.data).sequence_number
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _line_end_before(descriptor: int, stop: int) -> int:
    """Offset of the last line end before `stop`; -1 if there is none."""
    floor = max(0, stop - LINE_SIZE_MAX_BYTES - 1)
    while stop > floor:
        start = max(floor, stop - LOOK_BYTES)
        found = os.pread(descriptor, stop - start, start).rfind(b"\n")
        if found >= 0:
            return start + found
        stop = start
    if floor:
        raise EndlessLineError
    return -1


def _after_line_end(descriptor: int, offset: int, end: int) -> tuple[int, bool]:
    """The offset after the next line end, and True; `end` and False if there is none before it."""
    while offset < end:
        block = os.pread(descriptor, min(LOOK_BYTES, end - offset), offset)
        place = block.find(b"\n")
        if place >= 0:
            return offset + place + 1, True
        if not block:
            break
        offset += len(block)
        if not block.strip(b"\0"):
            offset = disk.next_data(descriptor, offset, end)
    return end, False
