"""The tree against RFC 6962 as transcribed in `rfc6962`: every size and index to 130, and where tiles end."""

import base64
import json
import os
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.support import rfc6962

from attestlog._internal.core import hashes, merkle
from attestlog._internal.core.hashes import EMPTY_ROOT, leaf_hash, node_hash
from attestlog._internal.core.merkle import Grown, Span
from attestlog.errors import InclusionError, MalformedSignatureError

SIZE_MAX = 130
DATA = [sha256(number.to_bytes(4, "big")).digest() for number in range(1100)]
LEAVES = [leaf_hash(data) for data in DATA]
AROUND_TILES = (254, 255, 256, 257, 300, 511, 512, 513, 768, 1024, 1100)

# The reference leaves of the Certificate Transparency test suite and the roots over the first 1 to 8 of them.
REFERENCE_LEAVES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
REFERENCE_ROOTS = ["6e340b9c afa01d", "fac54203 e3c125", "aeb6bcfe e06e77", "d37ee418 9614b7",
                   "4e3bbb1f 6264d4", "76e67dad 2087ef", "ddb89be4 a74c8c", "5dc9da79 604328"]  # fmt: skip


@cache
def root(size: int) -> bytes:
    return rfc6962.mth(DATA[:size])


def stored(size: int) -> dict[int, list[bytes]]:
    """The complete stored hashes at each tile level, by the transcription."""
    levels = {}
    for level, width in ((0, 1), (1, 256), (2, 256**2)):
        levels[level] = [rfc6962.mth(DATA[i : i + width]) for i in range(0, size - width + 1, width)]
    return levels


def test_hashes_are_of_rfc_6962() -> None:
    assert leaf_hash(b"") == bytes.fromhex("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d")
    assert node_hash(b"l", b"r") == sha256(b"\x01lr").digest()
    assert bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") == EMPTY_ROOT
    assert hashes.hex_hash(b"") == EMPTY_ROOT.hex()
    assert hashes.batch_message(b"\x07" * 32) == b"attestlog/batch/v1\n" + b"\x07" * 32
    assert set(hashes.GENESIS_PREV_HASH) == {"0"}
    assert len(hashes.GENESIS_PREV_HASH) == 64


@pytest.mark.parametrize("size", range(1, 9))
def test_reference_roots(size: int) -> None:
    leaves = [leaf_hash(bytes.fromhex(data)) for data in REFERENCE_LEAVES[:size]]
    found = Span().extended(leaves).root().hex()
    assert f"{found[:8]} {found[-6:]}" == REFERENCE_ROOTS[size - 1]


@pytest.mark.parametrize("size", [*range(SIZE_MAX + 1), *AROUND_TILES])
def test_root_of_each_size(size: int) -> None:
    span = Span().extended(LEAVES[:size])
    assert span.root() == root(size)
    assert (span.start, span.stop, span.size) == (0, size, size)


def test_growing_one_by_one_is_growing_at_once() -> None:
    span, grown = Span(), list[Grown]()
    for leaf in LEAVES:
        span = span.extended([leaf], grown)
    at_once = list[Grown]()
    assert Span().extended(LEAVES, at_once).hashes() == span.hashes()
    assert at_once == grown


def test_extending_leaves_the_span_as_it_was() -> None:
    span = Span().extended(LEAVES[:7])
    before = span.hashes()
    span.extended(LEAVES[7:9])
    span.joined(Span(7).extended(LEAVES[7:9]))
    assert (span.stop, span.hashes()) == (7, before)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 63, 64, 65, 127, 130, 257, 600])
def test_spans_join_at_every_split(size: int) -> None:
    whole = Span().extended(LEAVES[:size])
    for split in range(size + 1):
        left, right = Span().extended(LEAVES[:split]), Span(split).extended(LEAVES[split:size])
        joined = left.joined(right)
        assert (joined.start, joined.stop, joined.hashes()) == (0, size, whole.hashes())


def test_spans_join_in_any_order() -> None:
    for first in range(0, 40, 3):
        for second in range(first, 40, 3):
            a, b, c = Span().extended(LEAVES[:first]), Span(first).extended(LEAVES[first:second]), None
            c = Span(second).extended(LEAVES[second:40])
            assert a.joined(b).joined(c).hashes() == a.joined(b.joined(c)).hashes()


