"""Stored hashes beside those of the entries: what is short, wrong or longer, level by level."""

from collections.abc import Mapping

from attestlog._internal.core.hashes import HASH_SIZE_BYTES, leaf_hash
from attestlog._internal.core.merkle import Grown, Span
from attestlog._internal.judging.stored import StoredTree

ENTRIES = 520
LEAVES = [leaf_hash(bytes([number % 256]) * 32) for number in range(ENTRIES)]
GROWN: list[Grown] = []
Span().extended(LEAVES, GROWN)
LEVELS = {0: b"".join(LEAVES), 1: b"".join(node for level, _, node in sorted(GROWN) if level == 1)}


class Stored:
    """Levels in memory."""

    def __init__(self, levels: Mapping[int, bytes]) -> None:
        self._levels = levels
        self.hash_bytes = {level: len(data) for level, data in levels.items()}

    def hashes(self, level: int, start: int, count: int) -> bytes:
        return self._levels.get(level, b"")[start * HASH_SIZE_BYTES : (start + count) * HASH_SIZE_BYTES]


def compared(**changed: bytes) -> StoredTree:
    """The stored tree, with other levels, beside the entries."""
    levels = LEVELS | {int(name.removeprefix("level_")): data for name, data in changed.items()}
    stored = StoredTree(Stored({level: data for level, data in levels.items() if data}))
    stored.compare_leaves(0, LEVELS[0])
    stored.compare_grown(GROWN)
    return stored


def told(stored: StoredTree) -> list[tuple[str, int]]:
    return [(found.message, found.found) for found in stored.stale(ENTRIES)]


def spoiled(data: bytes, number: int) -> bytes:
    """With another hash in place of one."""
    at = number * HASH_SIZE_BYTES
    return data[:at] + bytes(HASH_SIZE_BYTES) + data[at + HASH_SIZE_BYTES :]


def test_what_agrees() -> None:
    stored = compared()
    assert (told(stored), stored.longer(ENTRIES), stored.size) == ([], None, ENTRIES)
    assert stored.leaf(7) == LEAVES[7]


def test_a_wrong_hash_is_named_and_leaves_are_then_worth_nothing() -> None:
    stored = compared(level_0=spoiled(LEVELS[0], 300))
    assert told(stored) == [("hash 300 of tree/0 is wrong", 300)]
    assert stored.leaf(7) is None
    above = compared(level_1=spoiled(LEVELS[1], 1))
    assert told(above) == [("hash 1 of tree/1 is wrong", 1)]
    assert above.leaf(7) == LEAVES[7]


def test_hashes_that_are_missing_are_counted_level_by_level() -> None:
    assert told(compared(level_0=LEVELS[0][:-40])) == [("tree/0 has 518 of 520 hashes", 518)]
    assert told(compared(level_1=b"")) == [("tree/1 has 0 of 2 hashes", 0)]
    assert told(compared(level_1=LEVELS[1][:32])) == [("tree/1 has 1 of 2 hashes", 1)]


def test_hashes_of_entries_that_are_not_there() -> None:
    longer = compared().longer(ENTRIES - 1)
    assert longer is not None
    assert (longer.code, longer.expected, longer.found) == ("tree.longer", ENTRIES - 1, ENTRIES)
    above = compared(level_1=LEVELS[1] + bytes(1)).longer(ENTRIES)
    assert above is not None
    assert (above.expected, above.found) == (2, 3)


def test_a_length_that_is_no_whole_hash_counts_as_one_more() -> None:
    assert compared(level_0=LEVELS[0] + b"x").size == ENTRIES + 1
