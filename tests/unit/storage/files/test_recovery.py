"""Reading forward, without a disk: which lines continue the log, which are torn, which are damage."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from tests.support.logs import create, draft, drafts

from attestlog._internal.core.batch import Head
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.lines import Line
from attestlog._internal.core.merkle import Grown, Span
from attestlog._internal.storage.files.layout import list_segments
from attestlog._internal.storage.files.recovery import Tail, read_forward
from attestlog.errors import CorruptError


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Genesis, an entry, a batch of 4, an entry, a batch of 3."""
    return made(tmp_path_factory.mktemp("whole") / "log", batch=True)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The same, every entry signed alone."""
    return made(tmp_path_factory.mktemp("plain") / "log", batch=False)


def made(path: Path, *, batch: bool) -> bytes:
    log = create(path, batch=batch)
    log.append(draft(1))
    log.append_many(drafts(range(2, 6)))
    log.append(draft(6))
    log.append_many(drafts(range(7, 10)))
    log.close()
    return list_segments(path)[0][1].read_bytes()


def place(head: Head) -> tuple[int, str, int, bytes]:
    return head.size, head.entry_hash, head.timestamp_us, head.edge.root()


BATCHES = [[0], [1], [2, 3, 4, 5], [6], [7, 8, 9]]


def split(data: bytes) -> Iterator[Line]:
    offset = 0
    for piece in data.splitlines(keepends=True):
        complete = piece.endswith(b"\n")
        yield Line(offset, piece[:-1] if complete else piece, offset + len(piece), complete)
        offset += len(piece)


def read(data: bytes, trusted_size: int = 0) -> Tail:
    return read_forward(split(data), Head(), 0, trusted_size)


def stops(data: bytes) -> list[int]:
    """Offsets at which 0, 1, 2 … lines have ended."""
    return [0, *itertools.accumulate(map(len, data.splitlines(keepends=True)))]


@pytest.mark.parametrize("trusted_size", [0, 5, 6, 7, 9, 10, 99])
def test_what_is_proven_is_counted_from_the_start_of_the_log(whole: bytes, trusted_size: int) -> None:
    ends = stops(whole)
    before = read(whole[: ends[6]])
    lines = [line for line in split(whole) if line.offset >= ends[6]]
    tail = read_forward(iter(lines), before.head, before.stop, trusted_size)
    assert (tail.head.size, tail.torn) == (10, None)
    assert tail.proven == ends[min(max(trusted_size, 6), 10)]


def whole_batches(count: int, batches: Sequence[Sequence[int]] = BATCHES) -> int:
    """How many of the first `count` entries are in a batch that ends among them."""
    return max((batch[-1] + 1 for batch in batches if batch[-1] < count), default=0)


@pytest.mark.parametrize("trusted_size", [0, 1, 3, 6, 10, 99])
def test_a_whole_log_is_read(whole: bytes, trusted_size: int) -> None:
    tail = read(whole, trusted_size)
    assert (tail.head.size, tail.stop, tail.torn) == (10, len(whole), None)
    assert tail.proven == stops(whole)[min(trusted_size, 10)]
    grown: list[Grown] = []
    assert tail.head.edge.root() == Span().extended(tail.leaves, grown).root()
    assert tail.grown == grown == []
    assert tail.leaves[-1] == leaf_hash(bytes.fromhex(tail.head.entry_hash))


def test_nothing_is_read_from_nothing() -> None:
    tail = read(b"")
    assert (tail.head.size, tail.leaves, tail.stop, tail.proven, tail.torn) == (0, [], 0, 0, None)


def test_reading_goes_on_from_any_head(whole: bytes) -> None:
    ends = stops(whole)
    for size in (1, 2, 6, 7):
        before = read(whole[: ends[size]])
        after = read_forward(
            (
                Line(line.offset + ends[size], line.data, line.stop + ends[size], line.is_complete)
                for line in split(whole[ends[size] :])
            ),
            before.head, ends[size], trusted_size=0,
        )  # fmt: skip
        assert (place(after.head), after.stop) == (place(read(whole).head), len(whole))
        assert before.leaves + after.leaves == read(whole).leaves


@pytest.mark.parametrize("kind", ["whole", "plain"])
def test_cut_at_every_byte(kind: str, request: pytest.FixtureRequest) -> None:
    """What is left is the whole batches before the cut; without batches, the whole lines."""
    data: bytes = request.getfixturevalue(kind)
    batches = BATCHES if kind == "whole" else [[number] for number in range(10)]
    ends = stops(data)
    for cut in range(len(data)):
        size = whole_batches(sum(end <= cut for end in ends[1:]), batches)
        tail = read(data[:cut], trusted_size=size)
        assert (tail.head.size, tail.stop) == (size, ends[size]), cut
        assert (tail.torn is None) == (cut == ends[size]), cut


def test_cut_before_what_was_committed(whole: bytes) -> None:
    ends = stops(whole)
    for number in range(10):
        for cut in (ends[number] + 1, ends[number] + 500):
            with pytest.raises(CorruptError) as caught:
                read(whole[:cut], trusted_size=number + 1)
            assert caught.value.sequence_number == number
    # Cut between two lines, nothing is wrong with what is there, unless its batch was committed.
    assert read(whole[: ends[7]], trusted_size=10).head.size == 7
    with pytest.raises(CorruptError, match="2 entries of a committed batch are missing"):
        read(whole[: ends[4]], trusted_size=3)


@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("damage", ["zeros", "flip", "garbage line", "lost line", "twice", "swapped"])
def test_damage_with_a_later_batch_behind_it(whole: bytes, number: int, damage: str) -> None:
    lines = whole.splitlines(keepends=True)
    line = lines[number]
    replaced = {
        "zeros": [bytes(len(line) - 1) + b"\n"],
        "flip": [line.replace(b'"number":', b'"numbes":').replace(b"example.com", b"example.con")],
        "garbage line": [b"garbage\n", line],
        "lost line": [],
        "twice": [line, line],
        "swapped": [lines[number + 1], line] if number < 9 else [],
    }[damage]
    lines[number : number + (2 if damage == "swapped" and number < 9 else 1)] = replaced
    # An entry repeated just before the last batch cannot be told from a hole at that batch's start.
    in_last_batch = number >= 7 or (damage, number) == ("twice", 6)
    data = b"".join(lines)
    if in_last_batch or (damage == "lost line" and number == 9):
        tail = read(data)
        if damage == "twice" and number == 9:
            # The second copy belongs to no batch of its own: it is torn, the batch is whole.
            assert tail.head.size == 10
        else:
            assert tail.head.size == 7
        assert tail.torn is not None
    else:
        with pytest.raises(CorruptError) as caught:
            read(data)
        assert caught.value.repair == "entries"
        assert caught.value.sequence_number is not None
        assert abs(caught.value.sequence_number - number) <= 1


@pytest.mark.parametrize("number", range(1, 9))
def test_damage_in_a_plain_log_is_never_torn(plain: bytes, number: int) -> None:
    """Nothing says which entries were written together, so whatever stands behind was committed."""
    lines = plain.splitlines(keepends=True)
    lines[number] = bytes(len(lines[number]) - 1) + b"\n"
    with pytest.raises(CorruptError) as caught:
        read(b"".join(lines))
    assert caught.value.sequence_number == number


def test_trusted_entries_are_chained_and_not_hashed_again(whole: bytes) -> None:
    altered = whole.replace(b'"number":4', b'"number":5')
    assert altered != whole
    assert place(read(altered, trusted_size=10).head) == place(read(whole).head)
    with pytest.raises(CorruptError, match="action_hash"):
        read(altered, trusted_size=4)


def test_a_trusted_last_line_with_a_bad_timestamp_is_damage(whole: bytes) -> None:
    lines = whole.splitlines(keepends=True)
    lines[-1] = lines[-1].replace(b"T12:00:00.000000Z", b"T12:00:61.000000Z")
    with pytest.raises(CorruptError, match="timestamp") as caught:
        read(b"".join(lines), trusted_size=11)
    assert caught.value.sequence_number == 9


@pytest.mark.parametrize("respell", [lambda line: line, lambda line: line[:-1] + b" \n"])
def test_a_committed_entry_that_stands_there_once_more(
    whole: bytes, respell: Callable[[bytes], bytes]
) -> None:
    lines = whole.splitlines(keepends=True)
    for number in range(10):
        with pytest.raises(CorruptError, match="once more") as caught:
            read(whole + respell(lines[number]), trusted_size=10)
        assert caught.value.sequence_number == number


def test_the_last_committed_line_is_looked_at_whole(whole: bytes) -> None:
    """What is appended buries it."""
    respelled = whole[:-1] + b" \n"
    with pytest.raises(CorruptError, match="canonical") as caught:
        read(respelled, trusted_size=10)
    assert caught.value.sequence_number == 9


def test_a_line_that_is_whole_and_does_not_follow_is_damage(whole: bytes) -> None:
    lines = whole.splitlines(keepends=True)
    with pytest.raises(CorruptError) as caught:
        read(b"".join([*lines[:5], lines[6]]))
    assert caught.value.sequence_number == 5


def test_a_line_that_lost_only_its_end_is_torn(whole: bytes) -> None:
    assert read(whole[: stops(whole)[7] - 1]).head.size == 6