@pytest.mark.parametrize("start, stop", [(0, 0), (5, 5), (3, 29), (6, 7), (8, 16), (250, 520), (256, 512)])
def test_a_run_of_leaves_splits_into_its_perfect_subtrees(start: int, stop: int) -> None:
    at = start
    for height, index in merkle.subtrees(start, stop):
        assert index << height == at
        at += 1 << height
    assert at == stop
    whole = Span(start).extended(LEAVES[start:stop]).hashes()
    want = [DATA[index << height : index + 1 << height] for height, index in merkle.subtrees(start, stop)]
    assert whole == [rfc6962.mth(data) for data in want]


def test_spans_that_do_not_touch_cannot_be_joined() -> None:
    with pytest.raises(AssertionError):
        Span().extended(LEAVES[:3]).joined(Span(4).extended(LEAVES[4:6]))


def test_a_span_takes_exactly_its_subtrees_hashes() -> None:
    span = Span().extended(LEAVES[:11])
    assert Span(0, 11, span.hashes()).root() == root(11)
    for wrong in (span.hashes()[:-1], [*span.hashes(), LEAVES[0]]):
        with pytest.raises(ValueError, match="argument 2 is"):
            Span(0, 11, wrong)


@pytest.mark.parametrize("size", [*range(SIZE_MAX + 1), *AROUND_TILES, 65_536, 65_537, 2**40 + 12_345])
def test_subtrees_cover_without_gap_and_are_the_largest_possible(size: int) -> None:
    stop = 0
    for height, index in merkle.subtrees(0, size):
        assert index << height == stop
        assert stop + (2 << height) > size
        stop += 1 << height
    assert stop == size


@pytest.mark.parametrize("size", [0, 1, 2, 255, *AROUND_TILES])
def test_the_right_edge_comes_back_from_stored_hashes(size: int) -> None:
    levels = stored(size)
    runs = [levels[level][start:stop] for level, start, stop in merkle.stored_ranges(size)]
    edge = merkle.edge_from_stored(size, runs)
    assert edge.root() == root(size)
    assert edge.extended(LEAVES[size:1100]).root() == root(1100)


@pytest.mark.parametrize("size", [65_536, 65_537, 70_000, 256**3 + 256**2 * 3 + 256 * 5 + 7])
def test_stored_ranges_read_few_hashes_that_exist(size: int) -> None:
    ranges = merkle.stored_ranges(size)
    assert [start << 8 * level for level, start, _ in ranges] == sorted(
        start << 8 * level for level, start, _ in ranges
    )
    assert sum((stop - start) << 8 * level for level, start, stop in ranges) == size
    assert all(stop <= size >> 8 * level for level, _, stop in ranges)
    assert sum(stop - start for _, start, stop in ranges) <= 4 * 255


@pytest.mark.parametrize(
    "pieces", [[1100], [256, 256, 256, 256, 76], [1, 254, 1, 500, 12, 332], [255, 2, 843]]
)
def test_grown_is_each_stored_hash_once_when_it_is_complete(pieces: list[int]) -> None:
    assert sum(pieces) == 1100
    span, seen = Span(), list[tuple[int, int, bytes]]()
    for piece in pieces:
        grown = list[Grown]()
        span = span.extended(LEAVES[span.stop : span.stop + piece], grown)
        seen += grown
        assert len(seen) == span.stop >> 8
    assert seen == [(1, index, node) for index, node in enumerate(stored(1100)[1])]


@pytest.mark.parametrize("split", [0, 1, 255, 256, 65_000, 65_280, 65_535, 65_536])
def test_grown_reaches_the_second_level_and_misses_nothing_where_spans_join(split: int) -> None:
    leaves = [leaf_hash(b"x")] * 65_536
    grown = list[Grown]()
    left = Span().extended(leaves[:split], grown)
    whole = left.joined(Span(split).extended(leaves[split:], grown), grown)
    assert sorted(grown)[:-1] == [(1, index, Span().extended(leaves[:256]).root()) for index in range(256)]
    assert max(grown) == (2, 0, whole.root())


def test_inclusion_paths_of_every_size_and_index() -> None:
    for size in range(1, SIZE_MAX + 1):
        found_root, paths = merkle.inclusion_paths(LEAVES[:size])
        assert found_root == root(size)
        assert paths == [b"".join(rfc6962.path(index, DATA[:size])) for index in range(size)]
        for index, path in enumerate(paths):
            assert len(path) == 32 * merkle.path_size(index, size)
            merkle.verify_inclusion(LEAVES[index], index, size, path, found_root)


@pytest.mark.parametrize("size", AROUND_TILES)
def test_inclusion_paths_around_tiles(size: int) -> None:
    found_root, paths = merkle.inclusion_paths(LEAVES[:size])
    assert found_root == root(size)
    for index in {0, 1, 127, 253, size // 2, size - 2, size - 1}:
        assert paths[index] == b"".join(rfc6962.path(index, DATA[:size]))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 33])
def test_a_path_proves_one_leaf_at_one_place_only(size: int) -> None:
    found_root, paths = merkle.inclusion_paths(LEAVES[:size])
    for index, path in enumerate(paths):
        for other in range(size):
            if other != index:
                with pytest.raises(InclusionError):
                    merkle.verify_inclusion(LEAVES[index], other, size, path, found_root)
                with pytest.raises(InclusionError):
                    merkle.verify_inclusion(LEAVES[other], index, size, path, found_root)
        for bit in range(0, 8 * len(path), 31):
            mutant = bytearray(path)
            mutant[bit // 8] ^= 1 << bit % 8
            with pytest.raises(InclusionError) as caught:
                merkle.verify_inclusion(LEAVES[index], index, size, bytes(mutant), found_root)
            assert caught.value.expected == found_root.hex()


@pytest.mark.parametrize("size", [1, 2, 5, 8, 100])
def test_a_path_of_another_length_is_refused(size: int) -> None:
    found_root, paths = merkle.inclusion_paths(LEAVES[:size])
    for index, path in enumerate(paths):
        for wrong in (
            path[:-1],
            path[:-32],
            path[32:],
            path + b"\0",
            path + path[:32],
            path + bytes(32),
            bytes(32) + path,
        ):
            if wrong != path:
                with pytest.raises(InclusionError) as caught:
                    merkle.verify_inclusion(LEAVES[index], index, size, wrong, found_root)
                assert (caught.value.expected, caught.value.found) == (len(path), len(wrong))


@pytest.mark.parametrize("index, size", [(0, 0), (1, 1), (8, 8), (9, 8), (-1, 8), (2**63, 8), (0, -1)])
def test_an_index_outside_the_tree_is_refused(index: int, size: int) -> None:
    with pytest.raises(InclusionError, match=f"index {index} is not in a tree of {size}") as caught:
        merkle.root_from_path(LEAVES[0], index, size, b"")
    assert (caught.value.index, caught.value.size) == (index, size)


def test_an_enormous_tree_size_is_no_enormous_work() -> None:
    with pytest.raises(InclusionError):
        merkle.verify_inclusion(LEAVES[0], 0, 2**63 - 1, b"", root(1))
    assert merkle.path_size(0, 2**63 - 1) == 63
    assert merkle.path_size(2**63 - 2, 2**63 - 1) == 62


def test_a_leaf_hash_has_32_bytes() -> None:
    for leaf in (b"", LEAVES[0][:31], LEAVES[0] + b"\0"):
        with pytest.raises(MalformedSignatureError):
            merkle.verify_inclusion(leaf, 0, 1, b"", leaf)


def inclusion_vectors() -> list[Any]:
    folder = os.environ.get("ATTESTLOG_VECTORS")
    if not folder:
        return [pytest.param(None, marks=pytest.mark.skip(reason="ATTESTLOG_VECTORS is not set"))]
    root = Path(folder) / "merkle" / "inclusion"
    return [pytest.param(path, id=str(path.relative_to(root))) for path in sorted(root.rglob("*.json"))]


@pytest.mark.parametrize("path", inclusion_vectors())
def test_inclusion_vectors(path: Path) -> None:
    """All are judged as they ask to be, `wantErr`. Two quirks of theirs.

    A path may hold hashes that are not 32 bytes; ours is one byte string, so
    each hash is checked here, as whoever reads separate hashes must. And
    `single-entry/empty-root-and-leaf` is refused because its leaf hash is empty.
    """
    case = json.loads(path.read_bytes())
    proof = [base64.b64decode(node) for node in case["proof"] or []]
    leaf, found_root = (base64.b64decode(case[name] or "") for name in ("leafHash", "root"))
    try:
        if any(len(node) != 32 for node in proof):
            raise InclusionError("a hash of the path is not of 32 bytes")
        merkle.verify_inclusion(leaf, case["leafIdx"], case["treeSize"], b"".join(proof), found_root)
    except (InclusionError, MalformedSignatureError):
        assert case["wantErr"]
    else:
        assert not case["wantErr"]


@pytest.mark.skipif("ATTESTLOG_VECTORS" not in os.environ, reason="ATTESTLOG_VECTORS is not set")
def test_all_inclusion_vectors_are_there() -> None:
    assert len(inclusion_vectors()) == 98
